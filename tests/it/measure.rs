//! Measuring whole captures made of real clips and real digits.

use std::path::Path;
use std::time::Duration;

use cameo::domain::challenge::{Challenge, Motion};
use cameo::domain::evidence::{ENVELOPE_STEP_MS, MediaFacts, SpeechSegment, VoiceEnvelope};
use cameo::domain::template::PoseBin;
use cameo::domain::verdict::{CheckResult, Status};
use cameo::env::Millis;
use cameo::infer::Models;
use cameo::infer::manifest::Role;
use cameo::infer::track::Tracker;
use cameo::liveness::{MouthSample, Policy, judge_sync};
use cameo::service::bench::{self, Clip};
use cameo::service::measure::{Error, Measured, Measurer, SAMPLE_RATE, envelope};

use crate::infer::{data, files, frames, models, sound};

const NEEDED: [Role; 4] =
    [Role::FaceDetector, Role::FaceMesh, Role::FaceEmbedding, Role::VoiceActivity];

fn challenge() -> Challenge {
    let now = Millis(0);
    let expires = now.plus(Duration::from_mins(3));
    Challenge::new(vec![4, 7, 1, 9, 0, 3], vec![Motion::Left, Motion::Right], now, expires).unwrap()
}

/// The frames of a clip, and the challenge's digits read by one speaker.
fn clip(video: &Path, most: u32, digits: &Path) -> Clip {
    let mut clip =
        Clip { width: 0, height: 0, step_ms: 33, frames: Vec::new(), sound: vec![0.0; 8000] };
    frames(video, most, |_, _, frame| {
        (clip.width, clip.height) = (frame.width(), frame.height());
        clip.frames.push(frame.rgb().to_vec());
    });
    for digit in challenge().digits {
        let takes = files(digits, |f| f.starts_with(&format!("{digit}_")) && f.ends_with("_0.wav"));
        clip.sound.extend(sound(&takes[0]));
        clip.sound.extend([0.0; 4000]);
    }
    clip
}

fn measure(models: &Models, clips: &[&Clip]) -> Measured {
    let mut measurer = Measurer::new(models, challenge()).unwrap();
    let mut index = 0;
    for clip in clips {
        for rgb in &clip.frames {
            let t_ms = i64::from(index) * clip.step_ms;
            measurer.frame(index, t_ms, clip.width, clip.height, rgb).unwrap();
            index += 1;
        }
    }
    measurer.audio(0, &clips[0].sound).unwrap();
    measurer.finish(MediaFacts::default()).unwrap()
}

#[test]
fn a_capture_becomes_evidence_and_a_template() {
    let Some(video) = data("CAMEO_DATASETS_DIR", "video/lp_d12.mp4") else { return };
    let Some(other) = data("CAMEO_DATASETS_DIR", "video/lp_d3.mp4") else { return };
    let Some(digits) = data("CAMEO_DATASETS_DIR", "digits/fsdd") else { return };
    let Some(models) = models(&NEEDED) else { return };
    let (one, two) = (clip(&video, 150, &digits), clip(&other, 60, &digits));

    let measured = measure(models, &[&one]);
    let e = &measured.evidence;
    assert_eq!(e.frames.len(), one.frames.len());
    assert!(e.frames.iter().all(|f| f.face.is_some()));
    assert!((6..=16).contains(&e.identity.samples.len()), "{}", e.identity.samples.len());
    let furthest = e.identity.samples.iter().map(|s| s.distance).fold(0.0, f32::max);
    println!("one person: {} samples, furthest {furthest:.3}", e.identity.samples.len());
    assert!(furthest < e.identity.threshold, "{furthest}");
    if let Some(spoof) = &e.spoof {
        println!("live {:?}", spoof.samples.iter().map(|s| s.live).collect::<Vec<_>>());
        assert!((6..=20).contains(&spoof.samples.len()));
    }
    println!(
        "speech {:?}, level {:?} dBFS, snr {:?} dB",
        e.speech.segments, e.speech.level_dbfs, e.speech.snr_db
    );
    assert!((4..=8).contains(&e.speech.segments.len()));
    let template = measured.template.as_ref().unwrap();
    println!(
        "template: {:?}",
        template.faces.iter().map(|f| (f.bin, f.quality)).collect::<Vec<_>>()
    );
    assert_eq!(template.faces[0].bin, PoseBin::Frontal);
    assert!(template.faces[0].keypoints.iter().flatten().all(|v| (0.0..=1.0).contains(v)));

    let again = measure(models, &[&one]);
    assert!(again.evidence == measured.evidence && again.template == measured.template);

    // Another person comes in by a cut: some frame tells.
    let spliced = measure(models, &[&one, &two]);
    let samples = &spliced.evidence.identity.samples;
    let joint = one.frames.len() as u32;
    let (before, after): (Vec<_>, Vec<_>) = samples.iter().partition(|s| s.index < joint);
    let span = |s: &[&_]| {
        s.iter().map(|s: &&cameo::domain::evidence::IdentitySample| s.distance).collect::<Vec<_>>()
    };
    println!("spliced: {:?} then {:?}", span(&before), span(&after));
    assert!(samples.iter().any(|s| s.distance > spliced.evidence.identity.threshold));
}

#[test]
fn hostile_frames_are_refused() {
    let Some(models) = models(&[Role::FaceDetector, Role::FaceMesh]) else { return };
    let mut measurer = Measurer::new(models, challenge()).unwrap();
    let rgb = vec![128; 64 * 48 * 3];
    assert!(matches!(measurer.frame(0, 0, 64, 48, &rgb[1..]), Err(Error::Infer(_))));
    measurer.frame(0, 0, 64, 48, &rgb).unwrap();
    assert!(matches!(measurer.frame(1, 0, 64, 48, &rgb), Err(Error::Order)));
    assert!(matches!(measurer.frame(0, 40, 64, 48, &rgb), Err(Error::Order)));
    // A frame of another size is a frame.
    measurer.frame(1, 40, 48, 64, &rgb).unwrap();
    measurer.audio(0, &[f32::NAN, f32::INFINITY, 3.0]).unwrap();
    assert!(matches!(measurer.audio(0, &vec![0.0; 16_000 * 61]), Err(Error::TooLong)));
    let measured = measurer.finish(MediaFacts::default()).unwrap();
    assert!(measured.template.is_none());
    assert!(measured.evidence.frames.iter().all(|f| f.face.is_none()));
}

#[test]
#[ignore = "prints figures: run it with --ignored --nocapture"]
fn cost_of_eight_seconds() {
    let Some(video) = data("CAMEO_DATASETS_DIR", "video/lp_d3.mp4") else { return };
    let Some(digits) = data("CAMEO_DATASETS_DIR", "digits/fsdd") else { return };
    let Some(models) = models(&NEEDED) else { return };
    let clip = clip(&video, 240, &digits);
    println!("{clip:?}");
    for stage in bench::stages(models, &clip, 120).unwrap() {
        println!(
            "{:16} {:4} runs {:8.3} ms each",
            stage.name,
            stage.runs,
            stage.cpu_ms / stage.runs as f64
        );
    }
    for _ in 0..3 {
        println!("{:?}", bench::whole(models, &challenge(), &clip).unwrap());
    }
}

/// One person's lips and voice in a clip.
struct Take {
    mouth: Vec<MouthSample>,
    envelope: VoiceEnvelope,
    speech: Vec<SpeechSegment>,
}

impl Take {
    fn of(models: &Models, clip: &Path) -> Self {
        let mut tracker = Tracker::new(models).unwrap();
        let mut mouth = Vec::new();
        frames(clip, 500, |index, t_ms, frame| {
            let seen = tracker.see(index, t_ms, frame).unwrap();
            mouth.extend(seen.evidence.face.map(|f| MouthSample { t_ms, open: f.mouth_open }));
        });
        let sound = sound(clip);
        let ms = |sample: usize| (sample * 1000 / SAMPLE_RATE) as i64;
        let stretches = models.vad.as_ref().unwrap().speech(&sound).unwrap();
        let speech = stretches
            .into_iter()
            .map(|r| SpeechSegment { start_ms: ms(r.start), end_ms: ms(r.end) })
            .collect();
        Self { mouth, envelope: envelope(&sound, 0), speech }
    }

    /// What lies within `ms` from `from_ms` on.
    fn part(&self, from_ms: i64, ms: i64) -> Self {
        let to_ms = from_ms + ms;
        let inside = |t: i64| (from_ms..to_ms).contains(&t);
        let step = |t: i64| ((t / ENVELOPE_STEP_MS) as usize).min(self.envelope.db.len());
        let cut = |s: &SpeechSegment| SpeechSegment {
            start_ms: s.start_ms.max(from_ms) - from_ms,
            end_ms: s.end_ms.min(to_ms) - from_ms,
        };
        let here = |m: &&MouthSample| inside(m.t_ms);
        Self {
            mouth: self
                .mouth
                .iter()
                .filter(here)
                .map(|m| MouthSample { t_ms: m.t_ms - from_ms, ..*m })
                .collect(),
            envelope: VoiceEnvelope {
                start_ms: 0,
                db: self.envelope.db[step(from_ms)..step(to_ms)].to_vec(),
            },
            speech: self.speech.iter().map(cut).filter(|s| s.end_ms > s.start_ms).collect(),
        }
    }

    /// The check of these lips with the voice of `other`, so much later.
    fn with_voice_of(&self, other: &Self, late_ms: i64) -> CheckResult {
        let mut voice = other.envelope.clone();
        voice.start_ms += late_ms;
        let speech: Vec<SpeechSegment> = other
            .speech
            .iter()
            .map(|s| SpeechSegment { start_ms: s.start_ms + late_ms, end_ms: s.end_ms + late_ms })
            .collect();
        judge_sync(&self.mouth, Some(&voice), &speech, &Policy::balanced().sync)
    }
}

/// Probability that a result of `high` weighs more than one of `low`.
fn area_under_curve(high: &[CheckResult], low: &[CheckResult]) -> f64 {
    let weight = |r: &CheckResult| r.llr.unwrap_or(0.0);
    let wins = high.iter().flat_map(|a| low.iter().map(move |b| weight(a).total_cmp(&weight(b))));
    let (mut won, mut all) = (0.0, 0.0);
    for order in wins {
        won += match order {
            std::cmp::Ordering::Greater => 1.0,
            std::cmp::Ordering::Equal => 0.5,
            std::cmp::Ordering::Less => 0.0,
        };
        all += 1.0;
    }
    won / all
}

#[test]
fn lips_and_voice_of_real_sentences() {
    let Some(videos) = data("CAMEO_DATASETS_DIR", "video") else { return };
    let needed = [Role::FaceDetector, Role::FaceMesh, Role::VoiceActivity];
    let Some(models) = models(&needed) else { return };
    let takes: Vec<Take> = files(&videos, |f| f.starts_with("grid_"))
        .iter()
        .map(|clip| Take::of(models, clip))
        .collect();
    assert!(takes.len() >= 6);
    let [dub, shift] = told_apart(&takes);
    assert!(dub >= 0.9 && shift >= 0.97, "{dub} {shift}");
}

/// Clips that nobody recorded to be read from: other languages, music, lips far away.
#[test]
#[ignore = "prints figures: run it with --ignored --nocapture"]
fn lips_and_voice_of_people_who_talk() {
    let Some(videos) = data("CAMEO_DATASETS_DIR", "video") else { return };
    let needed = [Role::FaceDetector, Role::FaceMesh, Role::VoiceActivity];
    let Some(models) = models(&needed) else { return };
    let talking = ["lp_d6.", "lp_d9.", "lp_d10.", "latentsync_demo1", "latentsync_demo2"];
    let mut parts = Vec::new();
    for clip in files(&videos, |f| talking.iter().any(|t| f.starts_with(t))) {
        let take = Take::of(models, &clip);
        let last = take.mouth.last().map_or(0, |m| m.t_ms);
        let starts = (0..).map(|i| i * 7000).take_while(|from| from + 7000 <= last);
        parts.extend(starts.map(|from| take.part(from, 7000)));
    }
    told_apart(&parts);
}

/// Prints how the check tells own voices from others' and from shifted ones; the areas under the curves.
fn told_apart(takes: &[Take]) -> [f64; 2] {
    let own: Vec<_> = takes.iter().map(|t| t.with_voice_of(t, 0)).collect();
    let mut dubbed = Vec::new();
    for (i, a) in takes.iter().enumerate() {
        for (_, b) in takes.iter().enumerate().filter(|(j, _)| i != *j) {
            dubbed.push(a.with_voice_of(b, 0));
        }
    }
    let late = [-500, -400, -300, -200, 200, 300, 400, 500];
    let shifted: Vec<_> =
        takes.iter().flat_map(|t| late.map(|ms| t.with_voice_of(t, ms))).collect();
    for (name, results) in [("own", &own), ("dubbed", &dubbed), ("shifted", &shifted)] {
        let mut llr: Vec<f32> = results.iter().map(|r| r.llr.unwrap_or(0.0)).collect();
        llr.sort_by(f32::total_cmp);
        let n = |status| results.iter().filter(|r| r.status == status).count();
        println!(
            "{name}: n {}, pass {}, open {}, fail {}, llr {llr:.1?}",
            results.len(),
            n(Status::Pass),
            n(Status::Inconclusive),
            n(Status::Fail)
        );
    }
    let areas = [&dubbed, &shifted].map(|other| area_under_curve(&own, other));
    println!("area under the curve: dubbed {:.3}, shifted {:.3}", areas[0], areas[1]);
    areas
}
