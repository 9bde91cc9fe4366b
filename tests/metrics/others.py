"""Fixed cases that other libraries are asked about too: see ``benchmarks/peers/metrics.py``.

All of it is NumPy and made by formulas, since the other libraries run in an environment of their own.
"""

import numpy as np

ROWS, COLUMNS, SETS = 4, 12, 30
# Cells along each axis of a picture, and pixels along each axis of a cell.
ACROSS, PIXELS = 4, 2
FILL = 0.25
# They divide the 64 pixels of a picture: Xplique rounds down, and counts steps of unequal length alike.
STEPS = 8


def wave(*shape, pace):
    """Numbers of both signs, no two alike."""
    return np.sin(pace * (1 + np.arange(np.prod(shape)))).reshape(shape).astype("float32")


CLASSES = np.array([0, 2, 1, 2])
TABLE = wave(ROWS, COLUMNS, pace=0.7)
MAPS = wave(ROWS, COLUMNS, pace=2.3)
POSITIVE = np.abs(MAPS)
PICTURES = wave(ROWS, ACROSS * PIXELS, ACROSS * PIXELS, 3, pace=0.37)
PICTURE_MAPS = wave(ROWS, ACROSS * PIXELS, ACROSS * PIXELS, 1, pace=1.9)
# Which columns, and which cells of a picture, are hidden together: a quarter of them.
HIDDEN = {cells: wave(SETS, cells, pace=1.7).argsort(axis=1) < cells // 4 for cells in (COLUMNS, ACROSS**2)}
# Three, one, five and no columns.
MASKS = np.stack([np.isin(np.arange(COLUMNS), inside) for inside in ([1, 4, 5], [7], [0, 2, 4, 6, 9], [])])


def weights(inputs):
    """Of a network of five hidden units with tanh and three classes."""
    return [wave(inputs, 5, pace=1.3), wave(5, pace=0.9), 2 * wave(5, 3, pace=2.9), wave(3, pace=0.4)]


def logits(x):
    """Of that network for a table."""
    first, bias, second, last = weights(COLUMNS)
    return np.tanh(x @ first + bias) @ second + last


# A linear model without a bias, and the map of it that is exact.
LINEAR = wave(COLUMNS, 3, pace=1.1)
EXACT = TABLE * LINEAR.T[CLASSES]
