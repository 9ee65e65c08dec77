//! Steps and samples a second, and the ways of laying the work out side by side: `cargo bench`.
//!
//! Machines are shared and noisy. So the two sides of a ratio are measured in turn, several times each, and what is
//! printed is the median with the smallest and the largest of them; only the ratios carry over to other machines.

use std::ops::ControlFlow;
use std::time::Instant;

use windfield::data::Dataset;
use windfield::flow::Solver;
use windfield::gpu::{Device, DeviceOptions, Habits, Matrices};
use windfield::sample::{Kernels, SampleOptions, Sampler};
use windfield::train::{TrainOptions, Trainer};

/// Measurements of each side.
const ROUNDS: usize = 5;

fn main() -> Result<(), windfield::Error> {
    let device = Device::open(&DeviceOptions::default())?;
    println!("{}\n", device.describe());
    println!("training, steps/s: matrices in textures against buffers");
    let shapes: [(usize, usize, usize); 3] = [(3, 64, 256), (4, 256, 256), (4, 256, 1024)];
    for (layers, width, batch) in shapes {
        let options = TrainOptions { hidden: vec![width; layers], batch, ..TrainOptions::default() };
        let textures = device.with_habits(Habits { matrices: Matrices::Textures, ..*device.habits() });
        let buffers = device.with_habits(Habits { matrices: Matrices::Buffers, ..*device.habits() });
        let (mut a, mut b) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            a.push(training(&textures, &options)?);
            b.push(training(&buffers, &options)?);
        }
        print(&format!("{layers} × {width}, batch {batch}"), a, b);
    }
    println!("\nsampling, Euler steps of particles/s: fused against layered");
    for (layers, width) in [(3, 64), (3, 128), (3, 256)] {
        let options = TrainOptions { hidden: vec![width; layers], ..TrainOptions::default() };
        let model = Trainer::new(&device, &Dataset::open("moons:1000")?, None, options)?.model()?;
        let sampler = |kernels| {
            let options = SampleOptions {
                kernels,
                solver: Solver::named("euler")?,
                steps: 20,
                ..SampleOptions::default()
            };
            Sampler::new(&device, &model, None, options)
        };
        let (mut fused, mut layered) = (sampler(Kernels::Fused)?, sampler(Kernels::Layered)?);
        let (mut a, mut b) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            a.push(sampling(&mut fused)?);
            b.push(sampling(&mut layered)?);
        }
        print(&format!("{layers} × {width}"), a, b);
    }
    Ok(())
}

/// Steps a second of a short run, its first part not counted: there the submissions find their length.
fn training(device: &Device, options: &TrainOptions) -> Result<f64, windfield::Error> {
    let work = 2 * options.hidden.len() * options.hidden[0].pow(2) * options.batch;
    let steps = (4_000_000_000 / work).clamp(20, 2000) as u64;
    let options = TrainOptions { steps: 2 * steps, ..options.clone() };
    let mut trainer = Trainer::new(device, &Dataset::open("moons:1000")?, None, options)?;
    let mut begun = None;
    trainer.run(|progress| {
        if begun.is_none() && progress.step >= steps {
            begun = Some((progress.step, Instant::now()));
        }
        ControlFlow::Continue(())
    })?;
    Ok(begun.map_or(f64::NAN, |(step, at)| (2 * steps - step) as f64 / at.elapsed().as_secs_f64()))
}

/// Steps of particles a second.
fn sampling(sampler: &mut Sampler) -> Result<f64, windfield::Error> {
    let rows = sampler.chunk_rows().min(4096);
    let begun = Instant::now();
    sampler.sample(0, rows)?;
    Ok(20.0 * rows as f64 / begun.elapsed().as_secs_f64())
}

fn print(what: &str, a: Vec<f64>, b: Vec<f64>) {
    let ratios: Vec<f64> = a.iter().zip(&b).map(|(a, b)| a / b).collect();
    let [a, b, ratios] = [a, b, ratios].map(|mut values| {
        values.sort_by(f64::total_cmp);
        format!("{:9.2} ({:.2} to {:.2})", values[values.len() / 2], values[0], values[values.len() - 1])
    });
    println!("  {what:20} {a}   {b}   ratio {ratios}");
}
