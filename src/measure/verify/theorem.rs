//! Theorem 2: the conditional loss has the gradient of the marginal one (eq. 7–9).

use super::statistics::{mean, norm, slope};
use super::{Outcome, Trained, Verifier};
use crate::Result;
use crate::flow::Marginal;
use crate::train::{Batch, Descent, Gradients};

/// Batches are of 2^this rows.
const SIZES: std::ops::RangeInclusive<u32> = 8..=15;
/// So many of each size.
const BATCHES: u32 = 16;
/// Steps that no training gets to, so that the batches are none that the model has seen.
const FIRST_STEP: u32 = 1 << 30;

/// Both gradients over batches of growing size.
pub(super) fn gradients(verifier: &Verifier) -> Result<Vec<Outcome>> {
    let Trained { model, data } = verifier.trained()?;
    let marginal = Marginal::new(&verifier.device, data, None, &model.path)?;
    theorem_2(verifier, verifier.trained()?, &marginal)
}

/// The slope of log ‖∇L_FM − ∇L_CFM‖ over log B, and the mean of the difference along the gradient. `marginal` gives
/// the targets of L_FM.
pub(super) fn theorem_2(verifier: &Verifier, trained: &Trained, marginal: &Marginal) -> Result<Vec<Outcome>> {
    let Trained { model, data } = trained;
    let mut step = FIRST_STEP;
    let mut direction: Vec<f64> = vec![];
    let mut length = 0.0;
    let (mut line, mut along) = (vec![], vec![]);
    // The largest first: its first gradient gives the direction.
    for exponent in SIZES.rev() {
        let rows = 1usize << exponent;
        let gradients = Gradients::new(&verifier.device, model, data, verifier.seed, rows)?;
        for _ in 0..BATCHES {
            verifier.go_on()?;
            let (_, conditional, exact) = both(&gradients, marginal, step)?;
            step += 1;
            if direction.is_empty() {
                direction = exact.gradient.iter().map(|&g| g.into()).collect();
                length = norm(direction.iter().copied());
                continue;
            }
            let difference: Vec<f64> = (conditional.gradient.iter().zip(&exact.gradient))
                .map(|(&conditional, &exact)| f64::from(conditional) - f64::from(exact))
                .collect();
            line.push(((rows as f64).ln(), norm(difference.iter().copied()).ln()));
            let product: f64 = difference.iter().zip(&direction).map(|(x, y)| x * y).sum();
            along.push((product / (length * length), rows as f64));
        }
    }
    Ok(vec![
        Outcome::interval("slope of log ‖∇L_FM − ∇L_CFM‖ over log B", slope(&line), -0.5, 0.05),
        Outcome::interval(
            "mean of ∇L_CFM − ∇L_FM along ∇L_FM, over its length",
            mean(along.iter().copied()),
            0.0,
            0.1,
        ),
    ])
}

/// The batch of a step, and the losses with their gradients over it: L_CFM, L_FM.
fn both(gradients: &Gradients, marginal: &Marginal, step: u32) -> Result<(f64, Descent, Descent)> {
    let Batch { dim, xt, ut, t, .. } = gradients.batch(step)?;
    let times: Vec<f64> = t.iter().map(|&t| t.into()).collect();
    let exact = marginal.field_at(&xt, &times)?.velocities;
    let square = |(u, v): (&f32, &f32)| (f64::from(*u) - f64::from(*v)).powi(2);
    let crossing = ut.iter().zip(&exact).map(square).sum::<f64>() / (ut.len() / dim) as f64;
    Ok((crossing, gradients.conditional(step)?, gradients.of(step, &exact)?))
}

/// Rows of a batch, and batches, of the losses.
const LOSS_ROWS: usize = 4096;
const LOSS_BATCHES: u32 = 32;

/// L_CFM − L_FM is C.
pub(super) fn losses(verifier: &Verifier) -> Result<Vec<Outcome>> {
    let Trained { model, data } = verifier.trained()?;
    let marginal = Marginal::new(&verifier.device, data, None, &model.path)?;
    identity(verifier, verifier.trained()?, &marginal)
}

/// The mean of L_CFM − L_FM, held against that of the crossing energy over the same batches.
pub(super) fn identity(verifier: &Verifier, trained: &Trained, marginal: &Marginal) -> Result<Vec<Outcome>> {
    let Trained { model, data } = trained;
    let gradients = Gradients::new(&verifier.device, model, data, verifier.seed, LOSS_ROWS)?;
    let (mut differences, mut energies) = (vec![], vec![]);
    for batch in 0..LOSS_BATCHES {
        verifier.go_on()?;
        let (crossing, conditional, exact) = both(&gradients, marginal, FIRST_STEP / 2 + batch)?;
        energies.push((crossing, 1.0));
        differences.push((conditional.loss - exact.loss - crossing, 1.0));
    }
    let energy = mean(energies.iter().copied()).value;
    let mut difference = mean(differences.iter().copied());
    // The two are of the same batches: the interval is that of their difference.
    difference.value += energy;
    Ok(vec![Outcome::interval(
        "L_CFM − L_FM against the crossing energy C",
        difference,
        energy,
        0.02 * energy,
    )])
}
