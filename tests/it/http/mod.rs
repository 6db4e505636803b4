//! The service through its HTTP door.

mod bad_input;
mod crash;
mod identity;
mod onboarding;
mod pages;
mod real_clips;
mod story;
mod transparency;
mod uses;
