//! The project's own models compute here what they computed in the framework that trained them.
//!
//! `training/digits/golden.py` writes what a checkpoint hears in some clips. A few clips of made voices
//! are in `fixtures/digits`; a folder with all test strings, or those of a training run, can be
//! named by `CAMEO_DIGITS_GOLDEN_DIR` (with the `model.bin` that was exported, where it is not the
//! committed one).

use std::path::{Path, PathBuf};

use cameo::crypto::hash::sha256;
use cameo::infer::manifest::{Adapter, Role, Set};
use cameo::infer::picture::Crop;
use cameo::infer::session::{Pool, Port, Runtime};
use cameo::infer::whisper::{WhisperKind, WhisperModel};
use serde::Deserialize;

use crate::infer::{image_port, manifest, options};

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

/// `tests/vectors/pad.json`, which `training/pad/export.py` writes.
#[derive(Deserialize)]
struct Vectors {
    /// Width and height of the input.
    side: u32,
    vectors: Vec<Vector>,
}

#[derive(Deserialize)]
struct Vector {
    k: u32,
    probabilities: Vec<f32>,
}

/// Input `k` of the vectors as rows of red, green, blue: whole numbers by formula, no photograph.
fn pattern(k: u32, side: u32) -> Vec<u8> {
    let mut rgb = Vec::new();
    for y in 0..side {
        for x in 0..side {
            let value =
                |c: u32| (x * (3 + k) + y * (5 + 2 * k) + x * y * (1 + c) / (7 + k) + 40 * c) % 256;
            rgb.extend([2, 1, 0].map(|c| value(c) as u8)); // the formula counts blue first
        }
    }
    rgb
}

#[test]
fn onnx_runtime_computes_what_the_framework_computes() {
    let manifest = manifest();
    let own: Vec<_> = manifest.set(Set::Hermetic).filter(|m| m.role == Role::AntiSpoof).collect();
    let (Ok(file), [model]) = (std::fs::read("tests/vectors/pad.json"), &own[..]) else {
        println!("SKIPPED: there is no anti-spoof model of the project's own, or no vectors of it");
        return;
    };
    let vectors: Vectors = serde_json::from_slice(&file).unwrap();
    let Adapter::AntiSpoof(params) = &model.adapter else { panic!("{}", model.id) };
    let options = options();
    if !model.path(&options.dir).is_file() || !options.runtime.is_file() {
        println!("SKIPPED: {} is not installed", model.id);
        return;
    }
    let runtime = Runtime::load(&options.runtime).unwrap();
    let classes = Some(params.classes as usize);
    let outputs = vec![Port::f32(&params.output, &[Some(1), classes])];
    let inputs = vec![image_port(&params.image)];
    let pool = Pool::load(&runtime, model, &options.dir, inputs, outputs, 1).unwrap();
    assert!(!vectors.vectors.is_empty());
    for v in vectors.vectors {
        let crop = Crop::new(vectors.side, vectors.side, pattern(v.k, vectors.side)).unwrap();
        let got = pool.run_on_crop(&params.image, &crop).unwrap();
        assert_eq!(got[0].data.len(), v.probabilities.len());
        let apart = got[0].data.iter().zip(&v.probabilities).map(|(a, b)| (a - b).abs());
        let apart = apart.fold(0.0, f32::max);
        println!("{}, input {}: {apart:.1e} apart", model.id, v.k);
        assert!(apart < 1e-3, "{apart}");
    }
}
