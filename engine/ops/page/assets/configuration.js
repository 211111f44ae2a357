// The configuration in effect. Secrets come masked from the server.

import { request } from "./api.js";
import { byId, el, setText } from "./dom.js";
import { count } from "./format.js";

let options = null;

export async function show() {
	if (options) return;
	try {
		const c = await request("/config");
		options = c.options.sort((a, b) => listener(a) - listener(b));
		byId("configuration-files").replaceChildren("Read from ", el("code", {}, c.files), ". Secrets are shown as ***.");
		byId("filter").addEventListener("input", render);
		byId("only-given").addEventListener("change", render);
		byId("configuration-form").addEventListener("submit", (e) => e.preventDefault());
		render();
	} catch (err) {
		setText(byId("configuration-count"), err.message);
	}
}

// listener is the number of the one that an option belongs to, as the lines of each are to stand together; others come behind.
const listener = (o) => Number(/^servers\[(\d+)\]/.exec(o.key)?.[1] ?? 1e6);

function render() {
	const wanted = byId("filter").value.trim().toLowerCase();
	const given = byId("only-given").checked;
	const found = options.filter((o) => (!given || o.given) && `${o.key} ${text(o.value)} ${o.doc}`.toLowerCase().includes(wanted));
	setText(byId("configuration-count"), count(found.length, "key"));
	byId("options").tBodies[0].replaceChildren(...(found.length ? found.map(line) : [el("tr", {}, el("td", { colspan: 3, class: "empty" }, "No key matches."))]));
}

function line(o) {
	return el("tr", {},
		el("td", { "data-label": "" }, el("code", { class: o.given ? "given" : "" }, o.key), " ", o.given ? el("span", { class: "tag" }, "set") : ""),
		el("td", { "data-label": "" }, el("code", {}, text(o.value))), el("td", {}, ...markdown(o.doc || "")));
}

function text(value) {
	if (value === "") return "–";
	if (Array.isArray(value)) return value.length ? value.map(String).join(", ") : "–";
	return typeof value === "object" && value !== null ? JSON.stringify(value) : String(value);
}

// markdown knows `code`, and links by their words: where they lead, the page cannot say.
const markdown = (line) => line.replace(/\[([^\]]+)\]\([^)]*\)/g, "$1").split("`").map((part, i) => (i % 2 ? el("code", {}, part) : part));
