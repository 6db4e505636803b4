//! The species of attack, each with its parameters, and how a capture is made of each.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::frames::Frames;
use super::looks::{dots, held, lamp, moire, noise, numbered, rolling_band, still, swing};
use super::picture::{FPS, Packing, Picture, repack};
use super::warp::{mask, puppet};
use super::{Error, Face, Footage, RATE, Result, sound};
use crate::domain::challenge::Motion;

/// An attack: a species with its parameters. Lengths in pixels are of the common picture of 480 x
/// 480, times in seconds from its start.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "species", rename_all = "snake_case")]
pub enum Attack {
    /// One frame, held in a hand that sways by so many pixels; 0: not at all.
    StillPhoto {
        /// Which frame.
        at_s: f64,
        /// Pixels.
        sway: f64,
    },
    /// One frame swung to the left and to the right, flat, so that it looks turned.
    SwungPhoto {
        /// Which frame.
        at_s: f64,
        /// How far an edge comes forward, as a share of the width.
        swing: f64,
    },
    /// A print on paper, held in a hand and swung.
    Print {
        /// Which frame is printed.
        at_s: f64,
        /// Depth of the halftone dots, 0–255.
        halftone: f64,
        /// Contrast that is left, 0–1.
        contrast: f64,
        /// How far the sheet is bent (the radial coefficient of `lenscorrection`).
        bend: f64,
    },
    /// The recording on a screen in front of the camera; its bezel and the desk are seen.
    ScreenReplay {
        /// Depth of the moiré between the two pixel grids, 0–255.
        moire: f64,
        /// Gamma of the recapture.
        gamma: f64,
        /// Strength of a reflected lamp, 0–255.
        glare: f64,
        /// Depth of the band that the two frame rates make roll, 0–255.
        beat: f64,
    },
    /// The recording on a screen that fills the picture.
    FullScreen {
        /// As of the screen.
        moire: f64,
        /// As of the screen.
        gamma: f64,
        /// As of the screen.
        beat: f64,
    },
    /// Another person's photo as a mask, eyes and mouth cut out, on the head of a living one.
    CutOutMask {
        /// Which frame of the other is printed.
        at_s: f64,
        /// Depth of the halftone dots, 0–255.
        halftone: f64,
    },
    /// A photo animated in software: turned as asked, its mouth moving with the sound.
    Puppet {
        /// Which frame.
        at_s: f64,
        /// How far the middle of the face moves against its edge, in face widths.
        turn: f64,
    },
    /// Another person comes in.
    FaceSwap {
        /// How.
        join: Join,
    },
    /// Another voice than the one that belongs to the lips.
    DubbedAudio,
    /// The asked digits, each from another recording of another speaker.
    SplicedDigits,
    /// The picture slower (above 1) or faster (below 1) than it was recorded.
    TimeStretch {
        /// Factor on its duration.
        factor: f64,
    },
    /// A recording that was encoded again and again before it is sent.
    Reencoded {
        /// How often.
        generations: u32,
        /// How hard: H.264's constant rate factor.
        crf: u32,
    },
    /// Frames that stand still.
    FrameRepeat {
        /// Each frame is shown so many times; 1: only the freeze.
        times: u32,
        /// From when on one picture stands for the rest; `None`: never.
        frozen_from_s: Option<f64>,
    },
    /// A file fed in as a camera: without sensor noise, upscaled, with a tool's name in it.
    VirtualCamera {
        /// Strength of the noise reduction (`hqdn3d`'s spatial luma).
        denoise: f64,
    },
    /// A second person beside the first; for the whole time or for a glimpse.
    SecondFace {
        /// From when to when they are seen; `None`: always.
        seen_s: Option<(f64, f64)>,
    },
    /// The right sound too late for the lips.
    LateSync {
        /// Milliseconds.
        ms: usize,
    },
    /// A recording made for an earlier challenge, sent again.
    EarlierCapture,
}

/// How one person is followed by another.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Join {
    /// At once, at this second.
    Cut(f64),
    /// Over 0.6 s, from this second.
    CrossFade(f64),
    /// From the first second to the second, and then the first person again.
    Passing(f64, f64),
}

/// What an attack is made of.
#[derive(Clone, Debug)]
pub struct Material<'a> {
    /// A living person who makes the asked motions.
    pub clip: &'a Footage,
    /// Another living person.
    pub other: Option<&'a Footage>,
    /// Where the face is in each frame of the clip at the common rate.
    pub faces: &'a [Option<Face>],
    /// Where the face is in each frame of the other clip.
    pub other_faces: &'a [Option<Face>],
    /// The asked motions.
    pub motions: &'a [Motion],
    /// The asked digits, read by one person.
    pub reading: &'a [f32],
    /// The asked digits, each by another person.
    pub spliced: Option<&'a [f32]>,
    /// Other digits than the asked ones, by the person of `reading`.
    pub earlier: Option<&'a [f32]>,
}

impl Attack {
    /// The standard attacks: every species with one set of parameters or more.
    pub fn standard() -> Vec<Self> {
        use Attack as A;
        vec![
            A::StillPhoto { at_s: 1.0, sway: 0.0 },
            A::StillPhoto { at_s: 1.0, sway: 14.0 },
            A::SwungPhoto { at_s: 1.0, swing: 0.16 },
            A::Print { at_s: 1.0, halftone: 50.0, contrast: 0.8, bend: -0.1 },
            A::Print { at_s: 0.4, halftone: 20.0, contrast: 0.9, bend: -0.04 },
            A::ScreenReplay { moire: 80.0, gamma: 1.25, glare: 60.0, beat: 25.0 },
            A::ScreenReplay { moire: 30.0, gamma: 1.1, glare: 0.0, beat: 8.0 },
            A::FullScreen { moire: 36.0, gamma: 1.12, beat: 12.0 },
            A::FullScreen { moire: 10.0, gamma: 1.05, beat: 0.0 },
            A::CutOutMask { at_s: 1.0, halftone: 40.0 },
            A::Puppet { at_s: 1.0, turn: 0.28 },
            A::FaceSwap { join: Join::Cut(2.6) },
            A::FaceSwap { join: Join::CrossFade(2.4) },
            A::FaceSwap { join: Join::Passing(2.1, 2.7) },
            A::DubbedAudio,
            A::SplicedDigits,
            A::TimeStretch { factor: 1.6 },
            A::TimeStretch { factor: 0.6 },
            A::Reencoded { generations: 2, crf: 34 },
            A::FrameRepeat { times: 5, frozen_from_s: None },
            A::FrameRepeat { times: 1, frozen_from_s: Some(3.0) },
            A::VirtualCamera { denoise: 8.0 },
            A::SecondFace { seen_s: None },
            A::SecondFace { seen_s: Some((3.1, 3.7)) },
            A::LateSync { ms: 300 },
            A::LateSync { ms: 600 },
            A::EarlierCapture,
        ]
    }

    /// The species' name.
    pub fn species(&self) -> &'static str {
        match self {
            Self::StillPhoto { .. } => "still_photo",
            Self::SwungPhoto { .. } => "swung_photo",
            Self::Print { .. } => "print",
            Self::ScreenReplay { .. } => "screen_replay",
            Self::FullScreen { .. } => "full_screen",
            Self::CutOutMask { .. } => "cut_out_mask",
            Self::Puppet { .. } => "puppet",
            Self::FaceSwap { .. } => "face_swap",
            Self::DubbedAudio => "dubbed_audio",
            Self::SplicedDigits => "spliced_digits",
            Self::TimeStretch { .. } => "time_stretch",
            Self::Reencoded { .. } => "reencoded",
            Self::FrameRepeat { .. } => "frame_repeat",
            Self::VirtualCamera { .. } => "virtual_camera",
            Self::SecondFace { .. } => "second_face",
            Self::LateSync { .. } => "late_sync",
            Self::EarlierCapture => "earlier_capture",
        }
    }

    /// The checks that look at what is false here, by name. Whatever else objects does so for
    /// another reason, and would to a genuine capture of the same material.
    pub fn touches(&self) -> &'static [&'static str] {
        match self {
            Self::StillPhoto { .. }
            | Self::SwungPhoto { .. }
            | Self::Print { .. }
            | Self::Puppet { .. } => &["motion", "continuity", "pad", "sync", "injection"],
            Self::ScreenReplay { .. } | Self::FullScreen { .. } => &["pad", "injection"],
            Self::CutOutMask { .. } => &["motion", "continuity", "pad", "injection"],
            Self::FaceSwap { .. } => &["continuity"],
            Self::DubbedAudio | Self::LateSync { .. } => &["sync"],
            Self::SplicedDigits => &["voice", "sync"],
            Self::TimeStretch { .. } => &["motion", "continuity", "sync", "injection"],
            Self::Reencoded { .. } | Self::VirtualCamera { .. } => {
                &["pad", "continuity", "injection"]
            }
            Self::FrameRepeat { .. } => &["quality", "motion", "continuity", "injection"],
            Self::SecondFace { .. } => &["quality", "continuity"],
            Self::EarlierCapture => &["speech"],
        }
    }

    /// Makes the capture. The same attack, material and seed make the same file.
    ///
    /// # Errors
    /// [`Error::Material`] where something is missing; those of `ffmpeg`.
    pub fn make(
        &self,
        material: &Material<'_>,
        packing: Packing,
        seed: u64,
        out: &Path,
    ) -> Result<()> {
        let sound = self.sound(material)?;
        let picture = self.picture(material, &sound, seed)?;
        match *self {
            Self::Reencoded { generations, crf } => {
                // Beside the capture, and gone afterwards.
                let mut step = out.with_extension("0.mp4");
                picture.pack(&sound, Packing::Mp4 { crf }, &[], &step)?;
                for i in 1..generations {
                    let next = out.with_extension(format!("{i}.mp4"));
                    let made = repack(&step, Packing::Mp4 { crf }, &next);
                    remove(&step)?;
                    made?;
                    step = next;
                }
                let made = repack(&step, packing, out);
                remove(&step)?;
                made
            }
            Self::VirtualCamera { .. } => {
                let name = "handler_name=Virtual Camera";
                let traits = ["-metadata", "encoder=screen tool", "-metadata:s:v", name];
                picture.pack(&sound, packing, &traits, out)
            }
            _ => picture.pack(&sound, packing, &[], out),
        }
    }

    fn sound(&self, m: &Material<'_>) -> Result<Vec<f32>> {
        let need = |what, sound: Option<&[f32]>| {
            sound.map(<[f32]>::to_vec).ok_or(Error::Material { attack: self.species(), what })
        };
        match self {
            Self::SplicedDigits => need("digits by several people", m.spliced),
            Self::EarlierCapture => need("a reading of other digits", m.earlier),
            Self::LateSync { ms } => Ok(sound::delayed(m.reading, *ms)),
            _ => Ok(m.reading.to_vec()),
        }
    }

    #[expect(clippy::too_many_lines, reason = "an arm for each species, to be read one by one")]
    fn picture(&self, m: &Material<'_>, sound: &[f32], seed: u64) -> Result<Picture> {
        let clip = || Picture::of(m.clip);
        let seconds = m.clip.seconds;
        let other = || {
            m.other.ok_or(Error::Material { attack: self.species(), what: "another person's clip" })
        };
        Ok(match self {
            Self::DubbedAudio
            | Self::SplicedDigits
            | Self::Reencoded { .. }
            | Self::LateSync { .. }
            | Self::EarlierCapture => clip(),
            Self::StillPhoto { at_s, sway } if *sway <= 0.0 => clip().then(&still(*at_s, seconds)),
            Self::StillPhoto { at_s, sway } => {
                clip().then(&still(*at_s, seconds)).then(&held(*sway, seed))
            }
            Self::SwungPhoto { at_s, swing: by } => {
                clip().then(&still(*at_s, seconds)).then(&swing(*by)).then(&noise(6, seed))
            }
            Self::Print { at_s, halftone, contrast, bend } => {
                let look = format!(
                    "eq=contrast={contrast}:saturation={contrast}:gamma=1.1,\
                     colorbalance=rm=0.06:bm=-0.05,{},scale=384:384,\
                     pad=430:440:20:20:0xe8e4da,scale=480:480,lenscorrection=k1={bend}:k2=0,{},\
                     gblur=sigma=0.7",
                    dots(*halftone),
                    swing(0.12)
                );
                clip().then(&still(*at_s, seconds)).then(&look).then(&noise(6, seed))
            }
            Self::ScreenReplay { moire: depth, gamma, glare, beat } => clip().then(&format!(
                "scale=330:330,eq=gamma={gamma}:contrast=0.85:saturation=0.8,\
                 colorbalance=bs=0.1:bm=0.1,pad=370:390:20:30:0x101010,\
                 pad=480:480:55:45:0x6b6258,\
                 perspective=x0=14:y0=6:x1=W-8:y1=16:x2=6:y2=H-6:x3=W-20:y3=H-16,{},\
                 gblur=sigma=0.6,{}",
                numbered(&[moire(*depth), rolling_band(*beat), lamp(*glare)]),
                noise(4, seed)
            )),
            Self::FullScreen { moire: depth, gamma, beat } => clip().then(&format!(
                "eq=gamma={gamma}:contrast=0.92:saturation=0.9,colorbalance=bs=0.05:bm=0.05,{},\
                 gblur=sigma=0.6",
                numbered(&[moire(*depth), rolling_band(*beat)])
            )),
            Self::CutOutMask { at_s, halftone } => {
                let printed = Picture::of(other()?).then(&still(*at_s, 0.04)).frames()?;
                let at = (at_s * f64::from(FPS)) as usize;
                let face = m.other_faces.get(at).copied().flatten();
                let face = face.ok_or(Error::Material {
                    attack: self.species(),
                    what: "a face in the other person's frame",
                })?;
                let worn = clip().frames()?;
                Picture::from_frames(mask(worn, m.faces, &printed, face, *halftone))
            }
            Self::Puppet { at_s, turn } => {
                let photo: Frames = clip().then(&still(*at_s, 0.04)).frames()?;
                let at = (at_s * f64::from(FPS)) as usize;
                let face = m.faces.get(at).copied().flatten().ok_or(Error::Material {
                    attack: self.species(),
                    what: "a face in the clip's frame",
                })?;
                let frames = (seconds * f64::from(FPS)) as usize;
                let mouth = opening(sound, frames);
                let moved = puppet(&photo, face, m.motions, *turn as f32, &mouth);
                Picture::from_frames(moved).then(&noise(4, seed))
            }
            Self::FaceSwap { join } => match *join {
                Join::Cut(at) => Picture::joined(&part(m.clip, at), other()?, "concat"),
                Join::CrossFade(at) => {
                    let how = format!("xfade=duration=0.6:offset={at}");
                    Picture::joined(&part(m.clip, at + 0.6), other()?, &how)
                }
                Join::Passing(from, to) => {
                    let how = format!("overlay=enable='between(t,{from},{to})':eof_action=repeat");
                    Picture::joined(m.clip, other()?, &how)
                }
            },
            Self::TimeStretch { factor } => {
                clip().then(&format!("setpts=PTS*{factor},fps={FPS},trim=duration={seconds}"))
            }
            Self::FrameRepeat { times, frozen_from_s } => {
                let slow = format!("fps={FPS}/{times},fps={FPS}");
                match frozen_from_s {
                    Some(at) => {
                        let rest = (seconds - at).max(0.0);
                        let hold =
                            format!("trim=duration={at},tpad=stop_mode=clone:stop_duration={rest}");
                        clip().then(&slow).then(&hold)
                    }
                    None => clip().then(&slow),
                }
            }
            Self::VirtualCamera { denoise } => clip().then(&format!(
                "hqdn3d={denoise}:{denoise}:{denoise}:{denoise},scale=360:360,scale=720:720"
            )),
            Self::SecondFace { seen_s } => {
                let beside = Picture::joined(m.clip, other()?, "hstack=shortest=1");
                match seen_s {
                    None => beside,
                    Some((from, to)) => beside.then(&format!(
                        "drawbox=x=480:w=480:h=480:color=gray:t=fill:enable='not(between(t,{from},{to}))'"
                    )),
                }
            }
        })
    }
}

/// The start of a recording.
fn part(of: &Footage, seconds: f64) -> Footage {
    Footage { seconds: seconds.min(of.seconds), ..of.clone() }
}

/// How far a mouth would open to each of `frames` frames of a sound, 0–1.
fn opening(sound: &[f32], frames: usize) -> Vec<f32> {
    let hop = RATE / FPS as usize;
    let level = |i: usize| {
        let heard = sound.get(i * hop..).unwrap_or_default();
        let heard = &heard[..heard.len().min(hop)];
        (heard.iter().map(|v| v * v).sum::<f32>() / hop as f32).sqrt()
    };
    let levels: Vec<f32> = (0..frames).map(level).collect();
    let top = levels.iter().copied().fold(1e-6, f32::max);
    levels.into_iter().map(|v| (v / top).sqrt()).collect()
}

fn remove(path: &Path) -> Result<()> {
    std::fs::remove_file(path).map_err(|source| Error::File { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::process::Command;

    use super::*;

    /// Two seconds of a moving picture.
    fn footage(dir: &Path, name: &str, source: &str) -> Footage {
        let path = dir.join(name);
        let made = Command::new("ffmpeg")
            .args(["-v", "error", "-y", "-f", "lavfi", "-i", source, "-c:v", "libx264"])
            .args(["-preset", "ultrafast", "-pix_fmt", "yuv420p"])
            .arg(&path)
            .status()
            .unwrap();
        assert!(made.success());
        Footage { path, seconds: 2.0 }
    }

    fn changes(frames: &Frames) -> usize {
        frames.rgb.windows(2).filter(|w| w[0] != w[1]).count()
    }

    /// Standard deviation of luma.
    fn contrast(frames: &Frames) -> f64 {
        let luma: Vec<f64> = frames.rgb[0].chunks(3).map(|p| f64::from(p[1])).collect();
        let mean = luma.iter().sum::<f64>() / luma.len() as f64;
        (luma.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / luma.len() as f64).sqrt()
    }

    #[test]
    fn the_standard_attacks_are_many_species_that_survive_json() {
        let all = Attack::standard();
        let species: BTreeSet<&str> = all.iter().map(Attack::species).collect();
        assert!(species.len() >= 16, "{}", species.len());
        for attack in all {
            let json = serde_json::to_value(&attack).unwrap();
            assert_eq!(json["species"], attack.species());
            assert_eq!(serde_json::from_value::<Attack>(json).unwrap(), attack);
            assert!(!attack.touches().is_empty());
        }
    }

    #[test]
    fn every_attack_does_to_the_picture_what_it_says() {
        let dir = tempfile::tempdir().unwrap();
        let clip = footage(dir.path(), "a.mp4", "testsrc2=size=480x480:rate=25:duration=2");
        let other = footage(dir.path(), "b.mp4", "testsrc=size=480x480:rate=25:duration=2");
        let faces = vec![Some([0.3, 0.2, 0.4, 0.5]); 50];
        let tone: Vec<f32> = (0..2 * RATE).map(|i| (i as f32 * 0.1).sin() * 0.3).collect();
        let material = Material {
            clip: &clip,
            other: Some(&other),
            faces: &faces,
            other_faces: &faces,
            motions: &[Motion::Left],
            reading: &tone,
            spliced: Some(&tone[..RATE]),
            earlier: Some(&tone),
        };
        let genuine = Picture::of(&clip).frames().unwrap();
        assert_eq!(genuine.rgb.len(), 50);
        let shown = |a: &Attack| a.picture(&material, &tone, 7).unwrap().frames().unwrap();

        let still = shown(&Attack::StillPhoto { at_s: 1.0, sway: 0.0 });
        assert_eq!((changes(&still), still.rgb.len()), (0, 50));
        assert!(changes(&shown(&Attack::StillPhoto { at_s: 1.0, sway: 14.0 })) > 40);
        assert!(changes(&shown(&Attack::SwungPhoto { at_s: 1.0, swing: 0.16 })) > 40);

        // A print and a screen lose range.
        for a in Attack::standard() {
            if matches!(
                a,
                Attack::Print { .. } | Attack::ScreenReplay { .. } | Attack::FullScreen { .. }
            ) {
                assert!(contrast(&shown(&a)) < contrast(&genuine), "{a:?}");
            }
        }
        // The weaker the parameters, the more is left.
        let full = |moire, gamma| shown(&Attack::FullScreen { moire, gamma, beat: 0.0 });
        assert!(contrast(&full(5.0, 1.0)) > contrast(&full(120.0, 1.4)));

        let slow = shown(&Attack::TimeStretch { factor: 1.6 });
        let fast = shown(&Attack::TimeStretch { factor: 0.5 });
        assert!(slow.rgb.len() >= 49 && (24..=26).contains(&fast.rgb.len()));
        assert!(changes(&slow) < changes(&genuine));
        let repeated = shown(&Attack::FrameRepeat { times: 5, frozen_from_s: None });
        assert!(changes(&repeated) <= 11, "{}", changes(&repeated));
        let frozen = shown(&Attack::FrameRepeat { times: 1, frozen_from_s: Some(1.0) });
        assert!((45..=52).contains(&frozen.rgb.len()) && changes(&frozen) <= 25);

        let beside = shown(&Attack::SecondFace { seen_s: None });
        assert_eq!((beside.width, beside.height), (960, 480));
        let cut = shown(&Attack::FaceSwap { join: Join::Cut(1.0) });
        assert_eq!(cut.rgb.len(), 75);
        assert_eq!(cut.rgb[10], genuine.rgb[10]);

        let puppet = shown(&Attack::Puppet { at_s: 1.0, turn: 0.3 });
        assert!(changes(&puppet) > 40);
        let masked = shown(&Attack::CutOutMask { at_s: 1.0, halftone: 40.0 });
        assert_eq!(masked.rgb.len(), genuine.rgb.len());
        let corner = |f: &Frames| f.rgb[20][..300].to_vec();
        // Colours go through subsampling once more, which edges show.
        let (ours, theirs) = (corner(&masked), corner(&genuine));
        let off: u32 = ours.iter().zip(&theirs).map(|(a, b)| u32::from(a.abs_diff(*b))).sum();
        assert!(off < 300 * 8, "{off}");
        assert!(masked.rgb[20] != genuine.rgb[20]);
    }

    #[test]
    fn captures_are_whole_and_the_same_again() {
        let dir = tempfile::tempdir().unwrap();
        let clip = footage(dir.path(), "a.mp4", "testsrc2=size=480x480:rate=25:duration=1");
        let clip = Footage { seconds: 1.0, ..clip };
        let tone: Vec<f32> = (0..RATE).map(|i| (i as f32 * 0.1).sin() * 0.3).collect();
        let material = Material {
            clip: &clip,
            other: None,
            faces: &[],
            other_faces: &[],
            motions: &[Motion::Left],
            reading: &tone,
            spliced: None,
            earlier: None,
        };
        let make = |attack: &Attack, packing: Packing, name: &str| {
            let out = dir.path().join(format!("{name}.{}", packing.ending()));
            attack.make(&material, packing, 3, &out).map(|()| out)
        };
        let chain = Attack::Reencoded { generations: 2, crf: 34 };
        for packing in Packing::USUAL {
            let one = std::fs::read(make(&chain, packing, "one").unwrap()).unwrap();
            let two = std::fs::read(make(&chain, packing, "two").unwrap()).unwrap();
            assert!(one == two && one.len() > 1000, "{packing:?}");
        }
        let late = make(&Attack::LateSync { ms: 500 }, Packing::Mp4 { crf: 21 }, "late").unwrap();
        let heard = sound::read(&late).unwrap();
        assert!(
            heard.len() > RATE * 14 / 10 && heard[..RATE * 4 / 10].iter().all(|v| v.abs() < 0.1)
        );
        let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().collect();
        assert_eq!(left.len(), 6, "nothing is left behind");
        let missing = make(&Attack::SplicedDigits, Packing::Mp4 { crf: 21 }, "x").unwrap_err();
        assert!(missing.to_string().contains("several people"));
        let missing = make(&Attack::SecondFace { seen_s: None }, Packing::USUAL[0], "x");
        assert!(missing.unwrap_err().to_string().contains("another person"));
    }
}
