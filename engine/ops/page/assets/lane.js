// One way to listen to the channel of the tester, and what came that way.

import { stream } from "./api.js";
import { listenDirectly } from "./direct.js";
import { el, setText } from "./dom.js";
import { clock, count, seconds, shortMid } from "./format.js";

const beginning = "0".repeat(26);
const longest = 50; // messages that are shown

export class Lane {
	constructor(parent, transport, title, word = title) {
		this.transport = transport;
		this.title = title;
		this.word = word; // in the middle of a sentence
		this.received = new Map(); // arrival by number
		this.waiters = new Map(); // what waits for a number
		this.changed = []; // what waits for another state
		this.state = el("p", { class: "state", role: "status" }, "not listening");
		this.summary = el("span", {}, "no messages yet");
		this.again = el("button", { type: "button", class: "small", disabled: true, onclick: () => this.replay(beginning) }, "Replay all");
		this.list = el("ol", { class: "messages", role: "list" });
		this.pill = el("span", { class: "pill", "data-state": "" }, "off");
		parent.append(el("section", { class: "card lane", "aria-label": title },
			el("header", {}, el("h2", {}, title), this.pill), this.state,
			el("div", { class: "summary" }, this.summary, this.again), this.list));
	}

	// start listens: how is {id, url, framing, from}. It goes on behind the last message.
	start(how) {
		this.stop();
		if (this.how?.id !== how.id) this.forget();
		this.how = how;
		this.listen();
	}

	forget() {
		this.mid = beginning;
		this.seen = new Set();
		this.delays = [];
		this.received.clear();
		this.list.replaceChildren();
		setText(this.summary, "no messages yet");
	}

	listen() {
		const control = new AbortController();
		this.control = control;
		this.unknown = false; // whether the server does not know the channel: it is another process
		this.set("connecting", "warn", "connecting");
		const on = (name, data) => {
			if (control.signal.aborted) return;
			if (name === "message") this.take(data);
			if (name === "state") this.set(data.text, data.listening ? "good" : "warn", data.listening ? "listening" : "lost");
			if (name === "end") this.fail(data.text);
		};
		const { id, url, framing, from } = this.how;
		const run = from === "browser"
			? listenDirectly({ transport: this.transport, url, framing, mid: this.mid }, on, control.signal)
			: stream(`/tester/listen?${new URLSearchParams({ id, transport: this.transport, framing, mid: this.mid })}`, on, control.signal);
		run.then(() => {
			if (!control.signal.aborted && !this.failed) this.fail("the window ended the stream");
		}, (err) => {
			if (control.signal.aborted) return;
			this.unknown = err.status === 404;
			this.fail(err.message);
		});
	}

	stop(text = "not listening") {
		this.control?.abort();
		this.set(text, "", "off");
	}

	fail(text) {
		this.control.abort();
		this.set(text, "bad", "failed");
	}

	set(text, state, word) {
		this.listening = state === "good";
		this.failed = state === "bad";
		setText(this.state, text);
		setText(this.pill, word);
		this.pill.dataset.state = state;
		this.again.disabled = !this.how || this.list.children.length === 0;
		for (const tell of this.changed.splice(0)) tell();
	}

	// settled waits until the lane listens or has failed.
	async settled(timeout) {
		const end = performance.now() + timeout;
		while (!this.listening && !this.failed && performance.now() < end) {
			await Promise.race([new Promise((go) => this.changed.push(go)), new Promise((go) => setTimeout(go, end - performance.now()))]);
		}
		return this.listening;
	}

	// replay asks for what came behind a message.
	replay(mid) {
		this.stop();
		this.mid = mid;
		this.listen();
	}

	take(m) {
		const again = this.seen.has(m.mid);
		this.mid = m.mid;
		this.seen.add(m.mid);
		const delay = el("span", { class: again ? "delay again" : "delay" }, again ? "replayed" : m.delay != null ? seconds(m.delay) : "");
		const item = el("li", { class: "new" },
			el("span", { class: "text" }, m.text), delay,
			el("span", { class: "mid" }, `${m.n}, ${clock(new Date(), true)}, mid `, el("code", { title: m.mid }, shortMid(m.mid))),
			el("button", { type: "button", class: "small", "aria-label": `Replay what came after message ${m.n}`, onclick: () => this.replay(m.mid) }, "Replay from here"));
		this.list.prepend(item);
		while (this.list.children.length > longest) this.list.lastChild.remove();
		this.again.disabled = false;
		if (again) return;
		const arrival = { at: performance.now(), delay: m.delay, show: delay };
		this.received.set(m.n, arrival);
		if (m.delay != null) this.measure(m.delay);
		this.waiters.get(m.n)?.();
	}

	// arrived waits for a message: how long it took, or null if it does not come in time. sent is when the browser has sent it.
	async arrived(n, sent, timeout) {
		if (!this.received.has(n)) {
			await Promise.race([new Promise((go) => this.waiters.set(n, go)), new Promise((go) => setTimeout(go, timeout))]);
			this.waiters.delete(n);
		}
		const a = this.received.get(n);
		if (!a) return null;
		if (a.delay == null) {
			a.delay = Math.max(0, a.at - sent) / 1000;
			setText(a.show, seconds(a.delay));
			this.measure(a.delay);
		}
		return a.delay;
	}

	measure(delay) {
		this.delays.push(delay);
		const sorted = this.delays.slice(-200).sort((a, b) => a - b);
		setText(this.summary, `${count(this.delays.length, "message")}, median ${seconds(sorted[Math.floor(sorted.length / 2)])}`);
	}
}
