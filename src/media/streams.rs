//! The two streams of an upload: choosing, decoding, keeping time.

use ffmpeg_the_third::option::Settable;
use ffmpeg_the_third::{
    Dictionary, Error as FfmpegError, Packet, Rational, Stream, codec, decoder, frame, media,
};

use super::audio::{Taken, Track};
use super::error::{Part, StreamKind};
use super::ffmpeg::{DECODERS, Input};
use super::protocol::{Job, Refusal};
use super::video::Picture;
use super::worker::{Out, Stop};
use super::{AudioCodec, Container, MediaFacts, VideoCodec};

/// Chooses the two streams and opens their decoders.
pub(super) fn open_streams(
    job: &Job,
    input: &mut Input,
    container: Container,
    declared_duration_ms: Option<u64>,
) -> Result<(VideoStream, Option<AudioStream>, MediaFacts), Stop> {
    let video_index = input.best(media::Type::Video).ok_or(Refusal::NoVideo)?;
    let audio_index = input.best(media::Type::Audio);
    if audio_index.is_none() && job.require_audio {
        return Err(Refusal::NoAudio.into());
    }
    let video_codec = match input.codec_name(video_index) {
        "vp8" => VideoCodec::Vp8,
        "vp9" => VideoCodec::Vp9,
        "h264" => VideoCodec::H264,
        name => return Err(unsupported(StreamKind::Video, name)),
    };
    let audio_codec = match audio_index.map(|index| input.codec_name(index)) {
        None => None,
        Some("opus") => Some(AudioCodec::Opus),
        Some("vorbis") => Some(AudioCodec::Vorbis),
        Some("aac") => Some(AudioCodec::Aac),
        Some(name) => return Err(unsupported(StreamKind::Audio, name)),
    };
    let keep: Vec<usize> = [Some(video_index), audio_index].into_iter().flatten().collect();
    input.discard_others(&keep);
    let rotation = input.rotation(video_index);
    let max_pixels = job.limits.max_pixels;
    let demuxer = input.demuxer();
    let stream = |index| demuxer.stream(index).ok_or(Refusal::Internal);

    // Both streams count from the earlier start. Negative times are priming, which is not shown.
    let starts = keep.iter().filter_map(|&i| demuxer.stream(i)).filter_map(|s| start_us(&s));
    let origin_us = starts.min().unwrap_or(0).max(0);
    let clock = |s: &Stream<'_>| StreamClock { base: s.time_base(), origin_us };

    let v = stream(video_index)?;
    let (width, height) = (v.parameters().width(), v.parameters().height());
    let pixels = u64::from(width) * u64::from(height);
    if pixels > max_pixels {
        return Err(Refusal::TooManyPixels { width, height }.into());
    }
    if pixels == 0 {
        return Err(Refusal::Corrupt { part: Part::Video }.into());
    }
    let decoder = open_decoder(&v, video_codec.decoder_name(), max_pixels, Part::Video)?
        .video()
        .map_err(|_| Refusal::Corrupt { part: Part::Video })?;
    let video = VideoStream {
        index: video_index,
        decoder,
        decoded: frame::Video::empty(),
        picture: Picture::new(rotation),
        clock: clock(&v),
        max_frames: job.limits.max_frames,
        max_ms: job.limits.max_duration_ms,
        max_pixels,
        frames: 0,
        last_ms: None,
        step_ms: 0,
        damaged: 0,
    };

    let audio = match (audio_index, audio_codec) {
        (Some(index), Some(codec)) => {
            let a = stream(index)?;
            let decoder = open_decoder(&a, codec.decoder_name(), max_pixels, Part::Audio)?
                .audio()
                .map_err(|_| Refusal::Corrupt { part: Part::Audio })?;
            let track = Track::new(a.parameters().sample_rate(), job.limits.max_audio_ms)
                .map_err(|_| Refusal::Corrupt { part: Part::Audio })?;
            let max_ms = job.limits.max_audio_ms;
            let decoded = frame::Audio::empty();
            Some(AudioStream {
                index,
                decoder,
                decoded,
                track,
                clock: clock(&a),
                max_ms,
                whole: 0,
                damaged: 0,
            })
        }
        _ => None,
    };
    let sound = audio_index.and_then(|index| demuxer.stream(index));
    let facts = MediaFacts {
        container,
        video_codec,
        audio_codec,
        width,
        height,
        rotation,
        declared_duration_ms,
        audio_rate: sound.as_ref().map(|s| s.parameters().sample_rate()),
        audio_channels: sound.as_ref().map(|s| s.parameters().ch_layout().channels() as u16),
    };
    Ok((video, audio, facts))
}

fn unsupported(stream: StreamKind, name: &str) -> Stop {
    Refusal::UnsupportedCodec { stream, name: name.to_owned() }.into()
}

fn start_us(stream: &Stream<'_>) -> Option<i64> {
    let start = stream.start_time();
    (start != ffmpeg_the_third::ffi::AV_NOPTS_VALUE).then(|| to_us(start, stream.time_base()))
}

/// One thread: the sandbox allows no other.
fn open_decoder(
    stream: &Stream<'_>,
    name: &str,
    max_pixels: u64,
    part: Part,
) -> Result<decoder::Opened, Stop> {
    let corrupt = |e| Stop::from(refusal_of(e, part));
    let mut context = codec::Context::from_parameters(stream.parameters()).map_err(corrupt)?;
    // Without it the decoder cannot take the priming samples off the first timestamp.
    context.set_rational("pkt_timebase", stream.time_base()).map_err(corrupt)?;
    let mut options = Dictionary::new();
    options.set("threads", "1");
    options.set("codec_whitelist", DECODERS);
    options.set("max_pixels", max_pixels.to_string());
    context.decoder().open_as_with(name, options).map_err(corrupt)
}

impl VideoCodec {
    /// FFmpeg's own decoder, rather than some library's.
    fn decoder_name(self) -> &'static str {
        match self {
            Self::Vp8 => "vp8",
            Self::Vp9 => "vp9",
            Self::H264 => "h264",
        }
    }
}

impl AudioCodec {
    fn decoder_name(self) -> &'static str {
        match self {
            Self::Opus => "opus",
            Self::Vorbis => "vorbis",
            Self::Aac => "aac",
        }
    }
}

/// Turns a stream's timestamps into time since the start of the capture.
#[derive(Clone, Copy)]
struct StreamClock {
    base: Rational,
    origin_us: i64,
}

impl StreamClock {
    fn us(self, timestamp: i64) -> i64 {
        to_us(timestamp, self.base).saturating_sub(self.origin_us)
    }
}

fn to_us(timestamp: i64, base: Rational) -> i64 {
    let (num, den) = (i128::from(base.numerator()), i128::from(base.denominator().max(1)));
    let us = i128::from(timestamp) * num * 1_000_000 / den;
    us.clamp(i128::from(i64::MIN / 4), i128::from(i64::MAX / 4)) as i64
}

/// The video stream on its way to the host.
pub(super) struct VideoStream {
    pub(super) index: usize,
    decoder: decoder::Video,
    decoded: frame::Video,
    picture: Picture,
    clock: StreamClock,
    max_frames: u32,
    max_ms: u64,
    max_pixels: u64,
    pub(super) frames: u32,
    last_ms: Option<i64>,
    /// Distance of the last two frames.
    step_ms: i64,
    pub(super) damaged: u32,
}

impl VideoStream {
    /// Decodes one packet, or with `None` what the decoder still holds.
    pub(super) fn decode(&mut self, packet: Option<&Packet>, out: &mut Out) -> Result<(), Stop> {
        if !send(&mut self.decoder, packet)? {
            self.count_damaged()?;
        }
        loop {
            match self.decoder.receive_frame(&mut self.decoded) {
                Ok(()) => self.hand_over(out)?,
                Err(e) if is_end(e) => return Ok(()),
                Err(e) if is_out_of_memory(e) => return Err(Refusal::TooMuchMemory.into()),
                Err(_) => return self.count_damaged(),
            }
        }
    }

    /// FFmpeg's H.264 decoder reports a lack of memory as damage. So it counts as one if there is
    /// not even room for two more pictures.
    fn count_damaged(&mut self) -> Result<(), Stop> {
        let picture = self.decoder.width() as usize * self.decoder.height() as usize * 3 / 2;
        let mut room = Vec::<u8>::new();
        if std::hint::black_box(&mut room).try_reserve_exact(2 * picture).is_err() {
            return Err(Refusal::TooMuchMemory.into());
        }
        self.damaged += 1;
        Ok(())
    }

    fn hand_over(&mut self, out: &mut Out) -> Result<(), Stop> {
        let (width, height) = (self.decoded.width(), self.decoded.height());
        if u64::from(width) * u64::from(height) > self.max_pixels {
            return Err(Refusal::TooManyPixels { width, height }.into());
        }
        let Some(t_us) = self.decoded.timestamp().map(|t| self.clock.us(t)) else {
            self.damaged += 1;
            return Ok(());
        };
        let t_ms = (t_us + 500).div_euclid(1000);
        if t_ms > 0 && t_ms as u64 > self.max_ms {
            return Err(Refusal::TooLong { max_ms: self.max_ms }.into());
        }
        if t_ms < 0 || self.last_ms.is_some_and(|last| t_ms <= last) {
            self.damaged += 1;
            return Ok(());
        }
        if self.frames == self.max_frames {
            return Err(Refusal::TooManyFrames.into());
        }
        let (size, rgb) = match self.picture.convert(&self.decoded) {
            Ok(converted) => converted,
            Err(e) if is_out_of_memory(e) => return Err(Refusal::TooMuchMemory.into()),
            Err(_) => {
                self.damaged += 1;
                return Ok(());
            }
        };
        out.frame(self.frames, t_ms, size, rgb)?;
        self.step_ms = self.last_ms.map_or(0, |last| t_ms - last);
        self.last_ms = Some(t_ms);
        self.frames += 1;
        Ok(())
    }

    /// End of the last frame, which lasts as long as the one before.
    pub(super) fn end_ms(&self) -> u64 {
        self.last_ms.map_or(0, |last| (last + self.step_ms) as u64)
    }
}

/// The audio stream on its way to the host.
pub(super) struct AudioStream {
    pub(super) index: usize,
    decoder: decoder::Audio,
    decoded: frame::Audio,
    pub(super) track: Track,
    clock: StreamClock,
    max_ms: u64,
    pub(super) whole: u32,
    pub(super) damaged: u32,
}

impl AudioStream {
    /// Decodes one packet, or with `None` what the decoder still holds.
    pub(super) fn decode(&mut self, packet: Option<&Packet>, out: &mut Out) -> Result<(), Stop> {
        if !send(&mut self.decoder, packet)? {
            self.damaged += 1;
        }
        loop {
            match self.decoder.receive_frame(&mut self.decoded) {
                Ok(()) => {
                    let t_us = self.decoded.timestamp().map(|t| self.clock.us(t));
                    match self.track.take(&self.decoded, t_us) {
                        Taken::All => self.whole += 1,
                        Taken::Damaged => self.damaged += 1,
                        Taken::TooLong => {
                            return Err(Refusal::TooLong { max_ms: self.max_ms }.into());
                        }
                    }
                    self.track.pass_on(|t_ms, samples| out.audio(t_ms, samples))?;
                }
                Err(e) if is_end(e) => return Ok(()),
                Err(e) if is_out_of_memory(e) => return Err(Refusal::TooMuchMemory.into()),
                Err(_) => {
                    self.damaged += 1;
                    return Ok(());
                }
            }
        }
    }
}

/// Sends a packet to a decoder; `false` if the packet is damaged.
fn send(decoder: &mut decoder::Opened, packet: Option<&Packet>) -> Result<bool, Stop> {
    let sent = match packet {
        Some(packet) => decoder.send_packet(packet),
        None => decoder.send_eof(),
    };
    match sent {
        Ok(()) => Ok(true),
        Err(e) if is_out_of_memory(e) => Err(Refusal::TooMuchMemory.into()),
        Err(_) => Ok(false),
    }
}

/// The decoder wants another packet, or has nothing left.
fn is_end(e: FfmpegError) -> bool {
    matches!(e, FfmpegError::Eof | FfmpegError::Other { errno: libc::EAGAIN })
}

pub(super) fn is_out_of_memory(e: FfmpegError) -> bool {
    matches!(e, FfmpegError::Other { errno: libc::ENOMEM })
}

pub(super) fn refusal_of(e: FfmpegError, part: Part) -> Refusal {
    if is_out_of_memory(e) { Refusal::TooMuchMemory } else { Refusal::Corrupt { part } }
}
