//! Were the asked digits read aloud?
//!
//! Only what was said while the video ran counts. Voice activity comes first: silence is
//! silence whatever a transcription model makes of it. Then the transcript is held against the
//! asked digits by edit distance, beside the model's score for the asked digits over their best
//! rivals: the score can forgive one misheard digit, and can cast doubt on an exact transcript.
//! Nobody can say digits before they are shown: a recording that was sent sooner than it could have
//! been made since then was not recorded, but made faster than time goes.
//! Someone who breaks off and begins anew is right when the second go is; see [`Reading`].
//! Score: share of the asked digits that were heard (one minus edit distance over length).

use super::policy::SpeechPolicy;
use super::timeline::Timeline;
use super::{median, result};
use crate::domain::challenge::{MAX_DIGITS, MIN_DIGITS};
use crate::domain::evidence::{Evidence, SpokenDigit, Transcript};
use crate::domain::verdict::{Check, CheckResult, ReasonCode, Status};

/// Transcripts longer than this are no reading of a challenge, and not compared with one.
const MAX_HEARD: usize = 4 * MAX_DIGITS;
/// Most that the score of a whole string is reported as, in nats.
const MAX_LLR: f32 = 20.0;

pub(super) fn check(evidence: &Evidence, timeline: &Timeline<'_>, p: &SpeechPolicy) -> CheckResult {
    let asked = &evidence.challenge.digits;
    if !(MIN_DIGITS..=MAX_DIGITS).contains(&asked.len()) {
        let reasons = vec![ReasonCode::DigitsUnclear];
        return result(Check::Speech, Status::Inconclusive, None, None, reasons);
    }
    let fail = |reasons| result(Check::Speech, Status::Fail, Some(0.0), Some(1.0), reasons);
    let noisy = evidence.speech.snr_db.is_some_and(|db| db < p.noisy_below_db);
    let on_camera = OnCamera::of(timeline, p);
    if on_camera.speech_ms(evidence) < p.min_speech_per_digit_ms.saturating_mul(asked.len() as i64)
    {
        // Sound without speech in it is named as what it is: it may drown the voice.
        let loud = background_db(evidence).is_some_and(|db| db >= p.loud_room_db);
        let noise = (noisy || loud).then_some(ReasonCode::TooNoisy);
        return fail(std::iter::once(ReasonCode::NoSpeech).chain(noise).collect());
    }
    if began_before_prompt(evidence, p) {
        return fail(vec![ReasonCode::SpokenEarly]);
    }
    let Some(transcript) = &evidence.speech.transcript else {
        let reasons = vec![ReasonCode::SpeechUnavailable];
        return result(Check::Speech, Status::Unavailable, None, None, reasons);
    };
    let has_digits = transcript.digits_present >= p.min_digits_present;
    if !has_digits || transcript.digits.is_empty() {
        let reason = if noisy { ReasonCode::TooNoisy } else { ReasonCode::NoDigitsHeard };
        return fail(vec![reason]);
    }
    let heard: Vec<SpokenDigit> =
        transcript.digits.iter().copied().filter(|d| on_camera.holds(d)).take(MAX_HEARD).collect();
    let reading = Reading::of(asked, &heard, transcript);
    let edits = reading.edits;
    let (status, reason) = reading.weigh(p);
    let mut reasons: Vec<ReasonCode> = reason.into_iter().collect();
    if noisy && status != Status::Pass {
        reasons.push(ReasonCode::TooNoisy);
    }
    let share = |wrong: usize| 1.0 - wrong.min(asked.len()) as f32 / asked.len() as f32;
    let forgiven = usize::from(edits == 1 && status == Status::Pass);
    let checked = result(Check::Speech, status, Some(share(edits)), Some(share(forgiven)), reasons);
    // The score is a log-likelihood ratio already, of the asked digits over their best rival.
    match reading.score {
        Some(score) => checked.weighing((score * asked.len() as f32).clamp(-MAX_LLR, MAX_LLR), 1.0),
        None => checked,
    }
}

/// Whether the first word must have been said before the digits were shown: less time went by from
/// then until the file had come than the file holds from its first word to its end.
fn began_before_prompt(evidence: &Evidence, p: &SpeechPolicy) -> bool {
    let (media, speech) = (&evidence.media, &evidence.speech.segments);
    let Some(received) = media.received_at else { return false };
    let Some(first) = speech.iter().map(|s| s.start_ms).min() else { return false };
    let since_prompt = received.0.saturating_sub(evidence.challenge.issued_at.0);
    let spoken_for = media.duration_ms.saturating_sub(first);
    spoken_for > since_prompt.saturating_add(p.prompt_slack_ms)
}

/// The typical level of the voice band in dB relative to full scale; `None` without an envelope.
fn background_db(evidence: &Evidence) -> Option<f32> {
    let levels = &evidence.speech.envelope.as_ref()?.db;
    median(levels.iter().map(|v| f32::from(*v)))
}

/// Whether a transcript, wherever it lies in time, is a reading of `asked`: for measuring what the
/// policy makes of a transcription model.
pub fn judge_reading(asked: &[u8], transcript: &Transcript, p: &SpeechPolicy) -> Status {
    if transcript.digits_present < p.min_digits_present || transcript.digits.is_empty() {
        return Status::Fail;
    }
    let heard = &transcript.digits[..transcript.digits.len().min(MAX_HEARD)];
    Reading::of(asked, heard, transcript).weigh(p).0
}

/// What was heard, held against what was asked.
///
/// A reader who slips says the beginning again. Where what was heard is a beginning of the asked digits and then all
/// of them, the beginning is left out. No other digits can be: the whole has to be said in one
/// go, so nothing can be cut together from more than what would pass anyway.
struct Reading<'a> {
    heard: &'a [SpokenDigit],
    edits: usize,
    /// The transcript's score; `None` also after a false start, as it is of a reading without one.
    score: Option<f32>,
}

impl<'a> Reading<'a> {
    fn of(asked: &[u8], heard: &'a [SpokenDigit], transcript: &Transcript) -> Self {
        let digits: Vec<u8> = heard.iter().map(|d| d.digit).collect();
        if let Some(extra) = digits.len().checked_sub(asked.len())
            && (1..asked.len()).contains(&extra)
            && digits[..extra] == asked[..extra]
            && digits[extra..] == *asked
        {
            return Self { heard: &heard[extra..], edits: 0, score: None };
        }
        Self { heard, edits: edit_distance(asked, &digits), score: transcript.score }
    }

    fn weigh(&self, p: &SpeechPolicy) -> (Status, Option<ReasonCode>) {
        weigh(self.edits, self.heard, self.score, p)
    }
}

/// Holds edits and score against each other; see the table in `docs/verdict.md`.
fn weigh(
    edits: usize,
    heard: &[SpokenDigit],
    score: Option<f32>,
    p: &SpeechPolicy,
) -> (Status, Option<ReasonCode>) {
    use Status::{Fail, Inconclusive, Pass};
    let unclear = Some(ReasonCode::DigitsUnclear);
    let wrong = Some(ReasonCode::WrongDigits);
    let strength = match score {
        None => Strength::Unknown,
        Some(s) if s >= p.score_strong => Strength::Strong,
        Some(s) if s >= p.score_pass => Strength::For,
        Some(s) if s < p.score_against => Strength::Against,
        Some(_) => Strength::Open, // also where it is not a number
    };
    match (edits, strength) {
        (0, Strength::Strong | Strength::For) | (1, Strength::Strong) => (Pass, None),
        (0, Strength::Unknown) if heard.iter().all(|d| d.confidence >= p.min_confidence) => {
            (Pass, None)
        }
        (0, Strength::Unknown | Strength::Open)
        | (1, Strength::For | Strength::Open)
        | (2, Strength::Strong) => (Inconclusive, unclear),
        (0, Strength::Against) | (1, Strength::Unknown) => (Fail, unclear),
        _ => (Fail, wrong),
    }
}

/// What the score says of the asked digits.
enum Strength {
    Strong,
    For,
    Open,
    Against,
    Unknown,
}

/// The time in which something said was said on camera.
struct OnCamera {
    from_ms: i64,
    to_ms: i64,
}

impl OnCamera {
    fn of(timeline: &Timeline<'_>, p: &SpeechPolicy) -> Self {
        // Without frames nothing was said on camera.
        timeline.bounds().map_or(Self { from_ms: 0, to_ms: -1 }, |(first, last)| Self {
            from_ms: first.saturating_sub(p.outside_ms),
            to_ms: last.saturating_add(p.outside_ms),
        })
    }

    /// Whether a digit lies inside; digits without times are covered by [`Self::speech_ms`].
    fn holds(&self, d: &SpokenDigit) -> bool {
        d.start_ms.is_none_or(|t| t >= self.from_ms) && d.end_ms.is_none_or(|t| t <= self.to_ms)
    }

    /// Speech inside, in milliseconds. Stretches that overlap count once.
    fn speech_ms(&self, evidence: &Evidence) -> i64 {
        let mut stretches: Vec<(i64, i64)> = evidence
            .speech
            .segments
            .iter()
            .map(|s| (s.start_ms.max(self.from_ms), s.end_ms.min(self.to_ms)))
            .filter(|(start, end)| end > start)
            .collect();
        stretches.sort_unstable();
        let mut counted_to = i64::MIN;
        let mut sum = 0_i64;
        for (start, end) in stretches {
            sum = sum.saturating_add(end.saturating_sub(start.max(counted_to)).max(0));
            counted_to = counted_to.max(end);
        }
        sum
    }
}

/// Levenshtein distance: substitutions, insertions and deletions each cost one.
pub fn edit_distance(a: &[u8], b: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::liveness::Policy;

    #[test]
    fn edit_distances() {
        assert_eq!(edit_distance(&[4, 7, 1], &[4, 7, 1]), 0);
        assert_eq!(edit_distance(&[4, 7, 1], &[7, 4, 1]), 2);
        assert_eq!(edit_distance(&[4, 7, 1], &[4, 1]), 1);
        assert_eq!(edit_distance(&[4, 7, 1], &[4, 0, 7, 1]), 1);
        assert_eq!(edit_distance(&[4, 7, 1], &[]), 3);
        assert_eq!(edit_distance(&[], &[]), 0);
    }

    #[test]
    fn the_table_of_edits_and_score() {
        use Status::{Fail, Inconclusive, Pass};
        let p = Policy::balanced().speech;
        let status = |edits, score, confidence| {
            let digit = SpokenDigit { digit: 1, start_ms: None, end_ms: None, confidence };
            weigh(edits, &[digit], score, &p).0
        };
        // Rows: edits; columns: strong, for, open, against, no score.
        let scores = [Some(1.0), Some(0.05), Some(-1.0), Some(-2.0), None];
        for (edits, row) in [
            [Pass, Pass, Inconclusive, Fail, Pass],
            [Pass, Inconclusive, Inconclusive, Fail, Fail],
            [Inconclusive, Fail, Fail, Fail, Fail],
            [Fail, Fail, Fail, Fail, Fail],
        ]
        .into_iter()
        .enumerate()
        {
            assert_eq!(scores.map(|s| status(edits, s, 0.9)), row, "{edits} edits");
        }
        assert_eq!(status(0, None, 0.1), Inconclusive);
        assert_eq!(status(0, None, f32::NAN), Inconclusive);
        assert_eq!(status(0, Some(f32::NAN), 0.9), Inconclusive);
    }

    #[test]
    fn a_false_start_is_forgiven_and_nothing_else_is() {
        let p = Policy::balanced().speech;
        let status = |heard: &[u8], score| {
            let digit =
                |d: &u8| SpokenDigit { digit: *d, start_ms: None, end_ms: None, confidence: 0.9 };
            let digits = heard.iter().map(digit).collect();
            judge_reading(&[4, 7, 1, 9], &Transcript { digits, score, digits_present: 1.0 }, &p)
        };
        assert_eq!(status(&[4, 4, 7, 1, 9], Some(-3.0)), Status::Pass);
        assert_eq!(status(&[4, 7, 1, 4, 7, 1, 9], Some(-3.0)), Status::Pass);
        for heard in [
            &[4, 7, 1, 9, 4, 7, 1, 9][..],
            &[7, 4, 7, 1, 9],
            &[4, 7, 1, 9, 4],
            &[4, 7, 4, 7, 1],
            &[0, 1, 2, 3, 4, 7, 1, 9],
        ] {
            assert_eq!(status(heard, Some(-3.0)), Status::Fail, "{heard:?}");
        }
    }
}
