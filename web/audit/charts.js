// What the loaded entries add up to.

import { h } from "../lib/dom.js";
import { has, t } from "../lib/i18n.js";
import { bars, columns } from "../lib/plot.js";

/** @typedef {import("./entry.js").Entry} Entry */

/** Days that the timeline shows at most. */
const DAYS = 60;

/** @param {Entry[]} entries @returns {HTMLElement} */
export function charts(entries) {
  const of = (/** @type {string} */ kind) => entries.filter((e) => e.kind === kind);
  return h("div.charts",
    panel("uses", counted(of("resolve_allowed"), "purpose", "purpose")),
    panel("refusals", counted(of("resolve_denied"), "rule", "rule")),
    panel("verdicts", counted(of("verdict"), "outcome", "outcome")),
    panel("pad", counted(of("verdict").filter((e) => "pad" in e.attributes), "pad", "status")),
    panel("takedowns", takedowns(entries)),
    h("section.card.across", h("h3", t("audit.chart.days")), columns(perDay(entries.filter((e) => e.at > 0)), t("audit.chart.days"))));
}

/** @param {string} name @param {{ label: string, value: number }[]} found */
function panel(name, found) {
  return h("section.card", h("h3", t(`audit.chart.${name}`)), found.length ? bars(found, t(`audit.chart.${name}`)) : h("p.soft", t("audit.chart.none")));
}

/** @param {Entry[]} entries @param {string} attribute @param {string} words */
function counted(entries, attribute, words) {
  /** @type {Map<string, number>} */
  const counts = new Map();
  for (const e of entries) {
    const name = String(e.attributes[attribute] ?? "–");
    counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  const label = (/** @type {string} */ name) => (has(`${words}.${name}`) ? t(`${words}.${name}`) : has(`${words}.${name}.name`) ? t(`${words}.${name}.name`) : name);
  return [...counts].map(([name, value]) => ({ label: label(name), value })).sort((a, b) => b.value - a.value);
}

const [HOUR, DAY] = [3_600_000, 86_400_000];

/** How long it took until a video was taken down. @param {Entry[]} entries */
function takedowns(entries) {
  const asked = new Map(entries.filter((e) => e.kind === "takedown_requested").map((e) => [e.attributes.takedown, e.at]));
  const done = new Map(entries.filter((e) => e.kind === "takedown_answered" && e.attributes.answer === "done").map((e) => [e.attributes.takedown, e.at]));
  const counts = { hour: 0, day: 0, longer: 0, open: 0 };
  for (const [id, from] of asked) {
    const took = (done.get(id) ?? Infinity) - from;
    counts[took <= HOUR ? "hour" : took <= DAY ? "day" : took < Infinity ? "longer" : "open"] += 1;
  }
  return asked.size ? Object.entries(counts).map(([name, value]) => ({ label: t(`audit.chart.took.${name}`), value })) : [];
}

/** @param {Entry[]} entries */
function perDay(entries) {
  if (entries.length === 0) return [];
  const dayOf = (/** @type {number} */ ms) => Math.floor(ms / 86_400_000);
  const days = entries.map((e) => dayOf(e.at));
  const last = Math.max(...days);
  const first = Math.max(Math.min(...days), last - DAYS + 1);
  return Array.from({ length: last - first + 1 }, (_, i) => ({ label: new Date((first + i) * 86_400_000).toISOString().slice(0, 10), value: days.filter((d) => d === first + i).length }));
}
