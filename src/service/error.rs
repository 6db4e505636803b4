//! Why a use case could not be carried out: the one error that the HTTP door maps to problems.

use crate::crypto;
use crate::domain::access::Role;
use crate::domain::consent::Unfit;
use crate::domain::verification::State;
use crate::env::Millis;
use crate::media;
use crate::store;
use crate::token;

/// A use case that failed, as a cause that its caller can act on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No credential came, or it is unknown, revoked or expired.
    #[error("{0}")]
    Unauthenticated(&'static str),
    /// The credential is good, but not for this.
    #[error("this needs a key of the role {}", .needed.name())]
    Forbidden {
        /// The role that may.
        needed: Role,
    },
    /// There is no such thing, or it is not the caller's.
    #[error("there is no such {0}")]
    NotFound(&'static str),
    /// A field of the request is not valid.
    #[error("{field}: {reason}")]
    Invalid {
        /// The field.
        field: &'static str,
        /// What is wrong and what would be right.
        reason: String,
    },
    /// The verification is not in a state in which this makes sense.
    #[error("the verification is {}", .0.name())]
    WrongState(State),
    /// Another reviewer than this one has to approve.
    #[error("a check failed here, so a second reviewer has to approve")]
    SecondReviewer,
    /// The challenge's time is up.
    #[error("the challenge has expired: ask for another attempt")]
    ChallengeExpired,
    /// Too many failed attempts.
    #[error("too many failed attempts: try again after {}", .until.rfc3339())]
    LockedOut {
        /// When the lock-out ends.
        until: Millis,
        /// In how many seconds that is.
        seconds: u64,
    },
    /// The upload is larger than the limit.
    #[error("the upload is larger than {max} bytes: record a shorter or smaller video")]
    CaptureTooLarge {
        /// The limit.
        max: u64,
    },
    /// The upload broke off.
    #[error("the upload broke off: send the whole file again")]
    CaptureBroken,
    /// A piece of an upload does not follow what came before.
    #[error("{expected} bytes of the upload are here: go on from there")]
    UploadOffset {
        /// How many bytes are here.
        expected: u64,
    },
    /// The same file was sent before.
    #[error("this recording was sent before: record a new one for this challenge")]
    CaptureReplayed,
    /// The upload is no capture.
    #[error(transparent)]
    Capture(media::Error),
    /// The permissions changed in the meantime.
    #[error("the consent is at version {current} by now: read it again before changing it")]
    ConsentChanged {
        /// The newest version.
        current: u32,
    },
    /// There is another consent text of this version and language.
    #[error("a text of this version and language is kept, and texts never change")]
    TextKept,
    /// The generator has registered no key that a payload could be sealed to.
    #[error("this generator has no key to seal to: register one with POST /v1/generator/keys")]
    NoRecipientKey,
    /// The generator has reported as much about this use as is kept.
    #[error("this use has {max} reports already: no more are taken")]
    TooManyReports {
        /// The limit.
        max: u32,
    },
    /// The request was decided before, or lapsed.
    #[error("the request is not pending any more")]
    RequestSettled,
    /// Too many requests to use somebody's cameo.
    #[error("too many requests: ask again later")]
    TooMany {
        /// In how many seconds there is room again.
        seconds: u64,
    },
    /// The Idempotency-Key was used for another request.
    #[error("this Idempotency-Key was used for another request: use a new one")]
    IdempotencyMismatch,
    /// The first request with this Idempotency-Key is still under way.
    #[error("a request with this Idempotency-Key is under way: repeat it in a moment")]
    IdempotencyInFlight,
    /// Everything is taken.
    #[error("the service is at its limit: try again in a moment")]
    Busy,
    /// Something the service needs is missing.
    #[error("the service can't do this now: {0}")]
    Unavailable(&'static str),
    /// The store failed.
    #[error(transparent)]
    Store(store::Error),
    /// Our fault; the cause is for our logs only.
    #[error("internal error: {0}")]
    Internal(String),
}

/// A shorthand.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl From<store::Error> for Error {
    fn from(e: store::Error) -> Self {
        match e {
            store::Error::Busy(_) => Self::Busy,
            e => Self::Store(e),
        }
    }
}

impl From<Unfit> for Error {
    fn from(e: Unfit) -> Self {
        Self::Invalid { field: e.field, reason: e.reason }
    }
}

impl From<crypto::Error> for Error {
    fn from(e: crypto::Error) -> Self {
        Self::Internal(format!("crypto: {e}"))
    }
}

impl From<token::Error> for Error {
    fn from(e: token::Error) -> Self {
        Self::Internal(format!("token: {e}"))
    }
}
