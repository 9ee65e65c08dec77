//! Training: batches, steps, checkpoints.

mod batch;
mod checkpoint;
mod coupling;
mod exact;
mod footprint;
mod fused;
mod gradients;
mod labels;
mod layout;
mod options;
mod trainer;
mod wave;

pub use batch::{Batch, BatchOptions};
pub(crate) use batch::{Pairs, draw_variant};
pub use checkpoint::Checkpoint;
pub(crate) use coupling::PairSolver;
pub(crate) use coupling::endpoints_variant;
pub use coupling::{CouplingReport, PairCost};
pub use exact::{ExactLoss, Floor};
pub use footprint::Footprint;
pub(crate) use fused::{Tile as FusedTile, fused_gradient_variant};
pub(crate) use gradients::{Descent, Gradients};
pub use layout::{Block, Chunk, Record, Schedule as ScheduleConstants, State, Wave};
pub use options::{SCHEDULES, Schedule, TrainOptions};
pub use trainer::{Outcome, Progress, Trainer, mean_loss};
pub(crate) use trainer::{adamw_variant, loss_variant, reduce_variant, step_variant};
pub(crate) use wave::gather_variant;
