//! Speech to digits with Whisper models in ggml files, through whisper.cpp.
//!
//! Two kinds of model share this adapter. The project's own digits model knows ten words and
//! nothing else, so its output needs no reading, and any digit string can be *scored* against the
//! sound. A general English Whisper model writes words and figures, which
//! [`digits_text`](super::digits_text) turns into digits.
//!
//! Sound is 16 kHz mono `f32` in −1…1. A model hears one window at a time (10.24 s for the digits
//! model); longer sound is cut at quiet moments.

mod bench;
mod hear;
mod load;
mod score;

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use whisper_rs::{WhisperContext, WhisperState};

use super::digits_score;
use super::frames::{SAMPLE_RATE, is_silent, padded, windows};
use crate::domain::evidence::Transcript;

pub use score::Listening;

/// Longest sound accepted, in seconds.
pub const MAX_SECONDS: usize = 60;

/// Idle states kept; each holds the attention caches of one transcription.
const MAX_IDLE_STATES: usize = 4;

/// Why a model could not be loaded or run.
#[derive(Debug, thiserror::Error)]
pub enum WhisperError {
    /// The file can't be read.
    #[error("can't read the model file {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not a model this adapter can run.
    #[error("not a usable Whisper model: {0}; install the models again")]
    NotAModel(&'static str),
    /// The sound is longer than [`MAX_SECONDS`].
    #[error("the sound is {seconds} s long, the limit is {MAX_SECONDS} s")]
    TooLong {
        /// Its length.
        seconds: usize,
    },
    /// The sound holds values that are not numbers.
    #[error("the sound holds values that are not finite numbers")]
    NotFinite,
    /// The expected digits are empty, too many, or not digits.
    #[error("expected digits must be 1 to 12 values from 0 to 9")]
    BadExpectation,
    /// whisper.cpp failed.
    #[error("transcription failed inside whisper.cpp: {0}")]
    Run(whisper_rs::WhisperError),
}

/// What a model file can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhisperKind {
    /// The project's digits model: ten words, forced scoring.
    Digits,
    /// A Whisper model that writes English text.
    General,
}

/// A loaded model; shared between threads.
pub struct WhisperModel {
    context: WhisperContext,
    kind: WhisperKind,
    threads: usize,
    window: usize,
    /// Token numbers of the digits 0–9 (digits model only).
    digit_tokens: Option<[i32; 10]>,
    idle: Mutex<Vec<WhisperState>>,
}

impl std::fmt::Debug for WhisperModel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "WhisperModel({:?}, window of {} samples)", self.kind, self.window)
    }
}

impl WhisperModel {
    /// What the model can do.
    pub fn kind(&self) -> WhisperKind {
        self.kind
    }

    /// Transcribes the digits in `pcm` (16 kHz mono); times in the result start at `offset_ms`.
    ///
    /// With `expected`, a digits model also scores that string against its best rivals, where the
    /// sound fits one window. No digits in the result means that none were heard.
    pub fn transcribe(
        &self,
        pcm: &[f32],
        offset_ms: i64,
        expected: Option<&[u8]>,
    ) -> Result<Transcript, WhisperError> {
        check_sound(pcm)?;
        let expected = expected.map(score::check_expected).transpose()?;
        let windows = windows(pcm, self.window);
        let mut out = Transcript { digits: Vec::new(), score: None, digits_present: 0.0 };
        let mut state = self.take_state()?;
        for window in windows.iter().filter(|w| !is_silent(&pcm[(*w).clone()])) {
            let start_ms = offset_ms + samples_to_ms(window.start);
            let sound = padded(&pcm[window.clone()]);
            self.run(&mut state, &sound)?;
            let (digits, present) = match self.digit_tokens {
                Some(tokens) => self.read_digits(&mut state, &sound, start_ms, tokens)?,
                None => self.read_text(&state, &sound, start_ms),
            };
            if let (Some(expected), Some(tokens), 1) = (expected, self.digit_tokens, windows.len())
            {
                let heard: Vec<u8> = digits.iter().map(|d| d.digit).collect();
                let mut decoder = self.decoder(&mut state, tokens);
                out.score = Some(digits_score::score(&mut decoder, expected, &heard)?.per_digit);
            }
            out.digits.extend(digits);
            out.digits_present = out.digits_present.max(present);
        }
        self.give_back(state);
        Ok(out)
    }

    fn take_state(&self) -> Result<WhisperState, WhisperError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        idle.map_or_else(|| self.context.create_state().map_err(WhisperError::Run), Ok)
    }

    /// Keeps a state for the next call. After an error it is dropped instead, with its caches.
    fn give_back(&self, state: WhisperState) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < MAX_IDLE_STATES {
            idle.push(state);
        }
    }
}

fn check_sound(pcm: &[f32]) -> Result<(), WhisperError> {
    if pcm.len() > MAX_SECONDS * SAMPLE_RATE {
        return Err(WhisperError::TooLong { seconds: pcm.len() / SAMPLE_RATE });
    }
    if pcm.iter().any(|s| !s.is_finite()) {
        return Err(WhisperError::NotFinite);
    }
    Ok(())
}

fn samples_to_ms(samples: usize) -> i64 {
    (samples * 1000 / SAMPLE_RATE) as i64
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    pub(super) fn model() -> WhisperModel {
        let path =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("onnx/digits/cameo-digits-v1-q8_0.bin.zst");
        WhisperModel::load(&path, WhisperKind::Digits, 1).unwrap()
    }

    /// A sine that swells and fades, so that it has quiet moments.
    pub(super) fn tone(seconds: usize) -> Vec<f32> {
        (0..seconds * SAMPLE_RATE)
            .map(|i| {
                let t = i as f32 / SAMPLE_RATE as f32;
                (t * 440.0 * std::f32::consts::TAU).sin() * 0.3 * (t * 2.0).sin().abs()
            })
            .collect()
    }

    #[test]
    fn silence_holds_no_digits() {
        let heard = model().transcribe(&vec![0.0; 3 * SAMPLE_RATE], 0, None).unwrap();
        assert!(heard.digits.is_empty());
        assert!(heard.digits_present < 0.5);
    }

    #[test]
    fn any_length_can_be_transcribed() {
        let model = model();
        for samples in [0, 1, 100, 201, 16_000, 163_840, 163_841, 400_000] {
            let heard = model.transcribe(&tone(26)[..samples], 0, None).unwrap();
            assert!(heard.digits_present.is_finite());
        }
    }

    #[test]
    fn times_start_at_the_offset_and_increase() {
        let heard = model().transcribe(&tone(25), 5_000, None).unwrap();
        let mut last = 5_000;
        for d in heard.digits {
            let (start, end) = (d.start_ms.unwrap(), d.end_ms.unwrap());
            assert!(start >= last && end >= start && end <= 30_000);
            last = start;
        }
    }

    #[test]
    fn hostile_sound_is_refused() {
        let model = model();
        let too_long = vec![0.0; MAX_SECONDS * SAMPLE_RATE + 1];
        let run = |pcm: &[f32]| model.transcribe(pcm, 0, None);
        assert!(matches!(run(&too_long), Err(WhisperError::TooLong { .. })));
        assert!(matches!(run(&[0.0, f32::NAN]), Err(WhisperError::NotFinite)));
        assert!(matches!(run(&[f32::INFINITY; 9]), Err(WhisperError::NotFinite)));
        assert!(run(&vec![f32::MAX; SAMPLE_RATE]).is_ok());
    }

    #[test]
    fn threads_share_a_model() {
        let model = model();
        let alone = model.transcribe(&tone(4), 0, Some(&[1, 2, 3, 4])).unwrap();
        std::thread::scope(|s| {
            let jobs: Vec<_> = (0..3)
                .map(|_| s.spawn(|| model.transcribe(&tone(4), 0, Some(&[1, 2, 3, 4])).unwrap()))
                .collect();
            for job in jobs {
                assert!(job.join().unwrap() == alone);
            }
        });
    }
}
