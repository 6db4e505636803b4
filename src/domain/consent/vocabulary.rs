//! The words in which permissions and requests are put.

use std::collections::BTreeSet;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::domain::ids::SubjectId;

/// Who may use a cameo.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Audience {
    /// Nobody but the person, whatever list or grant names others.
    OnlyMe,
    /// The people on the person's list.
    Approved,
    /// People who follow the person and whom the person follows, and those on the list.
    Mutuals,
    /// Everyone who is not blocked.
    Everyone,
}

impl Audience {
    /// Every audience, from the narrowest to the widest.
    pub const ALL: [Self; 4] = [Self::OnlyMe, Self::Approved, Self::Mutuals, Self::Everyone];

    /// The name used in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::OnlyMe => "only_me",
            Self::Approved => "approved",
            Self::Mutuals => "mutuals",
            Self::Everyone => "everyone",
        }
    }
}

/// What a generated video is for. A purpose that is not granted is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// For the requester alone.
    Personal,
    /// Shared with others, without payment.
    Social,
    /// A new version of an existing video.
    Remix,
    /// Sold, or part of something sold.
    Commercial,
    /// Advertising a product or a service.
    Advertising,
    /// Political speech.
    Political,
    /// Sexual content.
    Adult,
}

impl Purpose {
    /// Every purpose.
    pub const ALL: [Self; 7] = [
        Self::Personal,
        Self::Social,
        Self::Remix,
        Self::Commercial,
        Self::Advertising,
        Self::Political,
        Self::Adult,
    ];

    /// The name used in JSON, in tokens and in the log.
    pub fn name(self) -> &'static str {
        match self {
            Self::Personal => "personal",
            Self::Social => "social",
            Self::Remix => "remix",
            Self::Commercial => "commercial",
            Self::Advertising => "advertising",
            Self::Political => "political",
            Self::Adult => "adult",
        }
    }

    /// Whether a use for it can do lasting harm. Where the text that the person was shown is kept, it
    /// must name such a purpose for it to be granted.
    pub fn is_sensitive(self) -> bool {
        match self {
            Self::Personal | Self::Social | Self::Remix | Self::Commercial => false,
            Self::Advertising | Self::Political | Self::Adult => true,
        }
    }

    /// The closest purpose of the W3C Data Privacy Vocabulary (version 2).
    pub fn dpv(self) -> &'static str {
        match self {
            Self::Personal | Self::Social | Self::Remix => "dpv:NonCommercialPurpose",
            Self::Commercial => "dpv:CommercialPurpose",
            Self::Advertising => "dpv:Advertising",
            Self::Political => "dpv:PoliticalCampaign",
            // DPV has none for it.
            Self::Adult => "dpv:Purpose",
        }
    }
}

/// How the person looks in the video.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Style {
    /// Could be taken for a recording.
    Photoreal,
    /// Drawn, painted or animated: nobody takes it for a recording.
    Stylised,
}

impl Style {
    /// Every style.
    pub const ALL: [Self; 2] = [Self::Photoreal, Self::Stylised];

    /// The name used in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Photoreal => "photoreal",
            Self::Stylised => "stylised",
        }
    }
}

/// Where a video is shown: a country's two letters (ISO 3166-1 alpha-2). Only the form is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Region([u8; 2]);

impl Region {
    /// The two letters.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("??")
    }
}

/// A text that is no region.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a region is a country's two capital letters (ISO 3166-1 alpha-2)")]
pub struct NoRegion;

impl FromStr for Region {
    type Err = NoRegion;
    fn from_str(s: &str) -> Result<Self, NoRegion> {
        match s.as_bytes() {
            [a, b] if a.is_ascii_uppercase() && b.is_ascii_uppercase() => Ok(Self([*a, *b])),
            _ => Err(NoRegion),
        }
    }
}

impl TryFrom<String> for Region {
    type Error = NoRegion;
    fn try_from(s: String) -> Result<Self, NoRegion> {
        s.parse()
    }
}

impl From<Region> for String {
    fn from(region: Region) -> Self {
        region.as_str().to_owned()
    }
}

/// Who else may appear in the same video. Whoever the person blocked may not in any case.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Company {
    /// Nobody.
    Alone,
    /// Nobody but the requester.
    #[default]
    Requester,
    /// The requester and these people.
    People(BTreeSet<SubjectId>),
    /// Anyone.
    Anyone,
}

/// Names people, so it is not printed.
impl std::fmt::Debug for Company {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Alone => f.write_str("Alone"),
            Self::Requester => f.write_str("Requester"),
            Self::People(people) => write!(f, "People({})", people.len()),
            Self::Anyone => f.write_str("Anyone"),
        }
    }
}
