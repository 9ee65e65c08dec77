"""PyTorch: eager, compiled, or with a CUDA graph of the whole step."""

import data
import peer


def work(options):
    import torch

    torch.set_num_threads(options.threads)
    # float32 as it is: no TF32
    torch.set_float32_matmul_precision("highest")
    cuda = torch.cuda.is_available() if options.device == "auto" else options.device == "cuda"
    return Torch(torch, options.mode, "cuda" if cuda else "cpu", options.data)


class Torch:
    def __init__(self, torch, mode, device, folder):
        if mode == "graphs" and device == "cpu":
            raise SystemExit("CUDA graphs need a CUDA device")
        self.torch, self.mode, self.device, self.folder = torch, mode, device, folder
        torch.manual_seed(1)
        where = torch.cuda.get_device_name() if device == "cuda" else f"CPU, {torch.get_num_threads()} threads"
        self.versions = f"PyTorch {torch.__version__} on {where}"

    def wait(self):
        if self.device == "cuda":
            self.torch.cuda.synchronize()

    def trainer(self, shape):
        return Trainer(self, shape)

    def sampler(self, shape, trainer, euler):
        """100 Euler steps of `rows` particles, from noise drawn on the device to an array on the host."""
        torch, net = self.torch, trainer.net
        times = torch.arange(euler, device=self.device, dtype=torch.float32) / euler

        def step(x, t):
            return x + net(torch.cat([x, t.expand(x.shape[0], 1)], 1)) / euler

        if self.mode == "compile":
            step = torch.compile(step)

        @torch.no_grad()
        def draw():
            x = torch.randn(shape.rows, shape.dim, device=self.device)
            for t in times.unbind():
                x = step(x, t)
            return x

        if self.mode != "graphs":
            return lambda: draw().cpu()
        replay, x = self.graph(draw)

        def drawn():
            replay()
            return x.cpu()

        return drawn

    def graph(self, work):
        """A CUDA graph of `work`, as a function that runs it again, and what it returns."""
        torch = self.torch
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(3):
                work()
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            result = work()
        return graph.replay, result


class Trainer:
    def __init__(self, peer_, shape):
        torch, device = peer_.torch, peer_.device
        self.torch, self.wait = torch, peer_.wait
        layers = []
        for inputs, outputs in zip(shape.sizes, shape.sizes[1:]):
            layers += [torch.nn.Linear(inputs, outputs, device=device), torch.nn.SiLU()]
        self.net = net = torch.nn.Sequential(*layers[:-1])
        values = data.flat(peer_.folder / f"moons-{shape.dim}.npy")
        points = torch.frombuffer(values, dtype=torch.float32).reshape(-1, shape.dim).to(device)
        # fused: the fastest of PyTorch's ways to do it
        adam = torch.optim.Adam(net.parameters(), lr=peer.LR, fused=True, capturable=peer_.mode == "graphs")

        def loss():
            rows = torch.randint(points.shape[0], (shape.rows,), device=device)
            x0 = torch.randn(shape.rows, shape.dim, device=device)
            t = torch.rand(shape.rows, 1, device=device)
            x1 = points[rows]
            xt = (1 - t) * x0 + t * x1
            return (net(torch.cat([xt, t], 1)) - (x1 - x0)).square().sum(1).mean()

        forward = torch.compile(loss) if peer_.mode == "compile" else loss

        def step():
            adam.zero_grad(set_to_none=True)
            value = forward()
            value.backward()
            adam.step()
            return value.detach()

        self.step = step
        if peer_.mode == "graphs":
            replay, value = peer_.graph(step)
            self.step = lambda: replay() or value

    def run(self, steps):
        for _ in range(steps):
            self.step()
        self.wait()

    def mean_loss(self, steps):
        # A graph's result is overwritten by its next run: it is added at once.
        total = self.torch.zeros((), device=next(self.net.parameters()).device)
        for _ in range(steps):
            total += self.step()
        return (total / steps).item()


if __name__ == "__main__":
    peer.serve(work(peer.arguments(["eager", "compile", "graphs"])))
