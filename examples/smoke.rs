use std::ops::ControlFlow;
use windfield::data::Dataset;
use windfield::gpu::{Device, DeviceOptions};
use windfield::train::*;
use windfield::sample::*;
fn main() {
    let dev = Device::open(&DeviceOptions::default()).unwrap();
    println!("{}", dev.describe());
    let hidden: Vec<usize> = std::env::args().nth(1).unwrap_or("64,64,64".into()).split(',').map(|x| x.parse().unwrap()).collect();
    let batch = std::env::args().nth(2).map_or(256, |x| x.parse().unwrap());
    let steps = std::env::args().nth(3).map_or(2000, |x| x.parse().unwrap());
    let data = Dataset::open("checkerboard").unwrap();
    let o = TrainOptions { steps, hidden, batch, ..TrainOptions::default() };
    let t0 = std::time::Instant::now();
    let mut tr = Trainer::new(&dev, &data, None, o).unwrap();
    println!("built {:?}", t0.elapsed());
    for d in tr.plan() { println!("{}", d.describe()); }
    if std::env::var("PROFILE").is_ok() {
        for d in tr.plan() {
            let run = |n: usize| { let t0 = std::time::Instant::now(); let s = dev.submit(std::iter::repeat_n(d, n), &[]).unwrap(); dev.wait(Some(&s)).unwrap(); t0.elapsed().as_secs_f64() };
            run(1);
            let n = ((0.1 / run(3) * 3.0) as usize).clamp(3, 300);
            let best = (0..5).map(|_| run(n)).fold(f64::MAX, f64::min) / n as f64;
            println!("{:9.1} us {:6.1} GFLOP/s {}", best * 1e6, d.flops() as f64 / best / 1e9, d.describe());
        }
    }
    let t0 = std::time::Instant::now();
    tr.run(|p| { let r = p.records.last().unwrap(); println!("{} loss {} lr {} norm {} {:?} ({} a sub)", r.0, r.1.loss, r.1.learning_rate, r.1.gradient_norm, p.elapsed, p.records.len()); ControlFlow::Continue(()) }).unwrap();
    println!("{} steps/s", steps as f64 / t0.elapsed().as_secs_f64());
    let m = tr.model().unwrap();
    println!("{:?}", mean_loss(&dev, &m, &data, None, 1024, 200, 99).unwrap());
    for kernels in [Kernels::Fused, Kernels::Layered] {
        let Ok(mut s) = Sampler::new(&dev, &m, None, SampleOptions { kernels, solver: &windfield::flow::SOLVERS[0], steps: 100, ..Default::default() }) else { continue };
        let t0 = std::time::Instant::now();
        let mut x = s.sample(0, 10000.min(s.chunk_rows())).unwrap();
        println!("{kernels:?} {} in {:?}", x.len()/2, t0.elapsed());
        s.to_data_units(&mut x);
        println!("{:?}", &x[..8]);
    }
}
