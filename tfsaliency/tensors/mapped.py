"""A function of each of some numbers: a loop of the graph, or of Python."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf


def mapped(
    function: Callable[[tf.Tensor], Any], numbers: tf.Tensor, specs: Any, *, parallel_iterations: int | None = None
) -> Any:
    """The results of a function, stacked: as `tf.map_fn` does, and outside of a graph without AutoGraph.

    `tf.map_fn` has AutoGraph rewrite all that the function calls. Outside of a graph that is also the black box of a
    user, which is meant to run as it is written.

    Args:
        function: takes one of the numbers.
        numbers: ``(count,)``; outside of a graph at least one.
        specs: the type of a result, in its structure.
        parallel_iterations: of the loop of the graph.
    """
    if tf.executing_eagerly():
        results = [function(number) for number in numbers]
        return tf.nest.map_structure(lambda *parts: tf.stack(parts), *results)
    return tf.map_fn(function, numbers, fn_output_signature=specs, parallel_iterations=parallel_iterations)
