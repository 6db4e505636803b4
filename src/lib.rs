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
//! judges the evidence, [`identity`] turns it into templates, [`search`] finds who has that face
//! already, [`store`] keeps them sealed by [`crypto`], [`token`] carries them to a generator, and
//! [`tlog`] remembers that it happened.
//! [`service`] joins those rooms into use cases; [`http`] and [`cli`] are the two doors.
//!
//! # The import rule
//!
//! ```text
//! cli -> app -> {http, config} -> service -> {store, infer, media, liveness, identity, search, drawn, workshop, outbound}
//!                                         -> receipt -> {tlog, token} -> crypto -> domain -> env
//! ```
//!
//! A module may import only what stands to its right; those in one pair of braces never import
//! each other: `service` (and for the drawn head and the workshop, `cli`) joins them. A macro belongs to its room
//! too: `run_tx!` and `run_batched!` are `store`'s. `axum` is named only in `http`, `sqlx` only in `store`, `ort`,
//! `opencv` and `whisper_rs` only in `infer`, `ring` only in `crypto`, `ffmpeg_the_third`,
//! `landlock` and `seccompiler` only in `media`, and `anyhow` only in `app` and `cli`.
//! `tests/it/architecture.rs` keeps it so.
//!
//! # Without the service
//!
//! `default-features = false` leaves [`receipt`], [`tlog`], [`token`] and what they stand on: what a
//! generator, an auditor or a person needs to check and open things, without models, media, database
//! or server.

#[cfg(feature = "service")]
pub mod app;
#[cfg(feature = "service")]
pub mod cli;
#[cfg(feature = "service")]
pub mod config;
pub mod crypto;
pub mod domain;
#[cfg(feature = "service")]
pub mod drawn;
pub mod env;
#[cfg(feature = "service")]
pub mod http;
#[cfg(feature = "service")]
pub mod identity;
#[cfg(feature = "service")]
pub mod infer;
#[cfg(feature = "service")]
pub mod liveness;
#[cfg(feature = "service")]
pub mod media;
#[cfg(feature = "service")]
pub mod outbound;
pub mod receipt;
#[cfg(feature = "service")]
pub mod search;
#[cfg(feature = "service")]
pub mod service;
#[cfg(feature = "service")]
pub mod store;
pub mod tlog;
pub mod token;
#[cfg(feature = "service")]
pub mod workshop;
