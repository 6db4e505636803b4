//! The two inner loops: differing signs, and dot products of small integers.
//!
//! They are plain loops that the compiler turns into vector instructions. On x86-64 they are compiled
//! a second time for AVX2 and POPCNT, and the processor is asked once which copy it can run.

// The two calls of a function that needs instructions which the processor was asked about.
#![allow(unsafe_code)]
// A loop that is only proposed for inlining may stay outside of the copy for AVX2.
#![allow(clippy::inline_always)]

/// Values that are taken at once: vectors are kept in multiples of it.
pub(super) const LANES: usize = 64;

/// Differing bits between `query` and each row of `rows`, written to `out`: one number a row.
pub(super) fn differing(query: &[u64], rows: &[u64], out: &mut [u16]) {
    #[cfg(target_arch = "x86_64")]
    if wide() {
        // SAFETY: the processor has AVX2 and POPCNT.
        return unsafe { differing_avx2(query, rows, out) };
    }
    differing_in(query, rows, out);
}

/// Dot products of `query` with the rows of `values` that `pick` names, handed to `take`.
pub(super) fn dots(
    query: &[i16],
    values: &[i8],
    pick: impl Iterator<Item = usize>,
    take: impl FnMut(usize, i32),
) {
    #[cfg(target_arch = "x86_64")]
    if wide() {
        // SAFETY: the processor has AVX2 and POPCNT.
        return unsafe { dots_avx2(query, values, pick, take) };
    }
    dots_in(query, values, pick, take);
}

#[cfg(target_arch = "x86_64")]
fn wide() -> bool {
    // Looked up once and kept by the standard library.
    is_x86_feature_detected!("avx2") && is_x86_feature_detected!("popcnt")
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,popcnt")]
fn differing_avx2(query: &[u64], rows: &[u64], out: &mut [u16]) {
    differing_in(query, rows, out);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,popcnt")]
fn dots_avx2(
    query: &[i16],
    values: &[i8],
    pick: impl Iterator<Item = usize>,
    take: impl FnMut(usize, i32),
) {
    dots_in(query, values, pick, take);
}

// Sums wrap, so that they are vectorised where overflow is checked too; they can't overflow, as the
// codes' ranges see to (see `code`).

#[inline(always)]
fn differing_in(query: &[u64], rows: &[u64], out: &mut [u16]) {
    // A length that the compiler knows makes the loop a third faster: this one is the most frequent.
    if let Ok(query) = <&[u64; 8]>::try_from(query) {
        return each_row(query, rows, out);
    }
    each_row(query, rows, out);
}

#[inline(always)]
fn each_row<Q: AsRef<[u64]> + ?Sized>(query: &Q, rows: &[u64], out: &mut [u16]) {
    let query = query.as_ref();
    for (row, out) in rows.chunks_exact(query.len()).zip(out) {
        let bits = query.iter().zip(row).map(|(a, b)| (a ^ b).count_ones());
        *out = bits.fold(0, u32::wrapping_add) as u16;
    }
}

#[inline(always)]
fn dots_in(
    query: &[i16],
    values: &[i8],
    pick: impl Iterator<Item = usize>,
    mut take: impl FnMut(usize, i32),
) {
    let width = query.len();
    for row in pick {
        let Some(stored) = values.get(row * width..(row + 1) * width) else { continue };
        let products =
            query.iter().zip(stored).map(|(a, b)| i32::from(*a).wrapping_mul(i32::from(*b)));
        take(row, products.fold(0, i32::wrapping_add));
    }
}
