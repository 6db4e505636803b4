//! From measured frames to the template that is kept: which samples, how good, in which form.
//!
//! [`quality`] rates a face sample, [`select`] keeps the best sample of each pose while frames
//! stream by, and [`template`] assembles, checks, encodes and decodes the
//! [`Template`](crate::domain::template::Template). Nothing here runs a model or does I/O.

pub mod quality;
pub mod select;
pub mod template;
