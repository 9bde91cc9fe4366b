"""Gradients in a graph, in the structure of the inputs, with an error where an operation has none."""

from typing import Any

import tensorflow as tf

from tfsaliency.graph.ancestry import first_without_gradient
from tfsaliency.tensors.precision import HALF_SCALE


def gradient(y: tf.Tensor, x: Any, upstream: tf.Tensor | None = None, *, is_half: bool = False) -> Any:
    """The gradient of ``sum(upstream * y)`` in the structure of ``x``; zero for a part that ``y`` does not depend on.

    Args:
        y: ``(N,)``.
        x: tensors that ``y`` was computed from, in any structure.
        upstream: ``(N,)``; by default ones.
        is_half: whether part of the computation is in float16.

    Raises:
        ValueError: an operation on the way has no gradient.
    """
    try:
        flows = _gradients(y, tf.nest.flatten(x), upstream, is_half)
    except LookupError:
        flows = [None] * len(tf.nest.flatten(x))
    return in_structure(x, flows, y)


def slopes(y: tf.Tensor, tensors: list[tf.Tensor], *, is_half: bool = False) -> list[tf.Tensor | None]:
    """The gradient of ``y`` at tensors inside the network, float32. Nothing below them is differentiated.

    None where ``y`` does not depend on one, or by choices alone, and where a tensor is named again.

    Raises:
        ValueError: an operation on the way has no gradient.
    """
    refs = [each.ref() for each in tensors]
    try:
        found = _gradients(y, tensors, None, is_half, stop=tensors)
        return [
            slope if refs.index(ref) == place else None
            for place, (slope, ref) in enumerate(zip(found, refs, strict=True))
        ]
    except LookupError as error:
        blocked = next((each for each in tensors if first_without_gradient(y, each) is not None), tensors[0])
        raise without_gradient(y, blocked) from error


def without_gradient(y: tf.Tensor, tensor: tf.Tensor) -> ValueError:
    """What is raised where ``y`` depends on a tensor inside the network, and no gradient arrives there."""
    blocking = first_without_gradient(y, tensor) or y.op
    return ValueError(
        f"No gradient reaches {tensor.op.name!r} inside the model: the operation {blocking.name!r} of type "
        f"{blocking.type} has none, or the model chooses by these numbers and hands on others. Explain the scores "
        "before the choice, such as those before a non-maximum suppression: keras.Model(model.input, scores)."
    )


def _gradients(
    y: tf.Tensor,
    tensors: list[tf.Tensor],
    upstream: tf.Tensor | None,
    is_half: bool,
    stop: list[tf.Tensor] | None = None,
) -> list[tf.Tensor | None]:
    scale = HALF_SCALE if is_half else 1.0
    upstream = tf.ones_like(y) if upstream is None else upstream
    found = tf.gradients(y, tensors, upstream * scale if is_half else upstream, stop_gradients=stop)
    dense = [None if each is None else tf.cast(tf.convert_to_tensor(each), tf.float32) for each in found]
    return [None if each is None else each / scale for each in dense] if is_half else dense


def in_structure(x: Any, flows: list[tf.Tensor | None], y: tf.Tensor) -> Any:
    """What arrived at each part of the inputs, in their structure; zero for a part that ``y`` does not depend on.

    Raises:
        ValueError: ``y`` depends on a part where nothing arrived: an operation on the way has no gradient.
    """
    parts = tf.nest.flatten(x)
    for part, flow in zip(parts, flows, strict=True):
        blocking = first_without_gradient(y, part) if flow is None else None
        if blocking is not None:
            raise ValueError(
                f"No gradient reaches the input {part.shape}: the operation {blocking.name!r} of type {blocking.type} "
                "has none. An output such as argmax has none: explain the scores it is made of. "
                "Occlusion and RISE need no gradient."
            )
    filled = [
        tf.zeros_like(part) if flow is None else _like(flow, part) for part, flow in zip(parts, flows, strict=True)
    ]
    return tf.nest.pack_sequence_as(x, filled)


def _like(flow: tf.Tensor, part: tf.Tensor) -> tf.Tensor:
    # A method sees the vector of a single id with an axis of places, (N, 1, D), that the network does not have.
    return flow if flow.shape.rank == part.shape.rank else tf.reshape(flow, tf.shape(part))
