//! Sessions of the pages: a person comes with a single-use link from the app, a reviewer or an
//! auditor with their key. What the browser keeps is a cookie that no script can read.

use std::time::Duration;

use zeroize::Zeroizing;

use super::access::Caller;
use super::{Error, Inner, Result, onboard};
use crate::crypto::hash::sha256;
use crate::domain::access::{Holder, Role};
use crate::domain::ids::{ApiKeyId, CameoId, SubjectId, UseId};
use crate::env::{Millis, random};
use crate::run_tx;
use crate::store::page_sessions::{self, PageSession, Stage};
use crate::store::{api_keys, cameos, uses};

/// How long a link can be followed. Short: it may stay in a browser's history, where it is worth
/// nothing once it was used or is over.
pub const LINK_TTL: Duration = Duration::from_mins(10);
/// How long somebody stays signed in.
pub const SESSION_TTL: Duration = Duration::from_mins(30);

/// Prefixes, so that secret scanners know what they see.
const LINK_PREFIX: &str = "cameo_link_";
const SESSION_PREFIX: &str = "cameo_session_";

/// A fresh link or session, and the secret that stands for it, which is not kept.
pub struct Issued {
    secret: Zeroizing<String>,
    /// What it is good for.
    pub session: PageSession,
}

impl Issued {
    /// The secret, to be handed out once.
    pub fn expose(&self) -> &str {
        &self.secret
    }
}

impl Inner {
    /// A link that signs a person in to their own page, or a device to one verification.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a key, which needs no link; [`Error::NotFound`] where there is no such
    /// verification.
    pub async fn create_link(&self, app: &ApiKeyId, holder: &Holder) -> Result<Issued> {
        if matches!(holder, Holder::Key(_)) {
            return Err(Error::Invalid { field: "page", reason: "needs no link".into() });
        }
        let issued = self.issue(LINK_PREFIX, holder.clone(), app, LINK_TTL);
        run_tx!(self.db(), "session.link", |tx| {
            if let Holder::Verification(id) = holder {
                onboard::get(tx, id).await?;
            }
            let hash = sha256(issued.expose().as_bytes());
            page_sessions::insert(tx, &hash, Stage::Link, &issued.session).await?;
            Ok::<_, Error>(())
        })?;
        Ok(issued)
    }

    /// Trades a link for a session. The link is good no more.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`] where it is unknown, was used, or is over.
    pub async fn follow_link(&self, code: &str) -> Result<Issued> {
        const OVER: Error =
            Error::Unauthenticated("this link was used before or is over: ask for another");
        let now = self.clock().now();
        let secret = self.secret(SESSION_PREFIX);
        let link = sha256(code.as_bytes());
        // Whoever guesses gets no place in the queue of writers.
        page_sessions::get(&mut self.db().read().await?, &link, Stage::Link, now)
            .await?
            .ok_or(OVER)?;
        let session = run_tx!(self.db(), "session.follow", |tx| {
            let link = page_sessions::take(tx, &link, Stage::Link, now).await?.ok_or(OVER)?;
            let session = PageSession { expires: now.plus(SESSION_TTL), ..link };
            let hash = sha256(secret.as_bytes());
            page_sessions::insert(tx, &hash, Stage::Session, &session).await?;
            Ok::<_, Error>(session)
        })?;
        Ok(Issued { secret, session })
    }

    /// Signs a reviewer or an auditor in.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`] for a bad key, [`Error::Forbidden`] for one of another role: keys
    /// of apps and generators have no business in a browser.
    pub async fn sign_in(&self, api_key: &str) -> Result<Issued> {
        let caller = self.authenticate(api_key).await?;
        if !matches!(caller.role, Role::Reviewer | Role::Auditor) {
            return Err(Error::Forbidden { needed: Role::Reviewer });
        }
        let issued =
            self.issue(SESSION_PREFIX, Holder::Key(caller.key.clone()), &caller.key, SESSION_TTL);
        run_tx!(self.db(), "session.sign_in", |tx| {
            let hash = sha256(issued.expose().as_bytes());
            page_sessions::insert(tx, &hash, Stage::Session, &issued.session).await?;
            Ok::<_, Error>(())
        })?;
        Ok(issued)
    }

    /// Who is signed in with this secret.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`].
    pub async fn session(&self, secret: &str) -> Result<PageSession> {
        let hash = sha256(secret.as_bytes());
        let now = self.clock().now();
        let mut tx = self.db().read().await?;
        page_sessions::get(&mut tx, &hash, Stage::Session, now).await?.ok_or(OVER)
    }

    /// The caller behind a key's session.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`] where a person is signed in, or the key was revoked.
    pub async fn session_caller(&self, secret: &str) -> Result<Caller> {
        let Holder::Key(id) = self.session(secret).await?.holder else { return Err(OVER) };
        match api_keys::get(&mut self.db().read().await?, &id).await? {
            Some(k) if k.revoked.is_none() => Ok(Caller { key: k.id, role: k.role }),
            _ => Err(OVER),
        }
    }

    /// Signs out.
    ///
    /// # Errors
    /// Those of the store; a session that is over already is no error.
    pub async fn sign_out(&self, secret: &str) -> Result<()> {
        let (hash, now) = (sha256(secret.as_bytes()), self.clock().now());
        run_tx!(self.db(), "session.sign_out", |tx| {
            page_sessions::take(tx, &hash, Stage::Session, now).await
        })?;
        Ok(())
    }

    /// A person's active cameo, where they have one.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn cameo_of(&self, subject: &SubjectId) -> Result<Option<CameoId>> {
        let found = cameos::active(&mut self.db().read().await?, subject).await?;
        Ok(found.map(|c| c.id))
    }

    /// The cameo that a use was of, where there is such a use.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn cameo_of_use(&self, id: &UseId) -> Result<Option<CameoId>> {
        Ok(uses::get(&mut self.db().read().await?, id).await?.map(|u| u.cameo))
    }

    fn issue(&self, prefix: &str, holder: Holder, key: &ApiKeyId, ttl: Duration) -> Issued {
        let expires: Millis = self.clock().now().plus(ttl);
        Issued {
            secret: self.secret(prefix),
            session: PageSession { holder, key: key.clone(), expires },
        }
    }

    fn secret(&self, prefix: &str) -> Zeroizing<String> {
        let bytes = Zeroizing::new(random::<32>(self.entropy()));
        Zeroizing::new(format!("{prefix}{}", hex::encode(bytes.as_slice())))
    }
}

const OVER: Error = Error::Unauthenticated("the session is over: sign in again");
