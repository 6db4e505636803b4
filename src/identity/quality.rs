//! Face sample quality, by components that have names.
//!
//! ISO/IEC 29794-5:2025 defines face image quality components, and OFIQ (Open Source Face Image
//! Quality, BSI) is its reference implementation. The components here carry OFIQ's own names and
//! OFIQ's mapping to 0–100 where the same native measure is at hand (head pose, inter-eye distance,
//! luminance mean). `EyesOpen`, `MouthClosed` and `Sharpness` have OFIQ's meaning and direction,
//! but rest on this service's own native measures, so their values can't be compared with OFIQ's;
//! nor can `UnifiedQualityScore`, which OFIQ takes from a trained network and we from the
//! components. [`QUALITY_VERSION`] names the whole mapping: it changes with any constant below.
//! Components that a tracked frame gives no measure for (`BackgroundUniformity`,
//! `IlluminationUniformity`, `NoHeadCoverings`, …) are left out, never guessed.

use serde::{Deserialize, Serialize};

use crate::domain::evidence::FaceEvidence;

/// Name and version of the measure behind [`FaceQuality`].
pub const QUALITY_VERSION: &str = "cameo-face-quality/1";

/// OFIQ: centre and width in pixels of the sigmoid over the inter-eye distance.
const INTER_EYE_PX: (f32, f32) = (70.0, 20.0);
/// OFIQ: luminance mean (0–1) at which a face starts to be too dark, and sigmoid width.
const DARK: (f32, f32) = (0.2, 0.05);
/// OFIQ: luminance mean (0–1) at which a face starts to be too bright, and sigmoid width.
const BRIGHT: (f32, f32) = (0.8, 0.05);
/// Lid gap over eye width: a shut eye stays below 0.1, an open one is at 0.2–0.4.
const EYES_OPEN: (f32, f32) = (0.13, 0.03);
/// Inner lip gap over mouth width: closed lips are near 0, a spoken vowel at 0.2–0.6.
const MOUTH_OPEN: (f32, f32) = (0.25, 0.07);
/// Variance of the Laplacian (face at 128 x 128) at which sharpness reaches 63 of 100.
const SHARPNESS_SCALE: f32 = 120.0;

/// The quality of one face sample: each value 0–100, larger is better.
///
/// In JSON the fields bear OFIQ's names (`UnifiedQualityScore`, `HeadPoseYaw`, …).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct FaceQuality {
    /// Geometric mean of the components: a bad one can't be bought back by good ones, and a zero
    /// in one is a zero in all.
    pub unified_quality_score: u8,
    /// Distance between the eyes' centres in pixels, corrected for yaw.
    pub inter_eye_distance: u8,
    /// How little the head is turned sideways.
    pub head_pose_yaw: u8,
    /// How little the head is raised or lowered.
    pub head_pose_pitch: u8,
    /// How little the head is tilted.
    pub head_pose_roll: u8,
    /// Mean luminance of the face: neither dark nor overexposed.
    pub luminance_mean: u8,
    /// Fine detail in the face.
    pub sharpness: u8,
    /// The less open of both eyes.
    pub eyes_open: u8,
    /// Lips closed, as in a neutral portrait.
    pub mouth_closed: u8,
}

impl FaceQuality {
    /// Rates one tracked face. Total: a value that is not a number rates zero.
    pub fn of(face: &FaceEvidence) -> Self {
        let yaw_cos = face.pose.yaw.to_radians().cos().max(0.1);
        let inter_eye = sigmoid(face.inter_eye_px / yaw_cos, INTER_EYE_PX);
        let yaw = cos_squared(face.pose.yaw);
        let pitch = cos_squared(face.pose.pitch);
        let roll = cos_squared(face.pose.roll);
        let mean = face.brightness / 255.0;
        let luminance = sigmoid(mean, DARK) * (1.0 - sigmoid(mean, BRIGHT));
        let sharpness = 1.0 - (-face.sharpness.max(0.0) / SHARPNESS_SCALE).exp();
        // `f32::min` would drop a NaN eye; comparing keeps it.
        let [left, right] = face.eye_open;
        let eyes = sigmoid(if left < right { left } else { right }, EYES_OPEN);
        let eyes = if left.is_finite() && right.is_finite() { eyes } else { 0.0 };
        let mouth = 1.0 - sigmoid(face.mouth_open, MOUTH_OPEN);

        let parts = [inter_eye, yaw, pitch, roll, luminance, sharpness, eyes, mouth];
        let product: f32 = parts.iter().map(|p| unit(*p)).product();
        Self {
            unified_quality_score: percent(product.powf(1.0 / parts.len() as f32)),
            inter_eye_distance: percent(inter_eye),
            head_pose_yaw: percent(yaw),
            head_pose_pitch: percent(pitch),
            head_pose_roll: percent(roll),
            luminance_mean: percent(luminance),
            sharpness: percent(sharpness),
            eyes_open: percent(eyes),
            mouth_closed: percent(mouth),
        }
    }

    /// The components under OFIQ's names, the unified score first.
    pub fn components(&self) -> [(&'static str, u8); 9] {
        [
            ("UnifiedQualityScore", self.unified_quality_score),
            ("InterEyeDistance", self.inter_eye_distance),
            ("HeadPoseYaw", self.head_pose_yaw),
            ("HeadPosePitch", self.head_pose_pitch),
            ("HeadPoseRoll", self.head_pose_roll),
            ("LuminanceMean", self.luminance_mean),
            ("Sharpness", self.sharpness),
            ("EyesOpen", self.eyes_open),
            ("MouthClosed", self.mouth_closed),
        ]
    }
}

/// OFIQ's head-pose mapping: the squared cosine of the angle, zero from 90° on.
fn cos_squared(degrees: f32) -> f32 {
    if degrees.abs() >= 90.0 { 0.0 } else { degrees.to_radians().cos().powi(2) }
}

fn sigmoid(x: f32, (centre, width): (f32, f32)) -> f32 {
    1.0 / (1.0 + (-(x - centre) / width).exp())
}

/// Into 0–1; not a number becomes 0.
fn unit(x: f32) -> f32 {
    if x.is_nan() { 0.0 } else { x.clamp(0.0, 1.0) }
}

fn percent(x: f32) -> u8 {
    (unit(x) * 100.0).round() as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::evidence::Pose;
    use proptest::prelude::*;

    fn good() -> FaceEvidence {
        FaceEvidence {
            bbox: [0.3, 0.2, 0.3, 0.5],
            presence: 1.0,
            pose: Pose::default(),
            eye_open: [0.3, 0.3],
            mouth_open: 0.02,
            inter_eye_px: 110.0,
            brightness: 120.0,
            contrast: 45.0,
            sharpness: 400.0,
        }
    }

    #[test]
    fn a_good_portrait_rates_high_and_each_fault_names_its_component() {
        let q = FaceQuality::of(&good());
        assert!(q.unified_quality_score > 90, "{q:?}");
        let worse = |f: fn(&mut FaceEvidence)| {
            let mut face = good();
            f(&mut face);
            FaceQuality::of(&face)
        };
        assert!(worse(|f| f.pose.yaw = 45.0).head_pose_yaw == 50);
        assert!(worse(|f| f.pose.pitch = -60.0).head_pose_pitch == 25);
        assert!(worse(|f| f.inter_eye_px = 20.0).inter_eye_distance < 10);
        assert!(worse(|f| f.brightness = 20.0).luminance_mean < 10);
        assert!(worse(|f| f.brightness = 250.0).luminance_mean < 10);
        assert!(worse(|f| f.eye_open = [0.3, 0.02]).eyes_open < 5);
        assert!(worse(|f| f.mouth_open = 0.6).mouth_closed < 5);
        assert!(worse(|f| f.sharpness = 5.0).sharpness < 10);
    }

    #[test]
    fn json_bears_ofiq_names() {
        let q = FaceQuality::of(&good());
        let json = serde_json::to_value(q).unwrap();
        for (name, value) in q.components() {
            assert_eq!(json[name], value);
        }
        assert_eq!(json.as_object().unwrap().len(), q.components().len());
    }

    proptest! {
        #[test]
        fn any_numbers_give_a_rating_and_nan_is_worth_nothing(
            v in prop::array::uniform10(prop::num::f32::ANY),
        ) {
            let face = FaceEvidence {
                bbox: [v[0]; 4], presence: v[0],
                pose: Pose { yaw: v[1], pitch: v[2], roll: v[3] },
                eye_open: [v[4], v[5]], mouth_open: v[6], inter_eye_px: v[7],
                brightness: v[8], contrast: v[0], sharpness: v[9],
            };
            let q = FaceQuality::of(&face);
            prop_assert!(q.components().iter().all(|(_, value)| *value <= 100));
            if v[1..].iter().any(|x| x.is_nan()) {
                prop_assert_eq!(q.unified_quality_score, 0);
            }
        }
    }
}
