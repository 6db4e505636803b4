"""Reading, trimming and levelling of 16 kHz mono clips, and the clip file format."""

from __future__ import annotations

import json
from math import gcd
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
from scipy.signal import resample_poly

RATE = 16_000
LEVEL = 0.06  # RMS every clip is brought to before it is mixed


class Clip(NamedTuple):
    """A recording: `kind` is `digit`, `string`, `mixed`, `numeral`, `other` or `noise`.

    `words` holds (word, first sample, end sample) of every word, where they are located.
    """

    speaker: str
    kind: str
    digits: list[int]
    x: np.ndarray
    words: list[tuple[str, int, int]] = []


def read(path: Path) -> np.ndarray:
    """Decodes a file to 16 kHz mono float32."""
    x, rate = soundfile.read(path, dtype="float32")
    if x.ndim > 1:
        x = x.mean(axis=1)
    if rate != RATE:
        g = gcd(rate, RATE)
        x = resample_poly(x, RATE // g, rate // g)
    return np.ascontiguousarray(x, dtype=np.float32)


def trim(x: np.ndarray, floor_db: float = -42.0, keep_s: float = 0.015) -> tuple[np.ndarray, int]:
    """Cuts silence off both ends: everything further than `floor_db` below the loudest 10 ms.

    Returns what is left and how many samples went from its start.
    """
    hop = RATE // 100
    n = len(x) // hop
    if n < 5:
        return x, 0
    power = 10 * np.log10((x[: n * hop].reshape(n, hop) ** 2).mean(axis=1) + 1e-10)
    loud = np.flatnonzero(power > power.max() + floor_db)
    keep = int(keep_s * RATE)
    start = max(0, int(loud[0]) * hop - keep)
    return x[start : (loud[-1] + 1) * hop + keep], start


def level(x: np.ndarray) -> np.ndarray:
    """Brings a clip to the common RMS."""
    rms = float(np.sqrt(np.mean(x.astype(np.float64) ** 2))) if len(x) else 0.0
    return (x * (LEVEL / max(rms, 1e-4))).astype(np.float32)


def save_clips(path: Path, clips: list[Clip]) -> None:
    """Writes clips as one .npz: the samples as one int16 array, and an index."""
    index, offset = [], 0
    for c in clips:
        index.append([c.speaker, c.kind, c.digits, offset, len(c.x), c.words])
        offset += len(c.x)
    samples = np.concatenate([c.x for c in clips]) if clips else np.zeros(0, np.float32)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part.npz")
    np.savez(
        part,
        samples=(np.clip(samples, -1, 1) * 32767).astype(np.int16),
        index=np.frombuffer(json.dumps(index).encode(), np.uint8),
    )
    part.replace(path)


def load_clips(path: Path) -> list[Clip]:
    """Reads what `save_clips` wrote."""
    with np.load(path) as f:
        samples, index = f["samples"], json.loads(f["index"].tobytes())
    return [
        Clip(speaker, kind, digits, samples[a : a + n].astype(np.float32) / 32767, [tuple(w) for w in words])
        for speaker, kind, digits, a, n, words in index
    ]
