"""The places that an explanation is about, and how relevant it says that each is."""

from typing import Any, NamedTuple

import numpy as np

from tfsaliency.base.structure import flatten, optional_parts, part_names, skeleton, unflatten
from tfsaliency.explanation import Explanation
from tfsaliency.metrics.metric import InapplicableError
from tfsaliency.metrics.statistics import rank_correlation


class Places(NamedTuple):
    """Pixels, time steps, columns or tokens: those of all parts of the inputs, one after the other.

    Attributes:
        relevance: ``(N, P)`` float64. Channels are summed where values are signed; else the largest counts.
        present: ``(N, P)``, False for what fills up short texts, and for a part of which nothing is explained.
        shapes: the axes of the places of each part.
        is_of_inputs: whether they are all places of the inputs, and not words or a coarser map.
    """

    relevance: np.ndarray
    present: np.ndarray
    shapes: tuple[tuple[int, ...], ...]
    is_of_inputs: bool

    def parts(self, per_place: np.ndarray) -> list[np.ndarray]:
        """Numbers ``(..., P)``, for each part ``(..., *places)``."""
        ends = np.cumsum([int(np.prod(shape)) for shape in self.shapes])[:-1]
        pairs = zip(np.split(per_place, ends, axis=-1), self.shapes, strict=True)
        return [part.reshape(*part.shape[:-1], *shape) for part, shape in pairs]

    @property
    def ranks(self) -> np.ndarray:
        """``(N, P)``: 0 for the most relevant place, in a fixed random order among equals, and what is absent last.

        The order among equals is the same for every map, so that no corner of a picture is preferred.
        """
        equals = np.random.default_rng(0).permutation(self.relevance.shape[1])
        falling = np.where(self.present, -self.relevance, np.inf)
        # A stable sort leaves equals in their order.
        first = equals[np.argsort(falling[:, equals], axis=1, kind="stable")]
        ranks = np.empty_like(first)
        np.put_along_axis(ranks, first, np.arange(len(equals))[None], axis=1)
        return ranks

    @property
    def least_first(self) -> np.ndarray:
        """``(N, P)``: the same from the other end, with what is absent last too."""
        ranks, count = self.ranks, self.present.sum(axis=1, keepdims=True)
        return np.where(self.present, count - 1 - ranks, ranks)


def agreement(first: Places, second: Places) -> np.ndarray:
    """``(N,)``: Spearman's correlation of two maps, over the places that are no padding for both."""
    is_padding = ~first.present & ~second.present
    return rank_correlation(*(np.where(is_padding, np.nan, each.relevance) for each in (first, second)))


def with_channels(explanation: Explanation) -> list[np.ndarray]:
    """The parts of the inputs; grey pictures without an axis of channels get one."""
    parts = zip(flatten(explanation.inputs), _kinds(explanation), strict=True)
    return [_with_channels(part, "grey" in kinds) for part, kinds in parts]


def _with_channels(part: np.ndarray, is_grey: bool) -> np.ndarray:
    return part[..., None] if is_grey and part.ndim == 3 else part


def pictures_of(explanation: Explanation, why: str, kinds: str = "biuf") -> np.ndarray:
    """The inputs, where they are pictures, ``(N, height, width, channels)``.

    Args:
        explanation: of them.
        why: the message where they are not.
        kinds: the kinds of numbers that will do.

    Raises:
        InapplicableError: they are anything else.
    """
    first, *others = with_channels(explanation)
    if others or first.ndim != 4 or first.dtype.kind not in kinds:
        raise InapplicableError(why)
    return np.asarray(first)


def as_passed(pictures: np.ndarray, explanation: Explanation) -> Any:
    """Other pictures ``(M, height, width, channels)`` in the form of the inputs of an explanation."""
    (part,) = flatten(explanation.inputs)
    return unflatten(skeleton(explanation.inputs), [pictures.reshape(-1, *part.shape[1:])])


def _kinds(explanation: Explanation) -> list[set[str]]:
    """For each part of the inputs the kinds that the record counts it to."""
    counted = {kind: explanation.provenance.get(kind, ()) for kind in ("grey", "held", "ids", "padded")}
    names = part_names(explanation.values)
    return [{kind for kind, parts in counted.items() if name in parts} for name in names]


def places_of(explanation: Explanation) -> Places:
    """The places of an explanation.

    Raises:
        ValueError: it is none, it explains several targets, or its values are pictures.
    """
    if not isinstance(explanation, Explanation):
        raise ValueError(
            "A metric measures an explanation, and measure_each a list of them: metric.measure(explainer.explain(x)). "
            f"Received: {type(explanation).__name__}"
        )
    if explanation.has_several:
        raise ValueError(
            "A metric measures the map of one target. Received: an explanation of several. Measure each one: "
            "[metric.measure(one) for one in explanation.each()]"
        )
    if explanation.meaning == "painting":
        raise InapplicableError(f"Values that are pictures say nothing about places. Received: {explanation.method}")
    values, inputs = flatten(explanation.values), flatten(explanation.inputs)
    tokens = optional_parts(explanation.tokens, explanation.values)
    relevance, present, shapes = [], [], []
    is_of_inputs = not explanation.provenance.get("by_word")
    parts = zip(values, inputs, tokens, _kinds(explanation), explanation.meanings, strict=True)
    for part, given, words, kinds, meaning in parts:
        part, given = (_with_channels(each, "grey" in kinds) for each in (part, given))
        if "ids" in kinds and part.ndim > 2:
            # Each id is a place, also where several are in a row of the input, as letters in words.
            part, given = part[..., None], given[..., None]
        is_of_inputs &= given.dtype.kind == "U" or _grid(part) == _grid(given)
        per_place = _per_place(part, meaning)
        shapes.append(per_place.shape[1:])
        relevance.append(per_place.reshape(len(part), -1))
        is_held, may_be_padded = "held" in kinds, "padded" in kinds
        is_there = np.zeros_like(per_place, bool) if is_held else _present(part, given, words, may_be_padded)
        present.append(is_there.reshape(len(part), -1))
    return Places(np.concatenate(relevance, axis=1), np.concatenate(present, axis=1), tuple(shapes), is_of_inputs)


def _grid(part: np.ndarray) -> tuple[int, ...]:
    """The axes of the places of values or inputs."""
    return part.shape[1:] if part.ndim < 3 else part.shape[1:-1]


def _per_place(part: np.ndarray, meaning: str) -> np.ndarray:
    if part.ndim < 3:
        return part.astype("float64")
    per_place = part.sum(axis=-1, dtype="float64") if meaning == "signed" else np.abs(part).max(axis=-1)
    return np.asarray(per_place, "float64")


def _present(part: np.ndarray, given: np.ndarray, words: Any, may_be_padded: bool) -> np.ndarray:
    """Where there is a token or a step: what fills up rows is alike, at an end of the row, and gets exactly 0."""
    if words is not None and words.shape == part.shape:
        return np.asarray(words != "")
    present: np.ndarray = np.ones(part.shape if part.ndim < 3 else part.shape[:-1], bool)
    if may_be_padded and present.ndim == 2 and given.shape[:2] == part.shape[:2]:
        by_step, told = (each.reshape(*each.shape[:2], -1) for each in (given, part))
        is_zero = (told == 0).all(axis=2)
        for end in (0, -1):
            fills = (by_step == by_step[:, [end]]).all(axis=2) & is_zero & is_zero[:, [end]]
            present &= ~fills
    # A row of nothing else is a row, not padding.
    return np.asarray(present | ~present.any(axis=tuple(range(1, present.ndim)), keepdims=True))
