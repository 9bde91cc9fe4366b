"""Which affine map gets which rule: tables, and those that have a name."""

import warnings
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import tensorflow as tf

from tfsaliency.graph.affine import CONVOLUTION, DENSE, KINDS, NORMALIZATION, Affine, Weighted
from tfsaliency.graph.step import Step
from tfsaliency.model.layers import LayerCall, calls_of, is_layer
from tfsaliency.model.traced import Traced
from tfsaliency.rules.relevance import AlphaBeta, Epsilon, Flat, Gamma, Pass, RelevanceRule, ZBox, ZPlus
from tfsaliency.rules.selectors import OfType, Selector, first, kind, selectors_of

# From a layer (its name, its path or itself) or a selector to a rule.
Table = Mapping[Any, Callable[..., Any]]

_CONVOLUTION, _DENSE, _NORMALIZATION = kind(CONVOLUTION), kind(DENSE), kind(NORMALIZATION)


def _both(rule: RelevanceRule) -> dict[Selector, RelevanceRule]:
    return {_CONVOLUTION: rule, _DENSE: rule}


PRESETS: dict[str, dict[Selector, RelevanceRule]] = {
    "epsilon": {**_both(Epsilon()), _NORMALIZATION: Epsilon()},
    "epsilon_plus": {_CONVOLUTION: ZPlus(), _DENSE: Epsilon()},
    "epsilon_plus_flat": {_CONVOLUTION: ZPlus(), _DENSE: Epsilon(), first(): Flat()},
    "epsilon_alpha2_beta1": {_CONVOLUTION: AlphaBeta(2, 1), _DENSE: Epsilon()},
    "epsilon_alpha2_beta1_flat": {_CONVOLUTION: AlphaBeta(2, 1), _DENSE: Epsilon(), first(): Flat()},
    "gamma": _both(Gamma()),
    "alpha1_beta0": _both(AlphaBeta(1, 0)),
    "alpha2_beta1": _both(AlphaBeta(2, 1)),
    "attention": {**_both(Epsilon()), _NORMALIZATION: Epsilon()},
}
BOXED = "epsilon_gamma_box"


def table_of(rules: str | Table, low: Any = None, high: Any = None) -> Table:
    """The table that a name stands for, or the table itself.

    Raises:
        ValueError: unknown name; bounds missing, or given to a table that has no use for them.
        TypeError: neither name nor table.
    """
    bounded = low is not None and high is not None
    if isinstance(rules, str) and rules == BOXED:
        if not bounded:
            raise ValueError(
                f"The rules {BOXED!r} need the bounds of the input: LRP(model, {BOXED!r}, low=..., high=...), the "
                "smallest and largest value that preprocessing can give, numbers or one per channel."
            )
        return {_CONVOLUTION: Gamma(), _DENSE: Epsilon(), first(CONVOLUTION): ZBox(low, high)}
    if low is not None or high is not None:
        raise ValueError(f"low and high belong to the rules {BOXED!r}. Received: rules={rules!r}")
    if isinstance(rules, str):
        if rules not in PRESETS:
            names = ", ".join(map(repr, [*PRESETS, BOXED]))
            raise ValueError(f"rules is one of {names}, or a table of rules. Received: {rules!r}")
        return PRESETS[rules]
    if not isinstance(rules, Mapping) or not rules or not all(map(callable, rules.values())):
        raise TypeError(
            "rules is the name of a preset or a table such as {tfs.rules.kind('convolution'): tfs.rules.ZPlus(), "
            f"tfs.rules.kind('dense'): tfs.rules.Epsilon()}}. Received: {rules!r}"
        )
    return rules


class Chosen(NamedTuple):
    """The rules of a table in one network.

    Attributes:
        affine: for each affine map its rule, by the name of its step.
        operations: by the type of an operation, for those that are no affine map.
    """

    affine: dict[str, Callable[..., Any]]
    operations: dict[str, Callable[..., Any]]


def chosen_rules(table: Table, steps: list[Step], model: Traced) -> Chosen:
    """The rule of each step.

    The most special entry of the table counts: a layer, then a position, then the type of an operation, then a kind.

    Args:
        table: what the user chose.
        steps: the network.
        model: the trace that the network was read from.

    Raises:
        ValueError: a map without a rule, or an entry about a layer without one of the maps.
    """
    maps = [step for step in steps if isinstance(step, Affine)]
    ends = {
        "first": set().union(*(_first_of(each, steps) for each in tf.nest.flatten(model.inputs))),
        "last": _outermost(model.logits.floats, steps[::-1], lambda step: (step.results, step.sources)),
    }
    layers = {each: calls_of(each, model.calls) for each in table if isinstance(each, str) or is_layer(each)}
    used: set[Any] = set()
    rules = {}
    for step in maps:
        around = _layers_of(step, model)
        by_layer = [entry for call in around for entry, calls in layers.items() if any(call is each for each in calls)]
        used.update(map(_identity, by_layer))
        at_ends = [end for end, names in ends.items() if step.name in names]
        selectors = [*by_layer, *selectors_of(step.type, step.operations, at_ends)]
        found = next((each for each in selectors if each in table), None)
        if found is None and step.type != NORMALIZATION:
            raise ValueError(
                f"The table of rules has none for the {step.type} map {step.name!r} ({', '.join(step.operations)}). "
                f"Add {kind(step.type)!r}, or its layer {_paths(around)}. The table has: "
                f"{', '.join(_text(each) for each in table)}"
            )
        rules[step.name] = Pass() if found is None else table[found]
        if "first" in at_ends and isinstance(rules[step.name], Flat):
            _warn_of_equal_values(step, model, around)
    unknown = [each for each in layers if _identity(each) not in used]
    if unknown:
        known = dict.fromkeys(call.path for step in maps for call in _layers_of(step, model)[:1])
        raise ValueError(
            f"No layer with weights is called {_text(unknown[0])} on the way to what is explained. The layers: "
            f"{', '.join(map(repr, known))}. What is not one layer is chosen by tfs.rules.kind('dense'), "
            "tfs.rules.first(), tfs.rules.last('convolution') or tfs.rules.operation('Conv2D')."
        )
    operations = {
        each.type: rule for each, rule in table.items() if isinstance(each, OfType) and each.type not in KINDS
    }
    return Chosen(rules, operations)


def _warn_of_equal_values(step: Affine, model: Traced, around: list[LayerCall]) -> None:
    """The flat rule is for the first convolution of a picture, whose windows differ."""
    sizes = [part.shape[1:].num_elements() or 0 for part in tf.nest.flatten(model.inputs)]
    read = step.source.shape[1:].num_elements()
    # A layer that reads less is called at each time step or place, and these differ.
    reads_all = isinstance(step, Weighted) and step.type == DENSE and step.reads_all
    named = f"layer {_paths(around)}" if around else f"product {step.name!r}"
    if reads_all and read != 1 and read in (*sizes, sum(sizes)):
        warnings.warn(
            f"The first {named} is dense, and the flat rule gives the same value to all of its {read} inputs. "
            "Take a preset without it, such as LRP(model, 'epsilon') or LRP(model, 'epsilon_plus').",
            stacklevel=2,
        )


def _layers_of(step: Affine, model: Traced) -> list[LayerCall]:
    """The calls that made an affine map: around its operation with weights first, and the innermost first."""
    names = [step.name, *(name for name in step.names if name != step.name)]
    calls = (call for name in names for call in model.layers_of(name))
    return list({id(call): call for call in calls}.values())


def _identity(entry: Any) -> Any:
    return id(entry) if is_layer(entry) else entry


def _text(entry: Any) -> str:
    return repr(entry.name if is_layer(entry) else entry)


def _paths(calls: list[LayerCall]) -> str:
    return " or ".join(repr(call.path) for call in calls) or "(it has none)"


def _first_of(given: tf.Tensor, steps: list[Step]) -> set[str]:
    """The maps with weights that one input reaches before any other."""
    return _outermost([given], steps, lambda step: (step.sources, step.results))


def _outermost(
    starts: list[tf.Tensor], steps: list[Step], tensors_of: Callable[[Step], tuple[list[tf.Tensor], list[tf.Tensor]]]
) -> set[str]:
    """The maps with weights that a walk meets before any other, on their way.

    Args:
        starts: where the walk starts.
        steps: in the order of the walk.
        tensors_of: the tensors by which the walk comes to a step, and by which it goes on.
    """
    reached, behind = {start.ref() for start in starts}, set[Any]()
    found = set()
    for step in steps:
        before, after = tensors_of(step)
        if reached.isdisjoint(tensor.ref() for tensor in before):
            continue
        reached |= {tensor.ref() for tensor in after}
        weighted = isinstance(step, Affine) and step.type != NORMALIZATION
        is_behind = any(tensor.ref() in behind for tensor in before)
        if weighted and not is_behind:
            found.add(step.name)
        if weighted or is_behind:
            behind |= {tensor.ref() for tensor in after}
    return found
