//! The two steps of a challenge, one of which can be done again alone.
//!
//! Where nothing but the digits failed, or nothing but the motions, the next attempt asks for that step
//! with new cues, and the step that passed stands. Both captures have to be live, whole and of one
//! face: a step of one person never joins a face of another.

use serde::{Deserialize, Serialize};

use super::verdict::Check;

/// A step of a challenge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Reading the digits aloud.
    Speech,
    /// Moving the head.
    Motion,
}

impl Step {
    /// The name used in JSON.
    pub fn name(self) -> &'static str {
        self.check().name()
    }

    /// The check that judges this step.
    pub fn check(self) -> Check {
        match self {
            Self::Speech => Check::Speech,
            Self::Motion => Check::Motion,
        }
    }

    /// The other step.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Speech => Self::Motion,
            Self::Motion => Self::Speech,
        }
    }
}

/// What a verdict took over from an earlier attempt of the same verification.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Earlier {
    /// The attempt.
    pub attempt: u32,
    /// The check whose result comes from there.
    pub check: Check,
    /// Distance between the frontal faces of both captures, in the embedding model's own metric;
    /// `None` where they can't be compared.
    pub distance: Option<f32>,
    /// Distance above which they count as two people: the manifest's value for the model.
    pub threshold: f32,
}
