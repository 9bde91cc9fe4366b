"""The score alone, callable from NumPy."""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from tfsaliency.engine.ask import ask
from tfsaliency.engine.question import Attribution
from tfsaliency.engine.score import Score


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

    gives_slopes = False

    def attribute(self, x: Any, score: Score) -> Attribution:
        return Attribution(())

    def key(self) -> Hashable:
        return Scorer

    def check_options(self, inputs: Any) -> None:
        return
