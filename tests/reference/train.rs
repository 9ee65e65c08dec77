//! A training run in float64 over given batches from given weights: the judge of the device's.
//!
//! Step n: features, forward, loss and gradients under the weights before update n; the gradient's
//! norm and its clipping; AdamW at the learning rate of step n; the average of the weights.

use super::adamw::{AdamW, Schedule, schedule_factor, update_average};
use super::draw::{self, features};
use super::gradient_norm::{clip_coefficient, gradient_norm};
use super::mlp::Mlp;

/// What a step trains on.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    // xt: [B, D]
    pub xt: Vec<f64>,
    // t: [B]
    pub t: Vec<f64>,
    // ut: [B, D]
    pub ut: Vec<f64>,
}

impl From<draw::Batch> for Batch {
    fn from(batch: draw::Batch) -> Self {
        Self { xt: batch.xt, t: batch.t, ut: batch.ut }
    }
}

/// The settings of a run. A 0 switches off: `warmup`, `weight_decay`, `clip`, `ema`.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// K
    pub time_frequencies: usize,
    pub learning_rate: f64,
    pub schedule: Schedule,
    pub warmup: usize,
    /// N, the whole run that the cosine spans; fewer batches may be given.
    pub steps: usize,
    pub weight_decay: f64,
    pub clip: f64,
    pub ema: f64,
}

impl Settings {
    /// Plain Adam: constant learning rate, everything else off.
    pub fn plain(time_frequencies: usize, learning_rate: f64) -> Self {
        Self {
            time_frequencies,
            learning_rate,
            schedule: Schedule::Constant,
            warmup: 0,
            steps: 0,
            weight_decay: 0.0,
            clip: 0.0,
            ema: 0.0,
        }
    }
}

/// What a run gives. Entry n of the lists belongs to step n.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// The loss of batch n under the weights before update n.
    pub losses: Vec<f64>,
    /// The gradient's norm before clipping.
    pub gradient_norms: Vec<f64>,
    pub learning_rates: Vec<f64>,
    /// The weights after the last update.
    pub weights: Mlp,
    /// Their average: the weights to sample with.
    pub average: Mlp,
    /// The moments after the last update.
    pub optimizer: AdamW,
}

/// Trains.
pub fn train(initial: &Mlp, settings: &Settings, batches: impl IntoIterator<Item = Batch>) -> Run {
    let mut run = Run {
        losses: vec![],
        gradient_norms: vec![],
        learning_rates: vec![],
        weights: initial.clone(),
        average: initial.clone(),
        optimizer: AdamW::new(&initial.parameters, settings.weight_decay),
    };
    for (n, Batch { xt, t, ut }) in batches.into_iter().enumerate() {
        let batch = t.len();
        let dim = xt.len() / batch;
        let x = features(&xt, &t, dim, settings.time_frequencies);
        let mut gradients = run.weights.gradients(&x, &ut, batch);

        let norm = gradient_norm(&gradients.parameters);
        let coefficient = clip_coefficient(norm, settings.clip);
        gradients.parameters.iter_mut().flatten().for_each(|g| *g *= coefficient);

        let factor = schedule_factor(settings.schedule, n, settings.warmup, settings.steps);
        let learning_rate = settings.learning_rate * factor;
        run.optimizer.update(&mut run.weights.parameters, &gradients.parameters, learning_rate);
        let updates = run.optimizer.updates;
        update_average(&mut run.average.parameters, &run.weights.parameters, settings.ema, updates);

        run.losses.push(gradients.loss);
        run.gradient_norms.push(norm);
        run.learning_rates.push(learning_rate);
    }
    run
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::activation::ACTIVATIONS;
    use crate::reference::draw::{Draw, draw};
    use crate::reference::path::ot;
    use crate::reference::{golden, mismatches};

    /// What `golden.py` calls `wave`: numbers without a pattern that matters, the same in any language.
    fn wave(count: usize, phase: f64) -> Vec<f64> {
        (0..count).map(|i| (12.9898 * i as f64 + phase).sin()).collect()
    }

    #[test]
    fn runs_are_those_of_pytorch() {
        let (dim, batch) = (2, golden::BATCH);
        let settings = Settings {
            time_frequencies: golden::TIME_FREQUENCIES,
            learning_rate: golden::LEARNING_RATE,
            schedule: Schedule::Cosine,
            warmup: golden::WARMUP,
            steps: golden::STEPS,
            weight_decay: golden::WEIGHT_DECAY,
            clip: golden::CLIP,
            ema: golden::EMA,
        };
        let sizes: Vec<usize> = golden::WIDTHS.windows(2).flat_map(|w| [w[1] * w[0], w[1]]).collect();
        let initial: Vec<Vec<f64>> =
            sizes.iter().enumerate().map(|(tensor, &size)| wave(size, tensor as f64)).collect();
        let batches = (0..golden::STEPS).map(|step| Batch {
            xt: wave(batch * dim, 100.0 + step as f64),
            t: wave(batch, 200.0 + step as f64).iter().map(|w| 0.5 + 0.5 * w).collect(),
            ut: wave(batch * dim, 300.0 + step as f64).iter().map(|w| 3.0 * w).collect(),
        });

        let mut failures = vec![];
        for (activation, want) in ACTIVATIONS.into_iter().zip(golden::RUNS) {
            assert_eq!(activation.name(), want.activation);
            let run =
                train(&Mlp::new(&golden::WIDTHS, activation, initial.clone()), &settings, batches.clone());
            let mut check = |name: &str, got: &[f64], expected: &[f64]| {
                failures.extend(mismatches(&format!("{} {name}", want.activation), got, expected, 1e-12));
            };
            check("losses", &run.losses, &want.losses);
            check("gradient norms", &run.gradient_norms, &want.gradient_norms);
            check("learning rates", &run.learning_rates, &golden::LEARNING_RATES);
            check("weights", &run.weights.parameters.concat(), &want.weights);
            check("average", &run.average.parameters.concat(), &want.average);
            // Both sides of the clipping must have been walked.
            assert!(want.gradient_norms.iter().any(|&norm| norm > golden::CLIP));
            assert!(want.gradient_norms.iter().any(|&norm| norm < golden::CLIP));
        }
        assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
    }

    #[test]
    fn a_run_learns_and_switches_are_off_at_zero() {
        // With a single point for data the paths never cross, and the loss has no floor.
        let data = [2.0, -1.0];
        let path = ot(1e-5);
        let batches = (0..300).map(|step| {
            draw(&Draw {
                seed: 1,
                step,
                batch: 32,
                dim: 2,
                data: &data,
                source: None,
                path: &path,
                t_max: 1.0,
                noise: 0.0,
            })
            .into()
        });
        let initial = Mlp::random(&[2 + 1 + 2, 16, 2], crate::reference::activation::Activation::Silu, 1);
        let settings = Settings::plain(1, 1e-2);
        let run = train(&initial, &settings, batches.clone());
        let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
        let (start, end) = (mean(&run.losses[..20]), mean(&run.losses[280..]));
        assert!(end < 0.4 * start, "the loss went from {start} to {end}");
        assert_eq!(run.average, run.weights, "without an average the weights are what one samples with");
        assert!(run.learning_rates.iter().all(|&lr| lr == 1e-2));

        // A prefix of the batches gives a prefix of the run.
        let shorter = train(&initial, &settings, batches.clone().take(10));
        assert_eq!(shorter.losses, run.losses[..10]);
        // A clip that is never reached changes nothing.
        let clipped = train(&initial, &Settings { clip: 1e9, ..settings }, batches.take(10));
        assert_eq!(clipped.weights, shorter.weights);
    }
}
