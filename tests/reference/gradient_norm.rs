//! The norm of the gradient over all parameters, and what clipping multiplies it by.
//!
//!   norm = √(Σ g²),      coefficient = min(1, clip / (norm + 10⁻⁶))
//!
//! Source: Pascanu, Mikolov, Bengio, ICML 2013, as `torch.nn.utils.clip_grad_norm_` computes it.

/// The Euclidean norm of all tensors together.
pub fn gradient_norm(gradients: &[Vec<f64>]) -> f64 {
    gradients.iter().flatten().map(|g| g * g).sum::<f64>().sqrt()
}

/// The factor for every gradient; a clip of 0 switches clipping off.
pub fn clip_coefficient(norm: f64, clip: f64) -> f64 {
    if clip == 0.0 { 1.0 } else { (clip / (norm + 1e-6)).min(1.0) }
}

#[test]
fn a_norm_and_its_clipping_by_hand() {
    assert_eq!(gradient_norm(&[vec![3.0, 0.0], vec![], vec![-4.0]]), 5.0);
    assert_eq!(clip_coefficient(5.0, 0.0), 1.0);
    assert_eq!(clip_coefficient(5.0, 6.0), 1.0);
    assert_eq!(clip_coefficient(5.0, 1.0), 1.0 / 5.000_001);
    // At the very limit the 10⁻⁶ already shortens it.
    assert_eq!(clip_coefficient(5.0, 5.0), 5.0 / 5.000_001);
    assert_eq!(clip_coefficient(0.0, 1.0), 1.0);
}
