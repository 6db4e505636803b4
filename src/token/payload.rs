//! What is sealed in a token: the identity as safetensors, with everything else in its header.
//!
//! | tensor | type and shape | |
//! | --- | --- | --- |
//! | `face.<pose>.vector` | F32 `[dim]` | the raw embedding |
//! | `face.<pose>.keypoints` | F32 `[5, 2]` | fractions of the frame |
//! | `face.<pose>.crop` | U8 `[512, 512, 3]` | the aligned face, where pictures are allowed |
//! | `voice.vector` | F32 `[dim]` | where the voice is allowed |
//! | `conditioning.<name>` | any | ready-made conditioning tokens |
//!
//! The header names the recipient, the use and the token, so that a payload that leaks names who
//! leaked it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::claims::{check_restrictions, check_text, invalid};
use super::identity::{CROP_SIDE, FaceEmbedding, Identity, Model, VoiceEmbedding};
use super::safetensors::{Container, Dtype, Tensor};
use super::{Claims, Error};
use crate::domain::template::{Metric, PoseBin};

/// The identity, and what goes with it.
#[derive(Debug, Clone, PartialEq)]
pub struct Payload {
    /// Face vectors, and the voice where it is allowed.
    pub identity: Identity,
    /// Conditioning tokens that are ready for one generator's network, by name: `a-z 0-9 _ -`.
    pub conditioning: BTreeMap<String, Tensor>,
}

impl From<Identity> for Payload {
    fn from(identity: Identity) -> Self {
        Self { identity, conditioning: BTreeMap::new() }
    }
}

/// A model in the header.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ModelText {
    dim: u32,
    metric: Metric,
    name: String,
    sha256: String,
}

/// A face in the header.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FaceText {
    #[serde(skip_serializing_if = "Option::is_none")]
    frame: Option<[u32; 2]>,
    norm: f32,
    pose: PoseBin,
    quality: u8,
}

/// The voice in the header.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct VoiceText {
    model: ModelText,
    norm: f32,
    speech_ms: u64,
}

impl Payload {
    /// The payload of the token that says `claims`.
    pub(super) fn encode(&self, claims: &Claims) -> Result<Zeroizing<Vec<u8>>, Error> {
        self.validate()?;
        let mut c = Container::default();
        let mut faces = Vec::new();
        for face in &self.identity.faces {
            let name = |part| format!("face.{}.{part}", face.pose.name());
            let vector = Tensor::f32(vec![face.vector.len()], &face.vector);
            c.tensors.insert(name("vector"), vector);
            let keypoints = Tensor::f32(vec![5, 2], face.keypoints.as_flattened());
            c.tensors.insert(name("keypoints"), keypoints);
            if let Some(crop) = &face.crop {
                let shape = vec![CROP_SIDE, CROP_SIDE, 3];
                let crop = Tensor { dtype: Dtype::U8, shape, data: crop.clone() };
                c.tensors.insert(name("crop"), crop);
            }
            faces.push(FaceText {
                frame: face.frame,
                norm: face.norm,
                pose: face.pose,
                quality: face.quality,
            });
        }
        let voice = self.identity.voice.as_ref().map(|voice| {
            let vector = Tensor::f32(vec![voice.vector.len()], &voice.vector);
            c.tensors.insert("voice.vector".into(), vector);
            let model = model_text(&voice.model);
            VoiceText { model, norm: voice.norm, speech_ms: voice.speech_ms }
        });
        for (name, tensor) in &self.conditioning {
            c.tensors.insert(format!("conditioning.{name}"), tensor.clone());
        }
        let mut texts = binding(claims);
        texts.extend([
            ("face_model", json(&model_text(&self.identity.model))?),
            ("faces", json(&faces)?),
            ("restrictions", json(&claims.restrictions)?),
        ]);
        if let Some(voice) = &voice {
            texts.push(("voice", json(voice)?));
        }
        c.metadata = texts.into_iter().map(|(k, v)| (k.to_owned(), v)).collect();
        Ok(c.encode()?)
    }

    /// Reads what [`encode`](Self::encode) made for the token that says `claims`. Texts and tensors
    /// that it does not know are passed over.
    pub(super) fn decode(bytes: &[u8], claims: &Claims) -> Result<Self, Error> {
        let mut c = Container::decode(bytes)?;
        for (name, ours) in binding(claims) {
            if c.metadata.get(name) != Some(&ours) {
                return Err(invalid("payload", "its header names another token than its envelope"));
            }
        }
        let restrictions: Vec<String> = parse(&c, "restrictions")?;
        if restrictions != claims.restrictions {
            return Err(invalid("restrictions", "the payload has others than the claims"));
        }
        check_restrictions(&restrictions)?;
        let model = model_of(parse(&c, "face_model")?)?;
        let texts: Vec<FaceText> = parse(&c, "faces")?;
        if texts.len() > PoseBin::ALL.len() {
            return Err(invalid("faces", "there are more than poses"));
        }
        let faces =
            texts.into_iter().map(|text| take_face(&mut c, &text)).collect::<Result<_, _>>()?;
        let voice = if c.metadata.contains_key("voice") {
            let text: VoiceText = parse(&c, "voice")?;
            Some(VoiceEmbedding {
                model: model_of(text.model)?,
                vector: floats(&mut c, "voice.vector", None)?,
                norm: text.norm,
                speech_ms: text.speech_ms,
            })
        } else {
            None
        };
        let tensors = std::mem::take(&mut c.tensors).into_iter();
        let conditioning = tensors
            .filter_map(|(name, t)| Some((name.strip_prefix("conditioning.")?.to_owned(), t)))
            .collect();
        let payload = Self { identity: Identity { model, faces, voice }, conditioning };
        payload.validate()?;
        Ok(payload)
    }

    fn validate(&self) -> Result<(), Error> {
        for name in self.conditioning.keys() {
            check_text("conditioning", name, 64)?;
            let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-".contains(&b);
            if !name.bytes().all(plain) {
                return Err(invalid(
                    "conditioning",
                    "a name has other characters than a-z 0-9 _ -",
                ));
            }
        }
        self.identity.validate()
    }
}

/// What ties the payload to its token, and names whom it was made for.
fn binding(claims: &Claims) -> Vec<(&'static str, String)> {
    vec![
        ("format", "cameo-conditioning".into()),
        ("version", super::VERSION.to_string()),
        ("issuer", claims.issuer.clone()),
        ("recipient", claims.audience.clone()),
        ("subject", claims.subject.clone()),
        ("grant", claims.grant.clone()),
        ("use_id", claims.use_id.clone()),
        ("token_id", claims.token_id.to_string()),
    ]
}

fn take_face(c: &mut Container, text: &FaceText) -> Result<FaceEmbedding, Error> {
    let name = |part| format!("face.{}.{part}", text.pose.name());
    let points = floats(c, &name("keypoints"), Some(&[5, 2]))?;
    let mut keypoints = [[0.0; 2]; 5];
    for (to, from) in keypoints.as_flattened_mut().iter_mut().zip(points) {
        *to = from;
    }
    let crop = match c.tensors.remove(&name("crop")) {
        None => None,
        Some(mut t) if t.dtype == Dtype::U8 && t.shape == [CROP_SIDE, CROP_SIDE, 3] => {
            Some(std::mem::take(&mut t.data))
        }
        Some(_) => return Err(invalid("crop", "it is not U8 of 512 x 512 x 3")),
    };
    Ok(FaceEmbedding {
        pose: text.pose,
        vector: floats(c, &name("vector"), None)?,
        norm: text.norm,
        quality: text.quality,
        keypoints,
        frame: text.frame,
        crop,
    })
}

/// Takes a single-precision tensor out; a vector where no shape is given.
fn floats(c: &mut Container, name: &str, shape: Option<&[usize]>) -> Result<Vec<f32>, Error> {
    let tensor = c.tensors.remove(name).ok_or(Error::MissingClaim("a tensor of the payload"))?;
    let fits = shape.map_or(tensor.shape.len() == 1, |s| tensor.shape == s);
    let values = tensor.to_f32().filter(|_| fits);
    values.ok_or(invalid("payload", "a tensor has another type or shape than its name says"))
}

fn model_text(model: &Model) -> ModelText {
    ModelText {
        dim: model.dim,
        metric: model.metric,
        name: model.name.clone(),
        sha256: hex::encode(model.sha256),
    }
}

fn model_of(text: ModelText) -> Result<Model, Error> {
    let mut sha256 = [0; 32];
    hex::decode_to_slice(&text.sha256, &mut sha256)
        .map_err(|_| invalid("model", "its SHA-256 is not 64 hex digits"))?;
    Ok(Model { name: text.name, sha256, dim: text.dim, metric: text.metric })
}

fn json<T: Serialize>(value: &T) -> Result<String, Error> {
    serde_json::to_string(value).map_err(|_| invalid("payload", "it can't be written as JSON"))
}

fn parse<T: serde::de::DeserializeOwned>(c: &Container, name: &'static str) -> Result<T, Error> {
    let text = c.metadata.get(name).ok_or(Error::MissingClaim(name))?;
    serde_json::from_str(text).map_err(|_| invalid(name, "it is not of the form in docs/token.md"))
}
