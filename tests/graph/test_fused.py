"""A fused trace has fewer operations, and the values and gradients of the trace.

All numbers are float64: what is left to tell between the two is rounding.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfsaliency as tfs
from tests.harness import built_in_float64, tape_gradient
from tfsaliency.graph.ancestry import ancestors, descendants
from tfsaliency.graph.fused import FusedTrace, fusible
from tfsaliency.graph.network import Network
from tfsaliency.graph.trace import Trace
from tfsaliency.model.traced import TracedModel


def numbers(*shape):
    return np.random.default_rng(len(shape)).normal(size=shape)


S, T, MEAN, VARIANCE = numbers(1, 4)[0], numbers(4), numbers(4) / 2, np.square(numbers(4)) + 0.5
PER_PLACE = numbers(6, 6, 4)
KERNEL = numbers(3, 3, 4, 4)
TABLE, SERIES, PICTURE, VOLUME = [None, 4], [None, 6, 4], [None, 6, 6, 4], [None, 4, 4, 4, 4]


def normalized(y):
    return tf.nn.batch_normalization(y, MEAN, VARIANCE, T, S, 1e-3)


def scales(x):
    """One number per channel, from a weight that is itself computed."""
    return x * tf.exp(tf.constant(S) / 2)


def conv(x, padding="SAME", kernel=KERNEL):
    return tf.nn.conv2d(x, kernel, 1, padding)


def transposed(x):
    return tf.nn.conv2d_transpose(x, KERNEL, [tf.shape(x)[0], 12, 12, 4], 2, "SAME")


def padded(x):
    return tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]])


def by_argmax(x):
    """A choice reads the result of the convolution before it is scaled: it must not see it scaled."""
    y = conv(x)
    chosen = tf.cast(tf.argmax(y, axis=-1), tf.float64)
    return normalized(y) * chosen[..., None]


def by_two(x):
    y = conv(x)
    return tf.concat([normalized(y), tf.tanh(y)], axis=-1)


def shared(x):
    """One kernel in two maps with scales of their own."""
    return normalized(conv(tf.nn.relu(scales(conv(x)))))


# Name -> function, shape of its input, and how many operations between input and output fusing takes away.
CASES = {
    "convolution": (lambda x: normalized(conv(x)), PICTURE, 1),
    "convolution with a bias": (lambda x: normalized(tf.nn.bias_add(conv(x), T)), PICTURE, 2),
    "depthwise": (
        lambda x: normalized(tf.nn.depthwise_conv2d(x, KERNEL[..., :1], [1, 1, 1, 1], "SAME")),
        PICTURE,
        1,
    ),
    "in groups": (lambda x: normalized(conv(x, kernel=KERNEL[:, :, :2])), PICTURE, 1),
    "transposed": (lambda x: normalized(transposed(x)), PICTURE, 1),
    "of a series": (lambda x: normalized(tf.nn.conv1d(x, KERNEL[0], 1, "SAME")), SERIES, 1),
    "of a volume": (
        lambda x: normalized(tf.nn.conv3d(x, numbers(2, 2, 2, 4, 4), [1] * 5, "SAME")),
        VOLUME,
        1,
    ),
    "dense": (lambda x: normalized(tf.nn.bias_add(tf.matmul(x, KERNEL[0, 0]), T)), TABLE, 2),
    "dense with weights turned": (lambda x: scales(tf.matmul(x, KERNEL[0, 0], transpose_b=True)), TABLE, 1),
    "dense at each place": (lambda x: scales(tf.matmul(x, tf.broadcast_to(KERNEL[0, 0], [1, 4, 4]))), SERIES, 1),
    "shift of each place, then a scale": (lambda x: scales(conv(x) + PER_PLACE), PICTURE, 1),
    "scale without a shift": (lambda x: tf.tanh(scales(conv(x))), PICTURE, 1),
    "scale in front": (lambda x: conv(scales(x)), PICTURE, 1),
    "scale in front of a padding": (lambda x: conv(padded(x / 3), "VALID"), PICTURE, 1),
    "scale on both sides": (lambda x: normalized(conv(scales(tf.nn.relu(x)))), PICTURE, 2),
    # The border of a padded convolution sees less of the shift: it stays where it is.
    "shift in front": (lambda x: normalized(conv(x - 1)), PICTURE, 1),
    "shift alone": (lambda x: tf.nn.bias_add(conv(x), T), PICTURE, 0),
    "another reader": (by_two, PICTURE, 0),
    "a choice reads on the way": (by_argmax, PICTURE, 0),
    "one kernel twice": (shared, PICTURE, 2),
    "a number of each sample": (
        lambda x: conv(x) * tf.reduce_sum(x, axis=[1, 2, 3], keepdims=True),
        PICTURE,
        0,
    ),
    # Weights that depend on the input cannot be fused once for all runs.
    "weights of the input": (
        lambda x: scales(tf.matmul(x, tf.cast(tf.argmax(x[:4], axis=-1), tf.float64)[:, None] * KERNEL[0, 0])),
        TABLE,
        0,
    ),
    "more weights than numbers": (lambda x: scales(tf.matmul(x, numbers(400, 4))), [None, 400], 0),
}


def fused(function, shape, dtype=tf.float64):
    trace = Trace(function, tf.TensorSpec(shape, dtype))
    wanted = [trace.outputs]
    maps = fusible(Network(trace, list(trace.inputs), wanted), wanted)
    return trace, FusedTrace(trace, maps, wanted), maps


@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients_are_those_of_the_trace(name):
    function, shape, taken = CASES[name]
    trace, after, maps = fused(function, shape)
    upstream, counts = [], []

    @tf.function(autograph=False)
    def both(x):
        answers = []
        for run in (trace.run, lambda given: after.run(given, after.weights())):
            y = run([(trace.inputs[0], x)])[trace.outputs]
            counts.append(computing(x, y))
            if not upstream:
                upstream.append(np.random.default_rng(3).normal(size=(4, *y.shape[1:])))
            answers.append((y, tf.gradients(y, x, upstream)[0]))
        return answers

    x = np.random.default_rng(2).normal(size=(4, *shape[1:]))
    (y, slope), (z, slope_after) = both(tf.constant(x))
    assert np.abs(y).max() > 0.1
    np.testing.assert_allclose(z, y, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(slope_after, slope, rtol=1e-12, atol=1e-12)
    assert counts[0] - counts[1] == taken
    assert bool(maps) == bool(taken)


def computing(x, y):
    """How many operations from one tensor to another compute something."""
    return sum(op.type != "Identity" for op in descendants(ancestors(y), [x]))


class ReadsBeside(layers.Layer):
    """A gradient that reads what it is not given: a tensor on the way, one that nothing else needs, and a weight."""

    def build(self, shape):
        self.kernel = self.add_weight(shape=(3, 3, shape[-1], 4), initializer="random_normal")
        self.scale = self.add_weight(shape=(4,), initializer="random_normal")

    def call(self, x):
        on_the_way, scale = tf.nn.conv2d(x, self.kernel, 1, "SAME"), tf.convert_to_tensor(self.scale)

        @tf.custom_gradient
        def bent(z):
            for_itself = tf.sigmoid(3 * z)
            return tf.tanh(z), lambda upstream: upstream * for_itself * (on_the_way + scale)

        return bent(on_the_way * scale)


def test_what_a_custom_gradient_reads_besides_is_as_it_was():
    keras.utils.set_random_seed(0)
    inner = [layers.Conv2D(4, 3), layers.BatchNormalization(gamma_initializer="random_normal"), ReadsBeside()]
    model = keras.Sequential([keras.Input((6, 6, 2)), *inner, layers.Flatten(), layers.Dense(3)])
    x = np.random.default_rng(0).normal(size=(2, 6, 6, 2)).astype("float32")
    expected, _ = tape_gradient(lambda x: model(x)[:, 1], x)
    np.testing.assert_allclose(tfs.Gradient(model).explain(x, 1).values, expected, rtol=1e-5, atol=1e-7)


NETWORKS = {
    "MobileNetV2": (lambda: keras.applications.MobileNetV2((224, 224, 3), alpha=0.35, weights=None, classes=4), 52),
    "EfficientNetB0": (lambda: keras.applications.EfficientNetB0(weights=None, classes=4), 49),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_of_many_normalizations(name):
    build, normalizations = NETWORKS[name]
    keras.utils.set_random_seed(0)
    with built_in_float64():
        model = build()
    model.set_weights([draw(each, weights) for each, weights in zip(model.weights, model.get_weights(), strict=True)])
    plain = TracedModel(model, tf.TensorSpec([None, 224, 224, 3], tf.float64))
    scales = [each for each in model.layers if isinstance(each, keras.layers.BatchNormalization)]
    assert len(scales) == normalizations

    @tf.function(autograph=False)
    def slopes(x):
        logits, after = (each.run(x)[each.logits.values][:, 1] for each in (plain, plain.fused(x.graph)))
        # One operation instead of two for each of them.
        counts.extend(computing(x, each) for each in (logits, after))
        return tf.gradients(logits, x)[0], tf.gradients(after, x)[0]

    counts = []
    slope, after = slopes(tf.constant(np.random.default_rng(0).uniform(0, 255, size=(1, 224, 224, 3))))
    assert np.linalg.norm(after - slope) <= 1e-12 * np.linalg.norm(slope) > 0
    assert counts[0] - counts[1] == normalizations


def test_weights_are_fused_from_the_variables_as_they_are_at_each_call():
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.Input((6, 6, 2)), layers.Conv2D(4, 3), layers.BatchNormalization(), layers.Flatten()]
    )
    x = np.random.default_rng(0).normal(size=(2, 6, 6, 2)).astype("float32")
    before = tfs.Gradient(model).explain(x, 5).values
    gamma, *others = model.layers[1].get_weights()
    model.layers[1].set_weights([-3 * gamma, *others])
    np.testing.assert_allclose(tfs.Gradient(model).explain(x, 5).values, -3 * before, rtol=1e-5, atol=1e-7)


def test_a_batch_is_as_large_as_what_is_left_allows(monkeypatch):
    """A row of 4 x 4 x 4 floats for each of four operations, two of which are fused away."""
    keras.utils.set_random_seed(0)
    asked = []
    monkeypatch.setattr("tfsaliency.engine.compiled.rows_for", lambda row_bytes: asked.append(row_bytes) or 2)
    inner = [layers.Conv2D(4, 3), layers.BatchNormalization(), layers.GlobalMaxPool2D()]
    model = keras.Sequential([keras.Input((6, 6, 2)), *inner])
    x = np.random.default_rng(0).normal(size=(1, 6, 6, 2))
    tfs.Gradient(model).explain(x, 1)
    tfs.GradCAM(model).explain(x, 1)
    fused, whole = asked
    assert whole - fused == 2 * 4**3 * 4


def draw(variable, weights):
    """Statistics and scales that no normalization begins with."""
    if weights.ndim != 1 or "seed" in variable.path:
        return weights
    spread = np.random.default_rng(weights.size).uniform(0.3, 0.9, size=weights.shape)
    return spread if "beta" in variable.path or "mean" in variable.path else weights + spread
