"""The values of many rows of a table at once."""

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes

from tfsaliency.base.structure import flatten
from tfsaliency.plot.captions import as_written
from tfsaliency.plot.figure import Drawn, column_names
from tfsaliency.plot.kinds import INCHES, LINE
from tfsaliency.plot.record import Record

# Dots of a row are stacked in that many bins along the axis of values, over this share of the height of the row.
BINS, HEIGHT = 80, 0.8
COLOURS = "cividis"


def beeswarm(explanation: Record, *, most: int = 20) -> Drawn:
    """Draws the values of all rows of a table: a dot for each row and column, beside the mean absolute value.

    The columns with the largest mean absolute value come first. A dot is dark where the given number is low in its
    column, and light where it is high; the dots of texts are grey.

    Args:
        explanation: one of a table ``(N, F)``, or of several parts of columns.
        most: draw at most this many columns.

    Raises:
        ValueError: the inputs are no table.

    Example:
        >>> import keras, numpy as np, tfsaliency as tfs
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
        >>> explanation = tfs.GradientTimesInput(model).explain(np.random.default_rng(0).normal(size=(50, 3)), 1)
        >>> figure = tfs.plot.beeswarm(explanation.named(feature_names=["age", "size", "income"]))
        >>> sorted(label.get_text() for label in figure.axes[0].get_yticklabels())
        ['age', 'income', 'size']
    """
    parts = flatten(explanation.values)
    inputs = flatten(explanation.inputs)
    is_table = all(part.ndim == 2 and part.size == given.size for part, given in zip(parts, inputs, strict=True))
    if explanation.has_several or not is_table:
        raise ValueError(
            f"A beeswarm shows a table, values (N, F) for one target. Received: {explanation!r}. Use plot()."
        )
    values = np.concatenate(parts, axis=1)
    given = np.concatenate([_ranks(part) for part in inputs], axis=1)
    names = column_names(explanation) or [f"column {place}" for place in range(values.shape[1])]
    mean = np.abs(values).mean(axis=0)
    order = np.argsort(-mean, kind="stable")[:most]
    height = len(order) * LINE * 1.5 + 3 * LINE
    figure = Drawn(figsize=(4 * INCHES, height), layout="constrained")
    dots, bars = figure.subplots(1, 2, sharey=True, width_ratios=(3, 1))
    for row, column in enumerate(order):
        _swarm(dots, row, values[:, column], given[:, column])
    dots.axvline(0, color="black", linewidth=0.5)
    dots.set_yticks(range(len(order)), [as_written(names[column]) for column in order])
    dots.set_xlabel("value", fontsize=8)
    bars.barh(range(len(order)), mean[order], color="grey")
    bars.set_xlabel("mean |value|", fontsize=8)
    dots.invert_yaxis()
    for axis in (dots, bars):
        axis.tick_params(labelsize=8)
    figure.suptitle(explanation.method, fontsize=8, wrap=True)
    return figure


def _swarm(axis: Axes, row: int, values: np.ndarray, ranks: np.ndarray) -> None:
    """Dots around a line, stacked where values are close to each other."""
    span = np.ptp(values) or 1.0
    bins = np.minimum((values - values.min()) / span * BINS, BINS - 1).astype(int)
    counts = np.bincount(bins, minlength=BINS)
    # The number of each dot within its bin, counted from the middle outwards: 0, 1, -1, 2, -2.
    place = np.zeros(len(values), int)
    for each in np.flatnonzero(counts > 1):
        place[bins == each] = np.arange(counts[each])
    offset = np.where(place % 2, (place + 1) // 2, -(place // 2)) / max(counts.max(), 2) * HEIGHT
    colours = colormaps[COLOURS](np.nan_to_num(ranks))
    colours[np.isnan(ranks)] = (0.5, 0.5, 0.5, 1.0)
    axis.scatter(values, row + offset, c=colours, s=8, linewidths=0)


def _ranks(part: np.ndarray) -> np.ndarray:
    """The place of each number in its column, from 0 for the lowest to 1; NaN for texts."""
    part = part.reshape(len(part), -1)
    if part.dtype.kind == "U":
        return np.full(part.shape, np.nan)
    lower = np.stack([np.searchsorted(np.sort(column), column) for column in part.T], axis=1)
    return lower / max(len(part) - 1, 1)
