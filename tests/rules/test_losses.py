"""DeepLIFT and LRP share out the whole sum, or refuse an operation by name, or warn and name what loses most."""

import warnings
from dataclasses import dataclass

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfsaliency as tfs

X = np.random.default_rng(0).normal(size=(3, 8)).astype("float32")


def around(operation, *widths, use_bias=False):
    """An operation on dense branches of an input, between layers without biases: nothing may be absorbed."""
    keras.utils.set_random_seed(1)
    x = keras.Input((8,))
    branches = [layers.Dense(width, "tanh", use_bias=use_bias)(x) for width in widths]
    y = layers.Lambda(lambda parts: operation(*parts))(branches)
    y = layers.Dense(5, "tanh", use_bias=use_bias)(layers.Flatten()(y))
    return keras.Model(x, layers.Dense(3, use_bias=use_bias)(y))


def routed(a, b):
    return tf.reduce_sum(tf.stack([a, b], 1) * tf.one_hot(tf.argmax(a, 1) % 2, 2)[..., None], 1)


# What a choice does that depends on the input has no multiplier; the gap is larger than rounding.
LOSE = {
    # name: operation, widths, the type of the operation that is named, whether LRP loses there too
    "gathered by a choice": (
        lambda a, b: tf.gather(b, tf.argmax(a, 1), batch_dims=1)[:, None] * a,
        (6, 6),
        "Gather",
        0,
    ),
    "a mixture of experts": (routed, (6, 6), "OneHot", 0),
    "constants": (lambda a: a + tf.where(a > 0.1, 1.0, -1.0), (6,), "SelectV2", 1),
    "a mask": (lambda a, b: a * tf.cast(b > 0.1, tf.float32), (6, 6), "Cast", 0),
    "the part behind the point": (lambda a: 5 * a - tf.floor(5 * a), (6,), "Floor", 1),
    "rounded": (lambda a: a + tf.round(3 * a), (6,), "Round", 1),
    "a stopped gradient": (lambda a, b: a + tf.stop_gradient(b), (6, 6), "StopGradient", 1),
    "straight through": (lambda a: a + tf.stop_gradient(tf.round(3 * a) - a), (6,), "StopGradient", 1),
    "ordered by another": (lambda a, b: tf.gather(b, tf.argsort(a), batch_dims=1), (6, 6), "Gather", 0),
}
COMPLETE = {
    "broadcast": (lambda a, b: tf.nn.sigmoid(a) * b, (1, 6)),
    "an activation that is broadcast": (lambda a: a * tf.nn.sigmoid(a * tf.range(1.0, 7.0)), (1,)),
    "a maximum that is broadcast": (lambda a: tf.maximum(a, tf.range(6.0) / 10), (1,)),
    "a quotient that is broadcast": (lambda a: tf.range(1.0, 7.0) / (2 + a), (1,)),
    "repeated places": (lambda a: tf.transpose(tf.scatter_nd([[0], [0], [1], [2], [2], [2]], tf.transpose(a),
                                                             [3, tf.shape(a)[0]])), (6,)),
    "a quotient that may be of zero": (lambda a, b: tf.math.divide_no_nan(a, 2 + b), (6, 6)),
    "a quotient of zero": (lambda a, b: a + tf.math.divide_no_nan(b, tf.nn.relu(b - 9)), (6, 6)),
    "a checked shape": (lambda a: tf.ensure_shape(tf.debugging.check_numerics(a, "bad"), [None, 6]), (6,)),
    "a sort": (lambda a: tf.sort(a, axis=1), (6,)),
    "a roll": (lambda a: tf.roll(a, 2, axis=1), (6,)),
    "a square matrix behind a scale": (
        lambda a: tf.matmul(a * tf.range(1.0, 7.0), tf.reshape(tf.sin(tf.range(36.0)), [6, 6]), transpose_b=True),
        (6,),
    ),
    "a matrix on the left behind a scale": (
        lambda a: tf.matmul(a[..., None] * tf.range(1.0, 7.0), tf.constant(np.sin(np.arange(6.0))[:, None], "float32")),
        (6,),
    ),
    "logsumexp": (lambda a: tf.reduce_logsumexp(5 * a, axis=1, keepdims=True) + a, (6,)),
    "rotary": (lambda a, b: tf.concat([0.6 * a - 0.8 * b, 0.8 * a + 0.6 * b], axis=1), (6, 6)),
}  # fmt: skip


def explained(explainer):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        explanation = explainer.explain(X, 1)
    return explanation, [str(each.message) for each in caught if "miss their sum" in str(each.message)]


@pytest.mark.parametrize("operation, widths, named, also_lrp", LOSE.values(), ids=LOSE)
def test_what_a_choice_loses_is_warned_of_by_name(operation, widths, named, also_lrp):
    model = around(operation, *widths)
    baselines = np.zeros(8, "float32"), np.linspace(-1, 1, 8, dtype="float32")
    # A choice loses nothing between two points where it is the same.
    cases = [(*explained(tfs.DeepLIFT(model, baseline)), baseline) for baseline in baselines]
    explanation, said, baseline = max(cases, key=lambda case: np.abs(case[0].diagnostics["completeness_gap"]).max())
    gap = explanation.diagnostics["completeness_gap"]
    scores = tfs.Gradient(model).scores(X, 1) - tfs.Gradient(model).scores(baseline[None], 1)
    np.testing.assert_allclose(explanation.values.sum(axis=1) - gap, scores, rtol=1e-4, atol=1e-6)
    assert np.abs(gap).max() > 1e-2 * np.abs(scores).max()
    assert len(said) == 1 and f"type {named}" in said[0]
    explanation, said = explained(tfs.LRP(model, "epsilon"))
    assert bool(said) == bool(also_lrp), said
    assert not said or named in said[0]


@pytest.mark.parametrize("operation, widths", COMPLETE.values(), ids=COMPLETE)
def test_what_is_shared_out_is_complete_and_quiet(operation, widths):
    model = around(operation, *widths)
    explanation, said = explained(tfs.DeepLIFT(model))
    change = explanation.values.sum(axis=1) - explanation.diagnostics["completeness_gap"]
    np.testing.assert_allclose(explanation.values.sum(axis=1), change, rtol=1e-4, atol=1e-5)
    assert not said and not explained(tfs.LRP(model, "epsilon"))[1]


def test_what_two_operations_lose_to_one_choice_adds_up():
    def twice(a, b):
        constant = tf.where(a > 0.1, 1.0, -1.0)
        return (a + constant) * tf.nn.sigmoid(b) + constant

    explanation, said = explained(tfs.LRP(around(twice, 6, 6), "epsilon"))
    lost, gap = (explanation.diagnostics[name] for name in ("unexplained_gap", "conservation_gap"))
    # Without biases nothing else takes a share.
    np.testing.assert_allclose(lost, gap, rtol=1e-3, atol=1e-5)
    assert "SelectV2" in said[0]


def test_biases_are_no_loss():
    model = around(lambda a, b: a * b + tf.range(6.0), 6, 6, use_bias=True)
    for layer in model.layers:
        if layer.weights:
            layer.bias.assign(np.linspace(-1, 1, layer.bias.shape[0]))
    explanation, said = explained(tfs.LRP(model, "epsilon"))
    assert np.abs(explanation.diagnostics["conservation_gap"]).max() > 0.01
    np.testing.assert_array_equal(explanation.diagnostics["unexplained_gap"], 0)
    assert not said


@pytest.mark.parametrize("explainer", [tfs.DeepLIFT, tfs.LRP])
@pytest.mark.parametrize(
    "operation, named",
    [
        (lambda a, b: a + tf.math.cumprod(b, axis=1), "Cumprod"),
        (lambda a, b: a + tf.signal.irfft(tf.signal.rfft(b)), "RFFT"),
        (lambda a, b: a + tf.math.real(tf.complex(a, b) * tf.exp(tf.complex(0.0, 1.0))), "Real"),
    ],
)
def test_what_has_no_rule_is_refused_by_name(explainer, operation, named):
    with pytest.raises(ValueError, match=named):
        explainer(around(operation, 6, 6)).explain(X, 1)


@pytest.mark.parametrize("operation", [lambda a, b: (2 + a) ** (2 + b), tf.atan2])
def test_relevance_has_no_rule_for_a_function_of_two_signals(operation):
    """No share of ``f(a, b)`` is that of one of them; the advice works, and says what it costs."""
    model = around(operation, 6, 6)
    with pytest.raises(ValueError, match="no rule for the operation .*strict=False"):
        tfs.LRP(model, "epsilon").explain(X, 1)
    with (
        pytest.warns(UserWarning, match="without a rule shared"),
        pytest.warns(UserWarning, match="miss their sum by up to .* gradient times input shares out more or less"),
    ):
        tfs.LRP(model, "epsilon", strict=False).explain(X, 1)


def test_what_an_operation_without_a_rule_adds_is_unexplained():
    """Gradient times input of a product of three numbers is three times the product, and no bias is in it."""
    model = keras.Sequential([keras.Input((3,)), layers.Lambda(lambda x: tf.math.cumprod(x, axis=1))])
    with (
        pytest.warns(UserWarning, match="without a rule shared"),
        pytest.warns(UserWarning, match="miss their sum by up to 12.* Most is lost at .*Cumprod"),
    ):
        explanation = tfs.LRP(model, "epsilon", strict=False).explain(np.array([[1.0, 2.0, 3.0]]), 2)
    np.testing.assert_allclose(explanation.diagnostics["unexplained_gap"], [12], rtol=1e-4)


@pytest.mark.parametrize("explainer", [tfs.DeepLIFT, tfs.LRP])
def test_a_quantized_layer_is_refused_by_name(explainer):
    model = keras.Sequential([keras.Input((8,)), layers.Dense(6, "relu"), layers.Dense(3)])
    model.layers[1].quantize("int8")
    with pytest.raises(ValueError, match="int32 numbers, as quantized layers have"):
        explainer(model).explain(X, 1)


def test_guided_backprop_drops_no_complex_branch():
    with pytest.raises(ValueError, match="complex numbers"):
        tfs.GuidedBackprop(around(lambda a, b: tf.nn.relu(a) + tf.signal.irfft(tf.signal.rfft(b)), 6, 6)).explain(X, 1)


@pytest.mark.parametrize("preset", ["epsilon", "epsilon_plus_flat", "alpha2_beta1", "gamma"])
def test_a_float64_model_has_the_map_of_its_float32_twin(preset):
    def build(dtype):
        keras.utils.set_random_seed(0)
        return keras.Sequential(
            [keras.Input((8,), dtype=dtype), layers.Dense(6, "relu", dtype=dtype), layers.Dense(3, dtype=dtype)]
        )

    double, single = build("float64"), build("float32")
    double.set_weights(single.get_weights())
    for make in (lambda model: tfs.LRP(model, preset), tfs.DeepTaylor, tfs.DeepLIFT):
        np.testing.assert_allclose(
            make(double).explain(X, 1).values, make(single).explain(X, 1).values, rtol=1e-3, atol=1e-5
        )


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda method: tfs.SmoothGrad(method, samples=2),
        lambda method: method.then(tfs.transforms.absolute),
        lambda method: tfs.SmoothGrad(method.then(tfs.transforms.absolute), samples=2),
    ],
    ids=["SmoothGrad", "then", "both"],
)
def test_what_is_lost_inside_a_wrapper_is_warned_of(wrapped):
    model = around(lambda a: a + tf.where(a > 0.1, 1.0, -1.0), 6)
    _, said = explained(wrapped(tfs.DeepLIFT(model)))
    assert len(said) == 1 and "SelectV2" in said[0]


@dataclass(frozen=True, eq=False)
class Cancelling(tfs.DeepLIFT):
    """Values of both signs of which little is left."""

    size: float = 1e7
    gap: float = 3.0

    def attribute(self, x, score):
        values = x * tf.constant([self.size, -self.size, 1.0])
        return tfs.Attribution(values, {"completeness_gap": tf.fill(tf.shape(score.resolve()), self.gap)})


def test_values_that_cancel_are_warned_of():
    """They, or their rounding, are far larger than what they explain."""
    model = keras.Sequential([keras.Input((3,)), layers.Dense(1, use_bias=False)])
    model.set_weights([np.ones((3, 1))])
    with pytest.warns(UserWarning, match="add up to 2e.07, which is rounded by 3, and they explain 3"):
        Cancelling(model).explain(np.ones((1, 3)), tfs.target.binary(1))
    with pytest.warns(UserWarning, match="add up to 2e.06, which is rounded by 0, and they explain 3"):
        Cancelling(model, size=1e6, gap=0.0).explain(np.ones((1, 3)), tfs.target.binary(1))
    Cancelling(model, size=1e5, gap=0.0).explain(np.ones((1, 3)), tfs.target.binary(1))
    # Where all digits are gone, the score alone says what they explain.
    with pytest.warns(UserWarning, match="add up to 2e.37, which is rounded by 2e.31, and they explain 3"):
        Cancelling(model, size=1e37, gap=2e31).explain(np.ones((1, 3)), tfs.target.binary(1))


def test_a_target_that_is_no_weighted_sum_of_logits_is_told():
    """By hand: relevance of the square of a logit starts as the logit times its slope, which is twice the score."""
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, use_bias=False)])
    x = np.random.default_rng(0).normal(size=(4, 3))
    with pytest.warns(UserWarning, match="Most is lost at the target, which is no weighted sum of logits"):
        explanation = tfs.LRP(model, "epsilon").explain(x, lambda logits: logits[:, 1] ** 2)
    np.testing.assert_allclose(explanation.values.sum(axis=1), 2 * explanation.scores, rtol=1e-4)
    for name in ("conservation_gap", "unexplained_gap"):
        np.testing.assert_allclose(explanation.diagnostics[name], explanation.scores, rtol=1e-4)


def attending(hide):
    """A self-attention whose numbers a mask replaces before the softmax."""
    keras.utils.set_random_seed(0)

    class Model(keras.Model):
        def __init__(self):
            super().__init__()
            self.vectors, self.head = layers.Embedding(30, 8), layers.Dense(2)
            self.query, self.key = layers.Dense(8), layers.Dense(8)

        def call(self, ids):
            y = self.vectors(ids)
            numbers = tf.matmul(self.query(y), self.key(y), transpose_b=True)
            weights = tf.nn.softmax(hide(numbers, (ids != 0)[:, None]))
            return self.head(tf.matmul(weights, y)[:, 0])

    model = Model()
    model(PADDED)
    return model


PADDED = np.array([[3, 4, 5, 6, 7, 8], [3, 4, 5, 0, 0, 0]])


@pytest.mark.parametrize(
    "hide",
    [
        lambda numbers, is_read: tf.where(is_read, numbers, -1e30),
        lambda numbers, is_read: tf.where(is_read, numbers, -np.inf),
        lambda numbers, is_read: tf.where(is_read, numbers, -1e4),
    ],
)
def test_the_number_of_a_mask_has_no_relevance(hide):
    """The map is that of each text without its padding, whatever stands for nothing."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = tfs.LRP(attending(hide), "epsilon").explain(PADDED, 1)
    np.testing.assert_allclose(found.diagnostics["unexplained_gap"], 0, atol=1e-6)
    (alone,) = tfs.LRP(attending(hide), "epsilon").explain(PADDED[1:, :3], 1).values
    np.testing.assert_allclose(found.values[1], [*alone, 0, 0, 0], rtol=1e-4, atol=1e-7)
    assert np.abs(alone).max() > 1e-3


def test_a_query_that_may_look_at_nothing_loses_nothing():
    """Keras' own mask hides the keys of a padded query too: its row of numbers is a constant."""
    keras.utils.set_random_seed(0)
    ids = keras.Input((6,), dtype="int32")
    y = layers.Embedding(30, 8, mask_zero=True)(ids)
    y = layers.MultiHeadAttention(2, 4)(y, y)
    model = keras.Model(ids, layers.Dense(2)(layers.GlobalAveragePooling1D()(y)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        explanation = tfs.LRP(model, "epsilon").explain(PADDED, 1)
    np.testing.assert_allclose(explanation.diagnostics["unexplained_gap"], 0, atol=1e-6)
    gap = explanation.values.sum(axis=1) - explanation.scores
    np.testing.assert_allclose(explanation.diagnostics["conservation_gap"], gap, rtol=1e-3, atol=1e-5)
    assert np.abs(gap).max() < np.abs(explanation.scores).max()
