from dataclasses import dataclass
from functools import partial
from typing import Any

import keras
import tensorflow as tf

from tfsaliency.base.options import check_count, check_share
from tfsaliency.baselines import baselines
from tfsaliency.engine.copies import Block
from tfsaliency.engine.moments import Moments
from tfsaliency.engine.question import Attribution
from tfsaliency.engine.score import Score
from tfsaliency.methods.sampled import Sampled
from tfsaliency.model.foreign import as_black_box
from tfsaliency.tensors.draws import drawn, stream
from tfsaliency.tensors.places import spatial_shape, spread
from tfsaliency.tensors.sums import along, samples_of


@dataclass(frozen=True, eq=False)
class RISE(Sampled):
    """RISE: the gain in score when a place is visible, averaged over random masks, without a gradient.

    Formula:
        ``v = E[S(x * m) m] / E[m] - E[S(x * m)]``, ``(N, height, width, 1)``. A mask is a grid of ``cells`` along each
        axis, resized smoothly and shifted at random. Each cell is visible with ``probability``. The paper's map is
        ``v`` plus the mean score, ``diagnostics["mean_score"]``. The mean score is the same for all places, and for a
        logit it has no meaning.

    ``diagnostics``, each ``(N,)``: ``mean_score``; ``relative_error``, an estimate of ``||v - E v|| / ||E v||``, the
    distance from this map to the map of infinitely many masks. It falls with the square root of ``samples``, is
    infinite if the map is not distinguishable from noise, and NaN for fewer than three masks. With a tolerance there
    are ``samples_used`` and ``converged`` too; a copy is then the input behind a mask.

    With few masks the map is noisy: differences between places less than two cells apart are noise. The paper averages
    probabilities, ``target=lambda z: tf.nn.softmax(z)[:, 285]``.

    Args:
        model: a Keras model; or any function of arrays ``(N, ...)`` that returns ``(N, classes)``, see `BlackBox`.
        samples: the number of masks; the paper takes 4000 to 8000.
        cells: the number of grid cells along each axis. Each column of a table ``(N, F)`` is its own cell.
        probability: the probability that a cell is visible, between 0 and 1.
        baseline: replaces the hidden cells, as in `Occlusion`; one baseline only.
        seed: the same seed gives the same masks, for every input.

    Raises:
        ValueError: an option is out of range, or the baseline does not fit (on ``explain``).

    Source:
        Petsiuk, Das & Saenko 2018, RISE: Randomized Input Sampling for Explanation of Black-box Models.

    Example:
        >>> import keras, numpy as np, tfsaliency as tfs
        >>> model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(2)])
        >>> tfs.RISE(model, samples=100, cells=4).explain(np.ones((1, 8, 8, 3))).values.shape
        (1, 8, 8, 1)
    """

    model: keras.Model
    samples: int = 1000
    cells: int = 7
    probability: float = 0.5
    baseline: Any = None
    seed: int = 0
    tolerance: float | None = None
    budget: int = 8000

    def __post_init__(self) -> None:
        object.__setattr__(self, "model", as_black_box(self.model))
        super().__post_init__()
        check_count("cells", self.cells)
        check_count("seed", self.seed, 0)
        check_share("probability", self.probability)

    def attribute(self, x: Any, score: Score) -> Attribution:
        score.resolve()
        references = baselines(self.baseline, x, score)
        if references.number != 1:
            raise ValueError(f"RISE hides behind one baseline. Received: {references.number}")
        # Traced once for all blocks: a black box is asked in a loop in Python, where a mask's small steps take longer
        # than many a function.
        draws = [
            tf.function(partial(self._masks, place, part), [tf.TensorSpec([], tf.int32)] * 2, autograph=False)
            for place, part in enumerate(tf.nest.flatten(x))
        ]

        def values_of(shown_and_hidden: Any, score: Score, block: Block) -> dict[str, Any]:
            shown, hidden = shown_and_hidden
            masks = [draw(*block) for draw in draws]
            seen = [
                tf.reshape(part0 + mask[:, None] * (part - part0), [-1, *part.shape[1:]])
                for part, part0, mask in zip(tf.nest.flatten(shown), tf.nest.flatten(hidden), masks, strict=True)
            ]
            scores = score.at(tf.nest.pack_sequence_as(x, seen))
            return {"scores": scores, "masks": [tf.repeat(mask, samples_of(shown), axis=0) for mask in masks]}

        def terms_of(values: Any, residuals: Any) -> dict[str, Any]:
            # A covariance: the mean score and the mean mask, whose noise would be in the map, are left out.
            gains = [along(residuals["scores"], mask) * mask for mask in residuals["masks"]]
            return {"map": [gain / self.probability for gain in gains]}

        found, used = self.find((x, references.at(0)), score, values_of, terms_of)
        told = {"mean_score": found.centre["scores"], **self.told(found.terms, used)}
        return Attribution(tf.nest.pack_sequence_as(x, found.terms.mean["map"]), told)

    def error(self, moments: Moments, copies: Any) -> tf.Tensor:
        return moments.relative_error_of_products(copies)

    def _masks(self, place: int, part: tf.Tensor, first: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
        """Masks ``first`` to ``first + count`` for a part of the inputs, ``(count, *axes, 1)``."""
        seed = stream("rise", self.seed, place)
        table = part.shape.rank <= 2
        extents = spatial_shape(part)
        cells = [extent if table else min(self.cells, extent) for extent in extents]

        def mask(number: tf.Tensor) -> tf.Tensor:
            draws = tf.random.stateless_uniform([1 + len(cells)], [seed, 2 * number])
            grid = tf.random.stateless_uniform([each + 1 for each in cells], tf.stack([seed, 2 * number + 1]))
            seen = tf.cast(grid < self.probability, tf.float32)
            if table:
                return seen[: extents[0]] if extents.rank else seen
            for axis, (each, extent) in enumerate(zip(cells, extents, strict=True)):
                # The grid has one extra cell, so that it can shift by up to one cell.
                centres = (tf.range(extent, dtype=tf.float32) + 0.5) * each / extent + draws[axis] - 0.5
                centres = tf.clip_by_value(centres, 0.0, float(each))
                weights = tf.nn.relu(1 - tf.abs(tf.range(each + 1, dtype=tf.float32)[:, None] - centres))
                seen = spread(seen, weights, axis)
            return seen[..., None]

        return drawn(mask, first, count, extents if table else [*extents, 1])
