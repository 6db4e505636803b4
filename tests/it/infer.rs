//! The inference room on real models and real recordings.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use cameo::config;
use cameo::domain::template::Metric;
use cameo::infer::manifest::{Adapter, Manifest, Role, Set, adapter::ImageInput};
use cameo::infer::picture::{Crop, Frame};
use cameo::infer::session::{Input, Pool, Port, Runtime};
use cameo::infer::track::{Seen, Tracker};
use cameo::infer::{Error, LoadOptions, Models};

use crate::support::models_config;

fn options() -> LoadOptions {
    let config::Models { dir, runtime, .. } = models_config();
    LoadOptions { set: Set::Hermetic, dir, runtime, sessions: 2 }
}

fn manifest() -> Manifest {
    cameo::app::manifest(models_config().manifest.as_deref()).unwrap()
}

/// The installed models; `None`, said aloud, where there are none to test with.
pub(crate) fn models(needed: &[Role]) -> Option<&'static Models> {
    static MODELS: OnceLock<Option<Models>> = OnceLock::new();
    let (manifest, options) = (manifest(), options());
    let there = |role: &Role| {
        let chosen = manifest.filling(options.set, *role);
        !chosen.is_empty() && chosen.iter().all(|m| m.path(&options.dir).is_file())
    };
    if let Some(role) = needed.iter().find(|r| !there(r)) {
        println!("SKIPPED: no {role} model in {}", options.dir.display());
        return None;
    }
    if !options.runtime.is_file() {
        println!("SKIPPED: no ONNX Runtime at {}", options.runtime.display());
        return None;
    }
    MODELS.get_or_init(|| Some(Models::load(&manifest, &options).unwrap())).as_ref()
}

/// A folder of data that is not part of the project; `None`, said aloud, where there is none.
pub(crate) fn data(variable: &str, below: &str) -> Option<PathBuf> {
    let dir = std::env::var_os(variable).map(|d| PathBuf::from(d).join(below));
    if dir.as_ref().is_none_or(|d| !d.exists()) {
        println!("SKIPPED: {variable} does not name a folder with {below}");
        return None;
    }
    dir
}

fn image_port(image: &ImageInput) -> Port {
    let (w, h) = (Some(image.width as usize), Some(image.height as usize));
    let extents = match image.layout {
        cameo::infer::manifest::adapter::Layout::Nchw => [Some(1), Some(3), h, w],
        cameo::infer::manifest::adapter::Layout::Nhwc => [Some(1), h, w, Some(3)],
    };
    Port::f32(&image.tensor, &extents)
}

/// Runs a model on its golden input and compares with the reference runtime's outputs, which are
/// named by the npz member.
fn check_golden(id: &str, npz: &str, outputs: &[(&str, &str, &[usize])]) {
    let Some(golden) = data("CAMEO_MODELS_EXTRA_DIR", "golden") else { return };
    let (manifest, options) = (manifest(), options());
    let model = manifest.model(id).unwrap();
    if !model.path(&options.dir).is_file() || !options.runtime.is_file() {
        println!("SKIPPED: {id} is not installed");
        return;
    }
    let image = match &model.adapter {
        Adapter::Blazeface(p) => &p.image,
        Adapter::Facemesh(p) => &p.image,
        Adapter::FaceEmbedding(p) => &p.image,
        Adapter::AntiSpoof(p) => &p.image,
        other => panic!("{} has no image", other.name()),
    };
    let npz = golden.join(npz);
    let mut rgb: Vec<u8> = array(&npz, "input_u8");
    if matches!(model.adapter, Adapter::AntiSpoof(_)) {
        rgb.chunks_exact_mut(3).for_each(|p| p.swap(0, 2)); // the file has BGR
    }
    let tensor = Crop::new(image.width, image.height, rgb).unwrap().tensor(image).unwrap();
    let runtime = Runtime::load(&options.runtime).unwrap();
    let ports = outputs
        .iter()
        .map(|(name, _, extents)| {
            Port::f32(*name, &extents.iter().map(|e| Some(*e)).collect::<Vec<_>>())
        })
        .collect();
    let input = image_port(image);
    let extents: Vec<usize> = input.extents.iter().map(|e| e.unwrap()).collect();
    let pool = Pool::load(&runtime, model, &options.dir, vec![input], ports, 1).unwrap();
    let got = pool.run(&[Input::F32(&extents, &tensor)]).unwrap();
    for (got, (name, member, _)) in got.iter().zip(outputs) {
        let worst = relative_difference(&got.data, &array::<f32>(&npz, member));
        println!("{id} {name}: largest difference {worst:.1e} of the largest value");
        assert!(worst < 1e-3, "{id} {name}: {worst}");
    }
}

/// The elements of an array in an npz file.
fn array<T: ndarray_npy::ReadableElement>(npz: &Path, member: &str) -> Vec<T> {
    let mut archive = zip::ZipArchive::new(std::fs::File::open(npz).unwrap()).unwrap();
    let mut bytes = Vec::new();
    let mut file = archive.by_name(&format!("{member}.npy")).unwrap();
    std::io::Read::read_to_end(&mut file, &mut bytes).unwrap();
    <ndarray::ArrayD<T> as ndarray_npy::ReadNpyExt>::read_npy(&bytes[..])
        .unwrap()
        .into_iter()
        .collect()
}

/// The largest difference over the largest value.
fn relative_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    let scale = b.iter().fold(0f32, |m, v| m.max(v.abs()));
    a.iter().zip(b).fold(0f32, |m, (x, y)| m.max((x - y).abs())) / scale
}

#[test]
fn blazeface_agrees_with_its_reference() {
    const P: &str = "out/StatefulPartitionedCall_functional_1_tf_op_layer_";
    let member = |s: &str| format!("{P}{s}");
    let names = [
        member("classificators_1_classificators_1"),
        member("regressors_1_regressors_1"),
        member("classificators_2_classificators_2"),
        member("regressors_2_regressors_2"),
    ];
    check_golden(
        "blazeface",
        "blazeface.npz",
        &[
            ("scores_16", &names[0], &[1, 512, 1]),
            ("boxes_16", &names[1], &[1, 512, 16]),
            ("scores_8", &names[2], &[1, 384, 1]),
            ("boxes_8", &names[3], &[1, 384, 16]),
        ],
    );
}

#[test]
fn facemesh_agrees_with_its_reference() {
    check_golden(
        "facemesh",
        "facemesh.npz",
        &[
            ("mesh", "out/StatefulPartitionedCall_model_1_output_mesh_Reshape", &[1, 1404]),
            ("presence", "out/StatefulPartitionedCall_model_1_output_faceflag_Reshape", &[1, 1]),
        ],
    );
}

#[test]
fn dlib_agrees_with_its_reference() {
    check_golden("dlib_resnet", "dlib_resnet.npz", &[("embedding", "out/embedding", &[1, 128])]);
}

#[test]
fn minifasnet_agrees_with_its_reference() {
    check_golden("minifasnet_v2", "minifasnet_v2.npz", &[("output", "out/output", &[1, 3])]);
    check_golden("minifasnet_v1se", "minifasnet_v1se.npz", &[("output", "out/output", &[1, 3])]);
}

/// `training/pad/export.py` writes the vectors; their inputs come from a formula.
#[test]
fn the_projects_antispoof_agrees_with_the_framework_that_trained_it() {
    let (manifest, options) = (manifest(), options());
    if !options.runtime.is_file() {
        println!("SKIPPED: no ONNX Runtime at {}", options.runtime.display());
        return;
    }
    let model = manifest.model("cameo_pad").unwrap();
    let Adapter::AntiSpoof(params) = &model.adapter else { panic!("not an anti-spoof model") };
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join("tests/vectors/pad.json")).unwrap();
    let vectors: serde_json::Value = serde_json::from_str(&text).unwrap();
    let side = params.image.width as usize;
    assert_eq!(vectors["side"], side);
    let input = image_port(&params.image);
    let extents: Vec<usize> = input.extents.iter().map(|e| e.unwrap()).collect();
    let output = Port::f32(&params.output, &[Some(1), Some(params.classes as usize)]);
    let runtime = Runtime::load(&options.runtime).unwrap();
    let committed = root.join("onnx/pad");
    let pool = Pool::load(&runtime, model, &committed, vec![input], vec![output], 1).unwrap();
    for vector in vectors["vectors"].as_array().unwrap() {
        let k = vector["k"].as_u64().unwrap() as usize;
        let mut rgb = vec![0; side * side * 3];
        for (i, pixel) in rgb.chunks_exact_mut(3).enumerate() {
            let (x, y) = (i % side, i / side);
            for c in 0..3 {
                let value = x * (3 + k) + y * (5 + 2 * k) + x * y * (1 + c) / (7 + k) + 40 * c;
                pixel[2 - c] = (value % 256) as u8;
            }
        }
        let crop = Crop::new(params.image.width, params.image.height, rgb).unwrap();
        let tensor = crop.tensor(&params.image).unwrap();
        let got = pool.run(&[Input::F32(&extents, &tensor)]).unwrap();
        let expected = vector["probabilities"].as_array().unwrap();
        assert_eq!(got[0].data.len(), expected.len());
        for (a, b) in got[0].data.iter().zip(expected) {
            let b = b.as_f64().unwrap() as f32;
            assert!((a - b).abs() < 1e-3, "vector {k}: {a} for {b}");
        }
    }
}

#[test]
fn voice_encoder_agrees_with_its_reference() {
    let Some(golden) = data("CAMEO_MODELS_EXTRA_DIR", "golden/resemblyzer.npz") else { return };
    if models(&[Role::VoiceEmbedding]).is_none() {
        return;
    }
    let (manifest, options) = (manifest(), options());
    let (mel, want) = (array::<f32>(&golden, "input"), array::<f32>(&golden, "out/output"));
    let runtime = Runtime::load(&options.runtime).unwrap();
    let pool = Pool::load(
        &runtime,
        manifest.model("resemblyzer").unwrap(),
        &options.dir,
        vec![Port::f32("mel", &[None, Some(160), Some(40)])],
        vec![Port::f32("embedding", &[None, Some(256)])],
        1,
    )
    .unwrap();
    let got = pool.run(&[Input::F32(&[2, 160, 40], &mel)]).unwrap();
    let worst = relative_difference(&got[0].data, &want);
    println!("resemblyzer: {worst:.1e}");
    assert!(worst < 1e-3, "{worst}");
}

#[test]
fn what_is_not_the_manifests_model_is_refused() {
    if models(&[Role::FaceMesh]).is_none() {
        return;
    }
    let (manifest, options) = (manifest(), options());
    let runtime = Runtime::load(&options.runtime).unwrap();
    let model = manifest.model("facemesh").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let load = |model: &_, inputs, outputs| {
        Pool::load(&runtime, model, dir.path(), inputs, outputs, 1).unwrap_err()
    };
    assert!(matches!(load(model, vec![], vec![]), Error::ModelMissing { .. }));

    let mut bytes = std::fs::read(model.path(&options.dir)).unwrap();
    std::fs::write(model.path(dir.path()), &bytes).unwrap();
    let input = || vec![Port::f32("image", &[Some(1), Some(192), Some(192), Some(3)])];
    for (inputs, outputs) in [
        (vec![], vec![]),
        (vec![Port::f32("other", &[])], vec![]),
        (vec![Port::f32("image", &[Some(1), Some(3), Some(192), Some(192)])], vec![]),
        (input(), vec![Port::f32("mesh", &[Some(1), Some(1405)])]),
        (input(), vec![Port::f32("no_such", &[Some(1), Some(1)])]),
    ] {
        assert!(matches!(load(model, inputs, outputs), Error::ModelInvalid { .. }));
    }

    bytes[1000] ^= 1;
    std::fs::write(model.path(dir.path()), &bytes).unwrap();
    assert!(matches!(load(model, input(), vec![]), Error::ModelAltered { .. }));
    bytes.truncate(1000);
    std::fs::write(model.path(dir.path()), &bytes).unwrap();
    assert!(matches!(load(model, input(), vec![]), Error::ModelAltered { .. }));

    // Rubbish with the right hash: the runtime's parser must refuse it.
    let mut rubbish = model.clone();
    let text = vec![7u8; 5000];
    rubbish.bytes = 5000;
    rubbish.sha256.0 = cameo::crypto::hash::sha256(&text);
    std::fs::write(model.path(dir.path()), &text).unwrap();
    assert!(matches!(load(&rubbish, input(), vec![]), Error::ModelInvalid { .. }));
}

#[test]
fn a_missing_runtime_says_what_to_do() {
    let error = Runtime::load(Path::new("/nowhere/libonnxruntime.so"));
    // Another test of this process may have loaded the one runtime already.
    if let Err(e) = error {
        assert!(matches!(e, Error::RuntimeMissing { .. }));
        assert!(e.to_string().contains("make run"), "{e}");
    }
}

/// The first frames of a video, scaled to at most 640 on the long side, through the ffmpeg program.
pub(crate) fn frames(video: &Path, most: u32, mut see: impl FnMut(u32, i64, &Frame<'_>)) {
    let probe = Command::new("ffprobe")
        .args(["-v", "error", "-select_streams", "v:0", "-of", "csv=p=0"])
        .args(["-show_entries", "stream=width,height,r_frame_rate"])
        .arg(video)
        .output()
        .unwrap();
    let text = String::from_utf8(probe.stdout).unwrap();
    let parts: Vec<&str> = text.trim().split([',', '/']).collect();
    let numbers: Vec<f64> = parts.iter().take(4).map(|p| p.parse().unwrap()).collect();
    let shrink = (640.0 / numbers[0].max(numbers[1])).min(1.0);
    let side = |v: f64| ((v * shrink / 2.0).round() * 2.0) as u32;
    let (w, h, ms) = (side(numbers[0]), side(numbers[1]), 1000.0 * numbers[3] / numbers[2]);
    let mut child = Command::new("ffmpeg")
        .args(["-v", "error", "-threads", "1", "-i"])
        .arg(video)
        .args(["-frames:v", &most.to_string()])
        .args(["-vf", &format!("scale={w}:{h}"), "-f", "rawvideo", "-pix_fmt", "rgb24", "-"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = child.stdout.take().unwrap();
    let mut rgb = vec![0; (w * h * 3) as usize];
    let mut index = 0;
    while std::io::Read::read_exact(&mut out, &mut rgb).is_ok() {
        see(index, (f64::from(index) * ms) as i64, &Frame::new(w, h, &rgb).unwrap());
        index += 1;
    }
    child.wait().unwrap();
}

fn track(models: &Models, video: &Path) -> Vec<Seen> {
    let mut tracker = Tracker::new(models).unwrap();
    let mut all = Vec::new();
    frames(video, 240, |index, t_ms, frame| all.push(tracker.see(index, t_ms, frame).unwrap()));
    all
}

#[test]
fn a_real_face_is_followed_without_a_break() {
    let Some(videos) = data("CAMEO_DATASETS_DIR", "video") else { return };
    let Some(models) = models(&[Role::FaceDetector, Role::FaceMesh]) else { return };
    let mut clips: Vec<PathBuf> = std::fs::read_dir(videos)
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.file_name().unwrap().to_string_lossy().starts_with("lp_"))
        .collect();
    clips.sort();
    assert!(!clips.is_empty());
    for clip in clips {
        let seen = track(models, &clip);
        let n = seen.len();
        let faces: Vec<_> = seen.iter().filter_map(|s| s.evidence.face.as_ref()).collect();
        let detections = seen.iter().filter(|s| s.evidence.detected.is_some()).count();
        let most = seen.iter().filter_map(|s| s.evidence.detected).max().unwrap_or(0);
        let fresh = seen.iter().filter(|s| s.face.as_ref().is_some_and(|f| f.fresh)).count();
        let range = |f: fn(&cameo::domain::evidence::FaceEvidence) -> f32| {
            let (low, high) =
                faces.iter().fold((f32::MAX, f32::MIN), |(l, h), e| (l.min(f(e)), h.max(f(e))));
            format!("{low:.2}..{high:.2}")
        };
        let jitter: f32 =
            faces.windows(2).map(|w| (w[1].pose.yaw - w[0].pose.yaw).abs()).sum::<f32>()
                / faces.len() as f32;
        println!(
            "{}: {n} frames, {} with a face, {fresh} fresh, {detections} detections of up to {most}; yaw {} (step {jitter:.2}) \
             pitch {} roll {} eyes {} mouth {} brightness {} contrast {} sharpness {} eye distance {}",
            clip.file_name().unwrap().to_string_lossy(),
            faces.len(),
            range(|f| f.pose.yaw),
            range(|f| f.pose.pitch),
            range(|f| f.pose.roll),
            range(|f| f.eye_open[0]),
            range(|f| f.mouth_open),
            range(|f| f.brightness),
            range(|f| f.contrast),
            range(|f| f.sharpness),
            range(|f| f.inter_eye_px),
        );
        assert!(faces.len() * 100 >= n * 97, "lost in {} of {n} frames", n - faces.len());
        assert!(fresh <= 2, "{fresh} jumps");
        assert!(faces.iter().all(|f| f.pose.yaw.abs() < 80.0 && f.pose.pitch.abs() < 60.0));
        assert!(detections <= n / 10 + 3, "{detections} detections in {n} frames");
    }
}

/// The protocol of `cameo eval faces`, on the folds at hand.
#[test]
fn faces_of_lfw_are_told_apart() {
    let Some(faces) = data("CAMEO_DATASETS_DIR", "faces") else { return };
    let Some(models) = models(&[Role::FaceDetector, Role::FaceMesh, Role::FaceEmbedding]) else {
        return;
    };
    let report = cameo::cli::eval::faces::measure(&faces, models, 2).unwrap();
    println!("{report}");
    assert!(report.accuracy >= 0.98, "{report}");
}

/// Sound of a file as 16 kHz mono, through the ffmpeg program.
pub(crate) fn sound(file: &Path) -> Vec<f32> {
    let out = Command::new("ffmpeg")
        .args(["-v", "error", "-i"])
        .arg(file)
        .args(["-ac", "1", "-ar", "16000", "-f", "f32le", "-"])
        .output()
        .unwrap();
    out.stdout.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
}

pub(crate) fn files(dir: &Path, with: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = std::fs::read_dir(dir)
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| with(&p.file_name().unwrap().to_string_lossy()))
        .collect();
    all.sort();
    all
}

#[test]
fn speech_is_told_from_silence() {
    let Some(digits) = data("CAMEO_DATASETS_DIR", "digits/fsdd") else { return };
    let Some(noise) = data("CAMEO_DATASETS_DIR", "noise") else { return };
    let Some(models) = models(&[Role::VoiceActivity]) else { return };
    let vad = models.vad.as_ref().unwrap();
    let silence = vec![0.0; 16_000];
    assert!(vad.speech(&silence).unwrap().is_empty() && vad.speech(&[]).unwrap().is_empty());

    // Digits with a second of silence before and after each: how many stretches, and where.
    let (mut found, mut early, mut n) = (0, 0, 0);
    for file in files(&digits, |f| f.ends_with("_0.wav")) {
        let digit = sound(&file);
        let all = [&silence[..], &digit, &silence].concat();
        let speech = vad.speech(&all).unwrap();
        n += 1;
        found += usize::from(speech.len() == 1);
        let beyond = |r: &std::ops::Range<usize>| r.start < 14_000 || r.end > 18_000 + digit.len();
        early += usize::from(speech.iter().any(beyond));
    }
    println!("{found} of {n} digits are one stretch each, {early} with something outside of them");
    assert!(found * 10 >= n * 9 && early == 0, "{found} of {n}, {early}");

    for file in files(&noise, |f| !f.contains("babble")) {
        let sound = sound(&file);
        let speech: usize = vad.speech(&sound).unwrap().iter().map(ExactSizeIterator::len).sum();
        let share = speech as f32 / sound.len() as f32;
        println!("{}: {:.1} % speech", file.file_name().unwrap().to_string_lossy(), share * 100.0);
        assert!(share < 0.1, "{share}");
    }
}

#[test]
fn voices_of_one_speaker_are_closer() {
    let Some(strings) = data("CAMEO_DATASETS_DIR", "digits/an4_digit_strings") else { return };
    let Some(models) = models(&[Role::VoiceEmbedding, Role::VoiceActivity]) else { return };
    let (voice, vad) = (models.voice.as_ref().unwrap(), models.vad.as_ref().unwrap());
    assert!(voice.embed(&vec![0.0; 16_000]).unwrap().is_none());
    let mut all = Vec::new();
    for speaker in files(&strings, |_| true).into_iter().take(16) {
        for file in files(&speaker, |_| true).into_iter().take(2) {
            let sound = sound(&file);
            let speech: Vec<f32> =
                vad.speech(&sound).unwrap().into_iter().flat_map(|r| sound[r].to_vec()).collect();
            if let Some(vector) = voice.embed(&speech).unwrap() {
                assert!((cameo::domain::template::norm(&vector) - 1.0).abs() < 1e-4);
                all.push((speaker.clone(), vector));
            }
        }
    }
    let (mut same, mut other) = (Vec::new(), Vec::new());
    for (i, (a, va)) in all.iter().enumerate() {
        for (b, vb) in &all[..i] {
            let d = Metric::Cosine.distance(va, vb);
            if a == b { same.push(d) } else { other.push(d) }
        }
    }
    same.sort_by(f32::total_cmp);
    other.sort_by(f32::total_cmp);
    let median = |v: &[f32]| v[v.len() / 2];
    let within = same.iter().filter(|d| **d <= voice.threshold()).count();
    let across = other.iter().filter(|d| **d <= voice.threshold()).count();
    println!(
        "cosine distance: one speaker {:.3} (n = {}, {within} within {:.2}), two speakers {:.3} (n = {}, {across} within)",
        median(&same),
        same.len(),
        voice.threshold(),
        median(&other),
        other.len(),
    );
    assert!(median(&same) < other[other.len() / 20], "the speakers are not told apart");
}

#[test]
fn recaptures_are_told_from_a_live_face() {
    let Some(pad) = data("CAMEO_DATASETS_DIR", "pad") else { return };
    let Some(models) = models(&[Role::FaceDetector, Role::FaceMesh, Role::AntiSpoof]) else {
        return;
    };
    let antispoof = models.antispoof.as_ref().unwrap();
    for (name, live) in [("T1", true), ("F1", false), ("F2", false)] {
        let picture = image::open(pad.join(format!("minivision_{name}.jpg"))).unwrap().into_rgb8();
        let frame = Frame::new(picture.width(), picture.height(), picture.as_raw()).unwrap();
        let seen = Tracker::new(models).unwrap().see(0, 0, &frame).unwrap();
        let face = seen.face.expect("a face");
        let p = antispoof.live(&antispoof.crops(&frame, &face.area).unwrap()).unwrap();
        println!("{name}: live {p:.4}");
        assert_eq!(p >= antispoof.threshold(), live, "{name}: {p}");
    }
}
