//! All failures of a test, collected before it fails.

use std::fmt::Debug;
use std::time::Instant;

/// The unit roundoff of float32, 2⁻²⁴: a sum or product is within this fraction of the exact one. A sum of n products
/// in any order is within about (n + 1)·UNIT·Σ|terms| (Higham, Accuracy and Stability of Numerical Algorithms, § 3.1).
pub const UNIT: f64 = f32::EPSILON as f64 / 2.0;

/// Lines of one comparison that are shown: the pattern, not the whole tensor.
const SHOWN: usize = 8;

/// What differs, in one test.
#[derive(Debug)]
pub struct Report {
    begun: Instant,
    failures: Vec<String>,
    elements: usize,
    /// The largest fraction of an allowed error that was used up, and where.
    tightest: (f64, String),
}

impl Report {
    pub fn new() -> Self {
        Self { begun: Instant::now(), failures: vec![], elements: 0, tightest: (0.0, String::new()) }
    }

    /// Compares elements within `allowed(i)`. What is not a number is never close.
    pub fn close(&mut self, name: &str, got: &[f32], want: &[f64], allowed: impl Fn(usize) -> f64) {
        self.elements += got.len();
        if got.len() != want.len() {
            self.failures.push(format!("{name}: {} elements, expected {}", got.len(), want.len()));
            return;
        }
        let mut lines = Vec::new();
        for (i, (&got, &want)) in got.iter().zip(want).enumerate() {
            let (error, allowed) = ((f64::from(got) - want).abs(), allowed(i));
            let fine = error <= allowed;
            if !fine {
                lines.push(format!("{name}[{i}]: {got:e}, expected {want:e} within {allowed:.1e}"));
            } else if error > self.tightest.0 * allowed {
                self.tightest = (error / allowed, format!("{name}[{i}]: {got:e} for {want:e}"));
            }
        }
        self.add(name, lines, got.len());
    }

    /// Compares elements within the same error.
    pub fn near(&mut self, name: &str, got: &[f32], want: &[f64], allowed: f64) {
        self.close(name, got, want, |_| allowed);
    }

    /// Demands the same values.
    pub fn equal<T: PartialEq + Debug>(&mut self, name: &str, got: &[T], want: &[T]) {
        self.elements += got.len();
        if got.len() != want.len() {
            self.failures.push(format!("{name}: {} elements, expected {}", got.len(), want.len()));
            return;
        }
        let lines = (0..got.len())
            .filter(|&i| got[i] != want[i])
            .map(|i| format!("{name}[{i}]: {:?}, expected {:?}", got[i], want[i]))
            .collect();
        self.add(name, lines, got.len());
    }

    /// Demands the same bits, of whatever they are: NaN is itself, and 0 is not −0.
    pub fn same_bits(&mut self, name: &str, got: &[f32], want: &[f32]) {
        let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        self.equal(name, &bits(got), &bits(want));
    }

    /// Demands a fact.
    pub fn holds(&mut self, fact: bool, what: impl FnOnce() -> String) {
        self.elements += 1;
        if !fact {
            self.failures.push(what());
        }
    }

    /// Takes over lines that say what is wrong.
    pub fn extend(&mut self, lines: impl IntoIterator<Item = String>) {
        self.failures.extend(lines);
    }

    fn add(&mut self, name: &str, mut lines: Vec<String>, of: usize) {
        let wrong = lines.len();
        if wrong > SHOWN {
            lines.truncate(SHOWN);
            lines.push(format!("{name}: and so on, {wrong} of {of} elements"));
        }
        self.failures.extend(lines);
    }

    /// Fails if anything differed, or if nothing was compared.
    #[track_caller]
    pub fn finish(self) {
        let (fraction, at) = self.tightest;
        let (elements, seconds) = (self.elements, self.begun.elapsed().as_secs_f64());
        println!(
            "{elements} elements in {seconds:.1} s; the tightest used {fraction:.2} of what is allowed ({at})"
        );
        assert!(self.elements > 0, "nothing was compared");
        let count = self.failures.len();
        assert!(self.failures.is_empty(), "{count} failures:\n{}", self.failures.join("\n"));
    }
}
