"""Builds the held-out sets: real strings of unseen speakers, clean and degraded, and negatives.

The degradations are the ones the targets name: a telephone band, 10 dB babble, a reverberant room
and Opus at 16 kbit/s. Noise comes from the part of each recording that training never draws.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from scipy.fft import next_fast_len

import channel
from audio import RATE, Clip, load_clips, save_clips
from mix import Example, write_shard

CONDITIONS = ["clean", "telephone", "babble", "room", "opus"]


def pad(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Silence with a little noise around the speech, as a capture has it."""
    lead, tail = rng.uniform(0.1, 0.5, 2)
    x = np.concatenate([np.zeros(int(lead * RATE)), x, np.zeros(int(tail * RATE))])
    return (x + rng.normal(0, 2e-4, len(x))).astype(np.float32)


def joined(speaker: dict[int, list[np.ndarray]], count: int, rng: np.random.Generator) -> tuple[np.ndarray, list[int]]:
    """`count` real single digits of one speaker with pauses between them."""
    digits = [int(d) for d in rng.choice(list(speaker), count)]
    parts = []
    for d in digits:
        parts += [speaker[d][rng.integers(len(speaker[d]))], np.zeros(int(rng.uniform(0.08, 0.35) * RATE))]
    return np.concatenate(parts[:-1]).astype(np.float32), digits


def degrade(x: np.ndarray, condition: str, babble: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One clip under one condition; Opus is applied to all clips at once by the caller."""
    size = next_fast_len(len(x) + 12000, real=True)
    hz = np.fft.rfftfreq(size, 1 / RATE)
    if condition == "telephone":
        y = np.fft.irfft(channel.band(np.fft.rfft(x, size), hz, 300, 3400), size)[: len(x)]
        peak = np.abs(y).max() + 1e-9
        return (channel.mu_law(y / peak) * peak).astype(np.float32)
    if condition == "babble":
        start = rng.integers(len(babble) - 1)
        noise = np.take(babble, np.arange(len(x)) + start, mode="wrap")
        loud = x[np.abs(x) > 0.01 * np.abs(x).max()]
        return (x + channel.scale_to_snr(noise, float(np.sqrt(np.mean(loud**2))), 10)).astype(np.float32)
    if condition == "room":
        return np.fft.irfft(channel.room(np.fft.rfft(x, size), size, rng, 0.6, 3), size)[: len(x)].astype(np.float32)
    return x


def babble_of(clips: list[Clip], rng: np.random.Generator, seconds: int = 30) -> np.ndarray:
    """Six held-out people talking at once (words and letters, not digits, where there are any)."""
    other = [c.x for c in clips if c.kind == "other"] or [c.x[::-1] for c in clips]
    y = np.zeros(seconds * RATE)
    for _ in range(6):
        at = 0
        while at < len(y):
            x = other[rng.integers(len(other))]
            m = min(len(x), len(y) - at)
            y[at : at + m] += x[:m]
            at += m
    return y


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("split", choices=["val", "test"])
    parser.add_argument("--joined", type=int, default=12, help="strings joined from each digits speaker")
    args = parser.parse_args()

    rng = np.random.default_rng(17 if args.split == "val" else 18)
    clips = load_clips(args.data / f"real_{args.split}.npz")
    strings = [(c.speaker, c.x, c.digits) for c in clips if c.kind == "string"]
    speakers: dict[str, dict[int, list[np.ndarray]]] = {}
    for c in clips:
        if c.kind == "digit":
            speakers.setdefault(c.speaker, {}).setdefault(c.digits[0], []).append(c.x)
    for s, takes in speakers.items():
        if len(takes) >= 8:
            strings += [(s, *joined(takes, int(rng.integers(4, 7)), rng)) for _ in range(args.joined)]
    babble = babble_of(clips, rng)
    out: list[Clip] = []
    clean = [pad(x, rng) for _, x, _ in strings]
    for condition in CONDITIONS:
        heard = [degrade(x, condition, babble, rng) for x in clean]
        if condition == "opus":
            heard = channel.codec(heard, "opus", 16)
        out += [Clip(f"{condition}/{s}", "string", d, x) for (s, _, d), x in zip(strings, heard)]
    noise = [c.x[int(len(c.x) * 0.7) :] for c in load_clips(args.data / "noise.npz")]
    negatives = [Clip(f"words/{c.speaker}", "other", [], pad(c.x, rng)) for c in clips if c.kind == "other"]
    for x in noise:
        start = rng.integers(max(1, len(x) - 5 * RATE))
        negatives.append(Clip("noise/recorded", "other", [], x[start : start + 5 * RATE]))
    for _ in range(5):
        negatives.append(Clip("music/made", "other", [], (channel.music(5 * RATE, rng) * 0.02).astype(np.float32)))
        negatives.append(Clip("silence/made", "other", [], rng.normal(0, 1e-4, 4 * RATE).astype(np.float32)))
    fits = [c._replace(x=c.x / max(1.0, np.abs(c.x).max())) for c in out + negatives if len(c.x) < 10.2 * RATE]
    save_clips(args.data / f"held_out_{args.split}.npz", fits)
    write_shard(args.data / f"held_out_{args.split}_mels.npz", [Example(c.x, c.digits, None) for c in fits])
    print(args.split, len(clean), "strings,", len(negatives), "negatives,", len(fits), "clips with all conditions")


if __name__ == "__main__":
    main()
