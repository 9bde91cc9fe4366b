"""Texts about a sample."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tfsaliency.plot.record import Record


def title_text(explanation: Record, sample: int, labels: Sequence[str] | None) -> str:
    """The title above a picture: ``espresso: 10.42``, or ``espresso, not cup: 1.3`` for a contrast."""
    return as_written(_title(explanation, sample, labels))


def as_written(text: str) -> str:
    """A text for Matplotlib, which would set what is between two dollar signs as a formula, or fail to."""
    return text.replace("$", r"\$")


def _title(explanation: Record, sample: int, labels: Sequence[str] | None) -> str:
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


def target_texts(explanations: Sequence[Record], sample: int, labels: Sequence[str] | None) -> list[str]:
    """The target of each explanation, in words that differ where one class is explained at several places."""
    texts = [target_text(each, sample, labels) for each in explanations]
    asked = [str(each.provenance.get("target")) for each in explanations]
    targets: dict[tuple[Any, ...], set[Any]] = {}
    for each, text, target in zip(explanations, texts, asked, strict=True):
        model, place = each.provenance.get("fingerprint"), each.diagnostics.get("position")
        # Several methods may be asked about one class in several ways: as the top one, or by its number.
        targets.setdefault((text, each.method, model), set()).add(target)
        targets.setdefault((text, "", model), set()).add(None if place is None else float(place[sample]))
    ambiguous = {text for (text, *_), differing in targets.items() if len(differing) > 1}
    return [f"{text}: {target}" if text in ambiguous else text for text, target in zip(texts, asked, strict=True)]


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
