// My cameo: who may use me and for what, and what became of it.

import { get, Problem, send, session } from "../lib/api.js";
import { announce, byId, confirmed, focusHeading, h, put, save as download } from "../lib/dom.js";
import { list, load, t, time } from "../lib/i18n.js";
import { grants, requests, uses, usesPath } from "./activity.js";
import { form, lookOf } from "./consent.js";
import { deletion, freeze, takeAlong } from "./control.js";

/** The version of what the form says: changes with its words. */
const TEXT_VERSION = "cameo-me-2";
/** Versions of consent that are listed. */
const HISTORY = 12;

/** @type {string} the cameo's address */
let path = "";
/** @type {string} the app's name of the person */
let subject = "";

async function begin() {
  const who = await session();
  await load();
  if (!who.subject) throw new Problem(401, {});
  put(byId("who"), h("button.quiet.slim", { type: "button", onclick: signOut }, t("common.signOut")));
  if (!who.cameo_id) return notice("none", null);
  path = `/v1/cameos/${who.cameo_id}`;
  subject = who.subject;
  await draw();
  focusHeading();
}

async function signOut() {
  await send("DELETE", "/v1/session").catch(() => null);
  put(byId("who"));
  notice("out", null);
}

/** What stands at an address, `null` where nothing does. @param {string} address @returns {Promise<any>} */
async function ifAny(address) {
  return get(address).catch((e) => (e instanceof Problem && e.status === 404 ? null : Promise.reject(e)));
}

async function draw() {
  const [cameo, consent, asked, granted, used] = await Promise.all([get(path), ifAny(`${path}/consent`), get(`${path}/requests?state=pending`), get(`${path}/grants?limit=200`), get(usesPath(path))]);
  const current = consent?.permissions ? consent : null;
  const done = async (/** @type {string} */ text) => {
    await draw();
    tell(text);
  };
  put(byId("main"),
    h("h1", t("me.title")),
    freeze(path, cameo.frozen_since ?? null, done),
    summary(current),
    requests(asked.items, done),
    h("section.card", { "aria-labelledby": "may" }, h("h2", { id: "may" }, t("me.may")), form(current?.permissions ?? null, (wish) => save(wish, consent))),
    uses(path, used, done),
    grants(path, granted.items, done),
    current ? withdrawal() : null,
    await history(consent),
    takeAlong(path, subject, current?.version ?? 0),
    h("section.card", { "aria-labelledby": "about" }, h("h2", { id: "about" }, t("me.about.title")),
      h("dl.facts", h("dt", t("me.about.since")), h("dd", time(cameo.created_at)), h("dt", t("me.about.enrolments")), h("dd", cameo.template_version), h("dt", t("me.about.id")), h("dd.mono", cameo.id)),
      h("p.small.soft", t("me.about.kept"))),
    deletion(path, gone));
}

/** What is left after a deletion. @param {any} deleted */
function gone(deleted) {
  const raw = atob(deleted.certificate.replaceAll("-", "+").replaceAll("_", "/"));
  const bytes = Uint8Array.from(raw, (c) => c.charCodeAt(0));
  put(byId("main"), h("h1", t("me.delete.gone")), h("p.lede", t("me.delete.certificate", { index: deleted.log_index })),
    h("button.main", { type: "button", onclick: () => download("cameo-deletion.cose", new Blob([bytes])) }, t("me.delete.download")));
  focusHeading();
}

/** What is allowed, in one sentence that can be read aloud. @param {any} consent */
function summary(consent) {
  if (!consent) return h("div.hero.off", h("p.headline", t("me.nobody")), h("p", t("me.nobodyHint")));
  const p = consent.permissions;
  const over = p.until && Date.parse(p.until) <= Date.now();
  if (over) return h("div.hero.off", h("p.headline", t("me.over", { until: time(p.until) })), h("p", t("me.nobodyHint")));
  const purposes = p.purposes.map((/** @type {string} */ name) => t(`purpose.${name}.short`));
  return h("div.hero.on",
    h("p.headline", t(`audience.${p.audience}.sentence`), " ", purposes.length ? t("me.for", { purposes: list(purposes) }) : t("me.forNothing")),
    h("ul.plain",
      h("li", t(`look.${lookOf(p.styles)}.sentence`)),
      h("li", t(p.voice ? "me.voiceYes" : "me.voiceNo")),
      h("li", t(`company.${p.company}.sentence`)),
      p.max_per_day ? h("li", t("me.perDay", { count: p.max_per_day })) : null,
      h("li", p.until ? t("me.until", { until: time(p.until) }) : t("me.always")),
      p.allow.length ? h("li", t("me.also", { people: list(p.allow.slice(0, 5)), count: p.allow.length })) : null,
      p.block.length ? h("li", t("me.never", { people: list(p.block.slice(0, 5)), count: p.block.length })) : null));
}

/** @param {any} wish @param {any} seen the version that the person has seen */
async function save(wish, seen) {
  const guard = seen ? { "if-match": `"${seen.version}"` } : { "if-none-match": "*" };
  const body = { ...wish, text_version: TEXT_VERSION };
  try {
    await send("PUT", `${path}/consent`, body, /** @type {any} */ (guard));
  } catch (e) {
    if (e instanceof Problem && e.kind === "consent-changed") {
      await draw();
      return tell("me.changedElsewhere", true);
    }
    throw e;
  }
  await draw();
  tell("me.saved");
}

/** @param {string} text @param {boolean} [bad] */
function tell(text, bad = false) {
  const note = h(bad ? "p.note.warn" : "p.note.good", { tabindex: "-1" }, t(text));
  byId("main").querySelector("h1").after(note);
  note.focus();
  announce(t(text));
}

function withdrawal() {
  return h("section.card", { "aria-labelledby": "stop" }, h("h2", { id: "stop" }, t("me.withdraw.title")), h("p", t("me.withdraw.means")),
    h("button.danger", {
      type: "button",
      id: "withdraw",
      onclick: async () => {
        const yes = await confirmed({ title: t("me.withdraw.ask"), body: h("p", t("me.withdraw.means")), yes: t("me.withdraw.yes"), no: t("common.cancel"), danger: true });
        if (!yes) return;
        await send("DELETE", `${path}/consent`);
        await draw();
        tell("me.withdraw.done");
      },
    }, t("me.withdraw.button")));
}

/** @param {any} consent the newest version */
async function history(consent) {
  if (!consent) return null;
  const first = Math.max(1, consent.version - HISTORY + 1);
  const numbers = Array.from({ length: consent.version - first }, (_, i) => consent.version - 1 - i);
  const older = await Promise.all(numbers.map((n) => get(`${path}/consent?version=${n}`)));
  return h("section.card", { "aria-labelledby": "history" }, h("h2", { id: "history" }, t("me.history.title")), h("p.soft", t("me.history.lede")),
    h("ol.timeline", [consent, ...older].map((v) => h("li",
      h("strong", t(`me.history.${v.event}`)), h("span.soft", time(v.at)),
      v.permissions ? h("span", t(`audience.${v.permissions.audience}.name`), " · ", list(v.permissions.purposes.map((/** @type {string} */ p) => t(`purpose.${p}.short`))) || t("me.nothing")) : null,
      h("span.small.soft", t("me.history.entry", { version: v.version, entry: v.log_index, text: v.text_version }))))));
}

/** @param {"none" | "out" | "signedOut" | "broken"} kind @param {(() => void) | null} again */
function notice(kind, again) {
  put(byId("main"), h("h1", t(`me.notice.${kind}.title`)), h("p.lede", t(`me.notice.${kind}.fix`)),
    again ? h("button.main", { type: "button", onclick: again }, t("common.again")) : null);
  document.documentElement.dataset.problem = kind;
  focusHeading();
}

addEventListener("unhandledrejection", (event) => {
  event.preventDefault(); // told here
  const over = event.reason instanceof Problem && event.reason.status === 401;
  notice(over ? "signedOut" : "broken", over ? null : () => location.reload());
});

begin().catch(async (e) => {
  await load().catch(() => null);
  const over = e instanceof Problem && [401, 403, 404].includes(e.status);
  notice(over ? "signedOut" : "broken", over ? null : () => location.reload());
});
