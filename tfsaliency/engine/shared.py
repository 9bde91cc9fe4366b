"""Functions that were compiled for one model and serve others of equal structure, each with its own weights.

A model that is loaded again is such a model, and so is that of another fold of a cross-validation.
"""

import copy
from collections import OrderedDict
from collections.abc import Hashable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from tfsaliency.engine.moments import OF_A_BLOCK
from tfsaliency.graph.bodies import all_bodies
from tfsaliency.graph.operations import PYTHON_CODE
from tfsaliency.graph.trace import Pairs, Trace
from tfsaliency.model.kept import keep
from tfsaliency.model.traced import Structure

# What a key holds of values. Code stands for functions, and objects that are compared by identity may be variables.
PLAIN = (str, bytes, bool, int, float, type(None), type, np.dtype, tf.TensorSpec)
PACKAGE = __name__.partition(".")[0]
# Functions kept for models to come. They hold no weights, but what a method embeds in them, such as baselines.
KEPT = 8


class Shared:
    """A compiled function without the weights that it was traced with.

    Args:
        function: the function.
        trace: of the model that it was traced for.
        notes: what the method found out about the model, name -> text.
        row_bytes: how many bytes one row writes, at most.
        names: what the function calls its results.

    Attributes:
        said: all texts that tell of the model.
        is_of_one_model: whether no other model can be served.
    """

    def __init__(self, function: Any, trace: Trace, notes: dict[str, str], row_bytes: int, names: list[str]):
        self._function, self.notes, self.row_bytes = function, notes, row_bytes
        self.said = [*notes.values(), *names]
        places = {id(outside): place for place, (_, outside) in enumerate(trace.captured)}
        # What the method alone reads is the same for all models.
        self._read = [places.get(id(each), each) for each in function.captured_inputs]
        # It calls back to Python, which may keep the model alive, or it reads other variables than the model's.
        reads_others = any(not isinstance(each, int) and each.dtype == tf.resource for each in self._read)
        self.is_of_one_model = reads_others or any(op.type in PYTHON_CODE for op in trace.operations)
        function.set_external_captures([])
        of_model = {id(body) for body in all_bodies(trace.graph)}
        for graph in (function.graph, *all_bodies(function.graph, OF_A_BLOCK)):
            if id(graph) not in of_model:
                _forget_captured(graph)

    def reading(self, captured: Pairs) -> Any:
        """The function, with what the trace of a model of equal structure reads."""
        read = [captured[each][1] if isinstance(each, int) else each for each in self._read]
        function = copy.copy(self._function)
        function.set_external_captures(read)
        return function


def _forget_captured(graph: Any) -> None:
    """Drops what a graph was traced with, which would keep the weights of the first model."""
    graph.function_captures.clear()
    # The graph also keeps a list, which it makes anew when it is asked for it.
    assert not graph.captures


_kept: OrderedDict[Hashable, Shared] = OrderedDict()


def may_be_shared(question: Any, kind: Hashable) -> bool:
    """Whether what is compiled for a question says nothing of the model that it was compiled for.

    A method of the user's own may read more of its model than the trace shows, and a function or variable that the user
    gives may be, or read, a weight of that model.
    """
    return _is_of_package(question) and all(isinstance(each, PLAIN) for each in _leaves(kind))


def _is_of_package(question: Any) -> bool:
    within = [each for each in vars(question).values() if hasattr(each, "attribute")]
    return type(question).__module__.startswith(f"{PACKAGE}.") and all(map(_is_of_package, within))


def shared(kind: Hashable, structure: Structure) -> Shared | None:
    """What was compiled for an equal question about a model of equal structure; None where nothing was.

    Args:
        kind: of the question.
        structure: of the model. Its names have to be equal too where the question or the answer has some of them.
    """
    named = _kept.get((kind, structure.computation, structure.names))
    return named or (None if structure.is_named_in(_texts(kind)) else _kept.get((kind, structure.computation)))


def share(kind: Hashable, structure: Structure, function: Shared) -> None:
    """Lets other models find a function."""
    if function.is_of_one_model:
        return
    is_named = structure.is_named_in([*_texts(kind), *function.said])
    key = (kind, structure.computation, structure.names) if is_named else (kind, structure.computation)
    keep(_kept, key, function, KEPT)


def forget_shared() -> None:
    """Drops all functions that are kept for models to come."""
    _kept.clear()


def _texts(key: Hashable) -> Iterator[str]:
    """All texts within a key."""
    return (each for each in _leaves(key) if isinstance(each, str))


def _leaves(key: Hashable) -> Iterator[Any]:
    """All that a key is made of."""
    if isinstance(key, tuple | frozenset):
        for each in key:
            yield from _leaves(each)
    else:
        yield key
