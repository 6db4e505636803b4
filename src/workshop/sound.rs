//! What happens to speech on its way, and sound put together from pieces.
//!
//! Telephone, babble and room are those of training's held-out sets (`training/digits/holdout.py`),
//! with other random draws.

use std::path::Path;

use rustfft::FftPlanner;
use rustfft::num_complex::Complex32;

use super::draw::Draw;
use super::program::{ffmpeg, run};
use super::{Error, RATE, Result};

const RAW: [&str; 6] = ["-f", "f32le", "-ar", "16000", "-ac", "1"];

/// A file's sound as mono at [`RATE`].
///
/// # Errors
/// Where `ffmpeg` is missing or can't read it.
pub fn read(path: &Path) -> Result<Vec<f32>> {
    let mut command = ffmpeg();
    command.arg("-i").arg(path).arg("-vn").args(RAW).arg("-");
    match run(&mut command, &[]) {
        Ok(bytes) => Ok(samples(&bytes)),
        Err(Error::Program(why)) => Err(Error::Program(format!("{}: {why}", path.display()))),
        Err(e) => Err(e),
    }
}

/// Encodes a sound with `options` into `container` and decodes it again.
///
/// # Errors
/// Where `ffmpeg` is missing or lacks the encoder.
pub fn through_codec(sound: &[f32], options: &[&str], container: &str) -> Result<Vec<f32>> {
    let bytes: Vec<u8> = sound.iter().flat_map(|s| s.to_le_bytes()).collect();
    let mut command = ffmpeg();
    command.args(RAW).args(["-i", "-"]).args(options).args(["-f", container, "-"]);
    let packed = run(&mut command, &bytes)?;
    Ok(samples(&run(ffmpeg().args(["-i", "-"]).args(RAW).arg("-"), &packed)?))
}

fn samples(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}

/// The sound `ms` milliseconds later.
pub fn delayed(sound: &[f32], ms: usize) -> Vec<f32> {
    let mut out = vec![0.0; RATE * ms / 1000];
    out.extend(sound);
    out
}

/// Pieces in a row, `lead` samples of silence before and `gap` after each.
pub fn in_a_row<'a>(
    pieces: impl IntoIterator<Item = &'a [f32]>,
    lead: usize,
    gap: usize,
) -> Vec<f32> {
    let mut out = vec![0.0; lead];
    for piece in pieces {
        out.extend(piece);
        out.resize(out.len() + gap, 0.0);
    }
    out
}

/// The sound turned down where it would be clipped.
pub fn bounded(mut sound: Vec<f32>) -> Vec<f32> {
    let peak = sound.iter().fold(1.0_f32, |m, v| m.max(v.abs()));
    for v in &mut sound {
        *v /= peak;
    }
    sound
}

/// A little quiet noise before and after, as a capture has it.
pub fn padded(sound: &[f32], draw: &mut Draw) -> Vec<f32> {
    let [lead, tail] = [0; 2].map(|_| (draw.between(0.1, 0.5) * RATE as f64) as usize);
    let mut out = vec![0.0; lead];
    out.extend(sound);
    out.resize(out.len() + tail, 0.0);
    for v in &mut out {
        *v += 2e-4 * draw.normal() as f32;
    }
    out
}

/// Six voices over each other for half a minute.
pub fn babble(voices: &[&[f32]], draw: &mut Draw) -> Vec<f32> {
    let mut out = vec![0.0; 30 * RATE];
    for _ in 0..if voices.is_empty() { 0 } else { 6 } {
        let mut at = 0;
        while at < out.len() {
            let voice = voices[draw.below(voices.len())];
            out[at..].iter_mut().zip(voice).for_each(|(o, v)| *o += v);
            at += voice.len().max(1);
        }
    }
    out
}

/// Plucked chords over a beat: enough like music to see that no digits are heard in it.
pub fn music(seconds: usize, draw: &mut Draw) -> Vec<f32> {
    const STEPS: [f64; 9] = [0.0, 2.0, 3.0, 4.0, 5.0, 7.0, 9.0, 12.0, 16.0];
    let mut out = vec![0.0_f32; seconds * RATE];
    let beat = (draw.between(0.15, 0.6) * RATE as f64) as usize;
    let root = draw.between(80.0, 300.0);
    for start in (0..out.len()).step_by(beat) {
        let decay = draw.between(1.0, 8.0);
        for _ in 0..=draw.below(3) {
            let pitch = root * 2_f64.powf(STEPS[draw.below(STEPS.len())] / 12.0);
            for k in 1..6_i32 {
                let phase = draw.between(0.0, 6.0);
                for (i, v) in out[start..].iter_mut().take(2 * beat).enumerate() {
                    let t = i as f64 / RATE as f64;
                    let wave = (std::f64::consts::TAU * pitch * f64::from(k) * t + phase).sin();
                    *v += (0.02 * (-t * decay).exp() * wave / f64::from(k).powf(1.3)) as f32;
                }
            }
        }
    }
    out
}

/// 300–3,400 Hz, companded to eight bits by μ-law (ITU-T G.711's, unsegmented).
pub fn telephone(sound: &[f32]) -> Vec<f32> {
    let band = filtered(sound, |hz| {
        let (above, below) = ((hz / 3400.0).powi(24), (300.0 / hz.max(1.0)).powi(6));
        ((1.0 + above) * (1.0 + below)).sqrt().recip()
    });
    let peak = band.iter().fold(1e-9_f32, |m, v| m.max(v.abs()));
    let companded = |v: f32| {
        let y = ((255.0 * v.abs()).ln_1p() / 256_f32.ln() * 127.0).round() / 127.0;
        v.signum() * (256_f32.powf(y) - 1.0) / 255.0
    };
    band.into_iter().map(|v| companded(v / peak) * peak).collect()
}

/// With people talking, the speech `db` decibels above them.
pub fn with_babble(sound: &[f32], babble: &[f32], db: f32, draw: &mut Draw) -> Vec<f32> {
    let start = draw.below(babble.len().max(1));
    let noise: Vec<f32> = babble.iter().copied().cycle().skip(start).take(sound.len()).collect();
    let rms = |v: &mut dyn Iterator<Item = f32>| {
        let (sum, n) = v.fold((0.0, 0), |(s, n), v| (s + v * v, n + 1));
        (sum / n.max(1) as f32).sqrt()
    };
    let floor = sound.iter().fold(0.0_f32, |m, v| m.max(v.abs())) * 0.01;
    let speech = rms(&mut sound.iter().copied().filter(|v| v.abs() > floor));
    let gain = speech / (rms(&mut noise.iter().copied()) + 1e-9) * 10_f32.powf(-db / 20.0);
    sound.iter().zip(noise).map(|(v, n)| v + n * gain).collect()
}

/// A room with a reverberation time of 0.6 s: a direct path, and a tail of noise that decays
/// exponentially, 3 dB below it.
pub fn in_room(sound: &[f32], draw: &mut Draw) -> Vec<f32> {
    const T60: f64 = 0.6;
    let length = (T60 * RATE as f64) as usize;
    let mut tail: Vec<f32> = (0..length)
        .map(|i| {
            let decay = 10_f64.powf(-3.0 * i as f64 / (T60 * RATE as f64));
            (draw.normal() * decay) as f32
        })
        .collect();
    let silent = (draw.between(0.001, 0.008) * RATE as f64) as usize;
    tail[..silent].fill(0.0);
    let power = tail.iter().map(|v| v * v).sum::<f32>();
    let gain = 10_f32.powf(-3.0 / 20.0) / (power + 1e-9).sqrt();
    for v in &mut tail {
        *v *= gain;
    }
    tail[0] = 1.0;
    let size = sound.len() + tail.len();
    let response = spectrum(&tail, size);
    let mut heard = spectrum(sound, size);
    heard.iter_mut().zip(response).for_each(|(a, b)| *a *= b);
    waveform(heard, sound.len())
}

/// The sound through a filter of zero phase, `gain` of each frequency in hertz.
fn filtered(sound: &[f32], gain: impl Fn(f32) -> f32) -> Vec<f32> {
    let size = sound.len() + RATE / 2;
    let mut heard = spectrum(sound, size);
    for (i, v) in heard.iter_mut().enumerate() {
        *v *= gain(i.min(size - i) as f32 * RATE as f32 / size as f32);
    }
    waveform(heard, sound.len())
}

fn spectrum(sound: &[f32], size: usize) -> Vec<Complex32> {
    let mut values: Vec<Complex32> = sound.iter().map(|v| Complex32::new(*v, 0.0)).collect();
    values.resize(size, Complex32::default());
    FftPlanner::new().plan_fft_forward(size).process(&mut values);
    values
}

fn waveform(mut spectrum: Vec<Complex32>, samples: usize) -> Vec<f32> {
    let size = spectrum.len() as f32;
    FftPlanner::new().plan_fft_inverse(spectrum.len()).process(&mut spectrum);
    spectrum.iter().take(samples).map(|v| v.re / size).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(hz: f32) -> Vec<f32> {
        (0..RATE)
            .map(|i| (i as f32 / RATE as f32 * hz * std::f32::consts::TAU).sin() * 0.2)
            .collect()
    }

    fn power(sound: &[f32]) -> f32 {
        sound.iter().map(|v| v * v).sum::<f32>() / sound.len() as f32
    }

    #[test]
    fn a_codec_keeps_length_and_sound() {
        let tone = tone(500.0);
        let back = through_codec(&tone, &["-c:a", "libopus", "-b:a", "32k"], "ogg").unwrap();
        assert!(back.len().abs_diff(tone.len()) < RATE / 10, "{}", back.len());
        assert!((power(&back) / power(&tone) - 1.0).abs() < 0.2);
    }

    #[test]
    fn a_telephone_keeps_its_band() {
        let share = |hz| power(&telephone(&tone(hz))) / power(&tone(hz));
        assert!((share(1000.0) - 1.0).abs() < 0.05, "{}", share(1000.0));
        assert!(share(100.0) < 0.05 && share(6000.0) < 0.05);
    }

    #[test]
    fn babble_is_ten_decibels_down() {
        let sound = tone(500.0);
        let noise = babble(&[&tone(317.0), &tone(211.0)], &mut Draw::new(1));
        let heard = with_babble(&sound, &noise, 10.0, &mut Draw::new(2));
        let added: Vec<f32> = heard.iter().zip(&sound).map(|(a, b)| a - b).collect();
        let db = 10.0 * (power(&sound) / power(&added)).log10();
        assert!((db - 10.0).abs() < 0.5, "{db}");
        assert_eq!(babble(&[], &mut Draw::new(1)).len(), 30 * RATE);
    }

    #[test]
    fn a_room_goes_on_after_the_sound() {
        let mut click = vec![0.0; RATE];
        click[1000] = 1.0;
        let heard = in_room(&click, &mut Draw::new(3));
        assert!((heard[1000] - 1.0).abs() < 0.01 && power(&heard[..900]) < 1e-9);
        let tail = power(&heard[1001..]) * (RATE - 1001) as f32;
        assert!((tail - 0.5).abs() < 0.06, "{tail}"); // 3 dB below the click
    }

    #[test]
    fn pieces_pauses_and_lengths() {
        let row = in_a_row([&[1.0, 1.0][..], &[2.0][..]], 1, 2);
        assert_eq!(row, [0.0, 1.0, 1.0, 0.0, 0.0, 2.0, 0.0, 0.0]);
        assert_eq!(delayed(&[1.0], 500).len(), RATE / 2 + 1);
        assert_eq!(bounded(vec![0.5, -2.0]), [0.25, -1.0]);
        assert!(padded(&row, &mut Draw::new(5)).len() > row.len() + RATE / 5);
        assert_eq!(music(1, &mut Draw::new(6)).len(), RATE);
    }
}
