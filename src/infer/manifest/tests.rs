//! Tests of the manifest: the committed one, and what is refused.

use proptest::prelude::*;
use rstest::rstest;

use super::*;
use crate::domain::template::Metric;

#[test]
fn the_committed_manifest_is_sound() {
    let m = Manifest::embedded().unwrap();
    for role in Role::ALL {
        let models = m.filling(Set::Recommended, role);
        assert!(!models.is_empty(), "no model for {role}");
        assert!(models.iter().all(|x| x.role == role));
    }
    assert_eq!(m.filling(Set::Recommended, Role::AntiSpoof).len(), 2);
}

#[test]
fn nothing_in_the_hermetic_set_needs_an_address() {
    let m = Manifest::embedded().unwrap();
    for x in m.set(Set::Hermetic) {
        assert!(
            matches!(x.source, Source::Package { .. } | Source::Builtin { .. }),
            "{} is hermetic but comes from {:?}",
            x.id,
            x.source
        );
    }
}

#[test]
fn a_role_that_a_set_lacks_is_filled_from_the_other() {
    let m = Manifest::parse(&ONE.replace("hermetic", "recommended")).unwrap();
    assert_eq!(m.set(Set::Hermetic).count(), 0);
    let fill = m.filling(Set::Hermetic, Role::VoiceActivity);
    assert_eq!(fill.iter().map(|x| x.id.as_str()).collect::<Vec<_>>(), ["vad"]);
    assert!(m.filling(Set::Hermetic, Role::FaceMesh).is_empty());
}

#[test]
fn parameters_are_typed() {
    let m = Manifest::embedded().unwrap();
    let Adapter::FaceEmbedding(a) = &m.model("dlib_resnet").unwrap().adapter else {
        panic!("not an embedding")
    };
    assert_eq!((a.image.width, a.dimensions, a.metric), (150, 128, Metric::Euclidean));
    assert_eq!(a.alignment.points.len(), 7);
}

const ONE: &str = r#"
version = 1
[[model]]
id = "vad"
role = "voice_activity"
sets = ["hermetic"]
file = "vad.onnx"
sha256 = "0bb49e7504ae0b6cc55ee8c2b8fc1c633f9c6929dc16f77a55b79843e7df45ab"
bytes = 10
licence = "MIT"
licence_source = "LICENSE"
[model.source]
kind = "builtin"
path = "vad/vad.onnx"
sha256 = "0bb49e7504ae0b6cc55ee8c2b8fc1c633f9c6929dc16f77a55b79843e7df45ab"
bytes = 10
[model.adapter]
name = "silero_vad"
sample_rate = 16000
window = 512
context = 64
state = 128
threshold = 0.5
"#;

#[rstest]
#[case::version("version = 1", "version = 2", "reads version 1")]
#[case::unknown_key("bytes = 10\nlicence", "size = 1\nbytes = 10\nlicence", "unknown field")]
#[case::unknown_parameter("window = 512", "window = 512\nhop = 1", "unknown field")]
#[case::role("role = \"voice_activity\"", "role = \"face_mesh\"", "does not fill the role")]
#[case::hash("sha256 = \"0bb4", "sha256 = \"0b", "64 hexadecimal digits")]
#[case::absolute_path("vad/vad.onnx", "/etc/passwd", "stay inside its folder")]
#[case::parent_path("vad/vad.onnx", "../vad.onnx", "stay inside its folder")]
#[case::file_with_folder("file = \"vad.onnx\"", "file = \"a/vad.onnx\"", "a file name has")]
#[case::hidden_file("file = \"vad.onnx\"", "file = \".vad\"", "a file name has")]
#[case::id("id = \"vad\"", "id = \"Vad 1\"", "an id has")]
#[case::no_set("sets = [\"hermetic\"]", "sets = []", "at least one set")]
#[case::not_finite("threshold = 0.5", "threshold = nan", "threshold must be between")]
#[case::out_of_range("window = 512", "window = 0", "window must be between")]
#[case::empty("bytes = 10\n[model.adapter]", "bytes = 0\n[model.adapter]", "between 1 and 1 GiB")]
#[case::plain_http(
    "kind = \"builtin\"\npath = \"vad/vad.onnx\"",
    "kind = \"url\"\nurl = \"http://example.org/vad.onnx\"",
    "https://"
)]
#[case::no_package(
    "kind = \"builtin\"\npath = \"vad/vad.onnx\"\nsha256 = \"0bb49e7504ae0b6cc55ee8c2b8fc1c633f9c6929dc16f77a55b79843e7df45ab\"\nbytes = 10",
    "kind = \"package\"\npackage = \"nowhere\"\nmembers = []",
    "there is no package nowhere"
)]
fn a_wrong_entry_is_refused(#[case] from: &str, #[case] to: &str, #[case] says: &str) {
    assert!(Manifest::parse(ONE).is_ok());
    assert!(ONE.contains(from), "the case changes nothing");
    let error = Manifest::parse(&ONE.replacen(from, to, 1)).unwrap_err().to_string();
    assert!(error.contains(says), "{error}");
}

#[test]
fn two_models_for_one_place_are_refused() {
    let second = ONE.split_once("[[model]]").unwrap().1;
    let both = format!("{ONE}[[model]]{}", second.replace("vad", "vad2"));
    let error = Manifest::parse(&both.replace("silero_vad2", "silero_vad")).unwrap_err();
    assert!(error.to_string().contains("the role voice_activity in the set hermetic"), "{error}");
}

#[rstest]
#[case("--index-url=x")]
#[case("../evil")]
#[case("a b")]
#[case("git+https://x")]
fn a_package_name_is_never_an_option_or_a_path(#[case] name: &str) {
    let text = format!(
        "{ONE}\n[package.p]\nclient = \"npm\"\nname = \"{name}\"\nversion = \"1.0\"\nfile = \"p.tgz\"\nsha256 = \"{}\"\nbytes = 1\n",
        "00".repeat(32)
    );
    let error = Manifest::parse(&text).unwrap_err().to_string();
    assert!(error.contains("a package name has"), "{error}");
}

proptest! {
    #[test]
    fn any_text_is_parsed_or_refused(text in ".{0,200}") {
        let _ = Manifest::parse(&text);
    }

    #[test]
    fn a_digest_survives_its_text(digest: [u8; 32]) {
        let text = Sha256Hex(digest).to_string();
        prop_assert_eq!(text.parse::<Sha256Hex>(), Ok(Sha256Hex(digest)));
    }
}
