//! The use cases that join the rooms.

pub mod measure;
pub mod spread;
