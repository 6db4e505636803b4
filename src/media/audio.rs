//! From decoded sound to mono at [`SAMPLE_RATE`], without holes.

use ffmpeg_the_third::format::Sample;
use ffmpeg_the_third::format::sample::Type;
use ffmpeg_the_third::frame;
use rubato::audioadapter_buffers::direct::SequentialSlice;
use rubato::{Fft, FixedSync, Indexing, Resampler};

use super::SAMPLE_RATE;

/// Sound is handed on in pieces of this many samples: 100 ms.
const PIECE: usize = SAMPLE_RATE as usize / 10;
/// Times may be off by this much before it counts as a gap or an overlap: containers round to
/// milliseconds, and a lost packet is 10 ms or more.
const TOLERANCE_US: i64 = 8_000;
/// Sample rates that an accepted codec can have.
pub(super) const RATES: std::ops::RangeInclusive<u32> = 8_000..=96_000;

/// A sample format or rate that no accepted decoder produces.
#[derive(Debug)]
pub(super) struct Unexpected;

/// The sound of one capture on its way to the receiver.
pub(super) struct Track {
    rate: u32,
    /// Most samples to take in, at `rate`.
    max_samples: u64,
    resampler: Option<Fft<f32>>,
    /// Time of the first sample, in microseconds.
    start_us: Option<i64>,
    /// Samples taken in, at `rate`.
    taken: u64,
    /// Silence among them.
    gaps: u64,
    /// Taken in and not yet resampled.
    pending: Vec<f32>,
    /// Samples that the resampler still owes to its delay.
    skip: usize,
    scratch: Vec<f32>,
    /// Resampled and not yet handed on.
    ready: Vec<f32>,
    /// Samples handed on, at [`SAMPLE_RATE`].
    sent: u64,
}

/// What became of one frame of sound.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// It is in.
    All,
    /// It does not fit what came before it.
    Damaged,
    /// There is more sound than allowed.
    TooLong,
}

impl Track {
    pub(super) fn new(rate: u32, max_audio_ms: u64) -> Result<Self, Unexpected> {
        if !RATES.contains(&rate) {
            return Err(Unexpected);
        }
        let resampler = (rate != SAMPLE_RATE)
            .then(|| Fft::new(rate as usize, SAMPLE_RATE as usize, 1024, 1, FixedSync::Both))
            .transpose()
            .map_err(|_| Unexpected)?;
        Ok(Self {
            rate,
            max_samples: max_audio_ms * u64::from(rate) / 1000,
            skip: resampler.as_ref().map_or(0, rubato::Resampler::output_delay),
            scratch: vec![0.0; resampler.as_ref().map_or(0, rubato::Resampler::output_frames_max)],
            resampler,
            start_us: None,
            taken: 0,
            gaps: 0,
            pending: Vec::new(),
            ready: Vec::new(),
            sent: 0,
        })
    }

    /// Samples taken in, at the rate of the stream.
    pub(super) fn is_empty(&self) -> bool {
        self.taken == 0
    }

    /// End of the last sample, in microseconds.
    pub(super) fn end_us(&self) -> i64 {
        self.start_us.unwrap_or(0) + self.to_us(self.taken)
    }

    /// Silence that was filled in, in milliseconds.
    pub(super) fn gaps_ms(&self) -> u64 {
        self.gaps * 1000 / u64::from(self.rate)
    }

    /// Takes in one frame that starts at `t_us` from the start of the capture; a frame without a
    /// time follows the one before it.
    pub(super) fn take(&mut self, frame: &frame::Audio, t_us: Option<i64>) -> Taken {
        let Some(mono) = Mono::of(frame).filter(|_| frame.rate() == self.rate) else {
            return Taken::Damaged;
        };
        let t_us = t_us.unwrap_or_else(|| self.end_us());
        // Sound from before the start is priming that nobody is meant to hear.
        let first = self.start_us.is_none();
        let start = *self.start_us.get_or_insert(t_us.max(0));
        let off_us = t_us.saturating_sub(start.saturating_add(self.to_us(self.taken)));
        let mut silence = 0;
        let mut skip = 0;
        if off_us > TOLERANCE_US {
            silence = self.to_samples(off_us);
        } else if off_us < -TOLERANCE_US || (first && off_us < 0) {
            skip = usize::try_from(self.to_samples(-off_us)).unwrap_or(usize::MAX);
            if skip >= mono.samples {
                return Taken::Damaged;
            }
        }
        let after = self.taken.saturating_add(silence).saturating_add((mono.samples - skip) as u64);
        if after > self.max_samples {
            return Taken::TooLong;
        }
        self.taken = after;
        self.gaps += silence;
        self.pending.resize(self.pending.len() + silence as usize, 0.0);
        self.pending.extend((skip..mono.samples).map(|i| mono.at(i)));
        Taken::All
    }

    /// Resamples what is pending and hands on whole pieces with their times in milliseconds.
    pub(super) fn pass_on<E>(
        &mut self,
        mut to: impl FnMut(i64, &[f32]) -> Result<(), E>,
    ) -> Result<(), E> {
        match &mut self.resampler {
            None => self.ready.append(&mut self.pending),
            Some(resampler) => {
                let chunk = resampler.input_frames_next();
                let whole = self.pending.len() / chunk * chunk;
                for input in self.pending[..whole].chunks_exact(chunk) {
                    resample(
                        resampler,
                        input,
                        None,
                        &mut self.scratch,
                        &mut self.skip,
                        &mut self.ready,
                    );
                }
                self.pending.drain(..whole);
            }
        }
        let whole = self.ready.len() / PIECE * PIECE;
        for piece in self.ready[..whole].chunks_exact(PIECE) {
            let t_ms = sent_ms(self.start_us, self.sent);
            self.sent += piece.len() as u64;
            to(t_ms, piece)?;
        }
        self.ready.drain(..whole);
        Ok(())
    }

    /// Hands on the rest: in all as much sound as was taken in.
    pub(super) fn finish<E>(
        &mut self,
        mut to: impl FnMut(i64, &[f32]) -> Result<(), E>,
    ) -> Result<(), E> {
        self.pass_on(&mut to)?;
        let total = (self.taken * u64::from(SAMPLE_RATE)).div_ceil(u64::from(self.rate));
        let rest = usize::try_from(total - self.sent.min(total)).unwrap_or(usize::MAX);
        if let Some(resampler) = &mut self.resampler {
            let mut partial = std::mem::take(&mut self.pending);
            let valid = partial.len();
            partial.resize(resampler.input_frames_next(), 0.0);
            let mut valid = Some(valid);
            // Half a block of silence pushes the last samples through the filter.
            while self.ready.len() < rest {
                let got = resample(
                    resampler,
                    &partial,
                    Some(valid.take().unwrap_or(0)),
                    &mut self.scratch,
                    &mut self.skip,
                    &mut self.ready,
                );
                if !got {
                    break;
                }
            }
        }
        self.ready.truncate(rest);
        for piece in self.ready.chunks(PIECE) {
            let t_ms = sent_ms(self.start_us, self.sent);
            self.sent += piece.len() as u64;
            to(t_ms, piece)?;
        }
        self.ready.clear();
        Ok(())
    }

    fn to_us(&self, samples: u64) -> i64 {
        (samples * 1_000_000 / u64::from(self.rate)) as i64
    }

    /// `us` is not negative.
    fn to_samples(&self, us: i64) -> u64 {
        (us as u64).saturating_mul(u64::from(self.rate)) / 1_000_000
    }
}

fn sent_ms(start_us: Option<i64>, sent: u64) -> i64 {
    (start_us.unwrap_or(0) + (sent * 1_000_000 / u64::from(SAMPLE_RATE)) as i64 + 500) / 1000
}

/// Resamples one chunk, of which `valid` samples count, onto the end of `ready`. Says whether there
/// was any progress.
fn resample(
    resampler: &mut Fft<f32>,
    input: &[f32],
    valid: Option<usize>,
    scratch: &mut [f32],
    skip: &mut usize,
    ready: &mut Vec<f32>,
) -> bool {
    let indexing = Indexing { partial_len: valid, ..Indexing::default() };
    let frames = scratch.len();
    let (Ok(from), Ok(mut to)) =
        (SequentialSlice::new(input, 1, input.len()), SequentialSlice::new_mut(scratch, 1, frames))
    else {
        return false;
    };
    let Ok((_, made)) = resampler.process_into_buffer(&from, &mut to, Some(&indexing)) else {
        return false;
    };
    let dropped = made.min(*skip);
    *skip -= dropped;
    ready.extend_from_slice(&scratch[dropped..made]);
    made > 0
}

/// A frame of sound, seen as the mean of its channels.
struct Mono<'a> {
    planes: Vec<&'a [f32]>,
    samples: usize,
    gain: f32,
}

impl<'a> Mono<'a> {
    /// `None` for what no accepted decoder produces: all of them make planes of floats.
    fn of(frame: &'a frame::Audio) -> Option<Self> {
        let channels = frame.planes();
        // FFmpeg's frame has eight plane pointers; a capture has one or two channels.
        let planar = frame.format() == Sample::F32(Type::Planar);
        if !planar || !(1..=8).contains(&channels) || frame.samples() == 0 {
            return None;
        }
        let planes = (0..channels).map(|i| frame.plane::<f32>(i)).collect();
        Some(Self { planes, samples: frame.samples(), gain: 1.0 / channels as f32 })
    }

    fn at(&self, i: usize) -> f32 {
        let mean = self.planes.iter().map(|plane| plane[i]).sum::<f32>() * self.gain;
        // A damaged packet can decode to anything.
        if mean.is_finite() { mean.clamp(-4.0, 4.0) } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use ffmpeg_the_third::ChannelLayoutMask;

    use super::*;

    fn tone(rate: u32, from: usize, samples: usize, layout: ChannelLayoutMask) -> frame::Audio {
        let mut frame = frame::Audio::new(Sample::F32(Type::Planar), samples, layout);
        frame.set_rate(rate);
        for channel in 0..frame.planes() {
            for (i, s) in frame.plane_mut::<f32>(channel).iter_mut().enumerate() {
                let t = (from + i) as f32 / rate as f32;
                *s = 0.5 * (std::f32::consts::TAU * 440.0 * t).sin();
            }
        }
        frame
    }

    fn run(rate: u32, frames: &[(Option<i64>, frame::Audio)]) -> (Track, Vec<i64>, Vec<f32>) {
        let mut track = Track::new(rate, 5_000).unwrap();
        let (mut times, mut all) = (Vec::new(), Vec::new());
        let mut keep = |t: i64, samples: &[f32]| {
            times.push(t);
            all.extend_from_slice(samples);
            Ok::<(), ()>(())
        };
        for (t_us, frame) in frames {
            assert_eq!(track.take(frame, *t_us), Taken::All);
            track.pass_on(&mut keep).unwrap();
        }
        track.finish(&mut keep).unwrap();
        (track, times, all)
    }

    #[test]
    fn every_rate_keeps_length_phase_and_level() {
        for rate in [8_000, 11_025, 16_000, 22_050, 44_100, 44_101, 48_000, 96_000] {
            let n = rate as usize / 50;
            let frames: Vec<_> = (0..50)
                .map(|i| {
                    let t = (i * n) as i64 * 1_000_000 / i64::from(rate);
                    (Some(t), tone(rate, i * n, n, ChannelLayoutMask::STEREO))
                })
                .collect();
            let (track, times, all) = run(rate, &frames);
            let want = (50 * n * 16_000).div_ceil(rate as usize);
            assert_eq!(all.len(), want, "{rate}");
            assert_eq!(times, (0..times.len()).map(|i| i as i64 * 100).collect::<Vec<_>>());
            assert_eq!(track.gaps_ms(), 0);
            let worst = (200..want - 200)
                .map(|i| {
                    let t = i as f32 / 16_000.0;
                    (all[i] - 0.5 * (std::f32::consts::TAU * 440.0 * t).sin()).abs()
                })
                .fold(0.0, f32::max);
            // The filter's centre lies up to half a sample of the lower rate off.
            let half_a_sample = 0.5 * std::f32::consts::TAU * 440.0 * 0.5 / rate.min(16_000) as f32;
            assert!(worst < half_a_sample + 0.005, "{rate}: {worst}");
        }
    }

    #[test]
    fn gaps_are_filled_and_overlaps_cut() {
        let mono = ChannelLayoutMask::MONO;
        let piece = |t: i64| (Some(t), tone(16_000, 0, 320, mono));
        let (track, times, all) = run(16_000, &[piece(100_000), piece(220_000), piece(225_000)]);
        assert_eq!((track.gaps_ms(), times[0]), (100, 100));
        // 20 ms, 100 ms of silence, 20 ms, and of the last 20 ms the 5 that are new.
        assert_eq!(all.len(), 320 + 1600 + 320 + 80);
        assert!(all[320..1920].iter().all(|s| *s == 0.0));
        assert_eq!(track.end_us(), 245_000);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let mono = ChannelLayoutMask::MONO;
        let frame = tone(16_000, 0, 320, mono);
        let mut track = Track::new(16_000, 1_000).unwrap();
        assert_eq!(track.take(&frame, Some(0)), Taken::All);
        assert_eq!(track.take(&frame, Some(-500_000)), Taken::Damaged);
        assert_eq!(track.take(&frame, Some(i64::MIN / 4)), Taken::Damaged);
        assert_eq!(track.take(&tone(48_000, 0, 960, mono), Some(20_000)), Taken::Damaged);
        assert_eq!(track.take(&frame, Some(990_000)), Taken::TooLong);
        assert_eq!(track.take(&frame, Some(i64::MAX / 4)), Taken::TooLong);
        assert_eq!(track.take(&frame, None), Taken::All);
        assert!(Track::new(0, 1_000).is_err() && Track::new(4_000_000, 1_000).is_err());
    }
}
