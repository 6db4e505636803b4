//! The outcome of a verification, with every reason named.

use serde::{Deserialize, Serialize};

/// What the service concludes from the evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// A live person met the challenge.
    Verified,
    /// They did not; another attempt may succeed.
    Rejected,
    /// A person has to look: nothing failed, but something could not be settled.
    Review,
}

/// One of the questions a verdict answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Check {
    /// Is there one face, and is the picture good enough to judge?
    Quality,
    /// Were the asked digits read aloud?
    Speech,
    /// Did the head move as asked?
    Motion,
    /// Is it one and the same face throughout?
    Continuity,
    /// Do the lips move with the voice?
    Sync,
    /// Is it a live face and not a presentation attack (ISO/IEC 30107-3)?
    Pad,
    /// Was it recorded by a camera, and not fed in from a file (CEN/TS 18099)?
    Injection,
    /// Is it this person's face and voice, and nobody else's who is enrolled?
    Identity,
    /// Is the person old enough?
    Age,
}

impl Check {
    /// Every check, in the order of a verdict.
    pub const ALL: [Self; 9] = [
        Self::Quality,
        Self::Speech,
        Self::Motion,
        Self::Continuity,
        Self::Sync,
        Self::Pad,
        Self::Injection,
        Self::Identity,
        Self::Age,
    ];

    /// The name used in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Quality => "quality",
            Self::Speech => "speech",
            Self::Motion => "motion",
            Self::Continuity => "continuity",
            Self::Sync => "sync",
            Self::Pad => "pad",
            Self::Injection => "injection",
            Self::Identity => "identity",
            Self::Age => "age",
        }
    }
}

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It holds.
    Pass,
    /// It does not hold.
    Fail,
    /// The evidence neither confirms nor refutes it.
    Inconclusive,
    /// It could not be run (no model installed).
    Unavailable,
}

impl Status {
    /// The name used in JSON and in the log.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Inconclusive => "inconclusive",
            Self::Unavailable => "unavailable",
        }
    }
}

macro_rules! reasons {
    ($($variant:ident = $code:literal: $meaning:literal, $advice:literal;)*) => {
        /// Why a check did not pass. Codes are stable and part of the API.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum ReasonCode {
            $(#[doc = $meaning] $variant,)*
        }

        impl ReasonCode {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The code as it stands in JSON.
            pub fn code(self) -> &'static str {
                match self { $(Self::$variant => $code,)* }
            }

            /// What was found, in a sentence.
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning,)* }
            }

            /// What the person can do about it, in a sentence.
            pub fn advice(self) -> &'static str {
                match self { $(Self::$variant => $advice,)* }
            }
        }
    };
}

reasons! {
    NoFace = "no_face": "No face was found in enough of the video.", "Hold the camera so that your whole face is in the picture, with light on it.";
    MultipleFaces = "multiple_faces": "More than one face was in the picture.", "Record alone, with nobody and no picture of a face behind you.";
    FaceTooSmall = "face_too_small": "The face is too small to judge.", "Move closer to the camera.";
    FaceTooDark = "face_too_dark": "The face is too dark.", "Turn on a light in front of you.";
    FaceTooBright = "face_too_bright": "The face is overexposed.", "Move away from the direct light.";
    FaceBlurred = "face_blurred": "The picture is blurred.", "Hold the camera still and wipe its lens.";
    NotFrontal = "not_frontal": "The face never looked straight into the camera.", "Look straight into the camera before and after each turn.";
    TooShort = "too_short": "The video is too short.", "Record until all digits and motions are done.";
    FewFrames = "few_frames": "The video has too few pictures a second.", "Close other apps or use another device, then record again.";
    SpeechUnavailable = "speech_unavailable": "No transcription model is installed, so the digits were not checked.", "Nothing you can do: a reviewer will look at it.";
    NoSpeech = "no_speech": "No speech was heard.", "Check that the microphone is on and read the digits aloud.";
    TooNoisy = "too_noisy": "The sound is too noisy to tell the digits.", "Go to a quieter place and read the digits aloud.";
    NoDigitsHeard = "no_digits_heard": "Speech was heard, but no digits.", "Read the digits that are shown, one by one.";
    SpokenEarly = "spoken_early": "The digits were spoken before they were shown.", "Record live: read the digits when they are shown, and send the recording when it is done.";
    WrongDigits = "wrong_digits": "The digits that were heard are not the ones that were shown.", "Read the digits in the order in which they are shown.";
    DigitsUnclear = "digits_unclear": "Some digits could not be told for sure.", "Read the digits slowly, with a short pause after each.";
    MotionMissing = "motion_missing": "A head motion that was asked for was not seen.", "Turn your head as far as the arrow asks, then look back into the camera.";
    MotionOrder = "motion_order": "The head motions came in another order than asked.", "Follow the arrows in the order in which they are shown.";
    MotionIncomplete = "motion_incomplete": "The head did not come back to the centre after a motion.", "Look back into the camera after each turn.";
    FaceChanged = "face_changed": "The face changed during the video.", "Record in one go, with your face alone in the picture.";
    FaceJumped = "face_jumped": "The face jumped from one place to another between two pictures.", "Record in one go, without cuts.";
    FrozenVideo = "frozen_video": "The picture stood still.", "Record a live video; a photo is not taken.";
    IdentityUnclear = "identity_unclear": "There are too few clear pictures to compare the face over time.", "Keep your face in the picture and well lit.";
    LipsStill = "lips_still": "A voice was heard while the lips stood still.", "Read the digits aloud yourself, with your mouth in the picture.";
    LipsDisagree = "lips_disagree": "The lips do not move with the voice.", "Read the digits aloud yourself and face the camera, with nobody speaking beside you.";
    SoundShifted = "sound_shifted": "The sound comes earlier or later than the lips move.", "Use the device's own microphone instead of a wireless one, and close other apps.";
    SyncUnclear = "sync_unclear": "It could not be told whether the lips move with the voice.", "Keep your mouth in the picture, face the camera and read the digits in a quiet place.";
    PadUnavailable = "pad_unavailable": "No anti-spoof model is installed, so a presentation attack was not ruled out.", "Nothing you can do: a reviewer will look at it.";
    PadAttack = "pad_attack": "The face looks like a screen, a print or a mask.", "Record your own face directly, not a picture or a screen.";
    PadUncertain = "pad_uncertain": "It could not be told for sure that the face is live.", "Use even light and a clean lens, and avoid strong reflections.";
    RepeatedFrames = "repeated_frames": "Pictures repeat at regular intervals, as in a converted file.", "Record with the camera itself, with no other software between it and this page.";
    DuplicateIdentity = "duplicate_identity": "This face is enrolled under another account.", "Use the account that you enrolled with; otherwise a reviewer will look at it.";
    ProtectedIdentity = "protected_identity": "This face looks like one that nobody may enrol.", "A reviewer will look at it.";
    FaceMismatch = "face_mismatch": "The face is not the one that was enrolled for this account.", "Record your own face; otherwise a reviewer will look at it.";
    EnrolmentNotComparable = "enrolment_not_comparable": "The earlier enrolment was made with another model, so the face could not be compared with it.", "Nothing you can do: a reviewer will look at it.";
    VoiceMismatch = "voice_mismatch": "The voice is not like the one that was enrolled for this account.", "Read the digits yourself, in a quiet place.";
    UnderAge = "under_age": "The person is younger than this service allows.", "Nothing you can do: a reviewer will look at it.";
    AgeUnknown = "age_unknown": "The app did not say how old the person is.", "Ask the app to state your age.";
}

/// The result of one check.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckResult {
    /// Which check.
    pub check: Check,
    /// How it came out.
    pub status: Status,
    /// The measured value, in the check's own unit; `None` where nothing was measured.
    pub score: Option<f32>,
    /// The value that the score is held against.
    pub threshold: Option<f32>,
    /// Why it did not pass; empty where it passed.
    pub reasons: Vec<ReasonCode>,
    /// Natural logarithm of how much likelier the measurement is in a genuine capture than in the
    /// attack that the check looks for, shrunk towards zero by [`Self::reliability`]: above zero speaks
    /// for the capture. `None` where nothing was measured, which is neutral, and for the checks
    /// that are answered by yes or no alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub llr: Option<f32>,
    /// How far the measurement can be relied on, 0–1, by how much of it there is; `None` where
    /// there is no [`Self::llr`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reliability: Option<f32>,
}

impl CheckResult {
    /// The same with a log-likelihood ratio, which `reliability` (0–1) shrinks towards zero. Numbers that are
    /// not numbers are left out, so that a verdict can always be written as JSON.
    #[must_use]
    pub fn weighing(self, llr: f32, reliability: f32) -> Self {
        let reliability = reliability.clamp(0.0, 1.0);
        let llr = Some(llr * reliability).filter(|x| x.is_finite());
        Self { llr, reliability: llr.map(|_| reliability), ..self }
    }
}

/// The outcome of a verification.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Verdict {
    /// The conclusion.
    pub decision: Decision,
    /// Every check, in the order of [`Check`].
    pub checks: Vec<CheckResult>,
    /// Name and version of the policy that fused them.
    pub policy: String,
    /// What was taken over from an earlier attempt, where this one repeated a single step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub earlier: Option<super::step::Earlier>,
}

impl Verdict {
    /// The reasons of all checks, in order.
    pub fn reasons(&self) -> impl Iterator<Item = ReasonCode> + '_ {
        self.checks.iter().flat_map(|c| c.reasons.iter().copied())
    }

    /// The result of one check.
    pub fn check(&self, check: Check) -> Option<&CheckResult> {
        self.checks.iter().find(|c| c.check == check)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_what_serde_writes_and_stay_apart() {
        let mut seen = std::collections::BTreeSet::new();
        for r in ReasonCode::ALL {
            assert_eq!(serde_json::to_value(r).unwrap(), r.code());
            assert!(seen.insert(r.code()));
            assert!(r.meaning().ends_with('.') && r.advice().ends_with('.'));
        }
    }
}
