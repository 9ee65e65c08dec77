//! What a run leaves for people to look at: its folder, its history, its pictures, its progress in numbers.
//!
//! Nothing here prints. [`RunFolder`], [`Metrics`] and [`evaluation`] write files; [`Comparison`] and [`survey()`] read those of
//! several runs; [`pictures`] asks a trained model for what
//! [`plot`] draws; [`page`](page::page) makes one for a browser; [`Smoothed`] and [`Rate`] turn a stream of losses into what a progress bar shows.

mod comparison;
pub mod evaluation;
pub mod page;
pub mod pictures;
pub mod plot;
mod progress;
mod run;
mod survey;
mod tensorboard;

pub use comparison::Comparison;
pub use progress::{Rate, Smoothed, approximately, bytes, count, counted, duration};
pub use run::{CONFIG_FORMAT, DataRecord, Metrics, ModelRecord, Resumption, Row, RunConfig, RunFolder};
pub use survey::{Cell, SURVEY, Summary, survey};
pub use tensorboard::Events;
