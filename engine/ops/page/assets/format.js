// Numbers for people.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const fine = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });

export const number = (n) => (Math.abs(n) >= 100 || Number.isInteger(n) ? whole : fine).format(n);

export const count = (n, one, many = one + "s") => `${number(n)} ${n === 1 ? one : many}`;

export function bytes(n) {
	const units = ["B", "KiB", "MiB", "GiB", "TiB"];
	let i = 0;
	for (; n >= 1024 && i < units.length - 1; i++) n /= 1024;
	return `${i === 0 ? whole.format(n) : fine.format(n)} ${units[i]}`;
}

// seconds is a short time: a delay, a silence.
export function seconds(s) {
	if (s === 0) return "0 s";
	if (s < 0.001) return `${fine.format(s * 1e6)} µs`;
	if (s < 1) return `${fine.format(s * 1000)} ms`;
	if (s < 120) return `${fine.format(s)} s`;
	return duration(s);
}

// duration is a long time: an uptime, an age.
export function duration(s) {
	s = Math.max(0, Math.floor(s));
	const parts = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
	const first = Math.max(0, parts.findIndex(([size]) => s >= size));
	if (s === 0) return "0 s";
	return parts.slice(first, first + 2).map(([size, unit], i) => {
		const n = Math.floor((i === 0 ? s : s % parts[first][0]) / size);
		return n > 0 || i === 0 ? `${n} ${unit}` : "";
	}).join(" ").trim();
}

export const age = (time) => duration((Date.now() - new Date(time).getTime()) / 1000);

// clock is the time of day, to the millisecond where that matters.
export function clock(time, precise = false) {
	const t = new Date(time);
	const text = t.toLocaleTimeString("en-GB");
	return precise ? `${text}.${String(t.getMilliseconds()).padStart(3, "0")}` : text;
}

export const moment = (time) => `${new Date(time).toLocaleDateString("en-CA")} ${clock(time)}`;

// address is one of version 4 as people write it, with or without a port.
export const address = (text) => text.replace(/^(\[?)::ffff:(\d+\.\d+\.\d+\.\d+)\]?/, "$2");

// shortMid is the part of a message id that differs from one to the next.
export const shortMid = (mid) => (mid && mid.length > 10 ? "…" + mid.slice(-7) : mid || "");
