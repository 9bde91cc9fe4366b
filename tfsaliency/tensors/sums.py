"""Sums over everything but the batch, and shapes that broadcast against a batch."""

from typing import Any

import tensorflow as tf


def samples_of(structure: Any) -> tf.Tensor:
    """The number of rows of a batch, a scalar int32 tensor."""
    return tf.unstack(tf.shape(tf.nest.flatten(structure)[0]))[0]


def total(structure: Any) -> tf.Tensor:
    """``(N,)``: the sum over all parts and all axes but the batch axis."""
    return tf.add_n([tf.reduce_sum(part, inner_axes(part)) for part in tf.nest.flatten(structure)])


def squares(structure: Any) -> tf.Tensor:
    """``(N,)``: the same sum of the squares."""
    return total(tf.nest.map_structure(tf.square, structure))


def inner_axes(part: tf.Tensor) -> list[int]:
    """All axes but the batch axis."""
    return list(range(1, part.shape.rank))


def sizes_of(part: tf.Tensor) -> list[Any]:
    """The length of each axis but the batch axis: a number, or a tensor where the trace does not know it."""
    return [tf.shape(part)[axis] if part.shape[axis] is None else part.shape[axis] for axis in inner_axes(part)]


def unspread(flow: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
    """Adds up what arrives at the copies of a number that broadcasting made: a flow of the shape of ``like``."""
    if None in (flow.shape.rank, like.shape.rank):
        _, axes = tf.raw_ops.BroadcastGradientArgs(s0=tf.shape(flow), s1=tf.shape(like))
        return tf.reshape(tf.reduce_sum(flow, axes), tf.shape(like))
    added = flow.shape.rank - like.shape.rank
    flow = tf.reduce_sum(flow, axis=list(range(added)))
    axes = [axis for axis, size in enumerate(like.shape) if size == 1 and flow.shape[axis] != 1]
    return tf.reduce_sum(flow, axis=axes, keepdims=True) if axes else flow


def sum_of_flows(flows: list[tf.Tensor | None], samples: tf.Tensor) -> tf.Tensor:
    """``(N,)`` float32: what flows carry for each sample.

    A sample may have several entries of the first axis, one after the other. What belongs to no sample is spread evenly
    over all.
    """
    whole = tf.zeros([samples])
    for flow in flows:
        if flow is None:
            continue
        is_batch = flow.shape.rank is None or (flow.shape.rank and flow.shape[0] is None)
        sums = (
            tf.reduce_sum(tf.reshape(flow, [samples, -1]), axis=1)
            if is_batch
            else tf.reduce_sum(flow) / tf.cast(samples, flow.dtype)
        )
        whole += tf.cast(sums, tf.float32)
    return whole


def along(numbers: tf.Tensor, part: tf.Tensor) -> tf.Tensor:
    """Numbers of the first axes of ``part``, with an axis of length 1 for each other one, to broadcast against it."""
    return numbers[(..., *[tf.newaxis] * (part.shape.rank - numbers.shape.rank))]


def repeated(structure: Any, count: tf.Tensor) -> Any:
    """``count`` copies of a batch, stacked in blocks: ``(count * N, ...)`` with all rows of the first copy first."""
    return tf.nest.map_structure(lambda part: tf.tile(part, [count] + [1] * (part.shape.rank - 1)), structure)


def each_repeated(part: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
    """``(N * count, ...)``: ``count`` copies of each row side by side. `tf.repeat` takes three times the operations."""
    return tf.gather(part, tf.range(samples_of(part) * count) // count)


def of_copies(structure: Any, count: tf.Tensor) -> Any:
    """``(count, N, ...)``: what belongs to each copy of a batch of stacked copies ``(count * N, ...)``."""
    return tf.nest.map_structure(lambda part: tf.reshape(part, [count, -1, *sizes_of(part)]), structure)
