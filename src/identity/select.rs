//! Keeps the best sample of each pose while frames stream by.

use crate::domain::evidence::Pose;
use crate::domain::template::PoseBin;

/// Largest yaw and pitch of a frontal sample, in degrees. Pitch is measured from the camera's
/// axis, and a phone held low or a laptop's camera shifts it by some 10°, hence the wider limit. The policy of
/// the quality check asks for the same, so that whoever passes it can be enrolled.
pub const FRONTAL_MAX: (f32, f32) = (15.0, 20.0);
/// Least yaw and pitch of a turned sample along its own axis, in degrees: far enough from frontal that
/// noise of a few degrees doesn't move a sample from one bin to the other.
pub const TURNED_MIN: (f32, f32) = (18.0, 22.0);
/// Largest angle of any sample along its own axis, in degrees: beyond it half of the face is out
/// of sight, and face embeddings don't hold.
pub const TURNED_MAX: f32 = 55.0;
/// Largest angle of a turned sample along the *other* axis, in degrees.
pub const ACROSS_MAX: f32 = 25.0;
/// Largest tilt of any sample, in degrees. Alignment takes roll out, so this is generous.
pub const ROLL_MAX: f32 = 35.0;

/// The bin of a pose; `None` between bins, too far out, or where the pose is not a number.
pub fn bin(pose: Pose) -> Option<PoseBin> {
    let (yaw, pitch) = (pose.yaw, pose.pitch);
    let turned = |along: f32, across: f32, least: f32| {
        (least..=TURNED_MAX).contains(&along.abs())
            && across.abs() <= ACROSS_MAX
            && along.abs() >= across.abs()
    };
    let upright = pose.roll.abs() <= ROLL_MAX; // not where it is not a number
    if !upright {
        None
    } else if yaw.abs() <= FRONTAL_MAX.0 && pitch.abs() <= FRONTAL_MAX.1 {
        Some(PoseBin::Frontal)
    } else if turned(yaw, pitch, TURNED_MIN.0) {
        Some(if yaw > 0.0 { PoseBin::Left } else { PoseBin::Right })
    } else if turned(pitch, yaw, TURNED_MIN.1) {
        Some(if pitch > 0.0 { PoseBin::Up } else { PoseBin::Down })
    } else {
        None
    }
}

/// The best sample of one pose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Selected<T> {
    /// Which way the head pointed.
    pub bin: PoseBin,
    /// Quality of the sample, 0–100.
    pub quality: u8,
    /// What was kept of it.
    pub payload: T,
}

/// Holds at most one payload for each pose. Which ones depends only on the offers and their
/// order: a later sample displaces an earlier one only where its quality is higher.
#[derive(Clone, Debug)]
pub struct Selector<T> {
    slots: [Option<Selected<T>>; PoseBin::ALL.len()],
}

impl<T> Default for Selector<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Selector<T> {
    /// An empty selector.
    pub fn new() -> Self {
        Self { slots: std::array::from_fn(|_| None) }
    }

    /// Offers a sample of `pose` (degrees) and `quality` (0–100). `payload` is called only where
    /// the sample is kept, so a crop or a copy is paid for only then. Returns the bin it was kept
    /// in.
    pub fn offer(
        &mut self,
        pose: Pose,
        quality: u8,
        payload: impl FnOnce() -> T,
    ) -> Option<PoseBin> {
        let bin = bin(pose)?;
        let slot = &mut self.slots[bin as usize];
        if slot.as_ref().is_some_and(|kept| kept.quality >= quality) {
            return None;
        }
        *slot = Some(Selected { bin, quality, payload: payload() });
        Some(bin)
    }

    /// The sample kept for a bin.
    pub fn get(&self, bin: PoseBin) -> Option<&Selected<T>> {
        self.slots[bin as usize].as_ref()
    }

    /// The kept samples, frontal first, in the order of [`PoseBin::ALL`].
    pub fn into_selected(self) -> Vec<Selected<T>> {
        self.slots.into_iter().flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pose(yaw: f32, pitch: f32) -> Pose {
        Pose { yaw, pitch, roll: 0.0 }
    }

    #[test]
    fn bins_in_degrees() {
        assert_eq!(bin(pose(0.0, 10.0)), Some(PoseBin::Frontal));
        assert_eq!(bin(pose(15.0, 20.0)), Some(PoseBin::Frontal));
        assert_eq!(bin(pose(16.0, 0.0)), None);
        assert_eq!(bin(pose(30.0, -10.0)), Some(PoseBin::Left));
        assert_eq!(bin(pose(-30.0, 10.0)), Some(PoseBin::Right));
        assert_eq!(bin(pose(5.0, 22.0)), Some(PoseBin::Up));
        assert_eq!(bin(pose(5.0, -22.0)), Some(PoseBin::Down));
        assert_eq!(bin(pose(70.0, 0.0)), None);
        assert_eq!(bin(pose(30.0, 30.0)), None);
        assert_eq!(bin(pose(f32::NAN, 0.0)), None);
        assert_eq!(bin(pose(0.0, f32::NAN)), None);
        assert_eq!(bin(Pose { yaw: 0.0, pitch: 0.0, roll: f32::NAN }), None);
        assert_eq!(bin(Pose { yaw: 0.0, pitch: 0.0, roll: 50.0 }), None);
    }

    #[test]
    fn bins_index_the_slots_in_order() {
        for (i, bin) in PoseBin::ALL.into_iter().enumerate() {
            assert_eq!(bin as usize, i);
        }
    }

    proptest! {
        #[test]
        fn keeps_the_first_of_the_best(
            offers in prop::collection::vec((-60.0f32..60.0, -60.0f32..60.0, 0u8..5), 0..60),
        ) {
            let mut selector = Selector::new();
            let mut calls = 0usize;
            let mut kept = 0usize;
            for (i, (yaw, pitch, quality)) in offers.iter().enumerate() {
                kept += usize::from(
                    selector.offer(pose(*yaw, *pitch), *quality, || { calls += 1; i }).is_some(),
                );
            }
            prop_assert_eq!(calls, kept);
            for b in PoseBin::ALL {
                let mut best: Option<(u8, usize)> = None;
                for (i, (yaw, pitch, q)) in offers.iter().enumerate() {
                    if bin(pose(*yaw, *pitch)) == Some(b) && best.is_none_or(|(top, _)| *q > top) {
                        best = Some((*q, i));
                    }
                }
                prop_assert_eq!(selector.get(b).map(|s| (s.quality, s.payload)), best);
            }
        }
    }
}
