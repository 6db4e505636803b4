"""Writes shards of labelled crops: `generate.py WORK OUT --splits train --seed 1 --shards 50`.

Half of a shard is genuine. A shard is an NPZ with `crops` (n, 104, 104, 3) uint8 BGR, a little
larger than the network sees, `label`, `species`, `codec` and `source`. Shards appear atomically, so
that training can start while they are being made.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import cv2
import numpy as np

import camera
import recapture
from draw import Rng, log_uniform, uniform
from scene import Library, Source, genuine

LABELS = ["live", "screen", "print", "render"]
SPECIES = ["live", *recapture.SCREENS, *recapture.PRINTS, "render"]
WEIGHTS = np.array([0, 0.21, 0.15, 0.14, 0.12, 0.11, 0.09, 0.18])  # of the attacks
CROP_SCALE = 2.7
SIDE = 104
BATCH = 48  # pictures that share an encoder


def label_of(species: str) -> int:
    kinds = {"live": 0, "render": 3} | dict.fromkeys(recapture.SCREENS, 1) | dict.fromkeys(recapture.PRINTS, 2)
    return kinds[species]


def crop(image: np.ndarray, box: np.ndarray, scale: float, side: int, average: bool = True) -> np.ndarray:
    """The box enlarged about its centre, as large as the picture allows, moved inside it: the
    adapter's crop (src/infer/antispoof.rs), shrunk by area or, without `average`, bilinearly."""
    h, w = image.shape[:2]
    x, y, bw, bh = box
    scale = min(scale, w / bw, h / bh)
    cw, ch = bw * scale, bh * scale
    left = max(0.0, min(x + bw / 2 - cw / 2, w - cw))
    top = max(0.0, min(y + bh / 2 - ch / 2, h - ch))
    x0, y0 = int(np.floor(left)), int(np.floor(top))
    x1, y1 = min(w, int(np.ceil(left + cw))), min(h, int(np.ceil(top + ch)))
    part = image[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)]
    shrinks = average and part.shape[0] >= side and part.shape[1] >= side
    return cv2.resize(part, (side, side), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def heads(work: Path, half: int) -> list[Source]:
    """The drawn heads of one half (0: training, 1: validation and test)."""
    data = np.load(work / "heads.npz")
    return [
        Source(f"head/{i}", p[..., :3], p[..., 3].astype(np.float32) / 255, b)
        for i, (p, b) in enumerate(zip(data["pictures"], data["boxes"]))
        if (i % 5 == 0) == bool(half)
    ]


def example(r: Rng, species: str, library: Library, drawn: list[Source]) -> tuple[np.ndarray, np.ndarray, str]:
    """A captured picture (uint8), the face's box as a detector would place it, and the source."""
    source = drawn[r.integers(len(drawn))] if species == "render" else library.pick(r)
    face_width = min(log_uniform(r, 30, 90), 1.4 * source.box[2])
    if species in ("live", "render"):
        x, box = genuine(r, source, face_width, library)
    else:
        x, box = recapture.attack(r, source, face_width, library, species)
    largest = max(x.shape[:2])
    if largest > camera.SIDE:
        scale = (camera.SIDE - 1) / largest
        x, box = cv2.resize(x, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), box * scale
    x = np.clip(camera.capture(r, x) * 255 + 0.5, 0, 255).astype(np.uint8)
    shift, grow = r.uniform(-0.08, 0.08, 2), uniform(r, 0.88, 1.15) * r.uniform(0.94, 1.06, 2)
    centre = box[:2] + box[2:] / 2 + shift * box[2:]
    size = box[2:] * grow
    return x, np.array([*(centre - size / 2), *size]), source.name


def shard(r: Rng, size: int, library: Library, drawn: list[Source]) -> dict[str, np.ndarray]:
    crops, species, codecs, sources = [], [], [], []
    while len(crops) < size:
        kinds = ["live" if i % 2 else str(r.choice(SPECIES, p=WEIGHTS / WEIGHTS.sum())) for i in range(BATCH)]
        taken = [example(r, kind, library, drawn) for kind in kinds]
        pictures, codec = camera.random_codec(r, [x for x, _, _ in taken])
        for picture, (_, box, source), kind in zip(pictures, taken, kinds):
            crops.append(crop(picture, box, CROP_SCALE * SIDE / 96, SIDE))
            species.append(kind)
            codecs.append(codec)
            sources.append(source)
    return {
        "crops": np.stack(crops),
        "label": np.array([label_of(s) for s in species], np.int64),
        "species": np.array(species),
        "codec": np.array(codecs),
        "source": np.array(sources),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--splits", default="train", help="comma-separated")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--shards", type=int, default=50)
    parser.add_argument("--size", type=int, default=960)
    args = parser.parse_args()
    cv2.setNumThreads(1)
    splits = args.splits.split(",")
    library, drawn = Library(args.work, splits), heads(args.work, int("train" not in splits))
    args.out.mkdir(parents=True, exist_ok=True)
    for i in range(args.shards):
        path = args.out / f"{args.seed:02d}_{i:04d}.npz"
        if path.exists():
            continue
        data = shard(np.random.default_rng([args.seed, i]), args.size, library, drawn)
        np.savez(path.with_suffix(".part.npz"), **data)
        os.replace(path.with_suffix(".part.npz"), path)


if __name__ == "__main__":
    main()
