//! Models: sessions, and one file for each model.

pub mod digits_score;
pub mod digits_text;
pub mod whisper;
