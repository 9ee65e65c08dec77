//! The gradient through a layer to its input, and through the activation that made that input.
//!
//!   dX = dZ·W,            dX[i, j] = Σ_o dZ[i, o]·W[o, j]
//!   dZ_before = dX ⊙ act'(z_before)

/// The gradient by the layer's input.
// dz: [B, O], weight: [O, I]
// out: [B, I]
pub fn linear_backward_input(dz: &[f64], weight: &[f64], outputs: usize) -> Vec<f64> {
    let inputs = weight.len() / outputs;
    let batch = dz.len() / outputs;
    let mut dx = vec![0.0; batch * inputs];
    for i in 0..batch {
        for j in 0..inputs {
            for o in 0..outputs {
                dx[i * inputs + j] += dz[i * outputs + o] * weight[o * inputs + j];
            }
        }
    }
    dx
}

/// The same, carried on to the z of the layer before: multiplied by its slope.
// dz: [B, O], weight: [O, I], slope: [B, I]
// out: [B, I]
pub fn linear_backward_input_sloped(dz: &[f64], weight: &[f64], outputs: usize, slope: &[f64]) -> Vec<f64> {
    let dx = linear_backward_input(dz, weight, outputs);
    assert_eq!(dx.len(), slope.len(), "slope is [B, I]");
    dx.iter().zip(slope).map(|(dx, slope)| dx * slope).collect()
}

#[test]
fn an_input_gradient_by_hand() {
    let weight = [1.0, 0.0, -1.0, /**/ 2.0, 1.0, 1.0];
    let dz = [1.0, 10.0, /**/ 0.0, -1.0];
    let dx = [21.0, 10.0, 9.0, /**/ -2.0, -1.0, -1.0];
    assert_eq!(linear_backward_input(&dz, &weight, 2), dx);
    let slope = [1.0, 0.0, 2.0, /**/ 0.5, 1.0, 0.0];
    let sloped = [21.0, 0.0, 18.0, /**/ -1.0, -1.0, 0.0];
    assert_eq!(linear_backward_input_sloped(&dz, &weight, 2, &slope), sloped);
}
