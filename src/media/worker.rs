//! The child: one FFmpeg pass over one upload, behind the sandbox.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::panic::{self, AssertUnwindSafe};
use std::process::ExitCode;

use ffmpeg_the_third::log;

use super::error::Part;
use super::ffmpeg::Input;
use super::protocol::{ChildTotals, Job, Refusal, Task, Writer};
use super::sniff::{SNIFF_BYTES, Sniffed, sniff};
use super::streams::{AudioStream, VideoStream, is_out_of_memory, open_streams, refusal_of};
use super::{Container, sandbox, sys};

/// The hidden subcommand that turns this program into the child.
pub const SUBCOMMAND: &str = "media-worker";

/// Failed reads in a row after which the rest of the file is given up.
const MAX_READ_ERRORS: u32 = 16;

/// Runs the child. `main` calls this before anything else if the first argument is
/// [`SUBCOMMAND`]; the second is the job. Nobody else has a use for it.
pub fn main() -> ExitCode {
    sys::close_from(3);
    panic::set_hook(Box::new(|_| ()));
    log::set_level(log::Level::Quiet);
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE, // the host is gone, or there never was one
    }
}

fn serve() -> io::Result<()> {
    let job = std::env::args_os().nth(2).and_then(|job| job.into_string().ok());
    let job: Job = serde_json::from_str(&job.unwrap_or_default())?;
    // Around the standard library's locks and line buffer.
    let upload = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut out = Writer::new(File::from(io::stdout().as_fd().try_clone_to_owned()?));

    let layers = match sandbox::enter(&job.limits, job.policy) {
        Ok(layers) => layers,
        Err(sandbox::LayerFailed { layer, reason }) => {
            return out.failed(&Refusal::Sandbox { layer: layer.to_owned(), reason });
        }
    };
    out.sandboxed(layers)?;
    if job.task == Task::Probe {
        return out.probed(sandbox::self_test());
    }
    let decoded = panic::catch_unwind(AssertUnwindSafe(|| decode(&job, upload, &mut out)));
    match decoded.unwrap_or(Err(Stop::Refused(Refusal::Internal))) {
        Ok(totals) => out.done(&ChildTotals { cpu_us: sys::process_cpu_us(), ..totals }),
        Err(Stop::Refused(refusal)) => out.failed(&refusal),
        Err(Stop::Gone(e)) => Err(e),
    }
}

/// Why a decode ended early.
pub(super) enum Stop {
    /// There is something to tell the host.
    Refused(Refusal),
    /// The host has closed the pipe.
    Gone(io::Error),
}

impl From<io::Error> for Stop {
    fn from(e: io::Error) -> Self {
        Self::Gone(e)
    }
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// Where the child answers.
pub(super) type Out = Writer<File>;

fn decode(job: &Job, upload: File, out: &mut Out) -> Result<ChildTotals, Stop> {
    let container = recognise(&upload)?;
    let mut input =
        Input::open(upload, job.bytes, container).map_err(|e| refusal_of(e, Part::Container))?;
    let declared_ms = input.declared_duration_us().map(|us| us / 1000);
    if declared_ms.is_some_and(|ms| ms > job.limits.max_duration_ms) {
        return Err(Refusal::TooLong { max_ms: job.limits.max_duration_ms }.into());
    }
    let (mut video, mut audio, facts) = open_streams(job, &mut input, container, declared_ms)?;
    out.opened(&facts)?;

    let mut failures = 0;
    let video_index = video.index;
    let audio_index = audio.as_ref().map(|a| a.index);
    let mut read_errors = 0;
    for packet in input.demuxer().packets() {
        let packet = match packet {
            Ok((_, packet)) => packet,
            Err(e) if is_out_of_memory(e) => return Err(Refusal::TooMuchMemory.into()),
            Err(_) => {
                failures += 1;
                read_errors += 1;
                if read_errors == MAX_READ_ERRORS {
                    break;
                }
                continue;
            }
        };
        read_errors = 0;
        if packet.stream() == video_index {
            video.decode(Some(&packet), out)?;
        } else if let Some(audio) = audio.as_mut().filter(|_| Some(packet.stream()) == audio_index)
        {
            audio.decode(Some(&packet), out)?;
        }
    }
    video.decode(None, out)?;
    if let Some(audio) = &mut audio {
        audio.decode(None, out)?;
        audio.track.finish(|t_ms, samples| out.audio(t_ms, samples))?;
    }
    conclude(&video, audio.as_ref(), declared_ms, failures)
}

/// The container, if it is an accepted one.
fn recognise(upload: &File) -> Result<Container, Stop> {
    let mut head = [0; SNIFF_BYTES];
    let mut filled = 0;
    while filled < head.len() {
        match upload.read_at(&mut head[filled..], filled as u64) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(_) => return Err(Refusal::Internal.into()),
        }
    }
    match sniff(&head[..filled]) {
        Sniffed::Accepted(container) => Ok(container),
        Sniffed::Other(name) => Err(Refusal::UnsupportedContainer { name: name.to_owned() }.into()),
        Sniffed::Unknown => Err(Refusal::NotAContainer.into()),
    }
}

/// Judges the whole: what was lost may not outweigh what was decoded, nor the end be missing.
fn conclude(
    video: &VideoStream,
    audio: Option<&AudioStream>,
    declared_ms: Option<u64>,
    failures: u32,
) -> Result<ChildTotals, Stop> {
    let audio_end_us = audio.map_or(0, |a| a.track.end_us());
    let duration_ms = video.end_ms().max(audio_end_us.max(0) as u64 / 1000);
    if let Some(declared_ms) = declared_ms {
        let slack = 500.max(declared_ms / 20);
        if duration_ms + slack < declared_ms {
            return Err(Refusal::Truncated { declared_ms, decoded_ms: duration_ms }.into());
        }
    }
    if video.frames == 0 || video.damaged > video.frames {
        return Err(Refusal::Corrupt { part: Part::Video }.into());
    }
    if let Some(audio) = audio
        && (audio.track.is_empty() || audio.damaged > audio.whole)
    {
        return Err(Refusal::Corrupt { part: Part::Audio }.into());
    }
    Ok(ChildTotals {
        duration_ms,
        damaged_packets: video
            .damaged
            .saturating_add(audio.map_or(0, |a| a.damaged))
            .saturating_add(failures),
        audio_gaps_ms: audio.map_or(0, |a| a.track.gaps_ms()),
        cpu_us: 0,
    })
}
