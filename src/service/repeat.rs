//! Doing a single step again, where it alone failed.
//!
//! Until the time for that is over, a template of the rejected capture is kept as a candidate in review
//! is: sealed with the person's key to this verification and attempt. It holds what the second
//! capture can't bring, and the frontal face that it has to match. It goes when the step is
//! settled, when a retry asks for everything, when its time is over, and with the person's key.

use super::subject::Sealed;
use super::verify::evidence_place;
use super::{Inner, Result};
use crate::domain::challenge::Challenge;
use crate::domain::step::Step;
use crate::domain::template::{FaceTemplate, PoseBin, Template};
use crate::domain::verdict::Verdict;
use crate::domain::verification::State;
use crate::env::Millis;
use crate::liveness::{self, Base};
use crate::service::measure::Measured;
use crate::store::verifications::Verification;
use crate::store::{Tx, attempts};

/// A step that can be done again alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repeat {
    /// The step.
    pub step: Step,
    /// The attempt from which the other step stands.
    pub attempt: u32,
}

/// Draws so often until the cues differ from those of the attempt before.
const DRAWS: usize = 16;

impl Inner {
    /// What a retry of this verification asks for alone, as far as the verification itself tells: `None`
    /// where it asks for everything.
    pub fn repeatable(&self, v: &Verification) -> Option<Repeat> {
        let over = v.updated.plus(self.settings().repeat_within) <= self.clock().now();
        match (v.state, &v.verdict) {
            _ if over => None,
            (State::Rejected, Some(verdict)) if v.review.is_none() => {
                let step = liveness::step_to_repeat(verdict, &self.settings().policy)?;
                let attempt = verdict.earlier.map_or(v.attempt, |e| e.attempt);
                Some(Repeat { step, attempt })
            }
            // Nothing was judged, so what stood before still stands.
            (State::Expired | State::Failed, None) => {
                Some(Repeat { step: v.challenge.step()?, attempt: v.challenge.completes? })
            }
            _ => None,
        }
    }

    /// The same, where the sample that it takes is still there.
    pub(super) async fn repeat_now(
        &self,
        tx: &mut Tx,
        v: &Verification,
        now: Millis,
    ) -> Result<Option<Repeat>> {
        let Some(repeat) = self.repeatable(v) else { return Ok(None) };
        let after = now.minus(self.settings().repeat_within);
        let kept = attempts::sample(tx, &v.id, repeat.attempt, after).await?;
        Ok(kept.map(|_| repeat))
    }

    /// A challenge of that step alone. Its cues are not those of the attempt before, of which a
    /// recording exists.
    pub(super) fn repeat_challenge(
        &self,
        v: &Verification,
        repeat: Repeat,
        now: Millis,
    ) -> Result<Challenge> {
        let mut challenge = self.challenge(now)?.only(repeat.step, repeat.attempt);
        for _ in 0..DRAWS {
            let same = match repeat.step {
                Step::Speech => challenge.digits == v.challenge.digits,
                Step::Motion => challenge.motions == v.challenge.motions,
            };
            if !same {
                break;
            }
            challenge = self.challenge(now)?.only(repeat.step, repeat.attempt);
        }
        Ok(challenge)
    }

    /// The verdict on what was measured. Where a step was repeated, `measured` gets the template that both
    /// captures make together.
    pub(super) async fn judge_capture(
        &self,
        v: &Verification,
        measured: &mut Measured,
    ) -> Result<Verdict> {
        let policy = &self.settings().policy;
        let (Some(step), Some(attempt)) = (v.challenge.step(), v.challenge.completes) else {
            return Ok(liveness::judge(&measured.evidence, policy));
        };
        let Some((earlier, sample)) = self.earlier(v, attempt).await? else {
            // One step alone proves too little to make a cameo of it.
            measured.template = None;
            return Ok(liveness::judge(&measured.evidence, policy));
        };
        let fresh = measured.template.take();
        let distance = fresh.as_ref().and_then(|fresh| distance(&sample, fresh));
        let base = Base { attempt, verdict: &earlier, distance };
        let verdict = liveness::judge_repeat(&measured.evidence, step, &base, policy);
        measured.template = fresh.map(|fresh| together(step, sample, fresh));
        Ok(verdict)
    }

    /// What was concluded and kept of the earlier attempt.
    async fn earlier(&self, v: &Verification, attempt: u32) -> Result<Option<(Verdict, Template)>> {
        let mut tx = self.db().read().await?;
        let verdict = attempts::get(&mut tx, &v.id, attempt).await?.and_then(|a| a.verdict);
        let sealed = attempts::sample(&mut tx, &v.id, attempt, Millis(0)).await?;
        let person = self.known_person(&mut tx, &v.subject).await?;
        let (Some(verdict), Some(sealed), Some(person)) = (verdict, sealed, person) else {
            return Ok(None);
        };
        let place = evidence_place(&v.id, attempt);
        Ok(Some((verdict, person.open(Sealed::Template, &place, &sealed)?)))
    }

    /// What is kept of a rejected capture, so that its failed step can be done again: nothing where
    /// something else failed too, and nothing of a capture that was a repetition itself.
    pub(super) fn sample_of(&self, verdict: &Verdict, template: &Template) -> Option<Template> {
        if self.settings().repeat_within.is_zero() || verdict.earlier.is_some() {
            return None;
        }
        let step = liveness::step_to_repeat(verdict, &self.settings().policy)?;
        frontal(template)?;
        let mut kept = template.clone();
        match step {
            Step::Speech => kept.voice = None,
            Step::Motion => kept.faces.retain(|f| f.bin == PoseBin::Frontal),
        }
        Some(kept)
    }

    /// The attempt whose sample may stay when this one is settled as `state`; 0: none.
    pub(super) fn sample_stays(
        &self,
        v: &Verification,
        state: State,
        verdict: Option<&Verdict>,
    ) -> u32 {
        let stays = match (state, verdict) {
            (State::Rejected, Some(verdict)) => {
                liveness::step_to_repeat(verdict, &self.settings().policy).is_some()
            }
            (State::Failed, _) => true,
            _ => false,
        };
        if stays { v.challenge.completes.unwrap_or(v.attempt) } else { 0 }
    }
}

/// How far apart the frontal faces of two templates are; `None` where they can't be compared.
fn distance(a: &Template, b: &Template) -> Option<f32> {
    let (x, y) = (frontal(a)?, frontal(b)?);
    (a.model == b.model).then(|| a.model.metric.distance(&x.vector, &y.vector))
}

fn frontal(template: &Template) -> Option<&FaceTemplate> {
    template.faces.iter().find(|f| f.bin == PoseBin::Frontal)
}

/// The turned faces of the capture in which the head was turned, and the voice of the one in which the
/// digits were read.
fn together(step: Step, sample: Template, fresh: Template) -> Template {
    match step {
        Step::Speech => Template { voice: fresh.voice, ..sample },
        Step::Motion => Template { voice: sample.voice, ..fresh },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::evidence::Pose;
    use crate::domain::template::{EmbeddingModel, Metric, TEMPLATE_VERSION, VoiceTemplate};

    fn template(x: f32, bins: &[PoseBin], voice: bool) -> Template {
        let model = EmbeddingModel {
            id: "m".into(),
            sha256: "00".into(),
            dim: 2,
            metric: Metric::Euclidean,
        };
        let face = |bin: &PoseBin| FaceTemplate {
            bin: *bin,
            pose: Pose::default(),
            vector: vec![x, 0.0],
            keypoints: [[0.5; 2]; 5],
            frame: None,
            quality: 50,
        };
        let voice =
            voice.then(|| VoiceTemplate { model: model.clone(), vector: vec![x], speech_ms: 900 });
        let faces = bins.iter().map(face).collect();
        Template { version: TEMPLATE_VERSION, model, faces, voice }
    }

    #[test]
    fn faces_of_two_captures_are_compared_in_one_space_alone() {
        let (a, mut b) = (template(1.0, &PoseBin::ALL, true), template(4.0, &PoseBin::ALL, true));
        assert_eq!(distance(&a, &b), Some(3.0));
        assert_eq!(distance(&a, &template(1.0, &[PoseBin::Left], true)), None);
        b.model.sha256 = "01".into();
        assert_eq!(distance(&a, &b), None, "another model's vectors say nothing");
    }

    #[test]
    fn each_step_gives_what_it_alone_brings() {
        let turned = template(1.0, &PoseBin::ALL, false);
        let spoken = template(2.0, &[PoseBin::Frontal], true);
        let speech = together(Step::Speech, turned.clone(), spoken.clone());
        assert!(speech.faces == turned.faces && speech.voice == spoken.voice);
        let motion = together(Step::Motion, spoken.clone(), turned.clone());
        assert!(motion.faces == turned.faces && motion.voice == spoken.voice);
    }
}
