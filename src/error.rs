//! The one error type of the library.
//!
//! Every message is a single line that says what went wrong, where, and what
//! to do about it; the binary prints it as it is.

use std::path::{Path, PathBuf};

/// The library's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong in windfield.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be read or written.
    #[error("cannot {action} {path}: {source}", path = path.display())]
    Io {
        /// What was being done, in the infinitive: "read", "write".
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The operating system's answer.
        source: std::io::Error,
    },
    /// A file or data set was read but its content cannot be used.
    #[error("{place}: {what}; {remedy}")]
    Input {
        /// The file (with line or column where known) or the source's name.
        place: String,
        /// What is wrong with it.
        what: String,
        /// What the user can do.
        remedy: String,
    },
    /// A setting is out of its range or does not fit another one.
    #[error("{what}; {remedy}")]
    Config {
        /// The setting and its value.
        what: String,
        /// What would be accepted.
        remedy: String,
    },
    /// No adapter was found, or none matches the one asked for.
    #[error("no GPU adapter: {what}; {remedy}")]
    NoAdapter {
        /// What was tried, and what there is.
        what: String,
        /// What to install or pass instead.
        remedy: String,
    },
    /// Something asked for is over a limit of the device; nothing was allocated.
    #[error("{what} needs {asked} {unit}, but {limit_name} of {device} is {limit}; lower {flag}")]
    Limit {
        /// What needs it.
        what: String,
        /// How much was asked for.
        asked: u64,
        /// "bytes", "workgroups", …
        unit: &'static str,
        /// The limit's name in WebGPU's terms.
        limit_name: &'static str,
        /// Its value on this device.
        limit: u64,
        /// The device's name.
        device: String,
        /// The flag or setting to lower.
        flag: String,
    },
    /// The device ran out of memory.
    #[error(
        "out of device memory: {what} ({bytes} bytes); lower {flag} or close other programs that use the device"
    )]
    OutOfMemory {
        /// What was being allocated.
        what: String,
        /// How many bytes were asked for.
        bytes: u64,
        /// The flag or setting to lower.
        flag: String,
    },
    /// The driver gave the device up.
    #[error(
        "the device was lost: {reason}; start again with `--resume` to go on from the last checkpoint, and update the driver if it happens twice"
    )]
    DeviceLost {
        /// What the driver said.
        reason: String,
    },
    /// The driver or the shader compiler refused something: a defect of windfield or of the driver.
    #[error("the device refused {what}: {reason}; please report this with the output of `windfield devices`")]
    Device {
        /// What was asked of it.
        what: String,
        /// Its answer.
        reason: String,
    },
    /// Whoever watches a long computation asked it to stop.
    #[error("interrupted")]
    Interrupted,
    /// A value on the device stopped being finite.
    #[error("{what} is not finite at step {step}; {remedy}")]
    NonFinite {
        /// Which value.
        what: &'static str,
        /// The training step.
        step: u64,
        /// What the user can do.
        remedy: &'static str,
    },
}

impl Error {
    /// An [`Error::Io`] for `path`.
    pub fn io(action: &'static str, path: impl AsRef<Path>, source: std::io::Error) -> Self {
        Self::Io { action, path: path.as_ref().to_owned(), source }
    }

    /// An [`Error::Input`]: `place: what; remedy`.
    pub fn input(place: impl Into<String>, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Input { place: place.into(), what: what.into(), remedy: remedy.into() }
    }

    /// An [`Error::Config`]: `what; remedy`.
    pub fn config(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Config { what: what.into(), remedy: remedy.into() }
    }
}
