//! `windfield render`: what pictures show, and what is refused.

#![allow(clippy::float_cmp, reason = "bits are compared on purpose")]

mod common;
mod reference;

use std::path::Path;

use assert_cmd::Command;
use common::models::{affine, decay};
use common::{device, random};
use windfield::data::{Dataset, ImageShape};
use windfield::render::{Bending, Crossing, Format, Streaks, View};
use windfield::report::plot::Limits;
use windfield::sample::{SampleOptions, Sampler};

fn windfield(folder: &Path, words: &[&str]) -> std::process::Output {
    let mut command = Command::cargo_bin("windfield").unwrap_or_else(|error| panic!("{error}"));
    command.current_dir(folder).arg("render").args(words).output().unwrap_or_else(|error| panic!("{error}"))
}

fn view(limits: Limits) -> View {
    View { columns: vec![0, 1], names: ["x".to_owned(), "y".to_owned()], limits }
}

#[test]
fn streaks_of_a_seed_are_the_same_bits_and_lie_along_the_flow() {
    let size = [150, 90];
    let make = |seed| Streaks::new(device(), size, [2, 2], seed).unwrap();
    let right = [1.0f32, 0.0].repeat(4);
    let got = make(7).draw(&right, [3.0, 2.0], None).unwrap();
    assert_eq!(got, make(7).draw(&right, [3.0, 2.0], None).unwrap());
    assert_ne!(got, make(8).draw(&right, [3.0, 2.0], None).unwrap());
    let rough = |step: usize| -> f32 {
        let last = got.len() - size[0];
        (0..last).filter(|i| (i + 1) % size[0] > 0).map(|i| (got[i] - got[i + step]).abs()).sum()
    };
    assert!(4.0 * rough(1) < rough(size[0]), "along {} across {}", rough(1), rough(size[0]));
    let squares: f32 = got.iter().map(|v| v * v).sum::<f32>() / got.len() as f32;
    assert!((0.5..2.0).contains(&squares), "a variance of {squares}");
    assert!(make(7).draw(&[f32::NAN; 8], [3.0, 2.0], None).unwrap().iter().all(|v| *v == 0.0));
    assert!(make(7).draw(&right[1..], [3.0, 2.0], None).is_err());
    assert!(Streaks::new(device(), [0, 3], [2, 2], 0).is_err());
    assert!(Streaks::new(device(), [3, 3], [1, 2], 0).is_err());
}

#[test]
fn the_field_is_that_of_the_model() {
    // v = (2, −1) everywhere; and v = −x, which points to the middle.
    let steady = affine(&[0.0; 4], &[0.0; 2], &[2.0, -1.0]);
    let window = view(Limits::new((-2.0, 2.0), (-1.0, 3.0)));
    let mut sampler = Sampler::new(device(), &steady, None, SampleOptions::default()).unwrap();
    for v in window.velocities(&mut sampler, 5, 0.3).unwrap().chunks_exact(2) {
        assert!((v[0] - 2.0).abs() < 1e-5 && (v[1] + 1.0).abs() < 1e-5, "{v:?}");
    }
    let mut sampler = Sampler::new(device(), &decay(2), None, SampleOptions::default()).unwrap();
    let points = window.grid(&decay(2), 5);
    assert_eq!(points[..4], [-2.0, -1.0, -1.0, -1.0]);
    for (x, v) in points.iter().zip(window.velocities(&mut sampler, 5, 0.3).unwrap()) {
        assert!((x + v).abs() < 1e-5, "{v} at {x}");
    }
}

#[test]
fn straight_ways_do_not_bend() {
    let steady = affine(&[0.0; 4], &[0.0; 2], &[2.0, -1.0]);
    let mut sampler = Sampler::new(device(), &steady, None, SampleOptions::default()).unwrap();
    let window = view(Limits::new((-3.0, 3.0), (-3.0, 3.0)));
    let straight = Bending::new(&mut sampler, window.clone(), 20).unwrap();
    assert!((straight.mean() - 1.0).abs() < 1e-5, "{}", straight.mean());
    // Particles move by the velocity.
    let (begin, half) = (straight.places(0.0), straight.places(0.5));
    for (a, b) in begin.chunks_exact(2).zip(half.chunks_exact(2)) {
        assert!((b[0] - a[0] - 1.0).abs() < 1e-4 && (b[1] - a[1] + 0.5).abs() < 1e-4, "{a:?} {b:?}");
    }
    // By half a turn: half a circle is π/2 times as long as its diameter.
    let turn = std::f32::consts::PI;
    let spin = affine(&[0.0, -turn, turn, 0.0], &[0.0; 2], &[0.0; 2]);
    let options = SampleOptions { steps: 200, ..SampleOptions::default() };
    let mut sampler = Sampler::new(device(), &spin, None, options).unwrap();
    let bent = Bending::new(&mut sampler, window.clone(), 20).unwrap();
    assert!((bent.mean() - f64::from(turn) / 2.0).abs() < 1e-3, "{}", bent.mean());
    assert!(Bending::new(&mut sampler, window, 0).is_err());
}

#[test]
fn paths_to_one_point_do_not_cross() {
    let model = decay(2);
    let window = view(Limits::new((-3.0, 3.0), (-3.0, 3.0)));
    let one = Dataset::from_rows("one", vec![1.0, 0.5], 2).unwrap();
    let times = [0.2, 0.5, 0.8];
    let crossing = Crossing::new(device(), &one, &model, window.clone(), &times, || false).unwrap();
    assert!(crossing.energy().unwrap().0 < 1e-4, "{:?}", crossing.energy());
    // Normal data: x1 − x0 given x_t has the variance 1/((1 − t)² + t²) in each direction, the mean of which is π/2.
    let data = Dataset::from_rows("normal", random(5, 40_000), 2).unwrap();
    let crossing = Crossing::new(device(), &data, &model, window, &times, || false).unwrap();
    let (half, _) = crossing.energy_at(0.5).unwrap();
    assert!((half / 4.0 - 1.0).abs() < 0.05, "{half}");
    let (all, _) = crossing.energy().unwrap();
    assert!((all / std::f64::consts::PI - 1.0).abs() < 0.06, "{all}");
    let other = Dataset::from_rows("three", vec![0.0; 6], 3).unwrap();
    assert!(
        Crossing::new(device(), &other, &model, view(Limits::new((0.0, 1.0), (0.0, 1.0))), &times, || false)
            .is_err()
    );
}

#[test]
fn pictures_are_written_and_wrong_wishes_refused_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let turn = std::f32::consts::FRAC_PI_2;
    affine(&[0.0, -turn, turn, 0.0], &[0.0; 2], &[0.0; 2]).save(here.join("spin.safetensors")).unwrap();
    decay(3).save(here.join("three.safetensors")).unwrap();
    decay(1).save(here.join("line.safetensors")).unwrap();
    let mut images = decay(12);
    images.image = Some(ImageShape { height: 3, width: 4, channels: 1 });
    images.save(here.join("images.safetensors")).unwrap();
    let good: [&[&str]; 13] = [
        &["spin.safetensors", "--out", "particles.png", "-n", "5000", "--steps", "8"],
        &["spin.safetensors", "--out", "density.png", "--show", "density", "-n", "5000", "--theme", "dark"],
        &["three.safetensors", "--out", "space.png", "-n", "5000", "--columns", "2,0,1"],
        &["three.safetensors", "--out", "orbit.apng", "-n", "500", "--seconds", "0.5", "--fps", "4"],
        &[
            "images.safetensors",
            "--out",
            "sheets/",
            "-n",
            "9",
            "--seconds",
            "0.5",
            "--fps",
            "4",
            "--steps",
            "4",
        ],
        &["spin.safetensors", "--out", "lic.png", "--show", "velocity"],
        &["spin.safetensors", "--out", "arrows.png", "--show", "velocity", "--field", "arrows", "-n", "50"],
        &["spin.safetensors", "--out", "paths.png", "--show", "trajectories", "-n", "50"],
        &["spin.safetensors", "--out", "crossing.png", "--show", "crossing", "--data", "moons:200"],
        &["three.safetensors", "--out", "plane.png", "--show", "velocity", "--columns", "2,0"],
        &["line.safetensors", "--out", "line.png"],
        &["spin.safetensors", "--out", "flow.gif", "--seconds", "0.5", "--fps", "8", "-n", "400"],
        &["spin.safetensors", "--out", "frames/", "--seconds", "0.5", "--fps", "8", "--show", "trajectories"],
    ];
    for words in good {
        let output = windfield(here, &[words, &["--size", "320x280", "--quiet"]].concat());
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        let file = here.join(words[2]);
        if Format::of(Path::new(words[2])).unwrap() == Format::Png {
            let picture = image::open(&file).unwrap().to_rgb8();
            assert_eq!(picture.dimensions(), (320, 280), "{words:?}");
        }
    }
    assert_eq!(std::fs::read_dir(here.join("frames")).unwrap().count(), 4);
    assert!(std::fs::read(here.join("flow.gif")).unwrap().starts_with(b"GIF89a"));
    // Two pictures of an animation whose delay is in its control chunks.
    let orbit = std::fs::read(here.join("orbit.apng")).unwrap();
    assert_eq!(orbit.windows(4).filter(|word| word == b"fcTL").count(), 2);
    assert_eq!(std::fs::read_dir(here.join("sheets")).unwrap().count(), 2);
    let sheet = image::open(here.join("sheets/00000.png")).unwrap();
    assert_eq!((sheet.width(), sheet.height()), (320, 280));
    // The same particles make the same bytes, and others do not.
    let again = |seed: &str| {
        let words =
            ["spin.safetensors", "--out", "again.png", "-n", "5000", "--steps", "8", "--size", "320x280"];
        assert!(windfield(here, &[&words[..], &["--seed", seed]].concat()).status.success());
        std::fs::read(here.join("again.png")).unwrap()
    };
    assert_eq!(again("0"), std::fs::read(here.join("particles.png")).unwrap());
    assert_ne!(again("1"), again("0"));
    let bad: [(&[&str], &str); 20] = [
        (&["spin.safetensors", "--show", "images"], "not one of images"),
        (&["images.safetensors", "--columns", "0,1"], "--columns"),
        (&["three.safetensors", "--columns", "0,1,1"], "--columns"),
        (&["spin.safetensors", "--out", "a.gif", "--size", "1200x1200", "--seconds", "40"], "--size"),
        (&["line.safetensors", "--show", "density"], "trajectories"),
        (&["spin.safetensors", "-n", "0"], "-n 0"),
        (&["spin.safetensors", "--guidance", "2"], "conditional on nothing"),
        (&["spin.safetensors", "--columns", "a,b"], "no column `a`"),
        (&["images.safetensors", "-n", "100", "--size", "160x160"], "--size"),
        (&["spin.safetensors", "-n", "20000000"], "-n"),
        (&["three.safetensors", "--show", "density"], "--columns"),
        (&["spin.safetensors", "--show", "crossing"], "--data"),
        (&["spin.safetensors", "--data", "moons"], "--show crossing"),
        (&["spin.safetensors", "--show", "trajectories", "--field", "lic"], "--show velocity"),
        (&["three.safetensors", "--show", "velocity"], "--columns"),
        (&["three.safetensors", "--columns", "0,7"], "column 7"),
        (&["spin.safetensors", "--size", "12"], "WIDTHxHEIGHT"),
        (&["spin.safetensors", "--out", "flow.avi"], ".png, .gif or"),
        (&["line.safetensors", "--out", "a.gif"], "axis"),
        (&["spin.safetensors", "--out", "a.gif", "--size", "8000x8000", "--seconds", "60"], "--size"),
    ];
    for (words, part) in bad {
        let output = windfield(here, words);
        let said = String::from_utf8_lossy(&output.stderr);
        let last = said.lines().last().unwrap_or_default();
        assert!(!output.status.success() && last.contains(part), "{words:?}: {said}");
        assert!(!said.contains("panicked"), "{said}");
    }
    assert!(!here.join("a.gif").exists());
    assert_eq!(Format::of(Path::new("x.PNG")).unwrap(), Format::Png);
}

#[test]
fn particles_are_where_the_flow_brings_them() {
    // Everything shrinks to the middle by the factor 1/e: the cloud covers the less the later it is.
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    decay(2).save(here.join("m.safetensors")).unwrap();
    let covered = |t: &str| {
        let words = [
            "m.safetensors",
            "-n",
            "20000",
            "--steps",
            "50",
            "--size",
            "320x280",
            "--time",
            t,
            "--out",
            "p.png",
        ];
        let output = windfield(here, &words);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let picture = image::open(here.join("p.png")).unwrap().to_rgb8();
        picture.pixels().filter(|pixel| pixel.0[0].abs_diff(pixel.0[2]) > 40).count() as f64
    };
    let (begin, half, end) = (covered("0"), covered("0.5"), covered("1"));
    assert!(end < 0.75 * half && half < 0.75 * begin && end > 50.0, "{begin} {half} {end}");
}

/// The share of a picture that has a colour.
fn coloured(here: &Path, words: &[&str]) -> f64 {
    let output = windfield(here, &[words, &["--size", "320x280", "--out", "p.png"]].concat());
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    let picture = image::open(here.join("p.png")).unwrap().to_rgb8();
    picture.pixels().filter(|pixel| pixel.0[0].abs_diff(pixel.0[2]) > 40).count() as f64 / (320.0 * 280.0)
}

#[test]
fn the_density_of_few_particles_is_seen() {
    let folder = tempfile::tempdir().unwrap();
    decay(2).save(folder.path().join("m.safetensors")).unwrap();
    let share = coloured(folder.path(), &["m.safetensors", "--show", "density", "-n", "20"]);
    assert!(share > 0.02, "{share}");
}

#[test]
fn noise_that_is_wider_than_the_data_is_seen_whole() {
    // All noise, of deviation 1, goes to within a fifth of it: the window is around the noise, not the data.
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let rate = -5f32.ln();
    affine(&[rate, 0.0, 0.0, rate], &[0.0; 2], &[0.0; 2]).save(here.join("m.safetensors")).unwrap();
    let covered = |time: &str| coloured(here, &["m.safetensors", "-n", "20000", "--time", time]);
    let (begin, end) = (covered("0"), covered("0.999"));
    // In a window that cuts the noise off, what arrives would be larger.
    assert!(begin > 8.0 * end && end > 0.001, "{begin} {end}");
}

#[test]
fn columns_have_names() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let mut model = decay(3);
    model.columns = ["mass", "length", "age"].map(str::to_owned).to_vec();
    model.save(here.join("m.safetensors")).unwrap();
    let draw = |columns: &str| {
        let words = ["m.safetensors", "-n", "500", "--steps", "4", "--out", "p.png", "--columns", columns];
        let output = windfield(here, &words);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        output.status.success().then(|| std::fs::read(here.join("p.png")).unwrap()).ok_or(said)
    };
    assert_eq!(draw("age,mass").unwrap(), draw("2,0").unwrap());
    assert_ne!(draw("age,mass,length").unwrap(), draw("mass,length,age").unwrap());
    assert!(
        draw("age,weight").unwrap_err().contains("no column `weight`; --columns takes mass, length, age")
    );
}
