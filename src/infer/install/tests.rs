//! Tests of the installer with archives made on the spot and a stand-in for the package clients.

use std::ffi::OsString;
use std::io::Cursor;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use rstest::rstest;
use tempfile::TempDir;

use super::*;

const CONTENTS: &[u8] = b"the weights of a model";

/// What an archive holds.
#[derive(Clone)]
enum Entry {
    File(&'static str, &'static [u8]),
    Link(&'static str, &'static str),
}

fn tgz(entries: &[Entry]) -> Vec<u8> {
    let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for entry in entries {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        let (path, contents) = match entry {
            Entry::File(path, contents) => {
                header.set_size(contents.len() as u64);
                (path, *contents)
            }
            Entry::Link(path, to) => {
                header.set_entry_type(tar::EntryType::Symlink);
                header.set_size(0);
                header.set_link_name(to).unwrap();
                (path, &b""[..])
            }
        };
        // Written by hand: the builder refuses the paths that the tests are about.
        header.as_gnu_mut().unwrap().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_cksum();
        tar.append(&header, contents).unwrap();
    }
    tar.into_inner().unwrap().finish().unwrap()
}

fn whl(entries: &[Entry]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default();
    for entry in entries {
        match entry {
            Entry::File(path, contents) => {
                zip.start_file(*path, options).unwrap();
                zip.write_all(contents).unwrap();
            }
            Entry::Link(path, to) => zip.add_symlink(*path, *to, options).unwrap(),
        }
    }
    zip.finish().unwrap().into_inner()
}

/// A machine to install on: folders, and a manifest with one model out of one package.
struct Kit {
    root: TempDir,
    manifest: Manifest,
}

impl Kit {
    /// A model whose package file is `archive`; the archive is handed over.
    fn with_archive(file: &str, archive: &[u8]) -> Self {
        let kit = Self::with_source(
            &format!(
                "[package.p]\nclient = \"{}\"\nname = \"pack\"\nversion = \"1.0\"\nfile = \"{file}\"\nsha256 = \"{}\"\nbytes = {}\n",
                if file == "p.tgz" { "npm" } else { "pip" },
                hex::encode(hash::sha256(archive)),
                archive.len(),
            ),
            &format!(
                "kind = \"package\"\npackage = \"p\"\nmembers = [{{ path = \"m/vad.onnx\", bytes = {} }}]\n",
                CONTENTS.len()
            ),
        );
        fs::write(kit.path("from").join(file), archive).unwrap();
        kit
    }

    fn with_source(packages: &str, source: &str) -> Self {
        let root = TempDir::new().unwrap();
        for folder in ["from", "onnx", "onnx/installed"] {
            fs::create_dir(root.path().join(folder)).unwrap();
        }
        let text = format!(
            "version = 1\n{packages}\n[[model]]\nid = \"vad\"\nrole = \"voice_activity\"\nsets = [\"hermetic\"]\nfile = \"vad.onnx\"\nsha256 = \"{}\"\nbytes = {}\nlicence = \"MIT\"\nlicence_source = \"LICENSE\"\n[model.source]\n{source}\n[model.adapter]\nname = \"silero_vad\"\nsample_rate = 16000\nwindow = 512\ncontext = 64\nstate = 128\nthreshold = 0.5\n",
            hex::encode(hash::sha256(CONTENTS)),
            CONTENTS.len(),
        );
        Self { root, manifest: Manifest::parse(&text).unwrap() }
    }

    fn path(&self, folder: &str) -> PathBuf {
        self.root.path().join(folder)
    }

    fn install_with(&self, clients: Clients, from: bool) -> Result<Outcome, InstallError> {
        let places = Places {
            dir: self.path("onnx/installed"),
            builtin: self.path("onnx"),
            from: from.then(|| self.path("from")),
        };
        let installer = Installer::new(&self.manifest, places, clients, &Silent)?;
        installer.install(&self.manifest.models()[0])
    }

    fn install(&self) -> Result<Outcome, InstallError> {
        self.install_with(no_clients(), true)
    }

    /// The names in the install folder.
    fn installed(&self) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(self.path("onnx/installed"))
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .filter(|n| n != ".lock")
            .collect();
        names.sort();
        names
    }

    /// A script that stands in for a package client.
    fn script(&self, text: &str) -> OsString {
        let path = self.path("client");
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path.into()
    }
}

fn no_clients() -> Clients {
    let nowhere = OsString::from("/nowhere/client");
    Clients { npm: nowhere.clone(), python: nowhere, timeout: Duration::from_secs(20) }
}

const GOOD: Entry = Entry::File("m/vad.onnx", CONTENTS);

#[rstest]
#[case::tgz("p.tgz", tgz(&[Entry::File("m/other", b"x"), GOOD]))]
#[case::sdist("p.tar.gz", tgz(&[GOOD]))]
#[case::wheel("p.whl", whl(&[GOOD, Entry::File("m/other", b"x")]))]
fn a_model_is_taken_out_of_its_package(#[case] file: &str, #[case] archive: Vec<u8>) {
    let kit = Kit::with_archive(file, &archive);
    assert_eq!(kit.install().unwrap(), Outcome::Installed);
    assert_eq!(kit.installed(), ["vad.onnx"]);
    assert_eq!(fs::read(kit.path("onnx/installed/vad.onnx")).unwrap(), CONTENTS);
    // Again, with nothing to take it from: it is there.
    fs::remove_file(kit.path("from").join(file)).unwrap();
    assert_eq!(kit.install().unwrap(), Outcome::AlreadyThere);
}

#[rstest]
#[case::parent("p.tgz", tgz(&[GOOD, Entry::File("../../evil", b"x")]), "leads out")]
#[case::absolute("p.tgz", tgz(&[Entry::File("/tmp/evil", b"x"), GOOD]), "leads out")]
#[case::link("p.tgz", tgz(&[Entry::Link("m/vad.onnx", "/etc/passwd"), GOOD]), "neither a file")]
#[case::missing("p.tgz", tgz(&[Entry::File("m/other", b"x")]), "no file \"m/vad.onnx\"")]
#[case::twice("p.tgz", tgz(&[GOOD, GOOD]), "twice")]
#[case::size("p.tgz", tgz(&[Entry::File("m/vad.onnx", b"short")]), "does not have 22 bytes")]
#[case::no_gzip("p.tgz", b"not an archive at all".to_vec(), "damaged")]
#[case::wheel_parent("p.whl", whl(&[GOOD, Entry::File("../evil", b"x")]), "leads out")]
#[case::wheel_link("p.whl", whl(&[Entry::Link("m/l", "/etc/passwd"), GOOD]), "neither a file")]
#[case::wheel_missing("p.whl", whl(&[Entry::File("m/other", b"x")]), "no file")]
#[case::wheel_size("p.whl", whl(&[Entry::File("m/vad.onnx", b"longer than it should be")]), "22 bytes")]
#[case::no_zip("p.whl", b"not an archive at all".to_vec(), "damaged")]
#[case::kind("p.rar", b"who knows".to_vec(), "neither a .tgz")]
fn a_bad_archive_is_refused_and_leaves_nothing(
    #[case] file: &str,
    #[case] archive: Vec<u8>,
    #[case] says: &str,
) {
    let kit = Kit::with_archive(file, &archive);
    let error = kit.install().unwrap_err();
    assert!(matches!(error, InstallError::Archive { .. }), "{error:?}");
    assert!(error.to_string().contains(says), "{error}");
    assert_eq!(kit.installed(), [""; 0]);
}

/// The manifest pins the file, so this one is cut behind the manifest's back.
#[rstest]
#[case::tgz("p.tgz", tgz(&[GOOD]))]
#[case::wheel("p.whl", whl(&[GOOD]))]
fn an_archive_cut_short_is_refused(#[case] file: &str, #[case] archive: Vec<u8>) {
    for cut in [0, 1, archive.len() / 2, archive.len() - 9] {
        let kit = Kit::with_archive(file, &archive[..cut.max(1)]);
        assert!(matches!(kit.install(), Err(InstallError::Archive { .. })), "cut at {cut}");
        assert_eq!(kit.installed(), [""; 0]);
        // And as the user meets it: the manifest pins the whole file.
        let kit = Kit::with_archive(file, &archive);
        fs::write(kit.path("from").join(file), &archive[..cut]).unwrap();
        let error = kit.install().unwrap_err();
        assert!(matches!(error, InstallError::WrongSize { .. }), "{error:?}");
        assert_eq!(kit.installed(), [""; 0]);
    }
}

#[test]
fn another_package_file_is_refused_before_it_is_opened() {
    let archive = tgz(&[GOOD]);
    let kit = Kit::with_archive("p.tgz", &archive);
    let mut other = archive.clone();
    other[archive.len() / 2] ^= 1;
    fs::write(kit.path("from/p.tgz"), other).unwrap();
    let error = kit.install().unwrap_err();
    assert!(matches!(error, InstallError::WrongHash { .. }), "{error:?}");
    assert_eq!(kit.installed(), [""; 0]);
}

#[test]
fn a_source_that_makes_another_model_is_refused() {
    const OTHER: &[u8] = b"other weights, as long";
    assert_eq!(OTHER.len(), CONTENTS.len());
    let kit = Kit::with_archive("p.tgz", &tgz(&[Entry::File("m/vad.onnx", OTHER)]));
    let error = kit.install().unwrap_err();
    assert!(matches!(error, InstallError::WrongHash { .. }), "{error:?}");
    assert!(error.to_string().contains("the finished file vad.onnx"), "{error}");
    assert_eq!(kit.installed(), [""; 0]);
}

#[test]
fn a_damaged_model_is_replaced_and_leftovers_are_removed() {
    let kit = Kit::with_archive("p.tgz", &tgz(&[GOOD]));
    let dir = kit.path("onnx/installed");
    fs::write(dir.join("vad.onnx"), b"half a mod").unwrap();
    fs::write(dir.join(".install-abc"), b"half").unwrap();
    fs::create_dir(dir.join(".install-def")).unwrap();
    assert_eq!(state(&kit.manifest.models()[0], &dir), State::Damaged);
    assert_eq!(kit.install().unwrap(), Outcome::Installed);
    assert_eq!(state(&kit.manifest.models()[0], &dir), State::Installed);
    assert_eq!(kit.installed(), ["vad.onnx"]);
}

#[test]
fn a_ready_model_is_taken_as_it_is_but_checked() {
    let kit = Kit::with_archive("p.tgz", b"never opened");
    fs::write(kit.path("from/vad.onnx"), CONTENTS).unwrap();
    assert_eq!(kit.install().unwrap(), Outcome::Installed);
    fs::remove_file(kit.path("onnx/installed/vad.onnx")).unwrap();
    fs::write(kit.path("from/vad.onnx"), &CONTENTS[1..]).unwrap();
    assert!(matches!(kit.install(), Err(InstallError::WrongSize { .. })));
    assert_eq!(kit.installed(), [""; 0]);
}

#[test]
fn files_of_the_repository_and_files_handed_over() {
    let digest = hex::encode(hash::sha256(CONTENTS));
    let pin = format!("sha256 = \"{digest}\"\nbytes = {}", CONTENTS.len());
    let kit = Kit::with_source("", &format!("kind = \"builtin\"\npath = \"vad/v.onnx\"\n{pin}"));
    assert!(matches!(kit.install(), Err(InstallError::NoBuiltin { .. })));
    fs::create_dir(kit.path("onnx/vad")).unwrap();
    fs::write(kit.path("onnx/vad/v.onnx"), CONTENTS).unwrap();
    assert_eq!(kit.install().unwrap(), Outcome::Installed);

    let kit = Kit::with_source("", &format!("kind = \"file\"\nname = \"v.onnx\"\n{pin}"));
    let error = kit.install().unwrap_err();
    assert!(matches!(error, InstallError::NotHandedOver { .. }), "{error:?}");
    assert!(error.to_string().contains("--from"), "{error}");
    fs::write(kit.path("from/v.onnx"), CONTENTS).unwrap();
    assert_eq!(kit.install().unwrap(), Outcome::Installed);
}

#[test]
fn a_folder_that_is_a_file_is_an_error() {
    let kit = Kit::with_archive("p.tgz", &tgz(&[GOOD]));
    fs::remove_dir(kit.path("onnx/installed")).unwrap();
    fs::write(kit.path("onnx/installed"), b"").unwrap();
    assert!(matches!(kit.install(), Err(InstallError::Io { .. })));
}

#[test]
fn a_package_is_fetched_with_its_client() {
    for file in ["p.tgz", "p.whl"] {
        let archive = if file == "p.tgz" { tgz(&[GOOD]) } else { whl(&[GOOD]) };
        let kit = Kit::with_archive(file, &archive);
        // The destination is the argument behind --pack-destination or --dest.
        let client = kit.script(&format!(
            "echo \"$@\" > {0}/arguments\nwhile [ $# -gt 1 ]; do case $1 in --pack-destination|--dest) cp {0}/from/{file} \"$2\";; --requirement) cp \"$2\" {0}/requirement;; esac; shift; done",
            kit.root.path().display()
        ));
        let clients = Clients { npm: client.clone(), python: client, ..no_clients() };
        assert_eq!(kit.install_with(clients, false).unwrap(), Outcome::Installed);
        assert_eq!(kit.installed(), ["vad.onnx"]);
        let arguments = fs::read_to_string(kit.path("arguments")).unwrap();
        if file == "p.tgz" {
            assert!(arguments.starts_with("pack pack@1.0 "), "{arguments}");
        } else {
            assert!(arguments.contains("--no-deps"), "{arguments}");
            let requirement = fs::read_to_string(kit.path("requirement")).unwrap();
            let digest = hex::encode(hash::sha256(&archive));
            assert_eq!(requirement, format!("pack==1.0 --hash=sha256:{digest}\n"));
        }
    }
}

#[test]
fn a_client_that_fails_says_why_and_leaves_nothing() {
    let kit = Kit::with_archive("p.tgz", &tgz(&[GOOD]));
    let with = |npm: OsString, timeout| {
        let clients = Clients { npm, timeout, ..no_clients() };
        let Err(InstallError::Client(error)) = kit.install_with(clients, false) else {
            panic!("it did not fail")
        };
        assert_eq!(kit.installed(), [""; 0]);
        error
    };
    let long = Duration::from_secs(20);
    let error = with("/nowhere/npm".into(), long);
    assert!(matches!(error, ClientError::NotThere { .. }), "{error}");
    let error = with(kit.script("echo one; echo 'no such version' >&2; exit 3"), long);
    assert!(matches!(error, ClientError::Failed { .. }), "{error}");
    assert!(error.to_string().contains("one | no such version"), "{error}");
    let error = with(kit.script("exit 0"), long);
    assert!(matches!(error, ClientError::NoFile { .. }), "{error}");
    let error = with(kit.script("exec sleep 60"), Duration::from_millis(200));
    assert!(matches!(error, ClientError::TimedOut { .. }), "{error}");
}
