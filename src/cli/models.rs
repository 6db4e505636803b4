//! `cameo models`: install the models, list them, verify what is installed.

use std::cell::RefCell;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::app;
use crate::config::Config;
use crate::infer::install::{Clients, Installer, Outcome, Places, Progress, State, state};
use crate::infer::manifest::{Manifest, Model, Role, Set, Source};

/// Install, list and verify the models.
#[derive(Debug, Args)]
pub struct ModelsArgs {
    #[command(subcommand)]
    command: ModelsCommand,
}

#[derive(Debug, Subcommand)]
enum ModelsCommand {
    /// Fetch, check, convert and install a set of models.
    Install(InstallArgs),
    /// List every model of the manifest.
    List {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Check the installed files against the manifest; the exit status says whether a set is whole.
    Verify {
        /// The set that has to be whole.
        #[arg(long, default_value_t)]
        set: Set,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
struct InstallArgs {
    /// Ids of single models to install instead of a set.
    #[arg(value_name = "MODEL", conflicts_with = "set")]
    models: Vec<String>,
    /// The set to install.
    #[arg(long, default_value_t)]
    set: Set,
    /// A folder with package files or models, looked into before anything is fetched.
    #[arg(long, value_name = "DIR")]
    from: Option<PathBuf>,
    /// The repository's folder of committed models.
    #[arg(long, value_name = "DIR", default_value = "onnx")]
    builtin: PathBuf,
    /// Print one JSON object: what became of each model
    #[arg(long)]
    json: bool,
}

/// Runs the subcommand on the manifest and the folder that the configuration names.
pub fn run(args: &ModelsArgs, config: &Config) -> anyhow::Result<ExitCode> {
    let manifest = app::manifest(config.models.manifest.as_deref())?;
    let dir = &config.models.dir;
    match &args.command {
        ModelsCommand::Install(install) => self::install(dir, install, &manifest),
        ModelsCommand::List { json } => list(dir, &manifest, *json),
        ModelsCommand::Verify { set, json } => verify(dir, &manifest, *set, *json),
    }
}

fn install(dir: &Path, what: &InstallArgs, manifest: &Manifest) -> anyhow::Result<ExitCode> {
    let models: Vec<&Model> = if what.models.is_empty() {
        manifest.set(what.set).collect()
    } else {
        let find = |id: &String| {
            manifest.model(id).with_context(|| {
                format!("the manifest has no model {id}; `cameo models list` names them all")
            })
        };
        what.models.iter().map(find).collect::<anyhow::Result<_>>()?
    };
    if let Some(from) = what.from.as_ref().filter(|f| !f.is_dir()) {
        bail!("{} is not a folder", from.display());
    }
    let places =
        Places { dir: dir.to_owned(), builtin: what.builtin.clone(), from: what.from.clone() };
    let display = Display::new();
    let installer = Installer::new(manifest, places, Clients::default(), &display)?;
    // One model that can't be had does not keep the others away.
    let (mut failed, mut became) = (0, serde_json::Map::new());
    for model in models {
        let said = match installer.install(model) {
            Ok(Outcome::AlreadyThere) => "already installed".to_owned(),
            Ok(Outcome::Installed) => "installed".to_owned(),
            Err(error) => {
                failed += 1;
                error.to_string()
            }
        };
        if what.json {
            became.insert(model.id.clone(), said.into());
        } else {
            line(&format!("{}: {said}", model.id));
        }
    }
    if what.json {
        line(&serde_json::json!({ "models": became, "failed": failed }).to_string());
    }
    if failed > 0 {
        bail!("{failed} of the models could not be installed");
    }
    Ok(ExitCode::SUCCESS)
}

/// A model as `list` and `verify` print it.
#[derive(Serialize)]
struct Row<'a> {
    id: &'a str,
    role: Role,
    sets: &'a [Set],
    adapter: &'static str,
    state: State,
    file: &'a str,
    bytes: u64,
    sha256: String,
    licence: &'a str,
    source: String,
}

impl<'a> Row<'a> {
    fn new(dir: &Path, manifest: &Manifest, model: &'a Model) -> Self {
        Self {
            id: &model.id,
            role: model.role,
            sets: &model.sets,
            adapter: model.adapter.name(),
            state: state(model, dir),
            file: &model.file,
            bytes: model.bytes,
            sha256: model.sha256.to_string(),
            licence: &model.licence,
            source: source(manifest, &model.source),
        }
    }
}

/// A source in a few words.
fn source(manifest: &Manifest, source: &Source) -> String {
    match source {
        Source::Package { package, .. } => manifest
            .package(package)
            .map_or_else(|| package.clone(), |p| format!("{} {}", p.name, p.version)),
        Source::Url { url, .. } => url.clone(),
        Source::Builtin { path, .. } => format!("this repository: {}", path.display()),
        Source::File { name, .. } => format!("--from: {name}"),
    }
}

fn list(dir: &Path, manifest: &Manifest, json: bool) -> anyhow::Result<ExitCode> {
    let rows: Vec<Row<'_>> = manifest.models().iter().map(|m| Row::new(dir, manifest, m)).collect();
    let mut out = io::stdout().lock();
    if json {
        serde_json::to_writer_pretty(&mut out, &rows)?;
        writeln!(out)?;
        return Ok(ExitCode::SUCCESS);
    }
    let header = ["MODEL", "ROLE", "SETS", "STATE", "LICENCE"];
    writeln!(
        out,
        "{:16} {:16} {:21} {:10} {:10} SOURCE",
        header[0], header[1], header[2], header[3], header[4]
    )?;
    for row in rows {
        let sets: Vec<_> = row.sets.iter().map(|s| s.name()).collect();
        writeln!(
            out,
            "{:16} {:16} {:21} {:10} {:10} {}",
            row.id,
            row.role,
            sets.join(","),
            row.state.name(),
            row.licence,
            row.source
        )?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What `verify` found.
#[derive(Serialize)]
struct Report<'a> {
    set: Set,
    /// Whether every model of the set is installed.
    whole: bool,
    roles: Vec<RoleReport<'a>>,
}

#[derive(Serialize)]
struct RoleReport<'a> {
    role: Role,
    /// Whether the set itself has a model for the role; else the other set's are shown, which
    /// are used where they are installed.
    in_set: bool,
    models: Vec<Row<'a>>,
}

fn verify(dir: &Path, manifest: &Manifest, set: Set, json: bool) -> anyhow::Result<ExitCode> {
    let roles: Vec<RoleReport<'_>> = Role::ALL
        .into_iter()
        .map(|role| {
            let models = manifest.filling(set, role);
            RoleReport {
                role,
                in_set: models.iter().any(|m| m.sets.contains(&set)),
                models: models.into_iter().map(|m| Row::new(dir, manifest, m)).collect(),
            }
        })
        .collect();
    let whole = roles
        .iter()
        .filter(|r| r.in_set)
        .all(|r| r.models.iter().all(|m| m.state == State::Installed));
    let report = Report { set, whole, roles };
    let mut out = io::stdout().lock();
    if json {
        serde_json::to_writer_pretty(&mut out, &report)?;
        writeln!(out)?;
    } else {
        print_report(&mut out, &report, dir)?;
    }
    Ok(if whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print_report(out: &mut impl Write, report: &Report<'_>, dir: &Path) -> anyhow::Result<()> {
    for role in &report.roles {
        if role.models.is_empty() {
            writeln!(out, "{:16} no model in the manifest", role.role)?;
        }
        for model in &role.models {
            let note = if role.in_set { "" } else { "  (not in this set)" };
            writeln!(out, "{:16} {:16} {}{note}", role.role, model.id, model.state.name())?;
        }
    }
    let (set, dir) = (report.set, dir.display());
    if report.whole {
        writeln!(out, "the {set} set is whole in {dir}")?;
    } else {
        writeln!(
            out,
            "the {set} set is not whole in {dir}: run `cameo models install --set {set}`"
        )?;
    }
    Ok(())
}

/// Progress for people: bars on a terminal, a line per step elsewhere. Goes to standard error.
#[derive(Debug)]
struct Display {
    terminal: bool,
    bar: RefCell<Option<ProgressBar>>,
}

impl Display {
    fn new() -> Self {
        Self { terminal: io::stderr().is_terminal(), bar: RefCell::new(None) }
    }
}

/// Prints a line to standard error.
fn line(text: &str) {
    // Nobody is left to tell where standard error is closed.
    let _ = writeln!(io::stderr().lock(), "{text}");
}

impl Progress for Display {
    fn begin(&self, step: &str, bytes: Option<u64>) {
        if !self.terminal {
            // Checks are too short to be worth a line of a log.
            if !step.ends_with(": check") {
                line(step);
            }
            return;
        }
        let bar = match bytes {
            Some(n) => ProgressBar::new(n).with_style(
                ProgressStyle::with_template("{msg} {wide_bar} {bytes}/{total_bytes} {eta}")
                    .unwrap_or_else(|_| ProgressStyle::default_bar()),
            ),
            None => ProgressBar::new_spinner(),
        };
        bar.set_message(step.to_owned());
        bar.enable_steady_tick(Duration::from_millis(100));
        self.bar.replace(Some(bar));
    }

    fn advance(&self, bytes: u64) {
        if let Some(bar) = self.bar.borrow().as_ref() {
            bar.inc(bytes);
        }
    }

    fn end(&self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: ModelsArgs,
    }

    fn args(words: &[&str]) -> Result<ModelsArgs, clap::Error> {
        Cli::try_parse_from([&["models"], words].concat()).map(|c| c.args)
    }

    #[test]
    fn the_command_line_is_read() {
        let a = args(&["install", "--set", "recommended", "--from", "/x"]).unwrap();
        let ModelsCommand::Install(i) = a.command else { panic!("not install") };
        assert_eq!((i.set, i.from.as_deref()), (Set::Recommended, Some(Path::new("/x"))));
        assert!(args(&["install", "--set", "hermetic", "silero_vad"]).is_err());
        assert!(args(&["install", "--set", "best"]).is_err());
    }

    /// The configuration of a service whose models lie in `dir`.
    fn config(dir: &Path) -> Config {
        let mut config = Config::default();
        config.models.dir = dir.to_owned();
        config
    }

    #[test]
    fn an_empty_folder_is_not_whole() {
        let dir = tempfile::tempdir().unwrap();
        let a = args(&["verify"]).unwrap();
        assert_eq!(run(&a, &config(dir.path())).unwrap(), ExitCode::FAILURE);
        let mut out = Vec::new();
        let manifest = Manifest::embedded().unwrap();
        let models = manifest.filling(Set::Hermetic, Role::FaceMesh);
        let models = models.into_iter().map(|m| Row::new(dir.path(), &manifest, m)).collect();
        let roles = vec![RoleReport { role: Role::FaceMesh, in_set: true, models }];
        let report = Report { set: Set::Hermetic, whole: false, roles };
        print_report(&mut out, &report, dir.path()).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains("missing") && text.contains("cameo models install"), "{text}");
    }

    #[test]
    fn an_unknown_model_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let a = args(&["install", "nothing"]).unwrap();
        assert!(run(&a, &config(dir.path())).unwrap_err().to_string().contains("no model nothing"));
    }
}
