//! The integration tests: one binary, a file or folder per room.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod agreement;
mod architecture;
mod config;
mod crypto;
mod drawn;
mod eval;
mod http;
mod infer;
mod liveness;
mod log_crash;
mod measure;
mod media;
mod models;
mod store;
mod support;
mod tlog;
mod token;
