//! Every kernel by itself against its float64 twin in `tests/reference`, without the shader compiler's checks and
//! with them, over sizes that include 1, primes and non-multiples of every tile.
//!
//! Tolerances are error bounds, not experience: a sum of n products in float32 is within (n + 1)·2⁻²⁴·Σ|terms| in
//! any order, and each comment says what else rounds.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "sizes are small"
)]
#![allow(clippy::float_cmp, reason = "bits are compared on purpose")]
#![allow(clippy::many_single_char_names, reason = "the names are those of the formulas")]

#[path = "../common/mod.rs"]
mod common;
#[path = "../reference/mod.rs"]
mod reference;

mod adaptive;
mod assignment;
mod conditions;
mod draw;
mod fused;
mod fused_gradient;
mod gather;
mod integrator;
mod lic;
mod linear;
mod loss;
mod marginal;
mod optimizer;
mod pairs;
mod path;
mod peak;
mod random;
mod sinkhorn;
mod splat;
mod stage;
mod structs;
