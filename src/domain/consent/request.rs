//! What somebody asks, and what is known besides.

use std::collections::{BTreeMap, BTreeSet};

use super::grant::GrantRef;
use super::vocabulary::{Purpose, Region, Style};
use crate::domain::ids::{ApiKeyId, SubjectId};

/// What somebody wants to do with a cameo.
#[derive(Clone, Debug)]
pub struct UseRequest {
    /// Whose cameo it is.
    pub owner: SubjectId,
    /// Who asks the generator for the video.
    pub requester: SubjectId,
    /// The generator.
    pub generator: ApiKeyId,
    /// What for.
    pub purpose: Purpose,
    /// How the person is to look.
    pub style: Style,
    /// Where it will be shown, where the generator says so.
    pub region: Option<Region>,
    /// Whose cameos are asked for in the same scene, besides the owner's.
    pub company: BTreeSet<SubjectId>,
    /// Whether it makes no sense without the voice.
    pub needs_voice: bool,
    /// Whether it makes no sense without images.
    pub needs_images: bool,
}

impl UseRequest {
    /// Whether the owner asks for their own cameo.
    pub fn is_own(&self) -> bool {
        self.requester == self.owner
    }
}

/// How the requester stands to the owner in the app's graph.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Relation {
    /// Nobody knows. Counts as not mutual.
    #[default]
    Unknown,
    /// They do not both follow each other.
    NotMutual,
    /// They follow each other.
    Mutual,
}

/// What the people in the parent video say to a video derived from it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Parent {
    /// The video derives from none.
    #[default]
    None,
    /// All of them permit it.
    Permits,
    /// At least one of them does not, or can't be asked.
    Refuses,
}

/// How often a grant was used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// All in all.
    pub total: u64,
    /// Today (a day of UTC).
    pub today: u64,
}

/// What is known besides the request and the grants.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// The cameo was deleted.
    pub deleted: bool,
    /// Consent was given once and withdrawn.
    pub withdrawn: bool,
    /// The person froze the cameo.
    pub frozen: bool,
    /// How the requester stands to the owner.
    pub relation: Relation,
    /// What the parent video's people say.
    pub parent: Parent,
    /// How often each grant was used; one that is not there was never used.
    pub used: BTreeMap<GrantRef, Used>,
}
