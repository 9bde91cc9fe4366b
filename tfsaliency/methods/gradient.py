from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from tfsaliency.explainer import Attribution, Explainer
from tfsaliency.forward import ancestors, first_without_gradient
from tfsaliency.score import Score
from tfsaliency.transforms import times_input

# Gradients of pixels are often smaller than float16 goes: they are computed as much larger, and divided in float32.
HALF_SCALE = 1024.0


@dataclass(frozen=True, eq=False)
class Gradient(Explainer):
    """Vanilla saliency: the gradient of the class score with respect to the input, signed.

    Formula:
        ``v = d S_c(x) / d x``, with ``S_c`` the logit of class ``c``, before the softmax.

    The paper's map is ``Gradient(model).then(tfsaliency.transforms.max_channels)``.

    Args:
        model: any Keras model.

    Source:
        Simonyan, Vedaldi & Zisserman 2014, Deep Inside Convolutional Networks, section 3.

    Example:
        >>> import keras, numpy as np, tfsaliency as tfs
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, use_bias=False)])
        >>> model.set_weights([np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])])
        >>> tfs.Gradient(model).explain(np.ones((1, 3)), target=1).values
        array([[2., 4., 6.]], dtype=float32)
    """

    model: keras.Model

    def attribute(self, x: Any, score: Score) -> Attribution:
        return Attribution(score_and_gradient(x, score)[1])


@dataclass(frozen=True, eq=False)
class GradientTimesInput(Gradient):
    """The gradient times the input: what each number contributes, as far as the model is linear.

    Formula:
        ``v = x * d S_c(x) / d x``. For a network of ReLU without biases the values sum to the score.

    Args:
        model: any Keras model.

    Source:
        Shrikumar et al. 2016, Not Just a Black Box, section 2.

    Example:
        >>> import keras, numpy as np, tfsaliency as tfs
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, use_bias=False)])
        >>> explanation = tfs.GradientTimesInput(model).explain(np.ones((1, 3)))
        >>> bool(np.isclose(explanation.values.sum(), explanation.scores))
        True
    """

    def attribute(self, x: Any, score: Score) -> Attribution:
        values, diagnostics = super().attribute(x, score)
        return Attribution(tf.nest.map_structure(times_input, values, x), diagnostics)


def score_and_gradient(x: Any, score: Score) -> tuple[tf.Tensor, Any]:
    """The score, ``(N,)``, and its gradient in the structure of the inputs."""
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = score(x)
    return y, gradient(tape, y, x)


def gradient(tape: tf.GradientTape, y: tf.Tensor, x: Any) -> Any:
    """The gradient of ``y`` in the structure of ``x``; zero for a part that ``y`` does not depend on.

    Raises:
        ValueError: an operation on the way has no gradient.
    """
    parts = tf.nest.flatten(x)
    scale = _scale(y)
    try:
        gradients = tape.gradient(y, parts, output_gradients=tf.fill(tf.shape(y), scale))
    except LookupError:
        gradients = [None] * len(parts)
    return in_structure(x, _unscaled(gradients, scale), y)


def slopes(y: tf.Tensor, tensors: list[tf.Tensor]) -> list[tf.Tensor | None]:
    """The gradient of ``y`` at tensors on the way to it, float32; nothing below them is differentiated."""
    scale = _scale(y)
    return _unscaled(tf.gradients(y, tensors, tf.fill(tf.shape(y), scale), stop_gradients=tensors), scale)


def _scale(y: tf.Tensor) -> float:
    return HALF_SCALE if any(map(_is_half, ancestors(y))) else 1.0


def _unscaled(gradients: list[Any], scale: float) -> list[tf.Tensor | None]:
    dense = [None if each is None else tf.cast(tf.convert_to_tensor(each), tf.float32) for each in gradients]
    return dense if scale == 1 else [None if each is None else each / scale for each in dense]


def in_structure(x: Any, flows: list[tf.Tensor | None], y: tf.Tensor) -> Any:
    """What reached each part of the inputs, in their structure; zero for a part that ``y`` does not depend on.

    Raises:
        ValueError: ``y`` depends on a part that nothing reached, since an operation on the way has no gradient.
    """
    parts = tf.nest.flatten(x)
    for part, flow in zip(parts, flows, strict=True):
        blocking = first_without_gradient(y, part) if flow is None else None
        if blocking is not None:
            raise ValueError(
                f"No gradient reaches the input {part.shape}: the operation {blocking.name!r} of type {blocking.type} "
                "has none. Token ids and other categories have no gradient: explain a model that takes the embedded "
                "vectors, keras.Model(embedding.output, model.output). An output such as argmax has none: explain the "
                "scores it is made of."
            )
    filled = [tf.zeros_like(part) if flow is None else flow for part, flow in zip(parts, flows, strict=True)]
    return tf.nest.pack_sequence_as(x, filled)


def _is_half(op: tf.Operation) -> bool:
    return any(output.dtype == tf.float16 for output in op.outputs)


def as_explainer(explained: keras.Model | Explainer) -> Explainer:
    """What a wrapper asks: the explainer it was given, or the gradient of the model it was given."""
    return explained if isinstance(explained, Explainer) else Gradient(explained)
