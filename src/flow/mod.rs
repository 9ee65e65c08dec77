//! The mathematics of flow matching as types and tables: probability paths, couplings, solvers.

mod coupling;
mod path;
mod solver;

pub use coupling::{COUPLINGS, Coupling};
pub use path::{PATHS, Path, PathFamily};
pub use solver::{SOLVERS, Solver};
