//! Conditional models: what they are told, what couplings make of it, and what comes out under a condition.

#![allow(clippy::float_cmp, reason = "bits are compared on purpose")]
#![allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "sizes of tests are small")]

mod common;
mod reference;

use std::ops::ControlFlow;
use std::process::Command;

use common::{Report, device, random, wide};
use windfield::data::{Array, Dataset, Label, LabelKind};
use windfield::flow::{Coupling, Solver};
use windfield::model::{Kernels, Model};
use windfield::sample::{SampleOptions, Sampler};
use windfield::train::{Batch, BatchOptions, Checkpoint, TrainOptions, Trainer};

const ROWS: usize = 4000;
/// Where the two classes are, in x, and how wide they are.
const AWAY: f32 = 1.0;
const WIDTH: f32 = 0.25;

/// Two Gaussians at ±1, their class, and a number that says how far up a point is.
fn table() -> Array {
    let normals = random(7, 2 * ROWS);
    let row = |i: usize| {
        let class = (i % 2) as f32;
        let y = normals[2 * i + 1];
        [AWAY * (2.0 * class - 1.0) + WIDTH * normals[2 * i], y, class, 3.0 + 2.0 * y]
    };
    let columns = ["x", "y", "side", "height"].map(str::to_owned).to_vec();
    Array { shape: vec![ROWS, 4], values: (0..ROWS).flat_map(row).collect(), columns: Some(columns) }
}

/// With labels, and without the columns of those that are not asked for.
fn data(labels: &[&str]) -> Dataset {
    let all = Dataset::from_array("table", table()).expect("a table");
    let unused: Vec<_> = ["side", "height"].iter().filter(|name| !labels.contains(name)).collect();
    let drop: Vec<_> = unused.iter().map(|name| name.parse().expect("a label")).collect();
    let all = all.with_labels(&drop, 0.0).expect("labels").without_conditions();
    let labels: Vec<_> = labels.iter().map(|name| name.parse().expect("a label")).collect();
    all.with_labels(&labels, 0.125).expect("labels")
}

fn batch(data: &Dataset, coupling: Coupling, rows: usize, step: u32) -> Batch {
    let options = BatchOptions {
        path: windfield::flow::Path::default(),
        coupling,
        batch: rows,
        seed: 3,
        standardize: false,
        step,
    };
    Batch::draw(device(), data, None, &options).unwrap_or_else(|error| panic!("{error}"))
}

fn options(steps: u64) -> TrainOptions {
    TrainOptions { hidden: vec![32, 32], batch: 128, steps, ema: 0.98, seed: 1, ..TrainOptions::default() }
}

fn train(data: &Dataset, options: TrainOptions) -> (Trainer, Vec<f32>) {
    let mut trainer = Trainer::new(device(), data, None, options).unwrap_or_else(|error| panic!("{error}"));
    let mut losses = vec![];
    trainer
        .run(|news| {
            losses.extend(news.records.iter().map(|(_, record)| record.loss));
            ControlFlow::Continue(())
        })
        .unwrap_or_else(|error| panic!("{error}"));
    (trainer, losses)
}

fn sample(model: &Model, rows: usize) -> Vec<f32> {
    let options =
        SampleOptions { solver: Solver::named("rk4").expect("rk4"), steps: 20, ..SampleOptions::default() };
    let mut sampler = Sampler::new(device(), model, None, options).unwrap_or_else(|error| panic!("{error}"));
    let mut points = sampler.sample(0, rows).unwrap_or_else(|error| panic!("{error}"));
    sampler.to_data_units(&mut points);
    points
}

fn mean(values: impl Iterator<Item = f32>) -> f64 {
    let values = wide(&values.collect::<Vec<_>>());
    values.iter().sum::<f64>() / values.len() as f64
}

fn given(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// Labels change nothing of a batch but what they add to it.
#[test]
fn a_batch_is_the_same_with_and_without_labels() {
    let mut report = Report::new();
    let (with, without) = (data(&["side", "height"]), data(&[]));
    let (told, bare) =
        (batch(&with, Coupling::Independent, 1000, 5), batch(&without, Coupling::Independent, 1000, 5));
    report.equal("index", &told.index, &bare.index);
    for (name, a, b) in [
        ("x0", &told.x0, &bare.x0),
        ("x1", &told.x1, &bare.x1),
        ("xt", &told.xt, &bare.xt),
        ("t", &told.t, &bare.t),
    ] {
        report.same_bits(name, a, b);
    }
    let conditions = with.conditions().expect("conditions");
    let mut silent = 0;
    for (i, features) in told.condition.chunks_exact(4).enumerate() {
        if features == [0.0; 4] {
            silent += 1;
        } else {
            report.same_bits(&format!("row {i}"), features, &conditions.row(told.index[i] as usize));
        }
    }
    // 1000/8, and five standard deviations of that.
    report.holds((125i32 - silent).abs() < 53, || format!("{silent} of 1000 rows are told nothing"));
    report.holds(bare.condition.is_empty(), || "a condition without labels".to_owned());
    report.finish();
}

/// Optimal transport gives class 1, on the right, the noise on the right: what a conditional model then learns is not a
/// flow of N(0, I), from which it will be sampled. The mean of x0 under a class is that of half a normal, √(2/π) = 0.8.
/// With the condition in the cost, x0 keeps to the class that it was drawn with, and its mean is 0.
#[test]
fn couplings_keep_noise_and_condition_independent() {
    let mut report = Report::new();
    let (rows, steps) = (256, 8);
    for coupling in [Coupling::MinibatchOt { ot_batch: 0 }, Coupling::Sinkhorn { ot_batch: 0, epsilon: 0.02 }]
    {
        let name = coupling.entry().name;
        let moments = |data: &Dataset| {
            let classes: Vec<bool> = (0..ROWS).map(|i| i % 2 == 1).collect();
            let mut right = vec![];
            let mut cost = 0.0;
            for step in 0..steps {
                let drawn = batch(data, coupling, rows, step);
                for (i, &index) in drawn.index.iter().enumerate() {
                    if classes[index as usize] {
                        right.push(drawn.x0[2 * i]);
                    }
                    cost += (0..2)
                        .map(|c| f64::from(drawn.x0[2 * i + c] - drawn.x1[2 * i + c]).powi(2))
                        .sum::<f64>();
                }
            }
            let m = mean(right.iter().copied());
            let square = mean(right.iter().map(|x| x * x));
            (m, square - m * m, cost / f64::from(steps) / rows as f64)
        };
        let (biased, narrow, _) = moments(&data(&[]));
        report.holds(biased > 0.65 && narrow < 0.6, || {
            format!("{name} without the condition: mean {biased}, variance {narrow} of x0 under class 1")
        });
        let (fair, full, cost) = moments(&data(&["side"]));
        // 1024 points: five standard errors.
        report.holds(fair.abs() < 0.16 && (full - 1.0).abs() < 0.23, || {
            format!("{name} with the condition: mean {fair}, variance {full} of x0 under class 1")
        });
        // Between optimal pairs of N(0, I) and N(±e, diag(1/16, 1)), 1 + (3/4)² = 1.56, and independent ones, 4.06.
        report.holds(cost < 2.3, || format!("{name} with the condition: cost {cost}"));
        // Of a number: x0 does not follow it.
        let tall = data(&["height"]);
        let (mut product, mut count) = (0.0, 0.0);
        for step in 0..steps {
            let drawn = batch(&tall, coupling, rows, step);
            for i in 0..rows {
                product += f64::from(drawn.x0[2 * i + 1] * drawn.x1[2 * i + 1]);
                count += 1.0;
            }
        }
        let free: f64 = product / count;
        report.holds(free.abs() < 0.2, || format!("{name} with a number: correlation {free}"));
    }
    report.finish();
}

/// Under a class, the samples are of that class; guided by 0 they are of all the data, and beyond 1 further out. Without a
/// dropout a model cannot do without.
#[test]
fn samples_are_examples_of_their_condition() {
    let mut report = Report::new();
    let (trainer, _) = train(&data(&["side", "height"]), options(3000));
    let model = trainer.model().expect("a model");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("model.safetensors");
    model.save(&file).expect("saved");
    let read = Model::load(&file).expect("loaded");
    report.holds(read == model, || "the file is not the model".to_owned());
    report.holds(model.label_dropout == 0.125 && model.conditions.len() == 2, || {
        format!("{:?}", model.conditions)
    });
    for (side, height, x, y) in
        [("0", "3", -1.0, 0.0), ("1", "3", 1.0, 0.0), ("1", "4", 1.0, 0.5), ("0", "1", -1.0, -1.0)]
    {
        let condition = model
            .condition(&given(&[("side", side), ("height", height)]))
            .unwrap_or_else(|error| panic!("{error}"));
        let points = sample(&model.under(&condition).expect("under a condition"), 1000);
        let got = [mean(points.iter().step_by(2).copied()), mean(points.iter().skip(1).step_by(2).copied())];
        // What a small network leaves.
        report.holds((got[0] - x).abs() < 0.15 && (got[1] - y).abs() < 0.15, || {
            format!("side {side}, height {height}: mean {got:?}, not {x}, {y}")
        });
    }
    let condition = model.condition(&given(&[("side", "1"), ("height", "3")])).expect("a condition");
    let at = |w: f32| {
        let points = sample(&model.guided(&condition, w).expect("guided"), 1000);
        mean(points.iter().step_by(2).copied())
    };
    let (none, one, two) = (at(0.0), at(1.0), at(2.0));
    report.holds(none.abs() < 0.15 && two > one, || {
        format!("mean x guided by 0: {none}, by 1: {one}, by 2: {two}")
    });
    let all = sample(&model.unconditional().expect("without"), 1000);
    report.same_bits("guided by 0", &sample(&model.guided(&condition, 0.0).expect("guided"), 1000), &all);
    let refused = Sampler::new(device(), &model, None, SampleOptions::default()).expect_err("no condition");
    report.holds(refused.to_string().contains("under a condition"), || refused.to_string());
    report.finish();
}

/// A file of another program, which has classes and no names of them.
#[test]
fn classes_without_names_are_counted() {
    let label = Label {
        name: "class".to_owned(),
        kind: LabelKind::Class { names: vec!["0".into(), "1".into()] },
        column: None,
        stored: None,
        place: None,
    };
    let (trainer, _) = train(&data(&["side"]), options(0));
    let model = Model { conditions: vec![label], ..trainer.model().expect("a model") };
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("model.safetensors");
    model.save(&file).expect("saved");
    let bytes = std::fs::read(&file).expect("read");
    let (start, header) = (8, u64::from_le_bytes(bytes[..8].try_into().expect("8 bytes")) as usize);
    let text = String::from_utf8(bytes[start..start + header].to_vec()).expect("text");
    let begin = text.find(",\\\"conditions\\\":[").expect("conditions");
    let end = begin + text[begin..].find(']').expect("an end") + 1;
    // The list of names ends first, then the list of conditions.
    let end = end + text[end..].find(']').expect("an end") + 1;
    let foreign = format!("{}{}", &text[..begin], &text[end..]);
    let mut out = (foreign.len() as u64).to_le_bytes().to_vec();
    out.extend(foreign.bytes());
    out.extend(&bytes[start + header..]);
    std::fs::write(&file, out).expect("written");
    let read = Model::load(&file).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(read.conditions, model.conditions);
    assert_eq!(read.condition(&given(&[("class", "1")])).expect("a condition"), [0.0, 1.0]);
}

/// All kernels learn the same from the same conditions, and a resumed run is the uninterrupted one, bit for bit.
#[test]
fn runs_are_the_same_by_any_kernels_and_resumed() {
    let mut report = Report::new();
    let data = data(&["side", "height"]);
    let constant =
        TrainOptions { schedule: windfield::train::Schedule::Constant, warmup: 0, lr: 1e-3, ..options(40) };
    let by = |kernels: Kernels| train(&data, TrainOptions { kernels, ..constant.clone() });
    let (whole, losses) = by(Kernels::Fused);
    for kernels in [Kernels::Layered, Kernels::Tiled] {
        let (_, others) = by(kernels);
        report.close(&format!("losses by {kernels:?}"), &others, &wide(&losses), |i| {
            1e-4 * f64::from(losses[i])
        });
    }
    let (half, first) = train(&data, TrainOptions { steps: 15, kernels: Kernels::Fused, ..constant });
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("checkpoint.safetensors");
    half.checkpoint().expect("a checkpoint").save(&file).expect("saved");
    let checkpoint = Checkpoint::load(&file).unwrap_or_else(|error| panic!("{error}"));
    let mut resumed =
        Trainer::resume(device(), &data, None, &checkpoint, 40).unwrap_or_else(|error| panic!("{error}"));
    let mut rest = first;
    resumed
        .run(|news| {
            rest.extend(news.records.iter().map(|(_, record)| record.loss));
            ControlFlow::Continue(())
        })
        .unwrap_or_else(|error| panic!("{error}"));
    report.same_bits("losses", &rest, &losses);
    report.holds(resumed.model().expect("a model") == whole.model().expect("a model"), || {
        "the models differ".to_owned()
    });
    report.finish();
}

/// What is wrong is said in one line, with what there is.
/// A table of words, whole numbers and gaps: a column of words as the label, taken out of what is learned and written.
/// Runs the program in a folder: its exit status and what it says on standard error.
fn windfield(folder: &std::path::Path, line: &str) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_windfield"))
        .current_dir(folder)
        .args(line.split_whitespace())
        .env("WINDFIELD_CACHE", "off")
        .output()
        .expect("it runs");
    (output.status.code(), String::from_utf8(output.stderr).expect("text"))
}

#[test]
fn a_column_of_words_is_a_label() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut text = "species,mass,island,year\n".to_owned();
    for i in 0..300_u16 {
        let species = ["Adelie", "Chinstrap", "Gentoo"][usize::from(i % 3)];
        let mass = if i == 7 { "NA".to_owned() } else { (3000.0 + 700.0 * f32::from(i % 3)).to_string() };
        let island = ["Biscoe", "Dream"][usize::from(i / 3 % 2)];
        let year = (2007 + i % 4).to_string();
        text += &[species, &mass, island, &year].join(",");
        text.push('\n');
    }
    std::fs::write(folder.path().join("t.csv"), text).expect("written");
    let run = |line: &str| {
        let (status, error) = windfield(folder.path(), line);
        assert_eq!((status, error.as_str()), (Some(0), ""), "{line}");
    };
    run(
        "train --data t.csv --missing mean --label species --hidden 16,16 --steps 400 --schedule constant --ema 0 \
         --no-pictures --out run",
    );
    let model = Model::load(folder.path().join("run/model.safetensors")).expect("a model");
    assert_eq!(model.columns, ["mass", "island=Biscoe", "island=Dream", "year"]);
    assert_eq!(model.conditions[0].classes(), ["Adelie", "Chinstrap", "Gentoo"]);
    // The label and what was done about missing values are part of what a repetition trains on.
    run("rerun run --no-pictures");
    run("sample run/model.safetensors -n 50 --condition species=Gentoo --out gentoo.csv");
    let written = std::fs::read_to_string(folder.path().join("gentoo.csv")).expect("text");
    let mut lines = written.lines();
    assert_eq!(lines.next(), Some("species,mass,island,year"));
    let mut heavy = 0;
    for line in lines {
        let cells: Vec<&str> = line.split(',').collect();
        assert_eq!(cells[0], "Gentoo");
        heavy += usize::from(cells[1].parse::<f32>().expect("a number") > 4050.0);
        assert!(["Biscoe", "Dream"].contains(&cells[2]), "{line}");
        cells[3].parse::<i32>().expect("a whole number");
    }
    // 4400 is the mass of every Gentoo, 3000 and 3700 those of the others.
    assert!(heavy > 30, "{heavy} of 50");
    // Without a condition there is nothing to fill the column with.
    let output = Command::new(env!("CARGO_BIN_EXE_windfield"))
        .current_dir(folder.path())
        .args(["sample", "run/model.safetensors", "-n", "5", "--out", "any.csv"])
        .env("WINDFIELD_CACHE", "off")
        .output()
        .expect("it runs");
    let said = String::from_utf8(output.stdout).expect("text");
    assert!(said.contains("note      left out, for want of a --condition: columns `species`"), "{said}");
    let any = std::fs::read_to_string(folder.path().join("any.csv")).expect("text");
    assert_eq!(any.lines().next(), Some("mass,island,year"));
    // The same table is looked at with its labels, and without them.
    for line in [
        "likelihood run/model.safetensors --data gentoo.csv --solver rk4 --steps 4",
        "field run/model.safetensors --points gentoo.csv --time 0.5 --condition species=Gentoo",
        "sample run/model.safetensors --from gentoo.csv --t0 1 --t1 0 --condition species=Gentoo --steps 4",
        "likelihood run/model.safetensors --data t.csv --condition species=Adelie --solver rk4 --steps 4",
        "likelihood run/model.safetensors --data t.csv --solver rk4 --steps 4",
        "evaluate run/model.safetensors --data t.csv --condition species=Adelie -n 40",
        "train --resume run --steps 420 --no-pictures",
        "train --data t.csv --label species --init run/model.safetensors --hidden 16,16 --steps 2 --no-pictures \
         --out more",
    ] {
        run(line);
    }
}

#[test]
fn wrong_labels_and_conditions_are_refused_in_one_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut text = "x,y,side\n".to_owned();
    for row in table().values.chunks_exact(4) {
        text.push_str(&[row[0], row[1], row[2]].map(|x| x.to_string()).join(","));
        text.push('\n');
    }
    std::fs::write(folder.path().join("t.csv"), text).expect("written");
    let run = |line: &str| windfield(folder.path(), line);
    let small = "--hidden 8 --steps 5 --no-pictures --data t.csv";
    for line in [
        format!("train {small} --label side --out told"),
        format!("train {small} --label side --label-dropout 0 --out strict"),
        format!("train {small} --out plain"),
        "sample told/model.safetensors -n 10 --condition side=1 --guidance 2 --out a.csv".to_owned(),
        "sample told/model.safetensors -n 10 --out a.csv".to_owned(),
        "sample strict/model.safetensors -n 10 --condition side=0 --out a.csv".to_owned(),
        "likelihood told/model.safetensors --data t.csv --condition side=1 --guidance 1.5 --solver rk4 --steps 4".to_owned(),
        "field told/model.safetensors --points a.csv --time 0.5 --condition side=1".to_owned(),
        "train --resume told --steps 7 --no-pictures".to_owned(),
        "batch --data t.csv --label side --batch 4".to_owned(),
        "train --data digits:200 --label digit --hidden 8 --steps 2 --no-pictures --out digits".to_owned(),
        "sample digits/model.safetensors -n 3 --condition digit=7 --guidance 3".to_owned(),
    ] {
        let (code, error) = run(&line);
        assert_eq!((code, error.as_str()), (Some(0), ""), "{line}");
    }
    // Two labels, in one flag and in two: in their places, in the types of the table.
    let (code, error) =
        run("train --hidden 8 --steps 5 --no-pictures --data t.csv --label side,x:number --out both");
    assert_eq!((code, error.as_str()), (Some(0), ""));
    for line in ["--condition x=0.5,side=1", "--condition side=1 --condition x=0.5"] {
        let (code, error) = run(&format!("sample both/model.safetensors -n 3 {line} --out both.csv"));
        assert_eq!((code, error.as_str()), (Some(0), ""), "{line}");
        let text = std::fs::read_to_string(folder.path().join("both.csv")).expect("text");
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some("x,y,side"), "{line}");
        for row in lines {
            let cells: Vec<&str> = row.split(',').collect();
            assert_eq!((cells.len(), cells[0], cells[2]), (3, "0.5", "1"), "{line}: {row}");
        }
        // Numbers of the network only.
        let (code, error) = run(&format!("sample both/model.safetensors -n 3 {line} --out both.npy"));
        assert_eq!((code, error.as_str()), (Some(0), ""), "{line}");
        let array = windfield::data::read_array(folder.path().join("both.npy")).expect("an array");
        assert_eq!(array.shape, [3, 1]);
    }
    for (line, status, wanted) in [
        (
            "train --data t.csv --label colour --out n",
            1,
            "there is no column `colour`; --label takes x, y, side",
        ),
        ("train --data t.csv --label side,side --out n", 1, "`side` is given twice"),
        ("train --data t.csv --label x,y,side --out n", 1, "nothing is left without the column 'side'"),
        ("train --data t.csv --label side --label-dropout 2 --out n", 2, "--label-dropout 2 is out of range"),
        ("train --data t.csv --label-dropout 0.1 --out n", 2, "--label"),
        (
            "train --data t.csv --label side --exact-every 5 --out n",
            2,
            "--exact-every does not go with --label",
        ),
        (
            "train --data t.csv --label side --init plain/model.safetensors --out n",
            1,
            "not conditional on the same labels",
        ),
        ("train --coupling reflow --from-model told/model.safetensors --out n", 1, "lose their conditions"),
        ("sample told/model.safetensors --condition side=2", 1, "`side` has no class `2`; it has 0, 1"),
        ("sample told/model.safetensors --condition up=2", 1, "not conditional on `up`; it is on side"),
        ("sample told/model.safetensors --condition side", 2, "LABEL=VALUE"),
        ("sample told/model.safetensors --guidance 2", 2, "--condition"),
        ("sample told/model.safetensors --condition side=1 --guidance nan", 1, "--guidance NaN is no number"),
        ("sample strict/model.safetensors", 1, "give --condition side=0"),
        ("sample strict/model.safetensors --condition side=0 --guidance 2", 1, "--label-dropout above 0"),
        ("sample plain/model.safetensors --condition side=0", 1, "conditional on nothing"),
        ("sample plain/model.safetensors --guidance 2", 1, "conditional on nothing"),
        (
            "sample strict/model.safetensors --condition side=0 --guidance 3",
            1,
            "--guidance 3 takes the flow of all data",
        ),
    ] {
        let (code, error) = run(line);
        assert_eq!(code, Some(status), "{line}: {error}");
        assert!(error.contains(wanted) && error.trim_end().lines().count() == 1, "{line}: {error}");
    }
    assert!(!folder.path().join("n").exists());
}
