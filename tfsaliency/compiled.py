"""One compiled function per model, explainer, kind of target and shape of inputs, kept as long as the model lives."""

import weakref
from collections import OrderedDict
from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from tfsaliency import forward
from tfsaliency.inputs import Inputs
from tfsaliency.score import Score
from tfsaliency.target import Target

if TYPE_CHECKING:
    from tfsaliency.explainer import Explainer

# Functions kept per model: a loop that passes a new lambda as target at each call must not fill the memory.
KEPT = 32

# A batch is large enough to hide the cost of starting operations once it writes this much, or has this many rows,
# and larger ones only fall out of the caches (benchmarks/chunks.py shows the curve)...
ENOUGH_BYTES = 256 * 2**20
ENOUGH_ROWS = 16
# ... and may never ask for more than this.
BUDGET_BYTES = 2 * 2**30
MOST_ROWS = 4096


class Compiled:
    """``attribute`` of one explainer on one model, traced once for every batch size.

    It holds the model weakly: the cache must not keep a model alive that its user has dropped.

    Attributes:
        units: how many classes the target chooses from; None where it chooses none.
        explained: says whether logits or the output itself are explained.
        rows: how many rows go through the model at once.
    """

    def __init__(self, explainer: "Explainer", target: Target, inputs: Inputs):
        model = weakref.ref(explainer.model)
        detached = explainer.detached()
        dtypes = inputs.dtypes
        resolved = not target.chooses or target.given(inputs.samples) is not None
        traced: list[forward.Logits] = []
        units: list[int | None] = []

        def logits(x: Any) -> forward.Logits:
            alive = model()
            assert alive is not None
            traced.append(forward.logits(alive, x, dtypes))
            return traced[-1]

        def run(x: Any, index: tf.Tensor, rows: tf.Tensor) -> tuple[Any, tf.Tensor, tf.Tensor, dict]:
            score = Score(logits, target, index if resolved else None, x, rows)
            values, diagnostics = detached.attribute(x, score)
            scores = score.resolve()
            units.append(target.units(traced[0]))
            return values, scores, score.index, diagnostics

        signature = [inputs.specs, tf.TensorSpec([None], tf.int32), tf.TensorSpec([], tf.int32)]
        self._function = tf.function(run, input_signature=signature, autograph=False)
        self._function.get_concrete_function()
        self.units = units[0]
        self.explained = traced[0].describe()
        self.rows = rows_for(traced[0].row_bytes)

    def __call__(self, x: Any, index: tf.Tensor, rows: int) -> tuple[Any, Any, Any, Any]:
        """Values, scores, classes and diagnostics of a batch, as tensors."""
        return self._function(x, index, tf.constant(rows, tf.int32))


def rows_for(row_bytes: int) -> int:
    """How many rows go through a model at once, of which one writes that many bytes; a power of two."""
    row_bytes = max(1, row_bytes)
    rows = min(max(ENOUGH_ROWS, ENOUGH_BYTES // row_bytes), BUDGET_BYTES // row_bytes, MOST_ROWS)
    return 1 << max(0, rows.bit_length() - 1)


_kept: weakref.WeakKeyDictionary[keras.Model, OrderedDict[Hashable, Compiled]] = weakref.WeakKeyDictionary()


def compiled(explainer: "Explainer", target: Target, inputs: Inputs) -> Compiled:
    """The compiled function for these, traced now if it is the first time."""
    model = explainer.model
    functions = _kept.setdefault(model, OrderedDict())
    # A layer that was added or taken away since makes another function.
    layers = tuple(map(id, model.layers))
    chosen = target.given(inputs.samples) is not None
    key = (explainer.key(), target.key, chosen, inputs.key, layers)
    if key not in functions:
        functions[key] = Compiled(explainer, target, inputs)
        if len(functions) > KEPT:
            functions.popitem(last=False)
    functions.move_to_end(key)
    return functions[key]
