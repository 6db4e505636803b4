//! Running a model over one window, and reading what it wrote.

use std::ops::Range;

use whisper_rs::{FullParams, SamplingStrategy, WhisperState};

use super::{WhisperError, WhisperKind, WhisperModel, samples_to_ms};
use crate::domain::evidence::SpokenDigit;
use crate::infer::digits_score::{self, DigitModel};
use crate::infer::digits_text::digits_in_words;
use crate::infer::frames::{HOP, frame_power, loud_part, share};

/// More digits than this in one window are a model running wild.
const MAX_TOKENS: i32 = 24;

impl WhisperModel {
    /// Encodes one window, decodes it greedily and aligns the tokens with the sound.
    pub(super) fn run(&self, state: &mut WhisperState, sound: &[f32]) -> Result<(), WhisperError> {
        let mut p = FullParams::new(SamplingStrategy::Greedy { best_of: 1 });
        p.set_n_threads(i32::try_from(self.threads).unwrap_or(1));
        p.set_language(Some("en"));
        p.set_no_context(true);
        p.set_single_segment(true);
        p.set_temperature_inc(0.0); // one answer, no retries by chance
        p.set_suppress_blank(self.kind == WhisperKind::General);
        p.set_no_timestamps(self.kind == WhisperKind::Digits);
        if self.kind == WhisperKind::Digits {
            p.set_max_tokens(MAX_TOKENS);
        }
        p.set_print_special(false);
        p.set_print_progress(false);
        p.set_print_realtime(false);
        p.set_print_timestamps(false);
        state.full(p, sound).map_err(WhisperError::Run)
    }

    /// The digits model's answer, and the probability that there are digits at all.
    pub(super) fn read_digits(
        &self,
        state: &mut WhisperState,
        sound: &[f32],
        start_ms: i64,
        tokens: [i32; 10],
    ) -> Result<(Vec<SpokenDigit>, f32), WhisperError> {
        let power = frame_power(sound);
        let mut digits = Vec::new();
        let mut from = 0;
        for token in token_spans(state) {
            let Some(digit) = tokens.iter().position(|id| *id == token.id) else { continue };
            let span = token.end_frame.map(|end| loud_part(&power, from..end));
            from = token.end_frame.unwrap_or(from);
            digits.push(spoken(digit as u8, span.as_ref(), start_ms, token.p));
        }
        let start = self.decoder(state, tokens).next(&[])?;
        Ok((digits, 1.0 - start[digits_score::END].exp()))
    }

    /// A general model's answer: its words, read as digits.
    pub(super) fn read_text(
        &self,
        state: &WhisperState,
        sound: &[f32],
        start_ms: i64,
    ) -> (Vec<SpokenDigit>, f32) {
        let power = frame_power(sound);
        let end_of_text = self.context.token_eot();
        let mut words: Vec<Word> = Vec::new();
        let mut from = 0;
        for token in token_spans(state).filter(|t| t.id < end_of_text) {
            let piece = String::from_utf8_lossy(&token.text);
            let span = token.end_frame.map(|end| from..end);
            from = token.end_frame.unwrap_or(from);
            match words.last_mut() {
                Some(word) if !piece.starts_with(' ') => word.extend(&piece, span, token.p),
                _ => words.push(Word { text: piece.trim().to_owned(), span, p: token.p }),
            }
        }
        let texts: Vec<&str> = words.iter().map(|w| w.text.as_str()).collect();
        let digits: Vec<SpokenDigit> = digits_in_words(&texts)
            .into_iter()
            .map(|d| {
                let number = &words[d.words.clone()];
                let span = number
                    .first()
                    .and_then(|w| w.span.clone())
                    .zip(number.last().and_then(|w| w.span.clone()))
                    .map(|(a, b)| share(&loud_part(&power, a.start..b.end), d.place));
                let p = number.iter().map(|w| w.p).fold(1.0, f32::min);
                spoken(d.digit, span.as_ref(), start_ms, p)
            })
            .collect();
        let silent = state.get_segment(0).map_or(1.0, |s| s.no_speech_probability());
        let present = if digits.is_empty() { 0.0 } else { 1.0 - silent };
        (digits, present)
    }
}

/// A decoded token.
pub(super) struct Token {
    pub(super) id: i32,
    p: f32,
    text: Vec<u8>,
    /// Where its sound ends, in 10 ms frames from the window's start.
    end_frame: Option<usize>,
}

/// The tokens of the last [`WhisperModel::run`].
///
/// whisper.cpp's alignment gives each token the moment at which attention moves on to the next.
pub(super) fn token_spans(state: &WhisperState) -> impl Iterator<Item = Token> {
    let mut out = Vec::new();
    for segment in state.as_iter() {
        for i in 0..segment.n_tokens() {
            let Some(token) = segment.get_token(i) else { continue };
            let data = token.token_data();
            out.push(Token {
                id: data.id,
                p: data.p.clamp(0.0, 1.0),
                text: token.to_bytes().map(<[u8]>::to_vec).unwrap_or_default(),
                end_frame: usize::try_from(data.t_dtw).ok(),
            });
        }
    }
    out.into_iter()
}

/// A word of a general model's text.
struct Word {
    text: String,
    span: Option<Range<usize>>,
    p: f32,
}

impl Word {
    fn extend(&mut self, piece: &str, span: Option<Range<usize>>, p: f32) {
        self.text.push_str(piece.trim_end());
        if let (Some(own), Some(more)) = (&mut self.span, span) {
            own.end = more.end;
        }
        self.p = self.p.min(p);
    }
}

fn spoken(digit: u8, frames: Option<&Range<usize>>, start_ms: i64, confidence: f32) -> SpokenDigit {
    let at = |frame: usize| start_ms + samples_to_ms(frame * HOP);
    SpokenDigit {
        digit,
        start_ms: frames.map(|f| at(f.start)),
        end_ms: frames.map(|f| at(f.end)),
        confidence,
    }
}
