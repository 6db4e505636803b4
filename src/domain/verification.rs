//! The life of a verification session.
//!
//! ```text
//! pending ──capture──> processing ──> verified
//!    │  ^                  │     ├──> review ──reviewer──> verified | rejected
//!    │  │                  │     │      └──time──> expired
//!    │  └──────retry───────┼─────┴──> rejected
//!    └──time──> expired    └──> failed (the capture could not be judged; `failure` says why)
//! ```

use serde::{Deserialize, Serialize};

use super::verdict::Decision;

/// Where a verification stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// A challenge is out; no capture has come.
    Pending,
    /// A capture is queued or being judged.
    Processing,
    /// A live person met the challenge; a cameo exists.
    Verified,
    /// The capture did not pass.
    Rejected,
    /// A reviewer has to decide.
    Review,
    /// The challenge ran out before a capture came, or no reviewer decided in time.
    Expired,
    /// The capture could not be judged: it does not decode, or the service broke off.
    Failed,
}

/// What moves a verification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A whole capture has arrived.
    CaptureReceived,
    /// The capture was judged.
    Judged(Decision),
    /// The service could not judge it.
    JudgingFailed,
    /// The challenge's time is up, or the reviewers'.
    TimeUp,
    /// A new challenge was issued for another attempt.
    Retried,
    /// A reviewer approved.
    Approved,
    /// A reviewer rejected.
    Disapproved,
}

/// An event that this state doesn't know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a verification that is {} doesn't take this step", .0.name())]
pub struct WrongState(pub State);

impl State {
    /// Every state.
    pub const ALL: [Self; 7] = [
        Self::Pending,
        Self::Processing,
        Self::Verified,
        Self::Rejected,
        Self::Review,
        Self::Expired,
        Self::Failed,
    ];

    /// The name used in JSON and in the store.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Processing => "processing",
            Self::Verified => "verified",
            Self::Rejected => "rejected",
            Self::Review => "review",
            Self::Expired => "expired",
            Self::Failed => "failed",
        }
    }

    /// Whether nothing more happens unless somebody asks for it.
    pub fn is_settled(self) -> bool {
        !matches!(self, Self::Pending | Self::Processing)
    }

    /// The state after `event`.
    ///
    /// # Errors
    /// [`WrongState`] where the event has no meaning here.
    pub fn after(self, event: Event) -> Result<Self, WrongState> {
        use Event as E;
        Ok(match (self, event) {
            (Self::Pending, E::CaptureReceived) => Self::Processing,
            (Self::Pending | Self::Review, E::TimeUp) => Self::Expired,
            (Self::Processing, E::Judged(Decision::Verified)) | (Self::Review, E::Approved) => {
                Self::Verified
            }
            (Self::Processing, E::Judged(Decision::Rejected)) | (Self::Review, E::Disapproved) => {
                Self::Rejected
            }
            (Self::Processing, E::Judged(Decision::Review)) => Self::Review,
            (Self::Processing, E::JudgingFailed) => Self::Failed,
            (Self::Rejected | Self::Expired | Self::Failed, E::Retried) => Self::Pending,
            _ => return Err(WrongState(self)),
        })
    }
}

impl std::str::FromStr for State {
    type Err = ();
    fn from_str(s: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|v| v.name() == s).ok_or(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verified_person_cannot_be_reached_but_by_judgement_or_review() {
        let events = [
            Event::CaptureReceived,
            Event::Judged(Decision::Verified),
            Event::Judged(Decision::Rejected),
            Event::Judged(Decision::Review),
            Event::JudgingFailed,
            Event::TimeUp,
            Event::Retried,
            Event::Approved,
            Event::Disapproved,
        ];
        for state in State::ALL {
            for event in events {
                let next = state.after(event);
                if next == Ok(State::Verified) {
                    assert!(matches!(
                        (state, event),
                        (State::Processing, Event::Judged(Decision::Verified))
                            | (State::Review, Event::Approved)
                    ));
                }
                if state == State::Verified {
                    assert_eq!(next, Err(WrongState(state)));
                }
            }
        }
    }

    #[test]
    fn names_round_trip() {
        for s in State::ALL {
            assert_eq!(s.name().parse(), Ok(s));
            assert_eq!(serde_json::to_value(s).unwrap(), s.name());
        }
    }
}
