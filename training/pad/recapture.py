"""Presentation attacks, simulated: a scene with a person is shown on a screen or printed, lit by
another room, held before the camera and seen again. What the camera does comes later (camera.py),
to genuine scenes alike."""

from __future__ import annotations

import cv2
import numpy as np

import scene
from draw import (
    Rng, band, blur, chance, clouds, fingers, gamma, glare, jpeg, log_uniform, motion_blur, saturate, shrink_and_grow,
    slope, tint, uniform, warp,
)

SCREENS = {"phone": (0.02, 0.12), "tablet": (0.06, 0.25), "monitor": (0.04, 0.35)}  # bezel, in face widths
PRINTS = ("flat", "bent", "cut")


def show_on_screen(r: Rng, x: np.ndarray) -> np.ndarray:
    """What a file and a display make of the picture: size, compression, gamma, contrast, colour."""
    if chance(r, 0.35):
        x = shrink_and_grow(r, x, uniform(r, 0.35, 1))
    if chance(r, 0.5):
        x = jpeg(x, int(r.integers(20, 85)))
    x = saturate(gamma(x, log_uniform(r, 0.6, 1.7)), uniform(r, 0.65, 1.5))
    return np.clip((x - 0.5) * uniform(r, 0.8, 1.35) + 0.5, 0, 1)


def screen_light(r: Rng, x: np.ndarray) -> np.ndarray:
    """Backlight: raised black, a cold white, uneven by the angle, a halo."""
    h, w = x.shape[:2]
    x = uniform(r, 0.0, 0.16) + x * uniform(r, 0.6, 1.35)
    x = x * np.array([uniform(r, 0.95, 1.35), uniform(r, 0.93, 1.1), uniform(r, 0.72, 1.08)], np.float32)
    if chance(r, 0.6):
        x = x * slope(r, h, w, 0.4)
    if chance(r, 0.4):
        x = x + uniform(r, 0.05, 0.35) * blur(np.clip(x, 0, 2), w * uniform(r, 0.02, 0.12))
    return x


def pixel_raster(r: Rng, h: int, w: int) -> np.ndarray:
    """The display's pixels sampled by the camera's: cosines that alias into moire by themselves."""
    y, x = np.mgrid[0:h, 0:w].astype(np.float32)
    pitch = log_uniform(r, 0.75, 4.5) if chance(r, 0.7) else 1 / (r.integers(1, 4) + uniform(r, -0.12, 0.12))
    a = uniform(r, -0.12, 0.12) if chance(r, 0.6) else uniform(r, -np.pi / 4, np.pi / 4)
    bend = r.uniform(-6e-4, 6e-4, 2)
    u = (np.cos(a) * x - np.sin(a) * y) * (1 + bend[0] * x + bend[1] * y) / pitch
    v = (np.sin(a) * x + np.cos(a) * y) * (1 + bend[0] * y - bend[1] * x) / pitch
    soft = np.exp(-2 * (uniform(r, 0.2, 0.7) / pitch) ** 2) if pitch > 0.9 else uniform(r, 0.3, 1)
    depth = log_uniform(r, 0.04, 0.45) * max(0.2, float(soft))
    stripe = uniform(r, 0.2, 0.34) if chance(r, 0.7) else uniform(r, 0, 0.08)
    rows = depth * uniform(r, 0.3, 1) * np.cos(2 * np.pi * v)
    columns = [
        depth * (np.cos(2 * np.pi * (u + c * stripe)) + 0.4 * np.cos(4 * np.pi * (u + c * stripe))) for c in (-1, 0, 1)
    ]
    return np.stack([1 + column + rows for column in columns], -1)


def slow_moire(r: Rng, h: int, w: int) -> np.ndarray:
    """Broad coloured fringes."""
    y, x = np.mgrid[0:h, 0:w].astype(np.float32)
    out = np.ones((h, w, 3), np.float32)
    for _ in range(r.integers(1, 3)):
        a = uniform(r, 0, np.pi)
        along, across = np.cos(a) * x + np.sin(a) * y, np.cos(a) * y - np.sin(a) * x
        phase = 2 * np.pi * along / log_uniform(r, 4, 60) + uniform(r, 0, 6) * np.pi * (across / w) ** 2
        phase = phase + uniform(r, 0, 1.5) * np.sin(2 * np.pi * across / (w * uniform(r, 0.4, 1.5)))
        strength = log_uniform(r, 0.02, 0.14) * (0.3 + clouds(r, h, w, 4))
        shift = uniform(r, 0, 2.1)
        out += np.stack([strength * np.cos(phase + c * shift) for c in (-1, 0, 1)], -1)
    return out


def ink(r: Rng, x: np.ndarray) -> np.ndarray:
    """What a printer makes of the picture: fewer tones, paler colours, grey black."""
    if chance(r, 0.4):
        x = jpeg(x, int(r.integers(30, 90)))
    x = saturate(gamma(x, log_uniform(r, 0.65, 1.5)), uniform(r, 0, 0.1) if chance(r, 0.12) else uniform(r, 0.4, 1.05))
    dark = uniform(r, 0.03, 0.25) + r.uniform(-0.03, 0.03, 3)
    white = uniform(r, 0.75, 0.97) + r.uniform(-0.06, 0.06, 3)
    return (dark + x * (white - dark)).astype(np.float32)


def paper(r: Rng, x: np.ndarray) -> np.ndarray:
    """Halftone dots, ink noise, printer bands, the paper's grain, folds and shading."""
    h, w = x.shape[:2]
    if chance(r, 0.55):
        gy, gx = np.mgrid[0:h, 0:w].astype(np.float32)
        pitch, first = log_uniform(r, 0.8, 4.5), uniform(r, 0, np.pi / 2)
        angles = [first + c * np.pi / 6 for c in range(3)]
        waves = [
            np.cos(2 * np.pi * (np.cos(a) * gx + np.sin(a) * gy) / pitch)
            + np.cos(2 * np.pi * (np.cos(a) * gy - np.sin(a) * gx) / pitch)
            for a in angles
        ]
        mid = 4 * np.clip(x, 0, 1) * (1 - np.clip(x, 0, 1)) + 0.1
        x = x + 0.5 * log_uniform(r, 0.02, 0.2) * np.stack(waves, -1) * mid
    if chance(r, 0.5):
        noise = blur(r.standard_normal(x.shape, dtype=np.float32), uniform(r, 0.3, 0.9))
        x = x + log_uniform(r, 0.01, 0.05) * noise / max(float(noise.std()), 1e-3)
    if chance(r, 0.25):
        rows = np.sin(2 * np.pi * np.arange(h) / log_uniform(r, 2, 30)).astype(np.float32)
        x = x * (1 + uniform(r, 0.01, 0.06) * rows)[:, None, None]
    grain = sum(blur(r.standard_normal((h, w), dtype=np.float32), s) * s * r.random() for s in (0.5, 1.5, 5))
    x = x * (1 + log_uniform(r, 0.006, 0.05) * grain)[..., None]
    light = slope(r, h, w, 0.3)
    if chance(r, 0.5):
        bends = uniform(r, 0.5, 2.5) * np.linspace(-1, 1, w) + uniform(r, 0, 2)
        light = light + uniform(r, 0.05, 0.3) * np.cos(np.pi * bends).astype(np.float32)[None, :, None]
    if chance(r, 0.25):
        fold = np.exp(-np.abs(np.arange(w) - uniform(r, 0, w)) / log_uniform(r, 1, 12)).astype(np.float32)
        light = light + uniform(r, -0.2, 0.2) * fold[None, :, None]
    return x * light * np.array([uniform(r, 0.85, 1.08), 1, uniform(r, 0.92, 1.12)], np.float32)


def curl(r: Rng, x: np.ndarray) -> np.ndarray:
    h, w = x.shape[:2]
    gy, gx = np.mgrid[0:h, 0:w].astype(np.float32)
    f = uniform(r, 0.3, 1.2)
    mx = gx + w * uniform(r, -0.05, 0.05) * np.sin(2 * np.pi * f * gy / h + uniform(r, 0, 6))
    my = gy + h * uniform(r, -0.05, 0.05) * np.sin(2 * np.pi * f * gx / w + uniform(r, 0, 6))
    return cv2.remap(x, mx.astype(np.float32), my.astype(np.float32), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)


def edge(r: Rng, x: np.ndarray, box: np.ndarray, species: str) -> tuple[np.ndarray, np.ndarray]:
    """Bars and bezel of a screen, or a print's white margin."""
    face = box[2]
    if species in SCREENS:
        if chance(r, 0.4):
            x, box = scene.bars(r, x, box)
        thick = face * log_uniform(r, *SCREENS[species])
        sides = [int(thick * uniform(r, 0.5, 2)) for _ in range(4)]
        colour = np.full(3, uniform(r, 0, 0.12) if chance(r, 0.7) else uniform(r, 0.2, 0.95)) * tint(r, 0.9, 1.1)
    else:
        thick = face * log_uniform(r, 0.01, 0.25)
        sides = [int(thick * uniform(r, 0.3, 1.7)) if chance(r, 0.6) else 0 for _ in range(4)]
        colour = np.full(3, uniform(r, 0.75, 0.97))
    x = cv2.copyMakeBorder(x, *sides, cv2.BORDER_CONSTANT, value=[float(c) for c in colour])
    box = box + np.array([sides[2], sides[0], 0, 0])
    if species in SCREENS and chance(r, 0.4):  # the case's rim
        h, w = x.shape[:2]
        cv2.rectangle(x, (0, 0), (w - 1, h - 1), [uniform(r, 0.1, 0.9)] * 3, max(1, int(face * 0.01)))
    return x, box


def outline(r: Rng, shape: tuple[int, int], box: np.ndarray) -> np.ndarray:
    """A print cut along the head, more or less, with or without shoulders."""
    mask = np.zeros(shape, np.float32)
    x, y, w, h = box
    grow = uniform(r, 1.0, 1.4)
    cv2.ellipse(mask, (int(x + w / 2), int(y + h * 0.42)), (int(w * 0.62 * grow), int(h * 0.68 * grow)), 0, 0, 360, 1.0, -1)
    if chance(r, 0.6):
        half = w * uniform(r, 0.7, 1.3)
        cv2.rectangle(mask, (int(x + w / 2 - half), int(y + h * 1.2)), (int(x + w / 2 + half), shape[0]), 1.0, -1)
    return mask


def attack(r: Rng, source: scene.Source, face_width: float, library: scene.Library, species: str) -> tuple[np.ndarray, np.ndarray]:
    """The attack as the lens sees it, and the face's box in it."""
    fills = chance(r, 0.25)  # no edge in view: what the artefact does to light and detail must show
    margins = scene.frame(r, None) * face_width
    x, box = scene.live(r, source, face_width, library)
    screen = species in SCREENS
    x = show_on_screen(r, x) if screen else ink(r, np.clip(x, 0, 1))
    if not fills:
        x, box = edge(r, x, box, species)
    h, w = x.shape[:2]
    if fills:
        margins = np.minimum(margins, 0.95 * np.array([box[0], box[1], w - box[0] - box[2], h - box[1] - box[3]]))
    strong = fills or chance(r, 0.3)
    if screen:
        x = screen_light(r, x)
        if strong or chance(r, 0.6):
            x = x * pixel_raster(r, h, w)
        if chance(r, 0.7 if strong else 0.45):
            x = x * slow_moire(r, h, w)
        if chance(r, 0.2):
            x = x * band(r, h)
    else:
        x = paper(r, x)
    shape = outline(r, (h, w), box) if species == "cut" and not fills else np.ones((h, w), np.float32)
    both = np.dstack([x, shape]).astype(np.float32)
    if species == "bent" or (species == "cut" and chance(r, 0.5)):
        both = curl(r, both)
    return place(r, both, box, margins, library, screen, fills)


def place(
    r: Rng, both: np.ndarray, box: np.ndarray, margins: np.ndarray, library: scene.Library, screen: bool, fills: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Holds the artefact (its picture and its shape) before a background, at an angle."""
    h, w = both.shape[:2]
    size = (int(margins[0] + box[2] + margins[2]), int(margins[1] + box[3] + margins[3]))
    target = np.array([margins[0] + box[2] / 2, margins[1] + box[3] / 2], np.float32)
    a, zoom = (uniform(r, -0.2, 0.2) if chance(r, 0.6) else 0.0), uniform(r, 0.92, 1.08)
    turn = zoom * np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]], np.float32)
    corners = np.array([[0, 0], [w, 0], [w, h], [0, h]], np.float32)
    face = np.array([box[0] + box[2] / 2, box[1] + box[3] / 2], np.float32)
    jitter = uniform(r, 0, 0.12) * box[2]
    quad = ((corners - face) @ turn.T + target + r.uniform(-jitter, jitter, (4, 2))).astype(np.float32)
    matrix = cv2.getPerspectiveTransform(corners, quad)
    centre = matrix @ np.array([*face, 1.0])
    centre = centre[:2] / centre[2]
    y = warp(both, matrix, size, cv2.BORDER_REFLECT if fills else cv2.BORDER_CONSTANT)
    x, alpha = y[..., :3], blur(y[..., 3], uniform(r, 0.4, 1.2))[..., None]
    behind = room(r, size, library)
    if chance(r, 0.4):
        shift = np.float32([[1, 0, uniform(r, -9, 9)], [0, 1, uniform(r, 0, 12)]])
        shadow = blur(cv2.warpAffine(alpha[..., 0], shift, size), uniform(r, 1, 8))[..., None]
        behind = behind * (1 - uniform(r, 0.2, 0.6) * shadow)
    x = x * alpha + behind * (1 - alpha)
    if chance(r, 0.4):
        side = r.integers(4)
        start, end = quad[side], quad[(side + 1) % 4]
        inward = quad.mean(0) - (start + end) / 2
        x = fingers(r, x, start, end, inward / (np.linalg.norm(inward) + 1e-6))
    if chance(r, 0.35 if screen else 0.1):
        mirror = blur(room(r, size, library), uniform(r, 1, 8))
        x = x + alpha * mirror * uniform(r, 0.03, 0.25) * (1 - 0.5 * np.clip(x, 0, 1))
    if chance(r, 0.4 if screen else 0.2):
        x = x * (1 - alpha) + alpha * glare(r, x, int(r.integers(1, 4)))
    if chance(r, 0.4):
        x = blur(x, log_uniform(r, 0.4, 1.6)) if chance(r, 0.8) else motion_blur(r, x, int(r.integers(2, 6)))
    extent = box[2:] * zoom
    return np.clip(x, 0, 1.5), np.array([*(centre - extent / 2), *extent])


def room(r: Rng, size: tuple[int, int], library: scene.Library) -> np.ndarray:
    return scene.room(r, size[1], size[0], library)
