// Onboarding, from the consent text to the verdict. This file knows what comes after what; the
// screens are in `views.js`.

import { call, freshKey, get, Problem, session, sleep, useToken } from "../lib/api.js";
import { announce, focusHeading } from "../lib/dom.js";
import { language, load, t } from "../lib/i18n.js";
import * as camera from "./camera.js";
import { watch } from "./framing.js";
import { embedded, hello, tell, tellSize } from "./host.js";
import { lengthOf, record, steps } from "./record.js";
import { follow, isSettled, send } from "./send.js";
import * as views from "./views.js";

/** Time that sending a recording may need after it was made. */
const TO_SEND_MS = 15_000;
const COUNTDOWN_FROM = 3;
/** About what is asked for where no challenge is open yet. */
const WHOLE = { groups: ["000", "000"], motions: ["left", "up"] };

/** @type {any} the verification as last heard of */
let verification;
/** How far the service's clock is ahead of this device's, in milliseconds. */
let skew = 0;
/** @type {MediaStream | null} */
let stream = null;
/** @type {{ camera?: string, microphone?: string }} */
let chosen = {};
/** Ends what the screen of the moment does in the background. */
let screen = new AbortController();

const path = () => `/v1/verifications/${verification.id}`;

/** A new screen: what the last one did in the background ends. @returns {AbortSignal} */
function turnPage() {
  screen.abort();
  screen = new AbortController();
  return screen.signal;
}

/** @param {any} now */
function heard(now) {
  verification = now;
  document.documentElement.dataset.state = now.state;
  tell("state", { state: now.state, attempt: now.attempt });
}

async function begin() {
  let id;
  let wanted;
  if (embedded) {
    const start = await hello();
    useToken(start.token);
    [id, wanted] = [start.verification, start.language];
  } else {
    id = (await session()).verification;
    if (!id) throw new Problem(401, {});
  }
  const response = await call("GET", `/v1/verifications/${encodeURIComponent(id)}`);
  const date = Date.parse(response.headers.get("date") ?? "");
  skew = Number.isNaN(date) ? 0 : date - Date.now();
  heard(await response.json());
  await load(wanted ?? verification.locale);
  tellSize();
  // Where the challenge ran out before anything was recorded, the person gets another on the way.
  if (["pending", "expired"].includes(verification.state)) await consent();
  else if (verification.state === "processing") void judge();
  else settled();
}

async function consent() {
  turnPage();
  const version = encodeURIComponent(verification.consent_text_version);
  // The app may have put its own words on record; otherwise the page's own say what happens.
  const kept = await get(`/v1/consent-texts/${version}/${language}`).catch(() => null);
  views.consent(verification, kept?.body ?? null, () => void prepare());
  focusHeading();
}

/** Opens the camera and helps to get into the picture. */
async function prepare() {
  const signal = turnPage();
  views.opening();
  try {
    camera.close(stream);
    stream = await camera.open(chosen);
  } catch (e) {
    return trouble(e instanceof camera.Trouble ? e.code : "other");
  }
  if (signal.aborted) return camera.close(stream);
  for (const track of stream.getTracks()) track.addEventListener("ended", () => signal.aborted || trouble("busy"));
  const last = verification.attempt > 1 ? lastReasons : [];
  const view = views.framing({
    stream,
    devices: await camera.devices(),
    chosen,
    hints: last,
    plan: verification.challenge ?? WHOLE,
    seconds: Math.round(lengthOf(steps(verification.challenge ?? WHOLE)) / 1000),
    choose: (devices) => {
      chosen = devices;
      void prepare();
    },
    start: () => void perform(),
  });
  camera.meter(stream, view.level, signal);
  watch(view.video, view.framing, signal);
  focusHeading();
}

/** @param {string} code */
function trouble(code) {
  turnPage();
  camera.close(stream);
  views.trouble(code, () => void prepare());
  focusHeading();
}

/** Records. */
async function perform() {
  const signal = turnPage();
  const view = views.recording(/** @type {MediaStream} */ (stream), () => void prepare());
  let recording;
  try {
    if (!(await freshChallenge(view, signal))) return;
    const all = steps(verification.challenge);
    view.challenge(verification.challenge);
    for (let left = COUNTDOWN_FROM; left > 0; left--) {
      view.countdown(left);
      await sleep(1000, signal);
    }
    // A page in the background is not shown, so its cues are not seen, and phones stop its camera.
    const hidden = new AbortController();
    const away = () => document.hidden && hidden.abort("hidden");
    document.addEventListener("visibilitychange", away, { signal });
    recording = await record(/** @type {MediaStream} */ (stream), all, view.cue, AbortSignal.any([signal, hidden.signal]));
  } catch (e) {
    if (signal.aborted) return;
    announce(t("enroll.record.interrupted"), true);
    return prepare();
  }
  camera.close(stream);
  await upload(recording);
}

/**
 * Makes sure that there is time enough left to answer the challenge: where it is about to expire, it
 * waits for that and gets another.
 * @param {ReturnType<typeof views.recording>} view
 * @param {AbortSignal} signal
 */
async function freshChallenge(view, signal) {
  const needs = (/** @type {any} */ c) => lengthOf(steps(c)) + COUNTDOWN_FROM * 1000 + TO_SEND_MS;
  for (;;) {
    const { challenge } = verification;
    const left = challenge ? Date.parse(challenge.expires_at) - Date.now() - skew : 0;
    if (challenge && left > needs(challenge)) return true;
    view.wait();
    await sleep(Math.max(0, left) + 500, signal);
    heard(await get(path()));
    if (verification.state === "expired" && !(await again())) return false;
  }
}

/** @param {Blob} recording */
async function upload(recording) {
  const signal = turnPage();
  const view = views.sending();
  focusHeading();
  try {
    heard(await send(`${path()}/capture`, recording, { progress: view.progress, waiting: view.waiting, signal }));
  } catch (e) {
    if (signal.aborted) return;
    return refused(e);
  }
  await judge();
}

/** Follows the checks. */
async function judge() {
  const signal = turnPage();
  const view = views.checking();
  focusHeading();
  try {
    heard(isSettled(verification) ? verification : await follow(path(), { stage: view.stage, lost: view.lost, signal }));
  } catch (e) {
    if (signal.aborted) return;
    return refused(e);
  }
  settled();
}

/** @type {string[]} reasons of the attempt before, as hints for the next */
let lastReasons = [];

function settled() {
  turnPage();
  const checks = verification.verdict?.checks ?? [];
  lastReasons = checks.flatMap((/** @type {any} */ c) => (c.status === "fail" ? c.reasons.map((/** @type {any} */ r) => r.code) : []));
  views.verdict(verification, {
    again: async () => (await again()) && prepare(),
    close: embedded ? () => tell("done", { state: verification.state }) : null,
  });
  if (["verified", "review"].includes(verification.state)) tell("done", { state: verification.state });
  focusHeading();
}

/** Asks for another attempt. @returns {Promise<boolean>} whether there is one */
async function again() {
  try {
    // One key for one retry, so that a lost answer does not cost an attempt.
    const key = freshKey();
    const ask = () => call("POST", `${path()}/retry`, { headers: { "idempotency-key": key } });
    const response = await ask().catch((e) => (e instanceof Problem && e.status === 0 ? sleep(1500).then(ask) : Promise.reject(e)));
    const { client_token, client_token_expires_at, ...fresh } = await response.json();
    if (embedded) useToken(client_token);
    heard(fresh);
    return true;
  } catch (e) {
    refused(e);
    return false;
  }
}

/** Shows why the service said no. @param {unknown} e */
function refused(e) {
  const signal = turnPage();
  const problem = e instanceof Problem ? e : new Problem(500, {});
  if (problem.kind === "locked-out") {
    views.lockedOut(problem.retryAfter, signal, async () => void ((await again()) && prepare()));
  } else if (problem.kind === "challenge-expired") {
    views.problem("expired", async () => (await again()) && prepare());
  } else if (problem.kind.startsWith("capture-")) {
    views.problem("unusable", () => void prepare());
  } else if (problem.status === 401 || problem.status === 404) {
    views.problem("over", null);
  } else if (problem.kind === "wrong-state") {
    void get(path()).then((now) => (heard(now), isSettled(now) ? settled() : judge()));
    return;
  } else {
    views.problem(problem.status === 0 ? "offline" : "broken", () => location.reload());
  }
  focusHeading();
}

begin().catch(async (e) => {
  await load().catch(() => null);
  refused(e);
});
