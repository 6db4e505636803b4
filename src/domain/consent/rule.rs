//! The rules that refuse.

use serde::{Deserialize, Serialize};

macro_rules! rules {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $when:literal, $meaning:literal, $fix:literal;)*) => {
        /// A rule that refuses a use, in the order in which they are looked at. Names are stable and
        /// part of the API.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Rule {
            $(#[doc = $when] $variant,)*
        }

        impl Rule {
            /// Every rule, in the order in which they are looked at.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The name used in JSON and in the log.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// When it refuses.
            pub fn when(self) -> &'static str {
                match self { $(Self::$variant => $when,)* }
            }

            /// What a caller is told, in a sentence.
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning,)* }
            }

            /// What a caller can do about it.
            pub fn fix(self) -> &'static str {
                match self { $(Self::$variant => $fix,)* }
            }
        }
    };
}

rules! {
    Deleted = "deleted", "The cameo was deleted.",
        "This cameo does not exist any more.", "Leave it out; delete what you still hold of it.";
    Withdrawn = "withdrawn", "The person withdrew consent; no grant outlives that.",
        "The person has withdrawn consent.", "Leave it out; the person may consent anew in the app.";
    NoConsent = "no_consent", "The person never gave consent.",
        "The person has not consented to any use of this cameo.", "Ask the person for consent in the app.";
    Frozen = "frozen", "The person froze the cameo for now.",
        "The person has frozen this cameo for now.", "Ask again later; finish nothing that is under way.";
    Blocked = "blocked", "The person blocked the requester.",
        "The requester may not use this cameo.", "The requester may ask the person for permission.";
    OnlyMe = "only_me", "The audience is `only_me` and the requester is somebody else.",
        "The requester may not use this cameo.", "The requester may ask the person for permission.";
    Audience = "audience", "The requester is not in the audience, not on the list, and has no grant.",
        "The requester may not use this cameo.", "The requester may ask the person for permission.";
    NotYet = "not_yet", "What the person granted begins later.",
        "What the person granted has not begun.", "Ask again when it has begun.";
    Expired = "expired", "What the person granted has run out.",
        "What the person granted has run out.", "Ask the person for permission again.";
    Purpose = "purpose", "The purpose is not granted. None is unless it is named; the owner's own personal use is.",
        "The person does not allow this purpose.", "Ask for a purpose that the person allows, or ask the person.";
    Generator = "generator", "The person named the generators that may, and this is none of them.",
        "The person does not allow this generator.", "Use another generator, or ask the person.";
    Style = "style", "The style is not granted. A request that names none is photoreal.",
        "The person does not allow this style.", "Ask for a style that the person allows.";
    Company = "company", "Somebody else in the scene is not granted as company, or is blocked.",
        "The person does not allow this company.", "Leave somebody out of the scene.";
    Region = "region", "The person named regions, and the request is for none of them or names none.",
        "The person does not allow this region.", "Name a `region` that the person allows.";
    Voice = "voice", "The request needs the voice, and it is not granted.",
        "The person does not allow the voice.", "Ask without `needs_voice`.";
    Images = "images", "The request needs images, and they are not granted.",
        "The person does not allow images.", "Ask without `needs_images`.";
    Remix = "remix", "The video derives from another, and somebody in that one does not allow a remix to this requester.",
        "Somebody in the parent video does not allow this remix.", "Make a video that does not derive from that one.";
    MaxUses = "max_uses", "All uses of the grant are used up.",
        "All granted uses are used up.", "Ask the person for more.";
    DailyLimit = "daily_limit", "Today's uses of the grant (a day of UTC) are used up.",
        "Today's uses are used up.", "Ask again tomorrow (UTC).";
    Scene = "scene", "Another cameo of the scene was refused: a scene is resolved whole or not at all.",
        "Another cameo of this scene was refused.", "See the refusal of the other cameo.";
}

impl Rule {
    /// The rule as anyone but the person may see it: being blocked looks like not being in the
    /// audience, so that nobody can find out who blocked them.
    #[must_use]
    pub fn public(self) -> Self {
        match self {
            Self::Blocked | Self::OnlyMe => Self::Audience,
            other => other,
        }
    }
}
