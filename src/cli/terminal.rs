//! What is printed, and where: results and facts on standard output, progress on standard error and only to a
//! terminal.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use super::Context;

/// Writes to standard output. A reader that has gone away (`| head`) is no failure; a full disk is.
pub fn print(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(anyhow::anyhow!("cannot write to standard output: {error}"))
        }
        _ => Ok(()),
    }
}

/// A line on standard error about something that did not keep the command from its work.
pub fn warn(line: &str) {
    let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
    let _ = writeln!(io::stderr(), "warning: {line}");
}

impl Context {
    /// A line for people, on standard output.
    pub fn say(&self, line: &str) {
        if !self.quiet && !self.json {
            // What is said is never worth a failure of what is done.
            let _ = print(&format!("{line}\n"));
        }
    }

    /// Lines of cells, in columns as wide as they have to be.
    pub fn table<R: AsRef<[String]>>(&self, lines: &[R]) {
        let columns = lines.iter().map(|line| line.as_ref().len()).max().unwrap_or(0);
        let mut widths = vec![0; columns];
        for line in lines {
            for (width, cell) in widths.iter_mut().zip(line.as_ref()) {
                *width = cell.chars().count().max(*width);
            }
        }
        for line in lines {
            let mut text = String::new();
            for (cell, width) in line.as_ref().iter().zip(&widths) {
                text.push_str(cell);
                text.extend(std::iter::repeat_n(' ', width + 2 - cell.chars().count()));
            }
            self.say(text.trim_end());
        }
    }

    /// The one JSON object, if it was asked for.
    pub fn object(&self, object: &impl Serialize) -> anyhow::Result<()> {
        if !self.json {
            return Ok(());
        }
        let mut text = serde_json::to_string_pretty(object)?;
        text.push('\n');
        print(&text)
    }

    /// Whether the answer is to be a JSON object.
    pub fn wants_json(&self) -> bool {
        self.json
    }

    /// A bar of `length` units that begins at `position`.
    pub fn progress(&self, position: u64, length: u64) -> Progress {
        let bar = if !self.quiet && io::stderr().is_terminal() {
            let bar = ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::stderr());
            // The template is fixed: if it were wrong, the plain style would do.
            if let Ok(style) = ProgressStyle::with_template("{bar:28} {pos}/{len}  {msg}") {
                bar.set_style(style.progress_chars("━╸─"));
            }
            bar.set_position(position);
            Some(bar)
        } else {
            None
        };
        Progress { bar }
    }

    /// A sign of life, for work whose length nobody knows: what is done, and for how long.
    pub fn waiting(&self, what: &str) -> Progress {
        let bar = (!self.quiet && io::stderr().is_terminal()).then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}  {elapsed}") {
                bar.set_style(style);
            }
            bar.set_message(what.to_owned());
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        });
        Progress { bar }
    }
}

/// The progress of a command.
pub struct Progress {
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Shows how far it is. `message` is asked only when it will be shown.
    pub fn show(&mut self, position: u64, message: impl FnOnce() -> String) {
        if let Some(bar) = &self.bar {
            bar.set_message(message());
            bar.set_position(position);
        }
    }

    /// Changes how far there is to go.
    pub fn resize(&mut self, length: u64) {
        if let Some(bar) = &self.bar {
            bar.set_length(length);
        }
    }

    /// Takes the bar away.
    pub fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}

/// A path as it can be typed into a shell.
pub fn typed(path: &std::path::Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_alphanumeric() || "/._-+=:,@%\\".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// A number of five digits, or three and its power of ten.
pub fn number(value: f64) -> String {
    if value == 0.0 || (0.01..1000.0).contains(&value.abs()) {
        let digits = format!("{value:.4}");
        digits.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        let digits = format!("{value:.2e}");
        digits.replacen(".00e", "e", 1)
    }
}
