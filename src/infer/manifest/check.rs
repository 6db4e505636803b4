//! What has to hold of a manifest beyond its syntax.

use std::collections::BTreeSet;
use std::path::{Component, Path};

use super::adapter::{
    Adapter, Alignment, AntiSpoof, BlazeFace, FaceEmbedding, FaceMesh, ImageInput, SileroVad,
    VoiceEncoder, Whisper, WhisperDigits, YuNet,
};
use super::{Converter, Manifest, ManifestError, Model, Package, Source};

/// Largest model file, and largest file that one is made from.
const MOST_BYTES: u64 = 1 << 30;

/// Vertices of the face mesh.
const MESH_VERTICES: u16 = 468;

/// What is wrong with one value.
type Check = Result<(), String>;

pub(super) fn manifest(m: &Manifest) -> Result<(), ManifestError> {
    if m.version != 1 {
        return Err(ManifestError::Version { found: m.version });
    }
    for (key, p) in &m.packages {
        package(p).map_err(|problem| ManifestError::Entry { entry: key.clone(), problem })?;
    }
    for x in &m.models {
        model(m, x).map_err(|problem| ManifestError::Entry { entry: x.id.clone(), problem })?;
    }
    no_duplicates(m)
}

fn no_duplicates(m: &Manifest) -> Result<(), ManifestError> {
    let mut taken = BTreeSet::new();
    let mut claim = |what: String| {
        if taken.insert(what.clone()) { Ok(()) } else { Err(ManifestError::Duplicate { what }) }
    };
    for p in m.packages.values() {
        claim(format!("the package file {}", p.file))?;
    }
    for x in &m.models {
        claim(format!("the id {}", x.id))?;
        claim(format!("the file {}", x.file))?;
        for set in &x.sets {
            if x.role.is_ensemble() {
                claim(format!("{} in the set {set}", x.id))?;
            } else {
                claim(format!("the role {} in the set {set}", x.role))?;
            }
        }
    }
    Ok(())
}

fn package(p: &Package) -> Check {
    file_name(&p.file)?;
    size(p.bytes)?;
    // The name and version become arguments of a package client: no option, no path, no address.
    let plain = |s: &str, extra: &str| {
        !s.is_empty()
            && s.len() <= 100
            && !s.starts_with(['-', '.', '/'])
            && s.chars().all(|c| c.is_ascii_alphanumeric() || extra.contains(c))
    };
    need(
        plain(&p.name, "@/._-") && !p.name.contains(".."),
        "a package name has letters, digits, `@`, `/`, `.`, `_` and `-`",
    )?;
    need(
        plain(&p.version, ".+-"),
        "a package version has letters, digits, `.`, `+` and `-` (one exact version, no range)",
    )
}

fn model(m: &Manifest, x: &Model) -> Check {
    need(
        !x.id.is_empty()
            && x.id.len() <= 64
            && x.id
                .bytes()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || b"_-".contains(&c)),
        "an id has lower-case letters, digits, `_` and `-`",
    )?;
    need(!x.sets.is_empty(), "a model belongs to at least one set")?;
    need(!x.licence.trim().is_empty(), "the licence is missing")?;
    file_name(&x.file)?;
    size(x.bytes)?;
    need(
        x.adapter.role() == x.role,
        &format!("the adapter {} does not fill the role {}", x.adapter.name(), x.role),
    )?;
    let members = source(m, &x.source)?;
    converter(&x.converter, members)?;
    match &x.adapter {
        Adapter::Blazeface(a) => blazeface(a),
        Adapter::Yunet(a) => yunet(a),
        Adapter::Facemesh(a) => facemesh(a),
        Adapter::FaceEmbedding(a) => face_embedding(a),
        Adapter::AntiSpoof(a) => anti_spoof(a),
        Adapter::SileroVad(a) => silero(a),
        Adapter::VoiceEncoder(a) => voice(a),
        Adapter::Whisper(a) => whisper(a),
        Adapter::WhisperDigits(a) => whisper_digits(a),
    }
}

/// Checks a source; answers how many files it yields.
fn source(m: &Manifest, s: &Source) -> Result<usize, String> {
    match s {
        Source::Package { package, members } => {
            need(m.package(package).is_some(), &format!("there is no package {package}"))?;
            for member in members {
                size(member.bytes)?;
                relative(Path::new(&member.path))?;
            }
            Ok(members.len())
        }
        Source::Url { url, bytes, .. } => {
            size(*bytes)?;
            need(
                url.starts_with("https://") && !url.contains(char::is_whitespace),
                "the address must begin with https://",
            )?;
            Ok(1)
        }
        Source::Builtin { path, bytes, .. } => {
            size(*bytes)?;
            relative(path)?;
            Ok(1)
        }
        Source::File { name, bytes, .. } => {
            size(*bytes)?;
            file_name(name)?;
            Ok(1)
        }
    }
}

fn converter(c: &Converter, members: usize) -> Check {
    let wanted = match c {
        Converter::Tfjs { input, outputs } => {
            need(!input.is_empty(), "the graph's input needs a name")?;
            need(!outputs.is_empty(), "the graph needs at least one output")?;
            let names: BTreeSet<_> = outputs.iter().map(|o| &o.to).chain([input]).collect();
            need(
                names.len() == outputs.len() + 1,
                "the graph's input and outputs need names of their own",
            )?;
            2
        }
        Converter::None | Converter::Zstd | Converter::DlibResnet | Converter::TorchLstm => 1,
    };
    need(
        members == wanted,
        &format!("the converter needs {wanted} source files, the source has {members}"),
    )
}

fn blazeface(a: &BlazeFace) -> Check {
    image(&a.image)?;
    need(!a.grids.is_empty(), "the detector needs at least one grid")?;
    for g in &a.grids {
        within("cells", f64::from(g.cells), 1.0, 256.0)?;
        within("anchors", f64::from(g.anchors), 1.0, 32.0)?;
    }
    fraction("score_threshold", a.score_threshold)?;
    fraction("nms_iou", a.nms_iou)
}

fn yunet(a: &YuNet) -> Check {
    image(&a.image)?;
    need(!a.strides.is_empty(), "the detector needs at least one stride")?;
    for s in &a.strides {
        within("strides", f64::from(*s), 1.0, 256.0)?;
    }
    fraction("score_threshold", a.score_threshold)?;
    fraction("nms_iou", a.nms_iou)
}

fn facemesh(a: &FaceMesh) -> Check {
    image(&a.image)?;
    within("crop_scale", f64::from(a.crop_scale), 0.5, 8.0)?;
    fraction("presence_threshold", a.presence_threshold)
}

fn face_embedding(a: &FaceEmbedding) -> Check {
    image(&a.image)?;
    alignment(&a.alignment)?;
    within("dimensions", f64::from(a.dimensions), 1.0, 4096.0)?;
    within("same_person", f64::from(a.same_person), 0.0, 1000.0)?;
    within("duplicate", f64::from(a.duplicate.unwrap_or(0.0)), 0.0, f64::from(a.same_person))
}

fn alignment(a: &Alignment) -> Check {
    within("padding", f64::from(a.padding), 0.0, 4.0)?;
    need(a.points.len() >= 2, "an alignment template needs at least two points")?;
    for p in &a.points {
        need(!p.vertices.is_empty(), "a template point needs at least one vertex")?;
        need(p.vertices.iter().all(|v| *v < MESH_VERTICES), "the mesh has the vertices 0 to 467")?;
        within("x", f64::from(p.x), -1.0, 2.0)?;
        within("y", f64::from(p.y), -1.0, 2.0)?;
    }
    Ok(())
}

fn anti_spoof(a: &AntiSpoof) -> Check {
    image(&a.image)?;
    within("crop_scale", f64::from(a.crop_scale), 0.5, 8.0)?;
    within("classes", f64::from(a.classes), 2.0, 1000.0)?;
    need(a.live_class < a.classes, "live_class must be below classes")?;
    if let Some(c) = a.calibration {
        within("calibration.slope", f64::from(c.slope), 0.001, 100.0)?;
        within("calibration.offset", f64::from(c.offset), -100.0, 100.0)?;
        within("calibration.limit", f64::from(c.limit), 0.01, 20.0)?;
    }
    fraction("threshold", a.threshold)
}

fn silero(a: &SileroVad) -> Check {
    sample_rate(a.sample_rate)?;
    within("window", f64::from(a.window), 1.0, 65_536.0)?;
    within("context", f64::from(a.context), 0.0, f64::from(a.window))?;
    within("state", f64::from(a.state), 1.0, 4096.0)?;
    fraction("threshold", a.threshold)
}

fn voice(a: &VoiceEncoder) -> Check {
    sample_rate(a.sample_rate)?;
    within("dimensions", f64::from(a.dimensions), 1.0, 4096.0)?;
    within("n_fft", f64::from(a.n_fft), 16.0, 16_384.0)?;
    within("hop", f64::from(a.hop), 1.0, f64::from(a.n_fft))?;
    within("mel_bands", f64::from(a.mel_bands), 1.0, 512.0)?;
    within("window_frames", f64::from(a.window_frames), 1.0, 10_000.0)?;
    within("windows_per_second", f64::from(a.windows_per_second), 0.01, 100.0)?;
    fraction("least_coverage", a.least_coverage)?;
    within("level_dbfs", f64::from(a.level_dbfs), -120.0, 0.0)?;
    within("same_speaker", f64::from(a.same_speaker), 0.0, 1000.0)
}

fn whisper(a: &Whisper) -> Check {
    need(
        (2..=3).contains(&a.language.len()) && a.language.bytes().all(|c| c.is_ascii_lowercase()),
        "the language is a code of two or three lower-case letters",
    )?;
    within("window_ms", f64::from(a.window_ms), 1000.0, 30_000.0)
}

fn whisper_digits(a: &WhisperDigits) -> Check {
    within("window_ms", f64::from(a.window_ms), 1000.0, 30_000.0)?;
    within("most_digits", f64::from(a.most_digits), 1.0, 400.0)?;
    let tokens: BTreeSet<_> = a.digit_tokens.iter().collect();
    need(tokens.len() == a.digit_tokens.len(), "each digit has a token of its own")?;
    a.least_mean_logprob.map_or(Ok(()), |p| within("least_mean_logprob", f64::from(p), -100.0, 0.0))
}

fn image(i: &ImageInput) -> Check {
    need(!i.tensor.is_empty(), "the image input needs the tensor's name")?;
    within("width", f64::from(i.width), 8.0, 4096.0)?;
    within("height", f64::from(i.height), 8.0, 4096.0)?;
    for m in i.mean {
        within("mean", f64::from(m), -1000.0, 1000.0)?;
    }
    for s in i.std {
        within("std", f64::from(s), 1e-6, 1e6)?;
    }
    Ok(())
}

fn sample_rate(hz: u32) -> Check {
    within("sample_rate", f64::from(hz), 8000.0, 48_000.0)
}

fn size(bytes: u64) -> Check {
    need((1..=MOST_BYTES).contains(&bytes), "bytes must be between 1 and 1 GiB")
}

/// A bare file name, visible and without anything that a shell or a file system takes specially.
fn file_name(name: &str) -> Check {
    need(
        !name.is_empty()
            && name.len() <= 120
            && name.starts_with(|c: char| c.is_ascii_alphanumeric())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || "._+-".contains(c)),
        "a file name has letters, digits, `.`, `_`, `+` and `-`, and begins with a letter or digit",
    )
}

fn relative(path: &Path) -> Check {
    need(
        path.components().count() > 0
            && path.components().all(|c| matches!(c, Component::Normal(_))),
        "a path must be relative and stay inside its folder",
    )
}

fn fraction(name: &str, v: f32) -> Check {
    within(name, f64::from(v), 0.0, 1.0)
}

fn within(name: &str, v: f64, least: f64, most: f64) -> Check {
    // Written so that NaN fails.
    need(v >= least && v <= most, &format!("{name} must be between {least} and {most}, not {v}"))
}

fn need(holds: bool, problem: &str) -> Check {
    if holds { Ok(()) } else { Err(problem.to_owned()) }
}
