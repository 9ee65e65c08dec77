//! `windfield rerun`: a run, made again from what its folder says of it, and the bits of both beside each other.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::CommandFactory;
use serde::Serialize;
use toml::Value;
use windfield::Error;
use windfield::flow::Coupling;
use windfield::model::Model;
use windfield::report::{Comparison, RunConfig, RunFolder, count};

use super::terminal::{number, typed};
use super::train::round_folder;
use super::{Cli, Command, Context, config, train};

/// Repeat a run, and say whether its bits agree
///
/// Trains anew with the settings in config.toml, on the same data, into another folder, and compares the weights of both
/// models bit by bit. The same adapter, driver and version of windfield give the same bits.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit status: 0 if all bits agree, or if something is another than it was (the adapter, its driver, the version \
        of windfield, the kernels), which is named; 1 if the same adapter gave other bits."
)]
pub struct Args {
    /// The folder of the run; of several rounds of `reflow`, the one that holds them
    #[arg(value_name = "DIR")]
    run: PathBuf,
    /// The folder of the repetition [default: DIR-rerun, or the first that is free: DIR-rerun-2, …]
    #[arg(long, short, value_name = "DIR", help_heading = "Output")]
    out: Option<PathBuf>,
    /// Where the data are now, if they have moved
    #[arg(long, value_name = "SOURCE", help_heading = "Data")]
    data: Option<String>,
    /// Where the data set in the place of the Gaussian is now
    #[arg(long, value_name = "SOURCE", help_heading = "Data")]
    source: Option<String>,
    /// Where the model of the run's --init is now
    #[arg(long, value_name = "MODEL", help_heading = "Data")]
    init: Option<String>,
    /// Where the model of the run's --from-model is now
    #[arg(long, value_name = "MODEL", help_heading = "Data")]
    from_model: Option<String>,
    /// Draw no pictures
    #[arg(long, help_heading = "Output")]
    no_pictures: bool,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'a> {
    schema: u32,
    run: &'a Path,
    out: &'a Path,
    /// Whether all bits agree.
    same: bool,
    /// One, or one of each round.
    models: &'a [Comparison],
}

pub fn run(args: &Args, context: &Context) -> anyhow::Result<()> {
    let (folders, rounds) = folders(&args.run)?;
    let recorded: Vec<RunConfig> =
        folders.iter().map(|folder| RunConfig::load(folder.config())).collect::<Result<_, _>>()?;
    for (folder, recorded) in folders.iter().zip(&recorded) {
        complete(folder, recorded, rounds)?;
    }
    let Some(first) = recorded.first() else { return Err(no_run(&args.run).into()) };
    let out = args.out.clone().unwrap_or_else(|| free(&args.run));
    let (asked, inner) = asked(args, context, first, &out)?;
    context.say(&format!("repeats   {} into {}", typed(&args.run), typed(&out)));
    train::repeat(&asked, &inner, first)?;

    let mut models = vec![];
    for (place, folder) in (1..).zip(&folders) {
        let again = if rounds { round_folder(&out, place) } else { RunFolder::at(&out) };
        models.push(Comparison::of(folder, &again)?);
    }
    let same = models.iter().all(|model| model.same);
    context.object(&Report { schema: 1, run: &args.run, out: &out, same, models: &models })?;
    // Of several rounds, differences begin with the first that differs.
    let Some(model) = models.iter().find(|model| !model.same).or(models.last()) else { return Ok(()) };
    if same {
        context.say(&format!(
            "same      all {} weights, bit for bit: {}",
            count(model.parameters),
            model.fingerprints[0]
        ));
        for reason in &model.reasons {
            context.say(&format!("          in spite of {reason}"));
        }
        return Ok(());
    }
    let first_step =
        model.first_step.map_or_else(String::new, |step| format!(", from step {} on", count(step)));
    let far = format!(
        "{} of {} weights differ, by {} at most, {} of their norm{first_step}",
        count(model.differing),
        count(model.parameters),
        number(model.largest),
        number(model.relative)
    );
    if model.reasons.is_empty() {
        anyhow::bail!(
            "{} is not {}, although adapter, driver, version and kernels are the same: {far}; repeat it once more, and \
             report it with the output of `windfield devices`",
            typed(&out),
            typed(&args.run)
        );
    }
    context.say(&format!("differs   {far}"));
    for reason in &model.reasons {
        context.say(&format!("because   {reason}"));
    }
    Ok(())
}

/// The folders of the run's models, and whether they are rounds of `reflow`.
fn folders(run: &Path) -> Result<(Vec<RunFolder>, bool), Error> {
    let folder = RunFolder::at(run);
    if folder.is_taken() {
        return Ok((vec![folder], false));
    }
    let rounds: Vec<RunFolder> =
        (1..=100).map(|round| round_folder(run, round)).take_while(RunFolder::is_taken).collect();
    if rounds.is_empty() { Err(no_run(run)) } else { Ok((rounds, true)) }
}

fn no_run(run: &Path) -> Error {
    Error::input(run.display().to_string(), "it holds no run", "give the folder that `windfield train` wrote")
}

/// Whether a run is what its settings say, and can be made again by itself.
fn complete(folder: &RunFolder, recorded: &RunConfig, rounds: bool) -> Result<(), Error> {
    let place = folder.path().display().to_string();
    if let Coupling::Reflow { rounds: all, round, .. } = recorded.options.coupling
        && all > 1
        && !rounds
    {
        let parent = folder.path().parent().unwrap_or(Path::new("."));
        return Err(Error::input(
            place,
            format!("it is round {round} of {all}"),
            format!("repeat all of them with `windfield rerun {}`", typed(parent)),
        ));
    }
    let (made, wanted) = (Model::load(folder.model())?.steps, recorded.options.steps);
    if made != wanted {
        return Err(Error::input(
            &place,
            format!("the run stopped at step {made} of {wanted}"),
            format!("finish it with `windfield train --resume {}`", typed(folder.path())),
        ));
    }
    Ok(())
}

/// The first of DIR-rerun, DIR-rerun-2, … that holds no run.
fn free(run: &Path) -> PathBuf {
    let name = run.file_name().map_or_else(|| "run".into(), |name| name.to_string_lossy().into_owned());
    let taken = |path: &Path| RunFolder::at(path).is_taken() || round_folder(path, 1).is_taken();
    let mut out = run.with_file_name(format!("{name}-rerun"));
    let mut place = 1;
    while taken(&out) {
        place += 1;
        out = run.with_file_name(format!("{name}-rerun-{place}"));
    }
    out
}

/// The flags of the run, as if they were typed for `out`, and what they are run in.
fn asked(
    args: &Args,
    context: &Context,
    recorded: &RunConfig,
    out: &Path,
) -> anyhow::Result<(Box<train::Args>, Context)> {
    let mut flags = recorded.flags.clone();
    if flags.is_empty() {
        // A run of before they were noted: of its settings, those that are not among the options.
        if matches!(recorded.options.coupling, Coupling::Reflow { .. }) {
            return Err(Error::input(
                args.run.display().to_string(),
                "it was trained by a windfield that did not note what its pairs came from",
                "train it anew",
            )
            .into());
        }
        let text = |text: &str| Value::String(text.to_owned());
        flags.insert("data".to_owned(), text(&recorded.data.source));
        flags.extend(recorded.source.as_ref().map(|source| ("source".to_owned(), text(&source.source))));
        flags.extend(i64::try_from(recorded.log_every).map(|every| ("log-every".to_owned(), every.into())));
    }
    let moved = [
        ("data", &args.data),
        ("source", &args.source),
        ("init", &args.init),
        ("from-model", &args.from_model),
    ];
    for (name, place) in moved {
        let Some(place) = place else { continue };
        if !flags.contains_key(name) {
            return Err(
                super::Usage(format!("--{name}: the run was trained without one; leave it out")).into()
            );
        }
        flags.insert(name.to_owned(), Value::String(place.clone()));
    }
    if args.no_pictures {
        flags.insert("no-pictures".to_owned(), Value::Boolean(true));
    }
    if context.choice.is_some() {
        flags.remove("adapter");
    }
    flags.insert("out".to_owned(), Value::String(out.display().to_string()));
    let mut command = Cli::command();
    command.build();
    let folder = RunFolder::at(&args.run).config();
    let words = match command.find_subcommand("train") {
        Some(command) => config::words_of(&folder, command, &flags)?,
        None => vec![],
    };
    let words =
        ["windfield", "train"].map(OsString::from).into_iter().chain(words.into_iter().map(OsString::from));
    let refused = |why: String| Error::input(folder.display().to_string(), why, "train the run anew");
    let (command, inner) = super::parse(words.collect())
        .map_err(|error| refused(super::one_line(&error.render().to_string())))?;
    let Command::Train(asked) = command else {
        return Err(refused("its flags are those of another command".to_owned()).into());
    };
    let inner = Context {
        choice: context.choice.clone().or(inner.choice),
        cache: context.cache.clone(),
        quiet: context.quiet || context.json,
        json: false,
        ..inner
    };
    Ok((asked, inner))
}
