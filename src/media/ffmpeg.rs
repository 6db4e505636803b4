//! The calls into FFmpeg that its safe wrapper lacks: reading from a descriptor that is already
//! open, and a few fields of its structures.
//!
//! All of this runs in the sandboxed child only.

#![allow(unsafe_code)]

use std::ffi::{CStr, c_char, c_int, c_void};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::ptr;

use ffmpeg_the_third::ffi;
use ffmpeg_the_third::{Dictionary, Error, color, format, frame, media, software::scaling};

use super::Container;

/// FFmpeg reads the upload in pieces of this size.
const IO_BUFFER: usize = 64 << 10;
/// Streams beyond this number are refused: a capture has two.
const MAX_STREAMS: &str = "16";
/// The decoders that may be opened, while probing too.
pub(super) const DECODERS: &str = "vp8,vp9,h264,opus,vorbis,aac";

/// An opened upload.
pub(super) struct Input {
    // Field order is drop order: the demuxer still refers to the reader when it is closed.
    demuxer: format::context::Input,
    _reader: Reader,
}

impl Input {
    /// Reads the headers of `file` (`bytes` long) and looks into its streams.
    pub(super) fn open(file: File, bytes: u64, container: Container) -> Result<Self, Error> {
        let mut options = Dictionary::new();
        // The demuxer is named below; the list holds for whatever that demuxer might open.
        options.set("format_whitelist", "matroska,webm,mov,mp4,m4a,3gp,3g2,mj2");
        options.set("codec_whitelist", DECODERS);
        options.set("protocol_whitelist", "none"); // no name of a protocol: nothing else is opened
        options.set("max_streams", MAX_STREAMS);
        let name = match container {
            Container::Matroska => c"matroska",
            Container::Mp4 => c"mov",
        };
        let reader = Reader::new(file, bytes)?;
        let mut options = options.into_raw();
        // SAFETY: the context is fresh and given the reader's AVIOContext, which outlives it (see
        // the field order). avformat_open_input frees the context on failure and owns no more than
        // it on success; the options are freed here in both cases.
        let demuxer = unsafe {
            let mut raw = ffi::avformat_alloc_context();
            if raw.is_null() {
                ffi::av_dict_free(&raw mut options);
                return Err(Error::Other { errno: libc::ENOMEM });
            }
            (*raw).pb = reader.io;
            (*raw).io_open = Some(refuse_to_open);
            let format = ffi::av_find_input_format(name.as_ptr());
            let opened =
                ffi::avformat_open_input(&raw mut raw, ptr::null(), format, &raw mut options);
            ffi::av_dict_free(&raw mut options);
            if opened < 0 {
                return Err(Error::from(opened));
            }
            let mut demuxer = format::context::Input::wrap(raw);
            match ffi::avformat_find_stream_info(demuxer.as_mut_ptr(), ptr::null_mut()) {
                r if r < 0 => return Err(Error::from(r)),
                _ => demuxer,
            }
        };
        Ok(Self { demuxer, _reader: reader })
    }

    /// The demuxer behind its safe wrapper.
    pub(super) fn demuxer(&mut self) -> &mut format::context::Input {
        &mut self.demuxer
    }

    /// Duration in the header, in microseconds; not FFmpeg's estimate from size and bit rate.
    pub(super) fn declared_duration_us(&self) -> Option<u64> {
        // SAFETY: the context is valid while `self` is.
        let (duration, method) = unsafe {
            let context = self.demuxer.as_ptr();
            ((*context).duration, (*context).duration_estimation_method)
        };
        let guessed = method == ffi::AVDurationEstimationMethod::BITRATE;
        u64::try_from(duration).ok().filter(|&d| d > 0 && !guessed)
    }

    /// The stream of this kind that a player would choose.
    pub(super) fn best(&self, kind: media::Type) -> Option<usize> {
        let stream = self.demuxer.streams().best(kind)?;
        let cover = format::stream::Disposition::ATTACHED_PIC;
        (!stream.disposition().contains(cover)).then(|| stream.index())
    }

    /// Has the demuxer skip all streams but `keep`.
    pub(super) fn discard_others(&mut self, keep: &[usize]) {
        for index in 0..self.demuxer.nb_streams() as usize {
            if !keep.contains(&index) {
                // SAFETY: `streams` has `nb_streams` valid pointers.
                unsafe {
                    let streams = (*self.demuxer.as_mut_ptr()).streams;
                    (**streams.add(index)).discard = ffi::AVDiscard::ALL;
                }
            }
        }
    }

    /// Codec of a stream: FFmpeg's own name, for example `vp8`.
    pub(super) fn codec_name(&self, index: usize) -> &'static str {
        let Some(stream) = self.demuxer.stream(index) else { return "unknown" };
        // SAFETY: codecpar of a stream is never null; avcodec_get_name returns a static string for
        // any number.
        let name = unsafe {
            CStr::from_ptr(ffi::avcodec_get_name((*stream.parameters().as_ptr()).codec_id))
        };
        name.to_str().unwrap_or("unknown")
    }

    /// Clockwise rotation for display that the container asks for, to the nearest quarter: 0, 90,
    /// 180 or 270 degrees.
    pub(super) fn rotation(&self, index: usize) -> u16 {
        let Some(stream) = self.demuxer.stream(index) else { return 0 };
        let mut size = 0;
        // SAFETY: the stream is valid; the returned memory belongs to it and has `size` bytes, a
        // display matrix being nine native 32-bit integers.
        let (a, b) = unsafe {
            let kind = ffi::AVPacketSideDataType::DISPLAYMATRIX;
            let matrix = ffi::av_stream_get_side_data(stream.as_ptr(), kind, &raw mut size);
            if matrix.is_null() || size < 36 {
                return 0;
            }
            let matrix = matrix.cast::<[u8; 4]>();
            (i32::from_ne_bytes(*matrix), i32::from_ne_bytes(*matrix.add(1)))
        };
        let quarters = (f64::from(b).atan2(f64::from(a)) / std::f64::consts::FRAC_PI_2).round();
        (quarters as i32).rem_euclid(4) as u16 * 90
    }
}

/// Has `scaler` use the matrix and range of `frame` where they are not its default (BT.601,
/// limited range).
pub(super) fn set_colours(scaler: &mut scaling::Context, frame: &frame::Video) {
    let matrix = match frame.color_space() {
        color::Space::BT709 => ffi::SWS_CS_ITU709,
        color::Space::BT2020NCL | color::Space::BT2020CL => ffi::SWS_CS_BT2020,
        color::Space::SMPTE240M => ffi::SWS_CS_SMPTE240M,
        color::Space::FCC => ffi::SWS_CS_FCC,
        _ => ffi::SWS_CS_DEFAULT,
    };
    let full = c_int::from(frame.color_range() == color::Range::JPEG);
    if matrix == ffi::SWS_CS_DEFAULT && full == 0 {
        return;
    }
    // SAFETY: the context is valid; sws_getCoefficients returns a static table of four for any
    // number. A context that cannot do it keeps its default.
    unsafe {
        let table = ffi::sws_getCoefficients(matrix);
        let rgb = ffi::sws_getCoefficients(ffi::SWS_CS_DEFAULT);
        let one = 1 << 16;
        ffi::sws_setColorspaceDetails(scaler.as_mut_ptr(), table, full, rgb, 1, 0, one, one);
    }
}

/// FFmpeg's view of the upload: an `AVIOContext` over a file.
struct Reader {
    io: *mut ffi::AVIOContext,
    source: *mut Source,
}

struct Source {
    file: File,
    position: u64,
    bytes: u64,
}

impl Reader {
    fn new(file: File, bytes: u64) -> Result<Self, Error> {
        let source = Box::into_raw(Box::new(Source { file, position: 0, bytes }));
        // SAFETY: the buffer is FFmpeg's own allocation, as it may replace it; `source` is valid
        // until Drop, and the callbacks treat it as the Source it is.
        unsafe {
            let buffer = ffi::av_malloc(IO_BUFFER).cast::<u8>();
            let io = if buffer.is_null() {
                ptr::null_mut()
            } else {
                ffi::avio_alloc_context(
                    buffer,
                    IO_BUFFER as c_int,
                    0,
                    source.cast(),
                    Some(read),
                    None,
                    Some(seek),
                )
            };
            if io.is_null() {
                ffi::av_free(buffer.cast());
                drop(Box::from_raw(source));
                return Err(Error::Other { errno: libc::ENOMEM });
            }
            Ok(Self { io, source })
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        // SAFETY: both were made in `new` and are freed once; the demuxer, which does not close an
        // AVIOContext that it was given, is gone already.
        unsafe {
            ffi::av_freep((&raw mut (*self.io).buffer).cast());
            ffi::avio_context_free(&raw mut self.io);
            drop(Box::from_raw(self.source));
        }
    }
}

/// Reads up to `size` bytes into `buffer`.
unsafe extern "C" fn read(source: *mut c_void, buffer: *mut u8, size: c_int) -> c_int {
    // SAFETY: FFmpeg passes back the Source of `Reader::new`, from one thread at a time, and a
    // buffer of `size` bytes.
    let (source, buffer) = unsafe {
        let length = usize::try_from(size).unwrap_or(0);
        (&mut *source.cast::<Source>(), std::slice::from_raw_parts_mut(buffer, length))
    };
    match source.file.read_at(buffer, source.position) {
        Ok(0) => ffi::AVERROR_EOF,
        Ok(n) => {
            source.position += n as u64;
            n as c_int
        }
        Err(_) => ffi::AVERROR(libc::EIO),
    }
}

/// Moves the position, or says how long the file is.
unsafe extern "C" fn seek(source: *mut c_void, offset: i64, whence: c_int) -> i64 {
    // SAFETY: as in `read`.
    let source = unsafe { &mut *source.cast::<Source>() };
    let bytes = source.bytes as i64;
    let target = match whence & !ffi::AVSEEK_FORCE {
        ffi::AVSEEK_SIZE => return bytes,
        libc::SEEK_SET => Some(offset),
        libc::SEEK_CUR => (source.position as i64).checked_add(offset),
        libc::SEEK_END => bytes.checked_add(offset),
        _ => None,
    };
    match target.and_then(|t| u64::try_from(t).ok()) {
        Some(position) => {
            source.position = position;
            position as i64
        }
        None => i64::from(ffi::AVERROR(libc::EINVAL)),
    }
}

/// A container may name other files; none of them is opened.
unsafe extern "C" fn refuse_to_open(
    _: *mut ffi::AVFormatContext,
    _: *mut *mut ffi::AVIOContext,
    _: *const c_char,
    _: c_int,
    _: *mut *mut ffi::AVDictionary,
) -> c_int {
    ffi::AVERROR(libc::EPERM)
}
