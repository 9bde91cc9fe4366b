"""What the values of an explanation mean. A method declares it; pictures and reports follow it."""

from typing import Any, Literal, get_args

import numpy as np

from tfsaliency.base.options import check_choice
from tfsaliency.base.structure import flatten

# signed: positive numbers speak for the target, negative ones against it. Channels are summed.
# magnitude: how much a number matters, never negative. The largest channel counts.
# places: how much each place speaks for the target, never negative, one number per place.
# painting: the values are pictures themselves, inputs of the model.
Meaning = Literal["signed", "magnitude", "places", "painting"]
NEVER_NEGATIVE = ("magnitude", "places")

# Negative numbers smaller than this share of the largest are rounding.
ROUNDING = 1e-5


def check_meaning(meaning: str, values: Any) -> None:
    """Raises ValueError for an unknown meaning, or negative values that contradict it."""
    check_choice("meaning", meaning, get_args(Meaning))
    if meaning not in NEVER_NEGATIVE:
        return
    for part in flatten(values):
        low, high = (float(extreme(part)) for extreme in (np.min, np.max))
        if low < -ROUNDING * max(-low, high):
            raise ValueError(
                f"Values that mean {meaning!r} are never negative. Received: {low:g}. A method whose values are of "
                "either sign has the meaning 'signed'; a transform that makes them so says it: "
                "transform.meaning = 'signed'."
            )
