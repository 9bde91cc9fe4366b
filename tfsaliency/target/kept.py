"""A target that has chosen, for other inputs than those it chose on."""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from tfsaliency.model.logits import Logits
from tfsaliency.target.base import Rows, Target, check_samples


@dataclass(frozen=True, eq=False)
class Kept(Target):
    """A target with what it chose for each sample, kept for altered inputs.

    Args:
        target: what chose.
        chosen: what it chose, ``(N, ...)`` each.
        has_probabilities: whether the model gives the probability of what was chosen.
        as_probability: whether the score is that probability.
    """

    target: Target
    chosen: dict[str, np.ndarray]
    has_probabilities: bool = False
    as_probability: bool = False

    @property
    def sees_inputs(self) -> bool:  # type: ignore[override]
        return self.target.sees_inputs

    @property
    def key(self) -> Hashable:
        return Kept, self.target.key, self.as_probability

    def given(self, samples: int) -> dict[str, np.ndarray]:
        for rows in self.chosen.values():
            check_samples("choices", len(rows), samples)
        return self.chosen

    def score(self, logits: Logits, chosen: Rows, inputs: Any) -> tf.Tensor:
        if self.as_probability:
            return self.target.probability(logits, chosen)
        return self.target.score(logits, chosen, inputs)

    def has_probability(self, logits: Logits) -> bool:
        return self.target.has_probability(logits)

    def probability(self, logits: Logits, chosen: Rows) -> tf.Tensor:
        return self.target.probability(logits, chosen)

    def told(self, chosen: Rows) -> Rows:
        return self.target.told(chosen)

    def read(self, logits: Logits) -> Logits:
        return self.target.read(logits)

    def cautions(self, logits: Logits) -> list[str]:
        # The user heard them where the choice was made.
        return []

    def __str__(self) -> str:
        return str(self.target)
