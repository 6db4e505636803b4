//! Tests that go through several rooms; one folder or file for each.

mod crypto;
mod tlog;
mod token;
