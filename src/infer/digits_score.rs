//! Forced scoring: how much better do the expected digits explain the sound than anything close?
//!
//! A transcript throws away what the model knew: an "almost six" is as wrong as a "nine". Scoring
//! asks the model for the probability of the expected string and of its rivals (one digit
//! substituted, two neighbours swapped, one digit dropped or added, and whatever the free
//! transcription says), and compares. Speech recognition calls this forced alignment with a
//! confidence by likelihood ratio (Jiang, "Confidence measures for speech recognition", 2005).

/// The longest string that can be scored.
pub const MAX_DIGITS: usize = 12;
/// Index of the end of the transcript in [`LogProbs`].
pub const END: usize = 10;

/// Decoder steps spent on rivals at most. Rivals are tried from the most promising down, so on a
/// sound that fits nothing this gives up on the hopeless ones only.
const MAX_STEPS: usize = 256;

/// Natural logarithms of the probabilities of the digits 0–9 and of the end.
pub type LogProbs = [f32; 11];

/// A model that predicts the next digit of a string from a sound.
pub trait DigitModel {
    /// Why it can fail.
    type Error;
    /// What may follow `prefix`.
    fn next(&mut self, prefix: &[u8]) -> Result<LogProbs, Self::Error>;
}

/// What separates the best rival from the expected string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rival {
    /// One digit differs.
    Substitution,
    /// Two neighbouring digits are swapped.
    Swap,
    /// One digit is missing.
    Deletion,
    /// One digit too many.
    Insertion,
    /// The model's own transcript, further away than that.
    Transcript,
}

/// The result of scoring.
#[derive(Clone, Copy, PartialEq)]
pub struct ForcedScore {
    /// Log-likelihood of the expected digits in nats.
    pub log_likelihood: f32,
    /// Log-likelihood of the expected digits minus the best rival's, in nats. Above zero, the
    /// expected digits explain the sound best.
    pub margin: f32,
    /// `margin` for each expected digit.
    pub per_digit: f32,
    /// The best rival's kind.
    pub best_rival: Rival,
}

impl std::fmt::Debug for ForcedScore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ForcedScore(…)") // tells what a person said
    }
}

/// Scores `expected` (1 to [`MAX_DIGITS`] digits) against its rivals and the transcript `heard`.
///
/// Exact but for `MAX_STEPS`: a rival shares its beginning with the expected string, so its
/// likelihood is bounded by that beginning's and its first own digit's, both known after the
/// expected string is scored; rivals whose bound is below the best found are never decoded.
pub fn score<M: DigitModel>(
    model: &mut M,
    expected: &[u8],
    heard: &[u8],
) -> Result<ForcedScore, M::Error> {
    // Log-likelihood of expected[..i] before each step i, and what may follow.
    let mut path = Vec::with_capacity(expected.len() + 1);
    let mut total = 0.0;
    for i in 0..=expected.len() {
        let next = model.next(&expected[..i])?;
        path.push((total, next));
        total += next[token_at(expected, i)];
    }

    let mut rivals: Vec<(f32, Rival, Vec<u8>)> = rivals_of(expected, heard)
        .into_iter()
        .map(|(kind, digits)| {
            let i = shared(expected, &digits);
            (path[i].0 + path[i].1[token_at(&digits, i)], kind, digits)
        })
        .collect();
    rivals.sort_by(|a, b| b.0.total_cmp(&a.0));

    let (mut best, mut best_rival) = (f32::NEG_INFINITY, Rival::Substitution);
    let mut steps = 0;
    for (bound, kind, digits) in rivals {
        if bound <= best || steps > MAX_STEPS {
            break;
        }
        let mut likelihood = bound;
        for i in shared(expected, &digits) + 1..=digits.len() {
            likelihood += model.next(&digits[..i])?[token_at(&digits, i)];
            steps += 1;
            if likelihood <= best {
                break;
            }
        }
        if likelihood > best {
            (best, best_rival) = (likelihood, kind);
        }
    }
    let margin = total - best;
    Ok(ForcedScore {
        log_likelihood: total,
        margin,
        per_digit: margin / expected.len().max(1) as f32,
        best_rival,
    })
}

/// Log-likelihood in nats of `digits` and nothing after them; it stops early, with what is below
/// `floor` too, once that is certain.
pub fn log_likelihood<M: DigitModel>(
    model: &mut M,
    digits: &[u8],
    floor: f32,
) -> Result<f32, M::Error> {
    let mut total = 0.0;
    for i in 0..=digits.len() {
        total += model.next(&digits[..i])?[token_at(digits, i)];
        if total < floor {
            break;
        }
    }
    Ok(total)
}

/// Log-softmax over the eleven outcomes.
pub fn log_softmax(logits: LogProbs) -> LogProbs {
    let max = logits.iter().copied().fold(f32::MIN, f32::max);
    let sum: f32 = logits.iter().map(|l| (l - max).exp()).sum();
    logits.map(|l| l - max - sum.ln())
}

/// The outcome at step `i` of a string: its digit, or the end.
fn token_at(digits: &[u8], i: usize) -> usize {
    digits.get(i).map_or(END, |d| usize::from(*d).min(END))
}

/// Length of the common beginning.
fn shared(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(x, y)| x == y).count()
}

/// Every string one edit away, and the transcript.
fn rivals_of(expected: &[u8], heard: &[u8]) -> Vec<(Rival, Vec<u8>)> {
    let mut out = Vec::new();
    let mut add = |kind, digits: Vec<u8>| {
        if digits != expected {
            out.push((kind, digits));
        }
    };
    for i in 0..expected.len() {
        for d in 0..10 {
            let mut other = expected.to_vec();
            other[i] = d;
            add(Rival::Substitution, other);
        }
        let mut shorter = expected.to_vec();
        shorter.remove(i);
        add(Rival::Deletion, shorter);
        if i + 1 < expected.len() {
            let mut swapped = expected.to_vec();
            swapped.swap(i, i + 1);
            add(Rival::Swap, swapped);
        }
    }
    for i in 0..=expected.len() {
        for d in 0..10 {
            let mut longer = expected.to_vec();
            longer.insert(i, d);
            add(Rival::Insertion, longer);
        }
    }
    add(Rival::Transcript, heard.to_vec());
    out
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use proptest::prelude::*;

    use super::*;

    /// A model that believes in one string, with a fixed doubt at every step.
    struct Believer {
        truth: Vec<u8>,
        doubt: f32,
        asked: usize,
    }

    impl DigitModel for Believer {
        type Error = Infallible;
        fn next(&mut self, prefix: &[u8]) -> Result<LogProbs, Infallible> {
            self.asked += 1;
            // Most of the doubt falls on one neighbour, as it does between "five" and "nine".
            let truth = token_at(&self.truth, prefix.len());
            let mut p = [self.doubt / 50.0; 11];
            p[(truth + 1) % 11] = self.doubt * 41.0 / 50.0;
            p[truth] = 1.0 - self.doubt;
            Ok(p.map(f32::ln))
        }
    }

    fn believe(truth: &[u8], doubt: f32) -> Believer {
        Believer { truth: truth.to_vec(), doubt, asked: 0 }
    }

    /// The definition, without the bounds.
    fn exhaustive(model: &mut Believer, expected: &[u8], heard: &[u8]) -> f32 {
        let mut likelihood = |digits: &[u8]| -> f32 {
            (0..=digits.len())
                .map(|i| model.next(&digits[..i]).map_or(0.0, |p| p[token_at(digits, i)]))
                .sum()
        };
        let own = likelihood(expected);
        let best = rivals_of(expected, heard)
            .iter()
            .map(|(_, d)| likelihood(d))
            .fold(f32::NEG_INFINITY, f32::max);
        own - best
    }

    #[test]
    fn the_truth_wins() {
        let s = score(&mut believe(&[4, 7, 1, 9], 0.05), &[4, 7, 1, 9], &[4, 7, 1, 9]);
        let Ok(s) = s;
        assert!(s.margin > 0.0 && s.per_digit > 0.0);
    }

    #[test]
    fn a_near_miss_loses_to_the_right_digit() {
        let Ok(s) = score(&mut believe(&[4, 7, 1, 9], 0.05), &[4, 7, 2, 9], &[4, 7, 1, 9]);
        assert!(s.margin < 0.0);
        assert_eq!(s.best_rival, Rival::Substitution);
    }

    #[test]
    fn each_kind_of_rival_is_named() {
        for (truth, kind) in [
            (vec![7, 4, 1, 9], Rival::Swap),
            (vec![4, 1, 9], Rival::Deletion),
            (vec![4, 7, 7, 1, 9], Rival::Insertion),
            (vec![0, 0, 0, 0, 0, 0], Rival::Transcript),
        ] {
            let Ok(s) = score(&mut believe(&truth, 0.01), &[4, 7, 1, 9], &truth);
            assert!(s.margin < 0.0);
            assert_eq!(s.best_rival, kind);
        }
    }

    #[test]
    fn hopeless_rivals_are_not_decoded() {
        let mut model = believe(&[1, 2, 3, 4, 5, 6], 0.01);
        let Ok(_) = score(&mut model, &[1, 2, 3, 4, 5, 6], &[1, 2, 3, 4, 5, 6]);
        assert!(model.asked < 80, "{} steps", model.asked);
    }

    proptest! {
        #[test]
        fn bounds_change_nothing(
            truth in proptest::collection::vec(0_u8..10, 0..6),
            expected in proptest::collection::vec(0_u8..10, 1..6),
            doubt in 0.01_f32..0.6,
        ) {
            let Ok(s) = score(&mut believe(&truth, doubt), &expected, &truth);
            let full = exhaustive(&mut believe(&truth, doubt), &expected, &truth);
            prop_assert!((s.margin - full).abs() < 1e-3, "{} {}", s.margin, full);
        }
    }
}
