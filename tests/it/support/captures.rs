//! Captures for tests: drawn ones, and files that only look like captures.

use std::path::Path;
use std::process::{Command, Stdio};

use cameo::domain::challenge::Motion;
use cameo::drawn::{Look, Script, Settings, Trick, record};

/// A drawn person who reads `digits` and makes `motions`, as WebM.
pub(crate) fn drawn(digits: &[u8], motions: &[Motion], trick: Trick) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("drawn.webm");
    let look = Look::named("amber").unwrap();
    let settings = Settings { fps: 12.0, trick, ..Settings::of(look) };
    record(&Script::new(digits.to_vec(), motions.to_vec()), &settings, &path).unwrap();
    std::fs::read(path).unwrap()
}

/// What `ffmpeg` makes of these arguments; `out` is the name, so that its ending decides.
pub(crate) fn ffmpeg(args: &[&str], out: &str) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(out);
    run(args, &path);
    std::fs::read(path).unwrap()
}

fn run(args: &[&str], out: &Path) {
    let status = Command::new("ffmpeg")
        .args(["-v", "error", "-nostdin", "-y"])
        .args(args)
        .arg(out)
        .stdin(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success(), "ffmpeg {args:?}");
}

/// A test picture with a tone: a good file without a face.
pub(crate) fn test_picture(seconds: u32) -> Vec<u8> {
    test_picture_of(seconds, 0)
}

/// The same with another tone, so that it is another file.
pub(crate) fn test_picture_of(seconds: u32, tone: u32) -> Vec<u8> {
    let picture = format!("testsrc=size=320x240:rate=10:duration={seconds}");
    let tone = format!("sine=frequency={}:duration={seconds}", 440 + tone);
    ffmpeg(
        &[
            "-f",
            "lavfi",
            "-i",
            &picture,
            "-f",
            "lavfi",
            "-i",
            &tone,
            "-c:v",
            "libvpx",
            "-b:v",
            "300k",
            "-cpu-used",
            "8",
            "-deadline",
            "realtime",
            "-c:a",
            "libopus",
            "-shortest",
        ],
        "picture.webm",
    )
}
