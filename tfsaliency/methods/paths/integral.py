"""Gradients summed along paths of inputs that end in the given ones."""

from abc import abstractmethod
from typing import Any

import tensorflow as tf

from tfsaliency.base.meaning import Meaning
from tfsaliency.base.options import check_amount, check_choice, check_count
from tfsaliency.engine.copies import Block, scores_of_copies
from tfsaliency.engine.question import Attribution
from tfsaliency.engine.score import Score
from tfsaliency.explainer import Explainer, Wrapper
from tfsaliency.methods.gradients.gradient import Gradient, as_explainer
from tfsaliency.methods.paths.path import Paths
from tfsaliency.methods.paths.quadrature import FEWEST, RULES
from tfsaliency.methods.paths.refined import FEWEST_REFINED, refined
from tfsaliency.methods.paths.summed import SlopesOf, summed
from tfsaliency.tensors.errors import relative_error
from tfsaliency.tensors.sums import samples_of, total

# A gap of float32 sums is no larger share of the sizes of the values than this.
ROUNDING = 1e-4
# A sum that misses more of the change of the score than this is not right, unless the change is what is left of values
# that cancel: no larger share of their sizes than the second number.
MISSED, CANCELLED = 0.5, 0.01


class PathIntegral(Wrapper):
    """A sum of gradients along one path, or the mean over several.

    Args:
        steps: how many gradients a fixed rule sums; None to refine until the map is right.
        tolerance: the largest error of the map, as a share of the map, that counts as converged.
        quadrature: the fixed rule: ``"midpoint"``, which is the rule that is refined, ``"trapezoid"`` or
            ``"gauss_legendre"``.
        budget: the most gradients that refining may take for a sample and each of its paths, at least 18. Several paths
            share theirs.
    """

    inner: Explainer
    steps: int | None
    tolerance: float
    quadrature: str
    budget: int

    @abstractmethod
    def paths(self, x: Any, score: Score) -> Paths:
        """The paths that end in some inputs."""

    @property
    def meaning(self) -> Meaning:
        return "signed"

    @property
    def gives_slopes(self) -> bool:
        return False

    def attribute(self, x: Any, score: Score) -> Attribution:
        return self.integrate(x, score, self.paths(x, score), self.slopes)

    def slopes(self, x: Any, score: Score) -> Any:
        """What is summed times the move of the inputs: the values of the inner explainer, by default the gradient."""
        return self.inner.attribute(x, score).values

    def integrate(self, x: Any, score: Score, paths: Paths, slopes: SlopesOf) -> Attribution:
        """Sums slopes times moves along the paths, with diagnostics."""
        at_end = score.at(x)
        if self.steps is None:
            integral = refined(paths, x, score, slopes, self.tolerance, self.budget)
        else:
            integral = summed(paths, x, score, slopes, RULES[self.quadrature](self.steps))
        values = tf.nest.map_structure(lambda part: part / paths.number, integral.values)
        error = relative_error(integral.values, integral.error2)
        change = at_end - _mean_at_starts(paths, x, score)
        gap = total(values) - change
        is_right = error <= self.tolerance
        if type(self.inner) is Gradient:
            # A jump of the score between two gradients is in no gradient, and in no estimate from them.
            sizes = total(tf.nest.map_structure(tf.abs, values))
            is_right &= tf.abs(gap) <= max(self.tolerance, ROUNDING) * tf.maximum(sizes, tf.abs(change))
            # Where a normalization divides by almost nothing at the baseline, all of the change is in such a jump.
            is_near = tf.abs(gap) <= max(self.tolerance, MISSED) * tf.abs(change)
            is_right &= is_near | (tf.abs(change) <= CANCELLED * sizes)
        diagnostics = {
            "relative_error": error,
            "completeness_gap": gap,
            "steps_used": integral.steps,
            "converged": is_right,
        }
        return Attribution(values, diagnostics)

    def __post_init__(self) -> None:
        object.__setattr__(self, "inner", as_explainer(self.inner))
        super().__post_init__()
        check_amount("tolerance", self.tolerance)
        check_choice("quadrature", self.quadrature, RULES)
        if self.steps is not None:
            check_count("steps", self.steps, FEWEST.get(self.quadrature, 1))
            return
        check_count("budget", self.budget, FEWEST_REFINED)
        if self.quadrature != "midpoint":
            raise ValueError(
                f"Refining cuts the cells of the midpoint rule. Say how many steps the rule takes: steps=50, "
                f"quadrature={self.quadrature!r}"
            )


def _mean_at_starts(paths: Paths, x: Any, score: Score) -> tf.Tensor:
    """``(N,)``: the mean score at the starts of the paths of each sample."""
    samples = samples_of(x)

    def at_starts(block: Block) -> tf.Tensor:
        first, count = block
        numbers = first * samples + tf.range(count * samples)
        return score.at(paths.at(numbers, tf.zeros(tf.shape(numbers))))

    with score.silent():
        return tf.reduce_mean(scores_of_copies(paths.number, x, score, at_starts), axis=0)
