"""Whether a model is a causal language model: what it says at a position depends on no later id."""

import itertools
from typing import Any

import tensorflow as tf

from tfsaliency.model.point import point_of
from tfsaliency.model.rows import ROUNDING, differs
from tfsaliency.model.traced import TracedModel


def continued_ids(model: TracedModel, row: Any) -> int | None:
    """The place of the part of ids of which a model says at each position which one comes next, from those up to there.

    It has as many classes as a table of its own has ids, and a change of later ids changes no earlier answer.

    Args:
        model: the traced model.
        row: one row of its inputs.

    Returns:
        None for a model that is no causal language model.
    """
    outputs = tf.nest.flatten(model.logits.values)
    if len(outputs) != 1 or outputs[0].shape.rank != 3:
        return None
    places = [place for place, size in point_of(model).tables.items() if size == outputs[0].shape[-1]]
    if len(places) != 1:
        return None
    (place,) = places
    parts = tf.nest.flatten(row)
    ids = parts[place]
    answer = model.answering(outputs)
    (before,) = answer(row)
    if before.shape[1] != ids.shape[1]:
        return None
    # From each of these positions on all ids are others. A change in padding alone would tell nothing.
    for cut in itertools.takewhile(lambda cut: cut < ids.shape[1], (2**power for power in itertools.count())):
        later = ids[:, cut:]
        other = tf.cast(tf.equal(later, tf.zeros_like(later)), ids.dtype)
        changed = [*parts[:place], tf.concat([ids[:, :cut], other], axis=1), *parts[place + 1 :]]
        (after,) = answer(tf.nest.pack_sequence_as(row, changed))
        if differs(after[:, :cut], before[:, :cut], ROUNDING):
            return None
    return place
