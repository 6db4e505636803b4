//! What a file is, by its first bytes.
//!
//! FFmpeg is only shown files that this module takes for one of the two accepted containers, and
//! is told which; its several hundred format probes stay out of reach. The others are recognised
//! for the sake of a clear answer.

use super::Container;

/// Bytes that [`sniff`] wants to see, if the file has as many.
pub(super) const SNIFF_BYTES: usize = 1024;

/// What a file looks like.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Sniffed {
    /// One of the accepted containers.
    Accepted(Container),
    /// Some other format, by its common name.
    Other(&'static str),
    /// Nothing known.
    Unknown,
}

/// Recognises a file by its first bytes.
pub(super) fn sniff(head: &[u8]) -> Sniffed {
    let at = |offset: usize, magic: &[u8]| {
        head.get(offset..).is_some_and(|tail| tail.starts_with(magic))
    };
    if at(0, &[0x1A, 0x45, 0xDF, 0xA3]) {
        return Sniffed::Accepted(Container::Matroska); // EBML header (RFC 8794 section 11.2.1)
    }
    // An ISO base media file starts with a box whose type is at offset 4; without a file type box
    // (old QuickTime) it is the movie or its data.
    let boxes: [&[u8]; 5] = [b"ftyp", b"moov", b"mdat", b"wide", b"skip"];
    if boxes.iter().any(|kind| at(4, kind)) {
        return match head.get(8..12) {
            Some(b"avif" | b"avis" | b"heic" | b"heix" | b"mif1") if at(4, b"ftyp") => {
                Sniffed::Other("image")
            }
            _ => Sniffed::Accepted(Container::Mp4),
        };
    }
    let name = if at(0, b"RIFF") {
        match head.get(8..12) {
            Some(b"AVI ") => "avi",
            Some(b"WAVE") => "wav",
            Some(b"WEBP") => "webp",
            _ => "riff",
        }
    } else if at(0, b"GIF8") {
        "gif"
    } else if at(0, b"\x89PNG\r\n\x1a\n") {
        "png"
    } else if at(0, &[0xFF, 0xD8, 0xFF]) {
        "jpeg"
    } else if at(0, b"OggS") {
        "ogg"
    } else if at(0, b"fLaC") {
        "flac"
    } else if at(0, b"FLV\x01") {
        "flv"
    } else if at(0, b"ID3") || is_mpeg_audio(head) {
        "mp3"
    } else if at(0, b"\x47") && at(188, b"\x47") {
        "mpegts"
    } else if at(0, &[0x00, 0x00, 0x01, 0xBA]) {
        "mpeg"
    } else if at(0, &[0x30, 0x26, 0xB2, 0x75]) {
        "asf"
    } else if at(0, b"#EXTM3U") {
        "hls"
    } else if at(0, b"%PDF") {
        "pdf"
    } else if at(0, b"PK\x03\x04") {
        "zip"
    } else if at(0, &[0x1F, 0x8B]) {
        "gzip"
    } else if is_text(head) {
        "text"
    } else {
        return Sniffed::Unknown;
    };
    Sniffed::Other(name)
}

/// An MPEG audio or ADTS frame header: eleven sync bits and no reserved version.
fn is_mpeg_audio(head: &[u8]) -> bool {
    matches!(head, [0xFF, b, ..] if b & 0xE0 == 0xE0 && b & 0x18 != 0x08)
}

fn is_text(head: &[u8]) -> bool {
    let text = match std::str::from_utf8(head) {
        Ok(text) => text,
        // The cut may have gone through a character.
        Err(e) if e.error_len().is_none() => {
            std::str::from_utf8(&head[..e.valid_up_to()]).unwrap_or_default()
        }
        Err(_) => return false,
    };
    !text.is_empty() && text.chars().all(|c| !c.is_control() || "\t\r\n".contains(c))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_accepted_and_the_common_rest() {
        let cases: &[(&[u8], Sniffed)] = &[
            (b"\x1A\x45\xDF\xA3\x9F", Sniffed::Accepted(Container::Matroska)),
            (b"\0\0\0\x20ftypisom", Sniffed::Accepted(Container::Mp4)),
            (b"\0\0\0\x20ftypqt  ", Sniffed::Accepted(Container::Mp4)),
            (b"\0\0\0\x20ftypavif", Sniffed::Other("image")),
            (b"\0\0\x0F\xFFmoov", Sniffed::Accepted(Container::Mp4)),
            (b"RIFF\x10\0\0\0AVI LIST", Sniffed::Other("avi")),
            (b"GIF89a", Sniffed::Other("gif")),
            (b"\x89PNG\r\n\x1a\n", Sniffed::Other("png")),
            (b"ID3\x04", Sniffed::Other("mp3")),
            (b"\xFF\xFB\x90", Sniffed::Other("mp3")),
            (b"<html>", Sniffed::Other("text")),
            ("ä".as_bytes().split_at(1).0, Sniffed::Unknown),
            (b"", Sniffed::Unknown),
            (b"\0\0\0\0\0\0\0\0", Sniffed::Unknown),
        ];
        for (head, want) in cases {
            assert_eq!(&sniff(head), want, "{head:?}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(head: Vec<u8>) {
            let _ = sniff(&head);
        }
    }
}
