//! An opened payload as the file that a generator's pipeline loads.
//!
//! | pipeline | tensors of the file |
//! | --- | --- |
//! | IP-Adapter-FaceID | `faceid_embeds` F32 `[1, 512]`, of length one |
//! | `InstantID` | `image_embeds` F32 `[1, 512]` raw; `face_kps` F32 `[5, 2]` in pixels; the canvas in the header |
//! | `PhotoMaker` V2 | `id_embeds` F32 `[n, 512]` raw; `id_images` U8 `[n, 512, 512, 3]` |
//! | raw | the payload as it is |
//!
//! A network understands the vectors of one embedding model only: others have the right shape at
//! best, and give somebody else's face. So a payload of another model or dimension is refused.

use zeroize::Zeroizing;

use super::safetensors::{Container, Dtype, Malformed, Tensor};
use super::{CROP_SIDE, FaceEmbedding, Identity, Payload};
use crate::domain::template::PoseBin;

/// A pipeline that a payload can be written for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// IP-Adapter-FaceID (h94/IP-Adapter-FaceID), fed with `buffalo_l`'s `normed_embedding`.
    IpAdapterFaceId,
    /// `InstantID` (InstantX/InstantID), fed with antelopev2's raw `embedding` and key points.
    InstantId,
    /// `PhotoMaker` V2 (TencentARC/PhotoMaker-V2), fed with `buffalo_l`'s raw `embedding` and pictures.
    PhotoMaker,
    /// Every tensor of the payload, unchanged.
    Raw,
}

impl Target {
    /// Every target.
    pub const ALL: [Self; 4] =
        [Self::IpAdapterFaceId, Self::InstantId, Self::PhotoMaker, Self::Raw];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::IpAdapterFaceId => "ip-adapter-faceid",
            Self::InstantId => "instantid",
            Self::PhotoMaker => "photomaker",
            Self::Raw => "raw",
        }
    }

    /// The recognition network that the pipeline was trained with: its name in `InsightFace`'s model
    /// packs. `None`: any.
    pub fn network(self) -> Option<&'static str> {
        match self {
            Self::IpAdapterFaceId | Self::PhotoMaker => Some("w600k_r50"),
            Self::InstantId => Some("glintr100"),
            Self::Raw => None,
        }
    }
}

impl std::str::FromStr for Target {
    type Err = UnknownTarget;
    fn from_str(s: &str) -> Result<Self, UnknownTarget> {
        Self::ALL.into_iter().find(|t| t.name() == s).ok_or(UnknownTarget)
    }
}

/// The name is no target's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unknown pipeline: use ip-adapter-faceid, instantid, photomaker or raw")]
pub struct UnknownTarget;

/// Why a payload can't be written for a pipeline.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Vectors of another length.
    #[error(
        "{target} takes vectors of {wanted} values, and this token carries {found} \
         (model {model}): enrol with a model of that dimension"
    )]
    Dimension {
        /// The pipeline.
        target: &'static str,
        /// What it takes.
        wanted: u32,
        /// What the token carries.
        found: u32,
        /// The token's model.
        model: String,
    },
    /// Vectors of another model.
    #[error(
        "{target} was trained with the network {wanted}, and this token's vectors are of {model} \
         (sha256 {sha256}); if that is the same network under another name, name its sha256 as accepted"
    )]
    Model {
        /// The pipeline.
        target: &'static str,
        /// Its network.
        wanted: &'static str,
        /// The token's model.
        model: String,
        /// The SHA-256 of the token's model, in hex.
        sha256: String,
    },
    /// There is no sample of the face from the front.
    #[error("the token carries no frontal sample")]
    NoFrontal,
    /// The size of the frame is not known.
    #[error(
        "the token does not say how large the frame was, so the key points have no pixels: enrol again"
    )]
    NoFrame,
    /// There is no picture.
    #[error(
        "{0} needs an aligned picture, and this token carries none: the consent does not include pictures"
    )]
    NoPicture(&'static str),
    /// The file would not be one.
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

/// The length of the vectors that the three pipelines take.
const ARCFACE_DIM: u32 = 512;

/// Writes `payload` as the safetensors file that `target` loads. `accepted` is the SHA-256 of an
/// embedding model that the caller knows to be the pipeline's own, where its name does not say so.
/// `Raw` has no file of its own: the payload is one (see [`Verified::open_raw`](super::Verified::open_raw)).
///
/// # Errors
/// See [`Error`]: a wrong dimension or model is refused by name.
pub fn export(
    payload: &Payload,
    target: Target,
    accepted: Option<[u8; 32]>,
) -> Result<Zeroizing<Vec<u8>>, Error> {
    let identity = &payload.identity;
    check_model(identity, target, accepted)?;
    let mut c = Container::default();
    c.metadata.insert("format".into(), format!("cameo-{}", target.name()));
    c.metadata.insert("model".into(), identity.model.name.clone());
    c.metadata.insert("model_sha256".into(), hex::encode(identity.model.sha256));
    let frontal = || identity.faces.iter().find(|f| f.pose == PoseBin::Frontal);
    match target {
        Target::Raw => {
            for face in &identity.faces {
                let name = format!("face.{}.vector", face.pose.name());
                c.tensors.insert(name, Tensor::f32(vec![face.vector.len()], &face.vector));
            }
        }
        Target::IpAdapterFaceId => {
            let face = frontal().ok_or(Error::NoFrontal)?;
            let unit: Vec<f32> = face.vector.iter().map(|v| v / face.norm).collect();
            c.tensors.insert("faceid_embeds".into(), Tensor::f32(vec![1, unit.len()], &unit));
        }
        Target::InstantId => {
            let face = frontal().ok_or(Error::NoFrontal)?;
            let [width, height] = face.frame.ok_or(Error::NoFrame)?;
            let vector = Tensor::f32(vec![1, face.vector.len()], &face.vector);
            c.tensors.insert("image_embeds".into(), vector);
            let points = pixels(face, width, height);
            c.tensors.insert("face_kps".into(), Tensor::f32(vec![5, 2], points.as_flattened()));
            c.metadata.insert("canvas".into(), format!("[{width},{height}]"));
        }
        Target::PhotoMaker => {
            let faces: Vec<_> = identity.faces.iter().filter(|f| f.crop.is_some()).collect();
            if faces.is_empty() {
                return Err(Error::NoPicture(target.name()));
            }
            let vectors: Vec<f32> = faces.iter().flat_map(|f| f.vector.clone()).collect();
            let vectors = Tensor::f32(vec![faces.len(), ARCFACE_DIM as usize], &vectors);
            c.tensors.insert("id_embeds".into(), vectors);
            let data = faces.iter().filter_map(|f| f.crop.clone()).flatten().collect();
            let shape = vec![faces.len(), CROP_SIDE, CROP_SIDE, 3];
            c.tensors.insert("id_images".into(), Tensor { dtype: Dtype::U8, shape, data });
        }
    }
    Ok(c.encode()?)
}

fn check_model(
    identity: &Identity,
    target: Target,
    accepted: Option<[u8; 32]>,
) -> Result<(), Error> {
    let Some(network) = target.network() else { return Ok(()) };
    let model = &identity.model;
    if model.dim != ARCFACE_DIM {
        return Err(Error::Dimension {
            target: target.name(),
            wanted: ARCFACE_DIM,
            found: model.dim,
            model: model.name.clone(),
        });
    }
    let named = model.name.to_ascii_lowercase().contains(network);
    if named || accepted == Some(model.sha256) {
        return Ok(());
    }
    Err(Error::Model {
        target: target.name(),
        wanted: network,
        model: model.name.clone(),
        sha256: hex::encode(model.sha256),
    })
}

/// The key points in pixels, in `InsightFace`'s order: that of the picture from left to right, where
/// ours is the person's own left and right.
fn pixels(face: &FaceEmbedding, width: u32, height: u32) -> [[f32; 2]; 5] {
    let [left_eye, right_eye, nose, left_mouth, right_mouth] = face.keypoints;
    [right_eye, left_eye, nose, right_mouth, left_mouth]
        .map(|[x, y]| [x * width as f32, y * height as f32])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::template::{Metric, norm};
    use crate::token::Model;

    fn payload(name: &str, dim: u32) -> Payload {
        let vector: Vec<f32> = (0..dim).map(|i| 0.5 + (i % 7) as f32).collect();
        let face = FaceEmbedding {
            pose: PoseBin::Frontal,
            norm: norm(&vector),
            vector,
            quality: 80,
            keypoints: [[0.6, 0.4], [0.4, 0.4], [0.5, 0.5], [0.58, 0.6], [0.42, 0.6]],
            frame: Some([640, 480]),
            crop: None,
        };
        let model = Model { name: name.into(), sha256: [7; 32], dim, metric: Metric::Cosine };
        Identity { model, faces: vec![face], voice: None }.into()
    }

    fn tensors(bytes: &[u8]) -> Container {
        Container::decode(bytes).unwrap()
    }

    #[test]
    fn each_pipeline_gets_its_own_form() {
        let arcface = payload("buffalo_l/w600k_r50", 512);
        let file = tensors(&export(&arcface, Target::IpAdapterFaceId, None).unwrap());
        let unit = file.tensors["faceid_embeds"].to_f32().unwrap();
        assert!((norm(&unit) - 1.0).abs() < 1e-5);
        assert_eq!(file.tensors["faceid_embeds"].shape, [1, 512]);

        let antelope = payload("antelopev2-GLINTR100", 512);
        let file = tensors(&export(&antelope, Target::InstantId, None).unwrap());
        let raw = file.tensors["image_embeds"].to_f32().unwrap();
        assert_eq!(raw, antelope.identity.faces[0].vector, "not normalised");
        let points = file.tensors["face_kps"].to_f32().unwrap();
        assert_eq!(points[..4], [256.0, 192.0, 384.0, 192.0], "the picture's left eye comes first");
        assert_eq!(file.metadata["canvas"], "[640,480]");

        let mut pictured = arcface.clone();
        pictured.identity.faces[0].crop = Some(vec![9; CROP_SIDE * CROP_SIDE * 3]);
        let file = tensors(&export(&pictured, Target::PhotoMaker, None).unwrap());
        assert_eq!(file.tensors["id_images"].shape, [1, 512, 512, 3]);
        assert!(export(&payload("dlib", 128), Target::Raw, None).is_ok());
    }

    #[test]
    fn what_would_give_another_face_is_refused_by_name() {
        let dlib = payload("dlib-face-v1", 128);
        for target in [Target::IpAdapterFaceId, Target::InstantId, Target::PhotoMaker] {
            let error = export(&dlib, target, Some([7; 32])).unwrap_err();
            assert!(matches!(&error, Error::Dimension { wanted: 512, found: 128, .. }));
            let text = error.to_string();
            assert!(text.contains(target.name()) && text.contains("dlib-face-v1"), "{text}");
        }
        // buffalo_l's vectors are as long as antelopev2's, and mean something else.
        let arcface = payload("w600k_r50", 512);
        let error = export(&arcface, Target::InstantId, None).unwrap_err();
        assert!(matches!(&error, Error::Model { wanted: "glintr100", .. }), "{error}");
        assert!(export(&arcface, Target::InstantId, Some([7; 32])).is_ok());
        assert!(export(&arcface, Target::InstantId, Some([8; 32])).is_err());

        let picture = export(&arcface, Target::PhotoMaker, None);
        assert_eq!(picture, Err(Error::NoPicture("photomaker")));
        let mut unframed = payload("glintr100", 512);
        unframed.identity.faces[0].frame = None;
        assert_eq!(export(&unframed, Target::InstantId, None), Err(Error::NoFrame));
        unframed.identity.faces[0].pose = PoseBin::Left;
        assert_eq!(export(&unframed, Target::InstantId, None), Err(Error::NoFrontal));
    }

    #[test]
    fn names_are_read_back() {
        for target in Target::ALL {
            assert_eq!(target.name().parse(), Ok(target));
        }
        assert_eq!("pulid".parse::<Target>(), Err(UnknownTarget));
    }
}
