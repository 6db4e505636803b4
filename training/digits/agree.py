"""Writes test strings with what the training framework hears in them, for other runtimes to agree with.

The strings are spoken by espeak-ng, so they may be published: a FLAC file with one string after the
other, and a JSON file with each one's samples, the digits heard (greedy) and the log-likelihood
of the digits asked.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import soundfile
import torch

from audio import RATE, level, read, trim
from evaluate import full_window, likelihoods
from model import load
from voices import DIGIT_WORDS

VOICES = ["en-us", "en-us+f2", "en-gb+m3", "en-us+klatt3", "en-gb-scotland+Denis"]
NOISE_DB = (None, 20, 10, 3)


def speak(digits: list[int], voice: str, rng: np.random.Generator) -> np.ndarray:
    """One string, a word at a time with pauses, as a person reads digits off a screen."""
    parts = [np.zeros(RATE // 5)]
    with tempfile.NamedTemporaryFile(suffix=".wav") as f:
        for d in digits:
            subprocess.run(["espeak-ng", "-v", voice, "-s", "150", "-w", f.name, DIGIT_WORDS[d]], check=True)
            parts += [level(trim(read(Path(f.name)))[0]), np.zeros(int(rng.uniform(0.05, 0.25) * RATE))]
    return np.concatenate(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("out", type=Path, help="folder for digits.flac and digits.json")
    parser.add_argument("--strings", type=int, default=12)
    args = parser.parse_args()

    torch.set_num_threads(1)
    model, _ = load(args.checkpoint)
    choose, rng = random.Random(4), np.random.default_rng(4)
    sound, index, at = [], [], 0
    for i in range(args.strings):
        digits = [choose.randrange(10) for _ in range(choose.randint(3, 6))]
        x = speak(digits, VOICES[i % len(VOICES)], rng)
        if (db := NOISE_DB[i // len(VOICES) % len(NOISE_DB)]) is not None:
            x = x + rng.normal(0, 0.06 * 10 ** (-db / 20), len(x))
        # Nine bits are enough, and half the size.
        x = (np.round(np.clip(x, -1, 1) * 255) * 128).astype(np.int16)
        mel = full_window(x / 32768)[None]
        with torch.no_grad():
            asked = float(likelihoods(model, model.encoder(mel), [digits])[0])
        heard = model.greedy(mel)[0]
        index.append({"first": at, "end": at + len(x), "asked": digits, "heard": heard, "log_likelihood": round(asked, 3)})
        sound.append(x)
        at += len(x)
    args.out.mkdir(parents=True, exist_ok=True)
    soundfile.write(args.out / "digits.flac", np.concatenate(sound), RATE, subtype="PCM_16")
    rows = ",\n".join(json.dumps(row) for row in index)
    (args.out / "digits.json").write_text(f"[\n{rows}\n]\n")
    print(f"{len(index)} strings, {sum(r['heard'] == r['asked'] for r in index)} heard as asked -> {args.out}")


if __name__ == "__main__":
    main()
