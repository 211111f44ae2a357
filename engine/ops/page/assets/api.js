// How the page asks the server.

// at is where the server has a path. The address of the page itself may have the token before its host, with which nothing can be fetched.
const at = (path) => new URL(path, location.origin);

// request answers what the server says as JSON. An Error has the server's own words, and its status.
export async function request(path, options = {}) {
	let reply;
	try {
		reply = await fetch(at(path), { cache: "no-store", ...options });
	} catch (err) {
		if (err.name === "AbortError") throw err;
		throw Object.assign(new Error("no answer from the server"), { status: 0 });
	}
	await check(reply);
	return reply.status === 204 ? null : reply.json();
}

export const post = (path, body = {}) =>
	request(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });

// stream reads events until they end: on(name, data, …) gets each. An aborted stream ends without an error.
export async function stream(path, on, signal) {
	const reply = await fetch(at(path), { cache: "no-store", signal, headers: { Accept: "text/event-stream" } });
	await check(reply);
	const reader = reply.body.pipeThrough(new TextDecoderStream()).getReader();
	let rest = "";
	for (;;) {
		const { value, done } = await reader.read();
		if (done) return;
		const blocks = (rest + value).split("\n\n");
		rest = blocks.pop();
		for (const block of blocks) {
			let name = "message", data = "";
			for (const line of block.split("\n")) {
				if (line.startsWith("event:")) name = line.slice(6).trim();
				if (line.startsWith("data:")) data += line.slice(5).trim();
			}
			if (data) on(name, JSON.parse(data));
		}
	}
}

async function check(reply) {
	if (reply.ok) return;
	let text = `${reply.status} ${reply.statusText}`;
	try {
		text = (await reply.json()).error || text;
	} catch {
		// no JSON: the status has to do
	}
	throw Object.assign(new Error(text), { status: reply.status });
}
