//! Real captures through the real child: what is accepted, what is refused, what holds.

use std::fs;
use std::ops::ControlFlow;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use cameo::media::sandbox::{Landlock, Policy};
use cameo::media::{
    Audio, AudioCodec, Budget, Container, Decoder, Error, Event, Family, Frame, Limits, MediaFacts,
    Part, StreamKind, Totals, VideoCodec,
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_cameo");
/// 3 s of a moving picture, and a tone that starts at exactly 1 s.
const PICTURE: &[&str] = &["-f", "lavfi", "-i", "testsrc=size=320x240:rate=15:duration=3"];
const TONE: &[&str] = &[
    "-f",
    "lavfi",
    "-i",
    "aevalsrc='if(gte(t,1),0.5*sin(2*PI*400*t),0)':sample_rate=48000:duration=3",
];
const VP8: &[&str] = &["-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8", "-b:v", "400k"];
const VP9: &[&str] =
    &["-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-b:v", "400k"];
const H264: &[&str] = &["-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p"];

/// A capture made by the ffmpeg program, kept between test runs. `None` without that program.
fn capture(name: &str, args: &[&[&str]]) -> Option<PathBuf> {
    static MAKING: Mutex<()> = Mutex::new(());
    let _one = MAKING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("media");
    fs::create_dir_all(&dir).unwrap();
    let file = dir.join(name);
    if file.exists() {
        return Some(file);
    }
    let part = dir.join(format!("part-{name}"));
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-nostdin", "-y"]).args(args.concat()).arg(&part);
    let Ok(status) = ffmpeg.status() else {
        println!("SKIPPED: the ffmpeg program is not installed");
        return None;
    };
    assert!(status.success(), "{ffmpeg:?}");
    fs::rename(part, &file).unwrap();
    Some(file)
}

fn vp8_opus() -> Option<PathBuf> {
    capture("vp8.webm", &[PICTURE, TONE, VP8, &["-c:a", "libopus"]])
}

/// The index at the end of the file, where a browser's or phone's recorder puts it.
fn h264_aac() -> Option<PathBuf> {
    capture("h264.mp4", &[PICTURE, TONE, H264, &["-c:a", "aac"]])
}

fn scratch(name: &str, bytes: &[u8]) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("media");
    fs::create_dir_all(&dir).unwrap();
    let file = dir.join(format!("scratch-{name}"));
    fs::write(&file, bytes).unwrap();
    file
}

fn decoder() -> Decoder {
    Decoder::new(PROGRAM, Limits::default())
}

#[derive(Default)]
struct Decoded {
    facts: Option<MediaFacts>,
    frames: Vec<Frame>,
    audio: Vec<Audio>,
}

impl Decoded {
    fn facts(&self) -> &MediaFacts {
        self.facts.as_ref().unwrap()
    }

    fn sound(&self) -> Vec<f32> {
        self.audio.iter().flat_map(|a| a.samples.iter().copied()).collect()
    }

    /// Time at which the tone is first heard.
    fn onset_ms(&self) -> f64 {
        let first = self.sound().iter().position(|s| s.abs() > 0.1).unwrap();
        self.audio[0].t_ms as f64 + first as f64 / 16.0
    }
}

fn decode_with(decoder: &Decoder, file: &Path) -> Result<(Decoded, Totals), Error> {
    let mut all = Decoded::default();
    let totals = decoder.decode(file, |event| {
        match event {
            Event::Opened(facts) => all.facts = Some(facts),
            Event::Frame(frame) => all.frames.push(frame),
            Event::Audio(audio) => all.audio.push(audio),
            Event::Done(_) => (),
        }
        ControlFlow::Continue(())
    })?;
    Ok((all, totals))
}

fn decode(file: &Path) -> Result<(Decoded, Totals), Error> {
    decode_with(&decoder(), file)
}

fn refusal(file: &Path) -> Error {
    match decode(file) {
        Err(e) => e,
        Ok((_, totals)) => panic!("{} was accepted: {totals:?}", file.display()),
    }
}

fn ffprobe(file: &Path, what: &str) -> Vec<f64> {
    let out = Command::new("ffprobe")
        .args(["-v", "error", "-select_streams", "v:0", "-of", "csv=p=0", "-show_entries", what])
        .arg(file)
        .output()
        .unwrap();
    let text = String::from_utf8(out.stdout).unwrap();
    text.lines().filter_map(|l| l.trim_matches(',').parse().ok()).collect()
}

/// The frame times that ffprobe reports, in milliseconds from the start of the container.
fn true_times(file: &Path) -> Vec<f64> {
    let start = ffprobe(file, "format=start_time").first().map_or(0.0, |s| s.max(0.0));
    let times = ffprobe(file, "frame=best_effort_timestamp_time");
    times.iter().map(|t| (t - start) * 1000.0).collect()
}

/// The first picture as the ffmpeg program shows it, upright.
fn true_first_frame(file: &Path, scale: &str) -> Vec<u8> {
    let out = Command::new("ffmpeg")
        .args(["-v", "error", "-nostdin", "-i"])
        .arg(file)
        .args(["-frames:v", "1", "-vf", scale, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"])
        .output()
        .unwrap();
    out.stdout
}

fn mean_difference(a: &[u8], b: &[u8]) -> f64 {
    assert_eq!(a.len(), b.len());
    let sum: u64 = a.iter().zip(b).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
    sum as f64 / a.len() as f64
}

/// Children of this process whose job names `marker`.
fn children(marker: &str) -> Vec<u32> {
    let me = std::process::id().to_string();
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let pids = processes.filter_map(|e| e.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let after = stat.rsplit(')').next().unwrap_or_default();
        let mut fields = after.split_whitespace();
        let (_state, parent) = (fields.next(), fields.next());
        let job = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        parent == Some(&me) && String::from_utf8_lossy(&job).contains(marker)
    })
    .collect()
}

#[test]
fn accepted_kinds_have_the_true_times_and_pictures() {
    let kinds = [
        (vp8_opus(), Container::Matroska, VideoCodec::Vp8, AudioCodec::Opus),
        (
            capture("vp9.webm", &[PICTURE, TONE, VP9, &["-c:a", "libopus"]]),
            Container::Matroska,
            VideoCodec::Vp9,
            AudioCodec::Opus,
        ),
        (
            capture("vorbis.webm", &[PICTURE, TONE, VP8, &["-c:a", "libvorbis"]]),
            Container::Matroska,
            VideoCodec::Vp8,
            AudioCodec::Vorbis,
        ),
        (h264_aac(), Container::Mp4, VideoCodec::H264, AudioCodec::Aac),
        (
            capture("h264.mov", &[PICTURE, TONE, H264, &["-c:a", "aac", "-ar", "44100"]]),
            Container::Mp4,
            VideoCodec::H264,
            AudioCodec::Aac,
        ),
    ];
    for (file, container, video_codec, audio_codec) in kinds {
        let Some(file) = file else { return };
        let (all, totals) = decode(&file).unwrap();
        let facts = all.facts();
        assert_eq!(
            (facts.container, facts.video_codec, facts.audio_codec),
            (container, video_codec, Some(audio_codec))
        );
        assert_eq!((facts.width, facts.height, facts.rotation), (320, 240, 0));
        assert!(facts.declared_duration_ms.unwrap().abs_diff(3000) < 60, "{facts:?}");

        let times = true_times(&file);
        assert_eq!(all.frames.len(), times.len());
        assert_eq!(totals.frames as usize, times.len());
        for (frame, t) in all.frames.iter().zip(&times) {
            assert!((frame.t_ms as f64 - t).abs() <= 1.0, "{}: {t}", frame.t_ms);
        }
        let first = &all.frames[0];
        assert_eq!((first.width, first.height), (320, 240));
        let difference = mean_difference(&first.rgb, &true_first_frame(&file, "null"));
        assert!(difference < 1.0, "{}: {difference}", file.display());

        // As long as it was, on time, at the right pitch.
        let sound = all.sound();
        let onset = all.onset_ms();
        println!("{}: onset {onset:.2} ms, {} samples, {totals:?}", file.display(), sound.len());
        assert!(sound.len().abs_diff(48_000) < 800, "{}", sound.len());
        assert!((onset - 1000.0).abs() < 4.0, "{}: onset {onset}", file.display());
        let second = &sound[24_000..40_000];
        let crossings = second.windows(2).filter(|w| (w[0] < 0.0) != (w[1] < 0.0)).count();
        assert!(crossings.abs_diff(800) <= 2, "{crossings}");
        assert_eq!((totals.damaged_packets, totals.audio_gaps_ms), (0, 0));
        assert_eq!(totals.audio_ms, sound.len() as u64 / 16);
        let mut next = all.audio[0].t_ms as f64;
        for piece in &all.audio {
            assert!((piece.t_ms as f64 - next).abs() <= 1.0);
            next += piece.samples.len() as f64 / 16.0;
        }
    }
}

#[test]
fn rotation_is_applied_as_players_do() {
    let Some(landscape) = h264_aac() else { return };
    let landscape = landscape.to_str().unwrap();
    for degrees in ["90", "180", "270"] {
        let rotate = format!("rotate={degrees}");
        let args: &[&str] = &["-i", landscape, "-c", "copy", "-metadata:s:v", &rotate];
        let Some(file) = capture(&format!("rotated{degrees}.mp4"), &[args]) else { return };
        let (all, _) = decode(&file).unwrap();
        let frame = &all.frames[0];
        assert!([90, 180, 270].contains(&all.facts().rotation), "{:?}", all.facts());
        let upright = if degrees == "180" { (320, 240) } else { (240, 320) };
        assert_eq!((frame.width, frame.height), upright);
        let difference = mean_difference(&frame.rgb, &true_first_frame(&file, "null"));
        assert!(difference < 1.0, "{degrees}: {difference}");
    }
}

#[test]
fn large_pictures_come_out_at_640() {
    let big = &["-f", "lavfi", "-i", "testsrc2=size=1280x720:rate=10:duration=1"];
    let colours = &["-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709"];
    let Some(file) = capture("720p.mp4", &[big, H264, colours, &["-an"]]) else { return };
    let (all, _) = decode_with(&decoder().without_required_audio(), &file).unwrap();
    let frame = &all.frames[0];
    assert_eq!((frame.width, frame.height), (640, 360));
    let truth = true_first_frame(&file, "scale=640:360:flags=bilinear");
    let difference = mean_difference(&frame.rgb, &truth);
    assert!(difference < 2.0, "{difference}");
}

#[test]
fn a_live_recording_has_no_declared_duration() {
    let Some(file) = vp8_opus() else { return };
    let live = Command::new("ffmpeg")
        .args(["-v", "error", "-nostdin", "-i"])
        .arg(&file)
        .args(["-c", "copy", "-f", "webm", "-live", "1", "-"])
        .output()
        .unwrap();
    let (all, totals) = decode(&scratch("live.webm", &live.stdout)).unwrap();
    assert_eq!(all.facts().declared_duration_ms, None);
    assert_eq!(all.frames.len(), 45);
    assert!(totals.duration_ms.abs_diff(3000) < 30, "{totals:?}");
    assert!((all.onset_ms() - 1000.0).abs() < 4.0);
}

#[test]
fn a_missing_stream_is_named() {
    let Some(mute) = capture("mute.webm", &[PICTURE, VP8]) else { return };
    assert!(matches!(refusal(&mute), Error::NoAudio));
    let (all, totals) = decode_with(&decoder().without_required_audio(), &mute).unwrap();
    assert_eq!((all.frames.len(), all.facts().audio_codec, totals.audio_ms), (45, None, 0));
    let blind = capture("blind.webm", &[TONE, &["-c:a", "libopus"]]).unwrap();
    assert!(matches!(refusal(&blind), Error::NoVideo));
}

#[test]
fn lost_sound_becomes_silence_and_the_rest_stays_on_time() {
    let Some(file) = vp8_opus() else { return };
    let whole = file.to_str().unwrap();
    let lose = &["-i", whole, "-c", "copy", "-bsf:a", "noise=drop=between(n\\,10\\,29)"];
    let file = capture("lost.webm", &[lose]).unwrap();
    let (all, totals) = decode(&file).unwrap();
    assert!(totals.audio_gaps_ms.abs_diff(400) <= 20, "{totals:?}");
    assert!((all.onset_ms() - 1000.0).abs() < 4.0, "{}", all.onset_ms());
}

#[test]
fn other_files_are_refused_by_name() {
    let Some(file) = h264_aac() else { return };
    let copy: &[&str] = &["-i", file.to_str().unwrap(), "-c", "copy"];
    let others = [
        ("mpegts", capture("other.ts", &[copy])),
        ("mp3", capture("other.mp3", &[TONE])),
        ("gif", capture("other.gif", &[PICTURE])),
        ("png", capture("other.png", &[PICTURE, &["-frames:v", "1"]])),
        ("avi", capture("other.avi", &[copy])),
        ("wav", capture("other.wav", &[TONE])),
        ("text", Some(scratch("text.webm", b"#!/bin/sh\necho hello\n"))),
    ];
    for (want, file) in others {
        let bytes = fs::read(file.unwrap()).unwrap();
        let mislabelled = scratch(&format!("{want}-as.webm"), &bytes);
        match refusal(&mislabelled) {
            Error::UnsupportedContainer { name } => assert_eq!(name, want),
            other => panic!("{want}: {other:?}"),
        }
    }
    assert!(matches!(refusal(&scratch("noise.webm", &[0xA7; 4000])), Error::NotAContainer));
    assert!(matches!(refusal(&scratch("empty.webm", b"")), Error::Empty));
    assert!(matches!(refusal(Path::new("/nonexistent/capture.webm")), Error::Open(_)));
    assert!(matches!(refusal(Path::new("/tmp")), Error::Open(_)));
}

#[test]
fn other_codecs_are_refused_by_name() {
    let mpeg4: &[&str] = &["-c:v", "mpeg4", "-c:a", "aac"];
    let Some(file) = capture("mpeg4.mp4", &[PICTURE, TONE, mpeg4]) else { return };
    let Error::UnsupportedCodec { stream: StreamKind::Video, name } = refusal(&file) else {
        panic!()
    };
    assert_eq!(name, "mpeg4");
    let flac = capture("flac.mkv", &[PICTURE, TONE, VP8, &["-c:a", "flac"]]).unwrap();
    let Error::UnsupportedCodec { stream: StreamKind::Audio, name } = refusal(&flac) else {
        panic!()
    };
    assert_eq!(name, "flac");
}

/// Either it can be decoded, or the sender hears what is wrong: never a fault of ours.
fn survives(file: &Path, what: &str) -> Option<Error> {
    match decode(file) {
        Ok(_) => None,
        Err(e) if e.family() == Family::Ours => panic!("{what}: {e:?}"),
        Err(e) => Some(e),
    }
}

#[test]
fn truncated_captures_are_decoded_or_refused() {
    let (Some(webm), Some(mp4)) = (vp8_opus(), h264_aac()) else { return };
    for (name, file) in [("webm", webm), ("mp4", mp4)] {
        let bytes = fs::read(file).unwrap();
        for part in 0..12 {
            let cut = bytes.len() * part / 12 + 7;
            let error = survives(&scratch(&format!("cut.{name}"), &bytes[..cut]), name);
            println!("{name} cut at {cut} of {}: {error:?}", bytes.len());
            if name == "mp4" || part < 9 {
                assert!(error.is_some(), "{name} cut at {cut}");
            }
        }
    }
}

#[test]
fn flipped_bytes_are_survived() {
    let (Some(webm), Some(mp4)) = (vp8_opus(), h264_aac()) else { return };
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let mut random = move || {
        // xorshift64: a fixed sequence
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut refused = 0;
    for (name, file) in [("webm", webm), ("mp4", mp4)] {
        let whole = fs::read(file).unwrap();
        for round in 0..15 {
            let mut bytes = whole.clone();
            for _ in 0..=(round * round) {
                let at = (random() % bytes.len() as u64) as usize;
                bytes[at] ^= (random() % 255 + 1) as u8;
            }
            let what = format!("{name} round {round}");
            refused +=
                i32::from(survives(&scratch(&format!("flip.{name}"), &bytes), &what).is_some());
        }
    }
    println!("{refused} of 30 damaged captures were refused, the others decoded");
}

#[test]
fn limits_on_what_the_file_holds() {
    let Some(file) = vp8_opus() else { return };
    let with = |limits: Limits| decode_with(&Decoder::new(PROGRAM, limits), &file).err().unwrap();
    let d = Limits::default;
    assert!(matches!(with(Limits { max_bytes: 1000, ..d() }), Error::TooLarge { max: 1000, .. }));
    assert!(matches!(with(Limits { max_duration_ms: 2000, ..d() }), Error::TooLong { .. }));
    assert!(matches!(with(Limits { max_frames: 10, ..d() }), Error::TooManyFrames { max: 10 }));
    assert!(matches!(with(Limits { max_audio_ms: 900, ..d() }), Error::TooLong { max_ms: 900 }));
    let few = Limits { max_pixels: 1000, ..d() };
    assert!(matches!(with(few), Error::TooManyPixels { width: 320, height: 240, max: 1000 }));

    // Longer than it declares, or without declaring anything.
    let long =
        capture("long.mkv", &[&["-stream_loop", "12", "-i", file.to_str().unwrap(), "-c", "copy"]]);
    let mut bytes = fs::read(long.unwrap()).unwrap();
    assert!(matches!(refusal(&scratch("long.webm", &bytes)), Error::TooLong { max_ms: 30_000 }));
    // The Duration element's id, made one that nobody knows.
    let at = bytes.windows(3).position(|w| w == [0x44, 0x89, 0x88]).unwrap();
    bytes[at + 1] = 0x8A;
    assert!(matches!(refusal(&scratch("long-live.webm", &bytes)), Error::TooLong { .. }));
}

#[test]
fn huge_pictures_and_bombs_are_stopped() {
    let huge = &["-f", "lavfi", "-i", "color=black:size=5000x3000:rate=1:duration=1"];
    let Some(file) = capture("huge.webm", &[huge, VP8]) else { return };
    let silent = decoder().without_required_audio();
    let refused = decode_with(&silent, &file).err().unwrap();
    assert!(
        matches!(refused, Error::TooManyPixels { width: 5000, height: 3000, .. }),
        "{refused:?}"
    );

    // A few hundred kilobytes that hold several gigabytes of black.
    let black = &["-f", "lavfi", "-i", "color=black:size=3840x2160:rate=60:duration=0.2"];
    let seed = capture("black.mp4", &[black, H264, &["-preset", "ultrafast"]]).unwrap();
    let repeat = &["-stream_loop", "99", "-i", seed.to_str().unwrap(), "-c", "copy"];
    let bomb = capture("bomb.mp4", &[repeat]).unwrap();
    assert!(fs::metadata(&bomb).unwrap().len() < 4 << 20);
    let limits = Limits { cpu_seconds: 1, ..Limits::default() };
    let refused =
        decode_with(&Decoder::new(PROGRAM, limits).without_required_audio(), &bomb).err().unwrap();
    assert!(matches!(refused, Error::TooSlow { budget: Budget::Cpu }), "{refused:?}");
    let limits = Limits { memory_bytes: 24 << 20, ..Limits::default() };
    let refused =
        decode_with(&Decoder::new(PROGRAM, limits).without_required_audio(), &bomb).err().unwrap();
    assert!(matches!(refused, Error::TooMuchMemory), "{refused:?}");
}

#[test]
fn the_sandbox_refuses_everything_else() {
    let probe = decoder().probe().unwrap();
    println!("{probe:?}");
    assert!(probe.layers.rlimits && probe.layers.no_new_privs && probe.layers.seccomp);
    assert!(probe.refused.all(), "{probe:?}");
    let strict = decoder().with_policy(Policy { require_landlock: true }).probe();
    match probe.layers.landlock {
        Landlock::Full => assert!(strict.is_ok()),
        _ => assert!(
            matches!(strict, Err(Error::SandboxRefused { layer, .. }) if layer == "landlock")
        ),
    }
}

/// A program in place of the child.
fn impostor(name: &str, script: &str) -> Decoder {
    let file = scratch(name, format!("#!/bin/sh\n{script}\n").as_bytes());
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    Decoder::new(file, Limits { wall: Duration::from_millis(400), ..Limits::default() })
}

#[test]
fn a_child_that_dies_hangs_or_lies_is_survived() {
    let Some(file) = vp8_opus() else { return };
    let outcome = |name, script| decode_with(&impostor(name, script), &file).err().unwrap();
    let killed = outcome("killed", "kill -9 $$");
    assert!(matches!(killed, Error::ChildDied { signal: Some(9) }), "{killed:?}");
    let crashed = outcome("crashed", "kill -SEGV $$");
    assert!(matches!(crashed, Error::ChildDied { signal: Some(11) }), "{crashed:?}");
    assert!(matches!(outcome("silent", "exit 0"), Error::ChildDied { signal: None }));
    let garbage = outcome("garbage", "exec cat /dev/urandom");
    assert!(matches!(garbage, Error::ChildMisbehaved { .. }), "{garbage:?}");
    let zeros = outcome("zeros", "exec cat /dev/zero");
    assert!(matches!(zeros, Error::ChildMisbehaved { .. }), "{zeros:?}");
    // It claims that no layer holds.
    let open = r#"{"rlimits":true,"no_new_privs":true,"landlock":"missing","seccomp":false}"#;
    let script = format!("printf '\\001\\{:03o}\\000\\000\\000%s' '{open}'; sleep 5", open.len());
    let refused = outcome("open", &script);
    assert!(
        matches!(&refused, Error::SandboxRefused { layer, .. } if layer == "seccomp"),
        "{refused:?}"
    );

    let since = Instant::now();
    let hung = outcome("hung", "exec sleep 60");
    assert!(matches!(hung, Error::TooSlow { budget: Budget::Wall }), "{hung:?}");
    assert!(since.elapsed() < Duration::from_secs(10));
    let nothing = decode_with(&Decoder::new("/nonexistent", Limits::default()), &file);
    assert!(matches!(nothing, Err(Error::Spawn(_))));
}

#[test]
fn a_child_killed_at_work_is_survived_and_reaped() {
    let Some(file) = vp8_opus() else { return };
    let limits = Limits { max_frames: 1_791, ..Limits::default() };
    let mut pid = String::new();
    let died = Decoder::new(PROGRAM, limits).decode(&file, |event| {
        if let Event::Frame(Frame { index: 3, .. }) = event {
            pid = children("\"max_frames\":1791")[0].to_string();
            assert!(Command::new("kill").args(["-9", &pid]).status().unwrap().success());
        }
        ControlFlow::Continue(())
    });
    assert!(matches!(died, Err(Error::ChildDied { signal: Some(9) })), "{died:?}");
    assert!(!Path::new("/proc").join(pid).exists(), "it is a zombie");
}

#[test]
fn a_slow_receiver_is_no_fault_of_the_sender() {
    let Some(file) = vp8_opus() else { return };
    let decode = |limits: Limits, wait: Duration| {
        let mut wait = Some(wait);
        Decoder::new(PROGRAM, limits).decode(&file, |_| {
            std::thread::sleep(wait.take().unwrap_or_default());
            ControlFlow::Continue(())
        })
    };
    // The budget follows from how fast this machine is just now.
    let since = Instant::now();
    decode(Limits::default(), Duration::ZERO).unwrap();
    let wall = since.elapsed() * 5 + Duration::from_secs(1);
    let totals = decode(Limits { wall, ..Limits::default() }, wall + Duration::from_millis(200));
    assert!(totals.is_ok(), "{totals:?}");
}

#[tokio::test]
async fn dropping_a_decode_kills_the_child() {
    let Some(file) = vp8_opus() else { return };
    let limits = Limits { max_frames: 1_792, ..Limits::default() };
    let decoder = Decoder::new(PROGRAM, limits);
    let mut decoding = decoder.start(file.clone(), 2);
    assert!(matches!(decoding.next().await, Some(Ok(Event::Opened(_)))));
    let child = Path::new("/proc").join(children("\"max_frames\":1792")[0].to_string());
    drop(decoding);
    let patience = Instant::now() + Duration::from_secs(10);
    while child.exists() {
        assert!(Instant::now() < patience, "the child is still there, or a zombie");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }

    let mut decoding = decoder.start(file, 2);
    let mut frames = 0;
    while let Some(event) = decoding.next().await {
        match event.unwrap() {
            Event::Frame(_) => frames += 1,
            Event::Done(totals) => assert_eq!(totals.frames, frames),
            _ => (),
        }
    }
    assert_eq!(frames, 45);
}

#[test]
fn stopping_at_an_event_is_reported() {
    let Some(file) = h264_aac() else { return };
    let stopped = decoder().decode(&file, |_| ControlFlow::Break(()));
    assert!(matches!(stopped, Err(Error::Cancelled)));
}

#[test]
fn a_container_without_its_index_is_corrupt() {
    let Some(file) = h264_aac() else { return };
    let bytes = fs::read(file).unwrap();
    let cut = scratch("no-index.mp4", &bytes[..bytes.len() / 2]);
    assert!(matches!(refusal(&cut), Error::Corrupt { part: Part::Container }));
}
