"""Functions that were compiled for one model and serve others of equal structure, each with its own weights.

A model that is loaded again is such a model, and so is that of another fold of a cross-validation, where its layers
have the same names.
"""

import copy
from collections import OrderedDict
from collections.abc import Hashable
from typing import Any, NamedTuple

from tfsaliency.graph.operations import PYTHON_CODE
from tfsaliency.graph.trace import Pairs, Trace
from tfsaliency.model.kept import keep

# Functions kept for models to come. They hold no weights, but what a method embeds in them, such as baselines.
KEPT = 8


class Found(NamedTuple):
    """What tracing a method found out about a model.

    Attributes:
        notes: for the explanation's provenance, name -> text.
        row_bytes: how many bytes one row writes, at most.
    """

    notes: dict[str, str]
    row_bytes: int


class Shared:
    """A compiled function without the weights that it was traced with.

    Args:
        function: the function.
        captured: what the trace of the model reads from outside, by the placeholders in that trace.
        found: what was found out.
    """

    def __init__(self, function: Any, captured: Pairs, found: Found):
        self._function, self.found = function, found
        names = {id(outside): traced.name for traced, outside in captured}
        # What the method alone reads is the same for all models.
        self._read = [names.get(id(each), each) for each in function.captured_inputs]
        function.set_external_captures([])
        # The graph would keep the weights of the first model.
        function.graph.function_captures.clear()

    def reading(self, captured: Pairs) -> Any:
        """The function, with what the trace of a model reads."""
        outside = {traced.name: each for traced, each in captured}
        function = copy.copy(self._function)
        function.set_external_captures([outside[each] if isinstance(each, str) else each for each in self._read])
        return function


_kept: OrderedDict[Hashable, Shared] = OrderedDict()


def shared(key: Hashable) -> Shared | None:
    """The function that was compiled for an equal question about a model of equal structure, if there is one."""
    return _kept.get(key)


def share(key: Hashable, function: Shared, trace: Trace) -> None:
    """Lets other models find a function.

    A function of Python within the model may keep the model alive, and is that of no other model.
    """
    if not any(op.type in PYTHON_CODE for op in trace.operations):
        keep(_kept, key, function, KEPT)


def forget_shared() -> None:
    """Drops all functions that are kept for models to come."""
    _kept.clear()
