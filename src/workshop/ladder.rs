//! The ladder: what befalls genuine captures, step by step.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::draw::Draw;
use super::picture::{Packing, Picture};
use super::{Footage, Result, sound};

/// A rung: one degradation of picture or sound.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "rung", rename_all = "snake_case")]
pub enum Rung {
    /// Nothing.
    AsRecorded,
    /// A dim room: so much of the light, and the noise that comes with it.
    LowLight {
        /// Share of the light that is left.
        light: f64,
    },
    /// A sensor's noise.
    Noise {
        /// Strength of `noise`, 0–100.
        strength: u32,
    },
    /// Out of focus.
    Blur {
        /// Deviation in pixels of a picture 480 wide.
        sigma: f64,
    },
    /// A picture of 240 lines.
    Lines240,
    /// Ten frames a second.
    Fps10,
    /// VP8 at 150 kbit/s.
    Vp8At150,
    /// Frames lost on the way.
    DroppedFrames {
        /// Their share.
        share: f64,
    },
    /// Too little exposure: dark parts are lost.
    UnderExposed,
    /// Too much exposure: bright parts are lost.
    OverExposed,
    /// A room with a reverberation time of 0.6 s.
    Room,
    /// People talking, the speech so many decibels above them.
    Babble {
        /// Decibels.
        db: i32,
    },
    /// 300–3,400 Hz and eight bits.
    Telephone,
}

impl Rung {
    /// All of them; the first is none.
    pub const ALL: [Self; 14] = [
        Self::AsRecorded,
        Self::LowLight { light: 0.35 },
        Self::Noise { strength: 25 },
        Self::Blur { sigma: 2.0 },
        Self::Lines240,
        Self::Fps10,
        Self::Vp8At150,
        Self::DroppedFrames { share: 0.2 },
        Self::UnderExposed,
        Self::OverExposed,
        Self::Room,
        Self::Babble { db: 10 },
        Self::Babble { db: 0 },
        Self::Telephone,
    ];

    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::AsRecorded => "as recorded",
            Self::LowLight { .. } => "low light",
            Self::Noise { .. } => "sensor noise",
            Self::Blur { .. } => "blur",
            Self::Lines240 => "240p",
            Self::Fps10 => "10 fps",
            Self::Vp8At150 => "VP8 at 150 kbit/s",
            Self::DroppedFrames { .. } => "dropped frames",
            Self::UnderExposed => "under-exposed",
            Self::OverExposed => "over-exposed",
            Self::Room => "reverberant room",
            Self::Babble { db: 1.. } => "babble, 10 dB",
            Self::Babble { .. } => "babble, 0 dB",
            Self::Telephone => "telephone band",
        }
    }

    /// Makes a genuine capture under this degradation; `babble` is what others say.
    ///
    /// # Errors
    /// Those of `ffmpeg`.
    pub fn make(
        self,
        (clip, reading): (&Footage, &[f32]),
        babble: &[f32],
        packing: Packing,
        seed: u64,
        out: &Path,
    ) -> Result<()> {
        let mut draw = Draw::new(seed);
        let heard = match self {
            Self::Room => sound::in_room(reading, &mut draw),
            Self::Babble { db } => sound::with_babble(reading, babble, db as f32, &mut draw),
            Self::Telephone => sound::telephone(reading),
            _ => reading.to_vec(),
        };
        let packing = if self == Self::Vp8At150 { Packing::Webm { kbps: 150 } } else { packing };
        let picture = Picture::of(clip).then(&self.filter(seed));
        picture.pack(&sound::bounded(heard), packing, &[], out)
    }

    fn filter(self, seed: u64) -> String {
        let seed = seed % 1_000_000;
        match self {
            Self::LowLight { light } => format!(
                "colorlevels=romax={light}:gomax={light}:bomax={light},\
                 noise=alls=14:allf=t:all_seed={seed}"
            ),
            Self::Noise { strength } => format!("noise=alls={strength}:allf=t:all_seed={seed}"),
            Self::Blur { sigma } => format!("gblur=sigma={sigma}"),
            Self::Lines240 => "scale=240:240".into(),
            Self::Fps10 => "fps=10".into(),
            Self::DroppedFrames { share } => format!("select='gte(random({seed})\\,{share})'"),
            Self::UnderExposed => "eq=brightness=-0.22:contrast=0.9".into(),
            Self::OverExposed => "eq=brightness=0.28:contrast=1.15".into(),
            Self::AsRecorded
            | Self::Vp8At150
            | Self::Room
            | Self::Babble { .. }
            | Self::Telephone => "null".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::workshop::RATE;
    use crate::workshop::frames::Frames;

    fn mean(frames: &Frames) -> f64 {
        frames.rgb[5].iter().map(|v| f64::from(*v)).sum::<f64>() / frames.rgb[5].len() as f64
    }

    #[test]
    fn every_rung_does_what_it_says() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.mp4");
        let made = Command::new("ffmpeg")
            .args(["-v", "error", "-f", "lavfi", "-i", "testsrc2=size=480x480:rate=25:duration=2"])
            .args(["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p"])
            .arg(&path)
            .status()
            .unwrap();
        assert!(made.success());
        let clip = Footage { path, seconds: 2.0 };
        let plain = Picture::of(&clip).frames().unwrap();
        let shown = |r: Rung| Picture::of(&clip).then(&r.filter(5)).frames().unwrap();
        assert!(mean(&shown(Rung::LowLight { light: 0.35 })) < 0.6 * mean(&plain));
        assert!(mean(&shown(Rung::UnderExposed)) < mean(&plain));
        assert!(mean(&shown(Rung::OverExposed)) > mean(&plain));
        assert_eq!(shown(Rung::Fps10).rgb.len(), 20);
        assert_eq!(shown(Rung::Lines240).height, 240);
        let kept = shown(Rung::DroppedFrames { share: 0.2 }).rgb.len();
        assert!((30..50).contains(&kept), "{kept}");

        let tone: Vec<f32> = (0..2 * RATE).map(|i| (i as f32 * 0.3).sin() * 0.3).collect();
        let mut names = std::collections::BTreeSet::new();
        for rung in Rung::ALL {
            assert!(names.insert(rung.name()));
            let json = serde_json::to_value(rung).unwrap();
            assert_eq!(serde_json::from_value::<Rung>(json).unwrap(), rung);
        }
        let out = dir.path().join("b.webm");
        let make = |rung: Rung| {
            rung.make((&clip, &tone), &tone, Packing::Webm { kbps: 2000 }, 5, &out).unwrap();
            std::fs::metadata(&out).unwrap().len()
        };
        assert!(make(Rung::Vp8At150) < make(Rung::AsRecorded));
        assert!(make(Rung::Babble { db: 0 }) > 1000);
    }
}
