"""The size of a piece of work, `DIM:LAYERSxWIDTH:ROWS`, and the numbers that follow from it."""

import re
from typing import NamedTuple


class Shape(NamedTuple):
    """An MLP with inputs (x, t), `layers` hidden layers of `width`, and `dim` outputs; `rows` go through it at once."""

    dim: int
    layers: int
    width: int
    rows: int

    @classmethod
    def parse(cls, text):
        found = re.fullmatch(r"(\d+):(\d+)[x×](\d+):(\d+)", text.strip())
        shape = cls(*map(int, found.groups())) if found else None
        if shape is None or min(shape) < 1:
            raise ValueError(f"'{text}' is no shape: give DIM:LAYERSxWIDTH:ROWS, such as 2:3x64:256")
        return shape

    def __str__(self):
        return f"{self.dim}:{self.layers}x{self.width}:{self.rows}"

    @property
    def sizes(self):
        """Inputs of the first layer, the hidden widths, outputs of the last."""
        return [self.dim + 1, *[self.width] * self.layers, self.dim]

    @property
    def flops(self):
        """Multiplications and additions of a training step: two products a weight forwards, twice that backwards."""
        return 6 * self.rows * sum(a * b for a, b in zip(self.sizes, self.sizes[1:]))
