//! The use cases on both engines, without models: identities are enrolled straight into the store.

mod bucket;
mod duplicates;
mod export;
mod fixture;
mod key_frames;
mod permissions;
#[path = "../../tests/it/support/postgres.rs"]
mod postgres;
mod races;
mod records;
mod reviews;
