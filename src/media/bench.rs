//! What a decode costs.

use std::ops::ControlFlow;
use std::path::Path;
use std::time::{Duration, Instant};

use super::{Decoder, Error, Event};

/// Medians over some decodes of one clip.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// Frames of the clip.
    pub frames: u32,
    /// CPU time of the child in milliseconds, starting the program included.
    pub child_cpu_ms: u64,
    /// Time until the last event.
    pub wall: Duration,
}

/// Decodes `clip` `runs` times (at least once) and throws the frames away.
///
/// # Errors
///
/// Those of [`Decoder::decode`].
pub fn measure(decoder: &Decoder, clip: &Path, runs: usize) -> Result<Cost, Error> {
    let mut frames = 0;
    let mut cpu = Vec::new();
    let mut wall = Vec::new();
    for _ in 0..runs.max(1) {
        let since = Instant::now();
        let totals = decoder.decode(clip, |event: Event| {
            std::hint::black_box(&event);
            ControlFlow::Continue(())
        })?;
        frames = totals.frames;
        cpu.push(totals.decode_cpu_ms);
        wall.push(since.elapsed());
    }
    cpu.sort_unstable();
    wall.sort_unstable();
    let middle = cpu.len() / 2;
    Ok(Cost { frames, child_cpu_ms: cpu[middle], wall: wall[middle] })
}
