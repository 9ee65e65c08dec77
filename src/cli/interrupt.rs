//! ctrl-C: the first one asks for an orderly end, the second one kills.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use windfield::Error;

static REQUESTED: OnceLock<Instant> = OnceLock::new();

/// Signals this close together are one wish: `timeout` and shells send it to a process and again to its group.
const ECHO: Duration = Duration::from_millis(500);

/// The exit status of an interrupted program.
const STATUS: i32 = 130;

/// Interrupted: exit status 130. The message says what is left.
#[derive(Debug, thiserror::Error)]
#[error("interrupted: {0}")]
pub struct Interrupted(pub String);

/// From now on ctrl-C (and what asks a program to terminate) is noted instead of obeyed at once; a second one ends
/// the program on the spot. Files are whole either way.
pub fn watch() -> anyhow::Result<()> {
    ctrlc::set_handler(|| {
        if REQUESTED.get_or_init(Instant::now).elapsed() > ECHO {
            // At once: what a driver does at an ordinary exit crashes while its threads are at work.
            signal_hook::low_level::exit(STATUS);
        }
    })?;
    Ok(())
}

/// Whether an orderly end was asked for.
pub fn requested() -> bool {
    REQUESTED.get().is_some()
}

/// What the library said, with its own word for an interruption as an orderly end; `left` says what is there.
pub fn explain(error: anyhow::Error, left: &str) -> anyhow::Error {
    match error.downcast_ref() {
        Some(Error::Interrupted) => Interrupted(left.to_owned()).into(),
        _ => error,
    }
}

/// An error if an orderly end was asked for; `left` says what is there.
pub fn check(left: &str) -> Result<(), Interrupted> {
    if requested() { Err(Interrupted(left.to_owned())) } else { Ok(()) }
}
