// The operator as his own subscriber and his own back end.

import { post } from "./api.js";
import { byId, setState } from "./dom.js";
import { seconds } from "./format.js";
import { Lane } from "./lane.js";

const patience = 5000; // milliseconds until something is said to be missing

let channel = null;
let lanes = null;
let how = ""; // how the lanes listen
let readOnly = false;
let wasListening = false;

const form = byId("tester-form");
const say = (text, state = "") => setState(byId("tester-result"), text, state);

export function show() {
	if (lanes) {
		if (wasListening) start();
		return;
	}
	lanes = [new Lane(byId("lanes"), "websocket", "WebSocket"), new Lane(byId("lanes"), "poll", "Long poll", "long poll")];
	form.addEventListener("submit", (e) => {
		e.preventDefault();
		send();
	});
	for (const name of ["framing", "from"]) {
		for (const radio of form.elements[name]) radio.addEventListener("change", () => byId("tester-stop").disabled || start());
	}
	byId("tester-stop").addEventListener("click", () => {
		byId("tester-stop").disabled = true;
		stop();
		say("Stopped. What comes now is kept for five minutes; the next message goes on behind the last one.");
		byId("tester-send").focus();
	});
}

// hide leaves connections to others: a browser has six for a server.
export function hide() {
	wasListening = !byId("tester-stop").disabled;
	stop();
}

export function update(o) {
	if (o.readOnly === readOnly) return;
	readOnly = o.readOnly;
	for (const e of form.elements) e.disabled = readOnly || (e.id === "tester-stop" && how === "");
	if (readOnly) say("This window is read-only, so nothing can be sent: push.operators.readOnly, or it is reached from elsewhere without a token.", "warn");
}

function stop() {
	how = "";
	for (const lane of lanes) lane.stop();
}

function start() {
	const framing = form.elements.framing.value, from = form.elements.from.value;
	const wanted = [channel.id, framing, from].join();
	if (how === wanted && lanes.every((lane) => !lane.failed)) return;
	how = wanted;
	byId("tester-stop").disabled = false;
	for (const lane of lanes) lane.start({ id: channel.id, framing, from, url: lane.transport === "poll" ? channel.poll : channel.websocket });
}

async function send() {
	byId("tester-send").setAttribute("aria-disabled", "true");
	try {
		await sendTo(await listening());
	} catch (err) {
		if (err.status === 404) channel = null; // the process is another one
		say(sentence(err.message), "bad");
	} finally {
		byId("tester-send").removeAttribute("aria-disabled");
	}
}

// listening makes a channel if there is none, and answers which lanes hear it.
async function listening() {
	if (!channel) {
		say("Making a channel…");
		channel = await post("/tester/channel");
	}
	start();
	const waiting = lanes.some((lane) => !lane.listening);
	if (waiting) say("Connecting…");
	const heard = await Promise.all(lanes.map((lane) => lane.settled(patience)));
	if (lanes.some((lane) => lane.unknown)) {
		channel = null;
		return listening();
	}
	if (!heard.includes(true)) {
		const why = lanes.map((lane) => `${lane.title}: ${lane.state.textContent}`).join("; ");
		throw new Error(`nobody listens. ${why}`);
	}
	return lanes.filter((_, i) => heard[i]);
}

async function sendTo(listeners) {
	const sent = performance.now();
	const reply = await post("/tester/publish", { id: channel.id, text: byId("tester-text").value });
	const stored = `Message ${reply.n} ${reply.stored ? "stored" : "accepted, not stored yet,"} in ${seconds(reply.took)}`;
	say(`${stored}, waiting for it…`);
	const delays = await Promise.all(listeners.map((lane) => lane.arrived(reply.n, sent, patience)));
	const got = [], missed = lanes.filter((lane) => !listeners.includes(lane)).map((lane) => `${lane.word} does not listen`);
	listeners.forEach((lane, i) => {
		if (delays[i] == null) missed.push(`not received by ${lane.word} within ${patience / 1000} seconds`);
		else got.push(`by ${lane.word} after ${seconds(delays[i])}`);
	});
	const text = `${stored}. ${got.length ? `Received ${got.join(", ")}. ` : ""}${missed.length ? sentence(missed.join(", ")) : ""}`;
	say(text.trim(), missed.length ? "warn" : "good");
}

const sentence = (text) => text[0].toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".");
