//! The words for what becomes of a use: outcomes, take-downs, messages, deletions.

use serde::{Deserialize, Serialize};

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum $name {
            $($(#[$vdoc])* $variant,)*
        }

        impl $name {
            /// Every one.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The name used in JSON, in the store and in the log.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }

        impl std::str::FromStr for $name {
            type Err = ();
            fn from_str(s: &str) -> Result<Self, ()> {
                Self::ALL.iter().copied().find(|v| v.name() == s).ok_or(())
            }
        }
    };
}

words! {
    /// What a generator did with a use.
    OutcomeState {
        /// A video was made and nobody else has seen it.
        Draft = "draft",
        /// Others can see it.
        Published = "published",
        /// It is gone.
        Deleted = "deleted",
    }
}

words! {
    /// Where a take-down stands.
    TakedownState {
        /// The generator was told.
        Open = "open",
        /// It has seen it.
        Acknowledged = "acknowledged",
        /// The video is gone.
        Done = "done",
        /// It did not answer in time: the operator has to act.
        Escalated = "escalated",
    }
}

words! {
    /// Why a video has to go.
    TakedownReason {
        /// The person objects to this use.
        Objection = "objection",
        /// The person withdrew their consent.
        Withdrawn = "withdrawn",
        /// The person deleted their cameo.
        Deleted = "deleted",
    }
}

words! {
    /// Where a message to a generator stands.
    MessageState {
        /// It is tried now or later.
        Waiting = "waiting",
        /// The generator took it.
        Delivered = "delivered",
        /// Nobody tries any more.
        Dead = "dead",
    }
}

words! {
    /// Why an identity was destroyed.
    DeletionReason {
        /// The person asked for it.
        Request = "request",
        /// Consent was withdrawn, and with it the purpose ended.
        Withdrawn = "withdrawn",
        /// No consent was ever given, so there never was a purpose.
        Unused = "unused",
        /// The person has not been there for the longest time that it may be kept.
        Inactive = "inactive",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_json_and_are_read_back() {
        for reason in DeletionReason::ALL {
            assert_eq!(reason.name().parse(), Ok(*reason));
            assert_eq!(serde_json::json!(reason), reason.name());
        }
        for state in OutcomeState::ALL {
            assert_eq!(serde_json::json!(state), state.name());
        }
        for state in TakedownState::ALL {
            assert_eq!(serde_json::json!(state), state.name());
        }
        assert!("gone".parse::<MessageState>().is_err());
    }
}
