// The recording: what is shown when, and the recorder.

import { sleep } from "../lib/api.js";
import { recordingType } from "./camera.js";

/** How long everything takes, in milliseconds. */
const PACE = { lead: 800, digit: 850, betweenGroups: 350, afterDigits: 500, turn: 1700, back: 1400, tail: 700 };
const BITS_PER_SECOND = 1_500_000;

/**
 * @typedef {{ kind: "look" } | { kind: "group", index: number } | { kind: "turn", motion: string } | { kind: "back", motion: string } | { kind: "done" }} Cue
 * @typedef {{ cue: Cue, ms: number }} Step
 */

/**
 * The steps of a recording; where one step alone is repeated, its cues alone.
 * @param {{ groups: string[], motions: string[] }} challenge
 * @returns {Step[]}
 */
export function steps({ groups, motions }) {
  return [
    { cue: { kind: "look" }, ms: PACE.lead },
    ...groups.map((group, index) => /** @type {Step} */ ({ cue: { kind: "group", index }, ms: group.length * PACE.digit + PACE.betweenGroups })),
    ...(groups.length && motions.length ? [/** @type {Step} */ ({ cue: { kind: "look" }, ms: PACE.afterDigits })] : []),
    ...motions.flatMap((motion) => /** @type {Step[]} */ ([{ cue: { kind: "turn", motion }, ms: PACE.turn }, { cue: { kind: "back", motion }, ms: PACE.back }])),
    { cue: { kind: "done" }, ms: PACE.tail },
  ];
}

/** @param {Step[]} all @returns {number} milliseconds */
export function lengthOf(all) {
  return all.reduce((sum, step) => sum + step.ms, 0);
}

/**
 * Records while the steps are shown.
 * @param {MediaStream} stream
 * @param {Step[]} all
 * @param {(cue: Cue, ms: number) => void} show
 * @param {AbortSignal} signal
 * @returns {Promise<Blob>}
 */
export async function record(stream, all, show, signal) {
  const recorder = new MediaRecorder(stream, { mimeType: recordingType(), videoBitsPerSecond: BITS_PER_SECOND });
  /** @type {Blob[]} */
  const pieces = [];
  recorder.ondataavailable = (event) => event.data.size && pieces.push(event.data);
  const stopped = new Promise((resolve, reject) => {
    recorder.onstop = resolve;
    recorder.onerror = (event) => reject(/** @type {any} */ (event).error ?? new Error("recorder"));
  });
  stopped.catch(() => {});
  const started = new Promise((resolve) => (recorder.onstart = resolve));
  recorder.start(500);
  try {
    await started;
    for (const { cue, ms } of all) {
      show(cue, ms);
      await sleep(ms, signal);
    }
  } finally {
    if (recorder.state !== "inactive") recorder.stop();
  }
  await stopped;
  return new Blob(pieces, { type: recorder.mimeType.split(";")[0] });
}
