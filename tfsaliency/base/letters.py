"""Sequences of letters, such as DNA, with a one for the letter of each place."""

from typing import Any

from tfsaliency.base.structure import flatten


def check_letters(name: str, inputs: Any) -> None:
    """Raises where inputs are no sequences of letters.

    Args:
        name: of what needs them.
        inputs: NumPy arrays in the structure of the model's inputs.
    """
    parts = flatten(inputs)
    advice = (
        f"{name} is for sequences of letters, one array (N, L, C) with a one for the letter of each place and zeros "
        "for the others, or zeros alone where no letter is known. Received: "
    )
    if len(parts) != 1 or parts[0].ndim != 3:
        raise ValueError(advice + ", ".join(f"shape {part.shape}" for part in parts))
    (part,) = parts
    if not (((part == 0) | (part == 1)).all() and (part.sum(axis=-1) <= 1).all()):
        raise ValueError(f"{advice}numbers from {part.min():g} to {part.max():g}, up to {part.sum(-1).max():g} a place")
