"""Trains the network on shards: `train.py SHARDS VALIDATION OUT --minutes 60`.

New shards are picked up while it runs. `OUT/best.pt` is the best on the validation shards so far,
`OUT/last.pt` the newest; both hold the weights averaged over steps.
"""

from __future__ import annotations

import argparse
import copy
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from measure import auc
from model import SIDE, Net, live_logit

BATCH = 32
REFRESH = 60.0  # seconds between looks for new shards
RATE = 1.5e-3


class Shards:
    """The crops of every shard that is there, by label."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.seen, self.parts, self.at = folder, set(), [], 0.0
        self.labels: list[np.ndarray] = []
        self.refresh()

    def refresh(self) -> None:
        for path in sorted(self.folder.glob("[0-9]*_[0-9]*.npz")):
            if path.name in self.seen or ".part" in path.name:
                continue
            with np.load(path) as data:
                self.parts.append(data["crops"])
                self.labels.append(data["label"])
            self.seen.add(path.name)
        label = np.concatenate(self.labels)
        part = np.concatenate([np.full(len(p), i) for i, p in enumerate(self.parts)])
        row = np.concatenate([np.arange(len(p)) for p in self.parts])
        self.by_label = [np.flatnonzero(label == k) for k in range(4)]
        self.where = np.stack([part, row], 1)
        self.at = time.time()

    def __len__(self) -> int:
        return len(self.where)

    def batch(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Half live, half attacks; cut to the network's size at a random place, mirrored by chance."""
        if time.time() - self.at > REFRESH:
            self.refresh()
        attacks = np.concatenate(self.by_label[1:])
        pick = np.concatenate([rng.choice(self.by_label[0], BATCH // 2), rng.choice(attacks, BATCH - BATCH // 2)])
        out = np.empty((BATCH, SIDE, SIDE, 3), np.float32)
        labels = np.empty(BATCH, np.int64)
        for i, k in enumerate(pick):
            part, row = self.where[k]
            x = self.parts[part][row]
            dy, dx = rng.integers(0, x.shape[0] - SIDE + 1, 2)
            x = x[dy : dy + SIDE, dx : dx + SIDE]
            out[i] = x[:, ::-1] if rng.random() < 0.5 else x
            labels[i] = self.labels[part][row]
        return out, labels


def degrade(x: Tensor, rng: np.random.Generator) -> Tensor:
    """Level, colour, contrast, haze, blur, sharpness and noise, drawn without regard to the label."""
    n = len(x)

    def draw(low: float, high: float, channels: int = 1) -> Tensor:
        return torch.from_numpy(rng.uniform(low, high, (n, channels, 1, 1)).astype(np.float32))

    def on(p: float) -> Tensor:
        return torch.from_numpy((rng.random((n, 1, 1, 1)) < p).astype(np.float32))

    # Gain, contrast about the middle, and haze are one gain and one offset for each channel.
    gain = 1 + (draw(0.55, 1.3) * draw(0.82, 1.2, 3) - 1) * on(0.7)
    contrast = 1 + (draw(0.75, 1.25) - 1) * on(0.5)
    veil = draw(0, 0.4) * on(0.3)
    x = x * (gain * contrast * (1 - veil)) + (128 * (1 - contrast) * (1 - veil) + draw(0, 1) * veil * 160)
    if rng.random() < 0.5:
        grey = (x * torch.tensor([0.114, 0.587, 0.299]).view(1, 3, 1, 1)).sum(1, keepdim=True)
        x = torch.lerp(x, grey, draw(0, 0.9) * on(0.6))
    soft = F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), 3, 1)
    x = torch.lerp(x, soft, draw(-0.5, 1) * on(0.5))
    if rng.random() < 0.5:
        x = x + torch.randn_like(x) * draw(0, 9)
    return x.clamp(0, 255)


def average(ema: Net, net: Net, step: int) -> None:
    keep = min(0.997, step / (step + 20))
    with torch.no_grad():
        for a, b in zip(ema.state_dict().values(), net.state_dict().values()):
            if a.dtype.is_floating_point:
                a.lerp_(b, 1 - keep)
            else:
                a.copy_(b)


def scores(net: Net, crops: np.ndarray) -> np.ndarray:
    """Log odds of live for crops of any size >= 96 (the centre is taken)."""
    margin = (crops.shape[1] - SIDE) // 2
    crops = crops[:, margin : margin + SIDE, margin : margin + SIDE]
    out = []
    net.eval()
    with torch.no_grad():
        for i in range(0, len(crops), 100):
            x = torch.from_numpy(crops[i : i + 100].astype(np.float32)).permute(0, 3, 1, 2)
            out.append(live_logit(net(x.contiguous(memory_format=torch.channels_last))).numpy())
    return np.concatenate(out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shards", type=Path)
    parser.add_argument("validation", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--until", help="local time HH:MM at which to end instead")
    parser.add_argument("--every", type=float, default=5, help="minutes between validations")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--resume", type=Path, help="weights to start from")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    args.out.mkdir(parents=True, exist_ok=True)
    shards, held = Shards(args.shards), Shards(args.validation)
    crops = np.concatenate(held.parts)
    live = np.concatenate(held.labels) == 0
    net = Net()
    if args.resume:
        net.load_state_dict(torch.load(args.resume, weights_only=True))
    net = net.to(memory_format=torch.channels_last)
    ema = copy.deepcopy(net)
    optimizer = torch.optim.AdamW(net.parameters(), lr=RATE, weight_decay=0.02)
    seconds, start, step, best, losses = args.minutes * 60, time.time(), 0, 0.0, []
    if args.until:
        hours, minutes = (int(v) for v in args.until.split(":"))
        now = time.localtime()
        seconds = (hours - now.tm_hour) * 3600 + (minutes - now.tm_min) * 60 - now.tm_sec
    looked = start
    while (spent := time.time() - start) < seconds:
        rate = RATE * min(1, step / 60) * (0.02 + 0.49 * (1 + np.cos(np.pi * spent / seconds)))
        for group in optimizer.param_groups:
            group["lr"] = rate
        x, y = shards.batch(rng)
        pixels = torch.from_numpy(x).permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)
        net.train()
        loss = F.cross_entropy(net(degrade(pixels, rng)), torch.from_numpy(y), label_smoothing=0.05)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 3.0)
        optimizer.step()
        losses.append(loss.item())
        step += 1
        average(ema, net, step)
        if step % 100 == 0:
            print(f"{spent:.0f} s, step {step}, loss {np.mean(losses[-100:]):.3f}, {len(shards)} crops", flush=True)
        if time.time() - looked > args.every * 60:
            looked = time.time()
            best = keep(ema, scores(ema, crops), live, best, args.out)
    keep(ema, scores(ema, crops), live, best, args.out)
    print("end", step, "steps")


def keep(ema: Net, score: np.ndarray, live: np.ndarray, best: float, out: Path) -> float:
    value = auc(score[live], score[~live])
    print(f"validation AUC {value:.4f}, live below 0: {(score[live] < 0).mean():.3f}, attacks above 0: {(score[~live] >= 0).mean():.3f}", flush=True)
    torch.save(ema.state_dict(), out / "last.pt")
    if value > best:
        torch.save(ema.state_dict(), out / "best.pt")
    return max(best, value)


if __name__ == "__main__":
    main()
