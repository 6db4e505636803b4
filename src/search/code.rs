//! A vector as an index keeps it: signs, eight bits a value, and what brings them back to scale.

use zeroize::{Zeroize, Zeroizing};

use super::index::Refused;
use super::kernel::LANES;
use crate::domain::template::Metric;

/// The largest stored value.
const STORED: f32 = 127.0;
/// The largest value of a query. With 12 bits a value the sum over [`MAX_DIM`](super::MAX_DIM) values
/// stays below 2^31: 2,048 x 127 x 2,047.
const ASKED: f32 = 2047.0;

/// A vector on its way into an index, or one that is looked for.
pub(super) struct Coded<V: Zeroize> {
    /// Sign bits, the first value in the lowest bit.
    pub(super) signs: Zeroizing<Vec<u64>>,
    /// The values over `scale`, rounded; filled up with zeros to whole [`LANES`].
    pub(super) values: Zeroizing<Vec<V>>,
    /// What a value of one stands for.
    pub(super) scale: f32,
    /// The squared Euclidean length of the vector.
    pub(super) squared: f32,
}

/// The width that a vector of `dim` values is kept in.
pub(super) fn padded(dim: usize) -> usize {
    dim.next_multiple_of(LANES)
}

/// Codes a vector to be stored.
pub(super) fn store(vector: &[f32], metric: Metric) -> Result<Coded<i8>, Refused> {
    code(vector, metric, STORED, |v| v as i8)
}

/// Codes a vector to be looked for.
pub(super) fn ask(vector: &[f32], metric: Metric) -> Result<Coded<i16>, Refused> {
    code(vector, metric, ASKED, |v| v as i16)
}

fn code<V: Clone + Default + Zeroize>(
    vector: &[f32],
    metric: Metric,
    largest: f32,
    round: impl Fn(f32) -> V,
) -> Result<Coded<V>, Refused> {
    let peak = vector.iter().fold(0.0f32, |m, v| m.max(v.abs()));
    let squared: f32 = vector.iter().map(|v| v * v).sum();
    // The sum is not finite where a value isn't, or where its square can't be held.
    if !squared.is_finite() || !squared.is_normal() || peak < f32::MIN_POSITIVE * largest {
        return Err(Refused::NoDirection);
    }
    // By the cosine all vectors are one long.
    let length = match metric {
        Metric::Cosine => squared.sqrt(),
        Metric::Euclidean => 1.0,
    };
    let width = padded(vector.len());
    let mut values = Zeroizing::new(vec![V::default(); width]);
    let mut signs = Zeroizing::new(vec![0u64; width.div_ceil(64)]);
    for (i, v) in vector.iter().enumerate() {
        values[i] = round((v / peak * largest).round());
        signs[i / 64] |= u64::from(*v >= 0.0) << (i % 64);
    }
    let squared = squared / (length * length);
    Ok(Coded { signs, values, scale: peak / largest / length, squared })
}
