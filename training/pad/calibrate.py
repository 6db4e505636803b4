"""From the network's log odds to a log-likelihood ratio that knows how little it was tested.

A source (a person before a camera, a kind of attack) shifts all its scores together, so sources are
counted and not frames. Scores of a class at a new source are taken as normal with the class's mean
and one variance for both classes:

    variance = between sources + within a source + uncertainty of the mean itself

The larger of the classes' between-source variances stands for both. Then

    llr = (m_live - m_attack) / variance * (score - (m_live + m_attack) / 2)

With few sources nothing can be nearly certain: after n sources of each class without an exception,
the next is one with probability 1 / (n + 2) (Laplace's rule of succession), so |llr| is limited to
ln(n + 1), n being the smaller number of *real* sources.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Scores = dict[str, np.ndarray]  # log odds of the frames of each source


@dataclass
class Calibration:
    slope: float
    offset: float
    limit: float

    def llr(self, score: np.ndarray) -> np.ndarray:
        return np.clip(self.slope * score + self.offset, -self.limit, self.limit)


def spread(scores: Scores) -> tuple[float, float, float]:
    """Mean of the sources' means, variance between them, mean variance within one."""
    means = np.array([s.mean() for s in scores.values()])
    between = float(means.var(ddof=1)) if len(means) > 1 else 0.0
    within = float(np.mean([s.var() for s in scores.values()]))
    return float(means.mean()), between, within


def fit(live: Scores, attack: Scores, real_sources: int) -> Calibration:
    m1, b1, w1 = spread(live)
    m0, b0, w0 = spread(attack)
    few = min(len(live), len(attack))
    variance = max(b1, b0) * (1 + 1 / max(few, 1)) + max(w1, w0)
    slope = max((m1 - m0) / variance, 0.001)
    return Calibration(slope, -slope * (m1 + m0) / 2, float(np.log(real_sources + 1)))


def left_out(live: Scores, attack: Scores, real_sources: int) -> tuple[Scores, Scores]:
    """Every source's ratios under the calibration that the other sources make."""

    def without(scores: Scores, name: str) -> Scores:
        return {k: v for k, v in scores.items() if k != name}

    a = {k: fit(without(live, k), attack, real_sources).llr(v) for k, v in live.items()}
    b = {k: fit(live, without(attack, k), real_sources).llr(v) for k, v in attack.items()}
    return a, b


def cllr(live: Scores, attack: Scores) -> float:
    """Cost of the ratios in bits (Brümmer 2006), sources weighing the same: 1 says nothing, below 1 it helps."""
    a = np.mean([np.log2(1 + np.exp(-s)).mean() for s in live.values()])
    b = np.mean([np.log2(1 + np.exp(s)).mean() for s in attack.values()])
    return float((a + b) / 2)
