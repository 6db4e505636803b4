// Camera and microphone: opening them, saying why that failed, choosing others, the level meter.

/** Why there is no recording. `code` names a text under `enroll.trouble`. */
export class Trouble extends Error {
  /** @param {"insecure" | "unsupported" | "refused" | "noCamera" | "noMicrophone" | "missing" | "busy" | "other"} code */
  constructor(code) {
    super(code);
    this.code = code;
  }
}

/** What browsers record; VP8 first, which costs a phone the least. */
const TYPES = ["video/webm;codecs=vp8,opus", "video/webm;codecs=vp9,opus", "video/webm", "video/mp4;codecs=avc1.42E01E,mp4a.40.2", "video/mp4"];

/** The container and codecs to record in. @returns {string} */
export function recordingType() {
  if (!("MediaRecorder" in window)) throw new Trouble("unsupported");
  const found = TYPES.find((type) => MediaRecorder.isTypeSupported(type));
  if (!found) throw new Trouble("unsupported");
  return found;
}

/**
 * Opens camera and microphone.
 * @param {{ camera?: string, microphone?: string }} [chosen] device ids
 * @returns {Promise<MediaStream>}
 */
export async function open(chosen = {}) {
  if (!isSecureContext) throw new Trouble("insecure");
  if (!navigator.mediaDevices?.getUserMedia) throw new Trouble("unsupported");
  recordingType();
  const video = { width: { ideal: 640 }, height: { ideal: 480 }, frameRate: { ideal: 25, max: 30 }, ...(chosen.camera ? { deviceId: { exact: chosen.camera } } : { facingMode: "user" }) };
  // Echo cancellation and noise suppression are made for calls and eat soft digits.
  const audio = { channelCount: { ideal: 1 }, echoCancellation: false, noiseSuppression: false, autoGainControl: true, ...(chosen.microphone ? { deviceId: { exact: chosen.microphone } } : {}) };
  try {
    return await navigator.mediaDevices.getUserMedia({ video, audio });
  } catch (e) {
    throw await explain(/** @type {DOMException} */ (e));
  }
}

/** @param {DOMException} e @returns {Promise<Trouble>} */
async function explain(e) {
  if (e.name === "NotAllowedError" || e.name === "SecurityError") return new Trouble("refused");
  if (e.name === "NotReadableError" || e.name === "AbortError") return new Trouble("busy");
  if (e.name === "NotFoundError" || e.name === "OverconstrainedError") {
    const kinds = new Set((await devices()).map((d) => d.kind));
    if (kinds.has("videoinput") && !kinds.has("audioinput")) return new Trouble("noMicrophone");
    if (kinds.has("audioinput") && !kinds.has("videoinput")) return new Trouble("noCamera");
    return new Trouble("missing");
  }
  return new Trouble("other");
}

/** @returns {Promise<MediaDeviceInfo[]>} */
export async function devices() {
  return (await navigator.mediaDevices?.enumerateDevices?.().catch(() => [])) ?? [];
}

/** @param {MediaStream | null} stream */
export function close(stream) {
  for (const track of stream?.getTracks() ?? []) track.stop();
}

/**
 * Measures the microphone's level.
 * @param {MediaStream} stream
 * @param {(level: number) => void} show 0 (silence) to 1 (as loud as it goes)
 * @param {AbortSignal} signal
 */
export function meter(stream, show, signal) {
  const context = new AudioContext();
  void context.resume();
  const analyser = context.createAnalyser();
  analyser.fftSize = 1024;
  context.createMediaStreamSource(stream).connect(analyser);
  const wave = new Float32Array(analyser.fftSize);
  const timer = setInterval(() => {
    analyser.getFloatTimeDomainData(wave);
    const power = wave.reduce((sum, v) => sum + v * v, 0) / wave.length;
    const decibels = 10 * Math.log10(power + 1e-10);
    show(Math.min(1, Math.max(0, (decibels + 60) / 50)));
  }, 100);
  signal.addEventListener("abort", () => {
    clearInterval(timer);
    void context.close();
  });
}
