//! The float64 reference: for each shader a twin of the same name, written to
//! be compared with its formula by eye.
//!
//! Plain loops, plain sums, no padding, no tiles and no tricks: speed is not a
//! goal. A matrix is a row-major slice and its shape stands in a comment,
//! `// out: [B, H]`. B is the batch, I and O are the inputs and outputs of a
//! layer, D is the dimension of a point, K is the number of time frequencies.
//!
//! The twins are themselves judged by published vectors, finite differences,
//! closed forms, and PyTorch in float64 (`golden.rs`, made by `golden.py`).
//! An integration test includes them all by `mod reference;`.

#![allow(dead_code, reason = "each integration test uses its own part of the reference")]
#![allow(clippy::needless_range_loop, reason = "the loops carry the indices of the formulas")]
#![allow(clippy::many_single_char_names, reason = "the names are those of the formulas")]
#![allow(clippy::similar_names, reason = "the names are those of the formulas")]
#![allow(clippy::doc_markdown, reason = "the comments are full of formulas")]
#![allow(clippy::float_cmp, reason = "what is compared by == is exact")]
#![allow(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
#![allow(clippy::cast_possible_truncation, reason = "counts are far below 2^32")]

pub mod activation;
pub mod adamw;
pub mod adaptive;
pub mod assignment;
pub mod conditions;
pub mod conversions;
pub mod divergence;
pub mod draw;
pub mod gather;
#[rustfmt::skip]
pub mod golden;
pub mod gradient_norm;
pub mod integrator;
pub mod lic;
pub mod linear_backward_input;
pub mod linear_backward_weight;
pub mod linear_forward;
pub mod loss;
pub mod marginal;
pub mod mlp;
pub mod noise;
pub mod pairs;
pub mod path;
pub mod peak_bandwidth;
pub mod peak_flops;
pub mod philox;
pub mod sinkhorn;
pub mod splat;
pub mod train;

/// One line for each element of `got` that is not within `tolerance · max(1, |want|)` of `want`
/// (NaN never is), naming the tensor and the index. Tests collect these over everything that they
/// compare and assert once, so that a failure shows its whole pattern.
pub fn mismatches(name: &str, got: &[f64], want: &[f64], tolerance: f64) -> Vec<String> {
    if got.len() != want.len() {
        return vec![format!("{name}: {} elements, expected {}", got.len(), want.len())];
    }
    let mut lines = Vec::new();
    for (i, (&got, &want)) in got.iter().zip(want).enumerate() {
        let allowed = tolerance * want.abs().max(1.0);
        let close = (got - want).abs() <= allowed;
        if !close {
            lines.push(format!("{name}[{i}]: {got:e}, expected {want:e} within {allowed:.1e}"));
        }
    }
    lines
}

#[test]
fn mismatches_names_what_differs() {
    assert!(mismatches("x", &[1.0, 200.0], &[1.0 + 1e-9, 200.0 + 1e-7], 1e-8).is_empty());
    assert_eq!(mismatches("x", &[1.0, 2.0], &[1.0, 2.1], 1e-8).len(), 1);
    assert!(mismatches("x", &[1.0, 2.0], &[1.0, 2.1], 1e-8)[0].starts_with("x[1]"));
    assert_eq!(mismatches("x", &[f64::NAN], &[1.0], 1e9).len(), 1);
    assert_eq!(mismatches("x", &[1.0], &[f64::NAN], 1e9).len(), 1);
    assert_eq!(mismatches("x", &[1.0], &[1.0, 1.0], 1e9).len(), 1);
}
