"""Which numbers inside a network are hidden with a place of the inputs: all that the model makes of what is there."""

from collections.abc import Sequence

import tensorflow as tf

from tfsaliency.graph.ancestry import alike, ancestors, descendants
from tfsaliency.graph.operations import GATHERS, IDENTITIES, PARTS, REORDERS, RESHAPES, SHAPE_READERS, SPLITS
from tfsaliency.graph.places import ONE_BY_ONE, Origins
from tfsaliency.graph.trace import Values
from tfsaliency.model.looked_up import Leaf, LookedUp, Number
from tfsaliency.model.unbatched import Unbatched
from tfsaliency.tensors.places import one_per_place
from tfsaliency.tensors.sums import along, samples_of


class Hiding:
    """What is hidden together.

    A part of the inputs that a model reads in several ways has a leader: the numbers that have its places. Of a part
    that is read by columns, each column has one. Whatever else is made of the part or column follows them. What has no
    leader is hidden with others that are made alike, or alone.

    Args:
        parts: the traced parts of the inputs.
        leaves: what methods see.

    Attributes:
        leaders: the numbers of the leaves on whose places is hidden.
        followers: the numbers of the leaves that follow the leaders of their parts.
    """

    def __init__(self, parts: Sequence[tf.Tensor], leaves: Sequence[Leaf]):
        self._leaves, self._parts = leaves, range(len(parts))
        # What leaves are made of: parts, and columns of parts; and the part that each is of.
        self._sources, self._within = [*parts], [*self._parts]
        self._leader_of: dict[int, int] = {}
        # By the number of the source, with the tensor that the ids are made of: one of several that are alike.
        self._of_leaves = [
            [(part, parts[part]) for part in sorted(leaf.lookup.parts)] if isinstance(leaf, LookedUp) else []
            for leaf in leaves
        ]
        self._lead()
        self._of_leaves = [self._by_columns(number) for number in range(len(leaves))]
        self._lead()
        self._with = [self._leader(number, leaf) for number, leaf in enumerate(leaves)]
        self.leaders = sorted({each for each in self._with if each is not None})
        self.followers = [number for number, leader in enumerate(self._with) if leader is None]

    def _lead(self) -> None:
        """Finds the leaders of sources that have none."""
        for number, leaf in enumerate(self._leaves):
            if isinstance(leaf, Number):
                self._leader_of.setdefault(leaf.place, number)
            elif len(self._of_leaves[number]) == 1 and isinstance(leaf, LookedUp):
                ((source, tensor),) = self._of_leaves[number]
                if _has_places_of(leaf, tensor):
                    self._leader_of.setdefault(source, number)

    def _by_columns(self, number: int) -> list[tuple[int, tf.Tensor]]:
        """What a leaf is made of, with its columns in the place of a part that no leaf has the places of."""
        leaf, sources = self._leaves[number], []
        for part, tensor in self._of_leaves[number]:
            assert isinstance(leaf, LookedUp)
            columns = [] if part in self._leader_of else _columns_of(leaf, tensor)
            sources += [(self._source(part, each), each) for each in columns] or [(part, tensor)]
        return sources

    def _source(self, part: int, column: tf.Tensor) -> int:
        for source, known in enumerate(self._sources):
            if alike(known, column):
                return source
        self._sources.append(column)
        self._within.append(part)
        return len(self._sources) - 1

    def _leader(self, number: int, leaf: Leaf) -> int | None:
        """The leaf that a leaf is hidden with, place by place; None where it follows the leaders of its sources."""
        if number in self._leader_of.values() or not isinstance(leaf, LookedUp):
            return number
        if leaf.lookup.kind != "bag" and all(self._follows(leaf, *source) for source in self._of_leaves[number]):
            return None
        return next(first for first, other in enumerate(self._leaves) if leaf.stands_with(other))

    def _follows(self, leaf: LookedUp, source: int, tensor: tf.Tensor) -> bool:
        # A word has no place in the inputs.
        return source in self._leader_of and all(op.type not in SPLITS for op in _between(tensor, leaf))

    def masks(self, visible: dict[int, tf.Tensor], x: list[tf.Tensor], values: Values) -> list[tf.Tensor | None]:
        """What is visible of each leaf, ``(count, 1 or N, ...)``; None for all of it.

        Args:
            visible: ``(count, *places)`` from 0 to 1 on the places of some leaders, by their numbers; an axis of
                length 1 may follow.
            x: the inputs as methods see them, ``(N, ...)``.
            values: of the traced tensors.
        """
        return [self._mask(number, visible, x, values) for number in range(len(self._leaves))]

    def shares(self, visible: dict[int, tf.Tensor], x: list[tf.Tensor], values: Values) -> list[tf.Tensor | None]:
        """What is visible of each part of the inputs, ``(count, N, *places)``; None for all of it. See `masks`."""
        found: list[tf.Tensor | None] = [None for _ in self._parts]
        for source, leader in self._leader_of.items():
            if leader in visible:
                part, share = self._within[source], self._share(source, visible, x)
                found[part] = share if source == part else self._with_column(found[part], source, share, values)
        return found

    def _with_column(self, of_part: tf.Tensor | None, source: int, share: tf.Tensor, values: Values) -> tf.Tensor:
        """What is visible of a part, where a column of it is laid over what is known of the others."""
        part = self._sources[self._within[source]]
        shape = tf.concat([tf.shape(share)[:1], tf.shape(values[part])], 0)
        by_places = tf.transpose(tf.reshape(tf.ones(shape) if of_part is None else of_part, [shape[0], -1]))
        (places,) = Origins(part, values).places(self._sources[source])
        column = tf.transpose(tf.reshape(share, [shape[0], -1]))
        laid = tf.tensor_scatter_nd_min(by_places, tf.reshape(places, [-1, 1]), column)
        return tf.reshape(tf.transpose(laid), shape)

    def crosses(self, values: Values) -> list[int]:
        """The numbers of the followers whose ids are each made of several places: hiding one makes another id."""
        found = []
        for number in self.followers:
            leaf = self._leaves[number]
            assert isinstance(leaf, LookedUp)
            if leaf.is_cross([tensor for _, tensor in self._of_leaves[number]], values):
                found.append(number)
        return found

    def of_places(self, shares: list[tf.Tensor | None]) -> list[tf.Tensor | None]:
        """What is visible of each part that has its places in the network; None for others, such as a text of words."""
        have_places = {self._within[source] for source in self._leader_of}
        return [share if part in have_places else None for part, share in enumerate(shares)]

    def _mask(self, number: int, visible: dict[int, tf.Tensor], x: list[tf.Tensor], values: Values) -> tf.Tensor | None:
        leaf, leader = self._leaves[number], self._with[number]
        if leader is not None:
            return visible[leader][:, None] if leader in visible else None
        assert isinstance(leaf, LookedUp)
        sources = self._of_leaves[number]
        if all(self._leader_of[source] not in visible for source, _ in sources):
            return None
        shares = [(tensor, self._share(source, visible, x)) for source, tensor in sources]
        over = leaf.over(shares, x[number], values)
        return tf.reshape(over, [-1, samples_of(x), *over.shape[1:]])

    def _share(self, source: int, visible: dict[int, tf.Tensor], x: list[tf.Tensor]) -> tf.Tensor:
        """What is visible of a part of the inputs or of a column, ``(count, N, *places)``."""
        leader = self._leader_of[source]
        count, every = tf.shape(next(iter(visible.values())))[:1], 1 + one_per_place(x[leader])
        mask = visible.get(leader)
        return tf.broadcast_to(
            1.0 if mask is None else along(mask, every)[:, None], tf.concat([count, tf.shape(every)], 0)
        )


def _has_places_of(leaf: LookedUp, source: tf.Tensor) -> bool:
    """Whether a leaf has the places of a part of the inputs or of a column, each where it is."""
    if leaf.lookup.kind == "bag":
        return False
    if isinstance(leaf, Unbatched):
        return bool(source.dtype != tf.string)
    between = _between(source, leaf)
    made = {source.ref(), *(result.ref() for op in between for result in op.outputs)}
    is_in_order = all(
        op.type in (*ONE_BY_ONE, *IDENTITIES, *RESHAPES) and not (op.type in GATHERS and op.inputs[0].ref() in made)
        for op in between
    )
    return is_in_order and leaf.places == (tuple(source.shape[1:]) or (1,))


def _columns_of(leaf: LookedUp, part: tf.Tensor) -> list[tf.Tensor]:
    """The columns of a part that ids are made of; none where they are made of the whole."""
    between = _between(part, leaf)
    read = {leaf.lookup.index.ref(), *(tensor.ref() for op in between for tensor in op.inputs)}
    whole, columns = {part.ref()}, []
    for op in between:
        if not any(tensor.ref() in whole for tensor in op.inputs):
            continue
        if op.type in IDENTITIES:
            whole.add(op.outputs[0].ref())
        elif op.type in PARTS and op.type not in REORDERS and not (op.type in GATHERS and op.inputs[1].ref() in whole):
            columns += [result for result in op.outputs if result.ref() in read]
        else:
            return []
    return columns


def _between(source: tf.Tensor, leaf: LookedUp) -> list[tf.Operation]:
    """The operations that make ids of a part or column. Its shape tells none."""
    made_of = ancestors(leaf.lookup.index, known=[source])
    return descendants([op for op in made_of if op.type not in SHAPE_READERS], [source])
