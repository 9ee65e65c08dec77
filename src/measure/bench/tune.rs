//! Which kernels are the fastest for a network.

use serde::{Deserialize, Serialize};

use super::{Bench, Shape, Spread};
use crate::Result;
use crate::model::{KERNELS, Kernels, Task, Tuned, Tuning};

/// The kernels that were tried for a network, and the fastest of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// The network and its rows.
    pub shape: Shape,
    /// What `auto` comes to by its rules.
    pub auto: String,
    /// Steps, samples or likelihoods a second of all that fit, `auto` first.
    pub rates: Vec<(String, Spread)>,
    /// What was found.
    pub tuned: Tuned,
}

impl Bench {
    /// Finds the fastest kernels for a network: all take turns, and one has to be clearly faster than what `auto` comes to
    /// by its rules to be taken instead.
    ///
    /// # Errors
    /// As of [`training`](Self::training).
    pub fn tune(&self, task: Task, shape: &Shape) -> Result<Trial> {
        // What `layered` comes to is among the others.
        let all: Vec<Kernels> =
            KERNELS.iter().map(|entry| entry.1).filter(|kernels| wanted(task, *kernels)).collect();
        let rows: Vec<(String, String, Spread)> = match task {
            Task::Training => self
                .training(shape, &all)?
                .into_iter()
                .map(|row| (row.asked, row.kernels, row.steps_per_s))
                .collect(),
            Task::Sampling => self
                .sampling(shape, &all)?
                .into_iter()
                .map(|row| (row.asked, row.kernels, row.samples_per_s))
                .collect(),
            Task::Likelihood => self
                .likelihood(shape, &all)?
                .into_iter()
                .map(|row| (row.asked, row.kernels, row.likelihoods_per_s))
                .collect(),
        };
        let auto = rows.first().map_or_else(|| Kernels::Auto.name().to_owned(), |row| row.1.clone());
        let rates: Vec<(String, Spread)> = rows.into_iter().map(|(asked, _, rate)| (asked, rate)).collect();
        let (kernels, gain) = fastest(&rates);
        let rows = task.rows(shape.rows, &self.device);
        let tuned = Tuned { task, widths: Tuning::widths(&shape.architecture()), rows, kernels, gain };
        Ok(Trial { shape: *shape, auto, rates, tuned })
    }
}

fn wanted(task: Task, kernels: Kernels) -> bool {
    kernels != Kernels::Layered && (kernels != Kernels::Shared || task == Task::Sampling)
}

/// The fastest kernels, the first ones unless others are clearly faster: all of their measurements beyond the median of the
/// first ones, and by 3 % in the median. And how much faster they are.
fn fastest(rates: &[(String, Spread)]) -> (Kernels, f64) {
    let Some((_, rules)) = rates.first() else { return (Kernels::Auto, 1.0) };
    let clear = |rate: &Spread| rate.median > 1.03 * rules.median && rate.min > rules.median;
    rates[1..]
        .iter()
        .filter(|(_, rate)| clear(rate))
        .max_by(|a, b| a.1.median.total_cmp(&b.1.median))
        .and_then(|(name, rate)| Some((name.parse().ok()?, rate.median / rules.median)))
        .unwrap_or((Kernels::Auto, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_have_to_be_clearly_faster() {
        let rate = |name: &str, values: [f64; 3]| (name.to_owned(), Spread::of(values.to_vec()));
        let auto = rate("auto", [90.0, 100.0, 110.0]);
        let of = |others: &[(String, Spread)]| fastest(&[std::slice::from_ref(&auto), others].concat());
        assert_eq!(of(&[]), (Kernels::Auto, 1.0));
        assert_eq!(fastest(&[]), (Kernels::Auto, 1.0));
        let (slow, close) = (rate("fused", [50.0, 60.0, 70.0]), rate("tiled", [101.0, 102.0, 130.0]));
        let (noisy, fast) = (rate("shared", [99.0, 200.0, 201.0]), rate("buffers", [101.0, 150.0, 151.0]));
        assert_eq!(of(&[slow.clone(), close.clone(), noisy.clone()]), (Kernels::Auto, 1.0));
        assert_eq!(of(&[slow, fast, close, noisy]), (Kernels::Buffers, 1.5));
    }
}
