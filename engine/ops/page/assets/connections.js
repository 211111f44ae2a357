// Who is connected.

import { request } from "./api.js";
import { byId, el, setText } from "./dom.js";
import { address, age, bytes, count, number } from "./format.js";
import { Detail } from "./events.js";

const interval = 3000;

let prepared = false;
let timer = 0;
let limit = 100;
let selected = "";
let detail = null;
let readOnly = true;
let asked = 0; // answers to older questions are not shown

export function show(id) {
	if (!prepared) prepare();
	if (id !== selected) select(id);
	look();
}

export function hide() {
	clearTimeout(timer);
	asked++;
	select("");
}

export function update(o) {
	readOnly = o.readOnly;
	if (detail) detail.closeButton.hidden = readOnly;
}

function prepare() {
	prepared = true;
	let pause = 0;
	byId("search").addEventListener("input", () => {
		clearTimeout(pause);
		pause = setTimeout(look, 200);
	});
	byId("search-form").addEventListener("submit", (e) => {
		e.preventDefault();
		look();
	});
	byId("connections-more").addEventListener("click", () => {
		limit = Math.min(1000, limit + 200);
		look();
	});
}

function select(id) {
	const before = selected;
	detail?.stop();
	selected = id;
	detail = id ? new Detail(id, readOnly) : null;
	byId("detail").hidden = !id;
	byId("split").classList.toggle("open", !!id);
	if (id) detail.followButton.focus({ preventScroll: true });
	else if (before) byId("connections-table").querySelector(`a[href="#connections/${CSS.escape(before)}"]`)?.focus();
}

async function look() {
	clearTimeout(timer);
	const mine = ++asked;
	try {
		const list = await request(`/connections?${new URLSearchParams({ search: byId("search").value.trim(), limit })}`);
		if (mine !== asked) return;
		render(list);
		await renderDetail(list, mine);
	} catch (err) {
		if (mine === asked) setText(byId("connections-count"), err.message);
	}
	if (mine === asked) timer = setTimeout(look, interval);
}

async function renderDetail(list, mine) {
	if (!detail) return;
	let c = list.connections.find((x) => x.id === selected);
	if (!c) {
		const found = await request(`/connections?${new URLSearchParams({ search: selected, limit: 20 })}`);
		c = found.connections.find((x) => x.id === selected);
	}
	if (mine === asked) detail?.show(c || null);
}

function render(list) {
	const search = byId("search").value.trim();
	const all = search ? `${count(list.total, "connection")} with “${search}”` : count(list.total, "connection");
	setText(byId("connections-count"), list.total > list.connections.length ? `${all}, ${list.connections.length} are shown` : all);
	byId("connections-more").hidden = !list.next || limit >= 1000;
	const body = byId("connections-table").tBodies[0];
	const rows = list.connections.map((c) => [c, JSON.stringify([c, age(c.since), c.id === selected])]);
	const old = new Map([...body.rows].map((r) => [r.dataset.id, r]));
	const fresh = rows.map(([c, text]) => {
		const row = old.get(c.id);
		if (!row) return line(c, text);
		if (row.dataset.text !== text) refresh(row, c, text);
		return row;
	});
	if (fresh.length === 0) {
		body.replaceChildren(el("tr", {}, el("td", { class: "empty", colspan: 7 }, search ? "No connection matches." : "Nobody is connected.")));
	} else if (fresh.length !== body.rows.length || fresh.some((r, i) => r !== body.rows[i])) {
		const focus = document.activeElement;
		body.replaceChildren(...fresh);
		if (body.contains(focus)) focus.focus({ preventScroll: true });
	}
}

function line(c, text) {
	const row = el("tr", { "data-id": c.id }, el("td", { "data-label": "Connection" }, el("a", { class: "mono", href: `#connections/${encodeURIComponent(c.id)}` }, c.id)),
		...["How", "Address", "For", "Channels", "Sent", "Waiting"].map((label) => el("td", { "data-label": label, class: label === "Sent" || label === "Waiting" ? "number" : "" })));
	refresh(row, c, text);
	return row;
}

function refresh(row, c, text) {
	row.dataset.text = text;
	if (c.id === selected) row.setAttribute("aria-current", "true");
	else row.removeAttribute("aria-current");
	const [, how, from, since, channels, sent, waiting] = row.cells;
	const transport = { websocket: "WebSocket", poll: "long poll", none: "request" }[c.transport] || c.transport;
	how.replaceChildren(`${transport}${c.dialect && c.transport !== "none" ? ", " + c.dialect : ""}`, el("small", {}, c.state));
	setText(from, address(c.address));
	setText(since, age(c.since));
	const more = (c.channelCount || 0) - (c.channels || []).length;
	channels.replaceChildren(el("code", {}, (c.channels || []).slice(0, 3).join(" ")), more > 0 || (c.channels || []).length > 3 ? ` and ${number((c.channelCount || c.channels.length) - Math.min(3, c.channels.length))} more` : "");
	setText(sent, number(c.sent));
	setText(waiting, bytes(c.waiting || 0));
}
