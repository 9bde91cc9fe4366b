"""What an entry of a table of relevance rules is about, where it is not a layer.

A layer is given by its name, its path or the layer itself. Keras calls its first dense layer ``dense``, and a user may
call one ``first`` or ``Conv2D``: so kinds, positions and operations have a form that no layer name can be.
"""

from dataclasses import dataclass

from tfsaliency.graph.affine import CONVOLUTION, DENSE, KINDS, NORMALIZATION

_KINDS = (CONVOLUTION, DENSE, NORMALIZATION)


@dataclass(frozen=True)
class Kind:
    """All affine maps of a kind; made by `kind`."""

    name: str

    def __repr__(self) -> str:
        return f"kind({self.name!r})"


@dataclass(frozen=True)
class Position:
    """The first or last maps with weights; made by `first` and `last`."""

    end: str
    kind: str | None = None

    def __repr__(self) -> str:
        return f"{self.end}({'' if self.kind is None else repr(self.kind)})"


@dataclass(frozen=True)
class OfType:
    """All operations of a TensorFlow type; made by `operation`."""

    type: str

    def __repr__(self) -> str:
        return f"operation({self.type!r})"


Selector = Kind | Position | OfType


def kind(name: str) -> Kind:
    """All affine maps of a kind.

    Args:
        name: ``"convolution"``, ``"dense"``, or ``"normalization"`` for scales and shifts that stand alone.

    Raises:
        ValueError: there is no such kind.

    Example:
        >>> import keras, numpy as np, tfsaliency as tfs
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4, "relu"), keras.layers.Dense(2)])
        >>> rules = {tfs.rules.kind("dense"): tfs.rules.Gamma(), tfs.rules.last(): tfs.rules.Epsilon()}
        >>> tfs.LRP(model, rules).explain(np.ones((1, 3))).values.shape
        (1, 3)
    """
    return Kind(_known(name))


def first(kind: str | None = None) -> Position:
    """The maps with weights that an input reaches before any other: each input has its own.

    Where one input joins others late, the map behind the join is its first, and the rule holds for all that this map
    reads. A map that reads an input beside later signals of the same input is not its first.

    Args:
        kind: only maps of this kind, as in `kind`; None for any.

    Raises:
        ValueError: there is no such kind.

    Example:
        >>> import tfsaliency as tfs
        >>> tfs.rules.first(), tfs.rules.first("convolution")
        (first(), first('convolution'))
    """
    return Position("first", None if kind is None else _known(kind))


def last(kind: str | None = None) -> Position:
    """The maps with weights behind which there is no other.

    Args:
        kind: only maps of this kind, as in `kind`; None for any.

    Raises:
        ValueError: there is no such kind.

    Example:
        >>> import tfsaliency as tfs
        >>> tfs.rules.last("dense")
        last('dense')
    """
    return Position("last", None if kind is None else _known(kind))


def operation(type: str) -> OfType:
    """All operations of a TensorFlow type.

    For a convolution or matrix product (``"Conv2D"``, ``"MatMul"``) the rule is one for an affine map; for any other
    type it is a function ``(step, relevances) -> relevances``.

    Args:
        type: the type of the operation, such as ``"Tanh"`` or ``"DepthwiseConv2dNative"``.

    Raises:
        TypeError: the type is no text.

    Example:
        >>> import tfsaliency as tfs
        >>> tfs.rules.operation("Tanh")
        operation('Tanh')
    """
    if not isinstance(type, str):
        raise TypeError(f"operation takes the type of an operation as a text. Received: {type!r}")
    return OfType(type)


def _known(name: str) -> str:
    if name not in _KINDS:
        raise ValueError(f"A kind of map is one of {', '.join(map(repr, _KINDS))}. Received: {name!r}")
    return name


def selectors_of(type: str, operations: list[str], ends: list[str]) -> list[Selector]:
    """What selects an affine map, the most special selector first.

    Args:
        type: the kind of the map.
        operations: the types of the operations that it is made of.
        ends: ``"first"``, ``"last"``, both or none.
    """
    positions = [position for end in ends for position in (Position(end, type), Position(end))]
    return [*positions, *(OfType(each) for each in operations if each in KINDS), Kind(type)]
