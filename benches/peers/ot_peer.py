"""Exact assignments on the CPU: POT's network simplex, or SciPy's shortest augmenting paths, one problem after the other.

What is measured is what a training step would ask for: the matrix of squared distances, and the pairs.
"""

import data
import peer

# Problems that are solved in turn.
PROBLEMS = 8


def work(options):
    return Solver(options.mode)


class Solver:
    def __init__(self, mode):
        import numpy
        import scipy

        self.numpy, self.mode = numpy, mode
        self.versions = f"SciPy {scipy.__version__}"
        if mode == "pot":
            import ot

            self.ot, self.versions = ot, f"POT {ot.__version__}"
        else:
            import scipy.optimize
            import scipy.spatial.distance

            self.scipy = scipy
        self.versions += f", numpy {numpy.__version__}"

    def pairs(self, x0, x1):
        """For each row of x0 its row of x1."""
        if self.mode == "pot":
            costs = self.ot.dist(x0, x1)
            uniform = self.numpy.full(len(x0), 1 / len(x0))
            return self.ot.emd(uniform, uniform, costs, numItermax=10_000_000).argmax(1)
        costs = self.scipy.spatial.distance.cdist(x0, x1, "sqeuclidean")
        return self.scipy.optimize.linear_sum_assignment(costs)[1]

    def cost(self, paths):
        """The mean squared distance of the best pairs of the points in two files."""
        x0, x1 = (self.numpy.load(path).astype("float64") for path in paths)
        return float(((x1[self.pairs(x0, x1)] - x0) ** 2).sum(1).mean())

    def coupler(self, shape):
        draw = self.numpy.random.default_rng(1)
        problems = [draw.standard_normal((2, shape.rows, shape.dim)) for _ in range(PROBLEMS)]
        turn = 0

        def solve(count):
            nonlocal turn
            for _ in range(count):
                self.pairs(*problems[turn % PROBLEMS])
                turn += 1

        return solve


if __name__ == "__main__":
    peer.serve(work(peer.arguments(["pot", "scipy"])))
