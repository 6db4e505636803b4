//! `cameo eval workshop`: a data set of captures, genuine and attacks, made out of recordings.
//!
//! No recording shows a person who reads digits and turns the head: clips of people who turn their
//! heads are joined with real digit strings of speakers held out of training. Such a genuine
//! capture is a dubbed one, so `sync` is left out when it is counted. Drawn heads, whose lips do
//! follow their voice, stand beside them; what makes an anti-spoof model of them says nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};

use super::cases::{Case, Class, Manifest};
use super::clips::{Clips, Person};
use super::progress;
use super::speech::Part;
use super::speech::corpus::{self, Clip, Kind};
use crate::app;
use crate::config::Config;
use crate::domain::challenge::{Challenge, ChallengeRules, MAX_DIGITS, MIN_DIGITS, Motion};
use crate::drawn::{self, Look, Script};
use crate::env::{Millis, SeededEntropy};
use crate::infer::Models;
use crate::infer::picture::Frame;
use crate::infer::track::Tracker;
use crate::workshop::attack::{Attack, Material};
use crate::workshop::draw::Draw;
use crate::workshop::frames::Frames;
use crate::workshop::ladder::Rung;
use crate::workshop::picture::{FPS, Packing, Picture};
use crate::workshop::{Face, Footage, RATE, sound};

/// Silence before the reading, in samples, and the most that the reading may be shorter than the clip.
const LEAD: usize = RATE / 2;
/// Readings that a clip is shown with as it was recorded, for each take of everything else.
const PLAIN: usize = 4;
/// Recordings of each single digit that others are put together of.
const DIGIT_TAKES: usize = 8;

/// Make a data set of genuine captures and attacks.
#[derive(Clone, Debug, clap::Args)]
pub struct WorkshopArgs {
    /// Folder of recordings with a MANIFEST.tsv
    #[arg(long, value_name = "DIR", env = "CAMEO_DATASETS_DIR")]
    pub datasets: Option<PathBuf>,
    /// The clips of living people in it
    #[arg(long, value_name = "FILE", default_value = "eval/clips.toml")]
    pub clips: PathBuf,
    /// Readings with which every clip and attack is made
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=50))]
    pub takes: u8,
    /// Drawn heads beside the people
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u8).range(0..=50))]
    pub drawn: u8,
    /// Decides every draw: the same seed makes the same data set
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// The folder to make it in; captures that it already has are kept
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
}

/// Makes the data set.
///
/// # Errors
/// Where recordings can't be read or captures can't be made.
pub fn run(args: &WorkshopArgs, config: &Config) -> anyhow::Result<()> {
    std::fs::create_dir_all(&args.out)
        .with_context(|| format!("can't make {}", args.out.display()))?;
    let mut bench = Bench::new(args);
    if let Some(datasets) = &args.datasets {
        let clips = Clips::read(&args.clips, datasets)?.people;
        let voices = Voices::read(datasets)?;
        bench.people(&clips, &voices, &app::models(config)?)?;
    }
    bench.drawn()?;
    ensure!(
        !bench.cases.is_empty(),
        "nothing to make: name --datasets or a number of --drawn heads"
    );
    Manifest::of(bench.cases).write(&args.out)
}

/// Digits by people whom no model was trained on, and what else they say.
struct Voices {
    /// Spoken as strings.
    readings: Vec<Clip>,
    /// Single digits, by digit.
    digits: BTreeMap<u8, Vec<Clip>>,
    babble: Vec<f32>,
}

impl Voices {
    fn read(root: &Path) -> anyhow::Result<Self> {
        let bar = progress("recordings", 0);
        let mut takes = [0; 10];
        let wanted = |kind: Kind, digits: &[u8]| {
            let [digit] = digits else { return true };
            takes[usize::from(*digit)] += 1;
            kind != Kind::Digit || takes[usize::from(*digit)] <= DIGIT_TAKES
        };
        let clips = corpus::read(root, Part::Test, wanted, |n| {
            bar.set_length(n as u64);
            bar.inc(1);
        })?;
        bar.finish_and_clear();
        let others: Vec<&[f32]> =
            clips.iter().filter(|c| c.kind == Kind::Other).map(|c| &c.sound[..]).collect();
        let babble = sound::babble(&others, &mut Draw::new(23));
        let mut digits: BTreeMap<u8, Vec<Clip>> = BTreeMap::new();
        for clip in clips.iter().filter(|c| c.kind == Kind::Digit) {
            digits.entry(clip.digits[0]).or_default().push(clip.clone());
        }
        let fits = |c: &Clip| {
            c.kind == Kind::String && (MIN_DIGITS..=MAX_DIGITS).contains(&c.digits.len())
        };
        let readings: Vec<Clip> = clips.into_iter().filter(fits).collect();
        ensure!(readings.len() > 1, "no digit strings of held-out speakers in the recordings");
        Ok(Self { readings, digits, babble })
    }

    /// The readings that fit into a clip, from the `first` on, round and round.
    fn fitting(&self, seconds: f64, first: usize) -> impl Iterator<Item = &Clip> {
        let most = ((seconds - 0.7) * RATE as f64) as usize;
        let fit: Vec<&Clip> = self.readings.iter().filter(|r| r.sound.len() <= most).collect();
        let n = fit.len();
        (0..if n == 0 { 0 } else { usize::MAX }).map(move |i| fit[(first + i) % n])
    }

    /// The digits, each by a speaker that is drawn.
    fn spliced(&self, digits: &[u8], draw: &mut Draw) -> Option<Vec<f32>> {
        let mut takes = Vec::new();
        for digit in digits {
            let of = self.digits.get(digit)?;
            takes.push(&of[draw.below(of.len())].sound[..]);
        }
        Some(sound::in_a_row(takes, 0, RATE / 8))
    }
}

/// What is being made.
struct Bench<'a> {
    args: &'a WorkshopArgs,
    /// What is in the folder already.
    known: BTreeMap<String, Case>,
    cases: Vec<Case>,
}

impl<'a> Bench<'a> {
    fn new(args: &'a WorkshopArgs) -> Self {
        let known = Manifest::read(&args.out).map(|m| m.cases).unwrap_or_default();
        let known = known.into_iter().map(|c| (c.id.clone(), c)).collect();
        Self { args, known, cases: Vec::new() }
    }

    /// The captures of people.
    fn people(
        &mut self,
        people: &[Person],
        voices: &Voices,
        models: &Models,
    ) -> anyhow::Result<()> {
        let attacks: Vec<Attack> = Attack::standard()
            .into_iter()
            // The sound of these captures never was in step.
            .filter(|a| !matches!(a, Attack::LateSync { .. }))
            .collect();
        let takes = usize::from(self.args.takes);
        let turning = people.iter().filter(|p| !p.motions.is_empty()).count();
        let each = takes * (PLAIN + Rung::ALL.len() - 1 + attacks.len());
        let bar = progress("captures", turning * each + (people.len() - turning) * takes);
        let faces: Vec<Vec<Option<Face>>> = people
            .iter()
            .map(|p| if p.motions.is_empty() { Ok(vec![]) } else { faces(models, &p.footage) })
            .collect::<anyhow::Result<_>>()?;
        for (at, person) in people.iter().enumerate() {
            let turns = !person.motions.is_empty();
            let plain = if turns { PLAIN * takes } else { takes };
            let readings = voices.fitting(person.footage.seconds, at * 5);
            for (k, reading) in readings.take(plain).enumerate() {
                self.genuine(person, reading, voices, Rung::AsRecorded, k)?;
                bar.inc(1);
            }
            if !turns {
                continue;
            }
            for rung in &Rung::ALL[1..] {
                let readings = voices.fitting(person.footage.seconds, at * 5 + 1);
                for (k, reading) in readings.take(takes).enumerate() {
                    self.genuine(person, reading, voices, *rung, k)?;
                    bar.inc(1);
                }
            }
            let others: Vec<usize> = (1..people.len())
                .map(|i| (at + i) % people.len())
                .filter(|i| !people[*i].motions.is_empty())
                .collect();
            let other = others.first().copied();
            for (n, attack) in attacks.iter().enumerate() {
                let readings = voices.fitting(person.footage.seconds, at * 5 + n);
                for (k, reading) in readings.take(takes).enumerate() {
                    let other = other.map(|i| (&people[i], &faces[i][..]));
                    self.attack(attack, (person, &faces[at]), other, reading, voices, (n, k))?;
                    bar.inc(1);
                }
            }
        }
        bar.finish_and_clear();
        Ok(())
    }

    fn genuine(
        &mut self,
        person: &Person,
        reading: &Clip,
        voices: &Voices,
        rung: Rung,
        take: usize,
    ) -> anyhow::Result<()> {
        let rung_name: String =
            rung.name().chars().map(|c| if c.is_alphanumeric() { c } else { '-' }).collect();
        let id = format!("{}-{rung_name}-{take}", person.subject);
        let seed = self.seed(&id);
        let packing = Packing::USUAL[take % 2];
        let mut unfit = vec!["sync".to_owned()];
        if person.motions.is_empty() {
            unfit.push("motion".to_owned());
        }
        let case = Case {
            file: format!("{id}.{}", packing.ending()).into(),
            subject: person.subject.clone(),
            speaker: reading.speaker.clone(),
            class: Class::BonaFide { condition: rung.name().to_owned() },
            digits: reading.digits.clone(),
            motions: asked(person),
            unfit,
            id,
        };
        let sound = heard(&reading.sound, person.footage.seconds, seed);
        self.add(case, |out| {
            Ok(rung.make((&person.footage, &sound), &voices.babble, packing, seed, out)?)
        })
    }

    fn attack(
        &mut self,
        attack: &Attack,
        (person, faces): (&Person, &[Option<Face>]),
        other: Option<(&Person, &[Option<Face>])>,
        reading: &Clip,
        voices: &Voices,
        (n, take): (usize, usize),
    ) -> anyhow::Result<()> {
        let id = format!("{}-{}-{n}-{take}", person.subject, attack.species());
        let seed = self.seed(&id);
        let packing = Packing::USUAL[(n + take) % 2];
        let seconds = person.footage.seconds;
        let mut draw = Draw::new(seed);
        let spliced = voices.spliced(&reading.digits, &mut draw).map(|s| heard(&s, seconds, seed));
        // Another string, by the same person where there is one.
        let other_digits = |c: &&Clip| c.digits != reading.digits;
        let candidates = || voices.readings.iter().filter(other_digits);
        let earlier = candidates()
            .find(|c| c.speaker == reading.speaker)
            .or_else(|| candidates().next())
            .map(|c| heard(&c.sound, seconds, seed));
        let sound = heard(&reading.sound, seconds, seed);
        let case = Case {
            file: format!("{id}.{}", packing.ending()).into(),
            subject: person.subject.clone(),
            speaker: reading.speaker.clone(),
            class: class_of(attack),
            digits: reading.digits.clone(),
            motions: asked(person),
            unfit: vec!["sync".to_owned()],
            id,
        };
        let material = Material {
            clip: &person.footage,
            other: other.map(|(o, _)| &o.footage),
            faces,
            other_faces: other.map(|(_, f)| f).unwrap_or_default(),
            motions: &person.motions,
            reading: &sound,
            spliced: spliced.as_deref(),
            earlier: earlier.as_deref(),
        };
        self.add(case, |out| Ok(attack.make(&material, packing, seed, out)?))
    }

    /// The captures of drawn heads: genuine, late and dubbed.
    fn drawn(&mut self) -> anyhow::Result<()> {
        let looks = Look::built_in()?;
        let n = usize::from(self.args.drawn);
        let bar = progress("drawn heads", n);
        for (i, look) in looks.iter().cycle().take(n).enumerate() {
            let entropy = SeededEntropy::new(self.args.seed.wrapping_mul(1009) + i as u64);
            let rules = ChallengeRules::default();
            let asked = Challenge::draw(&rules, Millis(0), &entropy)?;
            let mut other = Challenge::draw(&rules, Millis(0), &entropy)?;
            other.motions.clone_from(&asked.motions);
            let settings =
                drawn::Settings { fps: 12.0, seed: i as u64, ..drawn::Settings::of(look.clone()) };
            let subject = format!("drawn-{i}");
            let id = format!("{subject}-genuine");
            let file = PathBuf::from(format!("{id}.webm"));
            let case = Case {
                file: file.clone(),
                subject: subject.clone(),
                speaker: format!("synthetic-{i}"),
                class: Class::BonaFide { condition: "drawn head".to_owned() },
                digits: asked.digits.clone(),
                motions: asked.motions.clone(),
                unfit: vec!["pad".to_owned()],
                id,
            };
            self.add(case.clone(), |out| {
                drawn::record(&Script::answering(&asked), &settings, out)?;
                Ok(())
            })?;
            let genuine = self.args.out.join(&file);
            let reading = sound::read(&genuine)?;
            let late = [Attack::LateSync { ms: 300 }, Attack::LateSync { ms: 600 }];
            for (k, attack) in late.iter().chain([&Attack::DubbedAudio]).enumerate() {
                let id = format!("{subject}-{}-{k}", attack.species());
                let case = Case {
                    file: format!("{id}.webm").into(),
                    class: class_of(attack),
                    id,
                    ..case.clone()
                };
                let seed = self.seed(&case.id);
                let silent = self.args.out.join(format!("{subject}.silent.webm"));
                self.add(case, |out| {
                    // Dubbed: the lips of somebody who reads other digits.
                    let dubbed = *attack == Attack::DubbedAudio;
                    if dubbed {
                        drawn::record(&Script::answering(&other), &settings, &silent)?;
                    }
                    let path = if dubbed { silent.clone() } else { genuine.clone() };
                    let clip = Footage { path, seconds: 60.0 };
                    let material = Material {
                        clip: &clip,
                        other: None,
                        faces: &[],
                        other_faces: &[],
                        motions: &asked.motions,
                        reading: &reading,
                        spliced: None,
                        earlier: None,
                    };
                    attack.make(&material, Packing::USUAL[0], seed, out)?;
                    if dubbed {
                        std::fs::remove_file(&silent)?;
                    }
                    Ok(())
                })?;
            }
            bar.inc(1);
        }
        bar.finish_and_clear();
        Ok(())
    }

    /// Makes a case's capture, unless it is there and of the same make.
    fn add(
        &mut self,
        case: Case,
        make: impl FnOnce(&Path) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let file = self.args.out.join(&case.file);
        if self.known.get(&case.id) != Some(&case) || !file.is_file() {
            // In place only when it is whole.
            let ending = file.extension().and_then(|e| e.to_str()).unwrap_or_default();
            let unfinished = self.args.out.join(format!(".unfinished.{ending}"));
            make(&unfinished).with_context(|| format!("making {}", case.id))?;
            std::fs::rename(&unfinished, &file)
                .with_context(|| format!("can't write {}", file.display()))?;
        }
        self.cases.push(case);
        // At once, so that what is broken off goes on from here; what is known stays listed.
        let made = self.cases.iter().map(|c| c.id.as_str()).collect::<BTreeSet<_>>();
        let known = self.known.values().filter(|c| !made.contains(c.id.as_str()));
        let cases = self.cases.iter().chain(known).cloned().collect();
        Manifest::of(cases).write(&self.args.out)
    }

    /// A seed for each case, so that none depends on how many were made before.
    fn seed(&self, id: &str) -> u64 {
        let digest = crate::crypto::hash::sha256(format!("{}/{id}", self.args.seed).as_bytes());
        u64::from_le_bytes(std::array::from_fn(|i| digest[i]))
    }
}

fn class_of(attack: &Attack) -> Class {
    Class::Attack {
        species: attack.species().to_owned(),
        // An enum of plain numbers can be written.
        parameters: serde_json::to_value(attack).unwrap_or_default(),
        touches: attack.touches().iter().map(|c| (*c).to_owned()).collect(),
    }
}

/// A challenge asks for one motion at least.
fn asked(person: &Person) -> Vec<Motion> {
    if person.motions.is_empty() { vec![Motion::Left] } else { person.motions.clone() }
}

/// A reading as a microphone hears it in `seconds`: silence around it, and a little noise.
fn heard(reading: &[f32], seconds: f64, seed: u64) -> Vec<f32> {
    let mut draw = Draw::new(seed);
    let mut out = sound::in_a_row([reading], LEAD, RATE / 5);
    out.resize(out.len().max((seconds * RATE as f64) as usize), 0.0);
    for v in &mut out {
        *v += 2e-4 * draw.normal() as f32;
    }
    out
}

/// Where the face is in each frame of a clip at the common rate.
fn faces(models: &Models, footage: &Footage) -> anyhow::Result<Vec<Option<Face>>> {
    let Frames { width, height, rgb } = Picture::of(footage).frames()?;
    let mut tracker = Tracker::new(models)?;
    let mut faces = Vec::new();
    for (i, rgb) in rgb.iter().enumerate() {
        let t_ms = i as i64 * 1000 / i64::from(FPS);
        let seen = tracker.see(i as u32, t_ms, &Frame::new(width, height, rgb)?)?;
        faces.push(seen.face.map(|f| {
            let (w, h) = (width as f32, height as f32);
            [f.area.left / w, f.area.top / h, f.area.width / w, f.area.height / h]
        }));
    }
    Ok(faces)
}
