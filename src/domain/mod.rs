//! The words of the trade: pure types and state machines, no I/O.

pub mod access;
pub mod challenge;
pub mod consent;
pub mod evidence;
pub mod ids;
pub mod key_frame;
pub mod step;
pub mod template;
pub mod uses;
pub mod verdict;
pub mod verification;
