"""Which affine map gets which rule: tables, and the ones that have a name."""

from collections.abc import Callable, Mapping
from typing import Any

from tfsaliency.rules.affine import CONVOLUTION, DENSE, HEADS, NORMALIZATION, Affine
from tfsaliency.rules.relevance import AlphaBeta, Epsilon, Flat, Gamma, Pass, RelevanceRule, ZBox, ZPlus
from tfsaliency.rules.step import Step

Table = Mapping[str, Callable]


def _both(rule: RelevanceRule) -> dict[str, RelevanceRule]:
    return {CONVOLUTION: rule, DENSE: rule}


PRESETS: dict[str, dict[str, RelevanceRule]] = {
    "epsilon": {**_both(Epsilon()), NORMALIZATION: Epsilon()},
    "epsilon_plus": {CONVOLUTION: ZPlus(), DENSE: Epsilon()},
    "epsilon_plus_flat": {CONVOLUTION: ZPlus(), DENSE: Epsilon(), "first": Flat()},
    "epsilon_alpha2_beta1": {CONVOLUTION: AlphaBeta(2, 1), DENSE: Epsilon()},
    "epsilon_alpha2_beta1_flat": {CONVOLUTION: AlphaBeta(2, 1), DENSE: Epsilon(), "first": Flat()},
    "gamma": _both(Gamma()),
    "alpha1_beta0": _both(AlphaBeta(1, 0)),
    "alpha2_beta1": _both(AlphaBeta(2, 1)),
    "attention": {**_both(Epsilon()), NORMALIZATION: Epsilon()},
}
BOXED = "epsilon_gamma_box"


def table_of(rules: str | Table, low: Any = None, high: Any = None) -> Table:
    """The table that a name stands for, or the table itself.

    Raises:
        ValueError: unknown name; bounds missing, or given to a table that has no use for them.
        TypeError: neither name nor table.
    """
    bounded = low is not None and high is not None
    if rules == BOXED:
        if not bounded:
            raise ValueError(
                f"The rules {BOXED!r} need the bounds of the input: LRP(model, {BOXED!r}, low=..., high=...), the "
                "smallest and largest value that preprocessing can give, numbers or one per channel."
            )
        return {CONVOLUTION: Gamma(), DENSE: Epsilon(), f"first {CONVOLUTION}": ZBox(low, high)}
    if low is not None or high is not None:
        raise ValueError(f"low and high belong to the rules {BOXED!r}. Received: rules={rules!r}")
    if isinstance(rules, str):
        if rules not in PRESETS:
            names = ", ".join(map(repr, [*PRESETS, BOXED]))
            raise ValueError(f"rules is one of {names}, or a table of rules. Received: {rules!r}")
        return PRESETS[rules]
    if not isinstance(rules, Mapping) or not rules or not all(map(callable, rules.values())):
        raise TypeError(
            "rules is the name of a preset or a table such as {'convolution': tfs.rules.ZPlus(), 'dense': "
            f"tfs.rules.Epsilon()}}. Received: {rules!r}"
        )
    return rules


def chosen_rules(table: Table, steps: list[Step], layers: set[str]) -> dict[str, Callable]:
    """For each affine map its rule, by the name of its step.

    The most special entry of the table counts: the name of a layer, then a position (``"first convolution"``,
    ``"first"``, ``"last"``), then the type of an operation, then the kind of map.

    Args:
        table: what the user chose.
        steps: the network.
        layers: the names of the layers of the model.

    Raises:
        ValueError: a map without a rule, or an entry that is about nothing in this network.
    """
    maps = [step for step in steps if isinstance(step, Affine)]
    first = _outermost(steps, lambda step: (step.sources, step.results))
    last = _outermost(steps[::-1], lambda step: (step.results, step.sources))
    used = set()
    rules = {}
    for step in maps:
        selectors = [
            *_layer_names(step, layers),
            *(
                each
                for end, names in (("first", first), ("last", last))
                if step.name in names
                for each in (f"{end} {step.type}", end)
            ),
            *(each for each in step.operations if each in HEADS),
            step.type,
        ]
        found = next((each for each in selectors if each in table), None)
        used |= {each for each in selectors if each in table}
        if found is None and step.type != NORMALIZATION:
            raise ValueError(
                f"The table of rules has none for the {step.type} map {step.name!r} ({', '.join(step.operations)}). "
                f"Add {step.type!r}, or the name of its layer. The table has: {', '.join(table)}"
            )
        rules[step.name] = Pass() if found is None else table[found]
    unknown = [each for each in table if each not in used and not _is_general(each)]
    if unknown:
        raise ValueError(
            f"No layer with weights is called {unknown[0]!r}. An entry is 'convolution', 'dense', 'normalization', "
            "'first', 'last', 'first convolution' and so on, the type of a TensorFlow operation, or one of the layers "
            f"{sorted({name for step in maps for name in _layer_names(step, layers)})}"
        )
    return rules


def _is_general(selector: str) -> bool:
    """Whether an entry may be about nothing: a table is for many networks."""
    words = selector.split()
    if words[0] in ("first", "last"):
        words = words[1:]
    return not words or words in ([CONVOLUTION], [DENSE], [NORMALIZATION]) or selector[0].isupper()


def _layer_names(step: Affine, layers: set[str]) -> list[str]:
    """The layers that an affine map lies in, the innermost first."""
    names = []
    for name in step.names:
        for part in reversed(name.split("/")[:-1]):
            # A second call of a layer is called dense_1 in the trace, if no layer has that name.
            base = part if part in layers else part.rpartition("_")[0]
            if base in layers and base not in names:
                names.append(base)
    return names


def _outermost(steps: list[Step], tensors_of: Callable[[Step], tuple[list, list]]) -> set[str]:
    """The maps with weights that the walk meets before any other, on their way.

    Args:
        steps: in the order of the walk.
        tensors_of: the tensors by which the walk comes to a step, and by which it goes on.
    """
    behind: set = set()
    found = set()
    for step in steps:
        before, after = tensors_of(step)
        weighted = isinstance(step, Affine) and step.type != NORMALIZATION
        is_behind = any(tensor.ref() in behind for tensor in before)
        if weighted and not is_behind:
            found.add(step.name)
        if weighted or is_behind:
            behind |= {tensor.ref() for tensor in after}
    return found
