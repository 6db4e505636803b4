//! The use cases that join the rooms.

pub mod bench;
pub mod measure;
pub mod spread;
