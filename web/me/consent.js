// The form in which a person says who may use their cameo, and for what.

import { h, put } from "../lib/dom.js";
import { t } from "../lib/i18n.js";

const AUDIENCES = ["only_me", "approved", "mutuals", "everyone"];
const PURPOSES = ["personal", "social", "remix", "commercial", "advertising", "political", "adult"];
/** Purposes that people regret more often: they stand apart. */
const GRAVE = new Set(["commercial", "advertising", "political", "adult"]);

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
  const voice = h("input", { type: "checkbox", name: "voice", checked: now?.voice ?? false });
  const until = h("input", { type: "date", id: "until", min: today(), value: now?.until?.slice(0, 10) ?? "" });
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
          // What this form does not show (limits, company, restrictions, …) stays as it was.
          ...(now ?? {}),
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
    h("fieldset", h("legend", t("me.form.voiceTitle")), h("label.choice", voice, h("span", t("me.form.voice"), h("span.hint", t("me.form.voiceHint"))))),
    h("details", { open: Boolean(now?.allow.length || now?.block.length || now?.until) }, h("summary", t("me.form.more")),
      h("div.more", allow.element, block.element,
        h("div", h("label", { for: "until" }, t("me.form.until")), h("p.hint", { id: "until-hint" }, t("me.form.untilHint")), until))),
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
  const now = new Date();
  return `${now.getFullYear()}-${String(now.getMonth() + 1).padStart(2, "0")}-${String(now.getDate()).padStart(2, "0")}`;
}
