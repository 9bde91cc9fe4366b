"""Whether a model is a causal language model: what it says at a position depends on no later id."""

from typing import Any

import tensorflow as tf

from tfsaliency.model.point import point_of
from tfsaliency.model.rows import ROUNDING, differs
from tfsaliency.model.traced import TracedModel


def is_language_model(model: TracedModel, row: Any) -> bool:
    """Whether a model says at each position which id comes next, from the ids up to there.

    It has as many classes as a table of its own has ids, and a change of the last id changes no earlier answer.

    Args:
        model: the traced model.
        row: one row of its inputs.
    """
    outputs = tf.nest.flatten(model.logits.values)
    if len(outputs) != 1 or outputs[0].shape.rank != 3:
        return False
    places = [place for place, size in point_of(model).tables.items() if size == outputs[0].shape[-1]]
    if len(places) != 1:
        return False
    (place,) = places
    parts = tf.nest.flatten(row)
    last = parts[place][:, -1:]
    other = tf.cast(tf.equal(last, tf.zeros_like(last)), last.dtype)
    changed = [*parts[:place], tf.concat([parts[place][:, :-1], other], axis=1), *parts[place + 1 :]]
    answer = model.answering(outputs)
    (before,), (after,) = answer(row), answer(tf.nest.pack_sequence_as(row, changed))
    return not differs(after[:, :-1], before[:, :-1], ROUNDING)
