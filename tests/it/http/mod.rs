//! The service through its HTTP door.

mod bad_input;
mod crash;
mod erasure;
mod identity;
mod onboarding;
mod pages;
mod real_clips;
mod story;
mod transparency;
mod uses;
