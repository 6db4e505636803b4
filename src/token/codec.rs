//! The claims set as CBOR: see `docs/token.cddl`.
//!
//! Claim keys below -65536 are for private use (RFC 8392 §9.1). Vectors are little-endian float32
//! typed arrays (RFC 8746, tag 85), the layout in which generators load them.

use super::claims::{
    Claims, FaceEmbedding, Identity, Model, Payload, TokenId, VoiceEmbedding, invalid,
};
use super::{Error, MAX_LEN, VERSION};
use crate::crypto::cbor::{self, Fields, Value};
use crate::domain::template::{Metric, PoseBin};

// Registered claims (RFC 8392 §4).
const ISS: i64 = 1;
const SUB: i64 = 2;
const AUD: i64 = 3;
const EXP: i64 = 4;
const NBF: i64 = 5;
const IAT: i64 = 6;
const CTI: i64 = 7;
// Private claims.
const VER: i64 = -65_537;
const CONSENT_VERSION: i64 = -65_538;
const USE_ID: i64 = -65_539;
const PURPOSE: i64 = -65_540;
const REQUESTER: i64 = -65_541;
const RESTRICTIONS: i64 = -65_542;
const PAYLOAD: i64 = -65_543;

const KIND_IDENTITY: u64 = 1;
const FLOAT32_LE: u64 = 85;

pub(super) fn encode(claims: &Claims) -> Vec<u8> {
    let Payload::Identity(identity) = &claims.payload;
    let restrictions = claims.restrictions.iter().map(|r| text(r)).collect();
    cbor::encode(&map(vec![
        (ISS, text(&claims.issuer)),
        (SUB, text(&claims.subject)),
        (AUD, text(&claims.audience)),
        (EXP, Value::from(claims.expires_at)),
        (NBF, Value::from(claims.not_before)),
        (IAT, Value::from(claims.issued_at)),
        (CTI, Value::Bytes(claims.token_id.0.to_vec())),
        (VER, Value::from(VERSION)),
        (CONSENT_VERSION, Value::from(claims.consent_version)),
        (USE_ID, text(&claims.use_id)),
        (PURPOSE, text(&claims.purpose)),
        (REQUESTER, text(&claims.requester)),
        (RESTRICTIONS, Value::Array(restrictions)),
        (PAYLOAD, Value::Array(vec![Value::from(KIND_IDENTITY), encode_identity(identity)])),
    ]))
}

/// Reads the claims set. Claims that it does not know are passed over (RFC 8392 §3); what a
/// verifier must understand gets a new version or payload kind instead.
pub(super) fn decode(bytes: &[u8]) -> Result<Claims, Error> {
    let value = cbor::decode(bytes, MAX_LEN)?;
    let mut f = Reader::of(value, "claims")?;
    let version = f.uint(VER, "ver")?;
    if version != VERSION {
        return Err(Error::UnknownVersion(version));
    }
    Ok(Claims {
        issuer: f.text(ISS, "iss")?,
        subject: f.text(SUB, "sub")?,
        audience: f.text(AUD, "aud")?,
        expires_at: f.time(EXP, "exp")?,
        not_before: f.time(NBF, "nbf")?,
        issued_at: f.time(IAT, "iat")?,
        token_id: f.bytes(CTI, "cti").map(TokenId)?,
        consent_version: f.uint(CONSENT_VERSION, "consent_version")?,
        use_id: f.text(USE_ID, "use_id")?,
        purpose: f.text(PURPOSE, "purpose")?,
        requester: f.text(REQUESTER, "requester")?,
        restrictions: f
            .array(RESTRICTIONS, "restrictions")?
            .into_iter()
            .map(|v| v.into_text().map_err(|_| invalid("restrictions", "expected texts")))
            .collect::<Result<_, _>>()?,
        payload: decode_payload(f.array(PAYLOAD, "payload")?)?,
    })
}

fn encode_identity(identity: &Identity) -> Value {
    let faces = identity.faces.iter().map(encode_face).collect();
    let mut fields = vec![(1, encode_model(&identity.model)), (2, Value::Array(faces))];
    if let Some(voice) = &identity.voice {
        fields.push((3, encode_voice(voice)));
    }
    map(fields)
}

fn decode_payload(parts: Vec<Value>) -> Result<Payload, Error> {
    let [kind, body] =
        <[Value; 2]>::try_from(parts).map_err(|_| invalid("payload", "expected kind and body"))?;
    match cbor::uint(&kind).ok_or(invalid("payload", "its kind is not a number"))? {
        KIND_IDENTITY => decode_identity(body).map(Payload::Identity),
        other => Err(Error::UnknownPayload(other)),
    }
}

fn decode_identity(body: Value) -> Result<Identity, Error> {
    let mut f = Reader::of(body, "payload")?;
    let model = decode_model(f.take(1, "model")?)?;
    let faces = f.array(2, "embeddings")?;
    if faces.len() > PoseBin::ALL.len() {
        return Err(invalid("embeddings", "there are more than poses"));
    }
    let faces = faces.into_iter().map(decode_face).collect::<Result<_, _>>()?;
    let voice = f.0.take(3).map(decode_voice).transpose()?;
    Ok(Identity { model, faces, voice })
}

fn encode_model(model: &Model) -> Value {
    map(vec![
        (1, text(&model.name)),
        (2, Value::Bytes(model.sha256.to_vec())),
        (3, Value::from(model.dim)),
        (4, text(model.metric.name())),
    ])
}

fn decode_model(value: Value) -> Result<Model, Error> {
    let mut f = Reader::of(value, "model")?;
    let metric = f.text(4, "metric")?;
    Ok(Model {
        name: f.text(1, "model")?,
        sha256: f.bytes(2, "model")?,
        dim: f.small(3, "dim")?,
        metric: [Metric::Euclidean, Metric::Cosine]
            .into_iter()
            .find(|m| m.name() == metric)
            .ok_or(invalid("metric", "expected euclidean or cosine"))?,
    })
}

fn encode_face(face: &FaceEmbedding) -> Value {
    let mut fields = vec![
        (1, text(face.pose.name())),
        (2, floats(&face.vector)),
        (3, Value::Float(face.norm.into())),
        (4, Value::from(face.quality)),
        (5, floats(face.keypoints.as_flattened())),
    ];
    if let Some([width, height]) = face.frame {
        fields.push((6, Value::Array(vec![Value::from(width), Value::from(height)])));
    }
    map(fields)
}

fn decode_face(value: Value) -> Result<FaceEmbedding, Error> {
    let mut f = Reader::of(value, "embeddings")?;
    let pose = f.text(1, "pose")?;
    let points = f.floats(5, "keypoints")?;
    let mut keypoints = [[0.0; 2]; 5];
    if points.len() != 10 {
        return Err(invalid("keypoints", "expected five points"));
    }
    keypoints.as_flattened_mut().copy_from_slice(&points);
    let frame = match f.0.take(6) {
        None => None,
        Some(v) => match v.as_array().map(Vec::as_slice) {
            Some([w, h]) => Some([small(w, "frame")?, small(h, "frame")?]),
            _ => return Err(invalid("frame", "expected width and height")),
        },
    };
    Ok(FaceEmbedding {
        pose: PoseBin::ALL
            .into_iter()
            .find(|p| p.name() == pose)
            .ok_or(invalid("pose", "it is not a known pose"))?,
        vector: f.floats(2, "vector")?,
        norm: f.float(3, "norm")?,
        quality: u8::try_from(f.uint(4, "quality")?)
            .map_err(|_| invalid("quality", "it is above 100"))?,
        keypoints,
        frame,
    })
}

fn encode_voice(voice: &VoiceEmbedding) -> Value {
    map(vec![
        (1, encode_model(&voice.model)),
        (2, floats(&voice.vector)),
        (3, Value::Float(voice.norm.into())),
        (4, Value::from(voice.speech_ms)),
    ])
}

fn decode_voice(value: Value) -> Result<VoiceEmbedding, Error> {
    let mut f = Reader::of(value, "voice")?;
    Ok(VoiceEmbedding {
        model: decode_model(f.take(1, "model")?)?,
        vector: f.floats(2, "vector")?,
        norm: f.float(3, "norm")?,
        speech_ms: f.uint(4, "speech_ms")?,
    })
}

/// Takes typed fields out of a map, naming the claim where one is missing or wrong.
struct Reader(Fields);

impl Reader {
    fn of(value: Value, claim: &'static str) -> Result<Self, Error> {
        Fields::of(value).map(Self).ok_or(invalid(claim, "expected a map"))
    }

    fn take(&mut self, key: i64, claim: &'static str) -> Result<Value, Error> {
        self.0.take(key).ok_or(Error::MissingClaim(claim))
    }

    fn text(&mut self, key: i64, claim: &'static str) -> Result<String, Error> {
        self.take(key, claim)?.into_text().map_err(|_| invalid(claim, "expected text"))
    }

    fn uint(&mut self, key: i64, claim: &'static str) -> Result<u64, Error> {
        cbor::uint(&self.take(key, claim)?).ok_or(invalid(claim, "expected an unsigned number"))
    }

    fn small(&mut self, key: i64, claim: &'static str) -> Result<u32, Error> {
        small(&self.take(key, claim)?, claim)
    }

    fn time(&mut self, key: i64, claim: &'static str) -> Result<i64, Error> {
        cbor::int(&self.take(key, claim)?).ok_or(invalid(claim, "expected whole seconds"))
    }

    fn array(&mut self, key: i64, claim: &'static str) -> Result<Vec<Value>, Error> {
        self.take(key, claim)?.into_array().map_err(|_| invalid(claim, "expected an array"))
    }

    fn bytes<const N: usize>(&mut self, key: i64, claim: &'static str) -> Result<[u8; N], Error> {
        cbor::byte_array(&self.take(key, claim)?)
            .ok_or(invalid(claim, "expected a byte string of its fixed length"))
    }

    fn float(&mut self, key: i64, claim: &'static str) -> Result<f32, Error> {
        let wide = self.take(key, claim)?.as_float();
        wide.filter(|f| f64::from(*f as f32).to_bits() == f.to_bits())
            .map(|f| f as f32)
            .ok_or(invalid(claim, "expected a float of single precision"))
    }

    fn floats(&mut self, key: i64, claim: &'static str) -> Result<Vec<f32>, Error> {
        let value = self.take(key, claim)?;
        let bytes = match &value {
            Value::Tag(FLOAT32_LE, inner) => inner.as_bytes(),
            _ => None,
        };
        let (chunks, rest) = bytes
            .map(|b| b.as_chunks::<4>())
            .ok_or(invalid(claim, "expected a float32 typed array (tag 85)"))?;
        if !rest.is_empty() {
            return Err(invalid(claim, "its length is not a multiple of four bytes"));
        }
        Ok(chunks.iter().map(|c| f32::from_le_bytes(*c)).collect())
    }
}

fn small(value: &Value, claim: &'static str) -> Result<u32, Error> {
    cbor::uint(value)
        .and_then(|n| u32::try_from(n).ok())
        .ok_or(invalid(claim, "expected an unsigned number of at most 32 bits"))
}

fn map(fields: Vec<(i64, Value)>) -> Value {
    Value::Map(fields.into_iter().map(|(k, v)| (Value::from(k), v)).collect())
}

fn text(s: &str) -> Value {
    Value::Text(s.to_owned())
}

fn floats(values: &[f32]) -> Value {
    let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    Value::Tag(FLOAT32_LE, Box::new(Value::Bytes(bytes)))
}
