// Embeds Cameo's onboarding in an app's page:
//
//   import { enroll } from "https://cameo.example/cameo.js";
//   const session = enroll({ container, verification, token });
//   const { state } = await session.done;
//
// `verification` and `token` are the `id` and `client_token` that `POST /v1/verifications` gave the
// app's server. The token goes to the frame by `postMessage`, addressed to Cameo's origin alone; it
// is in no address and not stored. The service's `server.embed_origins` has to name this page's
// origin. Types: `cameo.d.ts`, beside this file.

/**
 * @param {import("./cameo.d.ts").EnrollOptions} options
 * @returns {import("./cameo.d.ts").Enrollment}
 */
export function enroll({ container, verification, token, language, title = "Cameo", origin = new URL(import.meta.url).origin, onState }) {
  if (!container || !verification || !token) throw new TypeError("cameo: container, verification and token are needed");
  const frame = document.createElement("iframe");
  frame.src = `${origin}/enroll`;
  frame.title = title;
  frame.allow = `camera ${origin}; microphone ${origin}`;
  Object.assign(frame.style, { border: "0", inlineSize: "100%", minBlockSize: "40rem" });

  /** @type {(outcome: { state: string }) => void} */
  let finish;
  const done = new Promise((resolve) => (finish = resolve));
  const hear = (/** @type {MessageEvent} */ event) => {
    if (event.source !== frame.contentWindow || event.origin !== origin || event.data?.cameo !== 1) return;
    const { type, state, height } = event.data;
    if (type === "ready") frame.contentWindow?.postMessage({ cameo: 1, type: "start", verification, token, language }, origin);
    if (type === "size" && Number.isFinite(height)) frame.style.blockSize = `${Math.min(4000, Math.ceil(height))}px`;
    if (type === "state") onState?.(state);
    if (type === "done") finish({ state });
  };
  addEventListener("message", hear);
  container.append(frame);

  return {
    done,
    close() {
      removeEventListener("message", hear);
      frame.remove();
      finish({ state: "closed" });
    },
  };
}
