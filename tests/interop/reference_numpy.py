"""The network of a windfield model in NumPy and float64, from the file format's documentation alone."""

import json

import numpy as np
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

NAME = "NumPy"

ACTIVATIONS = {
    "relu": lambda z: np.maximum(z, 0.0),
    "silu": lambda z: z / (1.0 + np.exp(-z)),
    "gelu": lambda z: 0.5 * z * (1.0 + np.tanh(np.sqrt(2.0 / np.pi) * (z + 0.044715 * z**3))),
    "selu": lambda z: 1.0507009873554805 * np.where(z > 0, z, 1.6732632423543772 * np.expm1(np.minimum(z, 0.0))),
    "tanh": np.tanh,
    "softplus": lambda z: np.logaddexp(z, 0.0),
}


def vp(t, low=0.1, high=20.0):
    s = 1.0 - t
    integral, beta = low * s + (high - low) * s**2 / 2.0, low + (high - low) * s
    a, b = np.exp(-integral / 2.0), np.sqrt(-np.expm1(-integral))
    return a, b, a * beta / 2.0, -(a**2) * beta / (2.0 * b)


def ve(t, low=0.01, high=10.0):
    rate = 2.0 * np.log(high / low)
    b = low * np.sqrt(np.expm1(rate * (1.0 - t)))
    return 1.0, b, 0.0, -rate * (b**2 + low**2) / (2.0 * b)


def cosine(t):
    a, b = np.sin(np.pi * t / 2.0), np.sin(np.pi * (1.0 - t) / 2.0)
    return a, b, np.pi / 2.0 * b, -np.pi / 2.0 * a


# What follows --path, and (a, b, a', b') at times t.
PATHS = {
    "ot": (["ot"], lambda t: (t, 1.0 - (1.0 - 1e-5) * t, 1.0, -(1.0 - 1e-5))),
    "vp": (["vp"], vp),
    "ve": (["ve"], ve),
    "cosine": (["cosine"], cosine),
    "poly": (["poly:3"], lambda t: (t**3, (1.0 - t) * (1.0 + t + t**2), 3.0 * t**2, -3.0 * t**2)),
    "custom": (
        ["custom", "--mean", "t^k", "--std", "sqrt(1 - t)", "--let", "k=1.5"],
        lambda t: (t**1.5, np.sqrt(1.0 - t), 1.5 * np.sqrt(t), -0.5 / np.sqrt(1.0 - t)),
    ),
}


def record_of(model):
    """The JSON under the metadata key `windfield`."""
    with safe_open(model, framework="np") as file:
        return json.loads(file.metadata()["windfield"])


def features(x, t, frequencies):
    """[x, t, sin 2πkt (k = 1..K), cos 2πkt (k = 1..K)]: [n, d + 1 + 2K]."""
    t = np.full((x.shape[0], 1), t)
    angle = 2.0 * np.pi * np.arange(1, frequencies + 1) * t
    return np.concatenate([x, t, np.sin(angle), np.cos(angle)], axis=1)


def velocity(model, x, t):
    """v(x, t) in the network's own units, for x [n, d] and one t."""
    record, tensors = record_of(model), load_file(model)
    h = features(x.astype(np.float64), t, record["time_frequencies"])
    for i in range(len(record["hidden"]) + 1):
        if i > 0:
            h = ACTIVATIONS[record["activation"]](h)
        h = h @ tensors[f"layers.{i}.weight"].astype(np.float64).T + tensors[f"layers.{i}.bias"]
    return h


def write_model(path, record):
    """A model with random weights, as another program would write it."""
    rng = np.random.default_rng(3)
    widths = [record["dim"] + 1 + 2 * record["time_frequencies"], *record["hidden"], record["dim"]]
    tensors = {}
    for i, (inputs, outputs) in enumerate(zip(widths, widths[1:])):
        tensors[f"layers.{i}.weight"] = (rng.standard_normal((outputs, inputs)) / np.sqrt(inputs)).astype(np.float32)
        tensors[f"layers.{i}.bias"] = (0.1 * rng.standard_normal(outputs)).astype(np.float32)
    save_file(tensors, path, {"windfield": json.dumps(record)})
