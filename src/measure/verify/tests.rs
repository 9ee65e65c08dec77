//! Every check can fail: each is given something wrong, and what is right beside it.

use std::sync::OnceLock;

use super::*;
use crate::flow::{Marginal, Path, Solver};
use crate::gpu::DeviceOptions;

fn verifier() -> Verifier {
    static DEVICE: OnceLock<Device> = OnceLock::new();
    let device = DEVICE.get_or_init(|| {
        Device::open(&DeviceOptions::default())
            .unwrap_or_else(|error| panic!("these tests need a device: {error}"))
    });
    Verifier::new(device, 3)
}

fn named(name: &str) -> Path {
    Path::named(name).unwrap()
}

/// Whether each passed.
fn passed(outcomes: &[Outcome]) -> Vec<bool> {
    outcomes.iter().map(Outcome::passed).collect()
}

fn small(measured: f64, tolerance: f64) -> bool {
    Outcome::within("", measured, 0.0, tolerance).passed()
}

#[test]
fn outcomes_are_judged() {
    let within = |measured| Outcome::within("", measured, 1.0, 0.5).passed();
    assert!(within(1.5) && within(0.5) && !within(1.6) && !within(0.4));
    let at_least = |measured| Outcome::at_least("", measured, 1.0).passed();
    assert!(at_least(1.0) && !at_least(0.9));
    let interval = |value, half_width| {
        Outcome::interval("", statistics::Estimate { value, half_width }, -0.5, 0.05).passed()
    };
    assert!(interval(-0.48, 0.03) && !interval(-0.48, 0.01) && !interval(-0.48, 0.06));
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        assert!(!within(bad) && !at_least(bad) && !interval(bad, 0.03) && !interval(-0.5, bad), "{bad}");
    }
}

#[test]
fn a_wrong_derivative_is_seen() {
    let verifier = verifier();
    for (path, other) in [
        (named("poly:2"), named("poly:3")),
        (named("ot"), named("ot").with("sigma_min", 1e-3).unwrap()),
        (named("vp"), named("vp").with("beta_max", 20.1).unwrap()),
    ] {
        let error =
            |formulas: &Path| paths::theorem_3(&verifier, &path, &formulas.formulas().unwrap()).unwrap();
        assert!(small(error(&path), paths::ROUNDING), "{path:?}");
        assert!(!small(error(&other), paths::ROUNDING), "{path:?} taken for {other:?}");
    }
    let error = |sigma_min| paths::equation_13(&verifier, sigma_min).unwrap();
    assert!(small(error(f64::from(Path::SIGMA_MIN)), paths::ROUNDING));
    assert!(!small(error(1e-3), paths::ROUNDING));
}

#[test]
fn curved_paths_are_not_straight() {
    let verifier = verifier();
    let geometry = |name: &str| paths::geometry(&verifier, &named(name)).unwrap();
    assert_eq!(passed(&paths::straight(&geometry("ot"), "")), [true; 3]);
    // On straight lines, but from standing still.
    assert_eq!(passed(&paths::straight(&geometry("poly:2"), "")), [false, true, true]);
    assert_eq!(passed(&paths::straight(&geometry("vp"), "")), [false; 3]);
    assert_eq!(passed(&paths::curved(&geometry("vp"), "")), [true; 3]);
    assert_eq!(passed(&paths::curved(&geometry("ot"), "")), [false; 3]);
}

#[test]
fn another_width_is_seen() {
    let verifier = verifier();
    let (width, error) = fields::width(&verifier, 0.01, 0.01).unwrap();
    assert!(small(width - 1.0, fields::WIDTH) && small(error, fields::WIDTH), "{width} {error}");
    let (width, error) = fields::width(&verifier, 0.01, 0.010_01).unwrap();
    assert!(!small(width - 1.0, fields::WIDTH) && !small(error, fields::WIDTH), "{width} {error}");
}

#[test]
fn a_scaled_field_loses_mass() {
    let verifier = verifier();
    let data = Dataset::open("moons:16").unwrap();
    let path = named("cosine");
    let marginal = Marginal::new(&verifier.device, &data, None, &path).unwrap();
    let residual = |factor: f32| {
        fields::residual(&verifier, &data, &path, fields::FINEST, |x, t| {
            let mut field = marginal.field_at(x, t)?;
            field.velocities.iter_mut().for_each(|u| *u *= factor);
            Ok(field)
        })
        .unwrap()
    };
    assert!(small(residual(1.0), fields::RESIDUAL), "{}", residual(1.0));
    assert!(!small(residual(1.01), fields::RESIDUAL), "{}", residual(1.01));
}

#[test]
fn the_gradient_of_another_loss_is_seen() {
    let verifier = verifier();
    let trained = verifier.trained().unwrap();
    let outcomes = |path: &Path| {
        let marginal = Marginal::new(&verifier.device, &trained.data, None, path).unwrap();
        let field = |x: &[f32], t: &[f64]| Ok(marginal.field_at(x, t)?.velocities);
        let mut outcomes = theorem::theorem_2(&verifier, trained, &field).unwrap();
        outcomes.extend(theorem::identity(&verifier, trained, &field).unwrap());
        outcomes
    };
    let other = named("ot").with("sigma_min", 0.1).unwrap();
    assert_eq!(passed(&outcomes(&other)), [false; 3], "{:#?}", outcomes(&other));
}

#[test]
fn another_flow_is_seen() {
    let verifier = verifier();
    let flow = flows::TURNING;
    let mut other = flow;
    other.a[0][0] += 0.125;
    assert_eq!(passed(&flows::moments(&verifier, &flow, &flow).unwrap()), [true; 2]);
    assert_eq!(passed(&flows::moments(&verifier, &flow, &other).unwrap()), [false; 2]);
    assert_eq!(passed(&flows::densities(&verifier, &flow, &flow).unwrap()), [true; 4]);
    // Averaged over its own points, log p moves by the square of the change alone (the divergence of the two densities).
    other.a[0][0] += 0.375;
    let outcomes = flows::densities(&verifier, &flow, &other).unwrap();
    assert_eq!(passed(&outcomes), [false; 4], "{outcomes:#?}");
}

#[test]
fn a_worse_solver_is_seen() {
    let order = |name: &str| flows::order(&verifier(), Solver::named(name).unwrap()).unwrap();
    assert!((order("heun") - 2.0).abs() < flows::ORDER);
    assert!((order("euler") - 2.0).abs() > flows::ORDER);
}

#[test]
fn a_density_in_other_units_has_another_mass() {
    let verifier = verifier();
    let model = &verifier.trained().unwrap().model;
    assert!(model.standardization.is_some());
    assert_eq!(passed(&flows::integral(&verifier, model, false).unwrap()), [true; 3]);
    assert!(!flows::integral(&verifier, model, true).unwrap()[0].passed());
}

#[test]
fn an_end_can_be_asked_for() {
    let mut verifier = verifier();
    verifier.stop_when(|| true);
    for check in CHECKS {
        let ended = verifier.run(check);
        assert!(matches!(ended, Err(Error::Interrupted)), "{}: {ended:?}", check.name);
    }
}
