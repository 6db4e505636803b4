//! What several rooms' tests need.

pub(crate) mod app;
pub(crate) mod captures;
pub(crate) mod given;
pub(crate) mod postgres;
