//! The store's suite, once per engine.

mod batch;
mod fixture;
mod hostile;
mod log;
mod onboarding;
mod people;
mod races;
mod schema;
