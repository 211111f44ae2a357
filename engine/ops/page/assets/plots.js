// Small plots over time, with their values in words beside them.

import uPlot from "./uplot/uPlot.esm.js";
import { el, setText } from "./dom.js";

const span = 15 * 60; // seconds that a plot shows at most
const shortest = 60; // and at least
const dark = matchMedia("(prefers-color-scheme: dark)");
const binaryIncrements = Array.from({ length: 50 }, (_, i) => 2 ** i);
const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// Plot draws some series over the same times.
export class Plot {
	// format makes text of a value; least is what the y axis reaches at least; binary: values are bytes. series: [{label, color}]
	constructor(parent, { title, format, least, series, binary }) {
		this.title = title;
		this.format = format;
		this.least = least;
		this.binary = binary;
		this.legend = el("ul", { class: "legend" });
		this.canvas = el("div", { class: "canvas", role: "img" });
		parent.append(el("figure", { class: "card plot" }, el("figcaption", {}, el("h3", {}, title), this.legend), this.canvas));
		this.setSeries(series);
		new ResizeObserver(() => this.resize()).observe(this.canvas);
		dark.addEventListener("change", () => this.plot.redraw(false, true));
	}

	// setSeries begins anew with other series, unless they are the same.
	setSeries(series) {
		const labels = series.map((s) => s.label).join();
		if (this.labels === labels) return;
		this.labels = labels;
		this.series = series;
		this.values = series.map(() => el("b"));
		this.legend.replaceChildren(...series.map((s, i) => el("li", {}, el("i", { "data-color": s.color }), s.label + " ", this.values[i])));
		this.plot?.destroy();
		this.plot = new uPlot(this.options(), [[], ...series.map(() => [])], this.canvas);
	}

	options() {
		const axis = { stroke: () => color("--muted"), font: "11px system-ui, sans-serif", ticks: { show: false } };
		return {
			...this.size(), legend: { show: false }, padding: [8, 24, 0, 0],
			cursor: { y: false, drag: { x: false, y: false }, points: { size: 5 }, sync: { key: "overview" } },
			scales: {
				x: { range: (u, min, max) => [Math.max(max - span, Math.min(min, max - shortest)), max] },
				y: { range: (u, min, max) => [0, Math.max(this.least, max * 1.12)] },
			},
			axes: [
				{ ...axis, grid: { show: false }, size: 28, gap: 8, space: 70, values: (u, times) => times.map((t) => new Date(t * 1000).toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" })) },
				{ ...axis, grid: { stroke: () => color("--grid"), width: 1 }, size: 62, space: 34, ...(this.binary && { incrs: binaryIncrements }), values: (u, values) => values.map((v) => this.format(v)) },
			],
			series: [{}, ...this.series.map((s) => ({
				label: s.label, stroke: () => color("--c" + s.color), width: 2, points: { show: false }, spanGaps: true,
			}))],
		};
	}

	size() {
		return { width: Math.max(100, this.canvas.clientWidth || 320), height: this.canvas.clientHeight || 130 };
	}

	resize() {
		const { width, height } = this.size();
		if (this.canvas.clientWidth && (width !== this.plot.width || height !== this.plot.height)) this.plot.setSize({ width, height });
	}

	// show draws columns, one for each series, over times; texts say what the newest values are.
	show(times, columns, texts) {
		this.plot.setData([times, ...columns]);
		texts.forEach((text, i) => setText(this.values[i], text));
		this.canvas.setAttribute("aria-label", `${this.title}, now: ${this.series.map((s, i) => `${s.label} ${texts[i]}`).join(", ")}`);
	}
}
