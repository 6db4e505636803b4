//! The texts that people are shown when they consent: kept word for word and hashed, so that a
//! consent says exactly what it was given to.

use std::collections::BTreeSet;

use super::ledger::Note;
use super::onboard::word;
use super::{Error, Inner, Result};
use crate::crypto::hash::sha256;
use crate::domain::consent::Purpose;
use crate::run_tx;
use crate::store::Tx;
use crate::store::texts::{self, Text};
use crate::tlog::Kind;

/// The text that a person was shown, as the app names it.
#[derive(Clone, Debug)]
pub struct Shown {
    /// Its version.
    pub version: String,
    /// The language (BCP 47). Needed where the version is kept here.
    pub locale: Option<String>,
}

/// The longest text, in bytes.
pub const MAX_TEXT: usize = 64 << 10;

impl Inner {
    /// Keeps a text. The same once more changes nothing.
    ///
    /// # Errors
    /// [`Error::Invalid`]; [`Error::TextKept`] where there is another text of this version and
    /// language: a text never changes.
    pub async fn put_text(
        &self,
        version: &str,
        locale: &str,
        body: &str,
        purposes: &BTreeSet<Purpose>,
    ) -> Result<Text> {
        word("text_version", version)?;
        check_locale(locale)?;
        if body.trim().is_empty() || body.len() > MAX_TEXT {
            let reason = format!("must be 1 to {MAX_TEXT} bytes");
            return Err(Error::Invalid { field: "body", reason });
        }
        let text = Text {
            version: version.to_owned(),
            locale: locale.to_owned(),
            body: body.to_owned(),
            purposes: purposes.iter().copied().collect(),
            sha256: sha256(body.as_bytes()),
            at: self.clock().now(),
        };
        run_tx!(self.db(), "texts.put", |tx| {
            let mut ledger = self.ledger(tx).await?;
            if texts::insert(tx, &text).await? {
                let note = Note::new(Kind::ConsentText)
                    .public("text_version", version)
                    .public("locale", locale)
                    .public("sha256", hex::encode(text.sha256));
                ledger.add(note)?;
                ledger.write(tx).await?;
                return Ok(text.clone());
            }
            let kept = texts::get(tx, version, locale).await?;
            kept.filter(|k| k.body == text.body && k.purposes == text.purposes)
                .ok_or(Error::TextKept)
        })
    }

    /// A text that is kept.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn text(&self, version: &str, locale: &str) -> Result<Text> {
        let found = texts::get(&mut self.db().read().await?, version, locale).await?;
        found.ok_or(Error::NotFound("consent text"))
    }
}

impl Shown {
    pub(super) fn check(&self) -> Result<()> {
        word("text_version", &self.version)?;
        self.locale.as_deref().map_or(Ok(()), check_locale)
    }

    /// The text where its version is kept: then it must name the purposes that can do lasting harm.
    pub(super) async fn find(
        &self,
        tx: &mut Tx,
        purposes: &BTreeSet<Purpose>,
    ) -> Result<Option<Text>> {
        let locales = texts::locales(tx, &self.version).await?;
        let text = match &self.locale {
            Some(locale) => texts::get(tx, &self.version, locale).await?,
            None => None,
        };
        if text.is_none() && !locales.is_empty() {
            let reason = format!("this text is kept in {}: say which", locales.join(", "));
            return Err(Error::Invalid { field: "locale", reason });
        }
        let named = |p: &Purpose| text.as_ref().is_none_or(|t| t.purposes.contains(p));
        if let Some(unnamed) = purposes.iter().find(|p| p.is_sensitive() && !named(p)) {
            let reason = format!(
                "{} is sensitive, and the text that was shown does not name it: show one that does",
                unnamed.name()
            );
            return Err(Error::Invalid { field: "purposes", reason });
        }
        Ok(text)
    }
}

/// The form of a language tag (BCP 47): subtags of 1 to 8 letters and digits.
fn check_locale(locale: &str) -> Result<()> {
    let subtag =
        |s: &str| (1..=8).contains(&s.len()) && s.bytes().all(|b| b.is_ascii_alphanumeric());
    if locale.len() <= 35 && locale.split('-').all(subtag) {
        Ok(())
    } else {
        let reason = "must be a language tag, like en or de-CH".into();
        Err(Error::Invalid { field: "locale", reason })
    }
}
