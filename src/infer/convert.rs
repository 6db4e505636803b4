//! From the formats that weights are published in to ONNX.
//!
//! Every converter reads hostile bytes: lengths are checked before anything is allocated, nothing
//! in a file is executed, and what isn't understood is refused by name. The output depends on the
//! input alone, so the manifest can pin its hash.

mod dlib;
mod onnx;
mod pickle;
mod reader;
mod tfjs;
mod torch;

use std::io::Read;

use super::manifest::{Converter, Model};

/// Why a file can't be converted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConvertError {
    /// The file ends before it should.
    #[error("the {format} file ends early: {wanted} is missing")]
    Truncated {
        /// The source format.
        format: &'static str,
        /// What was to come.
        wanted: &'static str,
    },
    /// The file contradicts its format.
    #[error("the {format} file is damaged or of another kind: {problem}")]
    Malformed {
        /// The source format.
        format: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// The file uses something that the converter does not know.
    #[error("the {format} file uses {what}, which the converter does not know")]
    Unsupported {
        /// The source format.
        format: &'static str,
        /// What it uses.
        what: String,
    },
    /// The result would be larger than a model may be.
    #[error("the converted model would be larger than {limit} bytes")]
    TooLarge {
        /// The limit.
        limit: usize,
    },
}

/// Makes `model`'s file from the contents of its source files, in the manifest's order.
pub fn convert(model: &Model, sources: Vec<Vec<u8>>) -> Result<Vec<u8>, ConvertError> {
    let mut sources = sources.into_iter();
    let mut next = || {
        sources.next().ok_or(ConvertError::Truncated { format: "source", wanted: "a source file" })
    };
    match &model.converter {
        Converter::None => next(),
        Converter::Zstd => zstd(&next()?, model.bytes),
        Converter::Tfjs { input, outputs } => tfjs::convert(&next()?, &next()?, input, outputs),
        Converter::DlibResnet => dlib::convert(&next()?),
        Converter::TorchLstm => torch::convert(&next()?),
    }
}

/// Unpacks a Zstandard file (RFC 8878) of at most `limit` bytes.
fn zstd(packed: &[u8], limit: u64) -> Result<Vec<u8>, ConvertError> {
    let malformed =
        |e: std::io::Error| ConvertError::Malformed { format: "Zstandard", problem: e.to_string() };
    let mut out = Vec::new();
    zstd::Decoder::new(packed)
        .map_err(malformed)?
        .take(limit.saturating_add(1))
        .read_to_end(&mut out)
        .map_err(malformed)?;
    if out.len() as u64 > limit {
        return Err(ConvertError::TooLarge { limit: usize::try_from(limit).unwrap_or(usize::MAX) });
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zstandard_is_bounded() {
        let contents = vec![7; 100_000];
        let packed = zstd::encode_all(&contents[..], 3).unwrap();
        assert_eq!(zstd(&packed, 100_000).unwrap(), contents);
        assert_eq!(zstd(&packed, 99_999), Err(ConvertError::TooLarge { limit: 99_999 }));
        assert!(matches!(zstd(&packed[..12], 100_000), Err(ConvertError::Malformed { .. })));
        assert!(matches!(zstd(b"not zstd", 10), Err(ConvertError::Malformed { .. })));
    }
}
