//! The mathematics of flow matching as types and tables: probability paths, couplings, solvers.

mod coupling;
mod expression;
mod path;
mod solver;

pub use coupling::{COUPLINGS, Coupling};
pub use expression::Expression;
pub use path::{PATHS, Path, PathFamily, PathParameter};
pub use solver::{SOLVERS, Solver};
