"""What a trace shows about the signs of tensors."""

from typing import Any

from tfsaliency.graph.operations import KEEP_SIGN, NOT_NEGATIVE
from tfsaliency.graph.step import Step


def never_negative(steps: list[Step]) -> set[Any]:
    """The traced tensors, as ``ref()``, that cannot be negative."""
    found: set[Any] = set()
    for step in steps:
        read = [source for source in step.sources if source.dtype.is_floating]
        is_square = step.type == "Mul" and len({each.ref() for each in step.results[0].op.inputs}) == 1
        keeps = step.type in KEEP_SIGN and all(source.ref() in found for source in read)
        if step.type in NOT_NEGATIVE or is_square or keeps:
            found |= {result.ref() for result in step.results}
    return found
