// Pictures of a case. None is fetched before it is asked for, and every look is an entry in the log; a picture
// that is covered again is gone from the page. A canvas shows it: it gets no address, so nothing can keep one.

import { call, Problem } from "../lib/api.js";
import { announce, h, put } from "../lib/dom.js";
import { number, t } from "../lib/i18n.js";

/**
 * @param {string} id the verification
 * @param {{ n: number, view: string, t_ms: number }[]} frames
 * @param {(e: unknown) => void} failed
 */
export function pictures(id, frames, failed) {
  return [
    h("h3", { id: "frames" }, t("review.stills.title")),
    h("p", t(frames.length ? "review.stills.hint" : "review.stills.none")),
    frames.length ? h("ul.frames", { "aria-labelledby": "frames" }, frames.map((f) => h("li", picture(id, f, failed)))) : null,
  ];
}

/** @param {string} id @param {{ n: number, view: string, t_ms: number }} frame @param {(e: unknown) => void} failed */
function picture(id, frame, failed) {
  const what = { view: t(`review.stills.view.${frame.view}`), time: number(frame.t_ms / 1000, { minimumFractionDigits: 1, maximumFractionDigits: 1 }) };
  const box = h("div.frame");
  const name = t("review.stills.at", what);
  const cover = (focus = true) => {
    const look = h("button.slim", { type: "button", "aria-label": `${t("review.stills.look")}: ${name}`, onclick: () => open(look) }, t("review.stills.look"));
    put(box, h("div.veil", { "aria-hidden": "true" }), look);
    if (focus) look.focus();
  };
  const open = async (/** @type {HTMLButtonElement} */ look) => {
    look.disabled = true;
    try {
      const bitmap = await createImageBitmap(await (await call("GET", `/v1/reviews/${id}/frames/${frame.n}`, { headers: { accept: "image/jpeg" } })).blob());
      const canvas = h("canvas", { width: bitmap.width, height: bitmap.height, role: "img", "aria-label": t("review.stills.alt", what) });
      canvas.getContext("2d").drawImage(bitmap, 0, 0);
      bitmap.close();
      const close = h("button.slim", { type: "button", "aria-label": `${t("review.stills.cover")}: ${name}`, onclick: () => (cover(), announce(t("review.stills.covered"))) }, t("review.stills.cover"));
      put(box, canvas, close);
      close.focus();
      announce(t("review.stills.shown", what));
    } catch (e) {
      if (e instanceof Problem && e.status === 404) {
        put(box, h("p.small", t("review.stills.gone")));
        announce(t("review.stills.gone"));
      } else {
        cover();
        failed(e);
      }
    }
  };
  cover(false);
  return h("figure", h("figcaption.small", name), box);
}
