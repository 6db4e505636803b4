//! Every threshold of the verdict, with its unit and its reason.
//!
//! A policy is plain data: it can be stored beside a verdict and replayed. Change a value, and the
//! version changes with it. All comparisons are written so that a threshold that is not a number
//! passes nothing.

use serde::{Deserialize, Serialize};

/// A named set of thresholds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// The operating point's name.
    pub name: String,
    /// Counts changes of the values below.
    pub version: u16,
    /// One face, good enough to judge.
    pub quality: QualityPolicy,
    /// The digits.
    pub speech: SpeechPolicy,
    /// The head motions.
    pub motion: MotionPolicy,
    /// One and the same face throughout.
    pub continuity: ContinuityPolicy,
    /// Lips and voice.
    pub sync: SyncPolicy,
    /// Presentation attacks.
    pub pad: PadPolicy,
    /// Files in place of a camera.
    pub injection: InjectionPolicy,
    /// What the checks amount to together.
    pub fusion: FusionPolicy,
}

/// Thresholds of [`Check::Quality`](crate::domain::verdict::Check::Quality).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QualityPolicy {
    /// The mesh model's probability from which a tracked face counts, 0–1. The model saturates
    /// near 1 on a face and near 0 elsewhere; the middle is as good as any.
    pub min_presence: f32,
    /// Least share of frames with a face. Turning far or a hand in passing may lose some.
    pub min_face_share: f32,
    /// Longest time without a face in milliseconds: time enough to swap the person is too much.
    pub max_face_gap_ms: i64,
    /// Fewest runs of the face detector that found a face, or "one face" was never looked for.
    pub min_detections: usize,
    /// Frames with a second face from which it counts: one may be the detector's mistake.
    pub second_face_frames: usize,
    /// Least median distance between the eyes' centres in pixels. At 24 the face is about 60
    /// pixels wide; below, embeddings and anti-spoof crops (112 to 150 and 80 pixels) are mostly made up.
    pub min_inter_eye_px: f32,
    /// Least median luma of the face, 0–255. Low, so that dark skin in fair light is not refused:
    /// below it even the sensor sees little.
    pub min_brightness: f32,
    /// Largest median luma of the face, 0–255.
    pub max_brightness: f32,
    /// Least median variance of the Laplacian (face at 128 x 128).
    pub min_sharpness: f32,
    /// Shortest video in milliseconds: faster, nobody reads four digits and turns their head.
    pub min_duration_ms: i64,
    /// Least average of frames a second. A motion of 0.5 s then still shows in four frames.
    pub min_fps: f32,
    /// Longest time between two frames in milliseconds: nothing is known of what happens there.
    pub max_frame_gap_ms: i64,
    /// Largest yaw and pitch of a frontal frame in degrees. Pitch is wider: a phone held low or a
    /// laptop's camera shifts it.
    pub frontal_deg: (f32, f32),
    /// Fewest frontal frames.
    pub min_frontal_frames: usize,
}

/// Thresholds of [`Check::Speech`](crate::domain::verdict::Check::Speech).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpeechPolicy {
    /// How far speech may lie outside the video, in milliseconds: sound and picture start and stop
    /// some 100 ms apart in browsers' recorders. Speech further out was not said on camera, and
    /// is not counted.
    pub outside_ms: i64,
    /// How much longer a recording may run from its first word to its end than time has passed since
    /// the digits were shown, in milliseconds: devices' clocks tick differently, by far less than this.
    pub prompt_slack_ms: i64,
    /// Least speech for each digit asked, in milliseconds. A quickly read digit has 200–300 ms, of
    /// which voice activity may miss the soft ends.
    pub min_speech_per_digit_ms: i64,
    /// Speech-to-background ratio in dB below which noise is named as a reason where the digits
    /// could not be told. Digits that are told all the same pass.
    pub noisy_below_db: f32,
    /// Typical level of the voice band, in dB relative to full scale, from which noise (or music) is named
    /// beside missing speech. A quiet room is at −70 to −55, a voice at −40 to −25.
    pub loud_room_db: f32,
    /// Least probability that digits are spoken at all, 0–1.
    pub min_digits_present: f32,
    /// Least confidence in each digit, 0–1, where the model gives no score for the whole.
    pub min_confidence: f32,
    /// Score (nats a digit over the best rival) from which an exact transcript passes: above
    /// zero, the asked digits explain the sound better than any rival one edit away. On training's
    /// validation speakers (`cameo eval speech --part validation`: 8 people, 100 strings, clean and
    /// degraded) none of 575 strings with one wrong digit is above it, and none of 3,999 random ones, while 14 %
    /// of the right ones are below; one random string in 1,000 exceeds −1.8.
    pub score_pass: f32,
    /// Score from which one misheard digit is forgiven: the sound as a whole speaks for the asked
    /// digits, and the free transcription slipped. It counts among the rivals, so a score above zero
    /// says that greedy decoding missed the better string; the margin keeps ties out.
    pub score_strong: f32,
    /// Score below which even an exact transcript is not believed. Between this and `score_pass`
    /// a transcript with at most one edit is left open: it never passes, but the person is not
    /// told that they were wrong where the model is the one in doubt. `balanced` has it a little
    /// above where one random string in 1,000 begins (−1.8, same measurement).
    pub score_against: f32,
}

/// Thresholds of [`Check::Motion`](crate::domain::verdict::Check::Motion). Angles are in degrees from
/// the person's own rest pose, so a camera held low or a head held askew takes nothing away.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MotionPolicy {
    /// Yaw from which the head is turned. The face mesh leans towards frontal: on real clips the nose's
    /// offset says 1.4 to 1.9 times the measured yaw, so this is a turn of some 15°. People who just
    /// talk stay within 8° as measured, at times 15.
    pub yaw_out_deg: f32,
    /// Pitch from which it looks up or down: necks give less than for yaw. Talking nods stay within 8°.
    pub pitch_out_deg: f32,
    /// Share of the angles above within which the head is back at the centre.
    pub back_share: f32,
    /// A turn that nobody asked for counts from this many times the angles above: a glance at the
    /// edge of the screen is no answer to a challenge, but a recording of all motions is.
    pub unasked_factor: f32,
    /// It counts from this many times already where it is as large as the smallest answer: a
    /// recording of all motions has them alike, however gently made. People who talk nod up to 1.3 times.
    pub glance_factor: f32,
    /// How much the asked axis has to outweigh the other at the peak, each in units of its own
    /// angle above: turning also tilts, and measured pitch follows large yaw by some degrees.
    pub dominance: f32,
    /// Shortest time out of the centre in milliseconds; below, it is a twitch or a tracking error.
    pub min_out_ms: i64,
    /// Longest time out of the centre in milliseconds.
    pub max_out_ms: i64,
    /// Fastest plausible turn in degrees a second, over 50 ms. Heads reach some 300 in haste.
    pub max_speed_deg_s: f32,
    /// Half width of the smoothing window in milliseconds (median, then mean): it takes noise of
    /// ±4° below the angles above, and leaves a turn of half a second its height.
    pub smooth_ms: i64,
    /// Longest time without a face that a motion may span, in milliseconds: tracking often loses
    /// the face at the farthest point.
    pub max_gap_ms: i64,
    /// Largest yaw and pitch that a rest pose may have in degrees, as measured.
    pub max_rest_deg: (f32, f32),
}

/// Thresholds of [`Check::Continuity`](crate::domain::verdict::Check::Continuity).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContinuityPolicy {
    /// Fewest identity samples.
    pub min_samples: usize,
    /// Least share of the video's time that the samples span.
    pub min_span_share: f32,
    /// Yaw or pitch in degrees from which a face counts as turned for comparing identities.
    pub turned_deg: f32,
    /// Factor on the model's threshold for turned faces: one person's embeddings differ more there.
    pub turned_slack: f32,
    /// Samples in a row above the threshold from which it is another face: one may be a bad frame.
    pub changed_run: usize,
    /// Largest share of lone samples above the threshold that is still taken for bad frames.
    pub max_lone_share: f32,
    /// A jump of the face is a move of more face widths than this within one frame …
    pub jump_faces: f32,
    /// … plus this many face widths a second of the time between the frames.
    pub jump_faces_per_s: f32,
    /// A jump in size is a change of more than this (natural logarithm of the ratio) …
    pub jump_scale: f32,
    /// … plus this a second.
    pub jump_scale_per_s: f32,
    /// A jump of the head's pose is a change of more degrees than this …
    pub jump_deg: f32,
    /// … plus this many degrees a second.
    pub jump_deg_per_s: f32,
    /// Frames further apart than this in milliseconds are not compared for jumps.
    pub jump_max_gap_ms: i64,
    /// Mean luma difference (0–255) up to which a picture repeats the one before. A camera's noise
    /// keeps even a still scene above it (on 15 real clips, 0.15 and more but for 5 % of the frames of a
    /// few); a photo made into a video stayed below it in 95 to 100 % of frames with H.264, VP8 and VP9.
    pub still_change: f32,
    /// Longest stretch of repeated pictures in milliseconds. Cameras repeat a frame or two in low
    /// light, and a stalled browser some more.
    pub max_still_ms: i64,
    /// Largest share of the time in repeated pictures: a 10 fps camera in a 30 fps file has 0.67.
    pub max_still_share: f32,
}

/// Thresholds of [`Check::Sync`](crate::domain::verdict::Check::Sync). The line from strength to
/// log-likelihood ratio is drawn through six real sentences of as many speakers, their sound as it was, exchanged
/// and shifted, with an eye on nine stretches of five other clips (`docs/evaluation-main-job.md`): few, so `max_llr` bounds it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SyncPolicy {
    /// Whether the check weighs in the decision. False for captures whose sound is known to be put to the
    /// picture afterwards, as those of an evaluation are: the check is then reported alone.
    pub counts: bool,
    /// Where the check is left open, it is passed over if its log-likelihood ratio (zero where nothing was
    /// measured) is at least this. Left open is most of what people say freely (6 of 9 stretches of clips
    /// in the wild), so a person looks only where something speaks against the lips.
    pub open_llr: f32,
    /// Least speech with the lips in sight, in milliseconds: four digits have 1,000 to 1,600.
    pub min_speech_ms: i64,
    /// Speech with the lips in sight from which the check weighs in full, in milliseconds.
    pub full_speech_ms: i64,
    /// Offsets of the sound after the lips that count as in sync, in milliseconds. A mouth opens before it
    /// sounds, and browsers record sound and picture some 100 ms apart.
    pub in_sync_ms: (i64, i64),
    /// [`SyncMeasure::strength`](super::SyncMeasure::strength) that is as likely with a foreign sound as with the mouth's own.
    pub even: f32,
    /// Log-likelihood ratio for each unit of strength above `even`.
    pub nats_per_strength: f32,
    /// Most that the check may weigh for or against, in nats.
    pub max_llr: f32,
    /// Log-likelihood ratio from which the check passes.
    pub pass_llr: f32,
    /// Log-likelihood ratio below which it fails; between, it is left open.
    pub fail_llr: f32,
    /// A mouth whose opening ranges over less than this in all the speech did not speak. The
    /// mesh's noise on a shut mouth is 0.01 to 0.02, quiet talkers range over 0.08 and more.
    pub still_range: f32,
}

/// Thresholds of [`Check::Injection`](crate::domain::verdict::Check::Injection).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InjectionPolicy {
    /// Mean luma difference (0–255) up to which a picture repeats the one before, as in
    /// [`ContinuityPolicy`].
    pub still_change: f32,
    /// Fewest repetitions that make a rhythm. Seven steps that fit a rhythm of three by chance are one in
    /// two thousand.
    pub min_repeats: usize,
    /// Least share of the steps between repetitions that fit the rhythm.
    pub rhythmic_share: f32,
    /// How much a rhythm weighs against the capture, in nats. Set, not measured: of 16 real clips one has it,
    /// and that one was converted from 25 to 30 pictures a second; captures straight from cameras were not at hand.
    pub repeats_llr: f32,
}

/// What the checks amount to together; see [`crate::liveness`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FusionPolicy {
    /// Rejected where all that speaks against a capture adds up to this or less, in nats.
    pub reject_llr: f32,
    /// A weighed check that is left open is passed over where its log-likelihood ratio (zero where nothing
    /// was measured) is at least this; below, a person looks.
    pub open_llr: f32,
}

/// Thresholds of [`Check::Pad`](crate::domain::verdict::Check::Pad). All shares are of the model's own
/// threshold, which stands in the evidence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PadPolicy {
    /// Fewest scored frames.
    pub min_samples: usize,
    /// Share of the lowest and of the highest scores left out of the mean: no single bad frame
    /// decides.
    pub trim_share: f32,
    /// Least share of frames at or above the model's threshold, beside the mean.
    pub min_live_share: f32,
    /// The check fails (`pad_attack`) where the mean is below this share of the model's threshold;
    /// from there up to the threshold it is left open (`pad_uncertain`). At a threshold of one half,
    /// 0.6 of it is odds of 7 to 3 for an attack: the most that a model calibrated to at most 3 to 1 (the
    /// project's own) can say in nearly all frames, and little for one that saturates.
    pub attack_below: f32,
    /// Most that the check may weigh for or against, in nats. Below `fusion.reject_llr`, no capture is rejected
    /// for it alone.
    pub max_llr: f32,
}

impl Policy {
    /// The default operating point.
    ///
    /// It never rejects a person for the anti-spoof score alone (`pad.max_llr` is below what rejects):
    /// single-frame models are weak on cameras they were not trained with, in both
    /// directions, and someone who said fresh random digits and made fresh random motions with one
    /// unbroken face deserves a human's look. It never passes such a capture either: anything but a
    /// clear pass goes to review.
    pub fn balanced() -> Self {
        Self {
            name: "balanced".into(),
            version: 2,
            quality: QualityPolicy {
                min_presence: 0.5,
                min_face_share: 0.7,
                max_face_gap_ms: 1500,
                min_detections: 2,
                second_face_frames: 2,
                min_inter_eye_px: 24.0,
                min_brightness: 35.0,
                max_brightness: 230.0,
                min_sharpness: 12.0,
                min_duration_ms: 2500,
                min_fps: 8.0,
                max_frame_gap_ms: 1000,
                frontal_deg: (15.0, 20.0),
                min_frontal_frames: 5,
            },
            speech: SpeechPolicy {
                outside_ms: 500,
                prompt_slack_ms: 500,
                min_speech_per_digit_ms: 80,
                noisy_below_db: 6.0,
                loud_room_db: -45.0,
                min_digits_present: 0.5,
                min_confidence: 0.4,
                score_pass: 0.0,
                score_strong: 0.15,
                score_against: -1.3,
            },
            motion: MotionPolicy {
                yaw_out_deg: 10.0,
                pitch_out_deg: 9.0,
                back_share: 0.65,
                unasked_factor: 1.6,
                glance_factor: 1.25,
                dominance: 1.1,
                min_out_ms: 200,
                max_out_ms: 8000,
                max_speed_deg_s: 450.0,
                smooth_ms: 100,
                max_gap_ms: 1200,
                max_rest_deg: (20.0, 30.0),
            },
            continuity: ContinuityPolicy {
                min_samples: 3,
                min_span_share: 0.4,
                turned_deg: 20.0,
                turned_slack: 1.25,
                changed_run: 2,
                max_lone_share: 0.2,
                jump_faces: 0.35,
                jump_faces_per_s: 3.0,
                jump_scale: 0.25,
                jump_scale_per_s: 1.5,
                jump_deg: 15.0,
                jump_deg_per_s: 400.0,
                jump_max_gap_ms: 400,
                still_change: 0.05,
                max_still_ms: 1000,
                max_still_share: 0.75,
            },
            pad: PadPolicy {
                min_samples: 3,
                trim_share: 0.2,
                min_live_share: 0.6,
                attack_below: 0.6,
                max_llr: 1.5,
            },
            sync: SyncPolicy {
                counts: true,
                open_llr: -0.7,
                min_speech_ms: 1000,
                full_speech_ms: 2000,
                in_sync_ms: (-80, 120),
                even: 0.65,
                nats_per_strength: 3.0,
                max_llr: 3.0,
                pass_llr: 0.0,
                fail_llr: -1.5,
                still_range: 0.03,
            },
            injection: InjectionPolicy {
                still_change: 0.05,
                min_repeats: 7,
                rhythmic_share: 0.9,
                repeats_llr: 1.5,
            },
            // The second is finite, so that a policy survives JSON; no ratio gets there.
            fusion: FusionPolicy { reject_llr: -2.5, open_llr: 1e6 },
        }
    }

    /// For services where a reviewer is dear and a mistake cheap: a check of attacks that is left open is
    /// passed over where little speaks against the capture, and nobody is rejected for one alone.
    pub fn convenience() -> Self {
        let mut p = Self::balanced();
        p.name = "convenience".into();
        p.fusion = FusionPolicy { reject_llr: -4.0, open_llr: -0.5 };
        p
    }

    /// For cameras known to the anti-spoof model: what it takes for a clear attack is rejected
    /// without a reviewer, no misheard digit is forgiven, and lips have to move with the voice clearly.
    pub fn strict() -> Self {
        let mut p = Self::balanced();
        p.name = "strict".into();
        p.speech.score_strong = 1e6; // finite, so that a policy survives JSON; no score gets there
        p.speech.score_against = -0.15;
        p.speech.min_confidence = 0.6;
        p.quality.min_face_share = 0.85;
        p.pad.min_live_share = 0.8;
        p.pad.max_llr = 3.0;
        p.sync.pass_llr = 0.5;
        p.sync.open_llr = p.fusion.open_llr;
        p.fusion.reject_llr = -1.5;
        p
    }

    /// The policy of a name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::convenience(), Self::balanced(), Self::strict()].into_iter().find(|p| p.name == name)
    }

    /// Name and version, as a verdict bears it.
    pub fn id(&self) -> String {
        format!("{}/{}", self.name, self.version)
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self::balanced()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_found_by_name_and_survive_json() {
        for p in [Policy::convenience(), Policy::balanced(), Policy::strict()] {
            let json = serde_json::to_string(&p).unwrap();
            assert_eq!(serde_json::from_str::<Policy>(&json).unwrap(), p);
            assert_eq!(Policy::named(&p.name), Some(p));
        }
        assert_eq!(Policy::named("lenient"), None);
    }
}
