//! What dispatches take, and how that is told. Times belong to the machine: nothing here expects one.

#![allow(clippy::cast_precision_loss, reason = "sizes of tests are small")]

use std::ops::ControlFlow;
use std::sync::OnceLock;
use std::time::Duration;

use windfield::Error;
use windfield::data::Dataset;
use windfield::flow::{COUPLINGS, Coupling, Divergence, Solver};
use windfield::gpu::{Clock, Device, DeviceOptions, Dispatch, Habits, Memory, Profile, Purpose, Work};
use windfield::measure::bench::{Bench, Peak, Shape};
use windfield::model::Kernels;
use windfield::sample::{SampleOptions, Sampler};
use windfield::train::{TrainOptions, Trainer};

fn open() -> Device {
    Device::open(&DeviceOptions::default())
        .unwrap_or_else(|error| panic!("these tests need a device: {error}"))
}

/// The device of this process.
fn device() -> &'static Device {
    static DEVICE: OnceLock<Device> = OnceLock::new();
    DEVICE.get_or_init(open)
}

/// Layer by layer on every device, so that its work and its memory are known.
fn trainer(device: &Device, batch: usize) -> Trainer {
    let kernels = Kernels::Layered;
    let options =
        TrainOptions { steps: 1000, hidden: vec![32, 32], batch, kernels, ..TrainOptions::default() };
    Trainer::new(device, &Dataset::open("moons:100").unwrap(), None, options).unwrap()
}

/// The clocks that the device has.
fn clocks() -> Vec<Clock> {
    let best = device().clock();
    if best == Clock::Host { vec![best] } else { vec![Clock::Host, best] }
}

fn check(profile: &Profile, plan: &[Dispatch], repeats: usize, name: &str) {
    assert_eq!(profile.timings.len(), plan.len(), "{name}");
    let mut all = 0.0;
    for (timing, dispatch) in profile.timings.iter().zip(plan) {
        assert_eq!((timing.kernel, timing.work), (dispatch.kernel(), dispatch.work()), "{name}");
        assert_eq!(timing.seconds.len(), repeats, "{name}: {}", timing.kernel);
        // A clock's tick may be longer than the shortest kernel.
        assert!(timing.seconds.iter().all(|seconds| seconds.is_finite() && *seconds >= 0.0), "{timing:?}");
        all += timing.seconds.iter().sum::<f64>();
    }
    assert!(all > 0.0, "{name}");
}

#[test]
fn every_dispatch_has_its_time() {
    let trainer = trainer(device(), 100);
    for clock in clocks() {
        for repeats in [1, 3] {
            let profile = device().profile(clock, trainer.plan(), repeats, || false).unwrap();
            assert_eq!(profile.clock, clock);
            check(&profile, trainer.plan(), repeats, clock.name());
        }
        assert!(device().profile(clock, &[], 2, || false).unwrap().timings.is_empty());
        let stopped = device().profile(clock, trainer.plan(), 1, || true).unwrap_err();
        assert!(matches!(stopped, Error::Interrupted), "{stopped}");
    }
}

#[test]
fn a_profile_cut_into_submissions_is_whole() {
    // One dispatch a submission.
    let device = device().with_habits(Habits { dispatch_flops: 1, ..*device().habits() });
    let trainer = trainer(&device, 200);
    let profile = device.profile(device.clock(), trainer.plan(), 2, || false).unwrap();
    check(&profile, trainer.plan(), 2, "cut");
}

#[test]
fn timestamps_run_a_plan_in_its_order() {
    if device().clock() == Clock::Host {
        println!("the host's clock runs dispatches out of turn, and promises nothing of the state");
        return;
    }
    let steps = |profiled: usize| {
        let trainer = trainer(device(), 64);
        device().profile(Clock::Timestamps, trainer.plan(), profiled, || false).unwrap();
        let checkpoint = trainer.checkpoint().unwrap();
        (checkpoint.step(), trainer.model().unwrap().weights)
    };
    let mut trained = trainer(device(), 64);
    trained.limit_submission(3);
    trained.run(|_| ControlFlow::Break(())).unwrap();
    // Two submissions of three steps were on their way.
    assert_eq!(steps(6), (trained.step(), trained.model().unwrap().weights));
    assert_eq!(steps(0).0, 0);
}

#[test]
fn the_work_of_a_step_is_that_of_its_shapes() {
    let of = |batch: usize| -> Work { trainer(device(), batch).plan().iter().map(Dispatch::work).sum() };
    let (small, large) = (of(256), of(512));
    // forward and backward: three products a weight matrix and two for the first one, a multiplication and an addition
    let products = |rows: u64| 2 * rows * (2 * 3 * 32 + 3 * 32 * 32 + 3 * 32 * 2);
    for (work, rows) in [(small, 256), (large, 512)] {
        assert!(work.flops > products(rows) && work.flops < products(rows) * 5 / 4, "{work:?}");
    }
    assert!(large.bytes > small.bytes && large.bytes < 2 * small.bytes, "the weights are there once");
    assert!(trainer(device(), 64).plan().iter().all(|dispatch| dispatch.work().bytes > 0));
}

#[test]
fn the_plan_of_a_sampler_is_its_first_steps() {
    let model = trainer(device(), 64).model().unwrap();
    for kernels in [Kernels::Fused, Kernels::Layered] {
        for divergence in [None, Some(Divergence::Exact)] {
            for solver in ["euler", "rk4", "ab2"] {
                let solver = Solver::named(solver).unwrap();
                let options =
                    SampleOptions { solver, steps: 7, divergence, kernels, ..SampleOptions::default() };
                let mut sampler = Sampler::new(device(), &model, None, options).unwrap();
                let (plan, steps) = sampler.plan(50).unwrap();
                assert!((1..=7).contains(&steps));
                let name = format!("{kernels:?} {} {divergence:?}", solver.name);
                let work: Work = plan.iter().map(Dispatch::work).sum();
                let directions = if divergence.is_some() { 3 } else { 1 };
                let evaluations = solver.stages() as u64 * u64::from(steps) * directions;
                let least = model.architecture.flops() * 50 * evaluations;
                assert!(work.flops >= least && work.flops <= least * 3 / 2, "{name}: {work:?}, {least}");
                assert!(work.bytes > 0, "{name}");
                check(&device().profile(device().clock(), &plan, 1, || false).unwrap(), &plan, 1, &name);
                // What was profiled does not show afterwards.
                let mut fresh = Sampler::new(device(), &model, None, sampler.options().clone()).unwrap();
                assert_eq!(sampler.sample(0, 40).unwrap(), fresh.sample(0, 40).unwrap(), "{name}");
            }
        }
    }
    let options = SampleOptions { solver: Solver::named("dopri5").unwrap(), ..SampleOptions::default() };
    let error = Sampler::new(device(), &model, None, options).unwrap().plan(5).unwrap_err();
    assert!(error.to_string().contains("dopri5"), "{error}");
}

#[test]
fn memory_is_counted_for_as_long_as_it_is_held() {
    // Another device: tests run side by side on the shared one.
    let device = open();
    assert_eq!(device.memory(), Memory::default());
    let purpose = Purpose { what: "a test", flag: "the test" };
    let first = device.buffer(1000, purpose).unwrap();
    let second = device.buffer(500, purpose).unwrap();
    assert_eq!(device.memory(), Memory { now: 1500, peak: 1500 });
    let clone = first.clone();
    drop((first, second));
    assert_eq!(device.memory(), Memory { now: 1000, peak: 1500 });
    drop(clone);
    device.forget_peak();
    assert_eq!(device.memory(), Memory::default());
    let held = |batch: usize| {
        let trainer = trainer(&device, batch);
        assert!(device.memory().now > 4 * trainer.architecture().parameters() as u64 * 3);
        let held = device.memory().now;
        drop(trainer);
        assert_eq!(device.memory().now, 0, "of a trainer, nothing is left");
        held
    };
    // Inputs, slopes and gradients of two layers of 32 for every row, though the plan alone still knows of them.
    assert!(held(4096) - held(2048) > 2048 * 4 * 2 * 3 * 32);
}

/// The formula of [`Footprint`](windfield::train::Footprint): nothing grows that is not in it.
#[test]
fn memory_follows_the_formula() {
    // What does not grow, and what rounds sizes up.
    const REST: u64 = 192 << 10;
    let whole = open();
    let blocks = DeviceOptions { largest_binding: Some(8 << 20), ..DeviceOptions::default() };
    let blocks = Device::open(&blocks).unwrap();
    let narrow = TrainOptions { hidden: vec![64; 3], ..TrainOptions::default() };
    let wide = TrainOptions { hidden: vec![256, 384], ema: 0.0, ..TrainOptions::default() };
    let normal = |rows: usize, dim: usize| {
        let values = (0..rows * dim).map(|i| (i as f32).sin()).collect();
        Dataset::from_rows("waves", values, dim).unwrap()
    };
    let (small, large, images) = (normal(1000, 2), normal(3_000_000, 2), normal(2000, 784));
    let hardware = whole.with_habits(Habits::HARDWARE);
    let mut wrong = vec![];
    for (name, device, data, source, options) in [
        ("narrow", &whole, &small, None, narrow.clone()),
        ("narrow, many rows", &whole, &small, None, TrainOptions { batch: 20_000, ..narrow.clone() }),
        ("layered", &whole, &small, None, TrainOptions { kernels: Kernels::Layered, ..narrow.clone() }),
        ("buffers", &whole, &small, None, TrainOptions { kernels: Kernels::Buffers, ..wide.clone() }),
        ("wide", &whole, &small, None, wide.clone()),
        ("wide, many rows", &whole, &images, None, TrainOptions { batch: 5000, ..wide.clone() }),
        ("much data", &whole, &large, None, narrow.clone()),
        ("much of a source", &whole, &small, Some(&large), narrow.clone()),
        ("blocks", &blocks, &large, Some(&large), narrow.clone()),
        ("as on a GPU", &hardware, &small, None, TrainOptions { batch: 5000, ..wide }),
        ("as on a GPU, narrow", &hardware, &small, None, narrow),
    ] {
        let before = device.memory().now;
        let trainer = Trainer::new(device, data, source, options).unwrap();
        let (held, formula) = (device.memory().now - before, trainer.footprint().total());
        if held < formula || held > formula + formula / 100 + REST {
            wrong.push(format!("{name}: {held} bytes, by formula {formula}: {:?}", trainer.footprint()));
        }
    }
    // The pairs of 8 problems of 512 points, and their costs; and a problem more for each that is solved beside it.
    let coupled = |assignments: usize, batch: usize| {
        let device = whole.with_habits(Habits { assignments, ..*whole.habits() });
        let coupling = Coupling::MinibatchOt { ot_batch: 0 };
        let options = TrainOptions { coupling, batch, hidden: vec![8], ..TrainOptions::default() };
        let before = whole.memory().now;
        let trainer = Trainer::new(&device, &small, None, options).unwrap();
        let held = whole.memory().now - before;
        drop(trainer);
        held
    };
    let (each, numbers) = ((coupled(9, 500) - coupled(1, 500)) / 8, 4 * 500 * (2 * 2 + 10));
    if each < numbers || each > numbers + numbers / 5 {
        wrong.push(format!("a coupled problem of 500 points: {each} bytes, by formula {numbers}"));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_bench_measures_what_it_is_asked_for() {
    let mut bench = Bench::new(device(), 3, 2, Duration::from_millis(5)).unwrap();
    let shape: Shape = "2:1x8:16".parse().unwrap();
    let both = [Kernels::Auto, Kernels::Buffers];
    let rows = bench.training(&shape, &both).unwrap();
    assert_eq!([rows[0].asked.as_str(), rows[1].asked.as_str()], ["auto", "buffers"]);
    assert_eq!(rows[1].kernels, "buffers");
    for row in &rows {
        assert!(row.shape == shape && row.steps_per_s.rounds == 2 && row.device_bytes > 0, "{row:?}");
        assert!(row.steps_per_s.min > 0.0 && row.steps_per_s.min <= row.steps_per_s.max, "{row:?}");
    }
    assert_eq!(bench.sampling(&shape, &[Kernels::Fused, Kernels::Layered]).unwrap().len(), 2);
    assert_eq!(bench.likelihood(&shape, &[Kernels::Auto]).unwrap()[0].likelihoods_per_s.rounds, 2);
    for entry in COUPLINGS {
        let row = bench.coupling(entry.coupling, 16, 2).unwrap();
        let solves = ["minibatch-ot", "sinkhorn"].contains(&entry.name);
        assert_eq!(row.map(|row| (row.name, row.points)), solves.then(|| (entry.name.to_owned(), 16)));
    }
    bench.first_step(&shape, Kernels::Auto).unwrap();
    let peak = Peak { flops: 1e9, bytes_per_s: 1e9, copy_bytes_per_s: 1e9, read_bytes_per_s: 1e9 };
    let measured = [
        bench.training_kernels(&shape, Kernels::Auto, &peak).unwrap(),
        bench.sampling_kernels(&shape, Kernels::Layered, &peak).unwrap(),
        bench.likelihood_kernels(&shape, Kernels::Auto, &peak).unwrap(),
    ];
    for roofline in &measured {
        assert!(roofline.seconds > 0.0 && roofline.share > 0.0 && !roofline.rows.is_empty(), "{roofline:?}");
        let all: f64 = roofline.rows.iter().map(|row| row.seconds.median).sum();
        assert!((all - roofline.seconds).abs() <= 1e-12 * all.max(1.0));
        assert!(roofline.rows.iter().all(|row| row.calls > 0.0 && row.share.is_finite()), "{roofline:?}");
    }
    assert!(measured[0].rows.iter().any(|row| row.kernel == "adamw"), "{:?}", measured[0]);

    // A network too wide for a workgroup's memory: left out beside others, refused alone.
    let wide: Shape = "2:1x2048:16".parse().unwrap();
    let rows = bench.sampling(&wide, &[Kernels::Fused, Kernels::Layered]).unwrap();
    assert_eq!(rows.iter().map(|row| row.asked.as_str()).collect::<Vec<_>>(), ["layered"]);
    assert!(matches!(bench.sampling(&wide, &[Kernels::Fused]), Err(Error::Config { .. })));
    assert!(matches!(Bench::new(device(), 0, 0, Duration::ZERO), Err(Error::Config { .. })));
    bench.stop_when(|| true);
    assert!(matches!(bench.training(&shape, &both), Err(Error::Interrupted)));
    assert!(matches!(bench.peak(), Err(Error::Interrupted)));
}
