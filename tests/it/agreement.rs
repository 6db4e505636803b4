//! The project's digits model hears through whisper.cpp what it heard in the framework that trained it.
//!
//! `training/digits/golden.py` writes what a checkpoint hears in some clips. A few clips of made voices
//! are in `fixtures/digits`; a folder with all test strings, or those of a training run, can be
//! named by `CAMEO_DIGITS_GOLDEN_DIR` (with the `model.bin` that was exported, where it is not the
//! committed one).

use std::path::{Path, PathBuf};

use cameo::crypto::hash::sha256;
use cameo::infer::whisper::{WhisperKind, WhisperModel};
use serde::Deserialize;

/// How far log-likelihoods may be apart, in nats: the weights here are quantised.
const NATS: f32 = 0.25;

#[derive(Deserialize)]
struct Golden {
    /// SHA-256 of the exported file, unpacked.
    model: String,
    clips: Vec<Clip>,
}

#[derive(Deserialize)]
struct Clip {
    samples: usize,
    heard: Vec<u8>,
    log_likelihood: f32,
}

/// Transcripts that agree, and the largest difference of their log-likelihoods.
fn compare(dir: &Path) -> (usize, usize, f32) {
    let golden: Golden =
        serde_json::from_slice(&std::fs::read(dir.join("golden.json")).unwrap()).unwrap();
    let own = dir.join("model.bin");
    let committed = Path::new("onnx/digits/cameo-digits-v1-q8_0.bin.zst");
    let file = std::fs::read(if own.is_file() { &own } else { committed }).unwrap();
    let unpacked = zstd::decode_all(&file[..]).unwrap_or_else(|_| file.clone());
    assert_eq!(hex::encode(sha256(&unpacked)), golden.model, "the golden file is another model's");
    let model = WhisperModel::from_bytes(&unpacked, WhisperKind::Digits, 1).unwrap();
    let sound: Vec<f32> = std::fs::read(dir.join("golden.s16"))
        .unwrap()
        .chunks_exact(2)
        .map(|b| f32::from(i16::from_le_bytes([b[0], b[1]])) / 32768.0)
        .collect();
    let (mut at, mut agree, mut apart) = (0, 0, 0_f32);
    for clip in &golden.clips {
        let pcm = &sound[at..at + clip.samples];
        at += clip.samples;
        let heard: Vec<u8> =
            model.transcribe(pcm, 0, None).unwrap().digits.iter().map(|d| d.digit).collect();
        if heard == clip.heard {
            agree += 1;
        }
        if let Some(mut listening) = model.listen(pcm).unwrap()
            && clip.heard.len() <= cameo::infer::digits_score::MAX_DIGITS
        {
            let here = listening.log_likelihood(&clip.heard, f32::NEG_INFINITY).unwrap();
            apart = apart.max((here - clip.log_likelihood).abs());
        }
    }
    assert_eq!(at, sound.len());
    (agree, golden.clips.len(), apart)
}

#[test]
fn whisper_cpp_hears_what_the_framework_hears() {
    let mut dirs = vec![];
    let fixtures = Path::new("fixtures/digits");
    if fixtures.join("golden.json").is_file() {
        dirs.push(fixtures.to_owned());
    }
    dirs.extend(std::env::var_os("CAMEO_DIGITS_GOLDEN_DIR").map(PathBuf::from));
    if dirs.is_empty() {
        println!("SKIPPED: there is no fixtures/digits/golden.json");
    }
    for dir in dirs {
        let (agree, n, apart) = compare(&dir);
        println!("{}: {agree} of {n} transcripts agree, {apart:.3} nats apart", dir.display());
        assert_eq!(agree, n);
        assert!(apart < NATS, "{apart}");
    }
}
