//! What a person is asked to do in front of the camera.

use std::time::Duration;

use serde::{Deserialize, Serialize};

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
    #[error("a challenge has {MIN_DIGITS} to {MAX_DIGITS} digits of 0-9")]
    Digits,
    /// Too many motions don't fit the recording.
    #[error("a challenge has 1 to {MAX_MOTIONS} motions of left, right, up, down")]
    Motion,
}

/// Fewest digits.
pub const MIN_DIGITS: usize = 4;
/// Most digits.
pub const MAX_DIGITS: usize = 10;
/// Most motions.
pub const MAX_MOTIONS: usize = 4;

/// The random cues of one attempt: digits to read aloud, then motions to make, in order.
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

    /// A challenge of given cues.
    ///
    /// # Errors
    /// [`ChallengeError`] where there are too few or too many cues, or a digit is above 9.
    pub fn new(
        digits: Vec<u8>,
        motions: Vec<Motion>,
        issued_at: Millis,
        expires_at: Millis,
    ) -> Result<Self, ChallengeError> {
        if !(MIN_DIGITS..=MAX_DIGITS).contains(&digits.len()) || digits.iter().any(|d| *d > 9) {
            return Err(ChallengeError::Digits);
        }
        if !(1..=MAX_MOTIONS).contains(&motions.len()) {
            return Err(ChallengeError::Motion);
        }
        Ok(Self { digits, motions, issued_at, expires_at })
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
    }
}
