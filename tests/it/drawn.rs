//! Drawn captures from end to end: golden pictures, and files that a player accepts.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::Command;

use cameo::domain::challenge::Motion;
use cameo::drawn::{
    Codec, Error, FaceState, Figure, GroundTruth, Look, Placement, Script, Settings, Stage, Trick,
    record,
};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/drawn").join(name)
}

/// Set `CAMEO_UPDATE_GOLDEN=1` to write the pictures anew, then look at them.
#[test]
fn pictures_look_as_they_did() {
    let cases = [
        ("amber", FaceState { mouth: 0.5, ..FaceState::default() }),
        ("birch", FaceState { yaw: 30.0, roll: 4.0, ..FaceState::default() }),
        ("cedar", FaceState { pitch: 20.0, ..FaceState::default() }),
        ("dahlia", FaceState { yaw: -15.0, pitch: -8.0, blink: 1.0, ..FaceState::default() }),
    ];
    for (name, state) in cases {
        let look = Look::named(name).unwrap();
        let mut stage = Stage::new(160, 120, &look, 1).unwrap();
        let at = Placement { scale: 0.36, ..Placement::CENTRED };
        let drawn = stage.draw(&[(&Figure::new(&look), at, state)], 0);
        let path = golden(&format!("{name}.png"));
        if std::env::var_os("CAMEO_UPDATE_GOLDEN").is_some() {
            drawn.save(&path).unwrap();
        }
        let kept = image::open(&path).unwrap().to_rgb8();
        assert_eq!(kept.dimensions(), drawn.dimensions());
        let differences: Vec<u8> =
            kept.as_raw().iter().zip(drawn.as_raw()).map(|(a, b)| a.abs_diff(*b)).collect();
        // Another processor's sine may move an edge by a fraction of a pixel.
        let mean =
            differences.iter().map(|&d| f64::from(d)).sum::<f64>() / differences.len() as f64;
        let far = differences.iter().filter(|&&d| d > 24).count();
        assert!(mean < 0.5 && far < differences.len() / 200, "{name}: mean {mean}, far {far}");
    }
}

/// A small, fast capture.
fn small(codec: Codec, trick: Trick) -> Settings {
    Settings {
        width: 192,
        height: 144,
        fps: 10.0,
        codec,
        kbps: 300,
        seed: 7,
        trick,
        ..Settings::of(Look::named("amber").unwrap())
    }
}

fn script() -> Script {
    Script::new(vec![4, 7, 1, 9], vec![Motion::Left])
}

fn capture(settings: &Settings) -> (tempfile::TempDir, PathBuf, GroundTruth) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(format!("capture.{}", settings.codec.extension()));
    let truth = record(&script(), settings, &path).unwrap();
    (dir, path, truth)
}

/// What ffprobe says about `entry` of the streams.
fn probe(path: &Path, entry: &str) -> String {
    let out = Command::new("ffprobe")
        .args(["-v", "error", "-count_packets", "-show_entries", entry, "-of", "csv=p=0"])
        .arg(path)
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

/// The video as 8-bit grey pictures.
fn decode(path: &Path, width: usize, height: usize) -> Vec<Vec<u8>> {
    let out = Command::new("ffmpeg")
        .args(["-v", "error", "-i"])
        .arg(path)
        .args(["-f", "rawvideo", "-pix_fmt", "gray", "-"])
        .output()
        .unwrap();
    out.stdout.chunks_exact(width * height).map(<[u8]>::to_vec).collect()
}

/// The loudest 20 ms of the sound, of full scale.
fn loudest(path: &Path) -> f64 {
    let out = Command::new("ffmpeg")
        .args(["-v", "error", "-i"])
        .arg(path)
        .args(["-f", "s16le", "-ac", "1", "-ar", "16000", "-"])
        .output()
        .unwrap();
    let samples: Vec<f64> = out
        .stdout
        .chunks_exact(2)
        .map(|b| f64::from(i16::from_le_bytes([b[0], b[1]])) / 32768.0)
        .collect();
    samples
        .chunks(320)
        .map(|c| (c.iter().map(|s| s * s).sum::<f64>() / c.len() as f64).sqrt())
        .fold(0.0, f64::max)
}

#[test]
fn every_codec_makes_a_file_with_both_streams_and_every_frame() {
    let expected =
        [(Codec::Vp8, "vp8", "opus"), (Codec::Vp9, "vp9", "opus"), (Codec::H264, "h264", "aac")];
    for (codec, video, audio) in expected {
        let (_dir, path, truth) = capture(&small(codec, Trick::None));
        let streams = probe(&path, "stream=codec_name,nb_read_packets");
        let frames = format!("{video},{}", truth.frames.len());
        assert!(streams.contains(&frames) && streams.contains(audio), "{streams}");
        assert!(loudest(&path) > 0.05);
        assert_eq!(truth.digits.iter().map(|d| d.digit).collect::<Vec<_>>(), [4, 7, 1, 9]);
    }
}

#[test]
fn the_same_seed_makes_the_same_file() {
    let (_a, first, truth) = capture(&small(Codec::Vp8, Trick::None));
    let (_b, second, again) = capture(&small(Codec::Vp8, Trick::None));
    assert_eq!(truth, again);
    assert!(std::fs::read(first).unwrap() == std::fs::read(second).unwrap());
}

#[test]
fn truth_survives_json() {
    let (_dir, _path, truth) = capture(&small(Codec::Vp8, Trick::None));
    let text = serde_json::to_string(&truth).unwrap();
    let back: GroundTruth = serde_json::from_str(&text).unwrap();
    assert_eq!(back.frames.len(), truth.frames.len());
    assert_eq!(back.motions[0].motion, Motion::Left);
}

/// Mean absolute difference of two pictures, in levels.
fn difference(a: &[u8], b: &[u8]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(a.abs_diff(*b))).sum::<f64>() / a.len() as f64
}

#[test]
fn each_trick_shows_in_the_pictures() {
    let other = || Box::new(Look::named("cedar").unwrap());
    let run = |trick: Trick| {
        let (_dir, path, truth) = capture(&small(Codec::H264, trick));
        (decode(&path, 192, 144), truth, loudest(&path))
    };
    let (plain, truth, _) = run(Trick::None);
    let held = truth.motions[0].reached_ms as usize / 100 + 1;
    assert!(difference(&plain[0], &plain[held]) > 4.0, "a turn changes the picture");
    assert!(truth.frames[held].state.yaw > 25.0);

    let (still, truth, _) = run(Trick::Still);
    assert!(difference(&still[10], &still[held]) < 1.0, "a photo does not move");
    assert!(truth.motions.is_empty());

    let (empty, truth, _) = run(Trick::NoFace);
    assert!(difference(&empty[0], &plain[0]) > 8.0);
    assert!(truth.frames.iter().all(|f| f.faces == 0));

    let (two, truth, _) = run(Trick::TwoFaces(other()));
    assert!(difference(&two[0], &plain[0]) > 8.0);
    assert!(truth.frames.iter().all(|f| f.faces == 2));

    let (spliced, _, _) = run(Trick::Splice { look: other(), at_ms: 1_000 });
    assert!(difference(&spliced[5], &plain[5]) < 1.0, "before the splice nothing differs");
    assert!(difference(&spliced[15], &plain[15]) > 5.0, "after it another person sits there");

    let (_, _, level) = run(Trick::Silent);
    assert!(level < 0.01, "{level}");
}

#[test]
fn what_cannot_be_drawn_is_refused_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("x.webm");
    let good = small(Codec::Vp8, Trick::None);
    let e = record(&script(), &Settings { fps: 0.0, ..good.clone() }, &out).unwrap_err();
    assert!(matches!(e, Error::BadRate(_)));
    let e = record(&script(), &Settings { width: 63, ..good.clone() }, &out).unwrap_err();
    assert!(matches!(e, Error::BadSize { .. }));
    let e = record(&Script::new(vec![12], vec![]), &good, &out).unwrap_err();
    assert!(matches!(e, Error::Speech(_)));
    let e = record(&Script::new(vec![1; 500], vec![]), &good, &out).unwrap_err();
    assert!(matches!(e, Error::TooLong { .. }));
    let nowhere = dir.path().join("no/such/folder/x.webm");
    let e = record(&script(), &good, &nowhere).unwrap_err();
    assert!(matches!(&e, Error::Encoding(why) if why.contains("No such file")), "{e}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}
