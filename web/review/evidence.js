// What was measured in a recording, on one axis of time: pose, mouth, speech, alikeness, liveness.
// Numbers only: pictures are asked for one by one (frames.js), and no sound is kept.

import { h, s } from "../lib/dom.js";
import { number, t } from "../lib/i18n.js";

// A lane's name stands above it, where there is room for any language.
const [WIDTH, START, NAME, GAP] = [720, 8, 18, 10];

/** @param {any} e the evidence @returns {any[]} */
export function charts(e) {
  const frames = e.frames.filter((/** @type {any} */ f) => f.face);
  const end = Math.max(1, e.media.duration_ms);
  const x = (/** @type {number} */ ms) => START + ((WIDTH - START) * Math.min(end, Math.max(0, ms))) / end;
  /** @type {Lane[]} */
  const lanes = [
    { name: "yaw", height: 76, ...span(frames, (f) => f.face.pose.yaw, 35, true), zero: true, lines: [line(frames, (f) => f.face.pose.yaw, 1)] },
    { name: "pitch", height: 76, ...span(frames, (f) => f.face.pose.pitch, 30, true), zero: true, lines: [line(frames, (f) => f.face.pose.pitch, 3)] },
    { name: "mouth", height: 44, ...span(frames, (f) => f.face.mouth_open, 0.4, false), lines: [line(frames, (f) => f.face.mouth_open, 2)] },
    { name: "speech", height: 40, min: 0, max: 1, lines: [], bars: e.speech.segments, digits: e.speech.transcript?.digits ?? [] },
    { name: "alike", height: 44, min: 0, max: Math.max(e.identity.threshold * 1.4, ...e.identity.samples.map((/** @type {any} */ p) => p.distance)), limit: e.identity.threshold, dots: e.identity.samples.map((/** @type {any} */ p) => [p.t_ms, p.distance]), lines: [] },
    ...(e.spoof ? [{ name: "live", height: 44, min: 0, max: 1, limit: e.spoof.threshold, dots: e.spoof.samples.map((/** @type {any} */ p) => [p.t_ms, p.live]), lines: [] }] : []),
  ];
  let top = NAME;
  const parts = lanes.map((lane) => {
    const part = draw(lane, top, x);
    top += lane.height + GAP + NAME;
    return part;
  });
  const seconds = Array.from({ length: Math.floor(end / 1000) + 1 }, (_, i) => i);
  const grid = seconds.map((i) => [s("path.axis", { d: `M${x(i * 1000)} 4V${top - NAME - 4}`, "stroke-opacity": 0.55 }), i % 2 ? null : s("text", { x: x(i * 1000), y: top - NAME + 10, "text-anchor": x(i * 1000) > WIDTH - 14 ? "end" : "middle" }, `${i} s`)]);
  const asked = [e.challenge.digits.join(" "), e.challenge.motions.map((/** @type {string} */ m) => t(`motion.${m}`)).join(", ")];
  const heard = e.speech.transcript ? e.speech.transcript.digits.map((/** @type {any} */ d) => d.digit).join(" ") || "–" : t("review.notHeard");
  return [
    h("dl.facts", h("dt", t("review.asked")), h("dd", h("bdi.num", asked[0]), " · ", asked[1]), h("dt", t("review.heard")), h("dd", h("bdi.num", heard)),
      h("dt", t("review.media")), h("dd", `${e.media.width} × ${e.media.height}, ${number(e.media.duration_ms / 1000, { maximumFractionDigits: 1 })} s, ${e.media.frames} ${t("review.frames")}, ${e.media.video_codec}/${e.media.audio_codec}`)),
    // Time goes to the right, whatever the language does, and the beginning is what is seen first.
    h("div.scroll", { dir: "ltr", tabindex: "0", role: "region", "aria-label": t("review.timeline") },
      s("svg.plot.lanes", { viewBox: `0 0 ${WIDTH} ${top}`, role: "img", "aria-label": t("review.timelineAlt", { seconds: number(end / 1000, { maximumFractionDigits: 1 }), peak: number(peak(frames, "yaw")), nod: number(peak(frames, "pitch")), stretches: e.speech.segments.length }) }, grid, parts)),
    h("p.small.soft", t("review.legend")),
  ];
}

/**
 * @typedef {{ name: string, height: number, min: number, max: number, zero?: boolean, limit?: number,
 *   lines: { points: [number, number][], colour: number }[], dots?: [number, number][],
 *   bars?: { start_ms: number, end_ms: number }[], digits?: { digit: number, start_ms: number | null }[] }} Lane
 */

/** @param {Lane} lane @param {number} top @param {(ms: number) => number} x */
function draw(lane, top, x) {
  const y = (/** @type {number} */ v) => top + lane.height - (lane.height * (Math.min(lane.max, Math.max(lane.min, v)) - lane.min)) / (lane.max - lane.min || 1);
  return s("g",
    s("text.strong", { x: START, y: top - 5 }, t(`review.lane.${lane.name}`)),
    s("rect", { x: START, y: top, width: WIDTH - START, height: lane.height, fill: "var(--sunk)", "fill-opacity": 0.55, rx: 4 }),
    lane.zero ? s("path.axis", { d: `M${START} ${y(0)}H${WIDTH}` }) : null,
    lane.limit === undefined ? null : s("path", { d: `M${START} ${y(lane.limit)}H${WIDTH}`, stroke: "var(--bad)", "stroke-dasharray": "5 4", fill: "none" }),
    lane.bars?.map((b) => s("rect", { x: x(b.start_ms), y: top + 6, width: Math.max(1, x(b.end_ms) - x(b.start_ms)), height: lane.height - 12, rx: 4, fill: "var(--plot-1)", "fill-opacity": 0.3 })),
    lane.digits?.map((d) => (d.start_ms === null ? null : s("text.strong", { x: x(d.start_ms), y: top + lane.height / 2 + 4, "font-weight": 700 }, String(d.digit)))),
    lane.lines.map((l) => s("path", { d: pathOf(l.points, x, y), fill: "none", stroke: `var(--plot-${l.colour})`, "stroke-width": 2, "stroke-linejoin": "round" })),
    lane.dots?.map(([ms, v]) => s("circle", { cx: x(ms), cy: y(v), r: 2.6, fill: "var(--plot-3)" })));
}

/** A line that breaks where nothing was seen for a while. @param {[number, number][]} points @param {(ms: number) => number} x @param {(v: number) => number} y */
function pathOf(points, x, y) {
  return points.map(([ms, v], i) => `${i && ms - points[i - 1][0] < 400 ? "L" : "M"}${x(ms).toFixed(1)} ${y(v).toFixed(1)}`).join("");
}

/** @param {any[]} frames @param {(f: any) => number} of @param {number} colour @returns {{ points: [number, number][], colour: number }} */
function line(frames, of, colour) {
  return { points: frames.map((f) => [f.t_ms, of(f)]), colour };
}

/** The range that is shown: at least `least`, so that noise does not look like movement. */
function span(/** @type {any[]} */ frames, /** @type {(f: any) => number} */ of, /** @type {number} */ least, /** @type {boolean} */ both) {
  const max = Math.max(least, ...frames.map((f) => Math.abs(of(f))));
  return { min: both ? -max : 0, max };
}

/** @param {any[]} frames @param {"yaw" | "pitch"} axis */
function peak(frames, axis) {
  return Math.round(Math.max(0, ...frames.map((f) => Math.abs(f.face.pose[axis]))));
}
