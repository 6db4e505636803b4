//! Voice activity: silero VAD, step by step, and the stretches of speech it amounts to.

use std::ops::Range;
use std::path::Path;

use super::error::Error;
use super::manifest::{Model, adapter};
use super::session::{Element, Input, Pool, Port, Runtime};

/// Speech goes on until the probability falls this far below the threshold, so that a soft
/// syllable doesn't cut a word.
const HYSTERESIS: f32 = 0.15;
/// A stretch shorter than this is a click, not speech: the shortest spoken digits last some 150 ms.
const MIN_SPEECH_MS: u32 = 100;
/// A pause shorter than this is part of a word (the closure of a "t" or "k").
const MIN_SILENCE_MS: u32 = 130;
/// Speech starts before the network is sure of it and ends after.
const PAD_MS: u32 = 32;

/// The model and its parameters.
#[derive(Debug)]
pub struct VoiceActivity {
    pool: Pool,
    params: adapter::SileroVad,
}

impl VoiceActivity {
    /// Loads the model; see [`Pool::load`].
    pub(super) fn load(
        runtime: &Runtime,
        model: &Model,
        params: adapter::SileroVad,
        dir: &Path,
        sessions: usize,
    ) -> Result<Self, Error> {
        let step = (params.context + params.window) as usize;
        let state = [Some(2), Some(1), Some(params.state as usize)];
        let inputs = vec![
            Port::f32("input", &[Some(1), Some(step)]),
            Port::f32("state", &state),
            Port { name: "sr".to_owned(), element: Element::I64, extents: vec![] },
        ];
        let outputs = vec![Port::f32("output", &[Some(1), Some(1)]), Port::f32("stateN", &state)];
        let pool = Pool::load(runtime, model, dir, inputs, outputs, sessions)?;
        Ok(Self { pool, params })
    }

    /// Samples per second of the sound it takes.
    pub fn sample_rate(&self) -> u32 {
        self.params.sample_rate
    }

    /// The stretches of speech in mono sound at [`VoiceActivity::sample_rate`], as ranges of
    /// samples: in order, apart, inside the sound.
    ///
    /// # Errors
    /// [`Error::Run`].
    pub fn speech(&self, samples: &[f32]) -> Result<Vec<Range<usize>>, Error> {
        let probabilities = self.probabilities(samples)?;
        Ok(stretches(&probabilities, &self.params, samples.len()))
    }

    /// Probability of speech, 0–1, in each window; the last window is filled up with silence.
    fn probabilities(&self, samples: &[f32]) -> Result<Vec<f32>, Error> {
        let (window, context) = (self.params.window as usize, self.params.context as usize);
        let extents = [2, 1, self.params.state as usize];
        let mut state = vec![0.0; extents.iter().product()];
        let mut step = vec![0.0; context + window];
        let mut probabilities = Vec::with_capacity(samples.len() / window + 1);
        for chunk in samples.chunks(window) {
            step.copy_within(window.., 0);
            let fresh = &mut step[context..];
            for (to, from) in fresh.iter_mut().zip(chunk) {
                *to = if from.is_finite() { from.clamp(-1.0, 1.0) } else { 0.0 };
            }
            fresh[chunk.len()..].fill(0.0);
            let mut outputs = self.pool.run(&[
                Input::F32(&[1, context + window], &step),
                Input::F32(&extents, &state),
                Input::I64(i64::from(self.params.sample_rate)),
            ])?;
            state = outputs.pop().map(|o| o.data).unwrap_or_default();
            let p = outputs.pop().and_then(|o| o.data.first().copied());
            probabilities.push(p.filter(|p| p.is_finite()).unwrap_or(0.0));
        }
        Ok(probabilities)
    }
}

fn stretches(probabilities: &[f32], params: &adapter::SileroVad, len: usize) -> Vec<Range<usize>> {
    let window = params.window as usize;
    let samples = |ms: u32| (u64::from(ms) * u64::from(params.sample_rate) / 1000) as usize;
    let mut raw: Vec<Range<usize>> = Vec::new();
    let mut start = None;
    for (i, p) in probabilities.iter().enumerate() {
        match start {
            None if *p >= params.threshold => start = Some(i * window),
            Some(s) if *p < params.threshold - HYSTERESIS => {
                raw.push(s..i * window);
                start = None;
            }
            _ => {}
        }
    }
    raw.extend(start.map(|s| s..len));

    let mut joined: Vec<Range<usize>> = Vec::new();
    for r in raw {
        match joined.last_mut() {
            Some(last) if r.start - last.end < samples(MIN_SILENCE_MS) => last.end = r.end,
            _ => joined.push(r),
        }
    }
    joined.retain(|r| r.len() >= samples(MIN_SPEECH_MS));
    // Pauses that are left are longer than two pads, so the stretches stay apart.
    let pad = samples(PAD_MS);
    joined.into_iter().map(|r| r.start.saturating_sub(pad)..(r.end + pad).min(len)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn params() -> adapter::SileroVad {
        adapter::SileroVad {
            sample_rate: 16_000,
            window: 512,
            context: 64,
            state: 128,
            threshold: 0.5,
        }
    }

    fn of(probabilities: &[f32]) -> Vec<Range<usize>> {
        stretches(probabilities, &params(), probabilities.len() * 512)
    }

    #[test]
    fn short_pauses_join_and_clicks_go() {
        let p = |pattern: &str| -> Vec<f32> {
            pattern
                .chars()
                .map(|c| match c {
                    '#' => 0.9,
                    '-' => 0.4,
                    _ => 0.1,
                })
                .collect()
        };
        assert_eq!(of(&p("..####..")).len(), 1);
        assert_eq!(of(&p("..####..")).first(), Some(&(2 * 512 - 512..6 * 512 + 512)));
        assert_eq!(of(&p("..####..####..")).len(), 1, "64 ms is no pause");
        assert_eq!(of(&p("..####--####..")).len(), 1, "a soft syllable is no pause");
        assert_eq!(of(&p("..####......####")).len(), 2);
        assert!(of(&p("...#....--...")).is_empty(), "a click is no speech");
    }

    proptest! {
        #[test]
        fn stretches_are_in_order_apart_and_inside(
            probabilities in prop::collection::vec(0.0f32..1.0, 0..200), cut in 0usize..512,
        ) {
            let len = (probabilities.len() * 512).saturating_sub(cut);
            let found = stretches(&probabilities, &params(), len);
            prop_assert!(found.iter().all(|r| r.start < r.end && r.end <= len));
            prop_assert!(found.windows(2).all(|w| w[0].end <= w[1].start));
        }
    }
}
