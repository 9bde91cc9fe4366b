"""Explanations of several targets, put together."""

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tfsaliency.base.structure import map_parts

if TYPE_CHECKING:
    from tfsaliency.explanation.explanation import Explanation


def stacked(explanations: "Sequence[Explanation]", target: str) -> "Explanation":
    """Explanations of the same inputs by one method for several targets, as one; see `Explanation.each`."""
    first = explanations[0]
    targets = [each.target for each in explanations if each.target is not None]
    without = np.full(len(first), np.nan)
    diagnostics = {
        name: np.stack([each.diagnostics.get(name, without) for each in explanations], axis=1)
        for name in dict.fromkeys(name for each in explanations for name in each.diagnostics)
    }
    names = [str(each.provenance["target"]) for each in explanations]
    seconds = sum(each.provenance.get("seconds", 0.0) for each in explanations)
    return dataclasses.replace(
        first,
        values=map_parts(lambda *parts: np.stack(parts, axis=1), *(each.values for each in explanations)),
        scores=np.stack([each.scores for each in explanations], axis=1),
        target=np.stack(targets, axis=1) if len(targets) == len(explanations) else None,
        diagnostics=diagnostics,
        provenance={**first.provenance, "target": target, "targets": names, "seconds": seconds},
    )
