//! Sound in frames of 10 ms: power, silence, and where to cut.

use std::ops::Range;

/// Samples in a second of every sound that models hear.
pub(super) const SAMPLE_RATE: usize = 16_000;
/// Samples in a frame.
pub(super) const HOP: usize = SAMPLE_RATE / 100;

/// whisper.cpp's alignment needs more than seven encoder positions; a second is plenty.
const MIN_SAMPLES: usize = SAMPLE_RATE;
/// A span's loud part is where its power is within this of its loudest frame's: −25 dB.
const SPAN_FLOOR: f32 = 0.003;
/// Power of the loudest 10 ms below which nobody is speaking: −70 dB of full scale. Spectrograms
/// are normalised to their loudest part, so a model would look for words in the faintest hiss.
const SILENCE: f32 = 1e-7;

/// The sound with silence after it, at least a second long.
pub(super) fn padded(pcm: &[f32]) -> Vec<f32> {
    let mut sound = pcm.to_vec();
    sound.resize(sound.len().max(MIN_SAMPLES), 0.0);
    sound
}

/// Cuts sound into stretches of at most `longest` samples, at the quietest 50 ms of each stretch's
/// last third.
pub(super) fn windows(pcm: &[f32], longest: usize) -> Vec<Range<usize>> {
    let mut out = Vec::new();
    let mut start = 0;
    while pcm.len() - start > longest {
        let power = frame_power(&pcm[start..start + longest]);
        let first = power.len() * 2 / 3;
        let quietest = power[first..]
            .windows(5)
            .enumerate()
            .min_by(|(_, a), (_, b)| a.iter().sum::<f32>().total_cmp(&b.iter().sum()))
            .map_or(power.len(), |(i, _)| first + i + 2);
        let end = start + (quietest * HOP).max(HOP);
        out.push(start..end);
        start = end;
    }
    out.push(start..pcm.len());
    out
}

/// Whether nobody can be speaking.
pub(super) fn is_silent(pcm: &[f32]) -> bool {
    frame_power(pcm).into_iter().all(|p| p < SILENCE)
}

/// Mean power of every 10 ms.
pub(super) fn frame_power(pcm: &[f32]) -> Vec<f32> {
    pcm.chunks(HOP).map(|c| c.iter().map(|s| s * s).sum::<f32>() / c.len() as f32).collect()
}

/// The part of `frames` from its first to its last loud frame.
pub(super) fn loud_part(power: &[f32], frames: Range<usize>) -> Range<usize> {
    let end = frames.end.min(power.len());
    let start = frames.start.min(end);
    let part = &power[start..end];
    let floor = part.iter().copied().fold(0.0, f32::max) * SPAN_FLOOR;
    let loud = |p: &f32| *p > floor;
    match (part.iter().position(loud), part.iter().rposition(loud)) {
        (Some(a), Some(b)) => start + a..start + b + 1,
        _ => start..end,
    }
}

/// The `place.0`-th of `place.1` equal parts of `frames`: a number's digits share its time.
pub(super) fn share(frames: &Range<usize>, place: (usize, usize)) -> Range<usize> {
    let (i, n) = (place.0, place.1.max(1));
    let at = |k: usize| frames.start + frames.len() * k / n;
    at(i)..at(i + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_told_from_whispers() {
        assert!(is_silent(&[]));
        assert!(is_silent(&[1e-5; 1000]));
        assert!(!is_silent(&[0.0, 0.3, 0.0]));
    }

    #[test]
    fn long_sound_is_cut_where_it_is_quiet() {
        // A tone that swells and fades.
        let pcm: Vec<f32> = (0..25 * SAMPLE_RATE)
            .map(|i| (i as f32 * 0.17).sin() * 0.3 * (i as f32 / 8000.0).sin().abs())
            .collect();
        let cut = windows(&pcm, 160_000);
        assert!(cut.len() >= 3);
        assert_eq!((cut[0].start, cut[cut.len() - 1].end), (0, pcm.len()));
        for pair in cut.windows(2) {
            assert_eq!(pair[0].end, pair[1].start);
            assert!(pair[0].len() <= 160_000);
            assert!(pcm[pair[0].end].abs() < 0.02);
        }
    }

    #[test]
    fn a_span_is_trimmed_to_its_loud_part() {
        let power = [0.0, 0.0, 1.0, 0.5, 1.0, 0.0001, 0.0];
        assert_eq!(loud_part(&power, 0..7), 2..5);
        assert_eq!(loud_part(&power, 5..99), 5..6);
        let (start, end) = (9, 3);
        assert_eq!(loud_part(&power, start..end), 3..3);
        assert_eq!(loud_part(&[], 0..3), 0..0);
    }

    #[test]
    fn a_number_shares_its_time() {
        assert_eq!(share(&(10..20), (0, 2)), 10..15);
        assert_eq!(share(&(10..20), (1, 2)), 15..20);
    }
}
