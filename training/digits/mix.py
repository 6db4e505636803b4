"""Makes training examples without end: clips joined into strings, sent through a channel.

Writes shards (`shard_0001.npz`, …) of log-mels beside their digits and, where the string was joined
from single digits, the span of each. Reproducible: a shard depends on the seed and its number only.
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
from audio import RATE, load_clips
from features import log_mel

MAX_S = 10.1  # the window is 10.24 s


@dataclass
class Example:
    """A waveform, its digits, and each digit's span in samples where known."""

    x: np.ndarray
    digits: list[int]
    spans: list[tuple[int, int]] | None


class Bank:
    """Clips grouped for drawing: single digits by voice, strings, other speech, noise."""

    def __init__(self, real: list, synthetic: list, noise: list) -> None:
        self.voices: dict[str, dict[str, dict[int, list[np.ndarray]]]] = {}
        self.strings: dict[str, list] = {"real": [], "synthetic": []}
        self.mixed, self.other = [], {"real": [], "synthetic": []}
        self.noise = [x for *_, x in noise]
        for origin, clips in (("real", real), ("synthetic", synthetic)):
            for speaker, kind, digits, x in clips:
                family = speaker.split("_")[0] if origin == "real" else "synthetic"
                if kind == "digit":
                    takes = self.voices.setdefault(family, {}).setdefault(speaker, {})
                    takes.setdefault(digits[0], []).append(x)
                elif kind == "string":
                    self.strings[origin].append((x, digits))
                elif kind == "mixed":
                    self.mixed.append((x, digits))
                else:
                    self.other[origin].append(x)
        # A voice with a few digits only would teach their order.
        for family in list(self.voices):
            kept = {s: t for s, t in self.voices[family].items() if len(t) >= 5}
            if kept:
                self.voices[family] = kept
            else:
                del self.voices[family]


FAMILY_WEIGHT = {"fsdd": 0.36, "gsc": 0.18, "an4": 0.5, "synthetic": 0.46}


class Mixer:
    """Draws examples from a bank."""

    def __init__(self, bank: Bank, seed: int, longest: int = 8) -> None:
        self.bank, self.rng, self.longest = bank, np.random.default_rng(seed), longest
        self.families = list(bank.voices)
        weight = np.array([FAMILY_WEIGHT.get(f, 0.2) for f in self.families])
        self.weight = weight / weight.sum()

    def pick(self, items: list):
        return items[self.rng.integers(len(items))]

    def voice(self) -> dict[int, list[np.ndarray]]:
        family = self.families[self.rng.choice(len(self.families), p=self.weight)]
        return self.pick(list(self.bank.voices[family].values()))

    def joined(self) -> Example:
        """Single digits of one voice, joined with gaps."""
        r = self.rng
        count = int(r.integers(1, self.longest + 1))
        if self.longest > 4 and r.random() < 0.6:
            count = int(r.integers(4, 8))
        voice = self.voice()
        digits = [int(d) for d in r.choice(list(voice), count)]
        if r.random() < 0.15 and count > 1:  # repeated digits are hard to count
            at = r.integers(1, count)
            digits[at] = digits[at - 1]
        shift = float(np.clip(np.exp(r.normal(0.03, 0.12)), 0.75, 1.45)) if r.random() < 0.7 else 1.0
        tempo = float(np.clip(np.exp(r.normal(0.05, 0.15)), 0.7, 1.5)) if r.random() < 0.6 else shift
        usual_gap = r.uniform(0.0, 0.45)
        parts, spans, at = [], [], 0
        for i, d in enumerate(digits):
            x = channel.vary_voice(self.pick(voice[d]), shift * float(np.exp(r.normal(0, 0.025))), tempo)
            x = x * 10 ** (r.normal(0, 2.5) / 20)
            fade = min(80, len(x) // 4)
            x[:fade] *= np.linspace(0, 1, fade)
            x[-fade:] *= np.linspace(1, 0, fade)
            if i:
                gap = r.uniform(0, 0.7) if r.random() < 0.25 else max(0.0, usual_gap + r.normal(0, 0.06))
                overlap = r.random() < 0.12
                if overlap:  # run together, as in fast speech
                    at -= min(int(0.03 * RATE), len(parts[-1][1]) // 4)
                else:
                    at += int(gap * RATE)
            parts.append((at, x))
            spans.append((at, at + len(x)))
            at += len(x)
        body = np.zeros(max(b for _, b in spans), np.float32)
        for start, x in parts:
            body[start : start + len(x)] += x
        return Example(body, digits, spans)

    def connected(self, items: list) -> Example:
        """A string as it was spoken, with the voice and tempo varied."""
        x, digits = self.pick(items)
        shift = float(np.clip(np.exp(self.rng.normal(0.02, 0.1)), 0.78, 1.4))
        tempo = float(np.clip(np.exp(self.rng.normal(0.03, 0.12)), 0.75, 1.35))
        return Example(channel.vary_voice(x, shift, tempo), list(digits), None)

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
            x = r.normal(0, 10 ** r.uniform(-5, -3), n)
        return Example(x.astype(np.float32), [], [])

    def noise(self, n: int) -> np.ndarray:
        """A stretch of noise of unit RMS."""
        r = self.rng
        kind = r.random()
        if kind < 0.35 and self.bank.noise:
            x = self.pick(self.bank.noise)
            y = np.take(x, np.arange(n) + r.integers(len(x)), mode="wrap").astype(np.float64)
        elif kind < 0.55:
            y = channel.coloured_noise(n, r)
        elif kind < 0.85:
            y = self.babble(n)
        elif kind < 0.93:
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
            if self.longest <= 4:
                kind *= 0.62 / 0.9  # the first, short lessons: joined digits and a few negatives
                kind = 0.99 if kind > 0.64 else kind
            if kind < 0.60:
                e = self.joined()
            elif kind < 0.74:
                e = self.connected(self.bank.strings["real"] or self.bank.strings["synthetic"])
            elif kind < 0.84:
                e = self.connected(self.bank.strings["synthetic"] or self.bank.strings["real"])
            elif kind < 0.89 and self.bank.mixed:
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
        """Room, microphone, noise, band, clipping and level."""
        r, n = self.rng, len(x)
        size = next_fast_len(n + 8000, real=True)
        hz = np.fft.rfftfreq(size, 1 / RATE)
        z = np.fft.rfft(x, size)
        if r.random() < 0.45:
            z = channel.room(z, size, r, r.uniform(0.1, 0.8), r.uniform(-2, 14))
        if r.random() < 0.6:
            z = channel.equalise(z, hz, r)
        low = r.uniform(60, 350) if r.random() < 0.4 else 20.0
        u = r.random()
        high = r.uniform(3300, 4000) if u < 0.3 else r.uniform(4000, 7500) if u < 0.45 else 8000.0
        noise_after_band = r.random() < 0.5
        if noise_after_band:
            z = channel.band(z, hz, low, high)
        y = np.fft.irfft(z, size)[:n]
        rms = float(np.sqrt((y**2).sum() / max(speech, 1))) + 1e-6
        if r.random() < 0.8:
            y = y + channel.scale_to_snr(self.noise(n), rms, r.uniform(4, 35))
        y = y + r.normal(0, 10 ** (-r.uniform(60, 95) / 20), n)
        if not noise_after_band:
            y = np.fft.irfft(channel.band(np.fft.rfft(y, size), hz, low, high), size)[:n]
        y = y / (np.abs(y).max() + 1e-9)
        u = r.random()
        if u < 0.08:
            y = np.clip(y * r.uniform(1.2, 3), -1, 1)
        elif u < 0.16:
            y = channel.mu_law(y)
        return (y * 10 ** (-r.uniform(0, 30) / 20)).astype(np.float32)


def shard(bank: Bank, seed: int, count: int, longest: int, coded: float = 0.25) -> list[Example]:
    """`count` examples, a share of them through a real codec."""
    mixer = Mixer(bank, seed, longest)
    examples = [mixer.draw() for _ in range(count)]
    for name, (_, _, rates) in channel.CODECS.items():
        chosen = mixer.rng.permutation(count)[: int(count * coded / len(channel.CODECS))]
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
    parser.add_argument("--longest", type=int, default=8, help="digits in a joined string")
    parser.add_argument("--seed", type=int, default=7)
    args = parser.parse_args()

    # The last 30 % of every noise recording is kept for the test.
    noise = [(s, k, d, x[: int(len(x) * 0.7)]) for s, k, d, x in load_clips(args.data / "noise.npz")]
    real = load_clips(args.data / "real_train.npz")
    for extra in ("segments.npz", "revoiced.npz"):
        if (args.data / extra).exists():
            real += load_clips(args.data / extra)
    bank = Bank(real, load_clips(args.data / "voices.npz"), noise)
    args.out.mkdir(parents=True, exist_ok=True)
    for number in range(args.first, args.first + args.count):
        started = time.monotonic()
        path = args.out / f"shard_{number:04d}.npz"
        write_shard(path, shard(bank, args.seed * 100_003 + number, args.size, args.longest))
        print(f"{path.name} {time.monotonic() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main()
