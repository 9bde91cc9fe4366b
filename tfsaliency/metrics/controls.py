"""Maps without knowledge of the model or the question. A method that does not beat them has shown nothing."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from tfsaliency.base.structure import flatten, skeleton, unflatten
from tfsaliency.engine.scorer import Choice, Chosen
from tfsaliency.explainer import Explainer
from tfsaliency.explanation import Explanation
from tfsaliency.metrics.places import Places, places_of, with_channels
from tfsaliency.target.classes import ClassTarget
from tfsaliency.target.contrasts import contrast

# The standard deviation of the Gaussian in the centre, in parts of each axis.
WIDTH = 0.25


def controls_of(
    explanations: Sequence[Explanation], explainer: Explainer, chosen: Chosen, seed: int
) -> dict[str, Explanation]:
    """Control maps for the inputs of some explanations, by their names.

    Args:
        explanations: what is compared; the maps of another sample and another class and the inverse are made of the
            first.
        explainer: the one that made the first.
        chosen: what is explained.
        seed: of the random maps.
    """
    first, places = explanations[0], [places_of(each) for each in explanations]
    # A stream of its own: many inputs are drawn with the seed 0 too.
    generator = np.random.default_rng([seed, *b"controls"])
    relevance, present, shapes = places[0].relevance, places[0].present, places[0].shapes
    made: dict[str, np.ndarray | None] = {
        "random": generator.normal(size=relevance.shape),
        "random, as smooth": _as_smooth(first, places, generator),
        "centre": _centre(first, places[0]),
        "edges": _edges(first, shapes),
        "another sample's map": np.roll(relevance, 1, axis=0) if len(first) > 1 else None,
        "another class's map": _of_another_class(explainer, first, chosen),
        "the inverse map": -relevance,
    }
    return {
        name: _with(first, places[0], np.where(present, per_place, 0.0), name)
        for name, per_place in made.items()
        if per_place is not None
    }


def _with(explanation: Explanation, places: Places, per_place: np.ndarray, name: str) -> Explanation:
    """An explanation with one number for each place."""
    parts = zip(places.parts(per_place), flatten(explanation.values), strict=True)
    # One channel where there may be several.
    forms = [(part, of.shape if part.size == of.size else (*part.shape, 1)) for part, of in parts]
    values = [part.reshape(shape).astype("float32") for part, shape in forms]
    return dataclasses.replace(
        explanation, values=unflatten(skeleton(explanation.values), values), method=name, meaning="signed"
    )


def _has_space(explanation: Explanation) -> bool:
    """Whether neighbouring places belong together in all parts: the columns of a table have no neighbours."""
    return all(part.ndim > 2 for part in flatten(explanation.values))


def _as_smooth(first: Explanation, places: Sequence[Places], generator: np.random.Generator) -> np.ndarray | None:
    """Noise with the mean autocorrelation of the maps that are compared."""
    if not _has_space(first):
        return None
    made = []
    for part, shape in enumerate(places[0].shapes):
        axes = tuple(range(1, len(shape) + 1))
        power = np.zeros(shape)
        for each in places:
            maps = each.parts(each.relevance)[part]
            spectrum = np.abs(np.fft.fftn(maps - maps.mean(axis=axes, keepdims=True), axes=axes)) ** 2
            total = spectrum.sum(axis=axes, keepdims=True)
            power += np.divide(spectrum, total, out=np.zeros_like(spectrum), where=total > 0).mean(axis=0)
        noise = np.fft.fftn(generator.normal(size=(len(first), *shape)), axes=axes)
        made.append(np.fft.ifftn(noise * np.sqrt(power), axes=axes).real.reshape(len(first), -1))
    return np.concatenate(made, axis=1)


def _centre(first: Explanation, places: Places) -> np.ndarray | None:
    """A Gaussian in the centre of each part."""
    if not _has_space(first):
        return None
    made = []
    for shape in places.shapes:
        away = [((np.arange(size) - (size - 1) / 2) / (WIDTH * size)) ** 2 for size in shape]
        made.append(np.exp(-sum(np.meshgrid(*away, indexing="ij")) / 2).reshape(-1))
    return np.tile(np.concatenate(made), (len(first), 1))


def _edges(first: Explanation, shapes: Sequence[tuple[int, ...]]) -> np.ndarray | None:
    """The length of the Sobel gradient of each picture, the mean of its channels."""
    pictures = with_channels(first)
    if any(len(shape) != 2 or part.ndim != 4 for shape, part in zip(shapes, pictures, strict=True)):
        return None
    made = []
    for part in pictures:
        grey = part.mean(axis=-1, dtype="float64")
        made.append([np.hypot(cv2.Sobel(each, -1, 1, 0), cv2.Sobel(each, -1, 0, 1)).reshape(-1) for each in grey])
    return np.concatenate(made, axis=1)


def _of_another_class(explainer: Explainer, first: Explanation, chosen: Chosen) -> np.ndarray | None:
    """The same method's map of the best other class."""
    other = other_class(explainer.model, first.inputs, chosen)
    return None if other is None else places_of(explainer.explain(first.inputs, other)).relevance


def other_class(model: Any, inputs: Any, chosen: Chosen) -> Any:
    """``(N,)``: the class of the highest logit beside the one that is explained; None where no class is."""
    classes = classes_of(chosen)
    if classes is None:
        return None
    shape = flatten(chosen.logits.values)[0].shape
    if shape.rank == 1 or shape[-1] == 1:
        return 1 - classes if chosen.target.has_probabilities else None
    return Choice(model).chosen(inputs, contrast(winner=classes)).target.chosen["foil"]


def classes_of(chosen: Chosen) -> np.ndarray | None:
    """``(N,)``: the classes that are explained; None where something else is."""
    kept = chosen.target
    return kept.chosen.get("class") if isinstance(kept.target, ClassTarget) else None
