//! Consent receipts: what a person keeps to show what they consented to, and that it is in the log.
//!
//! The content follows ISO/IEC TS 27560:2023 (consent record information structure), with terms of
//! the W3C Data Privacy Vocabulary; `docs/receipts.md` describes it. It is signed as JSON (a record
//! with a compact JWS over it, RFC 7515, RFC 8037) and as COSE (a `COSE_Sign1` over the same JSON),
//! and [`verify`] checks either without asking anybody. With each event comes the log's entry and
//! what opens its commitments, so the receipt says exactly what the log says.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD as BASE64URL};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::crypto::cose::{self, Profile};
use crate::crypto::{KeyId, KeySet, SigningKey};
use crate::tlog::{self, Entry, Salt, commitment};

/// The `typ` of the COSE form.
pub const COSE_TYPE: &str = "application/cameo-consent-receipt+cose";
/// The `typ` of the JSON form's signature.
pub const JWS_TYPE: &str = "cameo-consent-receipt+jws";
/// What the content follows.
pub const SCHEMA: &str = "ISO/IEC TS 27560:2023";
/// The longest receipt, in bytes: two full lists of people fit.
pub const MAX_LEN: usize = 16 << 20;

/// A consent receipt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    /// The prefix of DPV terms (JSON-LD).
    #[serde(rename = "@context")]
    pub context: Value,
    /// [`SCHEMA`].
    pub schema_version: String,
    /// Names this receipt.
    pub receipt_id: String,
    /// Names what it is about: the cameo, or a grant.
    pub record_id: String,
    /// The service's public URL.
    pub issuer: String,
    /// When it was made (RFC 3339).
    pub issued_at: String,
    /// The person, as the app refers to them.
    pub pii_principal_id: String,
    /// What is processed and what for.
    pub pii_processing: Processing,
    /// Who takes part.
    pub party_identification: Vec<Party>,
    /// What happened.
    pub events: Vec<Event>,
    /// What was granted, word for word as it was committed to in the log; absent where consent was
    /// withdrawn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terms: Option<Value>,
}

/// What is processed and what for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Processing {
    /// Where the privacy notice stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub privacy_notice: Option<String>,
    /// The text that the person was shown.
    pub notice: Notice,
    /// The purposes.
    pub purposes: Vec<PurposeLine>,
}

/// The text that the person was shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Notice {
    /// Its version.
    pub version: String,
    /// Its language (BCP 47), where the app said which.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// SHA-256 of its UTF-8 text, hexadecimal, where the service keeps it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

/// One purpose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PurposeLine {
    /// Its name in the API.
    pub purpose: String,
    /// The closest term of DPV.
    pub purpose_type: String,
    /// Whether a use for it can do lasting harm.
    pub sensitive: bool,
    /// The legal basis, a term of DPV.
    pub lawful_basis: String,
    /// The data, terms of DPV's personal data extension.
    pub pii_types: Vec<String>,
    /// Until when (RFC 3339); absent: until consent is withdrawn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_until: Option<String>,
}

/// Somebody who takes part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Party {
    /// A term of DPV, like `dpv:DataController`.
    pub party_role: String,
    /// The name.
    pub party_name: String,
    /// How to reach them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub party_contact: Option<String>,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Event {
    /// `given`, `changed`, `withdrawn`, `grant_given` or `grant_revoked`.
    pub event_type: String,
    /// A term of DPV: `dpv:ConsentGiven` or `dpv:ConsentWithdrawn`.
    pub event_state: String,
    /// When (RFC 3339).
    pub event_time: String,
    /// Who: the person.
    pub entity: String,
    /// What the log says.
    pub log: Logged,
}

/// An entry of the log, opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Logged {
    /// Its place.
    pub index: u64,
    /// Its bytes, base64.
    pub entry: String,
    /// The leaf hash, hexadecimal: look it up in the log.
    pub leaf_hash: String,
    /// The salt of its commitments, hexadecimal.
    pub salt: String,
    /// What is committed to, base64, by label.
    pub opened: BTreeMap<String, String>,
}

/// Why a receipt does not hold.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Neither form, or too long.
    #[error("not a receipt: {0}")]
    Malformed(&'static str),
    /// The COSE form does not hold.
    #[error(transparent)]
    Cose(#[from] cose::Error),
    /// The signature of the JSON form does not hold.
    #[error("the receipt's signature does not hold: {0}")]
    Signature(&'static str),
    /// The JSON form shows another record than the one that is signed.
    #[error("the record that is shown is not the one that is signed")]
    Altered,
    /// An event is not what the log's entry says.
    #[error("event {event}: the log's entry does not say so: {why}")]
    Log {
        /// Which, from 0.
        event: usize,
        /// What differs.
        why: &'static str,
    },
}

/// A receipt that holds.
#[derive(Debug)]
pub struct Verified {
    /// The key that signed it.
    pub key_id: KeyId,
    /// What it says.
    pub receipt: Receipt,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Signed {
    record: Value,
    jws: String,
}

impl Receipt {
    /// The JSON form: the record, readable, and a compact JWS over its bytes.
    ///
    /// # Errors
    /// [`Error::Malformed`] where it can't be encoded.
    pub fn to_json(&self, key: &SigningKey) -> Result<Vec<u8>, Error> {
        let record = self.encode()?;
        let header = json!({ "alg": "EdDSA", "kid": key.id().to_string(), "typ": JWS_TYPE });
        let input =
            format!("{}.{}", BASE64URL.encode(header.to_string()), BASE64URL.encode(&record));
        let jws = format!("{input}.{}", BASE64URL.encode(key.sign(input.as_bytes())));
        let record =
            serde_json::from_slice(&record).map_err(|_| Error::Malformed("it can't be encoded"))?;
        let mut out = serde_json::to_vec_pretty(&Signed { record, jws })
            .map_err(|_| Error::Malformed("it can't be encoded"))?;
        out.push(b'\n');
        Ok(out)
    }

    /// The COSE form: a `COSE_Sign1` over the same bytes.
    ///
    /// # Errors
    /// [`Error::Malformed`], [`Error::Cose`].
    pub fn to_cose(&self, key: &SigningKey) -> Result<Vec<u8>, Error> {
        Ok(cose::sign(key, &PROFILE, self.encode()?)?)
    }

    fn encode(&self) -> Result<Vec<u8>, Error> {
        serde_json::to_vec(self).map_err(|_| Error::Malformed("it can't be encoded"))
    }

    /// Whether every event is what its log entry says, and the last one grants these terms.
    fn agrees_with_log(&self) -> Result<(), Error> {
        let last = self.events.len().checked_sub(1).ok_or(Error::Malformed("it has no event"))?;
        for (event, e) in self.events.iter().enumerate() {
            let no = |why| Error::Log { event, why };
            let opened = e.log.open().map_err(no)?;
            let says = |label: &str, expected: &str| {
                opened.bodies.get(label).is_some_and(|body| body == expected.as_bytes())
            };
            if !says("cameo", &self.record_id) && !says("grant", &self.record_id) {
                return Err(no("it is about another record"));
            }
            if e.event_time != opened.entry.time.rfc3339() {
                return Err(no("it has another time"));
            }
            let text = |label| match opened.entry.attributes.get(label) {
                Some(tlog::entry::Attribute::Text(text)) => Some(text.as_str()),
                _ => None,
            };
            let kind = opened.entry.kind.name();
            let kind = kind.strip_prefix("consent_").unwrap_or(kind);
            if kind != e.event_type {
                return Err(no("it is of another kind"));
            }
            if text("text_version").is_some_and(|v| v != self.pii_processing.notice.version) {
                return Err(no("another text was shown"));
            }
            if let Some(hash) = opened.bodies.get("text_sha256")
                && Some(hex::encode(hash)) != self.pii_processing.notice.sha256
            {
                return Err(no("another text was shown"));
            }
            let terms = opened.bodies.get("permissions").or_else(|| opened.bodies.get("scope"));
            let terms: Option<Value> = terms.and_then(|t| serde_json::from_slice(t).ok());
            if event == last && terms.is_some() && terms != self.terms {
                return Err(no("other terms were granted"));
            }
            if event == last && terms.is_none() && self.terms.is_some() {
                return Err(no("it grants nothing"));
            }
        }
        Ok(())
    }
}

struct Opened {
    entry: Entry,
    bodies: BTreeMap<String, Vec<u8>>,
}

impl Logged {
    /// An entry with what opens it.
    pub fn new(index: u64, entry: &[u8], salt: &Salt, bodies: &[(&str, &[u8])]) -> Self {
        Self {
            index,
            entry: BASE64_STANDARD.encode(entry),
            leaf_hash: hex::encode(tlog::leaf_hash(entry).0),
            salt: hex::encode(salt.expose()),
            opened: bodies
                .iter()
                .map(|(label, body)| ((*label).to_owned(), BASE64_STANDARD.encode(body)))
                .collect(),
        }
    }

    /// Checks the hash and every commitment.
    fn open(&self) -> Result<Opened, &'static str> {
        let bytes = BASE64_STANDARD.decode(&self.entry).map_err(|_| "it is not base64")?;
        if hex::encode(tlog::leaf_hash(&bytes).0) != self.leaf_hash {
            return Err("its hash is another");
        }
        let entry = Entry::decode(&bytes).map_err(|_| "it can't be read")?;
        let mut salt = [0; 32];
        hex::decode_to_slice(&self.salt, &mut salt).map_err(|_| "its salt is not 32 bytes")?;
        let salt = Salt::from_bytes(salt);
        let mut bodies = BTreeMap::new();
        for (label, body) in &self.opened {
            let body = BASE64_STANDARD.decode(body).map_err(|_| "it is not base64")?;
            let committed = entry.commitments.get(label).ok_or("it does not commit to this")?;
            if !commitment::opens(committed, label, &salt, &body) {
                return Err("its commitment is to something else");
            }
            bodies.insert(label.clone(), body);
        }
        if bodies.len() != entry.commitments.len() {
            return Err("not every commitment is opened");
        }
        Ok(Opened { entry, bodies })
    }
}

/// Checks a receipt of either form: its signature, and that it says what the log's entries say. That
/// the entries are in the log is for whoever has the log: look their leaf hashes up there.
///
/// # Errors
/// See [`Error`].
pub fn verify(bytes: &[u8], keys: &KeySet) -> Result<Verified, Error> {
    if bytes.len() > MAX_LEN {
        return Err(Error::Malformed("it is too long"));
    }
    let verified = if let Some(b'{') = bytes.trim_ascii_start().first() {
        verify_json(bytes, keys)?
    } else {
        let message = cose::verify(bytes, &PROFILE, keys)?;
        Verified { key_id: message.key_id, receipt: decode(&message.payload)? }
    };
    verified.receipt.agrees_with_log()?;
    Ok(verified)
}

fn verify_json(bytes: &[u8], keys: &KeySet) -> Result<Verified, Error> {
    let signed: Signed = serde_json::from_slice(bytes)
        .map_err(|_| Error::Malformed("expected {\"record\": …, \"jws\": …}"))?;
    let no = Error::Signature;
    let (input, signature) = signed.jws.rsplit_once('.').ok_or(no("it is no compact JWS"))?;
    let (header, payload) = input.split_once('.').ok_or(no("it is no compact JWS"))?;
    let decoded = |text: &str| BASE64URL.decode(text).map_err(|_| no("it is not base64url"));
    let header: Value =
        serde_json::from_slice(&decoded(header)?).map_err(|_| no("its header can't be read"))?;
    if header["alg"] != "EdDSA" || header["typ"] != JWS_TYPE || !header["crit"].is_null() {
        return Err(no("its header asks for something else"));
    }
    let key_id = header["kid"].as_str().and_then(KeyId::parse).ok_or(no("it names no key"))?;
    let key = keys.get(key_id).ok_or(no("its key is not in the key set"))?;
    if !key.verify(input.as_bytes(), &decoded(signature)?) {
        return Err(no("it does not verify"));
    }
    let payload = decoded(payload)?;
    let meant: Value =
        serde_json::from_slice(&payload).map_err(|_| Error::Malformed("its record is no JSON"))?;
    if meant != signed.record {
        return Err(Error::Altered);
    }
    Ok(Verified { key_id, receipt: decode(&payload)? })
}

fn decode(payload: &[u8]) -> Result<Receipt, Error> {
    let receipt: Receipt = serde_json::from_slice(payload)
        .map_err(|_| Error::Malformed("its record is not a consent record"))?;
    if receipt.schema_version == SCHEMA {
        Ok(receipt)
    } else {
        Err(Error::Malformed("its record follows another schema"))
    }
}

const PROFILE: Profile<'static> = Profile {
    typ: COSE_TYPE,
    content_type: Some("application/json"),
    external_aad: &[],
    max_len: MAX_LEN,
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::{Millis, SeededEntropy};
    use crate::tlog::Kind;

    fn receipt() -> Receipt {
        let salt = Salt::generate(&SeededEntropy::new(1));
        let bodies: [(&str, &[u8]); 2] = [("cameo", b"cam_1"), ("permissions", br#"{"a":1}"#)];
        let mut entry =
            Entry::new(Kind::ConsentGiven, Millis(1_000)).with("text_version", "2026-11");
        for (label, body) in bodies {
            entry = entry.committing(label, commitment::commit(label, &salt, body));
        }
        let log = Logged::new(7, &entry.encode().unwrap(), &salt, &bodies);
        Receipt {
            context: json!({ "dpv": "https://w3id.org/dpv#" }),
            schema_version: SCHEMA.into(),
            receipt_id: "cam_1:1".into(),
            record_id: "cam_1".into(),
            issuer: "https://cameo.example".into(),
            issued_at: "1970-01-01T00:00:02.000Z".into(),
            pii_principal_id: "person-1".into(),
            pii_processing: Processing {
                privacy_notice: None,
                notice: Notice { version: "2026-11".into(), language: None, sha256: None },
                purposes: Vec::new(),
            },
            party_identification: Vec::new(),
            events: vec![Event {
                event_type: "given".into(),
                event_state: "dpv:ConsentGiven".into(),
                event_time: Millis(1_000).rfc3339(),
                entity: "person-1".into(),
                log,
            }],
            terms: Some(json!({ "a": 1 })),
        }
    }

    fn keys() -> (SigningKey, KeySet) {
        let key = SigningKey::generate(&SeededEntropy::new(2)).unwrap();
        let set = std::iter::once(key.verifying_key()).collect();
        (key, set)
    }

    #[test]
    fn both_forms_hold_and_say_the_same() {
        let (key, set) = keys();
        let receipt = receipt();
        for form in [receipt.to_json(&key).unwrap(), receipt.to_cose(&key).unwrap()] {
            let verified = verify(&form, &set).unwrap();
            assert_eq!((verified.key_id, verified.receipt), (key.id(), receipt.clone()));
        }
    }

    #[test]
    fn nobody_elses_signature_will_do() {
        let (key, _) = keys();
        let other = SigningKey::generate(&SeededEntropy::new(3)).unwrap();
        let set: KeySet = std::iter::once(other.verifying_key()).collect();
        let receipt = receipt();
        assert!(matches!(verify(&receipt.to_json(&key).unwrap(), &set), Err(Error::Signature(_))));
        assert!(matches!(verify(&receipt.to_cose(&key).unwrap(), &set), Err(Error::Cose(_))));
        assert!(matches!(verify(b"", &set), Err(Error::Cose(_))));
        assert!(matches!(verify(b"{}", &set), Err(Error::Malformed(_))));
    }

    #[test]
    fn what_is_shown_is_what_is_signed() {
        let (key, set) = keys();
        let text = String::from_utf8(receipt().to_json(&key).unwrap()).unwrap();
        let altered = text.replace("person-1", "person-2");
        assert!(matches!(verify(altered.as_bytes(), &set), Err(Error::Altered)));
        let mut cose = receipt().to_cose(&key).unwrap();
        let last = cose.len() - 1;
        cose[last] ^= 1;
        assert!(verify(&cose, &set).is_err());
    }

    #[test]
    fn a_receipt_that_the_log_does_not_bear_out_is_refused_even_if_signed() {
        type Lie = fn(&mut Receipt);
        let (key, set) = keys();
        let lies: [(&str, Lie); 7] = [
            ("terms", |r| r.terms = Some(json!({ "a": 2 }))),
            ("time", |r| r.events[0].event_time = Millis(2_000).rfc3339()),
            ("kind", |r| r.events[0].event_type = "changed".into()),
            ("text", |r| r.pii_processing.notice.version = "2020-01".into()),
            ("record", |r| r.record_id = "cam_2".into()),
            ("salt", |r| r.events[0].log.salt = "00".repeat(32)),
            ("hidden", |r| {
                r.events[0].log.opened.remove("permissions");
            }),
        ];
        for (name, lie) in lies {
            let mut receipt = receipt();
            lie(&mut receipt);
            let signed = receipt.to_json(&key).unwrap();
            assert!(matches!(verify(&signed, &set), Err(Error::Log { event: 0, .. })), "{name}");
        }
        let mut eventless = receipt();
        eventless.events.clear();
        assert!(verify(&eventless.to_json(&key).unwrap(), &set).is_err());
    }
}
