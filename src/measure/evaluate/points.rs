//! Points to test with: fresh ones of a built-in density, or the rows of a file.

use crate::data::{Dataset, Stream, sources};
use crate::{Error, Result};

/// Test sets of a repetition are drawn with these seeds and the following ones: far from those that people choose.
const FRESH: u64 = 0x7e57_0000_0000_0000;

/// Where test points come from.
#[derive(Debug)]
pub(super) enum TestPoints<'a> {
    /// The built-in density of this name: as many points as one likes, other ones than those of the data set.
    Fresh(&'static str),
    /// The rows of the data set, in a random order for every repetition.
    Rows(&'a Dataset),
}

impl<'a> TestPoints<'a> {
    /// By the name of the data set: `moons` or `moons:1000` stand for the density.
    pub fn of(data: &'a Dataset) -> Self {
        let name = data.name().split_once(':').map_or(data.name(), |(name, _)| name);
        match sources().iter().find(|toy| toy.name == name && toy.dim == data.dim()) {
            Some(toy) => Self::Fresh(toy.name),
            None => Self::Rows(data),
        }
    }

    /// Whether they are drawn anew.
    pub fn is_fresh(&self) -> bool {
        matches!(self, Self::Fresh(_))
    }

    /// How many a set may have when two sets are to have no point in common.
    pub fn most(&self) -> usize {
        match self {
            Self::Fresh(_) => usize::MAX,
            Self::Rows(data) => data.rows() / 2,
        }
    }

    /// `count` sets of `n` points in data units, no two of which have a point in common, for a repetition.
    pub fn sets(&self, count: usize, n: usize, seed: u64, repetition: usize) -> Result<Vec<Vec<f32>>> {
        match self {
            Self::Fresh(name) => (0..count)
                .map(|set| {
                    let number = ((repetition * count + set) as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                    let data = Dataset::open_seeded(&format!("{name}:{n}"), FRESH ^ seed ^ number)?;
                    Ok(data.values().to_vec())
                })
                .collect(),
            Self::Rows(data) => {
                if n.saturating_mul(count) > data.rows() {
                    return Err(Error::input(
                        data.name(),
                        format!("{count} sets of {n} rows out of {}", data.rows()),
                        "give a smaller -n, or more rows",
                    ));
                }
                let mut order: Vec<usize> = (0..data.rows()).collect();
                Stream::new(&format!("test points {repetition}"), seed).shuffle(&mut order);
                Ok(order[..count * n]
                    .chunks(n)
                    .map(|rows| rows.iter().flat_map(|&row| data.row(row)).copied().collect())
                    .collect())
            }
        }
    }
}
