//! The work of windfield's benchmark, done by burn: on its wgpu backend, or on its CPU backend.
//!
//! It answers the requests that `../peer.py` lists, on standard input and output:
//! `windfield-peer-burn wgpu|cpu --data DIR --threads N --device auto|cpu|cuda`.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::error::Error;
use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::optim::{AdamConfig, GradientsParams, ModuleOptimizer};
use burn::prelude::{Device, DeviceKind, Int, Tensor};
use burn::tensor::activation::silu;
use burn::tensor::{Distribution, TensorData};

const LR: f64 = 3e-3;
/// The training behind the network that is sampled.
const SAMPLED_BATCH: usize = 256;
const SAMPLED_STEPS: usize = 1000;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let option = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1).map(String::as_str)
    };
    let kind = arguments.first().map_or("", String::as_str);
    let device = match kind {
        // Where only software is asked for, the rasterizer and no other; else the one that wgpu thinks best.
        "wgpu" if option("--device") == Some("cpu") => Device::wgpu(DeviceKind::Cpu),
        "wgpu" => Device::wgpu(DeviceKind::DefaultDevice),
        "cpu" => Device::flex(),
        _ => return Err(format!("'{kind}' is neither wgpu nor cpu").into()),
    };
    let folder = PathBuf::from(option("--data").ok_or("--data is missing")?);
    device.seed(1);
    // A first piece of work, so that a device that does not come up is told of now.
    Tensor::<1>::ones([1], &device).into_data();
    println!("> {{\"versions\": \"burn 0.22.1, {}\"}}", text(&format!("{device:?}")));
    let mut peer = Peer { device, folder, trainers: HashMap::new(), rates: HashMap::new() };
    for line in std::io::stdin().lock().lines() {
        let reply = peer
            .answer(&line?)
            .unwrap_or_else(|error| format!("\"error\": \"{}\"", text(&error.to_string())));
        println!("> {{{reply}}}");
        std::io::stdout().flush()?;
    }
    Ok(())
}

/// As part of a string in JSON.
fn text(said: &str) -> String {
    said.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect::<String>()
        .replace('\\', "/")
        .replace('"', "'")
}

/// `DIM:LAYERSxWIDTH:ROWS`
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Shape {
    dim: usize,
    layers: usize,
    width: usize,
    rows: usize,
}

impl Shape {
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(':');
        let (dim, network, rows) = (parts.next()?, parts.next()?, parts.next()?);
        let (layers, width) = network.split_once('x')?;
        Some(Self {
            dim: dim.parse().ok()?,
            layers: layers.parse().ok()?,
            width: width.parse().ok()?,
            rows: rows.parse().ok()?,
        })
    }
}

struct Peer {
    device: Device,
    folder: PathBuf,
    trainers: HashMap<Shape, Trainer>,
    /// Of earlier measurements, repetitions a second.
    rates: HashMap<(bool, Shape), f64>,
}

impl Peer {
    fn answer(&mut self, line: &str) -> Result<String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (kind, shape, rest) = match words.as_slice() {
            [kind, shape, rest @ ..] => (*kind, Shape::parse(shape).ok_or("no shape")?, rest),
            _ => return Err("no request".into()),
        };
        let training = if kind.ends_with("sample") { Shape { rows: SAMPLED_BATCH, ..shape } } else { shape };
        let device = self.device.clone();
        let trainer = match self.trainers.entry(training) {
            Entry::Occupied(found) => found.into_mut(),
            Entry::Vacant(place) => place.insert(Trainer::new(&device, &self.folder, training)?),
        };
        Ok(match (kind, rest) {
            ("check", [steps, last]) => {
                let (steps, last): (usize, usize) = (steps.parse()?, last.parse()?);
                trainer.run(steps - last)?;
                format!("\"loss\": {}", trainer.mean_loss(last)?)
            }
            ("train", [seconds]) => {
                let rate = self.rates.entry((false, shape)).or_default();
                let (count, taken) = measure(rate, seconds.parse()?, |count| trainer.run(count))?;
                format!("\"count\": {count}, \"seconds\": {taken}")
            }
            ("check-sample", [euler]) => {
                if trainer.steps == 0 {
                    trainer.run(SAMPLED_STEPS)?;
                }
                let samples = trainer.sample(&device, shape, euler.parse()?)?;
                let count = samples.len() as f64;
                let square: f64 = samples.iter().map(|value| f64::from(*value).powi(2)).sum();
                let product = |row: &[f32]| f64::from(row[0]) * f64::from(*row.get(1).unwrap_or(&0.0));
                let product: f64 = samples.chunks_exact(shape.dim).map(product).sum();
                let (deviation, product) = ((square / count).sqrt(), product / shape.rows as f64);
                format!("\"deviation\": {deviation}, \"product\": {product}")
            }
            ("sample", [euler, seconds]) => {
                let euler = euler.parse()?;
                let rate = self.rates.entry((true, shape)).or_default();
                let (count, taken) = measure(rate, seconds.parse()?, |count| {
                    for _ in 0..count {
                        trainer.sample(&device, shape, euler)?;
                    }
                    Ok(())
                })?;
                format!("\"count\": {}, \"seconds\": {taken}", count * shape.rows)
            }
            _ => return Err(format!("'{line}' is no request").into()),
        })
    }
}

/// Runs something for about a given time, in one go: how often is known from the run before.
fn measure(rate: &mut f64, seconds: f64, mut run: impl FnMut(usize) -> Result<()>) -> Result<(usize, f64)> {
    let mut timed = |count: usize| -> Result<f64> {
        let begun = Instant::now();
        run(count)?;
        Ok(begun.elapsed().as_secs_f64())
    };
    if *rate == 0.0 {
        // Compilation and tuning are over after these.
        timed(3)?;
        let (mut count, mut taken) = (1, 0.0);
        while taken < 0.2 {
            taken = timed(count)?;
            (*rate, count) = (count as f64 / taken, 4 * count);
        }
    }
    let count = ((*rate * seconds).round() as usize).max(2);
    let taken = timed(count)?;
    *rate = count as f64 / taken;
    Ok((count, taken))
}

/// Inputs (x, t), hidden layers with SiLU, outputs of x's dimension.
#[derive(Module, Debug)]
struct Mlp {
    layers: Vec<Linear>,
}

impl Mlp {
    /// burn's own initialisation is PyTorch's: uniform on ±1/√inputs, biases included.
    fn new(shape: Shape, device: &Device) -> Self {
        let mut sizes = vec![shape.dim + 1];
        sizes.extend(std::iter::repeat_n(shape.width, shape.layers));
        sizes.push(shape.dim);
        Self {
            layers: sizes.windows(2).map(|pair| LinearConfig::new(pair[0], pair[1]).init(device)).collect(),
        }
    }

    fn forward(&self, x: Tensor<2>, t: Tensor<2>) -> Tensor<2> {
        let mut y = Tensor::cat(vec![x, t], 1);
        for (index, layer) in self.layers.iter().enumerate() {
            y = layer.forward(if index == 0 { y } else { silu(y) });
        }
        y
    }
}

struct Trainer {
    shape: Shape,
    /// With automatic differentiation.
    device: Device,
    /// Always there between two steps.
    model: Option<Mlp>,
    adam: ModuleOptimizer,
    data: Tensor<2>,
    rows: usize,
    steps: usize,
}

impl Trainer {
    fn new(device: &Device, folder: &Path, shape: Shape) -> Result<Self> {
        let path = folder.join(format!("moons-{}.npy", shape.dim));
        let values = read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let rows = values.len() / shape.dim;
        let device = device.clone().autodiff();
        Ok(Self {
            shape,
            model: Some(Mlp::new(shape, &device)),
            adam: AdamConfig::new().with_epsilon(1e-8).init(),
            data: Tensor::from_data(TensorData::new(values, [rows, shape.dim]), &device),
            device,
            rows,
            steps: 0,
        })
    }

    fn step(&mut self) -> Result<Tensor<1>> {
        let model = self.model.take().ok_or("an earlier step failed")?;
        let Shape { dim, rows: batch, .. } = self.shape;
        let uniform = |high: f64| Distribution::Uniform(0.0, high);
        // Clamped: whether a rounded number may reach the upper end is not documented.
        let picked = Tensor::<1, Int>::random([batch], uniform(self.rows as f64), &self.device)
            .clamp_max(self.rows as i64 - 1);
        let x1 = self.data.clone().select(0, picked);
        let x0 = Tensor::<2>::random([batch, dim], Distribution::Normal(0.0, 1.0), &self.device);
        let t = Tensor::<2>::random([batch, 1], uniform(1.0), &self.device);
        let u = x1 - x0.clone();
        let xt = x0 + u.clone() * t.clone();
        let loss = (model.forward(xt, t) - u).square().sum_dim(1).mean();
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        self.model = Some(self.adam.step(LR, model, gradients));
        self.steps += 1;
        Ok(loss.inner())
    }

    fn run(&mut self, steps: usize) -> Result<()> {
        for _ in 0..steps {
            self.step()?;
        }
        self.device.sync()?;
        Ok(())
    }

    fn mean_loss(&mut self, steps: usize) -> Result<f32> {
        let mut total = 0.0;
        for _ in 0..steps {
            total += self.step()?.into_scalar::<f32>();
        }
        Ok(total / steps as f32)
    }

    /// Euler steps of `rows` particles, from noise drawn on the device to numbers on the host.
    fn sample(&self, device: &Device, shape: Shape, euler: usize) -> Result<Vec<f32>> {
        let model = self.model.as_ref().ok_or("an earlier step failed")?.valid();
        let mut x = Tensor::<2>::random([shape.rows, shape.dim], Distribution::Normal(0.0, 1.0), device);
        for step in 0..euler {
            let t = Tensor::<2>::full([shape.rows, 1], step as f64 / euler as f64, device);
            x = x.clone() + model.forward(x, t).div_scalar(euler as f64);
        }
        x.into_data().try_to_vec().map_err(|error| format!("{error:?}").into())
    }
}

/// The numbers of a .npy file of float32, as `../data.py` writes it.
fn read(path: &Path) -> Result<Vec<f32>> {
    let raw = std::fs::read(path)?;
    let header = raw.get(8..10).ok_or("it is too short")?;
    let begin = 10 + usize::from(u16::from_le_bytes([header[0], header[1]]));
    let values = raw.get(begin..).ok_or("its header is cut off")?;
    Ok(values
        .chunks_exact(4)
        .map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
        .collect())
}
