from dataclasses import dataclass
from typing import Any

from tfsaliency.baselines import baselines
from tfsaliency.engine.score import Score
from tfsaliency.explainer import Explainer
from tfsaliency.methods.paths.integral import PathIntegral
from tfsaliency.methods.paths.path import Paths, straight


@dataclass(frozen=True, eq=False)
class IntegratedGradients(PathIntegral):
    """Integrated Gradients: the mean gradient on the line from a baseline to the input, times their difference.

    Formula:
        ``v = (x - x0) * integral over t from 0 to 1 of dS(x0 + t (x - x0)) / dx dt``. The values sum to
        ``S(x) - S(x0)``.

    By default the sum is refined until the map is right. Refining starts with 6 cells of the midpoint rule, cuts each
    into thirds, and goes on with the cells whose cut changed the map most, for each sample separately. What a cut
    changes tells what is still wrong. It stops when the estimated error of the map is within ``tolerance``, or when
    ``budget`` gradients are spent; the second case gives a warning. ``steps=50`` uses a fixed rule of 50 steps instead,
    whose error is estimated in the same way.

    ``diagnostics``, each ``(N,)``: ``relative_error``, the estimated L2 distance to the integral as a share of its
    size; ``completeness_gap``, the sum of the values minus ``S(x) - S(x0)``; ``steps_used``, the number of gradients;
    ``converged``, whether the error is within the tolerance, and the gap within the same share of the sizes of the
    values and within half of the change. The estimate is a point estimate for ReLU networks, along which the gradient
    is close to noise, and an upper bound for smooth ones. A small gap alone proves no correct map: errors of single
    pixels cancel in the sum.

    Numbers that equal the baseline get zero, even if the network uses them: with a black baseline, a black cat is
    invisible.

    Args:
        inner: a Keras model, or an explainer whose values replace the gradient.
        baseline: None for zero, and for ids the vector of padding or the mean of the table; a number, id or text; an
            array of the shape of one input (axes may be 1); several such arrays along a new first axis, whose maps are
            averaged; a dict or list of these for several inputs; a function of the inputs ``(N, ...)`` that returns one
            baseline per sample; or a baseline from `tfsaliency.baselines`: one per sample, pixels before preprocessing,
            blurred, noise, black and white, zeros.

    Raises:
        ValueError: an option is out of range, or the baseline does not fit (on ``explain``).

    Source:
        Sundararajan, Taly & Yan 2017, Axiomatic Attribution for Deep Networks.

    Example:
        >>> import keras, numpy as np, tfsaliency as tfs
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, "relu"), keras.layers.Dense(1)])
        >>> model.set_weights([np.array([[2.0], [1.0]]), np.array([-1.0]), np.array([[1.0]]), np.zeros(1)])
        >>> explanation = tfs.IntegratedGradients(model).explain(np.array([[1.0, 1.0]]))  # relu rises by 2 for 3
        >>> explanation.values.round(1), bool(explanation.diagnostics["converged"][0])
        (array([[1.3, 0.7]], dtype=float32), True)
    """

    inner: Explainer
    baseline: Any = None
    steps: int | None = None
    tolerance: float = 0.1
    quadrature: str = "midpoint"
    budget: int = 200

    def paths(self, x: Any, score: Score) -> Paths:
        return straight(baselines(self.baseline, x, score).all(x), x)
