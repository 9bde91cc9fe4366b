"""Many altered copies of the inputs, put through the model in blocks that the device takes at once."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tfsaliency.score import Score

# The numbers of the first copy of a block and of the copies in it, scalar int32 tensors.
Block = tuple[tf.Tensor, tf.Tensor]


def over_copies(total: int, x: Any, score: Score, step: Callable[[Any, Block], Any], start: Any) -> Any:
    """One loop of the graph over ``total`` copies of the inputs.

    Args:
        total: how many copies.
        x: the inputs, ``(N, ...)``.
        score: what is explained; it knows how many rows the model takes at once.
        step: gets what the blocks before have come to, and a block; returns what they come to with it.
        start: what ``step`` gets first.
    """
    batch = tf.shape(tf.nest.flatten(x)[0])[0]
    size = tf.clip_by_value(score.rows // batch, 1, total)

    def body(done: tf.Tensor, so_far: Any) -> tuple[tf.Tensor, Any]:
        count = tf.minimum(size, total - done)
        with score.silent():
            after = step(so_far, (done, count))
        with tf.control_dependencies(tf.nest.flatten(after, expand_composites=True)):
            score.advance(count / total)
            return done + count, after

    # Two blocks in flight: what the next one needs is made beside the gradient of this one. Not more: they would all be
    # started at once, and memory would grow with the copies.
    _, result = tf.while_loop(lambda done, _: done < total, body, (0, start), parallel_iterations=2)
    return result


def scores_of_copies(total: int, x: Any, score: Score, ask: Callable[[Block], tf.Tensor]) -> tf.Tensor:
    """``(total, N)``: the scores of copies, of which ``ask`` returns those of one block, ``(count * N,)``."""
    batch = tf.shape(tf.nest.flatten(x)[0])[0]

    def step(scores: tf.TensorArray, block: Block) -> tf.TensorArray:
        first, count = block
        return scores.scatter(tf.range(first, first + count), tf.reshape(ask(block), [count, batch]))

    return over_copies(total, x, score, step, tf.TensorArray(tf.float32, total, element_shape=[None])).stack()


def repeated(x: Any, count: tf.Tensor) -> Any:
    """``count`` copies of the inputs, stacked in blocks: ``(count * N, ...)``."""
    return tf.nest.map_structure(lambda part: tf.tile(part, [count] + [1] * (part.shape.rank - 1)), x)
