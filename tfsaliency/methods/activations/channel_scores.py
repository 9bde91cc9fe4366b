"""Class activation maps whose weights are found by scoring the model again, channel by channel: no gradient."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from tfsaliency.engine.copies import Block, over_copies
from tfsaliency.engine.score import Forward, Score
from tfsaliency.methods.activations.class_activation import ActivationMap
from tfsaliency.methods.activations.grid import Grid
from tfsaliency.methods.activations.layer_choice import Activation
from tfsaliency.tensors.sums import inner_axes


@dataclass(frozen=True, eq=False)
class ScoreCAM(ActivationMap):
    """Score-CAM: each channel weighted by the score of the input masked by that channel.

    Formula:
        ``L = relu(sum_k a_k A_k)``, ``a = softmax over k of S(x * H_k)``, ``H_k`` the channel resized to the input and
        scaled to [0, 1]. The vectors that are looked up for ids are moved towards that of padding, or of a mean id, and
        not towards zero.

    It takes as many forward passes as the layer has channels that differ between places, for this input: behind a ReLU
    often half of them. The others hide everything, and are asked about once together. The softmax of logits gives
    nearly all weight to a few channels, and the model was not trained on inputs dimmed by a mask.

    Source:
        Wang et al. 2020, Score-CAM: Score-Weighted Visual Explanations for Convolutional Neural Networks.

    Example:
        >>> import keras, numpy as np, tfsaliency as tfs
        >>> keras.utils.set_random_seed(1)
        >>> model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3, activation="relu"),
        ...                           keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2)])
        >>> x = np.random.default_rng(0).normal(size=(1, 8, 8, 3))
        >>> bool((tfs.ScoreCAM(model).explain(x).values >= 0).all())
        True
    """

    def map(self, activation: Activation, forward: Forward, score: Score) -> tf.Tensor:
        x = forward.inputs
        activations = activation.fold(activation.output)
        by_channel = tf.experimental.numpy.moveaxis(activations, -1, 1)
        parts = zip(tf.nest.flatten(x), tf.nest.flatten(score.neutral(x)), activation.grids, strict=True)
        hidden = tf.nest.pack_sequence_as(x, [part if grid is None else neutral for part, neutral, grid in parts])

        def ask(shown_and_hidden: Any, score: Score, pairs: tf.Tensor) -> tf.Tensor:
            chosen = tf.gather_nd(by_channel, pairs)
            parts = zip(*map(tf.nest.flatten, shown_and_hidden), activation.grids, strict=True)
            seen = [part if grid is None else away + (part - away) * _mask(chosen, grid) for part, away, grid in parts]
            return score.at(tf.nest.pack_sequence_as(x, seen))

        places = inner_axes(activations)[:-1]
        differ = tf.reduce_max(activations, places) > tf.reduce_min(activations, places)
        weights = tf.nn.softmax(_scores(differ, score.at(hidden), (x, hidden), score, ask))
        return tf.nn.relu(tf.einsum("nk,n...k->n...", weights, activations))


# Scores copies of some rows, of which each belongs to a pair of a sample and a channel ``(n, 2)``.
Ask = Callable[[Any, Score, tf.Tensor], tf.Tensor]


def _scores(is_asked: tf.Tensor, otherwise: tf.Tensor, x: Any, score: Score, ask: Ask) -> tf.Tensor:
    """The score of each sample for each of its channels, ``(N, K)``.

    Args:
        is_asked: ``(N, K)``, whether the channel changes anything for the sample.
        otherwise: ``(N,)``, the score where it does not.
        x: what copies are made of, ``(N, ...)``.
        score: the explained score.
        ask: returns the scores of a block of pairs.
    """
    pairs = tf.cast(tf.where(is_asked), tf.int32)

    def step(scores: tf.TensorArray, block: Block) -> tf.TensorArray:
        numbers = tf.range(block[0], block[0] + block[1])
        of_block = tf.gather(pairs, numbers)
        rows = of_block[:, 0]
        some = tf.nest.map_structure(lambda part: tf.gather(part, rows), x)
        return scores.scatter(numbers, ask(some, score.among(rows), of_block))

    total = tf.shape(pairs)[0]
    one = tf.nest.map_structure(lambda part: part[:1], x)
    found = over_copies(total, one, score, step, tf.TensorArray(tf.float32, total, element_shape=[])).stack()
    return tf.tensor_scatter_nd_update(tf.where(is_asked, 0.0, otherwise[:, None]), pairs, found)


def _mask(maps: tf.Tensor, grid: Grid) -> tf.Tensor:
    """Maps ``(n, *shape)`` resized to an input and scaled to [0, 1]."""
    resized = grid.over_input(maps)
    axes = inner_axes(resized)
    low, high = (reduce(resized, axes, keepdims=True) for reduce in (tf.reduce_min, tf.reduce_max))
    scaled = tf.math.divide_no_nan(resized - low, high - low)
    return grid.with_channels(scaled)


@dataclass(frozen=True, eq=False)
class AblationCAM(ActivationMap):
    """Ablation-CAM: each channel weighted by what the score loses without it.

    Formula:
        ``L = relu(sum_k w_k A_k)``, ``w_k = (S - S_k) / |S|``, ``S_k`` the score with channel ``k`` of the layer at
        zero. The paper divides by ``S``, which is the same for scores above zero and would turn the map round below.

    It takes as many passes from the layer to the score as the layer has channels that are not zero everywhere for this
    input: behind a ReLU often half of them. What is below the layer is not computed again.

    Source:
        Desai & Ramaswamy 2020, Ablation-CAM: Visual Explanations for Deep Convolutional Network via Gradient-free
        Localization.

    Example:
        >>> import keras, numpy as np, tfsaliency as tfs
        >>> keras.utils.set_random_seed(1)
        >>> model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3, activation="relu"),
        ...                           keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2)])
        >>> x = np.random.default_rng(0).normal(size=(1, 8, 8, 3))
        >>> bool((tfs.AblationCAM(model).explain(x).values >= 0).all())
        True
    """

    def map(self, activation: Activation, forward: Forward, score: Score) -> tf.Tensor:
        output = activation.output
        axis = activation.grid.of_channels % output.shape.rank
        channels = output.shape[axis]
        others = [place for place in inner_axes(output) if place != axis]

        def ask(x: Any, score: Score, pairs: tf.Tensor) -> tf.Tensor:
            kept = 1 - tf.one_hot(pairs[:, 1], channels, dtype=output.dtype)
            for place in others:
                kept = tf.expand_dims(kept, place)
            return score.altered(forward, x, activation.traced, tf.gather(output, pairs[:, 0]) * kept)

        counts = tf.reduce_any(output != 0, others)
        lost = forward.score[:, None] - _scores(counts, forward.score, forward.inputs, score, ask)
        weights = tf.math.divide_no_nan(lost, tf.abs(forward.score)[:, None])
        return tf.nn.relu(tf.einsum("nk,n...k->n...", weights, activation.fold(output)))
