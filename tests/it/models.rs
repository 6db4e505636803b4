//! Installing the models, on the real package files and into the real folder.
//!
//! That a converted model computes what its source does is tested in `infer.rs`; the manifest pins
//! the hash of the very file that was tested there, so here it is enough to arrive at that hash.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use cameo::infer::install::{Clients, Installer, Outcome, Places, Silent, State, state};
use cameo::infer::manifest::{Manifest, Set, Source};

use crate::support::models_config;

#[test]
fn installed_models_are_those_of_the_manifest() {
    let dir = models_config().dir;
    let manifest = Manifest::embedded().unwrap();
    for model in manifest.models() {
        match state(model, &dir) {
            State::Missing => println!("SKIPPED: {} is not in {}", model.id, dir.display()),
            found => assert_eq!(found, State::Installed, "{}", model.id),
        }
    }
}

#[test]
fn package_files_become_the_pinned_models() {
    let Some(from) = std::env::var_os("CAMEO_MODELS_PACKAGES_DIR").map(PathBuf::from) else {
        println!("SKIPPED: CAMEO_MODELS_PACKAGES_DIR does not name a folder with package files");
        return;
    };
    let manifest = Manifest::embedded().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let places =
        Places { dir: dir.path().into(), builtin: "onnx".into(), from: Some(from.clone()) };
    let nobody = OsString::from("/nowhere");
    let clients = Clients { npm: nobody.clone(), python: nobody, timeout: Duration::from_secs(1) };
    let installer = Installer::new(&manifest, places, clients, &Silent).unwrap();
    for model in manifest.set(Set::Hermetic) {
        if let Source::Package { package, .. } = &model.source
            && !from.join(&manifest.package(package).unwrap().file).exists()
        {
            println!("SKIPPED: {} has no package file there", model.id);
            continue;
        }
        assert_eq!(installer.install(model).unwrap(), Outcome::Installed, "{}", model.id);
        assert_eq!(installer.install(model).unwrap(), Outcome::AlreadyThere, "{}", model.id);
        assert_eq!(state(model, dir.path()), State::Installed, "{}", model.id);
    }
}
