"""Texts about a sample."""

from collections.abc import Sequence

import numpy as np

from tfsaliency.plot.record import Record


def title_text(explanation: Record, sample: int, labels: Sequence[str] | None) -> str:
    """The title above a picture: ``espresso: 10.42``, or ``espresso, not cup: 1.3`` for a contrast."""
    score = f"{explanation.scores[sample]:.2f}"
    if explanation.target is None:
        return f"score {score}"
    against = _foil(explanation, sample)
    foil = "" if against is None else f", not {_name(against, labels)}"
    return f"{_name(int(explanation.target[sample]), labels)}{foil}: {score}"


def target_text(explanation: Record, sample: int, labels: Sequence[str] | None) -> str:
    """The target: ``967 espresso``, or the name of the target's function if no class was explained."""
    if explanation.target is None:
        return str(explanation.provenance.get("target", "a function of the logits"))
    against = _foil(explanation, sample)
    classes = [int(explanation.target[sample])] + ([] if against is None else [against])
    return ", not ".join(f"{each} {_label(each, labels)}".rstrip() for each in classes)


def _foil(explanation: Record, sample: int) -> int | None:
    """The class that a contrast compares with."""
    foil = explanation.diagnostics.get("foil")
    return None if foil is None or np.isnan(foil[sample]) else int(foil[sample])


def diagnostics_of(explanation: Record, sample: int) -> dict[str, str]:
    """Each diagnostic of a sample, and the layer of its map."""
    numbers = {name: f"{values[sample]:.3g}" for name, values in explanation.diagnostics.items()}
    layer = explanation.provenance.get("layer")
    return {**numbers, "layer": layer} if layer else numbers


def _name(target: int, labels: Sequence[str] | None) -> str:
    return _label(target, labels) or f"class {target}"


def _label(target: int, labels: Sequence[str] | None) -> str:
    return labels[target] if labels is not None and target < len(labels) else ""
