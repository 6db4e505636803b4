//! Fetching package files through the package clients that are on the machine.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use super::archive::is_wheel;
use crate::infer::manifest::{Client, Package};

/// The package clients, and how long to wait for one.
#[derive(Clone, Debug)]
pub struct Clients {
    /// The `npm` program.
    pub npm: OsString,
    /// The Python interpreter whose `pip` is used.
    pub python: OsString,
    /// After this time a client is stopped.
    pub timeout: Duration,
}

impl Default for Clients {
    fn default() -> Self {
        Self { npm: "npm".into(), python: "python3".into(), timeout: Duration::from_mins(20) }
    }
}

/// Why a package client did not deliver.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// It isn't on this machine.
    #[error("{program} is not on this machine: {advice}")]
    NotThere {
        /// The program.
        program: String,
        /// What to do.
        advice: &'static str,
    },
    /// It could not be run.
    #[error("can't run {program}: {source}")]
    Run {
        /// The program.
        program: String,
        /// The cause.
        source: io::Error,
    },
    /// It ended with an error.
    #[error("{program} could not fetch {package} ({status}): {said}")]
    Failed {
        /// The program.
        program: String,
        /// The package.
        package: String,
        /// How it ended.
        status: ExitStatus,
        /// The end of what it said.
        said: String,
    },
    /// It took too long.
    #[error("{program} did not fetch {package} within {} s", timeout.as_secs())]
    TimedOut {
        /// The program.
        program: String,
        /// The package.
        package: String,
        /// The time it had.
        timeout: Duration,
    },
    /// It ended well but left something else than the manifest expects.
    #[error("{program} left no file {file}")]
    NoFile {
        /// The program.
        program: String,
        /// The file it should have left.
        file: String,
    },
}

impl Clients {
    /// Fetches a package file into the folder `into`; answers its path. `alive` is called while
    /// waiting.
    pub(super) fn fetch(
        &self,
        package: &Package,
        into: &Path,
        alive: &dyn Fn(),
    ) -> Result<PathBuf, ClientError> {
        let (program, mut command, advice) = match package.client {
            Client::Npm => ("npm", self.npm_pack(package, into), "install Node.js with npm"),
            Client::Pip => {
                let command = self
                    .pip_download(package, into)
                    .map_err(|source| ClientError::Run { program: "pip".to_owned(), source })?;
                ("pip", command, "install Python 3 with pip")
            }
        };
        let program = program.to_owned();
        let run = |source| ClientError::Run { program: program.clone(), source };
        let mut log = tempfile::tempfile_in(into).map_err(run)?;
        let output = |log: &File| log.try_clone().map(Stdio::from);
        command
            .stdin(Stdio::null())
            .stdout(output(&log).map_err(run)?)
            .stderr(output(&log).map_err(run)?);
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                return Err(ClientError::NotThere { program, advice });
            }
            Err(e) => return Err(run(e)),
        };
        let status = wait(&mut child, self.timeout, alive).map_err(run)?;
        let Some(status) = status else {
            let package = package.name.clone();
            return Err(ClientError::TimedOut { program, package, timeout: self.timeout });
        };
        if !status.success() {
            let (package, said) = (package.name.clone(), last_words(&mut log));
            return Err(ClientError::Failed { program, package, status, said });
        }
        let path = into.join(&package.file);
        if path.is_file() {
            Ok(path)
        } else {
            Err(ClientError::NoFile { program, file: package.file.clone() })
        }
    }

    fn npm_pack(&self, package: &Package, into: &Path) -> Command {
        let mut command = Command::new(&self.npm);
        command
            .arg("pack")
            .arg(format!("{}@{}", package.name, package.version))
            .arg("--pack-destination")
            .arg(into)
            .args(["--ignore-scripts", "--loglevel=error"]);
        command
    }

    /// The hash goes along, so that pip refuses another file before it looks into it: reading the
    /// metadata of a source package runs that package's `setup.py`.
    fn pip_download(&self, package: &Package, into: &Path) -> io::Result<Command> {
        let requirements = into.join(format!("{}.requirements.txt", package.file));
        let line =
            format!("{}=={} --hash=sha256:{}\n", package.name, package.version, package.sha256);
        fs::write(&requirements, line)?;
        let kind = if is_wheel(Path::new(&package.file)) { "--only-binary" } else { "--no-binary" };
        let mut command = Command::new(&self.python);
        command
            .args(["-m", "pip", "download", "--no-deps", "--no-input"])
            .args(["--disable-pip-version-check", "--progress-bar", "off"])
            .args([kind, &package.name])
            .arg("--dest")
            .arg(into)
            .arg("--requirement")
            .arg(&requirements);
        Ok(command)
    }
}

/// Waits for the child; stops it after `timeout` and then answers `None`.
fn wait(child: &mut Child, timeout: Duration, alive: &dyn Fn()) -> io::Result<Option<ExitStatus>> {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if start.elapsed() > timeout {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        alive();
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The last lines of a log, on one line.
fn last_words(log: &mut File) -> String {
    const MOST: u64 = 1200;
    let mut tail = Vec::new();
    let read = log
        .seek(SeekFrom::End(0))
        .and_then(|end| log.seek(SeekFrom::Start(end.saturating_sub(MOST))))
        .and_then(|_| log.take(MOST).read_to_end(&mut tail));
    if read.is_err() {
        return "(it left no readable output)".to_owned();
    }
    let text = String::from_utf8_lossy(&tail);
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
    lines[lines.len().saturating_sub(4)..].join(" | ")
}
