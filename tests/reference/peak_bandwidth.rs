//! Going over a buffer once, which a device's bandwidth is measured with.

/// The sums of all invocations: each adds `quads` groups of four, `lanes` groups apart.
// source: [workgroups, quads, lanes, 4]
// out: [workgroups, lanes, 4]
pub fn peak_bandwidth(source: &[f64], quads: usize, lanes: usize) -> Vec<f64> {
    let mut out = vec![];
    for workgroup in source.chunks(4 * quads * lanes) {
        for at in 0..4 * lanes {
            out.push((0..quads).map(|k| workgroup[4 * k * lanes + at]).sum());
        }
    }
    out
}

#[test]
fn every_number_is_in_one_sum() {
    let source: Vec<f64> = (0..2 * 3 * 5 * 4).map(f64::from).collect();
    let sums = peak_bandwidth(&source, 3, 5);
    assert_eq!(sums.len(), 2 * 5 * 4);
    assert_eq!(sums.iter().sum::<f64>(), source.iter().sum::<f64>());
    assert_eq!(sums[0], 0.0 + 20.0 + 40.0);
    assert_eq!(sums[39], 79.0 + 99.0 + 119.0);
}
