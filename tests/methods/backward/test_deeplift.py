"""DeepLIFT: twins, completeness on every operation, baselines."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfsaliency as tfs
from tests import reference
from tests.harness import close, tape_gradient

GENERATOR = np.random.default_rng(0)


def first_number(z):
    return z[:, 0]


def dense_model(seed, *units, activation="relu"):
    keras.utils.set_random_seed(seed)
    inner = [layers.Dense(size, activation) for size in units[1:-1]]
    model = keras.Sequential([keras.Input((units[0],)), *inner, layers.Dense(units[-1])])
    generator = np.random.default_rng(seed)
    model.set_weights([generator.normal(size=weight.shape) for weight in model.get_weights()])
    return model


def test_rescale_equals_its_twin():
    for seed in range(3):
        model = dense_model(seed, 6, 10, 8, 3)
        weights = [tuple(layer.get_weights()) for layer in model.layers]
        x, x0 = np.random.default_rng(seed).normal(size=(2, 4, 6))
        explanation = tfs.DeepLIFT(model, baseline=x0[0]).explain(x, 1)
        expected = [reference.rescale_dense(row, x0[0], weights, 1) for row in x]
        assert np.linalg.norm(explanation.values - expected) < 1e-5 * np.linalg.norm(expected)


@pytest.mark.parametrize(
    ("activation", "function"),
    [("relu", lambda z: np.maximum(z, 0)), ("tanh", np.tanh), ("sigmoid", lambda z: 1 / (1 + np.exp(-z)))],
)
def test_reveal_cancel_equals_its_twin(activation, function):
    model = dense_model(4, 7, 1, 1, activation=activation)
    (w, b), (top, _) = (layer.get_weights() for layer in model.layers)
    x, x0 = np.random.default_rng(4).normal(size=(2, 5, 7))
    values = tfs.DeepLIFT(model, x0[0], "reveal_cancel").explain(x, lambda z: z[:, 0]).values
    expected = [top[0, 0] * reference.reveal_cancel_unit(row, x0[0], w[:, 0], b[0], function) for row in x]
    assert np.linalg.norm(values - expected) < 1e-5 * np.linalg.norm(expected)


def test_reveal_cancel_reveals_what_rescale_cancels():
    """The paper's example, ``min(i1, i2) = i1 - relu(i1 - i2)``: Rescale gives all to one input, this half to each."""
    x = keras.Input((2,))
    dense = layers.Dense(1, "relu", use_bias=False)
    y = layers.Dense(1, use_bias=False)(layers.Concatenate()([x, dense(x)]))
    model = keras.Model(x, y)
    dense.set_weights([np.array([[1.0], [-1.0]])])
    model.layers[-1].set_weights([np.array([[1.0], [0.0], [-1.0]])])
    inputs = np.array([[10.0, 6.0]])
    rescale = tfs.DeepLIFT(model).explain(inputs, lambda z: z[:, 0]).values
    revealed = tfs.DeepLIFT(model, rule="reveal_cancel").explain(inputs, lambda z: z[:, 0]).values
    np.testing.assert_allclose(rescale, [[0, 6]], atol=1e-4)
    np.testing.assert_allclose(revealed, [[3, 3]], atol=1e-4)


# Two need arguments and stand among the operations below.
ACTIVATIONS = sorted(
    {name for name in dir(keras.activations) if not name.startswith("_")}
    - {"deserialize", "get", "serialize", "glu", "threshold"}
)


# A sparsemax may be closed at a sample.
@pytest.mark.filterwarnings("ignore:The values of the samples .* are zero")
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation_of_keras_is_complete(activation):
    for rule in ("rescale", "reveal_cancel"):
        model = dense_model(5, 6, 8, 3, activation=activation)
        x = np.random.default_rng(5).normal(size=(4, 6))
        check_complete(tfs.DeepLIFT(model, 0.3, rule), model, x)


# A sparse sigmoid is a choice between constants beyond -1 and 1: what arrives there is lost, and said.
@pytest.mark.filterwarnings("ignore:The values of the samples .* (are zero|miss their sum)")
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation_of_keras_hands_its_relevance_on(activation):
    """The first layer, by the flat rule, gives a sixth of it to each of six inputs."""
    model = dense_model(5, 6, 8, 3, activation=activation)
    x = np.random.default_rng(5).normal(size=(4, 6)).astype("float32")
    (weights, bias), (top, _) = (layer.get_weights() for layer in model.layers)
    z = x @ weights + bias
    slopes, said = tape_gradient(lambda z: keras.activations.get(activation)(z) @ top[:, :1], z)
    of_units = {
        # Their units depend on each other: gradient times input.
        "softmax": z * slopes,
        "log_softmax": z * slopes,
        # Beyond -1 and 1 it selects a constant, which has no input to hand anything to.
        "sparse_sigmoid": np.where(np.abs(z) < 1, keras.activations.sparse_sigmoid(z) * top[:, 0], 0),
    }.get(activation, said)
    expected = np.repeat(of_units.sum(axis=1, keepdims=True) / 6, 6, axis=1)
    np.testing.assert_allclose(tfs.LRP(model).explain(x, 0).values, expected, atol=1e-4 * np.abs(expected).max())


# Functions of one number that Keras has no activation of, and where to ask them.
FUNCTIONS = {
    "acos": 0.0,
    "acosh": 2.0,
    "asin": 0.0,
    "asinh": 0.0,
    "atan": 0.0,
    "atanh": 0.0,
    "bessel_i0": 0.0,
    "bessel_i0e": 0.0,
    "bessel_i1": 0.0,
    "bessel_i1e": 0.0,
    "cos": 0.0,
    "cosh": 0.0,
    "digamma": 2.0,
    "erfinv": 0.0,
    "lgamma": 2.0,
    "ndtri": 0.5,
    "sin": 0.0,
    "sinh": 0.0,
    "tan": 0.0,
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_of_one_number_hands_its_change_and_its_relevance_to_that_number(name):
    function, middle = getattr(tf.math, name), FUNCTIONS[name]
    weights = np.array([[2.0], [-1.0], [0.5]], "float32")
    model = keras.Sequential([keras.Input((3,)), layers.Lambda(function), layers.Dense(1, use_bias=False)])
    model.set_weights([weights])
    x = (middle + np.array([[0.3, -0.4, 0.1], [-0.2, 0.35, 0.25]])).astype("float32")
    x0 = (middle + np.array([0.1, 0.2, -0.3])).astype("float32")
    y, y0 = function(x).numpy(), function(x0).numpy()
    for rule in ("rescale", "reveal_cancel"):
        values = tfs.DeepLIFT(model, x0, rule).explain(x, first_number).values
        np.testing.assert_allclose(values, (y - y0) * weights[:, 0], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(tfs.LRP(model, "epsilon").explain(x, first_number).values, y * weights[:, 0], rtol=1e-4)


def test_a_function_of_one_number_under_an_affine_map_reveals_and_cancels():
    """``sin(x1 - x2)``: Rescale by the secant, RevealCancel by its twin."""
    model = keras.Sequential([keras.Input((2,)), layers.Dense(1, use_bias=False), layers.Lambda(tf.sin)])
    model.set_weights([np.array([[1.0], [-1.0]])])
    x, x0 = np.array([[1.2, 0.5]]), np.array([0.1, 0.3])
    slope = (np.sin(0.7) - np.sin(-0.2)) / 0.9
    values = tfs.DeepLIFT(model, x0).explain(x, first_number).values
    np.testing.assert_allclose(values, [[1.1 * slope, -0.2 * slope]], rtol=1e-5)
    values = tfs.DeepLIFT(model, x0, "reveal_cancel").explain(x, first_number).values
    expected = reference.reveal_cancel_unit(x[0], x0, np.array([1.0, -1.0]), 0.0, np.sin)
    np.testing.assert_allclose(values, [expected], rtol=1e-5)


def of_product(factors, **options):
    """``2 prod x``, over the given shape of factors."""
    x = keras.Input(factors)
    y = layers.Lambda(lambda x: tf.reduce_prod(x, **options))(x)
    model = keras.Model(x, layers.Dense(1, use_bias=False)(layers.Flatten()(y)))
    model.layers[-1].set_weights([np.full(model.layers[-1].kernel.shape, 2.0)])
    return model


@pytest.mark.parametrize("count", [2, 3, 5, 8])
def test_a_product_over_an_axis_shares_its_change_along_the_line(count):
    """The integral of the slope over the line from the baseline, by polynomials with numpy."""
    generator = np.random.default_rng(count)
    x, x0 = generator.normal(size=(2, count)), generator.normal(size=count)
    expected = np.empty_like(x)
    for row, values in zip(x, expected, strict=True):
        lines = [np.polynomial.Polynomial([b, a - b]) for a, b in zip(row, x0, strict=True)]
        for i, change in enumerate(row - x0):
            slope = np.prod([line for j, line in enumerate(lines) if j != i])
            values[i] = 2 * change * slope.integ()(1.0)
    explanation = tfs.DeepLIFT(of_product((count,), axis=-1, keepdims=True), x0).explain(x, first_number)
    np.testing.assert_allclose(explanation.values, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(explanation.diagnostics["completeness_gap"], 0, atol=1e-5)


def test_a_product_of_two_over_an_axis_is_a_product():
    x, x0 = np.random.default_rng(2).normal(size=(3, 4, 2)), np.random.default_rng(3).normal(size=(4, 2))
    signal = keras.Input((4, 2))
    same = keras.Model(signal, layers.Dense(1, use_bias=False)(signal[..., 0] * signal[..., 1]))
    same.layers[-1].set_weights([np.full((4, 1), 2.0)])
    model = of_product((4, 2), axis=[2])
    for explainer in (lambda model: tfs.DeepLIFT(model, x0), lambda model: tfs.LRP(model, "epsilon")):
        expected = explainer(same).explain(x, first_number).values
        np.testing.assert_allclose(explainer(model).explain(x, first_number).values, expected, rtol=1e-4, atol=1e-6)


def test_relevance_of_a_product_over_axes_is_in_equal_parts():
    x = np.random.default_rng(4).uniform(0.5, 2, size=(3, 2, 3)) * [-1, 1, -1]
    model = of_product((2, 3), axis=(1, 2), keepdims=True)
    values = tfs.LRP(model, "epsilon").explain(x, first_number).values
    score = 2 * np.prod(x, axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(values, np.broadcast_to(score / 6, x.shape), rtol=1e-4)


def test_a_product_of_an_unknown_number_of_factors_asks_for_its_shape():
    x, x0 = np.array([[1.0, 2.0, 3.0]]), np.array([0.0, 1.0, 2.0])

    def model(known):
        flat = layers.Lambda(lambda x: tf.ensure_shape(tf.reshape(x, [tf.shape(x)[0], -1]), [None, known]))
        return keras.Sequential([keras.Input((3,)), flat, layers.Lambda(lambda x: tf.reduce_prod(x, 1, keepdims=True))])

    with pytest.raises(ValueError, match=r"unknown number of factors.*\(None, None\).*tf.ensure_shape"):
        tfs.DeepLIFT(model(None), x0).explain(x, first_number)
    values = tfs.DeepLIFT(model(3), x0).explain(x, first_number).values
    # One factor at a time: the integrals of (1 + t) (2 + t), t (2 + t) and t (1 + t).
    np.testing.assert_allclose(values, [[23 / 6, 4 / 3, 5 / 6]], rtol=1e-5)


FUNCTIONS_OF_TWO = {
    "power": (lambda a, b: (2 + a) ** b, lambda a, b: (2 + a) ** b),
    "arctan2": (tf.atan2, np.arctan2),
    "xlogy": (lambda a, b: tf.math.xlogy(a, 2 + b), lambda a, b: a * np.log(2 + b)),
    "xdivy": (lambda a, b: tf.math.xdivy(a, 2 + b), lambda a, b: a / (2 + b)),
}


@pytest.mark.parametrize("name", FUNCTIONS_OF_TWO)
def test_a_function_of_two_signals_shares_its_change_over_both_orders(name):
    """Shapley values of two players; one of them may be broadcast, or not change at all."""
    function, twin = FUNCTIONS_OF_TWO[name]
    a, b = keras.Input((3,)), keras.Input((1,))
    y = layers.Lambda(lambda parts: function(*parts))([a, b])
    model = keras.Model([a, b], layers.Dense(1, use_bias=False)(y))
    model.layers[-1].set_weights([np.array([[1.0], [-2.0], [0.5]])])
    generator = np.random.default_rng(3)
    x, x0 = ([generator.uniform(-1, 1, size=(4, size)) for size in (3, 1)] for _ in range(2))
    x0 = [part[0] for part in x0]
    x[0][0, 1], x[1][1, 0] = x0[0][1], x0[1][0]
    explanation = tfs.DeepLIFT(model, x0).explain(x, first_number)
    weights = np.array([1.0, -2.0, 0.5])
    both, first, second, neither = (
        twin(one, other) * weights for one, other in ((x[0], x[1]), (x[0], x0[1]), (x0[0], x[1]), (x0[0], x0[1]))
    )
    of_a, of_b = (both - second + first - neither) / 2, (both - first + second - neither) / 2
    np.testing.assert_allclose(explanation.values[0], of_a, rtol=1e-3, atol=2e-5)
    np.testing.assert_allclose(explanation.values[1], of_b.sum(axis=1, keepdims=True), rtol=1e-3, atol=2e-5)
    np.testing.assert_allclose(explanation.diagnostics["completeness_gap"], 0, atol=1e-5)


@pytest.mark.parametrize("name", ["arctan2", "xlogy", "xdivy"])
def test_a_function_of_two_numbers_of_which_one_is_fixed_is_an_activation(name):
    function, _ = FUNCTIONS_OF_TWO[name]
    a = keras.Input((3,))
    hidden = layers.Dense(4, use_bias=False)(a)
    model = keras.Model(a, layers.Dense(1)(layers.Lambda(lambda part: function(part, 0.7))(hidden)))
    x = np.random.default_rng(3).uniform(-0.5, 0.5, size=(4, 3))
    explanation = tfs.DeepLIFT(model).explain(x, first_number)
    np.testing.assert_allclose(explanation.diagnostics["completeness_gap"], 0, atol=1e-5)
    # All of the relevance of the result goes to the one signal.
    values = tfs.LRP(model, "epsilon").explain(x, first_number).values
    kernel, (last, _) = model.layers[1].get_weights()[0], model.layers[-1].get_weights()
    signal = x.astype("float32") @ kernel
    shares = x[:, :, None] * kernel / signal[:, None]
    expected = (shares * (function(signal, 0.7) * last[:, 0])[:, None]).numpy().sum(axis=-1)
    np.testing.assert_allclose(values, expected, rtol=2e-3, atol=1e-4)


def check_complete(explainer, model, x, target=0):
    """Values sum to the difference of the scores, computed by the model itself."""
    explanation = explainer.explain(x, first_number)
    difference = explanation.scores - tfs.Gradient(model).explain(np.full_like(x, 0.3), target).scores
    total = explanation.values.reshape(len(x), -1).sum(axis=1)
    assert np.abs(total - difference).max() <= 1e-4 * np.abs(difference).max() + 1e-5
    np.testing.assert_allclose(explanation.diagnostics["completeness_gap"], total - difference, atol=1e-5)
    assert np.abs(explanation.values).max() > 0


OPERATIONS = {
    "max pooling": lambda x: layers.MaxPooling2D(3, strides=2)(x),
    "global max pooling": lambda x: layers.GlobalMaxPooling2D()(x),
    "average pooling": lambda x: layers.AveragePooling2D(2)(x),
    "product of signals": lambda x: layers.Conv2D(4, 1)(x) * layers.Conv2D(4, 1)(x),
    "squeeze and excite": lambda x: x * layers.Dense(3, "sigmoid")(layers.GlobalAveragePooling2D(keepdims=True)(x)),
    "quotient": lambda x: layers.Conv2D(2, 1)(x) / (2 + keras.ops.square(layers.Conv2D(2, 1)(x))),
    "larger of two signals": lambda x: keras.ops.maximum(layers.Conv2D(2, 1)(x), layers.Conv2D(2, 1)(x)),
    "smaller of two signals": lambda x: keras.ops.minimum(layers.Conv2D(2, 1)(x), layers.Conv2D(2, 1)(x)),
    "minimum over an axis": lambda x: keras.ops.min(x, axis=-1),
    "softmax": lambda x: layers.Softmax()(3 * x),
    "log_softmax": lambda x: keras.ops.log_softmax(3 * x),
    "layer normalization": lambda x: layers.LayerNormalization()(x),
    "group normalization": lambda x: layers.GroupNormalization(3)(x),
    "unit normalization": lambda x: layers.UnitNormalization()(x),
    "rms normalization": lambda x: layers.RMSNormalization()(x),
    "attention": lambda x: layers.MultiHeadAttention(2, 3)(*[layers.Reshape((36, 3))(x)] * 2),
    "gated linear unit": lambda x: keras.ops.glu(layers.Conv2D(4, 1)(x)),
    "threshold": lambda x: keras.ops.threshold(x, 0.1, 0.0),
    "upsampling": lambda x: layers.UpSampling2D(2, interpolation="bilinear")(x),
    "resize": lambda x: layers.Resizing(4, 4)(x),
    "crop, pad, concatenate": lambda x: layers.Concatenate()([layers.ZeroPadding2D(1)(layers.Cropping2D(1)(x)), x]),
    "permute, repeat": lambda x: layers.RepeatVector(2)(layers.Flatten()(layers.Permute((3, 1, 2))(x))),
    "separable": lambda x: layers.SeparableConv2D(4, 3)(x),
    "prelu": lambda x: layers.PReLU(alpha_initializer="uniform")(layers.Conv2D(3, 1)(x)),
    "unrolled lstm": lambda x: layers.LSTM(4, unroll=True)(layers.Reshape((6, 18))(x)),
    "unrolled gru": lambda x: layers.GRU(4, unroll=True)(layers.Reshape((6, 18))(x)),
}


# A softmax conserves no relevance: its rule is its gradient times its input. With the products around it, see
# test_relevance_of_a_transformer_is_gradient_times_input_where_gates_stand_still.
LIKE_A_GRADIENT = ("softmax", "log_softmax")
NOT_CONSERVED = (*LIKE_A_GRADIENT, "attention")


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_is_complete_and_conserves_relevance(name):
    keras.utils.set_random_seed(6)
    x = keras.Input((6, 6, 3))
    y = layers.Flatten()(OPERATIONS[name](layers.Conv2D(3, 1)(x)))
    model = keras.Model(x, layers.Dense(3)(y))
    inputs = np.random.default_rng(6).normal(size=(2, 6, 6, 3))
    check_complete(tfs.DeepLIFT(model, 0.3), model, inputs)
    relevance = tfs.LRP(model, "epsilon").explain(inputs, 0)
    if name not in NOT_CONSERVED:
        np.testing.assert_allclose(relevance.values.sum(axis=(1, 2, 3)), relevance.scores, rtol=1e-4)
    if name in LIKE_A_GRADIENT:
        close(relevance.values, tfs.GradientTimesInput(model).explain(inputs, 0).values, 2e-3)


@pytest.mark.parametrize("extreme", ["max", "min"])
def test_an_extreme_of_segments_is_that_of_their_numbers(extreme):
    """Nodes that belong to graphs of different sizes: the twin takes the extreme of each graph's nodes by itself."""
    ids = (0, 2, 0, 1, 2, 2)
    of_segments = {"max": tf.math.unsorted_segment_max, "min": tf.math.unsorted_segment_min}[extreme]
    of_axis = {"max": keras.ops.max, "min": keras.ops.min}[extreme]

    def by_segments(nodes):
        return tf.transpose(of_segments(tf.transpose(nodes, (1, 0, 2)), ids, 3), (1, 0, 2))

    def by_hand(nodes):
        members = ([place for place, each in enumerate(ids) if each == graph] for graph in range(3))
        return keras.ops.stack([of_axis(keras.ops.take(nodes, each, axis=1), axis=1) for each in members], axis=1)

    keras.utils.set_random_seed(6)
    x, first, last = keras.Input((6, 4)), layers.Dense(5, "leaky_relu"), layers.Dense(2)
    model, twin = (
        keras.Model(x, last(layers.Flatten()(layers.Lambda(pooled, output_shape=(3, 5))(first(x)))))
        for pooled in (by_segments, by_hand)
    )
    inputs = np.random.default_rng(6).normal(size=(3, 6, 4))
    check_complete(tfs.DeepLIFT(model, 0.3), model, inputs)
    for explained in (lambda m: tfs.DeepLIFT(m, 0.3), lambda m: tfs.LRP(m, "epsilon"), tfs.GuidedBackprop):
        close(explained(model).explain(inputs, 1).values, explained(twin).explain(inputs, 1).values, 1e-5)


@pytest.mark.parametrize("scale", [1.0, 60.0])
def test_softmax_is_an_exponential_of_a_log_softmax_however_far_apart_logits_are(scale):
    """In float64 by hand. As a quotient of exponentials, attention without a scale lost all digits: a gap of -4,096."""
    generator = np.random.default_rng(1)
    x, x0 = scale * generator.normal(size=(2, 4, 7))
    head = generator.normal(size=(7, 1))
    model = keras.Sequential([keras.Input((7,)), layers.Softmax(), layers.Dense(1, use_bias=False)])
    model.set_weights([head])

    def log_sum(z):
        return np.log(np.exp(z - z.max(axis=1, keepdims=True)).sum(axis=1, keepdims=True)) + z.max(
            axis=1, keepdims=True
        )

    z, z0 = x - log_sum(x), x0 - log_sum(x0)
    of_z = head[:, 0] * (np.exp(z) - np.exp(z0)) / (z - z0)
    # The sum of exponentials rises by what each of them rises.
    rises = np.exp(x) - np.exp(x0)
    of_log_sum = (log_sum(x) - log_sum(x0)) * rises / rises.sum(axis=1, keepdims=True)
    expected = of_z * (x - x0) - of_z.sum(axis=1, keepdims=True) * of_log_sum
    for row in range(len(x)):
        explanation = tfs.DeepLIFT(model, x0[row]).explain(x[row : row + 1], 0)
        close(explanation.values, expected[row : row + 1], 1e-4)
        assert np.abs(explanation.diagnostics["completeness_gap"]) < 1e-5


def test_values_that_cancel_are_warned_of():
    """At zero the model divides by the root of 1e-12: values of 1e5 add up to a change of less than one."""
    generator = np.random.default_rng(0)
    weights = generator.normal(size=(6, 3)).astype("float32")

    def model(x):
        return tf.math.l2_normalize(tf.tanh(x), -1) @ weights

    x = generator.normal(size=(2, 6)).astype("float32")
    with pytest.warns(UserWarning, match=r"samples \[0, 1\] cancel: their sizes add up to .*choose another baseline"):
        tfs.DeepLIFT(model).explain(x, 1)
    tfs.DeepLIFT(model, 0.1).explain(x, 1)


def test_several_baselines_are_averaged():
    model = dense_model(7, 5, 8, 3)
    x, several = GENERATOR.normal(size=(4, 5)), GENERATOR.normal(size=(3, 5))
    averaged = tfs.DeepLIFT(model, several).explain(x, 0)
    each = [tfs.DeepLIFT(model, one).explain(x, 0).values for one in several]
    np.testing.assert_allclose(averaged.values, np.mean(each, axis=0), rtol=1e-4, atol=1e-5)


def test_several_baselines_below_a_maximum():
    """In a loop TensorFlow loses the shape of a maximum's gradient."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((9, 4)), layers.Conv1D(5, 3, activation="relu"), layers.GlobalMaxPooling1D()])
    x = np.random.default_rng(0).normal(size=(2, 9, 4))
    several = np.random.default_rng(1).normal(size=(3, 9, 4))
    values = tfs.DeepLIFT(model, several).explain(x, 1).values
    each = [tfs.DeepLIFT(model, one).explain(x, 1).values for one in several]
    np.testing.assert_allclose(values, np.mean(each, axis=0), rtol=1e-4, atol=1e-6)


def test_many_baselines_are_one_graph():
    """A hundred baselines on a network with convolutions and pooling, in float16 too."""
    x = keras.Input((8, 8, 2))
    y = layers.MaxPooling2D(2)(layers.Conv2D(3, 3, activation="gelu", dtype="mixed_float16")(x))
    model = keras.Model(x, layers.Dense(3)(layers.Flatten()(y)))
    inputs, many = GENERATOR.normal(size=(2, 8, 8, 2)), GENERATOR.normal(size=(100, 8, 8, 2))
    explanation = tfs.DeepLIFT(model, many).explain(inputs, 0)
    expected = np.mean([tfs.DeepLIFT(model, one).explain(inputs, 0).values for one in many[:3]], axis=0)
    np.testing.assert_allclose(tfs.DeepLIFT(model, many[:3]).explain(inputs, 0).values, expected, rtol=1e-3, atol=1e-5)
    scores = tfs.Gradient(model).explain(many, 0).scores
    total = explanation.values.sum(axis=(1, 2, 3))
    np.testing.assert_allclose(total, explanation.scores - scores.mean(), rtol=5e-3, atol=5e-3)


def test_baselines_in_every_form_are_the_same():
    model = dense_model(8, 5, 8, 3)
    x = GENERATOR.normal(size=(4, 5)).astype("float32")
    of = {
        name: tfs.DeepLIFT(model, baseline).explain(x, 0).values
        for name, baseline in {
            "number": 0.5,
            "array": np.full(5, 0.5),
            "axis of one": np.array([0.5]),
            "one of several": np.full((1, 5), 0.5),
            "function": lambda x: tf.fill(tf.shape(x), 0.5),
        }.items()
    }
    for values in of.values():
        np.testing.assert_array_equal(values, of["number"])
    per_sample = tfs.DeepLIFT(model, lambda x: x / 2).explain(x, 0).values
    alone = [tfs.DeepLIFT(model, row / 2).explain(row[None], 0).values[0] for row in x]
    np.testing.assert_allclose(per_sample, alone, rtol=1e-4, atol=1e-6)


def test_each_input_has_its_baseline():
    keras.utils.set_random_seed(9)
    parts = {"a": keras.Input((3,), name="a"), "b": keras.Input((4, 2), name="b")}
    y = layers.Concatenate()([layers.Dense(4, "relu")(parts["a"]), layers.Flatten()(parts["b"])])
    model = keras.Model(parts, layers.Dense(2)(layers.Dense(6, "relu")(y)))
    x = {"a": GENERATOR.normal(size=(3, 3)), "b": GENERATOR.normal(size=(3, 4, 2))}
    explanation = tfs.DeepLIFT(model, {"a": 0.5, "b": np.ones((4, 2))}).explain(x, 0)
    reference_score = tfs.Gradient(model).explain({"a": np.full((1, 3), 0.5), "b": np.ones((1, 4, 2))}, 0).scores
    total = explanation.values["a"].sum(axis=1) + explanation.values["b"].sum(axis=(1, 2))
    np.testing.assert_allclose(total, explanation.scores - reference_score, rtol=1e-4, atol=1e-5)


def test_a_function_of_the_logits_is_complete_too():
    model = dense_model(10, 5, 8, 3)
    x = GENERATOR.normal(size=(4, 5))
    explanation = tfs.DeepLIFT(model, 0.2).explain(x, lambda z: tf.nn.relu(z[:, 0]) * tf.sigmoid(z[:, 1]))
    np.testing.assert_allclose(explanation.diagnostics["completeness_gap"], 0, atol=1e-5)
    assert np.abs(explanation.values).max() > 0


@pytest.mark.parametrize("masked", [-1e9, -np.inf])
@pytest.mark.parametrize("write", [lambda z, m, v: tf.where(m, z, v), lambda z, m, v: z + tf.where(m, 0.0, v)])
def test_attention_under_a_mask_of_minus_infinity(masked, write):
    """However a mask is put under a softmax, what it hides is not there: the map is that of the steps that are left."""
    keras.utils.set_random_seed(0)
    query, top = layers.Dense(1), layers.Dense(2)
    query.build((None, 3))

    def model(x, is_read):
        scores = query(x)[..., 0]
        weights = tf.nn.softmax(scores if is_read is None else write(scores, is_read, masked))
        return top(tf.reduce_sum(weights[..., None] * x, axis=1))

    x = np.random.default_rng(0).normal(size=(2, 4, 3))
    values = tfs.DeepLIFT(tfs.as_model(lambda x: model(x, [True, True, True, False]))).explain(x, 1).values
    expected = tfs.DeepLIFT(tfs.as_model(lambda x: model(x, None))).explain(x[:, :3], 1).values
    np.testing.assert_allclose(values[:, :3], expected, rtol=1e-4, atol=1e-6)
    assert (values[:, 3] == 0).all()


@pytest.mark.parametrize("policy, tolerance", [("mixed_float16", 0.01), ("mixed_bfloat16", 0.05)])
def test_reveal_cancel_of_a_normalization_in_mixed_precision(policy, tolerance):
    """The activation belongs to the map of the convolution and its normalization, whatever rounds between them."""

    def build(of):
        keras.utils.set_random_seed(0)
        x = keras.Input((8, 8, 3))
        y = layers.BatchNormalization(dtype=of)(layers.Conv2D(5, 3, dtype=of)(x))
        y = layers.GlobalAveragePooling2D(dtype=of)(layers.ReLU(dtype=of)(y))
        return keras.Model(x, layers.Dense(3)(y))

    generator = np.random.default_rng(0)
    single, mixed = build("float32"), build(policy)
    weights = [generator.uniform(0.3, 1.5, size=each.shape) for each in single.weights]
    weights[0] = generator.normal(size=weights[0].shape)
    for model in (single, mixed):
        model.set_weights(weights)
    pictures = generator.uniform(size=(2, 8, 8, 3)).astype("float32")
    expected, found = (
        tfs.DeepLIFT(model, rule="reveal_cancel").explain(pictures, 1).values for model in (single, mixed)
    )
    close(found, expected, tolerance)
