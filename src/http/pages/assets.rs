//! The files of `web/`, built in.

/// A file that pages load.
#[derive(Debug)]
pub(super) struct Asset {
    /// Its path below `web/`.
    pub(super) name: &'static str,
    /// Its media type.
    pub(super) kind: &'static str,
    /// What is in it.
    pub(super) text: &'static str,
}

const JS: &str = "text/javascript; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JSON: &str = "application/json";
const SVG: &str = "image/svg+xml";

macro_rules! web {
    ($name:literal) => {
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/web/", $name))
    };
}

macro_rules! assets {
    ($($name:literal $kind:ident),* $(,)?) => {
        /// What the pages load.
        pub(super) const ASSETS: &[Asset] =
            &[$(Asset { name: $name, kind: $kind, text: web!($name) }),*];
    };
}

assets! {
    "base.css" CSS,
    "mark.svg" SVG,
    "lang/en.json" JSON,
    "lang/de.json" JSON,
    "lib/api.js" JS,
    "lib/dom.js" JS,
    "lib/i18n.js" JS,
    "lib/plot.js" JS,
    "lib/signin.js" JS,
    "enroll/enroll.css" CSS,
    "enroll/camera.js" JS,
    "enroll/framing.js" JS,
    "enroll/host.js" JS,
    "enroll/main.js" JS,
    "enroll/record.js" JS,
    "enroll/send.js" JS,
    "enroll/views.js" JS,
    "me/me.css" CSS,
    "me/main.js" JS,
    "me/activity.js" JS,
    "me/consent.js" JS,
    "me/control.js" JS,
    "review/review.css" CSS,
    "review/main.js" JS,
    "review/evidence.js" JS,
    "review/frames.js" JS,
    "audit/audit.css" CSS,
    "audit/main.js" JS,
    "audit/charts.js" JS,
    "audit/entry.js" JS,
    "audit/merkle.js" JS,
    "docs/docs.css" CSS,
    "docs/api.js" JS,
}

/// The pages by name.
pub(super) const PAGES: &[(&str, &str)] = &[
    ("front", web!("front.html")),
    ("enroll", web!("enroll/enroll.html")),
    ("me", web!("me/me.html")),
    ("review", web!("review/review.html")),
    ("audit", web!("audit/audit.html")),
    ("docs", web!("docs/docs.html")),
    ("docs/api", web!("docs/api.html")),
];

/// What an app loads to embed the onboarding.
pub(super) const EMBED: &str = web!("cameo.js");
/// Its types.
pub(super) const EMBED_TYPES: &str = web!("cameo.d.ts");
