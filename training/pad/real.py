"""Real frames to measure on: held-out clips and photographs, the attack samples, drawn heads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

import detect
import sources
from generate import CROP_SCALE, crop


@dataclass
class Frame:
    """One frame with its face."""

    source: str
    live: bool
    split: str
    image: np.ndarray
    box: np.ndarray  # of the mesh, as the service has it

    def crop(self, scale: float = CROP_SCALE, side: int = 96, average: bool = True) -> np.ndarray:
        return crop(self.image, self.box, scale, side, average)


def mesh_box(box: np.ndarray) -> np.ndarray:
    """YuNet's box made into the face mesh's (medians of 68 frames: 10 % lower at the top)."""
    x, y, w, h = box
    return np.array([x, y + 0.1 * h, w, 0.89 * h])


def find(detector: detect.Detector, image: np.ndarray) -> np.ndarray | None:
    box = detector.largest(image)
    return None if box is None else mesh_box(box)


def read(datasets: Path, detector_path: Path, drawn: Path | None = None, per_clip: int = 16, photos: int = 200) -> list[Frame]:
    """Every frame with a face. Photographs: the first of each held-out person, up to `photos`."""
    detector = detect.Detector(detector_path)
    pictures = [
        (f"clip/{path.stem}", True, split, image)
        for path, split in sources.clips(datasets)
        for image in sources.frames(path, per_clip)
    ]
    people: dict[str, Path] = {}
    for path in sorted((datasets / "faces/lfw").glob("*.jpg")):
        name = path.stem.rsplit("_", 1)[0]
        if sources.split_of_person(name) == "test":
            people.setdefault(name, path)
    pictures += [(f"photo/{name}", True, "test", cv2.imread(str(p))) for name, p in list(people.items())[:photos]]
    for path in sorted((datasets / "pad").glob("*.jpg")):
        pictures.append((f"pad/{path.stem}", "_T" in path.stem, "test", cv2.imread(str(path))))
    for path in sorted(drawn.glob("*.png")) if drawn else []:
        pictures.append((f"drawn/{path.stem}", False, "test", cv2.imread(str(path))))
    frames = []
    for source, live, split, image in pictures:
        box = find(detector, image)
        if box is not None:
            frames.append(Frame(source, live, split, image, box))
    return frames
