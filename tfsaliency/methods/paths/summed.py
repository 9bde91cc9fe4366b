"""Fixed rules along paths, with an estimate of their error that costs no gradient."""

from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from tfsaliency.engine.copies import Block, over_copies
from tfsaliency.engine.score import Score
from tfsaliency.methods.paths.path import Paths
from tfsaliency.methods.paths.quadrature import Rule
from tfsaliency.tensors.sums import along, each_repeated, of_copies, samples_of, sizes_of, squares

# Gives what is summed times the move of the inputs, at some inputs: ``(rows, ...)`` in their structure.
SlopesOf = Callable[[Any, Score], Any]

# The thirds of a cell are wrong by this share of the square of what cutting the cell into them has changed, each. Along
# a path of a ReLU network gradients are a random walk, for which it is exact; for a smooth one it is an upper bound.
OF_A_THIRD = 1 / 24


class Integral(NamedTuple):
    """What was summed along the paths of each sample.

    Attributes:
        values: the sums, in the structure of the inputs, ``(N, ...)``.
        error2: ``(N,)``, their estimated squared error.
        steps: ``(N,)`` float32, how often the gradient was asked for.
    """

    values: Any
    error2: tf.Tensor
    steps: tf.Tensor


def summed(paths: Paths, x: Any, score: Score, slopes: SlopesOf, rule: Rule) -> Integral:
    """By a fixed rule, in device batches.

    Each node with the two beside it is a cell in thirds: what the two change, against the middle alone, tells the
    error.
    """
    steps, samples = len(rule.nodes), samples_of(x)
    nodes, edges = tf.constant(rule.nodes, tf.float32), tf.constant(rule.edges, tf.float32)
    widths = edges[1:] - edges[:-1]

    def step(so_far: tuple[Any, Any, tf.Tensor], block: Block) -> tuple[Any, Any, tf.Tensor]:
        values, last_two, bends = so_far
        copies = block[0] + tf.range(block[1])
        node = copies % steps
        numbers = each_repeated(copies // steps * samples, samples) + tf.tile(tf.range(samples), [block[1]])
        at, start, end = (each_repeated(tf.gather(each, node), samples) for each in (nodes, edges[:-1], edges[1:]))
        slope, move = slopes(paths.at(numbers, at), score), paths.move(numbers, start, end)
        products = of_copies(tf.nest.map_structure(tf.multiply, slope, move), block[1])
        three = tf.nest.map_structure(lambda *each: tf.concat(each, axis=0), last_two, products)
        # Of a middle node that alone stands for the three.
        share = tf.gather(widths, tf.maximum(node - 2, 0)) + tf.gather(widths, node)
        share /= tf.gather(widths, tf.maximum(node - 1, 0))
        bend = tf.nest.map_structure(lambda part: part[:-2] - along(share, part) * part[1:-1] + part[2:], three)
        has_three = tf.cast(node >= 2, tf.float32)[:, None]
        bends += tf.reduce_sum(has_three * tf.reshape(_squares(bend), [-1, samples]), axis=0)
        values = tf.nest.map_structure(lambda part, more: part + tf.reduce_sum(more, axis=0), values, products)
        last_two = tf.nest.map_structure(lambda part: tf.ensure_shape(part[-2:], [2, *part.shape[1:]]), three)
        return values, last_two, bends

    nothing = tf.nest.map_structure(tf.zeros_like, x)
    before = tf.nest.map_structure(lambda part: tf.zeros([2, samples, *sizes_of(part)]), x)
    values, _, bends = over_copies(steps * paths.number, x, score, step, (nothing, before, tf.zeros([samples])))
    error2 = bends * OF_A_THIRD * steps / (steps - 2) if steps > 2 else tf.fill([samples], float("inf"))
    return Integral(values, error2, tf.fill([samples], float(steps * paths.number)))


def _squares(bend: Any) -> tf.Tensor:
    return squares(tf.nest.map_structure(lambda part: tf.reshape(part, [-1, *sizes_of(part)[1:]]), bend))
