//! A cursor over untrusted bytes.

use super::ConvertError;

/// Reads a byte slice from front to back; every read that passes the end is a
/// [`ConvertError::Truncated`].
#[derive(Clone, Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
    format: &'static str,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8], format: &'static str) -> Self {
        Self { rest: bytes, format }
    }

    /// What hasn't been read yet.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(super) fn take(
        &mut self,
        n: usize,
        wanted: &'static str,
    ) -> Result<&'a [u8], ConvertError> {
        let (head, rest) = self
            .rest
            .split_at_checked(n)
            .ok_or(ConvertError::Truncated { format: self.format, wanted })?;
        self.rest = rest;
        Ok(head)
    }

    pub(super) fn array<const N: usize>(
        &mut self,
        wanted: &'static str,
    ) -> Result<[u8; N], ConvertError> {
        let (head, rest) = self
            .rest
            .split_first_chunk::<N>()
            .ok_or(ConvertError::Truncated { format: self.format, wanted })?;
        self.rest = rest;
        Ok(*head)
    }

    pub(super) fn byte(&mut self, wanted: &'static str) -> Result<u8, ConvertError> {
        let [b] = self.array(wanted)?;
        Ok(b)
    }

    /// `n` little-endian `f32`, all finite.
    pub(super) fn floats(
        &mut self,
        n: usize,
        wanted: &'static str,
    ) -> Result<Vec<f32>, ConvertError> {
        let bytes = n
            .checked_mul(4)
            .ok_or(ConvertError::Truncated { format: self.format, wanted })
            .and_then(|len| self.take(len, wanted))?;
        let values: Vec<f32> =
            bytes.as_chunks::<4>().0.iter().map(|c| f32::from_le_bytes(*c)).collect();
        if values.iter().all(|v| v.is_finite()) {
            Ok(values)
        } else {
            Err(self.malformed("a weight is not a finite number"))
        }
    }

    pub(super) fn malformed(&self, problem: impl Into<String>) -> ConvertError {
        ConvertError::Malformed { format: self.format, problem: problem.into() }
    }
}
