use windfield::data::Dataset;
use windfield::gpu::{Device, DeviceOptions};
use windfield::sample::*;
use windfield::train::*;
fn cpu() -> f64 {
    let s = std::fs::read_to_string("/proc/self/stat").unwrap();
    let f: Vec<&str> = s.rsplit(')').next().unwrap().split_whitespace().collect();
    (f[11].parse::<f64>().unwrap() + f[12].parse::<f64>().unwrap()) / 100.0
}
fn main() {
    let dev = Device::open(&DeviceOptions::default()).unwrap();
    let data = Dataset::open("checkerboard").unwrap();
    for h in std::env::args().skip(1) {
        let hidden: Vec<usize> = h.split(',').map(|x| x.parse().unwrap()).collect();
        let o = TrainOptions { steps: 0, hidden, ..TrainOptions::default() };
        let m = Trainer::new(&dev, &data, None, o).unwrap().model().unwrap();
        for kernels in [Kernels::Fused, Kernels::Layered] {
            for n in [1024, 8192] {
                let Ok(mut s) = Sampler::new(
                    &dev,
                    &m,
                    None,
                    SampleOptions {
                        kernels,
                        solver: &windfield::flow::SOLVERS[0],
                        steps: 20,
                        ..Default::default()
                    },
                ) else {
                    continue;
                };
                let n = n.min(s.chunk_rows());
                s.sample(0, n).unwrap();
                let (t0, c0) = (std::time::Instant::now(), cpu());
                for _ in 0..3 {
                    s.sample(0, n).unwrap();
                }
                let g = m.architecture.flops() as f64 * 20.0 * n as f64 * 3.0 / 1e9;
                println!(
                    "{h} {kernels:?} n {n}: {:.1} GFLOP/s wall, {:.1} GFLOP/s per cpu-second",
                    g / t0.elapsed().as_secs_f64(),
                    g / (cpu() - c0)
                );
            }
        }
    }
}
