"""Where a method that promises a sum loses part of it. This is asked only once the sum is missed."""

import warnings
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

import keras
import numpy as np
import tensorflow as tf

from tfsaliency.engine.ask import Answer, ask
from tfsaliency.engine.question import Attribution
from tfsaliency.engine.score import Score

# A gap is more than rounding above this share of what the values should sum to, and of their sizes and the score.
OF_SUM, OF_SIZES = 1e-3, 1e-5
# 16 bits round by 1/2048 or more.
COARSE = 100
# Rounding is as large as what is explained above this share of it, which counts as this much at least.
CANCELLING, SMALLEST = 0.5, 1e-2
# Values so many times larger than what they explain say nothing, however exact they are.
MOST_TIMES = 1e5


class Promise(NamedTuple):
    """What the values of a method sum to.

    Attributes:
        diagnostic: the name of the diagnostic that holds what is missing.
        cause: what may be the cause, in words.
    """

    diagnostic: str
    cause: str


@runtime_checkable
class Accountable(Protocol):
    """A method whose rules hand a sum on from operation to operation."""

    promise: Promise

    @property
    def model(self) -> keras.Model:
        """The model that is explained."""

    def key(self) -> Hashable:
        """Equal for methods that compute the same."""

    def losses(self, x: Any, score: Score) -> dict[str, tf.Tensor]:
        """What each operation loses: a text that names it -> ``(N,)``."""


@dataclass(frozen=True, eq=False)
class Ledger:
    """The question what each operation loses."""

    method: Accountable
    gives_slopes = keeps_vectors = False
    wants_scores = True

    @property
    def model(self) -> keras.Model:
        return self.method.model

    def attribute(self, x: Any, score: Score) -> Attribution:
        return Attribution((), self.method.losses(x, score))

    def key(self) -> Hashable:
        return Ledger, self.method.key()

    def check_options(self, inputs: Any) -> None:
        return


def check_sum(method: Accountable, answer: Answer) -> None:
    """Warns where the values miss their sum by more than rounding, and names the operation that loses most."""
    found = answer.result.diagnostics
    gap = found[method.promise.diagnostic]
    parts = [part.reshape(len(gap), -1).astype("float64") for part in tf.nest.flatten(answer.result.values)]
    whole, sizes = sum(part.sum(axis=1) for part in parts) - gap, sum(np.abs(part).sum(axis=1) for part in parts)
    # What was left out is warned of by its name.
    gap = gap + found.get("left_out", 0)
    limit = OF_SUM * np.abs(whole) + OF_SIZES * (sizes + np.abs(answer.result.scores))
    limit *= COARSE if answer.function.is_coarse else 1
    missed = np.flatnonzero(np.abs(gap) > limit)
    if not missed.size:
        # What is left of numbers that cancel is known to the rounding of these numbers alone.
        known = np.where(np.abs(whole) > OF_SIZES * sizes, np.abs(whole), 0)
        _check_cancelling(gap, sizes, np.maximum(known, np.abs(answer.result.scores)))
        return
    worst = int(missed[np.argmax(np.abs(gap[missed]))])
    lost = ask(Ledger(method), answer.batch.given, answer.target).result.diagnostics
    name = max(lost, key=lambda each: abs(lost[each][worst]), default="an operation that no rule follows")
    warnings.warn(
        f"The values of the samples {missed[:5].tolist()} miss their sum by up to {abs(gap[worst]):.3g}, where they "
        f"sum to {whole[worst] + gap[worst]:.3g}: more than rounding. Most is lost at {name}. {method.promise.cause}",
        stacklevel=3,
    )


def _check_cancelling(gap: np.ndarray, sizes: np.ndarray, meant: np.ndarray) -> None:
    """Warns where values are so large, of both signs, that they or their rounding hide what they explain."""
    whole = np.maximum(meant, SMALLEST)
    lost = np.flatnonzero((np.abs(gap) > CANCELLING * whole) | (sizes > MOST_TIMES * whole))
    if lost.size:
        worst = int(lost[np.argmax(sizes[lost])])
        warnings.warn(
            f"The values of the samples {lost[:5].tolist()} cancel: their sizes add up to {sizes[worst]:.3g}, which is "
            f"rounded by {abs(gap[worst]):.3g}, and they explain {meant[worst]:.3g}. A baseline at which the model "
            "divides by almost nothing, such as silence behind a logarithm, makes such values, and so does a rule that "
            "divides by a sum near zero: choose another baseline, or other rules.",
            stacklevel=4,
        )
