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

/// What was measured of some kernels: asked for, at work, and how many steps, samples or likelihoods a second.
type Row = (String, String, Spread);

/// How much slower than `auto` kernels may be at first sight and still be measured well.
const HOPELESS: f64 = 0.5;

impl Bench {
    /// Finds the fastest kernels for a network: all take turns, and one has to be clearly faster than what `auto` comes to
    /// by its rules to be taken instead. Those that take more than twice as long at first sight get no second one.
    ///
    /// # Errors
    /// As of [`training`](Self::training).
    pub fn tune(&self, task: Task, shape: &Shape) -> Result<Trial> {
        // What `layered` comes to is among the others.
        let all: Vec<Kernels> =
            KERNELS.iter().map(|entry| entry.1).filter(|kernels| wanted(task, *kernels)).collect();
        let glance = Self { device: self.device.clone(), rounds: 1, time: self.time / 4, ..*self };
        let glances = glance.rows(task, shape, &all)?;
        let least = glances.first().map_or(0.0, |row| HOPELESS * row.2.median);
        let (close, far): (Vec<Row>, Vec<Row>) = glances.into_iter().partition(|row| row.2.median >= least);
        let close = close.iter().map(|row| row.0.parse()).collect::<Result<Vec<Kernels>>>()?;
        let rows = self.rows(task, shape, &close)?;
        let auto = rows.first().map_or_else(String::new, |row| row.1.clone());
        let (kernels, gain) = fastest(&rows);
        let rates = rows.into_iter().chain(far).map(|(asked, _, rate)| (asked, rate)).collect();
        let widths = Tuning::widths(&shape.architecture());
        let tuned = Tuned { task, widths, rows: task.rows(shape.rows, &self.device), kernels, gain };
        Ok(Trial { shape: *shape, auto, rates, tuned })
    }

    fn rows(&self, task: Task, shape: &Shape, kernels: &[Kernels]) -> Result<Vec<Row>> {
        Ok(match task {
            Task::Training => {
                let rows = self.training(shape, kernels)?.into_iter();
                rows.map(|row| (row.asked, row.kernels, row.steps_per_s)).collect()
            }
            Task::Sampling => {
                let rows = self.sampling(shape, kernels)?.into_iter();
                rows.map(|row| (row.asked, row.kernels, row.samples_per_s)).collect()
            }
            Task::Likelihood => {
                let rows = self.likelihood(shape, kernels)?.into_iter();
                rows.map(|row| (row.asked, row.kernels, row.likelihoods_per_s)).collect()
            }
        })
    }
}

fn wanted(task: Task, kernels: Kernels) -> bool {
    kernels != Kernels::Layered && (kernels != Kernels::Shared || task == Task::Sampling)
}

/// The fastest kernels, those of the first row unless others are clearly faster: all of their measurements beyond the
/// median of the first ones, and by 3 % in the median. And how much faster they are. Rows with the same kernels at work as
/// the first one are further measurements of that.
fn fastest(rows: &[Row]) -> (Kernels, f64) {
    let Some((_, auto, _)) = rows.first() else { return (Kernels::Auto, 1.0) };
    let (same, others): (Vec<&Row>, Vec<&Row>) = rows.iter().partition(|row| row.1 == *auto);
    let rules = same.iter().map(|row| row.2.median).fold(0.0, f64::max);
    others
        .into_iter()
        .filter(|(_, _, rate)| rate.median > 1.03 * rules && rate.min > rules)
        .max_by(|a, b| a.2.median.total_cmp(&b.2.median))
        .and_then(|(asked, _, rate)| Some((asked.parse().ok()?, rate.median / rules)))
        .unwrap_or((Kernels::Auto, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_have_to_be_clearly_faster() {
        let row = |asked: &str, at_work: &str, values: [f64; 3]| {
            (asked.to_owned(), at_work.to_owned(), Spread::of(values.to_vec()))
        };
        let auto = row("auto", "textures", [90.0, 100.0, 110.0]);
        let of = |others: &[Row]| fastest(&[std::slice::from_ref(&auto), others].concat());
        assert_eq!(of(&[]), (Kernels::Auto, 1.0));
        assert_eq!(fastest(&[]), (Kernels::Auto, 1.0));
        let slow = row("fused", "fused", [50.0, 60.0, 70.0]);
        let close = row("tiled", "tiled", [101.0, 102.0, 130.0]);
        let noisy = row("shared", "shared", [99.0, 200.0, 201.0]);
        let fast = row("buffers", "buffers", [121.0, 150.0, 151.0]);
        assert_eq!(of(&[slow.clone(), close.clone(), noisy.clone()]), (Kernels::Auto, 1.0));
        assert_eq!(of(&[slow, fast.clone(), close, noisy]), (Kernels::Buffers, 1.5));
        // The same kernels by another name: no gain, and a measure of what is one.
        let same = row("textures", "textures", [110.0, 120.0, 130.0]);
        assert_eq!(of(std::slice::from_ref(&same)), (Kernels::Auto, 1.0));
        assert_eq!(of(&[same, fast]), (Kernels::Buffers, 1.25));
    }
}
