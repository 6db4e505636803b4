//! The weights of a graph model, by name.

use std::collections::HashMap;

use super::graph::{Graph, WeightSpec};
use super::{ConvertError, FORMAT, malformed, unsupported};
use crate::infer::convert::reader::Reader;

/// Every weight of a model.
#[derive(Debug)]
pub(super) struct Weights<'a> {
    by_name: HashMap<&'a str, Weight<'a>>,
}

/// One weight, as it lies in the file.
#[derive(Clone, Debug)]
pub(super) struct Weight<'a> {
    name: &'a str,
    dimensions: &'a [usize],
    storage: Storage,
    bytes: &'a [u8],
}

/// How the numbers of a weight are stored (little-endian).
#[derive(Clone, Copy, Debug)]
enum Storage {
    F32,
    F16,
    I32,
    /// `value · scale + min`
    U8 {
        scale: f32,
        min: f32,
    },
    /// `value · scale + min`
    U16 {
        scale: f32,
        min: f32,
    },
}

impl<'a> Weights<'a> {
    /// Divides the weight file up as the graph says; all of it must be claimed.
    pub(super) fn read(graph: &'a Graph, file: &'a [u8]) -> Result<Self, ConvertError> {
        let mut reader = Reader::new(file, FORMAT);
        let mut by_name = HashMap::new();
        for spec in graph.weights() {
            let storage = storage(spec)?;
            if spec.shape.contains(&0) {
                return Err(unsupported(format!("the empty weight {}", spec.name)));
            }
            let length = spec
                .shape
                .iter()
                .try_fold(storage.width(), |n, d| n.checked_mul(*d))
                .ok_or_else(|| malformed(format!("the weight {} has no size", spec.name)))?;
            let bytes = reader.take(length, "a weight")?;
            let weight = Weight { name: &spec.name, dimensions: &spec.shape, storage, bytes };
            by_name.insert(spec.name.as_str(), weight);
        }
        if reader.rest().is_empty() {
            Ok(Self { by_name })
        } else {
            Err(malformed("the weight file is longer than the weights"))
        }
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }

    pub(super) fn get(&self, name: &str) -> Result<Weight<'a>, ConvertError> {
        let weight = self.by_name.get(name).cloned();
        weight.ok_or_else(|| unsupported(format!("{name} as a constant, which it isn't")))
    }

    /// Makes `name` another name of the weight `of`.
    pub(super) fn alias(&mut self, name: &'a str, of: &str) -> Result<(), ConvertError> {
        let weight = self.get(of)?;
        self.by_name.insert(name, weight);
        Ok(())
    }
}

fn storage(spec: &WeightSpec) -> Result<Storage, ConvertError> {
    let unknown = |dtype: &str| unsupported(format!("weights of type {dtype}"));
    let Some(q) = &spec.quantization else {
        return match spec.dtype.as_str() {
            "float32" => Ok(Storage::F32),
            "int32" => Ok(Storage::I32),
            other => Err(unknown(other)),
        };
    };
    let range = || match (q.scale, q.min) {
        (Some(scale), Some(min)) if scale.is_finite() && min.is_finite() => Ok((scale, min)),
        _ => Err(malformed(format!("the weight {} lacks its scale", spec.name))),
    };
    match q.dtype.as_str() {
        "float16" => Ok(Storage::F16),
        "uint8" => range().map(|(scale, min)| Storage::U8 { scale, min }),
        "uint16" => range().map(|(scale, min)| Storage::U16 { scale, min }),
        other => Err(unknown(other)),
    }
}

impl Storage {
    /// Bytes per number.
    fn width(self) -> usize {
        match self {
            Self::F32 | Self::I32 => 4,
            Self::F16 | Self::U16 { .. } => 2,
            Self::U8 { .. } => 1,
        }
    }
}

impl Weight<'_> {
    /// Number of values.
    pub(super) fn len(&self) -> usize {
        self.bytes.len() / self.storage.width()
    }

    pub(super) fn dimensions(&self) -> &[usize] {
        self.dimensions
    }

    /// The dimensions, of which there must be `N`.
    pub(super) fn shape<const N: usize>(&self) -> Result<[usize; N], ConvertError> {
        self.dimensions
            .try_into()
            .map_err(|_| malformed(format!("the weight {} does not have {N} axes", self.name)))
    }

    /// The values as `f32`, all finite.
    pub(super) fn floats(&self) -> Result<Vec<f32>, ConvertError> {
        let two = || self.bytes.as_chunks::<2>().0.iter();
        let four = || self.bytes.as_chunks::<4>().0.iter();
        let values: Vec<f32> = match self.storage {
            Storage::F32 => four().map(|c| f32::from_le_bytes(*c)).collect(),
            Storage::I32 => four().map(|c| i32::from_le_bytes(*c) as f32).collect(),
            Storage::F16 => two().map(|c| from_half(u16::from_le_bytes(*c))).collect(),
            Storage::U8 { scale, min } => {
                self.bytes.iter().map(|b| f32::from(*b) * scale + min).collect()
            }
            Storage::U16 { scale, min } => {
                two().map(|c| f32::from(u16::from_le_bytes(*c)) * scale + min).collect()
            }
        };
        if values.iter().all(|v| v.is_finite()) {
            Ok(values)
        } else {
            Err(malformed(format!("the weight {} holds a value that is not finite", self.name)))
        }
    }

    /// The values as integers (shapes, axes and paddings are such).
    pub(super) fn integers(&self) -> Result<Vec<i64>, ConvertError> {
        if !matches!(self.storage, Storage::I32) {
            return Err(malformed(format!("the weight {} does not hold integers", self.name)));
        }
        Ok(self
            .bytes
            .as_chunks::<4>()
            .0
            .iter()
            .map(|c| i64::from(i32::from_le_bytes(*c)))
            .collect())
    }

    /// The values of a weight of four axes, with axis `order[i]` of the source as axis `i`.
    pub(super) fn permuted(&self, order: [usize; 4]) -> Result<Vec<f32>, ConvertError> {
        let shape: [usize; 4] = self.shape()?;
        let values = self.floats()?;
        let mut strides = [1; 4];
        for axis in (0..3).rev() {
            strides[axis] = strides[axis + 1] * shape[axis + 1];
        }
        let [a, b, c, d] = order;
        let mut out = Vec::with_capacity(values.len());
        for i in 0..shape[a] {
            for j in 0..shape[b] {
                for k in 0..shape[c] {
                    for l in 0..shape[d] {
                        let at = i * strides[a] + j * strides[b] + k * strides[c] + l * strides[d];
                        out.push(values[at]);
                    }
                }
            }
        }
        Ok(out)
    }
}

/// An IEEE 754 half-precision number. Exact: every such number is also a single-precision one.
fn from_half(h: u16) -> f32 {
    let sign = if h & 0x8000 == 0 { 1.0 } else { -1.0 };
    let exponent = i32::from((h >> 10) & 0x1f);
    let fraction = f32::from(h & 0x3ff) / 1024.0;
    sign * match exponent {
        0 => fraction * 2_f32.powi(-14),
        31 if fraction == 0.0 => f32::INFINITY,
        31 => f32::NAN,
        _ => (1.0 + fraction) * 2_f32.powi(exponent - 15),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    /// Values of IEEE 754-2019, table 3.5's binary16.
    #[rstest]
    #[case(0x3c00, 1.0)]
    #[case(0xc000, -2.0)]
    #[case(0x7bff, 65504.0)]
    #[case(0x0400, 6.103_515_6e-5)]
    #[case(0x0001, 5.960_464_5e-8)]
    #[case(0x3555, 0.333_251_95)]
    #[case(0x7c00, f32::INFINITY)]
    fn halves_widen_exactly(#[case] half: u16, #[case] single: f32) {
        assert_eq!(from_half(half).to_bits(), single.to_bits());
        assert!(from_half(0x7e00).is_nan());
    }

    #[test]
    fn axes_are_permuted_as_numpy_does() {
        let bytes: Vec<u8> = (0..24_i32).flat_map(i32::to_le_bytes).collect();
        let w =
            Weight { name: "w", dimensions: &[1, 2, 3, 4], storage: Storage::I32, bytes: &bytes };
        // numpy.arange(24).reshape(1, 2, 3, 4).transpose(3, 2, 0, 1).ravel()[:8]
        let out = w.permuted([3, 2, 0, 1]).unwrap();
        assert_eq!(out[..8], [0., 12., 4., 16., 8., 20., 1., 13.]);
    }
}
