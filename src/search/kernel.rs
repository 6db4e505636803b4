//! The two inner loops: differing signs, and dot products of small integers.
//!
//! They are plain loops that the compiler turns into vector instructions. On x86-64 they are compiled
//! a second time for AVX2 and POPCNT, and the processor is asked once which copy it can run.

// The two calls of a function that needs instructions which the processor was asked about.
#![allow(unsafe_code)]

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

#[inline(always)]
fn differing_in(query: &[u64], rows: &[u64], out: &mut [u16]) {
    // A length that the compiler knows is worth a factor of two.
    match query.len() {
        4 => differing_of::<4>(query, rows, out),
        8 => differing_of::<8>(query, rows, out),
        16 => differing_of::<16>(query, rows, out),
        words => {
            for (row, out) in rows.chunks_exact(words).zip(out) {
                let bits: u32 = query.iter().zip(row).map(|(a, b)| (a ^ b).count_ones()).sum();
                *out = bits as u16;
            }
        }
    }
}

#[inline(always)]
fn differing_of<const WORDS: usize>(query: &[u64], rows: &[u64], out: &mut [u16]) {
    let mut fixed = [0; WORDS];
    fixed.copy_from_slice(query);
    for (row, out) in rows.chunks_exact(WORDS).zip(out) {
        let mut bits = 0;
        for (a, b) in fixed.iter().zip(row) {
            bits += (a ^ b).count_ones();
        }
        *out = bits as u16;
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
        take(row, dot(query, stored));
    }
}

#[inline(always)]
fn dot(query: &[i16], stored: &[i8]) -> i32 {
    query.iter().zip(stored).map(|(a, b)| i32::from(*a) * i32::from(i16::from(*b))).sum()
}
