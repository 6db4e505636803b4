"""Measures and calibrates an exported model:
`evaluate.py MODEL.onnx DATASETS WORK --detector FILE.onnx [--drawn FOLDER] [--models-extra FOLDER] --json OUT`.

Prints the model card's tables. Nothing measured here was trained on, unless a line says so.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from pathlib import Path

import cv2
import numpy as np

import calibrate
import real
from degrade import DEGRADATIONS
from export import planes, session
from measure import auc, auc_interval, wilson

Groups = dict[str, np.ndarray]


def odds(p: np.ndarray) -> np.ndarray:
    p = np.clip(p, 1e-6, 1 - 1e-6)
    return np.log(p / (1 - p))


class Model:
    """Networks that look at crops of one or more scales; their live probabilities are averaged."""

    def __init__(self, members: list[tuple[Path, float, int, int, bool]], average: bool = False) -> None:
        """Members: file, crop scale, side, class of live, whether a softmax is missing. `average`: crops
        are shrunk by area."""
        self.members = [(session(p), *rest) for p, *rest in members]
        self.average = average

    def of_crop(self, crop: np.ndarray, member: int = 0) -> float:
        net, _, _, live, softmax = self.members[member]
        y = net.run(None, {net.get_inputs()[0].name: planes(crop)})[0][0]
        if softmax:
            y = np.exp(y - y.max())
            y = y / y.sum()
        return float(y[live])

    def of_frame(self, frame: real.Frame) -> float:
        return float(np.mean([self.of_crop(frame.crop(m[1], m[2], self.average), i) for i, m in enumerate(self.members)]))


def by_source(sources: list[str], values: np.ndarray) -> Groups:
    out = defaultdict(list)
    for s, v in zip(sources, values):
        out[s].append(v)
    return {k: np.array(v) for k, v in out.items()}


def area(live: Groups, attack: Groups) -> dict:
    a, b = list(live.values()), list(attack.values())
    low, high = auc_interval(a, b)
    return {
        "auc": round(auc(np.concatenate(a), np.concatenate(b)), 4), "low": round(low, 4), "high": round(high, 4),
        "live": [len(a), sum(map(len, a))], "attack": [len(b), sum(map(len, b))],
    }


def share(k: int, n: int) -> dict:
    low, high = wilson(k, n)
    return {"share": round(k / max(n, 1), 4), "low": round(low, 4), "high": round(high, 4), "n": n}


def simulated(model: Model, folder: Path) -> tuple[dict, Groups]:
    """The simulated test set: people, rooms and parameters that training never drew. Its figures, and
    the log odds of each kind of recapture."""
    parts = [np.load(p) for p in sorted(folder.glob("[0-9]*.npz"))]
    get = lambda key: np.concatenate([p[key] for p in parts])  # noqa: E731
    crops, species, codec, source = get("crops")[:, 4:100, 4:100], get("species"), get("codec"), get("source")
    score = odds(np.array([model.of_crop(c) for c in crops]))
    live = species == "live"
    light = np.digitize(crops.mean((1, 2, 3)), [70, 130])
    out = {"all": area(by_source(list(source[live]), score[live]), by_source(list(source[~live]), score[~live]))}
    for s in sorted(set(species) - {"live"}):
        out[s] = area(by_source(list(source[live]), score[live]), by_source(list(source[species == s]), score[species == s]))
    for name, values in {"codec": codec, "light": np.array(["dark", "middle", "bright"])[light]}.items():
        for v in sorted(set(values)):
            m = values == v
            out[f"{name} {v}"] = area(by_source(list(source[live & m]), score[live & m]), by_source(list(source[~live & m]), score[~live & m]))
    pick = np.concatenate([np.flatnonzero(live)[:200], np.flatnonzero(~live)[:200]])
    made = {f"simulated/{s}": score[species == s] for s in sorted(set(species) - {"live", "render"})}
    return {"areas": out, "degraded": degraded(model, list(crops[pick]), live[pick])}, made


def degraded(model: Model, crops: list[np.ndarray], live: np.ndarray) -> dict:
    """Ranking after both classes were degraded alike; agreement of the ranking with the undegraded one."""
    out, first = {}, None
    for name, change in DEGRADATIONS.items():
        score = odds(np.array([model.of_crop(x) for x in change(crops)]))
        first = score if first is None else first
        ranks = [np.argsort(np.argsort(s)) for s in (first, score)]
        out[name] = {
            "auc": round(auc(score[live], score[~live]), 4),
            "rank_correlation": round(float(np.corrcoef(*ranks)[0, 1]), 3),
            "live_mean": round(float(score[live].mean()), 2), "attack_mean": round(float(score[~live].mean()), 2),
        }
    return out


def others(folder: Path) -> dict[str, Model]:
    """Models to compare with, where they are there."""
    pair = [
        (folder / "minifasnet_v2_2.7_80x80.onnx", 2.7, 80, 1, False),
        (folder / "minifasnet_v1se_4.0_80x80.onnx", 4.0, 80, 1, False),
    ]
    draft = [(folder / "pad_simulated_draft.onnx", 2.7, 96, 0, False)]
    named = {"MiniFASNet pair": pair, "draft": draft}
    return {name: Model(m) for name, m in named.items() if all(p.exists() for p, *_ in m)}


def kinds(scores: Groups, frames: dict[str, real.Frame]) -> tuple[Groups, Groups, Groups]:
    """Held-out live, real attacks, drawn heads. All photographs count as one source: press
    photographs are one kind of camera work."""
    live, attack, drawn = {}, {}, {}
    photos = []
    for name, s in scores.items():
        f = frames[name]
        if f.split != "test":
            continue
        if name.startswith("photo/"):
            photos.append(s)
        elif f.live:
            live[name] = s
        else:
            (drawn if name.startswith("drawn/") else attack)[name] = s
    if photos:
        live["photographs"] = np.concatenate(photos)
    return live, attack, drawn


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("datasets", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--detector", type=Path, required=True)
    parser.add_argument("--drawn", type=Path)
    parser.add_argument("--models-extra", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--per-clip", type=int, default=16)
    args = parser.parse_args()
    cv2.setNumThreads(1)
    model = Model([(args.model, real.CROP_SCALE, 96, 0, False)], average=True)
    frames = real.read(args.datasets, args.detector, args.drawn, args.per_clip)
    names, first = [f.source for f in frames], {f.source: f for f in frames}
    scores = by_source(names, odds(np.array([model.of_frame(f) for f in frames])))
    live, attack, drawn = kinds(scores, first)
    # Simulated species stand beside the few real attacks; each counts as one source.
    figures, made = simulated(model, args.work / "test")
    report: dict = {"simulated": figures}
    n = min(len(live), len(attack))
    ratio = calibrate.fit(live, attack | made, n)
    live_llr, attack_llr = calibrate.left_out(live, attack | made, n)
    report["calibration"] = {
        "slope": round(ratio.slope, 4), "offset": round(ratio.offset, 4), "limit": round(ratio.limit, 4),
        "live_sources": len(live), "attack_sources": len(attack) + len(made),
        "cllr_left_out": round(calibrate.cllr(live_llr, attack_llr), 3),
        "cllr_left_out_real": round(calibrate.cllr(live_llr, {k: v for k, v in attack_llr.items() if k in attack}), 3),
    }
    clips = {k: v for k, v in live_llr.items() if k != "photographs"}
    flat = np.concatenate(list(clips.values()))
    report["held_out_live"] = {
        "frames": share(int((flat < 0).sum()), len(flat)),
        "clips by mean": share(sum(float(s.mean()) < 0 for s in clips.values()), len(clips)),
        "photographs": share(int((live_llr["photographs"] < 0).sum()), len(live_llr["photographs"])),
    }
    report["attacks_accepted"] = {k: share(int((v >= 0).sum()), len(v)) for k, v in attack_llr.items()}
    report["drawn"] = {k: [round(float(ratio.llr(v).mean()), 3), len(v)] for k, v in drawn.items()}
    seen = {k: v for k, v in scores.items() if first[k].split == "train"}
    report["trained_on"] = {k: round(float((ratio.llr(v) < 0).mean()), 3) for k, v in seen.items()}
    report["sources"] = {k: [round(float(v.mean()), 2), round(float(v.std()), 2), len(v)] for k, v in (live | attack | drawn).items()}
    report["beside"] = {"this": area(live, attack)}
    for name, other in others(args.models_extra).items() if args.models_extra else []:
        theirs = by_source(names, odds(np.array([other.of_frame(f) for f in frames])))
        a, b, c = kinds(theirs, first)
        report["beside"][name] = area(a, b) | {
            "live_below_half": share(int(sum((v < 0).sum() for v in a.values())), sum(map(len, a.values()))),
            "drawn_mean": {k: round(float(v.mean()), 2) for k, v in c.items()},
        }
    crops = [f.crop() for f in frames[:60]]
    spent = [(start := time.perf_counter(), model.of_crop(c), time.perf_counter() - start)[2] for c in crops]
    report["ms_per_crop"] = {"median": round(float(np.median(spent)) * 1000, 2), "least": round(min(spent) * 1000, 2)}
    text = json.dumps(report, indent=1)
    print(text)
    if args.json:
        args.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
