//! `cameo draw`: a capture of a computer-drawn person, for trying things without a camera.

use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, ValueEnum};
use serde_json::json;

use crate::domain::challenge::Motion;
use crate::drawn::{Codec, Look, Pace, Script, Settings, Trick, record};

/// Draw a capture of a computer-drawn person who reads digits aloud and moves the head.
#[derive(Debug, Args)]
pub struct Draw {
    /// The digits to read aloud
    #[arg(long, value_parser = digits)]
    digits: Digits,
    /// The head motions in order, such as left,up; empty for none
    #[arg(long, value_parser = motions)]
    motions: Motions,
    /// The file to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Frames a second, 1 to 120
    #[arg(long, default_value_t = 20.0)]
    fps: f64,
    /// Picture size
    #[arg(long, default_value = "640x480", value_parser = size, value_name = "WIDTHxHEIGHT")]
    size: (u32, u32),
    /// Video codec: vp8 or vp9 (a .webm with Opus), or h264 (an .mp4 with AAC)
    #[arg(long, default_value = "vp8")]
    codec: Codec,
    /// Video bit rate in kilobits a second
    #[arg(long, default_value_t = 1_500)]
    kbps: u32,
    /// Who is drawn: amber, birch, cedar or dahlia
    #[arg(long, default_value = "amber")]
    look: String,
    /// Decides sway, blinks and noise; the same seed draws the same capture
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// What is wrong with the capture
    #[arg(long, value_enum, default_value_t = Fault::None)]
    trick: Fault,
    /// The second person, for --trick two-faces and splice
    #[arg(long, default_value = "cedar", value_name = "LOOK")]
    other: String,
    /// When --trick splice swaps the person, in milliseconds
    #[arg(long, default_value_t = 4_000, value_name = "MS")]
    splice_at: u32,
    /// Looking into the camera before the first digit, in milliseconds
    #[arg(long, default_value_t = Pace::default().lead_in, value_name = "MS")]
    lead_in: u32,
    /// Looking into the camera after everything, in milliseconds
    #[arg(long, default_value_t = Pace::default().tail, value_name = "MS")]
    tail: u32,
    /// Pause before the first motion, in milliseconds
    #[arg(long, default_value_t = Pace::default().before_motions, value_name = "MS")]
    motion_delay: u32,
    /// Also write what is shown in every frame, as JSON
    #[arg(long, value_name = "FILE")]
    truth: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// What can be wrong with a capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Fault {
    /// Nothing
    None,
    /// Somebody else sits beside the person
    TwoFaces,
    /// An empty room
    NoFace,
    /// One picture all the time
    Still,
    /// No sound but the room's
    Silent,
    /// Another person from the middle on
    Splice,
}

/// Draws the capture and says where it is.
///
/// # Errors
/// What [`record`] answers, or a file that can't be written.
pub fn run(args: &Draw) -> anyhow::Result<()> {
    let other = || anyhow::Ok(Box::new(Look::named(&args.other)?));
    let trick = match args.trick {
        Fault::None => Trick::None,
        Fault::TwoFaces => Trick::TwoFaces(other()?),
        Fault::NoFace => Trick::NoFace,
        Fault::Still => Trick::Still,
        Fault::Silent => Trick::Silent,
        Fault::Splice => Trick::Splice { look: other()?, at_ms: args.splice_at },
    };
    let (width, height) = args.size;
    let settings = Settings {
        width,
        height,
        fps: args.fps,
        codec: args.codec,
        kbps: args.kbps,
        look: Look::named(&args.look)?,
        seed: args.seed,
        trick,
    };
    let mut script = Script::new(args.digits.0.clone(), args.motions.0.clone());
    script.pace.lead_in = args.lead_in;
    script.pace.tail = args.tail;
    script.pace.before_motions = args.motion_delay;
    let truth = record(&script, &settings, &args.out)?;
    if let Some(path) = &args.truth {
        let text = serde_json::to_vec_pretty(&truth)?;
        std::fs::write(path, text).with_context(|| format!("writing {}", path.display()))?;
    }
    let (out, frames) = (args.out.display().to_string(), truth.frames.len());
    let words = format!("{out}: {frames} frames, {:.1} s", f64::from(truth.duration_ms) / 1000.0);
    let shown = json!({ "file": out, "frames": frames, "duration_ms": truth.duration_ms });
    super::say(args.json, &shown, &words)
}

#[derive(Clone, Debug)]
struct Digits(Vec<u8>);

#[derive(Clone, Debug)]
struct Motions(Vec<Motion>);

fn digits(text: &str) -> Result<Digits, String> {
    let all = text.chars().map(|c| c.to_digit(10).map(|d| d as u8)).collect::<Option<Vec<_>>>();
    all.map(Digits).ok_or_else(|| "only the digits 0 to 9".to_owned())
}

fn motions(text: &str) -> Result<Motions, String> {
    text.split(',')
        .filter(|m| !m.is_empty())
        .map(|m| m.parse().map_err(|_| format!("{m:?} is not left, right, up or down")))
        .collect::<Result<_, _>>()
        .map(Motions)
}

fn size(text: &str) -> Result<(u32, u32), String> {
    text.split_once('x')
        .and_then(|(w, h)| Some((w.parse().ok()?, h.parse().ok()?)))
        .ok_or_else(|| "write it as 640x480".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Alone {
        #[command(flatten)]
        draw: Draw,
    }

    #[test]
    fn arguments_are_checked_with_a_reason() {
        let parse = |more: &[&str]| {
            let base = ["x", "--digits", "471903", "--motions", "left,up", "--out", "o.webm"];
            Alone::try_parse_from(base.iter().chain(more))
        };
        let good = parse(&["--size", "480x640", "--codec", "h264"]).unwrap().draw;
        assert_eq!(good.digits.0, [4, 7, 1, 9, 0, 3]);
        assert_eq!(good.motions.0, [Motion::Left, Motion::Up]);
        assert_eq!(good.size, (480, 640));
        assert!(parse(&["--size", "big"]).unwrap_err().to_string().contains("640x480"));
        assert!(parse(&["--codec", "av1"]).unwrap_err().to_string().contains("vp9"));
    }
}
