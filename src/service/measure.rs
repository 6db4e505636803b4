//! Measuring a capture: frames and sound in, evidence and a template out.
//!
//! A [`Measurer`] sees each frame once, keeps numbers and a few small crops of it, and forgets the
//! picture; where it is told to ([`Measurer::keeping_frames`]), it hands out a few small ones for a reviewer. The face is tracked in every frame; the models that judge (anti-spoof, embedding) see
//! a handful of frames spread over the capture, and more where the track was lost or the head
//! came back from a turn, so that a face can't be swapped unseen. They run at the end, on what
//! turned out to be the best crops. The same capture gives the same evidence.

use std::ops::Range;

use crate::domain::challenge::Challenge;
use crate::domain::evidence::{
    EVIDENCE_VERSION, Evidence, FaceEvidence, FrameEvidence, IdentityEvidence, IdentitySample,
    MediaFacts, Pose, SpeechEvidence, SpeechSegment, SpoofEvidence, SpoofSample, Transcript,
};
use crate::domain::key_frame::View;
use crate::domain::template::{FaceTemplate, PoseBin, Template, VoiceTemplate};
use crate::identity::quality::FaceQuality;
use crate::identity::select::Selector;
use crate::identity::template::{TemplateError, assemble};
use crate::infer::picture::{Crop, Frame};
use crate::infer::track::{TrackedFace, Tracker};
use crate::infer::{self, Models};

use super::spread::Spread;

mod key_frames;
mod sound;

pub use key_frames::{KeyFrame, MAX_SIDE as KEY_FRAME_SIDE};
use key_frames::{Picker, Small};
pub use sound::envelope;
use sound::{levels, to_ms};

/// Samples per second of the sound.
pub const SAMPLE_RATE: usize = 16_000;
/// Longest sound that is measured, in seconds; the decoder's limit is lower.
pub const MAX_AUDIO_SECONDS: usize = 60;
/// Most frames that are measured; the decoder's limit is lower.
pub const MAX_FRAMES: usize = 7_200;

/// Anti-spoof samples of a capture, at most, and the time between them at first.
const SPOOF_SAMPLES: (usize, i64) = (12, 200);
/// Identity samples of a capture, at most, and the time between them at first.
const IDENTITY_SAMPLES: (usize, i64) = (8, 200);
/// Samples taken on top where another face might have come in, at most.
const EXTRA_SAMPLES: usize = 8;
/// Largest yaw and pitch, in degrees, at which a face can be compared with a frontal one: beyond,
/// the distance says more about the pose than about the person.
const COMPARABLE: (f32, f32) = (25.0, 22.0);
/// Mean change of luma between two frames that no motion of a head makes: a cut.
const CUT_CHANGE: f32 = 25.0;
/// Sound around the speech that the transcription hears, in milliseconds.
const SPEECH_MARGIN_MS: i64 = 400;

/// Why a capture can't be measured.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A model is missing or failed, or a frame has the wrong size.
    #[error(transparent)]
    Infer(#[from] infer::Error),
    /// The capture is longer than what is measured.
    #[error("a capture has at most {MAX_FRAMES} frames and {MAX_AUDIO_SECONDS} s of sound")]
    TooLong,
    /// Frames or sound came out of order.
    #[error("frames must come in order of time")]
    Order,
}

/// What was measured.
pub struct Measured {
    /// The facts that a verdict rests on.
    pub evidence: Evidence,
    /// What would be kept of the person; `None` where no frontal face was seen or no embedding
    /// model is installed.
    pub template: Option<Template>,
    /// Pictures for a reviewer: none unless [`Measurer::keeping_frames`] was asked for.
    pub key_frames: Vec<KeyFrame>,
}

impl std::fmt::Debug for Measured {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Measured({:?}, template: {})", self.evidence, self.template.is_some())
    }
}

/// Measures one capture.
pub struct Measurer<'m> {
    models: &'m Models,
    challenge: Challenge,
    tracker: Tracker<'m>,
    frames: Vec<FrameEvidence>,
    spoof: Samples<Vec<Crop>>,
    identity: Samples<Crop>,
    best: Selector<Option<Portrait>>,
    /// `None` where no key frames are wanted.
    picker: Option<Picker>,
    seen_a_face: bool,
    /// A face that might be another one has not been compared yet.
    doubt: bool,
    sound: Vec<f32>,
    sound_start_ms: i64,
}

impl std::fmt::Debug for Measurer<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Measurer({} frames, {} samples)", self.frames.len(), self.sound.len())
    }
}

/// A crop of a frame with where it is from.
struct Sample<T> {
    index: u32,
    t_ms: i64,
    pose: Pose,
    crop: T,
    /// The whole frame for a reviewer, where key frames are wanted.
    small: Option<Small>,
}

/// Samples spread over the capture, and those taken on top.
struct Samples<T> {
    spread: Spread<Sample<T>>,
    extra: Vec<Sample<T>>,
}

/// What a template's sample is made of.
struct Portrait {
    pose: Pose,
    keypoints: [[f32; 2]; 5],
    frame: [u32; 2],
    aligned: Crop,
}

impl<'m> Measurer<'m> {
    /// Begins with a capture that answers `challenge`.
    ///
    /// # Errors
    /// [`infer::Error::RoleMissing`] where no detector or no mesh is installed: without them
    /// nothing can be measured. Every other model may be missing.
    pub fn new(models: &'m Models, challenge: Challenge) -> Result<Self, Error> {
        Ok(Self {
            models,
            challenge,
            tracker: Tracker::new(models)?,
            frames: Vec::new(),
            spoof: Samples::new(SPOOF_SAMPLES),
            identity: Samples::new(IDENTITY_SAMPLES),
            best: Selector::new(),
            picker: None,
            seen_a_face: false,
            doubt: false,
            sound: Vec::new(),
            sound_start_ms: 0,
        })
    }

    /// Whether a few small pictures of the capture come out too ([`Measured::key_frames`]).
    #[must_use]
    pub fn keeping_frames(mut self, keep: bool) -> Self {
        self.picker = keep.then(Picker::default);
        self
    }

    /// The next frame: `height` rows of `width` pixels of red, green, blue. Times are milliseconds
    /// from the start of the capture and grow.
    ///
    /// # Errors
    /// [`Error::TooLong`], [`Error::Order`], [`Error::Infer`].
    pub fn frame(
        &mut self,
        index: u32,
        t_ms: i64,
        width: u32,
        height: u32,
        rgb: &[u8],
    ) -> Result<(), Error> {
        if self.frames.len() >= MAX_FRAMES {
            return Err(Error::TooLong);
        }
        if self.frames.last().is_some_and(|f| f.t_ms >= t_ms || f.index >= index) {
            return Err(Error::Order);
        }
        let frame = Frame::new(width, height, rgb)?;
        let seen = self.tracker.see(index, t_ms, &frame)?;
        if let (Some(face), Some(evidence)) = (&seen.face, &seen.evidence.face) {
            let first = !self.seen_a_face;
            self.seen_a_face = true;
            let cut = seen.evidence.change >= CUT_CHANGE;
            let another = !first && (face.fresh || cut);
            self.doubt |= another || (!first && self.turned_back(evidence));
            if let Some(picker) = &mut self.picker {
                let quality = FaceQuality::of(evidence).unified_quality_score;
                picker.offer(&frame, t_ms, evidence.pose, quality)?;
            }
            let of = |crop| Sample { index, t_ms, pose: evidence.pose, crop, small: None };
            self.sample_spoof(&frame, face, another, of)?;
            self.sample_identity(&frame, face, evidence, (index, t_ms))?;
        }
        self.frames.push(seen.evidence);
        Ok(())
    }

    /// The next piece of sound, mono at [`SAMPLE_RATE`]. The first piece's time, in milliseconds
    /// from the start of the capture, places all of it: pieces follow each other without gaps.
    ///
    /// # Errors
    /// [`Error::TooLong`].
    pub fn audio(&mut self, t_ms: i64, samples: &[f32]) -> Result<(), Error> {
        if self.sound.len() + samples.len() > MAX_AUDIO_SECONDS * SAMPLE_RATE {
            return Err(Error::TooLong);
        }
        if self.sound.is_empty() {
            self.sound_start_ms = t_ms;
        }
        // What a codec overshoots is clipped, what is not a number is silence.
        let sane = |v: &f32| if v.is_finite() { v.clamp(-1.0, 1.0) } else { 0.0 };
        self.sound.extend(samples.iter().map(sane));
        Ok(())
    }

    /// Runs the models that judge and puts everything together. `media` describes the whole file.
    ///
    /// # Errors
    /// [`Error::Infer`].
    pub fn finish(mut self, media: MediaFacts) -> Result<Measured, Error> {
        let spoof = self.judge_spoof()?;
        let (faces, reference) = self.embed_best()?;
        let identity = self.compare_identity(reference)?;
        let (speech, voice) = self.listen()?;
        let evidence = Evidence {
            version: EVIDENCE_VERSION,
            challenge: self.challenge,
            media,
            models: self.models.refs().clone(),
            frames: self.frames,
            identity,
            spoof,
            speech,
        };
        let template = match &self.models.embedder {
            Some(embedder) => match assemble(embedder.model().clone(), faces, voice) {
                Ok(template) => Some(template),
                // Without a good frontal sample there is nothing to enrol; the verdict says why.
                Err(error) => {
                    log_no_template(&error);
                    None
                }
            },
            None => None,
        };
        let key_frames = self.picker.map(Picker::finish).unwrap_or_default();
        Ok(Measured { evidence, template, key_frames })
    }

    /// Whether the head has just come back to where it can be compared.
    fn turned_back(&self, now: &FaceEvidence) -> bool {
        let before = self.frames.last().and_then(|f| f.face.as_ref());
        is_comparable(now.pose) && before.is_some_and(|f| !is_comparable(f.pose))
    }

    fn sample_spoof(
        &mut self,
        frame: &Frame<'_>,
        face: &TrackedFace,
        another: bool,
        of: impl Fn(Vec<Crop>) -> Sample<Vec<Crop>>,
    ) -> Result<(), Error> {
        let Some(model) = &self.models.antispoof else { return Ok(()) };
        let extra = another && self.spoof.has_room();
        let sample = of(Vec::new());
        if extra || self.spoof.spread.wants(sample.t_ms) {
            let small = self.small(frame, sample.t_ms)?;
            let sample = Sample { crop: model.crops(frame, &face.area)?, small, ..sample };
            self.spoof.take(sample, extra);
        }
        Ok(())
    }

    fn sample_identity(
        &mut self,
        frame: &Frame<'_>,
        face: &TrackedFace,
        evidence: &FaceEvidence,
        (index, t_ms): (u32, i64),
    ) -> Result<(), Error> {
        let Some(model) = &self.models.embedder else { return Ok(()) };
        let pose = evidence.pose;
        let extra = self.doubt && self.identity.has_room();
        let wanted = is_comparable(pose) && (extra || self.identity.spread.wants(t_ms));
        if wanted && let Some(crop) = model.align(frame, &face.mesh)? {
            let small = self.small(frame, t_ms)?;
            self.identity.take(Sample { index, t_ms, pose, crop, small }, extra);
            self.doubt = false;
        }
        let mut failure = None;
        let quality = FaceQuality::of(evidence).unified_quality_score;
        self.best.offer(pose, quality, || match model.align(frame, &face.mesh) {
            Ok(aligned) => aligned.map(|aligned| {
                let (w, h) = (frame.width() as f32, frame.height() as f32);
                let keypoints = face.mesh.keypoints().map(|[x, y]| [x / w, y / h]);
                Portrait { pose, keypoints, frame: [frame.width(), frame.height()], aligned }
            }),
            Err(e) => {
                failure = Some(e);
                None
            }
        });
        failure.map_or(Ok(()), |e| Err(e.into()))
    }

    fn small(&self, frame: &Frame<'_>, t_ms: i64) -> Result<Option<Small>, Error> {
        Ok(self.picker.as_ref().map(|_| Small::of(frame, t_ms)).transpose()?)
    }

    /// Hands the sample that is furthest on the wrong side of a threshold to the reviewer.
    fn show<T>(&mut self, view: View, worst: Option<Sample<T>>) {
        if let (Some(picker), Some(small)) = (&mut self.picker, worst.and_then(|s| s.small)) {
            picker.doubt(view, small);
        }
    }

    fn judge_spoof(&mut self) -> Result<Option<SpoofEvidence>, Error> {
        let Some(model) = &self.models.antispoof else { return Ok(None) };
        let (threshold, mut samples) = (model.threshold(), Vec::new());
        let mut worst: Option<(f32, Sample<_>)> = None;
        for s in self.spoof.drain() {
            let live = model.live(&s.crop)?;
            samples.push(SpoofSample { index: s.index, t_ms: s.t_ms, live });
            if live < worst.as_ref().map_or(threshold, |(least, _)| *least) {
                worst = Some((live, s));
            }
        }
        self.show(View::LeastLive, worst.map(|(_, s)| s));
        Ok(Some(SpoofEvidence { threshold, samples }))
    }

    /// The template's samples, and the frontal vector that others are compared with.
    fn embed_best(&mut self) -> Result<(Vec<FaceTemplate>, Option<Vec<f32>>), Error> {
        let Some(model) = &self.models.embedder else { return Ok((Vec::new(), None)) };
        let mut faces = Vec::new();
        for selected in std::mem::take(&mut self.best).into_selected() {
            if let Some(portrait) = selected.payload {
                faces.push(FaceTemplate {
                    bin: selected.bin,
                    pose: portrait.pose,
                    vector: model.embed(&portrait.aligned)?,
                    keypoints: portrait.keypoints.map(|p| p.map(|v| v.clamp(0.0, 1.0))),
                    frame: Some(portrait.frame),
                    quality: selected.quality,
                });
            }
        }
        let frontal = faces.iter().find(|f| f.bin == PoseBin::Frontal);
        let reference = frontal.map(|f| f.vector.clone());
        Ok((faces, reference))
    }

    fn compare_identity(&mut self, reference: Option<Vec<f32>>) -> Result<IdentityEvidence, Error> {
        let Some(model) = &self.models.embedder else { return Ok(IdentityEvidence::default()) };
        let kept = self.identity.drain();
        let mut vectors = Vec::with_capacity(kept.len());
        for s in &kept {
            vectors.push(model.embed(&s.crop)?);
        }
        // Without a frontal frame, the one that comes closest to it.
        let off = |p: Pose| p.yaw.abs() + p.pitch.abs();
        let nearest = kept
            .iter()
            .zip(&vectors)
            .min_by(|(a, _), (b, _)| off(a.pose).total_cmp(&off(b.pose)))
            .map(|(_, v)| v.clone());
        let mut evidence = IdentityEvidence { threshold: model.threshold(), samples: Vec::new() };
        let Some(reference) = reference.or(nearest) else { return Ok(evidence) };
        let mut worst: Option<(f32, Sample<_>)> = None;
        for (s, vector) in kept.into_iter().zip(&vectors) {
            let distance = model.model().metric.distance(&reference, vector);
            evidence.samples.push(IdentitySample { index: s.index, t_ms: s.t_ms, distance });
            if distance > worst.as_ref().map_or(evidence.threshold, |(most, _)| *most) {
                worst = Some((distance, s));
            }
        }
        self.show(View::LeastAlike, worst.map(|(_, s)| s));
        Ok(evidence)
    }

    fn listen(&self) -> Result<(SpeechEvidence, Option<VoiceTemplate>), Error> {
        let sound = &self.sound;
        let speech = match &self.models.vad {
            Some(vad) => vad.speech(sound)?,
            // Without a voice-activity model all of the sound might be speech.
            None => Vec::new(),
        };
        let at = |sample: usize| self.sound_start_ms + to_ms(sample);
        let (level_dbfs, snr_db) = levels(sound, &speech);
        let evidence = SpeechEvidence {
            segments: speech
                .iter()
                .map(|r| SpeechSegment { start_ms: at(r.start), end_ms: at(r.end) })
                .collect(),
            level_dbfs,
            snr_db,
            transcript: self.transcribe(&speech)?,
            envelope: (!sound.is_empty()).then(|| envelope(sound, self.sound_start_ms)),
        };
        let voice = match (&self.models.voice, speech.is_empty()) {
            (Some(model), false) => {
                let only: Vec<f32> =
                    speech.iter().flat_map(|r| &sound[r.clone()]).copied().collect();
                model.embed(&only)?.map(|vector| VoiceTemplate {
                    model: model.model().clone(),
                    vector,
                    speech_ms: to_ms(only.len()),
                })
            }
            _ => None,
        };
        Ok((evidence, voice))
    }

    fn transcribe(&self, speech: &[Range<usize>]) -> Result<Option<Transcript>, Error> {
        let Some(model) = &self.models.transcription else { return Ok(None) };
        let silent = Transcript { digits: Vec::new(), score: None, digits_present: 0.0 };
        let span = match (speech.first(), speech.last()) {
            (Some(first), Some(last)) => {
                let margin = SPEECH_MARGIN_MS as usize * SAMPLE_RATE / 1000;
                first.start.saturating_sub(margin)..(last.end + margin).min(self.sound.len())
            }
            _ if self.models.vad.is_none() && !self.sound.is_empty() => 0..self.sound.len(),
            _ => return Ok(Some(silent)),
        };
        let start_ms = self.sound_start_ms + to_ms(span.start);
        let expected = Some(&self.challenge.digits[..]).filter(|digits| !digits.is_empty());
        let transcript =
            model.transcribe(&self.sound[span], start_ms, expected).map_err(infer::Error::from)?;
        Ok(Some(transcript))
    }
}

impl<T> Samples<T> {
    fn new((most, stride_ms): (usize, i64)) -> Self {
        Self { spread: Spread::new(most, stride_ms), extra: Vec::new() }
    }

    fn has_room(&self) -> bool {
        self.extra.len() < EXTRA_SAMPLES
    }

    fn take(&mut self, sample: Sample<T>, extra: bool) {
        if extra {
            self.extra.push(sample);
        } else {
            self.spread.offer(sample.t_ms, sample);
        }
    }

    /// All samples, in order of time.
    fn drain(&mut self) -> Vec<Sample<T>> {
        let spread = std::mem::replace(&mut self.spread, Spread::new(2, 1));
        let mut all = spread.into_samples();
        all.append(&mut self.extra);
        all.sort_by_key(|s| s.index);
        all
    }
}

fn is_comparable(pose: Pose) -> bool {
    pose.yaw.abs() <= COMPARABLE.0 && pose.pitch.abs() <= COMPARABLE.1
}

fn log_no_template(error: &TemplateError) {
    tracing::debug!(%error, "the capture gives no template");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gallery_is_bounded_and_in_order() {
        let mut samples = Samples::new((4, 100));
        for i in 0..1000u32 {
            let t_ms = i64::from(i) * 33;
            let extra = i % 7 == 0 && samples.has_room();
            if extra || samples.spread.wants(t_ms) {
                samples.take(
                    Sample { index: i, t_ms, pose: Pose::default(), crop: (), small: None },
                    extra,
                );
            }
        }
        let all = samples.drain();
        assert!(all.len() <= 4 + EXTRA_SAMPLES);
        assert!(all.windows(2).all(|w| w[0].index < w[1].index));
    }
}
