//! A layer: z = x·Wᵀ + b, h = act(z), and the slope act'(z) that the backward pass needs.
//!
//!   z[i, o] = b[o] + Σ_j x[i, j]·W[o, j]

use super::activation::Activation;

/// What a layer gives.
#[derive(Debug, Clone, PartialEq)]
pub struct Layer {
    // z: [B, O]
    pub z: Vec<f64>,
    // h: [B, O]
    pub h: Vec<f64>,
    // slope: [B, O]
    pub slope: Vec<f64>,
}

/// x through a layer.
// x: [B, I], weight: [O, I], bias: [O]
// out: [B, O] each
pub fn linear_forward(x: &[f64], weight: &[f64], bias: &[f64], activation: Activation) -> Layer {
    let outputs = bias.len();
    let inputs = weight.len() / outputs;
    let batch = x.len() / inputs;
    let mut z = vec![0.0; batch * outputs];
    for i in 0..batch {
        for o in 0..outputs {
            let mut sum = bias[o];
            for j in 0..inputs {
                sum += x[i * inputs + j] * weight[o * inputs + j];
            }
            z[i * outputs + o] = sum;
        }
    }
    let h = z.iter().map(|&z| activation.value(z)).collect();
    let slope = z.iter().map(|&z| activation.slope(z)).collect();
    Layer { z, h, slope }
}

#[test]
fn a_layer_by_hand() {
    let x = [1.0, 2.0, 3.0, /**/ -1.0, 0.0, 1.0];
    let weight = [1.0, 0.0, -1.0, /**/ 2.0, 1.0, 1.0];
    let layer = linear_forward(&x, &weight, &[0.5, -10.0], Activation::Relu);
    assert_eq!(layer.z, [-1.5, -3.0, /**/ -1.5, -11.0]);
    assert_eq!(layer.h, [0.0; 4]);
    assert_eq!(layer.slope, [0.0; 4]);
    let layer = linear_forward(&x, &weight, &[2.5, 0.0], Activation::Relu);
    assert_eq!(layer.z, [0.5, 7.0, /**/ 0.5, -1.0]);
    assert_eq!(layer.h, [0.5, 7.0, /**/ 0.5, 0.0]);
    assert_eq!(layer.slope, [1.0, 1.0, /**/ 1.0, 0.0]);
}
