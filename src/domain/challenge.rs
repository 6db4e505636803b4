//! What a person is asked to do in front of the camera.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::step::Step;
use crate::env::{Entropy, Millis, below};

/// A head motion. Directions are the person's own: `Left` turns towards their own left, which is
/// the image's right in an unmirrored video.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Motion {
    /// Turn the head to the person's left (yaw above zero).
    Left,
    /// Turn the head to the person's right (yaw below zero).
    Right,
    /// Look up (pitch above zero).
    Up,
    /// Look down (pitch below zero).
    Down,
}

impl Motion {
    /// All motions, in the order in which they are drawn from.
    pub const ALL: [Self; 4] = [Self::Left, Self::Right, Self::Up, Self::Down];

    /// The name used in JSON and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Left => "left",
            Self::Right => "right",
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

impl std::str::FromStr for Motion {
    type Err = ChallengeError;
    fn from_str(s: &str) -> Result<Self, ChallengeError> {
        Self::ALL.into_iter().find(|m| m.name() == s).ok_or(ChallengeError::Motion)
    }
}

/// Why a challenge cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChallengeError {
    /// Too few digits are guessable, too many don't fit the recording.
    #[error("a challenge has {MIN_DIGITS} to {MAX_DIGITS} digits of 0-9, or none beside motions")]
    Digits,
    /// Too many motions don't fit the recording.
    #[error(
        "a challenge has 1 to {MAX_MOTIONS} motions of left, right, up, down, or none beside digits"
    )]
    Motion,
}

/// Fewest digits.
pub const MIN_DIGITS: usize = 4;
/// Most digits.
pub const MAX_DIGITS: usize = 10;
/// Most motions.
pub const MAX_MOTIONS: usize = 4;

/// The random cues of one attempt: digits to read aloud, then motions to make, in order. One that
/// repeats a single [`Step`] has the other's cues left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Challenge {
    /// The digits, each 0–9, in the order in which they are read.
    pub digits: Vec<u8>,
    /// The head motions, in order; each goes out and comes back to the centre.
    pub motions: Vec<Motion>,
    /// When the person was first shown the cues.
    pub issued_at: Millis,
    /// From when on a capture is no longer taken.
    pub expires_at: Millis,
    /// The attempt from which the step that is left out here stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completes: Option<u32>,
}

/// How challenges are drawn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChallengeRules {
    /// How many digits.
    pub digits: usize,
    /// How many motions.
    pub motions: usize,
    /// How long a challenge can be answered.
    pub ttl: Duration,
}

impl Default for ChallengeRules {
    fn default() -> Self {
        Self { digits: 6, motions: 2, ttl: Duration::from_mins(3) }
    }
}

impl Challenge {
    /// Draws a challenge. No digit stands next to itself (a repeated digit is the likeliest slip of
    /// a reader and of a recogniser alike), and no motion follows itself (back to the centre would
    /// be all that tells them apart): 6 digits and 2 motions leave 10·9⁵·4·3 ≈ 7.1 million.
    ///
    /// # Errors
    /// [`ChallengeError`] where the rules ask for too few or too many cues.
    pub fn draw(
        rules: &ChallengeRules,
        now: Millis,
        entropy: &dyn Entropy,
    ) -> Result<Self, ChallengeError> {
        let mut digits = Vec::with_capacity(rules.digits);
        while digits.len() < rules.digits {
            let d = below(entropy, 10) as u8;
            if digits.last() != Some(&d) {
                digits.push(d);
            }
        }
        let mut motions = Vec::with_capacity(rules.motions);
        while motions.len() < rules.motions {
            let m = Motion::ALL[below(entropy, 4) as usize];
            if motions.last() != Some(&m) {
                motions.push(m);
            }
        }
        Self::new(digits, motions, now, now.plus(rules.ttl))
    }

    /// A challenge of given cues. Whoever leaves one kind out gets no verdict from it alone: its check
    /// stays open.
    ///
    /// # Errors
    /// [`ChallengeError`] where there are too few or too many cues, none at all, or a digit is above 9.
    pub fn new(
        digits: Vec<u8>,
        motions: Vec<Motion>,
        issued_at: Millis,
        expires_at: Millis,
    ) -> Result<Self, ChallengeError> {
        let enough = (MIN_DIGITS..=MAX_DIGITS).contains(&digits.len());
        if !(enough || digits.is_empty()) || digits.iter().any(|d| *d > 9) {
            return Err(ChallengeError::Digits);
        }
        if motions.len() > MAX_MOTIONS || motions.is_empty() && digits.is_empty() {
            return Err(ChallengeError::Motion);
        }
        Ok(Self { digits, motions, issued_at, expires_at, completes: None })
    }

    /// The same challenge with the cues of one step alone; the other step stands from `attempt`.
    #[must_use]
    pub fn only(self, step: Step, attempt: u32) -> Self {
        let completes = Some(attempt);
        match step {
            Step::Speech => Self { motions: Vec::new(), completes, ..self },
            Step::Motion => Self { digits: Vec::new(), completes, ..self },
        }
    }

    /// The step that is asked for alone, where the other one stands from an earlier attempt.
    pub fn step(&self) -> Option<Step> {
        match (self.completes, self.digits.is_empty(), self.motions.is_empty()) {
            (Some(_), false, true) => Some(Step::Speech),
            (Some(_), true, false) => Some(Step::Motion),
            _ => None,
        }
    }

    /// The digits in groups of two or three, as they are shown.
    pub fn groups(&self) -> Vec<String> {
        let size = if self.digits.len().is_multiple_of(3) { 3 } else { 2 };
        self.digits.chunks(size).map(|c| c.iter().map(|d| char::from(b'0' + d)).collect()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::SeededEntropy;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn drawn_challenges_keep_the_rules(seed: u64, digits in MIN_DIGITS..=MAX_DIGITS, motions in 1..=MAX_MOTIONS) {
            let rules = ChallengeRules { digits, motions, ..ChallengeRules::default() };
            let c = Challenge::draw(&rules, Millis(5), &SeededEntropy::new(seed)).unwrap();
            prop_assert_eq!(c.digits.len(), digits);
            prop_assert_eq!(c.motions.len(), motions);
            prop_assert!(c.digits.windows(2).all(|w| w[0] != w[1]));
            prop_assert!(c.motions.windows(2).all(|w| w[0] != w[1]));
            prop_assert_eq!(c.groups().concat().len(), digits);
        }
    }

    #[test]
    fn every_digit_and_motion_occurs() {
        let rng = SeededEntropy::new(7);
        let mut digits = [0; 10];
        for _ in 0..2000 {
            let c = Challenge::draw(&ChallengeRules::default(), Millis(0), &rng).unwrap();
            for d in c.digits {
                digits[usize::from(d)] += 1;
            }
        }
        // 12,000 draws: each expected 1,200 times, standard deviation 33.
        assert!(digits.iter().all(|n| (1050..1350).contains(n)), "{digits:?}");
    }

    #[test]
    fn impossible_rules_are_refused() {
        let rules = ChallengeRules { digits: 3, ..ChallengeRules::default() };
        let err = Challenge::draw(&rules, Millis(0), &SeededEntropy::new(1)).unwrap_err();
        assert_eq!(err, ChallengeError::Digits);
        assert!(Challenge::new(vec![], vec![], Millis(0), Millis(1)).is_err());
        assert!(
            Challenge::new(vec![1, 2, 3, 4], vec![Motion::Up; 5], Millis(0), Millis(1)).is_err()
        );
    }

    #[test]
    fn one_step_alone_leaves_the_others_cues_out() {
        let rng = SeededEntropy::new(3);
        let whole = Challenge::draw(&ChallengeRules::default(), Millis(0), &rng).unwrap();
        assert_eq!(whole.step(), None);
        let speech = whole.clone().only(Step::Speech, 2);
        assert_eq!((speech.step(), speech.completes), (Some(Step::Speech), Some(2)));
        assert!(speech.motions.is_empty() && speech.digits == whole.digits);
        let motion = whole.clone().only(Step::Motion, 1);
        assert_eq!(motion.step(), Some(Step::Motion));
        assert!(motion.groups().is_empty() && motion.motions == whole.motions);
        let json = serde_json::to_value(&motion).unwrap();
        assert_eq!(serde_json::from_value::<Challenge>(json).unwrap(), motion);
        assert!(!serde_json::to_string(&whole).unwrap().contains("completes"));
    }
}
