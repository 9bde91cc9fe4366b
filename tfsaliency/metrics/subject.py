"""What a metric asks about, and metrics that ask the model."""

import dataclasses
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfsaliency.base.structure import check_has_inputs, flatten
from tfsaliency.engine.ask import ask
from tfsaliency.engine.scorer import Choice, Scorer
from tfsaliency.explainer import Explainer
from tfsaliency.explanation import Explanation
from tfsaliency.metrics.hiding import Hidden
from tfsaliency.metrics.metric import Measurement, Metric
from tfsaliency.metrics.places import Places, places_of
from tfsaliency.model.foreign import as_black_box, as_model
from tfsaliency.target.kept import Kept

# The masks of so many bytes are held at once.
MASK_BYTES = 2**28
# Scores of the same inputs differ by no more than this, relative and absolute.
SAME = 1e-2, 1e-3


class Subject:
    """What a metric asks about: a model, inputs, and what was explained of them.

    Args:
        model: the model that was explained.
        explanation: of its inputs.
        target: what was explained; None for the classes that the explanation names.

    Raises:
        ValueError: the model does not give the scores of the explanation.
    """

    def __init__(self, model: Any, explanation: Explanation, target: Any = None):
        if isinstance(model, Explainer):
            raise TypeError(f"A metric asks the model that was explained, explainer.model. Received: {model}")
        check_has_inputs(
            flatten(explanation.inputs), "dataclasses.replace(explanation, inputs=x), with the inputs of these samples"
        )
        self.model, self.inputs = as_model(as_black_box(model)), explanation.inputs
        self.explanation = explanation
        wanted = explanation.target if target is None else target
        try:
            self.chosen = Choice(self.model).chosen(self.inputs, wanted)
        except ValueError as error:
            if ".of_vectors()" not in explanation.method:
                raise
            raise ValueError(
                f"{error} The explanation is of the vectors of its inputs, and the model takes ids: measure "
                "explainer.explain(ids), without of_vectors()."
            ) from error
        self.kept, self.scores, self.probabilities, _ = self.chosen
        self.check(explanation)

    def check(self, explanation: Explanation) -> None:
        """Raises ValueError where the model does not give the scores of the explanation."""
        rtol, atol = SAME
        if not np.allclose(self.scores, explanation.scores, rtol=rtol, atol=atol * max(1, np.abs(self.scores).max())):
            raise ValueError(
                f"The model gives the scores {self.scores[:3].tolist()} for these inputs, and the explanation is of "
                f"{explanation.scores[:3].tolist()}. Pass the model that was explained, and target= as it was passed "
                f"to explain. Explained was: {explanation.provenance.get('target', 'unknown')}"
            )

    @property
    def measured(self) -> str:
        """What `probabilities_without` measures."""
        return "the probability of the class" if self.kept.has_probabilities else "the score"

    def bounds(self, low: float = 0.0) -> tuple[float, float]:
        """The lowest and highest value of what is made of probabilities; none for scores."""
        return (low, 1.0) if self.kept.has_probabilities else (-np.inf, np.inf)

    def without(self, places: Places, kept: np.ndarray, fill: Any) -> np.ndarray:
        """``(N, M)``: the scores of inputs in which only some places are kept.

        Args:
            places: of the inputs.
            kept: ``(N, M, P)`` or ``(1, M, P)``, True for what is kept.
            fill: what replaces the others.
        """
        return self._ask(self.kept, places, kept, fill)

    def probabilities_without(self, places: Places, kept: np.ndarray, fill: Any) -> np.ndarray:
        """The same in probabilities of the class, where the model gives them."""
        return self._ask(self._probably, places, kept, fill)

    def probabilities_of(self, inputs: Any) -> np.ndarray:
        """``(N,)``: of altered inputs, where the model gives probabilities; else the scores."""
        return Scorer(self.model).scores(inputs, self._probably)

    @property
    def _probably(self) -> Kept:
        return dataclasses.replace(self.kept, as_probability=self.kept.has_probabilities)

    def _ask(self, target: Kept, places: Places, kept: np.ndarray, fill: Any) -> np.ndarray:
        masks, copies, count = kept.shape
        question = Hidden(self.model, fill, places.shapes)
        size = max(1, min(copies, MASK_BYTES // max(1, masks * count)))
        scores = np.empty((len(self.scores), copies))
        for start in range(0, copies, size):
            # Blocks of one length share a trace: the last one begins early.
            block = slice(min(start, copies - size), min(start + size, copies))
            answer = ask(question, self.inputs, target, beside={"kept": kept[:, block]})
            scores[:, block] = answer.result.diagnostics["scores"]
        return scores


@dataclass(frozen=True, eq=False)
class OfModel(Metric):
    """A metric that asks the model about the inputs of an explanation, once for several maps of the same inputs.

    Args:
        model: the model that was explained.
    """

    model: Any

    @abstractmethod
    def told(self, subject: Subject, places: Places) -> Measurement:
        """What the metric says of a map.

        Args:
            subject: the model and the inputs.
            places: the map.
        """

    def told_each(self, subject: Subject, maps: Sequence[Places]) -> list[Measurement]:
        """The same of several maps."""
        return [self.told(subject, places) for places in maps]

    def measure(self, explanation: Explanation, target: Any = None) -> Measurement:
        return self.measure_each([explanation], target)[0]

    def measure_each(self, explanations: Sequence[Explanation], target: Any = None) -> list[Measurement]:
        for explanation in explanations:
            self.check(explanation)
        maps = [places_of(explanation) for explanation in explanations]
        for explanation, places in zip(explanations, maps, strict=True):
            if not places.is_of_inputs:
                raise ValueError(
                    "A metric that hides places needs a value for each place of the inputs. Received: "
                    f"{explanation!r}, whose places were put together, or whose map was not enlarged. Measure it "
                    "before by_word or such a transform, or with upsample=True."
                )
        first, *others = explanations
        subject = Subject(self.model, first, target)
        for other in others:
            subject.check(other)
        return self.told_each(subject, maps)
