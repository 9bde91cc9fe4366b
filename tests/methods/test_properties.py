"""Properties that hold for every network, on random small architectures."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from keras import layers

import tfsaliency as tfs
from tests.harness import close

BLOCKS = {
    "convolution": lambda y: layers.Conv2D(5, 3, padding="same", activation="relu")(y),
    "strided": lambda y: layers.Conv2D(4, 3, strides=2, padding="same", use_bias=False)(y),
    "depthwise": lambda y: layers.DepthwiseConv2D(3, padding="same", activation="relu6")(y),
    "normalized": lambda y: layers.ReLU()(layers.BatchNormalization()(y)),
    "residual": lambda y: layers.Add()([y, layers.Conv2D(y.shape[-1], 1, activation="silu")(y)]),
    "concatenated": lambda y: layers.Concatenate()([y, layers.Conv2D(2, 1, activation="elu")(y)]),
    "pooled": lambda y: layers.AveragePooling2D(2, padding="same")(y),
    "max pooled": lambda y: layers.MaxPooling2D(2, padding="same")(y),
    "gated": lambda y: layers.Multiply()([y, layers.Dense(y.shape[-1], activation="sigmoid")(y)]),
    "layer normalized": lambda y: layers.LayerNormalization()(y),
    "dropout": lambda y: layers.Dropout(0.5)(y),
}
architectures = st.lists(st.sampled_from(sorted(BLOCKS)), min_size=1, max_size=5)


def build(blocks, seed):
    keras.utils.set_random_seed(seed)
    x = y = keras.Input((8, 8, 2))
    for block in blocks:
        y = BLOCKS[block](y)
    y = layers.Dense(3)(layers.Flatten()(y))
    return keras.Model(x, layers.Softmax()(y)), keras.Model(x, y)


# Some of these networks are linear, whose variance is zero.
@pytest.mark.filterwarnings("ignore:The values of the samples.*zero everywhere")
# No shrinking: a failure names its few blocks, and tracing each candidate takes seconds.
@settings(max_examples=12, deadline=None, derandomize=True, phases=[Phase.explicit, Phase.generate])
@given(blocks=architectures, seed=st.integers(0, 1000))
def test_gradient_of_a_random_network(blocks, seed):
    model, logits = build(blocks, seed)
    x = np.random.default_rng(seed).normal(size=(3, 8, 8, 2)).astype("float32")

    with tf.GradientTape() as tape:
        constant = tf.constant(x)
        tape.watch(constant)
        score = logits(constant, training=False)[:, 1]
    expected = tape.gradient(score, constant).numpy()
    explanation = tfs.Gradient(model).explain(x, 1)
    close(explanation.values, expected, 1e-5)

    # The difference of two class gradients is the gradient of their margin; softmax leaves margins alone.
    margin = tfs.Gradient(model).explain(x, tfs.target.margin(1, 2)).values
    close(margin, expected - tfs.Gradient(model).explain(x, 2).values, 1e-4)

    # Sample by sample: order and company do not matter.
    order = np.array([2, 0, 1])
    smooth = tfs.SmoothGrad(model, samples=4).explain(x, 1)
    shuffled = tfs.SmoothGrad(model, samples=4).explain(x[order], 1, batch_size=2)
    close(shuffled.values, smooth.values[order], 1e-4)
    np.testing.assert_allclose(
        shuffled.diagnostics["relative_error"], smooth.diagnostics["relative_error"][order], rtol=1e-2
    )

    # E v^2 = (E v)^2 + Var v.
    squared = tfs.SmoothGradSquared(model, samples=4).explain(x, 1).values
    variance = tfs.VarGrad(model, samples=4).explain(x, 1).values
    close(squared, smooth.values**2 + variance, 1e-4)
    keras.backend.clear_session()


@settings(max_examples=10, deadline=None, derandomize=True)
@given(features=st.integers(1, 6), classes=st.integers(2, 5), seed=st.integers(0, 1000))
def test_linear_models(features, classes, seed):
    """The gradient is the weight, exactly; times the input it sums to the score without its bias."""
    generator = np.random.default_rng(seed)
    model = keras.Sequential([keras.Input((features,)), layers.Dense(classes, activation="softmax")])
    weights, bias = generator.normal(size=(features, classes)).astype("float32"), generator.normal(size=classes)
    model.set_weights([weights, bias])
    x = generator.normal(size=(4, features))
    targets = generator.integers(0, classes, 4)
    np.testing.assert_array_equal(tfs.Gradient(model).explain(x, targets).values, weights.T[targets])
    product = tfs.GradientTimesInput(model).explain(x, targets)
    np.testing.assert_allclose(product.values.sum(axis=1) + bias[targets], product.scores, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("activation", ["relu", "leaky_relu"])
def test_gradient_times_input_is_complete_without_biases(activation):
    """Such a network is homogeneous: f(x) = x f'(x), by Euler."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((8, 8, 2)),
            layers.Conv2D(6, 3, use_bias=False, activation=activation),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(3, use_bias=False, activation="softmax"),
        ]
    )
    explanation = tfs.GradientTimesInput(model).explain(np.random.default_rng(0).normal(size=(5, 8, 8, 2)))
    np.testing.assert_allclose(explanation.values.sum(axis=(1, 2, 3)), explanation.scores, rtol=1e-4)
