"""Texts about a sample."""

from collections.abc import Sequence

from tfsaliency.plot.record import Record


def title_text(explanation: Record, sample: int, labels: Sequence[str] | None) -> str:
    """The title above a picture: ``espresso: 10.42``, or ``espresso, not cup: 1.3`` for a contrast."""
    score = f"{explanation.scores[sample]:.2f}"
    if explanation.target is None:
        return f"score {score}"
    target = int(explanation.target[sample])
    foil = explanation.diagnostics.get("foil")
    against = "" if foil is None else f", not {_name(int(foil[sample]), labels)}"
    return f"{_name(target, labels)}{against}: {score}"


def target_text(explanation: Record, sample: int, labels: Sequence[str] | None) -> str:
    """The target: ``967 espresso``, or the name of the target's function if no class was explained."""
    if explanation.target is None:
        return str(explanation.provenance.get("target", "a function of the logits"))
    target = int(explanation.target[sample])
    foil = explanation.diagnostics.get("foil")
    against = "" if foil is None else f", not {int(foil[sample])} {_label(int(foil[sample]), labels)}".rstrip()
    return f"{target} {_label(target, labels)}".rstrip() + against


def diagnostics_of(explanation: Record, sample: int) -> dict[str, str]:
    """Each diagnostic of a sample, and the layer of its map."""
    numbers = {name: f"{values[sample]:.3g}" for name, values in explanation.diagnostics.items()}
    layer = explanation.provenance.get("layer")
    return {**numbers, "layer": layer} if layer else numbers


def _name(target: int, labels: Sequence[str] | None) -> str:
    return _label(target, labels) or f"class {target}"


def _label(target: int, labels: Sequence[str] | None) -> str:
    return labels[target] if labels is not None and target < len(labels) else ""
