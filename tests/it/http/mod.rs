//! The service through its HTTP door.

mod bad_input;
mod crash;
mod onboarding;
mod real_clips;
mod story;
mod transparency;
mod uses;
