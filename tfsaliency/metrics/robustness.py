"""How much a map changes with what should matter little."""

import dataclasses
import itertools
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf

from tfsaliency.base.options import check_amount, check_count
from tfsaliency.base.structure import flatten, skeleton, unflatten
from tfsaliency.baselines import blurred
from tfsaliency.baselines import mean as mean_fill
from tfsaliency.engine.ask import ask
from tfsaliency.engine.question import Attribution
from tfsaliency.engine.score import Score
from tfsaliency.engine.scorer import Scorer
from tfsaliency.explanation import Explanation
from tfsaliency.metrics.metric import Better, InapplicableError, Measurement, OfExplainer
from tfsaliency.metrics.places import agreement, places_of, with_channels
from tfsaliency.metrics.statistics import quotient
from tfsaliency.metrics.subject import Subject

NO_NUMBERS = (
    "Integers, ids and texts cannot move a little. Received: inputs without floats. Explain pixels or counts as "
    "floats, x.astype('float32')"
)


@dataclass(frozen=True, eq=False)
class MaxSensitivity(OfExplainer):
    """Max-sensitivity: how far a map moves, at most, when the inputs move a little.

    Formula:
        ``max_j ||v(x + u_j) - v(x)|| / ||v(x)||``, over draws ``u`` from the uniform distribution between ``-radius``
        and ``radius`` times the range of each input. The target is kept. Ids, and padding that the model masks, do not
        move, whatever their type.

    A map that is the same for every input is best: it says nothing about whether a map is right.

    Args:
        explainer: what made the map.
        samples: how many draws; one explanation each.
        radius: of the draws, as a share of ``max x - min x`` of each sample.
        seed: of the draws, the same for every sample and method.

    Source:
        Yeh et al. 2019, On the (In)fidelity and Sensitivity of Explanations.

    Example:
        >>> import keras, numpy as np, tfsaliency as tfs
        >>> model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(3)])
        >>> explanation = tfs.Gradient(model).explain(np.eye(6))  # the same map everywhere
        >>> float(tfs.metrics.MaxSensitivity(tfs.Gradient(model)).measure(explanation).values.max())
        0.0
    """

    samples: int = 10
    radius: float = 0.02
    seed: int = 0

    better: ClassVar[Better] = "lower"
    bounds: ClassVar[tuple[float, float]] = (0.0, np.inf)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count("samples", self.samples)
        check_amount("radius", self.radius)
        check_count("seed", self.seed, 0)

    def check(self, explanation: Explanation) -> None:
        if not any(part.dtype.kind == "f" for part in flatten(explanation.inputs)):
            raise InapplicableError(NO_NUMBERS)

    def measure(self, explanation: Explanation, target: Any = None) -> Measurement:
        self.check(explanation)
        subject = Subject(self.explainer.model, explanation, target)
        found = ask(_Moves(subject.model), explanation.inputs, subject.kept)
        moves = [part > 0 for part in flatten(found.result.values)]
        if not any(part.any() for part in moves):
            raise InapplicableError(NO_NUMBERS)

        def map_of(inputs: Any) -> np.ndarray:
            parts = flatten(self.explainer.explain(inputs, subject.kept).values)
            return np.concatenate([part.reshape(len(part), -1).astype("float64") for part in parts], axis=1)

        at_inputs, generator = map_of(explanation.inputs), np.random.default_rng(self.seed)
        size = np.linalg.norm(at_inputs, axis=1)
        moved = []
        for _ in range(self.samples):
            pairs = zip(flatten(explanation.inputs), moves, strict=True)
            near = unflatten(skeleton(explanation.inputs), [self._near(*pair, generator) for pair in pairs])
            moved.append(np.linalg.norm(map_of(near) - at_inputs, axis=1))
        return self._told(quotient(np.max(moved, axis=0), size))

    def _near(self, part: np.ndarray, moves: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        if part.dtype.kind != "f":
            return part
        axes = tuple(range(1, part.ndim))
        low = part.min(axis=axes, keepdims=True, where=moves, initial=np.inf)
        high = part.max(axis=axes, keepdims=True, where=moves, initial=-np.inf)
        draw = generator.uniform(-self.radius, self.radius, part.shape[1:])
        return np.where(moves, part + np.where(moves, high - low, 0) * draw, part).astype(part.dtype)


@dataclass(frozen=True, eq=False)
class _Moves(Scorer):
    """Finds the numbers of the inputs that can move a little: 1 for them, below for ids and for padding.

    Args:
        model: any Keras model.
    """

    wants_scores = False

    def key(self) -> Hashable:
        return _Moves

    def attribute(self, x: Any, score: Score) -> Attribution:
        found = []
        for part, is_read, is_number in zip(tf.nest.flatten(x), score.is_read(x), score.are_numbers, strict=True):
            ones = tf.ones_like(part)
            moves = ones if is_read is None else tf.where(is_read, ones, -ones)
            found.append(moves if is_number else -ones)
        return Attribution(tf.nest.pack_sequence_as(x, found))


@dataclass(frozen=True, eq=False)
class BaselineSensitivity(OfExplainer):
    """Sensitivity to the baseline: how alike the maps from different baselines are.

    Formula:
        The lowest of Spearman's correlations between the maps of any two baselines. ``details["band"]``, ``(N, 2)``, is
        the lowest and the highest. 1 says that the baseline does not matter.

    Baselines that all miss the same thing agree.

    Args:
        explainer: a method with an option ``baseline``.
        baselines: two or more, in the forms of that option; None for zero, a blur and the mean, for pictures.

    Source:
        Sturmfels, Lundberg & Lee 2020, Visualizing the Impact of Feature Attribution Baselines.

    Example:
        >>> import keras, numpy as np, tfsaliency as tfs
        >>> model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(3)])
        >>> explainer = tfs.DeepLIFT(model)
        >>> explanation = explainer.explain(np.random.default_rng(0).normal(size=(2, 6)))
        >>> tfs.metrics.BaselineSensitivity(explainer, [0, 0]).measure(explanation).values
        array([1., 1.])
    """

    baselines: Sequence[Any] | None = None

    bounds: ClassVar[tuple[float, float]] = (-1.0, 1.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.baselines is not None and len(self.baselines) < 2:
            raise ValueError(f"baselines are two or more. Received: {len(self.baselines)}")

    def check(self, explanation: Explanation) -> None:
        options = dataclasses.fields(self.explainer)  # type: ignore[arg-type]
        if not any(each.name == "baseline" for each in options):
            raise InapplicableError(f"{type(self.explainer).__name__} has no option baseline.")
        if self.baselines is None and any(part.ndim != 4 for part in with_channels(explanation)):
            raise InapplicableError("For inputs other than pictures pass baselines=[...], two or more.")

    def measure(self, explanation: Explanation, target: Any = None) -> Measurement:
        self.check(explanation)
        subject = Subject(self.explainer.model, explanation, target)
        baselines = [0, blurred(10), mean_fill()] if self.baselines is None else self.baselines
        asked = [dataclasses.replace(self.explainer, baseline=each) for each in baselines]  # type: ignore[type-var]
        maps = [places_of(each.explain(explanation.inputs, subject.kept)) for each in asked]
        pairs = [agreement(one, other) for one, other in itertools.combinations(maps, 2)]
        band = np.stack([np.min(pairs, axis=0), np.max(pairs, axis=0)], axis=1)
        return self._told(band[:, 0], details={"band": band})
