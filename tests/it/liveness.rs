//! Synthetic captures, told as evidence, and the verdicts they deserve.

// The tables of scenes are long, and scenes are made where they are used.
#![allow(clippy::too_many_lines, clippy::needless_pass_by_value)]

use std::collections::BTreeMap;
use std::fmt::Write as _;

use cameo::domain::challenge::{Challenge, Motion};
use cameo::domain::evidence::{
    ENVELOPE_STEP_MS, EVIDENCE_VERSION, Evidence, FaceEvidence, FrameEvidence, IdentityEvidence,
    IdentitySample, MediaFacts, OLDEST_EVIDENCE_VERSION, Pose, SpeechEvidence, SpeechSegment,
    SpokenDigit, SpoofEvidence, SpoofSample, Transcript, VoiceEnvelope,
};
use cameo::domain::verdict::{Check, Decision, ReasonCode, Status, Verdict};
use cameo::env::{Millis, SeededEntropy, below};
use cameo::liveness::{Policy, judge};
use proptest::prelude::*;

/// A capture of someone who reads the digits, then makes the motions.
struct Scene {
    fps: f32,
    asked: Vec<Motion>,
    made: Vec<Motion>,
    /// Farthest yaw and pitch of a motion in degrees.
    reach: (f32, f32),
    /// Time from the centre to the farthest point in milliseconds.
    rise_ms: f32,
    /// The pose at rest in degrees.
    rest: Pose,
    /// Largest error of the measured pose in degrees, uniform.
    noise: f32,
    /// Share of frames in which tracking loses the face.
    lost: f32,
    seed: u64,
}

impl Default for Scene {
    fn default() -> Self {
        Self {
            fps: 25.0,
            asked: vec![Motion::Left, Motion::Up],
            made: vec![Motion::Left, Motion::Up],
            reach: (28.0, 17.0),
            rise_ms: 500.0,
            rest: Pose { yaw: -2.0, pitch: 4.0, roll: 1.0 },
            noise: 0.5,
            lost: 0.0,
            seed: 1,
        }
    }
}

const DIGITS: [u8; 6] = [4, 7, 1, 9, 0, 3];
const SPEECH_MS: f32 = 4000.0;

impl Scene {
    fn motions(made: &[Motion]) -> Self {
        Self { made: made.to_vec(), ..Self::default() }
    }

    /// How far out the head is along which motion at a time after the digits.
    fn lean(&self, t_ms: f32) -> Option<(Motion, f32)> {
        let each = 2.0 * self.rise_ms + 900.0; // out, hold, back, rest
        let k = (t_ms / each).floor();
        let motion = *self.made.get(usize::try_from(k as i64).ok()?)?;
        let t = t_ms - k * each;
        let out = if t < self.rise_ms {
            t / self.rise_ms
        } else if t < self.rise_ms + 300.0 {
            1.0
        } else {
            1.0 - (t - self.rise_ms - 300.0) / self.rise_ms
        };
        let out = out.clamp(0.0, 1.0);
        Some((motion, out * out * (3.0 - 2.0 * out))) // starts and stops softly
    }

    fn build(&self) -> Evidence {
        let rng = SeededEntropy::new(self.seed);
        let unit = || below(&rng, 2001) as f32 / 1000.0 - 1.0;
        let length_ms =
            SPEECH_MS + 800.0 + self.made.len().max(2) as f32 * (2.0 * self.rise_ms + 900.0);
        let count = (length_ms / 1000.0 * self.fps) as u32;
        let mut frames = Vec::new();
        for index in 0..count {
            let t = index as f32 * 1000.0 / self.fps;
            let mut pose = self.rest;
            if let Some((motion, lean)) = self.lean(t - SPEECH_MS - 400.0) {
                let (yaw, pitch) = (self.reach.0 * lean, self.reach.1 * lean);
                match motion {
                    // Turning tilts a little, and nodding turns a little.
                    Motion::Left => {
                        (pose.yaw, pose.pitch) = (pose.yaw + yaw, pose.pitch - yaw / 5.0);
                    }
                    Motion::Right => {
                        (pose.yaw, pose.pitch) = (pose.yaw - yaw, pose.pitch + yaw / 6.0);
                    }
                    Motion::Up => {
                        (pose.yaw, pose.pitch) = (pose.yaw + pitch / 5.0, pose.pitch + pitch);
                    }
                    Motion::Down => {
                        (pose.yaw, pose.pitch) = (pose.yaw - pitch / 5.0, pose.pitch - pitch);
                    }
                }
            }
            pose.yaw += self.noise * unit() + 1.5 * (t / 900.0).sin();
            pose.pitch += self.noise * unit() + 1.2 * (t / 700.0).cos();
            let face = FaceEvidence {
                bbox: [0.35 + 0.002 * unit() + pose.yaw * 0.001, 0.25 + 0.002 * unit(), 0.3, 0.5],
                presence: 0.99,
                pose,
                eye_open: [0.3 + 0.02 * unit(), 0.3 + 0.02 * unit()],
                mouth_open: 0.02 + 0.3 * voice(t.round() as i64) + 0.01 * unit().abs(),
                inter_eye_px: 90.0 + unit(),
                brightness: 120.0,
                contrast: 40.0,
                sharpness: 150.0,
            };
            let lost = unit().abs() < self.lost;
            frames.push(FrameEvidence {
                index,
                t_ms: t.round() as i64,
                detected: (lost || index % 12 == 0).then_some(u8::from(!lost)),
                face: (!lost).then_some(face),
                change: 0.3 + 0.2 * unit(),
            });
        }
        let every = |n: u32| {
            let mut picked: Vec<(u32, i64)> = Vec::new();
            picked.extend(frames.iter().filter(|f| f.index % n == 0).map(|f| (f.index, f.t_ms)));
            picked
        };
        let sample = |(index, t_ms)| IdentitySample { index, t_ms, distance: 0.25 + 0.05 * unit() };
        let identity = IdentityEvidence {
            threshold: 0.6,
            samples: every(15).into_iter().map(sample).collect(),
        };
        let score = |(index, t_ms)| SpoofSample { index, t_ms, live: 0.93 + 0.05 * unit() };
        let spoof =
            SpoofEvidence { threshold: 0.5, samples: every(12).into_iter().map(score).collect() };
        let last = frames.last().map_or(0, |f| f.t_ms);
        let challenge =
            Challenge::new(DIGITS.to_vec(), self.asked.clone(), Millis(0), Millis(180_000))
                .unwrap();
        Evidence {
            version: EVIDENCE_VERSION,
            challenge,
            media: MediaFacts {
                frames: count,
                duration_ms: last,
                audio_ms: last,
                width: 640,
                height: 480,
                ..MediaFacts::default()
            },
            models: BTreeMap::new(),
            frames,
            identity,
            spoof: Some(spoof),
            speech: spoken(&DIGITS, Some(0.8)),
        }
    }
}

/// How loud the reader of [`spoken`] is at a time, 0–1: a syllable for each digit, some long, some short.
fn voice(t_ms: i64) -> f32 {
    let (k, t) = ((t_ms - 400).div_euclid(600), (t_ms - 400).rem_euclid(600) as f32);
    let length = [400.0, 300.0, 360.0, 260.0, 400.0, 320.0][k.rem_euclid(6) as usize];
    let there = (0..DIGITS.len() as i64).contains(&k) && t < length;
    if there { (std::f32::consts::PI * t / length).sin().sqrt() } else { 0.0 }
}

/// The voice as it is heard `late_ms` after the lips.
fn envelope(late_ms: i64) -> VoiceEnvelope {
    let at = |i: i64| (-70.0 + 40.0 * voice(i * ENVELOPE_STEP_MS - late_ms)) as i8;
    VoiceEnvelope { start_ms: 0, db: (0..400).map(at).collect() }
}

fn spoken(digits: &[u8], score: Option<f32>) -> SpeechEvidence {
    let start = |i: usize| 400 + 600 * i as i64;
    let digit = |(i, digit): (usize, &u8)| SpokenDigit {
        digit: *digit,
        start_ms: Some(start(i)),
        end_ms: Some(start(i) + 400),
        confidence: 0.95,
    };
    let segment = |i| SpeechSegment { start_ms: start(i), end_ms: start(i) + 400 };
    SpeechEvidence {
        segments: (0..digits.len()).map(segment).collect(),
        level_dbfs: Some(-24.0),
        snr_db: Some(24.0),
        transcript: Some(Transcript {
            digits: digits.iter().enumerate().map(digit).collect(),
            score,
            digits_present: 0.98,
        }),
        envelope: Some(envelope(40)),
    }
}

fn changed(scene: Scene, change: impl FnOnce(&mut Evidence)) -> Evidence {
    let mut evidence = scene.build();
    change(&mut evidence);
    evidence
}

fn faces(e: &mut Evidence) -> impl Iterator<Item = &mut FaceEvidence> {
    e.frames.iter_mut().filter_map(|f| f.face.as_mut())
}

fn verdict(evidence: &Evidence) -> Verdict {
    judge(evidence, &Policy::balanced())
}

#[track_caller]
fn expect(name: &str, evidence: &Evidence, decision: Decision, reasons: &[ReasonCode]) {
    let v = verdict(evidence);
    let found: Vec<ReasonCode> = v.reasons().collect();
    assert_eq!((v.decision, found.as_slice()), (decision, reasons), "{name}: {:#?}", v.checks);
}

use Decision::{Rejected, Review, Verified};
use Motion::{Down, Left, Right, Up};
use ReasonCode as R;

#[test]
fn genuine_captures_are_verified() {
    let slow = Scene { rise_ms: 1200.0, ..Scene::default() };
    let quick = Scene { rise_ms: 250.0, fps: 30.0, ..Scene::default() };
    for (name, scene) in [
        ("plain", Scene::default()),
        ("low frame rate", Scene { fps: 10.0, ..Scene::default() }),
        ("60 fps", Scene { fps: 60.0, ..Scene::default() }),
        ("slow", slow),
        ("quick", quick),
        ("small turns", Scene { reach: (18.0, 14.0), ..Scene::default() }),
        ("wide turns", Scene { reach: (50.0, 28.0), ..Scene::default() }),
        (
            "camera held low",
            Scene { rest: Pose { yaw: 6.0, pitch: 16.0, roll: 4.0 }, ..Scene::default() },
        ),
        (
            "no rest between directions",
            Scene { asked: vec![Left, Right], ..Scene::motions(&[Left, Right]) },
        ),
        ("looks aside when all is done", Scene::motions(&[Left, Up, Right])),
        ("begins again with the same motion", Scene::motions(&[Left, Left, Up])),
    ] {
        expect(name, &scene.build(), Verified, &[]);
    }
}

#[test]
fn noise_of_four_degrees_and_lost_frames_are_borne() {
    let mut verified = 0;
    let runs = 100;
    for seed in 0..runs {
        let scene = Scene { noise: 4.0, lost: 0.1, seed, fps: 30.0, ..Scene::default() };
        let v = verdict(&scene.build());
        if v.check(Check::Motion).unwrap().status == Status::Pass {
            verified += 1;
        }
    }
    assert!(verified >= 98, "{verified} of {runs}");
}

#[test]
fn every_pair_of_motions_passes_only_as_itself() {
    let pairs = || Motion::ALL.into_iter().flat_map(|a| Motion::ALL.map(|b| [a, b]));
    for asked in pairs().filter(|p| p[0] != p[1]) {
        for made in pairs() {
            let scene = Scene { asked: asked.to_vec(), ..Scene::motions(&made) };
            let status = verdict(&scene.build()).check(Check::Motion).unwrap().status;
            assert_eq!(status == Status::Pass, asked == made, "{asked:?} {made:?}");
        }
    }
}

#[test]
fn each_attack_fails_the_check_that_should_catch_it() {
    let half = |e: &Evidence| e.frames.len() / 2;
    let cases: Vec<(&str, Evidence, Decision, Vec<R>)> = vec![
        (
            "silence",
            changed(Scene::default(), |e| e.speech = SpeechEvidence::default()),
            Rejected,
            vec![R::NoSpeech, R::SyncUnclear],
        ),
        (
            "wrong digits",
            changed(Scene::default(), |e| e.speech = spoken(&[8, 2, 5, 6, 1, 7], Some(-2.0))),
            Rejected,
            vec![R::WrongDigits],
        ),
        (
            "two digits swapped",
            changed(Scene::default(), |e| e.speech = spoken(&[7, 4, 1, 9, 0, 3], Some(-0.8))),
            Rejected,
            vec![R::WrongDigits],
        ),
        (
            "one digit wrong",
            changed(Scene::default(), |e| e.speech = spoken(&[4, 7, 5, 9, 0, 3], Some(-1.5))),
            Rejected,
            vec![R::WrongDigits],
        ),
        (
            "one digit misheard, or wrong",
            changed(Scene::default(), |e| e.speech = spoken(&[4, 7, 5, 9, 0, 3], Some(-0.5))),
            Review,
            vec![R::DigitsUnclear],
        ),
        (
            "one digit misheard",
            changed(Scene::default(), |e| e.speech = spoken(&[4, 7, 5, 9, 0, 3], Some(0.6))),
            Verified,
            vec![],
        ),
        (
            "one digit, model cannot score",
            changed(Scene::default(), |e| e.speech = spoken(&[4, 7, 5, 9, 0, 3], None)),
            Rejected,
            vec![R::DigitsUnclear],
        ),
        (
            "speech without digits",
            changed(Scene::default(), |e| {
                e.speech.transcript.as_mut().unwrap().digits_present = 0.1;
            }),
            Rejected,
            vec![R::NoDigitsHeard],
        ),
        (
            "babble",
            changed(Scene::default(), |e| {
                e.speech = spoken(&[8, 2, 5], Some(-2.0));
                e.speech.snr_db = Some(1.0);
                e.speech.segments = spoken(&DIGITS, None).segments;
            }),
            Rejected,
            vec![R::TooNoisy, R::WrongDigits],
        ),
        (
            "digits said before the recording",
            changed(Scene::default(), |e| {
                for s in &mut e.speech.segments {
                    s.start_ms -= 6000;
                    s.end_ms -= 6000;
                }
            }),
            Rejected,
            vec![R::NoSpeech, R::SyncUnclear],
        ),
        (
            "another voice, joined to the lips",
            changed(Scene::default(), |e| {
                for f in &mut e.frames {
                    // Somebody who chews.
                    let open = (f.t_ms as f32 / 270.0).sin();
                    f.face.as_mut().unwrap().mouth_open = 0.13 + 0.1 * open;
                }
            }),
            Rejected,
            vec![R::LipsDisagree],
        ),
        (
            "the sound comes late",
            changed(Scene::default(), |e| e.speech.envelope = Some(envelope(280))),
            Rejected,
            vec![R::SoundShifted],
        ),
        (
            "somebody else speaks",
            changed(Scene::default(), |e| {
                for (i, f) in faces(e).enumerate() {
                    f.mouth_open = 0.02 + 0.002 * (i % 5) as f32;
                }
            }),
            Rejected,
            vec![R::LipsStill],
        ),
        (
            "lips never measured against the voice",
            changed(Scene::default(), |e| e.speech.envelope = None),
            Review,
            vec![R::SyncUnclear],
        ),
        (
            "no transcription model",
            changed(Scene::default(), |e| e.speech.transcript = None),
            Review,
            vec![R::SpeechUnavailable],
        ),
        ("a motion missing", Scene::motions(&[Left]).build(), Rejected, vec![R::MotionMissing]),
        ("no motion", Scene::motions(&[]).build(), Rejected, vec![R::MotionMissing]),
        ("order reversed", Scene::motions(&[Up, Left]).build(), Rejected, vec![R::MotionOrder]),
        (
            "all motions, for any challenge",
            Scene::motions(&[Right, Left, Down, Up]).build(),
            Rejected,
            vec![R::MotionOrder],
        ),
        (
            "too small",
            Scene { reach: (6.0, 5.0), ..Scene::default() }.build(),
            Rejected,
            vec![R::MotionMissing],
        ),
        (
            "ends in the turn",
            changed(Scene::default(), |e| {
                let last_at_peak = e
                    .frames
                    .iter()
                    .rposition(|f| f.face.as_ref().is_some_and(|f| f.pose.pitch > 18.0))
                    .unwrap();
                e.frames.truncate(last_at_peak);
            }),
            Rejected,
            vec![R::MotionIncomplete],
        ),
        (
            "two faces",
            changed(Scene::default(), |e| {
                for f in &mut e.frames[50..] {
                    f.detected = f.detected.map(|_| 2);
                }
            }),
            Rejected,
            vec![R::MultipleFaces],
        ),
        (
            "no face",
            changed(Scene::default(), |e| {
                for f in &mut e.frames {
                    (f.face, f.detected) = (None, Some(0));
                }
                e.identity.samples.clear();
                e.spoof.as_mut().unwrap().samples.clear();
            }),
            Rejected,
            vec![R::NoFace, R::MotionMissing, R::IdentityUnclear, R::SyncUnclear, R::PadUncertain],
        ),
        (
            "another person spliced in, elsewhere in the picture",
            changed(Scene::default(), |e| {
                let from = half(e);
                for f in e.frames[from..].iter_mut().filter_map(|f| f.face.as_mut()) {
                    f.bbox[0] += 0.2;
                }
                let t = e.frames[from].t_ms;
                for s in e.identity.samples.iter_mut().filter(|s| s.t_ms >= t) {
                    s.distance = 0.8;
                }
            }),
            Rejected,
            vec![R::FaceChanged, R::FaceJumped],
        ),
        (
            "another person spliced in, in the same place",
            changed(Scene::default(), |e| {
                let t = e.frames[half(e)].t_ms;
                for s in e.identity.samples.iter_mut().filter(|s| s.t_ms >= t) {
                    s.distance = 0.8;
                }
            }),
            Rejected,
            vec![R::FaceChanged],
        ),
        (
            "the last sample is another person's",
            changed(Scene::default(), |e| e.identity.samples.last_mut().unwrap().distance = 0.8),
            Review,
            vec![R::IdentityUnclear],
        ),
        (
            "a photo made into a video",
            changed(Scene::motions(&[]), |e| {
                let face = e.frames[0].face.clone();
                for f in &mut e.frames {
                    f.face.clone_from(&face);
                    f.change = 0.0;
                }
            }),
            Rejected,
            vec![R::MotionMissing, R::FrozenVideo, R::LipsStill],
        ),
        (
            "the picture freezes for two seconds",
            changed(Scene::default(), |e| {
                for f in &mut e.frames[20..75] {
                    f.change = 0.0;
                }
            }),
            Rejected,
            vec![R::FrozenVideo],
        ),
        (
            "a file of 25 pictures a second, made into 30",
            changed(Scene { fps: 30.0, ..Scene::default() }, |e| {
                for f in e.frames.iter_mut().filter(|f| f.index % 6 == 5) {
                    f.change = 0.0;
                }
            }),
            Review,
            vec![R::RepeatedFrames],
        ),
        (
            "screen replay that meets the challenge",
            changed(Scene::default(), |e| {
                for s in &mut e.spoof.as_mut().unwrap().samples {
                    s.live = 0.04;
                }
            }),
            Review,
            vec![R::PadAttack],
        ),
        (
            "screen replay of another challenge",
            changed(Scene::motions(&[Down, Right]), |e| {
                for s in &mut e.spoof.as_mut().unwrap().samples {
                    s.live = 0.04;
                }
            }),
            Rejected,
            vec![R::MotionMissing, R::PadAttack],
        ),
        (
            "doubtful light",
            changed(Scene::default(), |e| {
                for s in &mut e.spoof.as_mut().unwrap().samples {
                    s.live = 0.42;
                }
            }),
            Review,
            vec![R::PadUncertain],
        ),
        (
            "no anti-spoof model",
            changed(Scene::default(), |e| e.spoof = None),
            Review,
            vec![R::PadUnavailable],
        ),
        (
            "too far away",
            changed(Scene::default(), |e| faces(e).for_each(|f| f.inter_eye_px = 18.0)),
            Rejected,
            vec![R::FaceTooSmall],
        ),
        (
            "in the dark",
            changed(Scene::default(), |e| faces(e).for_each(|f| f.brightness = 14.0)),
            Rejected,
            vec![R::FaceTooDark],
        ),
        (
            "against the sun",
            changed(Scene::default(), |e| faces(e).for_each(|f| f.brightness = 248.0)),
            Rejected,
            vec![R::FaceTooBright],
        ),
        (
            "out of focus",
            changed(Scene::default(), |e| faces(e).for_each(|f| f.sharpness = 3.0)),
            Rejected,
            vec![R::FaceBlurred],
        ),
        (
            "never looks into the camera",
            Scene { rest: Pose { yaw: 19.0, pitch: 24.0, roll: 0.0 }, ..Scene::default() }.build(),
            Rejected,
            vec![R::NotFrontal],
        ),
        (
            "four frames a second",
            changed(Scene { fps: 4.0, rise_ms: 1200.0, ..Scene::default() }, |e| {
                for f in &mut e.frames {
                    f.detected = Some(1);
                }
            }),
            Rejected,
            vec![R::FewFrames, R::SyncUnclear],
        ),
        (
            "too short",
            changed(Scene::default(), |e| e.media.duration_ms = 900),
            Rejected,
            vec![R::TooShort],
        ),
    ];
    for (name, evidence, decision, reasons) in &cases {
        expect(name, evidence, *decision, reasons);
        println!("{name:<52} {decision:?} {reasons:?}");
    }
}

#[test]
fn one_bad_frame_never_decides() {
    expect(
        "a bad embedding",
        &changed(Scene::default(), |e| e.identity.samples[4].distance = 0.9),
        Verified,
        &[],
    );
    expect(
        "a bad spoof score",
        &changed(Scene::default(), |e| e.spoof.as_mut().unwrap().samples[3].live = 0.0),
        Verified,
        &[],
    );
    expect(
        "a lost track for a frame",
        &changed(Scene::default(), |e| {
            let face = e.frames[30].face.as_mut().unwrap();
            (face.bbox[0], face.pose.yaw) = (0.8, 70.0);
        }),
        Verified,
        &[],
    );
    expect(
        "a second face seen once",
        &changed(Scene::default(), |e| e.frames[24].detected = Some(2)),
        Verified,
        &[],
    );
    expect(
        "repeated frames of a slow camera",
        &changed(Scene::default(), |e| {
            for f in e.frames.iter_mut().filter(|f| f.index % 3 != 0) {
                f.change = 0.0;
            }
        }),
        Verified,
        &[],
    );
}

#[test]
fn evidence_survives_json_with_its_verdict() {
    let evidence = Scene::default().build();
    let again: Evidence = serde_json::from_slice(&serde_json::to_vec(&evidence).unwrap()).unwrap();
    assert_eq!(verdict(&again), verdict(&evidence));
}

#[test]
fn evidence_of_an_unknown_version_is_never_verified() {
    expect("next year's", &changed(Scene::default(), |e| e.version += 1), Review, &[]);
}

#[test]
fn evidence_of_an_older_version_is_read_and_reviewed() {
    let mut json = serde_json::to_value(Scene::default().build()).unwrap();
    json["version"] = OLDEST_EVIDENCE_VERSION.into();
    json["speech"].as_object_mut().unwrap().remove("envelope");
    let old: Evidence = serde_json::from_value(json).unwrap();
    expect("version 1", &old, Review, &[R::SyncUnclear]);
    let convenience = judge(&old, &Policy::convenience());
    assert_eq!(convenience.decision, Review, "an old measurement is not verified anew");
}

#[test]
fn hidden_lips_never_verify_a_foreign_voice() {
    // Another rhythm than the lips': the voice of somebody else.
    let dubbed = changed(Scene { fps: 30.0, ..Scene::default() }, |e| {
        let voice = e.speech.envelope.as_mut().unwrap();
        voice.db.reverse();
    });
    assert_ne!(verdict(&dubbed).decision, Verified);
    for every in 2..=12 {
        for span in [500, 1000, 2000, 4000] {
            let hidden = changed(Scene::default(), |e| {
                *e = dubbed.clone();
                let said = |t: i64| (300..300 + span).contains(&t);
                e.frames.retain(|f| !said(f.t_ms) || f.index % every == 0);
            });
            let v = verdict(&hidden);
            assert_ne!(v.decision, Verified, "every {every}, {span} ms: {:#?}", v.checks);
        }
    }
}

#[test]
fn the_frontal_faces_that_are_asked_for_can_be_enrolled() {
    let asked = Policy::balanced().quality.frontal_deg;
    assert_eq!(asked, cameo::identity::select::FRONTAL_MAX);
}

#[test]
fn digits_are_not_said_before_they_are_shown() {
    // The first word is said 0.4 s after the recording began.
    let slack = Policy::balanced().speech.prompt_slack_ms;
    let received = |after_ms: Option<i64>| {
        changed(Scene::default(), |e| {
            let spoken_for = e.media.duration_ms - 400;
            e.media.received_at = after_ms.map(|ms| Millis(spoken_for + ms));
        })
    };
    expect("made in time", &received(Some(0)), Verified, &[]);
    expect("nobody knows when", &received(None), Verified, &[]);
    expect("just within", &received(Some(-slack)), Verified, &[]);
    expect("too soon", &received(Some(-slack - 1)), Rejected, &[R::SpokenEarly]);
    expect("absurd", &received(Some(i64::MIN / 2)), Rejected, &[R::SpokenEarly]);
}

#[test]
fn a_challenge_without_cues_is_never_met() {
    let v = verdict(&changed(Scene::default(), |e| {
        e.challenge.digits.clear();
        e.challenge.motions.clear();
    }));
    assert_eq!(v.decision, Review);
    assert_eq!(v.check(Check::Speech).unwrap().status, Status::Inconclusive);
    assert_eq!(v.check(Check::Motion).unwrap().status, Status::Inconclusive);
}

#[test]
fn the_strict_policy_rejects_a_clear_attack_alone() {
    let replay = changed(Scene::default(), |e| {
        for s in &mut e.spoof.as_mut().unwrap().samples {
            s.live = 0.04;
        }
    });
    assert_eq!(judge(&replay, &Policy::strict()).decision, Rejected);
    assert_eq!(judge(&Scene::default().build(), &Policy::strict()).decision, Verified);
}

#[test]
fn operating_points_differ_in_what_is_left_open() {
    let doubtful = changed(Scene::default(), |e| {
        for s in &mut e.spoof.as_mut().unwrap().samples {
            s.live = 0.45;
        }
    });
    let little_sound = changed(Scene::default(), |e| {
        e.speech.envelope.as_mut().unwrap().db.truncate(60);
    });
    let decisions = |e: &Evidence| {
        [Policy::convenience(), Policy::balanced(), Policy::strict()].map(|p| judge(e, &p).decision)
    };
    assert_eq!(decisions(&Scene::default().build()), [Verified; 3]);
    assert_eq!(decisions(&doubtful), [Verified, Review, Review]);
    assert_eq!(
        decisions(&little_sound),
        [Review; 3],
        "what was not measured is passed over by none"
    );
}

#[test]
fn the_documentation_is_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/verdict.md");
    let text = std::fs::read_to_string(path).unwrap();
    let current = [("reasons", reason_table()), ("thresholds", threshold_table())]
        .into_iter()
        .fold(text.clone(), |text, (name, table)| between(&text, name, &table));
    if std::env::var_os("CAMEO_UPDATE_DOCS").is_some() {
        std::fs::write(path, current).unwrap();
    } else {
        assert!(text == current, "docs/verdict.md is out of date: run with CAMEO_UPDATE_DOCS=1");
    }
}

/// Replaces what stands between the two markers of `name`.
fn between(text: &str, name: &str, table: &str) -> String {
    let (begin, end) = (format!("<!-- begin {name} -->\n"), format!("<!-- end {name} -->"));
    let (head, rest) = text.split_once(&begin).expect("a begin marker");
    let (_, tail) = rest.split_once(&end).expect("an end marker");
    format!("{head}{begin}{table}{end}{tail}")
}

fn reason_table() -> String {
    let mut table = "| reason | what was found | what to do |\n| --- | --- | --- |\n".to_owned();
    for r in ReasonCode::ALL {
        writeln!(table, "| `{}` | {} | {} |", r.code(), r.meaning(), r.advice()).unwrap();
    }
    table
}

fn threshold_table() -> String {
    let [convenience, balanced, strict] =
        [Policy::convenience(), Policy::balanced(), Policy::strict()]
            .map(|p| serde_json::to_value(p).unwrap());
    let mut table =
        "| threshold | balanced | convenience | strict |\n| --- | --- | --- | --- |\n".to_owned();
    for check in ["quality", "speech", "motion", "continuity", "sync", "pad", "injection", "fusion"]
    {
        for (name, value) in balanced[check].as_object().unwrap() {
            let a = plain(value);
            let [c, s] = [&convenience, &strict].map(|other| {
                let b = plain(&other[check][name]);
                if a == b { String::new() } else { b }
            });
            writeln!(table, "| `{check}.{name}` | {a} | {c} | {s} |").unwrap();
        }
    }
    table
}

/// A number without the tail that widening it to 64 bits gives it.
fn plain(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::Number(n) => {
            let short = n.as_f64().unwrap() as f32;
            short.to_string()
        }
        serde_json::Value::Array(all) => all.iter().map(plain).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

/// Makes evidence worse in one way.
fn worsen(e: &mut Evidence, how: u8, amount: f32, at: prop::sample::Index) {
    let frames = e.frames.len();
    match how % 13 {
        0 => e.spoof = None,
        1 => {
            if let Some(s) = &mut e.spoof {
                for sample in &mut s.samples {
                    sample.live *= amount;
                }
            }
        }
        2 => {
            if let Some(s) = &mut e.spoof {
                let i = at.index(s.samples.len());
                s.samples[i].live = f32::NAN;
            }
        }
        3 => {
            for s in &mut e.identity.samples {
                s.distance += amount;
            }
        }
        4 => {
            if let Some(t) = &mut e.speech.transcript {
                t.score = t.score.map(|s| s - 3.0 * amount);
            }
        }
        5 => {
            if let Some(t) = &mut e.speech.transcript {
                t.digits_present *= amount;
            }
        }
        6 => {
            e.speech.segments.clear();
        }
        7 => {
            for f in &mut e.frames[at.index(frames)..] {
                f.detected = f.detected.map(|d| d.max(2));
            }
        }
        8 => faces(e).for_each(|f| f.inter_eye_px *= amount),
        9 => faces(e).for_each(|f| f.sharpness *= amount),
        10 => {
            for f in &mut e.frames[at.index(frames)..] {
                f.change = 0.0;
            }
        }
        11 => e.speech.envelope = None,
        _ => faces(e).for_each(|f| f.brightness *= amount),
    }
}

fn rank(d: Decision) -> u8 {
    match d {
        Rejected => 0,
        Review => 1,
        Verified => 2,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn worse_evidence_never_improves_the_decision(
        seed: u64,
        made in prop::collection::vec(prop::sample::select(&Motion::ALL[..]), 0..4),
        steps in prop::collection::vec((0u8..13, 0.0f32..1.0, any::<prop::sample::Index>()), 1..6),
    ) {
        for made in [vec![Left, Up], made] {
            let mut evidence = Scene { made, seed, ..Scene::default() }.build();
            let mut before = rank(verdict(&evidence).decision);
            for (how, amount, at) in &steps {
                worsen(&mut evidence, *how, *amount, *at);
                let after = rank(verdict(&evidence).decision);
                prop_assert!(after <= before, "step {} from {} to {}", how, before, after);
                before = after;
            }
        }
    }

    #[test]
    fn storage_order_does_not_matter(seed: u64, shuffle in any::<prop::sample::Index>()) {
        let evidence = Scene { seed, noise: 3.0, lost: 0.05, ..Scene::default() }.build();
        let expected = verdict(&evidence);
        let mut other = evidence.clone();
        other.frames.reverse();
        other.identity.samples.reverse();
        if let Some(s) = &mut other.spoof { s.samples.reverse(); }
        other.speech.segments.reverse();
        prop_assert_eq!(&verdict(&other), &expected);
        let n = shuffle.index(other.frames.len());
        other.frames.rotate_left(n);
        prop_assert_eq!(&verdict(&other), &expected);
    }

    #[test]
    fn what_is_not_a_number_never_passes(seed: u64, field in 0usize..8) {
        let evidence = changed(Scene { seed, ..Scene::default() }, |e| {
            let nan = f32::NAN;
            match field {
                0 => faces(e).for_each(|f| f.pose.yaw = nan),
                1 => faces(e).for_each(|f| f.presence = nan),
                2 => for s in &mut e.spoof.as_mut().unwrap().samples { s.live = nan; },
                3 => e.spoof.as_mut().unwrap().threshold = nan,
                4 => for s in &mut e.identity.samples { s.distance = nan; },
                5 => e.identity.threshold = nan,
                6 => e.speech.transcript.as_mut().unwrap().score = Some(nan),
                _ => e.speech.transcript.as_mut().unwrap().digits_present = nan,
            }
        });
        prop_assert_ne!(verdict(&evidence).decision, Verified);
    }

    #[test]
    fn absurd_evidence_gets_a_verdict_that_can_be_written(
        numbers in prop::collection::vec((any::<i64>(), any::<u32>(), any::<Option<u8>>(), prop::array::uniform8(prop::num::f32::ANY)), 0..40),
        digits in prop::collection::vec(any::<u8>(), 0..50),
        motions in prop::collection::vec(prop::sample::select(&Motion::ALL[..]), 0..9),
        threshold in prop::num::f32::ANY,
        segments in prop::collection::vec((any::<i64>(), any::<i64>()), 0..9),
        voice in (any::<i64>(), prop::collection::vec(any::<i8>(), 0..300)),
    ) {
        let mut e = Scene::default().build();
        let frame = |(t_ms, index, detected, v): &(i64, u32, Option<u8>, [f32; 8])| FrameEvidence {
            index: *index, t_ms: *t_ms, detected: *detected, change: v[0],
            face: Some(FaceEvidence {
                bbox: [v[0], v[1], v[2], v[3]], presence: v[4],
                pose: Pose { yaw: v[5], pitch: v[6], roll: v[7] },
                eye_open: [v[0], v[1]], mouth_open: v[2], inter_eye_px: v[3],
                brightness: v[4], contrast: v[5], sharpness: v[6],
            }),
        };
        e.frames = numbers.iter().map(frame).collect();
        e.identity.threshold = threshold;
        e.identity.samples = numbers.iter().map(|(t_ms, index, _, v)| IdentitySample { index: *index, t_ms: *t_ms, distance: v[0] }).collect();
        e.spoof = Some(SpoofEvidence { threshold, samples: numbers.iter().map(|(t_ms, index, _, v)| SpoofSample { index: *index, t_ms: *t_ms, live: v[1] }).collect() });
        e.challenge.digits.clone_from(&digits);
        e.challenge.motions = motions;
        e.speech.segments = segments.iter().map(|(start_ms, end_ms)| SpeechSegment { start_ms: *start_ms, end_ms: *end_ms }).collect();
        e.speech.envelope = Some(VoiceEnvelope { start_ms: voice.0, db: voice.1 });
        e.speech.transcript.as_mut().unwrap().digits = digits.iter().map(|d| SpokenDigit { digit: *d, start_ms: segments.first().map(|s| s.0), end_ms: segments.last().map(|s| s.1), confidence: threshold }).collect();
        let v = verdict(&e);
        prop_assert_ne!(v.decision, Verified);
        let json = serde_json::to_vec(&v).unwrap();
        prop_assert_eq!(serde_json::from_slice::<Verdict>(&json).unwrap(), v);
    }
}
