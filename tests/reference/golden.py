"""Writes golden.rs: what PyTorch computes in float64, as constants for the tests of the reference.

    pip install numpy torch
    python golden.py > golden.rs

Only PyTorch's own activations, autograd, clipping, optimiser, schedulers and weight averaging are
used: nothing here shares a formula with the reference but the inputs (wave) and the warm-up of the
average's decay.
"""

import math

import torch
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, SequentialLR
from torch.optim.swa_utils import AveragedModel

torch.set_default_dtype(torch.float64)

ACTIVATIONS = {
    "relu": nn.ReLU(),
    "silu": nn.SiLU(),
    "gelu": nn.GELU(approximate="tanh"),
    "selu": nn.SELU(),
    "tanh": nn.Tanh(),
    # Beyond its threshold PyTorch takes z itself, which is off by 2e-9 at the default of 20.
    "softplus": nn.Softplus(threshold=40),
}
POINTS = [-30.0, -8.0, -3.0, -1.0, -0.3, -1e-3, 0.0, 1e-3, 0.3, 1.0, 3.0, 8.0, 30.0]

DIM = 2
TIME_FREQUENCIES = 2
WIDTHS = [DIM + 1 + 2 * TIME_FREQUENCIES, 5, 3, DIM]
BATCH = 4
STEPS = 10
WARMUP = 3
LEARNING_RATE = 0.05
WEIGHT_DECAY = 0.1
CLIP = 12.0
EMA = 0.35


def wave(count, phase):
    """Numbers without a pattern that matters, the same in any language."""
    return torch.tensor([math.sin(12.9898 * i + phase) for i in range(count)])


def features(x, t):
    angles = 2 * torch.pi * t[:, None] * torch.arange(1, TIME_FREQUENCIES + 1)
    return torch.cat([x, t[:, None], angles.sin(), angles.cos()], dim=1)


def run(activation):
    layers = []
    for inputs, outputs in zip(WIDTHS, WIDTHS[1:]):
        layers += [nn.Linear(inputs, outputs), activation]
    net = nn.Sequential(*layers[:-1])
    with torch.no_grad():
        for i, p in enumerate(net.parameters()):
            p.copy_(wave(p.numel(), i).view_as(p))

    optimizer = torch.optim.AdamW(net.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    scheduler = SequentialLR(
        optimizer,
        [
            LinearLR(optimizer, start_factor=1 / WARMUP, total_iters=WARMUP - 1),
            CosineAnnealingLR(optimizer, T_max=STEPS - WARMUP),
        ],
        milestones=[WARMUP],
    )

    def average_of(average, p, updates):
        d = min(EMA, (1 + updates.item()) / (10 + updates.item()))
        return d * average + (1 - d) * p

    average = AveragedModel(net, avg_fn=average_of)
    average.update_parameters(net)  # its first call copies the initial weights

    losses, norms, rates = [], [], []
    for step in range(STEPS):
        x = wave(BATCH * DIM, 100 + step).view(BATCH, DIM)
        t = 0.5 + 0.5 * wave(BATCH, 200 + step)
        u = 3 * wave(BATCH * DIM, 300 + step).view(BATCH, DIM)
        optimizer.zero_grad()
        loss = (net(features(x, t)) - u).square().sum(dim=1).mean()
        loss.backward()
        norms.append(nn.utils.clip_grad_norm_(net.parameters(), CLIP).item())
        losses.append(loss.item())
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
        average.update_parameters(net)
    flat = lambda model: torch.cat([p.detach().flatten() for p in model.parameters()]).tolist()
    return losses, norms, rates, flat(net), flat(average.module)


def array(numbers):
    return "[" + ", ".join(repr(number) for number in numbers) + "]"


def main():
    parameters = sum((inputs + 1) * outputs for inputs, outputs in zip(WIDTHS, WIDTHS[1:]))
    runs = {name: run(activation) for name, activation in ACTIVATIONS.items()}
    n, s, p = len(POINTS), STEPS, parameters
    print("//! What PyTorch computes in float64. Written by `golden.py`; do not edit.")
    print(f"// PyTorch {torch.__version__}")
    print()
    print('#![allow(clippy::unreadable_literal, clippy::excessive_precision, reason = "as Python writes them")]')
    print('#![allow(clippy::approx_constant, reason = "results of a computation")]')
    print()
    print(f"pub const POINTS: [f64; {n}] = {array(POINTS)};")
    print()
    print("/// Name, values and slopes at the points.")
    print(f"pub const ACTIVATIONS: [(&str, [f64; {n}], [f64; {n}]); {len(ACTIVATIONS)}] = [")
    for name, activation in ACTIVATIONS.items():
        z = torch.tensor(POINTS, requires_grad=True)
        h = activation(z)
        h.sum().backward()
        print(f'    ("{name}",\n     {array(h.tolist())},\n     {array(z.grad.tolist())}),')
    print("];")
    print()
    print(f"pub const TIME_FREQUENCIES: usize = {TIME_FREQUENCIES};")
    print(f"pub const WIDTHS: [usize; {len(WIDTHS)}] = {WIDTHS};")
    print(f"pub const BATCH: usize = {BATCH};")
    print(f"pub const STEPS: usize = {STEPS};")
    print(f"pub const WARMUP: usize = {WARMUP};")
    print(f"pub const LEARNING_RATE: f64 = {LEARNING_RATE!r};")
    print(f"pub const WEIGHT_DECAY: f64 = {WEIGHT_DECAY!r};")
    print(f"pub const CLIP: f64 = {CLIP!r};")
    print(f"pub const EMA: f64 = {EMA!r};")
    print()
    print("/// Cosine with warm-up.")
    print(f"pub const LEARNING_RATES: [f64; {s}] = {array(runs['relu'][2])};")
    print()
    print("/// A training run.")
    print("pub struct Run {")
    print("    pub activation: &'static str,")
    print(f"    pub losses: [f64; {s}],")
    print("    /// Before clipping.")
    print(f"    pub gradient_norms: [f64; {s}],")
    print("    /// W and b of each layer in turn, after the last update.")
    print(f"    pub weights: [f64; {p}],")
    print(f"    pub average: [f64; {p}],")
    print("}")
    print()
    print(f"pub const RUNS: [Run; {len(runs)}] = [")
    for name, (losses, norms, _, weights, average) in runs.items():
        print("    Run {")
        print(f'        activation: "{name}",')
        print(f"        losses: {array(losses)},")
        print(f"        gradient_norms: {array(norms)},")
        print(f"        weights: {array(weights)},")
        print(f"        average: {array(average)},")
        print("    },")
    print("];")


if __name__ == "__main__":
    main()
