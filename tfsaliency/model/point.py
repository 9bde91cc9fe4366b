"""The real numbers that an explanation is about: the inputs themselves, or what a model looks up for ids and strings.

A method sees these numbers alone, so every method explains token ids, categories and strings. What it says about them
is folded back onto what was passed.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

import tensorflow as tf

from tfsaliency.base.structure import names, part_names
from tfsaliency.graph.grey import is_grey_picture
from tfsaliency.graph.layouts import layout_of_input
from tfsaliency.graph.lookups import Entries, Lookup, entries, rows_of_table
from tfsaliency.graph.trace import Pairs, Values
from tfsaliency.model.black_box import of_words
from tfsaliency.model.encoded import Encoded
from tfsaliency.model.hiding import Hiding
from tfsaliency.model.layers import LayerCall
from tfsaliency.model.looked_up import GreyPicture, LookedUp, Number
from tfsaliency.model.readings import Readings, SideBySide
from tfsaliency.model.traced import Traced, TracedModel
from tfsaliency.model.unbatched import is_unbatched, unbatched
from tfsaliency.tensors.places import over_part


class PartKind(NamedTuple):
    """What a part of the inputs is.

    Attributes:
        is_of_ids: whether all that is explained of it is looked up for ids.
        is_grey: whether it is pictures without an axis of channels, which methods see with one.
        may_be_padded: whether its rows may be filled up: numbers of which the model masks some, and ids that are all
            looked up in one table.
        why_held: why nothing is explained of it; empty where something is.
    """

    is_of_ids: bool = False
    is_grey: bool = False
    may_be_padded: bool = False
    why_held: str = ""


class Entered(NamedTuple):
    """A batch of inputs as the numbers that are explained, in the graph under construction.

    Attributes:
        x: these numbers, float32 ``(N, ...)``, in the structure that methods see.
        given: the inputs as they were passed.
        values: the value of each traced tensor between the inputs and these numbers.
    """

    x: Any
    given: Any
    values: Values


class Folded(NamedTuple):
    """What a method says, about the inputs as they were passed.

    Attributes:
        values: in the structure of the inputs: one number for each number, id or category; for a text one for each
            word, ``(N, T)``.
        words: for each part that is a text its words, ``(N, T)``, by the place of the part.
    """

    values: Any
    words: dict[int, tf.Tensor]


class Point(Traced):
    """A traced model, from the numbers that are explained to its logits.

    ``inputs`` has the structure of the model's inputs. A part that is numbers is itself. In the place of any other part
    is what is looked up for it: one tensor, or a tuple of none or several.

    Args:
        model: the traced model.

    Attributes:
        is_reached: whether a gradient may reach anything.
        is_inputs: whether all inputs are numbers, and nothing else is explained.
        kinds: what each part of the inputs is.
        cautions: what a user is warned of, one sentence each.

    Raises:
        ValueError: no part of the inputs becomes a number that the outputs depend on.
    """

    def __init__(self, model: TracedModel):
        self._model, self._parts = model, tf.nest.flatten(model.inputs)
        self.trace, self.logits, self.calls = model.trace, model.logits, model.calls
        found = entries(self._parts, model.logits.floats)
        self.is_reached = bool(found.numbers or found.lookups)
        if not self.is_reached and all(part.dtype.is_floating for part in self._parts):
            # Whoever asks for the gradient says where it ends.
            found = Entries(frozenset(range(len(self._parts))), (), {}, {}, {})
        self._read = found.read
        parts = part_names(model.inputs)
        self.cautions = [self._said_of_flag(parts[place], op) for place, op in found.compared.items()]
        if not found.numbers and not found.lookups:
            told = "; ".join(f"{parts[place]}: {why}" for place, why in found.held.items())
            raise ValueError(
                f"Nothing of the inputs becomes a real number that the output depends on, so nothing has a gradient "
                f"({told}). Occlusion and RISE need none. {self._without_gradient()}"
            )
        looked_up = [leaf for lookup in found.lookups for leaf in self._looked_up_by(lookup)]
        # A lookup of several parts has the place of the first.
        self._at: list[list[Number | LookedUp]] = [
            [
                *([self._number(part, place)] if place in found.numbers else []),
                *(leaf for leaf in looked_up if min(leaf.lookup.parts) == place),
            ]
            for place, part in enumerate(self._parts)
        ]
        self._leaves = [leaf for leaves in self._at for leaf in leaves]
        self._looked_up = [leaf for leaf in self._leaves if isinstance(leaf, LookedUp)]
        self._readings = [
            Readings(part, [leaf for leaf in self._looked_up if place in leaf.lookup.parts])
            for place, part in enumerate(self._parts)
        ]
        self._order = [each for leaf in self._leaves for each in leaf.order]
        self.kinds = [
            PartKind(
                self._is_of_ids(place), self._is_grey(place), self._may_be_padded(place), found.held.get(place, "")
            )
            for place in range(len(self._parts))
        ]
        self._has_grey = any(kind.is_grey for kind in self.kinds)
        self.reorders = not all(leaf.is_traced for leaf in self._leaves)
        self.is_inputs = not found.lookups and not found.held
        self.inputs = self._structure([leaf.traced for leaf in self._leaves])
        self.held = [part for place, part in enumerate(self._parts) if place not in found.numbers]

    def _number(self, part: tf.Tensor, place: int) -> Number:
        kind = GreyPicture if is_grey_picture(part, self.logits.floats) else Number
        return kind(part, place)

    def _is_of_ids(self, place: int) -> bool:
        own = [leaf for leaf in self._looked_up if place in leaf.lookup.parts]
        numbers = [leaf for leaf in self._at[place] if isinstance(leaf, Number)]
        # Of a part that is held nothing is told: it has the meaning of the rest.
        told = [*numbers, *own] or self._leaves
        return all(isinstance(leaf, LookedUp) and leaf.is_of_ids for leaf in told)

    def _is_grey(self, place: int) -> bool:
        return any(isinstance(leaf, GreyPicture) for leaf in self._at[place])

    def _may_be_padded(self, place: int) -> bool:
        # Columns of a table are looked up in a table each.
        indices = [leaf.lookup.index for leaf in self._looked_up if place in leaf.lookup.parts and leaf.is_of_ids]
        is_row = any(index.shape[1:].is_compatible_with(self._parts[place].shape[1:]) for index in indices)
        return is_row or any(isinstance(leaf, Number) and leaf.fillers for leaf in self._at[place])

    def _looked_up_by(self, lookup: Lookup) -> Sequence[LookedUp]:
        if lookup.encoding is not None:
            return [Encoded(lookup)]
        return unbatched(lookup, self._parts) if is_unbatched(lookup, self._parts) else [LookedUp(lookup)]

    def _said_of_flag(self, name: str, op: tf.Operation) -> str:
        return (
            f"What the model looks up for {name} is explained. A layer also reads what {op.name!r}, an operation of "
            f"type {op.type}, makes of it by comparing: that has no gradient, and nothing is told of it. Hide the ids "
            f"themselves: {self._without_gradient()}"
        )

    def _without_gradient(self) -> str:
        """How Occlusion is asked about such inputs, in words."""
        texts = next((part for part in self._parts if part.dtype == tf.string), None)
        if texts is not None:
            return of_words("model.predict(tf.constant({}))", texts.shape.rank)
        # What calls no layer is a function, which has no other name for its answers.
        is_function = not self.calls and len(self._parts) == 1
        asked = f"lambda x: function(x.astype({self._parts[0].dtype.name!r}))" if is_function else "model.predict"
        return f"tfs.Occlusion({asked}, baseline=0), with the id that stands for nothing in the place of 0."

    @property
    def is_as_passed(self) -> bool:
        """Whether methods see the inputs as they were passed."""
        return self.is_inputs and not self._has_grey

    @property
    def tables(self) -> dict[int, int | None]:
        """How many ids there are a vector for, by the place of the part that holds one id at each place, ``(N, T)``."""
        looked_up = (leaf.lookup for leaf in self._looked_up if leaf.lookup.kind == "vectors")
        return {
            min(each.parts): rows_of_table(each)
            for each in looked_up
            if len(each.parts) == 1 and self._parts[min(each.parts)].shape.rank == each.index.shape.rank == 2
        }

    def filler(self, place: int) -> int | None:
        """The id that fills up short rows of a part of ids; None where the model masks none."""
        pads = [each.lookup.pad for each in self._looked_up if place in each.lookup.parts]
        return next((int(pad.id) for pad in pads if pad is not None), None)

    @property
    def shown(self) -> Any:
        return self._structure([tf.TensorSpec([None, *leaf.shape], tf.float32) for leaf in self._leaves])

    def layers_of(self, operation: str) -> list[LayerCall]:
        return self._model.layers_of(operation)

    def enter(self, given: Any) -> Entered:
        """Looks up the numbers that stand for some inputs."""
        passed = list(zip(self._parts, tf.nest.flatten(given), strict=True))
        values = self.trace.run(passed, [each for leaf in self._looked_up for each in leaf.read])
        return Entered(self._structure([leaf.entered(values) for leaf in self._leaves]), given, values)

    def seen(self, x: Any, given: Any) -> Any:
        """Inputs as they were passed, with those that are numbers taken from what a method asks about.

        Args:
            x: what a method asks about.
            given: the inputs as they were passed, or as many copies of them.
        """
        leaves = zip(self._leaves, tf.nest.flatten(x), strict=True)
        numbers = {leaf.traced.ref(): leaf.told(each) for leaf, each in leaves if isinstance(leaf, Number)}
        parts = zip(self._parts, tf.nest.flatten(given), strict=True)
        return tf.nest.pack_sequence_as(given, [numbers.get(part.ref(), each) for part, each in parts])

    def held_of(self, given: Any) -> list[tf.Tensor]:
        """What else the model reads of some inputs: the parts that are no numbers."""
        read = {each.ref() for each in self.held}
        pairs = zip(self._parts, tf.nest.flatten(given), strict=True)
        return [value for part, value in pairs if part.ref() in read]

    def pairs(self, x: Any, held: Sequence[tf.Tensor] = ()) -> Pairs:
        beside = list(zip(self.held, held, strict=True))
        explained = list(zip(self._leaves, tf.nest.flatten(x), strict=True))
        # Numbers may say where ids are looked up, and may be ids themselves.
        numbers = [(leaf.traced, leaf.told(each)) for leaf, each in explained if isinstance(leaf, Number)]
        values = self.trace.run([*beside, *numbers], self._order) if self.reorders else Values(beside)
        pairs = list(beside)
        # Several leaves may be parts of one list.
        of_lists: dict[Any, Values] = {}
        for leaf, each in explained:
            so_far = of_lists.get(leaf.traced.ref(), values)
            of_leaf = leaf.pairs(each, so_far)
            of_lists[leaf.traced.ref()] = so_far.but_for(Values(of_leaf))
            pairs += of_leaf
        return pairs

    @property
    def _wanted(self) -> list[tf.Tensor] | None:
        return None if self.is_inputs else tf.nest.flatten((self.logits.values, self.logits.outputs))

    @property
    def nothing(self) -> str:
        """What `neutral` is, in words."""
        parts = zip(names(self._model.inputs), self._at, strict=True)
        told = {name: ", ".join(dict.fromkeys(leaf.nothing for leaf in leaves)) for name, leaves in parts if leaves}
        found = set(told.values())
        return found.pop() if len(found) == 1 else "; ".join(f"{name}: {each}" for name, each in told.items())

    def neutral(self, x: Any, entered: Entered) -> Any:
        """Numbers in the structure of ``x`` that stand for nothing: zero, or the vector of padding, or of a mean id."""
        leaves = zip(self._leaves, tf.nest.flatten(x), strict=True)
        return self._structure([leaf.neutral(each, entered.values) for leaf, each in leaves])

    def may_be_padding(self, x: Any) -> list[tf.Tensor | None]:
        """Which numbers of each tensor of ``x`` the model may mask; None where it masks no numbers.

        Padding of ids is told by the ids. Where nothing has a gradient, nothing shows what is masked.
        """
        if not self.is_reached:
            return [None] * len(self._leaves)
        return [leaf.may_be_padding(each) for leaf, each in zip(self._leaves, tf.nest.flatten(x), strict=True)]

    def padding_of_ids(self, entered: Entered) -> list[tf.Tensor | None]:
        """For each tensor that a method sees which of its ids fill up short rows; None where none does."""
        return [leaf.padding(entered.values) if isinstance(leaf, LookedUp) else None for leaf in self._leaves]

    @property
    def are_numbers(self) -> list[bool]:
        """For each tensor that a method sees whether it is a part of the inputs."""
        return [isinstance(leaf, Number) for leaf in self._leaves]

    @cached_property
    def layouts(self) -> list[str | None]:
        """For each tensor that a method sees where the model has its channels; None where nothing says it."""
        operations = self.trace.operations
        return [layout_of_input(leaf.traced, operations) if isinstance(leaf, Number) else None for leaf in self._leaves]

    @cached_property
    def hiding(self) -> Hiding:
        """What is hidden together."""
        return Hiding(self._parts, self._leaves)

    def over(self, shares: list[tf.Tensor], entered: Entered) -> Any:
        """Numbers for the places that `folded` tells of, laid over copies of ``x``.

        Args:
            shares: for each part of the inputs as they were passed, ``(copies, N, *places)``.
            entered: the inputs.

        Returns:
            In the structure of ``x``: ``(copies * N, ...)``, with axes of length 1 where a place has several numbers.
        """
        texts = self._texts(entered)
        pairs = zip(self._leaves, tf.nest.flatten(entered.x), strict=True)
        return self._structure([self._over_leaf(leaf, numbers, shares, texts, entered) for leaf, numbers in pairs])

    def _texts(self, entered: Entered) -> list[SideBySide | None]:
        """The words of each part of the inputs; None for one that is no text that is split."""
        return [each.at(entered.values) for each in self._readings]

    def _over_leaf(
        self,
        leaf: Number | LookedUp,
        numbers: tf.Tensor,
        shares: list[tf.Tensor],
        texts: list[SideBySide | None],
        entered: Entered,
    ) -> tf.Tensor:
        if not isinstance(leaf, LookedUp):
            return over_part(shares[leaf.place], numbers)
        of_parts = [
            (
                self._parts[place],
                shares[place] if (text := texts[place]) is None else text.share_of(leaf, shares[place]),
            )
            for place in sorted(leaf.lookup.parts)
        ]
        return leaf.over(of_parts, numbers, entered.values)

    def folded(self, values: Any, entered: Entered, *, by_norm: bool) -> Folded:
        """What a method says about ``x``, about the inputs as they were passed.

        Args:
            values: in the structure of ``x``.
            entered: the inputs.
            by_norm: whether the numbers of a vector are not contributions, which add up, but slopes: then the length of
                the vector of slopes counts.
        """
        tf.nest.assert_same_structure(values, entered.x)
        given, texts = tf.nest.flatten(entered.given), self._texts(entered)
        summed: dict[int, tf.Tensor] = {}
        squares: dict[int, tf.Tensor] = {}
        told = iter(tf.nest.flatten(values))
        for place, leaves in enumerate(self._at):
            for leaf in leaves:
                of_leaf = next(told)
                if not isinstance(leaf, LookedUp):
                    summed[place] = leaf.told(of_leaf)
                    continue
                squared = by_norm and leaf.is_of_ids
                of_ids = leaf.told(of_leaf, entered.values, squared=squared)
                sums = squares if squared else summed
                made_of = sorted(leaf.lookup.parts)
                parts = [self._parts[part] for part in made_of]
                of_parts = leaf.onto(parts, of_ids, entered.values, adds_up=not squared)
                for part, onto in zip(made_of, of_parts, strict=True):
                    onto = onto if (text := texts[part]) is None else text.laid_out(leaf, onto)
                    if by_norm and (is_number := self._read.get(part)) is not None:
                        # What is made of a number in steps, such as its bucket, has no slope in it.
                        onto = tf.where(is_number, 0.0, onto)
                    sums[part] = sums[part] + onto if part in sums else onto
        for part, square in squares.items():
            summed[part] = summed.get(part, 0.0) + tf.sqrt(square)
        nothing = [tf.zeros(tf.shape(each)) for each in given]
        parts = [summed.get(place, nothing[place]) for place in range(len(given))]
        words = {place: text.words for place, text in enumerate(texts) if text is not None}
        return Folded(tf.nest.pack_sequence_as(entered.given, parts), words)

    def _structure(self, leaves: list[Any]) -> Any:
        """What belongs to each number that a method sees, in the structure that it sees."""
        rest = iter(leaves)
        parts = [tuple(next(rest) for _ in at) for at in self._at]
        return tf.nest.pack_sequence_as(self._model.inputs, [each[0] if len(each) == 1 else each for each in parts])


def point_of(model: TracedModel) -> Point:
    """The point of a traced model; found once."""
    if model.point is None:
        model.point = Point(model)
    point: Point = model.point
    return point
