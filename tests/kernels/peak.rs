//! What a device's peak is measured with: peak_flops.wgsl, peak_bandwidth.wgsl.

use windfield::gpu::Variant;
use windfield::measure::bench::Chains;

use crate::common::{Launch, Report, UNIT, random, wide, word};
use crate::reference::peak_bandwidth::peak_bandwidth;
use crate::reference::peak_flops::peak_flops;

#[test]
fn chains_are_the_twins() {
    let mut report = Report::new();
    let (a, b) = (0.5f32, 0.7f32);
    for (lanes, chains) in [(1, 1), (8, 2), (16, 3), (64, 4), (256, 8)] {
        for iterations in [0, 1, 7, 1000] {
            let groups = 3;
            let constants = Chains { iterations, a, b, padding: 0 };
            let variant =
                Variant::new("peak_flops").with("CHAINS", chains).with("UNROLLED", 4).with("LANES", lanes);
            let before = vec![f32::NAN; 4 * (groups * lanes) as usize];
            let launch = Launch::new(variant).uniform(0, &constants).output(1, &before);
            let sums: Vec<f32> = launch.run(&mut report, [groups, 1, 1]).get(1);
            let want: Vec<f64> = (0..groups * lanes)
                .flat_map(|at| peak_flops(at, chains, 4 * iterations, a.into(), b.into()))
                .collect();
            // A step rounds twice, at most at what the chain began with or tends to, and halves what was wrong before;
            // so does every addition of a chain.
            let largest = f64::from(chains) + 2.0;
            let error = UNIT * f64::from(chains) * (4.0 * largest + f64::from(chains) * largest);
            let name = format!("{lanes} lanes, {chains} chains, {iterations} iterations");
            report.close(&name, &sums, &want, |_| error);
        }
    }
    report.finish();
}

#[test]
fn buffers_are_gone_over_once() {
    let mut report = Report::new();
    for (lanes, quads, groups) in [(1, 1, 1), (8, 8, 5), (64, 4, 3), (256, 2, 2)] {
        let numbers = 4 * lanes * quads * groups;
        let source = random(17, numbers);
        let variant = Variant::new("peak_bandwidth").with("LANES", word(lanes)).with("QUADS", word(quads));
        let name = format!("{lanes} lanes, {quads} quads, {groups} workgroups");
        let launch = Launch::new(variant.clone()).input(0, &source).output(1, &vec![f32::NAN; numbers]);
        let copy: Vec<f32> = launch.run(&mut report, [word(groups), 1, 1]).get(1);
        report.same_bits(&format!("copy, {name}"), &copy, &source);
        let before = vec![f32::NAN; numbers / quads];
        let sum = variant.flag("SUM", true);
        let launch = Launch::new(sum.clone()).input(0, &source).output(1, &before);
        let sums: Vec<f32> = launch.run(&mut report, [word(groups), 1, 1]).get(1);
        let launch = Launch::new(sum.flag("TEXTURES", true)).output(1, &before);
        let launch = launch.matrix(0, &source, 4 * lanes * quads, true);
        let of_texture: Vec<f32> = launch.run(&mut report, [word(groups), 1, 1]).get(1);
        report.same_bits(&format!("sums of a texture, {name}"), &of_texture, &sums);
        let want = peak_bandwidth(&wide(&source), quads, lanes);
        let magnitudes =
            peak_bandwidth(&wide(&source).iter().map(|x| x.abs()).collect::<Vec<_>>(), quads, lanes);
        report.close(&format!("sums, {name}"), &sums, &want, |i| UNIT * (quads + 1) as f64 * magnitudes[i]);
    }
    report.finish();
}
