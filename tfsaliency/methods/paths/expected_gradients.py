from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from tfsaliency.base.meaning import Meaning
from tfsaliency.base.options import check_count
from tfsaliency.baselines import baselines
from tfsaliency.engine.copies import Block, scores_of_copies
from tfsaliency.engine.question import Attribution
from tfsaliency.engine.score import Score
from tfsaliency.explainer import Explainer, Wrapper
from tfsaliency.methods.gradients.gradient import as_explainer
from tfsaliency.methods.sampled import Sampled
from tfsaliency.tensors.draws import stream
from tfsaliency.tensors.sums import along, each_repeated, repeated, samples_of, sizes_of, total

GOLDEN_RATIO = (5**0.5 - 1) / 2


@dataclass(frozen=True, eq=False)
class ExpectedGradients(Sampled, Wrapper):
    """Expected Gradients: Integrated Gradients averaged over a distribution of baselines, by sampling.

    Formula:
        ``v = mean over x0 and t of (x - x0) dS(x0 + t (x - x0)) / dx``, with ``x0`` from the baselines and ``t``
        uniform in [0, 1]. The values sum to ``S(x)`` minus the mean of ``S(x0)``, up to the sampling error.

    Sample ``j`` of every input uses baseline ``j`` modulo the number of baselines. In the first turn through the
    baselines ``t`` is evenly spread over them, in random order. In each later one every ``t`` moves on by the golden
    ratio, modulo 1, which spreads those of each baseline evenly over [0, 1] after any number of turns.

    ``diagnostics``, each ``(N,)``: ``completeness_gap``, the sum of the values minus ``S(x) - mean S(x0)``;
    ``relative_error``, an upper estimate of the distance to the values of infinitely many samples. It takes samples for
    independent, which those of one baseline are not: with two of each it was twice the error of small networks, with
    16 five times. With a tolerance there are ``samples_used`` and ``converged`` too. The tolerance is kept, but met
    late; `IntegratedGradients` meets one of its own with fewer gradients where the baselines are few.

    The meaning of the values depends on the baselines: they explain why this input differs from those baselines.

    Args:
        inner: a Keras model, or an explainer whose values replace the gradient.
        baselines: samples of the training data, ``(K, ...)``, as an array or in the structure of the inputs; or any
            baseline that `IntegratedGradients` takes. Of a single one, such as the default, the values are those of
            `IntegratedGradients` and an error of sampling, which that has not.
        samples: the number of gradients.
        seed: the same seed gives the same map.

    Raises:
        ValueError: an option is out of range, or the baselines do not fit (on ``explain``).

    Source:
        Erion, Janizek, Sturmfels, Lundberg & Lee 2021, Improving performance of deep learning models with axiomatic
        attribution priors and expected gradients.

    Example:
        >>> import keras, numpy as np, tfsaliency as tfs
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
        >>> training = np.random.default_rng(0).normal(size=(20, 3))
        >>> explanation = tfs.ExpectedGradients(model, training).explain(np.ones((1, 3)))
        >>> bool(np.isclose(explanation.diagnostics["completeness_gap"], 0, atol=1e-5))  # the model is linear
        True
    """

    inner: Explainer
    baselines: Any = None
    samples: int = 200
    seed: int = 0
    tolerance: float | None = None
    budget: int = 2000

    def __post_init__(self) -> None:
        object.__setattr__(self, "inner", as_explainer(self.inner))
        super().__post_init__()
        check_count("seed", self.seed, 0)

    @property
    def meaning(self) -> Meaning:
        return "signed"

    @property
    def gives_slopes(self) -> bool:
        return False

    def attribute(self, x: Any, score: Score) -> Attribution:
        at_x = score.at(x)
        number = baselines(self.baselines, x, score).number

        def drawn(x: Any, score: Score, block: Block) -> tuple[Any, tf.Tensor]:
            first, count = block
            numbers = tf.range(first, first + count)
            x0 = baselines(self.baselines, x, score).drawn(numbers % number, x)
            x0 = tf.nest.map_structure(lambda part: tf.reshape(part, [-1, *sizes_of(part)[1:]]), x0)
            return x0, each_repeated(self._positions(numbers, number), samples_of(x))

        def values_of(x: Any, score: Score, block: Block) -> Any:
            x0, t = drawn(x, score, block)
            way = tf.nest.map_structure(tf.subtract, repeated(x, block[1]), x0)
            at = tf.nest.map_structure(lambda start, part: start + along(t, part) * part, x0, way)
            return tf.nest.map_structure(tf.multiply, self.inner.attribute(at, score).values, way)

        (_, terms), used = self.find(x, score, values_of, lambda values, before: {"map": values})
        drawn_from = min(self.most, number)
        with score.silent():
            at_baselines = scores_of_copies(drawn_from, x, score, lambda block: score.at(drawn(x, score, block)[0]))
        # Each baseline counts as often as it was drawn.
        counts = (used - tf.range(drawn_from)[:, None] - 1) // number + 1
        expected = tf.reduce_sum(tf.cast(counts, tf.float32) * at_baselines, axis=0) / tf.cast(used, tf.float32)
        values = terms.mean["map"]
        gap = total(values) - (at_x - expected)
        return Attribution(values, {"completeness_gap": gap, **self.told(terms, used)})

    def _positions(self, numbers: tf.Tensor, baselines: int) -> tf.Tensor:
        """The position ``t`` of samples between their baseline and the input."""
        order, within = tf.unstack(
            tf.random.stateless_uniform([2, baselines], [stream("expected gradients", self.seed), 0])
        )
        start = (tf.cast(tf.argsort(tf.argsort(order)), tf.float32) + within) / baselines
        turns = tf.cast(numbers // baselines, tf.float32)
        return (tf.gather(start, numbers % baselines) + GOLDEN_RATIO * turns) % 1.0
