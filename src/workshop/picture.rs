//! What a capture shows, as inputs and a filter of `ffmpeg`, and how it is packed.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::frames::{self, Frames};
use super::program::{ffmpeg, run};
use super::{Error, Footage, RATE, Result};

/// Side of every picture in pixels, and its frames a second: so any two recordings can be joined.
pub const SIDE: u32 = 480;
/// Frames a second.
pub const FPS: u32 = 25;
const EVEN: &str = "fps=25,scale=480:480:force_original_aspect_ratio=decrease,\
                    pad=480:480:(ow-iw)/2:(oh-ih)/2,setsar=1,format=yuv420p";

/// Container and codecs of a capture, as browsers pair them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Packing {
    /// `WebM`: VP8 at a bit rate, and Opus.
    Webm {
        /// Kilobits a second of the picture.
        kbps: u32,
    },
    /// MP4: H.264 at a quality, and AAC.
    Mp4 {
        /// Constant rate factor: 21 is good, 36 shows blocks.
        crf: u32,
    },
}

impl Packing {
    /// The usual ones.
    pub const USUAL: [Self; 2] = [Self::Webm { kbps: 2000 }, Self::Mp4 { crf: 21 }];

    /// The ending of a file's name.
    pub fn ending(self) -> &'static str {
        match self {
            Self::Webm { .. } => "webm",
            Self::Mp4 { .. } => "mp4",
        }
    }

    fn arguments(self) -> String {
        // Neither threads nor libvpx's own watching of the clock: the same input, the same file.
        match self {
            Self::Webm { kbps } => format!(
                "-c:v libvpx -b:v {kbps}k -deadline realtime -cpu-used -8 -threads 1 \
                 -c:a libopus -b:a 48k -fflags +bitexact -f webm"
            ),
            Self::Mp4 { crf } => format!(
                "-c:v libx264 -preset veryfast -crf {crf} -pix_fmt yuv420p -threads 1 \
                 -c:a aac -b:a 96k -fflags +bitexact -f mp4"
            ),
        }
    }
}

/// What a capture shows: inputs, and the filter that joins them to `[v]`.
#[derive(Clone, Debug)]
pub struct Picture {
    inputs: Vec<Vec<String>>,
    filter: String,
    frames: Option<Frames>,
}

impl Picture {
    /// A recording as it is, at the common size and rate.
    pub fn of(footage: &Footage) -> Self {
        let filter = format!("[0:v]{EVEN}[v]");
        Self { inputs: vec![input(footage)], filter, frames: None }
    }

    /// Two recordings that a filter with two inputs joins (`concat`, `xfade=…`, `hstack`, …).
    pub fn joined(one: &Footage, two: &Footage, how: &str) -> Self {
        let filter = format!("[0:v]{EVEN}[a];[1:v]{EVEN}[b];[a][b]{how}[v]");
        Self { inputs: vec![input(one), input(two)], filter, frames: None }
    }

    /// Frames in memory, at the common rate.
    pub fn from_frames(frames: Frames) -> Self {
        let size = format!("{}x{}", frames.width, frames.height);
        let rate = FPS.to_string();
        let raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", &size, "-r", &rate, "-i", "-"];
        let inputs = vec![raw.map(str::to_owned).to_vec()];
        Self { inputs, filter: "[0:v]format=yuv420p[v]".to_owned(), frames: Some(frames) }
    }

    /// The same with another filter behind.
    #[must_use]
    pub fn then(mut self, filter: &str) -> Self {
        let so_far = self.filter.strip_suffix("[v]").unwrap_or(&self.filter);
        self.filter = format!("{so_far},{filter}[v]");
        self
    }

    /// Every frame of it.
    ///
    /// # Errors
    /// Those of `ffmpeg`.
    pub fn frames(&self) -> Result<Frames> {
        let mut command = ffmpeg();
        command.args(self.inputs.iter().flatten());
        command.args(["-filter_complex", &self.filter, "-map", "[v]", "-fps_mode", "vfr"]);
        frames::decoded(&mut command, &self.pixels())
    }

    /// Writes the capture: the picture with this sound (mono at [`RATE`]), both from zero on.
    /// `traits` are further options of `ffmpeg` for the file.
    ///
    /// # Errors
    /// Those of `ffmpeg`, and where files can't be written.
    pub fn pack(&self, sound: &[f32], packing: Packing, traits: &[&str], out: &Path) -> Result<()> {
        let beside = out.with_extension("f32");
        let bytes: Vec<u8> = sound.iter().flat_map(|s| s.to_le_bytes()).collect();
        std::fs::write(&beside, bytes)
            .map_err(|source| Error::File { path: beside.clone(), source })?;
        let mut command = ffmpeg();
        command.args(self.inputs.iter().flatten());
        command.args(["-f", "f32le", "-ar", &RATE.to_string(), "-ac", "1", "-i"]).arg(&beside);
        let track = format!("{}:a", self.inputs.len());
        command.args(["-filter_complex", &self.filter, "-map", "[v]", "-map", &track]);
        command.args(["-fps_mode", "vfr"]).args(packing.arguments().split_whitespace());
        let packed = run(command.args(traits).arg(out), &self.pixels());
        let removed = std::fs::remove_file(&beside);
        packed?;
        removed.map_err(|source| Error::File { path: beside, source })
    }

    fn pixels(&self) -> Vec<u8> {
        self.frames.as_ref().map(|f| f.rgb.concat()).unwrap_or_default()
    }
}

/// A finished capture packed once more.
///
/// # Errors
/// Those of `ffmpeg`.
pub fn repack(from: &Path, packing: Packing, out: &Path) -> Result<()> {
    let mut command = ffmpeg();
    command.arg("-i").arg(from).args(packing.arguments().split_whitespace()).arg(out);
    run(&mut command, &[]).map(|_| ())
}

fn input(footage: &Footage) -> Vec<String> {
    let path = footage.path.display().to_string();
    // A photograph has no duration of its own.
    let still = footage.path.extension().is_some_and(|e| ["jpg", "png"].iter().any(|x| e == *x));
    let mut arguments = if still { vec!["-loop".to_owned(), "1".to_owned()] } else { Vec::new() };
    arguments.extend(["-t".to_owned(), footage.seconds.to_string(), "-i".to_owned(), path]);
    arguments
}
