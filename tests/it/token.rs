//! The conditioning token against its golden vectors, in Rust and in the Python example.
//!
//! `UPDATE_VECTORS=1 cargo test --test it token` writes `tests/vectors/token.json` anew.

use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL;
use cameo::crypto::cbor::{self, Value};
use cameo::crypto::cose::{self, Profile};
use cameo::crypto::hash::sha256;
use cameo::crypto::{KeySet, RecipientSecret, SigningKey, encrypt};
use cameo::domain::template::{Metric, PoseBin, norm};
use cameo::env::{Millis, SeededEntropy};
use cameo::token::safetensors::{Container, Tensor};
use cameo::token::status::{Status, StatusList, StatusRef};
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
    /// The generator's private key, as a JWK.
    recipient_jwk: serde_json::Value,
    cases: Vec<Case>,
    status_list: Listed,
}

/// A status list and what it says.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Listed {
    uri: String,
    now: i64,
    list: String,
    /// By place: `valid`, `invalid` or `suspended`, or the code of the error.
    statuses: std::collections::BTreeMap<String, String>,
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
    /// SHA-256 of the opened payload.
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_sha256: Option<String>,
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
                    let again = token::sign(&key(), &verified.claims, &verified.sealed).unwrap();
                    assert_eq!(again, token, "{}: signing is deterministic", case.name);
                    let raw = verified.open_raw(&recipient()).unwrap();
                    assert_eq!(case.payload_sha256, Some(hex::encode(sha256(&raw))));
                }
                verified.open(&recipient()).map_or_else(|e| e.code(), |_| "ok")
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
    let ready = Command::new(&python)
        .args(["-c", "import cbor2, cryptography, pyhpke, safetensors"])
        .output();
    if !ready.is_ok_and(|o| o.status.success()) {
        println!(
            "SKIPPED: {python} lacks cbor2, cryptography, pyhpke or safetensors (examples/generator/requirements.txt); set CAMEO_PYTHON"
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
fn claims_and_payloads_out_of_bounds_are_not_issued() {
    let refused = |change: &dyn Fn(&mut Claims, &mut Identity)| {
        let (mut claims, mut payload) = (claims(), payload());
        change(&mut claims, &mut payload.identity);
        let error = issue(&claims, &payload).unwrap_err();
        assert_eq!(error.code(), "invalid_claim");
    };
    refused(&|c, _| c.requester.clear());
    refused(&|c, _| c.purpose = "a\nb".into());
    refused(&|c, _| c.use_id = "x".repeat(257));
    refused(&|c, _| c.grant.clear());
    refused(&|c, _| c.status.uri.clear());
    refused(&|c, _| c.expires_at = c.not_before);
    refused(&|c, _| c.expires_at = c.issued_at + 86_401);
    refused(&|c, _| c.expires_at = i64::MAX);
    refused(&|c, _| c.not_before = c.issued_at - 1);
    refused(&|c, _| c.restrictions = vec![String::new()]);
    refused(&|c, _| c.restrictions = vec!["x".into(); 33]);
    refused(&|c, _| c.parent = Some("x\u{7}".into()));
    refused(&|_, i| i.faces.clear());
    refused(&|_, i| i.faces[0].vector.truncate(7));
    refused(&|_, i| i.faces[0].vector[0] = f32::NAN);
    refused(&|_, i| i.faces[0].norm *= 1.01);
    refused(&|_, i| i.faces[0].quality = 101);
    refused(&|_, i| i.faces[1].pose = PoseBin::Frontal);
    refused(&|_, i| i.faces[0].keypoints[2][1] = 9.0);
    refused(&|_, i| i.faces[0].crop = Some(vec![0; 5]));
    refused(&|_, i| i.model.dim = 9);
}

/// Two generators that compare what they hold find nothing in common but the face itself, and a
/// payload that leaks says whose it was.
#[test]
fn a_payload_names_its_recipient_and_nothing_links_two() {
    let other = RecipientSecret::generate(&SeededEntropy::new(77)).unwrap();
    let theirs = Claims { audience: "gen_other".into(), subject: "ps_other".into(), ..claims() };
    let e = SeededEntropy::new(78);
    let a = token::seal(&claims(), &payload(), &recipient().public(), &e).unwrap();
    let again = token::seal(&claims(), &payload(), &recipient().public(), &e).unwrap();
    let b = token::seal(&theirs, &payload(), &other.public(), &e).unwrap();
    let shared =
        |x: &[u8], y: &[u8]| x.windows(16).filter(|w| y.windows(16).any(|v| v == *w)).count();
    // The headers' constant bytes are shorter than what is compared here.
    assert_eq!(shared(&a[20..], &b[20..]), 0);
    assert_eq!(shared(&a[20..], &again[20..]), 0);
    let opened = encrypt::open(&other, &theirs.binding(), &b, token::MAX_LEN).unwrap();
    let texts = Container::decode(&opened).unwrap().metadata;
    assert_eq!((texts["recipient"].as_str(), texts["subject"].as_str()), ("gen_other", "ps_other"));
}

#[test]
fn debug_shows_no_biometrics() {
    let text = format!("{:?} {:?}", claims(), payload());
    assert!(text.contains("redacted") && !text.contains("0.25"), "{text}");
}

fn good() -> &'static [u8] {
    static GOOD: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
    GOOD.get_or_init(|| issue(&claims(), &payload()).unwrap())
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
        let mut claims = claims_bytes();
        let at = at.index(claims.len());
        if insert { claims.insert(at, byte) } else { claims[at] = byte }
        let token = cose::sign(&key(), &PROFILE, claims).unwrap();
        if let Ok(verified) = verify(&token) {
            let _ = verified.open(&recipient());
        }
    }
}

const PROFILE: Profile<'_> =
    Profile { typ: token::TYPE, content_type: None, external_aad: b"", max_len: token::MAX_LEN };

fn key() -> SigningKey {
    SigningKey::from_seed(&[42; 32]).unwrap()
}

fn recipient() -> RecipientSecret {
    RecipientSecret::from_bytes(&[24; 32]).unwrap()
}

fn issue(claims: &Claims, payload: &Payload) -> Result<Vec<u8>, token::Error> {
    token::issue(&key(), claims, payload, &recipient().public(), &SeededEntropy::new(9))
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
        crop: None,
    }
}

fn model(name: &str, dim: u32, metric: Metric) -> Model {
    let sha256 = cameo::crypto::hash::sha256(name.as_bytes());
    Model { name: name.into(), sha256, dim, metric }
}

fn claims() -> Claims {
    Claims {
        issuer: ISSUER.into(),
        subject: "ps_00112233445566778899aabbccddeeff".into(),
        audience: AUDIENCE.into(),
        issued_at: NOW,
        not_before: NOW,
        expires_at: NOW + 300,
        token_id: TokenId::generate(&SeededEntropy::new(1)),
        status: StatusRef { index: 3, uri: format!("{ISSUER}/v1/status-lists/0") },
        consent_version: 3,
        grant: "standing".into(),
        use_id: "use_01JD0000000000000000000000".into(),
        purpose: "social".into(),
        requester: "user-7".into(),
        restrictions: vec!["no alcohol".into()],
        request_digest: Some([5; 32]),
        parent: Some("use_01JD0000000000000000000001".into()),
    }
}

fn payload() -> Payload {
    Identity {
        model: model("example-face", 8, Metric::Euclidean),
        faces: vec![face(PoseBin::Frontal, 1.0), face(PoseBin::Left, 0.5)],
        voice: Some(VoiceEmbedding {
            model: model("example-voice", 2, Metric::Cosine),
            vector: vec![3.0, 4.0],
            norm: 5.0,
            speech_ms: 4200,
        }),
    }
    .into()
}

/// The claims set of the good token, as CBOR.
fn claims_bytes() -> Vec<u8> {
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
        .payload(claims_bytes())
        .create_signature(b"", |m| key().sign(m).to_vec())
        .build()
        .to_tagged_vec()
        .unwrap()
}

/// A properly signed token whose claims set was changed.
fn with_claims(change: impl FnOnce(&mut Vec<(Value, Value)>)) -> Vec<u8> {
    let mut map = cbor::decode(&claims_bytes(), token::MAX_LEN).unwrap();
    change(map.as_map_mut().unwrap());
    cose::sign(&key(), &PROFILE, cbor::encode(&map)).unwrap()
}

fn entry(map: &mut [(Value, Value)], key: i64) -> &mut Value {
    &mut map.iter_mut().find(|(k, _)| *k == Value::from(key)).unwrap().1
}

/// A properly signed token with a payload of the test's choice, properly sealed.
fn with_payload(change: impl FnOnce(&mut Container)) -> Vec<u8> {
    let opened = verify(good()).unwrap().open_raw(&recipient()).unwrap();
    let mut container = Container::decode(&opened).unwrap();
    change(&mut container);
    with_sealed(&seal(&claims(), &container.encode().unwrap()))
}

fn with_sealed(sealed: &[u8]) -> Vec<u8> {
    token::sign(&key(), &claims(), sealed).unwrap()
}

fn seal(claims: &Claims, plain: &[u8]) -> Vec<u8> {
    let e = SeededEntropy::new(11);
    encrypt::seal(&recipient().public(), &claims.binding(), plain, &e).unwrap()
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
            payload_sha256: (outcome == "ok").then(|| {
                let keys = [key().verifying_key()].into_iter().collect();
                let expect = Expectations::new(who[0], who[1], Millis(now * 1000));
                let verified = token::verify(token, &keys, &expect).unwrap();
                hex::encode(sha256(&verified.open_raw(&recipient()).unwrap()))
            }),
        });
    };
    expectations(&mut add);
    signatures_and_headers(&mut add);
    encodings(&mut add);
    claims_sets(&mut add);
    payloads(&mut add);
    Vectors {
        about: "Conditioning tokens and what a verifier must say of each; see docs/token.md".into(),
        seed: hex::encode([42; 32]),
        cose_key_set: hex::encode(keys.to_cose()),
        jwks: serde_json::to_value(keys.to_jwks()).unwrap(),
        recipient_jwk: serde_json::json!({
            "kty": "OKP", "crv": "X25519", "kid": recipient().public().id().to_string(),
            "x": BASE64URL.encode(recipient().public().as_bytes()),
            "d": BASE64URL.encode(recipient().expose()),
        }),
        cases,
        status_list: listed(),
    }
}

fn listed() -> Listed {
    let uri = format!("{ISSUER}/v1/status-lists/0");
    let mut list = StatusList::new(100, 30);
    list.set(1, Status::Invalid);
    list.set(6, Status::Suspended);
    let (now, later) = (Millis(NOW * 1000), Millis((NOW + 300) * 1000));
    let signed = list.sign(&key(), &uri, now, later).unwrap();
    let said = [
        (0, "valid"),
        (1, "invalid"),
        (3, "valid"),
        (6, "suspended"),
        (100, "status_out_of_range"),
    ];
    let statuses = said.iter().map(|(i, s)| (i.to_string(), (*s).to_owned())).collect();
    Listed { uri, now: NOW, list: hex::encode(signed), statuses }
}

fn expectations(add: &mut Add<'_>) {
    add("good", "ok", US, good());
    let (mut small, mut little) = (claims(), payload());
    little.identity.voice = None;
    little.identity.faces.truncate(1);
    little.identity.faces[0].frame = None;
    small.restrictions.clear();
    (small.request_digest, small.parent) = (None, None);
    add("good_smallest", "ok", US, &issue(&small, &little).unwrap());
    let mut ready = payload();
    ready.conditioning.insert("ip-adapter".into(), Tensor::f32(vec![1, 2, 2], &[0.5; 4]));
    add("good_with_conditioning", "ok", US, &issue(&claims(), &ready).unwrap());
    add("good_last_second", "ok", (US.0, NOW + 329), good());
    add("good_leeway_before", "ok", (US.0, NOW - 30), good());
    add("expired", "expired", (US.0, NOW + 330), good());
    let mut later = claims();
    later.not_before = NOW + 100;
    add("not_yet_valid", "not_yet_valid", US, &issue(&later, &payload()).unwrap());
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
    let sealed = seal(&claims(), b"");
    add("unknown_key", "unknown_key", US, &token::sign(&stranger, &claims(), &sealed).unwrap());
    let other_aad = Profile { external_aad: b"x", ..PROFILE };
    let bytes = cose::sign(&key(), &other_aad, claims_bytes()).unwrap();
    add("external_aad", "bad_signature", US, &bytes);
    let other_type = Profile { typ: "application/cwt", ..PROFILE };
    let bytes = cose::sign(&key(), &other_type, claims_bytes()).unwrap();
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
    let mut doubled = vec![0xb4]; // a claims set with iss twice: two entries more than its own 18
    assert_eq!(claims_bytes()[0], 0xb2);
    doubled.extend_from_slice(&[0x01, 0x61, b'a', 0x01, 0x61, b'a']);
    doubled.extend_from_slice(&claims_bytes()[1..]);
    let bytes = cose::sign(&key(), &PROFILE, doubled).unwrap();
    add("claim_twice", "duplicate_key", US, &bytes);
}

fn claims_sets(add: &mut Add<'_>) {
    let bytes = with_claims(|m| m.push((Value::from(-70_000), Value::from(1))));
    add("unknown_claim", "ok", US, &bytes);
    let bytes = with_claims(|m| *entry(m, -65_537) = Value::from(1));
    add("version_1", "unknown_version", US, &bytes);
    let bytes = with_claims(|m| {
        *entry(m, -65_543) = Value::Array(vec![Value::from(1), Value::Map(Vec::new())]);
    });
    add("payload_in_clear", "unknown_payload", US, &bytes);
    let bytes = with_claims(|m| m.retain(|(k, _)| *k != Value::from(65_535)));
    add("no_status", "missing_claim", US, &bytes);
    let bytes = with_claims(|m| m.retain(|(k, _)| *k != Value::from(4)));
    add("no_exp", "missing_claim", US, &bytes);
    let bytes = with_claims(|m| *entry(m, 4) = Value::Text("tomorrow".into()));
    add("exp_of_wrong_type", "invalid_claim", US, &bytes);
    let bytes = with_claims(|m| *entry(m, 4) = Value::from(NOW + 100_000));
    add("too_long_lived", "invalid_claim", US, &bytes);
}

fn payloads(add: &mut Add<'_>) {
    let e = SeededEntropy::new(12);
    let other = RecipientSecret::generate(&e).unwrap();
    let sealed = encrypt::seal(&other.public(), &claims().binding(), b"x", &e).unwrap();
    add("sealed_to_other_key", "sealed_to_other_key", US, &with_sealed(&sealed));
    // Signed by the service, but made for another use: it was lifted out of another token.
    let lifted = Claims { use_id: "use_01JD0000000000000000000009".into(), ..claims() };
    let sealed = token::seal(&lifted, &payload(), &recipient().public(), &e).unwrap();
    add("lifted_payload", "does_not_open", US, &with_sealed(&sealed));
    let mut altered = seal(&claims(), b"x");
    *altered.last_mut().unwrap() ^= 1;
    add("altered_ciphertext", "does_not_open", US, &with_sealed(&altered));
    add("no_sealing", "malformed_sealing", US, &with_sealed(b""));
    let mut other_algorithm = seal(&claims(), b"x");
    let at = other_algorithm.windows(3).position(|w| w == [0x01, 0x18, 0x2a]).unwrap();
    other_algorithm[at + 2] = 0x29;
    let bytes = with_sealed(&other_algorithm);
    add("other_sealing_algorithm", "wrong_sealing_algorithm", US, &bytes);
    let bytes = with_sealed(&seal(&claims(), b"no tensors"));
    add("no_container", "malformed_container", US, &bytes);
    let text = |c: &mut Container, name: &str, value: &str| {
        c.metadata.insert(name.into(), value.into());
    };
    let bytes = with_payload(|c| text(c, "recipient", "gen_other"));
    add("payload_of_another_recipient", "invalid_claim", US, &bytes);
    let bytes = with_payload(|c| text(c, "restrictions", "[]"));
    add("other_restrictions", "invalid_claim", US, &bytes);
    let bytes = with_payload(|c| drop(c.metadata.remove("faces")));
    add("no_faces", "missing_claim", US, &bytes);
    let vector = |values: &[f32]| Tensor::f32(vec![values.len()], values);
    let bytes = with_payload(|c| {
        c.tensors.insert("face.frontal.vector".into(), vector(&[1.0; 8]));
    });
    add("false_norm", "invalid_claim", US, &bytes);
    let bytes = with_payload(|c| {
        c.tensors.insert("face.frontal.vector".into(), vector(&[1.0; 7]));
    });
    add("wrong_dimension", "invalid_claim", US, &bytes);
    let bytes = with_payload(|c| {
        c.tensors.insert("face.frontal.vector".into(), vector(&[f32::NAN; 8]));
    });
    add("not_finite", "invalid_claim", US, &bytes);
    let bytes = with_payload(|c| drop(c.tensors.remove("face.left.keypoints")));
    add("no_keypoints", "missing_claim", US, &bytes);
}

fn vectors_path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/token.json")
}

fn read(path: &Path) -> Vectors {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}
