//! Arithmetic on eight bytes at a time: pixels in bulk, without depending on the optimiser.

const LOW: u64 = 0x7f7f_7f7f_7f7f_7f7f;
const HIGH: u64 = !LOW;
const EVEN: u64 = 0xfefe_fefe_fefe_fefe;

/// Adds `by`, bytes in two's complement, to `to`, byte by byte and wrapping. `by` must be at least
/// as long; what is longer is ignored.
pub(super) fn add(to: &mut [u8], by: &[u8]) {
    for (t, b) in to.chunks_mut(8).zip(by.chunks(8)) {
        store(t, sum(load(t), load(b)));
    }
}

/// Blurs the pixels `columns` (three bytes each) of the rows `rows` by [1 2 1] / 4 in both directions, in place. `row` is the length of a
/// row in bytes.
pub(super) fn soften(
    pixels: &mut [u8],
    row: usize,
    rows: std::ops::Range<usize>,
    columns: std::ops::Range<usize>,
) {
    let (from, to) = (columns.start * 3, (columns.end * 3).min(row));
    let last = (pixels.len() / row).saturating_sub(1);
    if from >= to || rows.end > last + 1 {
        return;
    }
    let mut above = pixels[rows.start.saturating_sub(1) * row..][from..to].to_vec();
    let mut line = vec![0; to - from];
    let mut padded = vec![0; to - from + 6];
    for y in rows {
        line.copy_from_slice(&pixels[y * row..][from..to]);
        let below = &pixels[(y + 1).min(last) * row..][from..to];
        let middle = &mut padded[3..];
        for (((o, a), m), b) in
            middle.chunks_mut(8).zip(above.chunks(8)).zip(line.chunks(8)).zip(below.chunks(8))
        {
            store(o, mean(mean(load(a), load(b)), load(m)));
        }
        // Beyond its ends the row goes on as its first and last pixels.
        let n = to - from;
        padded.copy_within(3..6, 0);
        padded.copy_within(n..n + 3, n + 3);
        let out = &mut pixels[y * row..][from..to];
        for (((o, l), m), r) in out
            .chunks_mut(8)
            .zip(padded.chunks(8))
            .zip(padded[3..].chunks(8))
            .zip(padded[6..].chunks(8))
        {
            store(o, mean(mean(load(l), load(r)), load(m)));
        }
        std::mem::swap(&mut above, &mut line);
    }
}

fn sum(a: u64, b: u64) -> u64 {
    ((a & LOW) + (b & LOW)) ^ ((a ^ b) & HIGH)
}

/// Eight means, rounded down.
fn mean(a: u64, b: u64) -> u64 {
    (a & b) + (((a ^ b) & EVEN) >> 1)
}

fn load(from: &[u8]) -> u64 {
    if let Some(all) = from.first_chunk::<8>() {
        return u64::from_le_bytes(*all);
    }
    let mut all = [0; 8];
    all[..from.len()].copy_from_slice(from);
    u64::from_le_bytes(all)
}

fn store(to: &mut [u8], value: u64) {
    let n = to.len().min(8);
    to[..n].copy_from_slice(&value.to_le_bytes()[..n]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adding_is_bytewise_and_signed() {
        let mut p: Vec<u8> = (0..21).map(|i| 100 + i).collect();
        let by: Vec<u8> = (0..30_i8).map(|i| (i - 10) as u8).collect();
        add(&mut p, &by);
        for (i, v) in p.iter().enumerate() {
            assert_eq!(i32::from(*v), 100 + i as i32 + (i as i32 - 10));
        }
    }

    #[test]
    fn softening_spreads_a_point_and_keeps_a_plain_area() {
        let row = 9 * 3;
        let mut p = vec![100; row * 7];
        soften(&mut p, row, 0..7, 0..9);
        assert!(p.iter().all(|&v| v == 100));
        p[3 * row + 4 * 3] = 180;
        soften(&mut p, row, 1..6, 1..8);
        assert_eq!(p[3 * row + 4 * 3], 120);
        assert_eq!(p[2 * row + 4 * 3], 110);
        assert_eq!(p[3 * row + 5 * 3], 110);
        assert_eq!(p[3 * row + 4 * 3 + 1], 100);
    }
}
