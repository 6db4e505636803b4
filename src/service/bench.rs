//! What measuring a capture costs, stage by stage, in CPU time of the calling thread (every model
//! runs on it); and an effect that is its log entry alone.

use crate::domain::challenge::Challenge;
use crate::domain::evidence::MediaFacts;
use crate::env::thread_cpu_ms;
use crate::infer::Models;
use crate::infer::geometry::Area;
use crate::infer::picture::{Frame, Thumbnail, look};
use crate::infer::pose::pose;
use crate::infer::track::Tracker;

use super::Services;
use super::ledger::Note;
use super::measure::{Error, Measurer};
use crate::run_batched;
use crate::store::meta;
use crate::tlog::Kind;

/// A capture in memory.
#[derive(Clone)]
pub struct Clip {
    /// Width of the frames in pixels.
    pub width: u32,
    /// Height of the frames in pixels.
    pub height: u32,
    /// Time between frames in milliseconds.
    pub step_ms: i64,
    /// The frames: rows of red, green, blue.
    pub frames: Vec<Vec<u8>>,
    /// Sound, mono at 16 kHz.
    pub sound: Vec<f32>,
}

impl std::fmt::Debug for Clip {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Clip({} frames of {} x {})", self.frames.len(), self.width, self.height)
    }
}

/// The cost of a stage.
#[derive(Clone, Copy, Debug)]
pub struct Stage {
    /// Its name.
    pub name: &'static str,
    /// How often it ran.
    pub runs: usize,
    /// CPU time of all runs in milliseconds.
    pub cpu_ms: f64,
}

/// Appends an entry about nobody, and returns its index when it is durable.
///
/// # Errors
/// Those of the store.
pub async fn append(services: &Services) -> super::Result<u64> {
    run_batched!(services.batch(), "bench.append", |tx| {
        let mut ledger = services.ledger(tx).await?;
        let index = ledger.add(Note::new(Kind::Admin).public("action", "bench"))?;
        ledger.write(tx).await?;
        Ok::<_, super::Error>(index)
    })
}

/// An effect and its entry: a row of this name that says where the entry is, and an entry that
/// names it. Returns the entry's index when both are durable.
///
/// # Errors
/// Those of the store; the name has to be a value that an entry can have.
pub async fn effect(services: &Services, name: &str) -> super::Result<u64> {
    run_batched!(services.batch(), "bench.effect", |tx| {
        let mut ledger = services.ledger(tx).await?;
        let index = ledger.add(Note::new(Kind::Admin).public("action", name))?;
        ledger.write(tx).await?;
        meta::set(tx, name, &index.to_be_bytes()).await?;
        Ok::<_, super::Error>(index)
    })
}

/// CPU time of measuring the whole clip: `frames` while its frames go by, `judge` at the end.
///
/// # Errors
/// As of [`Measurer`].
pub fn whole(models: &Models, challenge: &Challenge, clip: &Clip) -> Result<[Stage; 2], Error> {
    let start = thread_cpu_ms();
    let mut measurer = Measurer::new(models, challenge.clone())?;
    for (i, rgb) in clip.frames.iter().enumerate() {
        let t_ms = i as i64 * clip.step_ms;
        measurer.frame(i as u32, t_ms, clip.width, clip.height, rgb)?;
    }
    measurer.audio(0, &clip.sound)?;
    let middle = thread_cpu_ms();
    let measured = measurer.finish(MediaFacts::default())?;
    std::hint::black_box(&measured);
    let end = thread_cpu_ms();
    let stage = |name, runs, cpu_ms| Stage { name, runs, cpu_ms };
    Ok([stage("frames", clip.frames.len(), middle - start), stage("judge", 1, end - middle)])
}

/// CPU time of each stage on some frames of the clip, on its own.
///
/// # Errors
/// As of [`Measurer`].
pub fn stages(models: &Models, clip: &Clip, frames: usize) -> Result<Vec<Stage>, Error> {
    let mut all = Stages(Vec::new());
    let mut tracker = Tracker::new(models)?;
    for (i, rgb) in clip.frames.iter().take(frames).enumerate() {
        let frame = Frame::new(clip.width, clip.height, rgb)?;
        let t_ms = i as i64 * clip.step_ms;
        let seen = all.run("track", || tracker.see(i as u32, t_ms, &frame))?;
        all.run("thumbnail", || Thumbnail::of(&frame));
        let Some(face) = seen.face else { continue };
        if let Some(mesh) = &models.mesh {
            let region = face.mesh.region(mesh.crop_scale());
            all.run("mesh", || mesh.place(&frame, &region))?;
        }
        all.run("pose", || pose(&face.mesh, &frame))?;
        all.run("look", || look(&frame, &face.area))?;
        if i % 8 > 0 {
            continue;
        }
        if let Some(detector) = &models.detector {
            all.run("detect", || detector.detect(&frame))?;
        }
        if let Some(spoof) = &models.antispoof {
            let area: &Area = &face.area;
            let crops = all.run("spoof crops", || spoof.crops(&frame, area))?;
            all.run("spoof", || spoof.live(&crops))?;
        }
        if let Some(embedder) = &models.embedder {
            let crop = all.run("align", || embedder.align(&frame, &face.mesh))?;
            if let Some(crop) = crop {
                all.run("embed", || embedder.embed(&crop))?;
            }
        }
    }
    if let Some(vad) = &models.vad {
        let speech = all.run("voice activity", || vad.speech(&clip.sound))?;
        let only: Vec<f32> = speech.iter().flat_map(|r| &clip.sound[r.clone()]).copied().collect();
        if let Some(voice) = &models.voice {
            all.run("voice embedding", || voice.embed(&only))?;
        }
    }
    Ok(all.0)
}

struct Stages(Vec<Stage>);

impl Stages {
    fn run<T>(&mut self, name: &'static str, work: impl FnOnce() -> T) -> T {
        let start = thread_cpu_ms();
        let outcome = work();
        let spent = thread_cpu_ms() - start;
        match self.0.iter_mut().find(|s| s.name == name) {
            Some(stage) => {
                stage.runs += 1;
                stage.cpu_ms += spent;
            }
            None => self.0.push(Stage { name, runs: 1, cpu_ms: spent }),
        }
        outcome
    }
}
