//! Entropic optimal transport: the plan P_ij = exp((f_i + g_j − c_ij)/ε)/n² with marginals 1/n, and permutations.

/// The mean of ‖x1_i − x0_j‖² over all pairs.
// x0: [N, D], x1: [N, D]
pub fn sinkhorn_begin(x0: &[f64], x1: &[f64], dim: usize) -> f64 {
    let costs = super::assignment::assignment_costs(x0, x1, dim);
    costs.iter().sum::<f64>() / costs.len() as f64
}

/// One half of an iteration: f_i = −ε·log Σ_j exp((g_j − c_ij)/ε)/n.
// costs: [N, N], other: [N]
// out: [N]
pub fn sinkhorn(costs: &[f64], other: &[f64], epsilon: f64) -> Vec<f64> {
    let n = other.len();
    let row = |i: usize| {
        let exponents: Vec<f64> = (0..n).map(|j| (other[j] - costs[i * n + j]) / epsilon).collect();
        let top = exponents.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = exponents.iter().map(|x| (x - top).exp()).sum();
        -epsilon * (top + sum.ln() - (n as f64).ln())
    };
    (0..n).map(row).collect()
}

/// Costs from the other side.
pub fn transposed(costs: &[f64], n: usize) -> Vec<f64> {
    (0..n * n).map(|k| costs[k % n * n + k / n]).collect()
}

/// The error of the marginals on that side: Σ |N·marginal − 1|/N, where a potential moved from `old` to `new`.
pub fn sinkhorn_check(old: &[f64], new: &[f64], epsilon: f64) -> f64 {
    old.iter().zip(new).map(|(old, new)| (((old - new) / epsilon).exp() - 1.0).abs()).sum::<f64>()
        / old.len() as f64
}

/// Both potentials, by iterations until the marginals are within 10⁻¹².
pub fn solve(costs: &[f64], n: usize, epsilon: f64) -> [Vec<f64>; 2] {
    let across = transposed(costs, n);
    let (mut f, mut g) = (vec![0.0; n], vec![0.0; n]);
    for _ in 0..100_000 {
        f = sinkhorn(costs, &g, epsilon);
        let new = sinkhorn(&across, &f, epsilon);
        let error = sinkhorn_check(&g, &new, epsilon);
        g = new;
        if error < 1e-12 {
            break;
        }
    }
    [f, g]
}

/// P.
// out: [N, N]
pub fn plan(costs: &[f64], [f, g]: [&[f64]; 2], epsilon: f64) -> Vec<f64> {
    let n = f.len();
    (0..n * n).map(|k| ((f[k / n] + g[k % n] - costs[k]) / epsilon).exp() / (n * n) as f64).collect()
}

/// A round's end: each column goes to the first of the free rows that have drawn it. `rows` and `columns` are those that
/// are free, `drawn` a column for each of the rows.
pub fn sinkhorn_settle(rows: &mut Vec<u32>, columns: &mut Vec<u32>, drawn: &[u32], partners: &mut [u32]) {
    let mut left = vec![];
    for (&row, column) in rows.iter().zip(drawn) {
        match columns.iter().position(|free| free == column) {
            Some(place) => {
                partners[row as usize] = *column;
                columns.remove(place);
            }
            None => left.push(row),
        }
    }
    *rows = left;
}

/// The exchanges of one round: rows that differ by the bits `round` change columns where `uniform(row)·(1 + odds) < 1`.
pub fn sinkhorn_swap(
    costs: &[f64],
    partners: &mut [u32],
    epsilon: f64,
    round: usize,
    uniform: impl Fn(usize) -> f64,
) {
    let n = partners.len();
    for a in 0..n {
        let b = a ^ round;
        if a < b && b < n {
            let (p, q) = (partners[a] as usize, partners[b] as usize);
            let change = costs[a * n + q] + costs[b * n + p] - costs[a * n + p] - costs[b * n + q];
            if uniform(a) * (1.0 + (change / epsilon).exp()) < 1.0 {
                partners.swap(a, b);
            }
        }
    }
}

#[test]
fn the_plan_has_its_marginals() {
    let points = |stream| super::philox::normal_rows(3, 0, stream, 20, 2);
    let costs = super::assignment::assignment_costs(&points(0), &points(1), 2);
    let [f, g] = solve(&costs, 20, 0.5);
    let plan = plan(&costs, [&f, &g], 0.5);
    for k in 0..20 {
        let row: f64 = (0..20).map(|j| plan[k * 20 + j]).sum();
        let column: f64 = (0..20).map(|i| plan[i * 20 + k]).sum();
        assert!((row - 0.05).abs() < 1e-12 && (column - 0.05).abs() < 1e-12, "{row} and {column}");
    }
}

/// Of three points with two likely permutations, exchanges reach both, as often as their odds say.
#[test]
fn exchanges_draw_permutations_by_their_costs() {
    let costs = [0.0, 1.0, 9.0, 1.0, 0.0, 9.0, 9.0, 9.0, 0.0];
    let mut partners = [0, 1, 2];
    let mut swapped = 0;
    for sweep in 0..4000 {
        for round in 1..4 {
            let words = super::philox::philox4x32([0, round as u32, sweep, 7], [1, 2]);
            sinkhorn_swap(&costs, &mut partners, 2.0, round, |a| super::philox::uniform(words[a]));
        }
        swapped += usize::from(partners == [1, 0, 2]);
    }
    // exp(−2/2) to 1, beside permutations of weight exp(−9) and less.
    let share = f64::from(swapped as u32) / 4000.0;
    let want = (-1f64).exp() / (1.0 + (-1f64).exp());
    assert!((share - want).abs() < 0.04, "{share} instead of {want}");
}
