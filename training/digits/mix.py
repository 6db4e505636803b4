"""Makes training examples without end: clips joined into strings, sent through a channel.

Writes shards (`shard_0001.npz`, …) of log-mels beside their digits and, where known, the span of
each digit. Reproducible: a shard depends on the seed and its number only.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.fft import next_fast_len

import channel
from align import DIGITS
from audio import RATE, Clip, level, load_clips
from corpus import NUMERALS
from features import log_mel

MAX_S = 10.1  # the window is 10.24 s
CODED = 0.1  # share of examples that go through each codec


@dataclass
class Example:
    """A waveform, its digits, and each digit's span in samples where known."""

    x: np.ndarray
    digits: list[int]
    spans: list[tuple[int, int]] | None


class Bank:
    """Clips grouped for drawing: single digits by voice, strings, other words, noise."""

    def __init__(self, clips: list[Clip], noise: list[Clip]) -> None:
        self.voices: dict[str, dict[str, dict[int, list[np.ndarray]]]] = {}
        self.strings: dict[str, list[Clip]] = {"real": [], "synthetic": []}
        self.mixed: list[Clip] = []
        self.other: dict[str, list[np.ndarray]] = {"real": [], "synthetic": []}
        self.noise = [c.x for c in noise]
        for c in clips:
            origin = "real" if c.speaker.split("_")[0] in FAMILY_WEIGHT else "synthetic"
            if c.kind == "digit":
                self.take(c.speaker, c.digits[0], c.x)
            elif c.kind == "string":
                self.strings[origin].append(c)
            elif c.kind == "mixed":
                self.mixed.append(c)
            elif c.kind == "other":
                self.other[origin].append(c.x)
            if origin == "real":
                for word, x in cuts(c):
                    if word in DIGITS:
                        self.take(c.speaker, DIGITS[word], x)
                    elif word not in NUMERALS and word != "o":
                        self.other[origin].append(x)

    def take(self, speaker: str, digit: int, x: np.ndarray) -> None:
        family = speaker.split("_")[0]
        if family == "gsc":  # a few words each: all of them count as one voice
            speaker = family
        voices = self.voices.setdefault(family if family in FAMILY_WEIGHT else "synthetic", {})
        voices.setdefault(speaker, {}).setdefault(digit, []).append(x)


def cuts(clip: Clip) -> list[tuple[str, np.ndarray]]:
    """The words of a recording, one by one, with a little of what surrounds them."""
    out = []
    for i, (word, a, b) in enumerate(clip.words):
        before = clip.words[i - 1][2] if i else 0
        after = clip.words[i + 1][1] if i + 1 < len(clip.words) else len(clip.x)
        a, b = max(a - CUT_MARGIN, min(a, before)), min(b + CUT_MARGIN, max(b, after))
        if 0.08 * RATE < b - a < 1.2 * RATE:
            out.append((word, level(clip.x[a:b])))
    return out


# How often a voice of each origin speaks. Recordings of few people are worth less than of many.
FAMILY_WEIGHT = {"an4": 0.45, "fsdd": 0.18, "gsc": 0.12}
SYNTHETIC_WEIGHT = 0.25
CUT_MARGIN = RATE // 50


class Mixer:
    """Draws examples from a bank."""

    def __init__(self, bank: Bank, seed: int, light: bool) -> None:
        self.bank, self.rng, self.light, self.severity = bank, np.random.default_rng(seed), light, 1.0
        self.families = list(bank.voices)
        weight = np.array([FAMILY_WEIGHT.get(f, SYNTHETIC_WEIGHT) for f in self.families])
        self.weight = weight / weight.sum()

    def pick(self, items: list):
        return items[self.rng.integers(len(items))]

    def voice(self) -> dict[int, list[np.ndarray]]:
        family = self.families[self.rng.choice(len(self.families), p=self.weight)]
        return self.pick(list(self.bank.voices[family].values()))

    def takes(self, voice: dict[int, list[np.ndarray]], digit: int) -> list[np.ndarray]:
        """A voice's takes of a digit; now and then, and where it has none, another voice's."""
        while digit not in voice or self.rng.random() < 0.08:
            voice = self.voice()
        return voice[digit]

    def joined(self) -> Example:
        """Single digits of one voice, joined with gaps; now and then another word among them."""
        r = self.rng
        count = int(r.integers(4, 8) if r.random() < 0.6 else r.integers(1, 9))
        voice = self.voice()
        words: list[int | None] = [int(d) for d in r.integers(0, 10, count)]
        if r.random() < 0.15 and count > 1:  # repeated digits are hard to count
            at = r.integers(1, count)
            words[at] = words[at - 1]
        if r.random() < 0.06:
            words.insert(int(r.integers(0, count + 1)), None)
        shift = float(np.clip(np.exp(r.normal(0.03, 0.12)), 0.75, 1.45)) if r.random() < 0.7 else 1.0
        tempo = float(np.clip(np.exp(r.normal(0.03, 0.15)), 0.7, 1.5)) if r.random() < 0.6 else shift
        usual_gap = r.uniform(0.0, 0.45) * r.random()
        parts, spans, at = [], [], 0
        for i, d in enumerate(words):
            x = self.pick(self.bank.other["real"] if d is None else self.takes(voice, d))[: 2 * RATE]
            x = channel.vary_voice(x, shift * float(np.exp(r.normal(0, 0.025))), tempo)
            x = x * 10 ** (r.normal(0, 2.5) / 20)
            fade = min(160, len(x) // 4)
            x[:fade] *= np.linspace(0, 1, fade)
            x[-fade:] *= np.linspace(1, 0, fade)
            if i:
                gap = r.uniform(0, 0.7) if r.random() < 0.15 else max(0.0, usual_gap + r.normal(0, 0.05))
                if r.random() < 0.2:  # run together, as in fast speech
                    at -= min(int(r.uniform(0.01, 0.04) * RATE), len(parts[-1][1]) // 4)
                else:
                    at += int(gap * RATE)
            parts.append((at, x))
            if d is not None:
                spans.append((at, at + len(x)))
            at += len(x)
        body = np.zeros(max(start + len(x) for start, x in parts), np.float32)
        for start, x in parts:
            body[start : start + len(x)] += x
        return Example(body, [d for d in words if d is not None], spans)

    def connected(self, clips: list[Clip]) -> Example:
        """A string as it was spoken, with the voice and tempo varied."""
        clip = self.pick(clips)
        shift = float(np.clip(np.exp(self.rng.normal(0.02, 0.1)), 0.78, 1.4))
        tempo = float(np.clip(np.exp(self.rng.normal(0.03, 0.12)), 0.75, 1.35))
        x = channel.vary_voice(clip.x, shift, tempo)
        scale = len(x) / len(clip.x)
        spans = [(int(a * scale), int(b * scale)) for word, a, b in clip.words if word in DIGITS]
        return Example(x, list(clip.digits), spans or None)

    def negative(self) -> Example:
        """Other words, noise, music or near silence: no digits."""
        r = self.rng
        kind = r.random()
        n = int(r.uniform(0.5, 8) * RATE)
        if kind < 0.6:
            parts: list[np.ndarray] = []
            for _ in range(int(r.integers(1, 6))):
                x = self.pick(self.bank.other["real" if r.random() < 0.6 else "synthetic"] or [np.zeros(n)])
                shift = float(np.exp(r.normal(0, 0.1)))
                parts += [channel.vary_voice(x, shift, shift), np.zeros(int(r.uniform(0.02, 0.5) * RATE))]
                if sum(map(len, parts)) > 7 * RATE:
                    break
            x = np.concatenate(parts)[: int(9 * RATE)]
        elif kind < 0.75:
            x = self.noise(n) * 0.06
        elif kind < 0.9:
            x = channel.music(n, r) * 0.02
        else:
            x = r.normal(0, 10 ** r.uniform(-5, -3), n) * (r.random() < 0.8)
        return Example(x.astype(np.float32), [], [])

    def noise(self, n: int) -> np.ndarray:
        """A stretch of noise of unit RMS."""
        r = self.rng
        kind = r.random()
        if kind < 0.28 and self.bank.noise:
            x = self.pick(self.bank.noise)
            y = np.take(x, np.arange(n) + r.integers(len(x)), mode="wrap").astype(np.float64)
        elif kind < 0.43:
            y = channel.coloured_noise(n, r)
        elif kind < 0.88:
            y = self.babble(n)
        elif kind < 0.95:
            y = channel.hum(n, r)
        else:
            y = channel.music(n, r)
        return y / (np.sqrt(np.mean(y**2)) + 1e-9)

    def babble(self, n: int) -> np.ndarray:
        """Several voices at once; digits in it are played backwards, so that they are not digits."""
        r = self.rng
        y = np.zeros(n)
        for _ in range(int(r.integers(3, 8))):
            at = int(r.integers(0, RATE // 2))
            while at < n:
                if r.random() < 0.5:
                    x = self.pick(self.pick(list(self.voice().values())))[::-1]
                else:
                    x = self.pick(self.bank.other["real" if r.random() < 0.5 else "synthetic"] or [np.zeros(RATE)])
                m = min(len(x), n - at)
                y[at : at + m] += x[:m]
                at += m + int(r.integers(0, RATE // 4))
        return y

    def draw(self) -> Example:
        """One example, its channel applied, at most `MAX_S` long."""
        r = self.rng
        while True:
            kind = r.random()
            self.severity = 0.25 if r.random() < 0.35 or self.light else 1.0
            if kind < 0.64:
                e = self.joined()
            elif kind < 0.74:
                e = self.connected(self.bank.strings["real"] or self.bank.strings["synthetic"])
            elif kind < 0.82:
                e = self.connected(self.bank.strings["synthetic"] or self.bank.strings["real"])
            elif kind < 0.87 and self.bank.mixed:
                e = self.connected(self.bank.mixed)
            else:
                e = self.negative()
            lead = r.uniform(0.0, 0.5) if r.random() < 0.85 else r.uniform(0, 2.5)
            tail = r.uniform(0.0, 0.6) if r.random() < 0.85 else r.uniform(0, 1.5)
            room_left = MAX_S - len(e.x) / RATE
            if len(e.digits) <= 12 and room_left > 0.1:
                break
        squeeze = min(1.0, (room_left - 0.02) / (lead + tail + 1e-6))
        a, b = int(lead * squeeze * RATE), int(tail * squeeze * RATE)
        x = np.concatenate([np.zeros(a, np.float32), e.x, np.zeros(b, np.float32)])
        spans = None if e.spans is None else [(s + a, t + a) for s, t in e.spans]
        return Example(self.transmit(x, len(e.x)), e.digits, spans)

    def transmit(self, x: np.ndarray, speech: int) -> np.ndarray:
        """Room, microphone, noise, band, clipping and level, each with its chance."""
        r, n = self.rng, len(x)

        def chance(p: float) -> bool:
            return r.random() < p * self.severity

        size = next_fast_len(n + 8000, real=True)
        hz = np.fft.rfftfreq(size, 1 / RATE)
        z = np.fft.rfft(x, size)
        if chance(0.45):
            z = channel.room(z, size, r, r.uniform(0.1, 0.8), r.uniform(-2, 14))
        if chance(0.6):
            z = channel.equalise(z, hz, r)
        low = r.uniform(60, 350) if chance(0.4) else 20.0
        high = r.uniform(3300, 4000) if chance(0.3) else r.uniform(4000, 7500) if chance(0.2) else 8000.0
        noise_after_band = r.random() < 0.5
        if noise_after_band:
            z = channel.band(z, hz, low, high)
        y = np.fft.irfft(z, size)[:n]
        rms = float(np.sqrt((y**2).sum() / max(speech, 1))) + 1e-6
        if chance(0.8):
            y = y + channel.scale_to_snr(self.noise(n), rms, r.uniform(4, 28))
        y = y + r.normal(0, 10 ** (-r.uniform(60, 95) / 20), n)
        if not noise_after_band:
            y = np.fft.irfft(channel.band(np.fft.rfft(y, size), hz, low, high), size)[:n]
        y = y / (np.abs(y).max() + 1e-9)
        if chance(0.08):
            y = np.clip(y * r.uniform(1.2, 3), -1, 1)
        elif chance(0.08):
            y = channel.mu_law(y)
        return (y * 10 ** (-r.uniform(0, 30) / 20)).astype(np.float32)


def shard(bank: Bank, seed: int, count: int, light: bool) -> list[Example]:
    """`count` examples, some of them through a real codec; `light` ones are degraded little and seldom."""
    mixer = Mixer(bank, seed, light)
    examples = [mixer.draw() for _ in range(count)]
    for name, (_, _, rates) in () if light else channel.CODECS.items():
        chosen = mixer.rng.permutation(count)[: int(count * CODED)]
        if len(chosen):
            coded_clips = channel.codec(
                [examples[i].x for i in chosen], name, int(mixer.rng.choice(rates))
            )
            for i, x in zip(chosen, coded_clips):
                examples[i].x = x
    return examples


def write_shard(path: Path, examples: list[Example]) -> None:
    """Stores mels in one byte a cell: the clamp leaves two units of range below the maximum."""
    cells, index = [], []
    for e in examples:
        mel = log_mel(e.x)
        top = float(mel.max())
        cells.append(np.round((mel - top + 2) * 127.5).clip(0, 255).astype(np.uint8))
        index.append([mel.shape[1], top, e.digits, e.spans])
    part = path.with_suffix(".part.npz")
    np.savez(part, mels=np.concatenate(cells, axis=1), index=np.frombuffer(json.dumps(index).encode(), np.uint8))
    part.replace(path)


def read_shard(path: Path) -> list[tuple[np.ndarray, float, list[int], list | None]]:
    """(mel bytes [80, frames], top, digits, spans) of every example."""
    with np.load(path) as f:
        mels, index = f["mels"], json.loads(f["index"].tobytes())
    out, at = [], 0
    for frames, top, digits, spans in index:
        out.append((np.ascontiguousarray(mels[:, at : at + frames]), top, digits, spans))
        at += frames
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="folder with real_train.npz, noise.npz, voices.npz …")
    parser.add_argument("out", type=Path)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=40)
    parser.add_argument("--size", type=int, default=500)
    parser.add_argument("--light", action="store_true", help="for the first lessons: little is degraded")
    parser.add_argument("--seed", type=int, default=7)
    args = parser.parse_args()

    # The last 30 % of every noise recording is kept for the test.
    noise = [c._replace(x=c.x[: int(len(c.x) * 0.7)]) for c in load_clips(args.data / "noise.npz")]
    bank = Bank(load_clips(args.data / "real_train.npz") + load_clips(args.data / "voices.npz"), noise)
    args.out.mkdir(parents=True, exist_ok=True)
    for number in range(args.first, args.first + args.count):
        started = time.monotonic()
        path = args.out / f"shard_{number:04d}.npz"
        write_shard(path, shard(bank, args.seed * 100_003 + number, args.size, args.light))
        print(f"{path.name} {time.monotonic() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main()
