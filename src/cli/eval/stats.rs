//! Rates with intervals, thresholds and ranking: the arithmetic of every measurement.

use serde::{Deserialize, Serialize};

use crate::workshop::draw::Draw;

/// Resamples of a bootstrap.
const RESAMPLES: usize = 2000;

/// `hits` of `n` trials, with the exact 95 % interval of Clopper and Pearson (1934).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rate {
    /// Trials that had the property.
    pub hits: usize,
    /// All trials.
    pub n: usize,
    /// Their share, 0–1; 0 where there were no trials.
    pub value: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
}

impl Rate {
    /// The rate of `hits` in `n` independent trials.
    pub fn of(hits: usize, n: usize) -> Self {
        let value = if n == 0 { 0.0 } else { hits as f64 / n as f64 };
        // The interval's ends are the rates under which as few or as many hits are 2.5 % likely.
        let low = if hits == 0 { 0.0 } else { solve(|p| 0.975 - at_most(hits - 1, n, p)) };
        let high = if hits >= n { 1.0 } else { solve(|p| 0.025 - at_most(hits, n, p)) };
        Self { hits, n, value, low, high }
    }

    /// How many of `values` have a property.
    pub fn among<T>(values: &[T], has: impl Fn(&T) -> bool) -> Self {
        Self::of(values.iter().filter(|v| has(v)).count(), values.len())
    }
}

impl std::fmt::Display for Rate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [value, low, high] = [self.value, self.low, self.high].map(|v| 100.0 * v);
        f.pad(&format!("{value:.1} % ({low:.1}–{high:.1}, n {})", self.n))
    }
}

/// A figure with a 95 % interval that is not a plain share.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Figure {
    /// The figure.
    pub value: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
}

impl std::fmt::Display for Figure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&format!("{:.3} ({:.3}–{:.3})", self.value, self.low, self.high))
    }
}

/// The figure of all `groups`, and its percentile interval when whole groups are drawn with
/// replacement: what comes from one speaker or one recording is not independent.
pub fn bootstrap<G>(groups: &[G], draw: &mut Draw, of: impl Fn(&[&G]) -> f64) -> Figure {
    let all: Vec<&G> = groups.iter().collect();
    let value = of(&all);
    let mut drawn: Vec<f64> = (0..if groups.is_empty() { 0 } else { RESAMPLES })
        .map(|_| {
            let some: Vec<&G> = groups.iter().map(|_| &groups[draw.below(groups.len())]).collect();
            of(&some)
        })
        .filter(|v| v.is_finite())
        .collect();
    drawn.sort_by(f64::total_cmp);
    let quantile = |q: f64| {
        let at = (q * drawn.len() as f64) as usize;
        drawn.get(at.min(drawn.len().saturating_sub(1))).copied().unwrap_or(value)
    };
    Figure { value, low: quantile(0.025), high: quantile(0.975) }
}

/// The probability that a value of `above` exceeds one of `below`, ties counting half (the area
/// under the ROC curve). Not a number where either is empty.
pub fn auc(above: &[f32], below: &[f32]) -> f64 {
    let mut sorted = below.to_vec();
    sorted.sort_by(f32::total_cmp);
    let wins: f64 = above
        .iter()
        .map(|v| {
            let less = sorted.partition_point(|b| b < v);
            let same = sorted.partition_point(|b| b <= v) - less;
            less as f64 + same as f64 / 2.0
        })
        .sum();
    wins / (above.len() * below.len()) as f64
}

/// The least threshold above which at most `rate` of `impostors` lie: accepting what is *above* it
/// accepts no more of them.
pub fn threshold_at(impostors: &[f32], rate: f64) -> f32 {
    let mut sorted = impostors.to_vec();
    sorted.sort_by(|a, b| b.total_cmp(a));
    let allowed = (rate * sorted.len() as f64).floor() as usize;
    sorted.get(allowed).copied().unwrap_or(f32::NEG_INFINITY)
}

/// Error rates of a threshold that moves over all scores: (impostors accepted, genuine rejected).
pub fn trade_off(genuine: &[f32], impostors: &[f32]) -> Vec<(f64, f64)> {
    let (mut g, mut i) = (genuine.to_vec(), impostors.to_vec());
    g.sort_by(f32::total_cmp);
    i.sort_by(f32::total_cmp);
    let mut thresholds: Vec<f32> = g.iter().chain(&i).copied().collect();
    thresholds.sort_by(f32::total_cmp);
    thresholds.dedup();
    let share = |n: usize, of: usize| n as f64 / of.max(1) as f64;
    let mut points = vec![(1.0, 0.0)];
    points.extend(thresholds.into_iter().map(|t| {
        let accepted = i.len() - i.partition_point(|v| *v <= t);
        let rejected = g.partition_point(|v| *v <= t);
        (share(accepted, i.len()), share(rejected, g.len()))
    }));
    points.dedup();
    points
}

/// Probability of at most `k` hits in `n` trials of probability `p`.
fn at_most(k: usize, n: usize, p: f64) -> f64 {
    if p <= 0.0 {
        return 1.0;
    }
    if p >= 1.0 {
        return if k >= n { 1.0 } else { 0.0 };
    }
    // Term by term in logarithms: n is some thousands, and the terms underflow otherwise.
    let (yes, no) = (p.ln(), (1.0 - p).ln());
    let mut choose = 0.0_f64;
    let mut sum = 0.0;
    for i in 0..=k.min(n) {
        if i > 0 {
            choose += ((n + 1 - i) as f64).ln() - (i as f64).ln();
        }
        sum += (choose + i as f64 * yes + (n - i) as f64 * no).exp();
    }
    sum.min(1.0)
}

/// Where an increasing function of a probability crosses zero.
fn solve(f: impl Fn(f64) -> f64) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..50 {
        let middle = f64::midpoint(low, high);
        if f(middle) < 0.0 { low = middle } else { high = middle }
    }
    f64::midpoint(low, high)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exact_intervals() {
        // Values of R's binom.test.
        for (hits, n, low, high) in [
            (0, 10, 0.0, 0.3085),
            (10, 10, 0.6915, 1.0),
            (5, 10, 0.1871, 0.8129),
            (3, 4000, 0.000_154_7, 0.002_190),
        ] {
            let r = Rate::of(hits, n);
            assert!((r.low - low).abs() < 1e-4 && (r.high - high).abs() < 1e-4, "{r:?}");
        }
        assert_eq!((Rate::of(0, 0).low, Rate::of(0, 0).high), (0.0, 1.0));
        assert_eq!(Rate::among(&[1, 2, 3], |v| *v > 1).hits, 2);
    }

    #[test]
    fn areas_and_thresholds() {
        assert!((auc(&[2.0, 3.0], &[0.0, 1.0]) - 1.0).abs() < 1e-9);
        assert!((auc(&[0.0, 1.0], &[0.0, 1.0]) - 0.5).abs() < 1e-9);
        assert!(auc(&[], &[1.0]).is_nan());
        let impostors: Vec<f32> = (0..1000).map(|i| i as f32).collect();
        let t = threshold_at(&impostors, 0.001);
        assert_eq!(impostors.iter().filter(|v| **v > t).count(), 1);
        assert_eq!(impostors.iter().filter(|v| **v > threshold_at(&impostors, 0.0)).count(), 0);
        let points = trade_off(&[2.0, 3.0], &[0.0, 1.0]);
        assert!(points.contains(&(0.0, 0.0)), "{points:?}");
        assert_eq!((points[0], points[points.len() - 1]), ((1.0, 0.0), (0.0, 1.0)));
    }

    #[test]
    fn a_bootstrap_holds_its_value_and_repeats() {
        let groups = [1.0, 2.0, 3.0, 4.0];
        let mean = |g: &[&f64]| g.iter().copied().sum::<f64>() / g.len() as f64;
        let one = bootstrap(&groups, &mut Draw::new(1), mean);
        assert!(one.low < one.value && one.value < one.high);
        assert_eq!(one, bootstrap(&groups, &mut Draw::new(1), mean));
        assert!(bootstrap::<f64>(&[], &mut Draw::new(1), mean).value.is_nan());
    }
}
