//! What a solver with fixed steps is told of each of them: its length, its noise, and the evaluations of its stages.

use crate::flow::{Diffusion, Evaluation, Grid, Method, Path, Solver};

/// The steps from t0 to t1, worked out as they are asked for.
#[derive(Clone, Debug)]
pub(crate) struct Timetable {
    pub solver: &'static Solver,
    pub grid: Grid,
    pub steps: u32,
    pub t0: f64,
    pub t1: f64,
    /// The model's path.
    pub path: Path,
    /// Another path, through which the model is followed.
    pub through: Option<Path>,
    pub diffusion: Option<Diffusion>,
}

/// One step.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Step {
    /// Its length, with its sign.
    pub h: f32,
    /// g·√h.
    pub noise: f32,
    /// Of a multistep method: factors of this step's velocity and of the one before.
    pub weights: [f32; 2],
    /// (t, c, α, β) of each stage.
    pub stages: Vec<[f32; 4]>,
}

#[allow(clippy::cast_possible_truncation, reason = "the device computes in float32")]
impl Timetable {
    /// The time before step `i`, or after the last one.
    pub fn time(&self, i: u32) -> f64 {
        self.grid.time(i, self.steps, self.t0, self.t1)
    }

    /// The first step whose noise is too large for its length, of a stochastic flow: (t, h·g²/b²).
    ///
    /// Around the mean, the score pulls by −x/b², so a step multiplies what is left by 1 − h·g²/(2b²): beyond 2 it
    /// overshoots, and beyond 4 it diverges.
    pub fn overshoot(&self) -> Option<(f64, f64)> {
        const MOST: f64 = 2.0;
        let diffusion = self.diffusion.as_ref()?;
        let followed = self.through.as_ref().unwrap_or(&self.path);
        (0..self.steps).find_map(|i| {
            let t = self.time(i);
            let b = followed.schedule(t.min(followed.t_max()))[1];
            let share = (self.time(i + 1) - t) * (diffusion.at(t) / b).powi(2);
            (share > MOST).then_some((t, share))
        })
    }

    /// Step `i`, from 0.
    pub fn step(&self, i: u32) -> Step {
        let (t, end) = (self.time(i), self.time(i + 1));
        let h = end - t;
        let noise = match &self.diffusion {
            Some(diffusion) => diffusion.at(t) * h.sqrt(),
            None => 0.0,
        };
        let ratio = match self.solver.method {
            Method::Multistep if i > 0 => h / (t - self.time(i - 1)),
            _ => 0.0,
        };
        Step {
            h: h as f32,
            noise: noise as f32,
            weights: [(1.0 + ratio / 2.0) as f32, (-ratio / 2.0) as f32],
            stages: self.solver.c.iter().map(|c| narrow(&self.evaluation(t + c * h))).collect(),
        }
    }

    /// What is evaluated at time `t` of the path that is followed.
    fn evaluation(&self, t: f64) -> Evaluation {
        let evaluation = match &self.through {
            Some(path) => Evaluation::through(&self.path, path, t),
            None => Evaluation::velocity(t),
        };
        match &self.diffusion {
            Some(diffusion) => {
                let followed = self.through.as_ref().unwrap_or(&self.path);
                evaluation.with_diffusion(followed.schedule(t.min(followed.t_max())), diffusion.at(t))
            }
            None => evaluation,
        }
    }
}

/// As the device takes it.
#[allow(clippy::cast_possible_truncation, reason = "the device computes in float32")]
pub(crate) fn narrow(evaluation: &Evaluation) -> [f32; 4] {
    let Evaluation { t, scale, alpha, beta } = *evaluation;
    [t as f32, scale as f32, alpha as f32, beta as f32]
}
