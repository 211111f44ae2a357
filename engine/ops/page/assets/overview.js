// The state of the server in words, plots of the last minutes, and what is held of what has a limit.

import { byId, el, setState, setText } from "./dom.js";
import { bytes, count, duration, number, seconds } from "./format.js";
import { Plot } from "./plots.js";

const longest = 450; // looks that plots remember

const kinds = {
	requests: "Bodies of publications under way over HTTP",
	input: "Requests and messages that are not complete",
	output: "Output for slow readers",
	replay: "History on its way to returning clients",
	pending: "Live messages kept for returning clients",
	window: "Recent publications in memory",
	gap: "Publications held while a gap is closed",
	publish_queue: "Publications of back ends, not stored yet",
	client_queue: "Publications of clients, not stored yet",
};

const looks = []; // what was seen, oldest first
let plots = null;
let shown = false;

export function show() {
	shown = true;
	plots ??= newPlots();
	draw();
}

export function hide() {
	shown = false;
}

export function update(o) {
	const last = looks.at(-1);
	if (last && last.o.started !== o.started) looks.length = 0; // another process
	looks.push({ o, time: new Date(o.time).getTime() / 1000, rates: rates(looks.at(-1), o) });
	if (looks.length > longest) looks.shift();
	words(o);
	tiles(o);
	bounds(o.held || []);
	draw();
}

// rates are the differences of all counters since the last look, a second.
function rates(last, o) {
	const now = new Date(o.time).getTime() / 1000;
	if (!last || now <= last.time) return null;
	const per = (a, b) => Math.max(0, (b - a) / (now - last.time));
	const of = (then, now) => Object.fromEntries(Object.keys(now || {}).map((k) => [k, per(then?.[k] ?? 0, now[k])]));
	return { ...of(last.o.counters, o.counters), closes: of(last.o.closes, o.closes) };
}

function words(o) {
	const store = o.storage === "redis" ? "Redis" : "the store in memory";
	let title = "Ready", state = "good";
	let text = `It serves ${count(o.connections.total, "connection")} on ${count(o.channels, "channel")}, and ${store} answers.`;
	if (!o.ready) {
		[title, state] = ["Not ready", "bad"];
		const problem = (o.problem || "the server does not say why").replace("the bus", store);
		const kept = o.bus.connected ? "" : " What is published meanwhile is kept, and delivered when it answers again.";
		text = `${problem[0].toUpperCase()}${problem.slice(1)}.${kept} Load balancers are told so at /readyz.`;
	} else if (!o.bus.connected) {
		[title, state] = [`Ready, but ${store} is silent`, "warn"];
		text = `Nothing came back for ${seconds(o.bus.silence)}. Publications wait in the queue, ${count(o.publishQueue, "one")} now.`;
	} else if (o.connections.free < 0.1 * (o.connections.free + o.connections.total)) {
		[title, state] = ["Ready, but nearly full", "warn"];
		text = `${count(o.connections.total, "connection")}, and room for ${number(o.connections.free)} more.`;
	}
	setText(byId("overview-title"), title);
	setText(byId("hero-text"), text);
	byId("hero").dataset.state = state;
}

function tiles(o) {
	const l = o.connections.listening;
	const sum = (x) => (x?.text || 0) + (x?.protobuf || 0);
	const facts = [
		["Connections", number(o.connections.total), `${number(sum(l.websocket))} WebSocket, ${number(sum(l.poll))} long poll`],
		["Room for", number(o.connections.free), "more connections"],
		["Channels", number(o.channels), "with somebody listening"],
		["To be stored", number(o.publishQueue), count(o.counters.publishRetries || 0, "attempt") + " repeated"],
		[o.storage === "redis" ? "Redis" : "Storage", o.bus.connected ? "answers" : "silent", o.storage !== "redis" ? "in memory" : o.bus.connected ? `in ${seconds(o.bus.lag)}` : "publications wait"],
		["Memory", bytes(o.memory.resident), o.memory.limit ? `of ${bytes(o.memory.limit)}` : `heap ${bytes(o.memory.heap)}`],
		["Up", duration(o.uptime), count(o.loops, "event loop")],
	];
	const list = byId("tiles");
	if (list.children.length === facts.length) {
		facts.forEach((texts, i) => texts.forEach((text, j) => setText(list.children[i].children[j], text)));
		return;
	}
	list.replaceChildren(...facts.map(([name, value, note]) => el("div", {}, el("dt", {}, name), el("dd", {}, value), el("dd", {}, note))));
}

// Series of each plot: label, how to find the value in a look, what is said beside the label.
function newPlots() {
	const parent = byId("plots");
	const perSecond = (v) => number(v) + "/s";
	const all = (o, transport) => o.connections.listening[transport].text + o.connections.listening[transport].protobuf;
	const p99 = (key) => (x) => (x.o.latency?.[key]?.count ? x.o.latency[key].p99 : null);
	const define = (title, format, least, series) => {
		const plot = new Plot(parent, { title, format, least, binary: format === bytes, series: series.map((s, i) => ({ label: s.label, color: i + 1 })) });
		return { plot, format, series };
	};
	return [
		define("Listening connections", number, 4, [
			{ label: "WebSocket", of: (x) => all(x.o, "websocket") },
			{ label: "long poll", of: (x) => all(x.o, "poll") },
		]),
		define("Messages a second", perSecond, 1, [
			{ label: "publications", of: (x) => x.rates?.published ?? null },
			{ label: "deliveries", of: (x) => x.rates?.delivered ?? null },
		]),
		define("Latency, 99 of 100 are faster", seconds, 0.0005, [
			{ label: "until stored", of: p99("publish") },
			{ label: "on the bus", of: p99("bus") },
			{ label: "turn of a loop", of: p99("turn") },
			{ label: "until delivered", of: p99("delivery") },
		]),
		define("Silence of the store", seconds, 1, [{ label: "no answer for", of: (x) => x.o.bus.silence }]),
		define("Memory", bytes, 1 << 20, [
			{ label: "resident", of: (x) => x.o.memory.resident },
			{ label: "heap", of: (x) => x.o.memory.heap },
		]),
		{ ...define("Connections that ended, a second", perSecond, 1, []), closes: true },
	];
}

function draw() {
	if (!shown || looks.length === 0) return;
	const times = looks.map((x) => x.time);
	for (const p of plots) {
		if (p.closes) chooseCloses(p);
		const columns = p.series.map((s) => looks.map(s.of));
		const texts = columns.map((c, i) => p.series[i].text ?? (c.at(-1) == null ? "–" : p.format(c.at(-1))));
		p.plot.show(times, columns, texts);
	}
}

// chooseCloses shows the reasons that were most frequent since the start, and all others together.
function chooseCloses(p) {
	const totals = looks.at(-1).o.closes;
	const reasons = Object.keys(totals).filter((r) => totals[r] > 0).sort((a, b) => totals[b] - totals[a] || (a < b ? -1 : 1));
	const first = reasons.slice(0, 4);
	const rest = reasons.slice(4);
	p.series = first.sort().map((r) => ({ label: r.replaceAll("_", " "), of: (x) => x.rates?.closes[r] ?? null, text: `${number(totals[r])} in all` }));
	if (rest.length > 0 || first.length === 0) {
		const sum = rest.reduce((n, r) => n + totals[r], 0);
		p.series.push({
			label: first.length ? "others" : "none yet", text: first.length ? `${number(sum)} in all` : "",
			of: (x) => (x.rates ? rest.reduce((n, r) => n + (x.rates.closes[r] ?? 0), 0) : null),
		});
	}
	p.plot.setSeries(p.series.map((s, i) => ({ label: s.label, color: i + 1 })));
}

function bounds(held) {
	const body = byId("bounds").tBodies[0];
	if (body.rows.length !== held.length) {
		body.replaceChildren(...held.map((h) => el("tr", {},
			el("th", { scope: "row" }, kinds[h.kind] || h.kind, el("small", {}, el("code", {}, h.kind))),
			el("td", { class: "number" }), el("td", { class: "number" }), el("td", { class: "wide" }, el("div", { class: "bar" }, el("span"))), el("td", { class: "number" }))));
	}
	held.forEach((h, i) => {
		const [, now, limit, share, refused] = body.rows[i].cells;
		const part = h.limit > 0 ? Math.min(1, h.bytes / h.limit) : 0;
		setText(now, bytes(h.bytes));
		setText(limit, h.limit > 0 ? bytes(h.limit) : "none");
		const bar = share.firstChild;
		bar.firstChild.style.width = `${100 * part}%`;
		bar.dataset.level = part > 0.8 && h.kind !== "window" ? "high" : "";
		setText(refused, h.refused ? count(h.refused, "time") : "never");
		refused.classList.toggle("hot", h.refused > 0 && h.kind !== "window");
	});
}
