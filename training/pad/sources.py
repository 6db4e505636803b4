"""Reads the genuine faces of a datasets folder: `sources.py DATASETS WORK --detector FILE.onnx`.

Photographs and frames of clips become PNG files with an alpha channel that says where the person
is (GrabCut), with the face's box in `index.json`. A person, or a clip, is in one split only.
"""

from __future__ import annotations

import argparse
import json
import zlib
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from detect import Detector

VIDEO = (".mp4", ".mpg", ".webm", ".mov", ".avi")
WIDEST_FACE = 110  # pixels; the network sees a face 36 pixels wide
MARGIN = 1.3  # kept around the face, in face widths


def frames(path: Path, count: int) -> list[np.ndarray]:
    """Up to `count` frames, evenly spread over a clip."""
    capture = cv2.VideoCapture(str(path))
    total = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    wanted = set(np.linspace(0, max(total - 1, 0), min(count, max(total, 1))).astype(int).tolist())
    out = []
    for i in range(max(wanted) + 1):
        if not capture.grab():
            break
        if i in wanted:
            ok, frame = capture.retrieve()
            out += [frame] if ok else []
    return out


def clips(datasets: Path) -> list[tuple[Path, str]]:
    """Every genuine clip with its split: of each family, one clip in three is held out, and a
    family of one clip entirely, so that the measure has cameras that training never saw."""
    families: dict[str, list[Path]] = {}
    for path in sorted((datasets / "video").iterdir()):
        if path.suffix in VIDEO:
            families.setdefault(path.stem.split("_")[0], []).append(path)
    out = []
    for family in families.values():
        held_out = max(1, len(family) // 3)
        order = sorted(family, key=lambda p: zlib.crc32(p.stem.encode()))
        out += [(p, "test" if i < held_out else "train") for i, p in enumerate(order)]
    return out


def split_of_person(name: str) -> str:
    """80 % training, 10 % validation, 10 % test, by a hash of the name."""
    bucket = zlib.crc32(name.encode()) % 10
    return "val" if bucket == 0 else "test" if bucket == 1 else "train"


def window(image: np.ndarray, box: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The face with its surroundings, scaled so that the face is at most `WIDEST_FACE` wide."""
    h, w = image.shape[:2]
    x, y, bw, bh = box
    m = MARGIN * max(bw, bh)
    left, top = int(max(0, x - m)), int(max(0, y - m))
    right, bottom = int(min(w, x + bw + m)), int(min(h, y + bh + m))
    cut = image[top:bottom, left:right]
    scale = min(1.0, WIDEST_FACE / bw)
    cut = cv2.resize(cut, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return cut, (np.array([x - left, y - top, bw, bh]) * scale)


def person(image: np.ndarray, box: np.ndarray) -> np.ndarray | None:
    """Where the person is, 0–1 (GrabCut at a face width of 40 pixels); `None` where that fails."""
    scale = 40 / box[2]
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    x, y, w, h = box * scale
    rows, columns = small.shape[:2]
    centre = x + w / 2
    mask = np.full((rows, columns), cv2.GC_PR_BGD, np.uint8)
    mask[: max(1, int(y - h * 0.55))] = cv2.GC_BGD
    mask[: int(y + h), min(columns - 1, int(centre + w * 1.05)) :] = cv2.GC_BGD
    mask[: int(y + h), : max(0, int(centre - w * 1.05))] = cv2.GC_BGD
    cv2.ellipse(mask, (int(centre), int(y + h * 0.4)), (int(w * 0.62), int(h * 0.7)), 0, 0, 360, cv2.GC_PR_FGD, -1)
    cv2.rectangle(mask, (int(centre - w * 0.9), int(y + h * 1.25)), (int(centre + w * 0.9), rows), cv2.GC_PR_FGD, -1)
    cv2.ellipse(mask, (int(centre), int(y + h * 0.5)), (int(w * 0.38), int(h * 0.45)), 0, 0, 360, cv2.GC_FGD, -1)
    try:
        cv2.grabCut(small, mask, None, np.zeros((1, 65)), np.zeros((1, 65)), 2, cv2.GC_INIT_WITH_MASK)
    except cv2.error:
        return None
    inside = ((mask == cv2.GC_FGD) | (mask == cv2.GC_PR_FGD)).astype(np.float32)
    if not 0.06 < inside.mean() < 0.85:
        return None
    soft = cv2.resize(cv2.GaussianBlur(inside, (0, 0), 0.8), (image.shape[1], image.shape[0]))
    return np.clip((soft - 0.25) / 0.5, 0, 1)


def pictures(datasets: Path, per_clip: int, share: float) -> Iterator[tuple[str, str, np.ndarray]]:
    """Name of the source, split and picture; `share` of the photographs only."""
    photos = sorted((datasets / "faces/lfw").glob("*.jpg"))
    for path in photos[:: max(1, round(1 / share))]:
        name = path.stem.rsplit("_", 1)[0]
        yield f"photo/{name}", split_of_person(name), cv2.imread(str(path))
    for path, split in clips(datasets):
        for frame in frames(path, per_clip):
            yield f"clip/{path.stem}", split, frame


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("datasets", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--detector", type=Path, required=True)
    parser.add_argument("--per-clip", type=int, default=40)
    parser.add_argument("--share", type=float, default=1.0, help="share of the photographs to read")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    cv2.setRNGSeed(1)
    detector = Detector(args.detector)
    folder = args.work / "sources"
    folder.mkdir(parents=True, exist_ok=True)
    index = []
    for source, split, image in pictures(args.datasets, args.per_clip, args.share):
        box = detector.largest(image)
        if box is None or box[2] < 24:
            continue
        cut, box = window(image, box)
        alpha = person(cut, box)
        matte = np.zeros(cut.shape[:2], np.uint8) if alpha is None else (alpha * 255).astype(np.uint8)
        file = f"{len(index):05d}.png"
        cv2.imwrite(str(folder / file), np.dstack([cut, matte]))
        index.append(
            {"file": file, "source": source, "split": split, "box": [round(float(v), 2) for v in box], "cut": alpha is not None}
        )
    (folder / "index.json").write_text(json.dumps(index))
    for split in ("train", "val", "test"):
        mine = [e for e in index if e["split"] == split]
        print(split, len(mine), "pictures of", len({e["source"] for e in mine}), "sources,", sum(e["cut"] for e in mine), "cut out")


if __name__ == "__main__":
    main()
