//! The `ffmpeg` program: bytes in, bytes out.

use std::io::{Read, Write};
use std::process::{Command, Stdio};

use super::{Error, Result};

/// `ffmpeg`, quiet, on one thread, reading nothing it is not given.
pub(super) fn ffmpeg() -> Command {
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-nostdin", "-y", "-threads", "1", "-filter_threads", "1"]);
    command
}

/// Runs it, feeding it `input`, and returns what it writes.
pub(super) fn run(command: &mut Command, input: &[u8]) -> Result<Vec<u8>> {
    let mut child = command
        .stdin(if input.is_empty() { Stdio::null() } else { Stdio::piped() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(Error::NoProgram)?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (mut out, mut said) = (Vec::new(), String::new());
    std::thread::scope(|scope| {
        // Beside each other: a pipe holds 64 KiB. What fails to be written, ffmpeg says why.
        scope.spawn(move || stdin.map(|mut pipe| pipe.write_all(input)));
        scope.spawn(|| stderr.map(|mut pipe| pipe.read_to_string(&mut said)));
        stdout.map_or(Ok(0), |mut pipe| pipe.read_to_end(&mut out))
    })
    .map_err(Error::NoProgram)?;
    let status = child.wait().map_err(Error::NoProgram)?;
    if status.success() {
        Ok(out)
    } else {
        Err(Error::Program(said.lines().next().unwrap_or("no reason").to_owned()))
    }
}
