//! What a transcription costs by its architecture alone, whatever the weights are.

use super::{WhisperError, WhisperKind, WhisperModel, check_sound};

/// The sizes of Whisper tiny.en in the order of a ggml header: vocabulary; positions, width, heads
/// and layers of the encoder; the same of the decoder; mel bands; and `q5_1` as the type of file.
const TINY_EN: [i32; 11] = [51_864, 1500, 384, 6, 4, 448, 384, 6, 4, 80, 2009];
/// Frequencies of a mel filter.
const BINS: i32 = 201;
/// Tokens of the vocabulary that stand for text.
const WORDS: i32 = 50_257;

impl WhisperModel {
    /// A model with Whisper tiny.en's architecture and no weights. whisper.cpp takes a file without
    /// tensors as a model for tests: it computes as much as the real one and hears nothing.
    pub fn hollow_tiny() -> Result<Self, WhisperError> {
        let mut file = 0x6767_6d6c_i32.to_le_bytes().to_vec();
        let mut put = |value: i32| file.extend(value.to_le_bytes());
        TINY_EN.into_iter().for_each(&mut put);
        let bands = TINY_EN[9];
        put(bands);
        put(BINS);
        (0..bands * BINS).for_each(|_| put(0));
        put(WORDS);
        (0..WORDS).for_each(|_| put(0)); // each an empty text
        Self::from_bytes(&file, WhisperKind::General, 1)
    }

    /// Does what transcribing one window to `tokens` tokens takes: spectrogram, encoder, and so many
    /// steps of the decoder after its prompt.
    pub fn exercise(&self, pcm: &[f32], tokens: usize) -> Result<(), WhisperError> {
        check_sound(pcm)?;
        let mut state = self.take_state()?;
        state.pcm_to_mel(pcm, self.threads).map_err(WhisperError::Run)?;
        state.encode(0, self.threads).map_err(WhisperError::Run)?;
        let start = self.context.token_sot();
        for past in 0..=tokens {
            state.decode(&[start], past, self.threads).map_err(WhisperError::Run)?;
        }
        self.give_back(state);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::tone;
    use super::*;

    #[test]
    fn a_hollow_model_runs() {
        WhisperModel::hollow_tiny().unwrap().exercise(&tone(2), 3).unwrap();
    }
}
