//! Whole captures: frames and speech, encoded by the `ffmpeg` program, with their exact truth.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde::{Deserialize, Serialize};

use super::look::Look;
use super::script::{MadeMotion, Script, SpokenDigit, Timeline};
use super::speech::{self, Speech, Word};
use super::stage::{Figure, Placement, Stage};
use super::{Error, FaceState};

/// Frame rates that can be drawn.
const RATES: std::ops::RangeInclusive<f64> = 1.0..=120.0;
/// Longest capture, in milliseconds: ground truth and sound are held in memory.
const MAX_DURATION_MS: u32 = 120_000;
/// How much of what ffmpeg says is kept.
const MAX_MESSAGE: u64 = 8 * 1024;

/// Video codec, with the container and the audio codec that browsers pair it with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Codec {
    /// `WebM` with VP8 and Opus.
    Vp8,
    /// `WebM` with VP9 and Opus.
    Vp9,
    /// MP4 with H.264 and AAC.
    H264,
}

impl Codec {
    /// The usual ending of a file's name, without the dot.
    #[must_use]
    pub fn extension(self) -> &'static str {
        match self {
            Self::Vp8 | Self::Vp9 => "webm",
            Self::H264 => "mp4",
        }
    }

    /// Encoder and container, as ffmpeg's arguments separated by spaces.
    fn arguments(self) -> &'static str {
        match self {
            // Below zero libvpx keeps to one speed; above, it adapts to how busy the machine is, and
            // the same seed would no longer make the same file.
            Self::Vp8 => "-c:v libvpx -deadline realtime -cpu-used -8 -c:a libopus -f webm",
            Self::Vp9 => "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -c:a libopus -f webm",
            Self::H264 => {
                "-c:v libx264 -preset ultrafast -pix_fmt yuv420p -c:a aac -movflags +faststart -f mp4"
            }
        }
    }
}

impl std::str::FromStr for Codec {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        match s {
            "vp8" => Ok(Self::Vp8),
            "vp9" => Ok(Self::Vp9),
            "h264" => Ok(Self::H264),
            _ => Err("choose vp8, vp9 or h264".to_owned()),
        }
    }
}

/// What is wrong with the capture, if anything. (Wrong digits, missing, late or disordered motions
/// are a matter of the [`Script`].)
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trick {
    /// Nothing: one live person.
    #[default]
    None,
    /// A second person sits beside the first and looks on.
    TwoFaces(Box<Look>),
    /// An empty room, with the speech.
    NoFace,
    /// One picture for the whole video, with the speech.
    Still,
    /// The person speaks, but nothing is heard.
    Silent,
    /// From `at_ms` on, another person sits there.
    Splice {
        /// The other person.
        look: Box<Look>,
        /// When they are swapped, in milliseconds from the first frame.
        at_ms: u32,
    },
}

/// How a capture is made.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Pixels; even, 64..=1920.
    pub width: u32,
    /// Pixels; even, 64..=1920.
    pub height: u32,
    /// Frames a second, 1..=120.
    pub fps: f64,
    /// How it is encoded.
    pub codec: Codec,
    /// Video bit rate in kilobits a second.
    pub kbps: u32,
    /// Who is drawn.
    pub look: Look,
    /// Decides sway, blinks and noise: the same seed makes the same capture.
    pub seed: u64,
    /// What is wrong with it.
    pub trick: Trick,
}

impl Settings {
    /// A laptop's camera in a browser: 640 x 480, VP8, 20 frames a second.
    #[must_use]
    pub fn of(look: Look) -> Self {
        Self {
            width: 640,
            height: 480,
            fps: 20.0,
            codec: Codec::Vp8,
            kbps: 1_500,
            look,
            seed: 1,
            trick: Trick::None,
        }
    }
}

/// One frame's exact truth.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct FrameTruth {
    /// Presentation time in milliseconds from the first frame.
    pub t_ms: f64,
    /// Faces in the picture.
    pub faces: u8,
    /// Pose and expression of the person asked.
    #[serde(flatten)]
    pub state: FaceState,
}

/// Everything that is known about a drawn capture.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GroundTruth {
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Frames a second.
    pub fps: f64,
    /// How it is encoded.
    pub codec: Codec,
    /// Name of the look.
    pub look: String,
    /// The seed.
    pub seed: u64,
    /// What is wrong with it.
    pub trick: Trick,
    /// Length in milliseconds.
    pub duration_ms: u32,
    /// The digits as the person says them (heard unless the trick is [`Trick::Silent`]).
    pub digits: Vec<SpokenDigit>,
    /// The motions as made; none where no living head is in the picture.
    pub motions: Vec<MadeMotion>,
    /// Every frame.
    pub frames: Vec<FrameTruth>,
}

/// Draws, speaks and encodes a capture into the file `out`, replacing what is there.
///
/// # Errors
/// [`Error`]; nothing is left at `out` then.
pub fn record(script: &Script, settings: &Settings, out: &Path) -> Result<GroundTruth, Error> {
    if !RATES.contains(&settings.fps) {
        return Err(Error::BadRate(settings.fps));
    }
    let words = speech::words(&script.digits, &settings.look.voice)?;
    let lengths: Vec<u32> = words.iter().map(Word::millis).collect();
    let mut timeline = Timeline::new(script, &lengths, settings.seed);
    if timeline.duration_ms > MAX_DURATION_MS {
        return Err(Error::TooLong { limit_ms: MAX_DURATION_MS });
    }
    let speech = Speech::new(&timeline, &words);
    timeline.speak(&speech);

    let mut cast = Cast::new(settings)?;
    let silent = settings.trick == Trick::Silent;
    let wav = speech.to_wav(silent, settings.seed);
    let mut encoder = Encoder::start(settings, &wav, out)?;
    let count = (f64::from(timeline.duration_ms) / 1000.0 * settings.fps).floor().max(1.0) as u64;
    let mut frames = Vec::with_capacity(count as usize);
    for index in 0..count {
        let t_ms = index as f64 * 1000.0 / settings.fps;
        let (picture, truth) = cast.shoot(&timeline, index, t_ms);
        if encoder.write(picture).is_err() {
            break; // the reason is in what ffmpeg said
        }
        frames.push(truth);
    }
    encoder.finish()?;
    let lives = !matches!(settings.trick, Trick::NoFace | Trick::Still);
    Ok(GroundTruth {
        width: settings.width,
        height: settings.height,
        fps: settings.fps,
        codec: settings.codec,
        look: settings.look.name.clone(),
        seed: settings.seed,
        trick: settings.trick.clone(),
        duration_ms: timeline.duration_ms,
        digits: timeline.digits,
        motions: if lives { timeline.motions } else { Vec::new() },
        frames,
    })
}

/// Who sits where.
struct Cast {
    stage: Stage,
    person: Figure,
    other: Option<Figure>,
    trick: Trick,
    picture: Vec<u8>,
}

impl Cast {
    fn new(settings: &Settings) -> Result<Self, Error> {
        let stage = Stage::new(settings.width, settings.height, &settings.look, settings.seed)?;
        let other = match &settings.trick {
            Trick::TwoFaces(look) | Trick::Splice { look, .. } => Some(Figure::new(look)),
            _ => None,
        };
        let person = Figure::new(&settings.look);
        Ok(Self { stage, person, other, trick: settings.trick.clone(), picture: Vec::new() })
    }

    /// Frame `index` at `t_ms`, and its truth.
    fn shoot(&mut self, timeline: &Timeline, index: u64, t_ms: f64) -> (&[u8], FrameTruth) {
        let state = timeline.at(t_ms);
        let mut truth = FrameTruth { t_ms, faces: 1, state };
        let alone = [(&self.person, Placement::CENTRED, state)];
        let picture = match (&self.trick, &self.other) {
            (Trick::Still, _) => {
                truth.state = timeline.at(0.0);
                if !self.picture.is_empty() {
                    return (&self.picture, truth);
                }
                self.stage.draw(&[(&self.person, Placement::CENTRED, truth.state)], 0)
            }
            (Trick::NoFace, _) => {
                truth = FrameTruth { t_ms, faces: 0, state: FaceState::default() };
                self.stage.draw(&[], index)
            }
            (Trick::TwoFaces(_), Some(other)) => {
                truth.faces = 2;
                // The second person is alive too, but does not play along.
                let mut onlooker = timeline.at((t_ms - 700.0).max(0.0) * 0.9);
                onlooker.yaw *= 0.15;
                onlooker.pitch *= 0.15;
                onlooker.mouth = 0.0;
                self.stage.draw(
                    &[(&self.person, Placement::LEFT, state), (other, Placement::RIGHT, onlooker)],
                    index,
                )
            }
            (Trick::Splice { at_ms, .. }, Some(other)) if t_ms >= f64::from(*at_ms) => {
                self.stage.draw(&[(other, Placement::CENTRED, state)], index)
            }
            _ => self.stage.draw(&alone, index),
        };
        self.picture = picture.into_raw();
        (&self.picture, truth)
    }
}

/// A running `ffmpeg`.
struct Encoder {
    child: Child,
    messages: Option<std::thread::JoinHandle<String>>,
    /// Removed once everything is encoded.
    _sound: tempfile::NamedTempFile,
    out: PathBuf,
    done: bool,
}

impl Encoder {
    fn start(settings: &Settings, wav: &[u8], out: &Path) -> Result<Self, Error> {
        let mut sound = tempfile::Builder::new().suffix(".wav").tempfile().map_err(Error::Io)?;
        sound.write_all(wav).and_then(|()| sound.flush()).map_err(Error::Io)?;
        let size = format!("{}x{}", settings.width, settings.height);
        let rate = format!("{}", settings.fps);
        let bits = format!("{}k", settings.kbps.clamp(50, 50_000));
        let mut child = Command::new("ffmpeg")
            .args(["-nostdin", "-hide_banner", "-loglevel", "error", "-y"])
            .args(["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", &size, "-r", &rate, "-i", "pipe:0"])
            .arg("-i")
            .arg(sound.path())
            .args(["-map", "0:v", "-map", "1:a", "-threads", "1", "-b:v", &bits, "-g", "60"])
            .args([
                "-b:a",
                "64k",
                "-fflags",
                "+bitexact",
                "-flags:v",
                "+bitexact",
                "-flags:a",
                "+bitexact",
            ])
            .args(settings.codec.arguments().split(' '))
            .arg(out)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|e| Error::tool("ffmpeg", &e))?;
        let messages = child.stderr.take().map(|pipe| {
            std::thread::spawn(move || {
                let mut text = Vec::new();
                let mut pipe = pipe.take(MAX_MESSAGE);
                let _ = pipe.read_to_end(&mut text);
                // Go on reading, or ffmpeg would wait for us.
                let _ = std::io::copy(&mut pipe.into_inner(), &mut std::io::sink());
                String::from_utf8_lossy(&text).into_owned()
            })
        });
        Ok(Self { child, messages, _sound: sound, out: out.to_owned(), done: false })
    }

    fn write(&mut self, picture: &[u8]) -> std::io::Result<()> {
        match &mut self.child.stdin {
            Some(pipe) => pipe.write_all(picture),
            None => Err(std::io::ErrorKind::BrokenPipe.into()),
        }
    }

    /// Lets ffmpeg end and looks how it went.
    fn finish(mut self) -> Result<(), Error> {
        drop(self.child.stdin.take());
        let status = self.child.wait().map_err(Error::Io)?;
        let said = self.messages.take().and_then(|t| t.join().ok()).unwrap_or_default();
        if !status.success() {
            return Err(Error::Encoding(format!("{status}: {}", speech::last_line(&said))));
        }
        self.done = true;
        Ok(())
    }
}

impl Drop for Encoder {
    fn drop(&mut self) {
        if !self.done {
            let _ = self.child.kill();
            let _ = self.child.wait();
            let _ = std::fs::remove_file(&self.out);
        }
    }
}
