//! Frames in memory, and getting them out of files.

use std::path::Path;
use std::process::Command;

use super::program::{ffmpeg, run};
use super::{Error, Result};

/// Longest side that the service measures; larger frames are scaled down as its decoder does.
const MAX_SIDE: u32 = 640;

/// Frames of a picture or a video: rows of red, green, blue.
#[derive(Clone, PartialEq, Eq)]
pub struct Frames {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// The frames.
    pub rgb: Vec<Vec<u8>>,
}

impl std::fmt::Debug for Frames {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Frames({} of {} x {})", self.rgb.len(), self.width, self.height)
    }
}

/// At most `most` frames of a file, two a second, after the filter `filter` (`null`: none),
/// fitted into the size that the service measures.
///
/// # Errors
/// Where `ffmpeg` is missing, can't read the file or doesn't know the filter.
pub fn sampled(path: &Path, filter: &str, most: usize) -> Result<Frames> {
    let fit = format!(
        "scale='min({MAX_SIDE},iw)':'min({MAX_SIDE},ih)':force_original_aspect_ratio=decrease\
         :force_divisible_by=2,setsar=1"
    );
    // A picture by itself has no rate.
    let is_picture = path.extension().is_some_and(|e| ["jpg", "png"].iter().any(|x| e == *x));
    let rate = if is_picture { "null" } else { "fps=2" };
    let mut command = ffmpeg();
    command
        .arg("-i")
        .arg(path)
        .args(["-filter_complex", &format!("[0:v]{rate},{fit},{filter}"), "-an"])
        .args(["-frames:v", &most.to_string()]);
    decoded(&mut command, &[])
}

/// The frames encoded with H.264 at a constant quality and decoded again.
///
/// # Errors
/// Where `ffmpeg` is missing or lacks the encoder.
pub fn recompressed(frames: &Frames, crf: u32) -> Result<Frames> {
    let size = format!("{}x{}", frames.width, frames.height);
    let mut command = ffmpeg();
    command
        .args(["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", &size])
        .args(["-r", "25", "-i", "-", "-c:v", "libx264", "-preset", "veryfast", "-threads", "1"])
        .args(["-pix_fmt", "yuv420p", "-crf", &crf.to_string(), "-f", "matroska", "-"]);
    let packed = run(&mut command, &frames.rgb.concat())?;
    decoded(ffmpeg().args(["-i", "-"]), &packed)
}

/// What a command shows, read as pictures. A picture of its own size tells the size: PPM has it in
/// each header.
pub(super) fn decoded(command: &mut Command, input: &[u8]) -> Result<Frames> {
    ppm(&run(command.args(["-c:v", "ppm", "-f", "image2pipe", "-"]), input)?)
}

/// Pictures in a row in the binary PPM format, all of one size.
fn ppm(mut bytes: &[u8]) -> Result<Frames> {
    const ODD: Error = Error::Output("no PPM picture");
    let mut frames = Frames { width: 0, height: 0, rgb: Vec::new() };
    while !bytes.is_empty() {
        let mut header = bytes.splitn(4, |b| *b == b'\n');
        let (Some(b"P6"), Some(size), Some(b"255"), Some(rest)) =
            (header.next(), header.next(), header.next(), header.next())
        else {
            return Err(ODD);
        };
        let size = std::str::from_utf8(size).ok().and_then(|s| s.split_once(' '));
        let size = size.and_then(|(w, h)| Some((w.parse().ok()?, h.parse().ok()?)));
        let (width, height): (u32, u32) = size.ok_or(ODD)?;
        if !frames.rgb.is_empty() && (frames.width, frames.height) != (width, height) {
            return Err(Error::Output("frames of several sizes"));
        }
        let pixels = width as usize * height as usize * 3;
        if rest.len() < pixels {
            return Err(Error::Output("a picture that is cut short"));
        }
        (frames.width, frames.height) = (width, height);
        frames.rgb.push(rest[..pixels].to_vec());
        bytes = &rest[pixels..];
    }
    Ok(frames)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_read_one_after_the_other() {
        let two = b"P6\n1 2\n255\nabcdefP6\n1 2\n255\n123456";
        let frames = ppm(two).unwrap();
        assert_eq!((frames.width, frames.height, frames.rgb.len()), (1, 2, 2));
        assert_eq!(frames.rgb[1], b"123456");
        assert!(ppm(&two[..16]).is_err() && ppm(b"P5\n1 1\n255\na").is_err());
        assert!(ppm(b"P6\n1 1\n255\nabcP6\n2 1\n255\nabcdef").is_err());
    }

    #[test]
    fn what_is_no_picture_is_refused() {
        for bad in [&b"P5\n2 1\n255\nabcdef"[..], b"P6\n2 1\n255\nabc", b"P6\n2\n255\nab", b"x"] {
            assert!(ppm(bad).is_err());
        }
    }
}
