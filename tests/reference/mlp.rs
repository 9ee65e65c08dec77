//! The network: hidden layers h = act(W·h + b), and a linear output layer.
//!
//!   h_0 = features,   z_l = h_{l−1}·W_lᵀ + b_l,   h_l = act(z_l),   v = z_L
//!
//! Backward, from dz_L = dL/dv:
//!   dW_l = dz_lᵀ·h_{l−1},   db_l = Σ_i dz_l[i],   dz_{l−1} = (dz_l·W_l) ⊙ act'(z_{l−1})
//!
//! Forward mode, a tangent h'_0 at the input:
//!   z'_l = h'_{l−1}·W_lᵀ,   h'_l = act'(z_l) ⊙ z'_l
//!
//! Source: Rumelhart, Hinton, Williams, "Learning representations by back-propagating errors", 1986.

use super::activation::Activation;
use super::draw::features;
use super::linear_backward_input::{linear_backward_input, linear_backward_input_sloped};
use super::linear_backward_weight::linear_backward_weight;
use super::linear_forward::{Layer, linear_forward};
use super::loss::{loss, loss_gradient};
use super::philox;

/// The network.
#[derive(Debug, Clone, PartialEq)]
pub struct Mlp {
    /// Inputs, hidden layers, outputs.
    pub widths: Vec<usize>,
    pub activation: Activation,
    /// W and b of each layer in turn: tensor 2l is `layers.{l}.weight` [out, in], tensor 2l + 1 is
    /// `layers.{l}.bias` [out].
    pub parameters: Vec<Vec<f64>>,
}

/// What a backward pass gives.
#[derive(Debug, Clone, PartialEq)]
pub struct Gradients {
    pub loss: f64,
    /// As `Mlp::parameters`.
    pub parameters: Vec<Vec<f64>>,
    // input: [B, inputs]
    pub input: Vec<f64>,
}

impl Mlp {
    /// A network of given parameters; their sizes must be those of the widths.
    pub fn new(widths: &[usize], activation: Activation, parameters: Vec<Vec<f64>>) -> Self {
        let sizes: Vec<usize> = widths.windows(2).flat_map(|w| [w[1] * w[0], w[1]]).collect();
        assert_eq!(parameters.iter().map(Vec::len).collect::<Vec<_>>(), sizes, "sizes of the parameters");
        Self { widths: widths.to_vec(), activation, parameters }
    }

    /// A network of random parameters of a fitting size, biases too: for tests.
    pub fn random(widths: &[usize], activation: Activation, seed: u64) -> Self {
        let mut parameters = vec![];
        for (layer, width) in widths.windows(2).enumerate() {
            let scale = 1.0 / (width[0] as f64).sqrt();
            let weight = philox::normal_rows(seed, layer as u32, 100, width[1], width[0]);
            let bias = philox::normal_rows(seed, layer as u32, 101, 1, width[1]);
            parameters.push(weight.iter().map(|w| w * scale).collect());
            parameters.push(bias.iter().map(|b| b * 0.3).collect());
        }
        Self::new(widths, activation, parameters)
    }

    pub fn layers(&self) -> usize {
        self.widths.len() - 1
    }

    // out: [O, I]
    pub fn weight(&self, layer: usize) -> &[f64] {
        &self.parameters[2 * layer]
    }

    // out: [O]
    pub fn bias(&self, layer: usize) -> &[f64] {
        &self.parameters[2 * layer + 1]
    }

    /// The name of each parameter tensor in a model file.
    pub fn names(&self) -> Vec<String> {
        (0..self.layers())
            .flat_map(|layer| [format!("layers.{layer}.weight"), format!("layers.{layer}.bias")])
            .collect()
    }

    /// Every layer's output; the last one's h is v.
    // x: [B, widths[0]]
    pub fn layer_outputs(&self, x: &[f64]) -> Vec<Layer> {
        let mut outputs: Vec<Layer> = vec![];
        for layer in 0..self.layers() {
            let input = outputs.last().map_or(x, |before| &before.h);
            let last = layer + 1 == self.layers();
            let activation = if last { Activation::Identity } else { self.activation };
            outputs.push(linear_forward(input, self.weight(layer), self.bias(layer), activation));
        }
        outputs
    }

    /// v for given features.
    // x: [B, widths[0]]
    // out: [B, widths[last]]
    pub fn forward(&self, x: &[f64]) -> Vec<f64> {
        self.layer_outputs(x).pop().expect("a network has a layer").h
    }

    /// The loss against u, and its gradients.
    // x: [B, widths[0]], u: [B, widths[last]]
    pub fn gradients(&self, x: &[f64], u: &[f64], batch: usize) -> Gradients {
        let outputs = self.layer_outputs(x);
        let v = &outputs[self.layers() - 1].h;
        let loss = loss(v, u, batch);

        let mut parameters = vec![vec![]; self.parameters.len()];
        let mut dz = loss_gradient(v, u, batch);
        for layer in (1..self.layers()).rev() {
            let before = &outputs[layer - 1];
            (parameters[2 * layer], parameters[2 * layer + 1]) =
                linear_backward_weight(&dz, &before.h, batch);
            dz = linear_backward_input_sloped(&dz, self.weight(layer), self.widths[layer + 1], &before.slope);
        }
        (parameters[0], parameters[1]) = linear_backward_weight(&dz, x, batch);
        let input = linear_backward_input(&dz, self.weight(0), self.widths[1]);
        Gradients { loss, parameters, input }
    }

    /// The derivative of v in the direction dx of the features.
    // x: [B, widths[0]], dx: [B, widths[0]]
    // out: [B, widths[last]]
    pub fn tangent(&self, x: &[f64], dx: &[f64]) -> Vec<f64> {
        let mut tangent = dx.to_vec();
        for (layer, output) in self.layer_outputs(x).iter().enumerate() {
            let no_bias = vec![0.0; self.widths[layer + 1]];
            let dz = linear_forward(&tangent, self.weight(layer), &no_bias, Activation::Identity).z;
            tangent = dz.iter().zip(&output.slope).map(|(dz, slope)| dz * slope).collect();
        }
        tangent
    }

    /// The velocity of points at one time: features and forward pass. D is the network's output.
    // x: [B, D]
    // out: [B, D]
    pub fn velocity(&self, x: &[f64], t: f64, frequencies: usize) -> Vec<f64> {
        let dim = self.widths[self.layers()];
        let times = vec![t; x.len() / dim];
        self.forward(&features(x, &times, dim, frequencies))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::{activation::ACTIVATIONS, mismatches};

    const SHAPES: [&[usize]; 4] = [&[3, 2], &[4, 5, 2], &[3, 7, 5, 2], &[5, 1, 4, 3, 1]];
    const BATCH: usize = 6;

    fn normals(seed: u64, rows: usize, columns: usize) -> Vec<f64> {
        philox::normal_rows(seed, 0, 102, rows, columns)
    }

    /// Runs a check on every shape with every activation.
    fn for_every_network(check: impl Fn(&Mlp, &[f64], &[f64]) -> Vec<String>) {
        let mut failures = vec![];
        for activation in ACTIVATIONS {
            for (seed, widths) in SHAPES.into_iter().enumerate() {
                let mlp = Mlp::random(widths, activation, seed as u64);
                let x = normals(50, BATCH, widths[0]);
                let u = normals(51, BATCH, widths[widths.len() - 1]);
                // A kink within reach of the differences would make them meaningless.
                let nearest = mlp
                    .layer_outputs(&x)
                    .iter()
                    .flat_map(|l| l.z.clone())
                    .fold(1.0, |m: f64, z| m.min(z.abs()));
                assert!(nearest > 1e-4, "{widths:?}: a z of {nearest} is too near to zero; change the seed");
                let context = format!("{} {widths:?} ", activation.name());
                failures.extend(check(&mlp, &x, &u).into_iter().map(|line| context.clone() + &line));
            }
        }
        assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
    }

    #[test]
    fn gradients_are_those_of_central_differences() {
        let h = 1e-5;
        let loss_of = |mlp: &Mlp, x: &[f64], u: &[f64]| loss(&mlp.forward(x), u, BATCH);
        for_every_network(|mlp, x, u| {
            let gradients = mlp.gradients(x, u, BATCH);
            let mut failures = mismatches("loss", &[gradients.loss], &[loss_of(mlp, x, u)], 0.0);
            for (tensor, name) in mlp.names().iter().enumerate() {
                let differences: Vec<f64> = (0..mlp.parameters[tensor].len())
                    .map(|element| {
                        let moved = |by: f64| {
                            let mut mlp = mlp.clone();
                            mlp.parameters[tensor][element] += by;
                            loss_of(&mlp, x, u)
                        };
                        (moved(h) - moved(-h)) / (2.0 * h)
                    })
                    .collect();
                failures.extend(mismatches(name, &gradients.parameters[tensor], &differences, 1e-8));
            }
            let differences: Vec<f64> = (0..x.len())
                .map(|element| {
                    let moved = |by: f64| {
                        let mut x = x.to_vec();
                        x[element] += by;
                        loss_of(mlp, &x, u)
                    };
                    (moved(h) - moved(-h)) / (2.0 * h)
                })
                .collect();
            failures.extend(mismatches("input", &gradients.input, &differences, 1e-8));
            failures
        });
    }

    #[test]
    fn tangents_are_those_of_central_differences() {
        let h = 1e-5;
        for_every_network(|mlp, x, _| {
            let dx = normals(52, BATCH, mlp.widths[0]);
            let moved =
                |by: f64| mlp.forward(&x.iter().zip(&dx).map(|(x, dx)| x + by * dx).collect::<Vec<_>>());
            let differences: Vec<f64> =
                moved(h).iter().zip(moved(-h)).map(|(high, low)| (high - low) / (2.0 * h)).collect();
            mismatches("tangent", &mlp.tangent(x, &dx), &differences, 1e-8)
        });
    }

    #[test]
    fn forward_and_reverse_mode_agree() {
        // dL/dv · (J·dx) = (Jᵀ·dL/dv) · dx
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        for_every_network(|mlp, x, u| {
            let dx = normals(53, BATCH, mlp.widths[0]);
            let forward = dot(&loss_gradient(&mlp.forward(x), u, BATCH), &mlp.tangent(x, &dx));
            let reverse = dot(&mlp.gradients(x, u, BATCH).input, &dx);
            mismatches("J", &[forward], &[reverse], 1e-13)
        });
    }

    #[test]
    fn velocity_is_the_network_of_the_features() {
        let mlp = Mlp::random(&[2 + 1 + 6, 4, 2], Activation::Silu, 3);
        let x = normals(54, 5, 2);
        let want = mlp.forward(&features(&x, &[0.3; 5], 2, 3));
        assert_eq!(mlp.velocity(&x, 0.3, 3), want);
    }

    #[test]
    #[should_panic(expected = "sizes of the parameters")]
    fn parameters_of_other_sizes_are_refused() {
        let _ = Mlp::new(&[3, 2], Activation::Relu, vec![vec![0.0; 6], vec![0.0; 3]]);
    }
}
