// Small plots in SVG. Each has a text alternative; colour never says anything alone.

import { h, s } from "./dom.js";

/**
 * A score on a scale with its threshold.
 * @param {{ score: number, threshold: number | null, min?: number, max: number, good: boolean, label: string }} of
 */
export function scoreBar({ score, threshold, min = 0, max, good, label }) {
  const x = (/** @type {number} */ v) => 4 + 192 * Math.min(1, Math.max(0, (v - min) / (max - min || 1)));
  return s("svg.plot.score", { viewBox: "0 0 200 22", role: "img", "aria-label": label },
    s("rect", { x: 4, y: 8, width: 192, height: 6, rx: 3, fill: "var(--sunk)" }),
    s("rect", { x: 4, y: 8, width: Math.max(2, x(score) - 4), height: 6, rx: 3, fill: good ? "var(--good)" : "var(--bad)" }),
    threshold === null ? null : s("path", { d: `M${x(threshold)} 2v18`, stroke: "var(--ink)", "stroke-width": 2 }),
    s("circle", { cx: x(score), cy: 11, r: 5, fill: good ? "var(--good)" : "var(--bad)", stroke: "var(--card)", "stroke-width": 2 }));
}

/**
 * Bars with their numbers, the longest first where they are not in an order of their own.
 * @param {{ label: string, value: number }[]} bars
 * @param {string} name what is counted
 */
export function bars(bars, name) {
  const max = Math.max(1, ...bars.map((b) => b.value));
  return h("ul.bars", { "aria-label": name },
    bars.map((b) => h("li", h("span.bar-label", b.label), h("span.bar-track", { "aria-hidden": "true" }, h("span.bar-fill", { style: { "--share": b.value / max } })), h("span.num", b.value))));
}

/**
 * Columns over time.
 * @param {{ label: string, value: number }[]} columns
 * @param {string} name
 */
export function columns(columns, name) {
  const [width, height] = [640, 120];
  const max = Math.max(1, ...columns.map((c) => c.value));
  const step = Math.min(48, width / Math.max(1, columns.length));
  const total = columns.reduce((sum, c) => sum + c.value, 0);
  return s("svg.plot", { viewBox: `0 0 ${width} ${height + 20}`, role: "img", "aria-label": `${name}: ${total}` },
    columns.map((c, i) => s("rect", { x: i * step + step * 0.12, y: height - (height - 16) * (c.value / max), width: step * 0.76, height: (height - 16) * (c.value / max), rx: 2, fill: "var(--plot-1)" }, s("title", `${c.label}: ${c.value}`))),
    s("path.axis", { d: `M0 ${height + 0.5}H${width}` }),
    columns.length ? s("text", { x: 0, y: height + 15 }, columns[0].label) : null,
    columns.length > 2 ? s("text", { x: Math.max(160, columns.length * step), y: height + 15, "text-anchor": "end" }, columns[columns.length - 1].label) : null,
    s("text", { x: 0, y: 10 }, String(max)));
}
