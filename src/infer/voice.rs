//! Speaker embeddings: a mel spectrogram and an encoder over windows of it (Wan et al. 2018, the
//! "GE2E" encoder; Resemblyzer's weights).

use std::path::Path;
use std::sync::Arc;

use rustfft::num_complex::Complex32;
use rustfft::{Fft, FftPlanner};

use super::error::Error;
use super::manifest::{Model, adapter};
use super::session::{Input, Pool, Port, Runtime};
use crate::domain::template::{EmbeddingModel, norm};

/// No more speech than this goes into a vector: 60 s.
const MAX_SECONDS: usize = 60;

/// The model and its parameters.
pub struct VoiceEmbedder {
    pool: Pool,
    params: adapter::VoiceEncoder,
    model: EmbeddingModel,
    mel: Mel,
}

impl std::fmt::Debug for VoiceEmbedder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "VoiceEmbedder({})", self.pool.id())
    }
}

impl VoiceEmbedder {
    /// Loads the model; see [`Pool::load`].
    pub(super) fn load(
        runtime: &Runtime,
        model: &Model,
        params: adapter::VoiceEncoder,
        dir: &Path,
        sessions: usize,
    ) -> Result<Self, Error> {
        let window = [None, Some(params.window_frames as usize), Some(params.mel_bands as usize)];
        let inputs = vec![Port::f32(&params.input, &window)];
        let outputs = vec![Port::f32(&params.output, &[None, Some(params.dimensions as usize)])];
        let pool = Pool::load(runtime, model, dir, inputs, outputs, sessions)?;
        let space = EmbeddingModel {
            id: model.id.clone(),
            sha256: model.sha256.to_string(),
            dim: params.dimensions,
            metric: params.metric,
        };
        let mel = Mel::new(
            params.sample_rate,
            params.n_fft as usize,
            params.hop as usize,
            params.mel_bands as usize,
        );
        Ok(Self { pool, params, model: space, mel })
    }

    /// The space that its vectors live in.
    pub fn model(&self) -> &EmbeddingModel {
        &self.model
    }

    /// Two voices further apart than this (in the model's own metric) seem to be two people. A
    /// soft signal: it errs in one of twenty comparisons.
    pub fn threshold(&self) -> f32 {
        self.params.same_speaker
    }

    /// The unit vector of speech without pauses, mono at the manifest's rate: the mean over
    /// windows. `None` where there is nothing to hear. At most a minute of it is used.
    ///
    /// # Errors
    /// [`Error::Run`].
    pub fn embed(&self, speech: &[f32]) -> Result<Option<Vec<f32>>, Error> {
        let most = MAX_SECONDS * self.params.sample_rate as usize;
        let mut speech = speech[..speech.len().min(most)].to_vec();
        if !amplify(&mut speech, self.params.level_dbfs) {
            return Ok(None);
        }
        let starts = self.windows(speech.len());
        let (frames, bands) = (self.params.window_frames as usize, self.mel.bands);
        let end = starts.last().map_or(0, |s| s + frames) * self.mel.hop;
        speech.resize(speech.len().max(end), 0.0);
        let mel = self.mel.spectrogram(&speech);
        let mut tensor = Vec::with_capacity(starts.len() * frames * bands);
        for start in &starts {
            tensor.extend_from_slice(&mel[start * bands..(start + frames) * bands]);
        }
        let outputs = self.pool.run(&[Input::F32(&[starts.len(), frames, bands], &tensor)])?;
        let dimensions = self.params.dimensions as usize;
        let mut vector = vec![0.0; dimensions];
        for window in outputs.iter().flat_map(|o| o.data.chunks_exact(dimensions)) {
            for (sum, v) in vector.iter_mut().zip(window) {
                *sum += v;
            }
        }
        let length = norm(&vector);
        if !length.is_finite() || length <= 0.0 {
            return Ok(None);
        }
        for v in &mut vector {
            *v /= length;
        }
        Ok(Some(vector))
    }

    /// First frames of the windows over sound of `len` samples; at least one.
    fn windows(&self, len: usize) -> Vec<usize> {
        let (frames, hop) = (self.params.window_frames as usize, self.params.hop as usize);
        let per_second = self.params.sample_rate as f32 / hop as f32;
        let step = ((per_second / self.params.windows_per_second).round() as usize).max(1);
        let total = (len + 1).div_ceil(hop);
        let last = (total + step + 1).saturating_sub(frames).max(1);
        let mut starts: Vec<usize> = (0..last).step_by(step).collect();
        if let Some(start) = starts.last() {
            let covered = len.saturating_sub(start * hop) as f32 / (frames * hop) as f32;
            if covered < self.params.least_coverage && starts.len() > 1 {
                starts.pop();
            }
        }
        starts
    }
}

/// Brings quiet speech up to `level` dBFS (root mean square); louder speech stays. False where
/// there is no sound at all.
fn amplify(samples: &mut [f32], level: f32) -> bool {
    for v in samples.iter_mut().filter(|v| !v.is_finite()) {
        *v = 0.0;
    }
    let power: f64 = samples.iter().map(|v| f64::from(*v) * f64::from(*v)).sum();
    let rms = (power / samples.len().max(1) as f64).sqrt() as f32;
    if rms.is_nan() || rms < 1e-6 {
        return false;
    }
    let gain = 10f32.powf(level / 20.0) / rms;
    if gain > 1.0 {
        for v in samples {
            *v *= gain;
        }
    }
    true
}

/// A mel spectrogram of power: periodic Hann window, frames centred on multiples of the hop (the
/// sound's ends padded with silence), Slaney's mel scale with filters of equal area.
struct Mel {
    n_fft: usize,
    hop: usize,
    bands: usize,
    window: Vec<f32>,
    /// For each band, its first bin and its weights.
    filters: Vec<(usize, Vec<f32>)>,
    fft: Arc<dyn Fft<f32>>,
}

impl Mel {
    fn new(rate: u32, n_fft: usize, hop: usize, bands: usize) -> Self {
        let window = (0..n_fft)
            .map(|i| {
                let turn = std::f64::consts::TAU * i as f64 / n_fft as f64;
                (0.5 - 0.5 * turn.cos()) as f32
            })
            .collect();
        let top = hz_to_mel(f64::from(rate) / 2.0);
        let edge = |i: usize| mel_to_hz(top * i as f64 / (bands + 1) as f64);
        let filters = (0..bands)
            .map(|b| {
                let (low, mid, high) = (edge(b), edge(b + 1), edge(b + 2));
                let weight = |bin: usize| {
                    let f = bin as f64 * f64::from(rate) / n_fft as f64;
                    let rise = (f - low) / (mid - low);
                    let fall = (high - f) / (high - mid);
                    (rise.min(fall).max(0.0) * 2.0 / (high - low)) as f32
                };
                let first = (0..=n_fft / 2).find(|bin| weight(*bin) > 0.0).unwrap_or(0);
                let weights = (first..=n_fft / 2).map(weight).take_while(|w| *w > 0.0).collect();
                (first, weights)
            })
            .collect();
        let fft = FftPlanner::new().plan_fft_forward(n_fft);
        Self { n_fft, hop, bands, window, filters, fft }
    }

    /// `samples.len() / hop + 1` frames of `bands` powers each.
    fn spectrogram(&self, samples: &[f32]) -> Vec<f32> {
        let frames = samples.len() / self.hop + 1;
        let mut out = Vec::with_capacity(frames * self.bands);
        let mut spectrum = vec![Complex32::default(); self.n_fft];
        let mut scratch = vec![Complex32::default(); self.fft.get_inplace_scratch_len()];
        let half = self.n_fft / 2;
        for frame in 0..frames {
            for (i, (bin, w)) in spectrum.iter_mut().zip(&self.window).enumerate() {
                let at = (frame * self.hop + i).checked_sub(half);
                let v = at.and_then(|at| samples.get(at)).copied().unwrap_or(0.0);
                *bin = Complex32::new(v * w, 0.0);
            }
            self.fft.process_with_scratch(&mut spectrum, &mut scratch);
            for (first, weights) in &self.filters {
                let bins = spectrum[*first..].iter().zip(weights);
                out.push(bins.map(|(bin, w)| bin.norm_sqr() * w).sum());
            }
        }
        out
    }
}

/// Slaney's mel scale (Auditory Toolbox): linear below 1 kHz, logarithmic above.
fn hz_to_mel(hz: f64) -> f64 {
    if hz < 1000.0 { hz * 3.0 / 200.0 } else { 15.0 + (hz / 1000.0).ln() * 27.0 / 6.4f64.ln() }
}

fn mel_to_hz(mel: f64) -> f64 {
    if mel < 15.0 { mel * 200.0 / 3.0 } else { 1000.0 * ((mel - 15.0) * 6.4f64.ln() / 27.0).exp() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mel_scale() {
        for hz in [0.0, 440.0, 999.0, 1000.0, 4000.0, 8000.0] {
            assert!((mel_to_hz(hz_to_mel(hz)) - hz).abs() < 1e-6);
        }
        // Slaney's scale puts 6.4 kHz 27 steps above 1 kHz.
        assert!((hz_to_mel(6400.0) - 42.0).abs() < 1e-9);
    }

    #[test]
    fn a_tone_lands_in_its_band() {
        let mel = Mel::new(16_000, 400, 160, 40);
        let tone: Vec<f32> = (0..16_000)
            .map(|i| (std::f32::consts::TAU * 1000.0 * i as f32 / 16_000.0).sin())
            .collect();
        let spectrogram = mel.spectrogram(&tone);
        assert_eq!(spectrogram.len(), 101 * 40);
        let frame = &spectrogram[50 * 40..51 * 40];
        let loudest = (0..40).max_by(|a, b| frame[*a].total_cmp(&frame[*b])).unwrap();
        let centre = mel_to_hz(hz_to_mel(8000.0) * (loudest + 1) as f64 / 41.0);
        assert!((centre - 1000.0).abs() < 80.0, "{centre}");
    }

    #[test]
    fn quiet_speech_is_amplified_and_silence_is_refused() {
        let mut quiet = vec![0.001, -0.001, f32::NAN, 0.001];
        assert!(amplify(&mut quiet, -30.0));
        let rms = (quiet.iter().map(|v| v * v).sum::<f32>() / 4.0).sqrt();
        assert!((rms - 10f32.powf(-1.5)).abs() < 1e-4);
        let mut loud = vec![0.5, -0.5];
        assert!(amplify(&mut loud, -30.0));
        assert_eq!(loud, [0.5, -0.5]);
        assert!(!amplify(&mut [0.0; 10], -30.0) && !amplify(&mut [], -30.0));
    }
}
