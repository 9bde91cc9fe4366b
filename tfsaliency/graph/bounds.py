"""Between which numbers an output lies that is made of probabilities, whatever the way from their logits to it.

A mean of two softmaxes, or a softmax inside of a function or a loop: their logits are not to be had from the trace, and
that they lie between 0 and 1 can be seen in it all the same. Definitions of operations are read rather than operations,
because functions hold nothing else.
"""

import itertools
import operator
from collections.abc import Callable
from functools import partial, reduce
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tfsaliency.graph.operations import (
    CONDITIONS,
    IDENTITIES,
    JOINS,
    LINKS,
    LIST_READERS,
    LOOPS,
    MATRIX_PRODUCTS,
    MOVES,
    NOT_NEGATIVE,
    PADS,
    REDUCTIONS,
    RUNNING,
)


class Bounds(NamedTuple):
    """Between which numbers a tensor lies.

    Attributes:
        low: the lower bound.
        high: the upper bound.
        of_link: whether a softmax or sigmoid made these numbers.
    """

    low: float
    high: float
    of_link: bool = False

    def or_(self, other: "Bounds") -> "Bounds":
        """The bounds of numbers that are in the one or in the other."""
        return Bounds(min(self.low, other.low), max(self.high, other.high), self.of_link or other.of_link)


def bounds_of_link(definition: tf.compat.v1.GraphDef, output: tf.Tensor) -> Bounds | None:
    """The bounds of an output that is made of softmaxes, sigmoids and constants alone, or joined of such and of others.

    Args:
        definition: of the output's graph.
        output: a tensor of the graph.

    Returns:
        None for any other output.
    """
    functions = {function.signature.name: function for function in definition.library.function}
    graph = _Scope(definition.node, functions, {})
    found = graph.bounds(output.name)
    return found if found is not None and found.of_link else None


_PROBABILITIES = Bounds(0, 1, of_link=True)


class _Scope:
    """A graph, or the body of a function.

    Args:
        nodes: the definitions of its operations.
        functions: the definitions of all functions, by name.
        arguments: for each argument by name, what gives its bounds.
    """

    def __init__(self, nodes: Any, functions: dict[str, Any], arguments: dict[str, Callable[[], Bounds | None]]):
        self._nodes = {node.name: node for node in nodes}
        self._functions, self._arguments = functions, arguments
        self._found: dict[str, Bounds | None] = {}

    def bounds(self, source: str) -> Bounds | None:
        """The bounds of a tensor: ``"name"``, ``"name:place"``, or ``"name:result:place"`` within a function."""
        if source not in self._found:
            name, *place = source.split(":")
            if name in self._arguments:
                self._found[source] = self._arguments[name]()
            else:
                self._found[source] = self._of(self._nodes[name], int(place[-1]) if place else 0)
        return self._found[source]

    def _of(self, node: Any, place: int) -> Bounds | None:
        sources = [each for each in node.input if each[0] != "^"]
        rule = _RULES.get(node.op)
        return rule(self, node, sources, place) if rule else None

    def returned(self, name: str, sources: list[str], place: int) -> Bounds | None:
        """The bounds of what a function returns."""
        function = self._functions[name]
        names = [argument.name for argument in function.signature.input_arg]
        # A loop has constants of its own behind what it is given.
        given = {each: partial(self.bounds, source) for each, source in zip(names, sources, strict=False)}
        body = _Scope(function.node_def, self._functions, {**given})
        return body.bounds(function.ret[function.signature.output_arg[place].name])

    def is_share(self, part: str, whole: str) -> bool:
        """Whether a quotient is that of numbers that are not negative by their sum."""
        total, numerator = self._node(whole), self._node(part)
        is_sum = total is not None and total.op == "Sum" and self._same(total.input[0], part)
        return is_sum and numerator is not None and numerator.op in NOT_NEGATIVE

    def _same(self, one: str, other: str) -> bool:
        """Whether two tensors are computed by the same operations of the same tensors."""
        first, second = self._node(one), self._node(other)
        if one == other or first is None or second is None:
            return one == other
        alike = first.op == second.op and len(first.input) == len(second.input) > 0
        return alike and all(map(self._same, first.input, second.input))

    def _node(self, source: str) -> Any:
        return self._nodes.get(source.split(":")[0])


# Gives the bounds of an operation's result: from the scope, the operation's definition, the names of its sources, and
# the place of the result among its results.
Rule = Callable[[_Scope, Any, list[str], int], Bounds | None]


def _of_constant(scope: _Scope, node: Any, sources: list[str], place: int) -> Bounds | None:
    value = tf.make_ndarray(node.attr["value"].tensor)
    return Bounds(value.min(), value.max()) if value.size and value.dtype.kind in "fiu" else None


def _of_source(number: int) -> Rule:
    return lambda scope, node, sources, place: scope.bounds(sources[number])


def _handed_on(scope: _Scope, node: Any, sources: list[str], place: int) -> Bounds | None:
    return scope.bounds(sources[place])


def _padded(scope: _Scope, node: Any, sources: list[str], place: int) -> Bounds | None:
    found = scope.bounds(sources[0])
    return found and found.or_(Bounds(0, 0))


def _joined(scope: _Scope, node: Any, sources: list[str], place: int) -> Bounds | None:
    return _any([scope.bounds(each) for each in sources])


def _branched(scope: _Scope, node: Any, sources: list[str], place: int) -> Bounds | None:
    names = [each.name for attribute in node.attr.values() for each in (attribute.func, *attribute.list.func)]
    # The first source chooses the branch.
    return _any([scope.returned(name, sources[1:], place) for name in names if name])


def _looped(scope: _Scope, node: Any, sources: list[str], place: int) -> Bounds | None:
    return scope.returned(node.attr["body"].func.name, sources, place)


def _any(found: list[Bounds | None]) -> Bounds | None:
    """The bounds of numbers of which some are made of links."""
    of_links = [each for each in found if each is not None and each.of_link]
    return reduce(Bounds.or_, of_links) if of_links else None


def _at_ends(function: Callable[..., Any]) -> Rule:
    """The rule of a function that is monotone in each source: its bounds are among its values at their bounds."""

    def bounds(scope: _Scope, node: Any, sources: list[str], place: int) -> Bounds | None:
        read = [found for each in sources if (found := scope.bounds(each)) is not None]
        if len(read) < len(sources):
            return None
        with np.errstate(all="ignore"):
            ends = [function(*each) for each in itertools.product(*(found[:2] for found in read))]
        # Infinity times zero may be anything.
        return None if np.isnan(ends).any() else Bounds(min(ends), max(ends), any(found.of_link for found in read))

    return bounds


def _divided(scope: _Scope, node: Any, sources: list[str], place: int) -> Bounds | None:
    return _PROBABILITIES if scope.is_share(*sources) else _at_ends(np.divide)(scope, node, sources, place)


def _multiplied(scope: _Scope, node: Any, sources: list[str], place: int) -> Bounds | None:
    """Constants that weigh probabilities, or put them in another order, are between 0 and 1 as they are."""
    one, other = map(scope.bounds, sources)
    if one is None or other is None or min(one.low, other.low) < 0 or max(one.high, other.high) > 1:
        return None
    return one.or_(other)


_RULES: dict[str, Rule] = {
    # Averages, largest ones and parts of a distribution lie where the distribution does.
    **dict.fromkeys((*IDENTITIES, *MOVES, *LIST_READERS, *REDUCTIONS, *RUNNING), _of_source(0)),
    **dict.fromkeys(PADS, _padded),
    **dict.fromkeys(JOINS, _joined),
    **dict.fromkeys(CONDITIONS, _branched),
    **dict.fromkeys(LOOPS, _looped),
    **dict.fromkeys(LINKS, lambda scope, node, sources, place: _PROBABILITIES),
    **dict.fromkeys(MATRIX_PRODUCTS, _multiplied),
    "Add": _at_ends(operator.add),
    "AddN": _at_ends(lambda *terms: sum(terms)),
    "AddV2": _at_ends(operator.add),
    "Const": _of_constant,
    "Exp": _at_ends(np.exp),
    "IdentityN": _handed_on,
    "LogSoftmax": lambda scope, node, sources, place: Bounds(-np.inf, 0, of_link=True),
    "Maximum": _at_ends(max),
    "Minimum": _at_ends(min),
    "Mul": _at_ends(operator.mul),
    "Neg": _at_ends(operator.neg),
    "OneHot": lambda scope, node, sources, place: Bounds(0, 1),
    "Pow": _at_ends(np.power),
    "RealDiv": _divided,
    "Relu": _at_ends(lambda x: max(x, 0)),
    "Sqrt": _at_ends(np.sqrt),
    "StopGradient": _of_source(0),
    "Sub": _at_ends(operator.sub),
    "TensorListSetItem": _of_source(2),
}
