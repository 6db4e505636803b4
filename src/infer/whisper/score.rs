//! Scoring digit strings against a sound, one token at a time.

use std::collections::HashMap;

use whisper_rs::WhisperState;

use super::hear::token_spans;
use super::{WhisperError, WhisperModel, check_sound};
use crate::infer::digits_score::{self, DigitModel, ForcedScore, LogProbs};
use crate::infer::frames::{is_silent, padded};

/// A sound that was heard once, to be asked about any number of strings.
pub struct Listening<'m> {
    model: &'m WhisperModel,
    /// Given back when dropped; a state that failed is not.
    state: Option<WhisperState>,
    tokens: [i32; 10],
    cached: Vec<i32>,
    /// What may follow a beginning that was asked about before: strings share beginnings.
    known: HashMap<Vec<u8>, LogProbs>,
    heard: Vec<u8>,
}

impl WhisperModel {
    /// Hears `pcm` (16 kHz mono), for scoring strings against it.
    ///
    /// `None` where the model is a general one, the sound is silent or doesn't fit one window.
    pub fn listen(&self, pcm: &[f32]) -> Result<Option<Listening<'_>>, WhisperError> {
        check_sound(pcm)?;
        let fits = pcm.len() <= self.window && !is_silent(pcm);
        let Some(tokens) = self.digit_tokens.filter(|_| fits) else {
            return Ok(None);
        };
        let mut state = self.take_state()?;
        self.run(&mut state, &padded(pcm))?;
        let heard = token_spans(&state)
            .filter_map(|t| tokens.iter().position(|id| *id == t.id).map(|d| d as u8))
            .collect();
        Ok(Some(Listening {
            model: self,
            state: Some(state),
            tokens,
            cached: Vec::new(),
            known: HashMap::new(),
            heard,
        }))
    }

    pub(super) fn decoder<'a>(
        &'a self,
        state: &'a mut WhisperState,
        tokens: [i32; 10],
    ) -> Decoder<'a> {
        Decoder {
            state,
            tokens,
            end: self.context.token_eot(),
            prompt: [self.context.token_sot(), self.context.token_not()],
            threads: self.threads,
            cached: Vec::new(),
        }
    }
}

impl std::fmt::Debug for Listening<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Listening(…)") // holds what a person said
    }
}

impl Listening<'_> {
    /// The free transcript.
    pub fn heard(&self) -> &[u8] {
        &self.heard
    }

    /// Probability that there are digits at all, 0–1.
    pub fn digits_present(&mut self) -> Result<f32, WhisperError> {
        Ok(1.0 - self.next(&[])?[digits_score::END].exp())
    }

    /// Scores `expected` against its best rivals.
    pub fn score(&mut self, expected: &[u8]) -> Result<ForcedScore, WhisperError> {
        let heard = self.heard.clone();
        digits_score::score(self, check_expected(expected)?, &heard)
    }

    /// Log-likelihood in nats of `digits` and nothing after them, or anything below `floor` where
    /// it is below that.
    pub fn log_likelihood(&mut self, digits: &[u8], floor: f32) -> Result<f32, WhisperError> {
        digits_score::log_likelihood(self, check_digits(digits)?, floor)
    }
}

impl DigitModel for Listening<'_> {
    type Error = WhisperError;

    fn next(&mut self, prefix: &[u8]) -> Result<LogProbs, WhisperError> {
        if let Some(known) = self.known.get(prefix) {
            return Ok(*known);
        }
        // Only after an error is there none.
        let Some(mut state) = self.state.take() else {
            return Err(WhisperError::Run(whisper_rs::WhisperError::NullPointer));
        };
        let cached = std::mem::take(&mut self.cached);
        let mut decoder = Decoder { cached, ..self.model.decoder(&mut state, self.tokens) };
        let next = decoder.next(prefix)?;
        self.cached = decoder.cached;
        self.state = Some(state);
        self.known.insert(prefix.to_vec(), next);
        Ok(next)
    }
}

impl Drop for Listening<'_> {
    fn drop(&mut self) {
        if let Some(state) = self.state.take() {
            self.model.give_back(state);
        }
    }
}

/// Probabilities of the next digit from whisper.cpp, one token at a time.
pub(super) struct Decoder<'a> {
    state: &'a mut WhisperState,
    tokens: [i32; 10],
    end: i32,
    prompt: [i32; 2],
    threads: usize,
    /// What the state's attention cache holds.
    cached: Vec<i32>,
}

impl DigitModel for Decoder<'_> {
    type Error = WhisperError;

    fn next(&mut self, prefix: &[u8]) -> Result<LogProbs, WhisperError> {
        let wanted: Vec<i32> = (self.prompt.iter().copied())
            .chain(prefix.iter().filter_map(|d| self.tokens.get(usize::from(*d)).copied()))
            .collect();
        let shared = wanted.iter().zip(&self.cached).take_while(|(a, b)| a == b).count();
        // The logits at hand are the last decoded token's, so at least that one is decoded again.
        let from = shared.min(wanted.len() - 1);
        for (i, token) in wanted.iter().enumerate().skip(from) {
            // One at a time: whisper-rs shows the first row of logits, whisper.cpp fills the last.
            self.state.decode(&[*token], i, self.threads).map_err(WhisperError::Run)?;
        }
        self.cached = wanted;
        let logits = self.state.get_logits().map_err(WhisperError::Run)?;
        let at = |id: i32| {
            usize::try_from(id).ok().and_then(|i| logits.get(i)).copied().unwrap_or(f32::MIN)
        };
        let mut out = [0.0; 11];
        for (slot, id) in out.iter_mut().zip(self.tokens.into_iter().chain([self.end])) {
            *slot = at(id);
        }
        Ok(digits_score::log_softmax(out))
    }
}

pub(super) fn check_expected(expected: &[u8]) -> Result<&[u8], WhisperError> {
    if expected.is_empty() { Err(WhisperError::BadExpectation) } else { check_digits(expected) }
}

/// None at all are a string too: the one whose first token is the end.
fn check_digits(digits: &[u8]) -> Result<&[u8], WhisperError> {
    if digits.len() <= digits_score::MAX_DIGITS && digits.iter().all(|d| *d < 10) {
        Ok(digits)
    } else {
        Err(WhisperError::BadExpectation)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{model, tone};
    use super::*;

    #[test]
    fn scoring_needs_one_window_and_real_digits() {
        let model = model();
        assert!(model.listen(&tone(12)).unwrap().is_none());
        let mut sound = model.listen(&tone(3)).unwrap().unwrap();
        assert!(sound.score(&[4, 7, 1, 9]).unwrap().margin.is_finite());
        for bad in [&[][..], &[10], &[1; 13]] {
            assert!(matches!(sound.score(bad), Err(WhisperError::BadExpectation)));
        }
    }

    #[test]
    fn asking_again_gives_what_transcribing_gives() {
        let model = model();
        let (sound, asked) = (tone(4), [1, 2, 3, 4]);
        let transcript = model.transcribe(&sound, 0, Some(&asked)).unwrap();
        let mut listening = model.listen(&sound).unwrap().unwrap();
        let first = listening.score(&asked).unwrap();
        listening.score(&[9, 9, 0]).unwrap();
        assert!(listening.score(&asked).unwrap() == first);
        assert!((transcript.score.unwrap() - first.per_digit).abs() < 1e-4);
        let whole = listening.log_likelihood(&asked, f32::NEG_INFINITY).unwrap();
        assert!((whole - first.log_likelihood).abs() < 1e-4);
        assert!(listening.log_likelihood(&asked, whole + 1.0).unwrap() <= whole + 1.0);
    }
}
