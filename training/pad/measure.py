"""Figures with intervals."""

from __future__ import annotations

import numpy as np


def auc(live: np.ndarray, attack: np.ndarray) -> float:
    """Area under the ROC curve (Mann–Whitney): how often a live score is above an attack's."""
    both = np.concatenate([live, attack])
    _, inverse, count = np.unique(both, return_inverse=True, return_counts=True)
    rank = (np.cumsum(count) - (count - 1) / 2)[inverse]
    n, m = len(live), len(attack)
    return float((rank[:n].sum() - n * (n + 1) / 2) / (n * m))


def wilson(k: int, n: int, z: float = 1.96) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927)."""
    if n == 0:
        return 0.0, 1.0
    p, d = k / n, 1 + z * z / n
    half = z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / d
    middle = (p + z * z / (2 * n)) / d
    return max(0.0, middle - half), min(1.0, middle + half)


def auc_interval(live: list[np.ndarray], attack: list[np.ndarray], rounds: int = 1000, seed: int = 1) -> tuple[float, float]:
    """95 % interval of the AUC by a bootstrap over sources (lists of each source's scores)."""
    rng = np.random.default_rng(seed)

    def again(groups: list[np.ndarray]) -> np.ndarray:
        return np.concatenate([groups[i] for i in rng.integers(0, len(groups), len(groups))])

    values = [auc(again(live), again(attack)) for _ in range(rounds)]
    return float(np.quantile(values, 0.025)), float(np.quantile(values, 0.975))
