//! The shape of the house, checked over its text: which room may import which (the rule in
//! `src/lib.rs`), which crate is named where, how long a file may grow, and that nothing in the
//! project names a machine of its makers or the host of a package registry.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The rooms, from the bottom up. A room imports only what stands in a row above it in this table;
/// those in one row never import each other.
const FLOORS: &[&[&str]] = &[
    &["env"],
    &["domain"],
    &["crypto"],
    &["tlog", "token"],
    &["receipt"],
    &["store", "infer", "media", "liveness", "identity", "search", "drawn", "workshop", "outbound"],
    &["service"],
    &["http", "config"],
    &["app"],
    &["cli"],
];

/// Macros that stand at the crate's root, and the room they belong to.
const MACROS: &[(&str, &str)] = &[("run_tx", "store"), ("run_batched", "store")];

/// Crates that are named in some rooms only.
const KEPT: &[(&str, &[&str])] = &[
    ("anyhow", &["app", "cli"]),
    ("axum", &["http"]),
    ("ffmpeg_the_third", &["media"]),
    ("hpke", &["crypto"]),
    ("landlock", &["media"]),
    ("opencv", &["infer"]),
    ("ort", &["infer"]),
    ("ring", &["crypto"]),
    ("seccompiler", &["media"]),
    ("sqlx", &["store"]),
    ("whisper_rs", &["infer"]),
];

/// Lines that a file may have. One that has more tells two stories.
const LONGEST: usize = 600;

/// Files that are longer, with what excuses them.
const LONG: &[(&str, &str)] = &[
    ("src/config.rs", "every setting with its default, its meaning and its bounds"),
    ("src/store/verifications.rs", "a third of it is the aggregate's own tests"),
    ("src/infer/whisper.rs", "the only user of whisper.cpp's interface"),
    ("tests/it/liveness.rs", "one scenario after the other"),
];

#[test]
fn imports_point_one_way() {
    let mut wrong = Vec::new();
    for source in sources() {
        if source.room == "lib" {
            continue; // The map itself.
        }
        let here = floor(&source.room);
        for (line, name) in source.roots() {
            let name = MACROS.iter().find(|(m, _)| *m == name).map_or(name, |(_, room)| *room);
            if name == source.room || name == "cameo" {
                continue;
            }
            match (floor(name), here) {
                (None, _) => {
                    wrong.push(format!("{}:{line}: {name} stands in no floor", source.path));
                }
                // main.rs opens any door.
                (_, None) => {}
                (Some(there), Some(here)) if there < here => {}
                _ => wrong.push(format!("{}:{line}: {} imports {name}", source.path, source.room)),
            }
        }
    }
    assert!(wrong.is_empty(), "against the import rule in src/lib.rs:\n{}", wrong.join("\n"));
}

#[test]
fn every_room_stands_in_a_floor_and_in_the_map() {
    let map = read(Path::new("src/lib.rs"));
    for source in sources() {
        let room = &source.room;
        if room == "lib" || room == "main" {
            continue;
        }
        assert!(floor(room).is_some(), "{} belongs to no floor", source.path);
        assert!(map.contains(&format!("mod {room};")), "src/lib.rs does not declare {room}");
    }
}

#[test]
fn some_crates_are_named_in_their_rooms_only() {
    let mut wrong = Vec::new();
    for source in sources() {
        for (number, line) in source.lines() {
            for (name, rooms) in KEPT {
                if names_crate(line, name) && !rooms.contains(&source.room.as_str()) {
                    wrong.push(format!("{}:{number}: names {name}", source.path));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "kept out of these rooms:\n{}", wrong.join("\n"));
}

#[test]
fn files_stay_readable() {
    let mut long = Vec::new();
    for path in files("src").into_iter().chain(files("tests")) {
        if !has_extension(&path, "rs") {
            continue;
        }
        let lines = read(&path).lines().count();
        let name = path.to_string_lossy();
        if lines > LONGEST && !LONG.iter().any(|(p, _)| *p == name) {
            long.push(format!("{name}: {lines} lines"));
        }
    }
    assert!(long.is_empty(), "split these, or excuse them in {}:\n{}", file!(), long.join("\n"));
}

#[test]
fn nothing_names_a_registry_or_a_machine() {
    // In two halves, so that this file does not name them.
    let forbidden: Vec<String> = [
        ("crates", ".io"),
        ("pypi", ".org"),
        ("python", "hosted"),
        ("npm", "js."),
        ("registry", ".npm"),
        ("static.", "rust-lang"),
        ("/work", "/"),
        ("/root", "/"),
        ("/home", "/"),
        ("../", "shared"),
    ]
    .iter()
    .map(|(a, b)| format!("{a}{b}"))
    .collect();
    // The lock file is cargo's. The checks may use what lies beside the checkout.
    let free = ["Cargo.lock", ".ci/run"];
    let mut wrong = Vec::new();
    for path in files(".") {
        let path = path.strip_prefix(".").map_or(path.clone(), Path::to_path_buf);
        let name = path.to_string_lossy();
        let Ok(text) = fs::read_to_string(root().join(&path)) else { continue };
        if free.contains(&name.as_ref()) {
            continue;
        }
        for (number, line) in text.lines().enumerate() {
            for word in &forbidden {
                // The end of a longer path is something else.
                let starts = |at: usize| {
                    !word.starts_with('/')
                        || !line[..at]
                            .ends_with(|c: char| c.is_alphanumeric() || "})-_.".contains(c))
                };
                if line.match_indices(word.as_str()).any(|(at, _)| starts(at)) {
                    wrong.push(format!("{name}:{}: names {word}", number + 1));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A source file of the crate, without its tests: they may look anywhere.
struct Source {
    /// From the repository's root.
    path: String,
    /// The module of the crate's root that it belongs to.
    room: String,
    text: String,
}

impl Source {
    /// The lines of code with their numbers, without comments.
    fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        let code = |line| match str::find(line, "//") {
            // `https://…` in a text is no comment.
            Some(at) if !line[..at].ends_with(':') => &line[..at],
            _ => line,
        };
        self.text.lines().enumerate().map(move |(i, line)| (i + 1, code(line)))
    }

    /// What the file names right below `crate::` (or, in the program, `cameo::`), with the line.
    fn roots(&self) -> Vec<(usize, &str)> {
        let prefix = if self.room == "main" { "cameo::" } else { "crate::" };
        let mut found = Vec::new();
        for (number, line) in self.lines() {
            for (at, _) in line.match_indices(prefix) {
                if line[..at].ends_with(is_word) {
                    continue;
                }
                let rest = &line[at + prefix.len()..];
                assert!(
                    !rest.starts_with('{'),
                    "{}:{number}: name one room a line, so that this test can read it",
                    self.path
                );
                found.push((number, word(rest)));
            }
        }
        found
    }
}

fn sources() -> Vec<Source> {
    let all = files("src").into_iter().filter(|p| has_extension(p, "rs"));
    let mut sources = Vec::new();
    for path in all.filter(|p| p.file_stem().is_some_and(|s| s != "tests")) {
        let room = path.iter().nth(1).unwrap().to_string_lossy();
        let text = read(&path);
        sources.push(Source {
            room: room.trim_end_matches(".rs").to_owned(),
            path: path.to_string_lossy().into_owned(),
            text: without_tests(&text),
        });
    }
    assert!(sources.len() > 50, "the sources were not found");
    sources
}

/// Leaves out what follows `#[cfg(test)]` until its block is closed at the same depth.
fn without_tests(text: &str) -> String {
    let mut kept = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.trim() != "#[cfg(test)]" {
            kept.push_str(line);
            kept.push('\n');
            continue;
        }
        kept.push('\n');
        let depth = line.len() - line.trim_start().len();
        for line in lines.by_ref() {
            kept.push('\n');
            let indented = line.len() - line.trim_start().len();
            if indented == depth && line.trim_end().ends_with(['}', ';']) {
                break;
            }
        }
    }
    kept
}

/// The height of a room's floor.
fn floor(room: &str) -> Option<usize> {
    FLOORS.iter().position(|rooms| rooms.contains(&room))
}

/// Whether `line` names the crate: `name::…` at the start of a path, or `use name;`.
fn names_crate(line: &str, name: &str) -> bool {
    line.match_indices(name).any(|(at, _)| {
        let (before, after) = (&line[..at], &line[at + name.len()..]);
        let starts = !before.ends_with(|c| is_word(c) || c == ':' || c == '"');
        let used = before.trim_end().ends_with("use") && !after.starts_with(is_word);
        starts && (after.starts_with("::") || used)
    })
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn word(text: &str) -> &str {
    text.find(|c| !is_word(c)).map_or(text, |end| &text[..end])
}

/// The project's files below `folder`, without what is built, fetched or made at run time.
fn files(folder: &str) -> Vec<PathBuf> {
    let made = ["target", "var", ".git", ".cache", "installed", "runtime", "__pycache__"];
    let mut found = Vec::new();
    let mut open = vec![PathBuf::from(folder)];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(root().join(&folder)).unwrap() {
            let entry = entry.unwrap();
            let path = folder.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                if !made.iter().any(|m| path.ends_with(m)) {
                    open.push(path);
                }
            } else if !made.iter().any(|m| path.ends_with(m)) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|e| e == extension)
}

fn read(path: &Path) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The checks themselves see what they should see.
#[test]
fn a_breach_is_seen() {
    let source = |room: &str, text: &str| Source {
        path: format!("src/{room}.rs"),
        room: room.into(),
        text: without_tests(text),
    };
    let domain = source("domain", "use crate::http::Router;\n// crate::cli\n");
    assert_eq!(domain.roots(), [(1, "http")]);
    let tested = source(
        "domain",
        "#[cfg(test)]\nmod tests {\n    use crate::cli;\n}\nuse crate::env::Clock;",
    );
    assert_eq!(tested.roots(), [(5, "env")]);
    let names: BTreeMap<_, _> = [
        ("use ring::aead;", true),
        ("let x = ring::aead::X;", true),
        ("use crate::string::x;", false),
        ("crate::ring::x", false),
        ("use ring;", true),
        ("keyring::open()", false),
    ]
    .into();
    for (line, named) in names {
        assert_eq!(names_crate(line, "ring"), named, "{line}");
    }
}
