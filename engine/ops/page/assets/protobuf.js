// The binary framing, as far as a subscriber needs it: a ResponseBatch with messages.

// fields takes a message apart: pairs of number and value, which is a number or bytes.
function* fields(bytes) {
	let at = 0;
	const varint = () => {
		let value = 0;
		for (let factor = 1; ; factor *= 128) {
			if (at >= bytes.length || factor > 2 ** 49) throw new Error("what came is no message in protobuf");
			const b = bytes[at++];
			value += (b & 127) * factor;
			if (b < 128) return value;
		}
	};
	const take = (n) => {
		if (n > bytes.length - at) throw new Error("what came is no message in protobuf");
		at += n;
		return bytes.subarray(at - n, at);
	};
	while (at < bytes.length) {
		const tag = varint();
		const number = Math.floor(tag / 8);
		switch (tag % 8) {
			case 0: yield [number, varint()]; break;
			case 1: yield [number, take(8)]; break;
			case 2: yield [number, take(varint())]; break;
			case 5: yield [number, take(4)]; break;
			default: throw new Error("what came is no message in protobuf");
		}
	}
}

function* inside(bytes, wanted) {
	for (const [number, value] of fields(bytes)) if (number === wanted) yield value;
}

// messages are those of a frame or reply: {mid, body}.
export function messages(bytes) {
	const found = [];
	for (const response of inside(bytes, 1))
		for (const outgoing of inside(response, 1))
			for (const message of inside(outgoing, 1)) {
				const m = { mid: "", body: "" };
				for (const [number, value] of fields(message)) {
					if (number === 1) m.mid = Array.from(value, (b) => b.toString(16).padStart(2, "0")).join("");
					if (number === 2) m.body = new TextDecoder().decode(value);
				}
				found.push(m);
			}
	return found;
}
