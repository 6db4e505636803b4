"""Degradations that both classes get alike, to show what the score does not depend on."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

import camera

Crops = list[np.ndarray]


def each(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Crops], Crops]:
    return lambda crops: [np.clip(change(x.astype(np.float32)), 0, 255).astype(np.uint8) for x in crops]


def shrink(side: int) -> Callable[[np.ndarray], np.ndarray]:
    return lambda x: cv2.resize(cv2.resize(x, (side, side), interpolation=cv2.INTER_AREA), x.shape[1::-1])


def borders(x: np.ndarray) -> np.ndarray:
    """Black bars left and right, as around an upright video."""
    h, w = x.shape[:2]
    bar = w // 6
    return cv2.resize(cv2.copyMakeBorder(x, 0, 0, bar, bar, cv2.BORDER_CONSTANT), (w, h), interpolation=cv2.INTER_AREA)


def framed(x: np.ndarray) -> np.ndarray:
    """A thin dark frame around the picture."""
    return cv2.rectangle(x.copy(), (0, 0), (x.shape[1] - 1, x.shape[0] - 1), (20, 20, 20), 5)


def jpeg(quality: int) -> Callable[[np.ndarray], np.ndarray]:
    def change(x: np.ndarray) -> np.ndarray:
        _, data = cv2.imencode(".jpg", x.astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, quality])
        return cv2.imdecode(data, cv2.IMREAD_COLOR)

    return change


def codec(name: str, level: int) -> Callable[[Crops], Crops]:
    return lambda crops: camera.encode(np.random.default_rng(5), crops, name, level)


def noise(x: np.ndarray) -> np.ndarray:
    return x + np.random.default_rng(6).normal(0, 8, x.shape)


DEGRADATIONS: dict[str, Callable[[Crops], Crops]] = {
    "none": lambda crops: crops,
    "half resolution": each(shrink(48)),
    "blur": each(lambda x: cv2.GaussianBlur(x, (0, 0), 1.2)),
    "JPEG 30": each(jpeg(30)),
    "H.264, quantizer 32": codec("h264", 32),
    "VP8, quantizer 40": codec("vp8", 40),
    "noise": each(noise),
    "dark": each(lambda x: x * 0.5),
    "bright": each(lambda x: x * 1.4),
    "warm light": each(lambda x: x * np.array([0.8, 1.0, 1.15])),
    "grey": each(lambda x: np.repeat(x.mean(2, keepdims=True), 3, 2)),
    "bars": each(borders),
    "thin frame": each(framed),
}
