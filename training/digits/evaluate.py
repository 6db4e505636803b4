"""Measures a checkpoint on held-out speakers: transcription, refusal and the verification score.

Every rate comes with its count and an interval: Wilson's for independent trials, and a bootstrap
over speakers for error rates of strings, because one person's strings are not independent.
"""

from __future__ import annotations

import argparse
import json
import os
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from audio import load_clips
from features import log_mel
from model import EOT, NOT, SOT, DigitsModel, load
from train import edits

IMPOSTORS = int(os.environ.get("IMPOSTORS", "40"))  # random strings tried against each genuine one
CHUNK = 256
# Nats per digit by which the expected string has to beat its best rival; the verdict's policy
# passes an exact transcript from the second on and forgives a misheard digit from the third.
THRESHOLDS = (-0.15, 0.0, 0.15, 0.5)


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
        logits = model.decoder(tokens, audio)[0][..., : EOT + 1]
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


def slices_of(condition: str, speaker: str, digits: list[int]) -> list[str]:
    """The slices a string counts in. Strings spoken as such and strings joined from single digits are kept apart."""
    kind = "spoken" if speaker.startswith("an4_") else "joined"
    out = [f"{kind}, {condition}"]
    if kind == "spoken" and 4 <= len(digits) <= 6:
        out.append(f"spoken, 4 to 6 digits, {condition}")
    if condition == "clean" and (sex := sex_of(speaker)):
        out.append(f"spoken, clean, {sex}")
    return out


def transcription(rows: list[tuple[str, str, list[int], list[int]]]) -> dict[str, dict]:
    """Digit error rate, exact strings and strings with at most one error, by slice."""
    groups: dict[str, list] = defaultdict(list)
    for condition, speaker, digits, heard in rows:
        for name in slices_of(condition, speaker, digits):
            groups[name].append((speaker, edits(heard, digits), len(digits)))
    out = {}
    rng = np.random.default_rng(1)
    for name, g in sorted(groups.items()):
        wrong, total = sum(w for _, w, _ in g), sum(t for *_, t in g)
        exact, near = sum(w == 0 for _, w, _ in g), sum(w <= 1 for _, w, _ in g)
        out[name] = {
            "strings": len(g), "digits": total, "speakers": len({s for s, *_ in g}),
            "digit_error": [round(100 * wrong / total, 1), *by_speaker(g, rng)],
            "exact": share(exact, len(g)),
            "within_one": share(near, len(g)),
        }  # fmt: skip
    return out


def verification(genuine: list[float], near: list[float], impostor: list[float]) -> dict:
    """Genuine strings rejected, near misses and random strings accepted, at fixed scores.

    Also the score that one random string in 1,000 exceeds: to be chosen on the validation
    speakers, and given to the test as one of the fixed ones.
    """
    ranked = np.sort(np.array(impostor))[::-1]
    out: dict = {"one random string in 1,000 exceeds": round(float(ranked[len(ranked) // 1000]), 3)}
    for threshold in THRESHOLDS:
        rejected = sum(v <= threshold for v in genuine)
        near_passed, passed = (sum(v > threshold for v in vs) for vs in (near, impostor))
        out[f"above {threshold:g}"] = {
            "genuine": len(genuine), "genuine_rejected": share(rejected, len(genuine)),
            "one_wrong_digit": len(near), "one_wrong_digit_accepted": share(near_passed, len(near)),
            "random": len(impostor), "random_accepted": share(passed, len(impostor)),
        }  # fmt: skip
    return out


def share(hits: int, n: int) -> list[float]:
    """A proportion in percent with its interval."""
    return [round(100 * hits / max(1, n), 2), *wilson(hits, n)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("held_out", type=Path, help="held_out_{val,test}.npz")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    args = parser.parse_args()

    torch.set_num_threads(1)
    model, _ = load(args.checkpoint)
    rng = np.random.default_rng(5)
    rows, refused = [], defaultdict(lambda: [0, 0])
    scores: dict[str, tuple[list, list, list]] = defaultdict(lambda: ([], [], []))
    for clip in load_clips(args.held_out):
        condition, speaker = clip.speaker.split("/", 1)
        digits = clip.digits
        with torch.no_grad():
            audio = model.encoder(full_window(clip.x)[None])
        heard = model.transcribe(audio)[0]
        if clip.kind == "other":
            refused[condition][0] += not heard
            refused[condition][1] += 1
            continue
        rows.append((condition, speaker, digits, heard))
        if not speaker.startswith("an4_"):
            continue  # joined strings tell little about scores
        n = len(digits)
        own = likelihoods(model, audio, [digits, heard, *rivals(digits)])
        best = own[2:].max() if heard == digits else own[1:].max()
        # Against a wrong string, what was heard and what was said are rivals enough: leaving the
        # others out can only make a wrong string look better.
        best_free = max(own[0], own[1])
        random = [r for r in rng.integers(0, 10, (IMPOSTORS, n)).tolist() if r != digits]
        near = [[*digits[:i], int(d), *digits[i + 1 :]] for i in range(n) for d in [(digits[i] + rng.integers(1, 10)) % 10]]
        wrong = (likelihoods(model, audio, near + random) - best_free) / n
        for key in (f"spoken, {condition}", "spoken, all conditions"):
            scores[key][0].append(float(own[0] - best) / n)
            scores[key][1].extend(wrong[: len(near)].tolist())
            scores[key][2].extend(wrong[len(near) :].tolist())

    figures = {
        "transcription": transcription(rows),
        "refused": {k: {"clips": n, "refused": share(hits, n)} for k, (hits, n) in refused.items()},
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
