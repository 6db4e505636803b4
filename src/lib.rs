//! Cameo: the identity and consent service behind a generative-video app.
//!
//! A person records a short selfie video; the service checks that a live person is there and does
//! what was asked, extracts a sealed identity, keeps that person's consent, and hands a generator a
//! signed conditioning token only where the consent allows it. Every consent event and every use
//! lands in a transparency log.
//!
//! # The house
//!
//! The way of a capture: [`media`] decodes it in a sandbox, [`infer`] measures it, [`liveness`]
//! judges the evidence, [`identity`] turns it into templates, [`store`] keeps them sealed by
//! [`crypto`], [`token`] carries them to a generator, and [`tlog`] remembers that it happened.
//! [`service`] joins those rooms into use cases; [`http`] and [`cli`] are the two doors.
//!
//! # The import rule
//!
//! ```text
//! cli -> app -> http -> service -> {store, infer, media, liveness, identity, drawn}
//!                                -> {token, tlog} -> crypto -> domain -> env
//! ```
//!
//! A module may import only what stands to its right. `store`, `infer`, `media`, `liveness`,
//! `identity` and `drawn` never import each other; `service` (and for the drawn head, `cli`) joins
//! them. `axum` is named only in `http`, `sqlx` only in `store`, `ort` and `whisper_rs` only in
//! `infer`, `ring` only in `crypto`, `ffmpeg_the_third` only in `media`, and `opencv` only in
//! `media`, `liveness` and `infer`. `tests/it/architecture.rs` keeps it so.

pub mod config;
pub mod crypto;
pub mod domain;
pub mod env;
pub mod identity;
pub mod infer;
pub mod media;
pub mod store;
pub mod tlog;
pub mod token;
