//! ctrl-C: the first one asks for an orderly end, the second one kills.

use std::sync::atomic::{AtomicBool, Ordering};

static REQUESTED: AtomicBool = AtomicBool::new(false);

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
        if REQUESTED.swap(true, Ordering::SeqCst) {
            std::process::exit(STATUS);
        }
    })?;
    Ok(())
}

/// Whether an orderly end was asked for.
pub fn requested() -> bool {
    REQUESTED.load(Ordering::SeqCst)
}

/// An error if an orderly end was asked for; `left` says what is there.
pub fn check(left: &str) -> Result<(), Interrupted> {
    if requested() { Err(Interrupted(left.to_owned())) } else { Ok(()) }
}
