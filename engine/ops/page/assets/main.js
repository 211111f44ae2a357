// Which view is open, and what all of them know of the server: its overview, asked for every two seconds.

import { request } from "./api.js";
import { byId, setState, setText } from "./dom.js";
import { clock, duration } from "./format.js";
import * as configuration from "./configuration.js";
import * as connections from "./connections.js";
import * as overview from "./overview.js";
import * as tester from "./tester.js";
import * as warnings from "./warnings.js";

const interval = 2000;

// A view has show(rest of the address), hide() and update(overview), each if it needs it.
const views = { overview, tester, connections, configuration, warnings };
let open = null;

function navigate() {
	const [name, rest] = location.hash.slice(1).split(/\/(.*)/s);
	const next = name in views ? name : "overview";
	for (const link of document.querySelectorAll("nav a")) {
		if (link.hash === "#" + next) link.setAttribute("aria-current", "page");
		else link.removeAttribute("aria-current");
	}
	if (next !== open) {
		if (open) views[open].hide?.();
		for (const id in views) byId(id).hidden = id !== next;
		const title = { overview: "Overview", tester: "Channel tester", connections: "Connections", configuration: "Configuration", warnings: "Warnings" }[next];
		document.title = `${title} · push-server`;
		if (open) {
			byId("main").focus({ preventScroll: true });
			scrollTo(0, 0);
		}
	}
	open = next;
	views[next].show?.(decodeURIComponent(rest || ""));
}

let lastAnswer = null;

async function look() {
	try {
		const o = await request("/overview", { signal: AbortSignal.timeout(10000) });
		lastAnswer = new Date();
		byId("offline").hidden = true;
		head(o);
		for (const view of Object.values(views)) view.update?.(o);
	} catch (err) {
		offline(err);
	}
	setTimeout(look, interval);
}

function head(o) {
	setState(byId("pill"), o.ready ? "ready" : "not ready", o.ready ? "good" : "bad");
	setText(byId("process"), o.process);
	setText(byId("build"), `push-server ${o.version}, ${o.go}, process ${o.pid}, up ${duration(o.uptime)}${o.readOnly ? ", read-only window" : ""}`);
	byId("profiles").hidden = !o.profiles;
}

function offline(err) {
	const since = lastAnswer ? `; what is shown is of ${clock(lastAnswer)}` : "";
	const why = err.status === 401 ? "The server has another token now: reload the page to give it" :
		err.status ? `The server refuses: ${err.message}` : "The server does not answer";
	setText(byId("offline"), `${why}${since}. Trying again every two seconds.`);
	byId("offline").hidden = false;
	setState(byId("pill"), "no answer", "bad");
}

addEventListener("hashchange", navigate);
navigate();
look();
