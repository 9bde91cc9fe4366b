"""Maps from the activations of a layer and the gradient with respect to them: CAM, Grad-CAM and similar methods."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from tfsaliency.base.meaning import Meaning
from tfsaliency.engine.question import Attribution
from tfsaliency.engine.score import Forward, Score
from tfsaliency.explainer import Explainer
from tfsaliency.graph.ancestry import ancestors, descendants
from tfsaliency.graph.gradients import without_gradient
from tfsaliency.graph.operations import DENSE_HEAD
from tfsaliency.methods.activations.layer_choice import Activation, check_layer, choose


@dataclass(frozen=True, eq=False)
class ActivationMap(Explainer):
    """A map over the places of a layer, resized to the inputs.

    Args:
        model: any Keras model.
        layer: None for the last activation with spatial extent before pooling, on each way to the score and for each
            part of the inputs, named in ``provenance["layer"]`` of the explanation, whose maps add up; a layer, its
            name, or its path through models (``"backbone/block5_conv3"``); for a layer with several calls, a pair of
            one of these and the index of the call; or a list of these, whose maps are averaged.
        upsample: whether the map is resized to the input, ``(N, height, width, 1)``, or keeps the grid of the layer.

    The tokens of a transformer are arranged on their grid, without class and register tokens. Where inputs have
    several parts, as the two pictures of a siamese network, each has the map of the layers that see it, and zeros where
    none does.

    Raises:
        ValueError: on ``explain``, if there is no such layer or its places do not lie over an input.
    """

    model: keras.Model
    layer: Any = None
    upsample: bool = True

    @abstractmethod
    def map(self, activation: Activation, forward: Forward, score: Score) -> tf.Tensor:
        """``(N, *grid)``: the map over the places of a layer.

        Args:
            activation: the output of the layer.
            forward: the score and the model that computed it.
            score: the function that is explained, for methods that call it again.
        """

    @property
    def meaning(self) -> Meaning:
        return "places"

    def attribute(self, x: Any, score: Score) -> Attribution:
        forward = score.forward(x)
        activations = choose(self.layer, forward)
        score.note("layer", "; ".join(activation.name for activation in activations))
        maps = [(activation, self.map(activation, forward, score)) for activation in activations]
        parts = enumerate(tf.nest.flatten(forward.inputs))
        return Attribution(tf.nest.pack_sequence_as(x, [self._over_part(number, part, maps) for number, part in parts]))

    def _over_part(self, number: int, part: tf.Tensor, maps: list[tuple[Activation, tf.Tensor]]) -> tf.Tensor:
        """The maps of the layers that see a part of the inputs: their sum over branches, their mean over a list."""
        seen = [(grid, places) for activation, places in maps if (grid := activation.grids[number]) is not None]
        if not seen:
            return tf.zeros_like(part)
        grids = [grid.shape for grid, _ in seen]
        if not self.upsample and len(set(grids)) > 1:
            raise ValueError(f"Maps of different grids are averaged with upsample=True. Received: {grids}")
        over = [grid.with_channels(grid.over_input(places) if self.upsample else places) for grid, places in seen]
        return tf.add_n(over) / (1 if self.layer is None else len(over))

    def __post_init__(self) -> None:
        super().__post_init__()
        check_layer(self.layer)


@dataclass(frozen=True, eq=False)
class GradientWeighted(ActivationMap):
    """A map from the activations ``A`` of a layer and the gradient of the score with respect to them, ``G = dS / dA``.

    The gradient stops at the layer.

    Raises:
        ValueError: no gradient reaches the layer.
    """

    @abstractmethod
    def weigh(self, activations: tf.Tensor, gradients: tf.Tensor) -> tf.Tensor:
        """``(N, *grid)`` from ``A`` and ``G``, each ``(N, *grid, K)``."""

    def map(self, activation: Activation, forward: Forward, score: Score) -> tf.Tensor:
        (reached,) = forward.slopes([activation.output])
        if reached is None:
            raise without_gradient(forward.score, activation.output)
        return self.weigh(activation.fold(activation.output), activation.fold(reached))


@dataclass(frozen=True, eq=False)
class GradCAM(GradientWeighted):
    """Grad-CAM: the channels of a layer, each weighted by its mean gradient.

    Formula:
        ``L = relu(sum_k a_k A_k)``, ``a_k = mean over places of dS / dA_k``.

    The mean loses the places where a channel matters, so a map can point at places that did not support the class
    (Draelos & Carin 2020). If more than pooling and one dense layer follows the layer, look at `HiResCAM` too.

    Source:
        Selvaraju et al. 2017, Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization.

    Example:
        >>> import keras, numpy as np, tfsaliency as tfs
        >>> keras.utils.set_random_seed(1)
        >>> model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3, activation="relu", name="top"),
        ...                           keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2)])
        >>> x = np.random.default_rng(0).normal(size=(1, 8, 8, 3))
        >>> explanation = tfs.GradCAM(model).explain(x)
        >>> explanation.values.shape, explanation.provenance["layer"]
        ((1, 8, 8, 1), 'top')
    """

    def weigh(self, activations: tf.Tensor, gradients: tf.Tensor) -> tf.Tensor:
        weights = tf.reduce_mean(gradients, _places(gradients), keepdims=True)
        return tf.nn.relu(tf.reduce_sum(weights * activations, axis=-1))


@dataclass(frozen=True, eq=False)
class GradCAMPlusPlus(GradientWeighted):
    """Grad-CAM++: Grad-CAM that counts each place where a channel supports the class, even if the area is small.

    Formula:
        ``L = relu(sum_k w_k A_k)``, ``w_k = sum over places of a_k relu(G_k)``,
        ``a_k = G_k^2 / (2 G_k^2 + G_k^3 sum over places of A_k)``, with ``G = dS / dA``. The paper's ``S`` is the
        exponential of the logit: this multiplies the map by ``exp(S)`` and changes nothing else.

    The weights come from a Taylor expansion that holds only for networks without curvature between layer and score.

    Source:
        Chattopadhay et al. 2018, Grad-CAM++: Generalized Gradient-based Visual Explanations for Deep Convolutional
        Networks.

    Example:
        >>> import keras, numpy as np, tfsaliency as tfs
        >>> keras.utils.set_random_seed(1)
        >>> model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3, activation="relu"),
        ...                           keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2)])
        >>> x = np.random.default_rng(0).normal(size=(1, 8, 8, 3))
        >>> tfs.GradCAMPlusPlus(model, upsample=False).explain(x).values.shape
        (1, 6, 6, 1)
    """

    def weigh(self, activations: tf.Tensor, gradients: tf.Tensor) -> tf.Tensor:
        summed = tf.reduce_sum(activations, _places(activations), keepdims=True)
        # Numerator and denominator are divided by G^2, because G^2 underflows first.
        shares = tf.math.divide_no_nan(tf.cast(gradients != 0, tf.float32), 2 + gradients * summed)
        weights = tf.reduce_sum(shares * tf.nn.relu(gradients), _places(gradients), keepdims=True)
        return tf.nn.relu(tf.reduce_sum(weights * activations, axis=-1))


@dataclass(frozen=True, eq=False)
class HiResCAM(GradientWeighted):
    """HiResCAM: activation times gradient, place by place, signed.

    Formula:
        ``L = sum_k A_k dS/dA_k``. If only linear layers follow the layer, the map sums to the score minus the
        contribution of their biases.

    Use ``upsample=False`` to sum a map.

    Source:
        Draelos & Carin 2020, Use HiResCAM instead of Grad-CAM for faithful explanations of convolutional neural
        networks.

    Example:
        >>> import keras, numpy as np, tfsaliency as tfs
        >>> keras.utils.set_random_seed(1)
        >>> model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3, activation="relu"),
        ...                           keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2)])
        >>> x = np.random.default_rng(0).normal(size=(1, 8, 8, 3))
        >>> explanation = tfs.HiResCAM(model, upsample=False).explain(x)
        >>> bool(np.isclose(explanation.values.sum(), explanation.scores[0], atol=1e-5))
        True
    """

    @property
    def meaning(self) -> Meaning:
        return "signed"

    def weigh(self, activations: tf.Tensor, gradients: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(gradients * activations, axis=-1)


@dataclass(frozen=True, eq=False)
class LayerCAM(GradientWeighted):
    """LayerCAM: activation times positive gradient, place by place, also for early layers.

    Formula:
        ``L = relu(sum_k relu(dS/dA_k) A_k)``.

    The map omits evidence against the class, so the maps of two classes share more than the evidence of the network.

    Source:
        Jiang et al. 2021, LayerCAM: Exploring Hierarchical Class Activation Maps for Localization.

    Example:
        >>> import keras, numpy as np, tfsaliency as tfs
        >>> keras.utils.set_random_seed(1)
        >>> model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3, activation="relu", name="a"),
        ...                           keras.layers.Conv2D(4, 3, activation="relu", name="b"),
        ...                           keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2)])
        >>> x = np.random.default_rng(0).normal(size=(1, 8, 8, 3))
        >>> tfs.LayerCAM(model, ["a", "b"]).explain(x).provenance["layer"]
        'a; b'
    """

    def weigh(self, activations: tf.Tensor, gradients: tf.Tensor) -> tf.Tensor:
        return tf.nn.relu(tf.reduce_sum(tf.nn.relu(gradients) * activations, axis=-1))


@dataclass(frozen=True, eq=False)
class XGradCAM(GradientWeighted):
    """XGrad-CAM: Grad-CAM with a mean gradient weighted by the activations, which makes a ReLU network's map complete.

    Formula:
        ``L = relu(sum_k a_k A_k)``, ``a_k = sum over places of A_k dS/dA_k / sum over places of A_k``.

    For activations of both signs the denominator can vanish; the weights are then large and meaningless.

    Source:
        Fu et al. 2020, Axiom-based Grad-CAM: Towards Accurate Visualization and Explanation of CNNs.

    Example:
        >>> import keras, numpy as np, tfsaliency as tfs
        >>> keras.utils.set_random_seed(1)
        >>> model = keras.Sequential([keras.Input((9, 3)), keras.layers.Conv1D(4, 3, activation="relu"),
        ...                           keras.layers.GlobalAveragePooling1D(), keras.layers.Dense(2)])
        >>> x = np.random.default_rng(0).normal(size=(1, 9, 3))
        >>> tfs.XGradCAM(model).explain(x).values.shape
        (1, 9, 1)
    """

    def weigh(self, activations: tf.Tensor, gradients: tf.Tensor) -> tf.Tensor:
        places = _places(activations)
        weights = tf.math.divide_no_nan(
            tf.reduce_sum(gradients * activations, places, keepdims=True),
            tf.reduce_sum(activations, places, keepdims=True),
        )
        return tf.nn.relu(tf.reduce_sum(weights * activations, axis=-1))


@dataclass(frozen=True, eq=False)
class CAM(GradientWeighted):
    """The class activation map of 2016: the channels before global average pooling, weighted by the dense layer.

    Formula:
        ``L = sum_k w_k A_k``, with ``w_k`` the weight of channel ``k`` for the class, signed. Its mean over the places
        is the score minus its bias.

    Args:
        model: a Keras model that ends in global average pooling and one dense layer.

    Raises:
        ValueError: on ``explain``, if anything except pooling and one dense layer follows the layer, because the paper
            has no map for that case: use `GradCAM` or `HiResCAM`.

    Source:
        Zhou et al. 2016, Learning Deep Features for Discriminative Localization.

    Example:
        >>> import keras, numpy as np, tfsaliency as tfs
        >>> keras.utils.set_random_seed(1)
        >>> model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3, activation="relu"),
        ...                           keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2)])
        >>> x = np.random.default_rng(0).normal(size=(1, 8, 8, 3))
        >>> explanation = tfs.CAM(model, upsample=False).explain(x)
        >>> bool(np.isclose(explanation.values.mean(), explanation.scores[0], atol=1e-5))
        True
    """

    @property
    def meaning(self) -> Meaning:
        return "signed"

    def map(self, activation: Activation, forward: Forward, score: Score) -> tf.Tensor:
        # The class is chosen by the model's output, behind its softmax: that is no way of the score.
        ops = descendants(ancestors(forward.score, known=tf.nest.flatten(score.chosen)), [activation.output])
        kinds = [op.type for op in ops if op.outputs[0].dtype.is_floating]
        if not kinds or kinds[0] != "Mean" or kinds.count("MatMul") != 1 or set(kinds[1:]) - set(DENSE_HEAD):
            raise ValueError(
                f"CAM is for a layer that global average pooling and one dense layer follow. After "
                f"{activation.name!r} come: {', '.join(kinds)}. Use GradCAM or HiResCAM for this model."
            )
        return super().map(activation, forward, score)

    def weigh(self, activations: tf.Tensor, gradients: tf.Tensor) -> tf.Tensor:
        # Before a mean every place has the same gradient: the weight divided by the number of places.
        weights = tf.reduce_sum(gradients, _places(gradients), keepdims=True)
        return tf.reduce_sum(weights * activations, axis=-1)


@dataclass(frozen=True, eq=False)
class EigenCAM(ActivationMap):
    """Eigen-CAM: the activations of a layer along their first principal direction, without class or gradient.

    Formula:
        ``L = A v_1``, with ``A`` as a matrix of places and channels and ``v_1`` its first right singular vector, with
        the sign that makes the map's sum positive.

    The map shows the strongest response of the layer and is the same for every class.

    Source:
        Muhammad & Yeasin 2020, Eigen-CAM: Class Activation Map using Principal Components.

    Example:
        >>> import keras, numpy as np, tfsaliency as tfs
        >>> keras.utils.set_random_seed(1)
        >>> model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3, activation="relu"),
        ...                           keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2)])
        >>> x = np.random.default_rng(0).normal(size=(1, 8, 8, 3))
        >>> bool((tfs.EigenCAM(model).explain(x, 0).values == tfs.EigenCAM(model).explain(x, 1).values).all())
        True
    """

    @property
    def meaning(self) -> Meaning:
        return "signed"

    def map(self, activation: Activation, forward: Forward, score: Score) -> tf.Tensor:
        activations = activation.fold(activation.output)
        *_, channels = activations.shape
        matrix = tf.reshape(activations, [-1, activations.shape[1:-1].num_elements(), channels])
        # Both Gram matrices have the same first singular value: the smaller one is used.
        if matrix.shape[1] < channels:
            lengths, vectors = tf.linalg.eigh(tf.matmul(matrix, matrix, transpose_b=True))
            along = vectors[..., -1] * tf.sqrt(tf.nn.relu(lengths[..., -1:]))
        else:
            _, vectors = tf.linalg.eigh(tf.matmul(matrix, matrix, transpose_a=True))
            along = tf.linalg.matvec(matrix, vectors[..., -1])
        sign = tf.where(tf.reduce_sum(along, axis=-1, keepdims=True) < 0, -1.0, 1.0)
        return tf.reshape(along * sign, [-1, *activation.grid.shape])


def _places(activations: tf.Tensor) -> list[int]:
    """The axes of the grid."""
    return list(range(1, activations.shape.rank - 1))
