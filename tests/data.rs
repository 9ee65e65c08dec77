//! The data layer: built-in densities against their closed forms, files of
//! points in all formats, and every kind of file that must be refused.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "the numbers here are small"
)]
#![allow(clippy::float_cmp, reason = "where values are compared exactly, exactly those bits are due")]

use std::f64::consts::{LN_2, PI, TAU};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use windfield::Error;
use windfield::data::{
    Array, ArrayWriter, Dataset, Standardization, built_in, default_columns, read_array, sources, write_array,
};
use windfield::files::{self, AtomicFile};

/// The message of an error that must be there: a single line that has all of `parts`.
#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T, Error>, parts: &[&str]) -> String {
    let message = match result {
        Ok(value) => panic!("accepted: {value:?}"),
        Err(error) => error.to_string(),
    };
    assert!(!message.contains(['\n', '\r']), "more than one line: {message:?}");
    assert!(message.len() < 500, "too long to read: {message:?}");
    for part in parts {
        assert!(message.contains(part), "no {part:?} in {message:?}");
    }
    message
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

/// Writes `content` as `name` into a fresh folder.
fn file(name: &str, content: impl AsRef<[u8]>) -> (tempfile::TempDir, PathBuf) {
    let folder = folder();
    let path = folder.path().join(name);
    fs::write(&path, content).expect("a file");
    (folder, path)
}

fn read(name: &str, content: impl AsRef<[u8]>) -> Result<Array, Error> {
    let (_folder, path) = file(name, content);
    read_array(path)
}

fn names(columns: &[&str]) -> Vec<String> {
    columns.iter().map(ToString::to_string).collect()
}

mod toys {
    use super::*;

    fn points(source: &str) -> Vec<Vec<f64>> {
        let data = Dataset::open(source).expect("a built-in source");
        data.values()
            .chunks_exact(data.dim())
            .map(|row| row.iter().map(|&x| f64::from(x)).collect())
            .collect()
    }

    /// The mean of `f` over the points, and its standard error.
    fn mean(points: &[Vec<f64>], f: impl Fn(&[f64]) -> f64) -> (f64, f64) {
        let values: Vec<f64> = points.iter().map(|p| f(p)).collect();
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n;
        (mean, (variance / n).sqrt())
    }

    /// Asserts an expectation to five standard errors.
    #[track_caller]
    fn expect(what: &str, (measured, error): (f64, f64), exact: f64) {
        // A floor for what float32 does to the points.
        let tolerance = 5.0 * error + 1e-6 * exact.abs().max(1.0);
        assert!((measured - exact).abs() < tolerance, "{what}: {measured} ± {error}, not {exact}");
    }

    /// The mean, and the mean square of the norm, of every density, in closed form.
    #[test]
    fn first_and_second_moments() {
        // E t² of the swiss roll, t uniform on [1.5π, 4.5π].
        let roll = 9.75 * PI * PI;
        // E t cos t and E t sin t over the same range.
        let (a, b) = (1.5 * PI, 4.5 * PI);
        let roll_x = ((b * b.sin() + b.cos()) - (a * a.sin() + a.cos())) / (3.0 * PI);
        let roll_z = ((b.sin() - b * b.cos()) - (a.sin() - a * a.cos())) / (3.0 * PI);
        // E cos t of the S-curve, t uniform on [-1.5π, 1.5π].
        let s_cos = -1.0 / (1.5 * PI);
        // E (1 - cos t)² and E sin² t.
        let s_z = 1.0 - 2.0 * s_cos + 0.5;
        // The spirals: E r² for r = 3π√u, and E over the arm of its linear terms with e uniform on [0, ½).
        let spiral = {
            let n = 200_000;
            let square = |i: i32| {
                let r = ((f64::from(i) + 0.5) / f64::from(n)).sqrt() * 3.0 * PI;
                r * r + 2.0 * 0.25 * (r * r.sin() - r * r.cos()) + 2.0 / 12.0
            };
            (0..n).map(square).sum::<f64>() / f64::from(n) / 9.0 + 2.0 * 0.01
        };
        // The torus: E ρ² and E z² under the density (R + r cos φ)/(2πR) of the tube's angle.
        let (major, minor) = (2.0_f64, 0.75_f64);
        let torus = major.powi(2) + 1.5 * minor.powi(2) + minor.powi(2) / 2.0;
        let moments: &[(&str, &[f64], f64)] = &[
            ("8gaussians", &[0.0, 0.0], 25.0 + 2.0),
            ("8gaussians-narrow", &[0.0, 0.0], 25.0 + 0.2),
            ("8gaussians-wide", &[0.0, 0.0], 144.0 + 4.5),
            ("moons", &[0.0, -0.5], 0.0), // the square: see `moons_noise`
            ("moons-wide", &[f64::NAN, f64::NAN], 2.0 * 49.0),
            ("checkerboard", &[0.0, 0.0], 2.0 * 16.0 / 12.0 / 0.45 / 0.45),
            ("spirals", &[0.0, 0.0], spiral),
            ("swissroll", &[roll_x / 5.0, roll_z / 5.0], (roll + 2.0) / 25.0),
            (
                "rings",
                &[0.0, 0.0],
                (0.75_f64.powi(2) + 2.25 + 2.25_f64.powi(2) + 9.0) / 4.0 + 2.0 * 0.08_f64.powi(2),
            ),
            ("pinwheel", &[0.0, 0.0], 4.0 * (1.0 + 0.09 + 0.01)),
            ("circles", &[0.0, 0.0], f64::midpoint(9.0, 2.25) + 2.0 * 0.24_f64.powi(2)),
            ("scurve", &[0.0, 0.0], 2.25 * (0.5 + s_z + 2.0 * 0.0025)),
            ("gaussian", &[0.0, 0.0], 2.0),
            ("swissroll3d", &[roll_x / 5.0, 0.0, roll_z / 5.0], (roll + 441.0 / 12.0 + 3.0 * 0.25) / 25.0),
            ("torus", &[0.0, 0.0, 0.0], torus + 3.0 * 0.0025),
            ("helix", &[0.0, 0.0, 0.0], 2.25 + 3.0 + 3.0 * 0.01),
            ("knot", &[0.0, 0.0, 0.0], 5.0 + 0.5 + 3.0 * 0.01),
        ];
        for toy in sources() {
            let Some((_, centre, square)) = moments.iter().find(|(name, ..)| *name == toy.name) else {
                panic!("no closed form for {}: add it to the table above", toy.name);
            };
            let points = points(toy.name);
            assert_eq!(points.len(), toy.points);
            assert_eq!(points[0].len(), toy.dim);
            for (axis, &exact) in centre.iter().enumerate().filter(|(_, c)| !c.is_nan()) {
                expect(&format!("{} mean {axis}", toy.name), mean(&points, |p| p[axis]), exact);
            }
            if *square > 0.0 {
                let measured = mean(&points, |p| p.iter().map(|x| x * x).sum());
                expect(&format!("{} mean square", toy.name), measured, *square);
            }
        }
    }

    #[test]
    fn eight_gaussians_have_their_entropy_and_equal_shares() {
        let points = points("8gaussians");
        let centres: Vec<_> =
            (0..8).map(|k| f64::from(k) * PI / 4.0).map(|a| [5.0 * a.cos(), 5.0 * a.sin()]).collect();
        let surprise = |p: &[f64]| {
            let density: f64 =
                centres.iter().map(|c| (-((p[0] - c[0]).powi(2) + (p[1] - c[1]).powi(2)) / 2.0).exp()).sum();
            -(density / (8.0 * TAU)).ln()
        };
        let (entropy, error) = mean(&points, surprise);
        assert!(error < 0.003, "{error}");
        assert!((entropy - 4.770).abs() < 4.0 * error, "{entropy} ± {error}");
        // Equal shares: the sector of the ring around each centre has an eighth,
        // with less scatter than independent draws would have.
        let mut sectors = [0i32; 8];
        for p in &points {
            sectors[(p[1].atan2(p[0]) / (PI / 4.0)).round().rem_euclid(8.0) as usize] += 1;
        }
        let scatter: f64 = sectors.iter().map(|&n| f64::from(n - 12_500).powi(2)).sum::<f64>() / 8.0;
        // Independent draws: 12500·7/8. Equal shares leave what strays over the borders, some 6 % of it.
        assert!(scatter < 12_500.0 * 7.0 / 8.0 / 2.0, "{sectors:?}");
    }

    #[test]
    fn checkerboard_is_uniform_on_its_squares() {
        assert!((-(0.45_f64 * 0.45 / 8.0).ln() - 3.6765).abs() < 5e-5);
        let points = points("checkerboard");
        // 4 × 4 cells in each of the eight squares.
        let mut cells = [[0u32; 16]; 16];
        for p in &points {
            let (x, y) = (p[0] * 0.45 + 2.0, p[1] * 0.45 + 2.0);
            assert!((-1e-6..=4.0 + 1e-6).contains(&x) && (-1e-6..=4.0 + 1e-6).contains(&y), "{p:?}");
            let cell = |v: f64| ((v * 4.0) as usize).min(15);
            cells[cell(x)][cell(y)] += 1;
        }
        let expected = points.len() as f64 / 128.0;
        let mut chi_square = 0.0;
        for (i, row) in cells.iter().enumerate() {
            for (j, &count) in row.iter().enumerate() {
                // The column [-2, -1) has its squares at [-2, -1) and [0, 1), the next one at the others.
                if (i / 4 + j / 4) % 2 == 0 {
                    chi_square += (f64::from(count) - expected).powi(2) / expected;
                } else {
                    // float32 may put a point of the border on the other side of it.
                    assert!(count < 3, "{count} points in the empty cell {i}, {j}");
                }
            }
        }
        // 127 degrees of freedom: mean 127, std 16.
        assert!((60.0..210.0).contains(&chi_square), "{chi_square}");
    }

    /// The point of the nearer moon that is next to `p`, in the units of scikit-learn.
    fn next_moon(p: &[f64]) -> f64 {
        let to_arc = |x: f64, y: f64| {
            // The arc is the upper half of the unit circle; beyond its ends, the ends are next.
            if y >= 0.0 { (x.hypot(y) - 1.0).abs() } else { (x.abs() - 1.0).hypot(y) }
        };
        let (x, y) = (f64::midpoint(p[0], 1.0), f64::midpoint(p[1], 1.0));
        to_arc(x, y).min(to_arc(x - 1.0, 0.5 - y))
    }

    #[test]
    fn moons_have_their_noise_and_entropy() {
        let points = points("moons");
        // Across the arc the noise has one dimension: E distance² = 0.05², a little
        // more at the four ends, whose share of the length is about 0.05/π each.
        let (square, error) = mean(&points, |p| next_moon(p).powi(2));
        assert!((square.sqrt() - 0.05).abs() < 1e-3, "{} ± {error}", square.sqrt());
        // Half of the points are on each moon.
        let upper = points.iter().filter(|p| {
            let (x, y) = (f64::midpoint(p[0], 1.0), f64::midpoint(p[1], 1.0));
            (x.hypot(y) - 1.0).abs() < ((x - 1.0).hypot(y - 0.5) - 1.0).abs()
        });
        let share = upper.count() as f64 / points.len() as f64;
        assert!((share - 0.5).abs() < 0.01, "{share}");

        // The density, by quadrature over the arcs: nodes 0.006 apart against a noise of 0.1.
        let (nodes, std) = (1024, 0.1);
        let arcs: Vec<_> = (0..nodes)
            .map(|i| (f64::from(i) + 0.5) * PI / f64::from(nodes))
            .flat_map(|a| [[a.cos(), a.sin()], [1.0 - a.cos(), 0.5 - a.sin()]])
            .map(|[x, y]| [2.0 * x - 1.0, 2.0 * y - 1.0])
            .collect();
        let some: Vec<_> = points.iter().step_by(10).cloned().collect();
        let (entropy, error) = mean(&some, |p| {
            let sum: f64 = arcs
                .iter()
                .map(|c| (-((p[0] - c[0]).powi(2) + (p[1] - c[1]).powi(2)) / (2.0 * std * std)).exp())
                .sum();
            -(sum / arcs.len() as f64 / (TAU * std * std)).ln()
        });
        assert!(error < 0.01, "{error}");
        let published = 0.294 + 2.0 * LN_2;
        assert!((entropy - published).abs() < 0.015, "{entropy} ± {error}, not {published}");
    }

    #[test]
    fn moons_wide_are_scaled_to_seven() {
        let points = points("moons-wide");
        let all = points.len() as f64 * 2.0;
        let mean = points.iter().flatten().sum::<f64>() / all;
        let std = (points.iter().flatten().map(|x| (x - mean).powi(2)).sum::<f64>() / (all - 1.0)).sqrt();
        assert!(mean.abs() < 1e-5 && (std - 7.0).abs() < 1e-5, "{mean} {std}");
        // Both coordinates share the scale: the moons stay wider than they are high.
        let spread = |axis: usize| points.iter().map(|p| p[axis].abs()).fold(0.0, f64::max);
        assert!(spread(0) > 1.5 * spread(1));
    }

    #[test]
    fn curves_are_where_they_should_be() {
        // Each distance to the noiseless shape is a noise of known deviation.
        for p in points("rings") {
            let r = p[0].hypot(p[1]) / 0.75;
            assert!((r - r.round()).abs() < 0.6 && (0.4..4.7).contains(&r), "{p:?}");
        }
        let (square, _) = mean(&points("circles"), |p| {
            let r = p[0].hypot(p[1]);
            (r - 3.0).abs().min((r - 1.5).abs()).powi(2)
        });
        assert!((square.sqrt() - 0.24).abs() < 0.01, "{}", square.sqrt());
        let tube = |p: &[f64]| ((p[0].hypot(p[1]) - 2.0).hypot(p[2]) - 0.75).powi(2);
        let (square, _) = mean(&points("torus"), tube);
        assert!((square.sqrt() - 0.05).abs() < 0.001, "{}", square.sqrt());
        // By area there is more outside than inside: E ρ = R + r²/(2R).
        expect(
            "torus radius",
            mean(&points("torus"), |p| p[0].hypot(p[1])),
            2.0 + 0.75 * 0.75 / 4.0 + 0.0025 / 4.0,
        );
        let off_helix = |p: &[f64]| (p[0].hypot(p[1]) - 1.5).powi(2);
        let (square, _) = mean(&points("helix"), off_helix);
        assert!((square.sqrt() - 0.1).abs() < 0.005, "{}", square.sqrt());
        // The five arms of the pinwheel have a fifth of the points each: no preferred direction.
        for k in [1.0, 2.0, 3.0, 4.0] {
            expect("pinwheel", mean(&points("pinwheel"), |p| (k * p[1].atan2(p[0])).cos()), 0.0);
        }
        expect("gaussian x⁴", mean(&points("gaussian"), |p| p[0].powi(4)), 3.0);
        expect("gaussian xy", mean(&points("gaussian"), |p| p[0] * p[1]), 0.0);
        expect("gaussian x²y²", mean(&points("gaussian"), |p| (p[0] * p[1]).powi(2)), 1.0);
    }

    /// These are the bits that everyone has, on every platform; a change of a
    /// recipe is a change of the data and must be meant.
    #[test]
    fn the_bits_are_fixed() {
        let expected = [
            ("8gaussians", "xxh3-128:bde70f36fe6686de9eef6777fd1b464e"),
            ("8gaussians-narrow", "xxh3-128:4827679d77609e849ffa56324a60c90c"),
            ("8gaussians-wide", "xxh3-128:47b660a5fa363f9eb3b391f28a948cb3"),
            ("moons", "xxh3-128:8d86e620e2025419231bff8c4a5d34c0"),
            ("moons-wide", "xxh3-128:cbf5d7d21e2093b485845557a44321a7"),
            ("checkerboard", "xxh3-128:98f23131d4c88e8c2556aa6e98f64722"),
            ("spirals", "xxh3-128:a78768e200b6cc74a05614b662e87b0a"),
            ("swissroll", "xxh3-128:c373c9284bfd09b4561a316dfb59d858"),
            ("rings", "xxh3-128:aafc9f8da42a791de25e3c43933825e8"),
            ("pinwheel", "xxh3-128:19d996f8518b0dd248929b542ab4e7eb"),
            ("circles", "xxh3-128:58846ff62ab7f0d8deef76ed6cd64f47"),
            ("scurve", "xxh3-128:7a70cada59f3506f04f49765133b5c55"),
            ("gaussian", "xxh3-128:bee6354fc0be43d7e10467f740111229"),
            ("swissroll3d", "xxh3-128:de5e21e40efce266d7982d5367a939a0"),
            ("torus", "xxh3-128:e7eef6ee56691b67d9c7bd7e293a897f"),
            ("helix", "xxh3-128:f4911535fed60928f4eefcbfaf0d6889"),
            ("knot", "xxh3-128:67e93034b7162b6cd93a259d9be42f9e"),
        ];
        let found: Vec<_> = sources()
            .iter()
            .map(|toy| {
                (toy.name, Dataset::open(&format!("{}:1000", toy.name)).expect("a source").fingerprint())
            })
            .collect();
        let found: Vec<_> = found.iter().map(|(name, print)| (*name, print.as_str())).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn seeds_and_counts() {
        for toy in sources() {
            let source = format!("{}:37", toy.name);
            let a = Dataset::open_seeded(&source, 1).expect("points");
            let b = Dataset::open_seeded(&source, 1).expect("points");
            let c = Dataset::open_seeded(&source, 2).expect("points");
            assert_eq!((a.rows(), a.dim(), a.name()), (37, toy.dim, source.as_str()));
            assert_eq!(a, b);
            assert_ne!(a.fingerprint(), c.fingerprint(), "{}", toy.name);
            // The smallest sets, where halves and quarters are empty.
            for n in 1..10 {
                let data = Dataset::open(&format!("{}:{n}", toy.name)).expect("points");
                assert_eq!(data.rows(), n);
            }
        }
    }

    #[test]
    fn the_table_is_in_order() {
        let all: Vec<_> = built_in().collect();
        for (i, (name, help)) in all.iter().enumerate() {
            assert!(!help.is_empty() && !help.contains('\n'));
            assert!(!name.contains([':', '.', '/']), "{name} could not be told from a file or a count");
            assert!(!all[..i].iter().any(|(other, _)| other == name), "{name} is there twice");
        }
        assert!(all.iter().any(|(name, _)| *name == "digits"));
    }

    #[test]
    fn wrong_sources_are_refused() {
        let all =
            refused(Dataset::open("moon"), &["moon: there is no data source of this name", "checkerboard"]);
        assert!(all.contains("digits") && all.contains(".npy"));
        for count in ["0", "-1", "x", "", "1.5", "99999999999999999999", "100000001"] {
            refused(
                Dataset::open(&format!("moons:{count}")),
                &["is not a number of points", "1 to 100000000"],
            );
        }
        refused(Dataset::open("digits:1798"), &["'1798'", "1 to 1797"]);
        refused(Dataset::open("nowhere/points.csv"), &["cannot read nowhere/points.csv"]);
        refused(Dataset::open("points.xlsx"), &["points.xlsx", ".xlsx", ".npy, .csv, .tsv or .parquet"]);
        refused(Dataset::open(""), &["no data source"]);
        refused(Dataset::open("two\nlines"), &["two\\nlines"]);
    }
}

mod digits {
    use super::*;

    #[test]
    fn they_are_the_published_ones() {
        let data = Dataset::open("digits").expect("the bundled digits");
        assert_eq!((data.rows(), data.dim()), (1797, 64));
        let image = data.image().expect("images");
        assert_eq!((image.height, image.width, image.channels), (8, 8, 1));
        assert!(data.values().iter().all(|&x| (0.0..=16.0).contains(&x) && x.fract() == 0.0));
        // The first image of the published file, a zero.
        assert_eq!(data.row(0)[..16], [0., 0., 5., 13., 9., 1., 0., 0., 0., 0., 13., 15., 10., 15., 5., 0.]);
        let [labels] = data.labels() else { panic!("one label") };
        assert_eq!(labels.values()[..12], [0., 1., 2., 3., 4., 5., 6., 7., 8., 9., 0., 1.]);
        let mut counts = [0; 10];
        for &label in labels.values() {
            counts[label as usize] += 1;
        }
        // As the repository's page says for the test set.
        assert_eq!(counts, [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]);
        assert_eq!((labels.label().name.as_str(), labels.label().classes().len()), ("digit", 10));
        assert_eq!(data.fingerprint(), "xxh3-128:bd3bf06531ebe48225299bdcac957912");
        assert_eq!(data.columns()[63], "pixel_7_7");
        // Constant pixels, such as the first column of the images, must not divide by zero.
        let scale = data.standardization();
        let mut values = data.values().to_vec();
        scale.apply(&mut values);
        assert!(values.iter().all(|x| x.is_finite()));
        assert!(scale.std.contains(&1.0));
    }

    #[test]
    fn a_part_keeps_its_labels() {
        let data = Dataset::open("digits:100").expect("digits");
        assert_eq!(data.rows(), 100);
        assert_eq!(data.labels()[0].values().len(), 100);
        let part = data.select(&[7, 3, 3]);
        assert_eq!(part.labels()[0].values(), [7., 3., 3.]);
        assert_eq!(part.row(2), data.row(3));
        let spread = data.spread(4);
        assert_eq!(spread.labels()[0].values()[1], data.labels()[0].values()[25]);
        assert_eq!((data.spread(1000).rows(), data.head(0).rows()), (100, 1));
    }
}

mod dataset {
    use super::*;

    #[test]
    fn rows_are_checked() {
        refused(Dataset::from_rows("p", vec![], 2), &["p: the data set is empty"]);
        refused(Dataset::from_rows("p", vec![1.0], 0), &["empty"]);
        refused(Dataset::from_rows("p", vec![1.0; 5], 2), &["5 values are not whole rows of 2"]);
        refused(Dataset::from_rows("p", vec![1., 2., 3., f32::NAN], 2), &["row 1, column 'y' is NaN"]);
        refused(Dataset::from_rows("p", vec![f32::INFINITY, 2.], 1), &["row 0, column 'x' is inf"]);
    }

    #[test]
    fn fingerprints_tell_content_and_shape_apart() {
        let print =
            |values: Vec<f32>, dim| Dataset::from_rows("any", values, dim).expect("rows").fingerprint();
        assert_eq!(print(vec![1., 2., 3., 4.], 2), print(vec![1., 2., 3., 4.], 2));
        assert_ne!(print(vec![1., 2., 3., 4.], 2), print(vec![1., 2., 3., 4.], 4));
        assert_ne!(print(vec![1., 2., 3., 4.], 2), print(vec![1., 2., 4., 3.], 2));
        assert_ne!(print(vec![0.0], 1), print(vec![-0.0], 1));
        // Longer than the buffer in which it is hashed.
        let long = |last: f32| {
            let mut values = vec![0.5; 100_001];
            values[100_000] = last;
            print(values, 1)
        };
        assert_ne!(long(1.0), long(2.0));
    }

    #[test]
    fn standardization_is_of_the_population() {
        let scale = Standardization::of(&[1., 10., 3., 10., 5., 10., 7., 10.], 2);
        assert_eq!(scale.mean, [4.0, 10.0]);
        assert_eq!(scale.std, [5.0_f64.sqrt(), 1.0]);
        let mut row = [4.0, 12.0];
        scale.apply(&mut row);
        assert_eq!(row, [0.0, 2.0]);
        scale.undo(&mut row);
        assert_eq!(row, [4.0, 12.0]);
        assert!((scale.log_volume() - 5.0_f64.ln() / 2.0).abs() < 1e-15);
    }

    #[test]
    fn a_constant_column_is_shifted_and_not_scaled() {
        // A hundred thousand tenths: their float64 mean need not be the float32 tenth.
        let data = Dataset::from_rows("tenths", vec![0.1; 100_000], 1).expect("rows");
        let scale = data.standardization();
        assert_eq!((scale.mean[0], scale.std[0]), (f64::from(0.1_f32), 1.0));
        let mut values = data.values().to_vec();
        scale.apply(&mut values);
        assert!(values.iter().all(|&x| x == 0.0));
    }

    #[test]
    fn standardization_keeps_small_deviations_on_large_means() {
        // 2²⁰ ± 1: a sum of squares in one pass, or in float32, would lose it.
        let values: Vec<f32> = (0..1_000_001).map(|i| 1_048_576.0 + [-1.0, 1.0, 0.0][i % 3]).collect();
        let scale = Standardization::of(&values, 1);
        assert!((scale.std[0] - (2.0_f64 / 3.0).sqrt()).abs() < 1e-6, "{scale:?}");
        assert!((scale.mean[0] - 1_048_576.0).abs() < 1e-5, "{scale:?}");
    }

    #[test]
    fn standardization_goes_through_json() {
        let scale = Dataset::open("moons:100").expect("moons").standardization();
        let json = serde_json::to_string(&scale).expect("json");
        assert!(json.starts_with(r#"{"mean":["#) && json.contains(r#""std":["#), "{json}");
        assert_eq!(serde_json::from_str::<Standardization>(&json).expect("json"), scale);
    }

    proptest! {
        #[test]
        fn standardized_columns_have_mean_0_and_std_1(
            values in prop::collection::vec(-1e6f32..1e6, 6..300),
            dim in 1usize..4,
        ) {
            let rows = values.len() / dim;
            let mut values = values[..rows * dim].to_vec();
            let before = values.clone();
            let scale = Standardization::of(&values, dim);
            scale.apply(&mut values);
            for column in 0..dim {
                let xs: Vec<f64> = values.iter().skip(column).step_by(dim).map(|&x| f64::from(x)).collect();
                let mean = xs.iter().sum::<f64>() / rows as f64;
                let std = (xs.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / rows as f64).sqrt();
                prop_assert!(mean.abs() < 1e-5);
                prop_assert!((std - 1.0).abs() < 1e-4 || std == 0.0);
            }
            scale.undo(&mut values);
            for (a, b) in values.iter().zip(&before) {
                prop_assert!((a - b).abs() <= 1.0, "{} {}", a, b);
            }
        }
    }
}

mod writing {
    use super::*;

    #[test]
    fn a_file_is_there_whole_or_not_at_all() {
        let folder = folder();
        let path = folder.path().join("new/deep/file.txt");
        files::write_bytes(&path, "first").expect("parents are created");
        let failed: Result<(), Error> = files::write_atomically(&path, |file| {
            std::io::Write::write_all(file, b"sec").map_err(|e| files::write_error(&path, e))?;
            Err(Error::config("it broke off", "try again"))
        });
        refused(failed, &["it broke off"]);
        assert_eq!(fs::read_to_string(&path).expect("the file"), "first");
        drop(AtomicFile::create(&path).expect("a file"));
        assert_eq!(
            fs::read_dir(path.parent().expect("folder")).expect("folder").count(),
            1,
            "a temporary file stays"
        );
        files::write_bytes(&path, "second").expect("replaced");
        assert_eq!(fs::read_to_string(&path).expect("the file"), "second");
    }

    #[test]
    fn what_cannot_be_written_is_said_in_one_line() {
        let (folder, path) = file("plain.txt", "x");
        refused(files::write_bytes(folder.path(), "x"), &["cannot write", "directory"]);
        refused(files::write_bytes("", "x"), &["cannot write"]);
        refused(files::write_bytes(path.join("below.txt"), "x"), &["plain.txt"]);
    }

    #[cfg(unix)]
    #[test]
    fn permissions_are_those_of_any_new_file() {
        use std::os::unix::fs::PermissionsExt;
        let folder = folder();
        let (ours, plain) = (folder.path().join("ours"), folder.path().join("plain"));
        files::write_bytes(&ours, "x").expect("written");
        fs::write(&plain, "x").expect("written");
        let mode = |path: &Path| fs::metadata(path).expect("metadata").permissions().mode();
        assert_eq!(mode(&ours), mode(&plain));
    }

    #[test]
    fn extensions_and_shapes_are_checked() {
        let folder = folder();
        let create = |name: &str, shape: &[usize], columns: &[&str]| {
            ArrayWriter::create(folder.path().join(name), shape, &names(columns)).map(|_| ())
        };
        refused(create("a.txt", &[1, 1], &["x"]), &["a.txt", ".npy, .csv, .tsv or .parquet"]);
        refused(create("a", &[1, 1], &["x"]), &["no extension"]);
        refused(create("a.csv", &[2, 3, 2], &["x", "y"]), &["[2, 3, 2]", "write it to a .npy file"]);
        refused(create("a.csv", &[2, 3], &["x", "y"]), &["2 column names were given for 3 columns"]);
        refused(create("a.npy", &[2, 0], &[]), &["empty rows"]);
        refused(create("a.npy", &[], &[]), &["without extents"]);
        assert_eq!(fs::read_dir(folder.path()).expect("folder").count(), 0);
    }

    #[test]
    fn the_number_of_rows_is_kept() {
        for name in formats() {
            let folder = folder();
            let path = folder.path().join(name);
            let writer = || ArrayWriter::create(&path, &[2, 2], &names(&["x", "y"])).expect("a writer");
            let mut short = writer();
            short.write_rows(&[1., 2.]).expect("a row");
            refused(short.finish(), &["2 rows were announced", "1 were written"]);
            let mut long = writer();
            refused(long.write_rows(&[0.0; 6]), &["2 rows were announced", "3 more"]);
            refused(writer().write_rows(&[0.0; 3]), &["3 values are not whole rows of 2"]);
            drop(long);
            assert_eq!(
                fs::read_dir(folder.path()).expect("folder").count(),
                0,
                "{name} left something behind"
            );
        }
    }

    #[test]
    fn trajectories_go_to_npy() {
        let folder = folder();
        let path = folder.path().join("t.npy");
        let values: Vec<f32> = (0..24u8).map(f32::from).collect();
        let mut writer = ArrayWriter::create(&path, &[4, 3, 2], &[]).expect("a writer");
        writer.write_rows(&values[..6]).expect("rows");
        writer.write_rows(&values[6..]).expect("rows");
        writer.finish().expect("finished");
        let array = read_array(&path).expect("the array");
        assert_eq!((array.shape, array.values), (vec![4, 3, 2], values));
        let header = fs::read(&path).expect("the file");
        assert_eq!(&header[..8], b"\x93NUMPY\x01\x00");
        assert_eq!((header.len() - 24 * 4) % 64, 0, "NumPy aligns the data");
    }

    #[test]
    fn a_single_column_may_be_flat() {
        for name in formats() {
            let folder = folder();
            let path = folder.path().join(name);
            write_array(&path, &[3], &names(&["log_p"]), &[-1.5, 2.0, 0.25]).expect("written");
            let array = read_array(&path).expect("read");
            assert_eq!((array.shape, array.values), (vec![3, 1], vec![-1.5, 2.0, 0.25]));
        }
    }

    #[test]
    fn text_is_short_and_exact() {
        let folder = folder();
        let path = folder.path().join("t.csv");
        let values = [0.1, -0.0, 1e-30, 1.5e30, 16_777_216.0, f32::MIN_POSITIVE];
        write_array(&path, &[3, 2], &names(&["a", "b,c"]), &values).expect("written");
        let text = fs::read_to_string(&path).expect("text");
        assert_eq!(text, "a,\"b,c\"\n0.1,-0.0\n1e-30,1.5e30\n16777216.0,1.1754944e-38\n");
        assert_eq!(read_array(&path).expect("read").columns, Some(names(&["a", "b,c"])));
        let tabs = folder.path().join("t.tsv");
        write_array(&tabs, &[1, 2], &names(&["a", "b"]), &[1.0, 2.0]).expect("written");
        assert_eq!(fs::read_to_string(&tabs).expect("text"), "a\tb\n1.0\t2.0\n");
    }
}

/// A file name of each format that this build has.
fn formats() -> &'static [&'static str] {
    if cfg!(feature = "parquet") {
        &["a.npy", "a.csv", "a.tsv", "a.parquet"]
    } else {
        &["a.npy", "a.csv", "a.tsv"]
    }
}

proptest! {
    #[test]
    fn every_finite_value_survives_every_format(
        bits in prop::collection::vec(any::<u32>(), 1..120),
        dim in 1usize..6,
        chunk in 1usize..7,
    ) {
        let mut values: Vec<f32> = bits.into_iter().map(f32::from_bits).filter(|x| x.is_finite()).collect();
        values.resize(values.len().next_multiple_of(dim).max(dim), -0.0);
        let rows = values.len() / dim;
        // A first line of 0, 1, 2, … could be taken for names, were there no header.
        let columns = default_columns(dim);
        let folder = folder();
        for name in formats() {
            let path = folder.path().join(name);
            let mut writer = ArrayWriter::create(&path, &[rows, dim], &columns).expect("a writer");
            for rows in values.chunks(chunk * dim) {
                writer.write_rows(rows).expect("rows");
            }
            writer.finish().expect("finished");
            let array = read_array(&path).expect("read back");
            prop_assert_eq!(&array.shape, &[rows, dim]);
            let same = array.values.iter().zip(&values).all(|(a, b)| a.to_bits() == b.to_bits());
            prop_assert!(same, "{}: {:?} is not {:?}", name, array.values, values);
            if *name != "a.npy" {
                prop_assert_eq!(array.columns.as_deref(), Some(&columns[..]));
            }
            // As numbers, whether a column happens to be constant or not.
            let data = Dataset::open_as(path.to_str().expect("UTF-8"), None).expect("a data set");
            prop_assert_eq!((data.rows(), data.dim()), (rows, dim));
        }
    }

    #[test]
    fn any_bytes_are_text_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Err(error) = read("t.csv", &bytes) {
            prop_assert!(!error.to_string().contains('\n'));
        }
    }

    #[test]
    fn any_table_like_text_is_read_or_refused(text in "([0-9.,;|\t \"e#naxy\r-]{0,12}\n){0,8}") {
        if let Err(error) = read("t.csv", &text) {
            prop_assert!(!error.to_string().contains('\n'));
        }
    }
}

mod csv {
    use super::*;

    #[track_caller]
    fn table(text: impl AsRef<[u8]>) -> (Vec<String>, Vec<usize>, Vec<f32>) {
        let array = read("t.csv", text).expect("a table");
        (array.columns.expect("names"), array.shape, array.values)
    }

    #[test]
    fn delimiters_are_found_out() {
        let expected = (names(&["a", "b"]), vec![2, 2], vec![1.0, 2.5, -3.0, 4e2]);
        for (delimiter, what) in [
            (",", "comma"),
            (";", "semicolon"),
            ("\t", "tab"),
            ("|", "bar"),
            (" ", "blank"),
            (", ", "comma and blank"),
        ] {
            let text = format!("a{delimiter}b\n1{delimiter}2.5\n-3{delimiter}4e2\n");
            assert_eq!(table(&text), expected, "{what}");
            assert_eq!(table(text.trim_end()), expected, "{what}, no end of line");
            assert_eq!(table(text.replace('\n', "\r\n")), expected, "{what}, CRLF");
            assert_eq!(table(text.replace('\n', "\r")), expected, "{what}, CR");
            assert_eq!(table(format!("\u{feff}{text}")), expected, "{what}, byte-order mark");
            assert_eq!(table(text.replace('\n', "\n\n")), expected, "{what}, blank lines");
            assert_eq!(table(format!("# a comment, of; some kind\n{text}")), expected, "{what}, comment");
        }
        assert_eq!(table("a   b\n  1   2.5  \n-3\t4e2\n"), expected);
        assert_eq!(table("\"a\",\"b\"\n\"1\",2.5\n-3,\"4e2\"\n"), expected);
        assert_eq!(table("a\n1\n2\n"), (names(&["a"]), vec![2, 1], vec![1.0, 2.0]));
        // Blanks inside names are no delimiters.
        assert_eq!(table("petal width,petal length\n1,2\n").0, names(&["petal width", "petal length"]));
        assert_eq!(read("t.tsv", "a\tb\n1\t2\n").expect("a table").values, [1.0, 2.0]);
    }

    #[test]
    fn headers_are_found_out() {
        assert_eq!(table("1,2\n3,4\n"), (names(&["x", "y"]), vec![2, 2], vec![1., 2., 3., 4.]));
        assert_eq!(table("1,2,3,4\n").0, names(&["x0", "x1", "x2", "x3"]));
        assert_eq!(table("city,2019,2020\n1,2,3\n").0, names(&["city", "2019", "2020"]));
        // What pandas writes for columns that were never named …
        assert_eq!(table("0,1\n0.5,1e-3\n").1, [1, 2]);
        // … and rows that only look like it.
        assert_eq!(table("0,1\n2,3\n").1, [2, 2]);
        assert_eq!(table("0\n0.5\n").1, [2, 1]);
    }

    #[test]
    fn the_last_line_beyond_the_sniffed_part_is_read_too() {
        let mut text = String::from("x;y\n");
        for i in 0..20_000 {
            writeln!(text, "{i};{}.25", 2 * i).expect("text");
        }
        let (_, shape, values) = table(&text);
        assert_eq!(shape, [20_000, 2]);
        assert_eq!(values[39_998..], [19_999.0, 39_998.25]);
        text += "1;oops\n";
        refused(read("t.csv", &text), &["line 20002, column 'y'", "'oops' is not a number"]);
    }

    #[test]
    fn what_is_no_number_is_refused_by_line_and_column() {
        let cases: &[(&str, &[&str])] = &[
            (
                "id,species\n1,setosa\n2,virginica\n",
                &["line 2, column 'species'", "'setosa' is not a number", "remove the column"],
            ),
            ("a,b\n1,2\n3,x\n", &["line 3, column 'b'", "'x' is not a number"]),
            ("\n\na,b\n\n1,2\n\n3,x\n", &["line 7, column 'b'"]),
            ("# note\r\na,b\r\n1,2\r\n3,x\r\n", &["line 4, column 'b'"]),
            ("a b\n\n1 2\n# note\n3 x\n", &["line 5, column 'b'"]),
            ("1.0,abc\n2.0,def\n", &["line 1, column 2", "'abc'"]),
            ("a,b\n1,\n", &["line 2, column 'b'", "a value is missing", "fill it in"]),
            ("a,b\n1,NA\n", &["line 2, column 'b'", "a value is missing ('NA')"]),
            ("a,b\n1,nan\n", &["line 2, column 'b'", "missing ('nan')"]),
            ("a\n\"\"\n1\n", &["line 2, column 'a'", "missing"]),
            ("a,b\ninf,2\n", &["line 2, column 'a'", "'inf' is not finite"]),
            ("a,b\n1,-Infinity\n", &["line 2, column 'b'", "not finite"]),
            ("a,b\n1,1e39\n", &["line 2, column 'b'", "1e39 is too large for float32"]),
            ("a,b\n1,1e999\n", &["line 2, column 'b'", "too large for float32"]),
            ("a;b\n1,5;2,25\n", &["line 2, column 'a'", "'1,5' has a decimal comma"]),
            ("a,b\n1,2\n3\n", &["line 3", "1 field, but the header has 2"]),
            ("a,b\n1,2\n3,4,5\n", &["line 3", "3 fields, but the header has 2"]),
            ("1,2\n3,4,x\n", &["line 2", "3 fields, but the first line has 2"]),
            ("1 2\n3 4 5\n", &["line 2", "3 fields, but the first line has 2"]),
            ("", &["the file holds no rows"]),
            ("\n \n# only a note\n", &["the file holds no rows"]),
            ("\u{feff}", &["the file holds no rows"]),
            ("a,b\n", &["a header but no rows"]),
            ("a,b", &["a header but no rows"]),
            (",a\n0,1\n", &["line 1", "column 1 has no name", "index=False"]),
            ("a,a\n0,1\n", &["line 1", "two columns are called 'a'"]),
            ("a,b\n1,\"2\n3\"\n", &["line 3", "1 field, but the header has 2"]),
            ("a\n\"2\n3\"\n", &["line 3, column 'a'", "'3\"' is not a number"]),
            ("a\n\"x\ty\"\n", &["line 2, column 'a'", "'x\\ty' is not a number"]),
            ("a,b\n1,\u{0}\n", &["line 2, column 'b'", "'\\u{0}' is not a number"]),
        ];
        for (text, parts) in cases {
            let message = refused(read("t.csv", text), parts);
            assert!(message.contains("t.csv"), "{message}");
        }
        let long = format!("a\n{}\n", "x".repeat(100_000));
        refused(read("t.csv", long), &["line 2, column 'a'", "…"]);
        refused(read("t.csv", b"\xff\xfe1\0,\x002\0\n\0"), &["UTF-16", "save it as UTF-8"]);
        refused(read("t.csv", b"a,b\n1,\xff\xff\n"), &["line 2, column 'b'", "is not a number"]);
    }

    #[test]
    fn a_folder_is_no_file() {
        let folder = folder();
        for name in formats() {
            let path = folder.path().join(name);
            fs::create_dir(&path).expect("a folder");
            refused(read_array(&path), &["cannot read", name]);
        }
    }

    #[test]
    fn every_cut_is_read_or_refused() {
        let whole = "x,y\n1.5,-2e3\n\"3\",4\n5,6\n";
        for cut in 0..whole.len() {
            match read("t.csv", &whole[..cut]) {
                Ok(array) => assert_eq!(array.values.len(), array.rows() * array.row_len()),
                Err(error) => assert!(!error.to_string().contains('\n')),
            }
        }
    }
}

mod npy {
    use super::*;

    /// A `.npy` file of version 1 with the header `dict` and the bytes `data`.
    fn npy(dict: &str, data: impl IntoIterator<Item = u8>) -> Vec<u8> {
        let mut file = b"\x93NUMPY\x01\x00".to_vec();
        let padding = (64 - (10 + dict.len() + 1) % 64) % 64;
        file.extend(u16::try_from(dict.len() + padding + 1).expect("a short header").to_le_bytes());
        file.extend(dict.bytes());
        file.extend(std::iter::repeat_n(b' ', padding));
        file.push(b'\n');
        file.extend(data);
        file
    }

    fn dict(descr: &str, fortran: bool, shape: &str) -> String {
        let order = if fortran { "True" } else { "False" };
        format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}")
    }

    /// The numbers 1 to 6 in the given type.
    fn six(descr: &str) -> Vec<u8> {
        (1..=6u8)
            .flat_map(|i| match descr {
                "<f4" => f32::from(i).to_le_bytes().to_vec(),
                ">f4" => f32::from(i).to_be_bytes().to_vec(),
                "<f8" => f64::from(i).to_le_bytes().to_vec(),
                ">f8" => f64::from(i).to_be_bytes().to_vec(),
                "|i1" | "|u1" => vec![i],
                "<i2" | "<u2" => u16::from(i).to_le_bytes().to_vec(),
                ">i2" => u16::from(i).to_be_bytes().to_vec(),
                "<i4" | "<u4" => u32::from(i).to_le_bytes().to_vec(),
                ">u4" => u32::from(i).to_be_bytes().to_vec(),
                "<i8" | "<u8" => u64::from(i).to_le_bytes().to_vec(),
                ">i8" => u64::from(i).to_be_bytes().to_vec(),
                other => panic!("{other}"),
            })
            .collect()
    }

    #[test]
    fn types_orders_and_shapes() {
        for descr in [
            "<f4", ">f4", "<f8", ">f8", "|i1", "|u1", "<i2", ">i2", "<u2", "<i4", "<u4", ">u4", "<i8", "<u8",
            ">i8",
        ] {
            let array = read("a.npy", npy(&dict(descr, false, "(3, 2)"), six(descr))).expect(descr);
            assert_eq!((array.shape, array.values), (vec![3, 2], vec![1., 2., 3., 4., 5., 6.]), "{descr}");
            let array = read("a.npy", npy(&dict(descr, true, "(3, 2)"), six(descr))).expect(descr);
            assert_eq!((array.shape, array.values), (vec![3, 2], vec![1., 4., 2., 5., 3., 6.]), "{descr}");
        }
        let array = read("a.npy", npy(&dict("<f4", true, "(1, 2, 3)"), six("<f4"))).expect("Fortran, 3-D");
        assert_eq!(array.values, [1., 3., 5., 2., 4., 6.]);
        let array = read("a.npy", npy(&dict("<f4", false, "(6,)"), six("<f4"))).expect("1-D");
        assert_eq!(array.shape, [6, 1]);
        let array = read("a.npy", npy(&dict("|b1", false, "(2, 1)"), [0, 1])).expect("booleans");
        assert_eq!(array.values, [0.0, 1.0]);
        let array =
            read("a.npy", npy(&dict("<i2", false, "(1, 1)"), (-7i16).to_le_bytes())).expect("negative");
        assert_eq!(array.values, [-7.0]);
    }

    #[test]
    fn newer_versions_of_the_format() {
        for version in [2, 3] {
            let mut file = npy(&dict("<f4", false, "(3, 2)"), six("<f4"));
            file[6] = version;
            file.splice(10..10, [0, 0]);
            assert_eq!(read("a.npy", &file).expect("an array").shape, [3, 2]);
            file[6] = 9;
            refused(read("a.npy", &file), &["unsupported version"]);
        }
    }

    #[test]
    fn stacks_of_images() {
        let open = |shape: &str, count: u32| {
            let (_folder, path) = file("a.npy", npy(&dict("|u1", false, shape), (0..count).map(|i| i as u8)));
            Dataset::open(path.to_str().expect("UTF-8"))
        };
        let grey = open("(2, 3, 5)", 30).expect("images");
        assert_eq!((grey.rows(), grey.dim(), grey.columns()[14].as_str()), (2, 15, "x14"));
        let image = grey.image().expect("a shape");
        assert_eq!((image.height, image.width, image.channels), (3, 5, 1));
        let image = open("(2, 4, 5, 3)", 120).expect("images").image().expect("a shape");
        assert_eq!((image.height, image.width, image.channels), (4, 5, 3));
        assert_eq!(open("(4, 5)", 20).expect("a table").image(), None);
        refused(open("(2, 3, 5, 6)", 180), &["channels first", "transpose(0, 2, 3, 1)"]);
        refused(open("(2, 2, 2, 2, 2)", 32), &["[2, 2, 2, 2, 2]", "reshape it to [n, d]"]);
        refused(open("(2, 5, 5, 7)", 350), &["reshape it to [n, d]"]);
    }

    #[test]
    fn what_is_no_array_of_numbers_is_refused() {
        let f4 = |shape: &str, n: usize| npy(&dict("<f4", false, shape), vec![0; n]);
        let cases: &[(Vec<u8>, &[&str])] = &[
            (vec![], &["the file is empty"]),
            (b"hello".to_vec(), &["not a .npy file"]),
            (b"PK\x03\x04 this is a zip archive".to_vec(), &["not a .npy file", "\\x93NUMPY"]),
            (npy(&dict("|O", false, "(3,)"), [0; 40]), &["Python objects", "astype(numpy.float32)"]),
            (npy(&dict("<U3", false, "(3,)"), [0; 36]), &["elements of type '<U3' are not read"]),
            (npy(&dict("<f2", false, "(3,)"), [0; 6]), &["'<f2'", "astype(numpy.float32)"]),
            (npy(&dict("<c8", false, "(3,)"), [0; 24]), &["'<c8'"]),
            (npy(&dict("<M8[ns]", false, "(3,)"), [0; 24]), &["<M8[ns]"]),
            (
                npy("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }", [0; 4]),
                &["structured array"],
            ),
            (f4("(0, 2)", 0), &["shape (0, 2) has no elements"]),
            (f4("(2, 0)", 0), &["shape (2, 0) has no elements"]),
            (f4("()", 4), &["a single number"]),
            (f4("(3, 2)", 23), &["cut short", "shape (3, 2)", "152 bytes, but there are 151"]),
            (f4("(3, 2)", 25), &["longer than its header says"]),
            (f4("(1000000, 1000000)", 8), &["cut short"]),
            (f4("(4294967296, 4294967296)", 0), &["beyond any memory"]),
            (f4("(0, 9223372036854775808, 4)", 0), &["beyond any memory"]),
            (f4("(99999999999999999999999999, 2)", 8), &["beyond any memory"]),
            (f4("(-1, 2)", 8), &["negative"]),
            (f4("'no'", 8), &["header of the .npy file is broken"]),
            (npy("not a dict", [0; 8]), &["header of the .npy file is broken"]),
            (npy("{'descr': '<f4'}", [0; 8]), &["header of the .npy file is broken"]),
            (npy(&"(".repeat(60_000), [0; 8]), &["nested too deeply"]),
        ];
        for (bytes, parts) in cases {
            refused(read("a.npy", bytes), parts);
        }
        let mut endless = f4("(1,)", 4);
        endless[6] = 2;
        endless[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
        refused(read("a.npy", endless), &["too long"]);
    }

    #[test]
    fn what_is_not_finite_is_refused_by_its_index() {
        let with = |values: [f64; 6], fortran| {
            let data: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
            read("a.npy", npy(&dict("<f8", fortran, "(3, 2)"), data))
        };
        refused(with([0., 1., 2., 3., f64::NAN, 5.], false), &["element [2, 0] is NaN", "remove or replace"]);
        refused(with([0., 1., 2., 3., f64::NAN, 5.], true), &["element [1, 1] is NaN"]);
        refused(with([0., f64::INFINITY, 2., 3., 4., 5.], false), &["element [0, 1] is infinite"]);
        refused(with([1e39, 1., 2., 3., 4., 5.], false), &["element [0, 0] is too large for float32"]);
        // The largest that rounds to a finite float32, and a subnormal.
        assert!(with([3.402_823_4e38, 1e-45, 0., 0., 0., 0.], false).is_ok());
    }

    #[test]
    fn every_cut_is_refused() {
        let whole = npy(&dict("<f4", false, "(3, 2)"), six("<f4"));
        for cut in 0..whole.len() {
            refused(read("a.npy", &whole[..cut]), &["a.npy"]);
        }
    }

    #[test]
    fn every_changed_byte_is_read_or_refused() {
        let whole = npy(&dict("<f4", false, "(3, 2)"), six("<f4"));
        for at in 0..whole.len() {
            for bit in 0..8 {
                let mut changed = whole.clone();
                changed[at] ^= 1 << bit;
                if let Err(error) = read("a.npy", &changed) {
                    assert!(!error.to_string().contains('\n'), "{error}");
                }
            }
        }
    }
}

#[cfg(feature = "parquet")]
mod parquet {
    use std::sync::Arc;

    use ::parquet::basic::Compression;
    use ::parquet::data_type::{
        BoolType, ByteArray, ByteArrayType, DoubleType, FloatType, Int32Type, Int64Type,
    };
    use ::parquet::file::properties::WriterProperties;
    use ::parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
    use ::parquet::schema::parser::parse_message_type;

    use super::*;

    type Fill<'a> = &'a dyn Fn(usize, usize, &mut SerializedColumnWriter<'_>);

    /// A file of `groups` row groups, whose columns `fill(group, column, writer)` writes.
    fn parquet(schema: &str, groups: usize, compression: Compression, fill: Fill<'_>) -> Vec<u8> {
        let schema = Arc::new(parse_message_type(schema).expect("a schema"));
        let properties = Arc::new(WriterProperties::builder().set_compression(compression).build());
        let mut writer = SerializedFileWriter::new(Vec::new(), schema, properties).expect("a writer");
        for g in 0..groups {
            let mut group = writer.next_row_group().expect("a group");
            let mut c = 0;
            while let Some(mut column) = group.next_column().expect("a column") {
                fill(g, c, &mut column);
                column.close().expect("a column");
                c += 1;
            }
            group.close().expect("a group");
        }
        writer.into_inner().expect("a file")
    }

    #[test]
    fn numeric_columns_of_every_type() {
        let schema = "message m { REQUIRED FLOAT f; REQUIRED DOUBLE d; REQUIRED INT32 i; REQUIRED INT64 l; \
                      REQUIRED BOOLEAN b; OPTIONAL FLOAT o; REQUIRED INT32 u (UINT_8); REQUIRED INT32 w (UINT_32); }";
        let fill = |g: usize, c: usize, column: &mut SerializedColumnWriter<'_>| {
            let x = 10 * i32::try_from(g).expect("few groups");
            let wrote = match c {
                0 => column.typed::<FloatType>().write_batch(&[x as f32, 0.5], None, None),
                1 => column.typed::<DoubleType>().write_batch(&[f64::from(x), 0.25], None, None),
                2 => column.typed::<Int32Type>().write_batch(&[x, -3], None, None),
                3 => column.typed::<Int64Type>().write_batch(&[i64::from(x), 1 << 40], None, None),
                4 => column.typed::<BoolType>().write_batch(&[true, false], None, None),
                5 => column.typed::<FloatType>().write_batch(&[x as f32, 7.0], Some(&[1, 1]), None),
                6 => column.typed::<Int32Type>().write_batch(&[x, 255], None, None),
                _ => column.typed::<Int32Type>().write_batch(&[x, -1], None, None),
            };
            assert_eq!(wrote.expect("written"), 2);
        };
        for compression in [Compression::UNCOMPRESSED, Compression::SNAPPY] {
            let array = read("t.parquet", parquet(schema, 2, compression, &fill)).expect("a table");
            assert_eq!(array.columns, Some(names(&["f", "d", "i", "l", "b", "o", "u", "w"])));
            assert_eq!(array.shape, [4, 8]);
            let large = 4_294_967_295_u32 as f32;
            let second = [0.5, 0.25, -3.0, 1_099_511_627_776.0, 0.0, 7.0, 255.0, large];
            assert_eq!(array.values[..8], [0., 0., 0., 0., 1., 0., 0., 0.]);
            assert_eq!(array.values[8..16], second);
            assert_eq!(array.values[16..24], [10., 10., 10., 10., 1., 10., 10., 10.]);
            assert_eq!(array.values[24..], second);
        }
    }

    #[test]
    fn what_is_no_number_is_refused_by_column() {
        let text = |_: usize, c: usize, column: &mut SerializedColumnWriter<'_>| {
            let wrote = match c {
                0 => column.typed::<FloatType>().write_batch(&[1.0], None, None),
                _ => column.typed::<ByteArrayType>().write_batch(&[ByteArray::from("setosa")], None, None),
            };
            wrote.expect("written");
        };
        let plain = Compression::UNCOMPRESSED;
        let table =
            parquet("message m { REQUIRED FLOAT x; REQUIRED BINARY species (UTF8); }", 1, plain, &text);
        refused(read("t.parquet", table), &["t.parquet, column 'species'", "text", "remove the column"]);

        let nulls = |g: usize, _: usize, column: &mut SerializedColumnWriter<'_>| {
            let levels: &[i16] = if g == 0 { &[1, 1, 1] } else { &[1, 0, 1] };
            let values: &[f32] = if g == 0 { &[1.0, 2.0, 3.0] } else { &[4.0, 6.0] };
            column.typed::<FloatType>().write_batch(values, Some(levels), None).expect("written");
        };
        let table = parquet("message m { OPTIONAL FLOAT y; }", 2, plain, &nulls);
        refused(read("t.parquet", table), &["column 'y'", "row 4 is null", "fill it in"]);

        let doubles = |bad: f64| {
            parquet("message m { REQUIRED DOUBLE z; }", 1, plain, &move |_, _, column| {
                column.typed::<DoubleType>().write_batch(&[0.0, bad], None, None).expect("written");
            })
        };
        refused(read("t.parquet", doubles(f64::NAN)), &["column 'z'", "row 1 is NaN"]);
        refused(read("t.parquet", doubles(f64::NEG_INFINITY)), &["row 1 is infinite"]);
        refused(read("t.parquet", doubles(-1e300)), &["row 1 is too large for float32"]);

        let int = |schema: &str| {
            parquet(schema, 1, plain, &|_, _, column| {
                column.typed::<Int32Type>().write_batch(&[1], None, None).expect("written");
            })
        };
        refused(read("t.parquet", int("message m { REQUIRED INT32 day (DATE); }")), &["'day'", "dates"]);
        refused(
            read("t.parquet", int("message m { REQUIRED INT32 p (DECIMAL(4, 2)); }")),
            &["'p'", "decimals"],
        );
        refused(read("t.parquet", int("message m { REQUIRED INT32 __index_level_0__; }")), &["index=False"]);
        let nested =
            parquet("message m { REQUIRED GROUP g { REQUIRED INT32 a; } }", 1, plain, &|_, _, column| {
                column.typed::<Int32Type>().write_batch(&[1], None, None).expect("written");
            });
        refused(read("t.parquet", nested), &["'g.a'", "nested"]);

        let empty = parquet("message m { REQUIRED FLOAT x; }", 0, plain, &|_, _, _| {});
        refused(read("t.parquet", empty), &["the table has no rows"]);
        refused(read("t.parquet", ""), &["the file is empty"]);
        refused(read("t.parquet", "a,b\n1,2\n"), &["not a whole .parquet file"]);
    }

    fn small() -> Vec<u8> {
        let folder = folder();
        let path = folder.path().join("t.parquet");
        write_array(&path, &[3, 2], &names(&["x", "y"]), &[1., 2., 3., 4., 5., 6.]).expect("written");
        fs::read(path).expect("the file")
    }

    #[test]
    fn every_cut_is_refused() {
        let whole = small();
        for cut in 0..whole.len() {
            refused(read("t.parquet", &whole[..cut]), &["t.parquet"]);
        }
    }

    #[test]
    fn every_changed_byte_is_read_or_refused() {
        let whole = small();
        for at in 0..whole.len() {
            for change in [0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80, 0xff] {
                let mut changed = whole.clone();
                changed[at] ^= change;
                if let Err(error) = read("t.parquet", &changed) {
                    assert!(!error.to_string().contains('\n'), "{error}");
                }
            }
        }
    }
}

#[cfg(not(feature = "parquet"))]
#[test]
fn without_the_feature_parquet_is_refused() {
    refused(read("t.parquet", "PAR1"), &["no support for .parquet", "--features parquet"]);
    let create = ArrayWriter::create("t.parquet", &[1, 1], &names(&["x"])).map(|_| ());
    refused(create, &["no support for .parquet"]);
}
