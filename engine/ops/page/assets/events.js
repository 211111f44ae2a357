// One connection: what is known of it, its last events, and those that come while it is followed.

import { post, request, stream } from "./api.js";
import { byId, el, setText } from "./dom.js";
import { address, age, bytes, clock, moment, number, shortMid } from "./format.js";

const longest = 500; // events that are shown
const key = (e) => [e.time, e.direction, e.kind, e.bytes, e.mid].join();

export class Detail {
	constructor(id, readOnly) {
		this.id = id;
		this.known = new Set();
		this.state = el("p", { class: "muted", role: "status" });
		this.facts = el("dl", { class: "facts" });
		this.rows = el("tbody");
		this.followButton = el("button", { type: "button", "aria-pressed": "false", onclick: () => this.toggle() }, "Follow live");
		this.closeButton = el("button", { type: "button", hidden: readOnly, onclick: () => this.close() }, "Close connection");
		byId("detail").replaceChildren(
			el("p", {}, el("a", { href: "#connections" }, "← All connections")),
			el("header", {}, el("h2", { id: "detail-title" }, "Connection ", el("code", {}, id)), this.followButton, this.closeButton),
			this.facts, this.state,
			el("div", { class: "events", tabindex: "0", role: "log", "aria-label": "Events, newest first" }, el("table", {},
				el("thead", {}, el("tr", {}, ["Time", "Direction", "Event", "Size", "Message"].map((t) => el("th", { scope: "col" }, t)))), this.rows)));
		byId("detail").hidden = false;
		this.load();
	}

	async load() {
		try {
			const { events } = await request(`/connections/${encodeURIComponent(this.id)}/events`);
			for (const e of events) this.add(e);
			if (!this.control) setText(this.state, events.length ? "The last events, newest first." : "Nothing has happened on it yet.");
		} catch (err) {
			setText(this.state, err.status === 404 ? "Nothing is known of this connection any more." : err.message);
		}
	}

	add(e) {
		const k = key(e);
		if (this.known.has(k)) return;
		this.known.add(k);
		const direction = { in: "from client", out: "to client" }[e.direction] || "";
		const row = el("tr", { "data-time": e.time },
			el("td", { class: "mono" }, clock(e.time, true)), el("td", { class: e.direction }, direction),
			el("td", {}, e.kind.replaceAll("-", " "), e.note ? el("small", {}, e.note) : ""),
			el("td", { class: "number" }, e.bytes ? bytes(e.bytes) : ""), el("td", {}, e.mid ? el("code", { title: e.mid }, shortMid(e.mid)) : ""));
		const behind = [...this.rows.children].find((r) => r.dataset.time <= e.time);
		this.rows.insertBefore(row, behind || null);
		while (this.rows.children.length > longest) this.rows.lastChild.remove();
	}

	// show takes what the list knows of the connection; null: it is not there any more.
	show(c) {
		this.closeButton.disabled = !c;
		if (!c) return;
		const facts = [
			["Address", address(c.address)], ["Transport", `${c.transport}, ${c.dialect || "–"}`], ["State", c.state], ["Listener", c.listener],
			["Since", `${moment(c.since)}, ${age(c.since)}`], ["Channels", (c.channels || []).join(" ") || "none"], ["Last message", c.lastMessage || "none"],
			["Acknowledged up to", c.acked || "–"], ["The page has", c.acknowledged ? `${c.acknowledged}, ${number(c.unacknowledged || 0)} of all outstanding` : "–"],
			["User", c.user || "–"], ["Sent", number(c.sent)], ["Waiting", bytes(c.waiting || 0)], ["Agent", c.agent || "–"],
		];
		this.facts.replaceChildren(...facts.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
	}

	toggle() {
		if (this.control) return this.stop("Not followed any more.");
		this.control = new AbortController();
		this.followButton.setAttribute("aria-pressed", "true");
		setText(this.followButton, "Stop following");
		setText(this.state, "Following: events appear as they happen.");
		const on = (name, data) => {
			if (name === "lost") setText(this.state, `${number(data.lost)} events were left out: more than this page can take.`);
			else if (name === "end") this.stop(`The connection has ended: ${data.reason}.`);
			else this.add(data);
		};
		const signal = this.control.signal;
		stream(`/connections/${encodeURIComponent(this.id)}/follow`, on, signal)
			.then(() => signal.aborted || this.stop("The stream has ended."), (err) => signal.aborted || this.stop(err.message));
		this.load(); // what happened meanwhile
	}

	stop(text) {
		this.control?.abort();
		this.control = null;
		this.followButton.setAttribute("aria-pressed", "false");
		setText(this.followButton, "Follow live");
		if (text) setText(this.state, text);
	}

	async close() {
		if (!confirm(`Close the connection ${this.id}? Its client will come back by itself.`)) return;
		try {
			await post(`/connections/${encodeURIComponent(this.id)}/close`);
			setText(this.state, "The connection is being closed.");
		} catch (err) {
			setText(this.state, err.message);
		}
	}
}
