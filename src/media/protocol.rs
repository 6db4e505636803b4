//! What the child says to the host, and nothing else.
//!
//! The host gives the child its [`Job`] as an argument and the upload as standard input. The child
//! answers on standard output with messages of one form:
//!
//! ```text
//! kind: u8 | length: u32 LE | payload: length bytes
//! ```
//!
//! in this order: `Sandboxed`, then `Opened (Frame | Audio)* Done`, or `Failed` at any point in
//! place of the rest. A probe is answered with `Sandboxed Probed`.
//!
//! From the second message on the child may be in the hands of whoever made the upload. [`Reader`]
//! therefore bounds every length before it allocates, checks the order and every number, and turns
//! names into enums or short plain words. Pixels and samples are any bytes by nature; samples that
//! are not finite are refused.

use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize};

use super::error::{Error, Part, StreamKind};
use super::limits::Limits;
use super::sandbox::{Layers, Policy, Refused};
use super::{Audio, Frame, MAX_SIDE, MediaFacts, SAMPLE_RATE};

/// Longest JSON payload, in bytes.
const MAX_JSON: u32 = 4096;
/// Most samples in one `Audio` message: two seconds.
pub(super) const MAX_SAMPLES: usize = 2 * SAMPLE_RATE as usize;
/// `index: u32 | t_ms: i64 | width: u16 | height: u16`, before the pixels.
const FRAME_HEAD: usize = 16;
/// `t_ms: i64`, before the samples.
const AUDIO_HEAD: usize = 8;

/// What the host wants from the child.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Job {
    pub(super) task: Task,
    pub(super) limits: Limits,
    pub(super) policy: Policy,
    /// Whether a capture without sound is refused.
    pub(super) require_audio: bool,
    /// Size of the upload.
    pub(super) bytes: u64,
}

/// The kind of [`Job`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Task {
    Decode,
    Probe,
}

/// What the child counted. The host counts frames and samples itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ChildTotals {
    pub(super) duration_ms: u64,
    pub(super) damaged_packets: u32,
    pub(super) audio_gaps_ms: u64,
    pub(super) cpu_us: u64,
}

/// Why the child gave up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Refusal {
    NotAContainer,
    UnsupportedContainer { name: String },
    UnsupportedCodec { stream: StreamKind, name: String },
    NoVideo,
    NoAudio,
    Corrupt { part: Part },
    Truncated { declared_ms: u64, decoded_ms: u64 },
    TooLong { max_ms: u64 },
    TooManyPixels { width: u32, height: u32 },
    TooManyFrames,
    TooMuchMemory,
    Sandbox { layer: String, reason: String },
    Internal,
}

impl Refusal {
    /// The error to report, with the host's own limits in place of the child's claims.
    pub(super) fn into_error(self, limits: &Limits) -> Error {
        match self {
            Self::NotAContainer => Error::NotAContainer,
            Self::UnsupportedContainer { name } => {
                Error::UnsupportedContainer { name: plain(&name) }
            }
            Self::UnsupportedCodec { stream, name } => {
                Error::UnsupportedCodec { stream, name: plain(&name) }
            }
            Self::NoVideo => Error::NoVideo,
            Self::NoAudio => Error::NoAudio,
            Self::Corrupt { part } => Error::Corrupt { part },
            Self::Truncated { declared_ms, decoded_ms } => {
                Error::Truncated { declared_ms, decoded_ms }
            }
            Self::TooLong { max_ms } => Error::TooLong { max_ms },
            Self::TooManyPixels { width, height } => {
                Error::TooManyPixels { width, height, max: limits.max_pixels }
            }
            Self::TooManyFrames => Error::TooManyFrames { max: limits.max_frames },
            Self::TooMuchMemory => Error::TooMuchMemory,
            Self::Sandbox { layer, reason } => {
                Error::SandboxRefused { layer: plain(&layer), reason: plain(&reason) }
            }
            Self::Internal => Error::ChildMisbehaved { what: "it reported an internal error" },
        }
    }
}

/// At most 64 characters of plain ASCII: what the child names ends up in logs and answers.
fn plain(name: &str) -> String {
    name.chars()
        .take(64)
        .map(|c| if c.is_ascii_alphanumeric() || " _-.,()".contains(c) { c } else { '?' })
        .collect()
}

/// One message, checked.
#[derive(Debug)]
pub(super) enum Message {
    Sandboxed(Layers),
    Opened(MediaFacts),
    Frame(Frame),
    Audio(Audio),
    Done(ChildTotals),
    Failed(Refusal),
    Probed(Refused),
}

mod kind {
    pub(super) const SANDBOXED: u8 = 1;
    pub(super) const OPENED: u8 = 2;
    pub(super) const FRAME: u8 = 3;
    pub(super) const AUDIO: u8 = 4;
    pub(super) const DONE: u8 = 5;
    pub(super) const FAILED: u8 = 6;
    pub(super) const PROBED: u8 = 7;
}

/// Why no message came.
#[derive(Debug)]
pub(super) enum ReadError {
    /// The child closed its end between or within messages.
    Ended,
    /// The read failed or ran out of time.
    Io(io::Error),
    /// The child broke the rule named here.
    Broken(&'static str),
}

impl From<io::Error> for ReadError {
    fn from(e: io::Error) -> Self {
        if e.kind() == io::ErrorKind::UnexpectedEof { Self::Ended } else { Self::Io(e) }
    }
}

/// The host's end: reads and checks messages.
pub(super) struct Reader<R> {
    from: R,
    limits: Limits,
    phase: Phase,
    frames: u32,
    samples: u64,
    last_frame_ms: Option<i64>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Fresh,
    Sandboxed,
    Opened,
    Closed,
}

impl<R: Read> Reader<R> {
    pub(super) fn new(from: R, limits: Limits) -> Self {
        Self { from, limits, phase: Phase::Fresh, frames: 0, samples: 0, last_frame_ms: None }
    }

    /// Frames received so far.
    pub(super) fn frames(&self) -> u32 {
        self.frames
    }

    /// Samples received so far, at [`SAMPLE_RATE`].
    pub(super) fn samples(&self) -> u64 {
        self.samples
    }

    /// The next message. After an error or a last message (`Done`, `Failed`, `Probed`) there is
    /// nothing more to read.
    pub(super) fn next(&mut self) -> Result<Message, ReadError> {
        let mut head = [0; 5];
        self.from.read_exact(&mut head)?;
        let [kind, length @ ..] = head;
        let length = u32::from_le_bytes(length);
        match (self.phase, kind) {
            (Phase::Fresh, kind::SANDBOXED) => {
                self.phase = Phase::Sandboxed;
                self.json(length).map(Message::Sandboxed)
            }
            (Phase::Fresh | Phase::Sandboxed | Phase::Opened, kind::FAILED) => {
                self.phase = Phase::Closed;
                self.json(length).map(Message::Failed)
            }
            (Phase::Sandboxed, kind::PROBED) => {
                self.phase = Phase::Closed;
                self.json(length).map(Message::Probed)
            }
            (Phase::Sandboxed, kind::OPENED) => {
                self.phase = Phase::Opened;
                let facts: MediaFacts = self.json(length)?;
                self.check_facts(&facts)?;
                Ok(Message::Opened(facts))
            }
            (Phase::Opened, kind::FRAME) => self.frame(length).map(Message::Frame),
            (Phase::Opened, kind::AUDIO) => self.audio(length).map(Message::Audio),
            (Phase::Opened, kind::DONE) => {
                self.phase = Phase::Closed;
                self.json(length).map(Message::Done)
            }
            (_, kind::SANDBOXED..=kind::PROBED) => {
                Err(ReadError::Broken("a message came out of order"))
            }
            _ => Err(ReadError::Broken("a message of an unknown kind")),
        }
    }

    fn json<T: serde::de::DeserializeOwned>(&mut self, length: u32) -> Result<T, ReadError> {
        if length > MAX_JSON {
            return Err(ReadError::Broken("a control message is too long"));
        }
        let mut payload = vec![0; length as usize];
        self.from.read_exact(&mut payload)?;
        serde_json::from_slice(&payload)
            .map_err(|_| ReadError::Broken("a control message is malformed"))
    }

    fn check_facts(&self, facts: &MediaFacts) -> Result<(), ReadError> {
        let pixels = u64::from(facts.width) * u64::from(facts.height);
        if pixels == 0
            || pixels > self.limits.max_pixels
            || !matches!(facts.rotation, 0 | 90 | 180 | 270)
        {
            return Err(ReadError::Broken("the picture's size or rotation is out of range"));
        }
        Ok(())
    }

    fn frame(&mut self, length: u32) -> Result<Frame, ReadError> {
        let mut head = [0; FRAME_HEAD];
        if (length as usize) < FRAME_HEAD {
            return Err(ReadError::Broken("a frame is shorter than its head"));
        }
        self.from.read_exact(&mut head)?;
        let [i0, i1, i2, i3, t0, t1, t2, t3, t4, t5, t6, t7, w0, w1, h0, h1] = head;
        let index = u32::from_le_bytes([i0, i1, i2, i3]);
        let t_ms = i64::from_le_bytes([t0, t1, t2, t3, t4, t5, t6, t7]);
        let (width, height) = (u16::from_le_bytes([w0, w1]), u16::from_le_bytes([h0, h1]));
        let side = 1..=MAX_SIDE as u16;
        if !side.contains(&width) || !side.contains(&height) {
            return Err(ReadError::Broken("a frame's size is out of range"));
        }
        let bytes = usize::from(width) * usize::from(height) * 3;
        if length as usize != FRAME_HEAD + bytes {
            return Err(ReadError::Broken("a frame's length and size disagree"));
        }
        if index != self.frames || index >= self.limits.max_frames {
            return Err(ReadError::Broken("a frame's index is out of order or range"));
        }
        if t_ms < 0 || t_ms as u64 > self.limits.max_duration_ms {
            return Err(ReadError::Broken("a frame's time is out of range"));
        }
        if self.last_frame_ms.is_some_and(|last| t_ms <= last) {
            return Err(ReadError::Broken("a frame's time does not increase"));
        }
        let mut rgb = vec![0; bytes];
        self.from.read_exact(&mut rgb)?;
        self.frames += 1;
        self.last_frame_ms = Some(t_ms);
        Ok(Frame { index, t_ms, width: u32::from(width), height: u32::from(height), rgb })
    }

    fn audio(&mut self, length: u32) -> Result<Audio, ReadError> {
        let bytes = (length as usize).wrapping_sub(AUDIO_HEAD);
        if bytes == 0 || bytes > MAX_SAMPLES * 4 || !bytes.is_multiple_of(4) {
            return Err(ReadError::Broken("an audio message's length is out of range"));
        }
        let mut head = [0; AUDIO_HEAD];
        self.from.read_exact(&mut head)?;
        let t_ms = i64::from_le_bytes(head);
        if t_ms < 0 || t_ms as u64 > self.limits.max_duration_ms.max(self.limits.max_audio_ms) {
            return Err(ReadError::Broken("an audio message's time is out of range"));
        }
        let count = (bytes / 4) as u64;
        if (self.samples + count) * 1000 > self.limits.max_audio_ms * u64::from(SAMPLE_RATE) {
            return Err(ReadError::Broken("there is more audio than allowed"));
        }
        let mut payload = vec![0; bytes];
        self.from.read_exact(&mut payload)?;
        let samples: Vec<f32> =
            payload.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
        if samples.iter().any(|s| !s.is_finite()) {
            return Err(ReadError::Broken("a sample is not a finite number"));
        }
        self.samples += count;
        Ok(Audio { t_ms, samples })
    }
}

/// The child's end: writes messages.
pub(super) struct Writer<W>(W);

impl<W: Write> Writer<W> {
    pub(super) fn new(to: W) -> Self {
        Self(to)
    }

    pub(super) fn sandboxed(&mut self, layers: Layers) -> io::Result<()> {
        self.json(kind::SANDBOXED, &layers)
    }

    pub(super) fn opened(&mut self, facts: &MediaFacts) -> io::Result<()> {
        self.json(kind::OPENED, facts)
    }

    pub(super) fn done(&mut self, totals: &ChildTotals) -> io::Result<()> {
        self.json(kind::DONE, totals)
    }

    pub(super) fn failed(&mut self, refusal: &Refusal) -> io::Result<()> {
        self.json(kind::FAILED, refusal)
    }

    pub(super) fn probed(&mut self, refused: Refused) -> io::Result<()> {
        self.json(kind::PROBED, &refused)
    }

    /// `rgb` has `width * height * 3` bytes.
    pub(super) fn frame(
        &mut self,
        index: u32,
        t_ms: i64,
        (width, height): (u32, u32),
        rgb: &[u8],
    ) -> io::Result<()> {
        let mut head = [0; 5 + FRAME_HEAD];
        head[0] = kind::FRAME;
        head[1..5].copy_from_slice(&((FRAME_HEAD + rgb.len()) as u32).to_le_bytes());
        head[5..9].copy_from_slice(&index.to_le_bytes());
        head[9..17].copy_from_slice(&t_ms.to_le_bytes());
        head[17..19].copy_from_slice(&(width as u16).to_le_bytes());
        head[19..21].copy_from_slice(&(height as u16).to_le_bytes());
        self.0.write_all(&head)?;
        self.0.write_all(rgb)
    }

    /// At most [`MAX_SAMPLES`] samples.
    pub(super) fn audio(&mut self, t_ms: i64, samples: &[f32]) -> io::Result<()> {
        let length = AUDIO_HEAD + samples.len() * 4;
        let mut message = Vec::with_capacity(5 + length);
        message.push(kind::AUDIO);
        message.extend_from_slice(&(length as u32).to_le_bytes());
        message.extend_from_slice(&t_ms.to_le_bytes());
        message.extend(samples.iter().flat_map(|s| s.to_le_bytes()));
        self.0.write_all(&message)
    }

    fn json<T: Serialize>(&mut self, kind: u8, payload: &T) -> io::Result<()> {
        let payload = serde_json::to_vec(payload)?;
        let mut message = Vec::with_capacity(5 + payload.len());
        message.push(kind);
        message.extend_from_slice(&(payload.len() as u32).to_le_bytes());
        message.extend_from_slice(&payload);
        self.0.write_all(&message)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{AudioCodec, Container, VideoCodec};
    use super::*;
    use crate::media::sandbox::Landlock;

    fn layers() -> Layers {
        Layers { rlimits: true, no_new_privs: true, landlock: Landlock::Missing, seccomp: true }
    }

    fn facts() -> MediaFacts {
        MediaFacts {
            container: Container::Matroska,
            video_codec: VideoCodec::Vp8,
            audio_codec: Some(AudioCodec::Opus),
            width: 4,
            height: 2,
            rotation: 0,
            declared_duration_ms: None,
            audio_rate: Some(48_000),
            audio_channels: Some(1),
        }
    }

    fn opened() -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut w = Writer::new(&mut bytes);
        w.sandboxed(layers()).unwrap();
        w.opened(&facts()).unwrap();
        bytes
    }

    fn read_all(bytes: &[u8]) -> Result<Vec<Message>, ReadError> {
        let mut reader = Reader::new(bytes, Limits::default());
        let mut messages = Vec::new();
        loop {
            let message = reader.next()?;
            let last =
                matches!(message, Message::Done(_) | Message::Failed(_) | Message::Probed(_));
            messages.push(message);
            if last {
                return Ok(messages);
            }
        }
    }

    fn broken(bytes: &[u8]) -> &'static str {
        match read_all(bytes) {
            Err(ReadError::Broken(what)) => what,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_whole_conversation_survives() {
        let mut bytes = opened();
        let mut w = Writer::new(&mut bytes);
        w.frame(0, 0, (4, 2), &[7; 24]).unwrap();
        w.audio(12, &[0.5, -0.25]).unwrap();
        w.frame(1, 33, (2, 4), &[9; 24]).unwrap();
        let totals = ChildTotals { duration_ms: 66, ..ChildTotals::default() };
        w.done(&totals).unwrap();
        let m = read_all(&bytes).unwrap();
        assert!(matches!(&m[0], Message::Sandboxed(l) if *l == layers()));
        assert!(matches!(&m[1], Message::Opened(f) if *f == facts()));
        assert!(matches!(&m[2], Message::Frame(f) if f.rgb == [7; 24] && f.width == 4));
        assert!(matches!(&m[3], Message::Audio(a) if a.t_ms == 12 && a.samples == [0.5, -0.25]));
        assert!(matches!(&m[4], Message::Frame(f) if (f.index, f.t_ms, f.height) == (1, 33, 4)));
        assert!(matches!(&m[5], Message::Done(t) if *t == totals));
    }

    #[test]
    fn a_length_beyond_its_kind_is_refused_before_it_is_allocated() {
        for kind in 0..=255_u8 {
            let mut bytes = opened();
            bytes.push(kind);
            bytes.extend_from_slice(&u32::MAX.to_le_bytes());
            bytes.extend_from_slice(&[0; 64]);
            assert!(matches!(read_all(&bytes), Err(ReadError::Broken(_))), "{kind}");
        }
    }

    #[test]
    fn numbers_out_of_range_are_refused() {
        let frame = |index, t_ms, size, bytes: usize| {
            let mut out = opened();
            Writer::new(&mut out).frame(index, t_ms, size, &vec![0; bytes]).unwrap();
            out
        };
        assert!(broken(&frame(1, 0, (4, 2), 24)).contains("index"));
        assert!(broken(&frame(0, -1, (4, 2), 24)).contains("time"));
        assert!(broken(&frame(0, i64::MAX, (4, 2), 24)).contains("time"));
        assert!(broken(&frame(0, 0, (4, 2), 25)).contains("disagree"));
        assert!(broken(&frame(0, 0, (641, 1), 1923)).contains("size"));
        assert!(broken(&frame(0, 0, (0, 2), 0)).contains("size"));

        let mut bytes = opened();
        Writer::new(&mut bytes).audio(0, &[f32::NAN]).unwrap();
        assert!(broken(&bytes).contains("finite"));
        let mut bytes = opened();
        Writer::new(&mut bytes).audio(0, &vec![0.0; MAX_SAMPLES + 1]).unwrap();
        assert!(broken(&bytes).contains("length"));
        let mut bytes = opened();
        for _ in 0..16 {
            Writer::new(&mut bytes).audio(0, &vec![0.0; MAX_SAMPLES]).unwrap();
        }
        assert!(broken(&bytes).contains("more audio"));

        let mut bytes = Vec::new();
        let mut w = Writer::new(&mut bytes);
        w.sandboxed(layers()).unwrap();
        w.opened(&MediaFacts { width: u32::MAX, height: u32::MAX, ..facts() }).unwrap();
        assert!(broken(&bytes).contains("size"));
    }

    #[test]
    fn time_and_order_only_go_forward() {
        let mut bytes = opened();
        let mut w = Writer::new(&mut bytes);
        w.frame(0, 40, (4, 2), &[0; 24]).unwrap();
        w.frame(1, 40, (4, 2), &[0; 24]).unwrap();
        assert!(broken(&bytes).contains("increase"));

        let mut twice = opened();
        Writer::new(&mut twice).opened(&facts()).unwrap();
        assert!(broken(&twice).contains("order"));
    }

    #[test]
    fn names_come_out_short_and_plain() {
        let name = format!("<b>\n{}", "x".repeat(500));
        let Error::UnsupportedContainer { name } =
            Refusal::UnsupportedContainer { name }.into_error(&Limits::default())
        else {
            panic!()
        };
        assert_eq!(name.len(), 64);
        assert!(name.starts_with("?b??x"));
    }

    proptest! {
        #[test]
        fn any_bytes_end_in_an_error_and_not_in_a_panic(bytes: Vec<u8>, whole: bool) {
            let mut all = if whole { opened() } else { Vec::new() };
            all.extend(bytes);
            let _ = read_all(&all);
        }

        #[test]
        fn a_flipped_bit_never_panics(at in 0..400_usize, bit in 0..8_u8) {
            let mut bytes = opened();
            let mut w = Writer::new(&mut bytes);
            w.frame(0, 0, (4, 2), &[7; 24]).unwrap();
            w.audio(0, &[0.0; 8]).unwrap();
            w.done(&ChildTotals::default()).unwrap();
            if let Some(b) = bytes.get_mut(at) {
                *b ^= 1 << bit;
            }
            let _ = read_all(&bytes);
        }
    }
}
