//! `cameo eval pad`: how well live people are told from presentations of them.
//!
//! Every recording is shown as it is, and every live clip also as a simulated recapture; then all
//! of it again under degradations that meet both classes alike. All contenders see the same faces in
//! the same frames. A recording's frames are judged together as the service would (`pad` of the
//! policy), and one by one at the model's threshold.

mod report;
pub mod sources;

use crate::app;
use crate::config::Config;
use crate::domain::evidence::{ModelRole, SpoofEvidence, SpoofSample};
use crate::domain::verdict::Status;
use crate::env::thread_cpu_ms;
use crate::infer::antispoof::AntiSpoof;
use crate::infer::geometry::Area;
use crate::infer::manifest::Role;
use crate::infer::picture::Frame;
use crate::infer::track::Tracker;
use crate::infer::{Error, Models};
use crate::liveness::{Policy, judge_pad};
use crate::workshop::frames::Frames;

use super::contenders::{Absent, Contender, Named, contenders};
use super::{Comparison, progress};
pub use report::Report;
use sources::{Degradation, Source, Species};

const AS_IT_IS: &[Degradation] = &[Degradation::None];

/// Measure the anti-spoof models.
#[derive(Clone, Debug, clap::Args)]
pub struct PadArgs {
    /// What it has in common with other comparisons.
    #[command(flatten)]
    pub common: Comparison,
    /// Show everything as it is only, without degradations
    #[arg(long)]
    pub plain: bool,
}

/// Runs the measurement, prints the report and writes its plots.
///
/// # Errors
/// Where the recordings or the models can't be read.
pub fn run(args: &PadArgs, config: &Config) -> anyhow::Result<()> {
    let report = measure(args, config)?;
    args.common.publish(&report, || report.plots())
}

/// Measures every contender.
///
/// # Errors
/// Where the recordings or the models can't be read, or no model finds faces.
pub fn measure(args: &PadArgs, config: &Config) -> anyhow::Result<Report> {
    let extra = args.common.extra_models.as_deref();
    let (there, absent) = contenders(config, extra, Role::AntiSpoof)?;
    let finders = app::models(config)?;
    let sources = sources::all(&args.common.datasets)?;
    let degradations = if args.plain { AS_IT_IS } else { &Degradation::ALL[..] };
    let shows = shows(&sources, degradations);
    let bar = progress("presentations", shows.len());
    let mut presentations = Vec::new();
    let mut cost = vec![Cost::default(); there.len()];
    for (source, species, degradation) in shows {
        let frames = source.show(species, degradation)?;
        let faces = faces(&finders, &frames)?;
        let mut scores = Vec::new();
        for (contender, cost) in there.iter().zip(&mut cost) {
            scores.push(score(model(contender)?, &frames, &faces, cost)?);
        }
        presentations.push(Presentation {
            source: source.name.clone(),
            held_out: source.held_out,
            species,
            degradation,
            faceless: frames.rgb.len() - faces.len(),
            scores,
        });
        bar.inc(1);
    }
    bar.finish_and_clear();
    let rules = there
        .iter()
        .zip(cost)
        .map(|(c, cost)| {
            let threshold = model(c)?.threshold();
            Ok(Rule { name: c.name.clone(), threshold, ms_per_face: cost.mean_ms() })
        })
        .collect::<Result<Vec<_>, Error>>()?;
    Ok(report::of(&rules, &presentations, absent))
}

/// One recording under one species and degradation, and what each contender makes of its frames.
struct Presentation {
    source: String,
    held_out: bool,
    species: Species,
    degradation: Degradation,
    /// Frames in which no face was found.
    faceless: usize,
    /// By contender: the live probability of each frame with a face.
    scores: Vec<Vec<f32>>,
}

/// A contender and how it decides.
struct Rule {
    name: Named,
    threshold: f32,
    ms_per_face: f64,
}

impl Rule {
    /// What the default policy makes of a recording's frames. A photograph has one frame, so one is
    /// enough here.
    fn judge(&self, scores: &[f32]) -> Status {
        let sample = |(i, live): (usize, &f32)| SpoofSample {
            index: i as u32,
            t_ms: 500 * i as i64,
            live: *live,
        };
        let samples = scores.iter().enumerate().map(sample).collect();
        let mut policy = Policy::balanced().pad;
        policy.min_samples = 1;
        judge_pad(Some(&SpoofEvidence { threshold: self.threshold, samples }), &policy).status
    }
}

/// Every source as itself, and every live clip as each simulated species too.
fn shows<'s>(
    sources: &'s [Source],
    degradations: &[Degradation],
) -> Vec<(&'s Source, Species, Degradation)> {
    let mut shows = Vec::new();
    for source in sources {
        let simulated = (source.species == Species::Live).then_some(Species::SIMULATED);
        // Many photographs are like one another: shown once, as they are.
        let degradations = if source.species == Species::Press { AS_IT_IS } else { degradations };
        for species in std::iter::once(source.species).chain(simulated.into_iter().flatten()) {
            shows.extend(degradations.iter().map(|d| (source, species, *d)));
        }
    }
    shows
}

/// Where the face is in each frame that shows one, each frame looked at by itself.
fn faces(models: &Models, frames: &Frames) -> anyhow::Result<Vec<(usize, Area)>> {
    let mut faces = Vec::new();
    for (i, rgb) in frames.rgb.iter().enumerate() {
        let frame = Frame::new(frames.width, frames.height, rgb)?;
        if let Some(face) = Tracker::new(models)?.see(0, 0, &frame)?.face {
            faces.push((i, face.area));
        }
    }
    Ok(faces)
}

fn model(contender: &Contender) -> Result<&AntiSpoof, Error> {
    contender.models.antispoof.as_ref().ok_or(Error::RoleMissing(ModelRole::AntiSpoof))
}

/// CPU time spent on faces.
#[derive(Clone, Copy, Default)]
struct Cost {
    faces: usize,
    ms: f64,
}

impl Cost {
    fn mean_ms(self) -> f64 {
        self.ms / self.faces.max(1) as f64
    }
}

fn score(
    model: &AntiSpoof,
    frames: &Frames,
    faces: &[(usize, Area)],
    cost: &mut Cost,
) -> Result<Vec<f32>, Error> {
    let mut scores = Vec::new();
    for (i, area) in faces {
        let frame = Frame::new(frames.width, frames.height, &frames.rgb[*i])?;
        let crops = model.crops(&frame, area)?;
        let before = thread_cpu_ms();
        scores.push(model.live(&crops)?);
        cost.ms += thread_cpu_ms() - before;
        cost.faces += 1;
    }
    Ok(scores)
}
