// Review: the queue, a case, the decision.

import { get, Problem, send } from "../lib/api.js";
import { announce, byId, confirmed, focusHeading, h, put, save } from "../lib/dom.js";
import { load, number, t, time } from "../lib/i18n.js";
import { scoreBar } from "../lib/plot.js";
import { signIn } from "../lib/signin.js";
import { charts } from "./evidence.js";
import { pictures } from "./frames.js";

/** @param {string} [note] */
async function queue(note) {
  const { items, next } = await get("/v1/reviews?limit=50");
  put(byId("main"),
    h("h1", t("review.title")), h("p.lede", t("review.lede")),
    note ? h("p.note.good", t(note)) : null,
    items.length === 0
      ? h("p.empty", t("review.empty"))
      : h("div.card", h("div.scroll", { tabindex: "0", role: "region", "aria-label": t("review.title") }, h("table",
          h("thead", h("tr", ["case", "why", "waiting", "attempt"].map((c) => h("th", { scope: "col" }, t(`review.col.${c}`))))),
          h("tbody", items.map((/** @type {any} */ v) => h("tr",
            h("th", { scope: "row" }, h("button.slim.mono", { type: "button", "aria-label": t("review.openCase", { id: short(v.id) }), onclick: () => look(v) }, short(v.id))),
            h("td", open(v).map((c) => h("span.tag.warn", t(`check.${c.check}`)))),
            h("td", time(v.updated_at)),
            h("td.num", v.attempt))))))),
    next ? h("p.soft", t("review.more")) : null);
  if (note) announce(t(note));
  focusHeading();
}

/** The last characters tell ids apart. @param {string} id */
function short(id) {
  return `…${id.slice(-8)}`;
}

/** @param {any} v @returns {any[]} the checks that were left open */
function open(v) {
  return v.verdict.checks.filter((/** @type {any} */ c) => c.status !== "pass");
}

/** A case, before its evidence is asked for. @param {any} v */
function look(v) {
  const evidence = h("section.card", { "aria-labelledby": "evidence" }, h("h2", { id: "evidence" }, t("review.evidence")),
    h("p", t("review.evidenceHint")),
    h("button", { type: "button", id: "show-evidence", onclick: () => show(v, evidence) }, t("review.show")));
  put(byId("main"),
    h("p", h("button.quiet.slim", { type: "button", onclick: () => queue() }, t("review.back"))),
    h("h1", t("review.case", { id: short(v.id) })),
    h("p.soft", t("review.about", { attempt: v.attempt, time: time(v.updated_at), policy: v.verdict.policy })),
    h("section.card", { "aria-labelledby": "checks" }, h("h2", { id: "checks" }, t("review.checks")), earlier(v.verdict.earlier), h("ul.cases", v.verdict.checks.map(check))),
    v.quality ? quality(v.quality) : null,
    evidence,
    decision(v));
  focusHeading();
}

/** @param {any} c */
function check(c) {
  const measured = c.score !== null && c.score !== undefined;
  const good = c.status === "pass";
  const value = measured ? number(c.score, { maximumFractionDigits: 3 }) : "";
  const limit = c.threshold === null || c.threshold === undefined ? null : c.threshold;
  const max = Math.max(1, c.score ?? 0, limit ?? 0) * (Math.max(c.score ?? 0, limit ?? 0) > 1 ? 1.25 : 1);
  const words = limit === null ? value : t("review.against", { value, limit: number(limit, { maximumFractionDigits: 3 }) });
  return h("li",
    h("div.row.spread", h("strong", t(`check.${c.check}`)), h(`span.tag.${good ? "good" : c.status === "fail" ? "bad" : "warn"}`, t(`status.${c.status}`))),
    measured ? h("div.scored", scoreBar({ score: c.score, threshold: limit, max, good, label: `${t(`check.${c.check}`)}: ${words}` }), h("span.small.soft.num", words)) : null,
    c.reasons.map((/** @type {any} */ r) => h("p.small", t(`reason.${r.code}.meaning`))));
}

/** Where a single step was repeated: what stands from before, and whether the faces fit. @param {any} e */
function earlier(e) {
  if (!e) return null;
  const one = (/** @type {number | null} */ n) => (n === null ? "–" : number(n, { maximumFractionDigits: 3 }));
  return h("p.note", t("review.earlier", { check: t(`check.${e.check}`), attempt: e.attempt, distance: one(e.face_distance), limit: one(e.face_threshold) }));
}

/** @param {any} q */
function quality(q) {
  return h("details.card", h("summary", t("review.quality")), h("ul.qualities", Object.entries(q.components).filter(([, v]) => typeof v === "number").map(([name, v]) => h("li", h("span", name.replace(/([a-z])([A-Z])/g, "$1 $2")), scoreBar({ score: /** @type {number} */ (v), threshold: null, max: 100, good: /** @type {number} */ (v) >= 50, label: `${name}: ${v} / 100` }), h("span.num.small", /** @type {number} */ (v))))));
}

/** Asks for the evidence, which is logged, and draws it. @param {any} v @param {Element} place */
async function show(v, place) {
  try {
    const { evidence, first_approval: first, key_frames: frames, matches } = await get(`/v1/reviews/${v.id}`);
    put(place, h("h2", { id: "evidence" }, t("review.evidence")),
      first ? h("p.note", t(first.own ? "review.approvedByYou" : "review.approvedOnce", { time: time(first.at) }), " ", h("q", first.reason)) : null,
      matches.length ? alike(matches) : null,
      evidence ? charts(evidence) : h("p.note", t("review.gone")),
      pictures(v.id, frames, failed),
      evidence ? h("div.row.after", h("button.slim", { type: "button", id: "bundle", onclick: () => bundle(v) }, t("review.bundle"))) : null);
    announce(t("review.shown"));
  } catch (e) {
    failed(e);
  }
}

/** Whose face it seems to be besides: pseudonyms, as in the log. @param {any[]} matches */
function alike(matches) {
  const one = (/** @type {any} */ m) => m.kind === "enrolled"
    ? t("review.alike.enrolled", { who: m.subject_ref, time: time(m.since) })
    : m.kind === "protected" ? t("review.alike.protected", { label: m.label }) : t("review.alike.gone");
  return h("div.note.warn", h("p", h("strong", t("review.alike.title"))), h("ul", matches.map((m) => h("li.wrap", one(m)))));
}

/** The verdict with all it rests on, as a file that can be replayed elsewhere. Logged, too. @param {any} v */
async function bundle(v) {
  const whole = await get(`/v1/reviews/${v.id}/bundle`);
  save(`cameo-verdict-${v.id}-${whole.attempt}.json`, new Blob([JSON.stringify(whole)], { type: "application/json" }));
}

/** @param {any} v */
function decision(v) {
  const reason = h("textarea", { id: "reason", maxlength: 500, required: true, "aria-describedby": "reason-hint" });
  const decide = async (/** @type {"approve" | "reject"} */ what) => {
    if (!reason.reportValidity() || !reason.value.trim()) return reason.focus();
    const yes = await confirmed({ title: t(`review.${what}Ask`), body: [h("p", t(`review.${what}Means`)), h("blockquote", reason.value)], yes: t(`review.${what}`), no: t("common.cancel"), danger: what === "reject" });
    if (!yes) return;
    try {
      const now = await send("POST", `/v1/reviews/${v.id}/decision`, { decision: what, reason: reason.value.trim() });
      await queue(now.state === "review" ? "review.approveFirst" : `review.${what}Done`);
    } catch (e) {
      if (e instanceof Problem && e.kind === "wrong-state") await queue("review.already");
      else if (e instanceof Problem && e.kind === "second-reviewer-needed") await queue("review.approveOther");
      else failed(e);
    }
  };
  return h("section.card", { "aria-labelledby": "decide" }, h("h2", { id: "decide" }, t("review.decide")),
    v.verdict.checks.some((/** @type {any} */ c) => c.status === "fail") ? h("p.note", { id: "takes-two" }, t("review.takesTwo")) : null,
    h("label", { for: "reason" }, t("review.reason")), h("p.hint", { id: "reason-hint" }, t("review.reasonHint")), reason,
    h("div.row.stretch.decide", h("button.main", { type: "button", id: "approve", onclick: () => decide("approve") }, t("review.approve")), h("button.danger", { type: "button", id: "reject", onclick: () => decide("reject") }, t("review.reject"))));
}

/** @param {unknown} e */
function failed(e) {
  const problem = e instanceof Problem ? e : null;
  if (problem?.status === 401) return void signIn("reviewer", () => queue());
  const text = problem?.status === 0 ? t("common.offline") : (problem?.message ?? t("common.broken"));
  byId("main").append(h("p.note.bad", { role: "alert" }, text));
}

addEventListener("unhandledrejection", (event) => {
  event.preventDefault(); // told here
  failed(event.reason);
});
await load();
document.title = `${t("review.title")} · Cameo`;
signIn("reviewer", () => void queue());
