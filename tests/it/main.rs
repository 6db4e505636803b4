//! Tests that go through several rooms; one folder or file for each.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod crypto;
mod infer;
mod models;
mod store;
mod support;
mod tlog;
mod token;
