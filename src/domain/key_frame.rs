//! Key frames: the few small pictures of a capture that a reviewer may ask for while a case is open.

use serde::{Deserialize, Serialize};

use super::template::PoseBin;

/// Key frames of one capture, at most.
pub const MAX_KEY_FRAMES: usize = 4;

/// Why a frame was kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum View {
    /// The best one of a face straight into the camera.
    Frontal,
    /// The best one turned to the person's left.
    Left,
    /// The best one turned to the person's right.
    Right,
    /// The best one looking up.
    Up,
    /// The best one looking down.
    Down,
    /// The one whose face is furthest from the frontal one, beyond the embedding model's threshold.
    LeastAlike,
    /// The one that the anti-spoof model takes least for a live person, below its threshold.
    LeastLive,
}

impl View {
    /// Every view.
    pub const ALL: [Self; 7] = [
        Self::Frontal,
        Self::Left,
        Self::Right,
        Self::Up,
        Self::Down,
        Self::LeastAlike,
        Self::LeastLive,
    ];

    /// The name used in JSON and in the store.
    pub fn name(self) -> &'static str {
        match self {
            Self::LeastAlike => "least_alike",
            Self::LeastLive => "least_live",
            Self::Frontal => PoseBin::Frontal.name(),
            Self::Left => PoseBin::Left.name(),
            Self::Right => PoseBin::Right.name(),
            Self::Up => PoseBin::Up.name(),
            Self::Down => PoseBin::Down.name(),
        }
    }
}

impl From<PoseBin> for View {
    fn from(bin: PoseBin) -> Self {
        match bin {
            PoseBin::Frontal => Self::Frontal,
            PoseBin::Left => Self::Left,
            PoseBin::Right => Self::Right,
            PoseBin::Up => Self::Up,
            PoseBin::Down => Self::Down,
        }
    }
}

/// A name that no view has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no such view of a key frame")]
pub struct UnknownView;

impl std::str::FromStr for View {
    type Err = UnknownView;

    fn from_str(name: &str) -> Result<Self, UnknownView> {
        Self::ALL.into_iter().find(|v| v.name() == name).ok_or(UnknownView)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_json_and_lead_back() {
        for view in View::ALL {
            assert_eq!(serde_json::to_value(view).unwrap(), view.name());
            assert_eq!(view.name().parse(), Ok(view));
        }
        assert_eq!("sideways".parse::<View>(), Err(UnknownView));
    }
}
