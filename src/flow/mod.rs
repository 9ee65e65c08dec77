//! The mathematics of flow matching as types and tables: probability paths, couplings, solvers and their time grids,
//! what a velocity stands for, its divergence.

mod coupling;
mod diffusion;
mod divergence;
mod evaluation;
mod expression;
mod grid;
mod path;
mod solver;

pub use coupling::{COUPLINGS, Coupling};
pub use diffusion::Diffusion;
pub use divergence::{DIVERGENCES, Divergence, PROBE_DISTRIBUTIONS, ProbeDistribution};
pub use evaluation::{Evaluation, QUANTITIES, Quantity};
pub use expression::Expression;
pub use grid::{GRIDS, Grid};
pub use path::{PATHS, Path, PathFamily, PathParameter};
pub use solver::{Method, SOLVERS, Solver};
