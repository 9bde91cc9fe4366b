"""Random masks, and what a score that is linear in them would gain from each place."""

import math
from typing import Any, NamedTuple

import tensorflow as tf

from tfsaliency.engine.moments import Before
from tfsaliency.tensors.draws import drawn
from tfsaliency.tensors.places import spatial_shape, spread
from tfsaliency.tensors.regression import one_step_ahead
from tfsaliency.tensors.sums import along

# A regression on as many numbers takes little of the time of a small model.
MOST_FEATURES = 256
# Shifts over which the covariance of two places is averaged: it is right to 5e-5.
SHIFTS = 64


class Masks(NamedTuple):
    """Random masks for one part of the inputs: a grid of visible and hidden cells, resized and shifted.

    Attributes:
        extents: the number of places along each axis.
        cells: the number of cells along each axis.
        is_table: each place is a cell, and nothing is resized.
        probability: that a cell is visible. It is also the mean of the masks at each place.
        seed: a stream of draws.
    """

    extents: list[int]
    cells: list[int]
    is_table: bool
    probability: float
    seed: int

    @classmethod
    def of(cls, part: tf.Tensor, cells: int, probability: float, seed: int) -> "Masks":
        is_table = part.shape.rank <= 2
        extents = list(spatial_shape(part))
        return cls(extents, [each if is_table else min(cells, each) for each in extents], is_table, probability, seed)

    def whole(self, first: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
        """Masks ``first`` to ``first + count - 1``, ``(count, *extents)``; an axis of length 1 for channels follows."""
        masks = self._at(self.extents, first, count)
        return masks if self.is_table else masks[..., None]

    def coarse(self, first: int, count: int) -> tf.Tensor:
        """The same masks at a few evenly spread places, minus their mean: ``(count, features)``."""
        return tf.reshape(self._at(self._few, tf.constant(first), tf.constant(count)), [count, -1]) - self.probability

    @property
    def features(self) -> int:
        """The number of these places."""
        return math.prod(self._few)

    def covariances(self) -> list[tf.Tensor]:
        """For each axis, of coarse and whole masks ``(few, extent)``, as a share of the variance of a cell."""
        return [self._covariance(axis, few) for axis, few in enumerate(self._few)]

    def linear_gains(self, coefficients: tf.Tensor, covariances: list[tf.Tensor]) -> tf.Tensor:
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
        return gains if self.is_table else gains[..., None]

    @property
    def _few(self) -> list[int]:
        along_axis = int((MOST_FEATURES + 0.5) ** (1 / max(len(self.cells), 1)))
        return [min(each, along_axis) for each in self.cells]

    def _at(self, places: list[int], first: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
        """Masks at so many evenly spread places along each axis."""

        def mask(number: tf.Tensor) -> tf.Tensor:
            shifts = tf.random.stateless_uniform([1 + len(self.cells)], [self.seed, 2 * number])
            grid = tf.random.stateless_uniform([each + 1 for each in self.cells], [self.seed, 2 * number + 1])
            seen = tf.cast(grid < self.probability, tf.float32)
            for axis, few in enumerate(places):
                if self.is_table:
                    seen = tf.gather(seen, self._columns(few))
                else:
                    seen = spread(seen, self._weights(axis, few, shifts[axis]), axis)
            return seen

        return drawn(mask, first, count, places)

    def _columns(self, places: int) -> tf.Tensor:
        """So many evenly spread columns of a table."""
        return (2 * tf.range(places) + 1) * self.cells[0] // (2 * places)

    def _weights(self, axis: int, places: int, shift: tf.Tensor) -> tf.Tensor:
        """``(*shift, cells + 1, places)``: how much of each cell is seen at each place.

        The grid has one cell more, so that it can shift by up to one cell.
        """
        cells = self.cells[axis]
        centres = (tf.range(places, dtype=tf.float32) + 0.5) * cells / places + shift[..., None] - 0.5
        centres = tf.clip_by_value(centres, 0.0, float(cells))
        return tf.nn.relu(1 - tf.abs(tf.range(cells + 1, dtype=tf.float32)[:, None] - centres[..., None, :]))

    def _covariance(self, axis: int, places: int) -> tf.Tensor:
        if self.is_table:
            return tf.one_hot(self._columns(places), self.extents[axis])
        shifts = (tf.range(SHIFTS, dtype=tf.float32) + 0.5) / SHIFTS
        few, all_places = (self._weights(axis, each, shifts) for each in (places, self.extents[axis]))
        return tf.einsum("scp,sco->po", few, all_places) / SHIFTS


class Gains:
    """How much the score gains where a place is visible: the covariance of scores and masks, over the masks' mean.

    A part of the score is linear in the mask. It is predicted for each mask by a regression on those before, and its
    covariance with the mask is known; that of the rest is averaged. So no bias comes in, and less noise.
    """

    def __init__(self, masks: list[Masks], most: int) -> None:
        self._masks = masks
        # In a graph, also where a black box is asked in Python: a mask is made in many small steps.
        draw = tf.function(lambda: tf.concat([each.coarse(0, most) for each in masks], axis=1), autograph=False)
        self._design = draw()
        # Here, since they are the same for all blocks.
        self._covariances = [each.covariances() for each in masks]

    def products(self, scores: tf.Tensor, first: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
        """Scores of copies ``(count * N,)`` times their rows of the regression: ``(count * N, features)``."""
        rows = self._design[first : first + count]
        return scores[:, None] * tf.repeat(rows, tf.shape(scores)[0] // count, axis=0)

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
