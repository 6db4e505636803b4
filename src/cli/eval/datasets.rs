//! A folder of recordings that is not part of the project: what it lists, and decoding through the
//! `ffmpeg` program.
//!
//! The folder is the operator's own and trusted; uploads never come this way (they are decoded in
//! the sandbox of [`media`](crate::media)).

use std::io::{Read, Write};
use std::path::{Component, Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail, ensure};

/// Samples per second of every sound here.
pub const RATE: usize = 16_000;
/// Longest side that the service measures; larger frames are scaled down as its decoder does.
const MAX_SIDE: u32 = 640;

/// One line of `MANIFEST.tsv`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recording {
    /// Path below the folder.
    pub path: PathBuf,
    /// Who speaks, such as `an4_fash`: a corpus and a code.
    pub speaker: String,
    /// What is said.
    pub label: String,
}

/// Reads `MANIFEST.tsv` (columns path, source, speaker, label, licence, notes).
///
/// # Errors
/// Where there is none, or a line is not of that form.
pub fn manifest(root: &Path) -> anyhow::Result<Vec<Recording>> {
    let path = root.join("MANIFEST.tsv");
    let text = std::fs::read_to_string(&path).with_context(|| {
        format!("can't read {}: name the folder of recordings with --datasets", path.display())
    })?;
    let mut recordings = Vec::new();
    for (i, line) in text.lines().enumerate().skip(1).filter(|(_, l)| !l.trim().is_empty()) {
        let columns: Vec<&str> = line.split('\t').map(|c| c.trim_matches('"')).collect();
        let [path, _, speaker, label, ..] = columns[..] else {
            bail!("line {} of MANIFEST.tsv has fewer than four columns", i + 1);
        };
        let path = PathBuf::from(path);
        let plain = path.components().all(|c| matches!(c, Component::Normal(_)));
        ensure!(plain, "line {} of MANIFEST.tsv leads out of the folder", i + 1);
        let [speaker, label] = [speaker, label].map(str::to_owned);
        recordings.push(Recording { path, speaker, label });
    }
    Ok(recordings)
}

/// The files of a folder whose names end in one of `endings`, sorted. Empty where there is no such
/// folder.
pub fn files(dir: &Path, endings: &[&str]) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(dir)
        .into_iter()
        .flatten()
        .filter_map(|e| e.ok().map(|e| e.path()))
        .filter(|p| p.extension().is_some_and(|e| endings.iter().any(|x| e == *x)))
        .collect();
    files.sort();
    files
}

/// A sound file as mono at [`RATE`].
///
/// # Errors
/// Where `ffmpeg` is missing or can't read it.
pub fn sound(path: &Path) -> anyhow::Result<Vec<f32>> {
    let out = ffmpeg(
        Command::new("ffmpeg")
            .args(["-v", "error", "-nostdin", "-threads", "1", "-i"])
            .arg(path)
            .args(["-ac", "1", "-ar", "16000", "-f", "f32le", "-"]),
        &[],
    )
    .with_context(|| format!("can't decode {}", path.display()))?;
    Ok(samples(&out))
}

/// Encodes a sound with `options` into `container` and decodes it again.
///
/// # Errors
/// Where `ffmpeg` is missing or lacks the encoder.
pub fn through_codec(sound: &[f32], options: &[&str], container: &str) -> anyhow::Result<Vec<f32>> {
    const RAW: [&str; 6] = ["-f", "f32le", "-ar", "16000", "-ac", "1"];
    let bytes: Vec<u8> = sound.iter().flat_map(|s| s.to_le_bytes()).collect();
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-threads", "1"]).args(RAW).args(["-i", "-"]);
    let packed = ffmpeg(command.args(options).args(["-f", container, "-"]), &bytes)
        .context("ffmpeg can't encode")?;
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-threads", "1", "-i", "-"]).args(RAW).arg("-");
    Ok(samples(&ffmpeg(&mut command, &packed).context("ffmpeg can't decode what it encoded")?))
}

/// Frames of a picture or a video: rows of red, green, blue.
#[derive(Clone)]
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
pub fn frames(path: &Path, filter: &str, most: usize) -> anyhow::Result<Frames> {
    let fit = format!(
        "scale='min({MAX_SIDE},iw)':'min({MAX_SIDE},ih)':force_original_aspect_ratio=decrease\
         :force_divisible_by=2,setsar=1"
    );
    // A picture by itself has no rate.
    let is_picture = path.extension().is_some_and(|e| ["jpg", "png"].iter().any(|x| e == *x));
    let rate = if is_picture { "null" } else { "fps=2" };
    // A picture of its own size tells the size: PPM has it in each header.
    let out = ffmpeg(
        Command::new("ffmpeg")
            .args(["-v", "error", "-nostdin", "-threads", "1", "-i"])
            .arg(path)
            .args(["-filter_complex", &format!("[0:v]{rate},{fit},{filter}"), "-an"])
            .args(["-frames:v", &most.to_string()])
            .args(["-c:v", "ppm", "-f", "image2pipe", "-"]),
        &[],
    )
    .with_context(|| format!("can't decode {}", path.display()))?;
    ppm(&out).with_context(|| format!("in {}", path.display()))
}

/// The frames encoded with H.264 at a constant quality and decoded again.
///
/// # Errors
/// Where `ffmpeg` is missing or lacks the encoder.
pub fn recompressed(frames: &Frames, crf: u32) -> anyhow::Result<Frames> {
    let size = format!("{}x{}", frames.width, frames.height);
    let mut command = Command::new("ffmpeg");
    command
        .args(["-v", "error", "-threads", "1", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", &size])
        .args(["-r", "25", "-i", "-", "-c:v", "libx264", "-preset", "veryfast", "-threads", "1"])
        .args(["-pix_fmt", "yuv420p", "-crf", &crf.to_string(), "-f", "matroska", "-"]);
    let packed = ffmpeg(&mut command, &frames.rgb.concat()).context("ffmpeg can't encode")?;
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-threads", "1", "-i", "-"]);
    let plain = ffmpeg(command.args(["-c:v", "ppm", "-f", "image2pipe", "-"]), &packed)
        .context("ffmpeg can't decode what it encoded")?;
    ppm(&plain)
}

/// Runs `ffmpeg`, feeding it `input`, and returns what it writes.
fn ffmpeg(command: &mut Command, input: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut child = command
        .stdin(if input.is_empty() { Stdio::null() } else { Stdio::piped() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("the program ffmpeg can't be started: is it installed?")?;
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
    let mut out = Vec::new();
    std::thread::scope(|scope| {
        // Written beside reading: a pipe holds 64 KiB.
        scope.spawn(move || stdin.map(|mut pipe| pipe.write_all(input)));
        stdout.map_or(Ok(0), |mut pipe| pipe.read_to_end(&mut out))
    })?;
    let done = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&done.stderr);
    ensure!(done.status.success(), "ffmpeg failed: {}", said.lines().next().unwrap_or("no reason"));
    Ok(out)
}

fn samples(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}

/// Pictures in a row in the binary PPM format, all of one size.
fn ppm(mut bytes: &[u8]) -> anyhow::Result<Frames> {
    let mut frames = Frames { width: 0, height: 0, rgb: Vec::new() };
    while !bytes.is_empty() {
        let mut header = bytes.splitn(4, |b| *b == b'\n');
        let (Some(b"P6"), Some(size), Some(b"255"), Some(rest)) =
            (header.next(), header.next(), header.next(), header.next())
        else {
            bail!("ffmpeg wrote no PPM picture");
        };
        let size: Vec<u32> = std::str::from_utf8(size)?
            .split(' ')
            .map(str::parse)
            .collect::<Result<_, _>>()
            .context("a PPM picture without a size")?;
        let [width, height] = size[..] else { bail!("a PPM picture without a size") };
        let same = frames.rgb.is_empty() || (frames.width, frames.height) == (width, height);
        ensure!(same, "the frames are not of one size");
        let pixels = width as usize * height as usize * 3;
        ensure!(rest.len() >= pixels, "a PPM picture is cut short");
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
    fn manifests_are_read_and_stay_in_their_folder() {
        let dir = tempfile::tempdir().unwrap();
        let write = |text: &str| std::fs::write(dir.path().join("MANIFEST.tsv"), text).unwrap();
        assert!(manifest(dir.path()).unwrap_err().to_string().contains("--datasets"));
        write(
            "path\tsource\tspeaker\tlabel\tlicence\tnotes\na/b.flac\tx\tan4_q\tone two\t\"y\"\tz\n",
        );
        let rows = manifest(dir.path()).unwrap();
        assert_eq!((rows[0].speaker.as_str(), rows[0].label.as_str()), ("an4_q", "one two"));
        for bad in ["h\na/b.flac\tx\n", "h\n../b\tx\ty\tz\n", "h\n/b\tx\ty\tz\n"] {
            write(bad);
            assert!(manifest(dir.path()).is_err());
        }
    }

    #[test]
    fn pictures_in_a_row() {
        let one = b"P6\n2 1\n255\nabcdef";
        let frames = ppm(&[&one[..], b"P6\n2 1\n255\n\n\n\n\n\n\n"].concat()).unwrap();
        assert_eq!((frames.width, frames.height, frames.rgb.len()), (2, 1, 2));
        assert_eq!(frames.rgb[0], b"abcdef");
        for bad in [&b"P5\n2 1\n255\nabcdef"[..], b"P6\n2 1\n255\nabc", b"P6\n2\n255\nab", b"x"] {
            assert!(ppm(bad).is_err());
        }
    }

    #[test]
    fn a_codec_keeps_length_and_sound() {
        let tone: Vec<f32> = (0..RATE).map(|i| (i as f32 * 0.2).sin() * 0.3).collect();
        let back = through_codec(&tone, &["-c:a", "libopus", "-b:a", "32k"], "ogg").unwrap();
        assert!(back.len().abs_diff(tone.len()) < RATE / 10, "{}", back.len());
        let power = |s: &[f32]| s.iter().map(|v| v * v).sum::<f32>() / s.len() as f32;
        assert!((power(&back) / power(&tone) - 1.0).abs() < 0.2);
    }

    #[test]
    fn what_is_no_sound_is_named() {
        let e = sound(Path::new("no/such/file.wav")).unwrap_err();
        assert!(format!("{e:#}").contains("no/such/file.wav"));
    }
}
