"""Textbook twins in NumPy: slow, short, and written from the papers."""

from collections.abc import Callable

import numpy as np


def moments_of_copies(
    function: Callable[[np.ndarray], np.ndarray], x: np.ndarray, draws: np.ndarray, noise: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean, mean of squares and variance of ``function`` over noisy copies, one copy at a time, in float64."""
    axes = tuple(range(1, x.ndim))
    deviation = noise * (x.max(axis=axes, keepdims=True) - x.min(axis=axes, keepdims=True))
    values = np.array([function((x + deviation * draw).astype("float32")) for draw in draws], "float64")
    return values.mean(axis=0), (values**2).mean(axis=0), values.var(axis=0)


def clip_percentile(values: np.ndarray, percentile: float) -> np.ndarray:
    """Each sample clipped to its own percentile of absolute values."""
    clipped = []
    for sample in values:
        limit = np.percentile(np.abs(sample), percentile)
        clipped.append(np.clip(sample, -limit, limit))
    return np.array(clipped)


def normalize(values: np.ndarray) -> np.ndarray:
    """Each sample divided by its largest absolute value."""
    return np.array([sample / (np.abs(sample).max() or 1.0) for sample in values])
