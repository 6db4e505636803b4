"""Measures a checkpoint on held-out speakers: transcription, refusal and the verification score.

Every rate comes with its count and an interval: Wilson's for independent trials, and a bootstrap
over speakers for error rates of strings, because one person's strings are not independent.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from audio import load_clips
from features import log_mel
from model import EOT, NOT, SOT, DigitsModel, load
from train import edits

IMPOSTORS = 40  # random strings tried against each genuine one
CHUNK = 256


def full_window(x: np.ndarray) -> Tensor:
    """One clip's mel, padded as the service pads it: [80, 1024]."""
    mel = log_mel(x.astype(np.float32))[:, :1024]
    return torch.from_numpy(np.pad(mel, ((0, 0), (0, 1024 - mel.shape[1])), constant_values=mel.max() - 2))


@torch.no_grad()
def likelihoods(model: DigitsModel, audio: Tensor, strings: list[list[int]]) -> np.ndarray:
    """Log-likelihood of each string (and its end) under one clip, in nats."""
    out = []
    for start in range(0, len(strings), CHUNK):
        part = strings[start : start + CHUNK]
        longest = max(map(len, part))
        tokens = torch.full((len(part), longest + 2), EOT)
        targets = torch.full((len(part), longest + 2), -1)
        tokens[:, 0], tokens[:, 1] = SOT, NOT
        for i, s in enumerate(part):
            tokens[i, 2 : 2 + len(s)] = torch.tensor(s, dtype=torch.long)
            targets[i, 1 : 2 + len(s)] = torch.tensor([*s, EOT])
        logits = model.decoder(tokens, audio.expand(len(part), -1, -1))[0][..., : EOT + 1]
        each = logits.log_softmax(-1).gather(-1, targets.clamp_min(0)[..., None])[..., 0]
        out.append((each * (targets >= 0)).sum(1).numpy())
    return np.concatenate(out)


def rivals(s: list[int]) -> list[list[int]]:
    """Every string one substitution, swap, deletion or insertion away."""
    out = []
    for i in range(len(s)):
        out += [[*s[:i], d, *s[i + 1 :]] for d in range(10) if d != s[i]]
        out.append(s[:i] + s[i + 1 :])
        if i + 1 < len(s) and s[i] != s[i + 1]:
            out.append([*s[:i], s[i + 1], s[i], *s[i + 2 :]])
    for i in range(len(s) + 1):
        out += [[*s[:i], d, *s[i:]] for d in range(10)]
    return [r for r in out if r != s]


def wilson(hits: int, n: int) -> tuple[float, float]:
    """95 % interval of a proportion, in percent."""
    if n == 0:
        return 0.0, 100.0
    z, p = 1.96, hits / n
    middle, spread = p + z * z / (2 * n), z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return (
        round(100 * max(0.0, (middle - spread) / (1 + z * z / n)), 1),
        round(100 * min(1.0, (middle + spread) / (1 + z * z / n)), 1),
    )


def by_speaker(rows: list[tuple[str, int, int]], rng: np.random.Generator) -> tuple[float, float]:
    """95 % interval of sum(errors) / sum(digits) in percent, speakers drawn with replacement."""
    groups: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for speaker, wrong, total in rows:
        groups[speaker][0] += wrong
        groups[speaker][1] += total
    table = np.array(list(groups.values()))
    drawn = table[rng.integers(len(table), size=(2000, len(table)))].sum(1)
    low, high = np.quantile(100 * drawn[:, 0] / np.maximum(drawn[:, 1], 1), [0.025, 0.975])
    return round(float(low), 1), round(float(high), 1)


def sex_of(speaker: str) -> str | None:
    """AN4's speaker codes start with the sex; the other corpora do not tell."""
    corpus, _, code = speaker.partition("_")
    return {"f": "women", "m": "men"}.get(code[:1]) if corpus == "an4" else None


def slices_of(condition: str, speaker: str) -> list[str]:
    corpus = speaker.split("_")[0]
    kind = "real strings" if corpus == "an4" else "joined single digits"
    out = [f"{kind}, {condition}", f"all strings, {condition}"]
    if condition == "clean" and (sex := sex_of(speaker)):
        out.append(f"{kind}, clean, {sex}")
    return out


def transcription(rows: list[tuple[str, str, list[int], list[int]]]) -> dict[str, dict]:
    """Digit error rate, exact strings and strings with at most one error, by slice."""
    groups: dict[str, list] = defaultdict(list)
    for condition, speaker, digits, heard in rows:
        for name in slices_of(condition, speaker):
            groups[name].append((speaker, edits(heard, digits), len(digits)))
    out = {}
    rng = np.random.default_rng(1)
    for name, g in sorted(groups.items()):
        wrong, total = sum(w for _, w, _ in g), sum(t for *_, t in g)
        exact, near = sum(w == 0 for _, w, _ in g), sum(w <= 1 for _, w, _ in g)
        out[name] = {
            "strings": len(g), "digits": total, "speakers": len({s for s, *_ in g}),
            "digit_error": [round(100 * wrong / total, 1), *by_speaker(g, rng)],
            "exact": [round(100 * exact / len(g), 1), *wilson(exact, len(g))],
            "within_one": [round(100 * near / len(g), 1), *wilson(near, len(g))],
        }  # fmt: skip
    return out


def verification(genuine: list[float], near: list[float], impostor: list[float]) -> dict[str, list]:
    """Genuine strings rejected, and near misses accepted, at fixed rates of accepted random strings."""
    out = {"genuine": len(genuine), "impostor": len(impostor), "near_miss": len(near)}
    ranked = np.sort(np.array(impostor))[::-1]
    for rate in (0.01, 0.001):
        threshold = float(ranked[min(len(ranked) - 1, int(rate * len(ranked)))])
        rejected, passed = sum(g <= threshold for g in genuine), sum(n > threshold for n in near)
        out[f"at {100 * rate:g} % of random strings accepted"] = {
            "threshold_nats_per_digit": round(threshold, 3),
            "genuine_rejected": [round(100 * rejected / len(genuine), 1), *wilson(rejected, len(genuine))],
            "one_wrong_digit_accepted": [round(100 * passed / len(near), 1), *wilson(passed, len(near))],
        }
    at_zero, near_zero, random_zero = (sum(v > 0 for v in vs) for vs in (genuine, near, impostor))
    out["at zero"] = {
        "genuine_rejected": [round(100 - 100 * at_zero / len(genuine), 1), *wilson(len(genuine) - at_zero, len(genuine))],
        "one_wrong_digit_accepted": [round(100 * near_zero / len(near), 1), *wilson(near_zero, len(near))],
        "random_accepted": [round(100 * random_zero / len(impostor), 2), *wilson(random_zero, len(impostor))],
    }
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("held_out", type=Path, help="held_out_{val,test}.npz")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument("--no-scores", action="store_true", help="transcription only")
    args = parser.parse_args()

    torch.set_num_threads(1)
    model, _ = load(args.checkpoint)
    rng = np.random.default_rng(5)
    rows, refused = [], defaultdict(lambda: [0, 0])
    scores: dict[str, tuple[list, list, list]] = defaultdict(lambda: ([], [], []))
    for name, kind, digits, x in load_clips(args.held_out):
        condition, speaker = name.split("/", 1)
        mel = full_window(x)[None]
        heard = model.greedy(mel)[0]
        if kind == "other":
            refused[condition][0] += not heard
            refused[condition][1] += 1
            continue
        rows.append((condition, speaker, digits, heard))
        if args.no_scores:
            continue
        with torch.no_grad():
            audio = model.encoder(mel)
        n = len(digits)
        own = likelihoods(model, audio, [digits, heard, *rivals(digits)])
        best = own[2:].max() if heard == digits else own[1:].max()
        # Against a wrong string, what was heard and what was said are rivals enough: leaving the
        # others out can only make a wrong string look better.
        best_free = max(own[0], own[1])
        random = [r for r in rng.integers(0, 10, (IMPOSTORS, n)).tolist() if r != digits]
        near = [[*digits[:i], int(d), *digits[i + 1 :]] for i in range(n) for d in [(digits[i] + rng.integers(1, 10)) % 10]]
        wrong = (likelihoods(model, audio, near + random) - best_free) / n
        for key in (condition, "all"):
            scores[key][0].append(float(own[0] - best) / n)
            scores[key][1].extend(wrong[: len(near)].tolist())
            scores[key][2].extend(wrong[len(near) :].tolist())

    figures = {
        "transcription": transcription(rows),
        "refused": {k: {"clips": n, "refused": [round(100 * hits / n, 1), *wilson(hits, n)]} for k, (hits, n) in refused.items()},
        "verification": {k: verification(*v) for k, v in scores.items()},
    }  # fmt: skip
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1) + "\n")
    for part, table in figures.items():
        print(part)
        for name, row in table.items():
            print(" ", name, json.dumps(row))


if __name__ == "__main__":
    main()
