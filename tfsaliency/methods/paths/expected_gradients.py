from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from tfsaliency.base.meaning import Meaning
from tfsaliency.base.options import check_count
from tfsaliency.baselines import baselines
from tfsaliency.engine.copies import Block, scores_of_copies
from tfsaliency.engine.moments import found_in_copies
from tfsaliency.engine.question import Attribution
from tfsaliency.engine.score import Score
from tfsaliency.explainer import Explainer, Wrapper
from tfsaliency.methods.gradients.gradient import as_explainer
from tfsaliency.tensors.draws import stream
from tfsaliency.tensors.sums import along, repeated, sizes_of, total


@dataclass(frozen=True, eq=False)
class ExpectedGradients(Wrapper):
    """Expected Gradients: Integrated Gradients averaged over a distribution of baselines, by sampling.

    Formula:
        ``v = mean over x0 and t of (x - x0) dS(x0 + t (x - x0)) / dx``, with ``x0`` from the baselines and ``t``
        uniform in [0, 1]. The values sum to ``S(x)`` minus the mean of ``S(x0)``, up to the sampling error.

    Sample ``j`` of every input uses baseline ``j`` modulo the number of baselines. Each sample of a baseline has a
    part of [0, 1] of its own for ``t`` (stratified), within which the baselines stand side by side; the order of the
    parts is random.

    ``diagnostics``, each ``(N,)``: ``completeness_gap``, the sum of the values minus ``S(x) - mean S(x0)``;
    ``relative_error``, an upper estimate of the distance to the values of infinitely many samples. It takes samples for
    independent, which those of one baseline are not: with two of each it was twice the error of small networks, with
    16 five times. For a tolerance give few baselines to `IntegratedGradients`.

    The meaning of the values depends on the baselines: they explain why this input differs from those baselines.

    Args:
        inner: a Keras model, or an explainer whose values replace the gradient.
        baselines: samples of the training data, ``(K, ...)``, as an array or in the structure of the inputs; or any
            baseline that `IntegratedGradients` takes.
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

    def __post_init__(self) -> None:
        object.__setattr__(self, "inner", as_explainer(self.inner))
        super().__post_init__()
        check_count("samples", self.samples)
        check_count("seed", self.seed, 0)

    @property
    def meaning(self) -> Meaning:
        return "signed"

    @property
    def gives_slopes(self) -> bool:
        return False

    def attribute(self, x: Any, score: Score) -> Attribution:
        at_x = score.at(x)
        references = baselines(self.baselines, x, score)
        shares = self._shares(references.number)

        def drawn(block: Block) -> tuple[Any, tf.Tensor]:
            first, count = block
            numbers = tf.range(first, first + count)
            x0 = references.drawn(numbers % references.number, x)
            x0 = tf.nest.map_structure(lambda part: tf.reshape(part, [-1, *sizes_of(part)[1:]]), x0)
            return x0, tf.repeat(tf.gather(shares, numbers), tf.shape(at_x)[0])

        def values_of(block: Block) -> Any:
            x0, t = drawn(block)
            way = tf.nest.map_structure(tf.subtract, repeated(x, block[1]), x0)
            at = tf.nest.map_structure(lambda start, part: start + along(t, part) * part, x0, way)
            return tf.nest.map_structure(tf.multiply, self.inner.attribute(at, score).values, way)

        moments = found_in_copies(self.samples, x, score, values_of).terms
        # Each baseline counts as often as it was drawn.
        used = min(self.samples, references.number)
        counts = [(self.samples - i - 1) // references.number + 1 for i in range(used)]
        with score.silent():
            at_baselines = scores_of_copies(used, x, score, lambda block: score.at(drawn(block)[0]))
        expected = tf.einsum("k,kn->n", tf.constant(counts, tf.float32) / self.samples, at_baselines)
        return Attribution(
            moments.mean,
            {
                "completeness_gap": total(moments.mean) - (at_x - expected),
                "relative_error": moments.relative_error(self.samples),
            },
        )

    def _shares(self, baselines: int) -> tf.Tensor:
        """``(samples,)``: the position ``t`` of each sample between its baseline and the input."""
        # One row for each turn through the baselines, one column for each baseline.
        turns = -(-self.samples // baselines)
        seed = stream("expected gradients", self.seed)
        draws = tf.random.stateless_uniform([3, turns, baselines], [seed, 0])
        is_drawn = tf.reshape(tf.range(turns * baselines) < self.samples, [turns, baselines])
        keys = tf.where(is_drawn, draws[:2], 2.0)
        part, among = (tf.argsort(tf.argsort(keys[axis], axis=axis), axis=axis) for axis in (0, 1))
        of_baseline, of_turn = (
            tf.reduce_sum(tf.cast(is_drawn, tf.float32), axis=axis, keepdims=True) for axis in (0, 1)
        )
        # Each baseline has one sample in each of its parts, and within a part the baselines stand side by side.
        ordered = tf.cast(tf.range(turns)[:, None], tf.float32) + (tf.cast(among, tf.float32) + draws[2]) / of_turn
        drawn = tf.gather(tf.transpose(ordered / tf.maximum(of_baseline, 1)), tf.transpose(part), batch_dims=1)
        return tf.reshape(tf.transpose(drawn), [-1])[: self.samples]
