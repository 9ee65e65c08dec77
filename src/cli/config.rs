//! `--config FILE`: flags of a command from a TOML file, and the flags that were given as such a file has them.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command, CommandFactory};
use toml::{Table, Value};
use windfield::{Error, Result};

use super::Cli;

/// Flags that say what becomes of a run or of what is said of it, not what it computes.
const OF_THE_MOMENT: [&str; 8] =
    ["config", "out", "overwrite", "resume", "explain", "quiet", "json", "cache"];

/// The words of a command line with the flags of its `--config` file, and that file.
///
/// The flags stand behind the name of the command. What was typed wins: the same flag is not taken from the file.
pub fn expand(words: Vec<OsString>) -> anyhow::Result<(Vec<OsString>, Option<PathBuf>)> {
    if !words.iter().any(|word| word.to_string_lossy().starts_with("--config")) {
        return Ok((words, None));
    }
    let mut command = Cli::command();
    // What is wrong or missing now is told when the file's flags are there.
    let Ok(matches) = command.clone().ignore_errors(true).try_get_matches_from(&words) else {
        return Ok((words, None));
    };
    command.build();
    let Some((name, matches)) = matches.subcommand() else { return Ok((words, None)) };
    let file = matches.try_get_one::<PathBuf>("config").ok().flatten().cloned();
    let at = words.iter().skip(1).position(|word| word == name);
    let (Some(file), Some(at), Some(command)) = (file, at, command.find_subcommand(name)) else {
        return Ok((words, None));
    };
    let typed = typed(command, matches);
    let mut flags = read(&file)?;
    check(&file, command, &flags)?;
    flags.retain(|key, _| !typed.iter().any(|typed| typed == key));
    let mut words = words;
    let of_file = words_of(&file, command, &flags)?;
    words.splice(at + 2..at + 2, of_file.into_iter().map(OsString::from));
    Ok((words, Some(file)))
}

/// The names of the flags of a command that were given, on the command line or in a file.
pub fn typed(command: &Command, matches: &ArgMatches) -> Vec<String> {
    let given = |id: &str| {
        // Of what every command has, such as --help, there may be no value.
        matches.ids().any(|known| known == id) && matches.value_source(id) == Some(ValueSource::CommandLine)
    };
    let arguments = command.get_arguments().filter(|arg| given(arg.get_id().as_str()));
    arguments.map(|arg| key(arg).to_owned()).collect()
}

/// The flags that were given, as a file for `--config` has them: what the command is to do again.
pub fn flags(command: &Command, matches: &ArgMatches) -> Table {
    let mut flags = Table::new();
    for name in typed(command, matches) {
        let arg = command.get_arguments().find(|arg| key(arg) == name);
        let Some(arg) = arg.filter(|_| !OF_THE_MOMENT.contains(&name.as_str())) else { continue };
        let raw = matches.get_raw(arg.get_id().as_str()).into_iter().flatten();
        let mut values: Vec<Value> = raw.map(|text| value(&text.to_string_lossy())).collect();
        let value = match arg.get_action() {
            ArgAction::SetTrue => Value::Boolean(true),
            ArgAction::Append => Value::Array(values),
            _ => match values.pop() {
                Some(value) => value,
                None => continue,
            },
        };
        flags.insert(name, value);
    }
    flags
}

/// The flags as words of a command line. `file` is where they are from.
pub fn words_of(file: &Path, command: &Command, flags: &Table) -> Result<Vec<String>> {
    let mut words = vec![];
    for (name, value) in flags {
        let Some(arg) = command.get_arguments().find(|arg| key(arg) == name) else { continue };
        let has = |other: &str| command.get_arguments().any(|arg| arg.get_long() == Some(other));
        let refuse = |what: &str| {
            Err(Error::input(
                file.display().to_string(),
                format!("`{name}` {what}"),
                "see its line in --help",
            ))
        };
        if !arg.get_action().takes_values() && !arg.is_positional() {
            match value {
                Value::Boolean(true) => words.push(format!("--{name}")),
                Value::Boolean(false) if has(&format!("no-{name}")) => words.push(format!("--no-{name}")),
                Value::Boolean(false) => {}
                _ => return refuse("takes true or false"),
            }
            continue;
        }
        let several = matches!(arg.get_action(), ArgAction::Append);
        let texts = match value {
            Value::Array(values) => {
                let texts: Option<Vec<String>> = values.iter().map(text).collect();
                match texts {
                    Some(texts) if several => texts,
                    Some(texts) => vec![texts.join(",")],
                    None => return refuse("has a list or a table in its list"),
                }
            }
            Value::Table(table) if several => {
                let pairs = table.iter().map(|(name, value)| Some(format!("{name}={}", text(value)?)));
                match pairs.collect() {
                    Some(pairs) => pairs,
                    None => return refuse("has a list or a table in its table"),
                }
            }
            value => match text(value) {
                Some(text) => vec![text],
                None => return refuse("takes a value, not a table"),
            },
        };
        words.extend(texts.into_iter().map(|text| match (arg.get_long(), arg.get_short()) {
            (Some(long), _) => format!("--{long}={text}"),
            (None, Some(short)) => format!("-{short}={text}"),
            (None, None) => text,
        }));
    }
    Ok(words)
}

/// The flags of a file: its keys, or the table `flags` of the config.toml of a run.
fn read(file: &Path) -> Result<Table> {
    let text = std::fs::read_to_string(file).map_err(|error| Error::io("read", file, error))?;
    let mut table: Table = text.parse().map_err(|error: toml::de::Error| {
        let line =
            error.span().map_or(1, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
        Error::input(
            format!("{}:{line}", file.display()),
            error.message().split_whitespace().collect::<Vec<_>>().join(" "),
            "write the flags as in `steps = 5000`",
        )
    })?;
    if table.contains_key("format") && table.contains_key("options") {
        return match table.remove("flags") {
            Some(Value::Table(flags)) => Ok(flags),
            _ => Err(Error::input(
                file.display().to_string(),
                "the run was begun by a windfield that did not note its flags",
                "write them into a file of your own",
            )),
        };
    }
    Ok(table)
}

/// Whether all keys are flags of the command.
fn check(file: &Path, command: &Command, flags: &Table) -> Result<()> {
    let known: Vec<&str> = command
        .get_arguments()
        .map(key)
        .filter(|name| !["help", "version", "config"].contains(name))
        .collect();
    let Some(name) = flags.keys().find(|name| !known.contains(&name.as_str())) else { return Ok(()) };
    let nearest = known
        .iter()
        .map(|known| (strsim::jaro_winkler(known, name), known))
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .filter(|(likeness, _)| *likeness > 0.7);
    let remedy = match nearest {
        Some((_, known)) => format!("did you mean `{known}`?"),
        None => format!("see `windfield {} --help`", command.get_name()),
    };
    let what = format!("`{name}` is no flag of `windfield {}`", command.get_name());
    Err(Error::input(file.display().to_string(), what, remedy))
}

/// The key of a flag: its long name, or the name of what has none, such as `n` and `model`.
fn key(arg: &Arg) -> &str {
    arg.get_long().unwrap_or_else(|| arg.get_id().as_str())
}

/// A value as it is typed.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Float(number) => Some(number.to_string()),
        Value::Boolean(yes) => Some(yes.to_string()),
        Value::Datetime(time) => Some(time.to_string()),
        Value::Array(_) | Value::Table(_) => None,
    }
}

/// What was typed as a value that reads back to the same: numbers without quotes where that says the same.
fn value(text: &str) -> Value {
    let number = text.parse().ok().filter(|number: &i64| number.to_string() == text).map(Value::Integer);
    let float = || text.parse().ok().filter(|number: &f64| number.to_string() == text).map(Value::Float);
    number.or_else(float).unwrap_or_else(|| Value::String(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(line: &str, text: &str) -> anyhow::Result<Vec<String>> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("run.toml");
        std::fs::write(&file, text)?;
        let words = line.split_whitespace().chain(["--config"]).map(OsString::from);
        let words = words.chain([file.into_os_string()]).collect();
        let words = expand(words)?.0;
        Ok(words.into_iter().map(|word| word.to_string_lossy().into_owned()).rev().skip(2).rev().collect())
    }

    #[test]
    fn flags_of_a_file_stand_behind_the_command() {
        let text = "data = \"moons\"\nhidden = [16, 8]\nlr = 1e-3\nstandardize = false\nno-pictures = true\n\
            steps = 5\n[let]\nk = 2\n";
        let words = expanded("windfield train --steps 7", text).unwrap();
        let expected = "windfield train --data=moons --hidden=16,8 --let=k=2 --lr=0.001 --no-pictures \
            --no-standardize --steps 7";
        assert_eq!(words.join(" "), expected);
        let words =
            expanded("windfield --seed 3 sample m.safetensors", "seed = 9\nmodel = \"x\"\nn = 4").unwrap();
        assert_eq!(words.join(" "), "windfield --seed 3 sample -n=4 m.safetensors");
        // A flag whose values stand in a field of another name is known by its own.
        let words = expanded("windfield train --label place", "label = \"kind\"\nsteps = 4").unwrap();
        assert_eq!(words.join(" "), "windfield train --steps=4 --label place");
    }

    #[test]
    fn what_is_no_flag_is_one_line_with_the_nearest() {
        for (text, words) in [
            ("stpes = 4", "`stpes` is no flag of `windfield train`; did you mean `steps`?"),
            ("batch_size = 4", "did you mean `batch`?"),
            ("sigma_min = 4", "did you mean `sigma-min`?"),
            ("config = \"x\"", "is no flag"),
            ("qqq = 1", "windfield train --help"),
            ("steps = \n", "run.toml:1: "),
            ("explain = 3", "`explain` takes true or false"),
            ("steps = [[1]]", "in its list"),
            ("format = 1\n[options]", "did not note its flags"),
        ] {
            let message = expanded("windfield train", text).unwrap_err().to_string();
            assert!(message.contains(words) && message.lines().count() == 1, "{text}: {message}");
        }
    }

    #[test]
    fn given_flags_read_back_to_the_same_words() {
        let mut command = Cli::command();
        let line = "windfield train --data moons --lr 1e-3 --hidden 16,8 --let a=1 --let b=2 --no-standardize \
            --path custom --mean -t --std 1 --seed 3 --out x --steps 10 --label kind=class,size --label place";
        let matches = command.try_get_matches_from_mut(line.split_whitespace()).unwrap();
        let (name, matches) = matches.subcommand().unwrap();
        let command = command.find_subcommand(name).unwrap();
        let flags = flags(command, matches);
        assert_eq!(flags["lr"], Value::String("1e-3".to_owned()));
        assert_eq!((&flags["steps"], &flags["seed"]), (&Value::Integer(10), &Value::Integer(3)));
        let words = words_of(Path::new("x"), command, &flags).unwrap().join(" ");
        let expected = "--data=moons --hidden=16,8 --label=kind=class --label=size --label=place --let=a=1 --let=b=2 \
            --lr=1e-3 --mean=-t --no-standardize --path=custom --seed=3 --std=1 --steps=10";
        assert_eq!(words, expected);
    }
}
