"""The numbers of a trace that are computed from the shapes of tensors, such as the sizes that a reshape is given."""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from tfsaliency.graph.step import replayed_now

ShapeOf = Callable[[tf.Tensor], list[int]]

_OF_SHAPE: dict[str, Callable[[list[int]], Any]] = {"Shape": list, "Size": np.prod, "Rank": len}


class NotFromShapesError(Exception):
    """Numbers depend on more than shapes."""


class Lengths:
    """The value of traced numbers.

    Args:
        shape_of: the shape of a traced tensor.
    """

    def __init__(self, shape_of: ShapeOf):
        self._shape_of = shape_of
        self._known: dict[Any, np.ndarray] = {}

    def __getitem__(self, tensor: tf.Tensor) -> np.ndarray:
        """The value.

        Raises:
            NotFromShapesError: it depends on the numbers of a tensor.
        """
        if tensor.ref() not in self._known:
            self._known[tensor.ref()] = self._value(tensor)
        return self._known[tensor.ref()]

    def _value(self, tensor: tf.Tensor) -> np.ndarray:
        op, constant = tensor.op, tf.get_static_value(tensor)
        if constant is not None:
            return np.asarray(constant)
        if op.type in _OF_SHAPE:
            return np.asarray(_OF_SHAPE[op.type](self._shape_of(op.inputs[0])), tensor.dtype.as_numpy_dtype)
        are_known = all(each.dtype.is_integer or each.dtype.is_floating or each.dtype.is_bool for each in op.inputs)
        if not op.inputs or op.op_def.is_stateful or not are_known:
            raise NotFromShapesError
        results = replayed_now(op, [self[source] for source in op.inputs])
        self._known |= {result.ref(): value for result, value in zip(op.outputs, results, strict=True)}
        return self._known[tensor.ref()]
