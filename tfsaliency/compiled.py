"""One compiled function per model, explainer, kind of target and shape of inputs, kept as long as the model lives."""

import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

from tfsaliency import forward
from tfsaliency.checks import check_integers
from tfsaliency.inputs import Inputs
from tfsaliency.score import Score
from tfsaliency.state import SameObject
from tfsaliency.target import Target

if TYPE_CHECKING:
    from tfsaliency.explainer import Explainer

# Functions kept per model: a loop that passes a new lambda as target at each call must not fill the memory.
KEPT = 32

# A batch is large enough to hide the cost of starting operations once it writes this much, or has this many rows,
# and larger ones only fall out of the caches (benchmarks/chunks.py shows the curve)...
ENOUGH_BYTES = 256 * 2**20
ENOUGH_ROWS = 16
# ... and may never write more than this. Much of it is freed again on the way: about a third is held at once.
BUDGET_BYTES = 4 * 2**30
MOST_ROWS = 4096


class Compiled:
    """``attribute`` of one explainer on one model, traced once for every batch size.

    It keeps the graph and nothing of what the graph was traced from: the cache must not keep a model alive that its
    user has dropped.

    Attributes:
        units: how many classes the target chooses from; None where it chooses none.
        explained: says whether logits or the output itself are explained.
        notes: what the method found out about the model, name -> text.
        rows: how many rows go through the model at once.
        on_progress: gets each share of its work that the method has done, where progress was asked for.
    """

    def __init__(self, explainer: "Explainer", target: Target, inputs: Inputs, progress: bool):
        resolved = not target.chooses or target.given(inputs.samples) is not None
        traced: list[forward.Logits] = []
        units: list[int | None] = []
        notes: dict[str, str] = {}

        def logits(x: Any) -> forward.Logits:
            traced.append(forward.logits(explainer.model, x))
            return traced[-1]

        def advance(share: tf.Tensor) -> None:
            if progress:
                tf.numpy_function(self._advance, [share], [])

        def run(x: Any, index: tf.Tensor, rows: tf.Tensor, first: tf.Tensor) -> tuple[Any, tf.Tensor, tf.Tensor, dict]:
            score = Score(logits, target, index if resolved else None, x, rows, first, advance)
            values, diagnostics = explainer.attribute(x, score)
            scores = score.resolve()
            units.append(target.units(traced[0]))
            notes.update(score.notes)
            return values, scores, score.index, diagnostics

        signature = [inputs.specs, tf.TensorSpec([None], tf.int32), *[tf.TensorSpec([], tf.int32)] * 2]
        self._graph = tf.function(run, input_signature=signature, autograph=False).get_concrete_function()
        self._writes = _writes(self._graph)
        self.units = units[0]
        self.explained = traced[0].describe()
        self.notes = notes
        self.rows = rows_for(traced[0].row_bytes)
        self.on_progress: Callable[[float], None] = lambda share: None

    def _advance(self, share: np.ndarray) -> None:
        self.on_progress(float(share))

    def __call__(self, x: Any, index: np.ndarray, rows: int, first: int) -> tuple[Any, Any, Any, Any]:
        """Values, scores, classes and diagnostics, as tensors, of samples from number ``first`` of a batch on."""
        # A stateful layer writes when it is called, and the model is to be left as it was.
        state = [(each, each.numpy()) for each in self._graph.variables if not each.trainable] if self._writes else []
        try:
            return self._graph(x, tf.constant(index), tf.constant(rows, tf.int32), tf.constant(first, tf.int32))
        finally:
            for variable, value in state:
                variable.assign(value)


def _writes(function: tf.types.experimental.ConcreteFunction) -> bool:
    """Whether a graph, or a function that it calls, assigns to a variable."""
    graph = function.graph.as_graph_def()
    bodies = [graph.node, *(each.node_def for each in graph.library.function)]
    return any(node.op.startswith("Assign") for nodes in bodies for node in nodes)


def rows_for(row_bytes: int) -> int:
    """How many rows go through a model at once, of which one writes that many bytes; a power of two."""
    row_bytes = max(1, row_bytes)
    rows = min(max(ENOUGH_ROWS, ENOUGH_BYTES // row_bytes), BUDGET_BYTES // row_bytes, MOST_ROWS)
    return 1 << max(0, rows.bit_length() - 1)


_kept: weakref.WeakKeyDictionary[keras.Model, OrderedDict[Hashable, Compiled]] = weakref.WeakKeyDictionary()


def compiled(explainer: "Explainer", target: Target, inputs: Inputs, progress: bool) -> Compiled:
    """The compiled function for these, traced now if it is the first time."""
    functions = _kept.setdefault(explainer.model, OrderedDict())
    chosen = target.given(inputs.samples) is not None
    key = (explainer.key(), target.key, chosen, inputs.key, progress, _anatomy(explainer.model))
    if key not in functions:
        check_integers(explainer.model, inputs)
        functions[key] = Compiled(explainer, target, inputs, progress)
        if len(functions) > KEPT:
            functions.popitem(last=False)
    functions.move_to_end(key)
    return functions[key]


def forget(model: keras.Model) -> None:
    """Drops what was compiled for a model.

    New weights, new layers and new activations are seen without it. Needed after a change that only Python sees, such
    as of an attribute that ``call`` reads.

    Args:
        model: a model that was explained; of any other there is nothing to drop.

    Example:
        >>> import keras, tfsaliency as tfs
        >>> tfs.forget(keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]))
    """
    _kept.pop(model, None)


def _anatomy(layer: keras.Layer) -> Hashable:
    """Changes when a layer, variable or activation is added, taken away or replaced, at any depth of models."""
    variables = tuple(map(SameObject, layer.variables))
    return variables, _organs(layer)


def _organs(layer: keras.Layer) -> Hashable:
    parts = getattr(layer, "layers", None)
    inner = tuple(map(_organs, parts)) if isinstance(parts, list) else ()
    activation = getattr(layer, "activation", None)
    return SameObject(layer), None if activation is None else SameObject(activation), inner
