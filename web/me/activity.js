// What others ask for and what they did: requests, permissions to single people, uses.

import { freshKey, get, send } from "../lib/api.js";
import { confirmed, h, put } from "../lib/dom.js";
import { day, has, list, t, time } from "../lib/i18n.js";

/** Uses that are loaded at a time. */
const PAGE = 25;
/** How long a permission for a time lasts, in days. */
const FOR_DAYS = 30;

/** @typedef {(text: string, bad?: boolean) => Promise<void>} Done draws the page again and says so */

/**
 * Requests that wait for an answer.
 * @param {any[]} items
 * @param {Done} done
 */
export function requests(items, done) {
  const answer = async (/** @type {any} */ r, /** @type {string} */ decision) => {
    if (decision === "never") {
      const yes = await confirmed({ title: t("me.requests.neverAsk", { name: r.requester }), body: h("p", t("me.requests.neverMeans")), yes: t("me.requests.never"), no: t("common.cancel"), danger: true });
      if (!yes) return;
    }
    const until = decision === "until" ? { until: new Date(Date.now() + FOR_DAYS * 86_400_000).toISOString() } : {};
    await send("POST", `/v1/requests/${r.id}/decision`, { decision, ...until });
    await done(`me.requests.${decision}Done`);
  };
  return h("section.card", { "aria-labelledby": "requests" }, h("h2", { id: "requests" }, t("me.requests.title")),
    items.length === 0 ? h("p.empty", t("me.requests.none")) : h("ul.uses", items.map((r) => h("li",
      h("div.what", h("strong", h("bdi", r.requester)), h("span", t("me.requests.wants", { purposes: purposes(r.wish.purposes) }), r.wish.voice ? ` ${t("me.requests.voice")}` : ""),
        r.message ? h("q", h("bdi", r.message)) : null, h("span.small.soft", t("me.requests.lapses", { time: day(r.expires_at) }))),
      h("div.row.answers", { role: "group", "aria-label": t("me.requests.answer", { name: r.requester }) },
        h("button.slim.main", { type: "button", onclick: () => answer(r, "once") }, t("me.requests.once")),
        h("button.slim", { type: "button", onclick: () => answer(r, "until") }, t("me.requests.until")),
        h("button.slim", { type: "button", onclick: () => answer(r, "decline") }, t("me.requests.decline")),
        h("button.slim.danger", { type: "button", onclick: () => answer(r, "never") }, t("me.requests.never")))))));
}

/**
 * Permissions to single people.
 * @param {string} path the cameo's
 * @param {any[]} items
 * @param {Done} done
 */
export function grants(path, items, done) {
  const standing = items.filter((g) => !g.revoked_at && !(g.scope.until && Date.parse(g.scope.until) < Date.now()));
  if (standing.length === 0) return null;
  const revoke = async (/** @type {any} */ g) => {
    await send("DELETE", `${path}/grants/${g.id}`);
    await done("me.grants.done");
  };
  return h("section.card", { "aria-labelledby": "grants" }, h("h2", { id: "grants" }, t("me.grants.title")),
    h("ul.uses", standing.map((g) => h("li",
      h("div.what", h("strong", h("bdi", g.to)), h("span", purposes(g.scope.purposes)), h("span.small.soft", g.scope.until ? t("me.until", { until: time(g.scope.until) }) : t("me.always"))),
      h("button.slim", { type: "button", onclick: () => revoke(g) }, t("me.grants.revoke"))))));
}

/**
 * Every use, refusals too, the newest first.
 * @param {string} path the cameo's
 * @param {any[]} first the newest page
 * @param {Done} done
 */
export function uses(path, first, done) {
  let last = first.at(-1);
  const rows = h("ul.uses", first.map((u) => row(u, done)));
  const more = h("button", { type: "button", hidden: first.length < PAGE, onclick: async () => {
    const page = await get(usesPath(path, last.log_index));
    last = page.at(-1) ?? last;
    rows.append(...page.map((/** @type {any} */ u) => row(u, done)));
    more.hidden = page.length < PAGE;
  } }, t("me.uses.more"));
  return h("section.card", { "aria-labelledby": "uses" }, h("h2", { id: "uses" }, t("me.uses.title")), h("p.soft", t("me.uses.lede")),
    first.length === 0 ? h("p.empty", t("me.uses.none")) : [rows, more]);
}

/** @param {string} path @param {number} [before] */
export function usesPath(path, before) {
  return `${path}/uses?limit=${PAGE}${before === undefined ? "" : `&before=${before}`}`;
}

/** @param {any} u @param {Done} done */
function row(u, done) {
  const allowed = u.decision === "allowed";
  const takedown = async () => {
    const yes = await confirmed({ title: t("me.uses.ask"), body: h("p", t("me.uses.means")), yes: t("me.uses.takeDown"), no: t("common.cancel"), danger: true });
    if (!yes) return;
    await send("POST", `/v1/uses/${u.id}/takedown`, undefined, { "idempotency-key": freshKey() });
    await done("me.uses.asked");
  };
  const state = u.takedown ? `takedown.${u.takedown.state}` : u.outcome ? `useState.${u.outcome.state}` : allowed ? "useState.token" : "useState.refused";
  const tone = u.takedown ? (u.takedown.state === "done" ? "good" : "warn") : allowed ? "" : "good";
  return h("li", { "data-use": u.id },
    h("div.what",
      h("strong", allowed ? t("me.uses.used", { who: u.requester ?? "–", what: purpose(u.purpose) }) : t("me.uses.tried", { who: u.requester ?? "–", what: purpose(u.purpose) })),
      h("span.small.soft", time(u.at), allowed || !u.rule ? null : ` · ${has(`rule.${u.rule}`) ? t(`rule.${u.rule}`) : u.rule}`, " · ", t("me.uses.entry", { index: u.log_index })),
      u.outcome?.manifest ? h("span.small.soft", h("bdi", u.outcome.manifest)) : null,
      h("span", h(tone ? `span.tag.${tone}` : "span.tag", t(state)), u.takedown?.state === "open" ? h("span.small.soft", " ", t("me.uses.deadline", { time: time(u.takedown.deadline) })) : null)),
    allowed && !u.takedown && u.outcome?.state !== "deleted" ? h("button.slim.danger.take-down", { type: "button", "aria-label": t("me.uses.takeDownOf", { who: u.requester ?? "–", time: time(u.at) }), onclick: takedown }, t("me.uses.takeDown")) : null);
}

/** @param {string} name */
function purpose(name) {
  return has(`purpose.${name}.short`) ? t(`purpose.${name}.short`) : name;
}

/** @param {string[]} names */
function purposes(names) {
  return names.length ? list(names.map(purpose)) : t("me.nothing");
}
