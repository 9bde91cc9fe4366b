"""What the values of an explanation mean. A method declares it; pictures and reports follow it."""

from typing import Any, Literal, get_args

import numpy as np

from tfsaliency.base.options import check_choice
from tfsaliency.base.structure import flatten, skeleton, unflatten

# signed: positive numbers speak for the target, negative ones against it. Channels are summed.
# magnitude: how much a number matters, never negative. The largest channel counts.
# places: how much each place speaks for the target, never negative, one number per place.
# painting: the values are pictures themselves, inputs of the model.
Meaning = Literal["signed", "magnitude", "places", "painting"]
NEVER_NEGATIVE = ("magnitude", "places")

# Negative numbers smaller than this share of the largest are rounding.
ROUNDING = 1e-5


def meanings_of(meaning: Any, values: Any) -> list[Meaning]:
    """The meaning of each part of the values.

    Args:
        meaning: one for all parts, or one for each in the structure of the values.
        values: in the structure of the inputs.
    """
    parts: list[Meaning] = flatten(meaning)
    return parts * len(flatten(values)) if isinstance(meaning, str) else parts


def joint_meaning(meaning: Any, values: Any) -> Any:
    """One meaning for all parts of the values where they agree, else one for each in their structure.

    Args:
        meaning: one for all parts, or one for each, in the order of the values.
        values: in the structure of the inputs.
    """
    meanings = flatten(meaning)
    return meanings[0] if len(set(meanings)) == 1 else unflatten(skeleton(values), meanings)


def check_meaning(meaning: Any, values: Any) -> None:
    """Raises ValueError for an unknown meaning, or negative values that contradict it."""
    for each, part in zip(meanings_of(meaning, values), flatten(values), strict=True):
        check_choice("meaning", each, get_args(Meaning))
        if each not in NEVER_NEGATIVE:
            continue
        low, high = (float(extreme(part)) for extreme in (np.min, np.max))
        if low < -ROUNDING * max(-low, high):
            raise ValueError(
                f"Values that mean {each!r} are never negative. Received: {low:g}. A method whose values are of "
                "either sign has the meaning 'signed'; a transform that makes them so says it: "
                "transform.meaning = 'signed'."
            )
