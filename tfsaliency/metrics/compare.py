"""Several methods on the same samples, with the same metrics, masks, fills and controls."""

import dataclasses
import os
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from tqdm import tqdm

from tfsaliency.base.options import check_count
from tfsaliency.baselines import Made, blurred
from tfsaliency.baselines import mean as mean_fill
from tfsaliency.engine.scorer import Choice, Chosen
from tfsaliency.explainer import Explainer
from tfsaliency.explanation import Explanation
from tfsaliency.metrics.comparison import Comparison, check_npz
from tfsaliency.metrics.controls import controls_of
from tfsaliency.metrics.metric import InapplicableError, Metric, OfExplainer, subject_of
from tfsaliency.metrics.places import with_channels
from tfsaliency.metrics.removal import Deletion, Insertion
from tfsaliency.metrics.subsets import MuFidelity
from tfsaliency.metrics.tokens import Comprehensiveness, Sufficiency
from tfsaliency.model.identity import as_json, differences, identity
from tfsaliency.target.base import Several

# The blur of the default fill of pictures has this share of their height for its standard deviation.
BLUR = 0.05


def compare(
    explainers: Sequence[Explainer] | Mapping[str, Explainer],
    inputs: Any,
    target: Any = None,
    metrics: Sequence[Metric | type[Metric]] | None = None,
    *,
    controls: bool = True,
    draws: int = 10_000,
    seed: int = 0,
    path: str | os.PathLike[str] | None = None,
    progress: bool = False,
) -> Comparison:
    """Measures several methods on the same samples and says which can be told apart, from each other and from nothing.

    The target is chosen once. Controls are maps that know nothing of the model or of the question: noise, noise as
    smooth as the maps, a spot in the centre, the edges of a picture, the first method's map of another sample and of
    another class, and its inverse. A method that does not beat them has shown nothing, whatever its number is.

    Args:
        explainers: of one model, in a list, or in a dict by the names that the table shows.
        inputs: what is explained, batch first. Intervals need 20 samples or more to be of use.
        target: what is explained; see ``explain``.
        metrics: metrics, or their classes for default options. One about an explainer is asked about each in turn.
            None for `Deletion`, `Insertion` and `MuFidelity`, for pictures with a blurred and a mean fill, and for
            texts with `Comprehensiveness` and `Sufficiency`.
        controls: whether the controls are measured too.
        draws: how often samples are drawn with replacement for an interval.
        seed: of the random controls and of these draws.
        path: a file ``.npz`` that is written after each metric. If it is there, of the same comparison, what it holds
            is not measured again. All options, arrays and functions are compared; a model by 64 numbers of each weight.
        progress: draws a progress bar.

    Raises:
        ValueError: the explainers are of several models, two have one name, there is none, or the file is of another
            comparison.

    Example:
        >>> import keras, numpy as np, tfsaliency as tfs
        >>> keras.utils.set_random_seed(0)
        >>> model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(8, "tanh"), keras.layers.Dense(3)])
        >>> x = np.random.default_rng(0).normal(size=(25, 6))
        >>> table = tfs.metrics.compare([tfs.Gradient(model), tfs.DeepLIFT(model)], x, metrics=[tfs.metrics.MuFidelity])
        >>> column = table.columns[0]
        >>> table.methods[column.best], column.fails[column.best]  # controls that the best does not beat
        ('DeepLIFT', [])
    """
    check_count("draws", draws, 100)
    check_count("seed", seed, 0)
    named = _named(explainers)
    if isinstance(metrics, Metric | type | str):
        raise _no_metrics(metrics)
    if isinstance(target, Several):
        raise ValueError("compare explains one target. Received: target.each. Compare once for each of them.")
    model = next(iter(named.values())).model
    chosen = Choice(model).chosen(inputs, target)
    made = {name: each.explain(inputs, chosen.target) for name, each in _bar(named.items(), "explaining", progress)}
    seconds = np.array([each.provenance["seconds"] for each in made.values()])
    (first, *_), (explainer, *_) = made.values(), named.values()
    maps = {**made, **(controls_of(list(made.values()), explainer, chosen, seed) if controls else {})}
    asked = [_bound(metric, explainer) for metric in (_defaults(model, first) if metrics is None else metrics)]
    provenance = _provenance(first, chosen)
    if path is not None:
        provenance["asked"] = _record(
            methods=named, inputs=first.inputs, target=target, metrics=asked, controls=controls, seed=seed
        )
    table = Comparison(
        methods=tuple(named),
        controls=tuple(maps)[len(named) :],
        metrics=tuple(map(str, asked)),
        better=tuple(metric.better for metric in asked),
        values=np.full((len(maps), len(asked), len(first)), np.nan),
        seconds=seconds,
        draws=draws,
        seed=seed,
        provenance=provenance,
    )
    values, done = table.values, _known(path, table)
    for number, metric in _bar(list(enumerate(asked)), "measuring", progress):
        if number in done:
            values[:, number] = done[number]
            continue
        values[:, number] = _measured(metric, maps, named, chosen)
        if path is not None:
            finished = dict(table.provenance) | {"measured": [*range(number + 1)]}
            dataclasses.replace(table, provenance=finished).save(path)
    return table


def _bar(items: Any, text: str, progress: bool) -> Any:
    return tqdm(items, desc=text, disable=not progress)


def _named(explainers: Sequence[Explainer] | Mapping[str, Explainer]) -> dict[str, Explainer]:
    if isinstance(explainers, Mapping):
        named = dict(explainers)
    elif not isinstance(explainers, Sequence):
        raise ValueError(f"compare takes a list or a dict of explainers. Received: {explainers!r}")
    else:
        texts = [str(each) for each in explainers]
        short = [type(each).__name__ for each in explainers]
        names = short if len(set(short)) == len(short) else texts
        if len(set(names)) < len(names):
            raise ValueError(f"Two explainers have one name; pass a dict with a name for each. Received: {names}")
        named = dict(zip(names, explainers, strict=True))
    if not named or not all(isinstance(each, Explainer) for each in named.values()):
        raise ValueError(f"compare takes explainers, at least one. Received: {explainers!r}")
    model = next(iter(named.values())).model
    if any(each.model is not model for each in named.values()):
        raise ValueError(
            "compare explains one model. Received: explainers of several. Make all of them of the same object; a "
            "function is made into a model once: model = tfs.as_model(function)."
        )
    return named


def _defaults(model: Any, first: Explanation) -> Sequence[Metric | type[Metric]]:
    parts = with_channels(first)
    if all(part.ndim == 4 for part in parts):
        fills = [blur_for(parts[0].shape[1]), mean_fill()]
        return [metric(model, fill) for fill in fills for metric in (Deletion, Insertion, MuFidelity)]
    texts = [Comprehensiveness, Sufficiency] if first.tokens is not None else []
    return [Deletion, Insertion, MuFidelity, *texts]


def blur_for(height: int) -> Made:
    """The blur that hides the places of pictures of such a height, as a fill.

    Args:
        height: of the pictures, in pixels; the standard deviation is a twentieth of it, at least 1.

    Example:
        >>> import tfsaliency as tfs
        >>> tfs.metrics.blur_for(224)
        blurred(11.2)
    """
    return blurred(max(1.0, BLUR * height))


def _no_metrics(received: Any) -> TypeError:
    return TypeError(f"metrics is a list of metrics, as [tfs.metrics.Deletion]. Received: {received!r}")


def _bound(metric: Metric | type[Metric], explainer: Explainer) -> Metric:
    """A metric of this model, or of this explainer."""
    if not isinstance(metric, Metric) and not (isinstance(metric, type) and issubclass(metric, Metric)):
        raise _no_metrics(metric)
    given = subject_of(metric, explainer)
    return metric(**given) if isinstance(metric, type) else dataclasses.replace(metric, **given)


def _measured(
    metric: Metric, maps: Mapping[str, Explanation], explainers: Mapping[str, Explainer], chosen: Chosen
) -> np.ndarray:
    """``(R, N)``: a row for each map; NaN where the metric says nothing about it."""
    of_explainer = isinstance(metric, OfExplainer)
    told = [name for name in maps if (name in explainers or not of_explainer) and _applies(metric, maps[name])]
    found, order = np.full((len(maps), len(chosen.scores)), np.nan), list(maps)
    try:
        if of_explainer:
            measured = [_bound(metric, explainers[name]).measure(maps[name], chosen.target) for name in told]
        else:
            measured = metric.measure_each([maps[name] for name in told], chosen.target) if told else []
    except InapplicableError as error:
        # It depends on the model or the target, so it holds for all maps.
        warnings.warn(f"{metric} says nothing here: {error}", stacklevel=3)
        return found
    for name, each in zip(told, measured, strict=True):
        found[order.index(name)] = each.values
    return found


def _applies(metric: Metric, explanation: Explanation) -> bool:
    try:
        metric.check(explanation)
    except InapplicableError:
        return False
    return True


def _provenance(first: Explanation, chosen: Chosen) -> dict[str, Any]:
    told = {name: each for name, each in first.provenance.items() if name not in ("seconds", "layer", "cautions")}
    return told | {"scores": [round(float(score), 4) for score in chosen.scores]}


def _record(**asked: Any) -> dict[str, Any]:
    """What was compared, as data: methods and metrics with all their options, inputs, target and controls."""
    record: dict[str, Any] = as_json(identity(asked))
    return record


def _known(path: str | os.PathLike[str] | None, table: Comparison) -> dict[int, np.ndarray]:
    """What a file of the same comparison already holds, by the number of the metric."""
    if path is None or not check_npz(path).exists():
        return {}
    known = Comparison.load(path)
    before, now = known.provenance.get("asked"), table.provenance["asked"]
    if before != now:
        raise ValueError(
            f"{path} holds another comparison: {differences(before or {}, now)}. Pass another path, or remove the file."
        )
    if known.provenance["scores"] != table.provenance["scores"]:
        raise ValueError(f"{path} holds another comparison: the model gives other scores. Pass another path.")
    return {number: known.values[:, number] for number in known.provenance.get("measured", [])}
