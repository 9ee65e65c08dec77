//! The activations: h = act(z), and their slopes act'(z).
//!
//! Sources: silu: Elfwing et al. 2017; gelu: Hendrycks, Gimpel 2016, tanh form; selu: Klambauer et
//! al. 2017; softplus: Dugas et al. 2001. At a kink the slope is PyTorch's: relu'(0) = 0,
//! selu'(0) = λ·α.

use std::f64::consts::FRAC_2_PI;

/// An activation of the hidden layers, or the identity of the output layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    Relu,
    Silu,
    Gelu,
    Selu,
    Tanh,
    Softplus,
    Identity,
}

/// Those that a hidden layer may have.
pub const ACTIVATIONS: [Activation; 6] = [
    Activation::Relu,
    Activation::Silu,
    Activation::Gelu,
    Activation::Selu,
    Activation::Tanh,
    Activation::Softplus,
];

const SELU_ALPHA: f64 = 1.673_263_242_354_377_2;
const SELU_LAMBDA: f64 = 1.050_700_987_355_480_5;
const GELU_CUBIC: f64 = 0.044_715;

impl Activation {
    /// Its name on the command line and in the model file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Relu => "relu",
            Self::Silu => "silu",
            Self::Gelu => "gelu",
            Self::Selu => "selu",
            Self::Tanh => "tanh",
            Self::Softplus => "softplus",
            Self::Identity => "identity",
        }
    }

    /// act(z)
    pub fn value(self, z: f64) -> f64 {
        match self {
            Self::Relu => z.max(0.0),
            Self::Silu => z * sigmoid(z),
            Self::Gelu => 0.5 * z * (1.0 + gelu_argument(z).tanh()),
            Self::Selu if z > 0.0 => SELU_LAMBDA * z,
            Self::Selu => SELU_LAMBDA * SELU_ALPHA * z.exp_m1(),
            Self::Tanh => z.tanh(),
            Self::Softplus => z.max(0.0) + (-z.abs()).exp().ln_1p(), // ln(1 + e^z) without overflow
            Self::Identity => z,
        }
    }

    /// act'(z)
    pub fn slope(self, z: f64) -> f64 {
        match self {
            Self::Relu if z > 0.0 => 1.0,
            Self::Relu => 0.0,
            Self::Silu => sigmoid(z) * (1.0 + z * (1.0 - sigmoid(z))),
            Self::Gelu => {
                let tanh = gelu_argument(z).tanh();
                let argument_slope = FRAC_2_PI.sqrt() * (1.0 + 3.0 * GELU_CUBIC * z * z);
                0.5 * (1.0 + tanh) + 0.5 * z * (1.0 - tanh * tanh) * argument_slope
            }
            Self::Selu if z > 0.0 => SELU_LAMBDA,
            Self::Selu => SELU_LAMBDA * SELU_ALPHA * z.exp(),
            Self::Tanh => 1.0 - z.tanh() * z.tanh(),
            Self::Softplus => sigmoid(z),
            Self::Identity => 1.0,
        }
    }
}

/// 1 / (1 + e⁻ᶻ)
fn sigmoid(z: f64) -> f64 {
    1.0 / (1.0 + (-z).exp())
}

/// √(2/π)·(z + 0.044715·z³)
fn gelu_argument(z: f64) -> f64 {
    FRAC_2_PI.sqrt() * (z + GELU_CUBIC * z.powi(3))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::{golden, mismatches};

    #[test]
    fn values_and_slopes_are_those_of_pytorch() {
        let mut failures = vec![];
        assert_eq!(golden::ACTIVATIONS.map(|(name, ..)| name), ACTIVATIONS.map(Activation::name));
        for (activation, (name, values, slopes)) in ACTIVATIONS.into_iter().zip(golden::ACTIVATIONS) {
            let value = golden::POINTS.map(|z| activation.value(z));
            let slope = golden::POINTS.map(|z| activation.slope(z));
            failures.extend(mismatches(name, &value, &values, 1e-14));
            failures.extend(mismatches(&format!("{name}'"), &slope, &slopes, 1e-14));
        }
        assert!(failures.is_empty(), "{failures:#?}");
    }

    #[test]
    fn slopes_are_derivatives() {
        let h = 1e-6;
        let mut failures = vec![];
        for activation in ACTIVATIONS.into_iter().chain([Activation::Identity]) {
            for i in -60..=60 {
                let z = 0.1 * f64::from(i) + 0.03; // never at a kink
                let difference = (activation.value(z + h) - activation.value(z - h)) / (2.0 * h);
                let at = format!("{}'({z})", activation.name());
                failures.extend(mismatches(&at, &[activation.slope(z)], &[difference], 1e-9));
            }
        }
        assert!(failures.is_empty(), "{failures:#?}");
    }

    #[test]
    fn values_and_slopes_stay_finite_far_out() {
        for activation in ACTIVATIONS {
            for z in [-1e4, -800.0, -100.0, 100.0, 800.0, 1e4] {
                let (value, slope) = (activation.value(z), activation.slope(z));
                assert!(
                    value.is_finite() && slope.is_finite(),
                    "{}({z}): {value}, {slope}",
                    activation.name()
                );
            }
        }
    }
}
