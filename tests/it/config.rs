//! `cameo.example.toml` names every setting and states its default.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use cameo::config::Config;

#[test]
fn the_example_states_the_defaults() {
    let example = Config::load(Some(&root().join("cameo.example.toml")), []).unwrap();
    let defaults = Config::load(None, []).unwrap();
    assert_eq!(example.redacted(), defaults.redacted());
}

#[test]
fn the_example_names_every_setting() {
    let example = fs::read_to_string(root().join("cameo.example.toml")).unwrap();
    let mut named = BTreeSet::new();
    let mut section = "";
    for line in example.lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            section = name;
        } else if let Some((key, _)) = line.trim_start_matches('#').split_once(" = ") {
            // Text that explains has spaces before its first equals sign.
            if !key.contains(' ') {
                named.insert(format!("{section}.{key}"));
            }
        }
    }
    assert_eq!(named, settings());
}

/// `section.key` of every setting, read from the declarations in `src/config.rs`.
fn settings() -> BTreeSet<String> {
    let source = fs::read_to_string(root().join("src/config.rs")).unwrap();
    let fields = |name: &str| -> Vec<(String, String)> {
        let start = format!("pub struct {name} {{");
        let body = source.split_once(&start).unwrap_or_else(|| panic!("no {start}")).1;
        let body = body.split_once("\n}").unwrap().0;
        let fields = body.lines().filter_map(|l| l.trim().strip_prefix("pub "));
        let pairs = fields.filter_map(|f| f.trim_end_matches(',').split_once(": "));
        pairs.map(|(key, kind)| (key.to_owned(), kind.to_owned())).collect()
    };
    let mut found = BTreeSet::new();
    for (section, kind) in fields("Config") {
        for (key, _) in fields(&kind) {
            found.insert(format!("{section}.{key}"));
        }
    }
    assert!(found.len() > 30, "src/config.rs could not be read");
    found
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
