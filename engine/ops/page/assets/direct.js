// How the browser itself listens to a channel, as a user's does. The same events as those of /tester/listen: "state", "message", "end".

import { messages as parseProtobuf } from "./protobuf.js";

const pause = 2000; // before another attempt

const address = (url, mid, framing) => `${url}&mid=${mid}${framing === "protobuf" ? "&binaryMode=true" : ""}`;
const bare = (url) => url.split("?")[0];

// parse makes messages of what came: bytes of either framing.
function parse(buffer, framing) {
	if (framing === "protobuf") return parseProtobuf(new Uint8Array(buffer)).map((m) => ({ mid: m.mid, ...JSON.parse(m.body) }));
	return new TextDecoder().decode(buffer).split("#!NGINXNMS!#").filter(Boolean).map((framed) => {
		const m = JSON.parse(framed.replace(/#!NGINXNME!#\s*$/, ""));
		return { mid: m.mid, ...m.text };
	});
}

export async function listenDirectly({ transport, url, framing, mid }, on, signal) {
	const from = { mid };
	const take = (buffer) => {
		for (const m of parse(buffer, framing)) {
			from.mid = m.mid;
			on("message", m);
		}
	};
	const once = transport === "poll" ? poll : socket;
	while (!signal.aborted) {
		try {
			await once(url, framing, from, take, on, signal);
		} catch (err) {
			if (signal.aborted) return;
			if (err.final) return on("end", { text: err.message });
			on("state", { text: `${err.message}; trying again`, listening: false });
			await new Promise((go) => setTimeout(go, pause));
		}
	}
}

function socket(url, framing, from, take, on, signal) {
	return new Promise((_, lost) => {
		const s = new WebSocket(address(url, from.mid, framing));
		let opened = false;
		s.binaryType = "arraybuffer";
		signal.addEventListener("abort", () => { s.close(); lost(new Error("stopped")); }, { once: true });
		s.onopen = () => { opened = true; on("state", { text: `listening at ${bare(url)}`, listening: true }); };
		s.onmessage = (e) => {
			try {
				take(typeof e.data === "string" ? new TextEncoder().encode(e.data) : e.data);
			} catch (err) {
				s.close();
				lost(Object.assign(err, { final: true }));
			}
		};
		s.onclose = (e) => lost(Object.assign(
			new Error(opened ? `closed by the server: ${e.code} ${e.reason}` : `this browser cannot connect to ${bare(url)}`), { final: e.code >= 4000 }));
	});
}

async function poll(url, framing, from, take, on, signal) {
	on("state", { text: `listening at ${bare(url)}`, listening: true });
	let reply;
	try {
		reply = await fetch(address(url, from.mid, framing), { signal, cache: "no-store", credentials: "omit", mode: "cors" });
	} catch {
		throw new Error(`this browser cannot connect to ${bare(url)}`);
	}
	if (reply.status === 304) from.mid = reply.headers.get("Last-Message-Id") || from.mid;
	else if (reply.ok) take(await reply.arrayBuffer());
	else throw Object.assign(new Error(`HTTP status ${reply.status}: ${(await reply.text()).slice(0, 200)}`), { final: reply.status < 500 });
}
