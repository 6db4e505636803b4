// The app around this page, where it stands in a frame. Which apps may frame it the service says
// (`frame-ancestors`); so whoever the parent is, it is one that the operator named.

/**
 * @typedef {object} Start what the app sends once
 * @property {string} verification
 * @property {string} token
 * @property {string} [language]
 */

export const embedded = window.parent !== window;

/** @type {string} the parent's origin, known from its first message */
let parentOrigin = "";

/** Waits for the app to say which verification this is. @returns {Promise<Start>} */
export function hello() {
  return new Promise((resolve) => {
    addEventListener("message", (event) => {
      const data = event.data;
      if (event.source !== window.parent || parentOrigin || data?.cameo !== 1 || data.type !== "start") return;
      if (typeof data.verification !== "string" || typeof data.token !== "string") return;
      parentOrigin = event.origin;
      resolve({ verification: data.verification, token: data.token, language: typeof data.language === "string" ? data.language : undefined });
    });
    // Says nothing that anybody could not know, so it may go to any parent.
    window.parent.postMessage({ cameo: 1, type: "ready" }, "*");
  });
}

/**
 * Tells the app how it goes. Never a token, a digit or a picture.
 * @param {"state" | "done" | "size"} type
 * @param {Record<string, unknown>} [more]
 */
export function tell(type, more = {}) {
  if (parentOrigin) window.parent.postMessage({ cameo: 1, type, ...more }, parentOrigin);
}

/** Tells the app how tall the page is, so that its frame needs no scroll bar of its own. */
export function tellSize() {
  if (!embedded) return;
  new ResizeObserver(() => tell("size", { height: document.documentElement.scrollHeight })).observe(document.body);
}
