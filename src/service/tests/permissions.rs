//! What people say, and what comes of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use rstest::rstest;

use super::fixture::{ANSWER, Fixture, ask, denied, everyone, people, social, who};
use crate::domain::consent::{Audience, Company, Permissions, Purpose, Scope};
use crate::domain::ids::{CameoId, RequestId, SubjectId};
use crate::env::Millis;
use crate::service::graph::{AskGraph, Said};
use crate::service::requests::{self, Asked, Standing, Verdict, Wish};
use crate::service::resolve::Resolved;
use crate::service::{Error, Result};
use crate::store::Engine;

#[rstest]
#[case::sqlite(Engine::Sqlite)]
#[case::postgres(Engine::Postgres)]
#[tokio::test]
async fn a_dry_run_explains_and_leaves_nothing(#[case] engine: Engine) {
    let Some(f) = Fixture::new(engine).await else { return };
    let limited = Scope { max_uses: Some(1), restrictions: vec!["no horror".into()], ..social() };
    let permissions = Permissions {
        audience: Audience::Approved,
        allow: people(&["friend", "rude"]),
        block: people(&["rude"]),
        scope: limited,
    };
    let cameo = f.consenting("ann", &permissions).await;
    let size = f.log_size().await;
    for _ in 0..3 {
        let friend = &f.services.foresee(&f.generator.key, &ask(&[&cameo], "friend"), None).await;
        let friend = &friend.as_ref().unwrap()[0];
        assert_eq!(friend.rule, None);
        assert_eq!(friend.obligations.as_ref().unwrap().restrictions, ["no horror"]);
    }
    assert_eq!(f.log_size().await, size, "a dry run wrote to the log");
    // Nothing was used up, so the one use is still there; afterwards it is not.
    assert_eq!(f.outcome(&ask(&[&cameo], "friend")).await, "allowed");
    assert_eq!(f.outcome(&ask(&[&cameo], "friend")).await, "max_uses");
    // Blocked, or only not approved: every part of the answer is the same.
    let mut answers = Vec::new();
    for requester in ["rude", "stranger"] {
        for purpose in [Purpose::Social, Purpose::Adult] {
            let request =
                crate::service::decisions::Request { purpose, ..ask(&[&cameo], requester) };
            let foreseen = f.services.foresee(&f.generator.key, &request, None).await.unwrap();
            let checks: Vec<_> = foreseen[0].looked_at().collect();
            answers.push((foreseen, checks));
            assert_eq!(denied(f.resolve(&request).await), "audience");
        }
    }
    assert!(answers.windows(2).all(|w| w[0] == w[1]), "{answers:?}");
}

async fn request(f: &Fixture, cameo: &CameoId, requester: &str) -> Result<Asked> {
    let wish = Wish { requester: who(requester), scope: social(), message: Some("please".into()) };
    let asked = std::sync::Mutex::new(None);
    let keep = |a: &Asked| {
        *asked.lock().unwrap() = Some(a.clone());
        ANSWER
    };
    f.services.ask_person(cameo, &wish, None, keep).await?;
    Ok(asked.into_inner().unwrap().unwrap())
}

async fn shown(f: &Fixture, cameo: &CameoId) -> Vec<RequestId> {
    let open = f.services.requests(cameo, true, None, 100).await.unwrap();
    open.into_iter().map(|a| a.id).collect()
}

fn approved_only() -> Permissions {
    Permissions { audience: Audience::Approved, ..everyone() }
}

#[rstest]
#[case::sqlite(Engine::Sqlite)]
#[case::postgres(Engine::Postgres)]
#[tokio::test]
async fn a_request_is_answered_once_for_a_time_or_never(#[case] engine: Engine) {
    let Some(f) = Fixture::new(engine).await else { return };
    let cameo = f.consenting("ann", &approved_only()).await;
    let mine = ask(&[&cameo], "bob");
    assert_eq!(f.outcome(&mine).await, "audience");

    let first = request(&f, &cameo, "bob").await.unwrap();
    assert_eq!(request(&f, &cameo, "bob").await.unwrap().id, first.id, "one open request");
    assert_eq!(shown(&f, &cameo).await, std::slice::from_ref(&first.id));
    let once = Verdict::Once(None);
    let (asked, grant) = f.services.answer_request(&first.id, &once, None).await.unwrap();
    assert_eq!((asked.standing, grant.unwrap().to), (Standing::Approved, who("bob")));
    let again = f.services.answer_request(&first.id, &once, None).await;
    assert!(matches!(again, Err(Error::RequestSettled)));
    assert_eq!(f.outcome(&mine).await, "allowed");
    assert_eq!(f.outcome(&mine).await, "max_uses");
    assert_eq!(f.outcome(&ask(&[&cameo], "eve")).await, "audience", "it was bob's grant");

    let second = request(&f, &cameo, "bob").await.unwrap();
    let until = Millis((f.now().0 / 1000 + 3600) * 1000);
    let narrower = Scope { restrictions: vec!["credit me".into()], ..social() };
    let for_an_hour = Verdict::Until(until, Some(narrower));
    let (_, grant) = f.services.answer_request(&second.id, &for_an_hour, None).await.unwrap();
    let grant = grant.unwrap();
    for _ in 0..2 {
        let Resolved::Allowed { issued, .. } = f.resolve(&mine).await.unwrap() else {
            panic!("a use within the hour was refused")
        };
        assert_eq!(issued[0].grant.name(), grant.id.as_str());
        assert!(issued[0].expires <= until);
    }
    f.services.revoke_grant(&cameo, &grant.id).await.unwrap();
    assert!(matches!(f.services.revoke_grant(&cameo, &grant.id).await, Err(Error::NotFound(_))));
    assert_eq!(f.outcome(&mine).await, "max_uses", "only the used-up grant is left");
    let listed = f.services.grants(&cameo, None, 10).await.unwrap();
    assert_eq!(listed.iter().filter(|g| g.revoked.is_some()).count(), 1);

    let third = request(&f, &cameo, "bob").await.unwrap();
    f.services.answer_request(&third.id, &Verdict::Never, None).await.unwrap();
    // Three within thirty days is all; then they ask in vain, and can't tell.
    assert!(matches!(request(&f, &cameo, "bob").await, Err(Error::TooMany { .. })));
    f.clock.advance(Duration::from_hours(31 * 24));
    let silent = request(&f, &cameo, "bob").await.unwrap();
    assert_eq!(silent.standing, Standing::Pending);
    assert!(shown(&f, &cameo).await.is_empty(), "a muted request reached the person");
    assert_eq!(f.services.request(&silent.id).await.unwrap().standing, Standing::Pending);
    f.clock.advance(requests::WAITS);
    assert_eq!(f.services.request(&silent.id).await.unwrap().standing, Standing::Expired);
    f.log_size().await;
}

#[rstest]
#[case::sqlite(Engine::Sqlite)]
#[case::postgres(Engine::Postgres)]
#[tokio::test]
async fn asking_tells_nobody_that_they_are_blocked_and_does_not_spam(#[case] engine: Engine) {
    let Some(f) = Fixture::new(engine).await else { return };
    let blocking = Permissions { block: people(&["rude"]), ..approved_only() };
    let cameo = f.consenting("ann", &blocking).await;
    let (rude, kind) =
        (request(&f, &cameo, "rude").await.unwrap(), request(&f, &cameo, "kind").await.unwrap());
    assert_eq!((rude.standing, rude.expires), (kind.standing, kind.expires));
    assert_eq!(shown(&f, &cameo).await, [kind.id]);
    // A grant to somebody who is blocked would be void, so it is not given.
    let given = f.services.answer_request(&rude.id, &Verdict::Once(None), None).await;
    assert!(matches!(given, Err(Error::RequestSettled | Error::Invalid { .. })), "{given:?}");
    // Muting everybody.
    f.services.mute(&cameo, None, true, None).await.unwrap();
    request(&f, &cameo, "zoe").await.unwrap();
    assert_eq!(shown(&f, &cameo).await.len(), 1);
    f.services.mute(&cameo, None, false, None).await.unwrap();
    request(&f, &cameo, "max").await.unwrap();
    assert_eq!(shown(&f, &cameo).await.len(), 2);
    // One person, many cameos, one day.
    let mut asked = 0;
    for n in 0..30 {
        let other = f.consenting(&format!("p{n}"), &approved_only()).await;
        match request(&f, &other, "busy").await {
            Ok(_) => asked += 1,
            Err(Error::TooMany { seconds }) => assert!(seconds > 3600),
            Err(e) => panic!("{e}"),
        }
    }
    assert_eq!(asked, requests::MAX_PER_ASKER);
    // The owner needs no permission, and an empty wish is none.
    assert!(matches!(request(&f, &cameo, "ann").await, Err(Error::Invalid { .. })));
}

#[rstest]
#[case::sqlite(Engine::Sqlite)]
#[case::postgres(Engine::Postgres)]
#[tokio::test]
async fn a_scene_is_resolved_whole_or_not_at_all(#[case] engine: Engine) {
    let Some(f) = Fixture::new(engine).await else { return };
    let open = Permissions {
        scope: Scope { company: Company::Anyone, max_uses: Some(5), ..social() },
        ..everyone()
    };
    let ann = f.consenting("ann", &open).await;
    let ben = f.consenting("ben", &open).await;
    let shy = f.consenting("shy", &everyone()).await;

    let Resolved::Allowed { scene, issued } = f.resolve(&ask(&[&ann, &ben], "zoe")).await.unwrap()
    else {
        panic!("two who mind no company were refused")
    };
    assert!(scene.is_some());
    assert_eq!(issued.iter().map(|i| &i.cameo).collect::<Vec<_>>(), [&ann, &ben]);
    assert_ne!(issued[0].token, issued[1].token);

    // The shy one appears with nobody but the requester.
    let Resolved::Denied { refusals } = f.resolve(&ask(&[&ann, &shy], "zoe")).await.unwrap() else {
        panic!("the shy one was shown with a stranger")
    };
    assert_eq!(refusals.iter().map(|r| r.rule.name()).collect::<Vec<_>>(), ["scene", "company"]);
    assert_eq!(f.outcome(&ask(&[&ann, &shy], "ann")).await, "allowed");
    // Nothing was counted for the scene that was refused: 5 uses, of which 2 are gone.
    for left in [3, 2, 1] {
        assert_eq!(f.outcome(&ask(&[&ann], "zoe")).await, "allowed", "{left} left");
    }
    assert_eq!(f.outcome(&ask(&[&ann, &ben], "zoe")).await, "max_uses");
    for bad in [vec![], vec![&ann, &ann], vec![&ann; 9]] {
        assert!(matches!(f.resolve(&ask(&bad, "zoe")).await, Err(Error::Invalid { .. })));
    }
}

#[rstest]
#[case::sqlite(Engine::Sqlite)]
#[case::postgres(Engine::Postgres)]
#[tokio::test]
async fn a_remix_asks_those_in_the_parent_again(#[case] engine: Engine) {
    let Some(f) = Fixture::new(engine).await else { return };
    let with = |purposes: &[Purpose]| Permissions {
        scope: Scope {
            purposes: purposes.iter().copied().collect(),
            company: Company::Anyone,
            ..social()
        },
        ..everyone()
    };
    let ann = f.consenting("ann", &with(&[Purpose::Social, Purpose::Remix])).await;
    let ben = f.consenting("ben", &with(&[Purpose::Social])).await;
    let Resolved::Allowed { issued, .. } = f.resolve(&ask(&[&ann], "zoe")).await.unwrap() else {
        panic!("ann allows everyone")
    };
    let derived = |parent: &crate::domain::ids::UseId, cameos: &[&CameoId]| {
        crate::service::decisions::Request { parent: Some(parent.clone()), ..ask(cameos, "max") }
    };
    // Ann permits remixes; Ben need not, as he is in none yet.
    let Resolved::Allowed { issued: second, .. } =
        f.resolve(&derived(&issued[0].use_id, &[&ben])).await.unwrap()
    else {
        panic!("ann permits remixes")
    };
    // But what derives from Ben's needs his leave too.
    assert_eq!(f.outcome(&derived(&second[0].use_id, &[&ann])).await, "remix");
    f.consent(&ben, &with(&[Purpose::Social, Purpose::Remix])).await.unwrap();
    assert_eq!(f.outcome(&derived(&second[0].use_id, &[&ann])).await, "allowed");
    // Ann, two generations back, changes her mind: as things stand now counts.
    f.consent(&ann, &with(&[Purpose::Social])).await.unwrap();
    assert_eq!(f.outcome(&derived(&second[0].use_id, &[&ben])).await, "remix");
    let nothing = "use_01JD3ZP3V5Q8W9X0Y1Z2A3B4C5".parse().unwrap();
    assert_eq!(denied(f.resolve(&derived(&nothing, &[&ben])).await), "not found");
}

#[rstest]
#[case::sqlite(Engine::Sqlite)]
#[case::postgres(Engine::Postgres)]
#[tokio::test]
async fn mutuals_are_whom_the_app_says(#[case] engine: Engine) {
    let Some(f) = Fixture::new(engine).await else { return };
    let mutuals = Permissions { audience: Audience::Mutuals, ..everyone() };
    let cameo = f.consenting("ann", &mutuals).await;
    let bob = ask(&[&cameo], "bob");
    assert_eq!(f.outcome(&bob).await, "audience");
    let say = async |mutual| {
        let pair = Said { person: who("bob"), other: who("ann"), mutual };
        f.services.put_mutuals(&[pair]).await.unwrap();
    };
    say(true).await;
    assert_eq!(f.outcome(&bob).await, "allowed");
    say(false).await;
    assert_eq!(f.outcome(&bob).await, "audience");
    say(true).await;
    assert_eq!(f.services.forget_mutuals(&who("bob")).await.unwrap(), 1);
    assert_eq!(f.outcome(&bob).await, "audience");
    assert!(f.services.put_mutuals(&[]).await.is_err());
}

/// Answers by the tens' place of how often it was asked.
#[derive(Debug, Default)]
struct Phone {
    asked: AtomicU32,
    dead: std::sync::atomic::AtomicBool,
    mutual: std::sync::atomic::AtomicBool,
}

impl AskGraph for Phone {
    fn mutual<'a>(
        &'a self,
        owner: &'a SubjectId,
        _: &'a SubjectId,
    ) -> BoxFuture<'a, std::result::Result<bool, String>> {
        async move {
            assert_eq!(owner.as_str(), "ann");
            self.asked.fetch_add(1, Ordering::SeqCst);
            if self.dead.load(Ordering::SeqCst) {
                return Err("nobody answers".into());
            }
            Ok(self.mutual.load(Ordering::SeqCst))
        }
        .boxed()
    }
}

#[tokio::test]
async fn a_graph_that_is_asked_is_asked_seldom_and_believed_shortly() {
    let phone = Arc::new(Phone::default());
    let f = Fixture::asking(Engine::Sqlite, Some(phone.clone())).await.unwrap();
    let mutuals =
        Permissions { audience: Audience::Mutuals, allow: people(&["friend"]), ..everyone() };
    let cameo = f.consenting("ann", &mutuals).await;
    let bob = ask(&[&cameo], "bob");
    let asked = || phone.asked.load(Ordering::SeqCst);
    // Those for whom it does not matter are not asked about.
    assert_eq!(f.outcome(&ask(&[&cameo], "friend")).await, "allowed");
    assert_eq!(asked(), 0);
    // A failure counts as no, and is not kept.
    phone.dead.store(true, Ordering::SeqCst);
    assert_eq!(
        (f.outcome(&bob).await, f.outcome(&bob).await, asked()),
        ("audience", "audience", 2)
    );
    phone.dead.store(false, Ordering::SeqCst);
    phone.mutual.store(true, Ordering::SeqCst);
    assert_eq!((f.outcome(&bob).await, f.outcome(&bob).await, asked()), ("allowed", "allowed", 3));
    // The answer is kept for 30 seconds, not longer, dead line or not.
    phone.dead.store(true, Ordering::SeqCst);
    f.clock.advance(Duration::from_secs(29));
    assert_eq!((f.outcome(&bob).await, asked()), ("allowed", 3));
    f.clock.advance(Duration::from_secs(1));
    assert_eq!((f.outcome(&bob).await, asked()), ("audience", 4));
    // What the app pushes would be passed over, so it is refused.
    let pair = Said { person: who("bob"), other: who("ann"), mutual: true };
    assert!(matches!(f.services.put_mutuals(&[pair]).await, Err(Error::Invalid { .. })));
}

#[rstest]
#[case::sqlite(Engine::Sqlite)]
#[case::postgres(Engine::Postgres)]
#[tokio::test]
async fn a_new_day_brings_new_uses_and_a_withdrawal_ends_all(#[case] engine: Engine) {
    let Some(f) = Fixture::new(engine).await else { return };
    let daily = Permissions {
        audience: Audience::Approved,
        allow: people(&["zoe"]),
        scope: Scope { max_per_day: Some(2), ..social() },
        ..everyone()
    };
    let cameo = f.consenting("ann", &daily).await;
    let zoe = ask(&[&cameo], "zoe");
    for expected in ["allowed", "allowed", "daily_limit"] {
        assert_eq!(f.outcome(&zoe).await, expected);
    }
    f.clock.advance(Duration::from_hours(24));
    assert_eq!(f.outcome(&zoe).await, "allowed");
    let asked = request(&f, &cameo, "bob").await.unwrap();
    f.services.answer_request(&asked.id, &Verdict::Once(None), None).await.unwrap();
    f.services.withdraw_consent(&cameo).await.unwrap();
    assert_eq!(f.outcome(&ask(&[&cameo], "ann")).await, "withdrawn");
    // Consent given anew does not bring back what was granted under the old.
    f.consent(&cameo, &daily).await.unwrap();
    assert_eq!(f.outcome(&ask(&[&cameo], "bob")).await, "audience");
    // Nor what was used up.
    assert_eq!((f.outcome(&zoe).await, f.outcome(&zoe).await), ("allowed", "allowed"));
}
