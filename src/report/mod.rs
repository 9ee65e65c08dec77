//! What a person sees: pictures.

pub mod plot;
