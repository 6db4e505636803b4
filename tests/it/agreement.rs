//! The project's digits model hears through whisper.cpp what it heard in the framework that trained it.
//!
//! `training/digits/agree.py` writes what a checkpoint hears in some strings. A few of made voices are in
//! `fixtures/digits`; a folder with more, such as all test strings, can be named by
//! `CAMEO_DIGITS_AGREE_DIR` (with `cameo-digits-v1-q8_0.bin`, where that is not the committed model).

use std::path::{Path, PathBuf};

use cameo::infer::digits_score::MAX_DIGITS;
use cameo::infer::whisper::{WhisperKind, WhisperModel};
use serde::Deserialize;

use crate::infer::sound;

/// How far log-likelihoods may be apart, in nats: the weights here are quantised.
const NATS: f32 = 0.5;

/// A string in the sound.
#[derive(Deserialize)]
struct Row {
    first: usize,
    end: usize,
    asked: Vec<u8>,
    heard: Vec<u8>,
    log_likelihood: f32,
}

/// Transcripts that agree, all of them, and the largest difference of log-likelihoods.
fn compare(dir: &Path) -> (usize, usize, f32) {
    let rows: Vec<Row> =
        serde_json::from_slice(&std::fs::read(dir.join("digits.json")).unwrap()).unwrap();
    let sound = sound(&dir.join("digits.flac"));
    let own = dir.join("cameo-digits-v1-q8_0.bin");
    let committed = PathBuf::from("onnx/digits/cameo-digits-v1-q8_0.bin.zst");
    let file = if own.is_file() { own } else { committed };
    let model = WhisperModel::load(&file, WhisperKind::Digits, 1).unwrap();
    let (mut agree, mut apart) = (0, 0_f32);
    for row in &rows {
        let pcm = &sound[row.first..row.end];
        let heard: Vec<u8> =
            model.transcribe(pcm, 0, None).unwrap().digits.iter().map(|d| d.digit).collect();
        agree += usize::from(heard == row.heard);
        if let Some(mut listening) = model.listen(pcm).unwrap()
            && row.asked.len() <= MAX_DIGITS
        {
            let here = listening.log_likelihood(&row.asked, f32::NEG_INFINITY).unwrap();
            // What is out of the question in both may be so to different degrees.
            if row.log_likelihood > -10.0 {
                apart = apart.max((here - row.log_likelihood).abs());
            }
        }
    }
    (agree, rows.len(), apart)
}

#[test]
fn whisper_cpp_hears_what_the_framework_hears() {
    let mut dirs: Vec<PathBuf> = Vec::new();
    dirs.extend(std::env::var_os("CAMEO_DIGITS_AGREE_DIR").map(PathBuf::from));
    let fixtures = PathBuf::from("fixtures/digits");
    if fixtures.join("digits.json").is_file() {
        dirs.push(fixtures);
    } else {
        println!("SKIPPED: there is no fixtures/digits/digits.json");
    }
    for dir in dirs {
        let (agree, n, apart) = compare(&dir);
        println!("{}: {agree} of {n} transcripts agree, {apart:.3} nats apart", dir.display());
        assert!(n > 0 && agree == n && apart < NATS);
    }
}
