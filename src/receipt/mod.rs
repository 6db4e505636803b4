//! Receipts: signed records that a person, a generator or an auditor keeps, and checks against the
//! transparency log without asking the service.

pub mod consent;
pub mod deletion;
pub mod usage;
