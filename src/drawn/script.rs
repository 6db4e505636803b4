//! The timeline: what the head does at every instant.

use serde::{Deserialize, Serialize};

use super::FaceState;
use super::speech::Speech;
use super::vec3::smoothstep;
use crate::domain::challenge::{Challenge, Motion};
use crate::env::{Entropy, SeededEntropy, random};

/// How far a head turns sideways for a motion, in degrees.
const TURN_YAW: f32 = 30.0;
/// How far it nods up or down, in degrees.
const TURN_PITCH: f32 = 21.0;

/// What the drawn person does: reads digits aloud, then moves the head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// Digits to read, each 0–9. They need not be those that were asked for.
    pub digits: Vec<u8>,
    /// After how many digits the reader makes a longer pause.
    pub group: usize,
    /// Head motions, in order; each goes out, holds and comes back.
    pub motions: Vec<Motion>,
    /// How long everything takes.
    pub pace: Pace,
}

/// Durations in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Looking into the camera before the first digit.
    pub lead_in: u32,
    /// Between two digits of a group.
    pub digit_gap: u32,
    /// Between two groups.
    pub group_gap: u32,
    /// From the last digit (or the lead-in) to the first motion; long makes the motions late.
    pub before_motions: u32,
    /// One way of a motion.
    pub turn: u32,
    /// At the far end of a motion.
    pub hold: u32,
    /// In the centre after a motion.
    pub rest: u32,
    /// After everything.
    pub tail: u32,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            lead_in: 450,
            digit_gap: 110,
            group_gap: 300,
            before_motions: 400,
            turn: 520,
            hold: 420,
            rest: 240,
            tail: 250,
        }
    }
}

impl Script {
    /// Reads these digits in groups of three, then makes these motions, at the usual pace.
    #[must_use]
    pub fn new(digits: Vec<u8>, motions: Vec<Motion>) -> Self {
        Self { digits, group: 3, motions, pace: Pace::default() }
    }

    /// Does what a challenge asks.
    #[must_use]
    pub fn answering(challenge: &Challenge) -> Self {
        let group = challenge.groups().first().map_or(3, String::len);
        Self { group, ..Self::new(challenge.digits.clone(), challenge.motions.clone()) }
    }
}

/// A digit as it was spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpokenDigit {
    /// 0–9.
    pub digit: u8,
    /// When its sound begins, in milliseconds from the first frame.
    pub start_ms: u32,
    /// When its sound ends.
    pub end_ms: u32,
}

/// A motion as it was made. Times in milliseconds from the first frame.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct MadeMotion {
    /// Which way.
    pub motion: Motion,
    /// The head leaves the centre.
    pub start_ms: u32,
    /// It arrives at the far end.
    pub reached_ms: u32,
    /// It leaves the far end.
    pub left_ms: u32,
    /// It is back in the centre.
    pub end_ms: u32,
    /// How far it went, in degrees, always above zero.
    pub angle: f32,
}

/// What happens when.
#[derive(Clone, Debug)]
pub(super) struct Timeline {
    pub(super) duration_ms: u32,
    pub(super) digits: Vec<SpokenDigit>,
    pub(super) motions: Vec<MadeMotion>,
    /// Starts of blinks.
    blinks: Vec<u32>,
    /// Openings of the mouth every [`LIP_STEP_MS`].
    lips: Vec<f32>,
    sway: Sway,
}

/// Resolution of the lips' movement.
pub(super) const LIP_STEP_MS: u32 = 10;
/// A blink: closing, closed, opening.
const BLINK_MS: [f32; 3] = [90.0, 80.0, 140.0];

impl Timeline {
    /// Lays out `script`; `lengths` are the durations of its digits in milliseconds.
    pub(super) fn new(script: &Script, lengths: &[u32], seed: u64) -> Self {
        let entropy = SeededEntropy::new(seed ^ 0x7469_6d65);
        let pace = &script.pace;
        let mut t = pace.lead_in;
        let mut digits = Vec::with_capacity(script.digits.len());
        for (i, (&digit, &length)) in script.digits.iter().zip(lengths).enumerate() {
            if i > 0 {
                let group_ends = script.group > 0 && i % script.group == 0;
                t += if group_ends { pace.group_gap } else { pace.digit_gap };
            }
            digits.push(SpokenDigit { digit, start_ms: t, end_ms: t + length });
            t += length;
        }
        let mut motions = Vec::with_capacity(script.motions.len());
        if !script.motions.is_empty() {
            t += pace.before_motions;
        }
        for &motion in &script.motions {
            let full = match motion {
                Motion::Left | Motion::Right => TURN_YAW,
                Motion::Up | Motion::Down => TURN_PITCH,
            };
            let reached_ms = t + pace.turn;
            let left_ms = reached_ms + pace.hold;
            let end_ms = left_ms + pace.turn;
            let angle = full + 1.5 * signed(&entropy);
            motions.push(MadeMotion { motion, start_ms: t, reached_ms, left_ms, end_ms, angle });
            t = end_ms + pace.rest;
        }
        let duration_ms = t + pace.tail;
        let mut blinks = Vec::new();
        let mut at = 900.0 + 300.0 * signed(&entropy);
        while at < duration_ms as f32 - 400.0 {
            blinks.push(at as u32);
            at += 2600.0 + 900.0 * signed(&entropy);
        }
        let sway = Sway::new(&entropy);
        Self { duration_ms, digits, motions, blinks, lips: Vec::new(), sway }
    }

    /// Lets the lips follow `speech`.
    pub(super) fn speak(&mut self, speech: &Speech) {
        self.lips = speech.lips();
    }

    /// The head at `t` milliseconds.
    pub(super) fn at(&self, t: f64) -> FaceState {
        let ms = t as f32;
        let mut s = self.sway.at(ms / 1000.0);
        for m in &self.motions {
            let out = smoothstep(m.start_ms as f32, m.reached_ms as f32, ms);
            let back = smoothstep(m.left_ms as f32, m.end_ms as f32, ms);
            let angle = m.angle * (out - back);
            match m.motion {
                Motion::Left => s.yaw += angle,
                Motion::Right => s.yaw -= angle,
                Motion::Up => s.pitch += angle,
                Motion::Down => s.pitch -= angle,
            }
        }
        s.blink = self.blinks.iter().map(|&b| blink(ms - b as f32)).fold(0.0, f32::max);
        let step = t / f64::from(LIP_STEP_MS);
        let lip = |i: usize| self.lips.get(i).copied().unwrap_or(0.0);
        let (i, part) = (step as usize, step.fract() as f32);
        s.mouth = lip(i) + (lip(i + 1) - lip(i)) * part;
        s
    }
}

/// How closed the lids are `since` milliseconds after a blink began.
fn blink(since: f32) -> f32 {
    let [closing, closed, opening] = BLINK_MS;
    let down = smoothstep(0.0, closing, since);
    down - smoothstep(closing + closed, closing + closed + opening, since)
}

/// Nobody sits still: slow, small movements.
#[derive(Clone, Debug)]
struct Sway([(f32, f32); 10]);

impl Sway {
    /// Two waves (angular frequency, phase) for each of the five movements.
    fn new(entropy: &dyn Entropy) -> Self {
        Self(std::array::from_fn(|i| {
            let base = if i % 2 == 0 { 1.3 } else { 2.9 };
            (base * (1.0 + 0.3 * signed(entropy)), std::f32::consts::PI * signed(entropy))
        }))
    }

    fn at(&self, seconds: f32) -> FaceState {
        let wave = |i: usize| {
            let [(f, p), (g, q)] = [self.0[i * 2], self.0[i * 2 + 1]];
            0.7 * (f * seconds + p).sin() + 0.3 * (g * seconds + q).sin()
        };
        FaceState {
            yaw: 1.2 * wave(0),
            pitch: 0.8 * wave(1),
            roll: 0.9 * wave(2),
            shift_x: 0.014 * wave(3),
            shift_y: 0.010 * wave(4),
            ..FaceState::default()
        }
    }
}

/// A random number in [-1, 1].
fn signed(entropy: &dyn Entropy) -> f32 {
    f32::from(i16::from_le_bytes(random(entropy))) / 32_768.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timeline(motions: Vec<Motion>, seed: u64) -> Timeline {
        Timeline::new(&Script::new(vec![4, 7, 1, 9, 0, 3], motions), &[400; 6], seed)
    }

    #[test]
    fn six_digits_and_two_motions_take_seven_to_eight_and_a_half_seconds() {
        let t = timeline(vec![Motion::Left, Motion::Up], 1);
        assert!((7_000..8_500).contains(&t.duration_ms), "{}", t.duration_ms);
    }

    #[test]
    fn each_motion_goes_its_way_and_returns() {
        let t = timeline(vec![Motion::Left, Motion::Down, Motion::Right, Motion::Up], 3);
        for m in &t.motions {
            let held = t.at(f64::from(m.reached_ms + 100));
            let (along, across) = match m.motion {
                Motion::Left => (held.yaw, held.pitch),
                Motion::Right => (-held.yaw, held.pitch),
                Motion::Up => (held.pitch, held.yaw),
                Motion::Down => (-held.pitch, held.yaw),
            };
            assert!((along - m.angle).abs() < 1.5 && across.abs() < 1.5, "{m:?} {held:?}");
            let after = t.at(f64::from(m.end_ms));
            assert!(after.yaw.abs() < 1.5 && after.pitch.abs() < 1.5, "{after:?}");
        }
    }

    #[test]
    fn things_happen_in_order_and_without_overlap() {
        let t = timeline(vec![Motion::Up, Motion::Right], 9);
        let mut last = 0;
        for d in &t.digits {
            assert!(d.start_ms > last);
            last = d.end_ms;
        }
        for m in &t.motions {
            assert!(m.start_ms > last && m.reached_ms > m.start_ms && m.left_ms > m.reached_ms);
            last = m.end_ms;
        }
        assert!(last < t.duration_ms);
        assert!(t.blinks.len() >= 2);
    }

    #[test]
    fn the_seed_decides_everything() {
        let at = |seed| timeline(vec![Motion::Left], seed).at(1234.0);
        assert_eq!(at(5), at(5));
        assert_ne!(at(5), at(6));
    }
}
