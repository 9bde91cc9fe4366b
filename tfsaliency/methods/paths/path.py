"""Ways of the inputs: from a start to the inputs as given."""

from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from tfsaliency.tensors.sums import along, samples_of, sizes_of


class Paths(NamedTuple):
    """Paths of inputs, ``number`` for each of ``N`` samples; path ``k * N + n`` is the ``k``-th of sample ``n``.

    A position on a path is a number from 0, its start, to 1, the inputs as given. Both functions take ``(rows,)``
    numbers of paths, and positions on them.

    Attributes:
        number: of the paths of one sample. Its values are their mean.
        at: gives the inputs at a position of each path, ``(rows, ...)``.
        move: gives how far the inputs move between two positions, in shapes that broadcast against ``(rows, ...)``.
    """

    number: int
    at: Callable[[tf.Tensor, tf.Tensor], Any]
    move: Callable[[tf.Tensor, tf.Tensor, tf.Tensor], Any]


def straight(x0: Any, x: Any) -> Paths:
    """The straight lines from baselines to the inputs.

    Args:
        x0: ``K`` baselines for each sample, ``(K, N, ...)``, with ``K`` known.
        x: the inputs, ``(N, ...)``.
    """
    samples = samples_of(x)
    number = int(tf.nest.flatten(x0)[0].shape[0])
    starts = tf.nest.map_structure(lambda part: tf.reshape(part, [-1, *sizes_of(part)[1:]]), x0)

    def ends(paths: tf.Tensor) -> tuple[Any, Any]:
        return (
            tf.nest.map_structure(lambda part: tf.gather(part, paths), starts),
            tf.nest.map_structure(lambda part: tf.gather(part, paths % samples), x),
        )

    def at(paths: tf.Tensor, position: tf.Tensor) -> Any:
        return tf.nest.map_structure(lambda start, end: start + along(position, start) * (end - start), *ends(paths))

    def move(paths: tf.Tensor, start: tf.Tensor, end: tf.Tensor) -> Any:
        return tf.nest.map_structure(lambda first, last: along(end - start, first) * (last - first), *ends(paths))

    return Paths(number, at, move)
