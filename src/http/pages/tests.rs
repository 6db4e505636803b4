use std::collections::BTreeSet;

use serde_json::Value;

use super::assets::{ASSETS, EMBED, PAGES};
use super::policy::is_origin;
use super::*;
use crate::domain::consent::Rule;
use crate::domain::verdict::{Check, ReasonCode};

fn texts(name: &str) -> Value {
    serde_json::from_str(SITE.assets[name].text).unwrap()
}

/// Every key of a nested object, as a path.
fn keys(value: &Value, at: &str, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => map.iter().for_each(|(k, v)| keys(v, &format!("{at}.{k}"), into)),
        Value::String(s) => {
            assert!(!s.trim().is_empty(), "{at} says nothing");
            into.insert(at.to_owned());
        }
        _ => panic!("{at} is no text"),
    }
}

/// What a text asks to be filled in.
fn slots(text: &str) -> BTreeSet<&str> {
    text.split('{').skip(1).filter_map(|s| s.split_once('}')).map(|(name, _)| name).collect()
}

#[test]
fn the_languages_say_the_same() {
    let (en, de) = (texts("lang/en.json"), texts("lang/de.json"));
    let (mut ours, mut theirs) = (BTreeSet::new(), BTreeSet::new());
    keys(&en, "", &mut ours);
    keys(&de, "", &mut theirs);
    assert_eq!(ours, theirs);
    // A key that stands twice would hide one of its texts.
    for name in ["lang/en.json", "lang/de.json"] {
        let lines = SITE.assets[name].text.lines().filter(|l| l.contains("\": \""));
        assert_eq!(lines.count(), ours.len(), "{name}: a key stands twice");
    }
    for path in &ours {
        let pointer = path.replace('.', "/");
        let (a, b) = (en.pointer(&pointer).unwrap(), de.pointer(&pointer).unwrap());
        assert_eq!(slots(a.as_str().unwrap()), slots(b.as_str().unwrap()), "{path}");
    }
}

#[test]
fn everything_that_the_service_names_has_words() {
    for name in ["lang/en.json", "lang/de.json"] {
        let all = texts(name);
        for r in ReasonCode::ALL {
            assert!(all["reason"][r.code()]["meaning"].is_string(), "{name}: {}", r.code());
            assert!(all["reason"][r.code()]["advice"].is_string(), "{name}: {}", r.code());
        }
        for rule in Rule::ALL {
            assert!(all["rule"][rule.name()].is_string(), "{name}: {}", rule.name());
        }
        for kind in Kind::ALL {
            assert!(all["kind"][kind.name()].is_string(), "{name}: {}", kind.name());
        }
        for check in Check::ALL {
            assert!(all["check"][check.name()].is_string(), "{name}: {}", check.name());
        }
    }
}

#[test]
fn pages_hold_no_script_or_style_and_load_nothing_from_elsewhere() {
    for (name, text) in PAGES {
        for forbidden in ["<style", "style=", " onclick=", " onload=", "javascript:", "src=\"http"]
        {
            assert!(!text.contains(forbidden), "{name}: {forbidden}");
        }
        for script in text.split("<script").skip(1) {
            assert!(script.contains("src=\"{{assets}}/"), "{name}: a script in the page");
        }
    }
    for asset in ASSETS {
        for forbidden in [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "eval(",
            "localStorage",
            "sessionStorage",
            "@import",
            "url(http",
        ] {
            assert!(!asset.text.contains(forbidden), "{}: {forbidden}", asset.name);
        }
    }
}

#[test]
fn what_pages_load_is_there() {
    for (name, text) in PAGES {
        for part in text.split("{{assets}}/").skip(1) {
            let file = part.split('"').next().unwrap();
            assert!(SITE.assets.contains_key(file), "{name} loads {file}");
        }
        assert!(!SITE.pages[name].contains("{{"), "{name}: a slot was not filled");
    }
    for asset in ASSETS.iter().filter(|a| is_script(a.name)) {
        for import in asset.text.split("from \"").skip(1) {
            let target = import.split('"').next().unwrap();
            let folder = asset.name.rsplit_once('/').map_or("", |(f, _)| f);
            let path = match target.strip_prefix("../") {
                Some(rest) => rest.to_owned(),
                None => format!("{folder}/{}", target.trim_start_matches("./")),
            };
            assert!(SITE.assets.contains_key(path.as_str()), "{} imports {target}", asset.name);
        }
    }
}

#[test]
fn scripts_stay_small() {
    let size = |prefix: &str| -> usize {
        let of = |a: &&Asset| is_script(a.name) && a.name.starts_with(prefix);
        ASSETS.iter().filter(of).map(|a| a.text.len()).sum()
    };
    let shared = size("lib/");
    for page in ["enroll/", "me/", "review/", "audit/", "docs/"] {
        assert!(shared + size(page) < 100_000, "{page}: {}", shared + size(page));
    }
    assert!(EMBED.len() < 10_000);
}

#[test]
fn origins() {
    for good in ["https://app.example", "https://app.example:8443", "http://localhost:3000"] {
        assert!(is_origin(good), "{good}");
    }
    for bad in [
        "",
        "*",
        "https://",
        "https://a/",
        "https://a b",
        "https://a;x",
        "http://app.example",
        "https://a,b",
        "https://a:b",
        "'self'",
        "https://A.example",
    ] {
        assert!(!is_origin(bad), "{bad}");
    }
}

fn is_script(name: &str) -> bool {
    std::path::Path::new(name).extension().is_some_and(|e| e == "js")
}
