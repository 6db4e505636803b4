"""One camera for both classes: exposure, colour, optics, sensor, processing, and real codecs.

What this file does carries no label: the network can't tell the classes apart by it.
"""

from __future__ import annotations

import subprocess

import cv2
import numpy as np

from draw import (
    Rng, band, blur, chance, clouds, gamma, jpeg, log_uniform, motion_blur, saturate, shrink_and_grow, tint, uniform,
)

CODECS = {
    "h264": ["-c:v", "libx264", "-preset", "veryfast", "-bf", "0", "-g", "2"],
    "vp8": ["-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8", "-g", "2", "-b:v", "20M"],
}
SIDE = 192  # of the frame that is encoded
TAKES = 2  # frames of each picture: a key frame and one that follows, which is kept


def capture(r: Rng, x: np.ndarray) -> np.ndarray:
    """The picture that a camera makes of a scene."""
    h, w = x.shape[:2]
    if chance(r, 0.15):
        return np.clip(x, 0, 1)
    if chance(r, 0.6):
        x = gamma(x, uniform(r, 0.7, 1.4))
    if chance(r, 0.6):
        x = x * uniform(r, 0.7, 1.3)
    if chance(r, 0.5):
        x = x * tint(r, 0.86, 1.14)
    if chance(r, 0.3):
        x = saturate(x, uniform(r, 0.3, 1.4))
    if chance(r, 0.3):  # haze: a dirty lens, light from behind
        veil = uniform(r, 0, 0.3)
        x = x * (1 - veil) + veil * uniform(r, 0.3, 1)
    if chance(r, 0.3):
        y, z = np.mgrid[-1 : 1 : h * 1j, -1 : 1 : w * 1j].astype(np.float32)
        x = x * (1 - uniform(r, 0, 0.35) * (y**2 + z**2) / 2)[..., None]
    if chance(r, 0.2):
        x = x * (uniform(r, 0.7, 0.95) + uniform(r, 0.1, 0.5) * clouds(r, h, w))[..., None]
    if chance(r, 0.06):
        x = x * band(r, h)
    u = r.random()
    if u < 0.35:
        x = blur(x, log_uniform(r, 0.35, 1.8))
    elif u < 0.45:
        x = motion_blur(r, x, int(r.integers(2, 6)))
    if chance(r, 0.25):
        x = mosaic(x)
    if chance(r, 0.6):
        x = x + noise(r, x)
    if chance(r, 0.2):  # a beauty filter, a denoiser
        x = cv2.bilateralFilter(np.clip(x, 0, 1).astype(np.float32), 5, uniform(r, 0.05, 0.15), 3)
    if chance(r, 0.35):
        x = x + uniform(r, 0.2, 1.4) * (x - blur(x, uniform(r, 0.6, 1.6)))
    x = np.clip(x, 0, 1).astype(np.float32)
    if chance(r, 0.25):
        x = shrink_and_grow(r, x, uniform(r, 0.4, 0.9))
    for _ in range(r.integers(0, 3)):
        x = jpeg(x, int(r.integers(35, 97)))
    return np.clip(x, 0, 1)


def mosaic(x: np.ndarray) -> np.ndarray:
    """A colour filter array and its interpolation."""
    b = np.clip(x * 255, 0, 255).astype(np.uint8)
    m = b[..., 1].copy()
    m[0::2, 0::2] = b[0::2, 0::2, 2]
    m[1::2, 1::2] = b[1::2, 1::2, 0]
    return cv2.cvtColor(m, cv2.COLOR_BayerBG2BGR).astype(np.float32) / 255


def noise(r: Rng, x: np.ndarray) -> np.ndarray:
    n = r.standard_normal(x.shape, dtype=np.float32)
    if chance(r, 0.4):
        n = blur(n, uniform(r, 0.4, 1)) * 1.6
    if chance(r, 0.3):
        n[:] = n.mean(2, keepdims=True) * 1.4
    return log_uniform(r, 0.003, 0.045) * n * np.sqrt(np.clip(x, 0.02, 1))


def encode(r: Rng, pictures: list[np.ndarray], codec: str, level: int) -> list[np.ndarray]:
    """Pictures (uint8, at most `SIDE` wide and high) after a real video encoder at quantizer `level`."""
    film = np.empty((len(pictures) * TAKES, SIDE, SIDE, 3), np.uint8)
    for i, x in enumerate(pictures):
        h, w = x.shape[:2]
        whole = cv2.copyMakeBorder(x, 0, SIDE - h, 0, SIDE - w, cv2.BORDER_REPLICATE)
        for k in range(TAKES):  # a hand's tremor, so that motion is coded too; the last is in place
            shift = r.integers(-1, 2, 2) if k < TAKES - 1 else (0, 0)
            film[i * TAKES + k] = np.roll(whole, tuple(int(s) for s in shift), (0, 1))
    raw = ["-f", "rawvideo", "-pix_fmt", "bgr24", "-s", f"{SIDE}x{SIDE}", "-r", "25"]
    quality = ["-crf", str(level)] if codec == "h264" else ["-qmin", str(level), "-qmax", str(level)]
    call = ["ffmpeg", "-v", "error", "-threads", "1"]
    out = [*CODECS[codec], *quality, "-threads", "1", "-pix_fmt", "yuv420p", "-f", "matroska", "-"]
    coded = subprocess.run([*call, *raw, "-i", "-", *out], input=film.tobytes(), capture_output=True, check=True).stdout
    back = ["-i", "-", "-f", "rawvideo", "-pix_fmt", "bgr24", "-"]
    shown = subprocess.run([*call, *back], input=coded, capture_output=True, check=True).stdout
    frames = np.frombuffer(shown, np.uint8).reshape(-1, SIDE, SIDE, 3)
    if len(frames) != len(film):
        raise ValueError(f"{codec} gave back {len(frames)} of {len(film)} frames")
    return [frames[i * TAKES + TAKES - 1, : x.shape[0], : x.shape[1]].copy() for i, x in enumerate(pictures)]


def random_codec(r: Rng, pictures: list[np.ndarray]) -> tuple[list[np.ndarray], str]:
    """All pictures through the same encoder, or none, at a random quality."""
    codec = ("none", "h264", "vp8")[r.integers(3)]
    if codec == "none":
        return pictures, codec
    level = int(r.integers(18, 36)) if codec == "h264" else int(r.integers(4, 46))
    return encode(r, pictures, codec, level), codec
