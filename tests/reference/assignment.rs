//! The linear assignment problem: the permutation π that minimises Σ_i c[i, π(i)].

/// ‖x1_i − x0_j‖².
// x0: [N, D], x1: [N, D]
// out: [N, N]
pub fn assignment_costs(x0: &[f64], x1: &[f64], dim: usize) -> Vec<f64> {
    let mut costs = vec![];
    for b in x1.chunks_exact(dim) {
        for a in x0.chunks_exact(dim) {
            costs.push((0..dim).map(|k| (b[k] - a[k]).powi(2)).sum());
        }
    }
    costs
}

/// The units of a cost of 1: the power of two for which the largest cost that the bounding boxes allow is below 2^28
/// and, doubled, would not be.
pub fn assignment_begin(x0: &[f64], x1: &[f64], dim: usize) -> f64 {
    let mut bound = 0.0;
    for k in 0..dim {
        let extreme =
            |x: &[f64], sign: f64| x.chunks_exact(dim).map(|x| sign * x[k]).fold(f64::NEG_INFINITY, f64::max);
        bound += (extreme(x0, 1.0) + extreme(x1, -1.0)).max(extreme(x1, 1.0) + extreme(x0, -1.0)).powi(2);
    }
    2f64.powi((27 - bound.log2().max(-1000.0).floor() as i32).clamp(-100, 100))
}

/// By the Hungarian method, in the form of E. L. Lawler (1976): rows one after the other, shortest paths with
/// potentials.
// costs: [N, N]
// out: [N]
pub fn assignment(costs: &[f64], n: usize) -> Vec<usize> {
    // Column n stands for "none".
    let (mut u, mut v, mut row_of) = (vec![0.0; n + 1], vec![0.0; n + 1], vec![n; n + 1]);
    for row in 0..n {
        let (mut shortest, mut before, mut done) = (vec![f64::INFINITY; n], vec![n; n], vec![false; n + 1]);
        let mut column = n;
        row_of[n] = row;
        while row_of[column] < n {
            done[column] = true;
            let i = row_of[column];
            let (mut least, mut next) = (f64::INFINITY, n);
            for j in 0..n {
                if !done[j] {
                    let reduced = costs[i * n + j] - u[i] - v[j];
                    if reduced < shortest[j] {
                        shortest[j] = reduced;
                        before[j] = column;
                    }
                    if shortest[j] < least {
                        least = shortest[j];
                        next = j;
                    }
                }
            }
            for j in 0..=n {
                if done[j] {
                    u[row_of[j]] += least;
                    v[j] -= least;
                } else if j < n {
                    shortest[j] -= least;
                }
            }
            column = next;
        }
        while column < n {
            row_of[column] = row_of[before[column]];
            column = before[column];
        }
    }
    let mut partners = vec![n; n];
    for j in 0..n {
        partners[row_of[j]] = j;
    }
    partners
}

pub fn cost(costs: &[f64], partners: &[usize]) -> f64 {
    partners.iter().enumerate().map(|(i, j)| costs[i * partners.len() + j]).sum()
}

/// The least cost of all permutations, one after the other.
pub fn least_cost(costs: &[f64], n: usize) -> f64 {
    fn rest(costs: &[f64], n: usize, row: usize, taken: &mut Vec<bool>) -> f64 {
        if row == n {
            return 0.0;
        }
        let mut least = f64::INFINITY;
        for j in 0..n {
            if !taken[j] {
                taken[j] = true;
                least = least.min(costs[row * n + j] + rest(costs, n, row + 1, taken));
                taken[j] = false;
            }
        }
        least
    }
    rest(costs, n, 0, &mut vec![false; n])
}

#[test]
fn the_hungarian_method_finds_the_least_cost() {
    for n in 1..8usize {
        for seed in 0..5 {
            let points = |stream| super::philox::normal_rows(seed, 0, stream, n, 2);
            let costs = assignment_costs(&points(0), &points(1), 2);
            let partners = assignment(&costs, n);
            let mut sorted = partners.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, (0..n).collect::<Vec<_>>());
            let (got, want) = (cost(&costs, &partners), least_cost(&costs, n));
            assert!((got - want).abs() < 1e-12, "{n} points: {got} for {want}");
        }
    }
}

#[test]
fn on_a_line_the_order_is_kept() {
    let costs = assignment_costs(&[3.0, 1.0, 2.0], &[10.0, 30.0, 20.0], 1);
    assert_eq!(assignment(&costs, 3), [1, 0, 2]);
    assert_eq!(assignment_begin(&[3.0, 1.0, 2.0], &[10.0, 30.0, 20.0], 1), 2f64.powi(18));
}
