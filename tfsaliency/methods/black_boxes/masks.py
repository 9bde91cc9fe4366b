"""Random masks, and what a score that is linear in them would gain from each place."""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tfsaliency.engine.moments import Before
from tfsaliency.tensors.draws import drawn
from tfsaliency.tensors.places import spatial_shape, spread
from tfsaliency.tensors.regression import one_step_ahead
from tfsaliency.tensors.sums import along, each_repeated, samples_of

# A regression on as many numbers takes little of the time of a small model.
MOST_FEATURES = 256
# Shifts over which the covariance of two places is averaged: it is right to 5e-5.
SHIFTS = 64
# Graphs kept that draw masks: one for each form of masks, and number of places.
KEPT = 64


class Masks(NamedTuple):
    """Random masks for one part of the inputs: a grid of visible and hidden cells, resized and shifted.

    An axis with a cell for each place is neither: its places are visible or hidden.

    Attributes:
        extents: the number of places along each axis.
        cells: the number of cells along each axis.
        has_channels: whether an axis follows that is no place.
        probability: that a cell is visible. It is also the mean of the masks at each place.
        seed: a stream of draws.
    """

    extents: tuple[int, ...]
    cells: tuple[int, ...]
    has_channels: bool
    probability: float
    seed: int

    @classmethod
    def of(cls, part: tf.Tensor, cells: int, probability: float, seed: int) -> "Masks":
        # Each column of a table is a cell.
        has_channels, extents = part.shape.rank > 2, tuple(spatial_shape(part))
        own = tuple(min(cells, each) if has_channels else each for each in extents)
        return cls(extents, own, has_channels, probability, seed)

    def whole(self, first: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
        """Masks ``first`` to ``first + count - 1``, ``(count, *extents)``; an axis of length 1 for channels follows."""
        masks = self._at(self.extents, first, count)
        return masks[..., None] if self.has_channels else masks

    def coarse(self, first: int, count: int) -> tf.Tensor:
        """The same masks at a few evenly spread places, minus their mean: ``(count, features)``."""
        return tf.reshape(self._at(self._few, tf.constant(first), tf.constant(count)), [count, -1]) - self.probability

    @property
    def features(self) -> int:
        """The number of these places."""
        return math.prod(self._few)

    def covariances(self) -> list[np.ndarray]:
        """For each axis, of coarse and whole masks ``(few, extent)``, as a share of the variance of a cell."""
        return [self._covariance(axis, few) for axis, few in enumerate(self._few)]

    def linear_gains(self, coefficients: tf.Tensor, covariances: list[np.ndarray]) -> tf.Tensor:
        """``Cov(coarse mask * coefficients, mask at each place) / probability``.

        Args:
            coefficients: ``(..., features)``.
            covariances: of these masks, from `covariances`.

        Returns:
            ``(..., *extents)``, with an axis for channels where `whole` has it.
        """
        leading = tf.shape(coefficients)[:-1]
        gains = tf.reshape(coefficients, tf.concat([leading, self._few], axis=0))
        for axis, covariance in enumerate(covariances):
            gains = spread(gains, covariance, coefficients.shape.rank - 1 + axis)
        gains = (1 - self.probability) * gains
        return gains[..., None] if self.has_channels else gains

    @property
    def _few(self) -> tuple[int, ...]:
        along_axis = int((MOST_FEATURES + 0.5) ** (1 / max(len(self.cells), 1)))
        return tuple(min(each, along_axis) for each in self.cells)

    def _at(self, places: tuple[int, ...], first: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
        """Masks at so many evenly spread places along each axis."""
        form, numbers = self._replace(seed=0), (tf.constant(self.seed), first, count)
        # A mask is made in many small steps: in Python, where a black box is asked, they take longer than the box.
        return _graph_of(form, places)(*numbers) if tf.executing_eagerly() else form.of_seed(places, *numbers)

    def of_seed(self, places: tuple[int, ...], seed: tf.Tensor, first: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
        """The same with a seed of its own, which may be a tensor."""
        # The grid has one cell more, so that it can shift by up to one cell.
        grid, axes = [each + 1 for each in self.cells], len(self.cells)

        def numbers(number: tf.Tensor) -> tf.Tensor:
            shifts = tf.random.stateless_uniform([1 + axes], [seed, 2 * number])
            cells = tf.random.stateless_uniform(grid, [seed, 2 * number + 1])
            return tf.concat([shifts, tf.reshape(cells, [-1])], axis=0)

        # All else is done for many masks at once.
        drawn_numbers = drawn(numbers, first, count, [1 + axes + math.prod(grid)])
        shifts, cells = drawn_numbers[:, :axes], drawn_numbers[:, 1 + axes :]
        seen = tf.reshape(tf.cast(cells < self.probability, tf.float32), [count, *grid])
        for axis, few in enumerate(places):
            if self._is_resized(axis):
                seen = spread(seen, self._weights(axis, few, shifts[:, axis]), 1 + axis)
            else:
                seen = tf.gather(seen, self._evenly(axis, few), axis=1 + axis)
        return seen

    def _is_resized(self, axis: int) -> bool:
        return self.cells[axis] < self.extents[axis]

    def _evenly(self, axis: int, places: int) -> list[int]:
        """So many evenly spread cells of an axis."""
        return [(2 * place + 1) * self.cells[axis] // (2 * places) for place in range(places)]

    def _weights(self, axis: int, places: int, shifts: Any) -> tf.Tensor:
        """``(masks, cells + 1, places)``: how much of each cell is seen at each place.

        Args:
            axis: the axis.
            places: along it.
            shifts: of each mask, ``(masks,)`` in cells.
        """
        cells = self.cells[axis]
        centres = (np.arange(places, dtype="float32") + 0.5) * cells / places - 0.5
        centres = tf.clip_by_value(centres + shifts[:, None], 0.0, float(cells))
        return tf.nn.relu(1 - tf.abs(np.arange(cells + 1, dtype="float32")[:, None] - centres[:, None]))

    def _covariance(self, axis: int, places: int) -> np.ndarray:
        if not self._is_resized(axis):
            return np.eye(self.extents[axis], dtype="float32")[self._evenly(axis, places)]
        shifts = (np.arange(SHIFTS, dtype="float32") + 0.5) / SHIFTS
        # The same at every call: a constant of the graph.
        with tf.init_scope():
            few, all_places = (self._weights(axis, each, shifts) for each in (places, self.extents[axis]))
            covariance: np.ndarray = (tf.einsum("scp,sco->po", few, all_places) / SHIFTS).numpy()
        return covariance


@functools.lru_cache(KEPT)
def _graph_of(form: Masks, places: tuple[int, ...]) -> Callable[..., tf.Tensor]:
    """What draws masks of a form, for a seed, the number of the first and their count. Traced once."""
    numbers = [tf.TensorSpec([], tf.int32)] * 3
    graph: Callable[..., tf.Tensor] = tf.function(functools.partial(form.of_seed, places), numbers, autograph=False)
    return graph


class Gains:
    """How much the score gains where a place is visible: the covariance of scores and masks, over the masks' mean.

    A part of the score is linear in the mask. It is predicted for each mask by a regression on those before, and its
    covariance with the mask is known; that of the rest is averaged. So no bias comes in, and less noise.
    """

    def __init__(self, masks: list[Masks], most: int) -> None:
        self._masks = masks
        self._design = tf.concat([each.coarse(0, most) for each in masks], axis=1)
        # Here, since they are the same for all blocks.
        self._covariances = [each.covariances() for each in masks]

    def products(self, scores: tf.Tensor, first: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
        """Scores of copies ``(count * N,)`` times their rows of the regression: ``(count * N, features)``."""
        return scores[:, None] * each_repeated(self._design[first : first + count], samples_of(scores) // count)

    def of(self, values: dict[str, Any], before: Before) -> list[tf.Tensor]:
        """Terms whose mean over all masks but the first is the gain; those of the first are zero.

        Args:
            values: of a block: ``scores`` ``(count, N)``, ``products``, and ``masks``, one for each part.
            before: the copies before it.
        """
        # As if half of the variance of the scores were linear, before any is seen.
        probability = self._masks[0].probability
        ridge = probability * (1 - probability) * self._design.shape[1]
        mean = before.mean
        errors, coefficients = one_step_ahead(
            self._design, before.copies, values["scores"], mean["scores"], mean["products"], ridge
        )
        of_parts = tf.split(coefficients, [masks.features for masks in self._masks], axis=-1)
        return [
            along(errors, mask) * (mask / masks.probability - 1) + masks.linear_gains(linear, covariances)
            for masks, mask, linear, covariances in zip(
                self._masks, values["masks"], of_parts, self._covariances, strict=True
            )
        ]
