//! `cameo eval sync`: lips against voice, on clips of people who talk.
//!
//! Each clip goes through the whole pipeline once, with its own sound. Windows of three seconds of
//! what was measured are then judged as they are, with their sound moved, and with the sound of another
//! clip: the check sees numbers, and those are what moving or replacing the sound would give.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;

use anyhow::{Context, ensure};
use serde::Serialize;

use super::clips::Clips;
use super::progress;
use super::stats::{Figure, Rate, auc, bootstrap};
use crate::app;
use crate::config::Config;
use crate::domain::challenge::{Challenge, Motion};
use crate::domain::evidence::{ENVELOPE_STEP_MS, Evidence, SpeechSegment, VoiceEnvelope};
use crate::domain::verdict::{CheckResult, Status};
use crate::env::Millis;
use crate::infer::Models;
use crate::liveness::policy::SyncPolicy;
use crate::liveness::{MouthSample, Policy, judge_sync};
use crate::media::Decoder;
use crate::service::capture::{Capture, measure_capture};
use crate::workshop::draw::Draw;
use crate::workshop::picture::{Packing, Picture};
use crate::workshop::{Footage, sound};

/// Length of a window in milliseconds.
const WINDOW_MS: i64 = 3000;
/// How far the sound is moved, in milliseconds; above zero, it is late.
const SHIFTS: [i64; 8] = [-600, -400, -300, -200, 200, 300, 400, 600];
/// Sounds of other clips that each window is dubbed with.
const DUBBED: usize = 8;

/// Measure lips against voice.
#[derive(Clone, Debug, clap::Args)]
pub struct SyncArgs {
    /// Folder of recordings
    #[arg(long, value_name = "DIR", env = "CAMEO_DATASETS_DIR")]
    pub datasets: PathBuf,
    /// The list of clips in it
    #[arg(long, value_name = "FILE", default_value = "eval/clips.toml")]
    pub clips: PathBuf,
    /// Print one JSON object instead of text
    #[arg(long)]
    pub json: bool,
}

/// How well lips and voice are told to belong together.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// The policy.
    pub policy: String,
    /// Clips.
    pub clips: usize,
    /// Windows in sync, with their sound moved, and dubbed.
    pub in_sync: usize,
    /// See [`Self::in_sync`].
    pub shifted: usize,
    /// See [`Self::in_sync`].
    pub dubbed: usize,
    /// Windows in sync that were judged at all: there was enough speech and mouth.
    pub judged: Rate,
    /// The probability that the log-likelihood ratio of a window in sync is above that of any other;
    /// interval by clips drawn with replacement. A window that is not judged has a ratio of zero.
    pub auc: Figure,
    /// The same against shifted windows alone.
    pub auc_shifted: Figure,
    /// The same against dubbed windows alone.
    pub auc_dubbed: Figure,
    /// Windows in sync that the check passed and failed; the rest is left open.
    pub in_sync_passed: Rate,
    /// See [`Self::in_sync_passed`].
    pub in_sync_failed: Rate,
    /// Shifted windows that it passed.
    pub shifted_passed: Rate,
    /// Dubbed windows that it passed.
    pub dubbed_passed: Rate,
}

/// Runs the measurement and prints the report.
///
/// # Errors
/// Where clips can't be read or models are missing.
pub fn run(args: &SyncArgs, config: &Config) -> anyhow::Result<()> {
    let clips = Clips::read(&args.clips, &args.datasets)?.talking;
    let (decoder, models) = (app::decoder(config, None)?, app::models(config)?);
    let dir = tempfile::tempdir().context("no room for temporary files")?;
    let bar = progress("clips", clips.len());
    let mut windows = Vec::new();
    for (i, clip) in clips.iter().enumerate() {
        let path = dir.path().join(format!("{i}.mp4"));
        let heard = sound::read(&clip.path)?;
        Picture::of(clip).pack(&heard, Packing::Mp4 { crf: 18 }, &[], &path)?;
        let evidence = evidence(&decoder, &models, &path)?;
        windows.extend(windows_of(i, clip, &evidence));
        bar.inc(1);
    }
    bar.finish_and_clear();
    ensure!(!windows.is_empty(), "nobody speaks in these clips");
    let policy = Policy::balanced();
    super::print(&of(policy.id(), &windows, &policy.sync), args.json)
}

fn evidence(
    decoder: &Decoder,
    models: &Models,
    path: &std::path::Path,
) -> anyhow::Result<Evidence> {
    // Nobody was asked anything; what is measured of lips and voice does not depend on it.
    let challenge =
        Challenge::new(vec![1, 2, 3, 4], vec![Motion::Left], Millis(0), Millis(180_000))?;
    let bytes = std::fs::metadata(path)?.len();
    let capture = Capture { path, bytes, sha256: String::new(), received: None, key_frames: false };
    let (measured, _) = measure_capture(decoder, models, challenge, capture, || false)?;
    Ok(measured.evidence)
}

/// Three seconds of what was measured, from zero on.
#[derive(Clone, Debug)]
struct Window {
    clip: usize,
    mouth: Vec<MouthSample>,
    voice: VoiceEnvelope,
    speech: Vec<SpeechSegment>,
}

/// The windows of a clip in which somebody speaks.
fn windows_of(clip: usize, footage: &Footage, evidence: &Evidence) -> Vec<Window> {
    let Some(voice) = &evidence.speech.envelope else { return Vec::new() };
    let n = ((footage.seconds * 1000.0) as i64 / WINDOW_MS).max(1);
    let windows = (0..n).map(|i| {
        let span = i * WINDOW_MS..(i + 1) * WINDOW_MS;
        let mouth = evidence.frames.iter().filter(|f| span.contains(&f.t_ms));
        let mouth = mouth.filter_map(|f| {
            let open = f.face.as_ref()?.mouth_open;
            Some(MouthSample { t_ms: f.t_ms - span.start, open })
        });
        let speech = evidence.speech.segments.iter().filter_map(|s| {
            let (from, to) = (s.start_ms.max(span.start), s.end_ms.min(span.end));
            let moved = |t| t - span.start;
            (from < to).then(|| SpeechSegment { start_ms: moved(from), end_ms: moved(to) })
        });
        Window { clip, mouth: mouth.collect(), speech: speech.collect(), voice: cut(voice, &span) }
    });
    windows.filter(|w| !w.speech.is_empty()).collect()
}

fn cut(voice: &VoiceEnvelope, span: &Range<i64>) -> VoiceEnvelope {
    let step = |t: i64| ((t - voice.start_ms) / ENVELOPE_STEP_MS).clamp(0, voice.db.len() as i64);
    let (from, to) = (step(span.start), step(span.end));
    let start_ms = voice.start_ms + from * ENVELOPE_STEP_MS - span.start;
    VoiceEnvelope { start_ms, db: voice.db[from as usize..to as usize].to_vec() }
}

impl Window {
    /// The sound later by so much.
    fn shifted(&self, ms: i64) -> Self {
        let mut other = self.clone();
        other.voice.start_ms += ms;
        for s in &mut other.speech {
            (s.start_ms, s.end_ms) = (s.start_ms + ms, s.end_ms + ms);
        }
        other
    }

    /// These lips with another's sound.
    fn dubbed(&self, with: &Self) -> Self {
        Self { voice: with.voice.clone(), speech: with.speech.clone(), ..self.clone() }
    }

    fn judged(&self, policy: &SyncPolicy) -> CheckResult {
        judge_sync(&self.mouth, Some(&self.voice), &self.speech, policy)
    }
}

/// A clip's windows, judged.
#[derive(Default)]
struct Judged {
    own: Vec<CheckResult>,
    shifted: Vec<CheckResult>,
    dubbed: Vec<CheckResult>,
}

fn of(name: String, windows: &[Window], policy: &SyncPolicy) -> Report {
    let clips = windows.iter().map(|w| w.clip).max().map_or(0, |most| most + 1);
    let mut by_clip: Vec<Judged> = (0..clips).map(|_| Judged::default()).collect();
    let mut draw = Draw::new(5);
    for window in windows {
        let judged = &mut by_clip[window.clip];
        judged.own.push(window.judged(policy));
        judged.shifted.extend(SHIFTS.map(|ms| window.shifted(ms).judged(policy)));
        let others: Vec<&Window> = windows.iter().filter(|o| o.clip != window.clip).collect();
        for _ in 0..if others.is_empty() { 0 } else { DUBBED } {
            let with = others[draw.below(others.len())];
            judged.dubbed.push(window.dubbed(with).judged(policy));
        }
    }
    by_clip.retain(|j| !j.own.is_empty());
    let area = |kinds: fn(&Judged) -> Vec<&CheckResult>| {
        bootstrap(&by_clip, &mut Draw::new(7), |drawn| {
            let own: Vec<f32> = drawn.iter().flat_map(|j| &j.own).map(llr).collect();
            let false_: Vec<f32> = drawn.iter().flat_map(|j| kinds(j)).map(llr).collect();
            auc(&own, &false_)
        })
    };
    let all = |kind: fn(&Judged) -> &Vec<CheckResult>| -> Vec<&CheckResult> {
        by_clip.iter().flat_map(kind).collect()
    };
    let (own, shifted, dubbed) = (all(|j| &j.own), all(|j| &j.shifted), all(|j| &j.dubbed));
    let passed = |of: &[&CheckResult]| Rate::among(of, |c| c.status == Status::Pass);
    Report {
        policy: name,
        clips: by_clip.len(),
        in_sync: own.len(),
        shifted: shifted.len(),
        dubbed: dubbed.len(),
        judged: Rate::among(&own, |c| c.llr.is_some()),
        auc: area(|j| j.shifted.iter().chain(&j.dubbed).collect()),
        auc_shifted: area(|j| j.shifted.iter().collect()),
        auc_dubbed: area(|j| j.dubbed.iter().collect()),
        in_sync_passed: passed(&own),
        in_sync_failed: Rate::among(&own, |c| c.status == Status::Fail),
        shifted_passed: passed(&shifted),
        dubbed_passed: passed(&dubbed),
    }
}

/// What could not be judged is neutral.
fn llr(of: &CheckResult) -> f32 {
    of.llr.unwrap_or(0.0)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} clips: {} windows in sync ({} judged), {} shifted, {} dubbed; {}",
            self.clips, self.in_sync, self.judged.hits, self.shifted, self.dubbed, self.policy
        )?;
        writeln!(
            f,
            "AUC {}, against shifted {}, against dubbed {}",
            self.auc, self.auc_shifted, self.auc_dubbed
        )?;
        writeln!(
            f,
            "in sync: passed {}, failed {}; shifted passed {}, dubbed passed {}",
            self.in_sync_passed, self.in_sync_failed, self.shifted_passed, self.dubbed_passed
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(clip: usize) -> Window {
        let level =
            |t: i64| f32::midpoint((t as f32 / 90.0 + clip as f32).sin(), (t as f32 / 37.0).sin());
        Window {
            clip,
            mouth: (0..75)
                .map(|i| MouthSample { t_ms: i * 40, open: 0.1 + 0.08 * level(i * 40) })
                .collect(),
            voice: VoiceEnvelope {
                start_ms: 0,
                db: (0..150).map(|i| (-40.0 + 15.0 * level(i * ENVELOPE_STEP_MS)) as i8).collect(),
            },
            speech: vec![SpeechSegment { start_ms: 100, end_ms: 2900 }],
        }
    }

    #[test]
    fn what_is_shifted_or_dubbed_scores_below_what_is_in_sync() {
        let windows: Vec<Window> = (0..4).map(window).collect();
        let report = of("p".into(), &windows, &Policy::balanced().sync);
        assert_eq!((report.in_sync, report.shifted, report.dubbed), (4, 32, 32));
        assert!(report.auc.value > 0.8, "{report}");
        assert_eq!(report.in_sync_passed.hits, 4, "{report}");
    }

    #[test]
    fn windows_are_cut_at_their_times() {
        let voice = VoiceEnvelope { start_ms: 100, db: (0..100).map(|i| i as i8).collect() };
        let part = cut(&voice, &(500..900));
        assert_eq!((part.start_ms, part.db.len(), part.db[0]), (0, 20, 20));
        let before = cut(&voice, &(0..300));
        assert_eq!((before.start_ms, before.db.len()), (100, 10));
        assert!(cut(&voice, &(9000..9900)).db.is_empty());
        assert_eq!(window(0).shifted(200).speech[0].start_ms, 300);
    }
}
