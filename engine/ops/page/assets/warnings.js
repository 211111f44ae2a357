// Recent warnings of the log.

import { request } from "./api.js";
import { byId, el } from "./dom.js";
import { age, moment } from "./format.js";

const interval = 3000;

let open = false;
let timer = 0;

export function show() {
	open = true;
	look();
}

export function hide() {
	open = false;
}

async function look() {
	clearTimeout(timer);
	timer = setTimeout(look, interval);
	let list;
	try {
		list = await request("/warnings");
	} catch (err) {
		if (open) byId("warnings-list").replaceChildren(el("li", { class: "card" }, err.message));
		return;
	}
	const badge = byId("warning-count");
	badge.hidden = list.length === 0;
	badge.textContent = list.length;
	if (open) byId("warnings-list").replaceChildren(...(list.length ? list.map(line) : [el("li", { class: "card muted" }, "None since the start.")]));
}

function line(w) {
	const attrs = Object.entries(w.attrs || {});
	return el("li", { class: "card" },
		el("p", {}, el("span", { class: `tag ${w.level === "WARN" ? "warn" : "bad"}` }, w.level === "WARN" ? "warning" : w.level.toLowerCase()),
			el("strong", {}, w.message), el("span", { class: "muted" }, `${moment(w.time)}, ${age(w.time)} ago`)),
		attrs.length ? el("dl", { class: "facts" }, attrs.flatMap(([k, v]) => [el("dt", {}, k), el("dd", { class: "mono" }, v)])) : "");
}

look();
