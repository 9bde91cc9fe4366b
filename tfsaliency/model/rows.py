"""Whether the answer for a row of a batch is that row's own: what its neighbours and chance change is warned of."""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from tfsaliency.graph.ancestry import ancestors
from tfsaliency.graph.operations import DRAWS, NESTED, OTHER_DRAWS, SEEDED_DRAWS
from tfsaliency.graph.rows import Meeting, meetings
from tfsaliency.model.call import FREE_BATCH
from tfsaliency.model.logits import Logits
from tfsaliency.model.traced import TracedModel

# A row alone and among others differs by rounding: by this share of the largest number, and by more in 16 bits.
ROUNDING, ROUNDING_COARSE = 1e-4, 1e-2
RESTLESS = (
    "The model changes what it reads from Python when it is called, such as a counter or the numbers that NumPy draws "
    "next: the map can change from call to call, and the model is traced again each time. Explain a model whose call "
    "changes nothing in Python."
)


def cautions(model: TracedModel, read: Logits, rows: Callable[[], Any]) -> list[str]:
    """What a user has to know before trusting the map of a single row, one sentence each. Found out once.

    Args:
        model: the traced model.
        read: those of its logits that are explained.
        rows: gives some rows of the inputs, in the structure of the model's inputs.

    Raises:
        ValueError: the model does not give one row for each row of the inputs.
    """
    outputs = tf.nest.flatten(read.outputs)
    names = tuple(each.name for each in outputs)
    if names not in model.cautions:
        model.cautions[names] = _cautions(model, read.floats, outputs, rows())
    return model.cautions[names]


def _cautions(model: TracedModel, logits: list[tf.Tensor], outputs: list[tf.Tensor], x: Any) -> list[str]:
    drawing = _drawing(model, logits)
    found = [_chance(model, drawing[0])] if drawing else []
    found += [RESTLESS] if model.is_restless else []
    met = meetings(tf.nest.flatten(model.inputs), [each for each in outputs if each.dtype.is_floating])
    culprit = next((each.operation for each in met if each.certain), None)
    # What a variable carries from one row to another is in no path of the trace.
    if (met or model.trace.written) and not drawing:
        compared = _compared(model, outputs, x, met)
        culprit = culprit or compared
    return found if culprit is None else [*found, _neighbours(model, culprit)]


def _neighbours(model: TracedModel, operation: tf.Operation) -> str:
    return (
        f"The rows of a batch depend on each other at {_where(model, operation)}: the map of a sample changes with the "
        "samples around it and with batch_size. Explain a model that treats each row alone, as layers do with "
        "training=False, or pass batch_size=1: then each sample, and each altered copy of it, is alone in its batch."
    )


def _chance(model: TracedModel, operation: tf.Operation) -> str:
    return (
        f"The model draws random numbers at {_where(model, operation)}: the map changes from call to call or shows one "
        "draw of many. Explain a model without chance, as layers are with training=False."
    )


def _where(model: TracedModel, operation: tf.Operation) -> str:
    """The layer of an operation, with its type and name."""
    layers = model.layers_of(operation.name)
    inside = f"the layer {layers[0].path!r}, " if layers else ""
    return f"{inside}operation {operation.name!r} of type {operation.type}"


# --- chance ---


def _drawing(model: TracedModel, logits: list[tf.Tensor]) -> list[tf.Operation]:
    """The operations on the way to the logits that draw random numbers, themselves or in their functions."""
    functions = model.trace.functions
    seen: set[str] = set()

    def draws(type: str, attributes: Any) -> bool:
        return _is_draw(type) or (
            type in NESTED and any(body_draws(name) for attr in attributes for name in _called(attr))
        )

    def body_draws(name: str) -> bool:
        if name in seen or name not in functions:
            return False
        seen.add(name)
        return any(draws(node.op, node.attr.values()) for node in functions[name].node_def)

    # A generator of random numbers counts its draws in a variable.
    writes = bool(model.trace.written)
    return [
        op
        for op in ancestors(*logits)
        if draws(op.type, op.node_def.attr.values()) or (writes and op.type.startswith(f"{SEEDED_DRAWS}Random"))
    ]


def _is_draw(type: str) -> bool:
    return type.startswith(DRAWS) or type in OTHER_DRAWS


def _called(attribute: Any) -> list[str]:
    """The names of the functions that an attribute of an operation holds."""
    return [each.name for each in (attribute.func, *attribute.list.func) if each.name]


# --- neighbours ---


def _compared(model: TracedModel, outputs: list[tf.Tensor], x: Any, met: list[Meeting]) -> tf.Operation | None:
    """The first operation that gives a row another answer among others than alone; None where there is none.

    Raises:
        ValueError: the model does not give one row for each row of the inputs.
    """
    suspects = [tensor for each in met if (tensor := _number(each.operation)) is not None]
    run = model.answering([*outputs, *suspects])
    first = tf.nest.map_structure(lambda part: part[:1], x)
    parts = tf.nest.flatten(x)
    # The row that differs from the first in most parts: parts of a row belong together.
    row = max(range(len(parts[0])), key=lambda row: sum(not np.array_equal(part[row], part[0]) for part in parts))
    other = tf.nest.map_structure(lambda part: _other_row(part, row), x)
    try:
        together, alone = run(first, first, other), [run(first), run(other)]
    except tf.errors.OpError:
        # A model of a fixed number of rows can only be asked about that many: nothing else can be explained with it.
        return None
    if len(outputs) == 1:
        _check_rows(together[0], 3)
        _check_rows(alone[0][0], 1)
    tolerance = ROUNDING_COARSE if model.trace.is_coarse else ROUNDING
    differs = [_differs(each, (one, two), tolerance) for each, one, two in zip(together, *alone, strict=True)]
    if not any(differs[: len(outputs)]):
        return None
    named = [tensor.op for tensor in itertools.compress(suspects, differs[len(outputs) :])]
    return (*named, *(each.operation for each in met), outputs[0].op)[0]


def _number(operation: tf.Operation) -> tf.Tensor | None:
    return next((each for each in operation.outputs if each.dtype.is_floating or each.dtype.is_integer), None)


def _other_row(part: tf.Tensor, row: int) -> tf.Tensor:
    """A row that differs from the first: one of the batch, or the first with its numbers in another order."""
    if not np.array_equal(part[row], part[0]):
        return part[row : row + 1]
    axes = list(range(1, part.shape.rank))
    mirrored = tf.reverse(part[:1], axes)
    if not part.dtype.is_floating:
        # Other ids may be none of the table.
        return mirrored
    return mirrored if not np.array_equal(mirrored, part[:1]) else part[:1] / 2 + 1


def _check_rows(output: np.ndarray, rows: int) -> None:
    if output.shape[:1] != (rows,):
        raise ValueError(
            f"The model gives an output of shape {output.shape} for {rows} rows of inputs. An explanation needs one "
            "row of output for each row of inputs: explain the model that is called on one sample, or keep the axis "
            f"of the batch. If it takes a fixed number of rows, {FREE_BATCH}"
        )


def _differs(together: np.ndarray, alone: tuple[np.ndarray, np.ndarray], tolerance: float) -> bool:
    """Whether the rows first, first, other of a batch are not what they are alone."""
    first, other = alone
    if together.dtype.kind not in "fiub" or together.shape[:1] != (3,) or first.shape[:1] != (1,):
        return False
    if first.shape[1:] != other.shape[1:]:
        # Texts of different lengths are filled up among others.
        return False
    return differs(together, np.concatenate([first, first, other]), tolerance)


def differs(together: np.ndarray, apart: np.ndarray, tolerance: float) -> bool:
    """Whether numbers differ by more than rounding, as a share of the largest."""
    apart = apart.astype("float64")
    limit = tolerance * max(np.abs(apart).max(initial=0), 1e-30)
    return bool(np.abs(together.astype("float64") - apart).max(initial=0) > limit)
