"""Which numbers inside a network are hidden with a place of the inputs: all that the model makes of what is there."""

from collections.abc import Sequence

import tensorflow as tf

from tfsaliency.graph.ancestry import ancestors, descendants
from tfsaliency.graph.operations import GATHERS, IDENTITIES, RESHAPES, SPLITS
from tfsaliency.graph.places import ONE_BY_ONE
from tfsaliency.graph.trace import Values
from tfsaliency.model.looked_up import Leaf, LookedUp, Number
from tfsaliency.model.unbatched import Unbatched
from tfsaliency.tensors.places import one_per_place
from tfsaliency.tensors.sums import along, samples_of


class Hiding:
    """What is hidden together.

    A part of the inputs that a model reads in several ways has a leader: the numbers that have its places. Whatever
    else is made of the part follows them. What has no leader is hidden with others that are made alike, or alone.

    Args:
        parts: the traced parts of the inputs.
        leaves: what methods see.

    Attributes:
        leaders: the numbers of the leaves on whose places is hidden.
        followers: the numbers of the leaves that follow the leaders of their parts.
    """

    def __init__(self, parts: Sequence[tf.Tensor], leaves: Sequence[Leaf]):
        self._parts, self._leaves = parts, leaves
        self._of_parts: dict[int, int] = {}
        for number, leaf in enumerate(leaves):
            if (place := _place_of(leaf, parts)) is not None:
                self._of_parts.setdefault(place, number)
        self._with = [self._leader(number, leaf) for number, leaf in enumerate(leaves)]
        self.leaders = sorted({each for each in self._with if each is not None})
        self.followers = [number for number, leader in enumerate(self._with) if leader is None]

    def _leader(self, number: int, leaf: Leaf) -> int | None:
        """The leaf with the same places that a leaf is hidden with; None where it follows the leaders of its parts."""
        if number in self._of_parts.values() or not isinstance(leaf, LookedUp):
            return number
        if leaf.lookup.kind != "bag" and all(self._follows(leaf, place) for place in leaf.lookup.parts):
            return None
        return next(first for first, other in enumerate(self._leaves) if leaf.stands_with(other))

    def _follows(self, leaf: LookedUp, place: int) -> bool:
        # A word has no place in the inputs.
        return place in self._of_parts and all(op.type not in SPLITS for op in _between(self._parts[place], leaf))

    def masks(self, visible: dict[int, tf.Tensor], x: list[tf.Tensor], values: Values) -> list[tf.Tensor | None]:
        """What is visible of each leaf, ``(count, 1 or N, ...)``; None for all of it.

        Args:
            visible: ``(count, *places)`` from 0 to 1 on the places of some leaders, by their numbers; an axis of
                length 1 may follow.
            x: the inputs as methods see them, ``(N, ...)``.
            values: of the traced tensors.
        """
        return [self._mask(number, visible, x, values) for number in range(len(self._leaves))]

    def shares(self, visible: dict[int, tf.Tensor], x: list[tf.Tensor]) -> list[tf.Tensor | None]:
        """What is visible of each part of the inputs, ``(count, N, *places)``; None for all of it. See `masks`."""
        is_hidden = [self._of_parts.get(place) in visible for place in range(len(self._parts))]
        return [self._share(place, visible, x) if each else None for place, each in enumerate(is_hidden)]

    def crosses(self, values: Values) -> list[int]:
        """The numbers of the followers whose ids are each made of several places: hiding one makes another id."""
        found = []
        for number in self.followers:
            leaf = self._leaves[number]
            assert isinstance(leaf, LookedUp)
            if leaf.is_cross([self._parts[place] for place in leaf.lookup.parts], values):
                found.append(number)
        return found

    def of_places(self, shares: list[tf.Tensor | None]) -> list[tf.Tensor | None]:
        """What is visible of each part that has its places in the network; None for others, such as a text of words."""
        return [share if place in self._of_parts else None for place, share in enumerate(shares)]

    def _mask(self, number: int, visible: dict[int, tf.Tensor], x: list[tf.Tensor], values: Values) -> tf.Tensor | None:
        leaf, leader = self._leaves[number], self._with[number]
        if leader is not None:
            return visible[leader][:, None] if leader in visible else None
        assert isinstance(leaf, LookedUp)
        places = sorted(leaf.lookup.parts)
        if all(self._of_parts[place] not in visible for place in places):
            return None
        over = leaf.over([(self._parts[place], self._share(place, visible, x)) for place in places], x[number], values)
        return tf.reshape(over, [-1, samples_of(x), *over.shape[1:]])

    def _share(self, place: int, visible: dict[int, tf.Tensor], x: list[tf.Tensor]) -> tf.Tensor:
        """What is visible of a part of the inputs, ``(count, N, *places)``."""
        leader = self._of_parts[place]
        count, every = tf.shape(next(iter(visible.values())))[:1], 1 + one_per_place(x[leader])
        mask = visible.get(leader)
        return tf.broadcast_to(
            1.0 if mask is None else along(mask, every)[:, None], tf.concat([count, tf.shape(every)], 0)
        )


def _place_of(leaf: Leaf, parts: Sequence[tf.Tensor]) -> int | None:
    """The place of the part of the inputs whose places a leaf has, each where it is; None where it has none such."""
    if isinstance(leaf, Number):
        return leaf.place
    if not isinstance(leaf, LookedUp) or leaf.lookup.kind == "bag" or len(leaf.lookup.parts) != 1:
        return None
    (place,) = leaf.lookup.parts
    part = parts[place]
    if isinstance(leaf, Unbatched):
        return None if part.dtype == tf.string else place
    between = _between(part, leaf)
    made = {part.ref(), *(result.ref() for op in between for result in op.outputs)}
    is_in_order = all(
        op.type in (*ONE_BY_ONE, *IDENTITIES, *RESHAPES) and not (op.type in GATHERS and op.inputs[0].ref() in made)
        for op in between
    )
    return place if is_in_order and leaf.places == (tuple(part.shape[1:]) or (1,)) else None


def _between(part: tf.Tensor, leaf: LookedUp) -> list[tf.Operation]:
    """The operations that make ids of a part."""
    return descendants(ancestors(leaf.lookup.index, known=[part]), [part])
