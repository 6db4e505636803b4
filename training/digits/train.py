"""Trains the digits model on shards, on one CPU thread, for a given time.

First lessons are excerpts of few digits: they cost little, and everything in them is to be learnt.
Then come whole strings. New shards are read as they appear. `last.pt` (with optimiser state, to go
on from) and `best.pt` (averaged weights, the best on held-out speakers) are replaced atomically, so
training can be stopped at any moment.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import random
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mix import read_shard
from model import EOT, MAX_DIGITS, NOT, SOT, Config, DigitsModel, load, save

NO_DIGIT, NO_ORDINAL = 10, MAX_DIGITS
IGNORE = -100
Item = tuple[np.ndarray, float, list[int], list | None]


class Muon(torch.optim.Optimizer):
    """Momentum orthogonalised by Newton–Schulz iteration, for hidden matrices (Jordan et al., 2024)."""

    def __init__(self, params, lr: float = 0.012, momentum: float = 0.95, decay: float = 0.01) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "decay": decay})

    @torch.no_grad()
    def step(self) -> None:
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                buffer = state.setdefault("momentum", torch.zeros_like(p))
                buffer.lerp_(p.grad, 1 - group["momentum"])
                update = orthogonal(p.grad.lerp(buffer, group["momentum"]))
                p.mul_(1 - group["lr"] * group["decay"])
                p.add_(update, alpha=-group["lr"] * max(1, p.shape[0] / p.shape[1]) ** 0.5)


def orthogonal(g: Tensor) -> Tensor:
    """Pushes a matrix's singular values towards one (quintic iteration, five steps)."""
    tall = g.shape[0] > g.shape[1]
    x = g.T if tall else g
    x = x / (x.norm() + 1e-7)
    for _ in range(5):
        a = x @ x.T
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
    return x.T if tall else x


def batch(items: list[Item], frames: int, rng: random.Random | None) -> dict[str, Tensor]:
    """Pads items to `frames` mel frames (even); with `rng`, augments them and their prompts."""
    n, half = len(items), frames // 2
    longest = max(1, max(len(item[2]) for item in items))
    mels = torch.empty(n, 80, frames)
    tokens = torch.full((n, longest + 2), EOT)
    targets = torch.full((n, longest + 2), IGNORE)
    frame_digit = torch.full((n, half), NO_DIGIT)
    frame_ordinal = torch.full((n, half), NO_ORDINAL)
    where = torch.zeros(n, longest, half)
    for i, (cells, top, digits, spans) in enumerate(items):
        mel = torch.from_numpy(cells[:, :frames]).float() / 127.5 + (top - 2)
        if rng is not None:
            mel = distort(mel, rng)
            top += (shift := rng.gauss(0, 0.1))
            mel = mel + shift
        mels[i] = top - 2
        mels[i, :, : mel.shape[1]] = mel
        tokens[i, 0], tokens[i, 1] = SOT, NOT
        said = torch.tensor(digits, dtype=torch.long)
        tokens[i, 2 : 2 + len(digits)] = said
        targets[i, 1 : 1 + len(digits)] = said
        targets[i, 1 + len(digits)] = EOT
        if rng is not None:  # the sound decides, not the digits before: strings of real people are few and alike
            for k in range(len(digits)):
                if rng.random() < 0.25:
                    tokens[i, 2 + k] = rng.randrange(10)
        if spans is None:
            frame_digit[i] = frame_ordinal[i] = IGNORE
        else:
            for k, (a, b) in enumerate(spans):
                a, b = a // 320, min(half, b // 320 + 1)
                frame_digit[i, a:b], frame_ordinal[i, a:b], where[i, k, a:b] = digits[k], k, 1
    return {
        "mels": mels, "tokens": tokens, "targets": targets, "frame_digit": frame_digit,
        "frame_ordinal": frame_ordinal, "where": where,
    }  # fmt: skip


def distort(mel: Tensor, rng: random.Random) -> Tensor:
    """Warps the frequency axis a little and masks bands and moments (SpecAugment, Park et al., 2019)."""
    if rng.random() < 0.4:
        at = (torch.arange(80) * rng.uniform(0.93, 1.07) + rng.uniform(-1.5, 1.5)).clamp(0, 78.99)
        low = at.long()
        part = (at - low)[:, None]
        mel = mel[low] * (1 - part) + mel[low + 1] * part
    if rng.random() < 0.5:
        mel = mel.clone()
        mean = mel.mean()
        for _ in range(rng.randint(0, 2)):
            w = rng.randint(1, 10)
            start = rng.randint(0, 80 - w)
            mel[start : start + w] = mean
        for _ in range(rng.randint(0, 3)):
            w = rng.randint(1, 8)
            start = rng.randint(0, max(1, mel.shape[1] - w))
            mel[:, start : start + w] = mean
    return mel


def losses(model: DigitsModel, b: dict[str, Tensor]) -> dict[str, Tensor]:
    """The decoder's cross-entropy, and what guides the encoder and the cross-attention."""
    audio = model.encoder(b["mels"])
    logits, attention = model.decoder(b["tokens"], audio, weights=True)
    attended = attention.mean(1)[:, 1 : 1 + b["where"].shape[1]]
    known = (b["where"].sum(-1) > 0).float()
    guided = -(torch.log((attended * b["where"]).sum(-1) + 1e-4) * known).sum() / known.sum().clamp_min(1)

    def frames(head: torch.nn.Linear, name: str) -> Tensor:
        return F.cross_entropy(head(audio).flatten(0, 1), b[name].flatten(), ignore_index=IGNORE)

    return {
        "tokens": F.cross_entropy(logits.flatten(0, 1), b["targets"].flatten(), ignore_index=IGNORE, label_smoothing=0.02),
        "digit": frames(model.frame_digit, "frame_digit"),
        "ordinal": frames(model.frame_ordinal, "frame_ordinal"),
        "guided": guided,
    }  # fmt: skip


# What each frame holds is learnt first: the decoder has nothing to read before.
FIRST_WEIGHT = {"tokens": 0.1, "digit": 1.0, "ordinal": 0.2, "guided": 0.1}
WEIGHT = {"tokens": 1.0, "digit": 0.7, "ordinal": 0.5, "guided": 0.3}


def edits(a: list[int], b: list[int]) -> int:
    """Levenshtein distance."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        previous, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (x != y))
    return row[-1]


def measure(model: DigitsModel, items: list[Item]) -> dict[str, float]:
    """Greedy transcription of held-out examples: error rates in percent."""
    model.eval()
    said, wrong, total, exact, near, clean, empty = [], 0, 0, 0, 0, 0, 0
    for start in range(0, len(items), 32):
        said += model.greedy(batch(items[start : start + 32], 1024, None)["mels"])
    strings = 0
    for hypothesis, (_, _, digits, _) in zip(said, items):
        if not digits:
            empty += 1
            clean += not hypothesis
            continue
        e = edits(hypothesis, digits)
        strings += 1
        wrong, total, exact, near = wrong + e, total + len(digits), exact + (e == 0), near + (e <= 1)
    model.train()
    return {
        "digit_error": round(100 * wrong / max(1, total), 2), "exact": round(100 * exact / max(1, strings), 1),
        "within_one": round(100 * near / max(1, strings), 1), "refused": round(100 * clean / max(1, empty), 1),
    }  # fmt: skip


def rate(progress: float, step: int) -> float:
    """Warm-up, constant for 30 % of the time, then half a cosine to zero."""
    fall = max(0.0, (progress - 0.3) / 0.7)
    return min(1.0, (step + 1) / 40) * 0.5 * (1 + math.cos(math.pi * min(1.0, fall)))


def refresh(pool: dict[str, list[Item]], folder: Path, keep: int) -> list[Item]:
    """Reads shards that have appeared, forgets the oldest beyond `keep`, returns all examples."""
    for path in sorted(folder.glob("shard_????.npz")):
        if path.name not in pool:
            pool[path.name] = read_shard(path)
    for name in list(pool)[:-keep]:
        pool[name] = []
    everything = [item for items in pool.values() for item in items]
    if not everything:
        raise SystemExit(f"no shards in {folder}: run mix.py first")
    return everything


def excerpt(item: Item, most: int, rng: random.Random) -> Item | None:
    """At most `most` neighbouring digits of an example; None where it is too long and its digits are not located."""
    cells, top, digits, spans = item
    if len(digits) <= most:
        return item
    if not spans:
        return None
    count = rng.randint(1, most)
    first = rng.randrange(len(digits) - count + 1)
    chosen = spans[first : first + count]
    # Neighbours may run into the excerpt a little, as anything may run into a recording.
    start = max(0, chosen[0][0] // 160 - rng.randint(2, 10)) // 2 * 2
    end = chosen[-1][1] // 160 + rng.randint(2, 10)
    moved = [(a - start * 160, b - start * 160) for a, b in chosen]
    return cells[:, start:end], top, digits[first : first + count], moved


def lesson(progress: float) -> tuple[bool, int]:
    """Whether examples are lightly degraded ones, and the most digits in an example."""
    return progress < 0.25, 2 if progress < 0.1 else 4 if progress < 0.3 else MAX_DIGITS


def batches(everything: list[Item], most: int, size: int, rng: random.Random) -> list[list[Item]]:
    """Eight batches of examples of like length, so that little is padded."""
    chosen: list[Item] = []
    while len(chosen) < size * 8:
        item = excerpt(rng.choice(everything), most, rng)
        if item is not None:
            chosen.append(item)
    chosen.sort(key=lambda item: item[0].shape[1])
    out = [chosen[i : i + size] for i in range(0, len(chosen), size)]
    rng.shuffle(out)
    return out


def window(items: list[Item], progress: float, rng: random.Random) -> int:
    """Frames to pad a batch to. The service always pads to the full 1,024; a little of that, and
    more towards the end, is enough and much cheaper."""
    if rng.random() < (0.02 if progress < 0.5 else 0.1 if progress < 0.8 else 0.4):
        return 1024
    longest = max(item[0].shape[1] for item in items)
    return min(1024, -(-longest // 32) * 32 + 64 * rng.randint(0, 1))


def train(args: argparse.Namespace) -> None:
    """Trains, prints, evaluates and saves."""
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    rng = random.Random(args.seed)
    model, extra = load(args.resume) if args.resume else (DigitsModel(Config()), {})
    model.train()
    hidden = [p for n, p in model.named_parameters() if "blocks" in n and p.ndim == 2]
    rest = [p for p in model.parameters() if not any(p is q for q in hidden)]
    muon, adam = Muon(hidden), torch.optim.AdamW(rest, betas=(0.9, 0.98), weight_decay=0.01)
    if "muon" in extra:
        muon.load_state_dict(extra["muon"])
        adam.load_state_dict(extra["adam"])
    step = extra.get("step", 0)
    average = copy.deepcopy(model)

    validation = read_shard(args.validation)
    pools: dict[bool, dict[str, list[Item]]] = {True: {}, False: {}}
    ready: list[list[Item]] = []
    running: dict[str, float] = {}
    best = float("inf")
    started = evaluated = time.monotonic()
    clips, refreshed = 0, float("-inf")
    while True:
        now = time.monotonic()
        progress = args.begin_at + (1 - args.begin_at) * (now - started) / (60 * args.minutes)
        light, most = lesson(progress)
        if now - refreshed > 60:
            refreshed = now
            everything = refresh(pools[light], args.shards / ("light" if light else "full"), args.keep)
        for optimiser, peak in ((muon, 0.012), (adam, 1.5e-3)):
            optimiser.param_groups[0]["lr"] = args.peak * peak * rate(progress, step)
        ready = ready or batches(everything, most, args.batch, rng)
        items = ready.pop()
        parts = losses(model, batch(items, window(items, progress, rng), rng))
        model.zero_grad()
        weight = WEIGHT if progress > 0.08 else FIRST_WEIGHT
        sum(weight[k] * v for k, v in parts.items()).backward()
        torch.nn.utils.clip_grad_norm_(rest, 1.0)
        muon.step()
        adam.step()
        model.reserve_dimension()
        step, clips = step + 1, clips + len(items)
        with torch.no_grad():
            keep = min(0.99, (step + 1) / (step + 20))
            for a, p in zip(average.parameters(), model.parameters()):
                a.lerp_(p, 1 - keep)
        for k, v in parts.items():
            running[k] = running.get(k, v.item()) * 0.98 + 0.02 * v.item()
        minutes = f"{(time.monotonic() - started) / 60:.1f} min"
        if step % 25 == 0:
            print(step, clips, minutes, {k: round(v, 3) for k, v in running.items()}, len(everything), flush=True)
        done = progress >= 1
        if now - evaluated > 60 * args.evaluate_every or done:
            save(model, args.out / "last.pt", muon=muon.state_dict(), adam=adam.state_dict(), step=step)
            figures = measure(average, validation)
            print(step, minutes, json.dumps(figures), flush=True)
            score = figures["digit_error"] + 0.1 * (100 - figures["refused"])
            if score <= best:
                best = score
                save(average, args.out / "best.pt", step=step)
            evaluated = time.monotonic()
        if done:
            return


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shards", type=Path, help="folder of `light` and `full` shards")
    parser.add_argument("validation", type=Path, help="a shard of held-out speakers")
    parser.add_argument("out", type=Path)
    parser.add_argument("--minutes", type=float, default=90)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--resume", type=Path)
    parser.add_argument("--begin-at", type=float, default=0.0, help="share of the schedule already behind a resumed run")
    parser.add_argument("--peak", type=float, default=1.0, help="scales the learning rates")
    parser.add_argument("--keep", type=int, default=60, help="newest shards held in memory")
    parser.add_argument("--evaluate-every", type=float, default=5, help="minutes")
    parser.add_argument("--seed", type=int, default=3)
    args = parser.parse_args()

    args.out.mkdir(parents=True, exist_ok=True)
    train(args)


if __name__ == "__main__":
    main()
