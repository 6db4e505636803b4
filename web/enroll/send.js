// Sending the recording, and following what becomes of it. The recording stays in memory until the
// service has it, and what arrived stays there, so a lost connection costs a moment and nothing else.

import { call, credentials, events, get, Problem, sleep } from "../lib/api.js";

/** No byte for this long: the connection is gone, whatever the browser thinks. */
const STALLED_MS = 20_000;
/** Longest wait between two tries. */
const LONGEST_WAIT_MS = 8000;

/**
 * Sends the recording, however often it takes: after a lost connection it goes on where it was.
 * @param {string} path
 * @param {Blob} blob
 * @param {{ progress: (share: number) => void, waiting: (ms: number) => void, signal: AbortSignal }} on
 * @returns {Promise<any>} the verification
 */
export async function send(path, blob, on) {
  let offset = 0;
  for (let tries = 0; ; tries++) {
    try {
      if (tries > 0) offset = await received(path);
      if (offset < 0) return await get(path.replace(/\/capture$/, ""));
      if (offset > 0) document.documentElement.dataset.resumed = String(offset);
      return await put(path, blob, offset, on.progress, on.signal);
    } catch (e) {
      if (!(e instanceof Problem) || !worthAnother(e)) throw e;
      const wait = e.retryAfter ? e.retryAfter * 1000 : Math.min(LONGEST_WAIT_MS, 1000 * 2 ** tries);
      on.waiting(wait);
      await backOnline(wait, on.signal);
    }
  }
}

/**
 * How much of it the service has; -1: all. (Resumable Uploads for HTTP, as docs/openapi.json has it.)
 * @param {string} path
 */
async function received(path) {
  const { headers } = await call("HEAD", path);
  return headers.get("upload-complete") === "?1" ? -1 : Number(headers.get("upload-offset")) || 0;
}

/** Whether the same request may do better in a moment. @param {Problem} e */
function worthAnother(e) {
  return e.status === 0 || ["capture-broken-off", "upload-offset-mismatch", "busy", "timeout", "unavailable"].includes(e.kind);
}

/** Waits, but not longer than until the connection is back. @param {number} ms @param {AbortSignal} signal */
async function backOnline(ms, signal) {
  const back = new AbortController();
  const wake = () => back.abort();
  addEventListener("online", wake, { signal });
  try {
    await sleep(ms, AbortSignal.any([signal, back.signal]));
  } catch (e) {
    if (signal.aborted) throw e;
  } finally {
    removeEventListener("online", wake);
  }
}

/**
 * One try. `XMLHttpRequest`, because `fetch` does not tell how much was sent.
 * @param {string} path
 * @param {Blob} blob
 * @param {number} offset the bytes that the service has
 * @param {(share: number) => void} progress
 * @param {AbortSignal} signal
 * @returns {Promise<any>}
 */
function put(path, blob, offset, progress, signal) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    const offline = () => reject(new Problem(0, { detail: "the connection broke off" }));
    /** @type {number | undefined} */
    let stalled;
    const alive = () => {
      clearTimeout(stalled);
      stalled = window.setTimeout(() => request.abort(), STALLED_MS);
    };
    request.open(offset > 0 ? "PATCH" : "PUT", path);
    request.setRequestHeader("content-type", offset > 0 ? "application/partial-upload" : blob.type);
    request.setRequestHeader("upload-complete", "?1");
    if (offset > 0) request.setRequestHeader("upload-offset", String(offset));
    for (const [name, value] of Object.entries(credentials())) request.setRequestHeader(name, value);
    request.upload.onprogress = (event) => {
      alive();
      if (event.lengthComputable) progress((offset + event.loaded) / blob.size);
    };
    request.onload = () => {
      const body = parsed(request.responseText);
      if (request.status >= 200 && request.status < 300) resolve(body);
      else reject(new Problem(request.status, body, request.getResponseHeader("retry-after")));
    };
    request.onerror = offline;
    request.onabort = () => (signal.aborted ? reject(signal.reason) : offline());
    request.onloadend = () => clearTimeout(stalled);
    signal.addEventListener("abort", () => request.abort());
    alive();
    request.send(blob.slice(offset));
  });
}

/** @param {string} text */
function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/**
 * Follows a verification until it is settled.
 * @param {string} path
 * @param {{ stage: (stage: string) => void, lost: (lost: boolean) => void, signal: AbortSignal }} on
 * @returns {Promise<any>} the settled verification
 */
export async function follow(path, on) {
  for (;;) {
    try {
      for await (const { event, data } of events(`${path}/events`, on.signal)) {
        on.lost(false);
        if (event === "progress") on.stage(data.stage);
        if (event === "verification" && isSettled(data)) return data;
      }
      const now = await get(path);
      if (isSettled(now)) return now;
    } catch (e) {
      if (on.signal.aborted) throw e;
      // A stream that breaks off rejects with a TypeError; the service's refusals are final.
      if (e instanceof Problem && e.status !== 0 && e.status !== 429 && e.status < 500) throw e;
      on.lost(true);
    }
    await backOnline(2000, on.signal);
  }
}

/** @param {any} verification */
export function isSettled(verification) {
  return !["pending", "processing"].includes(verification.state);
}
