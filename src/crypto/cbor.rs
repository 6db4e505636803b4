//! Deterministic CBOR: the core requirements of RFC 8949 §4.2.1 (shortest forms, definite
//! lengths, map keys in bytewise order of their encodings, no duplicates).
//!
//! Everything this service signs or hashes is written by [`encode`], and everything it verifies
//! is read by [`decode`], which refuses any other spelling of the same value. So a value has one
//! encoding, and a signature or a hash covers the value and not just its spelling.

pub use ciborium::Value;

/// Deepest nesting that [`decode`] follows. Tokens and log entries need six.
const MAX_DEPTH: usize = 16;

/// Why bytes are not one deterministically encoded CBOR item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// More bytes than the caller allows.
    #[error("{len} bytes of CBOR are more than the {max} allowed here")]
    TooLarge {
        /// Bytes given.
        len: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// Not well-formed CBOR, cut short, or nested too deeply.
    #[error("not well-formed CBOR")]
    Malformed,
    /// Bytes follow the item.
    #[error("{0} bytes follow the CBOR item")]
    TrailingBytes(usize),
    /// Well-formed, but not in deterministic form.
    #[error("CBOR is not in deterministic form (RFC 8949, section 4.2.1)")]
    NotDeterministic,
    /// A map has the same key twice.
    #[error("a CBOR map holds a key twice")]
    DuplicateKey,
}

/// The deterministic encoding of `value`. Map entries are sorted; a caller must not build a map
/// with duplicate keys.
pub fn encode(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    write(value, &mut out);
    out
}

/// Reads the one item that `bytes` holds.
///
/// # Errors
/// See [`Error`]; the memory used is at most a small multiple of `max_len`.
pub fn decode(bytes: &[u8], max_len: usize) -> Result<Value, Error> {
    if bytes.len() > max_len {
        return Err(Error::TooLarge { len: bytes.len(), max: max_len });
    }
    let mut rest = bytes;
    let value: Value = ciborium::de::from_reader_with_recursion_limit(&mut rest, MAX_DEPTH)
        .map_err(|_| Error::Malformed)?;
    if !rest.is_empty() {
        return Err(Error::TrailingBytes(rest.len()));
    }
    refuse_duplicates(&value)?;
    if encode(&value) != bytes {
        return Err(Error::NotDeterministic);
    }
    Ok(value)
}

/// A decoded map whose entries are taken out one by one, so that what is left over is known.
#[derive(Debug)]
pub struct Fields(Vec<(Value, Value)>);

impl Fields {
    /// The entries of `value`, or `None` where it is not a map.
    pub fn of(value: Value) -> Option<Self> {
        value.into_map().ok().map(Self)
    }

    /// Takes the entry of an integer key.
    pub fn take(&mut self, key: i64) -> Option<Value> {
        let at = self.0.iter().position(|(k, _)| *k == Value::from(key))?;
        Some(self.0.swap_remove(at).1)
    }

    /// Whether every entry was taken.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The unsigned integer in `value`.
pub fn uint(value: &Value) -> Option<u64> {
    value.as_integer().and_then(|i| u64::try_from(i).ok())
}

/// The signed integer in `value`.
pub fn int(value: &Value) -> Option<i64> {
    value.as_integer().and_then(|i| i64::try_from(i).ok())
}

/// The byte string of exactly `N` bytes in `value`.
pub fn byte_array<const N: usize>(value: &Value) -> Option<[u8; N]> {
    value.as_bytes().and_then(|b| b.as_slice().try_into().ok())
}

fn refuse_duplicates(value: &Value) -> Result<(), Error> {
    match value {
        Value::Array(items) => items.iter().try_for_each(refuse_duplicates),
        Value::Tag(_, inner) => refuse_duplicates(inner),
        Value::Map(entries) => {
            let mut keys: Vec<Vec<u8>> = entries.iter().map(|(k, _)| encode(k)).collect();
            keys.sort_unstable();
            if keys.windows(2).any(|w| w[0] == w[1]) {
                return Err(Error::DuplicateKey);
            }
            entries
                .iter()
                .try_for_each(|(k, v)| refuse_duplicates(k).and_then(|()| refuse_duplicates(v)))
        }
        _ => Ok(()),
    }
}

fn write(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Integer(i) => {
            // A CBOR integer lies in -2^64 ..= 2^64-1, so neither conversion can lose anything.
            let i = i128::from(*i);
            if i >= 0 { head(0, i as u64, out) } else { head(1, (-1 - i) as u64, out) }
        }
        Value::Bytes(b) => {
            head(2, b.len() as u64, out);
            out.extend_from_slice(b);
        }
        Value::Text(t) => {
            head(3, t.len() as u64, out);
            out.extend_from_slice(t.as_bytes());
        }
        Value::Array(items) => {
            head(4, items.len() as u64, out);
            for item in items {
                write(item, out);
            }
        }
        Value::Map(entries) => {
            head(5, entries.len() as u64, out);
            let mut encoded: Vec<(Vec<u8>, &Value)> =
                entries.iter().map(|(k, v)| (encode(k), v)).collect();
            encoded.sort_by(|a, b| a.0.cmp(&b.0));
            for (key, value) in encoded {
                out.extend_from_slice(&key);
                write(value, out);
            }
        }
        Value::Tag(tag, inner) => {
            head(6, *tag, out);
            write(inner, out);
        }
        Value::Float(f) => float(*f, out),
        Value::Bool(b) => out.push(if *b { 0xf5 } else { 0xf4 }),
        // `Value` is non-exhaustive; null is the only other kind it can decode to.
        _ => out.push(0xf6),
    }
}

/// The initial byte and the shortest form of the argument (RFC 8949 §3).
fn head(major: u8, n: u64, out: &mut Vec<u8>) {
    let major = major << 5;
    if n < 24 {
        out.push(major | n as u8);
    } else if let Ok(n) = u8::try_from(n) {
        out.extend_from_slice(&[major | 0x18, n]);
    } else if let Ok(n) = u16::try_from(n) {
        out.push(major | 0x19);
        out.extend_from_slice(&n.to_be_bytes());
    } else if let Ok(n) = u32::try_from(n) {
        out.push(major | 0x1a);
        out.extend_from_slice(&n.to_be_bytes());
    } else {
        out.push(major | 0x1b);
        out.extend_from_slice(&n.to_be_bytes());
    }
}

/// The shortest of the half, single and double forms that keeps the value.
fn float(f: f64, out: &mut Vec<u8>) {
    let single = f as f32;
    if f.is_nan() {
        out.extend_from_slice(&[0xf9, 0x7e, 0x00]);
    } else if f64::from(single).to_bits() != f.to_bits() {
        out.push(0xfb);
        out.extend_from_slice(&f.to_be_bytes());
    } else if let Some(half) = exact_half(single) {
        out.push(0xf9);
        out.extend_from_slice(&half.to_be_bytes());
    } else {
        out.push(0xfa);
        out.extend_from_slice(&single.to_be_bytes());
    }
}

/// The IEEE 754 half-precision bits of `f`, where they hold it exactly. `f` is not NaN.
fn exact_half(f: f32) -> Option<u16> {
    let bits = f.to_bits();
    let sign = (bits >> 16) as u16 & 0x8000;
    let fraction = bits & 0x007f_ffff;
    let exponent = (bits >> 23 & 0xff) as i32 - 127;
    match exponent {
        -127 if fraction == 0 => Some(sign),
        128 => Some(sign | 0x7c00),
        -14..=15 if fraction.trailing_zeros() >= 13 => {
            Some(sign | ((exponent + 15) as u16) << 10 | (fraction >> 13) as u16)
        }
        // Subnormal halves count units of 2^-24.
        -24..=-15 => {
            let significand = fraction | 0x0080_0000;
            let shift = (-1 - exponent) as u32;
            (significand.trailing_zeros() >= shift).then(|| sign | (significand >> shift) as u16)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hexed(v: &Value) -> String {
        hex::encode(encode(v))
    }

    /// Values and encodings from RFC 8949 appendix A.
    #[test]
    fn rfc_8949_appendix_a() {
        for (value, want) in [
            (Value::from(0), "00"),
            (Value::from(23), "17"),
            (Value::from(24), "1818"),
            (Value::from(1000), "1903e8"),
            (Value::from(1_000_000), "1a000f4240"),
            (Value::from(u64::MAX), "1bffffffffffffffff"),
            (Value::from(-1), "20"),
            (Value::from(-1000), "3903e7"),
            (Value::Float(0.0), "f90000"),
            (Value::Float(-0.0), "f98000"),
            (Value::Float(1.1), "fb3ff199999999999a"),
            (Value::Float(65504.0), "f97bff"),
            (Value::Float(100_000.0), "fa47c35000"),
            (Value::Float(5.960_464_477_539_063e-8), "f90001"),
            (Value::Float(0.000_061_035_156_25), "f90400"),
            (Value::Float(f64::INFINITY), "f97c00"),
            (Value::Float(f64::NAN), "f97e00"),
            (Value::Bytes(vec![1, 2, 3, 4]), "4401020304"),
            (Value::Text("ü".into()), "62c3bc"),
            (Value::Tag(1, Box::new(Value::from(1_363_896_240))), "c11a514b67b0"),
            (Value::Null, "f6"),
        ] {
            assert_eq!(hexed(&value), want, "{value:?}");
        }
    }

    #[test]
    fn maps_are_sorted_and_other_spellings_refused() {
        let map = Value::Map(vec![
            (Value::from(-1), Value::from(1)),
            (Value::from(10), Value::from(2)),
            (Value::Text("z".into()), Value::from(3)),
            (Value::from(100), Value::from(4)),
        ]);
        assert_eq!(hexed(&map), "a40a02186404200161 7a03".replace(' ', ""));
        for (bytes, want) in [
            ("a2200a0a01", Error::NotDeterministic), // keys out of order
            ("1800", Error::NotDeterministic),       // longer than needed
            ("9f01ff", Error::NotDeterministic),     // indefinite length
            ("fa3f800000", Error::NotDeterministic), // 1.0 fits a half
            ("c24101", Error::NotDeterministic),     // a bignum that fits an integer
            ("a201010102", Error::DuplicateKey),
            ("0000", Error::TrailingBytes(1)),
            ("58", Error::Malformed),
            ("", Error::Malformed),
            ("5b7fffffffffffffff00", Error::Malformed), // claims 2^63 bytes
        ] {
            assert_eq!(decode(&hex::decode(bytes).unwrap(), 99), Err(want), "{bytes}");
        }
        assert_eq!(decode(&[0; 9], 8), Err(Error::TooLarge { len: 9, max: 8 }));
        assert_eq!(decode(&[0x81; 64], 64), Err(Error::Malformed)); // too deep
    }

    fn arbitrary() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<u64>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::Float),
            any::<f32>().prop_map(|f| Value::Float(f.into())),
            (-2000i32..2000).prop_map(|i| Value::Float(f64::from(i) / 64.0)),
            any::<bool>().prop_map(Value::Bool),
            proptest::collection::vec(any::<u8>(), 0..40).prop_map(Value::Bytes),
            "\\PC{0,30}".prop_map(Value::Text),
            Just(Value::Null),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::Array),
                proptest::collection::btree_map(any::<i64>(), inner, 0..6).prop_map(|m| {
                    Value::Map(m.into_iter().map(|(k, v)| (Value::from(k), v)).collect())
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_encoded_decodes_and_is_stable(v in arbitrary()) {
            let bytes = encode(&v);
            let back = decode(&bytes, bytes.len()).unwrap();
            prop_assert_eq!(encode(&back), bytes);
        }

        /// `ciborium` picks the shortest float too: an independent check of the half conversion.
        #[test]
        fn floats_agree_with_ciborium(bits in any::<u32>()) {
            let v = Value::Float(f32::from_bits(bits & 0xffff_e000).into());
            let mut theirs = Vec::new();
            ciborium::into_writer(&v, &mut theirs).unwrap();
            if !v.as_float().unwrap().is_nan() {
                prop_assert_eq!(encode(&v), theirs);
            }
        }

        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(v) = decode(&bytes, 200) {
                prop_assert_eq!(encode(&v), bytes);
            }
        }
    }
}
