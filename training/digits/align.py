"""Cuts real strings into single digits, so that their speakers can say any string.

Aligns each training string with the encoder's per-frame digit scores (Viterbi over the known digit
sequence, with optional silence between) and keeps the cuts the model is sure of.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from audio import RATE, Clip, level, load_clips, save_clips, trim
from features import log_mel
from model import DigitsModel, load

NONE = 10
FRAME = 320  # samples in an encoder position


@torch.no_grad()
def frame_scores(model: DigitsModel, x: np.ndarray) -> np.ndarray:
    """[frames, 11] log-probabilities of "this frame belongs to digit d" (10: to none)."""
    mel = log_mel(x)
    mel = mel[:, : mel.shape[1] // 2 * 2]
    audio = model.encoder(torch.from_numpy(mel)[None])
    return model.frame_digit(audio)[0].log_softmax(-1).numpy()


def viterbi(scores: np.ndarray, digits: list[int]) -> list[tuple[int, int]]:
    """The best span of each digit, in frames."""
    states = [NONE]
    for d in digits:
        states += [d, NONE]
    total = np.full((len(scores), len(states)), -np.inf)
    came = np.zeros((len(scores), len(states)), int)
    total[0, :2] = scores[0, states[:2]]
    for t in range(1, len(scores)):
        for s in range(len(states)):
            # Stay, or move on; silence may be skipped between two digits.
            options = [s, s - 1] + ([s - 2] if s % 2 == 1 and s >= 3 else [])
            best = max((o for o in options if o >= 0), key=lambda o: total[t - 1, o])
            total[t, s] = total[t - 1, best] + scores[t, states[s]]
            came[t, s] = best
    s = max((len(states) - 1, len(states) - 2), key=lambda s: total[-1, s])
    spans: dict[int, list[int]] = {}
    for t in range(len(scores) - 1, -1, -1):
        if s % 2 == 1:
            spans.setdefault(s // 2, [t, t])[0] = t
        s = came[t, s]
    return [tuple(spans[i]) if i in spans else (0, 0) for i in range(len(digits))]


def cut(model: DigitsModel, x: np.ndarray, digits: list[int], sure: float) -> list[tuple[int, np.ndarray]]:
    """The digits of one string, where the model is sure of them."""
    scores = frame_scores(model, x)
    spans = viterbi(scores, digits)
    # The gap between two digits is split in the middle, so that no sound is lost.
    edges = [max(0, spans[0][0] - 3)]
    edges += [(a[1] + b[0] + 1) // 2 for a, b in zip(spans, spans[1:])]
    edges.append(min(len(scores), spans[-1][1] + 4))
    out = []
    for i, (d, (a, b)) in enumerate(zip(digits, spans)):
        probability = float(np.exp(scores[a : b + 1, d]).mean())
        start, end = max(edges[i], a - 4), min(edges[i + 1], b + 5)
        clip = trim(x[start * FRAME : end * FRAME], floor_db=-35)
        if probability > sure and 0.12 * RATE < len(clip) < 1.1 * RATE:
            out.append((d, level(clip)))
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("clips", type=Path, help="real_train.npz")
    parser.add_argument("out", type=Path, help="segments.npz")
    parser.add_argument("--sure", type=float, default=0.5)
    args = parser.parse_args()

    torch.set_num_threads(1)
    model, _ = load(args.checkpoint)
    out: list[Clip] = []
    asked = 0
    for speaker, kind, digits, x in load_clips(args.clips):
        if kind == "string":
            asked += len(digits)
            out += [(speaker, "digit", [d], clip) for d, clip in cut(model, x, digits, args.sure)]
    save_clips(args.out, out)
    print(f"{len(out)} of {asked} digits cut, {len({c[0] for c in out})} speakers -> {args.out}")


if __name__ == "__main__":
    main()
