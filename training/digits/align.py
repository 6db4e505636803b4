"""Locates words in recordings whose transcript is known, by forced alignment with PocketSphinx.

Its acoustic model is a tool of training only: with words located, every frame of a recording can
teach, and every speaker's digits can be cut out and joined to strings that nobody ever said.
"""

from __future__ import annotations

import numpy as np
from pocketsphinx import Decoder

from audio import RATE

DIGITS = {
    "zero": 0, "oh": 0, "one": 1, "two": 2, "three": 3, "four": 4,
    "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9,
}  # fmt: skip
HOP = RATE // 100


class Aligner:
    """A PocketSphinx decoder that may only hear a given text."""

    def __init__(self) -> None:
        self.decoder = Decoder(lm=None, loglevel="FATAL")

    def words(self, x: np.ndarray, text: list[str]) -> list[tuple[str, int, int]]:
        """(word, first sample, end sample) of every word of `text`, or nothing where it doesn't fit."""
        # A zero may be written either way; pauses are the decoder's own.
        spoken = " ".join("(zero | oh)" if DIGITS.get(w) == 0 else w for w in text)
        self.decoder.add_jsgf_string("text", f"#JSGF V1.0; grammar g; public <s> = {spoken} ;")
        self.decoder.activate_search("text")
        scaled = x * (0.5 / (np.abs(x).max() + 1e-6))
        # A word at either end of the recording needs a pause there to be found.
        margin = np.random.default_rng(0).normal(0, 1e-3, RATE // 4)
        sound = np.concatenate([margin, scaled, margin])
        self.decoder.start_utt()
        self.decoder.process_raw((sound * 32767).astype("<i2").tobytes(), full_utt=True)
        self.decoder.end_utt()
        if self.decoder.hyp() is None:
            return []
        heard = [s for s in self.decoder.seg() if s.word[0] != "<" and s.word[0] != "["]
        out = []
        for s in heard:
            a = max(0, s.start_frame * HOP - len(margin))
            b = min(len(x), (s.end_frame + 1) * HOP - len(margin))
            out.append((s.word.split("(")[0], *tighten(scaled, a, b)))
        return out if [DIGITS.get(w, w) for w, *_ in out] == [DIGITS.get(w, w) for w in text] else []


def tighten(x: np.ndarray, a: int, b: int, floor_db: float = -32) -> tuple[int, int]:
    """Gives silence that the aligner counted as part of a word back."""
    n = (b - a) // HOP
    if n < 8:
        return a, b
    power = 10 * np.log10((x[a : a + n * HOP].reshape(n, HOP) ** 2).mean(axis=1) + 1e-10)
    loud = np.flatnonzero(power > power.max() + floor_db)
    return a + max(0, int(loud[0]) - 1) * HOP, min(b, a + (int(loud[-1]) + 2) * HOP)
