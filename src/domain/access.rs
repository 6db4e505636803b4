//! Who may call what.

use serde::{Deserialize, Serialize};

use super::ids::{ApiKeyId, SubjectId, VerificationId};

/// What an API key may do. A key has one role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The app: starts verifications and manages its people's consent.
    App,
    /// A generator: resolves cameos into tokens.
    Generator,
    /// An auditor: reads the log.
    Auditor,
    /// A reviewer: decides verifications in review.
    Reviewer,
    /// An operator: manages keys.
    Admin,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 5] =
        [Self::App, Self::Generator, Self::Auditor, Self::Reviewer, Self::Admin];

    /// The name used in keys, JSON and the store.
    pub fn name(self) -> &'static str {
        match self {
            Self::App => "app",
            Self::Generator => "generator",
            Self::Auditor => "auditor",
            Self::Reviewer => "reviewer",
            Self::Admin => "admin",
        }
    }
}

impl std::str::FromStr for Role {
    type Err = UnknownRole;
    fn from_str(s: &str) -> Result<Self, UnknownRole> {
        Self::ALL.into_iter().find(|r| r.name() == s).ok_or(UnknownRole)
    }
}

/// Who is signed in to a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    /// A person: sees and changes what is their own.
    Subject(SubjectId),
    /// A person's device that answers one verification.
    Verification(VerificationId),
    /// Whoever has this API key: a reviewer or an auditor.
    Key(ApiKeyId),
}

/// A text that names no role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a role is one of app, generator, auditor, reviewer, admin")]
pub struct UnknownRole;
