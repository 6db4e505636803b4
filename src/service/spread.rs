//! A handful of samples, spread evenly over a stream of unknown length.

/// Holds at most `most` samples. While the stream is short it takes one every `stride`; when it is
/// full it drops every second one and doubles the stride. So it holds between half of `most` and
/// `most` of them, evenly spread from the first offer to the last, and which ones depends only on
/// their times.
#[derive(Clone, Debug)]
pub struct Spread<T> {
    most: usize,
    stride_ms: i64,
    next_ms: i64,
    samples: Vec<(i64, T)>,
}

impl<T> Spread<T> {
    /// An empty one. `most` is at least two.
    pub fn new(most: usize, stride_ms: i64) -> Self {
        Self {
            most: most.max(2),
            stride_ms: stride_ms.max(1),
            next_ms: i64::MIN,
            samples: Vec::new(),
        }
    }

    /// Whether a sample at `t_ms` would be taken: making one may cost something.
    pub fn wants(&self, t_ms: i64) -> bool {
        t_ms >= self.next_ms
    }

    /// Offers a sample; times must not go back.
    pub fn offer(&mut self, t_ms: i64, sample: T) {
        if !self.wants(t_ms) {
            return;
        }
        if self.samples.len() == self.most {
            let mut keep = false;
            self.samples.retain(|_| {
                keep = !keep;
                keep
            });
            self.stride_ms = self.stride_ms.saturating_mul(2);
            let last = self.samples.last().map_or(t_ms, |(t, _)| *t);
            self.next_ms = last.saturating_add(self.stride_ms);
            if !self.wants(t_ms) {
                return;
            }
        }
        self.next_ms = t_ms.saturating_add(self.stride_ms);
        self.samples.push((t_ms, sample));
    }

    /// The samples, in order of time.
    pub fn into_samples(self) -> Vec<T> {
        self.samples.into_iter().map(|(_, s)| s).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn eight_seconds_at_thirty_frames() {
        let mut spread = Spread::new(12, 200);
        for i in 0..240 {
            spread.offer(i * 1000 / 30, i);
        }
        assert_eq!(spread.into_samples(), [0, 24, 48, 72, 96, 120, 144, 168, 192, 216]);
    }

    proptest! {
        #[test]
        fn stays_small_and_spread(steps in prop::collection::vec(1i64..100, 1..2000)) {
            let mut spread = Spread::new(8, 100);
            let mut t = 0;
            for step in &steps {
                t += step;
                spread.offer(t, t);
            }
            let samples = spread.into_samples();
            prop_assert!(!samples.is_empty() && samples.len() <= 8);
            prop_assert_eq!(samples[0], steps[0]);
            // No gap is longer than what half of the samples would leave, and a step.
            let gaps = samples.windows(2).map(|w| w[1] - w[0]).chain([t - samples[samples.len() - 1]]);
            let widest = gaps.max().unwrap_or(0);
            prop_assert!(widest <= (t / 3).max(100) + 200, "{} of {}", widest, t);
        }
    }
}
