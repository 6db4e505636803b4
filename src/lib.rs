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
//! cli -> app -> {http, config} -> service -> {store, infer, media, liveness, identity, drawn, workshop, outbound}
//!                                         -> receipt -> {tlog, token} -> crypto -> domain -> env
//! ```
//!
//! A module may import only what stands to its right; those in one pair of braces never import
//! each other: `service` (and for the drawn head and the workshop, `cli`) joins them. A macro belongs to its room
//! too: `run_tx!` and `run_batched!` are `store`'s. `axum` is named only in `http`, `sqlx` only in `store`, `ort`,
//! `opencv` and `whisper_rs` only in `infer`, `ring` only in `crypto`, `ffmpeg_the_third`,
//! `landlock` and `seccompiler` only in `media`, and `anyhow` only in `app` and `cli`.
//! `tests/it/architecture.rs` keeps it so.

pub mod app;
pub mod cli;
pub mod config;
pub mod crypto;
pub mod domain;
pub mod drawn;
pub mod env;
pub mod http;
pub mod identity;
pub mod infer;
pub mod liveness;
pub mod media;
pub mod outbound;
pub mod receipt;
pub mod service;
pub mod store;
pub mod tlog;
pub mod token;
pub mod workshop;
