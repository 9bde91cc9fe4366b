"""Methods with rules on whole networks: the same map for every way to write one, transformers, U-Nets, refusals."""

from contextlib import nullcontext

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfsaliency as tfs
from tests.harness import built_in_float64, close
from tfsaliency.rules import kind, operation

METHODS = {
    "GuidedBackprop": tfs.GuidedBackprop,
    "DeconvNet": tfs.DeconvNet,
    "LRP epsilon": lambda model: tfs.LRP(model, "epsilon"),
    "LRP epsilon_plus_flat": tfs.LRP,
    "LRP alpha2_beta1": lambda model: tfs.LRP(model, "alpha2_beta1"),
    "DeepTaylor": lambda model: tfs.DeepTaylor(model, -3, 3),
    "DeepLIFT": tfs.DeepLIFT,
    "DeepLIFT reveal_cancel": lambda model: tfs.DeepLIFT(model, rule="reveal_cancel"),
}


def parts():
    """The layers of one network, new each time; its one ReLU layer is used in two places."""
    return [
        layers.Conv2D(4, 3, padding="same"),
        layers.BatchNormalization(),
        layers.ReLU(),
        layers.MaxPooling2D(2),
        layers.Conv2D(5, 3),
        layers.Flatten(),
        layers.Dense(3, activation="softmax"),
    ]


def sequential():
    first, norm, relu, pool, second, flat, top = parts()
    return keras.Sequential([keras.Input((8, 8, 2)), first, norm, relu, pool, second, layers.ReLU(), flat, top])


def functional():
    first, norm, relu, pool, second, flat, top = parts()
    x = keras.Input((8, 8, 2))
    return keras.Model(x, top(flat(relu(second(pool(relu(norm(first(x)))))))))


def nested():
    first, norm, relu, pool, second, flat, top = parts()
    stem = keras.Sequential([first, norm, relu])
    x = keras.Input((8, 8, 2))
    backbone = keras.Model(x, relu(second(pool(stem(x)))))
    x = keras.Input((8, 8, 2))
    return keras.Model(x, keras.Sequential([flat, top])(backbone(x)))


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.first, self.norm, self.relu, self.pool, self.second, self.flat, self.top = parts()

    def call(self, x):
        y = tf.nn.relu(self.norm(self.first(x)))
        return self.top(self.flat(keras.ops.maximum(self.second(self.pool(y)), 0)))


@pytest.mark.parametrize("method", METHODS)
def test_one_network_written_four_ways_has_one_map(method):
    generator = np.random.default_rng(0)
    x = generator.normal(size=(2, 8, 8, 2)).astype("float32")
    maps, weights = [], None
    for build in (sequential, functional, nested, Subclassed):
        model = build()
        model(x)
        weights = weights or [np.abs(w) if w.ndim == 1 else w for w in map(noisy(generator), model.get_weights())]
        model.set_weights(weights)
        maps.append(METHODS[method](model).explain(x, 1).values)
    for other in maps[1:]:
        np.testing.assert_allclose(other, maps[0], rtol=1e-4, atol=1e-6)


def noisy(generator):
    return lambda weight: weight + 0.2 * generator.normal(size=weight.shape)


def test_lrp_without_epsilon_is_gradient_times_input_on_relu_networks():
    keras.utils.set_random_seed(1)
    x = keras.Input((12, 12, 3))
    y = layers.Conv2D(6, 3, padding="same", use_bias=False)(x)
    y = layers.Activation("relu")(layers.BatchNormalization()(y))
    y = layers.Add()([y, layers.Conv2D(6, 3, padding="same", activation="relu")(y)])
    y = layers.AveragePooling2D(2)(layers.Concatenate()([y, layers.DepthwiseConv2D(3, padding="same")(y)]))
    y = layers.MaxPooling2D(2)(layers.Conv2D(8, 3, padding="same", activation="relu")(layers.BatchNormalization()(y)))
    model = keras.Model(x, layers.Dense(4)(layers.GlobalAveragePooling2D()(y)))
    model.set_weights(
        [np.abs(w) if w.ndim == 1 else w for w in map(noisy(np.random.default_rng(1)), model.get_weights())]
    )
    inputs = np.random.default_rng(1).normal(size=(3, 12, 12, 3))
    zero = tfs.rules.Epsilon(1e-9)
    relevance = (
        tfs.LRP(model, {kind(name): zero for name in ("convolution", "dense", "normalization")})
        .explain(inputs, 2)
        .values
    )
    expected = tfs.GradientTimesInput(model).explain(inputs, 2).values
    # Sums of the residual connection and of averages keep a stabilizer of 1e-6.
    assert np.linalg.norm(relevance - expected) < 1e-4 * np.linalg.norm(expected)


@pytest.mark.parametrize("rules", ["epsilon", "gamma", "alpha2_beta1", "epsilon_plus_flat"])
def test_relevance_of_a_margin_is_the_difference_of_two_relevances(rules):
    """Relevance is shared in proportion, so a sum of scores has the sum of the maps."""
    explainer, x = tfs.LRP(functional(), rules), np.random.default_rng(0).normal(size=(3, 8, 8, 2))
    margin = explainer.explain(x, tfs.target.margin(0, 2)).values
    expected = explainer.explain(x, 0).values - explainer.explain(x, 2).values
    np.testing.assert_allclose(margin, expected, rtol=1e-3, atol=1e-5)


def test_two_sides_of_a_binary_head():
    """One unit under a sigmoid: relevance of the other side is the negative, and so is what differs."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4,)), layers.Dense(6, "relu"), layers.Dense(1, "sigmoid")])
    x = np.random.default_rng(0).normal(size=(3, 4))
    for method in (tfs.LRP(model, "epsilon"), tfs.LRP(model, "gamma"), tfs.DeepLIFT(model)):
        np.testing.assert_allclose(method.explain(x, 0).values, -method.explain(x, 1).values, rtol=1e-5, atol=1e-6)


def vision_transformer(normalization=layers.LayerNormalization, attention=layers.MultiHeadAttention, gelu="gelu"):
    x = keras.Input((16, 16, 3))
    y = layers.Reshape((16, 12))(layers.Conv2D(12, 4, strides=4)(x))
    y = layers.Concatenate(axis=1)([Tokens(1, 12)(y), y])
    for _ in range(2):
        z = normalization()(y)
        y = y + attention(3, 4)(z, z)
        y = y + layers.Dense(12)(layers.Dense(24, activation=gelu)(normalization()(y)))
    return keras.Model(x, layers.Dense(4, activation="softmax")(normalization()(y)[:, 0]))


class Tokens(layers.Layer):
    """A learned token in front of each sequence."""

    def __init__(self, count, size):
        super().__init__()
        self.tokens = self.add_weight(shape=(1, count, size), initializer="random_normal")

    def call(self, x):
        return tf.tile(self.tokens, [tf.shape(x)[0], 1, 1])


class Windows(layers.Layer):
    """Attention within windows that a roll has shifted, with a bias per relative position, as Swin has it."""

    product = staticmethod(tf.matmul)

    def __init__(self, size, shift, dim):
        super().__init__()
        self.size, self.shift, self.dim = size, shift, dim
        self.qkv, self.top = layers.Dense(3 * dim), layers.Dense(dim)

    def build(self, shape):
        self.bias = self.add_weight(shape=(1, self.size**2, self.size**2), initializer="random_normal")

    def call(self, x):
        s, (h, w, c) = self.size, x.shape[1:]
        y = tf.roll(x, [-self.shift, -self.shift], [1, 2])
        y = tf.reshape(y, [-1, h // s, s, w // s, s, c])
        y = tf.reshape(tf.transpose(y, [0, 1, 3, 2, 4, 5]), [-1, s * s, c])
        q, k, v = tf.split(self.qkv(y), 3, axis=-1)
        a = tf.nn.softmax(self.product(q, k, transpose_b=True) / self.dim**0.5 + self.bias)
        y = tf.reshape(self.top(self.product(a, v)), [-1, h // s, w // s, s, s, self.dim])
        y = tf.reshape(tf.transpose(y, [0, 1, 3, 2, 4, 5]), [-1, h, w, self.dim])
        return tf.roll(y, [self.shift, self.shift], [1, 2])


def swin(normalization=layers.LayerNormalization, attention=Windows, gelu="gelu"):
    x = keras.Input((16, 16, 3))
    y = layers.Conv2D(8, 2, strides=2)(x)
    for shift in (0, 2):
        y = y + attention(4, shift, 8)(normalization()(y))
        y = y + layers.Dense(8)(layers.Dense(16, activation=gelu)(normalization()(y)))
    return keras.Model(x, layers.Dense(4, activation="softmax")(layers.GlobalAveragePooling2D()(y)))


def unet():
    x = keras.Input((16, 16, 3))
    top = layers.Conv2D(6, 3, padding="same", activation="relu")(x)
    low = layers.Conv2D(8, 3, padding="same", activation="relu")(layers.MaxPooling2D(2)(top))
    up = layers.Conv2DTranspose(6, 2, strides=2, activation="relu")(low)
    y = layers.Conv2D(6, 3, padding="same", activation="relu")(layers.Concatenate()([up, top]))
    y = y + layers.UpSampling2D(2, interpolation="bilinear")(layers.Conv2D(6, 1)(low))
    return keras.Model(x, layers.Conv2D(4, 1, activation="softmax")(y))


def wavenet():
    x = keras.Input((32, 2))
    y = layers.Conv1D(6, 2, padding="causal")(x)
    skips = []
    for dilation in (1, 2, 4):
        tanh = layers.Conv1D(6, 2, padding="causal", dilation_rate=dilation, activation="tanh")(y)
        gate = layers.Conv1D(6, 2, padding="causal", dilation_rate=dilation, activation="sigmoid")(y)
        skips.append(layers.Conv1D(6, 1)(tanh * gate))
        y = y + skips[-1]
    y = layers.ReLU()(layers.Add()(skips))
    return keras.Model(x, layers.Dense(4, activation="softmax")(layers.GlobalAveragePooling1D()(y)))


def volume():
    x = keras.Input((8, 8, 8, 2))
    y = layers.Conv3D(4, 3, activation="relu")(x)
    y = layers.MaxPooling3D(2)(layers.BatchNormalization()(y))
    y = layers.Conv3DTranspose(4, 2, activation="relu")(layers.AveragePooling3D(1)(y))
    return keras.Model(x, layers.Dense(4, activation="softmax")(layers.GlobalAveragePooling3D()(y)))


REGION = tfs.target.region(np.arange(256).reshape(16, 16) < 60, 1)
NETWORKS = {each.__name__: each for each in (vision_transformer, swin, unet, wavenet, volume)}
CONVOLUTIONAL = ("unet", "wavenet", "volume")


@pytest.mark.filterwarnings("ignore:The values of the samples .* are zero")
@pytest.mark.parametrize("name", NETWORKS)
def test_networks_of_every_kind(name):
    keras.utils.set_random_seed(2)
    # In float32 the rule alpha2_beta1 rounds one row of swin by 4e-5 of its length: it divides by sums that cancel.
    # TensorFlow pools volumes in float32 alone.
    with nullcontext() if name == "volume" else built_in_float64():
        model = NETWORKS[name]()
    x = np.random.default_rng(2).normal(size=(2, *model.input_shape[1:])).astype("float32")
    # One class for all: the top one of the first sample, which has something to say for it.
    target = REGION if name == "unet" else int(tfs.Gradient(model).explain(x).target[0])
    for method in METHODS.values():
        explanation = method(model).explain(x, target)
        largest = np.abs(explanation.values).max()
        assert largest > 0
        alone = method(model).explain(x[1:], target).values
        np.testing.assert_allclose(alone, explanation.values[1:], rtol=1e-5, atol=1e-6 * largest)
    for baseline in (0.0, 0.5, np.random.default_rng(3).normal(size=x.shape[1:])):
        explanation = tfs.DeepLIFT(model, baseline).explain(x, target)
        baseline = np.broadcast_to(baseline, x.shape).astype("float32")
        difference = explanation.scores - tfs.Gradient(model).explain(baseline, target).scores
        total = explanation.values.reshape(2, -1).sum(axis=1)
        assert (np.abs(total - difference) <= 1e-4 * np.abs(difference) + 1e-4).all()
    attention = tfs.LRP(model, "attention").explain(x, target)
    gap = attention.values.reshape(2, -1).sum(axis=1) - attention.scores
    np.testing.assert_allclose(attention.diagnostics["conservation_gap"], gap, atol=1e-6)
    if name in CONVOLUTIONAL:
        # As new, their biases are zero: nothing is there to absorb relevance.
        assert (np.abs(gap) <= 1e-4 * np.abs(attention.scores)).all()


def halves_of(product):
    """A product of two signals of which each has half of the gradient."""

    def halves(a, b, **options):
        return (product(tf.stop_gradient(a), b, **options) + product(a, tf.stop_gradient(b), **options)) / 2

    return halves


class StillNormalization(layers.LayerNormalization):
    """Whose deviation stands still."""

    def call(self, x):
        mean, variance = tf.nn.moments(x, [-1], keepdims=True)
        return self.gamma * (x - mean) / tf.stop_gradient(tf.sqrt(variance + self.epsilon)) + self.beta


class HalvedAttention(layers.MultiHeadAttention):
    def _compute_attention(self, query, key, value, *masks, **options):
        of_keys, of_values = (
            halves_of(lambda a, b, equation=equation: tf.einsum(equation, a, b))
            for equation in ("bqhd,bkhd->bhqk", "bhqk,bkhd->bqhd")
        )
        shares = tf.nn.softmax(of_keys(query, key) / query.shape[-1] ** 0.5)
        return of_values(shares, value), shares


class HalvedWindows(Windows):
    product = staticmethod(halves_of(tf.matmul))


def still_gelu(x):
    return x * tf.stop_gradient(keras.activations.gelu(x) / x)


@pytest.mark.parametrize(("network", "attention"), [(vision_transformer, HalvedAttention), (swin, HalvedWindows)])
def test_relevance_of_a_transformer_is_gradient_times_input_where_gates_stand_still(network, attention):
    """AttnLRP as a gradient: of a twin in which deviations and gates are constants and products count half to each."""
    keras.utils.set_random_seed(0)
    model, twin = network(), network(StillNormalization, attention, still_gelu)
    generator = np.random.default_rng(0)
    weights = [weight + 0.1 * generator.normal(size=weight.shape) for weight in model.get_weights()]
    for each in (model, twin):
        each.set_weights(weights)
    x = generator.normal(size=(2, 16, 16, 3))
    relevance, expected = tfs.LRP(model, "attention").explain(x, 1), tfs.GradientTimesInput(twin).explain(x, 1)
    np.testing.assert_allclose(relevance.scores, expected.scores, rtol=1e-5)
    # What is left is the epsilon of 1e-6: a hundredth of it leaves a hundredth.
    close(relevance.values, expected.values, 1e-3)


def small():
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input((4,)), layers.Dense(5, "relu", name="hidden"), layers.Dense(3, name="top")])


class Endless(keras.Model):
    """A loop that the data stops."""

    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(3)

    def call(self, x):
        return self.dense(tf.while_loop(lambda y: tf.reduce_max(y) < 9, lambda y: (2 * tf.nn.relu(y),), (x,))[0])


@pytest.mark.filterwarnings("ignore:The rows of a batch depend on each other")
@pytest.mark.parametrize("method", METHODS)
def test_a_loop_that_the_data_stops_is_refused_and_gradients_go_through(method):
    model = Endless()
    x = np.ones((2, 4), "float32")
    model(x)
    with pytest.raises(ValueError, match="Rules cannot reach inside .* of type .*While.*until the data says stop"):
        METHODS[method](model).explain(x, 0)
    np.testing.assert_allclose(tfs.Gradient(model).explain(x, 0).values, [16 * model.dense.kernel[:, 0]] * 2, rtol=1e-5)


def test_an_operation_without_a_rule_names_itself_its_layer_and_the_remedy():
    x = keras.Input((4,))
    y = layers.Dense(5, "relu")(x)
    odd = layers.Lambda(lambda y: tf.math.cumulative_logsumexp(y, axis=1), name="odd")
    model = keras.Model(x, layers.Dense(2)(odd(y + 1)))
    inputs = np.random.default_rng(0).uniform(size=(2, 4))
    for method in (tfs.LRP, tfs.DeepTaylor, tfs.DeepLIFT):
        with pytest.raises(ValueError, match="odd.*CumulativeLogsumexp"):
            method(model).explain(inputs, 0)
    with pytest.warns(UserWarning, match="CumulativeLogsumexp"):
        explanation = tfs.LRP(model, "epsilon", strict=False).explain(inputs, 0)
    np.testing.assert_array_equal(explanation.diagnostics["without rule: CumulativeLogsumexp"], [1, 1])

    # A rule of one's own that says the same.
    def rule(step, relevances):
        return step.to_sources(step.input * step.gradient([relevances[0] / step.output])[0])

    table = {**tfs.rules.PRESETS["epsilon"], operation("CumulativeLogsumexp"): rule}
    np.testing.assert_allclose(tfs.LRP(model, table).explain(inputs, 0).values, explanation.values, rtol=1e-3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: tfs.LRP(small(), "epsilonplus"), "rules is one of 'epsilon'.*Received: 'epsilonplus'"),
        (lambda: tfs.LRP(small(), {}), "name of a preset or a table"),
        (lambda: tfs.LRP(small(), {"dense": 3}), "name of a preset or a table"),
        (lambda: tfs.LRP(small(), "epsilon_gamma_box"), "need the bounds of the input"),
        (lambda: tfs.LRP(small(), "epsilon", low=0, high=1), "low and high belong to"),
        (lambda: tfs.DeepTaylor(small(), low=0), "come together"),
        (lambda: tfs.DeepTaylor(small(), low=1, high=0), "low under high"),
        (lambda: tfs.rules.AlphaBeta(2, 2), "alpha - beta is 1"),
        (lambda: tfs.rules.Gamma(-1), "gamma is a finite number"),
        (lambda: tfs.rules.Epsilon(float("nan")), "epsilon is a finite number"),
        (lambda: tfs.DeepLIFT(small(), rule="cancel"), "rule is one of 'rescale', 'reveal_cancel'"),
        (
            lambda: explain(tfs.LRP(small(), {kind("convolution"): tfs.rules.ZPlus()})),
            r"dense map.*Add kind\('dense'\).*'hidden'",
        ),
        (
            lambda: explain(tfs.LRP(small(), {kind("dense"): tfs.rules.ZPlus(), "hiden": tfs.rules.Flat()})),
            "'hiden'.*'hidden'",
        ),
        (lambda: explain(tfs.DeepLIFT(small(), np.zeros(3))), r"inputs of shape \(4,\).*Received: shape \(3,\)"),
        (lambda: explain(tfs.DeepLIFT(small(), np.full(4, np.nan))), "finite numbers"),
        (lambda: explain(tfs.DeepLIFT(small(), np.zeros((0, 4)))), "Received: shape"),
        (lambda: explain(tfs.DeepLIFT(small(), {"a": 1})), "structure of one input"),
        (lambda: explain(tfs.DeepLIFT(small(), "zero")), "finite numbers|structure"),
    ],
)
def test_mistakes_are_named(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()


def explain(explainer):
    return explainer.explain(np.ones((2, 4)), 0)


def test_a_changed_table_is_another_method():
    """Tables are options: equal ones share a compiled function, others do not."""
    model = small()
    first = explain(tfs.LRP(model, {kind("dense"): tfs.rules.Gamma(0.1)})).values
    again = explain(tfs.LRP(model, {kind("dense"): tfs.rules.Gamma(0.1)})).values
    other = explain(tfs.LRP(model, {kind("dense"): tfs.rules.Gamma(5)})).values
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)
    assert (
        tfs.LRP(model, {kind("dense"): tfs.rules.Gamma(5)}).key()
        == tfs.LRP(model, {kind("dense"): tfs.rules.Gamma(5)}).key()
    )


def test_rules_under_smoothgrad_without_noise_are_the_rules():
    model = small()
    x = np.random.default_rng(0).normal(size=(3, 4))
    for method in METHODS.values():
        plain = method(model).explain(x).values
        smooth = tfs.SmoothGrad(method(model), samples=2, noise=0).explain(x).values
        np.testing.assert_allclose(smooth, plain, rtol=1e-5, atol=1e-6)
