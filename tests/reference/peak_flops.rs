//! Chains of multiplications and additions, which a device's peak is measured with.

/// What an invocation leaves: the sum of its chains after `steps` steps of x ← a·x + b.
// out: [4]
pub fn peak_flops(invocation: u32, chains: u32, steps: u32, a: f64, b: f64) -> [f64; 4] {
    [0, 1, 2, 3].map(|component| {
        let mut sum = 0.0;
        for chain in 0..chains {
            let mut x = 0.25 * f64::from(component) + f64::from(chain) + f64::from(invocation % 64) / 256.0;
            for _ in 0..steps {
                x = a * x + b;
            }
            sum += x;
        }
        sum
    })
}

#[test]
fn chains_end_where_the_geometric_series_does() {
    // x_n = aⁿ·x_0 + b·(1 − aⁿ)/(1 − a)
    let (a, b, n) = (0.5f64, 0.75f64, 6u8);
    let closed = |x: f64| a.powi(n.into()) * x + b * (1.0 - a.powi(n.into())) / (1.0 - a);
    for (component, sum) in peak_flops(70, 2, n.into(), a, b).into_iter().enumerate() {
        let begin = 0.25 * component as f64 + 6.0 / 256.0;
        assert!((sum - closed(begin) - closed(begin + 1.0)).abs() < 1e-14);
    }
    for sum in peak_flops(0, 3, 2000, a, b) {
        assert!((sum - 4.5).abs() < 1e-12, "{sum}");
    }
}
