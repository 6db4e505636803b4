"""A live person before a camera: relit, set in front of other rooms, framed at random.

Attacks show such scenes too, so nothing about cutting people out tells the classes apart.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from draw import Rng, blur, chance, clouds, fingers, glare, log_uniform, saturate, slope, tint, uniform


@dataclass
class Source:
    """One genuine picture."""

    name: str
    image: np.ndarray  # uint8 BGR
    matte: np.ndarray | None  # 0–1, where the person is
    box: np.ndarray  # x, y, width, height of the face


class Library:
    """The sources of one split. Every source (person or clip) weighs the same within its kind."""

    def __init__(self, work: Path, splits: list[str]) -> None:
        self.groups: dict[str, dict[str, list[Source]]] = {}
        for entry in json.loads((work / "sources/index.json").read_text()):
            if entry["split"] not in splits:
                continue
            picture = cv2.imread(str(work / "sources" / entry["file"]), cv2.IMREAD_UNCHANGED)
            matte = picture[..., 3].astype(np.float32) / 255 if entry["cut"] else None
            source = Source(entry["source"], picture[..., :3].copy(), matte, np.array(entry["box"], np.float32))
            kind = source.name.split("/")[0]
            self.groups.setdefault(kind, {}).setdefault(source.name, []).append(source)

    def pick(self, r: Rng, clip_share: float = 0.35) -> Source:
        kinds = sorted(self.groups)
        kind = "photo" if "photo" in kinds and ("clip" not in kinds or not chance(r, clip_share)) else kinds[0]
        names = list(self.groups[kind])
        takes = self.groups[kind][names[r.integers(len(names))]]
        return takes[r.integers(len(takes))]


def room(r: Rng, h: int, w: int, library: Library) -> np.ndarray:
    """A background: a made room with straight-edged clutter, or what stands behind another person."""
    if chance(r, 0.4):
        image = library.pick(r, 0.5).image
        side = max(6, int(min(image.shape[:2]) * uniform(r, 0.15, 0.4)))
        # The upper corners hold no face.
        x = 0 if chance(r, 0.5) else image.shape[1] - side
        out = cv2.resize(image[:side, x : x + side], (w, h), interpolation=cv2.INTER_LINEAR).astype(np.float32) / 255
        out = blur(out, log_uniform(r, 0.5, 6)) if chance(r, 0.4) else out
    else:
        base = uniform(r, 0.15, 0.9) + uniform(r, 0, 0.4) * (clouds(r, h, w) - 0.5)
        out = base[..., None] * tint(r, 0.8, 1.2)
        for _ in range(r.integers(0, 7)):  # doors, windows, shelves, posters, monitors
            colour = (np.full(3, r.random()) + r.uniform(-0.15, 0.15, 3)).tolist()
            x, y = int(uniform(r, -0.3, 1) * w), int(uniform(r, -0.3, 1) * h)
            dx, dy = int(uniform(r, 0.05, 0.8) * w), int(uniform(r, 0.05, 0.9) * h)
            out = np.ascontiguousarray(out, np.float32)
            if chance(r, 0.5):
                cv2.rectangle(out, (x, y), (x + dx, y + dy), colour, -1)
                if chance(r, 0.4):
                    cv2.rectangle(out, (x, y), (x + dx, y + dy), [uniform(r, 0, 1)] * 3, int(r.integers(1, max(2, w // 20))))
            else:
                end = (x + dx, y) if chance(r, 0.5) else (x, y + dy)
                cv2.line(out, (x, y), end, colour, int(r.integers(1, max(2, w // 15))))
        if chance(r, 0.6):
            out = blur(out, log_uniform(r, 0.5, 5))
    return np.clip(out * uniform(r, 0.5, 1.15), 0, 1).astype(np.float32)


def relight(r: Rng, x: np.ndarray) -> np.ndarray:
    """The light on a person: level, colour, side, uneven shadow."""
    h, w = x.shape[:2]
    x = x * uniform(r, 0.5, 1.2)
    if chance(r, 0.6):
        x = x * tint(r, 0.82, 1.18)
    if chance(r, 0.4):
        x = x * slope(r, h, w, 0.6)
    if chance(r, 0.25):
        x = x * (uniform(r, 0.6, 0.95) + uniform(r, 0.1, 0.6) * clouds(r, h, w))[..., None]
    if chance(r, 0.3):
        x = saturate(x, uniform(r, 0.5, 1.4))
    return x


def frame(r: Rng, limit: np.ndarray | None) -> np.ndarray:
    """Room left, above, right and below the face, in face widths; within `limit` where given."""
    wide = log_uniform(r, 0.3, 2.2)
    margins = wide * r.uniform(0.5, 1.5, 4)
    if chance(r, 0.3):  # a selfie: the face low in the picture, little below
        margins[3] *= 0.5
    if limit is not None:
        margins = np.minimum(margins, np.maximum(limit, 0.02))
    return margins


def cut_off(source: Source) -> np.ndarray:
    """Whether the person reaches the left, upper and right edge of the picture (the lower never counts)."""
    m, low = source.matte, int(source.box[1] + source.box[3])
    return np.array([m[:low, 0].mean() > 0.1, m[0].mean() > 0.1, m[:low, -1].mean() > 0.1, False])


def torso(r: Rng, image: np.ndarray, matte: np.ndarray, floor: int, box: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Shoulders below a picture that ended (at row `floor`) above them, in the colour of its clothes."""
    h, w = matte.shape[:2]
    there = matte[floor - 1, :, 0] > 0.5
    cloth = np.median(image[floor - 1][there], 0) if there.any() else tint(r, 0.1, 0.8)
    cloth = cloth * (0.8 + uniform(r, 0.1, 0.5) * clouds(r, h, w))[..., None]
    mask = np.zeros((h, w), np.float32)
    radii = (int(box[2] * uniform(r, 1.1, 1.6)), int(box[2] * uniform(r, 0.9, 1.3)))
    cv2.ellipse(mask, (int(box[0] + box[2] / 2), floor + radii[1] - int(box[2] * uniform(r, 0.05, 0.3))), radii, 0, 0, 360, 1.0, -1)
    mask = blur(mask, 0.8)[..., None]
    below = (np.arange(h) >= floor)[:, None, None]
    seen = np.where(below, 0, matte)
    return image * seen + cloth * (1 - seen), np.maximum(seen, mask).astype(np.float32)


def extend(x: np.ndarray, pad: list[int]) -> np.ndarray:
    """More picture around a picture: the edge goes on (clothes below, nothing in a matte above)."""
    left, top, right, bottom = pad
    return cv2.copyMakeBorder(x, top, bottom, left, right, cv2.BORDER_REPLICATE)


def live(r: Rng, source: Source, face_width: float, library: Library) -> tuple[np.ndarray, np.ndarray]:
    """A scene with a live person whose face is `face_width` pixels wide, and the face's box."""
    scale = face_width / source.box[2]
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC if chance(r, 0.5) else cv2.INTER_LINEAR
    image = cv2.resize(source.image, None, fx=scale, fy=scale, interpolation=how).astype(np.float32) / 255
    box = source.box * scale
    h, w = image.shape[:2]
    have = np.array([box[0], box[1], w - box[0] - box[2], h - box[1] - box[3]])
    composed = source.matte is not None and chance(r, 0.6)
    limit = np.where(cut_off(source), have / box[2], 9.0) if composed else have / box[2]
    want = (frame(r, limit) * box[2]).astype(int)
    pad = [max(0, int(np.ceil(m - a))) for m, a in zip(want, have)]
    if composed:
        matte = cv2.resize(source.matte, (w, h), interpolation=cv2.INTER_LINEAR)
        image = extend(image, pad)
        matte = extend(matte, [0, 0, 0, pad[3]])
        matte = cv2.copyMakeBorder(matte, pad[1], 0, pad[0], pad[2], cv2.BORDER_CONSTANT, value=0)[..., None]
        if pad[3] > 0:
            image, matte = torso(r, image, matte, h + pad[1], box + np.array([pad[0], pad[1], 0, 0]))
        lit = relight(r, image) if chance(r, 0.7) else image
        image = lit * matte + room(r, image.shape[0], image.shape[1], library) * (1 - matte)
    elif chance(r, 0.5):
        image = relight(r, image)
    box = box + np.array([pad[0], pad[1], 0, 0])
    left, top = int(max(0, box[0] - want[0])), int(max(0, box[1] - want[1]))
    right, bottom = int(box[0] + box[2] + want[2]), int(box[1] + box[3] + want[3])
    image = image[top:bottom, left:right]
    box = box - np.array([left, top, 0, 0])
    if chance(r, 0.5):
        image = image[:, ::-1]
        box[0] = image.shape[1] - box[0] - box[2]
    return np.ascontiguousarray(np.clip(image, 0, 1.5), np.float32), box


def genuine(r: Rng, source: Source, face_width: float, library: Library) -> tuple[np.ndarray, np.ndarray]:
    """A live scene with what attacks have by accident too: a tilt, a lamp's glare, a hand, bars."""
    x, box = live(r, source, face_width, library)
    h, w = x.shape[:2]
    if chance(r, 0.5):
        centre = (float(box[0] + box[2] / 2), float(box[1] + box[3] / 2))
        turn = cv2.getRotationMatrix2D(centre, uniform(r, -11, 11), uniform(r, 1.0, 1.06))
        x = cv2.warpAffine(x, turn, (w, h), borderMode=cv2.BORDER_REFLECT_101)
    if chance(r, 0.08):
        x = glare(r, x, 1)
    if chance(r, 0.08):
        corners = np.array([[0, 0], [w, 0], [w, h], [0, h]], np.float32)
        side = r.integers(4)
        inward = np.array([[0, 1], [-1, 0], [0, -1], [1, 0]], np.float32)[side]
        x = fingers(r, x, corners[side], corners[(side + 1) % 4], inward)
    if chance(r, 0.08):  # letterbox and window frames of video software
        x, box = bars(r, x, box)
    return x, box


def bars(r: Rng, x: np.ndarray, box: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Even bars at two sides or around the picture."""
    across, down = (int(box[2] * uniform(r, 0.05, 0.5)) for _ in range(2))
    style = r.integers(3)
    across, down = (0 if style == 0 else across), (0 if style == 1 else down)
    colour = [0.0] * 3 if chance(r, 0.7) else [uniform(r, 0, 1)] * 3
    x = cv2.copyMakeBorder(x, down, down, across, across, cv2.BORDER_CONSTANT, value=colour)
    return x, box + np.array([across, down, 0, 0])
