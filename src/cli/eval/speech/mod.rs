//! `cameo eval speech`: how well the digits are heard, on people held out of training.
//!
//! Real digit strings of the held-out speakers, and strings joined from their single digits, are
//! heard clean and under four conditions; so are words, noise, music and silence that hold no digits.
//! Each contender transcribes them; one that can score a string is also asked about the right
//! string, about near misses (one digit wrong) and about random ones.

pub mod conditions;
pub mod corpus;
mod report;

use std::collections::BTreeMap;
use std::path::Path;

use crate::config::Config;
use crate::domain::evidence::{ModelRole, SpokenDigit, Transcript};
use crate::domain::verdict::Status;
use crate::env::thread_cpu_ms;
use crate::infer::Error;
use crate::infer::digits_score::MAX_DIGITS;
use crate::infer::manifest::Role;
use crate::infer::whisper::{Listening, WhisperKind, WhisperModel};
use crate::liveness::policy::SpeechPolicy;
use crate::liveness::{Policy, edit_distance, judge_reading};
use crate::workshop::RATE;
use crate::workshop::draw::Draw;
use crate::workshop::sound::{self, bounded, padded};

use super::contenders::{Absent, Contender, Named, contenders};
use super::{Comparison, progress};
use conditions::Condition;
use corpus::{Clip, Kind};
pub use report::Report;

/// Strings joined from the single digits of each speaker who has most of the ten.
const JOINED: usize = 12;
/// Random strings asked about for each clip.
const IMPOSTORS: usize = 40;
/// Log-likelihood ratio per digit below which a wrong string is hopeless and not followed further:
/// far below any threshold, and two or three digits into a random string.
const HOPELESS: f32 = -4.0;
/// What fits the digits model's window.
const LONGEST: usize = RATE * 102 / 10;

/// Measure transcription, refusal and the verification score.
#[derive(Clone, Debug, clap::Args)]
pub struct SpeechArgs {
    /// What it has in common with other comparisons.
    #[command(flatten)]
    pub common: Comparison,
    /// The held-out people: `test` for figures, `validation` for setting thresholds
    #[arg(long, default_value = "test", value_name = "PART")]
    pub part: Part,
    /// Hear only so many of the strings, for a first look
    #[arg(long, value_name = "N")]
    pub most: Option<usize>,
}

/// A part of the people, held out of training.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// For figures only.
    Test,
    /// For choosing among trained models and for setting thresholds.
    Validation,
}

/// Runs the measurement, prints the report and writes its plots.
///
/// # Errors
/// Where the recordings or the models can't be read.
pub fn run(args: &SpeechArgs, config: &Config) -> anyhow::Result<()> {
    let report = measure(args, config)?;
    args.common.publish(&report, || report.plots())
}

/// Measures every contender on the held-out people of `args.part`.
///
/// # Errors
/// Where the recordings or the models can't be read.
pub fn measure(args: &SpeechArgs, config: &Config) -> anyhow::Result<Report> {
    let extra = args.common.extra_models.as_deref();
    let (there, absent) = contenders(config, extra, Role::Transcription)?;
    let trials = Trials::read(&args.common.datasets, args.part, args.most)?;
    let mut findings = Vec::new();
    for contender in &there {
        findings.push(Findings::of(contender, &trials)?);
    }
    let timing = Timing::of(&there)?;
    Ok(report::of(args.part, &trials, &findings, absent, timing))
}

/// What is heard: strings under every condition, and what holds no digits.
struct Trials {
    strings: Vec<Trial>,
    negatives: Vec<(&'static str, Vec<f32>)>,
}

/// A digit string as it arrives.
struct Trial {
    speaker: String,
    /// Whether it is a real string, and not joined from single digits.
    real: bool,
    condition: Condition,
    digits: Vec<u8>,
    sound: Vec<f32>,
}

impl Trials {
    fn read(root: &Path, part: Part, most: Option<usize>) -> anyhow::Result<Self> {
        let bar = progress("recordings", 0);
        let clips = corpus::read(
            root,
            part,
            |_, _| true,
            |n| {
                bar.set_length(n as u64);
                bar.inc(1);
            },
        )?;
        bar.finish_and_clear();
        let mut draw = Draw::new(17 + part as u64);
        let mut clean: Vec<(Clip, bool)> =
            clips.iter().filter(|c| c.kind == Kind::String).map(|c| (c.clone(), true)).collect();
        clean.extend(joined(&clips, &mut draw).into_iter().map(|c| (c, false)));
        clean.truncate(most.unwrap_or(usize::MAX));
        for (c, _) in &mut clean {
            c.sound = padded(&c.sound, &mut draw);
        }
        let others: Vec<&[f32]> =
            clips.iter().filter(|c| c.kind == Kind::Other).map(|c| &c.sound[..]).collect();
        let babble = sound::babble(&others, &mut draw);
        let bar = progress("clips made", Condition::ALL.len() * clean.len());
        let mut strings = Vec::new();
        for condition in Condition::ALL {
            for (clip, real) in clean.iter().filter(|(c, _)| c.sound.len() < LONGEST) {
                bar.inc(1);
                strings.push(Trial {
                    speaker: clip.speaker.clone(),
                    real: *real,
                    condition,
                    digits: clip.digits.clone(),
                    sound: bounded(condition.of(&clip.sound, &babble, &mut draw)?),
                });
            }
        }
        bar.finish_and_clear();
        let negatives = negatives(root, &others, most, &mut draw)?;
        Ok(Self { strings, negatives })
    }
}

/// Four to six single digits of one speaker in a row, with pauses.
fn joined(clips: &[Clip], draw: &mut Draw) -> Vec<Clip> {
    let mut speakers: BTreeMap<&str, BTreeMap<u8, Vec<&[f32]>>> = BTreeMap::new();
    for clip in clips.iter().filter(|c| c.kind == Kind::Digit) {
        let digits = speakers.entry(&clip.speaker).or_default();
        digits.entry(clip.digits[0]).or_default().push(&clip.sound);
    }
    let mut out = Vec::new();
    for (speaker, takes) in speakers.iter().filter(|(_, takes)| takes.len() >= 8) {
        let known: Vec<u8> = takes.keys().copied().collect();
        for _ in 0..JOINED {
            let n = 4 + draw.below(3);
            let digits: Vec<u8> = (0..n).map(|_| known[draw.below(known.len())]).collect();
            let mut sound = Vec::new();
            for (i, digit) in digits.iter().enumerate() {
                if i > 0 {
                    let pause = draw.between(0.08, 0.35) * RATE as f64;
                    sound.resize(sound.len() + pause as usize, 0.0);
                }
                let takes = &takes[digit];
                sound.extend(takes[draw.below(takes.len())]);
            }
            let speaker = (*speaker).to_owned();
            out.push(Clip { speaker, kind: Kind::String, digits, sound });
        }
    }
    out
}

/// Words of the held-out people, recorded noise, made music and silence.
fn negatives(
    root: &Path,
    others: &[&[f32]],
    most: Option<usize>,
    draw: &mut Draw,
) -> anyhow::Result<Vec<(&'static str, Vec<f32>)>> {
    let mut out: Vec<(&str, Vec<f32>)> = Vec::new();
    for sound in others.iter().take(most.unwrap_or(usize::MAX)) {
        out.push(("words", padded(sound, draw)));
    }
    for noise in corpus::noises(root)? {
        let start = draw.below(noise.len().saturating_sub(5 * RATE).max(1));
        out.push(("noise", noise.into_iter().skip(start).take(5 * RATE).collect()));
    }
    for _ in 0..5 {
        out.push(("music", sound::music(5, draw)));
        out.push(("silence", (0..4 * RATE).map(|_| 1e-4 * draw.normal() as f32).collect()));
    }
    out.retain(|(_, sound)| sound.len() < LONGEST);
    Ok(out.into_iter().map(|(kind, sound)| (kind, bounded(sound))).collect())
}

/// What one contender made of the trials.
struct Findings {
    name: Named,
    /// For each string, in the order of the trials.
    strings: Vec<Heard>,
    /// For each negative, whether it was refused.
    refused: Vec<bool>,
}

/// What was made of one string.
struct Heard {
    /// Edits between what was said and what was heard.
    edits: usize,
    /// What the policy makes of it where the right string, one with a wrong digit, or a random one
    /// was asked for.
    judged: [Vec<Status>; 3],
    /// Scores in nats per digit, of contenders that score, in the same order.
    scores: Option<[Vec<f32>; 3]>,
}

impl Findings {
    fn of(contender: &Contender, trials: &Trials) -> anyhow::Result<Self> {
        let missing = Error::RoleMissing(ModelRole::Transcription);
        let model = contender.models.transcription.as_ref().ok_or(missing)?;
        let policy = Policy::balanced().speech;
        let n = trials.strings.len() + trials.negatives.len();
        let bar = progress(&format!("clips heard by {}", contender.name.set), n);
        let mut draw = Draw::new(5);
        let mut strings = Vec::new();
        for trial in &trials.strings {
            strings.push(hear(model, trial, &policy, &mut draw)?);
            bar.inc(1);
        }
        // As the verdict reads a transcript: nothing heard, or most likely nothing there.
        let mut refused = Vec::new();
        for (_, sound) in &trials.negatives {
            let t = model.transcribe(sound, 0, None).map_err(Error::from)?;
            refused.push(t.digits.is_empty() || t.digits_present < policy.min_digits_present);
            bar.inc(1);
        }
        bar.finish_and_clear();
        Ok(Self { name: contender.name.clone(), strings, refused })
    }
}

fn hear(
    model: &WhisperModel,
    trial: &Trial,
    policy: &SpeechPolicy,
    draw: &mut Draw,
) -> Result<Heard, Error> {
    let asked = asked(&trial.digits, draw);
    let mut transcript;
    let mut scores = None;
    match model.listen(&trial.sound)? {
        Some(mut sound) if trial.digits.len() <= MAX_DIGITS => {
            let spoken = |digit: &u8| SpokenDigit {
                digit: *digit,
                start_ms: None,
                end_ms: None,
                confidence: 1.0, // not looked at where there is a score
            };
            transcript = Transcript {
                digits: sound.heard().iter().map(spoken).collect(),
                score: None,
                digits_present: sound.digits_present()?,
            };
            scores = Some(score(&mut sound, &trial.digits, &asked)?);
        }
        _ => transcript = model.transcribe(&trial.sound, 0, None)?,
    }
    let heard: Vec<u8> = transcript.digits.iter().map(|d| d.digit).collect();
    let mut judged = <[Vec<Status>; 3]>::default();
    for (kind, strings) in asked.iter().enumerate() {
        for (i, string) in strings.iter().enumerate() {
            transcript.score = scores.as_ref().map(|s| s[kind][i]);
            judged[kind].push(judge_reading(string, &transcript, policy));
        }
    }
    Ok(Heard { edits: edit_distance(&trial.digits, &heard), judged, scores })
}

/// The strings that are asked about: the right one, each with one wrong digit, random ones.
fn asked(said: &[u8], draw: &mut Draw) -> [Vec<Vec<u8>>; 3] {
    let near = (0..said.len()).map(|i| {
        let mut wrong = said.to_vec();
        wrong[i] = (wrong[i] + 1 + draw.below(9) as u8) % 10;
        wrong
    });
    let near = near.collect();
    let random = (0..IMPOSTORS).map(|_| said.iter().map(|_| draw.below(10) as u8).collect());
    let random = random.filter(|wrong: &Vec<u8>| wrong != said).collect();
    [vec![said.to_vec()], near, random]
}

fn score(
    sound: &mut Listening<'_>,
    said: &[u8],
    asked: &[Vec<Vec<u8>>; 3],
) -> Result<[Vec<f32>; 3], Error> {
    let n = said.len() as f32;
    let right = sound.score(said)?;
    let heard = sound.heard().to_vec();
    // Against a wrong string, what was heard and what was said are rivals enough: leaving the
    // others out can only make a wrong string look better.
    let mut best = right.log_likelihood;
    if heard.len() <= MAX_DIGITS {
        best = best.max(sound.log_likelihood(&heard, f32::NEG_INFINITY)?);
    }
    let mut ratios = |wrong: &[Vec<u8>]| -> Result<Vec<f32>, Error> {
        let ratio = |w: &Vec<u8>| -> Result<f32, Error> {
            Ok((sound.log_likelihood(w, best + HOPELESS * n)? - best) / n)
        };
        wrong.iter().map(ratio).collect()
    };
    Ok([vec![right.per_digit], ratios(&asked[1])?, ratios(&asked[2])?])
}

/// What a transcription costs, beside Whisper tiny's architecture with no weights in it.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Timing {
    /// Length of the clip in seconds.
    pub clip_s: usize,
    /// Digits written.
    pub digits: usize,
    /// The digits model: median CPU milliseconds on one thread.
    pub digits_model_ms: f64,
    /// The same for Whisper tiny.en's architecture.
    pub whisper_tiny_ms: f64,
}

impl Timing {
    /// `None` where no digits model takes part.
    fn of(contenders: &[Contender]) -> anyhow::Result<Option<Self>> {
        const RUNS: usize = 5;
        let digits = contenders.iter().filter_map(|c| c.models.transcription.as_ref());
        let Some(digits) = digits.into_iter().find(|m| m.kind() == WhisperKind::Digits) else {
            return Ok(None);
        };
        let tiny = WhisperModel::hollow_tiny()?;
        let (clip_s, written) = (8, 6);
        let mut draw = Draw::new(8);
        let sound: Vec<f32> = (0..clip_s * RATE).map(|_| 0.05 * draw.normal() as f32).collect();
        let median = |model: &WhisperModel| -> anyhow::Result<f64> {
            let mut times = Vec::new();
            for _ in 0..RUNS {
                let before = thread_cpu_ms();
                model.exercise(&sound, written)?;
                times.push(thread_cpu_ms() - before);
            }
            times.sort_by(f64::total_cmp);
            Ok(times[RUNS / 2])
        };
        Ok(Some(Self {
            clip_s,
            digits: written,
            digits_model_ms: median(digits)?,
            whisper_tiny_ms: median(&tiny)?,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_joined_of_one_speakers_digits() {
        let take = |speaker: &str, digit: u8| Clip {
            speaker: speaker.into(),
            kind: Kind::Digit,
            digits: vec![digit],
            sound: vec![f32::from(digit) / 10.0 + 0.01; 1000],
        };
        let mut clips: Vec<Clip> = (0..10).map(|d| take("x_a", d)).collect();
        clips.extend((0..5).map(|d| take("x_b", d)));
        let strings = joined(&clips, &mut Draw::new(1));
        assert_eq!(strings.len(), JOINED);
        for s in strings {
            assert_eq!(s.speaker, "x_a");
            assert!((4..=6).contains(&s.digits.len()));
            let mut said: Vec<f32> = s.sound.iter().copied().filter(|v| *v != 0.0).collect();
            said.dedup();
            let mut expected: Vec<f32> =
                s.digits.iter().map(|d| f32::from(*d) / 10.0 + 0.01).collect();
            expected.dedup();
            assert_eq!(said, expected);
        }
    }
}
