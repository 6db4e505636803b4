//! Consent records: texts, receipts, the archive.

use std::collections::BTreeMap;
use std::io::Read;

use rstest::rstest;

use super::fixture::{Fixture, ask, everyone, social, who};
use crate::crypto::hash::sha256;
use crate::domain::consent::{Audience, Permissions, Purpose, Scope};
use crate::receipt::consent as receipt;
use crate::service::Error;
use crate::service::receipts::Form;
use crate::service::requests::{Asked, Verdict, Wish};
use crate::service::texts::Shown;
use crate::store::Engine;

const WORDS: &str = "You allow others to make videos of you, also for advertising.";

#[rstest]
#[case::sqlite(Engine::Sqlite)]
#[case::postgres(Engine::Postgres)]
#[tokio::test]
async fn a_text_stays_as_it_was_and_harm_must_be_named(#[case] engine: Engine) {
    let Some(f) = Fixture::new(engine).await else { return };
    let cameo = f.enrolled("ann").await;
    let purposes = [Purpose::Social, Purpose::Advertising].into();
    let kept = f.services.put_text("2026-11", "en", WORDS, &purposes).await.unwrap();
    assert_eq!(kept.sha256, sha256(WORDS.as_bytes()));
    let size = f.log_size().await;
    assert_eq!(f.services.put_text("2026-11", "en", WORDS, &purposes).await.unwrap(), kept);
    assert_eq!(f.log_size().await, size, "the same text twice is one text");
    let other = f.services.put_text("2026-11", "en", "Other words.", &purposes).await;
    assert!(matches!(other, Err(Error::TextKept)));
    for (version, locale, body) in
        [("a b", "en", "x"), ("v", "not a tag", "x"), ("v", "en", " "), ("v", "", "x")]
    {
        let put = f.services.put_text(version, locale, body, &purposes).await;
        assert!(matches!(put, Err(Error::Invalid { .. })), "{version} {locale}");
    }

    let with = |purpose| Permissions {
        scope: Scope { purposes: [purpose].into(), ..social() },
        ..everyone()
    };
    let put = async |purpose, version: &str, locale: Option<&str>| {
        let shown = Shown { version: version.into(), locale: locale.map(str::to_owned) };
        f.services.put_consent(&cameo, &with(purpose), &shown, None).await
    };
    // A kept text needs its language, and must name what can do harm.
    for (purpose, version, locale) in [
        (Purpose::Social, "2026-11", None),
        (Purpose::Social, "2026-11", Some("fr")),
        (Purpose::Political, "2026-11", Some("en")),
    ] {
        let refused = put(purpose, version, locale).await;
        assert!(matches!(refused, Err(Error::Invalid { .. })), "{purpose:?} on {version}");
    }
    let given = put(Purpose::Advertising, "2026-11", Some("en")).await.unwrap();
    assert_eq!(given.text_sha256, Some(kept.sha256));
    assert_eq!(put(Purpose::Social, "unkept", None).await.unwrap().text_sha256, None);
}

#[rstest]
#[case::sqlite(Engine::Sqlite)]
#[case::postgres(Engine::Postgres)]
#[tokio::test]
async fn every_event_has_a_receipt_that_holds_offline(#[case] engine: Engine) {
    let Some(f) = Fixture::new(engine).await else { return };
    let cameo = f.enrolled("ann").await;
    f.services.put_text("2026-11", "de-CH", WORDS, &[Purpose::Social].into()).await.unwrap();
    let shown = Shown { version: "2026-11".into(), locale: Some("de-CH".into()) };
    let approved = Permissions { audience: Audience::Approved, ..everyone() };
    for permissions in [&everyone(), &approved] {
        f.services.put_consent(&cameo, permissions, &shown, None).await.unwrap();
    }
    let wish = Wish { requester: who("bob"), scope: social(), message: None };
    let asked = std::sync::Mutex::new(None);
    let keep = |a: &Asked| {
        *asked.lock().unwrap() = Some(a.id.clone());
        super::fixture::ANSWER
    };
    f.services.ask_person(&cameo, &wish, None, keep).await.unwrap();
    let request = asked.into_inner().unwrap().unwrap();
    let once = Verdict::Once(None);
    let (_, grant) = f.services.answer_request(&request, &once, None).await.unwrap();
    let grant = grant.unwrap().id;
    let given = f.services.grant_receipt(&cameo, &grant).await.unwrap();
    f.services.revoke_grant(&cameo, &grant).await.unwrap();
    let revoked = f.services.grant_receipt(&cameo, &grant).await.unwrap();
    f.services.withdraw_consent(&cameo).await.unwrap();

    let keys = f.services.signing().receipt_keys();
    let mut all = vec![given, revoked];
    for version in 1..=3 {
        all.push(f.services.consent_receipt(&cameo, Some(version)).await.unwrap());
    }
    let events: Vec<&str> =
        all.iter().map(|r| r.events.last().unwrap().event_type.as_str()).collect();
    assert_eq!(events, ["grant_given", "grant_revoked", "given", "changed", "withdrawn"]);
    for receipt in &all {
        for form in [Form::Json, Form::Cose] {
            let signed = f.services.sign_receipt(receipt, form).unwrap();
            let verified = receipt::verify(&signed, &keys).unwrap();
            assert_eq!(&verified.receipt, receipt);
        }
        assert_eq!(receipt.pii_principal_id, "ann");
        assert_eq!(
            receipt.pii_processing.notice.sha256,
            Some(hex::encode(sha256(WORDS.as_bytes())))
        );
        assert_eq!(receipt.party_identification[0].party_name, "Example AG");
    }
    assert_eq!(all[0].terms.as_ref().unwrap()["max_uses"], 1);
    assert_eq!(all[2].terms.as_ref().unwrap()["audience"], "everyone");
    assert_eq!(all[2].pii_processing.purposes[0].purpose_type, "dpv:NonCommercialPurpose");
    assert_eq!((&all[4].terms, all[4].pii_processing.purposes.len()), (&None, 0));
    let missing = f.services.consent_receipt(&cameo, Some(9)).await;
    assert!(matches!(missing, Err(Error::NotFound(_))));
}

#[rstest]
#[case::sqlite(Engine::Sqlite)]
#[case::postgres(Engine::Postgres)]
#[tokio::test]
async fn the_archive_has_everything_and_the_log_knows_of_it(#[case] engine: Engine) {
    let Some(f) = Fixture::new(engine).await else { return };
    let cameo = f.consenting("ann", &everyone()).await;
    f.consenting("ben", &everyone()).await;
    f.resolve(&ask(&[&cameo], "zoe")).await.unwrap();
    let size = f.log_size().await;
    let archive = f.services.export_person(&f.app, &who("ann")).await.unwrap();
    assert_eq!(f.log_size().await, size + 1);
    let mut files = BTreeMap::new();
    for entry in tar::Archive::new(archive.as_slice()).entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().to_str().unwrap().to_owned();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        files.insert(name, bytes);
    }
    let json = |name: &str| serde_json::from_slice::<serde_json::Value>(&files[name]).unwrap();
    assert_eq!(json("person.json")["subject"], "ann");
    assert_eq!(json("cameo.json")["id"], cameo.as_str());
    assert!(json("template.json")["faces"][0]["vector"][2].as_f64().is_some());
    assert_eq!(json("uses.json")[0]["requester"], "zoe");
    assert_eq!(files.keys().filter(|n| n.starts_with("verifications/")).count(), 1);
    let keys = crate::crypto::KeySet::from_cose(&files["keys/receipt-keys.cose"]).unwrap();
    for form in ["consents/1.json", "consents/1.cose"] {
        assert_eq!(receipt::verify(&files[form], &keys).unwrap().receipt.record_id, cameo.as_str());
    }
    assert!(files.values().all(|b| !b.windows(3).any(|w| w == b"ben")), "somebody else's data");
    let nobody = f.services.export_person(&f.app, &who("nobody")).await;
    assert!(matches!(nobody, Err(Error::NotFound(_))));
}
