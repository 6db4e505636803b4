//! Spoken digits: espeak-ng makes the words, this places them on the timeline.

use std::process::{Command, Stdio};

use super::Error;
use super::script::{LIP_STEP_MS, Timeline};
use crate::env::{Entropy, SeededEntropy};

const WORDS: [&str; 10] =
    ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"];
/// Words a minute: slower than espeak-ng's default, as people read digits aloud.
const RATE: &str = "150";
/// Peak of every word, of full scale.
const PEAK: f32 = 0.5;
/// Deviation of the room's noise, of full scale: about -56 dB.
const ROOM: f32 = 0.0016;
/// No word is longer than this; what is cannot be a digit.
const MAX_WORD_SECONDS: u32 = 4;

/// One word: mono samples in [-1, 1], without silence around it.
#[derive(Clone, Debug)]
pub(super) struct Word {
    pub(super) rate: u32,
    pub(super) samples: Vec<f32>,
}

impl Word {
    /// Its length in milliseconds, rounded up.
    pub(super) fn millis(&self) -> u32 {
        (self.samples.len() as u64 * 1000).div_ceil(u64::from(self.rate)) as u32
    }
}

/// Speaks each of `digits` with espeak-ng's voice `voice`.
///
/// # Errors
/// [`Error::ToolMissing`] without espeak-ng, [`Error::Speech`] if it fails or the digits are none.
pub(super) fn words(digits: &[u8], voice: &str) -> Result<Vec<Word>, Error> {
    let mut known: [Option<Word>; 10] = Default::default();
    digits
        .iter()
        .map(|&d| {
            let word = WORDS
                .get(usize::from(d))
                .ok_or_else(|| Error::Speech(format!("{d} is not a digit")))?;
            let slot = &mut known[usize::from(d)];
            if let Some(word) = slot {
                return Ok(word.clone());
            }
            let spoken = say(word, voice)?;
            *slot = Some(spoken.clone());
            Ok(spoken)
        })
        .collect()
}

fn say(word: &str, voice: &str) -> Result<Word, Error> {
    let output = Command::new("espeak-ng")
        .args(["-v", voice, "-s", RATE, "--stdout", word])
        .stdin(Stdio::null())
        .output()
        .map_err(|e| Error::tool("espeak-ng", &e))?;
    if !output.status.success() || output.stdout.is_empty() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(Error::Speech(format!("espeak-ng: {}", last_line(&said))));
    }
    let (rate, samples) = parse_wav(&output.stdout)?;
    Ok(Word { rate, samples: trim(samples, rate) })
}

/// The last line that says something.
pub(super) fn last_line(text: &str) -> &str {
    text.lines().rev().find(|l| !l.trim().is_empty()).unwrap_or("no message").trim()
}

/// Reads mono 16-bit PCM out of a RIFF file whose sizes may be unknown (it came through a pipe).
fn parse_wav(bytes: &[u8]) -> Result<(u32, Vec<f32>), Error> {
    let bad = || Error::Speech("espeak-ng wrote no 16-bit mono WAV".to_owned());
    let short =
        |at: usize| bytes.get(at..at + 2).and_then(|b| b.try_into().ok()).map(u16::from_le_bytes);
    let long =
        |at: usize| bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).map(u32::from_le_bytes);
    if bytes.get(..4) != Some(b"RIFF") || bytes.get(8..16) != Some(b"WAVEfmt ") {
        return Err(bad());
    }
    let (channels, rate, bits) = (short(22), long(24), short(34));
    let (Some(1), Some(rate @ 8_000..=48_000), Some(16)) = (channels, rate, bits) else {
        return Err(bad());
    };
    let at = 20 + long(16).ok_or_else(bad)? as usize;
    if bytes.get(at..at + 4) != Some(b"data") {
        return Err(bad());
    }
    let samples: Vec<f32> = bytes[at + 4..]
        .get(4..)
        .unwrap_or_default()
        .chunks_exact(2)
        .take((rate * MAX_WORD_SECONDS) as usize)
        .map(|b| f32::from(i16::from_le_bytes([b[0], b[1]])) / 32_768.0)
        .collect();
    if samples.is_empty() { Err(bad()) } else { Ok((rate, samples)) }
}

/// Cuts the silence off both ends and brings the peak to [`PEAK`].
fn trim(samples: Vec<f32>, rate: u32) -> Vec<f32> {
    let peak = samples.iter().fold(0.0_f32, |m, s| m.max(s.abs()));
    let loud = |s: &f32| s.abs() > 0.02 * peak;
    let margin = rate as usize / 60;
    let (Some(first), Some(last)) = (samples.iter().position(loud), samples.iter().rposition(loud))
    else {
        return samples;
    };
    let from = first.saturating_sub(margin);
    let to = (last + margin).min(samples.len());
    samples[from..to].iter().map(|s| s * PEAK / peak).collect()
}

/// The sound of a whole capture.
#[derive(Clone, Debug)]
pub(super) struct Speech {
    pub(super) rate: u32,
    samples: Vec<f32>,
}

impl Speech {
    /// Puts each word where the timeline has its digit.
    pub(super) fn new(timeline: &Timeline, words: &[Word]) -> Self {
        let rate = words.first().map_or(22_050, |w| w.rate);
        let at = |ms: u32| (u64::from(ms) * u64::from(rate) / 1000) as usize;
        let mut samples = vec![0.0; at(timeline.duration_ms)];
        for (digit, word) in timeline.digits.iter().zip(words) {
            let start = at(digit.start_ms).min(samples.len());
            for (to, from) in samples[start..].iter_mut().zip(&word.samples) {
                *to += from;
            }
        }
        Self { rate, samples }
    }

    /// How open the mouth is, 0 to 1, every [`LIP_STEP_MS`]: loudness, compressed, then smoothed as
    /// a jaw would.
    pub(super) fn lips(&self) -> Vec<f32> {
        let hop = (self.rate * LIP_STEP_MS / 1000).max(1) as usize;
        let loudness: Vec<f32> = self
            .samples
            .chunks(hop)
            .map(|c| (c.iter().map(|s| s * s).sum::<f32>() / c.len() as f32).sqrt())
            .collect();
        let peak = loudness.iter().copied().fold(1e-6, f32::max);
        let mut lips = vec![0.0; loudness.len()];
        let mut open = 0.0_f32;
        for (lip, l) in lips.iter_mut().zip(&loudness) {
            let target = ((l / peak).sqrt() * 0.85 - 0.12).clamp(0.0, 0.7);
            // Opening takes about 40 ms, closing about 90.
            open += (target - open) * if target > open { 0.25 } else { 0.11 };
            *lip = open;
        }
        lips
    }

    /// The sound as a WAV file with the room's noise; without words if `silent`.
    pub(super) fn to_wav(&self, silent: bool, seed: u64) -> Vec<u8> {
        let size = (self.samples.len() * 2) as u32;
        let mut out = Vec::with_capacity(44 + size as usize);
        out.extend(b"RIFF");
        out.extend((36 + size).to_le_bytes());
        out.extend(b"WAVEfmt ");
        out.extend(16_u32.to_le_bytes());
        out.extend(1_u16.to_le_bytes());
        out.extend(1_u16.to_le_bytes());
        out.extend(self.rate.to_le_bytes());
        out.extend((self.rate * 2).to_le_bytes());
        out.extend(2_u16.to_le_bytes());
        out.extend(16_u16.to_le_bytes());
        out.extend(b"data");
        out.extend(size.to_le_bytes());
        let mut noise = vec![0; self.samples.len() * 4];
        SeededEntropy::new(seed ^ 0x726f_6f6d).fill(&mut noise);
        for (s, n) in self.samples.iter().zip(noise.chunks_exact(4)) {
            let sum: f32 = n.iter().map(|&b| f32::from(b) - 127.5).sum();
            let word = if silent { 0.0 } else { *s };
            let v = (word + sum / 148.0 * ROOM).clamp(-1.0, 1.0);
            out.extend(((v * 32_767.0) as i16).to_le_bytes());
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drawn::Script;

    #[test]
    fn every_digit_is_spoken_and_trimmed() {
        let digits: Vec<u8> = (0..10).collect();
        for (d, w) in digits.iter().zip(words(&digits, "en-us").unwrap()) {
            assert!((180..900).contains(&w.millis()), "{d}: {} ms", w.millis());
            let edge = &w.samples[..w.samples.len() / 200];
            assert!(edge.iter().all(|s| s.abs() < 0.1));
        }
    }

    #[test]
    fn lips_move_with_the_words_and_rest_between() {
        let digits = vec![4, 7, 1, 9, 0, 3];
        let words = words(&digits, "en-us").unwrap();
        let lengths: Vec<_> = words.iter().map(Word::millis).collect();
        let timeline = Timeline::new(&Script::new(digits, vec![]), &lengths, 1);
        let lips = Speech::new(&timeline, &words).lips();
        for d in &timeline.digits {
            let said = &lips[(d.start_ms / 10) as usize..(d.end_ms / 10) as usize];
            assert!(said.iter().copied().fold(0.0, f32::max) > 0.25, "{d:?}");
        }
        assert!(lips[..40].iter().all(|l| *l < 0.05));
    }

    #[test]
    fn a_voice_that_does_not_exist_is_an_error_that_says_so() {
        let e = words(&[1], "zz").unwrap_err().to_string();
        assert!(e.contains("voice"), "{e}");
    }

    #[test]
    fn anything_but_a_wav_is_refused() {
        for bytes in [&b""[..], b"RIFF", b"RIFF....WAVEfmt ", &[0; 60]] {
            assert!(parse_wav(bytes).is_err());
        }
    }
}
