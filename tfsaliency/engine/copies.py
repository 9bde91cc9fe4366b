"""Many altered copies of the inputs, put through the model in blocks that the device takes at once."""

from collections.abc import Callable
from typing import Any, TypeVar

import tensorflow as tf

from tfsaliency.engine.score import Score
from tfsaliency.tensors.sums import samples_of

# The number of the first copy of a block, and how many copies are in it: scalar int32 tensors.
Block = tuple[tf.Tensor, tf.Tensor]
SoFar = TypeVar("SoFar")


def over_copies(
    total: int | tf.Tensor, x: Any, score: Score, step: Callable[[SoFar, Block], SoFar], start: SoFar
) -> SoFar:
    """One loop of the graph over ``total`` copies of the inputs.

    Args:
        total: how many copies; a scalar tensor where only the running graph knows.
        x: the inputs, ``(N, ...)``.
        score: what is explained. It knows how many rows the model takes at once.
        step: takes the result of the blocks before and a block; returns the result with that block.
        start: the result before the first block; outside of a graph anything, such as None.
    """
    size = tf.clip_by_value(score.rows // samples_of(x), 1, total)

    def body(done: tf.Tensor, so_far: SoFar) -> tuple[tf.Tensor, SoFar]:
        count = tf.minimum(size, total - done)
        with score.silent():
            after = step(so_far, (done, count))
        with tf.control_dependencies(tf.nest.flatten(after, expand_composites=True)):
            score.advance(count / total)
            return done + count, after

    if tf.executing_eagerly():
        done, so_far = tf.constant(0), start
        while done < total:
            done, so_far = body(done, so_far)
        return so_far
    if isinstance(total, int) and total == 1:
        # A loop would be a graph of its own, which TensorFlow builds and optimizes apart.
        return body(tf.constant(0), start)[1]
    # Two blocks at a time: the next one's inputs are made beside the gradient of this one. With more of them all would
    # start at once, and memory would grow with the copies.
    result: SoFar
    _, result = tf.while_loop(lambda done, _: done < total, body, (0, start), parallel_iterations=2)
    return result


def scores_of_copies(total: int, x: Any, score: Score, ask: Callable[[Block], tf.Tensor]) -> tf.Tensor:
    """``(total, N)``: the scores of copies. ``ask`` returns those of one block, ``(count * N,)``."""
    batch = samples_of(x)

    def step(scores: tf.TensorArray, block: Block) -> tf.TensorArray:
        first, count = block
        return scores.scatter(tf.range(first, first + count), tf.reshape(ask(block), [count, batch]))

    return over_copies(total, x, score, step, tf.TensorArray(tf.float32, total, element_shape=[None])).stack()
