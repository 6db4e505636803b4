//! What the service costs, beside what others do with the same work in the same run.
//!
//! `make bench` runs this and writes `docs/benchmarks.json`. Absolute times on shared machines drift,
//! so every figure that matters is a ratio of medians of runs that took turns (A B C A B C …). Time
//! is processor time of this process and its children, from `/proc/self/stat`, in steps of 10 ms.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, missing_docs)]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use cameo::app;
use cameo::config::Config;
use cameo::domain::challenge::{Challenge, Motion};
use cameo::domain::evidence::MediaFacts;
use cameo::drawn::{Look, Script, Settings, record};
use cameo::env::Millis;
use cameo::infer::Models;
use cameo::liveness::{Policy, judge};
use cameo::media::{Decoder, Event, Limits};
use cameo::service::measure::Measurer;
use serde_json::{Value, json};

/// How often everything takes its turn.
const ROUNDS: usize = 5;
const COMMAND: &str = "make bench";

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let models = models(root);
    let clip = clip(&root.join("target/bench"));
    let decoder = Decoder::new(env!("CARGO_BIN_EXE_cameo"), Limits::default());
    let python = std::env::var_os("CAMEO_BENCH_PYTHON").map(PathBuf::from);

    let (mut ours, mut floor, mut peer) = (Vec::new(), Vec::new(), Vec::new());
    let mut frames = 0;
    let mut stages = [Vec::new(), Vec::new(), Vec::new()];
    verify(&decoder, &models, &clip); // warm-up: pages in the models
    for round in 1..=ROUNDS {
        let (all, seen) = cpu_ms(|| verify(&decoder, &models, &clip));
        frames = seen.frames;
        for (stage, ms) in stages.iter_mut().zip([seen.decode_ms, seen.track_ms, seen.judge_ms]) {
            stage.push(ms);
        }
        ours.push(all);
        floor.push(cpu_ms(|| bare_decode(&clip)).0);
        if let Some(python) = &python {
            peer.push(cpu_ms(|| python_peer(python, root, &clip)).0);
        }
        println!(
            "round {round}: verification {all} ms, bare decode {} ms, Python peer {} ms",
            floor.last().unwrap(),
            peer.last().map_or_else(|| "-".to_owned(), ToString::to_string),
        );
    }
    let n = ROUNDS;
    let row = |name: &str, value: f64, unit: &str, peer: &str| {
        json!({ "name": name, "value": (value * 1000.0).round() / 1000.0, "unit": unit, "n": n,
            "command": COMMAND, "peer": peer })
    };
    let (a, b) = (median(&ours), median(&floor));
    let decode = "ffmpeg -threads 1, video alone, to null";
    let mut rows = vec![
        row("verify_cpu_ms", a, "ms", "none"),
        row("verify_frames", frames as f64, "frames", "none"),
        row("verify_decode_cpu_ms", median(&stages[0]), "ms", "none"),
        row("verify_track_cpu_ms", median(&stages[1]), "ms", "none"),
        row("verify_judge_cpu_ms", median(&stages[2]), "ms", "none"),
        row("verify_cpu_vs_decode", a / b, "ratio", decode),
    ];
    if peer.is_empty() {
        println!("SKIPPED: no Python peer; run `make bench`, which prepares it");
    } else {
        let whole = "opencv-python + onnxruntime, every model on every frame";
        rows.push(row("verify_cpu_vs_python", a / median(&peer), "ratio", whole));
    }
    write(&root.join("docs/benchmarks.json"), &rows);
    for r in &rows {
        println!(
            "{:<24} {:>10} {}",
            r["name"].as_str().unwrap(),
            r["value"],
            r["unit"].as_str().unwrap()
        );
    }
}

/// What a verification of the clip saw and cost.
struct Seen {
    frames: usize,
    decode_ms: f64,
    track_ms: f64,
    judge_ms: f64,
}

/// One whole verification as the service does it: decode in the sandboxed child, measure, judge.
fn verify(decoder: &Decoder, models: &Models, clip: &Path) -> Seen {
    let challenge = challenge();
    let start = own_ms();
    let mut measurer = Measurer::new(models, challenge).unwrap();
    let mut decoding = decoder.start(clip.to_owned(), 2);
    let (mut frames, mut decode_ms) = (0, 0.0);
    while let Some(event) = decoding.blocking_next() {
        match event.unwrap() {
            Event::Frame(f) => {
                measurer.frame(f.index, f.t_ms, f.width, f.height, &f.rgb).unwrap();
                frames += 1;
            }
            Event::Audio(a) => measurer.audio(a.t_ms, &a.samples).unwrap(),
            Event::Done(totals) => decode_ms = totals.decode_cpu_ms as f64,
            Event::Opened(_) => {}
        }
    }
    let tracked = own_ms();
    let measured = measurer.finish(MediaFacts::default()).unwrap();
    std::hint::black_box(judge(&measured.evidence, &Policy::balanced()));
    Seen { frames, decode_ms, track_ms: tracked - start, judge_ms: own_ms() - tracked }
}

fn bare_decode(clip: &Path) {
    let status = Command::new("ffmpeg")
        .args(["-v", "error", "-nostdin", "-threads", "1", "-i"])
        .arg(clip)
        .args(["-map", "0:v", "-f", "null", "-"])
        .status()
        .unwrap();
    assert!(status.success());
}

fn python_peer(python: &Path, root: &Path, clip: &Path) {
    let status = Command::new(python)
        .arg(root.join("benches/peers/verify_pipeline.py"))
        .arg(clip)
        .arg(root.join("onnx/installed"))
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
}

fn challenge() -> Challenge {
    Challenge::new(
        vec![4, 7, 1, 9, 0, 3],
        vec![Motion::Left, Motion::Up],
        Millis(0),
        Millis(180_000),
    )
    .unwrap()
}

fn models(root: &Path) -> Models {
    let at = |name: &str| root.join(name).display().to_string();
    let config = Config::load(
        None,
        [
            ("CAMEO_MODELS__DIR".to_owned(), at("onnx/installed")),
            ("CAMEO_MODELS__RUNTIME".to_owned(), at("onnx/runtime/libonnxruntime.so")),
            ("CAMEO_MODELS__SESSIONS".to_owned(), "1".to_owned()),
        ],
    )
    .unwrap();
    app::models(&config).expect("the models; run `make models`")
}

/// A drawn capture of about 8 s, 640 x 480, 30 frames a second, VP8 and Opus.
fn clip(dir: &Path) -> PathBuf {
    let path = dir.join("clip.webm");
    if !path.is_file() {
        std::fs::create_dir_all(dir).unwrap();
        let c = challenge();
        let settings = Settings { fps: 30.0, ..Settings::of(Look::named("amber").unwrap()) };
        record(&Script::new(c.digits, c.motions), &settings, &path).unwrap();
    }
    path
}

/// Keeps the rows of other benchmarks, replaces those of this one.
fn write(path: &Path, rows: &[Value]) {
    let old: Vec<Value> =
        std::fs::read(path).ok().and_then(|b| serde_json::from_slice(&b).ok()).unwrap_or_default();
    let kept = old.into_iter().filter(|o| rows.iter().all(|r| r["name"] != o["name"]));
    let all: Vec<Value> = kept.chain(rows.iter().cloned()).collect();
    std::fs::write(path, serde_json::to_string_pretty(&all).unwrap() + "\n").unwrap();
}

/// Processor time of this process and of the children it has waited for, while `work` runs.
fn cpu_ms<T>(work: impl FnOnce() -> T) -> (f64, T) {
    let before = own_ms() + children_ms();
    let done = work();
    // A child is counted when it has been waited for, which its host thread does at once.
    std::thread::sleep(std::time::Duration::from_millis(50));
    (own_ms() + children_ms() - before, done)
}

fn own_ms() -> f64 {
    let t = ticks();
    (t[0] + t[1]) as f64 * 10.0
}

fn children_ms() -> f64 {
    let t = ticks();
    (t[2] + t[3]) as f64 * 10.0
}

/// utime, stime, cutime and cstime of `proc_pid_stat(5)`, in hundredths of a second.
fn ticks() -> [u64; 4] {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    [11, 12, 13, 14].map(|i| fields[i].parse().unwrap())
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}
