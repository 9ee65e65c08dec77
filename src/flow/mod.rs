//! The mathematics of flow matching as types and tables: probability paths, couplings, solvers; and the exact
//! marginals of a data set.

mod coupling;
mod expression;
mod marginal;
mod path;
mod solver;

pub use coupling::{COUPLINGS, Coupling};
pub use expression::Expression;
pub(crate) use marginal::marginal_variants;
pub use marginal::{Field, Marginal, SLICE_ROWS, Slices};
pub use path::{PATHS, Path, PathFamily, PathParameter};
pub use solver::{SOLVERS, Solver};
