//! The Token Status List (draft-ietf-oauth-status-list) in its CWT form: whether a token that was
//! issued still holds.
//!
//! A token names a list by its URI and a place in it. The list is an array of two-bit statuses,
//! compressed with ZLIB and signed by the issuer's token keys. It says when it was made, until when
//! it may be relied on, and after how many seconds (`ttl`) it should be fetched again.

use std::io::{Read as _, Write as _};

use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;

use crate::crypto::cbor::{self, Fields, Value};
use crate::crypto::cose::{self, Profile};
use crate::crypto::{KeySet, SigningKey};
use crate::env::Millis;

/// The media type, and the list's `typ` header.
pub const TYPE: &str = "application/statuslist+cwt";
/// The largest list taken, in bytes.
pub const MAX_LEN: usize = 512 << 10;
/// The most statuses in one list.
pub const MAX_ENTRIES: u32 = 1 << 20;
/// Bits for one status.
const BITS: u32 = 2;
const PER_BYTE: u32 = 8 / BITS;

/// What is the matter with a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It holds.
    Valid,
    /// It is revoked, for good.
    Invalid,
    /// It is suspended: the person froze their cameo, and may thaw it.
    Suspended,
}

impl Status {
    /// The value in the list (draft §7.1).
    pub fn value(self) -> u8 {
        match self {
            Self::Valid => 0,
            Self::Invalid => 1,
            Self::Suspended => 2,
        }
    }

    /// The status of a value.
    pub fn from_value(value: u8) -> Option<Self> {
        [Self::Valid, Self::Invalid, Self::Suspended].into_iter().find(|s| s.value() == value)
    }

    /// The name used in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Invalid => "invalid",
            Self::Suspended => "suspended",
        }
    }
}

/// Where a token's status stands: the claim `status` (65535).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusRef {
    /// The place in the list.
    pub index: u32,
    /// The list.
    pub uri: String,
}

/// Why a list says nothing about a token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The envelope or its signature is not acceptable.
    #[error(transparent)]
    Envelope(#[from] cose::Error),
    /// It is not a status list of two bits.
    #[error("not a status list: {0}")]
    Malformed(&'static str),
    /// It is another list.
    #[error("the status list is not the one that the token names")]
    OtherList,
    /// It is too old to rely on.
    #[error("the status list ran out at {0} (seconds since 1970): fetch it again")]
    Expired(i64),
    /// The token's place is not in it.
    #[error("the status list has no place {0}: treat the token as revoked")]
    OutOfRange(u32),
}

impl From<cbor::Error> for Error {
    fn from(e: cbor::Error) -> Self {
        Self::Envelope(e.into())
    }
}

/// The statuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusList {
    packed: Vec<u8>,
    ttl: u64,
}

impl StatusList {
    /// A list of `len` valid tokens (rounded up to a whole byte), at most [`MAX_ENTRIES`].
    pub fn new(len: u32, ttl: u64) -> Self {
        Self { packed: vec![0; len.min(MAX_ENTRIES).div_ceil(PER_BYTE) as usize], ttl }
    }

    /// Sets a status. A place beyond the end is passed over.
    pub fn set(&mut self, index: u32, status: Status) {
        let shift = (index % PER_BYTE) * BITS;
        if let Some(byte) = self.packed.get_mut((index / PER_BYTE) as usize) {
            *byte = *byte & !(0b11 << shift) | status.value() << shift;
        }
    }

    /// The status at a place.
    ///
    /// # Errors
    /// [`Error::OutOfRange`]; [`Error::Malformed`] for a value that has no meaning.
    pub fn get(&self, index: u32) -> Result<Status, Error> {
        let byte = self.packed.get((index / PER_BYTE) as usize).ok_or(Error::OutOfRange(index))?;
        Status::from_value(byte >> ((index % PER_BYTE) * BITS) & 0b11)
            .ok_or(Error::Malformed("a status has no meaning"))
    }

    /// How many seconds the list may be kept before it should be fetched again.
    pub fn ttl(&self) -> u64 {
        self.ttl
    }

    /// The signed list that stands at `uri`, made at `now` and good until `expires`.
    ///
    /// # Errors
    /// [`Error::Envelope`] for a list above [`MAX_LEN`].
    pub fn sign(
        &self,
        key: &SigningKey,
        uri: &str,
        now: Millis,
        expires: Millis,
    ) -> Result<Vec<u8>, Error> {
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::best());
        let packed = zlib.write_all(&self.packed).and_then(|()| zlib.finish());
        let lst = packed.map_err(|_| Error::Malformed("it can't be compressed"))?;
        let text = |t: &str| Value::Text(t.to_owned());
        let list =
            Value::Map(vec![(text("bits"), Value::from(BITS)), (text("lst"), Value::Bytes(lst))]);
        let claims = cbor::encode(&Value::Map(vec![
            (Value::from(SUB), text(uri)),
            (Value::from(EXP), Value::from(expires.seconds())),
            (Value::from(IAT), Value::from(now.seconds())),
            (Value::from(STATUS_LIST), list),
            (Value::from(TTL), Value::from(self.ttl)),
        ]));
        Ok(cose::sign(key, &PROFILE, claims)?)
    }

    /// Checks a signed list: the issuer's signature, that it is the list of `uri`, and that it can
    /// still be relied on.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn verify(bytes: &[u8], keys: &KeySet, uri: &str, now: Millis) -> Result<Self, Error> {
        let message = cose::verify(bytes, &PROFILE, keys)?;
        let claims = cbor::decode(&message.payload, MAX_LEN)?;
        let mut claims = Fields::of(claims).ok_or(Error::Malformed("its claims are no map"))?;
        let mut number =
            |key, what| claims.take(key).as_ref().and_then(cbor::int).ok_or(Error::Malformed(what));
        let (expires, _made) = (number(EXP, "exp is missing")?, number(IAT, "iat is missing")?);
        let ttl = u64::try_from(number(TTL, "ttl is missing")?)
            .map_err(|_| Error::Malformed("ttl is negative"))?;
        if claims.take(SUB).as_ref().and_then(Value::as_text) != Some(uri) {
            return Err(Error::OtherList);
        }
        if expires <= now.seconds() {
            return Err(Error::Expired(expires));
        }
        let list = claims.take(STATUS_LIST).and_then(|v| v.into_map().ok()).unwrap_or_default();
        let field = |name: &str| list.iter().find(|(k, _)| k.as_text() == Some(name)).map(|e| &e.1);
        if field("bits").and_then(cbor::uint) != Some(BITS.into()) {
            return Err(Error::Malformed("it does not have two bits a status"));
        }
        let lst = field("lst").and_then(Value::as_bytes).ok_or(Error::Malformed("no lst"))?;
        // A small file can unpack to a large one.
        let limit = u64::from(MAX_ENTRIES / PER_BYTE);
        let mut packed = Vec::new();
        let unpacked = ZlibDecoder::new(lst.as_slice()).take(limit + 1).read_to_end(&mut packed);
        if unpacked.is_err() || packed.len() as u64 > limit {
            return Err(Error::Malformed("it does not unpack, or is too long"));
        }
        Ok(Self { packed, ttl })
    }
}

const PROFILE: Profile<'_> =
    Profile { typ: TYPE, content_type: None, external_aad: b"", max_len: MAX_LEN };
const SUB: i64 = 2;
const EXP: i64 = 4;
const IAT: i64 = 6;
const STATUS_LIST: i64 = 65_533;
const TTL: i64 = 65_534;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::SeededEntropy;

    const URI: &str = "https://cameo.example/v1/status-lists/0";

    #[test]
    fn a_list_says_what_was_set_and_nothing_beyond_its_end() {
        use Status::{Invalid, Suspended, Valid};
        let key = SigningKey::generate(&SeededEntropy::new(1)).unwrap();
        let keys: KeySet = [key.verifying_key()].into_iter().collect();
        let mut list = StatusList::new(1000, 60);
        for (i, status) in [(0, Status::Suspended), (3, Status::Invalid), (999, Status::Invalid)] {
            list.set(i, status);
        }
        list.set(0, Status::Valid);
        list.set(7, Status::Suspended);
        list.set(u32::MAX, Status::Invalid);
        let (now, later) = (Millis(1_000_000), Millis(2_000_000));
        let signed = list.sign(&key, URI, now, later).unwrap();
        assert!(signed.len() < 250, "{} bytes", signed.len());
        let read = StatusList::verify(&signed, &keys, URI, now).unwrap();
        assert_eq!(read, list);
        assert_eq!(read.ttl(), 60);
        let got: Vec<_> = [0, 3, 7, 8, 999].map(|i| read.get(i).unwrap()).into();
        assert_eq!(got, [Valid, Invalid, Suspended, Valid, Invalid]);
        assert_eq!(read.get(1000), Err(Error::OutOfRange(1000)));

        let other = StatusList::verify(&signed, &keys, "https://cameo.example/x", now);
        assert_eq!(other, Err(Error::OtherList));
        assert_eq!(StatusList::verify(&signed, &keys, URI, later), Err(Error::Expired(2000)));
        let stranger = SigningKey::generate(&SeededEntropy::new(2)).unwrap();
        let strangers: KeySet = [stranger.verifying_key()].into_iter().collect();
        assert!(StatusList::verify(&signed, &strangers, URI, now).is_err());
        let mut altered = signed.clone();
        for at in 0..altered.len() {
            altered[at] ^= 1;
            assert!(StatusList::verify(&altered, &keys, URI, now).is_err(), "byte {at}");
            altered[at] ^= 1;
        }
    }

    #[test]
    fn a_bomb_does_not_go_off() {
        let key = SigningKey::generate(&SeededEntropy::new(1)).unwrap();
        let keys: KeySet = [key.verifying_key()].into_iter().collect();
        let bomb = StatusList { packed: vec![0; 40 << 20], ttl: 1 };
        let signed = bomb.sign(&key, URI, Millis(0), Millis(10_000)).unwrap();
        let refused = StatusList::verify(&signed, &keys, URI, Millis(0));
        assert!(matches!(refused, Err(Error::Malformed(_))));
    }
}
