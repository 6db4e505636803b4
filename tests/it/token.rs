//! The conditioning token against its golden vectors, in Rust and in the Python example.
//!
//! `UPDATE_VECTORS=1 cargo test --test it token` writes `tests/vectors/token.json` anew.

use std::path::{Path, PathBuf};
use std::process::Command;

use cameo::crypto::cbor::{self, Value};
use cameo::crypto::cose::{self, Profile};
use cameo::crypto::{KeySet, SigningKey};
use cameo::domain::template::{Metric, PoseBin, norm};
use cameo::env::{Millis, SeededEntropy};
use cameo::token::{
    self, Claims, Expectations, FaceEmbedding, Identity, Model, Payload, TokenId, VoiceEmbedding,
};
use coset::iana;
use coset::{CoseSign1Builder, HeaderBuilder, TaggedCborSerializable as _};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

const ISSUER: &str = "https://cameo.example";
const AUDIENCE: &str = "gen_example";
const NOW: i64 = 1_800_000_000;
const TYP: i64 = 16;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Vectors {
    about: String,
    /// The Ed25519 seed of the signing key, in hex.
    seed: String,
    cose_key_set: String,
    jwks: serde_json::Value,
    cases: Vec<Case>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Case {
    name: String,
    /// `ok` or the code of the error.
    outcome: String,
    issuer: String,
    audience: String,
    now: i64,
    token: String,
}

#[test]
fn the_vectors_are_current() {
    let built = vectors();
    let path = vectors_path();
    if std::env::var_os("UPDATE_VECTORS").is_some() {
        std::fs::write(&path, serde_json::to_string_pretty(&built).unwrap() + "\n").unwrap();
    }
    assert!(read(&path) == built, "tests/vectors/token.json is not what the code makes");
}

#[test]
fn each_vector_has_its_outcome() {
    let vectors = read(&vectors_path());
    let from_cose = KeySet::from_cose(&hex::decode(&vectors.cose_key_set).unwrap()).unwrap();
    let from_jwks = KeySet::from_jwks(vectors.jwks.to_string().as_bytes()).unwrap();
    assert_eq!(from_cose, from_jwks);
    for case in &vectors.cases {
        let expect = Expectations::new(&case.issuer, &case.audience, Millis(case.now * 1000));
        let token = hex::decode(&case.token).unwrap();
        let outcome = match token::verify(&token, &from_cose, &expect) {
            Ok(verified) => {
                if case.name.starts_with("good") {
                    let again = token::issue(&key(), &verified.claims).unwrap();
                    assert_eq!(again, token, "{}: issuing is deterministic", case.name);
                }
                "ok"
            }
            Err(e) => e.code(),
        };
        assert_eq!(outcome, case.outcome, "{}", case.name);
    }
}

/// The example that generators start from agrees on every vector.
#[test]
fn the_python_example_agrees() {
    let python = std::env::var("CAMEO_PYTHON").unwrap_or_else(|_| "python3".into());
    let ready = Command::new(&python).args(["-c", "import cbor2, cryptography"]).output();
    if !ready.is_ok_and(|o| o.status.success()) {
        println!(
            "SKIPPED: {python} lacks cbor2 or cryptography (examples/generator/requirements.txt); set CAMEO_PYTHON"
        );
        return;
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = Command::new(&python)
        .arg(root.join("examples/generator/verify_token.py"))
        .arg("--vectors")
        .arg(vectors_path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn claims_out_of_bounds_are_not_issued() {
    let refused = |change: &dyn Fn(&mut Claims)| {
        let mut claims = claims();
        change(&mut claims);
        let error = token::issue(&key(), &claims).unwrap_err();
        assert_eq!(error.code(), "invalid_claim");
    };
    refused(&|c| c.requester.clear());
    refused(&|c| c.purpose = "a\nb".into());
    refused(&|c| c.use_id = "x".repeat(257));
    refused(&|c| c.expires_at = c.not_before);
    refused(&|c| c.expires_at = c.issued_at + 86_401);
    refused(&|c| c.expires_at = i64::MAX);
    refused(&|c| c.not_before = c.issued_at - 1);
    refused(&|c| c.restrictions = vec!["no".into(); 33]);
    refused(&|c| identity(c).faces.clear());
    refused(&|c| identity(c).faces[0].vector[0] = f32::NAN);
    refused(&|c| identity(c).faces[0].norm *= 1.01);
    refused(&|c| identity(c).faces[0].quality = 101);
    refused(&|c| identity(c).faces[1].pose = PoseBin::Frontal);
    refused(&|c| identity(c).faces[0].keypoints[2][1] = 9.0);
    refused(&|c| identity(c).model.dim = 9);
}

#[test]
fn debug_shows_no_biometrics() {
    let text = format!("{:?}", claims());
    assert!(text.contains("redacted") && !text.contains("0.25"), "{text}");
}

fn good() -> &'static [u8] {
    static GOOD: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
    GOOD.get_or_init(|| token::issue(&key(), &claims()).unwrap())
}

fn verify(bytes: &[u8]) -> Result<token::Verified, token::Error> {
    let keys = [key().verifying_key()].into_iter().collect();
    token::verify(bytes, &keys, &Expectations::new(ISSUER, AUDIENCE, Millis(NOW * 1000)))
}

#[test]
fn every_bit_counts() {
    assert!(verify(good()).is_ok());
    let mut bytes = good().to_vec();
    for at in 0..bytes.len() {
        for bit in 0..8 {
            bytes[at] ^= 1 << bit;
            assert!(verify(&bytes).is_err(), "byte {at} bit {bit}");
            bytes[at] ^= 1 << bit;
        }
        assert!(verify(&bytes[..at]).is_err(), "cut at {at}");
    }
}

proptest! {
    #[test]
    fn random_bytes_never_panic_nor_verify(
        mut bytes in proptest::collection::vec(any::<u8>(), 0..300),
        framed in any::<bool>(),
    ) {
        if framed && bytes.len() > 2 {
            bytes[..2].copy_from_slice(&[0xd2, 0x84]);
        }
        prop_assert!(verify(&bytes).is_err());
    }

    /// A claims set of any shape, properly signed, gives an answer and never a panic.
    #[test]
    fn signed_nonsense_never_panics(at in any::<prop::sample::Index>(), byte in any::<u8>(), insert in any::<bool>()) {
        let mut payload = payload();
        let at = at.index(payload.len());
        if insert { payload.insert(at, byte) } else { payload[at] = byte }
        let token = cose::sign(&key(), &PROFILE, payload).unwrap();
        let _ = verify(&token);
    }
}

const PROFILE: Profile<'_> =
    Profile { typ: token::TYPE, content_type: None, external_aad: b"", max_len: token::MAX_LEN };

fn key() -> SigningKey {
    SigningKey::from_seed(&[42; 32]).unwrap()
}

fn face(pose: PoseBin, seed: f32) -> FaceEmbedding {
    let vector: Vec<f32> = (0..8u8).map(|i| seed - 0.25 * f32::from(i)).collect();
    FaceEmbedding {
        pose,
        norm: norm(&vector),
        vector,
        quality: 87,
        keypoints: [[0.4, 0.4], [0.6, 0.4], [0.5, 0.5], [0.42, 0.6], [0.58, 0.6]],
        frame: Some([640, 480]),
    }
}

fn model(name: &str, dim: u32, metric: Metric) -> Model {
    let sha256 = cameo::crypto::hash::sha256(name.as_bytes());
    Model { name: name.into(), sha256, dim, metric }
}

fn claims() -> Claims {
    Claims {
        issuer: ISSUER.into(),
        subject: "cam_01JD0000000000000000000000".into(),
        audience: AUDIENCE.into(),
        issued_at: NOW,
        not_before: NOW,
        expires_at: NOW + 300,
        token_id: TokenId::generate(&SeededEntropy::new(1)),
        consent_version: 3,
        use_id: "use_01JD0000000000000000000000".into(),
        purpose: "social".into(),
        requester: "user-7".into(),
        restrictions: vec!["no alcohol".into()],
        payload: Payload::Identity(Identity {
            model: model("example-face", 8, Metric::Euclidean),
            faces: vec![face(PoseBin::Frontal, 1.0), face(PoseBin::Left, 0.5)],
            voice: Some(VoiceEmbedding {
                model: model("example-voice", 2, Metric::Cosine),
                vector: vec![3.0, 4.0],
                norm: 5.0,
                speech_ms: 4200,
            }),
        }),
    }
}

fn identity(claims: &mut Claims) -> &mut Identity {
    match &mut claims.payload {
        Payload::Identity(identity) => identity,
        _ => unreachable!(),
    }
}

/// The claims set of the good token, as CBOR.
fn payload() -> Vec<u8> {
    let message = cbor::decode(good(), token::MAX_LEN).unwrap();
    match &message.as_tag().unwrap().1.as_array().unwrap()[2] {
        Value::Bytes(payload) => payload.clone(),
        _ => unreachable!(),
    }
}

fn header() -> HeaderBuilder {
    HeaderBuilder::new()
        .algorithm(iana::Algorithm::EdDSA)
        .key_id(key().id().0.to_vec())
        .value(TYP, Value::Text(token::TYPE.into()))
}

/// A properly signed message with headers of the test's choice.
fn custom(protected: HeaderBuilder, unprotected: HeaderBuilder) -> Vec<u8> {
    CoseSign1Builder::new()
        .protected(protected.build())
        .unprotected(unprotected.build())
        .payload(payload())
        .create_signature(b"", |m| key().sign(m).to_vec())
        .build()
        .to_tagged_vec()
        .unwrap()
}

/// A properly signed token whose claims set was changed.
fn with_claims(change: impl FnOnce(&mut Vec<(Value, Value)>)) -> Vec<u8> {
    let mut map = cbor::decode(&payload(), token::MAX_LEN).unwrap();
    change(map.as_map_mut().unwrap());
    cose::sign(&key(), &PROFILE, cbor::encode(&map)).unwrap()
}

fn entry(map: &mut [(Value, Value)], key: i64) -> &mut Value {
    &mut map.iter_mut().find(|(k, _)| *k == Value::from(key)).unwrap().1
}

/// The first face in the payload.
fn first_face(map: &mut [(Value, Value)]) -> &mut [(Value, Value)] {
    let identity = &mut entry(map, -65_543).as_array_mut().unwrap()[1];
    let faces = entry(identity.as_map_mut().unwrap(), 2).as_array_mut().unwrap();
    faces[0].as_map_mut().unwrap()
}

/// Who expects the token, and when.
type At<'a> = ([&'a str; 2], i64);

/// Takes a case: its name, its outcome, and the token.
type Add<'a> = dyn FnMut(&str, &str, At<'_>, &[u8]) + 'a;

const US: At<'_> = ([ISSUER, AUDIENCE], NOW);

fn vectors() -> Vectors {
    let keys: KeySet = [key().verifying_key()].into_iter().collect();
    let mut cases = Vec::new();
    let mut add = |name: &str, outcome: &str, (who, now): At<'_>, token: &[u8]| {
        cases.push(Case {
            name: name.into(),
            outcome: outcome.into(),
            issuer: who[0].into(),
            audience: who[1].into(),
            now,
            token: hex::encode(token),
        });
    };
    expectations(&mut add);
    signatures_and_headers(&mut add);
    encodings(&mut add);
    claims_sets(&mut add);
    Vectors {
        about: "Conditioning tokens and what a verifier must say of each; see docs/token.md".into(),
        seed: hex::encode([42; 32]),
        cose_key_set: hex::encode(keys.to_cose()),
        jwks: serde_json::to_value(keys.to_jwks()).unwrap(),
        cases,
    }
}

fn expectations(add: &mut Add<'_>) {
    add("good", "ok", US, good());
    let mut small = claims();
    identity(&mut small).voice = None;
    identity(&mut small).faces.truncate(1);
    identity(&mut small).faces[0].frame = None;
    small.restrictions.clear();
    add("good_smallest", "ok", US, &token::issue(&key(), &small).unwrap());
    add("good_last_second", "ok", (US.0, NOW + 329), good());
    add("good_leeway_before", "ok", (US.0, NOW - 30), good());
    add("expired", "expired", (US.0, NOW + 330), good());
    let mut later = claims();
    later.not_before = NOW + 100;
    add("not_yet_valid", "not_yet_valid", US, &token::issue(&key(), &later).unwrap());
    add("issued_in_future", "issued_in_future", (US.0, NOW - 31), good());
    add("wrong_issuer", "wrong_issuer", (["https://other.example", AUDIENCE], NOW), good());
    add("wrong_audience", "wrong_audience", ([ISSUER, "gen_other"], NOW), good());
}

fn signatures_and_headers(add: &mut Add<'_>) {
    let none = HeaderBuilder::new;
    let mut bytes = good().to_vec();
    *bytes.last_mut().unwrap() ^= 1;
    add("altered_signature", "bad_signature", US, &bytes);
    let mut bytes = good().to_vec();
    let user = bytes.windows(6).position(|w| w == b"user-7").unwrap();
    bytes[user + 5] = b'8';
    add("altered_requester", "bad_signature", US, &bytes);
    let stranger = SigningKey::from_seed(&[43; 32]).unwrap();
    add("unknown_key", "unknown_key", US, &token::issue(&stranger, &claims()).unwrap());
    let other_aad = Profile { external_aad: b"x", ..PROFILE };
    let bytes = cose::sign(&key(), &other_aad, payload()).unwrap();
    add("external_aad", "bad_signature", US, &bytes);
    let other_type = Profile { typ: "application/cwt", ..PROFILE };
    let bytes = cose::sign(&key(), &other_type, payload()).unwrap();
    add("wrong_type", "wrong_type", US, &bytes);
    let bytes = custom(header().algorithm(iana::Algorithm::ES256), none());
    add("wrong_algorithm", "wrong_algorithm", US, &bytes);
    let no_alg = || {
        HeaderBuilder::new()
            .key_id(key().id().0.to_vec())
            .value(TYP, Value::Text(token::TYPE.into()))
    };
    add("no_algorithm", "wrong_algorithm", US, &custom(no_alg(), none()));
    let bytes = custom(no_alg(), none().algorithm(iana::Algorithm::EdDSA));
    add("unprotected_algorithm", "unprotected_header", US, &bytes);
    let bytes = custom(header(), none().key_id(key().id().0.to_vec()));
    add("unprotected_kid", "unprotected_header", US, &bytes);
    let bytes = custom(header().add_critical(iana::HeaderParameter::Alg), none());
    add("critical", "unknown_critical", US, &bytes);
    let bytes = custom(header().key_id(vec![1, 2, 3]), none());
    add("short_kid", "no_key_id", US, &bytes);
}

fn encodings(add: &mut Add<'_>) {
    add("empty", "malformed", US, b"");
    add("cut", "malformed", US, &good()[..good().len() - 1]);
    add("untagged", "malformed", US, &good()[1..]);
    add("trailing_byte", "trailing_bytes", US, &[good(), &[0]].concat());
    let long_head = [&[0xd8, 18], &good()[1..]].concat();
    add("long_tag", "not_deterministic", US, &long_head);
    let mut doubled = vec![0xb0]; // a claims set with iss twice: two entries more than its own 14
    doubled.extend_from_slice(&[0x01, 0x61, b'a', 0x01, 0x61, b'a']);
    doubled.extend_from_slice(&payload()[1..]);
    let bytes = cose::sign(&key(), &PROFILE, doubled).unwrap();
    add("claim_twice", "duplicate_key", US, &bytes);
}

fn claims_sets(add: &mut Add<'_>) {
    let bytes = with_claims(|m| m.push((Value::from(-70_000), Value::from(1))));
    add("unknown_claim", "ok", US, &bytes);
    let bytes = with_claims(|m| *entry(m, -65_537) = Value::from(2));
    add("version_2", "unknown_version", US, &bytes);
    let bytes = with_claims(|m| {
        *entry(m, -65_543) = Value::Array(vec![Value::from(2), Value::Bytes(vec![0; 8])]);
    });
    add("sealed_payload", "unknown_payload", US, &bytes);
    let bytes = with_claims(|m| m.retain(|(k, _)| *k != Value::from(4)));
    add("no_exp", "missing_claim", US, &bytes);
    let bytes = with_claims(|m| *entry(m, 4) = Value::Text("tomorrow".into()));
    add("exp_of_wrong_type", "invalid_claim", US, &bytes);
    let bytes = with_claims(|m| *entry(m, 4) = Value::from(NOW + 100_000));
    add("too_long_lived", "invalid_claim", US, &bytes);
    let bytes = with_claims(|m| *entry(first_face(m), 3) = Value::Float(1.0));
    add("false_norm", "invalid_claim", US, &bytes);
    let bytes = with_claims(|m| {
        *entry(first_face(m), 2) = Value::Tag(85, Box::new(Value::Bytes(vec![0, 0, 128, 63])));
        *entry(first_face(m), 3) = Value::Float(1.0);
    });
    add("wrong_dimension", "invalid_claim", US, &bytes);
    let bytes = with_claims(|m| {
        let nan = [f32::NAN.to_le_bytes(); 8].concat();
        *entry(first_face(m), 2) = Value::Tag(85, Box::new(Value::Bytes(nan)));
    });
    add("not_finite", "invalid_claim", US, &bytes);
    let bytes = with_claims(|m| *entry(first_face(m), 1) = Value::Text("left".into()));
    add("pose_twice", "invalid_claim", US, &bytes);
}

fn vectors_path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/token.json")
}

fn read(path: &Path) -> Vectors {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}
