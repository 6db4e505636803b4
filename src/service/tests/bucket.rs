//! The log published to an object store, by several processes and without a lock.

use super::fixture::Fixture;
use crate::domain::access::Role;
use crate::outbound::bucket::fake::Store;
use crate::service::Services;
use crate::service::publish::{PublishError, Shelf};
use crate::store::Engine;
use crate::tlog::publish::{Error, Tiles};
use crate::tlog::tile::CHECKPOINT;
use crate::tlog::{check, checkpoint};

async fn published_to(store: &Store) -> Fixture {
    let bucket = store.bucket("secret");
    Fixture::with(Engine::Sqlite, move |s| s.log.shelf = Shelf::Bucket(bucket.clone()))
        .await
        .unwrap()
}

/// Appends, and publishes until nobody is in the way.
async fn append_and_publish(services: Services, name: &str) -> u32 {
    let mut overtaken = 0;
    for n in 0..12 {
        services.create_key(Role::Auditor, &format!("{name}{n}")).await.unwrap();
        loop {
            match services.publish().await {
                Ok(_) => break,
                Err(PublishError::Tiles(Error::Overtaken)) => overtaken += 1,
                Err(e) => panic!("{e}"),
            }
        }
    }
    overtaken
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_publish_one_log() {
    let store = Store::start();
    let f = published_to(&store).await;
    let other = f.replica(7).await;
    let (one, two) = tokio::join!(
        tokio::spawn(append_and_publish(f.services.clone(), "one")),
        tokio::spawn(append_and_publish(other.clone(), "two"))
    );
    println!("overtaken {} times", one.unwrap() + two.unwrap());
    let head = f.services.publish().await.unwrap();
    let keys = [f.services.signing().log_key().unwrap()];
    let tiles = f.services.tiles().clone();
    let found =
        tokio::task::spawn_blocking(move || check::check(&tiles, &keys, None, |_, _, _| ()));
    assert_eq!(found.await.unwrap().unwrap().head, head);
    assert!(f.services.self_audit(None, |_, _| ()).await.unwrap().is_ok());
    assert!(other.prove_inclusion(head.size - 1).await.is_ok());
    assert!(store.names().contains(&CHECKPOINT.to_owned()), "{:?}", store.names());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_checkpoint_is_not_replaced_and_another_log_is_not_published_over() {
    let store = Store::start();
    let f = published_to(&store).await;
    f.services.publish().await.unwrap();
    f.services.create_key(Role::Auditor, "more").await.unwrap();
    // Between this process's reading and writing, the checkpoint becomes another one.
    let (shown, keys) = (store.bucket("secret"), [f.services.signing().log_key().unwrap()]);
    let before = tokio::task::spawn_blocking(move || shown.get(CHECKPOINT)).await.unwrap();
    let before = before.unwrap().unwrap();
    store.meanwhile(CHECKPOINT, b"somebody else's");
    let e = f.services.publish().await.unwrap_err();
    assert!(matches!(&e, PublishError::Tiles(Error::Overtaken)) && !e.is_fatal(), "{e}");
    // What lies there now is not this log's.
    let e = f.services.publish().await.unwrap_err();
    assert!(matches!(&e, PublishError::Foreign(_)) && e.is_fatal(), "{e}");
    assert!(checkpoint::open(&before, &keys).is_ok());
}
