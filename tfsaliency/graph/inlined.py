"""Functions that run in place while something is traced, instead of becoming calls in the graph.

Inside of a call nothing can be seen: neither the layers that it runs, nor its softmax, nor an operation that a rule
needs. A function that was written in Python runs as Python, also where TensorFlow has traced it before. One that has no
Python, from a SavedModel or traced by its user, runs operation by operation.
"""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import tensorflow as tf

from tfsaliency.base.calls import calls_replaced
from tfsaliency.graph.bodies import captured
from tfsaliency.graph.custom_gradients import CustomGradients
from tfsaliency.graph.replay import Replay


@contextmanager
def functions_inlined() -> Iterator[CustomGradients]:
    """Lets each function that this thread calls run in place.

    Yields:
        The custom gradients of what was traced before. They live as long as they may be asked for.
    """
    gradients = CustomGradients()

    def in_place(original: Callable[..., Any], function: Any, *args: Any, **kwargs: Any) -> Any:
        if tf.executing_eagerly():
            return original(function, *args, **kwargs)
        if _has_python(function):
            try:
                return _converted(function.python_function)(*_as_tensors(args), **_as_tensors(kwargs))
            except Exception:
                # Python cannot run it here as it stands, as where TensorFlow has to turn its numbers into tensors.
                pass
        return _operation_by_operation(lambda: original(function, *args, **kwargs), gradients)

    with calls_replaced(_classes(), in_place):
        yield gradients


@functools.cache
def _classes() -> tuple[Any, Any]:
    """The classes of what ``tf.function`` makes, and of what is traced from it."""
    function = tf.function(lambda: 0)
    return type(function), type(function.get_concrete_function())


def _has_python(function: Any) -> bool:
    # A function from a file has a list of what was traced from it.
    return hasattr(function, "python_function") and not hasattr(function, "concrete_functions")


def _converted(python: Any) -> Any:
    """The function with Python's conditions and loops over tensors as those of TensorFlow, with a known source."""
    try:
        return tf.autograph.to_graph(python)
    except Exception:
        return python


def _as_tensors(arguments: Any) -> Any:
    return tf.nest.map_structure(
        lambda each: tf.convert_to_tensor(each) if isinstance(each, np.ndarray) else each, arguments
    )


def _operation_by_operation(call: Callable[[], Any], gradients: CustomGradients) -> Any:
    traced = tf.function(call, autograph=False).get_concrete_function()
    for variable in traced.graph.variables:
        tf.compat.v1.get_default_graph().watch_variable(variable)
    replay = Replay(gradients, captured(traced.graph)).run(traced.graph.get_operations())
    return tf.nest.map_structure(
        lambda each: replay[each] if tf.is_tensor(each) else each, traced.graph.structured_outputs
    )
