//! The store's suite, once per engine.

mod fixture;
mod hostile;
mod log;
mod onboarding;
mod people;
mod races;
mod schema;
