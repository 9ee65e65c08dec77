//! The optimiser: AdamW, its learning-rate schedule, and the average of the weights.
//!
//! Update number t = 1, 2, …, with the gradient g:
//!   p <- p·(1 − lr·λ)                                   decoupled decay, before the update
//!   m <- β1·m + (1 − β1)·g,   v <- β2·v + (1 − β2)·g²
//!   p <- p − lr·m̂ / (√v̂ + ε),   m̂ = m / (1 − β1ᵗ),   v̂ = v / (1 − β2ᵗ)
//! then the average of the weights:
//!   w̄ <- d·w̄ + (1 − d)·p,   d = min(decay, (1 + t)/(10 + t))
//!
//! The learning rate at step n = 0, 1, …, of N steps with W of warm-up, is lr·factor(n):
//!   (n + 1)/W                             while n < W
//!   1, or ½·(1 + cos(π·(n − W)/(N − W)))  from then on: constant, or cosine (0 after N)
//!
//! Sources: Kingma, Ba 2014; Loshchilov, Hutter 2017, as `torch.optim.AdamW` computes it;
//! Loshchilov, Hutter 2016 (cosine); the warm-up of the average is TensorFlow's.

use std::f64::consts::PI;

/// β1, β2 and ε.
pub const BETA1: f64 = 0.9;
pub const BETA2: f64 = 0.999;
pub const EPSILON: f64 = 1e-8;

/// The state of the optimiser.
#[derive(Debug, Clone, PartialEq)]
pub struct AdamW {
    /// λ
    pub weight_decay: f64,
    /// The number of updates made.
    pub updates: i32,
    /// m, as the parameters.
    pub first_moment: Vec<Vec<f64>>,
    /// v, as the parameters.
    pub second_moment: Vec<Vec<f64>>,
}

impl AdamW {
    /// The state before the first update.
    pub fn new(parameters: &[Vec<f64>], weight_decay: f64) -> Self {
        let zeros: Vec<Vec<f64>> = parameters.iter().map(|tensor| vec![0.0; tensor.len()]).collect();
        Self { weight_decay, updates: 0, first_moment: zeros.clone(), second_moment: zeros }
    }

    /// One update of all parameters. The gradients are those after clipping.
    pub fn update(&mut self, parameters: &mut [Vec<f64>], gradients: &[Vec<f64>], learning_rate: f64) {
        self.updates += 1;
        let correction1 = 1.0 - BETA1.powi(self.updates);
        let correction2 = 1.0 - BETA2.powi(self.updates);
        for tensor in 0..parameters.len() {
            for i in 0..parameters[tensor].len() {
                let g = gradients[tensor][i];
                let p = &mut parameters[tensor][i];
                let m = &mut self.first_moment[tensor][i];
                let v = &mut self.second_moment[tensor][i];
                *p *= 1.0 - learning_rate * self.weight_decay;
                *m = BETA1 * *m + (1.0 - BETA1) * g;
                *v = BETA2 * *v + (1.0 - BETA2) * g * g;
                *p -= learning_rate * (*m / correction1) / ((*v / correction2).sqrt() + EPSILON);
            }
        }
    }
}

/// How the learning rate goes on after the warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Schedule {
    Constant,
    Cosine,
}

/// The factor of the learning rate at step n.
pub fn schedule_factor(schedule: Schedule, n: usize, warmup: usize, steps: usize) -> f64 {
    if n < warmup {
        return (n + 1) as f64 / warmup as f64;
    }
    match schedule {
        Schedule::Constant => 1.0,
        Schedule::Cosine => {
            let length = steps.max(warmup + 1) - warmup;
            let progress = ((n - warmup) as f64 / length as f64).min(1.0);
            0.5 * (1.0 + (PI * progress).cos())
        }
    }
}

/// The decay of the average after the given number of updates (1 after the first).
pub fn ema_decay(decay: f64, updates: i32) -> f64 {
    decay.min(f64::from(1 + updates) / f64::from(10 + updates))
}

/// Moves the average of the weights towards the weights. A decay of 0 makes it the weights.
pub fn update_average(average: &mut [Vec<f64>], parameters: &[Vec<f64>], decay: f64, updates: i32) {
    let d = ema_decay(decay, updates);
    for (average, parameters) in average.iter_mut().flatten().zip(parameters.iter().flatten()) {
        *average = d * *average + (1.0 - d) * parameters;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::mismatches;

    #[test]
    fn the_first_update_by_hand() {
        // m̂ = g and v̂ = g², so p moves by lr·g/(|g| + ε): for ε << |g| by lr, for g = ε by lr/2.
        let mut parameters = vec![vec![2.0, -1.0], vec![0.5, 0.5]];
        let mut adam = AdamW::new(&parameters, 0.1);
        adam.update(&mut parameters, &[vec![4.0, -0.25], vec![0.0, EPSILON]], 0.01);
        let decayed = |p: f64| p * (1.0 - 0.01 * 0.1);
        let want = [
            decayed(2.0) - 0.01 * 4.0 / (4.0 + EPSILON),
            decayed(-1.0) + 0.01 * 0.25 / (0.25 + EPSILON),
            decayed(0.5),
            decayed(0.5) - 0.005,
        ];
        let mut failures = mismatches("p", &parameters.concat(), &want, 1e-15);
        failures.extend(mismatches("m", &adam.first_moment[0], &[0.4, -0.025], 1e-15));
        failures.extend(mismatches("v", &adam.second_moment[0], &[0.016, 6.25e-5], 1e-15));
        assert!(failures.is_empty(), "{failures:#?}");
        assert_eq!(adam.updates, 1);
    }

    #[test]
    fn a_second_update_by_hand() {
        // g = 1, then 3: m = 0.1, 0.39; v = 0.001, 0.009999.
        let mut parameters = vec![vec![1.0]];
        let mut adam = AdamW::new(&parameters, 0.0);
        adam.update(&mut parameters, &[vec![1.0]], 0.1);
        adam.update(&mut parameters, &[vec![3.0]], 0.2);
        let first = 0.1 / (1.0 + 1e-8);
        let second = 0.2 * (0.39 / 0.19) / ((0.009_999_f64 / 0.001_999).sqrt() + 1e-8);
        let failures = mismatches("p", &parameters[0], &[1.0 - first - second], 1e-12);
        assert!(failures.is_empty(), "{failures:#?}");
    }

    #[test]
    fn schedules_by_hand() {
        let factors = |schedule, warmup| -> Vec<f64> {
            (0..8).map(|n| schedule_factor(schedule, n, warmup, 8)).collect()
        };
        assert_eq!(factors(Schedule::Constant, 0), [1.0; 8]);
        assert_eq!(factors(Schedule::Constant, 4), [0.25, 0.5, 0.75, 1.0, 1.0, 1.0, 1.0, 1.0]);
        let r = 0.5f64.sqrt();
        let cosine = [0.25, 0.5, 0.75, 1.0, 1.0, 0.5 * (1.0 + r), 0.5, 0.5 * (1.0 - r)];
        let failures = mismatches("cosine", &factors(Schedule::Cosine, 4), &cosine, 1e-15);
        assert!(failures.is_empty(), "{failures:#?}");
        // Nothing is left for the cosine where the warm-up takes all steps.
        assert_eq!(schedule_factor(Schedule::Cosine, 7, 8, 8), 1.0);
        // Zero at its end, and beyond.
        assert_eq!(schedule_factor(Schedule::Cosine, 8, 4, 8), 0.0);
        assert_eq!(schedule_factor(Schedule::Cosine, 11, 4, 8), 0.0);
    }

    #[test]
    fn the_average_warms_up_to_its_decay() {
        assert_eq!(ema_decay(0.999, 1), 2.0 / 11.0);
        assert_eq!(ema_decay(0.999, 90), 0.91);
        assert_eq!(ema_decay(0.999, 100_000), 0.999);
        assert_eq!(ema_decay(0.1, 1), 0.1);
        let mut average = vec![vec![1.0], vec![-2.0]];
        update_average(&mut average, &[vec![12.0], vec![9.0]], 0.999, 1);
        let failures = mismatches("average", &average.concat(), &[10.0, 7.0], 1e-15);
        assert!(failures.is_empty(), "{failures:#?}");
        update_average(&mut average, &[vec![3.0], vec![4.0]], 0.0, 2);
        assert_eq!(average.concat(), [3.0, 4.0]);
    }
}
