//! The safetensors container: named tensors behind a JSON header, the format in which generators
//! load their weights (<https://huggingface.co/docs/safetensors>).
//!
//! ```text
//! 8 bytes   N, little-endian
//! N bytes   JSON: "__metadata__" (texts by name), and for each tensor dtype, shape, data_offsets
//! the rest  the tensors' values, little-endian, in the order of their offsets, without gaps
//! ```
//!
//! Written in one way only (header keys sorted, padded with spaces to 8 bytes; wide types first, then
//! by name) and read strictly: what [`encode`](Container::encode) would not write is refused.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

/// The largest header, in bytes.
const MAX_HEADER: usize = 64 << 10;
/// The most tensors.
const MAX_TENSORS: usize = 64;
/// The most dimensions of one.
const MAX_RANK: usize = 8;
const METADATA: &str = "__metadata__";

/// Why bytes are not an acceptable container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a safetensors file: {0}")]
pub struct Malformed(pub &'static str);

/// A tensor's element type, by the name that the format gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Dtype {
    /// IEEE 754 single precision.
    F32,
    /// IEEE 754 half precision.
    F16,
    /// bfloat16.
    BF16,
    /// Unsigned bytes.
    U8,
}

impl Dtype {
    /// Bytes for one element.
    pub fn size(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::BF16 => 2,
            Self::U8 => 1,
        }
    }
}

/// One tensor. Wiped when dropped; its `Debug` shows no value.
#[derive(Clone, PartialEq, Eq)]
pub struct Tensor {
    /// Element type.
    pub dtype: Dtype,
    /// Extents, outermost first.
    pub shape: Vec<usize>,
    /// The values, little-endian, row-major.
    pub data: Vec<u8>,
}

impl Tensor {
    /// A single-precision tensor.
    pub fn f32(shape: Vec<usize>, values: &[f32]) -> Self {
        let data = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        Self { dtype: Dtype::F32, shape, data }
    }

    /// The values, where they are single precision.
    pub fn to_f32(&self) -> Option<Vec<f32>> {
        let (values, rest) = self.data.as_chunks::<4>();
        (self.dtype == Dtype::F32 && rest.is_empty())
            .then(|| values.iter().map(|v| f32::from_le_bytes(*v)).collect())
    }

    /// The bytes that type and shape ask for.
    fn expected(&self) -> Option<usize> {
        let elements = self.shape.iter().try_fold(1usize, |n, side| n.checked_mul(*side))?;
        elements.checked_mul(self.dtype.size())
    }
}

impl Drop for Tensor {
    fn drop(&mut self) {
        self.data.zeroize();
    }
}

impl std::fmt::Debug for Tensor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tensor({:?} {:?}, redacted)", self.dtype, self.shape)
    }
}

/// Tensors and texts by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Container {
    /// The texts.
    pub metadata: BTreeMap<String, String>,
    /// The tensors.
    pub tensors: BTreeMap<String, Tensor>,
}

/// A tensor in the header.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Place {
    data_offsets: [usize; 2],
    dtype: Dtype,
    shape: Vec<usize>,
}

impl Container {
    /// The container's bytes.
    ///
    /// # Errors
    /// [`Malformed`] where a tensor's bytes are not what its type and shape ask for, or there is
    /// more than the format's reader takes.
    pub fn encode(&self) -> Result<Zeroizing<Vec<u8>>, Malformed> {
        if self.tensors.len() > MAX_TENSORS || self.tensors.contains_key(METADATA) {
            return Err(Malformed("it has more tensors than it may, or one with a kept name"));
        }
        let mut order: Vec<_> = self.tensors.iter().collect();
        order.sort_by_key(|(name, t)| (std::cmp::Reverse(t.dtype.size()), *name));
        let mut header = serde_json::Map::new();
        let mut at = 0usize;
        for (name, tensor) in &order {
            if tensor.shape.len() > MAX_RANK || tensor.expected() != Some(tensor.data.len()) {
                return Err(Malformed("a tensor's bytes are not what its shape asks for"));
            }
            let end = at + tensor.data.len();
            let place =
                Place { data_offsets: [at, end], dtype: tensor.dtype, shape: tensor.shape.clone() };
            header.insert((*name).clone(), json(&place)?);
            at = end;
        }
        if !self.metadata.is_empty() {
            header.insert(METADATA.into(), json(&self.metadata)?);
        }
        let mut header = serde_json::to_vec(&header).map_err(|_| Malformed("its header"))?;
        header.resize(header.len().next_multiple_of(8), b' ');
        if header.len() > MAX_HEADER {
            return Err(Malformed("its header is too long"));
        }
        // Reserved in full, so that no partial copy is left behind by a growing buffer.
        let mut out = Zeroizing::new(Vec::with_capacity(8 + header.len() + at));
        out.extend_from_slice(&(header.len() as u64).to_le_bytes());
        out.extend_from_slice(&header);
        for (_, tensor) in order {
            out.extend_from_slice(&tensor.data);
        }
        Ok(out)
    }

    /// Reads what [`encode`](Self::encode) writes.
    ///
    /// # Errors
    /// [`Malformed`], also for another spelling of the same content.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let (len, rest) = bytes.split_first_chunk::<8>().ok_or(Malformed("it is cut short"))?;
        let len = usize::try_from(u64::from_le_bytes(*len)).unwrap_or(usize::MAX);
        if len > MAX_HEADER || len > rest.len() {
            return Err(Malformed("its header is too long or cut short"));
        }
        let (header, values) = rest.split_at(len);
        let header: BTreeMap<String, serde_json::Value> = serde_json::from_slice(header)
            .map_err(|_| Malformed("its header is no JSON object"))?;
        if header.len() > MAX_TENSORS + 1 {
            return Err(Malformed("it has too many tensors"));
        }
        let mut container = Self::default();
        for (name, value) in header {
            if name == METADATA {
                container.metadata = serde_json::from_value(value)
                    .map_err(|_| Malformed("its metadata are not texts"))?;
                continue;
            }
            let place: Place = serde_json::from_value(value)
                .map_err(|_| Malformed("a tensor has an unknown type or field"))?;
            let [from, to] = place.data_offsets;
            let data = values.get(from..to).ok_or(Malformed("an offset is out of range"))?.to_vec();
            container.tensors.insert(name, Tensor { dtype: place.dtype, shape: place.shape, data });
        }
        // Overlaps, gaps, double names and other spellings all come out in other bytes.
        if container.encode()?.as_slice() == bytes {
            Ok(container)
        } else {
            Err(Malformed("it is not written as this format's writer writes it"))
        }
    }
}

fn json<T: Serialize>(value: &T) -> Result<serde_json::Value, Malformed> {
    serde_json::to_value(value).map_err(|_| Malformed("its header"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sample() -> Container {
        let mut c = Container::default();
        c.metadata.insert("format".into(), "test \"quoted\" ü".into());
        c.tensors.insert("b".into(), Tensor::f32(vec![2, 2], &[1.0, -0.0, f32::MIN, 0.5]));
        let bytes = Tensor { dtype: Dtype::U8, shape: vec![3], data: vec![1, 2, 3] };
        c.tensors.insert("a".into(), bytes);
        c.tensors.insert("empty".into(), Tensor::f32(vec![0], &[]));
        c
    }

    #[test]
    fn comes_back_as_it_went() {
        let bytes = sample().encode().unwrap();
        assert_eq!(Container::decode(&bytes).unwrap(), sample());
        let len = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        assert_eq!(len % 8, 0);
        // Wide types first, so that every tensor lies aligned.
        let header: serde_json::Value = serde_json::from_slice(&bytes[8..8 + len]).unwrap();
        assert_eq!(header["b"]["data_offsets"], serde_json::json!([0, 16]));
        assert_eq!(header["a"]["data_offsets"], serde_json::json!([16, 19]));
        assert!(format!("{:?}", sample()).contains("redacted"));
    }

    #[test]
    fn other_spellings_gaps_and_lies_are_refused() {
        let write = |header: &str, values: usize| {
            let mut out = (header.len() as u64).to_le_bytes().to_vec();
            out.extend_from_slice(header.as_bytes());
            out.extend(vec![0; values]);
            out
        };
        let place = |from: usize, to: usize, shape: &str| {
            format!(r#"{{"data_offsets":[{from},{to}],"dtype":"F32","shape":{shape}}}"#)
        };
        let pad = |s: String| format!("{s:w$}", w = s.len().next_multiple_of(8));
        let good = pad(format!(r#"{{"a":{}}}"#, place(0, 4, "[1]")));
        assert!(Container::decode(&write(&good, 4)).is_ok());
        for (header, values) in [
            (good.clone(), 5),
            (good.clone(), 3),
            (format!("{good}        "), 4),
            (pad(format!(r#"{{ "a":{}}}"#, place(0, 4, "[1]"))), 4),
            (pad(format!(r#"{{"a":{}}}"#, place(0, 4, "[2]"))), 4),
            (pad(format!(r#"{{"a":{}}}"#, place(4, 8, "[1]"))), 8),
            (pad(format!(r#"{{"a":{}}}"#, place(0, usize::MAX, "[1]"))), 4),
            (pad(format!(r#"{{"a":{},"b":{}}}"#, place(0, 4, "[1]"), place(0, 4, "[1]"))), 4),
            (pad(format!(r#"{{"a":{},"a":{}}}"#, place(0, 4, "[1]"), place(4, 8, "[1]"))), 8),
            (pad(format!(r#"{{"a":{}}}"#, place(0, 4, "[4294967296,4294967296,4]"))), 4),
            (pad(r#"{"__metadata__":{"a":1}}"#.to_owned()), 0),
            (pad("[]".to_owned()), 0),
        ] {
            assert!(Container::decode(&write(&header, values)).is_err(), "{header}");
        }
        assert!(Container::decode(&u64::MAX.to_le_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn altered_bytes_never_panic(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let mut bytes = sample().encode().unwrap().to_vec();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            if let Ok(c) = Container::decode(&bytes) {
                let again = c.encode().unwrap();
                prop_assert_eq!(again.as_slice(), &bytes[..]);
            }
            let _ = Container::decode(&bytes[..at]);
        }
    }
}
