"""The score alone, callable from NumPy."""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, NamedTuple

import keras
import numpy as np

from tfsaliency.engine.ask import ask
from tfsaliency.engine.question import Attribution
from tfsaliency.engine.score import Score
from tfsaliency.model.logits import Logits
from tfsaliency.target.kept import Kept

# Beside what a target chose; none calls a choice so.
PROBABILITY = "probability"


@dataclass(frozen=True, eq=False)
class Scorer:
    """Asks a model for the number that is explained, and for nothing else.

    Args:
        model: any Keras model.
    """

    model: keras.Model

    def scores(self, inputs: Any, target: Any = None, *, batch_size: int | None = None) -> np.ndarray:
        """``(N,)`` float32; see `Explainer.explain` for the arguments and errors."""
        return ask(self, inputs, target, batch_size=batch_size).result.scores

    gives_slopes = keeps_vectors = False
    wants_scores = True

    def attribute(self, x: Any, score: Score) -> Attribution:
        return Attribution(())

    def key(self) -> Hashable:
        return type(self).__name__

    def check_options(self, inputs: Any) -> None:
        return


class Chosen(NamedTuple):
    """What a target chose.

    Attributes:
        target: the target with its choice for each sample, for altered inputs.
        scores: ``(N,)``, of the inputs as they are.
        probabilities: ``(N,)``, of the class that is explained, where the model gives them; else the scores.
        logits: what the model says, specs in the place of tensors.
    """

    target: Kept
    scores: np.ndarray
    probabilities: np.ndarray
    logits: Logits


class Choice(Scorer):
    """Asks a model what a target chooses for each sample."""

    def chosen(self, inputs: Any, target: Any = None) -> "Chosen":
        """The target with its choice for each sample; see `Explainer.explain` for the arguments and errors."""
        answer = ask(self, inputs, target)
        logits = answer.function.logits
        target = answer.target.target if isinstance(answer.target, Kept) else answer.target
        chosen, scores = dict(answer.result.diagnostics), answer.result.scores
        probabilities = chosen.pop(PROBABILITY, None)
        kept = Kept(target, chosen, probabilities is not None)
        return Chosen(kept, scores, scores if probabilities is None else probabilities, logits)

    def attribute(self, x: Any, score: Score) -> Attribution:
        score.resolve()
        probability = score.probability()
        told = {} if probability is None else {PROBABILITY: probability}
        return Attribution((), told | (score.chosen or {}))
