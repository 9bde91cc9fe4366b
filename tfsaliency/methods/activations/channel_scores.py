"""Class activation maps whose weights are found by scoring the model again, channel by channel: no gradient."""

from dataclasses import dataclass

import tensorflow as tf

from tfsaliency.engine.copies import Block, scores_of_copies
from tfsaliency.engine.score import Forward, Score
from tfsaliency.methods.activations.class_activation import ActivationMap
from tfsaliency.methods.activations.grid import Grid
from tfsaliency.methods.activations.layer_choice import Activation
from tfsaliency.tensors.sums import inner_axes, repeated, sizes_of


@dataclass(frozen=True, eq=False)
class ScoreCAM(ActivationMap):
    """Score-CAM: each channel weighted by the score of the input masked by that channel.

    Formula:
        ``L = relu(sum_k a_k A_k)``, ``a = softmax over k of S(x * H_k)``, ``H_k`` the channel resized to the input and
        scaled to [0, 1]. The vectors that are looked up for ids are moved towards that of padding, or of a mean id, and
        not towards zero.

    It takes as many forward passes as the layer has channels. The softmax of logits gives nearly all weight to a few
    channels, and the model was not trained on inputs dimmed by a mask.

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
        channels = activations.shape[-1]

        def ask(block: Block) -> tf.Tensor:
            first, count = block
            chosen = tf.experimental.numpy.moveaxis(activations[..., first : first + count], -1, 0)
            chosen = tf.reshape(chosen, [-1, *activation.grid.shape])
            copies = repeated(x, count)
            pairs = zip(tf.nest.flatten(copies), tf.nest.flatten(score.neutral(copies)), strict=True)
            parts = [
                part if grid is None else hidden + (part - hidden) * _mask(chosen, grid)
                for (part, hidden), grid in zip(pairs, activation.grids, strict=True)
            ]
            return score.at(tf.nest.pack_sequence_as(x, parts))

        weights = tf.nn.softmax(scores_of_copies(channels, x, score, ask), axis=0)
        return tf.nn.relu(tf.einsum("kn,n...k->n...", weights, activations))


def _mask(maps: tf.Tensor, grid: Grid) -> tf.Tensor:
    """Maps ``(n, *shape)`` resized to an input and scaled to [0, 1]. A constant map hides everything."""
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

    It takes as many passes from the layer to the score as the layer has channels. What is below the layer is not
    computed again.

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
        x = forward.inputs
        output = activation.output
        axis = activation.grid.of_channels
        channels = output.shape[axis]
        along = [channels if place == axis % output.shape.rank else 1 for place in range(output.shape.rank)]

        def ask(block: Block) -> tf.Tensor:
            first, count = block
            # Rows in the order of stacked copies: all samples without the first channel, then without the second.
            kept = 1 - tf.one_hot(tf.range(first, first + count), channels, dtype=output.dtype)
            ablated = output * tf.reshape(kept, [count, *along])
            ablated = tf.reshape(ablated, [-1, *sizes_of(output)])
            return score.altered(forward, repeated(x, count), activation.traced, ablated)

        lost = forward.score - scores_of_copies(channels, x, score, ask)
        weights = tf.math.divide_no_nan(lost, tf.abs(forward.score))
        return tf.nn.relu(tf.einsum("kn,n...k->n...", weights, activation.fold(output)))
