//! How the use cases are set.

use std::path::PathBuf;
use std::time::Duration;

use super::publish::LogSettings;
use crate::domain::challenge::{ChallengeRules, Motion};
use crate::liveness::Policy;

/// How the use cases are set.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Issuer of tokens and receipts: the public URL.
    pub issuer: String,
    /// How challenges are drawn.
    pub challenge: ChallengeRules,
    /// A given challenge instead of a drawn one: for the demo and for tests alone, where the
    /// recording exists before the challenge. No configuration reaches this.
    pub script: Option<Script>,
    /// How long a client token is good.
    pub client_token_ttl: Duration,
    /// Failed attempts within [`Self::lockout_window`] that lock a subject out.
    pub lockout_failures: u32,
    /// See [`Self::lockout_failures`].
    pub lockout_window: Duration,
    /// How long a lock-out lasts.
    pub lockout: Duration,
    /// Where uploads lie until they are judged.
    pub capture_dir: PathBuf,
    /// The largest upload in bytes.
    pub max_capture_bytes: u64,
    /// How long a capture is kept after its verdict; zero: it is deleted at once.
    pub keep_capture: Duration,
    /// How long the sealed evidence is kept after the verdict; zero: it is not kept.
    pub keep_evidence: Duration,
    /// How long after a rejected attempt the step that failed can be done again alone; until then a
    /// sealed sample of the face is kept for it. Zero: every retry asks for everything.
    pub repeat_within: Duration,
    /// How long a reviewer has to decide; then the person may try again.
    pub review_within: Duration,
    /// Whether small pictures of a capture in review are kept until it is decided, for the reviewer.
    pub review_key_frames: bool,
    /// Whether approving a case in which a check failed takes two reviewers.
    pub override_by_two: bool,
    /// How captures are judged.
    pub policy: Policy,
    /// Whom else a capture is compared with.
    pub identity: IdentityRules,
    /// Captures judged at once.
    pub workers: usize,
    /// Captures that may wait.
    pub max_queue: u32,
    /// Times a capture is tried.
    pub max_tries: u32,
    /// How long a worker holds a capture before others may take it over.
    pub lease: Duration,
    /// This process's name among those that share the database. A process that alone uses its
    /// database keeps its name over a restart and so finds its own unfinished work at once.
    pub instance: String,
    /// How old an upload that no row knows must be to be deleted at a start: zero where this
    /// process alone uses the folder.
    pub orphan_age: Duration,
    /// How long a token is good.
    pub token_ttl: Duration,
    /// How long a generator has to acknowledge a take-down, before it goes to the operator.
    pub takedown_deadline: Duration,
    /// How long an identity is kept after consent was withdrawn.
    pub keep_withdrawn: Duration,
    /// How long an identity is kept for which no consent was ever given.
    pub keep_unused: Duration,
    /// How long an identity is kept whose person has not been there.
    pub keep_inactive: Duration,
    /// The least time between two rewritings of PostgreSQL's tables after deletions.
    pub rewrite_every: Duration,
    /// How long an answer of the app about who follows whom is kept.
    pub graph_kept: Duration,
    /// Who answers for the processing.
    pub controller: Controller,
    /// How the log is published and watched.
    pub log: LogSettings,
}

impl Settings {
    /// How long pictures of a case in review are kept at most; zero: none are kept.
    pub fn frames_within(&self) -> Duration {
        if self.review_key_frames { self.review_within } else { Duration::ZERO }
    }
}

/// What is asked about a person besides liveness.
#[derive(Clone, Debug)]
pub struct IdentityRules {
    /// Whether a face that is enrolled under another subject sends the verification to review.
    pub duplicates: bool,
    /// Two faces no further apart than this are taken for one person's; `None`: as the model's
    /// manifest says.
    pub duplicate_distance: Option<f32>,
    /// Whether a protected face is rejected instead of reviewed.
    pub protected_rejects: bool,
    /// The youngest that may enrol without a review, in years; `None`: age is not asked.
    pub minimum_age: Option<u8>,
}

impl Default for IdentityRules {
    fn default() -> Self {
        Self {
            duplicates: true,
            duplicate_distance: None,
            protected_rejects: false,
            minimum_age: None,
        }
    }
}

/// Who answers for the processing (ISO/IEC TS 27560: PII controller).
#[derive(Clone, Debug, Default)]
pub struct Controller {
    /// The name.
    pub name: String,
    /// How a person reaches them.
    pub contact: Option<String>,
    /// Where the privacy notice stands.
    pub notice_url: Option<String>,
}

/// A challenge that is given, not drawn, for recordings that were made before it: whether they are
/// older than the challenge is not asked then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// The digits.
    pub digits: Vec<u8>,
    /// The motions.
    pub motions: Vec<Motion>,
}
