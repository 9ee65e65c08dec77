//! The diffusion g(t) of a stochastic flow.

use std::fmt;
use std::sync::Arc;

/// g(t) ≥ 0: how much noise a stochastic flow, dx = (v + g²/2·score) dt + g dW, has at each time. Whatever it is, the
/// marginals are those of the flow itself, if v is the marginal field of a Gaussian path, from which the score is known
/// (eq. 12); a learned v is that nearly. g = 0 is the flow.
#[derive(Clone)]
pub struct Diffusion(Arc<dyn Fn(f64) -> f64 + Send + Sync>);

impl Diffusion {
    /// The diffusion that a function gives.
    ///
    /// # Examples
    /// ```
    /// use windfield::flow::Diffusion;
    /// let diffusion = Diffusion::new(|t| 1.0 - t);
    /// assert_eq!(diffusion.at(0.25), 0.75);
    /// ```
    pub fn new(g: impl Fn(f64) -> f64 + Send + Sync + 'static) -> Self {
        Self(Arc::new(g))
    }

    /// g(t).
    #[must_use]
    pub fn at(&self, t: f64) -> f64 {
        (self.0)(t)
    }
}

impl fmt::Debug for Diffusion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Diffusion(g(0) = {}, g(1/2) = {}, g(1) = {})", self.at(0.0), self.at(0.5), self.at(1.0))
    }
}
