//! SHA-256 (FIPS 180-4), HMAC-SHA-256 (RFC 2104) and one-block HKDF (RFC 5869).

use ring::{digest, hmac};
use zeroize::Zeroizing;

/// A SHA-256 output.
pub type Digest = [u8; 32];

/// The digest of `data`.
pub fn sha256(data: &[u8]) -> Digest {
    sha256_parts(&[data])
}

/// The digest of the concatenation of `parts`. The parts are not delimited: the caller sees to it
/// that no two inputs concatenate alike.
pub fn sha256_parts(parts: &[&[u8]]) -> Digest {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finish()
}

/// A digest in the making. Implements [`std::io::Write`], so `std::io::copy` can feed it.
#[derive(Clone)]
pub struct Sha256(digest::Context);

impl Sha256 {
    /// The digest of nothing so far.
    pub fn new() -> Self {
        Self(digest::Context::new(&digest::SHA256))
    }

    /// Adds `data`.
    pub fn update(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    /// The digest of all that was added.
    pub fn finish(self) -> Digest {
        to_array(self.0.finish().as_ref())
    }

    /// The digest as lower-case hex.
    pub fn finish_hex(self) -> String {
        hex::encode(self.finish())
    }
}

impl Default for Sha256 {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sha256(..)")
    }
}

impl std::io::Write for Sha256 {
    fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
        self.update(buf);
        Ok(buf.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// HMAC-SHA-256 of `data` under `key`.
pub fn hmac_sha256(key: &[u8], data: &[u8]) -> Digest {
    to_array(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), data).as_ref())
}

/// HKDF-SHA-256 (RFC 5869): 32 bytes from input keying material, a salt and an `info` label.
/// One output block only, which is all a 256-bit key needs.
pub fn hkdf_sha256(ikm: &[u8], salt: &[u8], info: &[u8]) -> Zeroizing<[u8; 32]> {
    let prk = Zeroizing::new(hmac_sha256(salt, ikm));
    let mut block = Zeroizing::new(Vec::with_capacity(info.len() + 1));
    block.extend_from_slice(info);
    block.push(1);
    Zeroizing::new(hmac_sha256(prk.as_slice(), &block))
}

/// `ring` returns slices of the algorithm's output length, which is 32 here.
fn to_array(bytes: &[u8]) -> Digest {
    let mut out = [0; 32];
    for (to, from) in out.iter_mut().zip(bytes) {
        *to = *from;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FIPS 180-4 example "abc".
    #[test]
    fn sha256_of_abc_in_any_split() {
        let want = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hex::encode(sha256(b"abc")), want);
        assert_eq!(hex::encode(sha256_parts(&[b"a", b"", b"bc"])), want);
        let mut h = Sha256::new();
        std::io::copy(&mut &b"abc"[..], &mut h).unwrap();
        assert_eq!(h.finish_hex(), want);
    }

    /// RFC 5869 appendix A.1, the first block of its 42-byte output.
    #[test]
    fn hkdf_test_case_1() {
        let salt = hex::decode("000102030405060708090a0b0c").unwrap();
        let info = hex::decode("f0f1f2f3f4f5f6f7f8f9").unwrap();
        assert_eq!(
            hex::encode(hkdf_sha256(&[0x0b; 22], &salt, &info).as_slice()),
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf"
        );
    }
}
