"""The network: 96 x 96 BGR (0–255) to four logits: live, screen, print, render."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SIDE = 96
CLASSES = 4


def conv(i: int, o: int, kernel: int = 3, stride: int = 1, act: bool = True) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Conv2d(i, o, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(o)]
    return nn.Sequential(*layers, *([nn.ReLU(inplace=True)] if act else []))


class Block(nn.Module):
    """A bottleneck with squeeze and excitation (He et al. 2016; Hu et al. 2018)."""

    def __init__(self, c: int) -> None:
        super().__init__()
        self.body = nn.Sequential(conv(c, c // 2, 1), conv(c // 2, c // 2), conv(c // 2, c, 1, act=False))
        r = max(8, c // 8)
        self.gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(c, r, 1), nn.ReLU(), nn.Conv2d(r, c, 1), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        y = self.body(x)
        return F.relu(x + y * self.gate(y))


class Net(nn.Module):
    def __init__(self, widths: tuple[int, ...] = (16, 40, 80, 128), blocks: tuple[int, ...] = (1, 2, 2), drop: float = 0.3) -> None:
        super().__init__()
        self.stem = conv(3, widths[0], 3, 2)
        stages = []
        for i, n in enumerate(blocks):
            stages += [conv(widths[i], widths[i + 1], 3, 2), *[Block(widths[i + 1]) for _ in range(n)]]
        self.stages = nn.Sequential(*stages)
        self.drop = nn.Dropout(drop)
        self.head = nn.Linear(2 * widths[-1], CLASSES)

    def features(self, x: Tensor) -> Tensor:
        """(n, 3, 96, 96), 0–255, to (n, 256)."""
        y = self.stages(self.stem((x - 127.5) / 64))
        return torch.cat([y.mean((2, 3)), y.amax((2, 3))], 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.drop(self.features(x)))


def live_logit(logits: Tensor) -> Tensor:
    """Log odds of the class live."""
    return logits[:, 0] - torch.logsumexp(logits[:, 1:], 1)
