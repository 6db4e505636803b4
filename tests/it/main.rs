//! Tests that go through several rooms; one folder or file for each.

mod crypto;
mod tlog;
mod token;
//! One integration binary; a module per room.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod media;
//! The integration tests: one binary, a file or folder per room.

mod drawn;
