//! The conditions that the targets for speech name.

use crate::workshop::draw::Draw;
use crate::workshop::{self, sound};

/// A condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// As it was recorded.
    Clean,
    /// 300–3,400 Hz, companded to eight bits by μ-law.
    Telephone,
    /// Six people talking, 10 dB below the speech.
    Babble,
    /// A room with a reverberation time of 0.6 s, its tail 3 dB below the direct sound.
    Room,
    /// Opus at 16 kbit/s.
    Opus,
}

impl Condition {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Clean, Self::Telephone, Self::Babble, Self::Room, Self::Opus];

    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Clean => "clean",
            Self::Telephone => "telephone",
            Self::Babble => "babble",
            Self::Room => "room",
            Self::Opus => "opus",
        }
    }

    /// The sound as it arrives under this condition, of the same length.
    ///
    /// # Errors
    /// Of the `ffmpeg` program, for Opus.
    pub fn of(self, sound: &[f32], babble: &[f32], draw: &mut Draw) -> workshop::Result<Vec<f32>> {
        Ok(match self {
            Self::Clean => sound.to_vec(),
            Self::Telephone => sound::telephone(sound),
            Self::Babble => sound::with_babble(sound, babble, 10.0, draw),
            Self::Room => sound::in_room(sound, draw),
            Self::Opus => {
                let options = ["-c:a", "libopus", "-application", "voip", "-b:a", "16k"];
                let mut back = sound::through_codec(sound, &options, "ogg")?;
                back.resize(sound.len(), 0.0);
                back
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workshop::RATE;

    #[test]
    fn every_condition_keeps_the_length() {
        let tone = |hz: f32| -> Vec<f32> {
            let of = |i: usize| (i as f32 / RATE as f32 * hz * std::f32::consts::TAU).sin() * 0.2;
            (0..RATE).map(of).collect()
        };
        let (sound, noise) = (tone(400.0), tone(300.0));
        for condition in Condition::ALL {
            let heard = condition.of(&sound, &noise, &mut Draw::new(4)).unwrap();
            assert_eq!(heard.len(), sound.len(), "{condition:?}");
            assert!(heard.iter().all(|v| v.is_finite()));
        }
    }
}
