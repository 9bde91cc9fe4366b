"""Where inputs that are no numbers become numbers: token ids, categories and strings, found in a trace.

Ids have no gradient. The vectors that are looked up for them have one, and so have the zeros and ones of an encoding:
these are what can be explained. They are found by what the operations do and not by types: ids may be declared as
floats and rounded, and the bytes of a picture are numbers although they are integers.
"""

from collections.abc import Iterable
from typing import Any, Literal, NamedTuple

import numpy as np
import tensorflow as tf

from tfsaliency.graph.ancestry import alike, ancestors, before
from tfsaliency.graph.encodings import encodings_in, is_encoder
from tfsaliency.graph.numbers_read import places_read_as_numbers, read_as_numbers
from tfsaliency.graph.operations import (
    ADDITIONS,
    CHOICES,
    CLIPS,
    CONVOLUTIONS,
    DISTINCT,
    GATHERS,
    IDENTITIES,
    JOINS,
    JUDGEMENTS,
    LOGIC,
    LOOPS,
    NUMBERS_TO_IDS,
    REARRANGEMENTS,
    REDUCTIONS,
    RESHAPES,
    ROUNDINGS,
    SHAPE_READERS,
    STOPS,
)
from tfsaliency.graph.pads import Pad, pad_of
from tfsaliency.graph.tables import Dequantized, axis_of, dequantized, distinct

# vectors: a row of a table for each id. one-hot: zeros and a one for each id. bag: how often each id occurs in a row.
# number: an integer, as a float.
LookupKind = Literal["vectors", "one-hot", "bag", "number"]

# Tables of positions and of segments have at least so many times fewer rows than that of the tokens.
TIMES = 4

# Why nothing is explained of a part of the inputs.
UNUSED = "no output depends on it"
EMPTY = "it holds no numbers: one of its axes has length 0"
COMPARED = "it has no gradient: {name!r}, an operation of type {type}, compares it or counts with it"
CHOOSES = "it has no gradient: {name!r}, an operation of type {type}, chooses by it among numbers that the model makes"
ROUNDED = "it is rounded or chosen from, and has no gradient"
BESIDE = "it is a mask, positions or segments of the ids beside it, and says not what they are"
UNKNOWN = (
    "what {name!r}, an operation of type {type}, makes of it cannot be followed back, as tf.gather, tf.one_hot and the "
    "encodings of Keras can"
)
NOT_LAST = (
    "{name!r}, an operation of type {type}, puts the numbers of an id along another axis than the last: "
    "tf.one_hot(ids, depth) with tf.transpose behind it can be followed"
)


class Lookup(NamedTuple):
    """The first real numbers that are made from parts of the inputs that have no gradient themselves.

    Attributes:
        parts: the places of those parts among the inputs.
        kind: how the numbers are made.
        tensor: the numbers, ``(N, ..., D)``.
        index: the ids that they are made of, ``(N, ...)``. Those of a bag may lie in one row, with ``splits``.
        pad: the id that fills up short rows; None where no id is masked.
        made_by: for vectors, the operations that make them of the ids, in order. The first reads a table.
        encoding: what makes the numbers, as integers, where a layer puts several encodings together to ``tensor``.
        copies: the same numbers, made anew by the model for other layers.
    """

    parts: frozenset[int]
    kind: LookupKind
    tensor: tf.Tensor
    index: tf.Tensor
    pad: Pad | None = None
    made_by: tuple[tf.Operation, ...] = ()
    encoding: tf.Operation | None = None
    copies: tuple["Lookup", ...] = ()

    @property
    def own(self) -> tf.Tensor:
        """The numbers of these ids alone: of an encoding, before others are put beside it."""
        return self.tensor if self.encoding is None else self.encoding.outputs[0]

    @property
    def distinct(self) -> tf.Operation | None:
        """The operation that leaves each id of a batch once, where the vectors are those of such ids; else None."""
        return distinct(self.made_by[0].inputs[1]) if self.made_by else None

    @property
    def splits(self) -> tf.Tensor | None:
        """Where each sample's ids begin, for a bag of rows of different lengths; else None."""
        maker = self.encoding or before(self.tensor, IDENTITIES).op
        return maker.inputs[0] if maker.type == "RaggedBincount" else None


class Entries(NamedTuple):
    """Where the inputs enter a network as numbers.

    Attributes:
        numbers: the places of the parts that are numbers themselves.
        lookups: what is made from the other ones, or from these too.
        read: which places of a part are read as numbers, by the place of the part, where ids are made of it too.
        held: why nothing is explained of a part, by its place.
        compared: the operation that compares a part, by its place, where a layer reads the answer beside what is looked
            up for the part.
    """

    numbers: frozenset[int]
    lookups: tuple[Lookup, ...]
    read: dict[int, np.ndarray]
    held: dict[int, str]
    compared: dict[int, tf.Operation]


class _Seen(NamedTuple):
    """What is known of a tensor: the parts that it is made of, and how.

    ``raw``: numbers as they were passed, in some order. ``number``: numbers computed from them. ``category``: made
    without a gradient. ``condition``: true or false, or made of that.
    """

    parts: frozenset[int]
    how: Literal["raw", "number", "category", "condition"]


def entries(inputs: list[tf.Tensor], outputs: list[tf.Tensor]) -> Entries:
    """Finds where the inputs of a trace enter the network as numbers that its outputs depend on."""
    order, reached = ancestors(*outputs), read_as_numbers(*outputs, stops=STOPS)
    walk = _Walk(inputs, reached)
    for op in order:
        walk.see(op)
    walk.lookups = _with_quantized(walk.lookups, dequantized(inputs, order))
    empty = {place for place, part in enumerate(inputs) if part.shape.rank and 0 in part.shape[1:]}
    lookups = _without_embellishments(_without_masks(walk, inputs, order), order)
    lookups = [each for each in lookups if not each.parts <= empty]
    explained = {place for each in lookups for place in each.parts}
    beside = {place for each in walk.lookups for place in each.parts}
    numbers, held = set(), {}
    for place, part in enumerate(inputs):
        if place in empty:
            held[place] = EMPTY
        elif part.dtype.is_floating and (part.ref() in reached or place not in walk.read):
            numbers.add(place)
        elif place not in explained:
            other = BESIDE if place in beside else ROUNDED if place in walk.read else UNUSED
            held[place] = other if place in beside else walk.reasons.get(place, other)
    padded = tuple(each._replace(pad=_pad(each, lookups, order)) for each in _once(lookups))
    compared = {
        place: before(flag, IDENTITIES).op
        for flag, parts in walk.flags
        for place in parts & explained - numbers
        if walk.is_feature([flag], order)
    }
    read = {place: places_read_as_numbers(inputs[place], reached) for place in numbers & explained}
    return Entries(frozenset(numbers), padded, read, held, compared)


class _Walk:
    """A walk along the operations of a trace.

    Args:
        inputs: where it starts.
        reached: the tensors, as ``ref()``, that a gradient of the outputs may reach.

    Attributes:
        lookups: what was found.
        flags: the numbers that are zero or one by a comparison, and of which parts.
        reasons: why a part was not followed further, by its place.
        read: the places of the parts that an operation reads.
    """

    def __init__(self, inputs: list[tf.Tensor], reached: set[Any]):
        self._reached = reached
        self._seen = {
            part.ref(): _Seen(frozenset([place]), "raw" if part.dtype.is_floating else "category")
            for place, part in enumerate(inputs)
        }
        self._dependent = {part.ref() for part in inputs}
        self.lookups: list[Lookup] = []
        self.flags: list[tuple[tf.Tensor, frozenset[int]]] = []
        self.reasons: dict[int, str] = {}
        self.read: set[int] = set()

    def see(self, op: tf.Operation) -> None:
        """Notes what an operation makes of the inputs."""
        if any(source.ref() in self._dependent for source in op.inputs):
            self._dependent |= {result.ref() for result in op.outputs}
        sources = [self._seen[source.ref()] for source in op.inputs if source.ref() in self._seen]
        if not sources or op.type in SHAPE_READERS:
            return
        self.read.update(*(source.parts for source in sources))
        # Where an id is among the different ones says not what it is.
        for result in op.outputs[:1] if op.type in DISTINCT else op.outputs:
            what = _made(result, sources)
            if op.type in CHOICES and not any(source.ref() in self._seen for source in op.inputs[1:]):
                what = what._replace(how="condition")
            is_float = result.dtype.is_floating
            if what.how == "condition":
                self._compared(op, result, what.parts)
            if is_float and what.how == "category" and result.ref() in self._reached:
                self._found(op, result, what.parts)
            elif not is_float or what.how != "condition":
                self._seen[result.ref()] = what

    def is_feature(self, numbers: list[tf.Tensor], order: list[tf.Operation]) -> bool:
        """Whether a layer multiplies numbers by weights: a mask or positions meet vectors or scores before."""
        own = {each.ref() for each in numbers}
        for op in order:
            given = [source.ref() in own for source in op.inputs if source.ref() in self._dependent]
            if any(given) and (all(given) or op.type in JOINS):
                if op.type in LOOPS or (op.type in (*CONVOLUTIONS, "MatMul") and _reads_weights(op)):
                    return True
                own |= {result.ref() for result in op.outputs}
        return False

    def _found(self, op: tf.Operation, result: tf.Tensor, parts: frozenset[int]) -> None:
        lookup = _lookup(op, result, parts, self._seen)
        encodings = encodings_in(op.inputs[0]) if lookup is not None and lookup.kind == "number" else []
        if op.type in GATHERS and op.inputs[0].ref() in self._dependent:
            self._give_up(parts, CHOOSES, op)
        elif encodings:
            known = ((each, self._seen.get(each.outputs[0].ref())) for each in encodings)
            self.lookups += [_encoded(each, result, seen.parts, encoding=each) for each, seen in known if seen]
        elif lookup is None:
            self._give_up(parts, NOT_LAST if before(result, IDENTITIES).op.type == "OneHot" else UNKNOWN, op)
        else:
            self.lookups.append(lookup)

    def _compared(self, op: tf.Operation, result: tf.Tensor, parts: frozenset[int]) -> None:
        self._give_up(parts, COMPARED, op)
        is_judgement = before(result, IDENTITIES).op.type in (*JUDGEMENTS, *LOGIC)
        if is_judgement and result.dtype.is_floating and result.ref() in self._reached:
            self.flags.append((result, parts))

    def _give_up(self, parts: frozenset[int], reason: str, op: tf.Operation) -> None:
        self.reasons = dict.fromkeys(parts, reason.format(name=op.name, type=op.type)) | self.reasons


def _reads_weights(op: tf.Operation) -> bool:
    """Whether a product has weights in it, and not constants alone, as frequencies of positions are."""
    return any(each.type == "ReadVariableOp" for each in ancestors(*op.inputs[1:]))


def _made(result: tf.Tensor, sources: list[_Seen]) -> _Seen:
    """What an operation makes of sources that depend on the inputs."""
    op = result.op
    everything = frozenset[int]().union(*(source.parts for source in sources))
    hows = {source.how for source in sources}
    if result.dtype.is_floating:
        numbers = [source for source in sources if source.how in ("raw", "number")]
        if numbers:
            is_moved = op.type in (*REARRANGEMENTS, *IDENTITIES, *ROUNDINGS)
            # Ids are bounded by the length of their table.
            is_kept = hows == {"raw"} and (is_moved or (op.type in CLIPS and len(sources) == 1))
            parts = frozenset[int]().union(*(source.parts for source in numbers))
            return _Seen(parts, "raw" if is_kept else "number")
        return _Seen(everything, "category" if "category" in hows else "condition")
    read = op.inputs if op.type == "Cast" else ()
    is_true_or_false = any(each.dtype == tf.bool for each in (result, *read))
    # An id is a number that was passed, rounded or put into a bin; what is chosen or counted among numbers is none.
    kept = ("category", "raw") if op.type in NUMBERS_TO_IDS else ("category",)
    ids = [source for source in sources if source.how in kept and op.type not in REDUCTIONS]
    if is_true_or_false or not ids:
        return _Seen(everything, "condition")
    # What a mask does to ids makes none of the mask's own; a flag that is added to an id makes another one.
    made_of = sources if op.type in (*ADDITIONS, "AddN", "Sub") else ids
    return _Seen(frozenset[int]().union(*(source.parts for source in made_of)), "category")


def _lookup(op: tf.Operation, result: tf.Tensor, parts: frozenset[int], seen: dict[Any, _Seen]) -> Lookup | None:
    """What an operation makes of ids; None where it is no known one."""
    maker = before(result, IDENTITIES).op
    # A table may hold whole numbers.
    gather = op if op.type in GATHERS else maker
    if gather.type in GATHERS and axis_of(gather) == 0 and _is_indexed(gather, seen):
        index = gather.inputs[1]
        once = distinct(index)
        made_by = tuple(ancestors(result, known=gather.inputs))
        return Lookup(parts, "vectors", result, index if once is None else once.inputs[0], made_by=made_by)
    if is_encoder(maker):
        return _encoded(maker, result, parts)
    if op.type == "Cast":
        return Lookup(parts, "number", result, op.inputs[0])
    return None


def _encoded(
    maker: tf.Operation, result: tf.Tensor, parts: frozenset[int], encoding: tf.Operation | None = None
) -> Lookup:
    """The numbers that an operation makes to encode ids."""
    index = maker.inputs[1 if maker.type == "RaggedBincount" else 0]
    # Of a single place the whole row of a bag is about its id.
    is_single = maker.type == "OneHot" or (index.shape.rank == 2 and index.shape[1] == 1)
    return Lookup(parts, "one-hot" if is_single else "bag", result, index, encoding=encoding)


def _is_indexed(gather: tf.Operation, seen: dict[Any, _Seen]) -> bool:
    """Whether the inputs say which rows of a table are read, and not what is in the table."""
    table, index = gather.inputs[:2]
    return table.ref() not in seen and index.ref() in seen


def _with_quantized(lookups: list[Lookup], found: list[Dequantized]) -> list[Lookup]:
    """The lookups, with the vectors of a quantized table in the place of its codes and scales."""
    for tensor, made_by in found:
        names = {op.name for op in made_by}
        inside = [each for each in lookups if each.tensor.op.name in names]
        rest = [each for each in lookups if each.tensor.op.name not in names]
        parts = frozenset[int]().union(*(each.parts for each in inside))
        lookups = [*rest, Lookup(parts, "vectors", tensor, made_by[0].inputs[1], made_by=made_by)]
    return lookups


def _without_masks(walk: _Walk, inputs: list[tf.Tensor], order: list[tf.Operation]) -> list[Lookup]:
    """Integers of the shape of ids, and no features, are their mask or their positions: these are no evidence."""
    looked_up = {part for each in walk.lookups if each.kind in ("vectors", "one-hot") for part in each.parts}
    ids = [inputs[part] for part in looked_up]
    shapes = {repr(each.shape[1:]) for each in ids if each.shape.rank and each.shape.rank > 1 and each.shape[1] != 1}

    def is_mask(lookup: Lookup) -> bool:
        if lookup.kind != "number" or not all(repr(inputs[part].shape[1:]) in shapes for part in lookup.parts):
            return False
        # An id that is looked up and is a number too is no mask of itself.
        itself = before(lookup.index, (*IDENTITIES, *RESHAPES))
        if any(itself is inputs[part] for part in looked_up):
            return False
        # A model may cast a part anew for each use of it.
        casts = [each.tensor for each in walk.lookups if each.kind == "number" and each.parts == lookup.parts]
        return not walk.is_feature(casts, order)

    return [each for each in walk.lookups if not is_mask(each)]


def _without_embellishments(lookups: list[Lookup], order: list[tf.Operation]) -> list[Lookup]:
    """Of several vectors for each place of a sequence that are added up, the ones from large tables.

    Segments and positions are looked up in small tables, and say something about a token and not what it is.
    """
    made = {each.tensor.ref(): each for each in lookups if each.kind == "vectors"}
    dropped: set[int] = set()
    for op in order:
        if op.type in ADDITIONS and op.outputs[0].shape.rank == 3:
            found = list({id(each): each for each in _terms(op.outputs[0], made)}.values())
            sizes = [size for size in map(rows_of_table, found) if size is not None]
            # The handle of a variable does not show how many rows its table has.
            if len({each.parts for each in found}) > 1 and len(sizes) == len(found):
                dropped |= {id(each) for each, size in zip(found, sizes, strict=True) if TIMES * size <= max(sizes)}
    return [each for each in lookups if id(each) not in dropped]


def _once(lookups: list[Lookup]) -> list[Lookup]:
    """The lookups, with those that make the same numbers of the same ids as one.

    A number has one slope, which is the sum of those at its copies.
    """
    found: list[Lookup] = []
    for each in lookups:
        same = next((at for at, other in enumerate(found) if _makes_the_same(each, other)), None)
        if same is None:
            found.append(each)
        else:
            found[same] = found[same]._replace(copies=(*found[same].copies, each))
    return found


def _makes_the_same(a: Lookup, b: Lookup) -> bool:
    # A model may cast them to several types.
    made, other = (before(each.tensor, IDENTITIES) for each in (a, b))
    return a.parts == b.parts and a.encoding is b.encoding and alike(made, other)


def _terms(tensor: tf.Tensor, made: dict[Any, Lookup]) -> Iterable[Lookup]:
    """The lookups that a sum is made of."""
    if tensor.ref() in made:
        yield made[tensor.ref()]
    elif tensor.op.type in (*ADDITIONS, *IDENTITIES):
        for source in tensor.op.inputs:
            yield from _terms(source, made)


def _pad(lookup: Lookup, lookups: list[Lookup], order: list[tf.Operation]) -> Pad | None:
    return pad_of(lookup.index, [each.tensor for each in lookups if each.parts & lookup.parts], order)


def table_of(lookup: Lookup) -> tf.Tensor:
    """The traced table of vectors, or the handle of the variable that it is; of a quantized one, one of its tables."""
    return lookup.made_by[0].inputs[0]


def rows_of_table(lookup: Lookup) -> int | None:
    """How many ids a table has a vector for; None where the trace does not know."""
    table = table_of(lookup)
    # The handle of a variable shows no shape.
    return table.shape[0] if table.shape.rank else None
