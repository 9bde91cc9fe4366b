"""What the shape of one sample tells."""

from collections.abc import Sequence

FEWEST_PLACES, MOST_STRETCHED = 7, 4


def is_like_a_picture(shape: Sequence[int]) -> bool:
    """Whether it has two axes that are both long, and neither is much longer than the other."""
    if len(shape) != 2:
        return False
    short, long = sorted(shape)
    return short >= FEWEST_PLACES and long <= MOST_STRETCHED * short
