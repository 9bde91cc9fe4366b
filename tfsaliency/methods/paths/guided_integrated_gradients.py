from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from tfsaliency.base.meaning import Meaning
from tfsaliency.base.options import check_amount, check_count
from tfsaliency.baselines import baselines
from tfsaliency.engine.question import Attribution
from tfsaliency.engine.score import Score
from tfsaliency.explainer import Explainer, Wrapper
from tfsaliency.methods.gradients.gradient import as_explainer
from tfsaliency.tensors.sums import total


@dataclass(frozen=True, eq=False)
class GuidedIntegratedGradients(Wrapper):
    """Guided Integrated Gradients: a path from the baseline to the input that avoids large gradients.

    Formula:
        ``v = sum over steps of g * (x' - x)``. Each step reduces the L1 distance to the input by an equal share. It
        moves the numbers with the smallest ``|g|`` first, in groups of a share ``fraction`` of all numbers. No number
        deviates from the straight line by more than a share ``max_dist`` of its own way.

    ``diagnostics["completeness_gap"]``, ``(N,)``: the sum of the values minus ``S(x) - S(x0)``, the error of a finite
    number of steps.

    The path depends on the model, so two models that compute the same function in different ways can get different
    maps.

    Args:
        inner: a Keras model, or an explainer whose values replace the gradient.
        baseline: as in `IntegratedGradients`.
        steps: the number of gradients, computed one after the other.
        fraction: the share of the numbers that moves as one group, the smallest gradients first; above 0 and at most 1.
        max_dist: largest distance of a number from the straight line, as a share of its way; 0 gives the straight line.

    Raises:
        ValueError: an option is out of range, or the baseline does not fit (on ``explain``).

    Source:
        Kapishnikov et al. 2021, Guided Integrated Gradients: an Adaptive Path Method for Removing Noise.

    Example:
        >>> import keras, numpy as np, tfsaliency as tfs
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, use_bias=False)])
        >>> explanation = tfs.GuidedIntegratedGradients(model, steps=20).explain(np.ones((1, 3)))
        >>> bool(np.isclose(explanation.values.sum(), explanation.scores[0], atol=1e-5))
        True
    """

    inner: Explainer
    baseline: Any = None
    steps: int = 200
    fraction: float = 0.25
    max_dist: float = 0.02

    def __post_init__(self) -> None:
        object.__setattr__(self, "inner", as_explainer(self.inner))
        super().__post_init__()
        check_count("steps", self.steps)
        check_amount("max_dist", self.max_dist)
        if not 0 < self.fraction <= 1:
            raise ValueError(f"fraction is above 0 and at most 1. Received: {self.fraction}")

    @property
    def meaning(self) -> Meaning:
        return "signed"

    @property
    def gives_slopes(self) -> bool:
        return False

    def attribute(self, x: Any, score: Score) -> Attribution:
        at_x = score.at(x)

        def against(x0: Any) -> tuple[Any, tf.Tensor]:
            values = self._walk(x0, x, score)
            return values, total(values) - (at_x - score.at(x0))

        values, gap = baselines(self.baseline, x, score).mean_of(against, (x, at_x))
        return Attribution(values, {"completeness_gap": gap})

    def _walk(self, x0: Any, x: Any, score: Score) -> Any:
        """Sums along the path; all numbers of a sample form one row, in which the smallest gradients move first."""
        start, end = _rows(x0), _rows(x)
        way = end - start

        def step(number: tf.Tensor, now: tf.Tensor, values: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            score.advance(tf.constant(1 / self.steps))
            with score.silent():
                slopes = _rows(self.inner.attribute(_parts(now, x), score).values)
            done = tf.cast(number + 1, tf.float32) / self.steps
            # The limits behind and ahead of the straight line. The last step reaches the input.
            behind = start + tf.maximum(done - self.max_dist, 0) * way
            ahead = start + tf.minimum(done + self.max_dist, 1) * way
            lagging = (behind - now) * tf.sign(way) > 0
            caught_up = tf.where(lagging, behind, now)
            target = (1 - done) * tf.reduce_sum(tf.abs(way), axis=1)
            distance = tf.reduce_sum(tf.abs(end - caught_up), axis=1) - target
            after = self._approach(caught_up, ahead, tf.abs(slopes), distance)
            return number + 1, after, values + slopes * (after - now)

        _, _, values = tf.while_loop(
            lambda number, now, values: number < self.steps,
            step,
            (0, start, tf.zeros_like(start)),
            parallel_iterations=1,
        )
        return _parts(values, x)

    def _approach(self, now: tf.Tensor, ahead: tf.Tensor, steepness: tf.Tensor, distance: tf.Tensor) -> tf.Tensor:
        """Moves the numbers of each row towards ``ahead`` by an L1 distance, ``(N,)``, the smallest gradients first."""
        room = tf.abs(ahead - now)
        movable = room > 0
        order = tf.argsort(tf.where(movable, steepness, float("inf")), axis=1)
        rank = tf.argsort(order, axis=1)
        size = max(1, int(self.fraction * now.shape[1]))
        group = rank // size
        groups = range(-(-now.shape[1] // size))
        of_group = tf.stack([tf.reduce_sum(tf.where(group == each, room, 0.0), axis=1) for each in groups], axis=1)
        before = tf.cumsum(of_group, axis=1, exclusive=True)
        # The last moving group covers the remaining distance. All groups before it move to their limit.
        share = tf.clip_by_value(tf.math.divide_no_nan(distance[:, None] - before, of_group), 0, 1)
        return now + tf.gather(share, group, axis=1, batch_dims=1) * (ahead - now)


def _rows(x: Any) -> tf.Tensor:
    """``(N, numbers)``: all parts of each sample in one row."""
    return tf.concat([tf.reshape(part, [-1, part.shape[1:].num_elements()]) for part in tf.nest.flatten(x)], axis=1)


def _parts(rows: tf.Tensor, like: Any) -> Any:
    """The inverse of `_rows`: the parts in the structure and shape of ``like``."""
    parts = tf.nest.flatten(like)
    split = tf.split(rows, [part.shape[1:].num_elements() for part in parts], axis=1)
    return tf.nest.pack_sequence_as(
        like, [tf.reshape(row, [-1, *part.shape[1:]]) for row, part in zip(split, parts, strict=True)]
    )
