//! The built-in densities: one table, from which the command line, its help
//! texts and the tests are driven. Adding one is one entry and one function.
//!
//! Points depend on the name and the seed alone. They come from `ChaCha8`, whose
//! stream is fixed by its definition, and from the transcendental functions of
//! `libm`, which are the same on every platform (those of the system are not).

#![allow(clippy::cast_precision_loss, reason = "counts of points are far below 2^52")]

use std::f64::consts::{PI, TAU};

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use twox_hash::XxHash3_128;

/// A built-in density.
#[derive(Debug, Clone, Copy)]
pub struct ToySource {
    /// What it is called on the command line.
    pub name: &'static str,
    /// The number of coordinates.
    pub dim: usize,
    /// How many points there are when none are asked for.
    pub points: usize,
    /// One line for the help text.
    pub help: &'static str,
    /// How its points are made, and whose recipe that is.
    pub recipe: &'static str,
    generate: fn(&mut Stream, usize) -> Vec<f32>,
}

impl ToySource {
    /// Draws `n` points, row-major; the same ones for the same `n` and `seed`, everywhere.
    #[must_use]
    pub fn generate(&self, n: usize, seed: u64) -> Vec<f32> {
        (self.generate)(&mut Stream::new(self.name, seed), n)
    }
}

/// All built-in densities.
#[must_use]
pub fn sources() -> &'static [ToySource] {
    SOURCES
}

const POINTS: usize = 100_000;

static SOURCES: &[ToySource] = &[
    ToySource {
        name: "8gaussians",
        dim: 2,
        points: POINTS,
        help: "eight Gaussians on a ring of radius 5, each of std 1",
        recipe: "centres 5·(cos kπ/4, sin kπ/4), std 1, the same number of points in each, as torchdyn's \
                 generate_gaussians and the benchmark of Tong et al. (2023, table 2); entropy 4.770 nats",
        generate: |rng, n| gaussian_ring(rng, n, 5.0, 1.0, Share::Equal),
    },
    ToySource {
        name: "8gaussians-narrow",
        dim: 2,
        points: POINTS,
        help: "eight Gaussians on a ring of radius 5, each of variance 0.1",
        recipe: "as 8gaussians with variance 0.1, each point in a random one: torchcfm's sample_8gaussians",
        generate: |rng, n| gaussian_ring(rng, n, 5.0, 0.1_f64.sqrt(), Share::Random),
    },
    ToySource {
        name: "8gaussians-wide",
        dim: 2,
        points: POINTS,
        help: "eight Gaussians on a ring of radius 12, each of std 1.5",
        recipe: "as 8gaussians with radius 12 and std 1.5, each point in a random one: the target of \
                 moons-wide in Tong et al. (2023, table 2), after De Bortoli et al. (2021)",
        generate: |rng, n| gaussian_ring(rng, n, 12.0, 1.5, Share::Random),
    },
    ToySource {
        name: "moons",
        dim: 2,
        points: POINTS,
        help: "two interleaved half circles",
        recipe: "scikit-learn's make_moons with noise 0.05, times 2 minus 1: Tong et al. (2023, table 2), \
                 up to a half turn; entropy 0.294 + 2 ln 2 nats",
        generate: |rng, n| flat(map(make_moons(rng, n, 0.05), |x| 2.0 * x - 1.0)),
    },
    ToySource {
        name: "moons-wide",
        dim: 2,
        points: POINTS,
        help: "the moons with more noise, scaled to std 7: a source for 8gaussians-wide",
        recipe: "scikit-learn's make_moons with noise 0.1, less the mean of all values and scaled to a \
                 standard deviation of 7 over all values: Tong et al. (2023, table 2), after De Bortoli et al. (2021)",
        generate: moons_wide,
    },
    ToySource {
        name: "checkerboard",
        dim: 2,
        points: POINTS,
        help: "a uniform density on 8 squares of a 4x4 board",
        recipe: "x uniform on [-2, 2), y uniform on the two unit squares of its column, over 0.45: the \
                 checkerboard of facebookresearch/flow_matching; density 0.45²/8, entropy 3.6765 nats",
        generate: checkerboard,
    },
    ToySource {
        name: "spirals",
        dim: 2,
        points: POINTS,
        help: "two spiral arms",
        recipe: "2spirals of FFJORD: r = 3π·√u, (-r cos r + e, r sin r + e')/3 and its mirror image, \
                 e uniform on [0, 0.5), noise 0.1",
        generate: spirals,
    },
    ToySource {
        name: "swissroll",
        dim: 2,
        points: POINTS,
        help: "a spiral with thick noise: the swiss roll from its side",
        recipe: "swissroll of FFJORD: scikit-learn's make_swiss_roll with noise 1, columns 0 and 2, over 5",
        generate: |rng, n| {
            iid(rng, n, |rng| {
                let [x, _, z] = swiss_roll(rng, 1.0);
                [x / 5.0, z / 5.0]
            })
        },
    },
    ToySource {
        name: "rings",
        dim: 2,
        points: POINTS,
        help: "four concentric rings",
        recipe: "rings of FFJORD: radii 0.75, 1.5, 2.25 and 3 with the same number of points, noise 0.08",
        generate: rings,
    },
    ToySource {
        name: "pinwheel",
        dim: 2,
        points: POINTS,
        help: "five curved arms",
        recipe: "pinwheel of FFJORD: radial std 0.3, tangential std 0.1, rate 0.25, times 2",
        generate: pinwheel,
    },
    ToySource {
        name: "circles",
        dim: 2,
        points: POINTS,
        help: "two concentric circles",
        recipe: "circles of FFJORD: scikit-learn's make_circles with factor 0.5 and noise 0.08, times 3",
        generate: circles,
    },
    ToySource {
        name: "scurve",
        dim: 2,
        points: POINTS,
        help: "an S-shaped curve",
        recipe: "scikit-learn's make_s_curve with noise 0.05, columns 0 and 2, times 1.5: Tong et al. \
                 (2023, table 2)",
        generate: |rng, n| {
            iid(rng, n, |rng| {
                let t = 3.0 * PI * (rng.uniform() - 0.5);
                let (x, z) = (libm::sin(t), t.signum() * (libm::cos(t) - 1.0));
                [1.5 * (x + 0.05 * rng.normal()), 1.5 * (z + 0.05 * rng.normal())]
            })
        },
    },
    ToySource {
        name: "gaussian",
        dim: 2,
        points: POINTS,
        help: "the standard normal density",
        recipe: "N(0, I); entropy 2.838 nats",
        generate: |rng, n| iid(rng, n, |rng| [rng.normal(), rng.normal()]),
    },
    ToySource {
        name: "swissroll3d",
        dim: 3,
        points: POINTS,
        help: "the swiss roll, a rolled-up sheet",
        recipe: "scikit-learn's make_swiss_roll with noise 0.5, its axis shifted by -10.5, over 5",
        generate: |rng, n| {
            iid(rng, n, |rng| {
                let [x, y, z] = swiss_roll(rng, 0.5);
                [x / 5.0, (y - 10.5) / 5.0, z / 5.0]
            })
        },
    },
    ToySource {
        name: "torus",
        dim: 3,
        points: POINTS,
        help: "the surface of a torus",
        recipe: "uniform by area on the torus of radii 2 and 0.75, noise 0.05",
        generate: torus,
    },
    ToySource {
        name: "helix",
        dim: 3,
        points: POINTS,
        help: "three turns of a helix",
        recipe: "(1.5 cos t, 1.5 sin t, t/π - 3) for t uniform on [0, 6π), noise 0.1",
        generate: |rng, n| {
            iid(rng, n, |rng| {
                let t = 6.0 * PI * rng.uniform();
                rng.blur([1.5 * libm::cos(t), 1.5 * libm::sin(t), t / PI - 3.0], 0.1)
            })
        },
    },
    ToySource {
        name: "knot",
        dim: 3,
        points: POINTS,
        help: "a trefoil knot",
        recipe: "(sin t + 2 sin 2t, cos t - 2 cos 2t, -sin 3t) for t uniform on [0, 2π), noise 0.1",
        generate: |rng, n| {
            iid(rng, n, |rng| {
                let t = TAU * rng.uniform();
                let x = libm::sin(t) + 2.0 * libm::sin(2.0 * t);
                let y = libm::cos(t) - 2.0 * libm::cos(2.0 * t);
                rng.blur([x, y, -libm::sin(3.0 * t)], 0.1)
            })
        },
    },
];

/// A stream of random numbers that is the same on every platform.
pub(crate) struct Stream {
    bits: ChaCha8Rng,
    /// Box–Muller makes normals in pairs; this is the second of the last one.
    spare: Option<f64>,
}

impl Stream {
    pub fn new(name: &str, seed: u64) -> Self {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        key[8..24].copy_from_slice(&XxHash3_128::oneshot(name.as_bytes()).to_le_bytes());
        Self { bits: ChaCha8Rng::from_seed(key), spare: None }
    }

    /// Uniform on [0, 1), with 53 bits.
    fn uniform(&mut self) -> f64 {
        (self.bits.next_u64() >> 11) as f64 * f64::EPSILON / 2.0
    }

    /// Standard normal, by Box–Muller.
    pub fn normal(&mut self) -> f64 {
        if let Some(z) = self.spare.take() {
            return z;
        }
        // The logarithm wants (0, 1].
        let radius = (-2.0 * libm::log(1.0 - self.uniform())).sqrt();
        let angle = TAU * self.uniform();
        self.spare = Some(radius * libm::sin(angle));
        radius * libm::cos(angle)
    }

    /// Uniform on 0..n; the bias of n/2⁶⁴ is beyond any test.
    #[allow(clippy::cast_possible_truncation, reason = "the high half is below n")]
    fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.bits.next_u64()) * n as u128) >> 64) as usize
    }

    /// A random order of `points` (Fisher–Yates).
    pub fn shuffle<T>(&mut self, points: &mut [T]) {
        for i in (1..points.len()).rev() {
            points.swap(i, self.below(i + 1));
        }
    }

    /// `point` with normal noise of standard deviation `std`.
    fn blur<const D: usize>(&mut self, point: [f64; D], std: f64) -> [f64; D] {
        point.map(|x| x + std * self.normal())
    }
}

/// Row-major float32.
#[allow(clippy::cast_possible_truncation, reason = "rounding to the device's precision is the purpose")]
fn flat<const D: usize>(points: impl IntoIterator<Item = [f64; D]>) -> Vec<f32> {
    points.into_iter().flat_map(|p| p.map(|x| x as f32)).collect()
}

/// `n` independent points.
fn iid<const D: usize>(rng: &mut Stream, n: usize, draw: impl Fn(&mut Stream) -> [f64; D]) -> Vec<f32> {
    flat((0..n).map(|_| draw(rng)))
}

fn map<const D: usize>(points: Vec<[f64; D]>, f: impl Fn(f64) -> f64) -> Vec<[f64; D]> {
    points.into_iter().map(|p| p.map(&f)).collect()
}

/// How many points each part of a density gets.
#[derive(Clone, Copy)]
enum Share {
    /// The same number, up to one.
    Equal,
    /// Each point is in a random part.
    Random,
}

fn gaussian_ring(rng: &mut Stream, n: usize, radius: f64, std: f64, share: Share) -> Vec<f32> {
    let mut points: Vec<_> = (0..n)
        .map(|i| {
            let k = match share {
                Share::Equal => i % 8,
                Share::Random => rng.below(8),
            };
            let angle = k as f64 * PI / 4.0;
            rng.blur([radius * libm::cos(angle), radius * libm::sin(angle)], std)
        })
        .collect();
    rng.shuffle(&mut points);
    flat(points)
}

/// scikit-learn's `make_moons`: angles on a regular grid, the first half of the
/// points on the upper moon, then noise.
fn make_moons(rng: &mut Stream, n: usize, noise: f64) -> Vec<[f64; 2]> {
    let upper = n / 2;
    let mut points: Vec<_> = (0..n)
        .map(|i| {
            let (k, of) = if i < upper { (i, upper) } else { (i - upper, n - upper) };
            let angle = PI * k as f64 / (of.max(2) - 1) as f64;
            let (x, y) = (libm::cos(angle), libm::sin(angle));
            rng.blur(if i < upper { [x, y] } else { [1.0 - x, 0.5 - y] }, noise)
        })
        .collect();
    rng.shuffle(&mut points);
    points
}

fn moons_wide(rng: &mut Stream, n: usize) -> Vec<f32> {
    let points = make_moons(rng, n, 0.1);
    let count = 2.0 * n as f64;
    let mean = points.iter().flatten().sum::<f64>() / count;
    let variance = points.iter().flatten().map(|x| (x - mean) * (x - mean)).sum::<f64>() / (count - 1.0);
    let scale = 7.0 / variance.sqrt();
    flat(map(points, |x| (x - mean) * scale))
}

fn checkerboard(rng: &mut Stream, n: usize) -> Vec<f32> {
    iid(rng, n, |rng| {
        let x = 4.0 * rng.uniform() - 2.0;
        let y = rng.uniform() - 2.0 * rng.below(2) as f64 + x.floor().rem_euclid(2.0);
        [x / 0.45, y / 0.45]
    })
}

fn spirals(rng: &mut Stream, n: usize) -> Vec<f32> {
    let mut points: Vec<_> = (0..n)
        .map(|i| {
            let r = rng.uniform().sqrt() * 3.0 * PI;
            let side = if i % 2 == 0 { 1.0 } else { -1.0 };
            let x = -libm::cos(r) * r + 0.5 * rng.uniform();
            let y = libm::sin(r) * r + 0.5 * rng.uniform();
            rng.blur([side * x / 3.0, side * y / 3.0], 0.1)
        })
        .collect();
    rng.shuffle(&mut points);
    flat(points)
}

/// scikit-learn's `make_swiss_roll`.
fn swiss_roll(rng: &mut Stream, noise: f64) -> [f64; 3] {
    let t = 1.5 * PI * (1.0 + 2.0 * rng.uniform());
    let y = 21.0 * rng.uniform();
    rng.blur([t * libm::cos(t), y, t * libm::sin(t)], noise)
}

/// Points at regular angles on circles, `(radius, how many)` each, with noise.
fn regular_circles(rng: &mut Stream, circles: &[(f64, usize)], noise: f64) -> Vec<f32> {
    let mut points = Vec::new();
    for &(radius, count) in circles {
        for i in 0..count {
            let angle = TAU * i as f64 / count as f64;
            points.push(rng.blur([radius * libm::cos(angle), radius * libm::sin(angle)], noise));
        }
    }
    rng.shuffle(&mut points);
    flat(points)
}

fn rings(rng: &mut Stream, n: usize) -> Vec<f32> {
    let quarter = n / 4;
    let counts = [(3.0, quarter), (2.25, quarter), (1.5, quarter), (0.75, n - 3 * quarter)];
    regular_circles(rng, &counts, 0.08)
}

fn circles(rng: &mut Stream, n: usize) -> Vec<f32> {
    let outer = n / 2;
    // The noise is added before the scaling by 3.
    regular_circles(rng, &[(3.0, outer), (1.5, n - outer)], 3.0 * 0.08)
}

fn pinwheel(rng: &mut Stream, n: usize) -> Vec<f32> {
    let mut points: Vec<_> = (0..n)
        .map(|i| {
            let (radial, tangential) = (1.0 + 0.3 * rng.normal(), 0.1 * rng.normal());
            let angle = TAU * (i % 5) as f64 / 5.0 + 0.25 * libm::exp(radial);
            let (sin, cos) = (libm::sin(angle), libm::cos(angle));
            [2.0 * (radial * cos + tangential * sin), 2.0 * (tangential * cos - radial * sin)]
        })
        .collect();
    rng.shuffle(&mut points);
    flat(points)
}

fn torus(rng: &mut Stream, n: usize) -> Vec<f32> {
    let (major, minor) = (2.0, 0.75);
    iid(rng, n, |rng| {
        // The outside of the tube has more area than the inside: rejection.
        let tube = loop {
            let angle = TAU * rng.uniform();
            if rng.uniform() * (major + minor) < major + minor * libm::cos(angle) {
                break angle;
            }
        };
        let around = TAU * rng.uniform();
        let radius = major + minor * libm::cos(tube);
        let point = [radius * libm::cos(around), radius * libm::sin(around), minor * libm::sin(tube)];
        rng.blur(point, 0.05)
    })
}
