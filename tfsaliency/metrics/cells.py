"""Coarse cells of the inputs, which some metrics hide instead of single places."""

import math
from collections.abc import Sequence

import numpy as np


def cells_of(shapes: Sequence[tuple[int, ...]], across: int) -> np.ndarray:
    """``(P,)``: the number of the cell that each place belongs to, from 0.

    An axis of a picture is cut into ``across`` parts of equal length. A single axis, of time or columns, is cut into
    the square of it, so that it has as many cells as a picture. Cells of one place are the smallest.

    Args:
        shapes: the axes of the places of each part of the inputs.
        across: how many cells an axis of a picture has.
    """
    numbers, first = [], 0
    for shape in shapes:
        cells = [min(size, across if len(shape) > 1 else across**2) for size in shape]
        along = [np.arange(size) * count // size for size, count in zip(shape, cells, strict=True)]
        grid = np.ravel_multi_index(np.meshgrid(*along, indexing="ij"), cells) if shape else np.zeros(1, int)
        numbers.append(first + grid.reshape(-1))
        first += math.prod(cells)
    return np.concatenate(numbers)
