//! Where a published log is read from: a folder of tiles, or a URL.

use std::io;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::client::Client;
use crate::tlog::publish::{Folder, Tiles};
use crate::tlog::tile::Tile;
use crate::tlog::{Checkpoint, LogKey, checkpoint};

/// A published log.
#[derive(Clone)]
pub(super) enum Source {
    /// Files.
    Folder(Folder),
    /// A prefix as in C2SP tlog-tiles.
    Url(Client),
}

impl Source {
    /// The log at this folder or below this URL prefix.
    pub(super) fn new(place: &str, credential: Option<&str>) -> Self {
        if place.starts_with("http://") || place.starts_with("https://") {
            let client = Client::new(place);
            Self::Url(credential.map_or_else(|| client.clone(), |c| client.with(c)))
        } else {
            Self::Folder(Folder::new(place))
        }
    }
}

impl Tiles for Source {
    fn get(&self, path: &str) -> io::Result<Option<Vec<u8>>> {
        let client = match self {
            Self::Folder(folder) => return folder.get(path),
            Self::Url(client) => client,
        };
        let answer =
            client.get(&format!("/{path}")).map_err(|e| io::Error::other(format!("{e:#}")))?;
        match answer.status {
            200 => Ok(Some(answer.body)),
            404 => Ok(None),
            status => Err(io::Error::other(format!("{path}: the server answered {status}"))),
        }
    }

    fn put(&self, _: &str, _: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn drop_partials(&self, _: &Tile) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }
}

/// The log's key as it is given: text, or the name of a file that holds it.
pub(super) fn log_key(given: &str) -> Result<LogKey> {
    let text = if given.contains('+') {
        given.to_owned()
    } else {
        std::fs::read_to_string(given)
            .with_context(|| format!("can't read the log's key {given}"))?
    };
    LogKey::parse(&text).context("the log's key")
}

/// A kept checkpoint, where one of the keys signed it.
pub(super) fn kept(file: Option<&PathBuf>, keys: &[LogKey]) -> Result<Option<Checkpoint>> {
    let Some(file) = file else { return Ok(None) };
    let note = std::fs::read(file)
        .with_context(|| format!("can't read the checkpoint {}", file.display()))?;
    match checkpoint::open(&note, keys) {
        Ok(kept) => Ok(Some(kept)),
        Err(e) => bail!("the checkpoint {}: {e}", file.display()),
    }
}

/// A bar for so many things; none where nobody looks.
pub(super) fn bar(what: &'static str) -> ProgressBar {
    let style = ProgressStyle::with_template(
        "{msg} {wide_bar} {human_pos} of {human_len}, {per_sec}, {eta} left",
    );
    let bar = ProgressBar::new(0).with_message(what);
    style.map_or_else(|_| bar.clone(), |s| bar.clone().with_style(s))
}
