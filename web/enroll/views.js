// The screens of the onboarding. They draw and report what was pressed; they decide nothing.

import { add, announce, byId, h, put, s } from "../lib/dom.js";
import { duration, has, number, t } from "../lib/i18n.js";

/** @param {...any} parts */
function show(...parts) {
  put(byId("main"), h("div.step", parts));
}

/** Where the person is, for eye and ear. @param {number} now */
function progress(now) {
  const names = ["about", "record", "result"];
  return h("ol.steps", { "aria-label": t("enroll.steps.label") },
    names.map((name, i) => h("li", { "aria-current": i === now ? "step" : null, class: i < now ? "past" : "" }, t(`enroll.steps.${name}`))));
}

/** How long a thing is kept, in words. @param {number} seconds */
function kept(seconds) {
  return seconds > 0 ? duration(seconds) : null;
}

/**
 * What is recorded, why, for how long: before the camera opens.
 * @param {any} verification
 * @param {string | null} text the words that the app put on record for this version
 * @param {() => void} agreed
 */
export function consent(verification, text, agreed) {
  const { capture_s, evidence_s, sample_s, key_frames_s } = verification.keeps;
  const version = verification.consent_text_version;
  const evidence = kept(evidence_s);
  const recording = kept(capture_s);
  const sample = kept(sample_s);
  const frames = kept(key_frames_s);
  const box = h("input", { type: "checkbox", id: "agree", onchange: () => (go.disabled = !box.checked) });
  const go = h("button.main.wide", { type: "button", disabled: true, onclick: agreed }, t("enroll.consent.go"));
  const point = (/** @type {string} */ name, /** @type {any} */ text) => h("div.point", h("dt", t(`enroll.consent.${name}Title`)), h("dd", text));
  show(
    progress(0),
    h("h1", t("enroll.consent.title")),
    h("p.lede", t("enroll.consent.lede")),
    h("section.card", { "aria-label": t("enroll.consent.textTitle") },
      h("dl.points",
        point("what", t("enroll.consent.what")),
        point("why", t("enroll.consent.why")),
        point("keep", [
          recording ? t("enroll.consent.keepRecording", { time: recording }) : t("enroll.consent.dropRecording"), " ",
          evidence ? t("enroll.consent.keepEvidence", { time: evidence }) : t("enroll.consent.dropEvidence"), " ",
          sample ? [t("enroll.consent.keepSample", { time: sample }), " "] : null,
          frames ? [t("enroll.consent.keepFrames", { time: frames }), " "] : null,
          t("enroll.consent.keepIdentity"),
        ]),
        point("who", t(frames ? "enroll.consent.whoPictures" : "enroll.consent.who")),
        point("rights", t("enroll.consent.rights"))),
      text ? h("details", { open: true }, h("summary", t("enroll.consent.words")), h("p.words-kept", text)) : null,
      h("p.small.soft", t("enroll.consent.version", { version }))),
    h("label.choice", box, h("span", t("enroll.consent.agree", { version }))),
    go,
    h("p.small.soft.centred", t("enroll.consent.next")));
}

/** The browser asks for the camera. */
export function opening() {
  show(progress(1), h("h1", t("enroll.camera.opening")), h("p.lede", t("enroll.camera.allow")), h("p", h("span.busy", { "aria-hidden": "true" })));
}

/** @param {string} code @param {() => void} again */
export function trouble(code, again) {
  const title = t(`enroll.trouble.${code}.title`);
  show(progress(1), h("h1", title),
    h("div.note.warn", h("p", t(`enroll.trouble.${code}.fix`))),
    h("div.row.stretch", h("button.main", { type: "button", onclick: again }, t("common.again"))));
  announce(title, true);
}

/** The mirrored picture with the oval. @param {MediaStream} stream */
function mirror(stream) {
  const video = h("video", { srcObject: stream, autoplay: true, playsinline: true, muted: true, "aria-label": t("enroll.camera.preview") });
  video.addEventListener("playing", () => (document.documentElement.dataset.camera = "on"), { once: true });
  const oval = s("svg.oval", { viewBox: "0 0 400 300", preserveAspectRatio: "xMidYMid slice", "aria-hidden": "true" },
    s("path.veil", { "fill-rule": "evenodd", d: "M-400-400H800V700H-400ZM200 36a80 108 0 1 0 0 216a80 108 0 1 0 0-216Z" }),
    s("ellipse.rim", { cx: 200, cy: 144, rx: 80, ry: 108 }));
  return { video, box: h("div.mirror", video, oval) };
}

/**
 * Getting into the picture.
 * @param {{ stream: MediaStream, devices: MediaDeviceInfo[], chosen: any, hints: string[], plan: { groups: string[], motions: string[] }, seconds: number, choose: (chosen: any) => void, start: () => void }} of
 */
export function framing(of) {
  const { video, box } = mirror(of.stream);
  const advice = h("p.advice", { "data-mood": "wait" }, t("enroll.camera.looking"));
  const honest = h("p.small.soft", t("enroll.camera.ownEyes"));
  const level = h("meter", { id: "level", min: 0, max: 1, low: 0.25, optimum: 0.6, value: 0 });
  const heard = h("span.small.soft", t("enroll.camera.speak"));
  const picker = (/** @type {MediaDeviceKind} */ kind, /** @type {"camera" | "microphone"} */ name) => {
    const found = of.devices.filter((d) => d.kind === kind && d.deviceId);
    if (found.length < 2) return null;
    const active = of.stream.getTracks().find((track) => track.kind === kind.slice(0, 5))?.getSettings().deviceId;
    return h("label", t(`enroll.camera.${name}`),
      h("select", { onchange: (/** @type {any} */ e) => of.choose({ ...of.chosen, [name]: e.target.value }) },
        found.map((d, i) => h("option", { value: d.deviceId, selected: d.deviceId === active }, d.label || `${i + 1}`))));
  };
  const pickers = [picker("videoinput", "camera"), picker("audioinput", "microphone")].filter(Boolean);
  show(
    progress(1),
    h("h1", t("enroll.camera.title")),
    of.hints.length ? h("div.note.warn", h("p", h("strong", t("enroll.camera.lastTime"))), h("ul", of.hints.map((code) => h("li", t(`reason.${code}.advice`))))) : null,
    h("div.stage", box, advice),
    h("div.level", h("label", { for: "level" }, t("enroll.camera.level")), level, heard),
    h("section.card", h("h2", t("enroll.camera.planTitle")), h("ol", of.plan.groups.length ? h("li", t("enroll.camera.plan1")) : null, of.plan.motions.length ? h("li", t("enroll.camera.plan2")) : null, h("li", t("enroll.camera.plan3", { seconds: of.seconds }))), h("p.small.soft", t("enroll.camera.headphones"))),
    pickers.length ? h("details.card", h("summary", t("enroll.camera.devices")), h("div.stack", pickers)) : null,
    h("button.main.wide", { id: "record", type: "button", onclick: of.start }, t("enroll.camera.start")),
    honest);
  let last = "";
  let loudest = 0;
  return {
    video,
    /** @param {number} value */
    level(value) {
      level.value = value;
      loudest = Math.max(loudest, value);
      if (loudest > 0.45) put(heard, t("enroll.camera.hears"));
    },
    /** @param {import("./framing.js").Framing} now */
    framing({ faults, seesFaces }) {
      const fault = faults[0];
      const text = fault ? t(`enroll.framing.${fault}`) : t(seesFaces ? "enroll.framing.good" : "enroll.framing.fill");
      advice.dataset.mood = fault ? "bad" : "good";
      box.dataset.mood = fault ? "bad" : "good";
      honest.hidden = seesFaces;
      if (text === last) return;
      last = text;
      put(advice, text);
      announce(text);
    },
  };
}

/** An arrow towards where the person turns: the picture is mirrored, so their left is on the left. */
const ARROWS = { left: "M62 20 24 50 62 80M24 50H82", right: "M38 20 76 50 38 80M76 50H18", up: "M20 62 50 24 80 62M50 24V82", down: "M20 38 50 76 80 38M50 76V18" };

/** @param {keyof typeof ARROWS} motion */
function arrow(motion) {
  return s("svg.arrow", { viewBox: "0 0 100 100", "aria-hidden": "true", class: `arrow ${motion}` }, s("path", { d: ARROWS[motion] }));
}

/** @param {MediaStream} stream @param {() => void} cancel */
export function recording(stream, cancel) {
  const { box } = mirror(stream);
  const cue = h("div.cue", { "aria-hidden": "true" });
  const bar = h("div.time", { "aria-hidden": "true" });
  const dot = h("p.rec", { hidden: true }, t("enroll.record.on"));
  /** @type {any} */
  let challenge;
  show(h("h1.visually-hidden", t("enroll.record.title")), h("div.stage.performing", h("div.prompt", cue, bar), box, dot),
    h("div.row.centre", h("button", { type: "button", onclick: cancel }, t("common.cancel"))));
  scrollTo(0, 0);
  const say = (/** @type {string} */ text, /** @type {any[]} */ ...parts) => {
    put(cue, parts.length ? parts : text);
    announce(text, true);
  };
  const run = (/** @type {number} */ ms) => {
    bar.getAnimations().forEach((/** @type {Animation} */ a) => a.cancel());
    // Scripts' animations are not stopped by the style sheet: who wants little motion gets four steps.
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    bar.animate([{ scale: "0 1" }, { scale: "1 1" }], { duration: ms, fill: "forwards", easing: still ? "steps(4, end)" : "linear" });
  };
  const groups = (/** @type {number} */ now) => h("p.digits", challenge.groups.map((/** @type {string} */ g, /** @type {number} */ i) => h(i === now ? "b" : "span", g)));
  return {
    wait() {
      say(t("enroll.record.fresh"), h("p.words", t("enroll.record.fresh")));
    },
    /** @param {any} fresh */
    challenge(fresh) {
      challenge = fresh;
    },
    /** @param {number} left */
    countdown(left) {
      say(left === 3 ? `${t("enroll.record.ready")} ${left}` : String(left), h("p.count", left), h("p.words", t("enroll.record.ready")));
    },
    /** @param {import("./record.js").Cue} now @param {number} ms */
    cue(now, ms) {
      dot.hidden = false;
      run(ms);
      document.documentElement.dataset.cue = now.kind;
      if (now.kind === "group") {
        say(challenge.groups[now.index].split("").join(" "), h("p.words", t("enroll.record.read")), groups(now.index));
      } else if (now.kind === "turn") {
        const text = t(`enroll.record.turn.${now.motion}`);
        say(text, arrow(/** @type {any} */ (now.motion)), h("p.words", text));
      } else {
        const text = t(now.kind === "back" ? "enroll.record.back" : now.kind === "done" ? "enroll.record.done" : "enroll.record.look");
        say(text, s("svg.arrow", { viewBox: "0 0 100 100" }, s("circle", { cx: 50, cy: 50, r: 26 })), h("p.words", text));
      }
    },
  };
}

/** The recording is on its way. */
export function sending() {
  const bar = h("progress", { id: "sent", max: 1, value: 0 });
  const text = h("p.soft", t("enroll.send.hold"));
  show(progress(1), h("h1", t("enroll.send.title")), h("div.card", h("label", { for: "sent" }, t("enroll.send.label")), bar, text));
  let quarter = 0;
  return {
    /** @param {number} share */
    progress(share) {
      bar.value = share;
      text.className = "soft";
      put(text, share < 1 ? t("enroll.send.share", { share: number(share, { style: "percent" }) }) : t("enroll.send.arrived"));
      if (Math.floor(share * 4) > quarter) {
        quarter = Math.floor(share * 4);
        announce(text.textContent ?? "");
      }
    },
    /** @param {number} ms */
    waiting(ms) {
      bar.removeAttribute("value");
      put(text, t("enroll.send.lost", { time: duration(ms / 1000) }));
      text.className = "note warn";
      document.documentElement.dataset.upload = "waiting";
      announce(text.textContent ?? "", true);
    },
  };
}

const STAGES = ["queued", "measuring", "judging"];

/** The checks are running. */
export function checking() {
  const items = STAGES.map((name) => h("li", { "data-stage": name }, h("span.dot", { "aria-hidden": "true" }), t(`enroll.check.${name}`)));
  const lost = h("p.note.warn", { hidden: true }, t("enroll.check.lost"));
  show(progress(2), h("h1", t("enroll.check.title")), h("p.lede", t("enroll.check.lede")), h("ol.card.stages", items), lost);
  const at = (/** @type {number} */ now) => items.forEach((item, i) => (item.dataset.at = i < now ? "past" : i === now ? "now" : "later"));
  at(0);
  return {
    /** @param {string} stage */
    stage(stage) {
      const index = STAGES.indexOf(stage);
      if (index < 0) return;
      at(index);
      announce(t(`enroll.check.${stage}`));
    },
    /** @param {boolean} is */
    lost(is) {
      lost.hidden = !is;
      if (is) announce(t("enroll.check.lost"));
    },
  };
}

const MARKS = { verified: "M24 52 44 72 78 30", rejected: "M32 32 68 68M68 32 32 68", review: "M50 26V54L66 66", other: "M50 24V58M50 72V76" };

/** @param {keyof typeof MARKS} kind */
function mark(kind) {
  return s("svg", { viewBox: "0 0 100 100", class: `mark ${kind}`, "aria-hidden": "true" }, s("circle", { cx: 50, cy: 50, r: 44 }), s("path", { d: MARKS[kind] }));
}

/**
 * How it came out.
 * @param {any} verification
 * @param {{ again: () => void, close: (() => void) | null }} on
 */
export function verdict(verification, on) {
  const { state } = verification;
  const kind = state in MARKS ? state : "other";
  const checks = verification.verdict?.checks ?? [];
  const again = ["rejected", "expired", "failed"].includes(state);
  const only = ["speech", "motion"].includes(verification.retry) && verification.retry;
  const title = t(state === "rejected" && only ? `enroll.verdict.only.${only}.title` : `enroll.verdict.${state}.title`);
  const lede = t(only ? `enroll.verdict.only.${only}.lede` : `enroll.verdict.${state}.lede`);
  const body = h("div.stack");
  show(progress(2), h("div.outcome", mark(kind), h("h1", title), h("p.lede", lede)), body);
  const reasons = state === "rejected" ? checks.filter((/** @type {any} */ c) => c.status === "fail").flatMap((/** @type {any} */ c) => c.reasons) : [];
  if (reasons.length) {
    add(body, [h("section.card", h("h2", t("enroll.verdict.todo")),
      h("ul.todo", reasons.map((/** @type {any} */ r) => h("li", h("strong", words(r, "advice")), h("span.soft", words(r, "meaning"))))))]);
  }
  if (verification.review?.reason && state === "rejected") add(body, [h("p.note", t("enroll.verdict.reviewer"), " ", h("q", verification.review.reason))]);
  if (checks.length) {
    add(body, [h("details.card", { open: state === "rejected" }, h("summary", t("enroll.verdict.checks")),
      h("ul.checks", checks.map((/** @type {any} */ c) => h("li", h("span", t(`check.${c.check}`), verification.verdict.earlier?.check === c.check ? h("span.small.soft", " ", t("enroll.verdict.before", { attempt: verification.verdict.earlier.attempt })) : null), h(`span.tag.${tone(c.status)}`, t(`status.${c.status}`))))))]);
  }
  add(body, [h("div.row.stretch",
    again ? h("button.main", { type: "button", id: "again", onclick: on.again }, t(only ? `enroll.verdict.only.${only}.again` : "enroll.verdict.again")) : null,
    on.close ? h(again ? "button" : "button.main", { type: "button", onclick: on.close }, t("enroll.verdict.close")) : null)]);
  if (!on.close && !again) add(body, [h("p.soft.centred", t("enroll.verdict.leave"))]);
  announce(title, true);
}

/** A reason in the page's language; a new one that it does not know yet in the service's own. */
function words(/** @type {any} */ reason, /** @type {"meaning" | "advice"} */ what) {
  const path = `reason.${reason.code}.${what}`;
  return has(path) ? t(path) : reason[what];
}

/** @param {string} status */
function tone(status) {
  return status === "pass" ? "good" : status === "fail" ? "bad" : "warn";
}

/**
 * Too many failures: how long to wait.
 * @param {number} seconds
 * @param {AbortSignal} signal
 * @param {() => void} again
 */
export function lockedOut(seconds, signal, again) {
  const until = Date.now() + seconds * 1000;
  const left = h("strong");
  const go = h("button.main", { type: "button", disabled: true, onclick: again }, t("enroll.verdict.again"));
  show(progress(2), h("div.outcome", mark("review"), h("h1", t("enroll.locked.title")), h("p.lede", t("enroll.locked.lede"))),
    h("p.note", t("enroll.locked.wait"), " ", left), h("div.row.stretch", go));
  const tick = () => {
    const rest = Math.max(0, (until - Date.now()) / 1000);
    put(left, duration(rest));
    go.disabled = rest > 0;
    if (rest === 0) clearInterval(timer);
  };
  const timer = setInterval(tick, 1000);
  tick();
  signal.addEventListener("abort", () => clearInterval(timer));
  announce(t("enroll.locked.title"), true);
}

/** @param {"expired" | "unusable" | "over" | "offline" | "broken"} kind @param {(() => void) | null} again */
export function problem(kind, again) {
  const title = t(`enroll.problem.${kind}.title`);
  show(h("div.outcome", mark("other"), h("h1", title), h("p.lede", t(`enroll.problem.${kind}.fix`))),
    again ? h("div.row.stretch", h("button.main", { type: "button", id: "again", onclick: again }, t("common.again"))) : null);
  document.documentElement.dataset.problem = kind;
  announce(title, true);
}
