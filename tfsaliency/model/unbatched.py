"""What a model looks up for the ids of a whole batch in one list, where the first axis is not the batch.

Ids are put into one list where padding is cut out (`tf.boolean_mask`, ragged and sparse tensors), where each different
id is looked up once (`tf.nn.embedding_lookup_sparse`), where all axes are made one, and where one encoder reads two
inputs as one batch (``tf.concat([a, b], 0)``). A method sees the vectors at the places that the ids have in the
inputs, as many for each sample.
"""

import tensorflow as tf

from tfsaliency.graph.ancestry import ancestors
from tfsaliency.graph.lookups import Lookup
from tfsaliency.graph.operations import JOINS, SPLITS
from tfsaliency.graph.places import Origins
from tfsaliency.graph.rows import begins_with_rows
from tfsaliency.graph.trace import Pairs, Values
from tfsaliency.model.looked_up import LookedUp
from tfsaliency.tensors.sums import sizes_of


def is_unbatched(lookup: Lookup, parts: list[tf.Tensor]) -> bool:
    """Whether the first axis of what is looked up is not the batch.

    Args:
        lookup: how it is looked up.
        parts: all parts of the inputs.
    """
    if lookup.kind not in ("vectors", "one-hot"):
        return False
    if lookup.distinct is not None:
        return True
    return _crossing(lookup, parts) is None and any(_is_list(lookup.index, parts[place]) for place in lookup.parts)


def _is_list(index: tf.Tensor, part: tf.Tensor) -> bool:
    """Whether ids that are made of a part are in one list."""
    leads = begins_with_rows(index, part)
    if leads is not None:
        return not leads
    # Where the tables say nothing, several axes are those of the part, and a single one that was more is a list.
    is_of_words = any(op.type in SPLITS for op in ancestors(index, known=[part]))
    return bool(index.shape.rank == 1 and (is_of_words or part.shape.rank != 1))


def unbatched(lookup: Lookup, parts: list[tf.Tensor]) -> list["Unbatched"]:
    """What is looked up in one list, for each part of the inputs that ids of the list come from.

    Raises:
        ValueError: an id is made of several parts.
    """
    crossing = _crossing(lookup, parts)
    if crossing is not None:
        raise ValueError(
            f"{crossing.name!r}, an operation of type {crossing.type}, makes one id of several parts of the inputs, in "
            "one list for all rows of the batch. Nothing shows which part the id is there for. Pass what it makes to "
            "the model behind it, and explain that model."
        )
    return [Unbatched(lookup._replace(parts=frozenset([place])), parts[place]) for place in sorted(lookup.parts)]


def _crossing(lookup: Lookup, parts: list[tf.Tensor]) -> tf.Operation | None:
    """The operation that makes one id of several parts of the inputs; None where each id comes from one of them."""
    made_of = {parts[place].ref(): {place} for place in lookup.parts}
    for op in ancestors(lookup.index, known=[parts[place] for place in lookup.parts]):
        of_sources = [found for source in op.inputs if (found := made_of.get(source.ref()))]
        if op.type not in JOINS and any(each != of_sources[0] for each in of_sources):
            return op
        made_of |= {result.ref(): set().union(*of_sources) for result in op.outputs}
    return None


class Unbatched(LookedUp):
    """Vectors of the ids of a batch in one list, seen at the places of a part of the inputs: ``(N, *places, D)``.

    Those of a text are seen at its words, ``(N, T, D)`` with T words in the longest. Places whose ids are not looked up
    have zeros, which nothing reads.

    Args:
        lookup: how.
        part: the traced part of the inputs that the ids come from.
    """

    def __init__(self, lookup: Lookup, part: tf.Tensor):
        super().__init__(lookup)
        self._part = part
        places = (None,) if part.dtype == tf.string else part.shape[1:]
        self.shape = (*places, self.shape[-1])

    @property
    def read(self) -> list[tf.Tensor]:
        distinct = self.lookup.distinct
        return super().read + ([] if distinct is None else [distinct.outputs[1]])

    @property
    def order(self) -> list[tf.Tensor]:
        return self.read

    def entered(self, values: Values) -> tf.Tensor:
        vectors = tf.cast(self._vectors(values), tf.float32)
        found = self._at_places(vectors, tf.zeros([]), values)
        return tf.ensure_shape(found, [None, *self.shape])

    def pairs(self, numbers: tf.Tensor, values: Values) -> Pairs:
        # Ids of other parts of the inputs keep their vectors.
        places, own = self._grid(values)[0], tf.cast(self._vectors(values), numbers.dtype)
        flat = tf.reshape(numbers, [-1, own.shape[1]])
        at = tf.where(places >= 0, places, tf.shape(flat)[0] + tf.range(tf.shape(own)[0]))
        listed = tf.gather(tf.concat([flat, own], 0), at)
        axes = tf.concat([tf.shape(values[self.lookup.index]), [own.shape[1]]], 0)
        everywhere = self._everywhere(tf.reshape(listed, axes))
        pairs = [(traced, tf.ensure_shape(value, traced.shape)) for traced, value in everywhere]
        for each in (self.lookup, *self.lookup.copies):
            if each.distinct is not None:
                # Each id has a vector of its own, so that equal ids at two places can be told apart.
                repeats = each.distinct.outputs[1]
                pairs.append((repeats, tf.range(tf.shape(own)[0], dtype=repeats.dtype)))
        return pairs

    def _grid(self, values: Values) -> tuple[tf.Tensor, tf.Tensor]:
        """The place of each id of the list, and the shape of all places."""
        found = Origins(self._part, values).grid(self.lookup.index)
        if found is None:
            raise self.lost()
        places, shape = found
        return tf.reshape(places, [-1]), shape

    def _at_places(self, listed: tf.Tensor, empty: tf.Tensor, values: Values) -> tf.Tensor:
        """``(N, *places, ...)``: what belongs to each id of the list, and ``empty`` where no id is."""
        places, shape = self._grid(values)
        count = tf.reduce_prod(shape)
        # Behind the last place is one for all ids that no input has. An id that is listed twice has equal entries.
        at = tf.where(places >= 0, places, count)[:, tf.newaxis]
        inner = tf.shape(listed)[1:]
        nothing = tf.broadcast_to(empty, tf.concat([[count + 1], inner], 0))
        return tf.reshape(tf.tensor_scatter_nd_update(nothing, at, listed)[:-1], tf.concat([shape, inner], 0))

    def _vectors(self, values: Values) -> tf.Tensor:
        """``(ids, D)``, in the order of the list."""
        vectors, distinct = values[self.traced], self.lookup.distinct
        found = vectors if distinct is None else tf.gather(vectors, values[distinct.outputs[1]])
        return tf.reshape(found, [-1, self.shape[-1]])

    def told(self, numbers: tf.Tensor, values: Values, *, squared: bool) -> tf.Tensor:
        sums = tf.reduce_sum(tf.square(numbers) if squared else numbers, axis=-1)
        return tf.where(self.padding(values), 0.0, sums)

    def padding(self, values: Values) -> tf.Tensor:
        is_pad = self._is_pad(values)
        is_pad = tf.zeros(tf.shape(values[self.lookup.index]), tf.bool) if is_pad is None else is_pad
        return self._at_places(tf.reshape(is_pad, [-1]), tf.constant(True), values)

    def onto(self, parts: list[tf.Tensor], told: tf.Tensor, values: Values, *, adds_up: bool) -> list[tf.Tensor]:
        return [told]

    def words(self, part: tf.Tensor, values: Values) -> tf.Tensor | None:
        words = Origins(part, values).words(self.lookup.index) if part.dtype == tf.string else None
        return None if words is None else self._at_places(words, tf.constant(""), values)

    def over(self, shares: list[tuple[tf.Tensor, tf.Tensor]], numbers: tf.Tensor, values: Values) -> tf.Tensor:
        ((_, share),) = shares
        return tf.reshape(share, [-1, *sizes_of(numbers)[:-1], 1])
