//! The gradients of a layer's weight and bias.
//!
//!   dW = dZᵀ·X,           dW[o, j] = Σ_i dZ[i, o]·X[i, j]
//!   db = 1ᵀ·dZ,           db[o]    = Σ_i dZ[i, o]

/// The gradients of weight and bias.
// dz: [B, O], x: [B, I]
// out: [O, I] and [O]
pub fn linear_backward_weight(dz: &[f64], x: &[f64], batch: usize) -> (Vec<f64>, Vec<f64>) {
    let outputs = dz.len() / batch;
    let inputs = x.len() / batch;
    let mut dw = vec![0.0; outputs * inputs];
    let mut db = vec![0.0; outputs];
    for i in 0..batch {
        for o in 0..outputs {
            for j in 0..inputs {
                dw[o * inputs + j] += dz[i * outputs + o] * x[i * inputs + j];
            }
            db[o] += dz[i * outputs + o];
        }
    }
    (dw, db)
}

#[test]
fn a_weight_gradient_by_hand() {
    let dz = [1.0, 10.0, /**/ 2.0, -1.0];
    let x = [1.0, 2.0, 3.0, /**/ -1.0, 0.0, 1.0];
    let (dw, db) = linear_backward_weight(&dz, &x, 2);
    assert_eq!(dw, [-1.0, 2.0, 5.0, /**/ 11.0, 20.0, 29.0]);
    assert_eq!(db, [3.0, 9.0]);
}
