//! Particles counted pixel by pixel.
//!
//!   p = (1 − part)·x_state + part·x_(state + 1),     q = M·(p, 1),     pixel = ⌊(½ + ½·q_xy/q_w)·(columns, rows)⌋

/// A camera and the picture behind it.
#[derive(Clone, Debug)]
pub struct Camera {
    /// Column by column.
    pub matrix: [f64; 16],
    /// Columns and rows.
    pub size: [usize; 2],
    /// What q_w is at depth 0 and at depth 255.
    pub depths: [f64; 2],
}

/// Where a particle is in the picture, in pixels, and its depth, 0 to 255; none behind the camera.
pub fn splat(
    camera: &Camera,
    from: &[f64],
    to: &[f64],
    part: f64,
    shown: &[usize],
) -> Option<([f64; 2], f64)> {
    let mut p = [0.0, 0.0, 0.0, 1.0];
    for (axis, &column) in p.iter_mut().zip(shown) {
        *axis = (1.0 - part) * from[column] + part * to[column];
    }
    let row = |i: usize| (0..4).map(|j| camera.matrix[4 * j + i] * p[j]).sum::<f64>();
    let (x, y, w) = (row(0), row(1), row(3));
    let [near, far] = camera.depths;
    let depth = 255.0 * ((w - near) / (far - near)).clamp(0.0, 1.0);
    let place = [(0.5 + 0.5 * x / w) * camera.size[0] as f64, (0.5 + 0.5 * y / w) * camera.size[1] as f64];
    (w > 0.0).then_some((place, depth))
}
