//! `cameo eval`: how well the models do on labelled data.

pub mod faces;
