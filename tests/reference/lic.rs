//! Line integral convolution (Cabral and Leedom 1993): noise smeared along the lines of a field.
//!
//!   streaks(p) = Σ_k w_k·n(x_k) / √(Σ_k w_k²),     x_(k±1) = x_k ± step·e(x_k ± step/2·e(x_k)),     e = v/‖v‖

/// A field on a grid, from edge to edge of a picture of so many texels.
#[derive(Clone, Debug)]
pub struct Picture<'a> {
    /// Columns and rows, in texels.
    pub size: [usize; 2],
    /// Columns and rows of the grid.
    pub grid: [usize; 2],
    /// Texels a unit of x and of y.
    pub scale: [f64; 2],
    /// [rows, columns, 2]
    pub velocities: &'a [f64],
    /// [H, W]
    pub noise: &'a [f64],
}

/// What lies between the points of a table [rows, columns, width], at a place between 0 and columns − 1, rows − 1.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "places in a table")]
fn between(table: &[f64], [columns, rows]: [usize; 2], width: usize, k: usize, [x, y]: [f64; 2]) -> f64 {
    let (x, y) = (x.clamp(0.0, (columns - 1) as f64), y.clamp(0.0, (rows - 1) as f64));
    let (i, j) = (x.floor() as usize, y.floor() as usize);
    let (right, below) = ((i + 1).min(columns - 1), (j + 1).min(rows - 1));
    let (p, q) = (x - i as f64, y - j as f64);
    let at = |i: usize, j: usize| table[(j * columns + i) * width + k];
    (1.0 - q) * ((1.0 - p) * at(i, j) + p * at(right, j))
        + q * ((1.0 - p) * at(i, below) + p * at(right, below))
}

impl Picture<'_> {
    /// e at a place, or 0 where nothing moves.
    pub fn direction(&self, [x, y]: [f64; 2]) -> [f64; 2] {
        let place = [
            x / self.size[0] as f64 * (self.grid[0] - 1) as f64,
            y / self.size[1] as f64 * (self.grid[1] - 1) as f64,
        ];
        let v = [0, 1].map(|k| self.scale[k] * between(self.velocities, self.grid, 2, k, place));
        let length = v[0].hypot(v[1]);
        if length > 1e-15 { v.map(|v| v / length) } else { [0.0; 2] }
    }

    /// The places x_−reach … x_reach of a texel's line, and whether each is inside of the picture, as all before it are.
    pub fn line(&self, texel: usize, reach: usize, step: f64) -> Vec<([f64; 2], bool)> {
        let middle = [(texel % self.size[0]) as f64 + 0.5, (texel / self.size[0]) as f64 + 0.5];
        let walk = |step: f64| {
            let (mut place, mut inside) = (middle, true);
            let mut places = vec![];
            for _ in 0..reach {
                let e = self.direction(place);
                let e = self.direction([place[0] + 0.5 * step * e[0], place[1] + 0.5 * step * e[1]]);
                place = [place[0] + step * e[0], place[1] + step * e[1]];
                inside &= (0..2).all(|k| (0.0..=self.size[k] as f64).contains(&place[k]));
                places.push((place, inside));
            }
            places
        };
        let mut line = walk(-step);
        line.reverse();
        line.push((middle, true));
        line.extend(walk(step));
        line
    }
}

/// The streaks.
// weights: [2·reach + 1]
// out: [H, W]
pub fn lic(picture: &Picture<'_>, weights: &[f64], step: f64) -> Vec<f64> {
    let reach = weights.len() / 2;
    (0..picture.size[0] * picture.size[1])
        .map(|texel| {
            let line = picture.line(texel, reach, step);
            if picture.direction(line[reach].0) == [0.0; 2] {
                return 0.0;
            }
            let (mut sum, mut squares) = (0.0, 0.0);
            for ((place, inside), w) in line.into_iter().zip(weights) {
                if inside {
                    sum += w * between(picture.noise, picture.size, 1, 0, place.map(|x| x - 0.5));
                    squares += w * w;
                }
            }
            if squares > 0.0 { sum / squares.sqrt() } else { 0.0 }
        })
        .collect()
}

#[test]
fn by_hand() {
    // To the right everywhere, over a row of four texels: the mean of a texel and its neighbours, times the root of how
    // many there are.
    let picture = Picture {
        size: [4, 1],
        grid: [2, 2],
        scale: [1.0, -1.0],
        velocities: &[3.0, 0.0].repeat(4),
        noise: &[1.0, 2.0, 4.0, 8.0],
    };
    let root = |n: f64| n.sqrt();
    let want = [3.0 / root(2.0), 7.0 / root(3.0), 14.0 / root(3.0), 12.0 / root(2.0)];
    for (got, want) in lic(&picture, &[1.0; 3], 1.0).into_iter().zip(want) {
        assert!((got - want).abs() < 1e-12, "{got} instead of {want}");
    }
    // What is upstream alone.
    for (got, want) in lic(&picture, &[1.0, 0.0, 0.0], 1.0).into_iter().zip([0.0, 1.0, 2.0, 4.0]) {
        assert!((got - want).abs() < 1e-12, "{got} instead of {want}");
    }
    // Upwards is downwards in the picture, and it leaves at once.
    let up = Picture { velocities: &[0.0, 1.0].repeat(4), ..picture.clone() };
    assert_eq!(up.direction([1.0, 0.5]), [0.0, -1.0]);
    assert_eq!(lic(&up, &[1.0; 3], 1.0), [1.0, 2.0, 4.0, 8.0]);
    // Where nothing moves there are no streaks.
    let still = Picture { velocities: &[0.0; 8], ..picture };
    assert_eq!(lic(&still, &[1.0; 3], 1.0), [0.0; 4]);
}
