"""Maps that are means over random copies of the inputs, and know how far off they are."""

from collections.abc import Callable
from typing import Any, ClassVar

import tensorflow as tf

from tfsaliency.base.options import check_amount, check_count
from tfsaliency.engine.copies import Block
from tfsaliency.engine.moments import Found, Moments, TermsOf, found_in_copies, found_until
from tfsaliency.engine.score import Score
from tfsaliency.explainer import Explainer


class Sampled(Explainer):
    """A mean over random copies of the inputs.

    Args:
        tolerance: None for a map of ``samples`` copies. Or the ``relative_error`` to be reached: each input gets
            ``samples`` copies first, and 16 more at a time until its map is within the tolerance.
        budget: the most copies of an input, with a tolerance.
    """

    samples: int
    tolerance: float | None
    budget: int
    # Copies that make a map. One more tells its error.
    fewest: ClassVar[int] = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count("samples", self.samples, self.fewest)
        if self.tolerance is not None:
            check_amount("tolerance", self.tolerance)
            check_count("samples", self.samples, self.fewest + 1)
            check_count("budget", self.budget, self.samples)

    def find(
        self, x: Any, score: Score, values_of: Callable[[Any, Score, Block], Any], terms_of: TermsOf
    ) -> tuple[Found, Any]:
        """What the copies of each input show, and how many there were of it: a number, or ``(N,)``.

        Args:
            x: what the copies are made of, ``(N, ...)``.
            score: the explained score.
            values_of: see `found_until`.
            terms_of: makes a dict, whose entry ``"map"`` has the map as its mean.
        """
        if self.tolerance is None:
            found = found_in_copies(self.samples, x, score, lambda block: values_of(x, score, block), terms_of)
            return found, self.samples

        def error_of(terms: Moments, copies: tf.Tensor) -> tf.Tensor:
            return self.error(terms.of("map"), copies)

        return found_until(self.tolerance, self.budget, self.samples, x, score, values_of, terms_of, error_of)

    @property
    def most(self) -> int:
        """The most copies that an input can have."""
        return self.samples if self.tolerance is None else self.budget

    def error(self, moments: Moments, copies: Any) -> tf.Tensor:
        """``(N,)``: the relative error of a mean over so many copies."""
        return moments.relative_error(copies)

    def told(self, terms: Moments, used: Any) -> dict[str, tf.Tensor]:
        """The diagnostics of the map that is the mean of the terms."""
        error = self.error(terms.of("map"), used)
        if self.tolerance is None:
            return {"relative_error": error}
        reached = {"samples_used": tf.cast(used, tf.float32), "converged": error <= self.tolerance}
        return {"relative_error": error, **reached}
