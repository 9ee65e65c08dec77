//! The flow-matching loss: the squared distance of the velocity v from the target u, summed over
//! the coordinates and averaged over the batch (eq. 8, and eq. 14 for the path `ot`).
//!
//!   L = 1/B · Σ_i ‖v_i − u_i‖²,      dL/dv = 2/B · (v − u)

/// The loss.
// v: [B, D], u: [B, D]
// out: a number
pub fn loss(v: &[f64], u: &[f64], batch: usize) -> f64 {
    assert_eq!(v.len(), u.len(), "v and u are [B, D]");
    v.iter().zip(u).map(|(v, u)| (v - u).powi(2)).sum::<f64>() / batch as f64
}

/// Its gradient by v.
// v: [B, D], u: [B, D]
// out: [B, D]
pub fn loss_gradient(v: &[f64], u: &[f64], batch: usize) -> Vec<f64> {
    assert_eq!(v.len(), u.len(), "v and u are [B, D]");
    v.iter().zip(u).map(|(v, u)| 2.0 / batch as f64 * (v - u)).collect()
}

#[test]
fn a_loss_by_hand() {
    let (v, u) = ([1.0, 2.0, 3.0, 4.0], [1.0, 0.0, 0.0, 5.0]);
    assert_eq!(loss(&v, &u, 2), 7.0); // (4 + 9 + 1) / 2
    assert_eq!(loss_gradient(&v, &u, 2), [0.0, 2.0, 3.0, -1.0]);
    assert_eq!(loss(&v, &u, 1), 14.0);
}
