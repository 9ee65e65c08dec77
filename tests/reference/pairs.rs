//! Sums over pairs of points of their distance r and of a kernel: pairs.wgsl, energy distance and maximum mean
//! discrepancy.
//!
//!   Σ_ij r,   Σ_ij k(r),   k(r) = 1/5·Σ_c exp(−r²/(2c²σ²)),   c = 1/4, 1/2, 1, 2, 4

/// The kernel of a distance squared.
pub fn kernel(square: f64, sigma: f64) -> f64 {
    [0.25, 0.5, 1.0, 2.0, 4.0].iter().map(|c| (-square / (2.0 * (c * sigma).powi(2))).exp()).sum::<f64>()
        / 5.0
}

/// Both sums.
// a: [N, D], b: [M, D]
// out: (Σ r, Σ k)
pub fn pairs(a: &[f64], b: &[f64], dim: usize, sigma: f64) -> (f64, f64) {
    let (mut distance, mut near) = (0.0, 0.0);
    for x in a.chunks_exact(dim) {
        for y in b.chunks_exact(dim) {
            let square: f64 = x.iter().zip(y).map(|(x, y)| (x - y).powi(2)).sum();
            distance += square.sqrt();
            near += kernel(square, sigma);
        }
    }
    (distance, near)
}

/// The means of both over all pairs.
fn means(a: &[f64], b: &[f64], dim: usize, sigma: f64) -> (f64, f64) {
    let (distance, near) = pairs(a, b, dim, sigma);
    let count = (a.len() / dim * (b.len() / dim)) as f64;
    (distance / count, near / count)
}

/// 2·E‖X − Y‖ − E‖X − X'‖ − E‖Y − Y'‖.
pub fn energy_distance(a: &[f64], b: &[f64], dim: usize) -> f64 {
    2.0 * means(a, b, dim, 1.0).0 - means(a, a, dim, 1.0).0 - means(b, b, dim, 1.0).0
}

/// The root of E k(X, X') + E k(Y, Y') − 2·E k(X, Y).
pub fn mmd(a: &[f64], b: &[f64], dim: usize, sigma: f64) -> f64 {
    let square = means(a, a, dim, sigma).1 + means(b, b, dim, sigma).1 - 2.0 * means(a, b, dim, sigma).1;
    square.max(0.0).sqrt()
}

#[test]
fn distances_by_hand() {
    // Two points and one, on a line: 2·(1 + 3)/2 − (0 + 2 + 2 + 0)/4 − 0
    assert!((energy_distance(&[1.0, 3.0], &[0.0], 1) - 3.0).abs() < 1e-15);
    // One point and one: 2 − 2·k
    assert!((mmd(&[0.0, 0.0], &[3.0, 4.0], 2, 5.0) - (2.0 - 2.0 * kernel(25.0, 5.0)).sqrt()).abs() < 1e-15);
    let terms = [-8.0f64, -2.0, -0.5, -0.125, -0.03125];
    assert!((kernel(25.0, 5.0) - terms.iter().map(|x| x.exp()).sum::<f64>() / 5.0).abs() < 1e-15);
    assert!(kernel(0.0, 2.0) == 1.0);
}
