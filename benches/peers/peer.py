"""What the Python peers have in common: requests on standard input, a line each; answers on standard output.

    check D:LxW:B STEPS LAST      trains from fresh weights; the mean loss of the last steps
    train D:LxW:B SECONDS         trains on for about so long; steps and seconds
    check-sample D:LxW:N EULER    trains (batches of 256), samples n particles; two moments of them
    sample D:LxW:N EULER SECONDS  samples n particles again and again for about so long; particles and seconds
    check-couple D:1x1:N X0 X1    the mean squared distance of the best pairs of the points in two .npy files
    couple D:1x1:N SECONDS        solves assignments of n points for about so long; problems and seconds

An answer is a line of JSON behind "> ", so that what libraries print does no harm.
"""

import argparse
import json
import os
import sys
import time
import traceback
from pathlib import Path

from shape import Shape

LR = 3e-3
# The training behind the network that is sampled.
SAMPLED_BATCH, SAMPLED_STEPS = 256, 1000


def arguments(modes):
    parser = argparse.ArgumentParser()
    parser.add_argument("mode", choices=modes)
    parser.add_argument("--data", type=Path, required=True, help="the folder of the data sets")
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], required=True)
    return parser.parse_args()


class Clock:
    """Runs something for about a given time, in one go: how often is known from the run before."""

    def __init__(self, run):
        self.run = run  # of so many repetitions; returns when they are done
        self.rate = None

    def measure(self, seconds):
        if self.rate is None:
            # Compilation and tuning are over after the first.
            self.run(1)
            count, taken = 1, 0.0
            while taken < 0.2:
                taken = self.timed(count)
                self.rate, count = count / taken, 4 * count
        count = max(1, round(self.rate * seconds))
        taken = self.timed(count)
        self.rate = count / taken
        return count, taken

    def timed(self, count):
        begun = time.perf_counter()
        self.run(count)
        return time.perf_counter() - begun


def serve(peer):
    """Answers requests until there are no more.

    `peer` has `versions` (what runs, in words), and makes `trainer(shape)` (with `run(steps)` and `mean_loss(steps)`)
    and `sampler(shape, trainer, euler)` (which returns samples [n, d] on the host); or it has `cost(files)` and makes
    `coupler(shape)`, which solves so many assignments.
    """
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)

    def answer(**fields):
        answers.write("> " + json.dumps(fields) + "\n")

    answer(versions=peer.versions)
    trainers, trained, samplers, clocks = {}, {}, {}, {}

    def trainer(shape):
        if shape not in trainers:
            trainers[shape] = peer.trainer(shape)
        return trainers[shape]

    def clock(key, run):
        if key not in clocks:
            clocks[key] = Clock(run)
        return clocks[key]

    def sampler(shape, euler):
        if shape not in samplers:
            training = shape._replace(rows=SAMPLED_BATCH)
            network = trainer(training)
            if training not in trained:
                network.run(SAMPLED_STEPS)
            samplers[shape] = peer.sampler(shape, network, euler)
        return samplers[shape]

    for line in sys.stdin:
        kind, shape, *rest = line.split()
        shape = Shape.parse(shape)
        try:
            if kind == "check":
                steps, last = map(int, rest)
                trainer(shape).run(steps - last)
                answer(loss=trainer(shape).mean_loss(last))
                trained[shape] = steps
            elif kind == "train":
                steps, seconds = clock(("train", shape), trainer(shape).run).measure(float(rest[0]))
                answer(count=steps, seconds=seconds)
            elif kind == "check-sample":
                samples = sampler(shape, int(rest[0]))()
                product = float((samples[:, 0] * samples[:, 1]).mean()) if shape.dim > 1 else 0.0
                answer(deviation=float((samples**2).mean() ** 0.5), product=product)
            elif kind == "sample":
                draw = sampler(shape, int(rest[0]))
                repeat = lambda count: [draw() for _ in range(count)] and None
                count, seconds = clock(("sample", shape), repeat).measure(float(rest[1]))
                answer(count=count * shape.rows, seconds=seconds)
            elif kind == "check-couple":
                answer(cost=peer.cost(rest))
            elif kind == "couple":
                count, seconds = clock(("couple", shape), peer.coupler(shape)).measure(float(rest[0]))
                answer(count=count, seconds=seconds)
            else:
                answer(error=f"'{kind}' is no request")
        except Exception as error:  # whatever a library throws is an answer, too
            traceback.print_exc()
            said = str(error).strip() or type(error).__name__
            answer(error=said.splitlines()[0])
