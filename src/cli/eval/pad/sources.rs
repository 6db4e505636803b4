//! Whom and what is shown to the anti-spoof models: live clips, photographs of attacks, recaptures
//! simulated from the live clips, and degradations that meet all of them alike.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};

use crate::cli::eval::datasets;
use crate::workshop::frames::{Frames, recompressed, sampled};

/// Frames taken of a clip.
const FRAMES: usize = 8;
/// Press photographs, one of a person.
const PHOTOGRAPHS: usize = 200;
/// Endings of clips.
const CLIPS: [&str; 5] = ["mp4", "mpg", "webm", "mov", "avi"];

/// What is in front of the camera.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Species {
    /// A person, filmed or photographed.
    Live,
    /// A press photograph of a person: live, but no frame of a selfie camera.
    Press,
    /// A print, photographed.
    Print,
    /// A phone's screen, photographed.
    Screen,
    /// A live clip as a print in a hand: simulated.
    SimulatedPrint,
    /// A live clip on a screen whose frame and surroundings are seen: simulated.
    SimulatedScreen,
    /// A live clip on a screen that fills the picture: simulated.
    SimulatedFullScreen,
}

impl Species {
    /// The simulated ones.
    pub const SIMULATED: [Self; 3] =
        [Self::SimulatedPrint, Self::SimulatedScreen, Self::SimulatedFullScreen];

    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Press => "live, press photograph",
            Self::Print => "print, photographed",
            Self::Screen => "screen, photographed",
            Self::SimulatedPrint => "print, simulated",
            Self::SimulatedScreen => "screen, simulated",
            Self::SimulatedFullScreen => "full screen, simulated",
        }
    }

    /// What the simulation does to a live clip, as a filter of `ffmpeg`. It shares nothing with the
    /// simulation that training draws from.
    fn filter(self) -> &'static str {
        match self {
            Self::Live | Self::Press | Self::Print | Self::Screen => "null",
            // Faded and warm, with a white border, at an angle, in a camera's noise.
            Self::SimulatedPrint => {
                "eq=contrast=0.8:saturation=0.75:gamma=1.1,colorbalance=rm=0.06:bm=-0.05,\
                 scale=trunc(iw*0.4)*2:-2,pad=trunc(iw*0.54)*2:trunc(ih*0.54)*2:-1:-1:0xe8e4da,\
                 pad=trunc(iw*0.58)*2:trunc(ih*0.56)*2:-1:-1:0x6b6258,\
                 perspective=x0=W*0.03:y0=H*0.01:x1=W*0.98:y1=H*0.03:x2=W*0.01:y2=H*0.99:x3=W*0.96:y3=H*0.97,\
                 gblur=sigma=0.7,noise=alls=6:allf=t"
            }
            // Washed out and bluish, its pixel grid beating with the camera's, its bezel and the desk
            // around it in the picture, at an angle and out of focus.
            Self::SimulatedScreen => {
                "eq=gamma=1.25:contrast=0.85:saturation=0.8,colorbalance=bs=0.1:bm=0.1,\
                 scale=trunc(iw*0.35)*2:-2,pad=trunc(iw*0.56)*2:trunc(ih*0.58)*2:-1:-1:0x101010,\
                 pad=trunc(iw*0.62)*2:trunc(ih*0.6)*2:-1:-1:0x6b6258,\
                 perspective=x0=W*0.03:y0=H*0.01:x1=W*0.98:y1=H*0.03:x2=W*0.01:y2=H*0.99:x3=W*0.96:y3=H*0.97,\
                 geq=lum='lum(X,Y)*(0.84+0.16*sin(X*2.1+Y*0.35)*sin(Y*1.9-X*0.2))':cb='cb(X,Y)':cr='cr(X,Y)',\
                 gblur=sigma=0.6"
            }
            // The same with less of everything and nothing around it.
            Self::SimulatedFullScreen => {
                "eq=gamma=1.12:contrast=0.92:saturation=0.9,colorbalance=bs=0.05:bm=0.05,\
                 geq=lum='lum(X,Y)*(0.93+0.07*sin(X*2.1+Y*0.35)*sin(Y*1.9-X*0.2))':cb='cb(X,Y)':cr='cr(X,Y)',\
                 gblur=sigma=0.6"
            }
        }
    }
}

/// What happens to every picture alike, live or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Degradation {
    /// Nothing.
    None,
    /// H.264 at a quality (CRF 36) that shows blocks.
    Compressed,
    /// Half the resolution.
    Small,
    /// Out of focus.
    Blurred,
    /// Little light, and the noise that comes with it.
    Dark,
}

impl Degradation {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::None, Self::Compressed, Self::Small, Self::Blurred, Self::Dark];

    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "as it is",
            Self::Compressed => "compressed",
            Self::Small => "half the size",
            Self::Blurred => "out of focus",
            Self::Dark => "dark",
        }
    }

    fn filter(self) -> &'static str {
        match self {
            Self::None | Self::Compressed => "null",
            Self::Small => "scale=trunc(iw/4)*2:trunc(ih/4)*2",
            Self::Blurred => "gblur=sigma=1.5",
            Self::Dark => "eq=brightness=-0.15:contrast=0.6,noise=alls=10:allf=t",
        }
    }
}

/// A recording to be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Its name: the file's, without its ending.
    pub name: String,
    /// What it shows, before anything is simulated.
    pub species: Species,
    /// Whether training never saw it.
    pub held_out: bool,
    path: PathBuf,
}

impl Source {
    /// Some frames of it as a recapture of `species` (its own: as recorded), degraded.
    ///
    /// # Errors
    /// Of the `ffmpeg` program.
    pub fn show(&self, species: Species, degradation: Degradation) -> anyhow::Result<Frames> {
        let filter = format!("{},{}", species.filter(), degradation.filter());
        let frames = sampled(&self.path, &filter, FRAMES)
            .with_context(|| format!("can't show {}", self.path.display()))?;
        match degradation {
            Degradation::Compressed => Ok(recompressed(&frames, 36)?),
            _ => Ok(frames),
        }
    }
}

/// The live clips of `video/`, and the photographs of `pad/` (`…T*`: live, `…F1`: a print, `…F2`: a
/// screen). Training holds out (`training/pad/sources.py`): of each family of clips, that is, of
/// those whose names begin alike, one in three by the CRC-32 of their names, at least one; all of
/// the photographs; and of the people in `faces/lfw` those whose names' CRC-32 ends in 1.
///
/// # Errors
/// Where there are none.
pub fn all(root: &Path) -> anyhow::Result<Vec<Source>> {
    type Clip = (u32, PathBuf, String);
    let named = |path: &Path| -> Option<String> { Some(path.file_stem()?.to_str()?.to_owned()) };
    let mut families: Vec<(String, Vec<Clip>)> = Vec::new();
    for path in datasets::files(&root.join("video"), &CLIPS) {
        let name = named(&path).context("a clip's name is not UTF-8")?;
        let family = name.split('_').next().unwrap_or_default().to_owned();
        let clip = (crc32(name.as_bytes()), path, name);
        match families.iter_mut().find(|(f, _)| *f == family) {
            Some((_, clips)) => clips.push(clip),
            None => families.push((family, vec![clip])),
        }
    }
    let mut sources = Vec::new();
    for (_, mut clips) in families {
        clips.sort();
        let held_out = (clips.len() / 3).max(1);
        sources.extend(clips.into_iter().enumerate().map(|(i, (_, path, name))| Source {
            name,
            species: Species::Live,
            held_out: i < held_out,
            path,
        }));
    }
    for path in datasets::files(&root.join("pad"), &["jpg", "png"]) {
        let name = named(&path).context("a photograph's name is not UTF-8")?;
        let species = match name.rsplit('_').next() {
            Some(kind) if kind.starts_with('T') => Species::Live,
            Some("F1") => Species::Print,
            Some("F2") => Species::Screen,
            _ => continue,
        };
        sources.push(Source { name, species, held_out: true, path });
    }
    sources.extend(press(root));
    let live = sources.iter().filter(|s| s.species == Species::Live).count();
    ensure!(live > 0, "no clips of live people below {}", root.display());
    Ok(sources)
}

/// One photograph of each person held out, numbered: nobody is named.
fn press(root: &Path) -> Vec<Source> {
    let mut people = std::collections::BTreeMap::new();
    for path in datasets::files(&root.join("faces/lfw"), &["jpg"]) {
        let stem = path.file_stem().and_then(|s| s.to_str()).unwrap_or_default();
        let person = stem.rsplit_once('_').map_or(stem, |(person, _)| person).to_owned();
        if crc32(person.as_bytes()) % 10 == 1 {
            people.entry(person).or_insert(path);
        }
    }
    let of = |(i, path): (usize, PathBuf)| Source {
        name: format!("photograph {}", i + 1),
        species: Species::Press,
        held_out: true,
        path,
    };
    people.into_values().take(PHOTOGRAPHS).enumerate().map(of).collect()
}

/// The checksum of zlib (RFC 1952, section 8).
fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_hold_out_a_third_at_least_one() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("video")).unwrap();
        std::fs::create_dir_all(dir.path().join("pad")).unwrap();
        assert!(all(dir.path()).is_err());
        for name in ["a_1", "a_2", "a_3", "a_4", "a_5", "a_6", "b_1", "c-d"] {
            std::fs::write(dir.path().join(format!("video/{name}.mp4")), "").unwrap();
        }
        for name in ["x_T1", "x_F1", "x_F2", "other"] {
            std::fs::write(dir.path().join(format!("pad/{name}.jpg")), "").unwrap();
        }
        let sources = all(dir.path()).unwrap();
        let held_out: Vec<&str> =
            sources.iter().filter(|s| s.held_out).map(|s| s.name.as_str()).collect();
        assert_eq!(sources.len(), 11);
        // The order of Python's zlib.crc32 of the names.
        assert_eq!(held_out, ["a_3", "a_2", "b_1", "c-d", "x_F1", "x_F2", "x_T1"]);
    }
}
