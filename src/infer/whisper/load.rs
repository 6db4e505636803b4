//! Loading a ggml file, and what its header says.

use std::borrow::Cow;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Mutex;

use whisper_rs::{
    DtwMode, DtwModelPreset, DtwParameters, WhisperContext, WhisperContextParameters,
};

use super::{WhisperError, WhisperKind, WhisperModel};
use crate::infer::frames::{HOP, SAMPLE_RATE};

/// Largest model file read, unpacked.
const MAX_MODEL_BYTES: u64 = 1 << 30;
/// Two spectrogram frames make one encoder position of 20 ms.
const SAMPLES_PER_POSITION: usize = 2 * HOP;

impl WhisperModel {
    /// Loads a ggml file, plain or zstd-compressed. `threads` are used by each transcription.
    pub fn load(path: &Path, kind: WhisperKind, threads: usize) -> Result<Self, WhisperError> {
        let read = |source| WhisperError::Read { path: path.to_owned(), source };
        let mut bytes = Vec::new();
        File::open(path)
            .map_err(read)?
            .take(MAX_MODEL_BYTES)
            .read_to_end(&mut bytes)
            .map_err(read)?;
        Self::from_bytes(&bytes, kind, threads)
    }

    /// Loads a model from the bytes of a ggml file, plain or zstd-compressed.
    pub fn from_bytes(
        bytes: &[u8],
        kind: WhisperKind,
        threads: usize,
    ) -> Result<Self, WhisperError> {
        Self::from_ggml(&unpacked(bytes)?, kind, threads)
    }

    fn from_ggml(bytes: &[u8], kind: WhisperKind, threads: usize) -> Result<Self, WhisperError> {
        let header = Header::parse(bytes)?;
        whisper_rs::install_logging_hooks(); // whisper.cpp writes to stderr otherwise
        let mut parameters = WhisperContextParameters::new();
        parameters.use_gpu(false);
        // On a CPU flash attention is slower and its results drift; it also rules out alignment.
        parameters.flash_attn(false);
        parameters
            .dtw_parameters(DtwParameters { mode: header.alignment(kind), dtw_mem_size: 64 << 20 });
        let context = WhisperContext::new_from_buffer_with_params(bytes, parameters)
            .map_err(|_| WhisperError::NotAModel("whisper.cpp can't load it"))?;
        let digit_tokens = match kind {
            WhisperKind::Digits => Some(digit_tokens(&context)?),
            WhisperKind::General => None,
        };
        let window = usize::try_from(context.n_audio_ctx()).unwrap_or(0) * SAMPLES_PER_POSITION;
        if window < 2 * SAMPLE_RATE {
            return Err(WhisperError::NotAModel("its audio window is shorter than two seconds"));
        }
        // A little short of the window: a spectrogram has one frame more than its sound.
        let window = window - 10 * HOP;
        Ok(Self {
            context,
            kind,
            threads: threads.max(1),
            window,
            digit_tokens,
            idle: Mutex::default(),
        })
    }
}

/// The bytes of a ggml file, unpacked where they are a zstd frame.
pub(super) fn unpacked(bytes: &[u8]) -> Result<Cow<'_, [u8]>, WhisperError> {
    const ZSTD_MAGIC: [u8; 4] = 0xFD2F_B528_u32.to_le_bytes();
    if !bytes.starts_with(&ZSTD_MAGIC) {
        return Ok(Cow::Borrowed(bytes));
    }
    let mut plain = Vec::new();
    zstd::Decoder::new(bytes)
        .and_then(|d| d.take(MAX_MODEL_BYTES).read_to_end(&mut plain))
        .map_err(|_| WhisperError::NotAModel("the zstd frame is damaged"))?;
    Ok(Cow::Owned(plain))
}

/// The sizes at the start of a ggml file.
struct Header {
    vocabulary: i32,
    audio_layers: i32,
    text_layers: i32,
}

impl Header {
    /// Reads and checks the magic number and the eleven sizes (whisper.cpp, `whisper_model_load`).
    fn parse(bytes: &[u8]) -> Result<Self, WhisperError> {
        const MAGIC: i32 = 0x6767_6d6c;
        let word = |i: usize| -> Option<i32> {
            bytes.get(4 * i..4 * i + 4)?.try_into().ok().map(i32::from_le_bytes)
        };
        if word(0) != Some(MAGIC) {
            return Err(WhisperError::NotAModel("it doesn't start with the ggml magic number"));
        }
        let sizes: Vec<i32> = (1..12).map_while(word).collect();
        let &[vocabulary, audio_ctx, _, _, audio_layers, text_ctx, _, _, text_layers, mels, _] =
            sizes.as_slice()
        else {
            return Err(WhisperError::NotAModel("its header is cut short"));
        };
        if !(51_864..=51_866).contains(&vocabulary)
            || !(100..=1500).contains(&audio_ctx)
            || !(16..=448).contains(&text_ctx)
            || !(1..=64).contains(&audio_layers)
            || !(1..=64).contains(&text_layers)
            || mels != 80
        {
            return Err(WhisperError::NotAModel("its sizes are not a Whisper model's"));
        }
        Ok(Self { vocabulary, audio_layers, text_layers })
    }

    /// Which attention heads follow the sound, for aligning tokens in time. The digits model's
    /// last layer is trained to; for the published models whisper.cpp knows the heads.
    fn alignment(&self, kind: WhisperKind) -> DtwMode<'static> {
        if kind == WhisperKind::Digits {
            return DtwMode::TopMost { n_top: 1 };
        }
        let english = self.vocabulary == 51_864;
        let model_preset = match (self.audio_layers, self.text_layers, english) {
            (4, 4, true) => DtwModelPreset::TinyEn,
            (4, 4, false) => DtwModelPreset::Tiny,
            (6, 6, true) => DtwModelPreset::BaseEn,
            (6, 6, false) => DtwModelPreset::Base,
            (12, 12, true) => DtwModelPreset::SmallEn,
            (12, 12, false) => DtwModelPreset::Small,
            _ => return DtwMode::None,
        };
        DtwMode::ModelPreset { model_preset }
    }
}

/// Finds the tokens " 0" to " 9" in the vocabulary.
fn digit_tokens(context: &WhisperContext) -> Result<[i32; 10], WhisperError> {
    let mut found = [None; 10];
    for id in 0..context.token_eot() {
        if let Ok(&[b' ', d @ b'0'..=b'9']) = context.token_to_bytes(id) {
            found[usize::from(d - b'0')].get_or_insert(id);
        }
    }
    let mut out = [0; 10];
    for (slot, id) in out.iter_mut().zip(found) {
        *slot = id.ok_or(WhisperError::NotAModel("its vocabulary lacks the digits"))?;
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_files_are_refused() {
        let refuse = |bytes: &[u8]| {
            let e = WhisperModel::from_bytes(bytes, WhisperKind::Digits, 1);
            assert!(matches!(e, Err(WhisperError::NotAModel(_))));
        };
        refuse(b"");
        refuse(b"not a model at all");
        refuse(&[0x28, 0xb5, 0x2f, 0xfd, 1, 2, 3]); // a damaged zstd frame
        refuse(&0x6767_6d6c_u32.to_le_bytes()); // the magic number alone
        let mut sizes = 0x6767_6d6c_u32.to_le_bytes().to_vec();
        sizes.extend(std::iter::repeat_n(0x7fff_ffff_u32.to_le_bytes(), 11).flatten());
        refuse(&sizes);
    }

    #[test]
    fn a_missing_file_is_named() {
        let e =
            WhisperModel::load(Path::new("no/such/model.bin"), WhisperKind::Digits, 1).unwrap_err();
        assert!(e.to_string().contains("no/such/model.bin"));
    }
}
