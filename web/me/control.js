// What a person can do with the whole of their cameo: freeze it, take their data along, delete it.

import { call, send } from "../lib/api.js";
import { confirmed, h, save } from "../lib/dom.js";
import { t, time } from "../lib/i18n.js";

/**
 * The freeze: one press, no question; it harms nobody and can be undone.
 * @param {string} path the cameo's
 * @param {string | null} since when it was frozen
 * @param {(text: string) => Promise<void>} done
 */
export function freeze(path, since, done) {
  const turn = async () => {
    await send(since ? "DELETE" : "PUT", `${path}/freeze`);
    await done(since ? "me.freeze.thawed" : "me.freeze.frozen");
  };
  return h(since ? "section.freeze.on" : "section.freeze", { "aria-labelledby": "freeze" },
    h("div", h("h2", { id: "freeze" }, t(since ? "me.freeze.isOn" : "me.freeze.title")), h("p", since ? t("me.freeze.since", { time: time(since) }) : t("me.freeze.means"))),
    h(since ? "button" : "button.danger", { type: "button", id: "freeze-now", onclick: turn }, t(since ? "me.freeze.thaw" : "me.freeze.now")));
}

/**
 * Receipts and the export.
 * @param {string} path the cameo's
 * @param {string} subject
 * @param {number} versions how many versions of consent there are
 */
export function takeAlong(path, subject, versions) {
  const fetched = async (/** @type {string} */ from, /** @type {string} */ name) => save(name, await (await call("GET", from, { headers: { accept: "*/*" } })).blob());
  return h("section.card", { "aria-labelledby": "data" }, h("h2", { id: "data" }, t("me.data.title")),
    versions ? [h("p", t("me.data.receiptMeans")), h("p", h("button", { type: "button", id: "receipt", onclick: () => fetched(`${path}/consent/receipt`, "cameo-receipt.json") }, t("me.data.receipt")))] : null,
    h("p", t("me.data.exportMeans")), h("p", h("button", { type: "button", id: "export", onclick: () => fetched(`/v1/subjects/${encodeURIComponent(subject)}/export`, "cameo-export.tar") }, t("me.data.export"))));
}

/**
 * Deleting, with what it means.
 * @param {string} path the cameo's
 * @param {(certificate: any) => void} gone
 */
export function deletion(path, gone) {
  const videos = h("input", { type: "checkbox", checked: true });
  const ask = async () => {
    const word = t("me.delete.word");
    const yes = await confirmed({
      title: t("me.delete.ask"),
      body: [h("ul", ["dies", "stays", "back"].map((k) => h("li", t(`me.delete.${k}`)))), h("label.choice", videos, h("span", t("me.delete.videos")))],
      word: { label: t("me.delete.type", { word }), text: word },
      yes: t("me.delete.yes"), no: t("common.cancel"), danger: true,
    });
    if (yes) gone(await send("DELETE", `${path}?takedown=${videos.checked}`));
  };
  return h("section.card", { "aria-labelledby": "delete" }, h("h2", { id: "delete" }, t("me.delete.title")), h("p", t("me.delete.means")), h("button.danger", { type: "button", id: "delete-cameo", onclick: ask }, t("me.delete.button")));
}
