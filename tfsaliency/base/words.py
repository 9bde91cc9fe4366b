"""Names of tokens, and words that tokens are pieces of."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from tfsaliency.base.structure import names as part_names

# Names a token that is no piece of the text, where nobody named it.
NO_PIECE = "·"


def token_names(tokens: Any, ids: np.ndarray) -> np.ndarray:
    """The name of each token, ``(N, T)``, filled up with ``""``.

    Args:
        tokens: for each sample a list of at most ``T`` names; or a function that returns it for the ids of a sample.
        ids: ``(N, T)``.

    Raises:
        ValueError: there is not one list for each sample, or one is too long.
    """
    named = [tokens(row) for row in ids] if callable(tokens) else list(tokens)
    rows = [[row] if isinstance(row, str) else [str(name) for name in row] for row in named]
    if len(rows) != len(ids) or any(len(row) > ids.shape[1] for row in rows):
        raise ValueError(
            f"tokens holds one list of at most {ids.shape[1]} names for each of {len(ids)} samples. Received: lists of "
            f"{[len(row) for row in rows][:5]}"
        )
    return filled(rows, ids.shape[1])


def filled(rows: Sequence[Sequence[str]], length: int) -> np.ndarray:
    """Lists of names as an array ``(N, length)``, filled up with ``""``."""
    return np.array([[*row, *[""] * (length - len(row))] for row in rows], str).reshape(len(rows), length)


def column_names(names: Any, part: np.ndarray) -> np.ndarray:
    """The names of the columns of a part, ``(F,)``."""
    found = np.array([names] if isinstance(names, str) else list(names), str)
    if part.ndim != 2 or found.shape != part.shape[1:]:
        raise ValueError(
            f"feature_names holds one name for each column of a table. Received: {len(found)} names for inputs of "
            f"shape {part.shape}"
        )
    return found


def for_parts(given: Any, inputs: Any, name: str) -> list[Any]:
    """What a user gives for each part of the inputs, None for some of them."""
    parts = part_names(inputs)
    if isinstance(inputs, dict):
        unknown = sorted(set(given) - set(parts)) if isinstance(given, dict) else [type(given).__name__]
        if unknown:
            raise ValueError(f"{name} is a dict with some of the inputs' names {parts}. Received: {unknown}")
        return [given.get(part) for part in parts]
    if isinstance(inputs, list | tuple):
        if len(given) != len(parts):
            raise ValueError(
                f"{name} holds one entry, or None, for each of {len(parts)} inputs. Received: {len(given)}"
            )
        return list(given)
    return [given]


class Merged(NamedTuple):
    """Words and what is said about them.

    Attributes:
        values: ``(N, W)``, zero where a sample has fewer words.
        words: ``(N, W)``, ``""`` there.
    """

    values: np.ndarray
    words: np.ndarray


def merged(values: np.ndarray, names: np.ndarray | None, texts: Sequence[str], offsets: Any, by_norm: bool) -> Merged:
    """What is said about tokens, about the words of the texts that they are pieces of.

    Args:
        values: of the tokens, ``(N, T)``.
        names: of the tokens, ``(N, T)``, for those that are no piece of a text.
        texts: one for each sample. Words are what white space separates.
        offsets: for each sample the first letter of each token and the one behind its last; an empty span for a token
            that is no piece of the text. Or a function that returns these spans for a text.
        by_norm: whether the values of a word are slopes, of which the norm counts, and not contributions to add up.

    Raises:
        ValueError: there is not one text for each sample, or one span for each of its tokens.
    """
    if callable(offsets):
        offsets = [offsets(text) for text in texts]
    if not len(texts) == len(offsets) == len(values):
        raise ValueError(
            f"by_word takes a text, and spans of its tokens, for each of {len(values)} samples. Received: {len(texts)} "
            f"texts and spans for {len(offsets)}"
        )
    rows: list[tuple[list[str], list[float]]] = []
    for place, (text, spans) in enumerate(zip(texts, offsets, strict=True)):
        if len(spans) > values.shape[1]:
            raise ValueError(f"Sample {place} has {values.shape[1]} tokens. Received: {len(spans)} spans")
        words = [_word(text, start, end) for start, end in spans]
        # A token that is no piece belongs to itself alone.
        starts = [0, *(i for i in range(1, len(words)) if words[i] is None or words[i] != words[i - 1]), len(words)]
        groups = [(first, last) for first, last in pairwise(starts) if first < last]
        named = [_name(text, words[first], None if names is None else names[place, first]) for first, last in groups]
        parts = [values[place, first:last].astype("float64") for first, last in groups]
        summed = [float(np.sqrt(np.square(part).sum()) if by_norm else part.sum()) for part in parts]
        # What is behind the last span is padding, which may still have been read.
        rest = values[place, len(spans) :]
        if rest.any():
            named, summed = [*named, NO_PIECE], [*summed, float(np.linalg.norm(rest) if by_norm else rest.sum())]
        rows.append((named, summed))
    length = max(len(named) for named, _ in rows)
    numbers = [[*summed, *[0.0] * (length - len(summed))] for _, summed in rows]
    return Merged(np.array(numbers, "float32"), filled([named for named, _ in rows], length))


def _word(text: str, start: int, end: int) -> tuple[int, int] | None:
    """The word that a piece of a text lies in, from its first letter to the one behind its last."""
    while start < end and text[start : start + 1].isspace():
        # Some tokenizers count the space in front to the piece.
        start += 1
    if start >= end:
        return None
    first = max((place + 1 for place in range(start) if text[place].isspace()), default=0)
    last = next((place for place in range(start, len(text)) if text[place].isspace()), len(text))
    return first, last


def _name(text: str, word: tuple[int, int] | None, name: str | None) -> str:
    return (name or NO_PIECE) if word is None else text[slice(*word)]
