//! Tests that go through several rooms; one folder or file for each.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod crypto;
mod store;
mod support;
mod tlog;
mod token;
