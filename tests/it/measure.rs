//! Measuring whole captures made of real clips and real digits.

use std::path::Path;
use std::time::Duration;

use cameo::domain::challenge::{Challenge, Motion};
use cameo::domain::evidence::MediaFacts;
use cameo::domain::template::PoseBin;
use cameo::env::Millis;
use cameo::infer::Models;
use cameo::infer::manifest::Role;
use cameo::service::bench::{self, Clip};
use cameo::service::measure::{Error, Measured, Measurer};

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
