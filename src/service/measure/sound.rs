//! Levels of the sound: of speech and room, and of the voice band over time.

use std::f32::consts::TAU;
use std::ops::Range;

use super::SAMPLE_RATE;
use crate::domain::evidence::{ENVELOPE_STEP_MS, VoiceEnvelope};

/// Level of the smallest step of 16-bit sound: silence is not quieter than this.
const QUIETEST_DBFS: f32 = -96.0;
/// The band in which lips shape a voice the most, in hertz.
const BAND: (f32, f32) = (1000.0, 4000.0);

pub(super) fn to_ms(samples: usize) -> i64 {
    (samples * 1000 / SAMPLE_RATE) as i64
}

/// Level of the speech, and how far it stands above what lies between.
pub(super) fn levels(sound: &[f32], speech: &[Range<usize>]) -> (Option<f32>, Option<f32>) {
    let power = |ranges: &[Range<usize>]| -> Option<f32> {
        let samples: usize = ranges.iter().map(ExactSizeIterator::len).sum();
        let sum: f64 = ranges
            .iter()
            .flat_map(|r| &sound[r.clone()])
            .map(|v| f64::from(*v) * f64::from(*v))
            .sum();
        let dbfs = (10.0 * (sum / samples.max(1) as f64).log10()) as f32;
        (samples > 0).then_some(dbfs.max(QUIETEST_DBFS))
    };
    let mut between = Vec::new();
    let mut end = 0;
    for r in speech {
        between.push(end..r.start);
        end = r.end;
    }
    between.push(end..sound.len());
    let level = power(speech);
    // Less than a fifth of a second between is the tail of a word, not the room.
    let quiet: usize = between.iter().map(ExactSizeIterator::len).sum();
    let room = power(&between).filter(|_| quiet >= SAMPLE_RATE / 5);
    (level, level.zip(room).map(|(speech, room)| speech - room))
}

/// How loud the voice band of mono sound at [`SAMPLE_RATE`] is over time; `start_ms` is the time
/// of the first sample. Two poles on either side of the band.
pub fn envelope(sound: &[f32], start_ms: i64) -> VoiceEnvelope {
    let pole = |hertz: f32| (-TAU * hertz / SAMPLE_RATE as f32).exp();
    let (low, high) = (pole(BAND.0), pole(BAND.1));
    let mut above = [0.0_f32; 2];
    let mut before = [0.0_f32; 2];
    let mut below = [0.0_f32; 2];
    let step = SAMPLE_RATE * ENVELOPE_STEP_MS as usize / 1000;
    let level = |chunk: &[f32]| {
        let mut power = 0.0;
        for sample in chunk {
            let mut v = *sample;
            for i in 0..2 {
                above[i] = low * (above[i] + v - before[i]);
                before[i] = v;
                v = above[i];
            }
            for pass in &mut below {
                *pass += (1.0 - high) * (v - *pass);
                v = *pass;
            }
            power += v * v;
        }
        let db = 10.0 * (power / chunk.len() as f32).log10();
        db.clamp(QUIETEST_DBFS, 0.0).round() as i8
    };
    VoiceEnvelope { start_ms, db: sound.chunks(step).map(level).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_of_speech_and_room() {
        let only = |r: Range<usize>| vec![r];
        let mut sound = vec![0.001f32; SAMPLE_RATE];
        sound[4000..8000].fill(0.1);
        let (level, snr) = levels(&sound, &only(4000..8000));
        assert!((level.unwrap() + 20.0).abs() < 0.01);
        assert!((snr.unwrap() - 40.0).abs() < 0.01);
        assert_eq!(levels(&sound, &[]), (None, None));
        let all = levels(&sound, &only(0..SAMPLE_RATE));
        assert!(all.0.is_some() && all.1.is_none());
        let (_, snr) = levels(&vec![0.0; SAMPLE_RATE], &only(0..100));
        assert_eq!(snr, Some(0.0));
    }

    #[test]
    fn the_envelope_hears_the_voice_band() {
        let tone = |hertz: f32| -> Vec<f32> {
            let at = |i: usize| (TAU * hertz * i as f32 / SAMPLE_RATE as f32).sin() * 0.5;
            (0..SAMPLE_RATE).map(at).collect()
        };
        let level = |hertz| envelope(&tone(hertz), 0).db[25];
        assert!(level(2000.0) > -20, "{}", level(2000.0));
        assert!(level(150.0) < level(2000.0) - 20);
        assert!(level(7500.0) < level(2000.0));
        let quiet = envelope(&vec![0.0; SAMPLE_RATE + 1], -40);
        assert_eq!((quiet.start_ms, quiet.db.len()), (-40, 51));
        assert!(quiet.db.iter().all(|v| *v == -96));
        assert!(envelope(&[], 0).db.is_empty());
    }
}
