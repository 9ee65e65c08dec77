"""The data set that every contender trains on, written and read without a library: two moons, standardised.

In more than two dimensions the moons are mapped there linearly and given some noise. Everyone reads the same file.
"""

import array
import json
import math
import os
import random
import struct
import sys

ROWS = 4096
MAGIC = b"\x93NUMPY\x01\x00"


def columns(dim, rows=ROWS, seed=1):
    """`dim` columns of mean 0 and standard deviation 1."""
    draw = random.Random(seed)
    moons = ([], [])
    for row in range(rows):
        angle = math.pi * draw.random()
        x, y = math.cos(angle), math.sin(angle)
        if row % 2:
            x, y = 1 - x, 0.5 - y
        moons[0].append(x + draw.gauss(0, 0.05))
        moons[1].append(y + draw.gauss(0, 0.05))
    if dim > 2:
        weights = [(draw.gauss(0, 1), draw.gauss(0, 1)) for _ in range(dim)]
        moons = [[a * x + b * y + draw.gauss(0, 0.3) for x, y in zip(*moons)] for a, b in weights]
    return [standardised(column) for column in moons[:dim]]


def standardised(column):
    mean = math.fsum(column) / len(column)
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in column) / len(column))
    return [(value - mean) / deviation for value in column]


def write(path, table):
    """Columns as a .npy file of float32, [rows, columns]."""
    rows, dim = len(table[0]), len(table)
    values = array.array("f", bytes(4 * rows * dim))
    for index, column in enumerate(table):
        values[index::dim] = array.array("f", column)
    if sys.byteorder == "big":
        values.byteswap()
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {dim}), }}"
    header = header.ljust(127 - len(MAGIC) - 2) + "\n"
    partial = path.with_suffix(f".{os.getpid()}.partial")
    with partial.open("wb") as out:
        out.write(MAGIC + struct.pack("<H", len(header)) + header.encode())
        values.tofile(out)
    partial.replace(path)


def read(path):
    """The columns of a .npy file of float32 whose header says nothing unusual."""
    values, dim = load(path)
    return [values[index::dim] for index in range(dim)]


def flat(path):
    """Its numbers, row by row."""
    return load(path)[0]


def load(path):
    raw = path.read_bytes()
    if raw[:8] != MAGIC:
        raise ValueError(f"{path} is no .npy file of version 1")
    begin = 10 + struct.unpack("<H", raw[8:10])[0]
    header = raw[10:begin].decode()
    if "'<f4'" not in header or "'fortran_order': False" not in header:
        raise ValueError(f"{path} does not hold float32 row by row: {header.strip()}")
    dim = int(header.split("'shape': (")[1].split(")")[0].split(",")[1])
    values = array.array("f")
    values.frombytes(raw[begin:])
    if sys.byteorder == "big":
        values.byteswap()
    return values, dim


def prepare(folder, dim):
    """Writes the data set of that dimension unless it is there."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"moons-{dim}.npy"
    if not path.exists():
        write(path, columns(dim))
    return path


def moments(table):
    """Standard deviation of all numbers about 0, and the mean product of the first two columns (of a single one: 0).

    Data and good samples of it agree in both; the noise that sampling begins with has no such product.
    """
    count = sum(len(column) for column in table)
    deviation = math.sqrt(math.fsum(value * value for column in table for value in column) / count)
    product = math.fsum(a * b for a, b in zip(table[0], table[1])) / len(table[0]) if len(table) > 1 else 0.0
    return deviation, product


def tensor(path, name):
    """The columns of a float32 tensor [rows, columns] in a safetensors file."""
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        entry = json.loads(file.read(length))[name]
        begin, end = entry["data_offsets"]
        file.seek(8 + length + begin)
        values = array.array("f", file.read(end - begin))
    if sys.byteorder == "big":
        values.byteswap()
    dim = entry["shape"][1]
    return [values[index::dim] for index in range(dim)]
