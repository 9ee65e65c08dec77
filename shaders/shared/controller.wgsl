// The control of the step of an embedded Runge–Kutta method: a PI controller on the estimated error, as in Hairer's
// DOPRI5 (Hairer, Nørsett, Wanner, "Solving ordinary differential equations I", II.4).

//#include "shared/particle.wgsl"

const BETA: f32 = 0.04;
const EXPONENT: f32 = 0.17;         // 0.2 − 0.75·β
const SAFETY: f32 = 0.9;
const MOST_GROWTH: f32 = 10.0;
const MOST_SHRINKAGE: f32 = 5.0;

fn is_finite(x: f32) -> bool {
    // by bits: WGSL lets compilers assume that no NaN occurs
    return (bitcast<u32>(x) & 0x7f800000u) != 0x7f800000u;
}

// Which of the columns 4·block … 4·block + 3 belong to the state.
fn is_state(block: u32) -> vec4<bool> {
    return vec4u(4u * block) + vec4u(0u, 1u, 2u, 3u) < vec4u(STATE);
}

// The root of the mean of squares over the state's columns.
fn root_mean(squares: vec4f) -> f32 {
    return sqrt(((squares.x + squares.y) + (squares.z + squares.w)) / f32(STATE));
}

// What an error is measured by, from magnitudes of the state.
fn scale(magnitude: vec4f) -> vec4f {
    return vec4f(tableau.absolute) + tableau.relative * magnitude;
}

// The first step from norms of y and of k_1, relative to the tolerances.
fn first_step(y: f32, k: f32) -> f32 {
    let interval = tableau.t1 - tableau.t0;
    var h = 1e-6;
    if (y > 1e-5 && k > 1e-5) {
        h = 0.01 * y / k;
    }
    return sign(interval) * min(h, abs(interval));
}

// What follows from a step of length h whose error was `error` in units of the tolerance.
fn decide(particle: Particle, h: f32, error: f32) -> Particle {
    var next = particle;
    // A velocity that is not finite counts as a large error: a smaller step may stay where it is finite.
    let growth = pow(clamp(select(1e10, error, is_finite(error)), 1e-10, 1e10), EXPONENT);
    if (is_finite(error) && error <= 1.0) {
        let factor = clamp(growth / pow(particle.error, BETA) / SAFETY, 1.0 / MOST_GROWTH, MOST_SHRINKAGE);
        var length = abs(h) / factor;
        if (particle.after_rejection != 0u) {
            length = min(length, abs(h));
        }
        next.t = select(particle.t + h, tableau.t1, h == tableau.t1 - particle.t);
        next.h = sign(h) * length;
        next.error = max(error, 1e-4);
        next.after_rejection = 0u;
        next.accepted++;
        if (next.t == tableau.t1) {
            next.status = DONE;
        }
    } else {
        next.h = h / min(MOST_SHRINKAGE, growth / SAFETY);
        next.after_rejection = 1u;
        next.rejected++;
    }
    if (next.status == RUNNING) {
        if (next.t + next.h == next.t) {
            next.status = STUCK;
        } else if (next.accepted + next.rejected >= tableau.most_steps) {
            next.status = OUT_OF_STEPS;
        }
    }
    return next;
}

// Dense output: y at θ in [0, 1] of a step, from its two ends, h·k at both of them, and h·Σ d_i·k_i.
fn interpolate(theta: f32, y0: vec4f, y1: vec4f, k0: vec4f, k1: vec4f, bulge: vec4f) -> vec4f {
    let rest = 1.0 - theta;
    let change = y1 - y0;
    let bend = k0 - change;
    let inner = y0 + theta * (change + rest * (bend + theta * ((change - k1 - bend) + rest * bulge)));
    return select(inner, y1, theta >= 1.0);
}
