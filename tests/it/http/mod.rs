//! The service through its HTTP door.

mod bad_input;
mod crash;
mod erasure;
mod identity;
mod key_frames;
mod onboarding;
mod pages;
mod real_clips;
mod resume;
mod step_retry;
mod story;
mod transparency;
mod uses;
