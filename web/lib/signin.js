// Signing in with a reviewer's or an auditor's key. The key is sent once and not kept: what stays
// is the session's cookie.

import { get, Problem, send } from "./api.js";
import { announce, byId, h, put } from "./dom.js";
import { t } from "./i18n.js";

/**
 * Goes on where a session of this role is; asks for a key otherwise.
 * @param {"reviewer" | "auditor"} role
 * @param {(session: any) => void} signedIn
 */
export async function signIn(role, signedIn) {
  try {
    const session = await get("/v1/session");
    if (session.role === role) return enter(role, session, signedIn);
  } catch (e) {
    if (!(e instanceof Problem) || e.status !== 401) throw e;
  }
  ask(role, signedIn);
}

/** @param {"reviewer" | "auditor"} role @param {any} session @param {(session: any) => void} signedIn */
function enter(role, session, signedIn) {
  put(byId("who"), h("span.tag", t(`role.${role}`)), h("button.quiet.slim", { type: "button", onclick: () => signOut(role, signedIn) }, t("common.signOut")));
  signedIn(session);
}

/** @param {"reviewer" | "auditor"} role @param {(session: any) => void} signedIn */
async function signOut(role, signedIn) {
  await send("DELETE", "/v1/session").catch(() => null);
  put(byId("who"));
  ask(role, signedIn);
}

/** @param {"reviewer" | "auditor"} role @param {(session: any) => void} signedIn @param {string} [why] */
function ask(role, signedIn, why) {
  const key = h("input", { id: "key", type: "password", autocomplete: "off", spellcheck: "false", required: true, "aria-describedby": "key-hint" });
  const error = h("p", { id: "key-error" }, why ?? "");
  const go = h("button.main", t("signIn.go"));
  const form = h("form.card.stack", {
    onsubmit: async (/** @type {Event} */ event) => {
      event.preventDefault();
      go.disabled = true;
      try {
        const session = await send("POST", "/v1/session", { api_key: key.value.trim() });
        if (session.role !== role) throw new Problem(403, {});
        enter(role, session, signedIn);
      } catch (e) {
        const status = e instanceof Problem ? e.status : 0;
        put(error, t(status === 403 ? "signIn.otherRole" : status === 401 ? "signIn.badKey" : "common.offline"));
        error.className = "note bad";
        key.setAttribute("aria-invalid", "true");
        key.setAttribute("aria-describedby", "key-hint key-error");
        announce(error.textContent ?? "", true);
        key.focus();
      } finally {
        key.value = "";
        go.disabled = false;
      }
    },
  },
    h("div", h("label", { for: "key" }, t(`signIn.${role}Key`)), h("p.hint", { id: "key-hint" }, t("signIn.hint")), key),
    error,
    h("div", go));
  put(byId("main"), h("div.gate", h("h1", t(`signIn.${role}Title`)), h("p.lede", t(`signIn.${role}Lede`)), form));
}
