//! Reproducible draws: a measurement gives the same figures again.

use crate::env::{Entropy, SeededEntropy};

/// Bytes drawn at once.
const AT_ONCE: usize = 4096;

/// A stream of random numbers that its seed decides.
#[derive(Debug)]
pub struct Draw {
    entropy: SeededEntropy,
    bytes: Vec<u8>,
    used: usize,
}

impl Draw {
    /// The stream of a seed.
    pub fn new(seed: u64) -> Self {
        Self { entropy: SeededEntropy::new(seed), bytes: vec![0; AT_ONCE], used: AT_ONCE }
    }

    /// Uniform in 0…1, one left out.
    pub fn unit(&mut self) -> f64 {
        f64::from(self.word()) / 4_294_967_296.0
    }

    /// Uniform between `low` and `high`.
    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// A whole number below `n`, which must not be zero.
    pub fn below(&mut self, n: usize) -> usize {
        (self.unit() * n as f64) as usize
    }

    /// Normal with mean zero and deviation one (Box and Muller 1958).
    pub fn normal(&mut self) -> f64 {
        let (u, v) = (1.0 - self.unit(), self.unit());
        (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
    }

    fn word(&mut self) -> u32 {
        if self.used + 4 > self.bytes.len() {
            self.entropy.fill(&mut self.bytes);
            self.used = 0;
        }
        let mut word = [0; 4];
        word.copy_from_slice(&self.bytes[self.used..self.used + 4]);
        self.used += 4;
        u32::from_le_bytes(word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_have_their_shape_and_repeat() {
        let mut draw = Draw::new(3);
        let normal: Vec<f64> = (0..20_000).map(|_| draw.normal()).collect();
        let mean = normal.iter().sum::<f64>() / 20_000.0;
        let variance = normal.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / 20_000.0;
        assert!(mean.abs() < 0.05 && (variance - 1.0).abs() < 0.05, "{mean} {variance}");
        assert!((0..1000).all(|_| draw.below(3) < 3));
        assert_eq!(Draw::new(9).below(1 << 30), Draw::new(9).below(1 << 30));
    }
}
