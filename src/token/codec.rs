//! The claims set as CBOR: see `docs/token.cddl`.
//!
//! Claim keys below -65536 are for private use (RFC 8392 §9.1).

use super::claims::{Claims, TokenId, invalid};
use super::status::StatusRef;
use super::{Error, MAX_LEN, VERSION};
use crate::crypto::cbor::{self, Fields, Value};

// Registered claims (RFC 8392 §4).
const ISS: i64 = 1;
const SUB: i64 = 2;
const AUD: i64 = 3;
const EXP: i64 = 4;
const NBF: i64 = 5;
const IAT: i64 = 6;
const CTI: i64 = 7;
// draft-ietf-oauth-status-list §6.3.
const STATUS: i64 = 65_535;
// Private claims.
const VER: i64 = -65_537;
const CONSENT_VERSION: i64 = -65_538;
const USE_ID: i64 = -65_539;
const PURPOSE: i64 = -65_540;
const REQUESTER: i64 = -65_541;
const RESTRICTIONS: i64 = -65_542;
const PAYLOAD: i64 = -65_543;
const GRANT: i64 = -65_544;
const REQUEST_DIGEST: i64 = -65_545;
const PARENT: i64 = -65_546;

/// The payload is a `COSE_Encrypt0` to the audience's key. Kind 1 was a payload in clear; it is not
/// issued any more, nor read.
const KIND_SEALED: u64 = 2;

pub(super) fn encode(claims: &Claims, sealed: &[u8]) -> Vec<u8> {
    let restrictions = claims.restrictions.iter().map(|r| text(r)).collect();
    let payload = vec![Value::from(KIND_SEALED), Value::Bytes(sealed.to_vec())];
    let list = vec![
        (text("idx"), Value::from(claims.status.index)),
        (text("uri"), text(&claims.status.uri)),
    ];
    let mut fields = vec![
        (ISS, text(&claims.issuer)),
        (SUB, text(&claims.subject)),
        (AUD, text(&claims.audience)),
        (EXP, Value::from(claims.expires_at)),
        (NBF, Value::from(claims.not_before)),
        (IAT, Value::from(claims.issued_at)),
        (CTI, Value::Bytes(claims.token_id.0.to_vec())),
        (STATUS, Value::Map(vec![(text("status_list"), Value::Map(list))])),
        (VER, Value::from(VERSION)),
        (CONSENT_VERSION, Value::from(claims.consent_version)),
        (USE_ID, text(&claims.use_id)),
        (PURPOSE, text(&claims.purpose)),
        (REQUESTER, text(&claims.requester)),
        (RESTRICTIONS, Value::Array(restrictions)),
        (PAYLOAD, Value::Array(payload)),
        (GRANT, text(&claims.grant)),
    ];
    if let Some(digest) = &claims.request_digest {
        fields.push((REQUEST_DIGEST, Value::Bytes(digest.to_vec())));
    }
    if let Some(parent) = &claims.parent {
        fields.push((PARENT, text(parent)));
    }
    cbor::encode(&map(fields))
}

/// Reads the claims set and the sealed payload. Claims that it does not know are passed over (RFC 8392 §3); what a
/// verifier must understand gets a new version or payload kind instead.
pub(super) fn decode(bytes: &[u8]) -> Result<(Claims, Vec<u8>), Error> {
    let value = cbor::decode(bytes, MAX_LEN)?;
    let mut f = Reader::of(value, "claims")?;
    let version = f.uint(VER, "ver")?;
    if version != VERSION {
        return Err(Error::UnknownVersion(version));
    }
    let sealed = decode_payload(f.array(PAYLOAD, "payload")?)?;
    let claims = Claims {
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
        status: decode_status(&f.take(STATUS, "status")?)?,
        grant: f.text(GRANT, "grant")?,
        request_digest: match f.0.take(REQUEST_DIGEST) {
            None => None,
            Some(v) => Some(cbor::byte_array(&v).ok_or(invalid("request_digest", "not 32 bytes"))?),
        },
        parent: match f.0.take(PARENT) {
            None => None,
            Some(v) => Some(v.into_text().map_err(|_| invalid("parent", "expected text"))?),
        },
    };
    Ok((claims, sealed))
}

fn decode_payload(parts: Vec<Value>) -> Result<Vec<u8>, Error> {
    let [kind, body] =
        <[Value; 2]>::try_from(parts).map_err(|_| invalid("payload", "expected kind and body"))?;
    match cbor::uint(&kind).ok_or(invalid("payload", "its kind is not a number"))? {
        KIND_SEALED => body.into_bytes().map_err(|_| invalid("payload", "expected bytes")),
        other => Err(Error::UnknownPayload(other)),
    }
}

fn decode_status(value: &Value) -> Result<StatusRef, Error> {
    let list = member(value, "status_list").ok_or(invalid("status", "expected a status list"))?;
    let index = member(list, "idx").and_then(cbor::uint).and_then(|n| u32::try_from(n).ok());
    let uri = member(list, "uri").and_then(Value::as_text);
    match (index, uri) {
        (Some(index), Some(uri)) => Ok(StatusRef { index, uri: uri.to_owned() }),
        _ => Err(invalid("status", "expected idx and uri")),
    }
}

/// The value of a text key of a map.
fn member<'v>(value: &'v Value, name: &str) -> Option<&'v Value> {
    value.as_map()?.iter().find(|(k, _)| k.as_text() == Some(name)).map(|(_, v)| v)
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
}

fn map(fields: Vec<(i64, Value)>) -> Value {
    Value::Map(fields.into_iter().map(|(k, v)| (Value::from(k), v)).collect())
}

fn text(s: &str) -> Value {
    Value::Text(s.to_owned())
}
