//! Sealing to a recipient's public key: HPKE (RFC 9180) in base mode, with the one suite that
//! COSE-HPKE calls HPKE-4: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20-Poly1305.
//!
//! The `hpke` crate does it, and this is the only file that names it. `ring` can't: it agrees with
//! ephemeral X25519 keys only, and a recipient has to open with a key that it keeps.

use hpke::aead::ChaCha20Poly1305;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256 as Kem;
use hpke::rand_core::{TryCryptoRng, TryRng};
use hpke::{Deserializable as _, Kem as _, OpModeR, OpModeS, Serializable as _};
use zeroize::Zeroizing;

use super::cbor::{self, Value};
use super::hash::sha256;
use super::{Error, KeyId};
use crate::env::{self, Entropy};

/// Length of a public key and of an encapsulated key, in bytes.
pub const KEY_LEN: usize = 32;
/// How much longer a ciphertext is than its plaintext, in bytes.
pub const TAG_LEN: usize = 16;

/// A recipient's X25519 public key (RFC 7748).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RecipientKey([u8; KEY_LEN]);

impl RecipientKey {
    /// The key of these bytes. Nothing can be sealed to a point of small order; a key that comes
    /// from outside is [`checked`](Self::checked) where it comes in.
    pub fn from_bytes(bytes: [u8; KEY_LEN]) -> Self {
        Self(bytes)
    }

    /// The key, where something can be sealed to it.
    ///
    /// # Errors
    /// [`Error::BadKey`] for a point of small order, whose shared secrets everyone knows
    /// (RFC 9180 §7.1.4).
    pub fn checked(self) -> Result<Self, Error> {
        hpke::setup_sender_with_rng::<ChaCha20Poly1305, HkdfSha256, Kem>(
            &OpModeS::Base,
            &self.point()?,
            b"",
            // It is thrown away, so it needs no randomness.
            &mut FixedRng([0x42; KEY_LEN]),
        )
        .map_err(|_| bad("it is a point of small order; make a fresh key"))?;
        Ok(self)
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; KEY_LEN] {
        &self.0
    }

    /// The key's name: the first eight bytes of its COSE Key Thumbprint (RFC 9679).
    pub fn id(&self) -> KeyId {
        let thumbprint = sha256(&cbor::encode(&Value::Map(vec![
            (Value::from(1), Value::from(1)),  // kty: OKP
            (Value::from(-1), Value::from(4)), // crv: X25519
            (Value::from(-2), Value::Bytes(self.0.to_vec())),
        ])));
        let mut id = [0; 8];
        id.copy_from_slice(&thumbprint[..8]);
        KeyId(id)
    }

    /// Seals `plaintext` so that only the holder of the private key can open it, and only with the
    /// same `info` and `aad`.
    ///
    /// # Errors
    /// [`Error::BadKey`] where the key is a point of small order.
    pub fn seal(
        &self,
        info: &[u8],
        aad: &[u8],
        plaintext: &[u8],
        entropy: &dyn Entropy,
    ) -> Result<Sealed, Error> {
        let (enc, ciphertext) =
            hpke::single_shot_seal_with_rng::<ChaCha20Poly1305, HkdfSha256, Kem>(
                &OpModeS::Base,
                &self.point()?,
                info,
                plaintext,
                aad,
                &mut EntropyRng(entropy),
            )
            .map_err(|_| bad("nothing can be sealed to it"))?;
        Ok(Sealed { enc: enc.to_bytes().into(), ciphertext })
    }

    fn point(&self) -> Result<<Kem as hpke::Kem>::PublicKey, Error> {
        <Kem as hpke::Kem>::PublicKey::from_bytes(&self.0).map_err(|_| bad("it has a wrong length"))
    }
}

impl std::fmt::Debug for RecipientKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RecipientKey({})", self.id())
    }
}

/// What HPKE's single-shot seal gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// The encapsulated key (`enc` in RFC 9180, `ek` in COSE-HPKE).
    pub enc: [u8; KEY_LEN],
    /// The ciphertext and its tag.
    pub ciphertext: Vec<u8>,
}

/// A recipient's X25519 private key.
#[derive(Clone)]
pub struct RecipientSecret {
    public: RecipientKey,
    secret: Zeroizing<[u8; KEY_LEN]>,
}

impl RecipientSecret {
    /// A fresh key.
    ///
    /// # Errors
    /// As [`from_bytes`](Self::from_bytes).
    pub fn generate(entropy: &dyn Entropy) -> Result<Self, Error> {
        Self::from_bytes(&env::random(entropy))
    }

    /// The key of 32 bytes (RFC 7748 clamps them).
    ///
    /// # Errors
    /// [`Error::BadKey`].
    pub fn from_bytes(bytes: &[u8; KEY_LEN]) -> Result<Self, Error> {
        let secret = private(bytes)?;
        let public = RecipientKey::from_bytes(Kem::sk_to_pk(&secret).to_bytes().into());
        Ok(Self { public, secret: Zeroizing::new(*bytes) })
    }

    /// The public half.
    pub fn public(&self) -> RecipientKey {
        self.public
    }

    /// The 32 bytes, to be written to the recipient's own key file.
    pub fn expose(&self) -> &[u8; KEY_LEN] {
        &self.secret
    }

    /// Opens what was sealed to the public half with the same `info` and `aad`.
    ///
    /// # Errors
    /// [`Error::NotAuthentic`] for another key, other data, or altered bytes.
    pub fn open(
        &self,
        info: &[u8],
        aad: &[u8],
        sealed: &Sealed,
    ) -> Result<Zeroizing<Vec<u8>>, Error> {
        let enc = <Kem as hpke::Kem>::EncappedKey::from_bytes(&sealed.enc)
            .map_err(|_| Error::NotAuthentic)?;
        hpke::single_shot_open::<ChaCha20Poly1305, HkdfSha256, Kem>(
            &OpModeR::Base,
            &private(&self.secret)?,
            &enc,
            info,
            &sealed.ciphertext,
            aad,
        )
        .map(Zeroizing::new)
        .map_err(|_| Error::NotAuthentic)
    }
}

impl std::fmt::Debug for RecipientSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RecipientSecret({}, redacted)", self.public.id())
    }
}

fn private(bytes: &[u8; KEY_LEN]) -> Result<<Kem as hpke::Kem>::PrivateKey, Error> {
    <Kem as hpke::Kem>::PrivateKey::from_bytes(bytes).map_err(|_| bad("it has a wrong length"))
}

fn bad(why: &'static str) -> Error {
    Error::BadKey { what: "an X25519 key", why }
}

/// The injected randomness, in the shape that `hpke` asks for.
struct EntropyRng<'a>(&'a dyn Entropy);

impl TryRng for EntropyRng<'_> {
    type Error = std::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        Ok(u32::from_le_bytes(env::random(self.0)))
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        Ok(u64::from_le_bytes(env::random(self.0)))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Self::Error> {
        self.0.fill(out);
        Ok(())
    }
}

impl TryCryptoRng for EntropyRng<'_> {}

/// Bytes that are no secret: for looking at a public key, and for test vectors.
struct FixedRng([u8; KEY_LEN]);

impl TryRng for FixedRng {
    type Error = std::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        Ok(u32::from_le_bytes([self.0[0], self.0[1], self.0[2], self.0[3]]))
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        Ok(u64::from(self.try_next_u32()?))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Self::Error> {
        for (to, from) in out.iter_mut().zip(self.0.iter().cycle()) {
            *to = *from;
        }
        Ok(())
    }
}

impl TryCryptoRng for FixedRng {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::SeededEntropy;

    fn bytes<const N: usize>(hex: &str) -> [u8; N] {
        hex::decode(hex).unwrap().try_into().unwrap()
    }

    /// RFC 9180 appendix A.2.1: base setup, the first encryption, both ways.
    #[test]
    fn rfc_9180_a_2_1() {
        let info = hex::decode("4f6465206f6e2061204772656369616e2055726e").unwrap();
        let aad = b"Count-0";
        let plaintext = b"Beauty is truth, truth beauty";
        let secret = RecipientSecret::from_bytes(&bytes(
            "8057991eef8f1f1af18f4a9491d16a1ce333f695d4db8e38da75975c4478e0fb",
        ))
        .unwrap();
        assert_eq!(
            hex::encode(secret.public().as_bytes()),
            "4310ee97d88cc1f088a5576c77ab0cf5c3ac797f3d95139c6c84b5429c59662a"
        );
        let sealed = Sealed {
            enc: bytes("1afa08d3dec047a643885163f1180476fa7ddb54c6a8029ea33f95796bf2ac4a"),
            ciphertext: hex::decode(
                "1c5250d8034ec2b784ba2cfd69dbdb8af406cfe3ff938e131f0def8c8b60b4db\
                 21993c62ce81883d2dd1b51a28",
            )
            .unwrap(),
        };
        assert_eq!(secret.open(&info, aad, &sealed).unwrap().as_slice(), plaintext);

        // The same from the sender's side, with the vector's ikmE as randomness.
        let ikm = bytes("909a9b35d3dc4713a5e72a4da274b55d3d3821a37e5d099e74a647db583a904b");
        let (enc, ciphertext) =
            hpke::single_shot_seal_with_rng::<ChaCha20Poly1305, HkdfSha256, Kem>(
                &OpModeS::Base,
                &secret.public().point().unwrap(),
                &info,
                plaintext,
                aad,
                &mut FixedRng(ikm),
            )
            .unwrap();
        assert_eq!((enc.to_bytes().as_slice(), ciphertext), (&sealed.enc[..], sealed.ciphertext));
    }

    #[test]
    fn only_the_recipient_opens_and_only_in_place() {
        let e = SeededEntropy::new(1);
        let (ours, other) =
            (RecipientSecret::generate(&e).unwrap(), RecipientSecret::generate(&e).unwrap());
        let sealed = ours.public().seal(b"", b"aad", b"vector", &e).unwrap();
        assert_eq!(sealed.ciphertext.len(), 6 + TAG_LEN);
        assert_eq!(ours.open(b"", b"aad", &sealed).unwrap().as_slice(), b"vector");
        assert_eq!(other.open(b"", b"aad", &sealed), Err(Error::NotAuthentic));
        assert_eq!(ours.open(b"", b"other", &sealed), Err(Error::NotAuthentic));
        assert_eq!(ours.open(b"x", b"aad", &sealed), Err(Error::NotAuthentic));
        let again = ours.public().seal(b"", b"aad", b"vector", &e).unwrap();
        assert_ne!(again, sealed, "two sealings can't be linked");
        for at in 0..sealed.ciphertext.len() {
            let mut altered = sealed.clone();
            altered.ciphertext[at] ^= 1;
            assert_eq!(ours.open(b"", b"aad", &altered), Err(Error::NotAuthentic));
        }
        assert!(!format!("{ours:?}").contains(&hex::encode(&ours.expose()[..4])));
    }

    /// The points whose shared secret is known to everyone (RFC 7748 §6.1).
    #[test]
    fn points_of_small_order_are_no_keys() {
        for hex in [
            "0000000000000000000000000000000000000000000000000000000000000000",
            "0100000000000000000000000000000000000000000000000000000000000000",
            "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        ] {
            assert!(RecipientKey::from_bytes(bytes(hex)).checked().is_err(), "{hex}");
        }
    }
}
