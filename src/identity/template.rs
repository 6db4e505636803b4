//! The template's own rules, and its form in bytes.
//!
//! A [`Template`] is written as one CBOR map (RFC 8949), sealed by the caller before it is stored.
//! Reading checks size, version and every rule of [`validate`]: bytes that were unsealed correctly
//! may still come from another version of this software.

use std::collections::BTreeSet;

use serde::Deserialize;
use zeroize::Zeroizing;

use crate::domain::template::{
    EmbeddingModel, FaceTemplate, PoseBin, TEMPLATE_VERSION, Template, VoiceTemplate, norm,
};

/// Longest vector taken. The largest face vectors that generators ask for have 512 values
/// (`ArcFace` type) to 1,024 (CLIP).
pub const MAX_DIM: u32 = 2048;
/// Longest encoded template in bytes: five faces and a voice of [`MAX_DIM`] values, five bytes
/// each, with room for names.
pub const MAX_ENCODED: usize = 80 * 1024;

const MAX_MODEL_ID: usize = 128;

/// Why a template is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// Nothing to compare with later: the person has to look straight into the camera.
    #[error("a template needs a frontal face sample")]
    NoFrontal,
    /// Two samples of one pose.
    #[error("a template holds at most one face sample for each pose, but has two of {}", .0.name())]
    DuplicatePose(PoseBin),
    /// Frontal has to come first, then the order of [`PoseBin::ALL`].
    #[error("the face samples of a template stand in the order of their poses, frontal first")]
    Order,
    /// The model's description can't be right.
    #[error("the embedding model's description is invalid: {0}")]
    Model(&'static str),
    /// A vector's length is not the model's.
    #[error("an embedding has {found} values where its model gives {expected}")]
    Dimension {
        /// The model's.
        expected: u32,
        /// The vector's.
        found: usize,
    },
    /// A number that can't be right; which one is said without its value.
    #[error("a template's {0} is not a usable number")]
    Value(&'static str),
    /// Another version wrote it.
    #[error(
        "the template has version {0}, but this software reads version {TEMPLATE_VERSION} only; \
         enrol again, or use the software that wrote it"
    )]
    Version(u16),
    /// Larger than any template.
    #[error("an encoded template has at most {MAX_ENCODED} bytes")]
    TooLarge,
    /// Not a template's CBOR.
    #[error("the bytes are not an encoded template")]
    Malformed,
}

/// Makes a template of samples in any order.
///
/// # Errors
/// As [`validate`].
pub fn assemble(
    model: EmbeddingModel,
    mut faces: Vec<FaceTemplate>,
    voice: Option<VoiceTemplate>,
) -> Result<Template, TemplateError> {
    faces.sort_by_key(|f| f.bin);
    let template = Template { version: TEMPLATE_VERSION, model, faces, voice };
    validate(&template)?;
    Ok(template)
}

/// Checks every rule: this version; a frontal sample first and at most one for each pose; vectors
/// of the model's length, finite and not zero; everything else in its range.
///
/// # Errors
/// The first rule that is broken.
pub fn validate(template: &Template) -> Result<(), TemplateError> {
    if template.version != TEMPLATE_VERSION {
        return Err(TemplateError::Version(template.version));
    }
    check_model(&template.model)?;
    let mut seen = BTreeSet::new();
    for face in &template.faces {
        if !seen.insert(face.bin) {
            return Err(TemplateError::DuplicatePose(face.bin));
        }
        check_face(face, &template.model)?;
    }
    if !seen.contains(&PoseBin::Frontal) {
        return Err(TemplateError::NoFrontal);
    }
    if !template.faces.is_sorted_by_key(|f| f.bin) {
        return Err(TemplateError::Order);
    }
    if let Some(voice) = &template.voice {
        check_model(&voice.model)?;
        check_vector(&voice.vector, &voice.model, "voice embedding")?;
        if voice.speech_ms < 0 {
            return Err(TemplateError::Value("length of speech"));
        }
    }
    Ok(())
}

/// Writes a valid template. The buffer is wiped when dropped.
///
/// # Errors
/// As [`validate`].
pub fn encode(template: &Template) -> Result<Zeroizing<Vec<u8>>, TemplateError> {
    validate(template)?;
    // Reserved in full, so that no partial copy is left behind by a growing buffer.
    let mut out = Zeroizing::new(Vec::with_capacity(MAX_ENCODED));
    ciborium::into_writer(template, &mut *out).map_err(|_| TemplateError::Malformed)?;
    if out.len() > MAX_ENCODED {
        return Err(TemplateError::TooLarge);
    }
    Ok(out)
}

/// Reads what [`encode`] wrote.
///
/// # Errors
/// [`TemplateError`]: too large, another version, not a template, or a broken rule.
pub fn decode(bytes: &[u8]) -> Result<Template, TemplateError> {
    #[derive(Deserialize)]
    struct Header {
        version: u16,
    }

    if bytes.len() > MAX_ENCODED {
        return Err(TemplateError::TooLarge);
    }
    // The version first: another version's fields would only read as malformed.
    let header: Header = ciborium::from_reader(bytes).map_err(|_| TemplateError::Malformed)?;
    if header.version != TEMPLATE_VERSION {
        return Err(TemplateError::Version(header.version));
    }
    let mut rest = bytes;
    let template: Template =
        ciborium::from_reader(&mut rest).map_err(|_| TemplateError::Malformed)?;
    if !rest.is_empty() {
        return Err(TemplateError::Malformed);
    }
    validate(&template)?;
    Ok(template)
}

fn check_model(model: &EmbeddingModel) -> Result<(), TemplateError> {
    if model.id.is_empty() || model.id.len() > MAX_MODEL_ID {
        return Err(TemplateError::Model("its id is empty or too long"));
    }
    let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    if model.sha256.len() != 64 || !model.sha256.bytes().all(hex) {
        return Err(TemplateError::Model("its hash is not a SHA-256 in lower-case hexadecimal"));
    }
    if !(1..=MAX_DIM).contains(&model.dim) {
        return Err(TemplateError::Model("its vectors have no length, or too great a one"));
    }
    Ok(())
}

fn check_face(face: &FaceTemplate, model: &EmbeddingModel) -> Result<(), TemplateError> {
    check_vector(&face.vector, model, "face embedding")?;
    let pose = [face.pose.yaw, face.pose.pitch, face.pose.roll];
    if !pose.iter().all(|a| a.abs() <= 180.0) {
        return Err(TemplateError::Value("pose"));
    }
    // A landmark may lie somewhat outside the picture, but not anywhere.
    if !face.keypoints.iter().flatten().all(|x| (-1.0..=2.0).contains(x)) {
        return Err(TemplateError::Value("keypoints"));
    }
    if face.frame.is_some_and(|f| f.iter().any(|side| !(1..=65_535).contains(side))) {
        return Err(TemplateError::Value("frame size"));
    }
    if face.quality > 100 {
        return Err(TemplateError::Value("quality"));
    }
    Ok(())
}

fn check_vector(
    vector: &[f32],
    model: &EmbeddingModel,
    name: &'static str,
) -> Result<(), TemplateError> {
    if vector.len() != model.dim as usize {
        return Err(TemplateError::Dimension { expected: model.dim, found: vector.len() });
    }
    // The norm is zero, infinite or not a number where the vector has no usable direction.
    if !norm(vector).is_normal() {
        return Err(TemplateError::Value(name));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::evidence::Pose;
    use crate::domain::template::Metric;
    use proptest::prelude::*;

    fn model(dim: u32) -> EmbeddingModel {
        let sha256 = "ab".repeat(32);
        EmbeddingModel { id: "face-test".into(), sha256, dim, metric: Metric::Euclidean }
    }

    fn face(bin: PoseBin, vector: Vec<f32>) -> FaceTemplate {
        let pose = Pose { yaw: 1.0, pitch: -2.0, roll: 0.5 };
        FaceTemplate {
            bin,
            pose,
            vector,
            keypoints: [[0.4, 0.5]; 5],
            frame: Some([640, 480]),
            quality: 80,
        }
    }

    fn sample() -> Template {
        let faces = vec![
            face(PoseBin::Right, vec![0.1, 0.2, 0.3]),
            face(PoseBin::Frontal, vec![-1.5, 0.25, 1e-3]),
        ];
        let voice = VoiceTemplate { model: model(2), vector: vec![0.6, 0.8], speech_ms: 2400 };
        assemble(model(3), faces, Some(voice)).unwrap()
    }

    fn broken(change: impl FnOnce(&mut Template)) -> TemplateError {
        let mut t = sample();
        change(&mut t);
        let err = validate(&t).unwrap_err();
        assert_eq!(encode(&t).unwrap_err(), err);
        err
    }

    #[test]
    fn frontal_comes_first_and_bytes_come_back() {
        let t = sample();
        assert_eq!(t.faces[0].bin, PoseBin::Frontal);
        let bytes = encode(&t).unwrap();
        assert!(decode(&bytes).unwrap() == t);
        assert_eq!(*bytes, *encode(&t).unwrap());
    }

    #[test]
    fn each_rule_has_its_error() {
        let frontal_twice = assemble(
            model(1),
            vec![face(PoseBin::Frontal, vec![1.0]), face(PoseBin::Frontal, vec![2.0])],
            None,
        );
        assert_eq!(frontal_twice.unwrap_err(), TemplateError::DuplicatePose(PoseBin::Frontal));
        assert_eq!(
            assemble(model(1), vec![face(PoseBin::Up, vec![1.0])], None).unwrap_err(),
            TemplateError::NoFrontal
        );
        assert_eq!(assemble(model(1), vec![], None).unwrap_err(), TemplateError::NoFrontal);
        assert_eq!(broken(|t| t.faces.reverse()), TemplateError::Order);
        assert_eq!(broken(|t| t.version = 9), TemplateError::Version(9));
        assert_eq!(
            broken(|t| t.faces[1].vector.truncate(2)),
            TemplateError::Dimension { expected: 3, found: 2 }
        );
        assert_eq!(
            broken(|t| t.faces[1].vector[0] = f32::NAN),
            TemplateError::Value("face embedding")
        );
        assert_eq!(
            broken(|t| t.faces[0].vector = vec![0.0; 3]),
            TemplateError::Value("face embedding")
        );
        assert_eq!(
            broken(|t| t.voice.as_mut().unwrap().vector[1] = f32::INFINITY),
            TemplateError::Value("voice embedding")
        );
        assert_eq!(broken(|t| t.faces[0].pose.yaw = f32::NAN), TemplateError::Value("pose"));
        assert_eq!(broken(|t| t.faces[0].keypoints[2][1] = 7.0), TemplateError::Value("keypoints"));
        assert_eq!(broken(|t| t.faces[0].quality = 101), TemplateError::Value("quality"));
        assert!(matches!(broken(|t| t.model.dim = 0), TemplateError::Model(_)));
        assert!(matches!(broken(|t| t.model.sha256 = "AB".repeat(32)), TemplateError::Model(_)));
        assert!(matches!(broken(|t| t.model.id.clear()), TemplateError::Model(_)));
    }

    #[test]
    fn the_largest_template_fits() {
        // 1/3 has no shorter exact form: five bytes for each value.
        let vector = vec![1.0 / 3.0; MAX_DIM as usize];
        let faces = PoseBin::ALL.iter().map(|b| face(*b, vector.clone())).collect();
        let voice = VoiceTemplate { model: model(MAX_DIM), vector, speech_ms: i64::MAX };
        let t = assemble(model(MAX_DIM), faces, Some(voice)).unwrap();
        assert!(decode(&encode(&t).unwrap()).unwrap() == t);
    }

    #[test]
    fn foreign_bytes_are_refused() {
        let bytes = encode(&sample()).unwrap();
        for n in 0..bytes.len() {
            assert_eq!(decode(&bytes[..n]).unwrap_err(), TemplateError::Malformed);
        }
        let mut longer = bytes.to_vec();
        longer.push(0);
        assert_eq!(decode(&longer).unwrap_err(), TemplateError::Malformed);
        assert_eq!(decode(&vec![0; MAX_ENCODED + 1]).unwrap_err(), TemplateError::TooLarge);
        let mut future = Vec::new();
        let map = std::collections::BTreeMap::from([("version", 2), ("shape", 7)]);
        ciborium::into_writer(&map, &mut future).unwrap();
        assert_eq!(decode(&future).unwrap_err(), TemplateError::Version(2));
    }

    proptest! {
        #[test]
        fn hostile_bytes_never_panic(
            flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
            noise in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let mut bytes = encode(&sample()).unwrap().to_vec();
            for (at, value) in flips {
                let i = at.index(bytes.len());
                bytes[i] = value;
            }
            if let Ok(t) = decode(&bytes) {
                prop_assert_eq!(validate(&t), Ok(()));
            }
            prop_assert!(decode(&noise).is_err());
        }
    }
}
