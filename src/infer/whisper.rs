//! Speech to digits with Whisper models in ggml files, through whisper.cpp.
//!
//! Two kinds of model share this adapter. The project's own digits model knows ten words and
//! nothing else, so its output needs no reading, and any digit string can be *scored* against the
//! sound. A general English Whisper model writes words and figures, which
//! [`digits_text`](super::digits_text) turns into digits.
//!
//! Sound is 16 kHz mono `f32` in −1…1. A model hears one window at a time (10.24 s for the digits
//! model); longer sound is cut at quiet moments.

use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use whisper_rs::{
    DtwMode, DtwModelPreset, DtwParameters, FullParams, SamplingStrategy, WhisperContext,
    WhisperContextParameters, WhisperState,
};

use super::digits_score::{self, DigitModel, ForcedScore, LogProbs};
use super::digits_text::digits_in_words;
use crate::domain::evidence::{SpokenDigit, Transcript};

/// Samples in a second of every sound in this module.
pub const SAMPLE_RATE: usize = 16_000;
/// Longest sound accepted, in seconds.
pub const MAX_SECONDS: usize = 60;

/// Largest model file read, unpacked.
const MAX_MODEL_BYTES: u64 = 1 << 30;
/// whisper.cpp's alignment needs more than seven encoder positions; a second is plenty.
const MIN_SAMPLES: usize = SAMPLE_RATE;
const HOP: usize = SAMPLE_RATE / 100;
/// Two spectrogram frames make one encoder position of 20 ms.
const SAMPLES_PER_POSITION: usize = 2 * HOP;
/// Idle states kept; each holds the attention caches of one transcription.
const MAX_IDLE_STATES: usize = 4;
/// More digits than this in one window are a model running wild.
const MAX_TOKENS: i32 = 24;
/// A digit's span is where its sound is within this of its loudest moment.
const SPAN_FLOOR: f32 = 0.003; // −25 dB in power

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
    /// Loads a ggml file, plain or zstd-compressed. `threads` are used by each transcription.
    pub fn load(path: &Path, kind: WhisperKind, threads: usize) -> Result<Self, WhisperError> {
        let read = |source| WhisperError::Read { path: path.to_owned(), source };
        let mut bytes = Vec::new();
        File::open(path)
            .map_err(read)?
            .take(MAX_MODEL_BYTES)
            .read_to_end(&mut bytes)
            .map_err(read)?;
        Self::from_bytes(&bytes, kind, threads)
    }

    /// Loads a model from the bytes of a ggml file, plain or zstd-compressed.
    pub fn from_bytes(
        bytes: &[u8],
        kind: WhisperKind,
        threads: usize,
    ) -> Result<Self, WhisperError> {
        const ZSTD_MAGIC: [u8; 4] = 0xFD2F_B528_u32.to_le_bytes();
        if bytes.starts_with(&ZSTD_MAGIC) {
            let mut plain = Vec::new();
            zstd::Decoder::new(bytes)
                .and_then(|d| d.take(MAX_MODEL_BYTES).read_to_end(&mut plain))
                .map_err(|_| WhisperError::NotAModel("the zstd frame is damaged"))?;
            return Self::from_ggml(&plain, kind, threads);
        }
        Self::from_ggml(bytes, kind, threads)
    }

    fn from_ggml(bytes: &[u8], kind: WhisperKind, threads: usize) -> Result<Self, WhisperError> {
        let header = Header::parse(bytes)?;
        whisper_rs::install_logging_hooks(); // whisper.cpp writes to stderr otherwise
        let mut parameters = WhisperContextParameters::new();
        parameters.use_gpu(false);
        // On a CPU flash attention is slower and its results drift; it also rules out alignment.
        parameters.flash_attn(false);
        parameters
            .dtw_parameters(DtwParameters { mode: header.alignment(kind), dtw_mem_size: 64 << 20 });
        let context = WhisperContext::new_from_buffer_with_params(bytes, parameters)
            .map_err(|_| WhisperError::NotAModel("whisper.cpp can't load it"))?;
        let digit_tokens = match kind {
            WhisperKind::Digits => Some(digit_tokens(&context)?),
            WhisperKind::General => None,
        };
        let window = usize::try_from(context.n_audio_ctx()).unwrap_or(0) * SAMPLES_PER_POSITION;
        if window < 2 * SAMPLE_RATE {
            return Err(WhisperError::NotAModel("its audio window is shorter than two seconds"));
        }
        // A little short of the window: a spectrogram has one frame more than its sound.
        let window = window - 10 * HOP;
        Ok(Self {
            context,
            kind,
            threads: threads.max(1),
            window,
            digit_tokens,
            idle: Mutex::default(),
        })
    }

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
        let expected = expected.map(check_expected).transpose()?;
        let windows = windows(pcm, self.window);
        let mut out = Transcript { digits: Vec::new(), score: None, digits_present: 0.0 };
        let mut state = self.take_state()?;
        for window in &windows {
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

    /// Scores `expected` against the sound and its best rivals.
    ///
    /// `None` where the model is a general one, or the sound doesn't fit one window.
    pub fn score(&self, pcm: &[f32], expected: &[u8]) -> Result<Option<ForcedScore>, WhisperError> {
        check_sound(pcm)?;
        let expected = check_expected(expected)?;
        let Some(tokens) = self.digit_tokens.filter(|_| pcm.len() <= self.window) else {
            return Ok(None);
        };
        let mut state = self.take_state()?;
        let sound = padded(pcm);
        self.run(&mut state, &sound)?;
        let heard: Vec<u8> = token_spans(&state)
            .filter_map(|t| tokens.iter().position(|id| *id == t.id).map(|d| d as u8))
            .collect();
        let score = digits_score::score(&mut self.decoder(&mut state, tokens), expected, &heard)?;
        self.give_back(state);
        Ok(Some(score))
    }

    /// Encodes one window, decodes it greedily and aligns the tokens with the sound.
    fn run(&self, state: &mut WhisperState, sound: &[f32]) -> Result<(), WhisperError> {
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
    fn read_digits(
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
            digits.push(spoken(digit as u8, span, start_ms, token.p));
        }
        let start = self.decoder(state, tokens).next(&[])?;
        Ok((digits, 1.0 - start[digits_score::END].exp()))
    }

    /// A general model's answer: its words, read as digits.
    fn read_text(
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
                spoken(d.digit, span, start_ms, p)
            })
            .collect();
        let silent = state.get_segment(0).map_or(1.0, |s| s.no_speech_probability());
        let present = if digits.is_empty() { 0.0 } else { 1.0 - silent };
        (digits, present)
    }

    fn decoder<'a>(&'a self, state: &'a mut WhisperState, tokens: [i32; 10]) -> Decoder<'a> {
        Decoder {
            state,
            tokens,
            end: self.context.token_eot(),
            prompt: [self.context.token_sot(), self.context.token_not()],
            threads: self.threads,
            cached: Vec::new(),
        }
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

/// The sizes at the start of a ggml file.
struct Header {
    vocabulary: i32,
    audio_layers: i32,
    text_layers: i32,
}

impl Header {
    /// Reads and checks the magic number and the eleven sizes (whisper.cpp, `whisper_model_load`).
    fn parse(bytes: &[u8]) -> Result<Self, WhisperError> {
        const MAGIC: i32 = 0x6767_6d6c;
        let word = |i: usize| -> Option<i32> {
            bytes.get(4 * i..4 * i + 4)?.try_into().ok().map(i32::from_le_bytes)
        };
        if word(0) != Some(MAGIC) {
            return Err(WhisperError::NotAModel("it doesn't start with the ggml magic number"));
        }
        let sizes: Vec<i32> = (1..12).map_while(word).collect();
        let &[vocabulary, audio_ctx, _, _, audio_layers, text_ctx, _, _, text_layers, mels, _] =
            sizes.as_slice()
        else {
            return Err(WhisperError::NotAModel("its header is cut short"));
        };
        if !(51_864..=51_866).contains(&vocabulary)
            || !(100..=1500).contains(&audio_ctx)
            || !(16..=448).contains(&text_ctx)
            || !(1..=64).contains(&audio_layers)
            || !(1..=64).contains(&text_layers)
            || mels != 80
        {
            return Err(WhisperError::NotAModel("its sizes are not a Whisper model's"));
        }
        Ok(Self { vocabulary, audio_layers, text_layers })
    }

    /// Which attention heads follow the sound, for aligning tokens in time. The digits model's
    /// last layer is trained to; for the published models whisper.cpp knows the heads.
    fn alignment(&self, kind: WhisperKind) -> DtwMode<'static> {
        if kind == WhisperKind::Digits {
            return DtwMode::TopMost { n_top: 1 };
        }
        let english = self.vocabulary == 51_864;
        let model_preset = match (self.audio_layers, self.text_layers, english) {
            (4, 4, true) => DtwModelPreset::TinyEn,
            (4, 4, false) => DtwModelPreset::Tiny,
            (6, 6, true) => DtwModelPreset::BaseEn,
            (6, 6, false) => DtwModelPreset::Base,
            (12, 12, true) => DtwModelPreset::SmallEn,
            (12, 12, false) => DtwModelPreset::Small,
            _ => return DtwMode::None,
        };
        DtwMode::ModelPreset { model_preset }
    }
}

/// Finds the tokens " 0" to " 9" in the vocabulary.
fn digit_tokens(context: &WhisperContext) -> Result<[i32; 10], WhisperError> {
    let mut found = [None; 10];
    for id in 0..context.token_eot() {
        if let Ok(&[b' ', d @ b'0'..=b'9']) = context.token_to_bytes(id) {
            found[usize::from(d - b'0')].get_or_insert(id);
        }
    }
    let mut out = [0; 10];
    for (slot, id) in out.iter_mut().zip(found) {
        *slot = id.ok_or(WhisperError::NotAModel("its vocabulary lacks the digits"))?;
    }
    Ok(out)
}

/// A decoded token.
struct Token {
    id: i32,
    p: f32,
    text: Vec<u8>,
    /// Where its sound ends, in 10 ms frames from the window's start.
    end_frame: Option<usize>,
}

/// The tokens of the last [`WhisperModel::run`].
///
/// whisper.cpp's alignment gives each token the moment at which attention moves on to the next.
fn token_spans(state: &WhisperState) -> impl Iterator<Item = Token> {
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

/// Probabilities of the next digit from whisper.cpp, one token at a time.
struct Decoder<'a> {
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

fn check_sound(pcm: &[f32]) -> Result<(), WhisperError> {
    if pcm.len() > MAX_SECONDS * SAMPLE_RATE {
        return Err(WhisperError::TooLong { seconds: pcm.len() / SAMPLE_RATE });
    }
    if pcm.iter().any(|s| !s.is_finite()) {
        return Err(WhisperError::NotFinite);
    }
    Ok(())
}

fn check_expected(expected: &[u8]) -> Result<&[u8], WhisperError> {
    let fits = (1..=digits_score::MAX_DIGITS).contains(&expected.len());
    if fits && expected.iter().all(|d| *d < 10) {
        Ok(expected)
    } else {
        Err(WhisperError::BadExpectation)
    }
}

fn padded(pcm: &[f32]) -> Vec<f32> {
    let mut sound = pcm.to_vec();
    sound.resize(sound.len().max(MIN_SAMPLES), 0.0);
    sound
}

/// Cuts sound into stretches of at most `longest` samples, at the quietest 50 ms of each stretch's
/// last third.
fn windows(pcm: &[f32], longest: usize) -> Vec<Range<usize>> {
    let mut out = Vec::new();
    let mut start = 0;
    while pcm.len() - start > longest {
        let power = frame_power(&pcm[start..start + longest]);
        let first = power.len() * 2 / 3;
        let quietest = power[first..]
            .windows(5)
            .enumerate()
            .min_by(|(_, a), (_, b)| a.iter().sum::<f32>().total_cmp(&b.iter().sum()))
            .map_or(power.len(), |(i, _)| first + i + 2);
        let end = start + (quietest * HOP).max(HOP);
        out.push(start..end);
        start = end;
    }
    out.push(start..pcm.len());
    out
}

/// Mean power of every 10 ms.
fn frame_power(pcm: &[f32]) -> Vec<f32> {
    pcm.chunks(HOP).map(|c| c.iter().map(|s| s * s).sum::<f32>() / c.len() as f32).collect()
}

/// The part of `frames` from its first to its last loud frame.
fn loud_part(power: &[f32], frames: Range<usize>) -> Range<usize> {
    let end = frames.end.min(power.len());
    let start = frames.start.min(end);
    let part = &power[start..end];
    let floor = part.iter().copied().fold(0.0, f32::max) * SPAN_FLOOR;
    let loud = |p: &f32| *p > floor;
    match (part.iter().position(loud), part.iter().rposition(loud)) {
        (Some(a), Some(b)) => start + a..start + b + 1,
        _ => start..end,
    }
}

/// The `place.0`-th of `place.1` equal parts of `frames`: a number's digits share its time.
fn share(frames: &Range<usize>, place: (usize, usize)) -> Range<usize> {
    let (i, n) = (place.0, place.1.max(1));
    let at = |k: usize| frames.start + frames.len() * k / n;
    at(i)..at(i + 1)
}

fn spoken(digit: u8, frames: Option<Range<usize>>, start_ms: i64, confidence: f32) -> SpokenDigit {
    let at = |frame: usize| start_ms + samples_to_ms(frame * HOP);
    SpokenDigit {
        digit,
        start_ms: frames.as_ref().map(|f| at(f.start)),
        end_ms: frames.as_ref().map(|f| at(f.end)),
        confidence,
    }
}

fn samples_to_ms(samples: usize) -> i64 {
    (samples * 1000 / SAMPLE_RATE) as i64
}
