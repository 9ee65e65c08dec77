"""JAX: a step compiled by `jit`, and one call for many steps (`fori_loop`), as data on the device allow."""

import os

import peer


def work(options):
    # Others work on this device, too.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    if options.device == "cpu":
        os.environ["JAX_PLATFORMS"] = "cpu"
    import jax

    # float32 as it is: no TF32
    jax.config.update("jax_default_matmul_precision", "highest")
    if options.device == "cuda" and jax.default_backend() != "gpu":
        raise SystemExit(f"this JAX sees no GPU, only {jax.default_backend()}")
    return Jax(jax, options)


class Jax:
    def __init__(self, jax, options):
        self.jax, self.folder, self.loop = jax, options.data, options.mode == "loop"
        device = jax.devices()[0]
        where = f"CPU, {options.threads} threads" if device.platform == "cpu" else device.device_kind
        self.versions = f"JAX {jax.__version__} on {where}"

    def trainer(self, shape):
        return Trainer(self, shape)

    def sampler(self, shape, trainer, euler):
        """100 Euler steps of `rows` particles, from noise drawn on the device to an array on the host."""
        import numpy

        jax, jnp = self.jax, self.jax.numpy

        @jax.jit
        def draw(weights, key):
            def step(index, x):
                return x + velocity(jax, weights, x, jnp.full((shape.rows, 1), index / euler)) / euler

            return jax.lax.fori_loop(0, euler, step, jax.random.normal(key, (shape.rows, shape.dim)))

        keys = iter(lambda: jax.random.key(next(counter)), None)
        counter = iter(range(1 << 60))
        return lambda: numpy.asarray(draw(trainer.state[0], next(keys)))


def velocity(jax, weights, x, t):
    y = jax.numpy.concatenate([x, t], 1)
    for index, (weight, bias) in enumerate(weights):
        y = (jax.nn.silu(y) if index else y) @ weight + bias
    return y


class Trainer:
    def __init__(self, jax_, shape):
        import numpy

        jax, jnp, tree = jax_.jax, jax_.jax.numpy, jax_.jax.tree
        data = jnp.asarray(numpy.load(jax_.folder / f"moons-{shape.dim}.npy"))
        weights, key = [], jax.random.key(1)
        for inputs, outputs in zip(shape.sizes, shape.sizes[1:]):
            key, first, second = jax.random.split(key, 3)
            bound = inputs**-0.5
            weight = jax.random.uniform(first, (inputs, outputs), minval=-bound, maxval=bound)
            weights.append((weight, jax.random.uniform(second, (outputs,), minval=-bound, maxval=bound)))
        zeros = tree.map(jnp.zeros_like, weights)
        self.jax = jax
        # weights, both moments, updates so far, random key, the sum of the losses
        self.state = (weights, zeros, tree.map(jnp.zeros_like, weights), jnp.zeros(()), key, jnp.zeros(()))

        def loss(weights, key):
            pick, noise, time = jax.random.split(key, 3)
            x1 = data[jax.random.randint(pick, (shape.rows,), 0, data.shape[0])]
            x0 = jax.random.normal(noise, (shape.rows, shape.dim))
            t = jax.random.uniform(time, (shape.rows, 1))
            xt = (1 - t) * x0 + t * x1
            return jnp.square(velocity(jax, weights, xt, t) - (x1 - x0)).sum(1).mean()

        def step(state):
            weights, first, second, count, key, total = state
            key, now = jax.random.split(key)
            value, slope = jax.value_and_grad(loss)(weights, now)
            count = count + 1
            first = tree.map(lambda m, g: 0.9 * m + 0.1 * g, first, slope)
            second = tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, second, slope)
            rate, scale = peer.LR / (1 - 0.9**count), 1 / (1 - 0.999**count)
            adam = lambda w, m, v: w - rate * m / (jnp.sqrt(scale * v) + 1e-8)
            return tree.map(adam, weights, first, second), first, second, count, key, total + value

        one = jax.jit(step, donate_argnums=0)
        many = jax.jit(
            lambda state, steps: jax.lax.fori_loop(0, steps, lambda _, state: step(state), state), donate_argnums=0
        )

        def run(steps):
            if jax_.loop:
                self.state = many(self.state, steps)
            else:
                for _ in range(steps):
                    self.state = one(self.state)
            jax.block_until_ready(self.state)

        self.run = run

    def mean_loss(self, steps):
        before = float(self.state[-1])
        self.run(steps)
        return (float(self.state[-1]) - before) / steps


if __name__ == "__main__":
    peer.serve(work(peer.arguments(["jit", "loop"])))
