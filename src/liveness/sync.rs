//! Do the lips move with the voice?
//!
//! A mouth that speaks opens and closes with the loudness of the sound between 1 and 4 kHz. Both are put
//! on one grid of time and their *changes* are correlated at offsets of up to half a second: the slow
//! course of a sentence is shared by any two people who say something of that length, the changes are not. Where
//! the sound is the mouth's own, the correlation is high and peaks within about a tenth of a second; where
//! it was dubbed it is low, and where it was shifted it peaks elsewhere.
//!
//! Score: [`SyncMeasure::strength`]. Its log-likelihood ratio is a line through what real clips gave; see
//! `docs/evaluation-main-job.md`. Method after the cross-correlation of mouth opening and loudness in Slaney and
//! Covell, "`FaceSync`" (NIPS 2000), with one fixed projection in place of a fitted one.

use super::policy::SyncPolicy;
use super::result;
use super::timeline::Timeline;
use crate::domain::evidence::{ENVELOPE_STEP_MS, SpeechEvidence, SpeechSegment, VoiceEnvelope};
use crate::domain::verdict::{Check, CheckResult, ReasonCode, Status};

/// Steps that are compared at most: a minute, which is all the sound that is measured.
const MAX_STEPS: usize = 60_000 / ENVELOPE_STEP_MS as usize;
/// Stretches of speech that are looked at, at most.
const MAX_SEGMENTS: usize = 500;
/// Offsets that are tried, in steps to either side: half a second.
const MAX_LAG: isize = 25;
/// Fewest pairs that make a correlation.
const MIN_PAIRS: usize = 25;
/// Time before and after the speech in which lips and voice are compared, in milliseconds.
const AROUND_MS: i64 = 200;
/// Lips are interpolated between pictures no further apart than this, in milliseconds.
const MAX_PICTURE_GAP_MS: i64 = 200;
/// What lies this far below the loud parts, in dB, is the room.
const VOICE_RANGE_DB: f32 = 30.0;
/// Half widths of smoothing, in steps: of the lips (the mesh trembles) and of the voice.
const SMOOTH: (usize, usize) = (1, 2);
/// Half of the time over which a change is taken, in steps.
const CHANGE: usize = 3;
/// Added to the opening before the logarithm: the mesh's noise at a shut mouth is half of it.
const SHUT: f32 = 0.03;

/// How far a mouth is open at one time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MouthSample {
    /// Milliseconds from the first video frame.
    pub t_ms: i64,
    /// Inner lip gap over mouth width.
    pub open: f32,
}

/// What lips and voice have in common.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SyncMeasure {
    /// Largest correlation, −1 to 1, at offsets that count as in sync.
    pub correlation: f32,
    /// Largest correlation at any offset.
    pub best: f32,
    /// Where it is, in milliseconds; above zero, the sound comes after the lips.
    pub offset_ms: i64,
    /// How far the mouth's opening ranges during the speech: 95th less 5th percentile.
    pub mouth_range: f32,
    /// Time of speech with the lips in sight, in milliseconds.
    pub usable_ms: i64,
    /// Time with the lips in sight from the first word to the last, in milliseconds.
    pub compared_ms: i64,
}

impl SyncMeasure {
    /// How much speaks for one source of lips and voice: Fisher's z of the correlation, less what it is
    /// larger by at another offset, times the root of the seconds compared. Chance gives some
    /// correlation at some offset, and less of it the longer it has to hold.
    pub fn strength(&self) -> f32 {
        (fisher_z(self.correlation) - self.shifted())
            * (self.compared_ms.max(0) as f32 / 1000.0).sqrt()
    }

    /// By how much Fisher's z is larger out of sync.
    fn shifted(&self) -> f32 {
        (fisher_z(self.best) - fisher_z(self.correlation)).max(0.0)
    }
}

pub(super) fn check(
    speech: &SpeechEvidence,
    timeline: &Timeline<'_>,
    p: &SyncPolicy,
) -> CheckResult {
    let mouth: Vec<MouthSample> =
        timeline.faces().map(|(t_ms, f)| MouthSample { t_ms, open: f.mouth_open }).collect();
    judge_sync(&mouth, speech.envelope.as_ref(), &speech.segments, p)
}

/// Judges lips against voice alone. The order of the samples doesn't matter.
///
/// Without an envelope (evidence of version 1, or no sound) the check is unavailable; with too
/// little speech in sight of the lips it is inconclusive, and weighs nothing.
pub fn judge_sync(
    mouth: &[MouthSample],
    envelope: Option<&VoiceEnvelope>,
    speech: &[SpeechSegment],
    p: &SyncPolicy,
) -> CheckResult {
    let open = |status| {
        let reasons = vec![ReasonCode::SyncUnclear];
        result(Check::Sync, status, None, Some(p.even), reasons)
    };
    let Some(envelope) = envelope else { return open(Status::Unavailable) };
    let Some(m) = measure_sync(mouth, envelope, speech, p) else {
        return open(Status::Inconclusive);
    };
    if m.usable_ms < p.min_speech_ms {
        return open(Status::Inconclusive);
    }
    let still = m.mouth_range < p.still_range;
    let raw = if still { -p.max_llr } else { p.nats_per_strength * (m.strength() - p.even) };
    let reliability = m.usable_ms as f32 / p.full_speech_ms.max(1) as f32;
    let weighed = |status, reasons| {
        result(Check::Sync, status, Some(m.strength().max(0.0)), Some(p.even), reasons)
            .weighing(raw.clamp(-p.max_llr.abs(), p.max_llr.abs()), reliability)
    };
    let elsewhere = SyncMeasure { correlation: m.best, ..m };
    let against = if still {
        ReasonCode::LipsStill
    } else if m.shifted() > 0.0 && elsewhere.strength() >= p.even {
        ReasonCode::SoundShifted
    } else {
        ReasonCode::LipsDisagree
    };
    let passed = weighed(Status::Pass, vec![]);
    match passed.llr {
        Some(llr) if llr >= p.pass_llr => passed,
        Some(llr) if llr < p.fail_llr => weighed(Status::Fail, vec![against]),
        _ => weighed(Status::Inconclusive, vec![ReasonCode::SyncUnclear]),
    }
}

/// Correlates the lips' changes with the voice's. `None` where there is too little of either.
pub fn measure_sync(
    mouth: &[MouthSample],
    envelope: &VoiceEnvelope,
    speech: &[SpeechSegment],
    p: &SyncPolicy,
) -> Option<SyncMeasure> {
    let steps = envelope.db.len().min(MAX_STEPS);
    let step_of =
        |t: i64| (t.saturating_sub(envelope.start_ms) / ENVELOPE_STEP_MS).clamp(0, steps as i64);
    let spoken: Vec<(usize, usize)> = speech
        .iter()
        .take(MAX_SEGMENTS)
        .map(|s| (step_of(s.start_ms) as usize, step_of(s.end_ms) as usize))
        .filter(|(from, to)| to > from)
        .collect();
    let around = (AROUND_MS / ENVELOPE_STEP_MS) as usize;
    let from = spoken.iter().map(|s| s.0).min()?.saturating_sub(around);
    let to = (spoken.iter().map(|s| s.1).max()? + around).min(steps);

    let opening = on_grid(mouth, envelope.start_ms, steps);
    let mut in_sight: Vec<usize> =
        spoken.iter().flat_map(|(from, to)| *from..*to).filter(|i| opening[*i].is_some()).collect();
    in_sight.sort_unstable();
    in_sight.dedup();
    let lips: Vec<Option<f32>> = opening.iter().map(|o| o.map(|o| (o + SHUT).ln())).collect();
    let lips = changes(&smoothed(&lips, SMOOTH.0));
    let voice = changes(&loudness(&envelope.db[..steps], from..to));

    let at = |lag: isize| correlation(&lips, &voice, from..to, lag);
    let all: Vec<(isize, f32)> =
        (-MAX_LAG..=MAX_LAG).filter_map(|lag| Some((lag, at(lag)?))).collect();
    let ms = |lag: isize| lag as i64 * ENVELOPE_STEP_MS;
    let in_sync = |lag: isize| ms(lag) >= p.in_sync_ms.0 && ms(lag) <= p.in_sync_ms.1;
    let near = all.iter().filter(|(lag, _)| in_sync(*lag)).map(|(_, r)| *r);
    let correlation = near.max_by(f32::total_cmp)?;
    // Of equals the one nearest to zero.
    let (lag, best) =
        all.iter().copied().max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.abs().cmp(&a.0.abs())))?;
    let mut range: Vec<f32> = in_sight.iter().filter_map(|i| opening[*i]).collect();
    Some(SyncMeasure {
        correlation,
        best,
        offset_ms: ms(lag),
        mouth_range: percentile(&mut range, 0.95)? - percentile(&mut range, 0.05)?,
        usable_ms: in_sight.len() as i64 * ENVELOPE_STEP_MS,
        compared_ms: lips[from..to].iter().flatten().count() as i64 * ENVELOPE_STEP_MS,
    })
}

/// The opening at each step, between the pictures before and after it.
fn on_grid(mouth: &[MouthSample], start_ms: i64, steps: usize) -> Vec<Option<f32>> {
    let mut samples: Vec<MouthSample> =
        mouth.iter().copied().filter(|m| m.open.is_finite()).collect();
    samples.sort_by(|a, b| a.t_ms.cmp(&b.t_ms).then(a.open.total_cmp(&b.open)));
    samples.dedup_by_key(|m| m.t_ms);
    let mut next = 0;
    (0..steps)
        .map(|i| {
            let t = start_ms.saturating_add(i as i64 * ENVELOPE_STEP_MS);
            while samples.get(next).is_some_and(|m| m.t_ms <= t) {
                next += 1;
            }
            let (a, b) = (samples.get(next.checked_sub(1)?)?, samples.get(next)?);
            let gap = b.t_ms.saturating_sub(a.t_ms);
            let part = t.saturating_sub(a.t_ms) as f32 / gap as f32;
            // A ratio beyond this is no mouth.
            let open = (a.open + (b.open - a.open) * part).clamp(0.0, 2.0);
            (gap <= MAX_PICTURE_GAP_MS).then_some(open)
        })
        .collect()
}

/// The voice's level above the room, smoothed; the loud parts are those of `span`.
fn loudness(db: &[i8], span: std::ops::Range<usize>) -> Vec<Option<f32>> {
    let level: Vec<Option<f32>> = db.iter().map(|v| Some(f32::from(*v))).collect();
    let level = smoothed(&level, SMOOTH.1);
    let mut loud: Vec<f32> = level[span].iter().copied().flatten().collect();
    let top = percentile(&mut loud, 0.95).unwrap_or(0.0);
    level.into_iter().map(|v| v.map(|v| v.max(top - VOICE_RANGE_DB))).collect()
}

/// Means over `half` steps to either side; what is unknown stays unknown.
fn smoothed(values: &[Option<f32>], half: usize) -> Vec<Option<f32>> {
    (0..values.len())
        .map(|i| {
            values[i]?;
            let near = &values[i.saturating_sub(half)..(i + half + 1).min(values.len())];
            let known = near.iter().flatten();
            Some(known.clone().sum::<f32>() / known.count() as f32)
        })
        .collect()
}

/// The difference between [`CHANGE`] steps later and earlier.
fn changes(values: &[Option<f32>]) -> Vec<Option<f32>> {
    let at = |i: Option<usize>| values.get(i?).copied().flatten();
    (0..values.len()).map(|i| Some(at(Some(i + CHANGE))? - at(i.checked_sub(CHANGE))?)).collect()
}

/// Pearson's correlation of the lips in `span` with the voice `lag` steps later; zero where one of them
/// stands still.
fn correlation(
    lips: &[Option<f32>],
    voice: &[Option<f32>],
    span: std::ops::Range<usize>,
    lag: isize,
) -> Option<f32> {
    let (mut n, mut x, mut y, mut xx, mut yy, mut xy) = (0_usize, 0.0, 0.0, 0.0, 0.0, 0.0);
    for i in span {
        let later = i.checked_add_signed(lag).and_then(|j| voice.get(j).copied().flatten());
        if let (Some(a), Some(b)) = (lips[i], later) {
            let (a, b) = (f64::from(a), f64::from(b));
            n += 1;
            (x, y, xx, yy, xy) = (x + a, y + b, xx + a * a, yy + b * b, xy + a * b);
        }
    }
    if n < MIN_PAIRS {
        return None;
    }
    let n = n as f64;
    let spread = (xx - x * x / n) * (yy - y * y / n);
    let r = if spread > 1e-9 { (xy - x * y / n) / spread.sqrt() } else { 0.0 };
    Some(r.clamp(-1.0, 1.0) as f32)
}

fn fisher_z(r: f32) -> f32 {
    r.clamp(-0.99, 0.99).atanh()
}

fn percentile(values: &mut [f32], share: f32) -> Option<f32> {
    values.sort_by(f32::total_cmp);
    let last = values.len().checked_sub(1)?;
    values.get((last as f32 * share).round() as usize).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::liveness::Policy;

    const MS: i64 = 6000;

    /// How loud a voice of irregular syllables is, 0–1.
    fn syllables(t_ms: i64, seed: i64) -> f32 {
        let t = t_ms as f32 / 1000.0;
        let seed = seed as f32;
        let speed = 9.0 + 2.5 * (t * 0.9 + seed).sin() + seed;
        ((t * speed + 2.0 * (t * 2.3 + seed).sin()).sin()).max(0.0)
    }

    fn mouth(seed: i64, every_ms: i64) -> Vec<MouthSample> {
        (0..MS / every_ms)
            .map(|i| i * every_ms)
            .map(|t_ms| MouthSample { t_ms, open: 0.02 + 0.2 * syllables(t_ms, seed) })
            .collect()
    }

    fn envelope(seed: i64, late_ms: i64) -> VoiceEnvelope {
        let at = |i| -60.0 + 35.0 * syllables(i * ENVELOPE_STEP_MS - late_ms, seed);
        VoiceEnvelope { start_ms: 0, db: (0..MS / ENVELOPE_STEP_MS).map(|i| at(i) as i8).collect() }
    }

    const SPEECH: [SpeechSegment; 1] = [SpeechSegment { start_ms: 300, end_ms: 5600 }];

    fn judged(mouth: &[MouthSample], voice: &VoiceEnvelope) -> CheckResult {
        judge_sync(mouth, Some(voice), &SPEECH, &Policy::balanced().sync)
    }

    #[test]
    fn a_mouth_that_speaks_passes_at_any_frame_rate() {
        for every_ms in [16, 33, 40, 66, 83] {
            let r = judged(&mouth(1, every_ms), &envelope(1, 40));
            assert_eq!(r.status, Status::Pass, "{every_ms}: {r:?}");
            assert!(r.llr.unwrap() > 1.0);
        }
    }

    #[test]
    fn dubbed_shifted_and_still() {
        let found = |m: &[MouthSample], v| judged(m, &v).reasons;
        let llr = |a, b| judged(&mouth(a, 40), &envelope(b, 0)).llr.unwrap();
        for (a, b) in [(1, 2), (1, 3), (2, 1), (2, 4), (3, 1), (4, 2)] {
            println!("{a} with the voice of {b}: {:.2}, its own {:.2}", llr(a, b), llr(a, a));
            assert!(llr(a, b) < 0.0 && llr(a, a) > 2.0);
        }
        for late_ms in [-400, -240, 240, 400] {
            assert_eq!(found(&mouth(1, 40), envelope(1, late_ms)), [ReasonCode::SoundShifted]);
            let m = measure_sync(
                &mouth(1, 40),
                &envelope(1, late_ms),
                &SPEECH,
                &Policy::balanced().sync,
            );
            assert!((m.unwrap().offset_ms - late_ms).abs() <= 20, "{m:?}");
        }
        let still: Vec<MouthSample> =
            mouth(1, 40).iter().map(|m| MouthSample { open: 0.02, ..*m }).collect();
        assert_eq!(found(&still, envelope(1, 0)), [ReasonCode::LipsStill]);
    }

    #[test]
    fn what_is_missing_weighs_nothing() {
        let p = Policy::balanced().sync;
        let none = judge_sync(&mouth(1, 40), None, &SPEECH, &p);
        assert_eq!((none.status, none.llr), (Status::Unavailable, None));
        for (mouth, speech) in [
            (mouth(1, 40), vec![]),
            (vec![], SPEECH.to_vec()),
            (mouth(1, 500), SPEECH.to_vec()),
            (mouth(1, 40), vec![SpeechSegment { start_ms: 300, end_ms: 700 }]),
            (mouth(1, 40), vec![SpeechSegment { start_ms: i64::MAX, end_ms: i64::MIN }]),
        ] {
            let r = judge_sync(&mouth, Some(&envelope(1, 0)), &speech, &p);
            assert_eq!((r.status, r.llr), (Status::Inconclusive, None), "{speech:?}");
        }
    }

    #[test]
    fn less_speech_weighs_less() {
        let weight = |end_ms| {
            let speech = [SpeechSegment { start_ms: 300, end_ms }];
            let p = Policy::balanced().sync;
            judge_sync(&mouth(1, 40), Some(&envelope(1, 0)), &speech, &p).reliability.unwrap()
        };
        assert!(weight(1700) < weight(2100));
        assert!((weight(5600) - 1.0).abs() < 1e-6);
    }
}
