//! The program as its users meet it: commands, files, exit statuses, and one line for every failure.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command as Process, Output, Stdio};
use std::time::{Duration, Instant};

use assert_cmd::Command;
use safetensors::SafeTensors;
use tempfile::TempDir;
use windfield::data::{Dataset, read_array};
use windfield::model::Model;
use windfield::train::Checkpoint;

const PROGRAM: &str = env!("CARGO_BIN_EXE_windfield");
/// A network that trains in no time.
const SMALL: &str = "--data moons:2000 --hidden 16,16 --batch 64 --schedule constant --no-pictures";

/// A folder to work in, and the program in it.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Runs `windfield` with the words of `line`.
    fn run(&self, line: &str) -> Output {
        self.run_with(line, &[])
    }

    fn run_with(&self, line: &str, environment: &[(&str, &str)]) -> Output {
        let mut command = Command::new(PROGRAM);
        // The folder of the user who runs the tests is none of theirs.
        command.current_dir(&self.0).args(line.split_whitespace()).env("WINDFIELD_CACHE", "off");
        command.envs(environment.iter().copied());
        command.timeout(Duration::from_mins(5)).output().unwrap()
    }

    /// Runs it, which must succeed without a word on standard error, and returns standard output.
    fn done(&self, line: &str) -> String {
        let output = self.run(line);
        assert!(output.status.success(), "{line}: {output:?}");
        assert_eq!(text(&output.stderr), "", "{line}");
        text(&output.stdout)
    }

    /// Runs it with --json, which must print one object and nothing else.
    fn json(&self, line: &str) -> serde_json::Value {
        let printed = self.done(&format!("{line} --json"));
        let value: serde_json::Value =
            serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{error}: {printed}"));
        assert_eq!(value["schema"], 1, "{line}");
        value
    }

    /// Starts it in the background.
    fn spawn(&self, line: &str) -> Child {
        let mut command = Process::new(PROGRAM);
        command.current_dir(&self.0).args(line.split_whitespace()).env("WINDFIELD_CACHE", "off");
        command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Everything in the folder, temporary files included.
    fn listing(&self) -> BTreeSet<String> {
        fs::read_dir(&self.0)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }

    /// The small model, trained.
    fn model(&self) {
        self.done(&format!("train {SMALL} --steps 50 --out run"));
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The one line that a failure leaves on standard error.
fn complaint(line: &str, output: &Output, status: i32) -> String {
    assert_eq!(output.status.code(), Some(status), "{line}: {output:?}");
    let complaint = text(&output.stderr);
    assert_eq!(complaint.lines().count(), 1, "{line}: {complaint}");
    assert!(complaint.starts_with("error: ") && !complaint.contains("defect"), "{line}: {complaint}");
    complaint
}

/// Waits until `condition` holds, for a minute at most.
fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < Duration::from_mins(1), "{what} takes too long");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn checkpoint_step(folder: &Path) -> Option<u64> {
    Checkpoint::load(folder.join("checkpoint.safetensors")).ok().map(|checkpoint| checkpoint.step())
}

/// The rows of a history without their times.
fn history(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap();
    text.lines().map(|line| line.rsplit_once(',').unwrap().0.to_owned()).collect()
}

fn steps(path: &Path) -> Vec<u64> {
    history(path)[1..].iter().map(|row| row.split(',').next().unwrap().parse().unwrap()).collect()
}

fn array(path: PathBuf) -> (Vec<usize>, Vec<f32>) {
    let array = read_array(path).unwrap();
    (array.shape, array.values)
}

fn farthest(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn help_is_made_of_the_tables() {
    let place = Place::new();
    for command in [
        "train",
        "sample",
        "field",
        "batch",
        "evaluate",
        "runs",
        "rerun",
        "verify",
        "devices",
        "shaders",
        "completions",
    ] {
        assert!(place.done("--help").contains(command));
        for flag in ["-h", "--help"] {
            let help = place.done(&format!("{command} {flag}"));
            assert!(
                help.contains("--adapter") && help.contains("--json") && help.contains("Usage:"),
                "{help}"
            );
        }
    }
    let help = place.done("train --help");
    let names = windfield::model::ACTIVATIONS.iter().map(|entry| entry.0);
    let names = names.chain(windfield::flow::PATHS.iter().map(|path| path.name));
    let names = names.chain(windfield::flow::COUPLINGS.iter().map(|entry| entry.name));
    for name in names.chain(windfield::data::built_in().map(|entry| entry.0)) {
        assert!(help.contains(name), "{name}");
    }
    for flag in [
        "--time-frequencies",
        "--weight-decay",
        "--no-standardize",
        "--sigma-min",
        "--log-every",
        "--warmup",
        "--let",
    ] {
        assert!(help.contains(flag), "{flag}");
    }
    let help = place.done("sample --help");
    assert!(windfield::flow::SOLVERS.iter().all(|solver| help.contains(solver.name)));
    assert_eq!(place.done("--version"), format!("windfield {}\n", env!("CARGO_PKG_VERSION")));
    assert_eq!(place.run("").status.code(), Some(2));
}

#[test]
fn a_run_leaves_its_folder() {
    let place = Place::new();
    let line = "train --data checkerboard:5000 --hidden 16,16 --batch 64 --steps 55 --seed 4 --out run";
    let summary = place.json(line);
    let out = place.path("run");
    let files = [
        "model.safetensors",
        "checkpoint.safetensors",
        "metrics.csv",
        "config.toml",
        "loss.png",
        "samples.png",
        "field.png",
        "trajectories.png",
    ];
    for name in files {
        assert!(fs::metadata(out.join(name)).unwrap().len() > 0, "{name}");
    }
    assert_eq!(fs::read_dir(&out).unwrap().count(), files.len(), "nothing else is left");
    assert_eq!(summary["files"].as_array().unwrap().len(), files.len());
    assert_eq!((&summary["steps"], &summary["seed"]), (&55.into(), &4.into()));
    assert!(
        summary["loss"]["last"].as_f64().unwrap() > 0.0
            && summary["loss"]["smoothed"].as_f64().unwrap() > 0.0
    );
    assert!(summary["steps_per_second"].as_f64().unwrap() > 0.0);
    assert!(!summary["adapter"]["name"].as_str().unwrap().is_empty());

    assert_eq!(steps(&out.join("metrics.csv")), [0, 10, 20, 30, 40, 50, 54]);
    let metrics = fs::read_to_string(out.join("metrics.csv")).unwrap();
    assert!(metrics.starts_with("step,loss,learning_rate,gradient_norm,seconds\n"), "{metrics}");
    let last: Vec<f64> =
        metrics.lines().last().unwrap().split(',').map(|field| field.parse().unwrap()).collect();
    #[allow(clippy::cast_possible_truncation, reason = "they were written from an f32")]
    let losses = [last[1], summary["loss"]["last"].as_f64().unwrap()].map(|loss| (loss as f32).to_bits());
    assert_eq!(losses[0], losses[1], "floats read back exactly");

    let config: toml::Table = fs::read_to_string(out.join("config.toml")).unwrap().parse().unwrap();
    assert_eq!(config["options"]["hidden"].as_array().unwrap().len(), 2);
    assert_eq!(config["options"]["seed"].as_integer(), Some(4));
    assert_eq!(config["data"]["source"].as_str(), Some("checkerboard:5000"));
    let model = Model::load(out.join("model.safetensors")).unwrap();
    assert_eq!((model.steps, model.seed, model.architecture.hidden), (55, 4, vec![16, 16]));
}

#[test]
fn pictures_fit_the_data() {
    let place = Place::new();
    let small = "--hidden 8 --batch 32 --steps 5 -q";
    for (data, out) in [("digits:200", "digits"), ("torus:500", "torus"), ("line.csv", "line")] {
        let rows: Vec<String> = (0..100).map(|i| format!("{}.5", i % 17)).collect();
        fs::write(place.path("line.csv"), format!("length\n{}\n", rows.join("\n"))).unwrap();
        place.done(&format!("train --data {data} {small} --out {out}"));
        assert!(
            place.path(out).join("samples.png").exists() && place.path(out).join("loss.png").exists(),
            "{data}"
        );
        assert!(!place.path(out).join("field.png").exists(), "{data} has not two dimensions");
    }
}

#[test]
fn people_are_told_what_happens_unless_they_want_quiet() {
    let place = Place::new();
    let said = place.done(&format!("train {SMALL} --steps 20 --out run"));
    for word in [
        "device ",
        "moons:2000: 2 000 rows of 2 columns",
        "3 → 16 → 16 → 2 (silu), 370 parameters",
        "trained ",
        "windfield sample run/model.safetensors",
    ] {
        assert!(said.contains(word), "{word}: {said}");
    }
    assert_eq!(place.done(&format!("train {SMALL} --steps 20 --out quiet --quiet")), "");
    for (kernels, first) in [("auto", "gradient"), ("layered", "linear_forward")] {
        let plan = place.done(&format!("train {SMALL} --kernels {kernels} --explain"));
        assert!(plan.contains(first) && plan.contains("adamw") && plan.contains("FLOP"), "{plan}");
    }
    let plan = place.json(&format!("train {SMALL} --kernels layered --explain"));
    assert!(plan["dispatches"].as_array().unwrap().len() > 5, "{plan}");
    assert_eq!(
        place.listing(),
        BTreeSet::from(["run".to_owned(), "quiet".to_owned()]),
        "--explain leaves nothing"
    );
}

#[test]
fn a_resumed_run_is_the_uninterrupted_one() {
    let place = Place::new();
    // A source and standardisation are part of what has to come back.
    let flags = format!("{SMALL} --source 8gaussians:500 --seed 3 --log-every 7");
    place.done(&format!("train {flags} --steps 1000 --out whole"));
    place.done(&format!("train {flags} --steps 500 --out parts"));
    place.done("train --resume parts --steps 1000 --no-pictures");
    for file in ["model.safetensors", "checkpoint.safetensors", "config.toml"] {
        let read = |run: &str| fs::read(place.path(run).join(file)).unwrap();
        assert_eq!(read("whole"), read("parts"), "{file}");
    }
    assert_eq!(history(&place.path("whole/metrics.csv")), history(&place.path("parts/metrics.csv")));
    // Resuming a run that is done changes nothing.
    place.done("train --resume parts --no-pictures");
    assert_eq!(history(&place.path("whole/metrics.csv")), history(&place.path("parts/metrics.csv")));
    let (line, fewer) = ("train --resume parts --steps 900", place.run("train --resume parts --steps 900"));
    assert!(complaint(line, &fewer, 1).contains("1000 steps"));
}

#[test]
fn resume_takes_no_other_settings() {
    let place = Place::new();
    place.model();
    for flag in ["--lr 0.1", "--hidden 8", "--seed 1", "--no-standardize", "--log-every 3", "--sigma-min 0.1"]
    {
        let line = format!("train --resume run --steps 60 {flag}");
        let complaint = complaint(&line, &place.run(&line), 2);
        assert!(complaint.contains(flag.split(' ').next().unwrap()), "{complaint}");
    }
    let line = "train --resume run --steps 60 --data moons:1999";
    assert!(complaint(line, &place.run(line), 1).contains("not those"));
    assert_eq!(checkpoint_step(&place.path("run")), Some(50));
}

#[test]
fn kernels_can_be_chosen_and_are_told() {
    let place = Place::new();
    let steps = "--steps 20";
    let taken = |line: &str| place.json(line)["kernels"].as_str().unwrap().to_owned();
    for name in ["buffers", "tiled"] {
        assert_eq!(taken(&format!("train {SMALL} {steps} --kernels {name} --out {name}")), name);
        let config = fs::read_to_string(place.path(name).join("config.toml")).unwrap();
        assert_eq!(
            config.matches(&format!("kernels = \"{name}\"")).count(),
            3,
            "taken, typed and asked: {config}"
        );
        assert_eq!(taken(&format!("sample {name}/model.safetensors -n 10 --kernels {name}")), name);
    }
    for (line, part) in [
        ("sample tiled/model.safetensors --kernels shared", "17 to 64"),
        ("train --data moons --kernels shared", "fused"),
    ] {
        let answer = place.run(line);
        let status = if line.starts_with("train") { 2 } else { 1 };
        assert!(complaint(line, &answer, status).contains(part), "{answer:?}");
    }
    let auto = taken(&format!("train {SMALL} {steps} --out auto"));
    assert!(auto != "auto" && auto != "layered", "{auto}");
    assert_eq!(taken("train --resume buffers --steps 30 --no-pictures"), "buffers");
    assert_eq!(taken("train --resume buffers --steps 40 --no-pictures --kernels auto"), auto);
    assert_eq!(taken("train --resume buffers --steps 50 --no-pictures"), auto);
    let deep = format!("train --data moons --hidden {} --kernels textures {steps}", vec!["8"; 40].join(","));
    let complaint = complaint(&deep, &place.run(&deep), 1);
    assert!(complaint.contains("--kernels textures") && complaint.contains("--kernels auto"), "{complaint}");
}

#[test]
fn a_run_is_never_overwritten_unasked() {
    let place = Place::new();
    place.model();
    let before = fs::read(place.path("run/checkpoint.safetensors")).unwrap();
    let line = format!("train {SMALL} --steps 10 --out run");
    let complaint = complaint(&line, &place.run(&line), 1);
    assert!(complaint.contains("--overwrite") && complaint.contains("--resume"), "{complaint}");
    assert_eq!(fs::read(place.path("run/checkpoint.safetensors")).unwrap(), before);
    fs::write(place.path("run/mine.txt"), "kept").unwrap();
    fs::write(place.path("run/field.png"), "an old picture").unwrap();
    place.done(&format!("{line} --overwrite"));
    assert_eq!(checkpoint_step(&place.path("run")), Some(10));
    assert!(place.path("run/mine.txt").exists() && !place.path("run/field.png").exists());
    // Without --out, the first free name.
    place.done(&format!("train {SMALL} --steps 1"));
    place.done(&format!("train {SMALL} --steps 2"));
    assert_eq!(checkpoint_step(&place.path("runs/moons")), Some(1));
    assert_eq!(checkpoint_step(&place.path("runs/moons-2")), Some(2));
}

#[test]
fn no_steps_write_the_initial_model_and_init_begins_with_it() {
    let place = Place::new();
    place.done(&format!("train {SMALL} --steps 0 --seed 9 --out zero"));
    let zero = Model::load(place.path("zero/model.safetensors")).unwrap();
    assert_eq!((zero.steps, zero.weights.clone()), (0, zero.architecture.initialize(9)));
    assert_eq!(history(&place.path("zero/metrics.csv")).len(), 1, "a header");
    // The shape is the model's; the first loss is that of its weights.
    place.done("train --data moons:2000 --batch 64 --seed 9 --steps 1 --init zero/model.safetensors --no-pictures --out one");
    place.done(&format!("train {SMALL} --steps 1 --seed 9 --out plain"));
    assert_eq!(Model::load(place.path("one/model.safetensors")).unwrap().architecture, zero.architecture);
    let loss = |run: &str| history(&place.path(run))[1].split(',').nth(1).unwrap().to_owned();
    assert_eq!(loss("one/metrics.csv"), loss("plain/metrics.csv"));
    let line = "train --data digits --steps 1 --init zero/model.safetensors --out two";
    assert!(complaint(line, &place.run(line), 1).contains("same dimension"));
}

#[cfg(unix)]
fn signal(child: &Child, name: &str) {
    let status = Process::new("kill").args([format!("-{name}"), child.id().to_string()]).status().unwrap();
    assert!(status.success());
}

#[cfg(unix)]
#[test]
fn an_interrupted_run_leaves_a_checkpoint() {
    for name in ["INT", "TERM"] {
        let place = Place::new();
        let line = format!("train {SMALL} --steps 100000000 --checkpoint-every 0 --out run");
        let child = place.spawn(&line);
        // The checkpoint of step 0 says that training begins.
        until("the start", || checkpoint_step(&place.path("run")).is_some());
        std::thread::sleep(Duration::from_millis(1500));
        signal(&child, name);
        let output = child.wait_with_output().unwrap();
        let complaint = complaint(&line, &output, 130);
        assert!(complaint.contains("--resume run"), "{complaint}");
        let step = checkpoint_step(&place.path("run")).unwrap();
        assert!(step > 0 && complaint.contains(&step.to_string()), "{complaint}");
        assert_eq!(Model::load(place.path("run/model.safetensors")).unwrap().steps, step);
        let logged = steps(&place.path("run/metrics.csv"));
        assert_eq!(logged, (0..step).step_by(10).collect::<Vec<_>>());
        place.done(&format!("train --resume run --steps {} --no-pictures", step + 20));
        assert_eq!(checkpoint_step(&place.path("run")), Some(step + 20));
    }
}

#[cfg(unix)]
#[test]
fn a_second_interrupt_ends_it_at_once() {
    let place = Place::new();
    // Steps that take minutes.
    let child = place.spawn("train --data moons:2000 --hidden 512,512,512 --batch 1000000 --out run");
    until("the start", || checkpoint_step(&place.path("run")).is_some());
    // The two at the beginning are one wish.
    signal(&child, "INT");
    signal(&child, "INT");
    std::thread::sleep(Duration::from_secs(1));
    signal(&child, "INT");
    let begun = Instant::now();
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(130));
    assert!(begun.elapsed() < Duration::from_secs(20));
    assert_eq!(checkpoint_step(&place.path("run")), Some(0));
}

#[cfg(unix)]
#[test]
fn a_killed_run_leaves_the_last_whole_checkpoint() {
    let place = Place::new();
    let mut child = place
        .spawn(&format!("train {SMALL} --steps 100000000 --checkpoint-every 0.1 --log-every 1 --out run"));
    until("a checkpoint", || checkpoint_step(&place.path("run")).is_some_and(|step| step > 0));
    std::thread::sleep(Duration::from_millis(700));
    child.kill().unwrap();
    child.wait().unwrap();
    let step = checkpoint_step(&place.path("run")).unwrap();
    let logged = steps(&place.path("run/metrics.csv"));
    assert!(logged.len() as u64 >= step, "the history reaches as far as the checkpoint");
    // A kill in the middle of a write leaves a temporary file.
    fs::write(place.path("run/.windfield-x1y2z3.tmp"), "half of a check").unwrap();
    place.done(&format!("train --resume run --steps {} --no-pictures", step + 30));
    assert_eq!(fs::read_dir(place.path("run")).unwrap().count(), 4, "it is swept away");
    assert_eq!(steps(&place.path("run/metrics.csv")), (0..step + 30).collect::<Vec<_>>());

    // What a kill in the middle cannot do is what a broken disk can: that is said.
    let whole = fs::read(place.path("run/checkpoint.safetensors")).unwrap();
    fs::write(place.path("run/checkpoint.safetensors"), &whole[..whole.len() / 2]).unwrap();
    let line = "train --resume run";
    assert!(complaint(line, &place.run(line), 1).contains("checkpoint.safetensors"));
}

#[cfg(unix)]
#[test]
fn an_interrupted_sample_leaves_nothing() {
    let place = Place::new();
    place.model();
    let before = place.listing();
    let line = "sample run/model.safetensors -n 1000000000 --steps 4 --trajectory paths.npy --out all.npy";
    let child = place.spawn(line);
    until("the start", || place.listing() != before);
    std::thread::sleep(Duration::from_millis(500));
    signal(&child, "INT");
    let complaint = complaint(line, &child.wait_with_output().unwrap(), 130);
    assert!(complaint.contains("nothing was written"), "{complaint}");
    assert_eq!(place.listing(), before);
}

#[test]
fn a_loss_that_is_not_finite_ends_the_run() {
    let place = Place::new();
    let line = format!("train {SMALL} --lr 1e30 --clip 0 --warmup 0 --steps 100 --log-every 1 --out run");
    let complaint = complaint(&line, &place.run(&line), 1);
    assert!(complaint.contains("not finite at step") && complaint.contains("--lr"), "{complaint}");
    assert_eq!(checkpoint_step(&place.path("run")), Some(0), "the last checkpoint is kept");
    assert!(!steps(&place.path("run/metrics.csv")).is_empty(), "and what is known of how it went");
}

/// A limit on the size of files stands in for a full disk.
#[cfg(unix)]
#[test]
fn a_write_that_fails_leaves_nothing_half_written() {
    let place = Place::new();
    place.model();
    let before = place.listing();
    let limited = |line: &str| {
        let script = format!("trap '' XFSZ; ulimit -f 40; exec '{PROGRAM}' {line}");
        Process::new("sh").args(["-c", &script]).current_dir(&place.0).output().unwrap()
    };
    let line = "sample run/model.safetensors -n 50000 --steps 1 --solver euler -q";
    assert!(complaint(line, &limited(line), 1).contains("samples.npy"));
    assert_eq!(place.listing(), before);
    let line = format!("train {SMALL} --steps 3000 --log-every 1 --out full -q");
    assert!(complaint(&line, &limited(&line), 1).contains("metrics.csv"));
    assert_eq!(checkpoint_step(&place.path("full")), Some(3000), "the weights could be written, and were");
}

/// Every path trains, and its model says which it was; its batches hold what the path says.
#[test]
fn every_path_can_be_chosen() {
    let place = Place::new();
    let custom = "custom --mean t^p --std sqrt(1-t)*(1+c*t) --let p=1.5 --let c=-0.25";
    for (number, flags) in
        ["ot --sigma-min 0.1", "vp --beta-max 15", "ve --sigma-max 5", "cosine", "poly:3", custom]
            .into_iter()
            .enumerate()
    {
        let out = format!("run{number}");
        let said = place.done(&format!("train {SMALL} --path {flags} --steps 3 --out {out}"));
        let model = Model::load(place.path(&format!("{out}/model.safetensors"))).unwrap();
        let path = &model.path;
        assert!(flags.starts_with(&path.name()), "{flags}: {path:?}");
        for note in path.notes() {
            assert!(said.contains(&note), "{said}");
        }
        place.done(&format!("train --resume {out} --steps 5"));
        place.done(&format!("sample {out}/model.safetensors -n 10 --steps 2 --out samples.npy"));

        place.done(&format!("batch --data moons:500 --path {flags} --batch 200 --out b.safetensors"));
        let bytes = fs::read(place.path("b.safetensors")).unwrap();
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        let floats =
            |name: &str| -> Vec<f32> { bytemuck::pod_collect_to_vec(tensors.tensor(name).unwrap().data()) };
        let (x0, x1, xt, ut, t) = (floats("x0"), floats("x1"), floats("xt"), floats("ut"), floats("t"));
        assert!(t.iter().all(|t| f64::from(*t) <= path.t_max()));
        for i in 0..x0.len() {
            let [a, b, da, db] = path.schedule(t[i / 2].into());
            let (x0, x1) = (f64::from(x0[i]), f64::from(x1[i]));
            for (got, first, second) in [(xt[i], b * x0, a * x1), (ut[i], db * x0, da * x1)] {
                let allowed = 2e-5 * (first.abs() + second.abs());
                assert!((f64::from(got) - first - second).abs() <= allowed, "{flags} at {}", t[i / 2]);
            }
        }
    }
    // A run that begins with a model goes on with its path, unless another one is asked for.
    let path = |run: &str| Model::load(place.path(&format!("{run}/model.safetensors"))).unwrap().path;
    let init = "train --data moons:2000 --batch 64 --steps 0 --no-pictures --init run4/model.safetensors";
    place.done(&format!("{init} --out same"));
    place.done(&format!("{init} --sigma-min 0 --out other"));
    assert_eq!(
        (path("run4").name(), path("same"), path("other").name()),
        ("poly:3".into(), path("run4"), "ot".into())
    );
}

#[test]
#[allow(clippy::too_many_lines, reason = "a table")]
fn every_failure_is_one_line() {
    let place = Place::new();
    place.model();
    let model = fs::read(place.path("run/model.safetensors")).unwrap();
    fs::write(place.path("short.safetensors"), &model[..model.len() - 9]).unwrap();
    fs::write(place.path("garbage.safetensors"), "no model at all").unwrap();
    fs::write(place.path("ragged.csv"), "a,b\n1,2\n3\n").unwrap();
    fs::write(place.path("nan.csv"), "a,b\n1,2\n3,nan\n").unwrap();
    fs::write(place.path("words.csv"), "a,b\n1,2\n3,four\n").unwrap();
    fs::write(place.path("three.csv"), "a,b,c\n1,2,3\n").unwrap();
    fs::write(place.path("two.csv"), "a,b\n1,2\n").unwrap();
    fs::write(place.path("times.csv"), "t\n0\n0.5\n1\n").unwrap();
    fs::write(place.path("back.csv"), "t\n0\n0.5\n0.25\n1\n").unwrap();
    place.done(&format!("train {SMALL} --source moons:100 --steps 5 --out source"));
    fs::write(place.path("file"), "").unwrap();
    let train = "train --hidden 16 --batch 64 --steps 5";
    let sample = "sample run/model.safetensors";
    let table: Vec<(String, i32, &[&str])> = vec![
        // input
        (format!("{train} --data nowhere.csv"), 1, &["nowhere.csv"]),
        (format!("{train} --data nowhere"), 1, &["nowhere", "checkerboard"]),
        (format!("{train} --data moons:0"), 1, &["moons:0"]),
        (format!("{train} --data ragged.csv"), 1, &["ragged.csv", "3"]),
        (format!("{train} --data nan.csv"), 1, &["nan.csv", "b"]),
        (format!("{train} --data words.csv"), 1, &["words.csv", "b", "four"]),
        (format!("{train} --data moons --source torus"), 1, &["torus", "dimension"]),
        (format!("{train} --data moons --init nowhere.safetensors"), 1, &["nowhere.safetensors"]),
        ("train --resume nowhere".into(), 1, &["nowhere"]),
        ("sample nowhere.safetensors".into(), 1, &["nowhere.safetensors"]),
        ("sample short.safetensors".into(), 1, &["short.safetensors"]),
        ("sample garbage.safetensors".into(), 1, &["garbage.safetensors"]),
        (format!("{sample} --from three.csv"), 1, &["three.csv", "3", "2"]),
        (format!("{sample} --source nowhere"), 1, &["nowhere"]),
        ("field run/model.safetensors --points nan.csv --time 0".into(), 1, &["nan.csv"]),
        // output
        (format!("{sample} --out samples.doc"), 1, &["samples.doc", ".npy"]),
        (format!("{sample} --out file/samples.npy"), 1, &["file"]),
        (format!("{sample} --trajectory paths.csv"), 1, &["paths.csv", ".npy"]),
        (format!("{train} --data moons:100 --out file/run"), 1, &["file/run"]),
        ("batch --data moons:100 --out file/batch.safetensors".into(), 1, &["file"]),
        ("shaders --target wgsl --out file/shaders".into(), 1, &["file"]),
        (format!("{sample} --out same.npy --trajectory same.npy"), 2, &["--out", "--trajectory"]),
        ("batch --data moons:100 --out batch.npy".into(), 2, &["batch.npy", ".safetensors"]),
        (format!("{sample} --t0 0.9"), 2, &["--from"]),
        (format!("{train} --data moons --time-frequencies 18446744073709551615"), 1, &["--time-frequencies"]),
        // the device
        ("train --data moons:100 --batch 4 --hidden 400000".into(), 1, &["--hidden", "400000"]),
        (format!("{train} --data moons --adapter voodoo"), 1, &["voodoo", "0:"]),
        (format!("{train} --data moons --adapter 99"), 1, &["99"]),
        ("train --data moons --hidden 1000000,1000000".into(), 1, &["--hidden", "max_"]),
        ("train --data moons --hidden 100000,100000".into(), 1, &["--hidden", "max_"]),
        // usage
        (format!("{train} --data moons --speed 3"), 2, &["--speed", "train --help"]),
        (format!("{train} --data moons --stepz 3"), 2, &["--steps"]),
        (train.to_owned(), 2, &["--data"]),
        (format!("{train} --data moons --path winding"), 2, &["winding", "ot"]),
        (format!("{train} --data moons --coupling loose"), 2, &["loose", "independent"]),
        (format!("{train} --data moons --ot-batch 1024"), 2, &["--ot-batch 1024", "--coupling minibatch-ot"]),
        (format!("{train} --data moons --coupling minibatch-ot --ot-batch 0"), 2, &["--ot-batch 0"]),
        (
            "train --data moons --coupling minibatch-ot --batch 100 --ot-batch 250".into(),
            2,
            &["--ot-batch 250", "--batch 100"],
        ),
        (
            "train --data moons --coupling minibatch-ot --batch 20000".into(),
            2,
            &["--batch 20000", "16384", "minibatch-ot"],
        ),
        (
            format!("{train} --data moons --coupling minibatch-ot --exact-every 5"),
            2,
            &["--exact-every", "--coupling minibatch-ot"],
        ),
        (format!("{train} --data moons --activation sine"), 2, &["sine", "silu", "softplus"]),
        (format!("{train} --data moons --schedule linear"), 2, &["linear", "cosine"]),
        ("train --data moons --hidden 16,x".into(), 2, &["--hidden", "x"]),
        ("train --data moons --hidden 0".into(), 2, &["--hidden"]),
        (format!("{train} --data moons --lr -1"), 2, &["--lr -1"]),
        (format!("{train} --data moons --lr nan"), 2, &["--lr"]),
        (format!("{train} --data moons --ema 1"), 2, &["--ema"]),
        (format!("{train} --data moons --sigma-min 2"), 2, &["--sigma-min"]),
        (format!("{train} --data moons --path poly:2.5"), 2, &["poly:2.5", "integer"]),
        (format!("{train} --data moons --path poly:0"), 2, &["poly:0", "1 to 32"]),
        (format!("{train} --data moons --path poly:x"), 2, &["poly:x"]),
        (format!("{train} --data moons --path vp:2"), 2, &["vp:2"]),
        (format!("{train} --data moons --path cosine --sigma-min 0.1"), 2, &["--sigma-min", "`cosine`"]),
        (format!("{train} --data moons --beta-max 5"), 2, &["--beta-max", "`ot`", "--sigma-min"]),
        (format!("{train} --data moons --path vp --beta-max -1"), 2, &["--beta-max -1"]),
        (
            format!("{train} --data moons --path ve --sigma-max 0.01"),
            2,
            &["--sigma-max 0.01", "--sigma-min 0.01"],
        ),
        (format!("{train} --data moons --path custom"), 2, &["--mean"]),
        (format!("{train} --data moons --path custom --mean t"), 2, &["--std"]),
        (format!("{train} --data moons --mean t --std 1-t"), 2, &["--path custom"]),
        (format!("{train} --data moons --let k=2"), 2, &["--path custom"]),
        (format!("{train} --data moons --path custom --mean t+ --std 1-t"), 2, &["`t+`, column 3"]),
        (format!("{train} --data moons --path custom --mean t --std 1-q"), 2, &["`1-q`, column 3", "`q`"]),
        (format!("{train} --data moons --path custom --mean t --std -t"), 2, &["`-t`", "positive", "t = 0"]),
        (
            format!("{train} --data moons --path custom --mean t --std 1-t --let k"),
            2,
            &["--let", "NAME=NUMBER"],
        ),
        (format!("{train} --data moons --path custom --mean t --std 1-t --let k=x"), 2, &["--let", "`x`"]),
        (format!("{train} --data moons --path custom --mean t --std 1-t --let t=1"), 2, &["`t`"]),
        (
            format!("{train} --data moons --path custom --mean t --std 1-t --let k=1 --let k=2"),
            2,
            &["`k`", "twice"],
        ),
        (format!("{train} --data moons --checkpoint-every -1"), 2, &["--checkpoint-every"]),
        ("train --data moons --batch 0".into(), 2, &["--batch"]),
        ("train --data moons --batch 2000000000".into(), 2, &["--batch"]),
        (format!("{sample} --solver leapfrog"), 2, &["leapfrog", "euler, midpoint, heun, rk4", "dopri5"]),
        (format!("{sample} --rtol 1e-3"), 2, &["--rtol", "dopri5", "midpoint"]),
        (format!("{sample} --solver dopri5 --rtol 0"), 2, &["--rtol 0"]),
        (format!("{sample} --solver dopri5 --atol nan"), 2, &["--atol NaN"]),
        (
            format!("{sample} --solver dopri5 --max-steps 2 -n 3"),
            1,
            &["particle 0", "--max-steps 2", "--rtol"],
        ),
        (format!("{sample} --solver dopri5 --path vp"), 2, &["dopri5", "fixed steps"]),
        (format!("{sample} --grid cosinus"), 2, &["cosinus", "uniform, cosine, power:p"]),
        (format!("{sample} --grid power:x"), 2, &["power:x", "0.05"]),
        (format!("{sample} --grid nowhere.npy"), 1, &["nowhere.npy"]),
        (format!("{sample} --grid three.csv"), 1, &["three.csv", "one column"]),
        (format!("{sample} --grid back.csv"), 1, &["0.5", "0.25", "time 3"]),
        (format!("{sample} --grid times.csv --steps 3"), 2, &["--steps", "times.csv"]),
        (format!("{sample} --diffusion 1-t"), 2, &["--diffusion", "midpoint", "euler-maruyama"]),
        (format!("{sample} --solver euler-maruyama --diffusion 1-q"), 2, &["`1-q`, column 3"]),
        (format!("{sample} --solver euler-maruyama --diffusion t-1"), 2, &["-1", "t = 0", "negative"]),
        (format!("{sample} --solver euler-maruyama --log-density d.npy"), 2, &["stochastic"]),
        (format!("{sample} --solver euler-maruyama --diffusion 3"), 1, &["too large", "more steps", "1 - t"]),
        (
            format!("{train} --data moons --source moons:100 --exact-every 2"),
            2,
            &["--exact-every", "--source"],
        ),
        (format!("{sample} --probes 3"), 2, &["--probes", "--log-density"]),
        (format!("{sample} --log-density d.npy --probes 3"), 2, &["--probes", "hutchinson"]),
        (format!("{sample} --log-density d.npy --divergence hutchinson --probes 0"), 2, &["--probes 0"]),
        (format!("{sample} --log-density d.npy --from three.csv --t0 1 --t1 0"), 2, &["likelihood"]),
        (format!("{sample} --path winding"), 2, &["winding", "ot"]),
        ("likelihood nowhere.safetensors --data moons".into(), 1, &["nowhere.safetensors"]),
        ("likelihood run/model.safetensors".into(), 2, &["--data"]),
        ("likelihood run/model.safetensors --data three.csv".into(), 1, &["three.csv", "3", "2"]),
        ("likelihood run/model.safetensors --data nan.csv".into(), 1, &["nan.csv", "b"]),
        ("likelihood run/model.safetensors --data moons --standard-error e.npy".into(), 2, &["hutchinson"]),
        (
            "likelihood run/model.safetensors --data moons --solver euler-maruyama".into(),
            2,
            &["euler-maruyama", "dopri5"],
        ),
        ("likelihood run/model.safetensors --data moons --grid times.csv".into(), 2, &["from 0 to 1"]),
        ("likelihood source/model.safetensors --data moons".into(), 1, &["source/model", "Gaussian"]),
        (
            "field run/model.safetensors --points two.csv --time 0 --quantity wind".into(),
            2,
            &["wind", "score"],
        ),
        (format!("{sample} --steps 0"), 2, &["--steps"]),
        (format!("{sample} --t1 2"), 2, &["--t1"]),
        (format!("{sample} --t0 1 --t1 0"), 2, &["--from"]),
        (format!("{sample} -n 0"), 2, &["-n"]),
        ("field --data moons --points three.csv --time 0".into(), 1, &["three.csv", "3 values"]),
        ("field run/model.safetensors --points three.csv --time 1.5".into(), 2, &["--time"]),
        ("field run/model.safetensors --time 0.5".into(), 2, &["--points"]),
        ("shaders --target cuda --out x".into(), 2, &["cuda", "spirv"]),
        ("completions tcsh".into(), 2, &["tcsh", "bash"]),
        ("fly".into(), 2, &["fly"]),
    ];
    let mut faults = Vec::new();
    for (line, status, words) in table {
        let output = place.run(&line);
        let said = text(&output.stderr);
        let right = output.status.code() == Some(status)
            && said.lines().count() == 1
            && said.starts_with("error: ")
            && !said.contains("defect")
            && words.iter().all(|word| said.contains(word));
        if !right {
            faults.push(format!(
                "{line}\n    status {:?} instead of {status}, {words:?}: {said}",
                output.status.code()
            ));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    for leftover in [".npy", ".csv.tmp", ".tmp"] {
        assert!(!place.listing().iter().any(|name| name.ends_with(leftover)), "{:?}", place.listing());
    }
}

#[test]
fn without_a_driver_it_says_what_to_install() {
    let place = Place::new();
    let environment = [
        ("VK_DRIVER_FILES", "/nonexistent"),
        ("VK_ICD_FILENAMES", "/nonexistent"),
        ("WGPU_BACKEND", "vulkan"),
    ];
    let train = format!("train {SMALL} --steps 5");
    for line in ["devices", "devices --json", "batch --data moons:10", &train] {
        let output = place.run_with(line, &environment);
        assert!(complaint(line, &output, 1).contains("apt install mesa-vulkan-drivers"), "{line}");
        assert_eq!(text(&output.stdout), "");
    }
    assert!(place.listing().is_empty());
}

#[test]
fn devices_lists_the_default_and_survives_a_closed_pipe() {
    let place = Place::new();
    let list = place.done("devices");
    assert!(list.starts_with("0: ") && list.contains("(default)") && list.contains("limits"), "{list}");
    let json = place.json("devices");
    assert_eq!(json["default"], 0);
    assert!(json["adapters"][0]["limits"]["max_buffer_size"].as_u64().unwrap() > 0);
    for line in ["devices", "completions bash", "train --help"] {
        let mut child = Process::new(PROGRAM)
            .args(line.split(' '))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{line}: {output:?}");
    }
}

/// Lavapipe is asked for the processor's widest vectors where networks are trained or evaluated, and its Mesa is one that is
/// known to gain; the user has the last word.
#[test]
fn networks_get_wide_vectors() {
    let place = Place::new();
    let said = |line: &str, set: &[(&str, &str)]| {
        let output = place.run_with(line, set);
        assert!(output.status.success(), "{line}: {output:?}");
        let said = text(&[output.stdout, output.stderr].concat());
        said.lines().find(|line| line.starts_with("device")).map(str::to_owned).unwrap_or_default()
    };
    let device = |set: &[(&str, &str)]| said("train --data moons:2000 --hidden 64 --explain", set);
    let set = |bits| [("LP_NATIVE_VECTOR_WIDTH", bits)];
    let (narrow, wide) = (device(&set("256")), device(&set("512")));
    assert!(!narrow.is_empty());
    // Other drivers have one name in all of these, and know nothing of the variable.
    let gains = has_wide_vectors() && narrow.contains("Mesa 22.");
    let widest = if gains { wide } else { narrow.clone() };
    assert_eq!(device(&set("")), widest);

    let trained = place.run("train --data moons:2000 --hidden 8 --steps 2 --no-pictures --out run");
    assert!(trained.status.success(), "{trained:?}");
    let sample = "sample run/model.safetensors -n 2 --out x.npy";
    assert_eq!((said(sample, &set("")), said(sample, &set("256"))), (widest.clone(), narrow.clone()));
    let bench = "bench --only training --shape 2:1x8:64 --seconds 0.01 --rounds 1";
    assert_eq!((said(bench, &set("")), said(bench, &set("256"))), (widest, narrow));
}

#[cfg(target_arch = "x86_64")]
fn has_wide_vectors() -> bool {
    use std::arch::is_x86_feature_detected as has;
    has!("avx512f") && has!("avx512bw") && has!("avx512dq") && has!("avx512vl")
}

#[cfg(not(target_arch = "x86_64"))]
fn has_wide_vectors() -> bool {
    false
}

/// `devices` on a terminal-less machine: no login session must not make a driver complain.
#[cfg(target_os = "linux")]
#[test]
fn nothing_is_said_about_a_missing_login_session() {
    let output = Command::new(PROGRAM).arg("devices").env_remove("XDG_RUNTIME_DIR").output().unwrap();
    assert_eq!(text(&output.stderr), "");
}

#[test]
fn samples_do_not_depend_on_how_they_are_asked_for() {
    let place = Place::new();
    place.model();
    let flags = "sample run/model.safetensors --steps 3 --seed 5";
    // More than a chunk of a software device.
    let summary = place.json(&format!("{flags} -n 20000 --out all.npy"));
    assert_eq!((&summary["samples"], &summary["dim"]), (&20_000.into(), &2.into()));
    assert!(summary["samples_per_second"].as_f64().unwrap() > 0.0);
    let (shape, all) = array(place.path("all.npy"));
    assert_eq!(shape, [20_000, 2]);
    place.done(&format!("{flags} -n 300 --out few.npy --trajectory paths.npy"));
    let (_, few) = array(place.path("few.npy"));
    assert_eq!(few, all[..600]);
    let (shape, paths) = array(place.path("paths.npy"));
    assert_eq!(shape, [300, 4, 2]);
    let ends: Vec<f32> = paths.chunks_exact(8).flat_map(|path| &path[6..]).copied().collect();
    assert_eq!(ends, few, "a trajectory ends where the sample is");
    place.done(&format!("{flags} -n 300 --out few.parquet"));
    assert_eq!(array(place.path("few.parquet")), (vec![300, 2], few.clone()));
    place.done(&format!("{flags} -n 300 --out few.csv"));
    assert_eq!(array(place.path("few.csv")), (vec![300, 2], few.clone()));
    assert!(fs::read_to_string(place.path("few.csv")).unwrap().starts_with("x,y\n"));
    // --raw is the same in the network's coordinates, and the default is 10 000 samples into samples.npy.
    place.done(&format!("{flags} --raw"));
    let (shape, mut raw) = array(place.path("samples.npy"));
    assert_eq!(shape, [10_000, 2]);
    let model = Model::load(place.path("run/model.safetensors")).unwrap();
    model.standardization.unwrap().undo(&mut raw);
    assert_eq!(raw[..600], few);
    place.done("sample run/model.safetensors --steps 3 --seed 6 -n 300 --out other.npy");
    assert!(farthest(&array(place.path("other.npy")).1, &few) > 0.1, "another seed, other samples");
}

#[test]
fn there_and_back_again() {
    let place = Place::new();
    // Data far from the network's coordinates, so that a wrong unit shows.
    let rows: Vec<String> =
        (0..200).map(|i| format!("{},{}", 500 + i % 13, f64::from(i % 7) / 100.0)).collect();
    fs::write(place.path("far.csv"), format!("long,short\n{}\n", rows.join("\n"))).unwrap();
    place.done("train --data far.csv --hidden 16,16 --batch 64 --steps 200 --no-pictures --out run");
    let flags = "sample run/model.safetensors --solver rk4 --steps 40";
    place.done(&format!("{flags} -n 500 --out there.npy --trajectory paths.npy"));
    place.done(&format!("{flags} --from there.npy --t0 1 --t1 0 --out noise.npy"));
    place.done(&format!("{flags} --from noise.npy --out again.npy"));
    let (_, there) = array(place.path("there.npy"));
    let (_, noise) = array(place.path("noise.npy"));
    assert!(there.chunks(2).all(|point| (300.0..700.0).contains(&point[0])), "data units");
    assert!(noise.iter().all(|x| x.abs() < 6.0), "standard noise");
    let (_, again) = array(place.path("again.npy"));
    assert!(farthest(&there, &again) < 0.02, "{}", farthest(&there, &again));
    let half = "sample run/model.safetensors --solver rk4 --steps 20";
    // Half way and on: what is at t = 1/2 is in data units on both sides.
    place.done(&format!("{half} -n 500 --t1 0.5 --out half.npy"));
    place.done(&format!("{half} --from half.npy --t0 0.5 --out whole.npy"));
    assert!(farthest(&array(place.path("whole.npy")).1, &there) < 0.02);
    // The trajectory is in data units throughout, and begins with the noise.
    let (_, paths) = array(place.path("paths.npy"));
    let mut begin: Vec<f32> = paths.chunks_exact(82).flat_map(|path| &path[..2]).copied().collect();
    let model = Model::load(place.path("run/model.safetensors")).unwrap();
    model.standardization.unwrap().apply(&mut begin);
    assert!(farthest(&begin, &noise) < 2e-3, "{}", farthest(&begin, &noise));
    // -n takes the first rows.
    place.done(&format!("{flags} --from noise.npy -n 7 --out seven.npy"));
    assert_eq!(array(place.path("seven.npy")).1, again[..14]);
}

#[test]
fn densities_of_samples_are_their_likelihoods() {
    let place = Place::new();
    // Units that differ from the network's, so that a forgotten volume shows: log(100·0.01) is 0, log(100·1) is not.
    let rows: Vec<String> = (0..200).map(|i| format!("{},{}", 500 + 30 * (i % 13), i % 7)).collect();
    fs::write(place.path("far.csv"), format!("long,short\n{}\n", rows.join("\n"))).unwrap();
    place.done("train --data far.csv --hidden 16,16 --batch 64 --steps 200 --no-pictures --out run");
    let model = "run/model.safetensors";
    place.done(&format!(
        "sample {model} -n 300 --solver dopri5 --rtol 1e-5 --atol 1e-5 --out x.npy --log-density forth.npy"
    ));
    let summary = place.json(&format!("likelihood {model} --data x.npy --out back.npy --bits-per-dim"));
    let (shape, forth) = array(place.path("forth.npy"));
    let (_, back) = array(place.path("back.npy"));
    assert_eq!(shape[0], 300);
    assert!(farthest(&forth, &back) < 5e-3, "{}", farthest(&forth, &back));
    let mean = back.iter().map(|x| f64::from(*x)).sum::<f64>() / 300.0;
    assert!((summary["mean"].as_f64().unwrap() - mean).abs() < 1e-4, "{summary}");
    let bits = summary["bits_per_dim"].as_f64().unwrap();
    assert!((bits + mean / (2.0 * std::f64::consts::LN_2)).abs() < 1e-4, "{summary}");
    assert!(summary["evaluations"]["most"].as_u64() >= summary["evaluations"]["least"].as_u64());
    // In standardised coordinates a density is larger by the volume of the data's units.
    let standardization = Model::load(place.path(model)).unwrap().standardization.unwrap();
    let mut points = array(place.path("x.npy")).1;
    standardization.apply(&mut points);
    let lines: Vec<String> = points.chunks(2).map(|point| format!("{},{}", point[0], point[1])).collect();
    fs::write(place.path("raw.csv"), format!("a,b\n{}\n", lines.join("\n"))).unwrap();
    place.done(&format!("likelihood {model} --data raw.csv --raw --out raw.npy"));
    let volume = standardization.log_volume();
    #[allow(clippy::cast_possible_truncation, reason = "files hold float32")]
    let shifted: Vec<f32> = back.iter().map(|x| (f64::from(*x) + volume) as f32).collect();
    assert!(farthest(&array(place.path("raw.npy")).1, &shifted) < 5e-3);
    // Random probes are off by what they say.
    place.done(&format!(
        "likelihood {model} --data x.npy --divergence hutchinson --probes 32 --out guess.npy --standard-error error.npy"
    ));
    let (guess, error) = (array(place.path("guess.npy")).1, array(place.path("error.npy")).1);
    let inside = (0..300).filter(|&i| (guess[i] - back[i]).abs() <= 3.0 * error[i] + 1e-2).count();
    assert!(inside >= 285, "{inside} of 300 within three standard errors");
    assert!(error.iter().any(|error| *error > 1e-3), "the probes' error is not zero");
}

#[test]
fn grids_and_adaptive_steps_lead_to_the_same_place() {
    let place = Place::new();
    place.model();
    fs::write(place.path("times.csv"), "t\n0\n0.2\n0.4\n0.55\n0.7\n0.8\n0.9\n1\n").unwrap();
    let sample = "sample run/model.safetensors -n 200";
    place.done(&format!("{sample} --solver rk4 --steps 100 --out exact.npy"));
    let (_, exact) = array(place.path("exact.npy"));
    for flags in [
        "--solver rk4 --grid times.csv",
        "--solver rk4 --grid cosine --steps 12",
        "--solver ab2 --grid power:1.5 --steps 80",
        "--solver dopri5",
        "--path cosine --solver rk4 --steps 60",
        "--solver euler-maruyama --diffusion 0*t --steps 1500",
    ] {
        place.done(&format!("{sample} {flags} --out other.npy"));
        let far = farthest(&array(place.path("other.npy")).1, &exact);
        assert!(far < 5e-3, "{flags}: {far}");
    }
    // The states of an adaptive solver at the times of a grid.
    place.done(&format!("{sample} --solver dopri5 --grid times.csv --trajectory paths.npy --out end.npy"));
    place.done(&format!("{sample} --solver rk4 --grid times.csv --trajectory fixed.npy --out fixed-end.npy"));
    let (shape, paths) = array(place.path("paths.npy"));
    assert_eq!(shape, [200, 8, 2]);
    assert!(farthest(&paths, &array(place.path("fixed.npy")).1) < 5e-3);
    let ends: Vec<f32> = paths.chunks(16).flat_map(|path| &path[14..]).copied().collect();
    assert_eq!(ends, array(place.path("end.npy")).1);
    let summary = place.json(&format!("{sample} --solver dopri5 --evaluations nfe.csv"));
    let evaluations = &summary["evaluations"];
    let counted = array(place.path("nfe.csv")).1.iter().map(|count| f64::from(*count)).sum::<f64>();
    assert!((counted - evaluations["total"].as_f64().unwrap()).abs() < 0.5, "{summary}");
    let (least, total) = (evaluations["least"].as_u64().unwrap(), evaluations["total"].as_u64().unwrap());
    // One, and six for every attempt.
    assert!(least % 6 == 1 && least > 6, "{summary}");
    let attempts = evaluations["accepted"].as_u64().unwrap() + evaluations["rejected"].as_u64().unwrap();
    assert_eq!(total, 200 + 6 * attempts, "{summary}");
}

#[test]
fn quantities_of_a_model_fit_each_other() {
    let place = Place::new();
    place.model();
    fs::write(place.path("x.csv"), "a,b\n0.5,1\n-1,0.25\n2,-0.5\n").unwrap();
    let mut values = Vec::new();
    for name in ["velocity", "score", "denoised", "noise"] {
        place.done(&format!(
            "field run/model.safetensors --points x.csv --time 0.25 --raw --quantity {name} --out {name}.npy"
        ));
        values.push(array(place.path(&format!("{name}.npy"))).1);
    }
    let x = array(place.path("x.csv")).1;
    for i in 0..6 {
        let [velocity, score, denoised, noise] = [0, 1, 2, 3].map(|which: usize| f64::from(values[which][i]));
        // The path `ot` at t = 1/4: x = x1/4 + b·x0, v = x1 − x0.
        let b = 0.75 + 0.25e-5;
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-5, "{a} and {b} at {i}");
        close(0.25 * denoised + b * noise, x[i].into());
        close(denoised - (1.0 - 1e-5) * noise, velocity);
        close(-noise / b, score);
    }
    place.done("field --data moons:500 --points x.csv --time 0.25 --quantity denoised --out exact.npy");
    let (_, exact) = array(place.path("exact.npy"));
    assert!(exact.iter().all(|x| (-5.0..5.0).contains(x)), "a mean of the data lies among them");
}

#[test]
fn a_source_takes_the_place_of_noise() {
    let place = Place::new();
    let rows: Vec<String> = (0..50).map(|i| format!("{},{}", 100 + i, 200 - i)).collect();
    fs::write(place.path("begin.csv"), format!("x,y\n{}\n", rows.join("\n"))).unwrap();
    place.done(&format!("train {SMALL} --source begin.csv --steps 50 --out run"));
    place.done("sample run/model.safetensors -n 64 --steps 4 --out points.npy --trajectory paths.npy");
    let (_, paths) = array(place.path("paths.npy"));
    let begin = Dataset::open(place.path("begin.csv").to_str().unwrap()).unwrap();
    for path in paths.chunks_exact(10) {
        let near = begin.values().chunks_exact(2).any(|row| farthest(row, &path[..2]) < 1e-3);
        assert!(near, "{:?} is no row of the source", &path[..2]);
    }
    // At t = 0 there are points of the source, in data units.
    place.done("sample run/model.safetensors --from begin.csv --steps 4 --out a.npy");
    fs::rename(place.path("begin.csv"), place.path("moved.csv")).unwrap();
    let line = "sample run/model.safetensors -n 64 --steps 4";
    let complaint = complaint(line, &place.run(line), 1);
    assert!(complaint.contains("begin.csv") && complaint.contains("--source"), "{complaint}");
    place.done("sample run/model.safetensors -n 64 --steps 4 --source moved.csv --out moved.npy");
    assert_eq!(array(place.path("moved.npy")), array(place.path("points.npy")));
}

#[test]
fn the_field_is_the_slope_of_the_flow() {
    let place = Place::new();
    place.model();
    fs::write(place.path("points.csv"), "x,y\n0.5,-0.25\n-1,1\n3,0\n").unwrap();
    place.json("field run/model.safetensors --points points.csv --time 0.5 --out v.csv");
    let (shape, velocity) = array(place.path("v.csv"));
    assert_eq!(shape, [3, 2]);
    place.done("sample run/model.safetensors --from points.csv --t0 0.5 --t1 0.501 --steps 1 --solver euler --out next.npy");
    let (_, next) = array(place.path("next.npy"));
    let (_, points) = array(place.path("points.csv"));
    let slope: Vec<f32> = next.iter().zip(&points).map(|(a, b)| (a - b) / 0.001).collect();
    assert!(farthest(&slope, &velocity) < 2e-3, "{slope:?} {velocity:?}");
    // In the network's coordinates, velocities scale with the deviation alone.
    let scale = Model::load(place.path("run/model.safetensors")).unwrap().standardization.unwrap();
    let mut raw = points.clone();
    scale.apply(&mut raw);
    windfield::data::write_array(place.path("raw.npy"), &[3, 2], &[], &raw).unwrap();
    place.done("field run/model.safetensors --points raw.npy --time 0.5 --raw --out raw_v.npy");
    let (_, mut raw_velocity) = array(place.path("raw_v.npy"));
    scale.undo_scale(&mut raw_velocity);
    assert!(farthest(&raw_velocity, &velocity) < 1e-5);
}

#[test]
fn a_batch_is_what_the_path_says() {
    let place = Place::new();
    let flags = "--data moons:500 --batch 33 --seed 2 --sigma-min 0.1 --no-standardize";
    let summary = place.json(&format!("batch {flags} --step 7 --out b.safetensors"));
    assert_eq!((&summary["step"], &summary["batch"]), (&7.into(), &33.into()));
    let bytes = fs::read(place.path("b.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let names: BTreeSet<&str> = tensors.names().into_iter().collect();
    assert_eq!(names, BTreeSet::from(["x0", "x1", "xt", "ut", "t", "index"]));
    let floats =
        |name: &str| -> Vec<f32> { bytemuck::pod_collect_to_vec(tensors.tensor(name).unwrap().data()) };
    let index: Vec<u32> = bytemuck::pod_collect_to_vec(tensors.tensor("index").unwrap().data());
    assert_eq!(tensors.tensor("x0").unwrap().shape(), [33, 2]);
    assert_eq!(tensors.tensor("t").unwrap().shape(), [33]);
    assert_eq!(tensors.tensor("index").unwrap().dtype(), safetensors::Dtype::U32);
    let data = Dataset::open("moons:500").unwrap();
    let (x0, x1, xt, ut, t) = (floats("x0"), floats("x1"), floats("xt"), floats("ut"), floats("t"));
    for row in 0..33 {
        assert_eq!(x1[2 * row..2 * row + 2], *data.row(index[row] as usize));
        assert!((0.0..1.0).contains(&t[row]));
        for at in 2 * row..2 * row + 2 {
            let (want_x, want_u) = ((1.0 - 0.9 * t[row]) * x0[at] + t[row] * x1[at], x1[at] - 0.9 * x0[at]);
            assert!((xt[at] - want_x).abs() < 1e-5 && (ut[at] - want_u).abs() < 1e-5);
        }
    }
    // Steps differ, and a step is the same every time.
    place.done(&format!("batch {flags} --step 7 --out again.safetensors"));
    place.done(&format!("batch {flags} --step 8 --out next.safetensors"));
    assert_eq!(fs::read(place.path("again.safetensors")).unwrap(), bytes);
    assert_ne!(fs::read(place.path("next.safetensors")).unwrap(), bytes);
}

#[test]
fn shaders_are_written_for_every_target() {
    let place = Place::new();
    let count = windfield::shaders::catalogue().len();
    for (target, extension) in
        [("wgsl", ".wgsl"), ("spirv", ".spv"), ("hlsl", ".hlsl"), ("msl", ".metal"), ("glsl", ".comp.glsl")]
    {
        let summary = place.json(&format!("shaders --target {target} --out {target}"));
        assert_eq!(summary["files"].as_array().unwrap().len(), count);
        let files: Vec<PathBuf> =
            fs::read_dir(place.path(target)).unwrap().map(|file| file.unwrap().path()).collect();
        assert_eq!(files.len(), count);
        assert!(files.iter().all(|file| file.to_str().unwrap().ends_with(extension)), "{target}");
        if target == "spirv" {
            assert!(
                files.iter().all(|file| fs::read(file).unwrap().starts_with(&0x0723_0203_u32.to_le_bytes()))
            );
        }
    }
}

#[test]
fn completions_know_the_flags() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = place.done(&format!("completions {shell}"));
        assert!(script.contains("time-frequencies") && script.contains("devices"), "{shell}");
    }
    assert!(place.json("completions bash")["script"].as_str().unwrap().contains("time-frequencies"));
}

#[test]
fn theorems_are_verified() {
    let place = Place::new();
    let report = place.json("verify --only sigma-min,straight --seed 7");
    let checks = report["checks"].as_array().unwrap();
    let names: BTreeSet<&str> = checks.iter().map(|check| check["check"].as_str().unwrap()).collect();
    assert_eq!(names, BTreeSet::from(["sigma-min", "straight"]));
    for check in checks {
        assert_eq!(check["passed"], true, "{check}");
        assert!(check["measured"].is_f64() && check["expected"].is_f64(), "{check}");
        assert!(check["equation"].is_string() && check["what"].is_string(), "{check}");
        let criterion = &check["criterion"];
        assert!(criterion["within"].is_f64() || criterion == "at_least", "{check}");
    }
    assert_eq!(report["passed"], true);
    assert_eq!(report["seed"], 7);
    assert!(report["adapter"]["name"].is_string());
    // For people: a row for each, under the same headings.
    let table = place.done("verify --only straight");
    assert_eq!(table.lines().filter(|line| line.ends_with("  pass")).count(), 6, "{table}");
    assert!(table.contains("measured") && table.contains("all 6 passed in"), "{table}");
    assert_eq!(place.done("verify --only straight --quiet"), "");
    let line = "verify --only gravity";
    let wrong = complaint(line, &place.run(line), 2);
    assert!(wrong.contains("gravity") && wrong.contains("velocity"), "{wrong}");
    assert!(place.listing().is_empty());
}

#[test]
fn a_model_is_evaluated() {
    let place = Place::new();
    place.model();
    let flags = "evaluate run/model.safetensors --data moons:500 -n 64 --seeds 2 --euler-steps 1,8 --tolerances 1e-3 \
                 --pairs 16 --exact-rows 16 --steps 10";
    let found = place.json(&format!("{flags} --out out --seed 3"));
    assert_eq!((&found["rows"], &found["seeds"], &found["seed"]), (&64.into(), &2.into(), &3.into()));
    let measures = found["measures"].as_array().unwrap();
    for measure in measures {
        assert!(measure["value"]["mean"].is_f64() && measure["value"]["half_width"].is_f64(), "{measure}");
        assert_eq!(measure["value"]["values"].as_array().unwrap().len(), 2);
    }
    let w2 = measures.iter().find(|measure| measure["name"] == "W2").unwrap();
    assert!(w2["floor"]["mean"].as_f64().unwrap() < w2["value"]["mean"].as_f64().unwrap());
    assert_eq!(found["quality"].as_array().unwrap().len(), 2);
    assert_eq!(found["crossing"].as_array().unwrap().len(), 32);
    assert_eq!(found["identity"][0]["flow"], "exact");
    let files = ["crossing.csv", "evaluation.json", "evaluation.png", "quality.csv"];
    let listing: BTreeSet<String> = fs::read_dir(place.path("out"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(listing, files.map(str::to_owned).into());
    let record = fs::read_to_string(place.path("out/evaluation.json")).unwrap();
    assert_eq!(serde_json::from_str::<serde_json::Value>(&record).unwrap(), found);
    assert_eq!(array(place.path("out/crossing.csv")).0, [32, 7]);
    assert_eq!(array(place.path("out/quality.csv")).0, [2, 7]);
    let table = place.done(&format!("{flags} --no-likelihood"));
    assert!(
        table.contains("crossing energy") && table.contains("residual") && !table.contains("log p"),
        "{table}"
    );
    assert_eq!(place.done(&format!("{flags} --quiet")), "");
    fs::write(place.path("few.csv"), "x,y\n1,10\n3,10\n1,30\n").unwrap();
    for (line, status, wanted) in [
        ("--data few.csv -n 2", 1, "give -n 1 or less"),
        ("--data swissroll3d", 1, "3 values and the model's points 2"),
        ("--data moons --seeds 0", 2, "--seeds 0 is out of range"),
        ("--data moons --solver euler-maruyama", 2, "euler-maruyama"),
        ("--data moons --euler-steps 0", 2, "--euler-steps 0"),
        ("--data moons --coupling minibatch-ot --batch 100000", 2, "out of range"),
    ] {
        let line = format!("evaluate run/model.safetensors {line}");
        let wrong = complaint(&line, &place.run(&line), status);
        assert!(wrong.contains(wanted), "{line}: {wrong}");
    }
}

#[test]
fn the_field_of_data_is_what_a_model_of_them_learns() {
    let place = Place::new();
    fs::write(place.path("data.csv"), "x,y\n1,10\n3,10\n1,30\n3,30\n").unwrap();
    fs::write(place.path("points.csv"), "x,y\n2,20\n2.5,13\n").unwrap();
    let flags = "field --data data.csv --points points.csv --time 0.4";
    let summary = place.json(&format!("{flags} --out v.csv --log-density log.csv"));
    assert_eq!((&summary["rows"], &summary["points"], &summary["dim"]), (&4.into(), &2.into(), &2.into()));
    assert!(fs::read_to_string(place.path("log.csv")).unwrap().starts_with("log_density\n"));
    let ((_, v), (_, log)) = (array(place.path("v.csv")), array(place.path("log.csv")));
    // In the middle nothing decides; the standardised corners are (±1, ±1).
    assert!(v[0].abs() < 1e-5 && v[1].abs() < 1e-4, "{v:?}");
    let (t, b) = (0.4f64, 1.0 - (1.0 - 1e-5) * 0.4);
    let one = -t * t / (2.0 * b * b) - (b * (2.0 * std::f64::consts::PI).sqrt()).ln();
    // Deviations of 1 and 10.
    assert!((f64::from(log[0]) - (2.0 * one - 10f64.ln())).abs() < 1e-5, "{log:?}");
    // The same in standardised coordinates: velocities scale, and densities with the volume.
    fs::write(place.path("raw.csv"), "x,y\n0,0\n0.5,-0.7\n").unwrap();
    place.done(
        "field --data data.csv --points raw.csv --time 0.4 --raw --out raw_v.npy --log-density raw_log.npy",
    );
    let ((_, raw), (shape, raw_log)) = (array(place.path("raw_v.npy")), array(place.path("raw_log.npy")));
    assert_eq!(shape, [2, 1], "one column, as it is read");
    assert!((raw[2] - v[2]).abs() < 1e-5 && (10.0 * raw[3] - v[3]).abs() < 1e-4, "{raw:?} {v:?}");
    assert!((raw_log[1] - log[1] - 10f32.ln()).abs() < 1e-5);
    // As they are, it is another flow.
    place.done(&format!("{flags} --no-standardize --out plain.npy"));
    let (_, plain) = array(place.path("plain.npy"));
    assert!((plain[3] - v[3]).abs() > 1.0, "{plain:?} {v:?}");
    place.done(&format!("{flags} --path cosine --out cosine.npy"));

    fs::write(place.path("wide.csv"), "x,y,z\n1,2,3\n").unwrap();
    fs::write(place.path("nan.csv"), "x,y\n1,nan\n").unwrap();
    fs::write(place.path("none.csv"), "x,y\n").unwrap();
    fs::write(place.path("far.csv"), "x,y\n1e30,1\n").unwrap();
    let before = place.listing();
    for (line, status, word) in [
        ("field --data data.csv --points wide.csv --time 0.5 --out o.npy", 1, "3 values"),
        ("field --data data.csv --points nan.csv --time 0.5 --out o.npy", 1, "nan.csv"),
        ("field --data data.csv --points none.csv --time 0.5 --out o.npy", 1, "none.csv"),
        ("field --data data.csv --points far.csv --time 0.5 --out o.npy", 1, "far from all data"),
        ("field --data data.csv --points points.csv --time 1.5 --out o.npy", 2, "--time 1.5"),
        ("field --data data.csv --points points.csv --time nan --out o.npy", 2, "--time NaN"),
        ("field --data data.csv --points points.csv --time 1 --path cosine --out o.npy", 1, "b(t) is 0"),
        (
            "field --data data.csv --points points.csv --time 0.5 --out o.npy --log-density o.npy",
            2,
            "same file",
        ),
        ("field --data nowhere --points points.csv --time 0.5 --out o.npy", 1, "nowhere"),
        ("field --points points.csv --time 0.5 --out o.npy", 2, "MODEL"),
        ("field model.safetensors --data data.csv --points points.csv --time 0.5", 2, "--data"),
        ("field model.safetensors --path ot --points points.csv --time 0.5", 2, "--path"),
    ] {
        let complaint = complaint(line, &place.run(line), status);
        assert!(complaint.contains(word), "{line}: {complaint}");
        assert_eq!(place.listing(), before, "{line}");
    }
}

#[test]
fn the_exact_loss_is_in_the_history() {
    let place = Place::new();
    place.done(&format!("train {SMALL} --steps 50 --out plain"));
    let flags = format!("train {SMALL} --exact-every 20 --exact-rows 500");
    let summary = place.json(&format!("{flags} --steps 50 --out whole"));
    let exact = &summary["exact"];
    let number = |name: &str| exact[name].as_f64().unwrap();
    let gap = number("l_cfm") - number("l_fm") - number("crossing_energy");
    assert!(gap.abs() < 0.5 && number("crossing_energy_error") < 0.3 && exact["rows"] == 500, "{exact}");
    let model = |run: &str| fs::read(place.path(run).join("model.safetensors")).unwrap();
    assert_eq!(model("plain"), model("whole"), "measuring changes nothing");
    let rows = |run: &str| -> Vec<Vec<String>> {
        let text = fs::read_to_string(place.path(run).join("metrics.csv")).unwrap();
        text.lines().map(|line| line.split(',').map(str::to_owned).collect()).collect()
    };
    let whole = rows("whole");
    assert_eq!(whole[0][4..], ["seconds", "l_fm", "l_cfm"]);
    let measured: Vec<&str> =
        whole[1..].iter().filter(|row| !row[5].is_empty()).map(|row| row[0].as_str()).collect();
    assert_eq!(measured, ["19", "39", "49"]);
    assert!(whole.iter().all(|row| row.len() == 7 && row[5].is_empty() == row[6].is_empty()));

    // Stopped and resumed, it is the same history but for the clock, and its pictures are drawn.
    place.done(&format!("{flags} --steps 33 --out parts"));
    assert!(rows("parts").last().unwrap()[0] == "32" && !rows("parts").last().unwrap()[5].is_empty());
    place.done("train --resume parts --steps 50 --no-pictures");
    let timeless = |run: &str| -> Vec<Vec<String>> {
        rows(run).into_iter().map(|row| [&row[..4], &row[5..]].concat()).collect()
    };
    assert_eq!(timeless("parts"), timeless("whole"));
    assert_eq!(model("parts"), model("whole"));
    let again = place.json("train --resume parts --no-pictures");
    assert_eq!(again["exact"], summary["exact"], "a look at it changes nothing");
    place.done("train --data moons:500 --hidden 8 --steps 4 --exact-every 2 --exact-rows 100 --out drawn");
    let tall = image::open(place.path("drawn/loss.png")).unwrap().height();
    place.done("train --data moons:500 --hidden 8 --steps 4 --out low");
    assert!(tall > image::open(place.path("low/loss.png")).unwrap().height());

    let line = format!("train {SMALL} --steps 5 --source moons:10 --exact-every 2 --out refused");
    assert!(complaint(&line, &place.run(&line), 2).contains("--exact-every"));
    let line = format!("train {SMALL} --steps 5 --exact-rows 0 --out refused");
    assert!(complaint(&line, &place.run(&line), 2).contains("--exact-rows"));
    assert!(!place.path("refused").exists());
}

#[test]
fn the_flow_is_measured_while_it_is_learnt() {
    let place = Place::new();
    let coupling = "--coupling minibatch-ot --ot-batch 192";
    place.done(&format!("train {SMALL} {coupling} --steps 50 --out plain"));
    let flags = format!("train {SMALL} {coupling} --measure-every 20 --tensorboard");
    let summary = place.json(&format!("{flags} --steps 50 --out whole"));
    let model = |run: &str| fs::read(place.path(run).join("model.safetensors")).unwrap();
    assert_eq!(model("plain"), model("whole"), "looking changes nothing");
    let rows = |run: &str| -> Vec<Vec<String>> {
        let text = fs::read_to_string(place.path(run).join("metrics.csv")).unwrap();
        text.lines().map(|line| line.split(',').map(str::to_owned).collect()).collect()
    };
    let whole = rows("whole");
    assert_eq!(whole[0][4..], ["seconds", "straightness", "curvature", "path_energy", "w2", "w2_1_step"]);
    let looked: Vec<&str> =
        whole[1..].iter().filter(|row| !row[5].is_empty()).map(|row| row[0].as_str()).collect();
    assert_eq!(looked, ["19", "39", "49"]);
    let last = whole.last().unwrap();
    let number = |name: &str| summary["measures"][name].as_f64().unwrap();
    assert_eq!(last[5].parse(), Ok(number("straightness")));
    assert!(number("curvature") >= 1.0 && number("w2") > number("w2_floor") && number("w2_floor") > 0.0);
    // What the pairs cost, beside those that were drawn.
    let cost = |name: &str| summary["coupling"]["cost"][name].as_f64().unwrap();
    assert!(cost("paired") < 0.5 * cost("drawn") && cost("drawn") > 2.0, "{}", summary["coupling"]);

    // Stopped between two looks and resumed, it is the same history but for the clock.
    place.done(&format!("{flags} --steps 33 --out parts"));
    assert!(rows("parts").last().unwrap()[0] == "32" && !rows("parts").last().unwrap()[5].is_empty());
    place.done("train --resume parts --steps 50 --no-pictures");
    let timeless = |run: &str| -> Vec<Vec<String>> {
        rows(run).into_iter().map(|row| [&row[..4], &row[5..]].concat()).collect()
    };
    assert_eq!(
        timeless("parts"),
        whole.iter().map(|row| [&row[..4], &row[5..]].concat()).collect::<Vec<_>>()
    );
    assert_eq!(model("parts"), model("whole"));

    let line =
        "train --data digits --label digit --label-dropout 0 --steps 5 --measure-every 2 --out refused";
    assert!(complaint(line, &place.run(line), 2).contains("--label-dropout 0"));
    assert!(!place.path("refused").exists());
}

/// Pairs of very many points take minutes, and are sought before the first step.
#[cfg(unix)]
#[test]
fn a_run_is_interrupted_while_its_pairs_are_sought() {
    let place = Place::new();
    let line = "train --data moons:70000 --coupling sinkhorn --batch 512 --ot-batch 65536 --hidden 8 --no-pictures --out run";
    let child = place.spawn(line);
    until("the run to begin", || place.path("run/checkpoint.safetensors").exists());
    std::thread::sleep(Duration::from_secs(2));
    let asked = Instant::now();
    signal(&child, "INT");
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{output:?}");
    assert!(asked.elapsed() < Duration::from_secs(30), "{:?}", asked.elapsed());
    assert_eq!(checkpoint_step(&place.path("run")), Some(0));
}

#[test]
fn coupled_runs_are_resumed_and_their_batches_written() {
    let place = Place::new();
    let coupling = "--coupling minibatch-ot --batch 32 --ot-batch 96";
    let train = format!("train --data moons:500 --hidden 8 {coupling} --schedule constant --no-pictures");
    place.done(&format!("{train} --steps 20 --out whole"));
    place.done(&format!("{train} --steps 7 --out parts"));
    // The coupling is the run's own.
    place.done("train --resume parts --steps 20 --no-pictures");
    let model = |run: &str| fs::read(place.path(&format!("{run}/model.safetensors"))).unwrap();
    assert!(model("parts") == model("whole"));
    let config = fs::read_to_string(place.path("parts/config.toml")).unwrap();
    assert!(config.contains("minibatch-ot") && config.contains("ot_batch = 96"), "{config}");

    let mean_cost = |flags: &str| -> f64 {
        place.done(&format!("batch --data moons:500 {flags} --step 4 --out b.safetensors"));
        let bytes = fs::read(place.path("b.safetensors")).unwrap();
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        let floats =
            |name: &str| -> Vec<f32> { bytemuck::pod_collect_to_vec(tensors.tensor(name).unwrap().data()) };
        let squares = floats("x0").into_iter().zip(floats("x1")).map(|(a, b)| f64::from(a - b).powi(2));
        squares.sum::<f64>() / 32.0
    };
    let (coupled, independent) = (mean_cost(coupling), mean_cost("--batch 32"));
    assert!(coupled < 0.5 * independent, "{coupled} and {independent}");
    let sourced = mean_cost(&format!("{coupling} --source rings:200"));
    assert!(sourced < 0.8 * mean_cost("--batch 32 --source rings:200"), "{sourced}");
}

#[test]
fn rounds_of_reflow_are_runs_and_are_resumed() {
    let place = Place::new();
    let small = "--batch 32 --no-pictures --schedule constant";
    place
        .done(&format!("train --data moons:200 --source rings:100 --hidden 8 {small} --steps 20 --out base"));
    let reflow = format!("--coupling reflow --from-model base/model.safetensors --reflow-pairs 100 {small}");
    let summary = place.json(&format!("train {reflow} --rounds 2 --steps 9 --out whole"));
    assert_eq!(summary["out"], "whole/round-2");
    place.done(&format!("train {reflow} --rounds 2 --steps 9 --out parts"));
    fs::remove_dir_all(place.path("parts/round-2")).unwrap();
    place.done("train --resume parts --no-pictures");
    let weights = |run: &str| {
        let bytes = fs::read(place.path(&format!("{run}/round-2/model.safetensors"))).unwrap();
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        tensors.tensor("layers.0.weight").unwrap().data().to_vec()
    };
    assert!(weights("parts") == weights("whole"));
    let model = windfield::model::Model::load(place.path("whole/round-2/model.safetensors")).unwrap();
    assert_eq!(model.source.as_deref(), Some("rings:100"));
    assert!(model.parent.unwrap().ends_with("round-1/model.safetensors"));
    place.done("sample whole/round-2/model.safetensors -n 10 --out x.npy");
    place.done("batch --coupling reflow --from-model base/model.safetensors --reflow-pairs 50 --batch 8 --out b.safetensors");
    for (line, words) in [
        (format!("train {reflow} --data moons --out no"), ["--data", "reflow"]),
        (format!("train {reflow} --rounds 0 --out no"), ["--rounds", "1..=100"]),
        (format!("train --data moons {small} --coupling reflow --out no"), ["--from-model", "reflow"]),
        (format!("train --data moons {small} --epsilon 0.1 --out no"), ["--epsilon", "sinkhorn"]),
        (
            format!("train --data moons {small} --coupling sinkhorn --epsilon 0 --out no"),
            ["--epsilon 0", "0.001"],
        ),
        (format!("train --data moons {small} --rounds 2 --out no"), ["--rounds", "reflow"]),
    ] {
        let message = complaint(&line, &place.run(&line), 2);
        assert!(words.iter().all(|word| message.contains(word)), "{line}: {message}");
    }
    assert!(!place.path("no").exists());
}

/// The table that a text of TOML is.
fn table(path: PathBuf) -> toml::Table {
    fs::read_to_string(path).unwrap().parse().unwrap()
}

#[test]
fn flags_come_from_a_file_and_are_noted() {
    let place = Place::new();
    let text = "data = \"moons:500\"\nhidden = [8, 8]\nbatch = 32\nsteps = 30\nstandardize = false\nno-pictures = true\n\
        schedule = \"constant\"\nseed = 3\nlr = 1e-3\n[let]\nk = 1.5\n";
    fs::write(place.path("run.toml"), text.replace("[let]\nk = 1.5\n", "")).unwrap();
    place.done("train --config run.toml --steps 20 --out a");
    let typed = "--data moons:500 --hidden 8,8 --batch 32 --no-standardize --no-pictures --schedule constant --seed 3 \
        --lr 1e-3 --steps 20";
    place.done(&format!("train {typed} --out b"));
    // The config.toml of a run is such a file, and what is typed wins.
    place.done("train --config a/config.toml --seed 4 --out c");
    let model = |run: &str| Model::load(place.path(run).join("model.safetensors")).unwrap();
    assert_eq!(model("a").fingerprint(), model("b").fingerprint());
    assert_ne!(model("a").fingerprint(), model("c").fingerprint());
    assert_eq!((model("c").steps, model("c").seed), (20, 4));
    let config = table(place.path("a/config.toml"));
    assert_eq!(config["flags"]["steps"].as_integer(), Some(20));
    assert_eq!(config["flags"].get("out"), None);
    assert!(!config["device"]["driver"].as_str().unwrap().is_empty());

    // For any command, arguments without a flag by their names.
    fs::write(place.path("sample.toml"), "model = \"a/model.safetensors\"\nn = 7\nout = \"x.npy\"").unwrap();
    place.done("sample --config sample.toml");
    assert_eq!(array(place.path("x.npy")).0, [7, 2]);

    fs::write(place.path("wrong.toml"), "stepz = 4").unwrap();
    fs::write(place.path("range.toml"), "data = \"moons\"\nbatch = \"many\"").unwrap();
    for (line, status, words) in [
        ("train --config no.toml", 1, ["cannot read no.toml", ""]),
        ("train --config wrong.toml", 1, ["wrong.toml: `stepz` is no flag of `windfield train`", "`steps`?"]),
        ("train --config range.toml --out d", 2, ["--batch", "(with the flags of range.toml)"]),
        ("train --config", 2, ["--config", "value is required"]),
        ("train --resume a --config run.toml", 2, ["cannot be given with --resume", ""]),
    ] {
        let message = complaint(line, &place.run(line), status);
        assert!(words.iter().all(|word| message.contains(word)), "{line}: {message}");
    }
}

#[test]
fn a_run_is_repeated_to_the_bit() {
    let place = Place::new();
    place.done(&format!("train {SMALL} --steps 30 --out base"));
    place.done(&format!(
        "train {} --schedule cosine --warmup 5 --steps 40 --init base/model.safetensors --source rings:200 --out run",
        SMALL.replace("--schedule constant", "")
    ));
    let said = place.done("rerun run");
    assert!(said.contains("same      all 370 weights, bit for bit: xxh3-128:"), "{said}");
    assert!(!said.contains("Next:"), "{said}");
    let report = place.json("rerun run");
    assert_eq!((&report["same"], &report["out"]), (&true.into(), &"run-rerun-2".into()));
    let settings = |run: &str| {
        let mut config = table(place.path(run).join("config.toml"));
        config.remove("flags");
        config
    };
    assert_eq!(settings("run"), settings("run-rerun"));

    // Resumed to more steps than its schedule knew of: the reason is named.
    place.done("train --resume run --steps 60");
    let said = place.done("rerun run --no-pictures");
    let words = [
        "differs   ",
        " of 370 weights differ",
        "because   until step 40 of the first run, another total of steps",
        ": 40 instead of 60",
    ];
    assert!(words.iter().all(|word| said.contains(word)), "{said}");

    // What a person changed is no reason.
    let file = place.path("base/model.safetensors");
    let mut model = Model::load(&file).unwrap();
    model.weights[0].0[3] += 1e-3;
    model.save(&file).unwrap();
    let message = complaint("rerun base", &place.run("rerun base"), 1);
    let words = ["base-rerun is not base", "1 of ", "1e-3 at most", "windfield devices"];
    assert!(words.iter().all(|word| message.contains(word)), "{message}");
    // Another version is one.
    let config = place.path("base/config.toml");
    let mut text = fs::read_to_string(&config).unwrap();
    let version = format!("version = \"{}\"", env!("CARGO_PKG_VERSION"));
    text = text.replace(&version, "version = \"0.0.1\"");
    fs::write(&config, &text).unwrap();
    let report = place.json("rerun base");
    assert_eq!(report["models"][0]["differing"], 1);
    assert!(report["models"][0]["reasons"][0].as_str().unwrap().contains("0.0.1"));
    assert_eq!(report["models"][0]["first_step"], serde_json::Value::Null);

    // A run of before flags were noted.
    fs::write(
        &config,
        text.split("[flags]").next().unwrap().to_owned() + "[data]" + text.split("[data]").nth(1).unwrap(),
    )
    .unwrap();
    assert_eq!(place.json("rerun base --out old")["out"], "old");

    for (line, words) in [
        ("rerun no".to_owned(), ["holds no run", "windfield train"]),
        ("rerun run --out base".to_owned(), ["base already holds a run", "--out"]),
        ("rerun run --source rings:201".to_owned(), ["rings:201 is not what it was", "--source"]),
        ("rerun run --init base/model.safetensors".to_owned(), ["is not what it was", "--init"]),
    ] {
        let message = complaint(&line, &place.run(&line), 1);
        assert!(words.iter().all(|word| message.contains(word)), "{line}: {message}");
    }
    let line = "rerun base --from-model run/model.safetensors";
    assert!(complaint(line, &place.run(line), 2).contains("--from-model"));
}

#[test]
fn rounds_of_reflow_are_repeated_together() {
    let place = Place::new();
    let small = "--batch 32 --no-pictures --schedule constant";
    place.done(&format!("train --data moons:200 --hidden 8 {small} --steps 10 --out base"));
    let reflow =
        "--coupling reflow --from-model base/model.safetensors --reflow-pairs 100 --rounds 2 --steps 9";
    place.done(&format!("train {reflow} {small} --out flow"));
    let report = place.json("rerun flow");
    assert_eq!((&report["same"], report["models"].as_array().unwrap().len()), (&true.into(), 2));
    let message = complaint("rerun flow/round-2", &place.run("rerun flow/round-2"), 1);
    assert!(message.contains("round 2 of 2") && message.contains("windfield rerun flow"), "{message}");
    let names: Vec<String> = place.json("runs .")["runs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|run| run["run"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(names, ["base", "flow-rerun/round-1", "flow-rerun/round-2", "flow/round-1", "flow/round-2"]);
}

#[test]
fn runs_are_compared_and_damaged_ones_listed() {
    let place = Place::new();
    place.done(&format!("train {SMALL} --steps 40 --out all/b"));
    place.done(&format!(
        "train {} --steps 20 --exact-every 10 --exact-rows 64 --out all/deep/a",
        SMALL.replace("64", "32")
    ));
    for name in ["config", "half", "history"] {
        let broken = place.path("all").join(name);
        fs::create_dir_all(&broken).unwrap();
        for file in ["config.toml", "model.safetensors", "checkpoint.safetensors", "metrics.csv"] {
            fs::copy(place.path("all/b").join(file), broken.join(file)).unwrap();
        }
    }
    fs::write(place.path("all/config/config.toml"), "format = 1\n").unwrap();
    let half = fs::read(place.path("all/half/model.safetensors")).unwrap();
    fs::write(place.path("all/half/model.safetensors"), &half[..half.len() / 2]).unwrap();
    fs::remove_file(place.path("all/half/checkpoint.safetensors")).unwrap();
    fs::write(place.path("all/history/metrics.csv"), "\u{1}\u{2}").unwrap();

    let listing = place.json("runs all");
    let runs = listing["runs"].as_array().unwrap();
    let names: Vec<&str> = runs.iter().map(|run| run["run"].as_str().unwrap()).collect();
    assert_eq!(names, ["b", "config", "deep/a", "half", "history"]);
    let fault = |place: usize| runs[place]["fault"].as_str().unwrap_or_default();
    assert!(fault(0).is_empty() && fault(2).is_empty(), "{listing}");
    assert!(fault(1).starts_with("config.toml: "), "{}", fault(1));
    assert!(fault(3).contains("model.safetensors: ") && fault(3).contains("no checkpoint"), "{}", fault(3));
    assert!(fault(4).starts_with("metrics.csv: it has no rows"), "{}", fault(4));
    assert_eq!((&runs[0]["steps"], &runs[2]["batch"]), (&40.into(), &32.into()));
    assert!(runs[2]["excess"].as_f64().unwrap() > 0.0 && runs[0]["excess"].is_null());
    assert!(runs[0]["loss"].as_f64().unwrap() > 0.0 && runs[0]["speed"].as_f64().unwrap() > 0.0);

    let csv = place.done("runs all --csv --sort batch");
    let mut lines = csv.lines();
    assert_eq!(
        lines.next(),
        Some("run,data,path,coupling,hidden,batch,seed,steps,loss,excess,steps/s,state")
    );
    assert!(
        lines.next().unwrap().starts_with("deep/a,moons:2000,ot,independent,\"16,16\",32,0,20,"),
        "{csv}"
    );
    assert!(csv.lines().last().unwrap().starts_with("config,"), "what has no batch is last: {csv}");
    let table = place.done("runs all --sort steps --reverse");
    assert!(table.lines().nth(1).unwrap().starts_with("b "), "{table}");
    assert!(table.ends_with("5 runs\n"), "{table}");
    fs::create_dir(place.path("empty")).unwrap();
    for (line, status, words) in [
        ("runs empty", 1, ["empty holds no run", "--out"]),
        ("runs", 1, ["cannot read runs", ""]),
        ("runs all --sort nothing", 2, ["--sort", "steps/s"]),
        ("runs all --csv --json", 2, ["--csv", "--json"]),
    ] {
        let message = complaint(line, &place.run(line), status);
        assert!(words.iter().all(|word| message.contains(word)), "{line}: {message}");
    }
}

#[test]
fn a_model_is_exported() {
    let place = Place::new();
    place.model();
    let report = place.json("export run/model.safetensors --onnx out/m.onnx");
    let bytes = fs::read(place.path("out/m.onnx")).unwrap();
    assert_eq!(
        (&report["files"][0]["target"], &report["files"][0]["bytes"]),
        (&"onnx".into(), &bytes.len().into())
    );
    let weights = fs::read(place.path("run/model.safetensors")).unwrap();
    // The tensors are those of the model file, as they are.
    let tensors = SafeTensors::deserialize(&weights).unwrap();
    let weight = tensors.tensor("layers.1.weight").unwrap().data().to_vec();
    assert!(bytes.windows(weight.len()).any(|window| window == weight));
    place.done("export run/model.safetensors --onnx raw.onnx --raw");
    assert!(
        fs::metadata(place.path("raw.onnx")).unwrap().len() < bytes.len() as u64,
        "no mean and deviation"
    );
    for (line, status, words) in [
        ("export run/model.safetensors", 2, ["--onnx", "not provided"]),
        ("export run/metrics.csv --onnx x.onnx", 1, ["run/metrics.csv: no whole safetensors file", ""]),
        ("export run/model.safetensors --onnx run", 1, ["cannot write run", "directory"]),
    ] {
        let message = complaint(line, &place.run(line), status);
        assert!(words.iter().all(|word| message.contains(word)), "{line}: {message}");
    }
    assert!(!place.path("x.onnx").exists());
}

#[test]
fn event_files_follow_the_history() {
    let place = Place::new();
    let line = format!("train {SMALL} --steps 30 --tensorboard --out run");
    assert!(place.done(&line).contains("tensorboard"));
    let files = || -> Vec<(PathBuf, u64)> {
        let files = fs::read_dir(place.path("run/tensorboard")).unwrap();
        let mut files: Vec<_> = files
            .map(|entry| entry.unwrap())
            .map(|entry| (entry.path(), entry.metadata().unwrap().len()))
            .collect();
        files.sort();
        files
    };
    assert_eq!(files().len(), 1);
    // Rows of the steps 0, 10 and 20; what a frame holds beside the message is 16 bytes.
    let bytes = fs::read(&files()[0].0).unwrap();
    let mut frames = 0;
    let mut rest = bytes.as_slice();
    while !rest.is_empty() {
        let length = usize::try_from(u64::from_le_bytes(rest[..8].try_into().unwrap())).unwrap();
        rest = &rest[length + 16..];
        frames += 1;
    }
    assert_eq!(frames, 4, "the version, and three rows");
    assert!(bytes.windows(13).any(|window| window == b"gradient_norm"));
    place.done("train --resume run --steps 50 --no-pictures");
    assert_eq!(files().len(), 2, "the run goes on with a file of its own");
    fs::write(place.path("run/tensorboard/note"), "mine").unwrap();
    place.done(&format!("train {SMALL} --steps 10 --out run --overwrite"));
    assert_eq!(files().len(), 1, "events are removed with the run that they are of, and nothing else");
}

#[test]
fn bench_measures_and_compares() {
    let place = Place::new();
    let fast = "--shape 2:1x8:16 --rounds 2 --seconds 0.02";
    let report = place.json(&format!("bench {fast}"));
    assert_eq!(report["windfield"], env!("CARGO_PKG_VERSION"));
    for (figure, unit) in
        [("training", "steps_per_s"), ("sampling", "samples_per_s"), ("likelihood", "likelihoods_per_s")]
    {
        let row = &report[figure][0];
        assert_eq!((row["shape"].as_str(), row["asked"].as_str()), (Some("2:1x8:16"), Some("auto")), "{row}");
        assert!(row[unit]["median"].as_f64().unwrap() > 0.0 && row[unit]["rounds"] == 2, "{row}");
        assert!(row["device_bytes"].as_u64().unwrap() > 0, "{row}");
    }
    let coupling = &report["coupling"][0];
    assert!(coupling["solves_per_s"]["max"].as_f64().unwrap() > 0.0);
    // Every row is scanned at least once to place it, and once for the certificate.
    assert!(coupling["pairs"].as_f64().unwrap() >= 2.0 * 16.0 * 16.0, "{coupling}");
    assert!(report["peak"]["flops"].as_f64().unwrap() > 0.0 && report["peak"]["bytes_per_s"].is_f64());
    let kernels = report["kernels"].as_array().unwrap();
    assert_eq!(
        kernels.iter().map(|k| k["of"].as_str().unwrap()).collect::<Vec<_>>(),
        ["training", "sampling", "likelihood"]
    );
    assert!(kernels[0]["rows"][0]["share"].as_f64().unwrap() > 0.0, "{}", kernels[0]);
    assert!(report["start"]["cold_s"]["median"].as_f64().unwrap() > 0.0);
    assert!(report["memory"]["device_bytes"].as_u64().unwrap() > 0);
    assert!(report.get("refused").is_none() && report.get("comparison").is_none());

    fs::write(place.path("before.json"), report.to_string()).unwrap();
    let line = format!("bench {fast} --only training,memory --compare before.json");
    let compared = place.json(&line);
    let figures: Vec<&str> = compared["comparison"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["figure"].as_str().unwrap())
        .collect();
    assert!(figures.contains(&"training 2:1x8:16 auto, steps/s"), "{figures:?}");
    assert!(compared.get("peak").is_none() && compared.get("sampling").is_none());
    let printed = place.done(&line);
    assert!(printed.contains("ratio") && !printed.contains("note:"), "{printed}");
    // Another adapter is compared, and said.
    let mut elsewhere = report;
    elsewhere["adapter"]["name"] = "another".into();
    fs::write(place.path("before.json"), elsewhere.to_string()).unwrap();
    let printed = place.done(&line);
    assert!(printed.contains("note: the adapters or their drivers differ: another"), "{printed}");
}

#[test]
fn bench_says_what_it_cannot_measure() {
    let place = Place::new();
    fs::write(place.path("other.json"), "{\"schema\": 7}").unwrap();
    fs::write(place.path("text.json"), "nothing").unwrap();
    for (line, status, words) in [
        ("bench --shape 2x3", 2, "2:3x64:256"),
        ("bench --shape 2:3x0:4", 2, "2:3x64:256"),
        ("bench --only speed", 2, "training"),
        ("bench --rounds 0", 2, "--rounds"),
        ("bench --seconds -1", 2, "--seconds"),
        ("bench --seconds nan", 2, "--seconds"),
        ("bench --kernels fast", 2, "layered"),
        ("bench --compare none.json", 1, "none.json"),
        ("bench --compare text.json", 1, "no report"),
        ("bench --compare other.json", 1, "schema 7"),
        ("bench --only sampling --kernels fused --shape 2:1x2048:16", 1, "too wide"),
        ("bench --only coupling --shape 2:1x8:2000000", 1, "16384"),
    ] {
        let output = place.run(line);
        let complaint = complaint(line, &output, status);
        assert!(complaint.contains(words), "{line}: {complaint}");
    }
    // What does not fit is told beside what does.
    let report =
        place.json("bench --only coupling --shape 2:1x8:2000000 --shape 2:1x8:16 --rounds 1 --seconds 0");
    assert_eq!(report["coupling"].as_array().unwrap().len(), 2);
    assert!(report["refused"][0]["reason"].as_str().unwrap().contains("16384"), "{}", report["refused"]);
}

#[test]
fn bench_draws_cost_against_size() {
    let place = Place::new();
    let report = place.json("bench --scaling --rounds 1 --seconds 0 --out picture.png");
    let scaling = report["scaling"].as_array().unwrap();
    let sizes: Vec<&str> = scaling.iter().map(|scaling| scaling["size"].as_str().unwrap()).collect();
    assert_eq!(sizes, ["batch", "width", "depth", "dimension", "particles"]);
    for scaling in scaling {
        let points = scaling["points"].as_array().unwrap();
        assert!(points.len() >= 5, "{scaling}");
        assert!(points.iter().all(|point| point["seconds"]["median"].as_f64().unwrap() > 0.0), "{scaling}");
        let bytes: Vec<u64> = points.iter().map(|point| point["device_bytes"].as_u64().unwrap()).collect();
        assert!(bytes.is_sorted(), "memory grows with a size, or stays: {scaling}");
    }
    assert!(report.get("training").is_none() && report.get("peak").is_none(), "nothing else was asked for");
    assert!(image::open(place.path("picture.png")).unwrap().width() > 1000);
    let line = "bench --only training --out x.png";
    assert!(complaint(line, &place.run(line), 2).contains("--scaling"));
}

#[cfg(unix)]
#[test]
fn an_interrupted_bench_ends() {
    let place = Place::new();
    let line = "bench --only training --shape 2:1x8:16 --seconds 600";
    let child = place.spawn(line);
    std::thread::sleep(Duration::from_millis(1500));
    signal(&child, "INT");
    let complaint = complaint(line, &child.wait_with_output().unwrap(), 130);
    assert!(complaint.contains("not everything was measured"), "{complaint}");
}
