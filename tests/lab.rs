//! The lab as its users meet it: one table and one figure, cells that survive an interruption, and the published suite.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use windfield::data::Dataset;
use windfield::gpu::{Device, DeviceOptions};
use windfield::measure::evaluate::HeldOut;
use windfield::measure::lab::{Lab, Plan, Task, Validation};
use windfield::model::Model;
use windfield::train::{Checkpoint, TrainOptions};

const PROGRAM: &str = env!("CARGO_BIN_EXE_windfield");
/// Models that are trained and measured in no time.
const SMALL: &str = "lab --data moons:500 --hidden 16 --batch 32 --steps 30 --paths ot -n 50";

fn command(folder: &Path, line: &str) -> Command {
    let mut command = Command::new(PROGRAM);
    command.current_dir(folder).args(line.split_whitespace()).stdin(Stdio::null());
    command
}

fn run(folder: &Path, line: &str) -> Output {
    command(folder, line).output().expect("it starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

fn done(folder: &Path, line: &str) -> String {
    let output = run(folder, line);
    assert!(output.status.success(), "{line}: {output:?}");
    assert_eq!(text(&output.stderr), "", "{line}");
    text(&output.stdout)
}

/// What it complains of: one line, and nothing else.
fn complaint(folder: &Path, line: &str, status: i32) -> String {
    let output = run(folder, line);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{line}: {said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    said
}

fn cells(folder: &Path) -> Vec<PathBuf> {
    let mut cells: Vec<PathBuf> = fs::read_dir(folder.join("out/cells"))
        .expect("there are cells")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    cells.sort();
    cells
}

#[test]
fn a_lab_is_one_table_and_one_figure() {
    let place = tempfile::tempdir().expect("a folder");
    let folder = place.path();
    let printed = done(folder, &format!("{SMALL} --seeds 2 --out out"));
    for said in
        ["independent", "minibatch-ot", " ± ", "means of 2 seeds", "the conditional paths cross: C = "]
    {
        assert!(printed.contains(said), "{said} is not in\n{printed}");
    }
    assert_eq!(cells(folder).len(), 4);
    let picture = image::open(folder.join("out/lab.png")).expect("a picture");
    assert!(picture.width() > 500);
    let csv = fs::read_to_string(folder.join("out/table.csv")).expect("a table");
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!(lines.len(), 3, "{csv}");
    assert!(lines[0].starts_with("task,path,coupling,seeds,") && lines[0].contains(",W2,W2 ±,"));
    assert!(lines.iter().all(|line| line.split(',').count() == lines[0].split(',').count()));

    // Again: nothing is run, and the same is said.
    let before: Vec<_> = cells(folder).iter().map(|cell| fs::read(cell).expect("a cell")).collect();
    let again = done(folder, &format!("{SMALL} --seeds 2 --out out --json"));
    let report: serde_json::Value = serde_json::from_str(&again).expect("one object");
    let rows = report["table"].as_array().expect("rows");
    assert_eq!((rows.len(), report["schema"].as_u64()), (2, Some(1)));
    let after: Vec<_> = cells(folder).iter().map(|cell| fs::read(cell).expect("a cell")).collect();
    assert_eq!(before, after);
    // C and its curve are of independent pairs, and what a model loses is of any.
    let number = |row: usize, name: &str| rows[row]["measures"][name]["mean"].as_f64();
    assert!(number(0, "crossing energy").is_some_and(|c| c > 1.0) && number(1, "crossing energy").is_none());
    assert!(number(1, "L_CFM") < number(0, "L_CFM"), "optimal pairs cross less");
    assert!(rows[0]["floors"]["W2"]["mean"].as_f64().is_some_and(|floor| floor > 0.0));

    // More of the same goes into the folder; other settings do not.
    done(folder, &format!("{SMALL} --seeds 3 --couplings independent --no-pictures --out out"));
    assert_eq!(cells(folder).len(), 5);
    let said = complaint(folder, &format!("{SMALL} --seeds 2 --lr 0.01 --out out"), 1);
    assert!(said.contains("lr") && said.contains("another --out"), "{said}");
}

/// The same seed gives the same figures, whatever else is in the lab.
#[test]
fn a_cell_depends_on_its_own_settings_alone() {
    let figures = |line: &str| {
        let place = tempfile::tempdir().expect("a folder");
        done(place.path(), &format!("{SMALL} {line} --no-pictures --out out"));
        let cell = place.path().join("out/cells/moons-ot-minibatch-ot-1.json");
        let cell: serde_json::Value =
            serde_json::from_slice(&fs::read(cell).expect("the cell")).expect("JSON");
        (cell["measures"].clone(), cell["quality"].clone(), cell["trajectories"].clone())
    };
    assert_eq!(figures("--seeds 2"), figures("--seed 1 --seeds 1 --couplings minibatch-ot"));
}

/// Runs a line, interrupts it in training, and returns the step of the checkpoint that is left.
#[cfg(unix)]
fn interrupted(folder: &Path, line: &str) -> u64 {
    let mut child =
        command(folder, line).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    // Behind this line is the first cell.
    let said = BufReader::new(child.stdout.take().expect("its output")).lines();
    assert!(said.map_while(Result::ok).any(|line| line.starts_with("models")), "it does not begin");
    std::thread::sleep(Duration::from_secs(2));
    let id = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &id]).status().expect("kill").success());
    let output = child.wait_with_output().expect("an end");
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{said}");
    assert!(said.contains("0 of 1 models") && said.contains("goes on from there"), "{said}");
    let checkpoint = folder.join("out/cells/moons-ot-independent-0.checkpoint.safetensors");
    windfield::train::Checkpoint::load(&checkpoint).expect("a checkpoint is left").step()
}

#[cfg(unix)]
#[test]
fn an_interrupted_lab_goes_on() {
    let place = tempfile::tempdir().expect("a folder");
    let line = "lab --data moons:500 --hidden 16 --batch 32 --paths ot --couplings independent -n 50 --seeds 1 \
                --steps 10000000 --no-pictures --out out";
    let first = interrupted(place.path(), line);
    let second = interrupted(place.path(), line);
    assert!(0 < first && first < second, "{first}, {second}");
}

/// Whether a cell has come to its measures.
static MEASURING: AtomicBool = AtomicBool::new(false);

#[test]
fn what_is_broken_off_in_its_measures_keeps_its_training() {
    let place = tempfile::tempdir().expect("a folder");
    let plan = Plan {
        tasks: vec![Task::new("moons:100", None)],
        seeds: vec![0],
        rows: 20,
        train: TrainOptions { steps: 5, hidden: vec![8], batch: 16, ..Plan::default().train },
        ..Plan::default()
    };
    let device = Device::open(&DeviceOptions::default()).expect("a device");
    let mut lab = Lab::open(place.path(), plan).expect("a lab");
    let id = lab.todo().remove(0);
    let outcome = lab.run(
        &device,
        &id,
        || MEASURING.load(Relaxed),
        |now| {
            MEASURING.store(now.what != "training", Relaxed);
        },
    );
    assert!(matches!(outcome, Err(windfield::Error::Interrupted)), "{outcome:?}");
    let checkpoint = place.path().join(format!("cells/{}.checkpoint.safetensors", id.name()));
    assert_eq!(Checkpoint::load(&checkpoint).expect("a checkpoint is left").step(), 5);
    lab.run(&device, &id, || false, |_| ()).expect("it goes on");
    assert!(lab.done().len() == 1 && !checkpoint.exists());
}

/// Of the weights that a plan looks at, those with the lowest loss are measured; an interruption changes nothing.
#[test]
fn the_best_weights_are_those_of_a_whole_run() {
    static STOP: AtomicBool = AtomicBool::new(false);
    let device = Device::open(&DeviceOptions::default()).expect("a device");
    let train = TrainOptions {
        steps: 44,
        hidden: vec![8],
        batch: 16,
        lr: 0.05,
        warmup: 0,
        ema: 0.0,
        ..Plan::default().train
    };
    let plan = |validation: Option<Validation>| Plan {
        tasks: vec![Task::new("moons:100", None)],
        seeds: vec![0],
        rows: 20,
        quality_steps: vec![1],
        train: train.clone(),
        validation,
        ..Plan::default()
    };
    let wanted = Some(Validation { every: 5, rows: 96 });
    let cell = |validation, stopped_at: Option<f64>| {
        let place = tempfile::tempdir().expect("a folder");
        let mut lab = Lab::open(place.path(), plan(validation)).expect("a lab");
        let id = lab.todo().remove(0);
        if let Some(share) = stopped_at {
            let outcome = lab.run(
                &device,
                &id,
                || STOP.load(Relaxed),
                |now| {
                    STOP.store(now.share >= share, Relaxed);
                },
            );
            assert!(matches!(outcome, Err(windfield::Error::Interrupted)), "{outcome:?}");
            STOP.store(false, Relaxed);
            let at =
                Checkpoint::load(place.path().join(format!("cells/{}.checkpoint.safetensors", id.name())));
            let at = at.expect("a checkpoint").step();
            assert!(at > 0 && at < 44, "{at}");
        }
        lab.run(&device, &id, || false, |_| ()).expect("it is done");
        assert!(!place.path().join(format!("cells/{}.best.safetensors", id.name())).exists());
        let model =
            Model::load(place.path().join(format!("cells/{}.safetensors", id.name()))).expect("a model");
        let data = Dataset::open("moons:100").expect("data");
        let held = HeldOut::draw(&device, &model, (&data, None), &train, 96, || false).expect("pairs");
        (model.steps, model.weights.clone(), held.loss(&device, &model).expect("a loss"))
    };
    let (steps, weights, loss) = cell(wanted, None);
    assert!(steps == 44 || steps % 5 == 0, "{steps}");
    let last = cell(None, None);
    assert!(last.0 == 44 && loss <= last.2, "{loss} {}", last.2);
    // At this rate the last weights are hardly the best.
    assert!(steps < 44 && loss < last.2, "{steps}: {loss} {}", last.2);
    for share in [0.1, 0.4] {
        let again = cell(wanted, Some(share));
        assert_eq!((again.0, &again.1), (steps, &weights), "stopped at {share}");
    }
}

#[test]
fn reflow_goes_on_from_the_independent_model() {
    let place = tempfile::tempdir().expect("a folder");
    let folder = place.path();
    let line = format!("{SMALL} --seeds 1 --no-pictures --out out");
    let printed = done(folder, &format!("{line} --couplings reflow,independent --json"));
    let report: serde_json::Value = serde_json::from_str(&printed).expect("one object");
    let rows = report["table"].as_array().expect("rows");
    let of = |name: &str| rows.iter().find(|row| row["coupling"] == name).expect("a row");
    // Its pairs are those of a flow: their crossing is not that of the data.
    assert!(
        of("reflow")["measures"]["L_CFM"].is_null() && of("reflow")["measures"]["W2"]["mean"].is_number()
    );
    assert!(of("independent")["measures"]["L_CFM"]["mean"].is_number());
    let model = Model::load(folder.join("out/cells/moons-ot-reflow-0.safetensors")).expect("it loads");
    assert_eq!(model.parent.as_deref(), Some("moons-ot-independent-0.safetensors"));
    assert!(model.source.is_none());
    let said = complaint(folder, &format!("{SMALL} --couplings reflow --out other"), 2);
    assert!(said.contains("independent"), "{said}");
}

#[test]
fn the_suite_of_transport_is_beside_its_published_figures() {
    let place = tempfile::tempdir().expect("a folder");
    let folder = place.path();
    let printed = done(folder, "lab --suite transport --steps 20 --seeds 1 -n 64 --out out");
    for said in [
        "N→8gaussians",
        "moons→8gaussians",
        "N→moons",
        "N→scurve",
        "published",
        "0.239 ± 0.048",
        "1.92 ± 0.390",
    ] {
        assert!(printed.contains(said), "{said} is not in\n{printed}");
    }
    let report: serde_json::Value =
        serde_json::from_slice(&fs::read(folder.join("out/lab.json")).expect("a report")).expect("JSON");
    assert_eq!(report["published"].as_array().map(Vec::len), Some(16));
    // The protocol: σ around straight lines, in the units of the data.
    let model =
        Model::load(folder.join("out/cells/N-to-moons-ot-0.1-independent-0.safetensors")).expect("a model");
    assert!((model.path.noise() - 0.1).abs() < 1e-6 && model.standardization.is_none());
    assert_eq!(model.architecture.hidden, [64; 3]);
    // One flow alone, as we would do it: beside the same figures.
    let printed = done(
        folder,
        "lab --suite transport-averaged --flows N->scurve --steps 20 --seeds 1 -n 64 --out averaged --no-pictures",
    );
    assert!(printed.contains("0.264 ± 0.093") && printed.contains(" of 4 reached"), "{printed}");
    assert!(!printed.contains("moons"), "{printed}");
    let model = Model::load(folder.join("averaged/cells/N-to-scurve-ot-independent-0.safetensors"));
    assert!(model.expect("a model").path.noise() == 0.0);
    let said = complaint(folder, "lab --suite transport --flows moons --out other", 2);
    assert!(said.contains("`moons`") && said.contains("N→moons"), "{said}");
    let said = complaint(folder, "lab --suite transport --lr 0.1 --out other", 2);
    assert!(said.contains("--lr") && said.contains("protocol"), "{said}");
}

#[test]
fn noise_around_a_path_is_another_path() {
    let place = tempfile::tempdir().expect("a folder");
    let folder = place.path();
    let line =
        format!("{SMALL} --couplings independent --seeds 1 --path-noise 0,0.25 --out out --no-pictures");
    let printed = done(folder, &line);
    assert!(printed.contains("\not+0.25 "), "{printed}");
    for (name, noise) in [("moons-ot-independent-0", 0.0), ("moons-ot-0.25-independent-0", 0.25)] {
        let model = Model::load(folder.join(format!("out/cells/{name}.safetensors"))).expect("a model");
        assert!((model.path.noise() - noise).abs() < 1e-6, "{name}");
    }
    let said = complaint(folder, &line.replace("0,0.25", "0.25,0.25"), 2);
    assert!(said.contains("twice"), "{said}");
}

#[test]
fn what_cannot_be_compared_is_refused_in_one_line() {
    let place = tempfile::tempdir().expect("a folder");
    let folder = place.path();
    for (line, status, words) in [
        ("lab --out out", 2, "--data"),
        ("lab --data moons", 2, "--out"),
        ("lab --data moons --paths ot,ot --out out", 2, "twice"),
        ("lab --data moons --paths nowhere --out out", 2, "nowhere"),
        ("lab --data moons --couplings none --out out", 2, "none"),
        ("lab --data moons --seeds 0 --out out", 2, "--seeds"),
        ("lab --data moons -n 1 --out out", 2, "-n 1"),
        ("lab --data moons --source swissroll3d --out out", 1, "dimension"),
        ("lab --data nothing.npy --out out", 1, "nothing.npy"),
    ] {
        let said = complaint(folder, line, status);
        assert!(said.contains(words), "{line}: {said}");
    }
    fs::create_dir_all(folder.join("broken")).expect("a folder");
    fs::write(folder.join("broken/settings.json"), "{").expect("a file");
    let said = complaint(folder, "lab --data moons --out broken", 1);
    assert!(said.contains("settings.json"), "{said}");
}

#[test]
fn too_few_rows_are_told_before_anything_is_trained() {
    let place = tempfile::tempdir().expect("a folder");
    fs::write(place.path().join("few.csv"), "x,y\n0,1\n1,0\n2,2\n3,1\n").expect("written");
    let said = complaint(place.path(), "lab --data few.csv -n 3 --hidden 8 --steps 5 --out out", 1);
    assert!(said.contains("few.csv") && said.contains("give -n 2 or less"), "{said}");
    assert!(!place.path().join("out").exists(), "a folder with settings that cannot be measured");
}
