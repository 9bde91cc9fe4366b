"""Whether a map changes when the network, or the question, is another one."""

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from tfsaliency.base.options import check_choice, check_count
from tfsaliency.engine.compiled import traced
from tfsaliency.engine.inputs import check_inputs
from tfsaliency.engine.question import Attribution
from tfsaliency.engine.score import Score
from tfsaliency.explainer import Wrapper
from tfsaliency.explanation import Explanation
from tfsaliency.methods.gradients import SmoothGrad
from tfsaliency.metrics.controls import other_class
from tfsaliency.metrics.metric import Better, InapplicableError, Measurement, OfExplainer
from tfsaliency.metrics.places import Places, agreement, places_of
from tfsaliency.metrics.statistics import quotient
from tfsaliency.metrics.subject import Subject
from tfsaliency.model.black_box import BlackBox
from tfsaliency.model.keys import same_object
from tfsaliency.model.weights import Weights

Kind = Literal["cascading", "independent", "efficient", "smooth"]
# Of the histogram whose entropy tells how complex a map is.
BINS = 100
# The smooth variant averages so many maps of inputs with noise of this share of their range.
SMOOTH = 50, 0.1


@dataclass(frozen=True, eq=False)
class WithWeights(Wrapper):
    """Another explainer, about the same model with other weights."""

    weights: Weights

    def attribute(self, x: Any, score: Score) -> Attribution:
        score.resolve()
        return self.inner.attribute(x, score.reading(self.weights.instead))

    def key(self) -> Any:
        return WithWeights, self.inner.key(), same_object(self.weights)


@dataclass(frozen=True, eq=False)
class ModelRandomization(OfExplainer):
    """Model randomization: how alike the map stays when the weights of the model become random.

    Formula:
        ``"cascading"``: the mean, over stages, of Spearman's correlation between the map and the map of the model whose
        layers are random from the output down to that stage. ``"independent"``: one layer after the other is random by
        itself. ``"smooth"``: as cascading, of maps averaged over 50 noisy inputs. For these lower is better: a map that
        does not change does not show what the model has learned. ``"efficient"``: ``(H(random) - H(v)) / H(v)``, with
        ``H`` the entropy of the histogram of 100 bins of a map, and all layers random; higher is better.

    ``details["curve"]``, ``(N, stages)``, has the correlation at each stage. A map of pure noise passes: it says
    nothing about whether a map is right. Random weights are drawn from the normal distribution of each array's mean and
    deviation. They are variables of their own: the model is never changed.

    Args:
        explainer: what made the map.
        kind: ``"cascading"``, ``"independent"``, ``"efficient"`` or ``"smooth"``.
        stages: at most so many stages, evenly spread over the layers.
        seed: of the random weights.

    Source:
        Adebayo et al. 2018, Sanity Checks for Saliency Maps; Hedström et al. 2023, Sanity Checks Revisited: An
        Exploration to Repair the Model Parameter Randomisation Test.

    Example:
        >>> import keras, numpy as np, tfsaliency as tfs
        >>> keras.utils.set_random_seed(0)
        >>> model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(8, "tanh"), keras.layers.Dense(3)])
        >>> explanation = tfs.Gradient(model).explain(np.ones((2, 6)))
        >>> tfs.metrics.ModelRandomization(tfs.Gradient(model)).measure(explanation).details["curve"].shape
        (2, 2)
    """

    kind: Kind = "cascading"
    stages: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count("stages", self.stages)
        check_count("seed", self.seed, 0)
        check_choice("kind", self.kind, get_args(Kind))

    @property
    def better(self) -> Better:  # type: ignore[override]
        return "higher" if self.kind == "efficient" else "lower"

    @property
    def bounds(self) -> tuple[float, float]:  # type: ignore[override]
        return (-1.0, np.inf) if self.kind == "efficient" else (-1.0, 1.0)

    def check(self, explanation: Explanation) -> None:
        if isinstance(self.explainer.model, BlackBox):
            raise InapplicableError("A black box shows no weights that could be made random.")

    def measure(self, explanation: Explanation, target: Any = None) -> Measurement:
        self.check(explanation)
        model = self.explainer.model
        subject = Subject(model, explanation, target)
        weights = Weights(model, traced(model, check_inputs(model, explanation.inputs))[0])
        if weights.codes:
            raise InapplicableError(
                f"Weights of the model are whole numbers, as those of quantized layers are ({weights.codes[0]}), and "
                "have no random twin. Measure the model before it is quantized."
            )
        if not weights.layers:
            raise InapplicableError("The model has no trained weights that could be made random.")
        samples, noise = SMOOTH
        inner = SmoothGrad(self.explainer, samples, noise) if self.kind == "smooth" else self.explainer
        asked = WithWeights(inner, weights)

        def map_with(layers: list[int]) -> Places:
            weights.randomize(layers, self.seed)
            return places_of(asked.explain(explanation.inputs, subject.kept))

        original, count = map_with([]), len(weights.layers)
        if self.kind == "efficient":
            before, after = _entropy(original), _entropy(map_with([*range(count)]))
            return self._told(quotient(after - before, before), details={"before": before, "after": after})
        ends = np.unique(np.rint(np.linspace(1, count, min(self.stages, count))).astype(int))
        sets = [[end - 1] if self.kind == "independent" else [*range(end)] for end in ends]
        curve = np.stack([agreement(original, map_with(each)) for each in sets], axis=1)
        return self._told(curve.mean(axis=1), details={"curve": curve})


def _entropy(places: Places) -> np.ndarray:
    """``(N,)``: the entropy of the histogram of each map, in natural logarithm."""
    found = []
    for row, present in zip(places.relevance, places.present, strict=True):
        counts, _ = np.histogram(row[present], bins=BINS)
        shares = counts[counts > 0] / counts.sum()
        found.append(0 - (shares * np.log(shares)).sum())
    return np.array(found)


@dataclass(frozen=True, eq=False)
class RandomLogit(OfExplainer):
    """Random logit: how alike the maps of two classes are.

    Formula:
        Spearman's correlation between the map of the class and that of the best other class. Lower is better: a map
        that is the same for every class does not show what speaks for one.

    Two classes may share their evidence, and for two classes of one softmax the truth is the same with the opposite
    sign.

    Args:
        explainer: what made the map.

    Source:
        Sixt, Granz & Landgraf 2020, When Explanations Lie: Why Many Modified BP Attributions Fail.

    Example:
        >>> import keras, numpy as np, tfsaliency as tfs
        >>> keras.utils.set_random_seed(0)
        >>> model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(3)])
        >>> explanation = tfs.Gradient(model).explain(np.ones((2, 6)))
        >>> bool((tfs.metrics.RandomLogit(tfs.Gradient(model)).measure(explanation).values < 1).all())
        True
    """

    better = "lower"
    bounds = (-1.0, 1.0)

    def measure(self, explanation: Explanation, target: Any = None) -> Measurement:
        subject = Subject(self.explainer.model, explanation, target)
        other = other_class(self.explainer.model, explanation.inputs, subject.chosen)
        if other is None:
            raise InapplicableError("Only a class has another class beside it. Received: another target.")
        first, second = (places_of(self.explainer.explain(explanation.inputs, each)) for each in (subject.kept, other))
        return self._told(agreement(first, second))
