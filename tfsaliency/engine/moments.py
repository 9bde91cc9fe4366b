"""Mean and spread of a method's values over many copies of the inputs, without keeping the values."""

from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from tfsaliency.engine.copies import Block, over_copies
from tfsaliency.engine.score import Score
from tfsaliency.tensors.errors import relative_error
from tfsaliency.tensors.sums import of_copies, samples_of, sizes_of, total


class Moments(NamedTuple):
    """Mean and spread over copies of the inputs, float32, in the structure of the values.

    Attributes:
        mean: ``(N, ...)``.
        spread: ``(N, ...)``, the sum of squared deviations from the mean.
    """

    mean: Any
    spread: Any

    def relative_error(self, copies: Any) -> tf.Tensor:
        """``(N,)``: the estimated ``||mean - E|| / ||E||`` of a mean of independent copies, a number or ``(N,)``.

        NaN for one copy.
        """
        copies = tf.cast(copies, tf.float32)
        # Of one copy 0 / 0.
        return relative_error(self.mean, total(self.spread) / (copies * (copies - 1)))


def moments_of_copies(copies: int, x: Any, score: Score, values_of: Callable[[Block], Any]) -> Moments:
    """Computes the moments over all copies, one device batch at a time, in one loop of the graph.

    Args:
        copies: the number of copies.
        x: the inputs, ``(N, ...)``.
        score: the explained score.
        values_of: returns the values of the copies of a block, stacked: ``(count * N, ...)``.
    """

    def of_block(first: tf.Tensor, count: tf.Tensor) -> Moments:
        stacked = of_copies(values_of((first, count)), count)
        mean = tf.nest.map_structure(lambda part: tf.reduce_mean(part, axis=0), stacked)
        spread = tf.nest.map_structure(
            lambda part, centre: tf.reduce_sum(tf.math.squared_difference(part, centre), axis=0),
            stacked,
            mean,
        )
        return Moments(mean, spread)

    ask, start = _in_a_loop(of_block, x, score)

    def step(so_far: Moments, block: Block) -> Moments:
        first, count = block
        return _merge(so_far, first, Moments(*ask(first, count)), count)

    return over_copies(copies, x, score, step, start)


# Copies that are drawn before looking again.
LOOK = 16


def moments_until(
    tolerance: float,
    budget: int,
    copies: int,
    x: Any,
    score: Score,
    values_of: Callable[[Any, Score, Block], Any],
) -> tuple[Moments, tf.Tensor]:
    """The moments over as many copies of each sample as bring the relative error of its mean within a tolerance.

    Args:
        tolerance: the relative error.
        budget: the most copies.
        copies: how many are drawn at first, of all samples.
        x: the inputs, ``(N, ...)``.
        score: the explained score.
        values_of: returns the values of the copies of a block of some of the samples, ``(count * n, ...)``.

    Returns:
        The moments, and how many copies of each sample were drawn, ``(N,)``.
    """
    first = moments_of_copies(copies, x, score, lambda block: values_of(x, score, block))

    def is_open(moments: Moments, drawn: tf.Tensor) -> tf.Tensor:
        return (moments.relative_error(drawn) > tolerance) & (drawn + LOOK <= budget)

    def look(done: tf.Tensor, moments: Moments, drawn: tf.Tensor) -> tuple[tf.Tensor, Moments, tf.Tensor]:
        # All samples that are open have as many copies.
        places = tf.cast(tf.where(is_open(moments, drawn)), tf.int32)
        some, score_of_some = _rows(x, places), score.among(places[:, 0])
        new = moments_of_copies(
            LOOK, some, score_of_some, lambda block: values_of(some, score_of_some, (done + block[0], block[1]))
        )
        merged = _merge(_rows(moments, places), done, new, tf.constant(LOOK))
        moments = tf.nest.map_structure(
            lambda part, rows: tf.tensor_scatter_nd_update(part, places, rows), moments, merged
        )
        return done + LOOK, moments, tf.tensor_scatter_nd_add(drawn, places, tf.fill(tf.shape(places)[:1], LOOK))

    with score.silent():
        _, moments, drawn = tf.while_loop(
            lambda done, moments, drawn: tf.reduce_any(is_open(moments, drawn)),
            look,
            (tf.constant(copies), first, tf.fill([samples_of(x)], copies)),
            parallel_iterations=1,
        )
    return moments, drawn


def _rows(structure: Any, places: tf.Tensor) -> Any:
    return tf.nest.map_structure(lambda part: tf.gather_nd(part, places), structure)


def _in_a_loop(of_block: Callable[..., Moments], x: Any, score: Score) -> tuple[Callable[..., Moments], Moments]:
    """What a loop asks about each block, and the moments of no copies."""
    if tf.executing_eagerly():
        # A loop in Python takes the shape of the first block, and a black box cannot be traced.
        nothing = tf.nest.map_structure(lambda part: tf.zeros([]), x)
        return of_block, Moments(nothing, nothing)
    # Traced separately: a loop of the graph needs the shape of the values before it starts.
    with score.silent():
        traced = tf.function(of_block, autograph=False).get_concrete_function(*[tf.TensorSpec([], tf.int32)] * 2)
    batch = samples_of(x)
    # Where the length of a sequence is not known, values have that of the inputs.
    start = Moments(
        *(
            tf.nest.map_structure(
                lambda spec, part: tf.zeros(
                    [batch, *(own or size for own, size in zip(spec.shape[1:], sizes_of(part), strict=True))],
                    spec.dtype,
                ),
                each,
                x,
            )
            for each in traced.structured_outputs
        )
    )
    return traced, start


def _merge(a: Moments, in_a: tf.Tensor, b: Moments, in_b: tf.Tensor) -> Moments:
    """Moments of two groups together (Chan, Golub & LeVeque 1983), without the cancellation of a sum of squares."""
    share = tf.cast(in_b, tf.float32) / tf.cast(in_a + in_b, tf.float32)

    def spread(spread_a: tf.Tensor, spread_b: tf.Tensor, mean_a: tf.Tensor, mean_b: tf.Tensor) -> tf.Tensor:
        between = tf.math.squared_difference(mean_a, mean_b) * tf.cast(in_a, tf.float32) * share
        return spread_a + spread_b + between

    return Moments(
        tf.nest.map_structure(lambda mean_a, mean_b: mean_a + (mean_b - mean_a) * share, a.mean, b.mean),
        tf.nest.map_structure(spread, a.spread, b.spread, a.mean, b.mean),
    )
