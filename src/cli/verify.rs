//! `windfield verify`: the theorems of flow matching, checked on this device.

use std::time::Instant;

use clap::builder::{PossibleValue, PossibleValuesParser};
use serde::Serialize;
use windfield::Error;
use windfield::measure::verify::{CHECKS, CONFIDENCE, Check, Criterion, Outcome, Verifier};
use windfield::report::duration;

use super::terminal::number;
use super::{Adapter, Context, interrupt};

/// Check the theorems of flow matching numerically on this device
///
/// What the kernels compute is held against double precision, closed forms and each other; the exit status is 0 if all
/// of it is as it should be. What rests on random batches is given with its interval at 99.9 % confidence: one seed in
/// a thousand fails by chance.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Run these checks alone
    #[arg(long, value_name = "NAME,…", value_delimiter = ',', value_parser = names(), help_heading = "Checks")]
    only: Vec<String>,
}

fn names() -> PossibleValuesParser {
    PossibleValuesParser::new(
        CHECKS.iter().map(|check| {
            PossibleValue::new(check.name).help(format!("{} (eq. {})", check.help, check.equation))
        }),
    )
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report {
    schema: u32,
    seed: u64,
    confidence: f64,
    checks: Vec<Line>,
    passed: bool,
    seconds: f64,
    adapter: Adapter,
}

/// A line of the table.
#[derive(Serialize)]
struct Line {
    check: &'static str,
    equation: &'static str,
    #[serde(flatten)]
    outcome: Outcome,
    passed: bool,
}

pub fn run(args: &Args, context: &Context) -> anyhow::Result<()> {
    interrupt::watch()?;
    let wanted = |check: &&Check| args.only.is_empty() || args.only.iter().any(|name| name == check.name);
    let checks: Vec<&Check> = CHECKS.iter().filter(wanted).collect();
    let device = context.device()?;
    let begun = Instant::now();
    let mut verifier = Verifier::new(&device, context.seed());
    verifier.stop_when(interrupt::requested);
    let mut progress = context.progress(0, checks.len() as u64);
    let mut lines = vec![];
    say(context, &HEADINGS.map(str::to_owned));
    for (done, check) in checks.iter().enumerate() {
        progress.show(done as u64, || check.help.to_owned());
        let outcomes = verifier.run(check).map_err(|error| match error {
            Error::Interrupted => interrupt::Interrupted("not all checks were made".to_owned()).into(),
            error => anyhow::Error::from(error),
        })?;
        progress.clear();
        for outcome in outcomes {
            let passed = outcome.passed();
            let line = Line { check: check.name, equation: check.equation, outcome, passed };
            say(context, &cells(&line));
            lines.push(line);
        }
        progress = context.progress(done as u64 + 1, checks.len() as u64);
    }
    progress.clear();
    let failed: Vec<String> = lines
        .iter()
        .filter(|line| !line.passed)
        .map(|line| format!("{}: {}", line.check, line.outcome.what))
        .collect();
    let count = lines.len();
    let elapsed = begun.elapsed();
    if failed.is_empty() {
        context.say(&format!("all {count} passed in {}", duration(elapsed)));
    }
    context.object(&Report {
        schema: 1,
        seed: context.seed(),
        confidence: CONFIDENCE,
        checks: lines,
        passed: failed.is_empty(),
        seconds: elapsed.as_secs_f64(),
        adapter: Adapter::of(&device),
    })?;
    if failed.is_empty() {
        return Ok(());
    }
    Err(anyhow::anyhow!(
        "{} of {count} checks failed on {}: {}",
        failed.len(),
        device.info().name,
        failed.join("; ")
    ))
}

const HEADINGS: [&str; 7] = ["check", "eq.", "what", "measured", "expected", "tolerance", "result"];
/// Of the columns.
const WIDTHS: [usize; 7] = [12, 5, 68, 8, 8, 9, 6];

/// A row of the table. The widths are fixed, so that every row can be shown as soon as it is known.
fn say(context: &Context, cells: &[String; 7]) {
    let mut row = String::new();
    for (cell, width) in cells.iter().zip(WIDTHS) {
        row.push_str(cell);
        let used = cell.chars().count();
        row.extend(std::iter::repeat_n(' ', (width + 1).saturating_sub(used).max(1)));
    }
    context.say(row.trim_end());
}

fn cells(line: &Line) -> [String; 7] {
    let Line { outcome, .. } = line;
    let tolerance = match outcome.criterion {
        Criterion::Within(tolerance) => format!("± {}", number(tolerance)),
        Criterion::AtLeast => "or more".to_owned(),
        Criterion::Interval { half_width, .. } => format!("± {}", number(half_width)),
    };
    [
        line.check.to_owned(),
        line.equation.to_owned(),
        outcome.what.clone(),
        number(outcome.measured),
        number(outcome.expected),
        tolerance,
        if line.passed { "pass" } else { "FAIL" }.to_owned(),
    ]
}
