"""Log-mel spectrogram as whisper.cpp computes it, and the mel filter bank a ggml file carries."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

N_FFT = 400
HOP = 160
N_MELS = 80
N_BINS = N_FFT // 2 + 1


def slaney_mel(hz: np.ndarray) -> np.ndarray:
    """Hertz to mel on Slaney's scale: linear below 1 kHz, logarithmic above (Auditory Toolbox, 1998)."""
    hz = np.asarray(hz, dtype=np.float64)
    return np.where(hz < 1000, hz * 3 / 200, 15 + np.log(np.maximum(hz, 1e-9) / 1000) * 27 / np.log(6.4))


def slaney_hz(mel: np.ndarray) -> np.ndarray:
    """The inverse of `slaney_mel`."""
    mel = np.asarray(mel, dtype=np.float64)
    return np.where(mel < 15, mel * 200 / 3, 1000 * np.exp((mel - 15) * np.log(6.4) / 27))


@lru_cache
def mel_filters() -> np.ndarray:
    """Triangular filters of unit area, [80, 201] float32, for 16 kHz and 400-point frames."""
    edges = slaney_hz(np.linspace(0, slaney_mel(8000.0), N_MELS + 2))
    bins = np.linspace(0, 8000, N_BINS)
    rise = (bins[None] - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    fall = (edges[2:, None] - bins[None]) / (edges[2:] - edges[1:-1])[:, None]
    area = 2 / (edges[2:] - edges[:-2])
    return (np.maximum(0, np.minimum(rise, fall)) * area[:, None]).astype(np.float32)


@lru_cache
def _window() -> np.ndarray:
    return (0.5 * (1 - np.cos(2 * np.pi * np.arange(N_FFT) / N_FFT))).astype(np.float32)


def log_mel(x: np.ndarray) -> np.ndarray:
    """Normalised log-mel, [80, len(x) // 160 + 1] float32.

    whisper.cpp reflects 200 samples at the start, pads zeros after the end, and clamps to 8 decades
    below the loudest cell; beyond the last frame returned here its spectrogram is constant at that
    floor, `log_mel(x).max() - 2`.
    """
    padded = np.concatenate([x[N_FFT // 2 : 0 : -1], x, np.zeros(N_FFT, np.float32)])
    frames = np.lib.stride_tricks.sliding_window_view(padded, N_FFT)[::HOP][: len(x) // HOP + 1]
    spectrum = np.fft.rfft(frames * _window(), axis=1)
    power = (spectrum.real**2 + spectrum.imag**2).astype(np.float32)
    mel = np.log10(np.maximum(power @ mel_filters().T, 1e-10)).T
    return ((np.maximum(mel, mel.max() - 8) + 4) / 4).astype(np.float32)
