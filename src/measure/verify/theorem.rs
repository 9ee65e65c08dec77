//! Theorem 2: the conditional loss has the gradient of the marginal one (eq. 7–9).

use super::statistics::{growth, mean, norm};
use super::{Outcome, Trained, Verifier};
use crate::Result;
use crate::flow::Marginal;
use crate::train::{Batch, Descent, Gradients};

/// Batches are of 2^this rows.
const SIZES: std::ops::RangeInclusive<u32> = 8..=15;
/// So many of each size.
const BATCHES: u32 = 40;
/// Steps that no training gets to, so that the batches are none that the model has seen.
const FIRST_STEP: u32 = 1 << 30;

/// Velocities [n, d] at points [n, d], each at its own time [n].
type Field<'a> = &'a dyn Fn(&[f32], &[f64]) -> Result<Vec<f32>>;

/// Both gradients over batches of growing size.
pub(super) fn gradients(verifier: &Verifier) -> Result<Vec<Outcome>> {
    let trained = verifier.trained()?;
    let marginal = Marginal::new(&verifier.device, &trained.data, None, &trained.model.path)?;
    theorem_2(verifier, trained, &|x, t| Ok(marginal.field_at(x, t)?.velocities))
}

/// The slope of log ‖∇L_FM − ∇L_CFM‖ over log B, and the mean of the difference along the gradient. `exact` gives the
/// targets of L_FM.
///
/// The norm is the root mean square: E‖∇L_FM − ∇L_CFM‖² is tr Var/B exactly for every B, while the mean of log ‖·‖
/// also falls with the spread of ‖·‖, which small batches have more of.
pub(super) fn theorem_2(verifier: &Verifier, trained: &Trained, exact: Field<'_>) -> Result<Vec<Outcome>> {
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
            let (_, conditional, marginal) = both(&gradients, exact, step)?;
            step += 1;
            if direction.is_empty() {
                direction = marginal.gradient.iter().map(|&g| g.into()).collect();
                length = norm(direction.iter().copied());
                continue;
            }
            let difference: Vec<f64> = (conditional.gradient.iter().zip(&marginal.gradient))
                .map(|(&conditional, &marginal)| f64::from(conditional) - f64::from(marginal))
                .collect();
            line.push(((rows as f64).ln(), difference.iter().map(|x| x * x).sum()));
            let product: f64 = difference.iter().zip(&direction).map(|(x, y)| x * y).sum();
            along.push((product / (length * length), rows as f64));
        }
    }
    Ok(vec![
        Outcome::interval("slope of log ‖∇L_FM − ∇L_CFM‖ over log B", growth(&line).halved(), -0.5, 0.05),
        Outcome::interval(
            "mean of ∇L_CFM − ∇L_FM along ∇L_FM, over its length",
            mean(along.iter().copied()),
            0.0,
            0.2,
        ),
    ])
}

/// The batch of a step, and the losses with their gradients over it: L_CFM, L_FM.
fn both(gradients: &Gradients, exact: Field<'_>, step: u32) -> Result<(f64, Descent, Descent)> {
    let Batch { dim, xt, ut, t, .. } = gradients.batch(step)?;
    let times: Vec<f64> = t.iter().map(|&t| t.into()).collect();
    let exact = exact(&xt, &times)?;
    let square = |(u, v): (&f32, &f32)| (f64::from(*u) - f64::from(*v)).powi(2);
    let crossing = ut.iter().zip(&exact).map(square).sum::<f64>() / (ut.len() / dim) as f64;
    Ok((crossing, gradients.conditional(step)?, gradients.of(step, &exact)?))
}

/// Rows of a batch, and batches, of the losses.
const LOSS_ROWS: usize = 4096;
const LOSS_BATCHES: u32 = 32;

/// L_CFM − L_FM is C.
pub(super) fn losses(verifier: &Verifier) -> Result<Vec<Outcome>> {
    let trained = verifier.trained()?;
    let marginal = Marginal::new(&verifier.device, &trained.data, None, &trained.model.path)?;
    identity(verifier, trained, &|x, t| Ok(marginal.field_at(x, t)?.velocities))
}

/// The mean of L_CFM − L_FM, held against that of the crossing energy over the same batches.
pub(super) fn identity(verifier: &Verifier, trained: &Trained, exact: Field<'_>) -> Result<Vec<Outcome>> {
    let Trained { model, data } = trained;
    let gradients = Gradients::new(&verifier.device, model, data, verifier.seed, LOSS_ROWS)?;
    let (mut differences, mut energies) = (vec![], vec![]);
    for batch in 0..LOSS_BATCHES {
        verifier.go_on()?;
        let (crossing, conditional, marginal) = both(&gradients, exact, FIRST_STEP / 2 + batch)?;
        energies.push((crossing, 1.0));
        differences.push((conditional.loss - marginal.loss - crossing, 1.0));
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
