//! The program `windfield`: the command line over the library of the same name.
//!
//! Exit status: 0 done; 1 it failed, with one line saying what, where and what to do; 2 wrong usage; 130 interrupted.

mod cli;

use std::io::Write;
use std::panic;
use std::process::ExitCode;

use cli::{Interrupted, Usage};

fn main() -> ExitCode {
    silence_mesa();
    panic::set_hook(Box::new(|panic| {
        let place =
            panic.location().map(|place| format!(" ({}:{})", place.file(), place.line())).unwrap_or_default();
        let what = panic.payload_as_str().unwrap_or("it panicked");
        complain(&format!(
            "this is a defect of windfield: {what}{place}; please report it with the command you typed"
        ));
    }));
    match panic::catch_unwind(cli::run) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => {
            complain(&error.to_string());
            if error.is::<Interrupted>() {
                ExitCode::from(130)
            } else if error.is::<Usage>() {
                ExitCode::from(2)
            } else {
                ExitCode::FAILURE
            }
        }
        // The hook has said it.
        Err(_) => ExitCode::FAILURE,
    }
}

/// Mesa's Vulkan layer for choosing a GPU asks the Wayland compositor which one it uses. Where there is no login
/// session, that prints "error: XDG_RUNTIME_DIR is invalid or not set in the environment" on standard error, which
/// is no error of anything. There the layer is switched off, unless its own variables say that it is wanted.
#[allow(unsafe_code, reason = "the only way to set a variable for libraries of this process")]
fn silence_mesa() {
    let unset = |name: &str| std::env::var_os(name).is_none_or(|value| value.is_empty());
    if ["XDG_RUNTIME_DIR", "MESA_VK_DEVICE_SELECT", "DRI_PRIME"].into_iter().all(unset) {
        // SAFETY: this is the first thing that main does: no other thread is there to read the environment.
        unsafe { std::env::set_var("NODEVICE_SELECT", "1") };
    }
}

/// One line on standard error, whatever the message is made of. If nobody is there to read it, so be it.
fn complain(message: &str) {
    let line = message.split_whitespace().collect::<Vec<_>>().join(" ");
    let _ = writeln!(std::io::stderr(), "error: {line}");
}
