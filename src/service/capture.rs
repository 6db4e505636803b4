//! One capture through the decoder and the models, on one thread.

use std::path::Path;
use std::time::Instant;

use serde_json::Value;

use super::measure::{self, Measured, Measurer};
use super::{Error, Result};
use crate::domain::challenge::Challenge;
use crate::domain::evidence::MediaFacts;
use crate::env::Millis;
use crate::infer::Models;
use crate::media;

/// How long the stages of judging took, in milliseconds.
#[derive(Clone, Copy, Debug, Default, serde::Serialize)]
#[allow(clippy::struct_field_names)] // the unit belongs to the name in JSON
pub struct Timings {
    /// Processor time of the decoder.
    pub decode_cpu_ms: u64,
    /// Tracking the face, while frames come.
    pub track_ms: f64,
    /// The models that judge, when all frames have come.
    pub models_ms: f64,
    /// All of it, from the start of the decoder.
    pub total_ms: f64,
}

/// An uploaded file.
#[derive(Clone, Debug)]
pub struct Capture<'a> {
    /// Where it lies.
    pub path: &'a Path,
    /// Its size.
    pub bytes: u64,
    /// Its SHA-256, lower-case hexadecimal.
    pub sha256: String,
    /// When all of it had come; `None` where it was not sent in answer to the challenge.
    pub received: Option<Millis>,
    /// Whether small pictures for a reviewer are picked ([`Measured::key_frames`]).
    pub key_frames: bool,
}

/// Decodes and measures one capture that answers `challenge`, on this thread. Between two events
/// of the decoder, `cancelled` may end it.
///
/// # Errors
/// [`Error::Capture`] where the file is refused, [`Error::Internal`] where a model fails.
pub fn measure_capture(
    decoder: &media::Decoder,
    models: &Models,
    challenge: Challenge,
    Capture { path, bytes, sha256, received, key_frames }: Capture<'_>,
    cancelled: impl Fn() -> bool,
) -> Result<(Measured, Timings)> {
    let measuring = |e: measure::Error| match e {
        measure::Error::TooLong => {
            Error::Capture(media::Error::TooLong { max_ms: decoder.limits().max_duration_ms })
        }
        e => Error::Internal(format!("measuring: {e}")),
    };
    let started = Instant::now();
    let mut timings = Timings::default();
    let mut facts = MediaFacts { bytes, sha256, received_at: received, ..MediaFacts::default() };
    let measurer = Measurer::new(models, challenge).map_err(measuring)?;
    let mut measurer = measurer.keeping_frames(key_frames);
    let mut decoding = decoder.start(path.to_owned(), 2);
    while let Some(event) = decoding.blocking_next() {
        if cancelled() {
            return Err(Error::Capture(media::Error::Cancelled));
        }
        let event_started = Instant::now();
        match event.map_err(Error::Capture)? {
            media::Event::Opened(opened) => describe(&mut facts, &opened),
            media::Event::Frame(f) => {
                facts.duration_ms = f.t_ms;
                measurer.frame(f.index, f.t_ms, f.width, f.height, &f.rgb).map_err(measuring)?;
            }
            media::Event::Audio(a) => measurer.audio(a.t_ms, &a.samples).map_err(measuring)?,
            media::Event::Done(totals) => {
                facts.frames = totals.frames;
                facts.audio_ms = i64::try_from(totals.audio_ms).unwrap_or(i64::MAX);
                timings.decode_cpu_ms = totals.decode_cpu_ms;
            }
        }
        timings.track_ms += event_started.elapsed().as_secs_f64() * 1e3;
    }
    let finishing = Instant::now();
    let measured = measurer.finish(facts).map_err(measuring)?;
    timings.models_ms = finishing.elapsed().as_secs_f64() * 1e3;
    timings.total_ms = started.elapsed().as_secs_f64() * 1e3;
    Ok((measured, timings))
}

/// What the decoder knows of the file, for the evidence.
fn describe(facts: &mut MediaFacts, opened: &media::MediaFacts) {
    facts.container = name(&opened.container);
    facts.video_codec = name(&opened.video_codec);
    facts.audio_codec = opened.audio_codec.as_ref().map(name).unwrap_or_default();
    facts.width = opened.width;
    facts.height = opened.height;
}

/// The name that a plain enum has in JSON.
fn name<T: serde::Serialize>(value: &T) -> String {
    match serde_json::to_value(value) {
        Ok(Value::String(name)) => name,
        _ => String::new(),
    }
}
