"""What happens to speech between a mouth and a file: rooms, microphones, noise, bands, codecs."""

from __future__ import annotations

import subprocess

import numpy as np
from scipy.fft import next_fast_len

from audio import RATE

Rng = np.random.Generator


def resample(x: np.ndarray, factor: float) -> np.ndarray:
    """Plays `factor` times faster: pitch, formants and tempo all move together."""
    if abs(factor - 1) < 0.005:
        return x
    at = np.arange(int(len(x) / factor)) * factor
    return np.interp(at, np.arange(len(x)), x).astype(np.float32)


def stretch(x: np.ndarray, factor: float) -> np.ndarray:
    """Speaks `factor` times faster at the same pitch (WSOLA, Verhelst and Roelands 1993)."""
    size, hop, search = 480, 240, 120
    if abs(factor - 1) < 0.03 or len(x) < 3 * size:
        return x
    n = int(len(x) / factor)
    out, weight = np.zeros(n + size, np.float32), np.full(n + size, 1e-3, np.float32)
    window = np.hanning(size).astype(np.float32)
    last = 0
    for start in range(0, n, hop):
        at = int(start * factor)
        if at + search + size > len(x):
            break
        if start:
            low = max(0, at - search)
            match = np.correlate(x[low : at + search + hop], x[last + hop : last + 2 * hop], "valid")
            at = low + int(match.argmax())
        out[start : start + size] += x[at : at + size] * window
        weight[start : start + size] += window
        last = at
    return (out / weight)[:n]


def vary_voice(x: np.ndarray, shift: float, tempo: float) -> np.ndarray:
    """Scales pitch and vocal tract by `shift` (a child's is about 1.3) and tempo by `tempo`."""
    return stretch(resample(x, shift), tempo / shift)


def scale_to_snr(noise: np.ndarray, speech_rms: float, snr_db: float) -> np.ndarray:
    """Noise at `snr_db` below speech of the given RMS."""
    rms = float(np.sqrt(np.mean(noise**2))) + 1e-9
    return noise * (speech_rms / rms * 10 ** (-snr_db / 20))


def room(spectrum: np.ndarray, size: int, rng: Rng, t60: float, drr_db: float) -> np.ndarray:
    """Reverberates a spectrum of `size` points: a direct path and an exponentially decaying tail."""
    n = int(min(0.6, t60) * RATE)
    tail = rng.normal(0, 1, n) * 10 ** (-3 * np.arange(n) / (t60 * RATE))
    tail[: int(rng.uniform(0.001, 0.008) * RATE)] = 0
    tail *= 10 ** (-drr_db / 20) / np.sqrt((tail**2).sum() + 1e-9)
    tail[0] = 1
    return spectrum * np.fft.rfft(tail, size)


def equalise(spectrum: np.ndarray, hz: np.ndarray, rng: Rng) -> np.ndarray:
    """A microphone's colouring: smooth random gain over log frequency, with a tilt."""
    knots = np.linspace(np.log(50), np.log(8000), 7)
    gain = rng.normal(0, 3.5, 7) + rng.uniform(-6, 6) * np.linspace(-1, 1, 7)
    return spectrum * 10 ** (np.interp(np.log(hz + 30), knots, gain) / 20)


def band(spectrum: np.ndarray, hz: np.ndarray, low: float, high: float) -> np.ndarray:
    """A steep band pass between `low` and `high` hertz."""
    return spectrum / np.sqrt((1 + (hz / high) ** 24) * (1 + (low / np.maximum(hz, 1)) ** 6))


def coloured_noise(n: int, rng: Rng) -> np.ndarray:
    """White to brown noise."""
    size = next_fast_len(n, real=True)
    z = np.fft.rfft(rng.normal(0, 1, size))
    z /= np.maximum(np.fft.rfftfreq(size, 1 / RATE), 40) ** rng.choice([0, 0.5, 1.0, 1.5])
    return np.fft.irfft(z, size)[:n]


def hum(n: int, rng: Rng) -> np.ndarray:
    """Mains, fans and engines: a harmonic series that beats slowly."""
    t = np.arange(n) / RATE
    base = rng.choice([50.0, 60.0, 100.0, 120.0, rng.uniform(80, 900)])
    y = sum(
        np.sin(2 * np.pi * base * k * t + rng.uniform(0, 6)) / k ** rng.uniform(0.3, 1.5) for k in range(1, 6)
    )
    return (y + rng.normal(0, 0.3, n)) * (1 + 0.5 * np.sin(2 * np.pi * rng.uniform(0.2, 4) * t))


def music(n: int, rng: Rng) -> np.ndarray:
    """Plucked chords over a beat: enough like music to teach that it holds no digits."""
    y = np.zeros(n)
    beat = int(rng.uniform(0.15, 0.6) * RATE)
    root = rng.uniform(80, 300)
    for start in range(0, n, beat):
        m = min(n - start, beat * 2)
        t = np.arange(m) / RATE
        decay = np.exp(-t * rng.uniform(1, 8))
        for step in rng.choice([0, 2, 3, 4, 5, 7, 9, 12, 16], rng.integers(1, 4), replace=False):
            f0 = root * 2 ** (step / 12)
            for k in range(1, 6):
                y[start : start + m] += decay * np.sin(2 * np.pi * f0 * k * t + rng.uniform(0, 6)) / k**1.3
        if rng.random() < 0.5:
            k = min(m, 1600)
            y[start : start + k] += rng.normal(0, 1, k) * np.exp(-np.arange(k) / 250)
    return y


def mu_law(x: np.ndarray) -> np.ndarray:
    """Eight-bit companding as on a telephone line (ITU-T G.711's law, unsegmented)."""
    y = np.sign(x) * np.log1p(255 * np.abs(x)) / np.log(256)
    y = np.round(y * 127) / 127
    return np.sign(y) * (256 ** np.abs(y) - 1) / 255


CODECS = {
    "opus": (["-c:a", "libopus", "-application", "voip"], "ogg", [6, 8, 12, 16, 24, 32]),
    "aac": (["-c:a", "aac"], "adts", [16, 24, 32, 48]),
}


def codec(clips: list[np.ndarray], name: str, kbit: int) -> list[np.ndarray]:
    """Encodes and decodes clips in one pass of ffmpeg; clips keep their length.

    The delay of AAC's ADTS framing is left in: a few tens of milliseconds at the clip's start.
    """
    options, container, _ = CODECS[name]
    gap = np.zeros(RATE // 4, np.float32)
    joined = np.concatenate([part for clip in clips for part in (clip.astype(np.float32), gap)])
    raw = ["-f", "f32le", "-ar", str(RATE), "-ac", "1"]
    quiet = ["ffmpeg", "-v", "error", "-threads", "1"]
    packed = subprocess.run(
        [*quiet, *raw, "-i", "-", *options, "-b:a", f"{kbit}k", "-f", container, "-"],
        input=joined.tobytes(), stdout=subprocess.PIPE, check=True,
    ).stdout  # fmt: skip
    plain = subprocess.run(
        [*quiet, "-i", "-", *raw, "-"], input=packed, stdout=subprocess.PIPE, check=True
    ).stdout
    y = np.frombuffer(plain, np.float32)
    y = np.pad(y, (0, max(0, len(joined) - len(y))))
    out, start = [], 0
    for clip in clips:
        out.append(y[start : start + len(clip)].copy())
        start += len(clip) + len(gap)
    return out
