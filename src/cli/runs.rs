//! `windfield runs`: the runs below a folder, a row each.

use std::path::PathBuf;

use clap::builder::{PossibleValue, PossibleValuesParser};
use serde::Serialize;
use windfield::report::{Cell, SURVEY, Summary, counted, survey};

use super::terminal::{print, typed};
use super::{Context, Usage};

/// Compare the runs below a folder in a table
///
/// A run whose files are damaged or missing is listed with what is wrong.
#[derive(Debug, clap::Args)]
#[command(after_help = "The loss is comparable between runs of the same data, path and coupling alone.")]
pub struct Args {
    /// The folder, searched with all that is below it
    #[arg(value_name = "DIR", default_value = "runs")]
    folder: PathBuf,
    /// The column that the rows are sorted by
    #[arg(long, value_name = "COLUMN", default_value = SURVEY[0].name, value_parser = columns())]
    sort: String,
    /// From the largest to the smallest
    #[arg(long)]
    reverse: bool,
    /// Print the table as CSV
    #[arg(long, conflicts_with = "json")]
    csv: bool,
}

fn columns() -> PossibleValuesParser {
    PossibleValuesParser::new(SURVEY.iter().map(|column| PossibleValue::new(column.name).help(column.help)))
}

/// What `--json` prints.
#[derive(Serialize)]
struct Listing<'a> {
    schema: u32,
    runs: &'a [Summary],
}

pub fn run(args: &Args, context: &Context) -> anyhow::Result<()> {
    let Some(column) = SURVEY.iter().find(|column| column.name == args.sort) else {
        return Err(Usage(format!("there is no column `{}`", args.sort)).into());
    };
    let mut runs = survey(&args.folder)?;
    if runs.is_empty() {
        anyhow::bail!(
            "{} holds no run, nor does any folder below it; give the folder of --out of `windfield train`",
            typed(&args.folder)
        );
    }
    runs.sort_by(|a, b| {
        let (a, b) = ((column.cell)(a), (column.cell)(b));
        match (&a, &b) {
            // What is not known is last either way.
            (Cell::Nothing, _) | (_, Cell::Nothing) => a.order(&b),
            _ if args.reverse => b.order(&a),
            _ => a.order(&b),
        }
    });
    let heading: Vec<String> = SURVEY.iter().map(|column| column.name.to_owned()).collect();
    if args.csv {
        let mut writer = csv::Writer::from_writer(vec![]);
        writer.write_record(&heading)?;
        for run in &runs {
            writer.write_record(SURVEY.iter().map(|column| match (column.cell)(run) {
                Cell::Text(text) => text,
                Cell::Number(number) => number.to_string(),
                Cell::Nothing => String::new(),
            }))?;
        }
        return print(&String::from_utf8(writer.into_inner().map_err(csv::IntoInnerError::into_error)?)?);
    }
    let mut lines = vec![heading];
    lines.extend(runs.iter().map(|run| {
        SURVEY
            .iter()
            .map(|column| match (column.cell)(run) {
                Cell::Text(text) => text,
                Cell::Number(number) => (column.show)(number),
                Cell::Nothing => "–".to_owned(),
            })
            .collect()
    }));
    context.table(&lines);
    context.say(&counted(runs.len(), "run", "runs"));
    context.object(&Listing { schema: 1, runs: &runs })
}
