"""The network of a windfield model in PyTorch and float64, and its training by PyTorch's Adam."""

import json

import numpy as np
import torch
from reference_numpy import record_of
from safetensors.torch import load_file, save_file

NAME = "PyTorch"
torch.set_default_dtype(torch.float64)

ACTIVATIONS = {
    "relu": torch.nn.ReLU(),
    "silu": torch.nn.SiLU(),
    "gelu": torch.nn.GELU(approximate="tanh"),
    "selu": torch.nn.SELU(),
    "tanh": torch.nn.Tanh(),
    "softplus": torch.nn.Softplus(threshold=1e9),
}


class Network(torch.nn.Module):
    """The linear layers are an nn.Sequential, into which the file's tensors go as they are."""

    def __init__(self, record):
        super().__init__()
        self.frequencies = torch.arange(1, record["time_frequencies"] + 1)
        self.activation = ACTIVATIONS[record["activation"]]
        widths = [record["dim"] + 1 + 2 * record["time_frequencies"], *record["hidden"], record["dim"]]
        self.layers = torch.nn.Sequential(*[torch.nn.Linear(a, b) for a, b in zip(widths, widths[1:])])

    def forward(self, x, t):
        """v(x, t) for x [n, d] and t [n]."""
        t = t[:, None]
        angle = 2.0 * torch.pi * self.frequencies * t
        h = self.layers[0](torch.cat([x, t, torch.sin(angle), torch.cos(angle)], dim=1))
        for layer in self.layers[1:]:
            h = layer(self.activation(h))
        return h


def load_network(model):
    """The network of a model file; every tensor of the file has its place, and every place its tensor."""
    network = Network(record_of(model))
    network.load_state_dict(load_file(model), strict=True)
    return network


@torch.no_grad()
def velocity(model, x, t):
    """v(x, t) in the network's own units, for x [n, d] and one t."""
    x = torch.from_numpy(x.astype(np.float64))
    return load_network(model)(x, torch.full((x.shape[0],), t)).numpy()


def write_model(path, record):
    """A model with PyTorch's initial weights."""
    torch.manual_seed(3)
    tensors = {name: value.float().contiguous() for name, value in Network(record).state_dict().items()}
    save_file(tensors, path, {"windfield": json.dumps(record)})


def train(network, batches, lr):
    """Plain Adam on the given batches: the loss of each, before its update."""
    adam = torch.optim.Adam(network.parameters(), lr=lr, betas=(0.9, 0.999), eps=1e-8)
    losses = []
    for batch in batches:
        adam.zero_grad()
        loss = ((network(batch["xt"], batch["t"]) - batch["ut"]) ** 2).sum(dim=1).mean()
        loss.backward()
        adam.step()
        losses.append(loss.item())
    return losses


def load_batch(path):
    """The tensors of a batch file, in float64."""
    return {name: tensor.double() for name, tensor in load_file(path).items()}


def weights(network):
    """All parameters as one vector."""
    return torch.cat([parameter.detach().flatten() for parameter in network.parameters()])
