//! The theorems on the device of these tests. That each check can fail is tested beside them, in
//! src/measure/verify/tests.rs.

mod common;
mod reference;

use std::collections::BTreeSet;

use windfield::gpu::Habits;
use windfield::measure::verify::{CHECKS, Check, Verifier};

#[test]
fn every_check_passes() {
    let verifier = Verifier::new(common::device(), 0);
    let mut failed = vec![];
    for check in CHECKS {
        let outcomes = verifier.run(check).unwrap_or_else(|error| panic!("{}: {error}", check.name));
        assert!(!outcomes.is_empty(), "{}", check.name);
        failed.extend(outcomes.into_iter().filter(|outcome| !outcome.passed()));
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

/// With work laid out as for a GPU: matrices in buffers, gradients in slices, other tiles.
#[test]
fn theorems_hold_in_another_layout() {
    let loop_iterations = common::device().habits().loop_iterations;
    let device = common::device().with_habits(Habits { loop_iterations, ..Habits::HARDWARE });
    let verifier = Verifier::new(&device, 5);
    for name in ["velocity", "continuity", "losses", "likelihood", "mass"] {
        let outcomes = verifier.run(Check::named(name).expect("a check")).expect("a check that runs");
        let failed: Vec<_> = outcomes.iter().filter(|outcome| !outcome.passed()).collect();
        assert!(failed.is_empty(), "{failed:#?}");
    }
}

#[test]
fn the_same_seed_gives_the_same_numbers() {
    for name in ["velocity", "losses"] {
        let check = Check::named(name).expect("a check");
        let numbers = |seed| {
            let outcomes = Verifier::new(common::device(), seed).run(check).expect("a check that runs");
            outcomes.iter().map(|outcome| outcome.measured.to_bits()).collect::<Vec<_>>()
        };
        let first = numbers(1);
        assert_eq!(first, numbers(1), "{name}");
        assert_ne!(first, numbers(2), "{name}");
    }
}

#[test]
fn checks_are_found_by_their_names() {
    let names: BTreeSet<&str> = CHECKS.iter().map(|check| check.name).collect();
    assert_eq!(names.len(), CHECKS.len());
    for name in names {
        assert_eq!(Check::named(name).expect("a check").name, name);
    }
    let error = Check::named("gravity").expect_err("no check").to_string();
    assert!(
        error.contains("`gravity`") && error.contains("velocity") && error.lines().count() == 1,
        "{error}"
    );
}
