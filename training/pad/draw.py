"""Random draws and image helpers that the simulation shares. Images are float32 BGR, 0–1, gamma-coded."""

from __future__ import annotations

import cv2
import numpy as np

Rng = np.random.Generator
LUMA = np.array([0.114, 0.587, 0.299], np.float32)


def uniform(r: Rng, low: float, high: float) -> float:
    return float(r.uniform(low, high))


def log_uniform(r: Rng, low: float, high: float) -> float:
    return float(np.exp(r.uniform(np.log(low), np.log(high))))


def chance(r: Rng, p: float) -> bool:
    return bool(r.random() < p)


def tint(r: Rng, low: float, high: float) -> np.ndarray:
    """A gain for blue, green and red."""
    return r.uniform(low, high, 3).astype(np.float32)


def clouds(r: Rng, h: int, w: int, cells: int = 3) -> np.ndarray:
    """Smooth random field, about 0–1."""
    return cv2.resize(r.random((cells, cells), dtype=np.float32), (w, h), interpolation=cv2.INTER_CUBIC)


def blur(x: np.ndarray, sigma: float) -> np.ndarray:
    return cv2.GaussianBlur(x, (0, 0), max(sigma, 0.15))


def motion_blur(r: Rng, x: np.ndarray, length: int) -> np.ndarray:
    kernel = np.zeros((length, length), np.float32)
    angle, centre = uniform(r, 0, np.pi), (length - 1) / 2
    dx, dy = centre * np.cos(angle), centre * np.sin(angle)
    cv2.line(kernel, (round(centre - dx), round(centre - dy)), (round(centre + dx), round(centre + dy)), 1.0)
    return cv2.filter2D(x, -1, kernel / kernel.sum())


def saturate(x: np.ndarray, amount: float) -> np.ndarray:
    grey = (x @ LUMA)[..., None]
    return grey + (x - grey) * amount


def gamma(x: np.ndarray, exponent: float) -> np.ndarray:
    return np.clip(x, 0, 1) ** exponent


def jpeg(x: np.ndarray, quality: int) -> np.ndarray:
    _, data = cv2.imencode(".jpg", np.clip(x * 255 + 0.5, 0, 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, quality])
    return cv2.imdecode(data, cv2.IMREAD_COLOR).astype(np.float32) / 255


def shrink_and_grow(r: Rng, x: np.ndarray, scale: float) -> np.ndarray:
    """Loses detail as a smaller picture does."""
    h, w = x.shape[:2]
    small = cv2.resize(x, (max(4, int(w * scale)), max(4, int(h * scale))), interpolation=cv2.INTER_AREA)
    how = cv2.INTER_LINEAR if chance(r, 0.5) else cv2.INTER_CUBIC
    return cv2.resize(small, (w, h), interpolation=how)


def slope(r: Rng, h: int, w: int, most: float) -> np.ndarray:
    """A gain that changes evenly across the picture, as light from one side does."""
    across = uniform(r, -most, most) * np.linspace(-0.5, 0.5, w, dtype=np.float32)[None]
    down = uniform(r, -most, most) * np.linspace(-0.5, 0.5, h, dtype=np.float32)[:, None]
    return (1 + across + down)[..., None]


def warp(x: np.ndarray, matrix: np.ndarray, size: tuple[int, int], border: int = cv2.BORDER_CONSTANT) -> np.ndarray:
    return cv2.warpPerspective(x, matrix, size, flags=cv2.INTER_LINEAR, borderMode=border)


def band(r: Rng, h: int) -> np.ndarray:
    """Horizontal bars of a lamp's or a display's flicker: a gain."""
    t = np.arange(h) / h
    wave = np.sin(2 * np.pi * (log_uniform(r, 0.7, 9) * t + r.random()))
    if chance(r, 0.4):
        wave = np.tanh(wave * 4)
    return (1 + uniform(r, 0.04, 0.2) * wave.astype(np.float32))[:, None, None]


def glare(r: Rng, x: np.ndarray, spots: int) -> np.ndarray:
    """Bright reflections with soft edges."""
    h, w = x.shape[:2]
    for _ in range(spots):
        mask = np.zeros((h, w), np.float32)
        centre = (int(uniform(r, 0, w)), int(uniform(r, 0, h)))
        axes = (int(w * log_uniform(r, 0.02, 0.3)) + 1, int(h * log_uniform(r, 0.02, 0.2)) + 1)
        angle = uniform(r, 0, 180)
        if chance(r, 0.6):
            cv2.ellipse(mask, centre, axes, angle, 0, 360, 1.0, -1)
        else:
            corners = cv2.boxPoints((centre, (axes[0] * 2, axes[1] * uniform(r, 0.2, 1.5)), angle))
            cv2.fillPoly(mask, [corners.astype(np.int32)], 1.0)
        mask = blur(mask, log_uniform(r, 1, max(1.5, w * 0.12))) * uniform(r, 0.1, 0.95)
        x = x + mask[..., None] * tint(r, 0.85, 1.05) * (1 - 0.6 * np.clip(x, 0, 1))
    return x


SKIN = np.array([[90, 120, 190], [110, 150, 215], [60, 90, 150], [40, 60, 100], [130, 170, 230]], np.float32) / 255


def fingers(r: Rng, x: np.ndarray, start: np.ndarray, end: np.ndarray, inward: np.ndarray) -> np.ndarray:
    """Up to four fingers that reach in over the edge from `start` to `end`."""
    h, w = x.shape[:2]
    colour = SKIN[r.integers(len(SKIN))] * uniform(r, 0.6, 1.15)
    length = float(np.linalg.norm(end - start)) + 1e-6
    thick = length * uniform(r, 0.05, 0.11)
    first = uniform(r, 0.05, 0.8)
    for i in range(r.integers(1, 5)):
        at = start + (end - start) * (first + i * 1.1 * thick / length)
        tip, base = at + inward * thick * uniform(r, 0.3, 1.8), at - inward * thick * uniform(r, 2, 5)
        mask = np.zeros((h, w), np.float32)
        cv2.line(mask, tuple(int(v) for v in base), tuple(int(v) for v in tip), 1.0, max(1, int(thick)))
        shade = blur(mask, max(0.6, thick * 0.3))[..., None]
        mask = blur(mask, 0.7)[..., None]
        x = x * (1 - mask) + mask * colour * (0.5 + 0.6 * shade)
    return x
