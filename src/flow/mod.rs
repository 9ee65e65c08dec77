//! The mathematics of flow matching as types and tables: probability paths, couplings, solvers and their time grids,
//! what a velocity stands for, its divergence; and the exact marginals of a data set.

mod assignment;
mod coupling;
mod diffusion;
mod divergence;
mod evaluation;
mod expression;
mod grid;
mod marginal;
mod path;
mod sinkhorn;
mod solver;

pub(crate) use assignment::{Assigner, assignment_variants, pair_cost};
pub use assignment::{Assignment, MOST_POINTS, Problem};
pub use coupling::{COUPLINGS, Coupling, CouplingEntry, DEFAULT_PAIRS};
pub use diffusion::Diffusion;
pub use divergence::{DIVERGENCES, Divergence, PROBE_DISTRIBUTIONS, ProbeDistribution};
pub use evaluation::{Evaluation, QUANTITIES, Quantity};
pub use expression::Expression;
pub use grid::{GRIDS, Grid};
pub(crate) use marginal::marginal_variants;
pub use marginal::{Field, Marginal, SLICE_ROWS, Slices, Spread};
pub use path::{PATHS, Path, PathFamily, PathParameter};
pub use sinkhorn::{
    DEFAULT_EPSILON, Drawing, Entropic, LEAST_EPSILON, MOST_ENTROPIC_POINTS, Sinkhorn, SinkhornOptions,
};
pub(crate) use sinkhorn::{SinkhornSolver, sinkhorn_variants};
pub use solver::{Method, SOLVERS, Solver};
