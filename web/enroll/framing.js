// Is the picture good enough to record? Light, sharpness and stillness are measured on a small copy
// of the picture; where the face is only browsers with a FaceDetector can tell. Whatever is said
// here is advice: the service decides by its own measurements.

/**
 * @typedef {"dark" | "bright" | "backlit" | "blurred" | "moving" | "noFace" | "severalFaces" | "closer" | "further" | "aside"} Fault
 * @typedef {{ faults: Fault[], seesFaces: boolean }} Framing
 */

const WIDTH = 96;
const HEIGHT = 72;
const EVERY_MS = 250;

/** Mean luma (0–255) of the oval below and above which a face is hard to see. */
const DARK = 45;
const BRIGHT = 225;
/** How much brighter than the face the surroundings may be. */
const BACKLIT = 75;
/** Variance of the Laplacian below which there is no detail: a hand on the lens, or thick fog. */
const BLURRED = 12;
/** Mean change of luma between two looks above which the camera is on the move. */
const MOVING = 22;
/** Face width over picture width. */
const [SMALL, LARGE] = [0.2, 0.62];

/**
 * Looks at the picture until `signal`.
 * @param {HTMLVideoElement} video
 * @param {(framing: Framing) => void} show
 * @param {AbortSignal} signal
 */
export function watch(video, show, signal) {
  const canvas = document.createElement("canvas");
  canvas.width = WIDTH;
  canvas.height = HEIGHT;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const Detector = /** @type {any} */ (window).FaceDetector;
  let detector = Detector ? new Detector({ fastMode: true, maxDetectedFaces: 2 }) : null;
  /** @type {Uint8ClampedArray | null} */
  let before = null;
  const timer = setInterval(async () => {
    if (!context || video.readyState < 2) return;
    context.drawImage(video, 0, 0, WIDTH, HEIGHT);
    const luma = toLuma(context.getImageData(0, 0, WIDTH, HEIGHT).data);
    const faults = pictureFaults(luma, before);
    before = luma;
    if (detector) {
      try {
        faults.unshift(...faceFaults(await detector.detect(video), video));
      } catch {
        detector = null; // There is the name, but no detector behind it.
      }
    }
    if (!signal.aborted) show({ faults, seesFaces: Boolean(detector) });
  }, EVERY_MS);
  signal.addEventListener("abort", () => clearInterval(timer));
}

/** @param {Uint8ClampedArray} rgba @returns {Uint8ClampedArray} */
function toLuma(rgba) {
  const luma = new Uint8ClampedArray(rgba.length / 4);
  for (let i = 0; i < luma.length; i++) luma[i] = 0.299 * rgba[4 * i] + 0.587 * rgba[4 * i + 1] + 0.114 * rgba[4 * i + 2];
  return luma;
}

/** Whether a pixel lies in the oval that the page shows. @param {number} x @param {number} y */
function inOval(x, y) {
  const dx = (x / WIDTH - 0.5) / 0.2;
  const dy = (y / HEIGHT - 0.48) / 0.36;
  return dx * dx + dy * dy <= 1;
}

/**
 * @param {Uint8ClampedArray} luma
 * @param {Uint8ClampedArray | null} before
 * @returns {Fault[]}
 */
export function pictureFaults(luma, before) {
  let [inside, insideCount, outside, change] = [0, 0, 0, 0];
  /** @type {number[]} */
  const laplacian = [];
  for (let y = 1; y < HEIGHT - 1; y++) {
    for (let x = 1; x < WIDTH - 1; x++) {
      const at = y * WIDTH + x;
      if (before) change += Math.abs(luma[at] - before[at]);
      if (!inOval(x, y)) {
        outside += luma[at];
        continue;
      }
      inside += luma[at];
      insideCount += 1;
      laplacian.push(luma[at - 1] + luma[at + 1] + luma[at - WIDTH] + luma[at + WIDTH] - 4 * luma[at]);
    }
  }
  const all = (WIDTH - 2) * (HEIGHT - 2);
  const face = inside / insideCount;
  const around = outside / (all - insideCount);
  const mean = laplacian.reduce((a, b) => a + b, 0) / laplacian.length;
  const variance = laplacian.reduce((a, b) => a + (b - mean) ** 2, 0) / laplacian.length;
  /** @type {Fault[]} */
  const faults = [];
  if (face < DARK) faults.push("dark");
  else if (face > BRIGHT) faults.push("bright");
  else if (around - face > BACKLIT) faults.push("backlit");
  if (variance < BLURRED && face >= DARK) faults.push("blurred");
  if (before && change / all > MOVING) faults.push("moving");
  return faults;
}

/**
 * @param {{ boundingBox: DOMRectReadOnly }[]} faces
 * @param {HTMLVideoElement} video
 * @returns {Fault[]}
 */
function faceFaults(faces, video) {
  if (faces.length === 0) return ["noFace"];
  if (faces.length > 1) return ["severalFaces"];
  const box = faces[0].boundingBox;
  const width = box.width / video.videoWidth;
  const x = (box.x + box.width / 2) / video.videoWidth;
  const y = (box.y + box.height / 2) / video.videoHeight;
  if (width < SMALL) return ["closer"];
  if (width > LARGE) return ["further"];
  return Math.abs(x - 0.5) > 0.14 || Math.abs(y - 0.48) > 0.18 ? ["aside"] : [];
}
