//! Seeded grain: slow variation for surfaces and a camera's sensor noise.

use super::bytes;
use crate::env::{Entropy, SeededEntropy};

const SIDE: usize = 256;
const SENSOR: usize = 1 << 16;
/// How much of the sensor's table is used in one go.
const PIECE: usize = 4096;
/// Levels that a picture without noise may have: noise reaches 3.5 deviations.
pub(super) const LEVELS: std::ops::RangeInclusive<u8> = 8..=247;

/// Tables of random values, the same for the same seed.
pub(super) struct Grain {
    lattice: Vec<f32>,
    /// Signed bytes.
    sensor: Vec<u8>,
}

impl std::fmt::Debug for Grain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Grain")
    }
}

impl Grain {
    /// The tables of `seed`.
    pub(super) fn new(seed: u64) -> Self {
        let entropy = SeededEntropy::new(seed);
        let mut bytes = vec![0_u8; SIDE * SIDE];
        entropy.fill(&mut bytes);
        let lattice = bytes.iter().map(|&b| f32::from(b) / 127.5 - 1.0).collect();
        let mut bytes = vec![0_u8; SENSOR * 4];
        entropy.fill(&mut bytes);
        // The sum of four uniform bytes is close enough to a normal variable: deviation 148.
        let sensor = bytes
            .chunks_exact(4)
            .map(|c| {
                let sum: f32 = c.iter().map(|&b| f32::from(b) - 127.5).sum();
                (sum / 148.0 * SENSOR_DEVIATION).round() as i8 as u8
            })
            .collect();
        Self { lattice, sensor }
    }

    /// Value noise at (x, y), period 256, in [-1, 1].
    pub(super) fn smooth(&self, x: f32, y: f32) -> f32 {
        let (i, j) = (floor(x), floor(y));
        let (tx, ty) = (x - i as f32, y - j as f32);
        let (tx, ty) = (tx * tx * (3.0 - 2.0 * tx), ty * ty * (3.0 - 2.0 * ty));
        let at = |i: i32, j: i32| {
            let side = SIDE as i32;
            self.lattice[((j & (side - 1)) * side + (i & (side - 1))) as usize]
        };
        let top = at(i, j) + (at(i + 1, j) - at(i, j)) * tx;
        let bottom = at(i, j + 1) + (at(i + 1, j + 1) - at(i, j + 1)) * tx;
        top + (bottom - top) * ty
    }

    /// Adds one frame's sensor noise to `pixels`, rows of `row` bytes; `frame` chooses which.
    /// Levels must lie in [`LEVELS`], so that no sum leaves a byte.
    pub(super) fn expose(&self, pixels: &mut [u8], row: usize, frame: u64) {
        let mut state = frame.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0xD1B5_4A32_D192_ED03;
        for line in pixels.chunks_mut(row) {
            // A fresh place in the table for each row (an LCG step is random enough for that).
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let mut from = (state >> 40) as usize % (SENSOR - PIECE);
            for piece in line.chunks_mut(PIECE) {
                bytes::add(piece, &self.sensor[from..]);
                from = (from + PIECE) % (SENSOR - PIECE);
            }
        }
    }
}

/// The largest float below `x` that is whole (the library's `floor` is a call on plain x86-64).
fn floor(x: f32) -> i32 {
    let whole = x as i32;
    whole - i32::from((whole as f32) > x)
}

/// Standard deviation of the sensor's noise, in 8-bit levels: a webcam in a lit room.
const SENSOR_DEVIATION: f32 = 1.8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_frame_and_the_next_frame_differs() {
        let shot = |seed, frame| {
            let mut p = vec![128_u8; 640 * 3 * 4];
            Grain::new(seed).expose(&mut p, 640 * 3, frame);
            p
        };
        assert_eq!(shot(5, 0), shot(5, 0));
        assert_ne!(shot(5, 0), shot(5, 1));
        assert_ne!(shot(5, 0), shot(6, 0));
    }

    #[test]
    fn sensor_noise_has_no_bias_and_the_stated_deviation() {
        let mut p = vec![128_u8; 1 << 18];
        Grain::new(9).expose(&mut p, 1 << 12, 3);
        let mean = p.iter().map(|&v| f64::from(v)).sum::<f64>() / p.len() as f64;
        let var = p.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / p.len() as f64;
        assert!((mean - 128.0).abs() < 0.1, "{mean}");
        assert!((var.sqrt() - f64::from(SENSOR_DEVIATION)).abs() < 0.15, "{}", var.sqrt());
    }
}
