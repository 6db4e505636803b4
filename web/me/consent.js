// The form in which a person says who may use their cameo, and for what.

import { h, put } from "../lib/dom.js";
import { t } from "../lib/i18n.js";

const AUDIENCES = ["only_me", "approved", "mutuals", "everyone"];
const PURPOSES = ["personal", "social", "remix", "commercial", "advertising", "political", "adult"];
/** Purposes that people regret more often: they stand apart. */
const GRAVE = new Set(["commercial", "advertising", "political", "adult"]);

/** How the person may look; each stands for the `styles` of the API. */
const LOOKS = { any: null, stylised: ["stylised"], photoreal: ["photoreal"] };
/** Who else may be in the video. One who named people (in the app) keeps them. */
const COMPANY = ["requester", "alone", "anyone"];
/** Ends that are offered at a press, in days. */
const ENDS = [30, 90, 365];

/** @param {string[] | null | undefined} styles */
export function lookOf(styles) {
  return !styles || styles.length !== 1 ? "any" : styles[0];
}

/**
 * @param {any} now the permissions that stand, `null` for none
 * @param {(wish: any) => Promise<void>} save
 * @returns {HTMLFormElement}
 */
export function form(now, save) {
  const allowed = new Set(now?.purposes ?? []);
  const audience = AUDIENCES.map((name) => h("label.choice",
    h("input", { type: "radio", name: "audience", value: name, checked: name === (now?.audience ?? "only_me"), required: true }),
    h("span", t(`audience.${name}.name`), h("span.hint", t(`audience.${name}.hint`)))));
  const purpose = (/** @type {string} */ name) => h("label.choice",
    h("input", { type: "checkbox", name: "purpose", value: name, checked: allowed.has(name) }),
    h("span", t(`purpose.${name}.name`), h("span.hint", t(`purpose.${name}.hint`))));
  const radio = (/** @type {string} */ name, /** @type {string} */ value, /** @type {boolean} */ checked) => h("label.choice",
    h("input", { type: "radio", name, value, checked }), h("span", t(`${name}.${value}.name`), h("span.hint", t(`${name}.${value}.hint`))));
  const looks = Object.keys(LOOKS).map((name) => radio("look", name, name === lookOf(now?.styles)));
  const others = now?.company === "people" ? ["people", ...COMPANY] : COMPANY;
  const company = others.map((name) => radio("company", name, name === (now?.company ?? "requester")));
  const perDay = h("input", { type: "number", id: "per-day", min: 1, max: 100000, step: 1, inputmode: "numeric", "aria-describedby": "per-day-hint", value: now?.max_per_day ?? "" });
  const voice = h("input", { type: "checkbox", name: "voice", checked: now?.voice ?? false });
  const until = h("input", { type: "date", id: "until", "aria-describedby": "until-hint", min: today(), value: now?.until?.slice(0, 10) ?? "" });
  const allow = people("allow", now?.allow ?? []);
  const block = people("block", now?.block ?? []);
  const go = h("button.main", { id: "save" }, t(now ? "me.form.save" : "me.form.give"));
  const error = h("p.note.bad", { role: "alert", hidden: true });
  const element = h("form", {
    onsubmit: async (/** @type {Event} */ event) => {
      event.preventDefault();
      const data = new FormData(element);
      go.disabled = true;
      error.hidden = true;
      try {
        await save({
          // What this form does not show (regions, generators, restrictions, …) stays as it was.
          ...(now ?? {}),
          styles: LOOKS[/** @type {keyof typeof LOOKS} */ (data.get("look"))],
          company: data.get("company"),
          company_people: data.get("company") === "people" ? now?.company_people : undefined,
          max_per_day: perDay.value ? Number(perDay.value) : undefined,
          audience: data.get("audience"),
          purposes: data.getAll("purpose"),
          voice: voice.checked,
          // Till the end of that day, where the person is.
          until: until.value ? new Date(`${until.value}T23:59:59`).toISOString() : null,
          allow: allow.names(),
          block: block.names(),
        });
      } catch (e) {
        error.hidden = false;
        put(error, t("me.form.refused"), " ", String(/** @type {Error} */ (e).message));
        go.disabled = false;
      }
    },
  },
    h("fieldset", h("legend", t("me.form.who")), h("div.choices.two", audience)),
    h("fieldset", h("legend", t("me.form.what")), h("p.hint", t("me.form.whatHint")), h("div.choices.two", PURPOSES.filter((p) => !GRAVE.has(p)).map(purpose)),
      h("h3.apart", t("me.form.grave")), h("div.choices.two", PURPOSES.filter((p) => GRAVE.has(p)).map(purpose))),
    h("fieldset", h("legend", t("me.form.look")), h("div.choices.two", looks)),
    h("fieldset", h("legend", t("me.form.voiceTitle")), h("label.choice", voice, h("span", t("me.form.voice"), h("span.hint", t("me.form.voiceHint"))))),
    h("fieldset", h("legend", t("me.form.until")), h("p.hint", { id: "until-hint" }, t("me.form.untilHint")),
      h("div.ends", h("label.visually-hidden", { for: "until" }, t("me.form.untilDay")), until,
        ENDS.map((days) => h("button.slim", { type: "button", onclick: () => { until.value = inDays(days); until.focus(); } }, t("me.form.inDays", { days }))),
        h("button.slim", { type: "button", onclick: () => { until.value = ""; until.focus(); } }, t("me.form.noEnd")))),
    h("details", { open: Boolean(now?.allow.length || now?.block.length || now?.max_per_day || (now && now.company !== "requester")) }, h("summary", t("me.form.more")),
      h("div.more", allow.element, block.element),
      h("fieldset", h("legend", t("me.form.company")), h("div.choices.two", company)),
      h("div", h("label", { for: "per-day" }, t("me.form.perDay")), h("p.hint", { id: "per-day-hint" }, t("me.form.perDayHint")), perDay)),
    error,
    h("div.row.stretch.submit", go, h("p.small.soft", t("me.form.note"))));
  return element;
}

/** A list of people that can be added to and taken from. @param {"allow" | "block"} kind @param {string[]} given */
function people(kind, given) {
  const names = new Set(given);
  const box = h("input", { id: kind, autocomplete: "off", spellcheck: "false", autocapitalize: "none", maxlength: 128, pattern: "[A-Za-z0-9._:@\\-]{1,128}", "aria-describedby": `${kind}-hint`, onkeydown: (/** @type {KeyboardEvent} */ e) => { if (e.key === "Enter") { e.preventDefault(); take(); } } });
  const chips = h("ul.chips", { "aria-label": t(`me.form.${kind}`) });
  const draw = () => put(chips, [...names].map((name) => h("li", name, h("button", { type: "button", "aria-label": t("me.form.remove", { name }), onclick: () => { names.delete(name); draw(); box.focus(); } }, "×"))));
  const take = () => {
    const name = box.value.trim();
    if (!name || !box.reportValidity()) return;
    names.add(name);
    box.value = "";
    draw();
  };
  draw();
  return {
    names: () => [...names],
    element: h("div", h("label", { for: kind }, t(`me.form.${kind}`)), h("p.hint", { id: `${kind}-hint` }, t(`me.form.${kind}Hint`)),
      h("div.add", box, h("button", { type: "button", onclick: take }, t("me.form.add"))), chips),
  };
}

function today() {
  return inDays(0);
}

/** The day, where the person is. @param {number} days */
function inDays(days) {
  const now = new Date();
  now.setDate(now.getDate() + days);
  return `${now.getFullYear()}-${String(now.getMonth() + 1).padStart(2, "0")}-${String(now.getDate()).padStart(2, "0")}`;
}
