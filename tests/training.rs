//! Training as a whole: runs against the float64 reference over the very batches that the device draws, gradients
//! against finite differences, the bits that a run must repeat, and what it learns.

#![allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "sizes of tests are small")]
#![allow(clippy::float_cmp, reason = "copies are compared")]

mod common;
mod reference;

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use common::{Report, cramped_device, device, narrow, random, wide};
use reference::activation::ACTIVATIONS;
use reference::mlp::Mlp;
use reference::{adamw, assignment, train};
use safetensors::SafeTensors;
use windfield::Error;
use windfield::data::Dataset;
use windfield::flow::Coupling;
use windfield::gpu::{Device, Habits, Matrices};
use windfield::model::{Kernels, Model};
use windfield::train::{
    Batch, BatchOptions, Checkpoint, Outcome, Record, Schedule, TrainOptions, Trainer, mean_loss,
};

/// Work laid out as for a GPU: other tiles and workgroups, buffers, and gradients in slices.
fn as_on_a_gpu() -> Device {
    device().with_habits(Habits::HARDWARE)
}

/// Batches cut into the smallest parts that there are.
fn in_parts(device: &Device) -> Device {
    device.with_habits(Habits { dispatch_flops: 1, ..*device.habits() })
}

/// Points around a ring of clusters, of any dimension.
fn points(rows: usize, dim: usize) -> Dataset {
    let values = random(17, rows * dim).iter().enumerate().map(|(i, x)| 0.5 * x + (i as f32).sin()).collect();
    Dataset::from_rows("points", values, dim).expect("a data set")
}

/// Plain Adam: everything that can be off is.
fn plain() -> TrainOptions {
    TrainOptions {
        schedule: Schedule::Constant,
        warmup: 0,
        weight_decay: 0.0,
        clip: 0.0,
        ema: 0.0,
        standardize: false,
        seed: 0x0123_4567_89ab_cdef,
        ..TrainOptions::default()
    }
}

/// Trains to the end: the records of all steps.
fn run(trainer: &mut Trainer) -> Vec<Record> {
    let first = trainer.step();
    let mut records = vec![];
    let outcome = trainer.run(|progress| {
        records.extend_from_slice(progress.records);
        ControlFlow::Continue(())
    });
    assert_eq!(outcome.unwrap_or_else(|error| panic!("{error}")), Outcome::Finished);
    for (i, (step, _)) in records.iter().enumerate() {
        assert_eq!(*step, first + i as u64, "the records are those of every step in turn");
    }
    assert_eq!(first + records.len() as u64, trainer.options().steps);
    records.into_iter().map(|(_, record)| record).collect()
}

fn trainer(device: &Device, data: &Dataset, source: Option<&Dataset>, options: &TrainOptions) -> Trainer {
    Trainer::new(device, data, source, options.clone()).unwrap_or_else(|error| panic!("{options:?}: {error}"))
}

fn model(trainer: &Trainer) -> Model {
    trainer.model().unwrap_or_else(|error| panic!("{error}"))
}

/// W and b of each layer in turn, as in the reference.
fn tensors(model: &Model) -> Vec<Vec<f32>> {
    model.weights.iter().flat_map(|(weight, bias)| [weight.clone(), bias.clone()]).collect()
}

fn bits(model: &Model) -> Vec<u32> {
    tensors(model).concat().iter().map(|value| value.to_bits()).collect()
}

/// The reference's network with these weights.
fn mlp(model: &Model) -> Mlp {
    let architecture = &model.architecture;
    let mut widths = vec![architecture.features()];
    widths.extend(&architecture.hidden);
    widths.push(architecture.dim);
    let activation = ACTIVATIONS.into_iter().find(|entry| entry.name() == architecture.activation.name());
    let parameters = tensors(model).iter().map(|tensor| wide(tensor)).collect();
    Mlp::new(&widths, activation.expect("an activation of the reference"), parameters)
}

/// Everything in a checkpoint's file, by name: the weights, `average.`, `moment1.` and `moment2.` of them.
fn checkpoint_tensors(trainer: &Trainer) -> BTreeMap<String, Vec<f32>> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("checkpoint.safetensors");
    trainer
        .checkpoint()
        .and_then(|checkpoint| checkpoint.save(&path))
        .unwrap_or_else(|error| panic!("{error}"));
    let bytes = std::fs::read(&path).expect("the file just written");
    let tensors = SafeTensors::deserialize(&bytes).expect("a safetensors file");
    tensors.iter().map(|(name, view)| (name.to_owned(), bytemuck::pod_collect_to_vec(view.data()))).collect()
}

fn norm(values: &[f64]) -> f64 {
    values.iter().map(|value| value * value).sum::<f64>().sqrt()
}

/// The batch of a step as the command `batch` writes it.
fn batch(data: &Dataset, source: Option<&Dataset>, options: &TrainOptions, step: u32) -> Batch {
    batch_on(device(), data, source, options, step).unwrap_or_else(|error| panic!("{error}"))
}

fn batch_on(
    device: &Device,
    data: &Dataset,
    source: Option<&Dataset>,
    options: &TrainOptions,
    step: u32,
) -> windfield::Result<Batch> {
    let asked = BatchOptions {
        path: options.path.clone(),
        coupling: options.coupling,
        batch: options.batch,
        seed: options.seed,
        standardize: options.standardize,
        step,
    };
    Batch::draw(device, data, source, &asked)
}

/// One run on the device beside one of the reference from the same weights over the same batches.
fn beside_the_reference(
    report: &mut Report,
    name: &str,
    device: &Device,
    (data, source): (&Dataset, Option<&Dataset>),
    options: &TrainOptions,
) {
    let mut trainer = trainer(device, data, source, options);
    let initial = model(&trainer);
    let records = run(&mut trainer);
    let (saved, last) = (checkpoint_tensors(&trainer), model(&trainer));

    let settings = train::Settings {
        time_frequencies: options.time_frequencies,
        learning_rate: options.lr.into(),
        schedule: match options.schedule {
            Schedule::Constant => adamw::Schedule::Constant,
            Schedule::Cosine => adamw::Schedule::Cosine,
        },
        warmup: options.warmup as usize,
        steps: options.steps as usize,
        weight_decay: options.weight_decay.into(),
        clip: options.clip.into(),
        ema: options.ema.into(),
    };
    let batches = (0..options.steps as u32).map(|step| {
        let batch = batch(data, source, options, step);
        train::Batch { xt: wide(&batch.xt), t: wide(&batch.t), ut: wide(&batch.ut) }
    });
    let twin = train::train(&mlp(&initial), &settings, batches);

    let column = |of: fn(&Record) -> f32| records.iter().map(of).collect::<Vec<f32>>();
    // v − u is a difference of numbers of order 1, each some layers of sums of some hundred products with roundings of
    // either sign; the loss is the mean of its square, the gradient the mean of its products.
    report.close(&format!("{name}: losses"), &column(|record| record.loss), &twin.losses, |i| {
        let loss = twin.losses[i];
        DIFFERENCE * (2.0 * loss.sqrt() + loss)
    });
    report.close(
        &format!("{name}: norms"),
        &column(|record| record.gradient_norm),
        &twin.gradient_norms,
        |i| NORM * twin.gradient_norms[i],
    );
    report.near(
        &format!("{name}: rates"),
        &column(|record| record.learning_rate),
        &twin.learning_rates,
        1e-6 * f64::from(options.lr),
    );

    let initial = mlp(&initial);
    for (tensor, of) in initial.names().iter().enumerate() {
        // A moment is a sum of gradients: each element is as exact as the tensor's scale allows.
        for (moment, want) in [
            ("moment1.", &twin.optimizer.first_moment[tensor]),
            ("moment2.", &twin.optimizer.second_moment[tensor]),
        ] {
            let scale = want.iter().fold(0.0f64, |scale, m| scale.max(m.abs()));
            report.near(
                &format!("{name}: {moment}{of}"),
                &saved[&format!("{moment}{of}")],
                want,
                MOMENT * scale,
            );
        }
        // Adam divides by the gradient's own size, so a weight whose gradient is next to nothing moves by rounding:
        // what must agree is the change of the tensor as a whole, and no element may go its own way by more than a
        // few steps.
        let average = if options.ema > 0.0 { "average." } else { "" };
        for (family, got, want) in [
            ("", &saved[of], &twin.weights.parameters[tensor]),
            (average, &tensors(&last)[tensor], &twin.average.parameters[tensor]),
        ] {
            let before = &initial.parameters[tensor];
            let change: Vec<f64> = want.iter().zip(before).map(|(want, before)| want - before).collect();
            let error: Vec<f64> = wide(got).iter().zip(want).map(|(got, want)| got - want).collect();
            // The weights themselves are float32.
            let rounding = 3.0 * common::UNIT * norm(want) * (options.steps as f64).sqrt();
            let fraction = (norm(&error) - rounding).max(0.0) / norm(&change).max(f64::MIN_POSITIVE);
            report.near(
                &format!("{name}: error of the change of {family}{of}"),
                &[fraction as f32],
                &[0.0],
                CHANGE,
            );
        }
    }
}

/// Error of a velocity of order 1.
const DIFFERENCE: f64 = 5e-7;
/// Relative error of a gradient's norm.
const NORM: f64 = 3e-6;
/// Error of an element of a moment, relative to the tensor's largest: below 6e-6 on lavapipe, 1e-5 on SwiftShader,
/// where a layer sums 140 products.
const MOMENT: f64 = 2e-5;
/// Error of the change of a tensor in a run, relative to that change.
const CHANGE: f64 = 3e-4;

#[test]
fn the_first_ten_steps_are_the_references() {
    let mut report = Report::new();
    let here = device().clone();
    let gpu = as_on_a_gpu();
    let parts = in_parts(&gpu);
    let registers = gpu.with_habits(Habits { matrices: Matrices::Buffers, ..*gpu.habits() });
    let large = gpu.with_habits(Habits { invocations: 1, ..*gpu.habits() });
    // Drivers take long to compile: few shapes, and several batches of the same.
    #[allow(clippy::type_complexity, reason = "a table")]
    let cases: [(&str, &Device, usize, &[usize], &str, usize, &[usize]); 16] = [
        ("as here", &here, 1, &[], "silu", 0, &[1, 64]),
        ("as here", &here, 1, &[16], "relu", 3, &[7]),
        ("as here", &here, 2, &[16], "silu", 0, &[1, 1000]),
        ("as here", &here, 2, &[64, 64, 64], "gelu", 0, &[7, 256]),
        ("as here", &here, 2, &[], "tanh", 3, &[256]),
        ("as here", &here, 5, &[17, 31, 5], "selu", 0, &[1, 256]),
        ("as here", &here, 64, &[64, 64, 64], "tanh", 3, &[65]),
        // wide enough for the largest tiles, with broken ones
        ("as here", &here, 5, &[130, 140], "softplus", 1, &[7, 100]),
        ("as on a GPU", &gpu, 2, &[64, 64, 64], "silu", 0, &[7, 256]),
        ("as on a GPU", &gpu, 5, &[17, 31, 5], "softplus", 3, &[100, 300]),
        ("as on a GPU", &gpu, 64, &[16], "relu", 0, &[65]),
        ("as on a GPU", &gpu, 5, &[130, 140], "gelu", 1, &[7, 100]),
        ("in registers", &registers, 5, &[17, 31, 5], "softplus", 3, &[100]),
        ("in registers", &registers, 5, &[130, 140], "gelu", 1, &[7, 100]),
        ("in large tiles", &large, 2, &[128, 64], "silu", 0, &[256]),
        ("in parts", &parts, 5, &[17, 31, 5], "softplus", 3, &[100, 300]),
    ];
    for (layout, device, dim, hidden, activation, time_frequencies, batches) in cases {
        for (&batch, kernels) in
            batches.iter().flat_map(|batch| [(batch, Kernels::Auto), (batch, Kernels::Layered)])
        {
            let options = TrainOptions {
                kernels,
                hidden: hidden.to_vec(),
                activation: activation.parse().expect("an activation"),
                time_frequencies,
                batch,
                steps: 10,
                lr: 1e-3,
                ..plain()
            };
            let name = format!(
                "{layout}, dimension {dim}, {hidden:?} {activation}, {time_frequencies} frequencies, batch {batch}, \
                 {}",
                kernels.name()
            );
            beside_the_reference(&mut report, &name, device, (&points(50, dim), None), &options);
        }
    }
    report.finish();
}

#[test]
fn deep_networks_go_layer_by_layer_where_layers_are_written_out() {
    let kernels = |hidden: &[usize]| {
        let options = TrainOptions { hidden: hidden.to_vec(), batch: 32, steps: 1, ..plain() };
        trainer(device(), &points(50, 2), None, &options).kernels()
    };
    assert_eq!(kernels(&[16; 8]), Kernels::Fused);
    // More of them than are written out: what is left of the fused kernels is slower than layers one by one.
    assert_eq!(kernels(&[16; 9]) == Kernels::Fused, device().habits().subgroup.is_none());
}

#[test]
fn everything_switched_on_is_the_references() {
    let mut report = Report::new();
    let everything = TrainOptions {
        hidden: vec![17, 24],
        time_frequencies: 2,
        batch: 100,
        steps: 40,
        lr: 5e-3,
        schedule: Schedule::Cosine,
        warmup: 7,
        weight_decay: 0.1,
        clip: 2.0,
        ema: 0.95,
        standardize: true,
        ..plain()
    };
    let (data, source) = (points(80, 3), points(30, 3));
    // One shape for all of them.
    let some = TrainOptions { hidden: vec![17], batch: 33, steps: 25, ..plain() };
    let noisy = some.path.clone().with_noise(0.3).unwrap_or_else(|error| panic!("{error}"));
    for (name, options, source) in [
        ("everything", everything.clone(), Some(&source)),
        ("from a Gaussian", everything.clone(), None),
        ("clip", TrainOptions { clip: 0.5, ..some.clone() }, None),
        ("decay", TrainOptions { weight_decay: 0.3, ..some.clone() }, None),
        ("cosine", TrainOptions { schedule: Schedule::Cosine, ..some.clone() }, None),
        ("warm-up", TrainOptions { warmup: 30, ..some.clone() }, None),
        ("average", TrainOptions { ema: 0.9, ..some.clone() }, None),
        ("standardised", TrainOptions { standardize: true, ..some.clone() }, None),
        ("source", some.clone(), Some(&source)),
        ("noise around the path", TrainOptions { path: noisy.clone(), ..some.clone() }, None),
        ("the same, layered", TrainOptions { path: noisy, kernels: Kernels::Layered, ..some.clone() }, None),
    ] {
        beside_the_reference(&mut report, name, device(), (&data, source), &options);
    }
    report.finish();
}

#[test]
fn gradients_are_those_of_finite_differences() {
    let mut report = Report::new();
    // Those without a kink, across which there is no difference quotient.
    for activation in ["silu", "gelu", "tanh", "softplus"] {
        let data = points(60, 3);
        let options = TrainOptions {
            hidden: vec![17, 24],
            activation: activation.parse().expect("an activation"),
            time_frequencies: 1,
            batch: 128,
            steps: 1,
            // As mean_loss evaluates the network.
            kernels: Kernels::Layered,
            ..plain()
        };
        let mut trainer = trainer(device(), &data, None, &options);
        let initial = model(&trainer);
        let record = run(&mut trainer)[0];
        let saved = checkpoint_tensors(&trainer);

        // The loss of the first batch as a function of the weights, by the same kernels.
        let loss = |weights: &[Vec<f64>]| -> f64 {
            let mut moved = initial.clone();
            moved.weights =
                weights.chunks_exact(2).map(|pair| (narrow(&pair[0]), narrow(&pair[1]))).collect();
            let (loss, _) = mean_loss(device(), &moved, &data, None, options.batch, 1, options.seed)
                .unwrap_or_else(|error| panic!("{error}"));
            loss
        };
        let twin = mlp(&initial);
        report.equal(
            &format!("{activation}: the loss"),
            &[loss(&twin.parameters)],
            &[f64::from(record.loss)],
        );
        for (tensor, name) in twin.names().iter().enumerate() {
            // The first moment after one step is (1 − β1)·g.
            let gradient: Vec<f64> =
                saved[&format!("moment1.{name}")].iter().map(|m| f64::from(*m) / 0.1).collect();
            // All elements at once in several random directions, and some elements by themselves.
            let mut directions: Vec<Vec<f64>> = (0..2)
                .map(|seed| {
                    let direction = wide(&random(100 + seed, gradient.len()));
                    direction.iter().map(|x| x / norm(&direction)).collect()
                })
                .collect();
            for element in [0, gradient.len() - 1] {
                let mut direction = vec![0.0; gradient.len()];
                direction[element] = 1.0;
                directions.push(direction);
            }
            for (k, direction) in directions.iter().enumerate() {
                let difference = |h: f64| {
                    let at = |h: f64| {
                        let mut weights = twin.parameters.clone();
                        weights[tensor].iter_mut().zip(direction).for_each(|(w, d)| *w += h * d);
                        loss(&weights)
                    };
                    (at(h) - at(-h)) / (2.0 * h)
                };
                // Richardson's extrapolation takes the error of order h² away. What is left: the roundings of the
                // loss, 2⁻²⁴·3 twice over h, some 10⁻⁵, and the error of order h⁴.
                let h = 0.05;
                let slope = (4.0 * difference(h) - difference(2.0 * h)) / 3.0;
                let got: f64 = gradient.iter().zip(direction).map(|(g, d)| g * d).sum();
                report.near(
                    &format!("{activation}: {name} along {k}"),
                    &[got as f32],
                    &[slope],
                    3e-5 * (1.0 + slope.abs()),
                );
            }
        }
    }
    report.finish();
}

/// Narrow and short: a step is next to nothing, so that thousands are affordable.
fn short(steps: u64) -> TrainOptions {
    TrainOptions { hidden: vec![8], batch: 8, steps, ..plain() }
}

/// All that a run gives: its records, the bits of its model and its checkpoint.
fn result(mut trainer: Trainer) -> (Vec<Record>, Vec<u32>, BTreeMap<String, Vec<f32>>) {
    let records = run(&mut trainer);
    (records, bits(&model(&trainer)), checkpoint_tensors(&trainer))
}

/// The pairs of a coupled batch are those of the independent batches in another order: the one with the least cost.
#[test]
fn coupled_pairs_are_a_permutation_at_the_least_cost() {
    let mut report = Report::new();
    let (data, source) = (points(100, 3), points(40, 3));
    for (steps, source) in [(1, None), (1, Some(&source)), (4, None), (4, Some(&source))] {
        let name = format!("{steps} steps{}", if source.is_some() { ", source" } else { "" });
        let rows = 30;
        let independent = TrainOptions { batch: rows, ..short(100) };
        let coupling = Coupling::MinibatchOt { ot_batch: rows * steps };
        let coupled = TrainOptions { coupling, ..independent.clone() };
        // A batch of the coupling that is not the first one.
        let drawn = |options: &TrainOptions| -> Vec<Batch> {
            (8..8 + steps as u32).map(|step| batch(&data, source, options, step)).collect()
        };
        let (plain, paired) = (drawn(&independent), drawn(&coupled));
        let all =
            |batches: &[Batch], of: fn(&Batch) -> &Vec<f32>| batches.iter().flat_map(of).copied().collect();
        let [x0, x1]: [Vec<f32>; 2] = [all(&plain, |batch| &batch.x0), all(&plain, |batch| &batch.x1)];
        let own: Vec<f32> = all(&paired, |batch| &batch.x0);
        report.same_bits(&format!("{name}: x1"), &all(&paired, |batch| &batch.x1), &x1);
        for (plain, paired) in plain.iter().zip(&paired) {
            report.same_bits(&format!("{name}: t"), &paired.t, &plain.t);
            report.equal(&format!("{name}: index"), &paired.index, &plain.index);
        }
        let sorted = |points: &[f32]| {
            let mut rows: Vec<Vec<u32>> =
                points.chunks_exact(3).map(|row| row.iter().map(|x| x.to_bits()).collect()).collect();
            rows.sort_unstable();
            rows
        };
        report.equal(&format!("{name}: x0, sorted"), &sorted(&own), &sorted(&x0));
        report.holds(own != x0, || format!("{name}: nothing is rearranged"));
        let n = rows * steps;
        let costs = assignment::assignment_costs(&wide(&x0), &wide(&x1), 3);
        let least = assignment::cost(&costs, &assignment::assignment(&costs, n));
        let cost: f64 = own.iter().zip(&x1).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2)).sum();
        report.near(&format!("{name}: cost"), &[cost as f32], &[least], 1e-6 * least);
        let apart: f64 = x0.iter().zip(&x1).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2)).sum();
        report.holds(cost < 0.9 * apart, || format!("{name}: {cost} instead of {apart}"));
    }
    report.finish();
}

/// The pairs of an entropic coupling are a permutation of the independent ones too, between them and the optimum.
#[test]
fn entropic_pairs_are_a_permutation() {
    let mut report = Report::new();
    let (data, source) = (points(100, 3), points(40, 3));
    for source in [None, Some(&source)] {
        let independent = TrainOptions { batch: 30, ..short(100) };
        let drawn = |coupling: Coupling| -> Vec<Batch> {
            let options = TrainOptions { coupling, ..independent.clone() };
            (8..12).map(|step| batch(&data, source, &options, step)).collect()
        };
        let cost = |batches: &[Batch]| -> f64 {
            let pairs = batches.iter().flat_map(|batch| batch.x0.iter().zip(&batch.x1));
            pairs.map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2)).sum()
        };
        let sorted = |batches: &[Batch]| {
            let rows = batches.iter().flat_map(|batch| batch.x0.chunks_exact(3));
            let mut rows: Vec<Vec<u32>> = rows.map(|row| row.iter().map(|x| x.to_bits()).collect()).collect();
            rows.sort_unstable();
            rows
        };
        let plain = drawn(Coupling::Independent);
        let exact = drawn(Coupling::MinibatchOt { ot_batch: 120 });
        let entropic = drawn(Coupling::Sinkhorn { ot_batch: 120, epsilon: 0.02 });
        report.equal("x0, sorted", &sorted(&entropic), &sorted(&plain));
        for (entropic, plain) in entropic.iter().zip(&plain) {
            report.same_bits("x1", &entropic.x1, &plain.x1);
            report.same_bits("t", &entropic.t, &plain.t);
        }
        let (low, own, high) = (cost(&exact), cost(&entropic), cost(&plain));
        report.holds(low <= own && own < 0.9 * high, || format!("{low}, {own}, {high}"));
    }
    report.finish();
}

/// Row i of the source meets row i of the data, and where rows are gathered the same pairs are drawn; runs learn these
/// pairs as the model's own.
#[test]
fn paired_rows_stay_together() {
    let mut report = Report::new();
    let (x1, x0) = (points(100, 2), {
        let values = random(23, 200);
        Dataset::from_rows("x0", values, 2).expect("a data set")
    });
    let coupling = Coupling::Reflow { pairs: 100, round: 1, rounds: 1 };
    let options = TrainOptions { coupling, batch: 64, ..short(20) };
    let drawn = batch(&x1, Some(&x0), &options, 3);
    for (i, &row) in drawn.index.iter().enumerate() {
        report.same_bits("x0", &drawn.x0[2 * i..][..2], x0.row(row as usize));
        report.same_bits("x1", &drawn.x1[2 * i..][..2], x1.row(row as usize));
    }
    // Pairs beyond what a kernel can see at once are gathered together.
    let many = [29, 31].map(|seed| Dataset::from_rows("many", random(seed, 200_000), 2).expect("a data set"));
    let large = TrainOptions {
        coupling: Coupling::Reflow { pairs: 100_000, round: 1, rounds: 1 },
        ..options.clone()
    };
    for step in [0, 7] {
        let whole = batch(&many[1], Some(&many[0]), &large, step);
        match batch_on(cramped_device(), &many[1], Some(&many[0]), &large, step) {
            Ok(blocks) => report.holds(blocks == whole, || format!("pairs in blocks, step {step}")),
            Err(error) => report.holds(false, || format!("pairs in blocks, step {step}: {error}")),
        }
    }
    let few = points(99, 2);
    let refused = batch_on(device(), &few, Some(&x0), &options, 3).expect_err("99 rows and 100");
    report.holds(refused.to_string().contains("99 rows of x1 and 100 of x0"), || refused.to_string());

    let parent = model(&trainer(device(), &x1, None, &TrainOptions { standardize: true, ..short(0) }));
    let reflow = || {
        Trainer::reflow(device(), (&x0, &x1), options.clone(), ("parent", &parent))
            .unwrap_or_else(|error| panic!("{error}"))
    };
    let want = result(reflow());
    let child = model(&{
        let mut trainer = reflow();
        run(&mut trainer);
        trainer
    });
    report.holds(child.standardization == parent.standardization, || "another standardisation".to_owned());
    report.holds(child.source.is_none() && child.parent.as_deref() == Some("parent"), || {
        format!("{:?} from {:?}", child.source, child.parent)
    });
    report.holds(child.coupling == coupling, || format!("{:?}", child.coupling));
    report.holds(result(reflow()) == want, || "the same run gives other bits".to_owned());
    report.finish();
}

/// Training learns from the very batches that are written.
#[test]
fn coupled_training_is_the_references() {
    let mut report = Report::new();
    for (batch, ot_batch, source) in [(64, 0, true), (7, 21, false)] {
        let options = TrainOptions {
            coupling: Coupling::MinibatchOt { ot_batch },
            hidden: vec![16],
            batch,
            steps: 10,
            ..plain()
        };
        let (data, source) = (points(200, 2), source.then(|| points(50, 2)));
        let name = format!("{batch} of {ot_batch}");
        beside_the_reference(&mut report, &name, device(), (&data, source.as_ref()), &options);
    }
    report.finish();
}

/// Neither the steps of a submission, nor how many problems are solved side by side, nor how they are laid out.
#[test]
fn coupled_runs_do_not_depend_on_how_problems_are_solved() {
    let data = points(100, 2);
    let options = TrainOptions { coupling: Coupling::MinibatchOt { ot_batch: 24 }, ..short(50) };
    let want = result(trainer(device(), &data, None, &options));
    let habits = *device().habits();
    for (name, habits) in [
        ("one problem at a time", Habits { assignments: 1, ..habits }),
        ("three at a time", Habits { assignments: 3, ..habits }),
        ("more lanes", Habits { assignment_columns: 1, assignment_lanes: 32, ..habits }),
    ] {
        let mut trainer = trainer(&device().with_habits(habits), &data, None, &options);
        if name == "three at a time" {
            trainer.limit_submission(2);
        }
        assert!(result(trainer) == want, "{name}");
    }
}

#[test]
fn a_run_does_not_depend_on_how_it_is_submitted() {
    let data = points(100, 2);
    let schedule = TrainOptions { ema: 0.99, schedule: Schedule::Cosine, warmup: 10, ..short(300) };
    // More steps than the ring has records, so that it wraps.
    let long = TrainOptions { hidden: vec![], batch: 1, ..short(4500) };
    let limited = |options: &TrainOptions, limit: u64| {
        let mut trainer = trainer(device(), &data, None, options);
        trainer.limit_submission(limit);
        result(trainer)
    };
    let free = |options: &TrainOptions| result(trainer(device(), &data, None, options));
    let whole = free(&schedule);
    for limit in [1, 7, 64, u64::MAX] {
        assert!(limited(&schedule, limit) == whole, "{limit} steps a submission give other bits");
    }
    let whole = free(&long);
    for limit in [1000, 2048] {
        assert!(limited(&long, limit) == whole, "{limit} steps a submission give other bits");
    }
    // Every step has its own record.
    let mut losses: Vec<u32> = whole.0.iter().map(|record| record.loss.to_bits()).collect();
    losses.sort_unstable();
    losses.dedup();
    assert!(losses.len() > 4400, "{} losses of 4500 steps differ", losses.len());
    // Steps that are each cut into several submissions.
    let mut cut = trainer(&in_parts(device()), &data, None, &short(300));
    cut.limit_submission(7);
    let (cut, whole) = (result(cut).0, free(&short(300)).0);
    assert_eq!(cut.len(), whole.len());
    for (cut, whole) in cut.iter().zip(&whole) {
        assert!(
            (cut.loss - whole.loss).abs() < 1e-3 * whole.loss,
            "{cut:?} and {whole:?}: steps are left out"
        );
    }
}

/// Whoever looks at the model on the way finds the one of a shorter run, and changes nothing.
#[test]
fn a_run_in_pieces_is_the_same_run() {
    let data = points(200, 2);
    for coupling in [Coupling::Independent, Coupling::MinibatchOt { ot_batch: 128 }] {
        let options = TrainOptions { coupling, batch: 32, ..short(30) };
        let whole = result(trainer(device(), &data, None, &options));
        let mut pieces = trainer(device(), &data, None, &options);
        let mut records = vec![];
        for end in [7, 7, 8, 25, 1000] {
            let outcome = pieces.run_until(end, |news| {
                records.extend(news.records.iter().map(|(_, record)| *record));
                ControlFlow::Continue(())
            });
            assert_eq!((outcome.unwrap(), pieces.step()), (Outcome::Finished, end.min(30)));
        }
        assert_eq!(whole, (records, bits(&model(&pieces)), checkpoint_tensors(&pieces)), "{coupling:?}");
    }
}

/// While pairs are sought, nothing is reported but that it goes on; whoever breaks off then can go on later.
#[test]
fn pairs_that_are_sought_can_be_left() {
    let data = points(3000, 2);
    let coupling = Coupling::Sinkhorn { ot_batch: 2048, epsilon: 0.02 };
    let options = TrainOptions { coupling, batch: 32, ..short(3) };
    let whole = result(trainer(device(), &data, None, &options));
    let mut trainer = trainer(device(), &data, None, &options);
    let mut asked = 0;
    let outcome = trainer.run(|news| {
        assert!(news.records.is_empty() && news.step == 0);
        asked += 1;
        ControlFlow::Break(())
    });
    assert_eq!((outcome.unwrap(), trainer.step(), asked), (Outcome::Interrupted, 0, 1));
    assert_eq!(result(trainer), whole);
}

#[test]
fn the_seed_decides() {
    let data = points(100, 2);
    let with = |seed: u64| result(trainer(device(), &data, None, &TrainOptions { seed, ..short(20) }));
    assert!(with(5) == with(5));
    // The high word counts as well.
    for other in [6, 5 + (1 << 32)] {
        let ((records, weights, _), (other_records, other_weights, _)) = (with(5), with(other));
        assert_ne!(records[0], other_records[0]);
        assert_ne!(weights, other_weights);
    }
}

#[test]
fn a_resumed_run_gives_the_same_bits() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (data, source) = (points(100, 3), points(40, 3));
    for (name, options, source) in [
        ("plain", short(60), None),
        (
            "everything",
            TrainOptions {
                hidden: vec![17, 24],
                schedule: Schedule::Cosine,
                warmup: 20,
                clip: 0.5,
                ema: 0.98,
                weight_decay: 0.05,
                standardize: true,
                ..short(60)
            },
            Some(&source),
        ),
        // Stops within a batch of the coupling, which is three of training.
        ("coupled", TrainOptions { coupling: Coupling::MinibatchOt { ot_batch: 24 }, ..short(60) }, None),
    ] {
        let whole = result(trainer(device(), &data, source, &options));
        // Before the end of the warm-up, and after it.
        for stop in [1, 13, 41] {
            let mut first = trainer(device(), &data, source, &options);
            first.limit_submission(1);
            let mut records: Vec<Record> = vec![];
            let outcome = first.run(|progress| {
                records.extend(progress.records.iter().map(|(_, record)| *record));
                if progress.step >= stop { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
            assert_eq!(outcome.unwrap_or_else(|error| panic!("{error}")), Outcome::Interrupted);
            let saved = first.checkpoint().unwrap_or_else(|error| panic!("{error}"));
            // What was already on its way is finished and part of it.
            assert!((stop..stop + 3).contains(&saved.step()), "stopped at {} for {stop}", saved.step());
            assert_eq!(saved.step(), first.step());
            assert_eq!(records.len() as u64, saved.step(), "{name}: records up to the stop");

            let path = folder.path().join(format!("{name}-{stop}.safetensors"));
            saved.save(&path).unwrap_or_else(|error| panic!("{error}"));
            let loaded = Checkpoint::load(&path).unwrap_or_else(|error| panic!("{error}"));
            assert!(loaded == saved, "{name}: the checkpoint changes on its way through a file");
            let mut second = Trainer::resume(device(), &data, source, &loaded, options.steps)
                .unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(second.step(), saved.step());
            records.extend(run(&mut second));
            assert!(records == whole.0, "{name}: other records after a stop at {stop}");
            assert!(bits(&model(&second)) == whole.1, "{name}: another model after a stop at {stop}");
            assert!(
                checkpoint_tensors(&second) == whole.2,
                "{name}: another checkpoint after a stop at {stop}"
            );
        }
    }
}

#[test]
fn other_data_or_fewer_steps_are_no_resumption() {
    let data = points(100, 3);
    let mut begun = trainer(device(), &data, None, &short(20));
    run(&mut begun);
    let checkpoint = begun.checkpoint().unwrap_or_else(|error| panic!("{error}"));
    let resume = |data: &Dataset, source: Option<&Dataset>, steps: u64| {
        Trainer::resume(device(), data, source, &checkpoint, steps)
    };
    for (what, result, part) in [
        ("other data", resume(&points(101, 3), None, 30), "are not those that the run began with"),
        ("a source", resume(&data, Some(&data), 30), "are not those that the run began with"),
        ("fewer steps", resume(&data, None, 19), "beyond --steps 19"),
    ] {
        let error = result.err().unwrap_or_else(|| panic!("{what} was accepted"));
        assert!(matches!(error, Error::Config { .. }) && error.to_string().contains(part), "{what}: {error}");
    }
    // All steps done: nothing to do, and more to do when asked for.
    let mut done = resume(&data, None, 20).unwrap_or_else(|error| panic!("{error}"));
    assert!(run(&mut done).is_empty());
    assert_eq!(bits(&model(&done)), bits(&model(&begun)));
    let mut more = resume(&data, None, 25).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(run(&mut more).len(), 5);
}

#[test]
fn a_run_begins_with_the_weights_of_a_model() {
    let data = points(100, 2);
    let mut before = trainer(device(), &data, None, &short(200));
    let first = run(&mut before);
    let trained = model(&before);
    let options = TrainOptions { seed: 9, ema: 0.9, ..short(200) };
    let mut after = Trainer::from_model(device(), &data, None, options.clone(), &trained)
        .unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((after.step(), bits(&model(&after))), (0, bits(&trained)));
    let mean =
        |records: &[Record]| records.iter().map(|record| record.loss).sum::<f32>() / records.len() as f32;
    let (begun, learnt) = (mean(&first[..20]), mean(&run(&mut after)[..20]));
    assert!(learnt < begun, "the loss begins with {learnt}, without the model with {begun}");
    for options in [
        TrainOptions { hidden: vec![9], ..options.clone() },
        TrainOptions { time_frequencies: 1, ..options.clone() },
        TrainOptions { activation: "relu".parse().expect("an activation"), ..options },
    ] {
        let error = Trainer::from_model(device(), &data, None, options, &trained).expect_err("another shape");
        assert!(matches!(error, Error::Config { .. }), "{error}");
    }
}

#[test]
fn what_is_not_finite_ends_the_run() {
    let data = points(100, 2);
    let mut diverging = trainer(device(), &data, None, &TrainOptions { lr: 1e30, ..short(1000) });
    let error =
        diverging.run(|_| ControlFlow::Continue(())).expect_err("weights of 1e30 have no finite loss");
    assert!(matches!(error, Error::NonFinite { step: 1, .. }), "{error}");
    // The update of step 0 was made, and none after it.
    assert!(tensors(&model(&diverging)).concat().iter().all(|weight| weight.is_finite()));

    // A loss of finite weights that is finite, but whose gradient is not.
    let far = Dataset::from_rows("far", vec![1e18; 20], 2).expect("a data set");
    let mut huge = trainer(
        device(),
        &far,
        None,
        &TrainOptions { activation: "relu".parse().expect("an activation"), ..short(50) },
    );
    let error =
        huge.run(|_| ControlFlow::Continue(())).expect_err("1e18 squared is no float32 when summed over");
    assert!(matches!(error, Error::NonFinite { .. }), "{error}");
}

#[test]
fn a_batch_in_parts_is_the_same_batch() {
    let mut report = Report::new();
    let data = points(90, 3);
    // 64 rows a part: whole parts, a part of one row, a last part of a broken tile.
    for batch in [64, 65, 128, 200, 333] {
        let kernels = Kernels::Layered;
        let options = TrainOptions { hidden: vec![17, 24], batch, steps: 3, kernels, ..plain() };
        let parts = in_parts(device());
        let (mut whole, mut cut) =
            (trainer(device(), &data, None, &options), trainer(&parts, &data, None, &options));
        let draws =
            |trainer: &Trainer| trainer.plan().iter().filter(|dispatch| dispatch.kernel() == "draw").count();
        report.equal("parts", &[draws(&whole), draws(&cut)], &[1, batch.div_ceil(64)]);
        let (whole_records, cut_records) = (run(&mut whole), run(&mut cut));
        let losses = |records: &[Record]| records.iter().map(|record| record.loss).collect::<Vec<f32>>();
        let want = wide(&losses(&whole_records));
        // The same rows in the same partial sums.
        report.close(&format!("losses, batch {batch}"), &losses(&cut_records), &want, |i| 1e-6 * want[i]);
        let (whole, cut) = (checkpoint_tensors(&whole), checkpoint_tensors(&cut));
        for (name, want) in whole.iter().filter(|(name, _)| name.starts_with("moment")) {
            let want = wide(want);
            let scale = want.iter().fold(0.0f64, |scale, m| scale.max(m.abs()));
            report.near(&format!("{name}, batch {batch}"), &cut[name], &want, MOMENT * scale);
        }
    }
    report.finish();
}

#[test]
fn mean_loss_is_that_of_fresh_batches_in_network_units() {
    let mut report = Report::new();
    let (data, source) = (points(70, 3), points(30, 3));
    for (standardize, source) in [(false, None), (true, None), (true, Some(&source))] {
        let options = TrainOptions { hidden: vec![17], batch: 50, steps: 5, standardize, ..plain() };
        let mut trained = trainer(device(), &data, source, &options);
        run(&mut trained);
        let model = model(&trained);
        let (mean, error) =
            mean_loss(device(), &model, &data, source, 50, 8, 77).unwrap_or_else(|error| panic!("{error}"));
        let losses: Vec<f64> = (0..8)
            .map(|step| {
                let batch = batch(&data, source, &TrainOptions { seed: 77, ..options.clone() }, step);
                let x = reference::draw::features(&wide(&batch.xt), &wide(&batch.t), 3, 0);
                reference::loss::loss(&mlp(&model).forward(&x), &wide(&batch.ut), 50)
            })
            .collect();
        let want = losses.iter().sum::<f64>() / 8.0;
        let variance = losses.iter().map(|loss| (loss - want).powi(2)).sum::<f64>() / 7.0;
        report.near("the mean", &[mean as f32], &[want], 2e-6 * want);
        report.near("its error", &[error as f32], &[(variance / 8.0).sqrt()], 1e-5 * want);
    }
    report.finish();
}

#[test]
fn the_widest_networks_are_right() {
    let mut report = Report::new();
    let data = points(5, 4096);
    let options = TrainOptions { hidden: vec![2048], batch: 3, steps: 1, ..plain() };
    let mut wide_one = trainer(device(), &data, None, &options);
    let twin = mlp(&model(&wide_one));
    let record = run(&mut wide_one)[0];
    let batch = batch(&data, None, &options, 0);
    let x = reference::draw::features(&wide(&batch.xt), &wide(&batch.t), 4096, 0);
    let gradients = twin.gradients(&x, &wide(&batch.ut), 3);
    report.near("loss", &[record.loss], &[gradients.loss], 1e-6 * gradients.loss);
    let want = reference::gradient_norm::gradient_norm(&gradients.parameters);
    report.near("norm", &[record.gradient_norm], &[want], 1e-6 * want);
    report.finish();
}

#[test]
fn one_device_serves_several_threads() {
    let data = points(100, 2);
    // Some with many short submissions, some with long ones.
    let with = |seed: u64| {
        let long = seed.is_multiple_of(2);
        let mut trainer =
            trainer(device(), &data, None, &TrainOptions { seed, ..short(if long { 1500 } else { 300 }) });
        trainer.limit_submission(if long { 50 } else { 1 });
        result(trainer)
    };
    let alone: Vec<_> = (0..4).map(with).collect();
    let together: Vec<_> = std::thread::scope(|scope| {
        let with = &with;
        let threads: Vec<_> = (0..4).map(|seed| scope.spawn(move || with(seed))).collect();
        threads.into_iter().map(|thread| thread.join().expect("a thread that does not panic")).collect()
    });
    assert!(alone == together, "other bits beside other runs");
}

/// A data set, a source, or both that are larger than what a kernel can see at once: a batch is the same.
#[test]
fn batches_of_data_in_blocks_are_those_of_the_whole() {
    let mut report = Report::new();
    let couplings = [0, 90].map(|ot_batch| Coupling::MinibatchOt { ot_batch });
    for dim in [1, 3, 70] {
        // Nearly four blocks, and less than one.
        let (large, small) = (points(260_000 / dim, dim), points(50, dim));
        let sources =
            [(&large, None), (&large, Some(&small)), (&small, Some(&large)), (&large, Some(&large))];
        for (which, (data, source)) in sources.into_iter().enumerate() {
            for coupling in [Coupling::Independent, couplings[0], couplings[1]] {
                for step in [0, 7, 1_000_000] {
                    let options = TrainOptions { coupling, batch: 30, standardize: step > 0, ..plain() };
                    let name = format!("dimension {dim}, sources {which}, {coupling:?}, step {step}");
                    let whole = batch(data, source, &options, step);
                    match batch_on(cramped_device(), data, source, &options, step) {
                        Ok(blocks) => report.holds(blocks == whole, || name),
                        Err(error) => report.holds(false, || format!("{name}: {error}")),
                    }
                }
            }
        }
    }
    report.finish();
}

/// So is a run, however it is cut into waves and submissions, and wherever it is resumed.
#[test]
fn runs_on_data_in_blocks_are_those_on_the_whole() {
    let (data, source) = (points(100_000, 2), points(80_000, 2));
    let coupling = Coupling::MinibatchOt { ot_batch: 16 };
    let cases = [
        ("fused", TrainOptions { kernels: Kernels::Fused, standardize: true, ..short(120) }, None),
        ("layer by layer", TrainOptions { kernels: Kernels::Layered, ema: 0.9, ..short(120) }, None),
        ("from a source", TrainOptions { standardize: true, ..short(120) }, Some(&source)),
        ("coupled", TrainOptions { coupling, standardize: true, ..short(60) }, None),
        (
            "coupled, from a source",
            TrainOptions { coupling, kernels: Kernels::Fused, ..short(60) },
            Some(&source),
        ),
        // Waves of ten steps.
        ("in large batches", TrainOptions { batch: 3000, ..short(25) }, None),
    ];
    for (name, options, source) in cases {
        let whole = result(trainer(device(), &data, source, &options));
        let blocks = result(trainer(cramped_device(), &data, source, &options));
        assert!(blocks == whole, "{name}");
        let mut cut = trainer(cramped_device(), &data, source, &options);
        cut.limit_submission(7);
        let outcome = cut.run(|progress| match progress.step {
            0..11 => ControlFlow::Continue(()),
            _ => ControlFlow::Break(()),
        });
        let outcome = outcome.unwrap_or_else(|error| panic!("{name}: {error}"));
        let checkpoint = cut.checkpoint().unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(outcome == Outcome::Interrupted, "{name}");
        let resumed = Trainer::resume(cramped_device(), &data, source, &checkpoint, options.steps);
        let resumed = result(resumed.unwrap_or_else(|error| panic!("{name}: {error}")));
        assert!((&resumed.1, &resumed.2) == (&whole.1, &whole.2), "{name}, resumed");
    }
}

/// The exact loss, and the loss of a model, see the same data.
#[test]
fn losses_over_data_in_blocks_are_those_over_the_whole() {
    let data = points(70_000, 2);
    let options = TrainOptions { exact_every: 10, exact_rows: 64, standardize: true, ..short(20) };
    let losses = |device: &Device| {
        let mut trainer = trainer(device, &data, None, &options);
        let mut exact = vec![];
        let outcome = trainer.run(|progress| {
            exact.extend(progress.exact.map(|loss| [loss.fm, loss.cfm].map(f64::to_bits)));
            ControlFlow::Continue(())
        });
        assert_eq!(outcome.unwrap_or_else(|error| panic!("{error}")), Outcome::Finished);
        let mean = mean_loss(device, &model(&trainer), &data, None, 100, 5, 3);
        let floor = trainer.floor().expect("a floor").crossing_energy.to_bits();
        (exact, floor, mean.unwrap_or_else(|error| panic!("{error}")))
    };
    assert_eq!(losses(cramped_device()), losses(device()));
}

#[test]
fn a_batch_whose_rows_cannot_be_gathered_is_refused() {
    let data = points(100_000, 2);
    let options = TrainOptions { batch: 40_000, ..short(5) };
    let error = Trainer::new(cramped_device(), &data, None, options.clone()).unwrap_err();
    let error = error.to_string();
    assert!(
        error.contains("the rows of the data set that a batch picks")
            && error.contains("--batch")
            && !error.contains('\n'),
        "{error}"
    );
    assert!(Trainer::new(device(), &data, None, options).is_ok());
}

/// Rows beyond what drivers loop over in one go, and beyond what 16 bits count.
#[test]
fn large_batches_and_data_sets_are_whole() {
    let mut report = Report::new();
    let data = points(150_000, 1);
    let options = TrainOptions { hidden: vec![8], batch: 140_000, steps: 1, ..plain() };
    let drawn = batch(&data, None, &options, 0);
    let late = drawn.index.iter().filter(|&&row| row > 65_535).count() as f64 / drawn.index.len() as f64;
    report.near("the part of rows beyond 65 535", &[late as f32], &[1.0 - 65_536.0 / 150_000.0], 0.01);
    for (row, x1) in drawn.index.iter().zip(&drawn.x1) {
        report.holds(data.values()[*row as usize] == *x1, || format!("row {row} is not {x1}"));
    }
    let x = reference::draw::features(&wide(&drawn.xt), &wide(&drawn.t), 1, 0);
    for (layout, device) in [("as here", device().clone()), ("as on a GPU", as_on_a_gpu())] {
        let mut trainer = trainer(&device, &data, None, &options);
        let gradients = mlp(&model(&trainer)).gradients(&x, &wide(&drawn.ut), options.batch);
        let record = run(&mut trainer)[0];
        report.near(&format!("{layout}: loss"), &[record.loss], &[gradients.loss], 3e-6 * gradients.loss);
        let saved = checkpoint_tensors(&trainer);
        for (tensor, name) in mlp(&model(&trainer)).names().iter().enumerate() {
            let want: Vec<f64> = gradients.parameters[tensor].iter().map(|g| 0.1 * g).collect();
            let scale = want.iter().fold(0.0f64, |scale, m| scale.max(m.abs()));
            // One sum over all rows, one by one.
            report.near(
                &format!("{layout}: gradient of {name}"),
                &saved[&format!("moment1.{name}")],
                &want,
                1e-4 * scale,
            );
        }
    }
    report.finish();
}
