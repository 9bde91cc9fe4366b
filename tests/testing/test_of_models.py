"""Each check of models fails for a model that is broken in that one way, and passes for every kind of model."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from tests.kinds import KINDS
from tests.testing.broken import registering_in
from tfsaliency.testing import CheckFailed, check_model, model_checks
from tfsaliency.testing.of_models import QUESTIONS

# What refuses a kind of model, or does not apply to it.
LOOPS = {"slopes in float64": "does not apply"}
WITHOUT_PLACES = {"an activation map": "refused"}
# Their classes are made by a function, which no config describes.
SUBCLASSED = {"save and load": "does not apply"}
NOT_PASSED = {
    "subclassed": SUBCLASSED,
    "subclassed_keras_ops": SUBCLASSED,
    "two_outputs": {"the top class": "does not apply", "the logits": "does not apply"},
    "integer_series": LOOPS | WITHOUT_PLACES,
    "table": WITHOUT_PLACES,
    "multi_label": WITHOUT_PLACES,
}
SOUND = (
    *("functional", "sequential", "subclassed_keras_ops", "two_inputs_dict", "two_outputs", "mixed_precision"),
    *("table", "multi_label", "integer_series", "integer_images"),
)


@pytest.mark.parametrize("name", SOUND)
def test_a_sound_model(name):
    kind = KINDS[name]
    model, _ = kind.models()
    target = None if kind.output is None else kind.target(None)
    weights = model.get_weights()
    record = check_model(model, kind.inputs(3), target)
    found = {each.name: each.verdict for each in record.outcomes if each.verdict != "passed"}
    assert found == NOT_PASSED.get(name, {}), record
    for before, after in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)


def test_slopes_are_compared_to_seven_digits():
    """In float32 a difference of two near scores has three."""
    kind = KINDS["subclassed_keras_ops"]
    model, _ = kind.models()
    outcome = {check.name: check for check in model_checks(model, kind.inputs(2))}["slopes in float64"]()
    assert float(outcome.message.removeprefix("within ")) < 2e-6


def test_a_black_picture_stands_at_the_edge_of_every_relu():
    """There the differences to both sides are half of a slope, and no gradient is wrong."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            *(keras.Input((6, 6, 1)), layers.Conv2D(4, 3, activation="relu"), layers.Flatten()),
            *(layers.Dense(5, activation="relu"), layers.Dense(2)),
        ]
    )
    pictures = np.zeros((2, 6, 6, 1))
    pictures[:, 0, 0] = 1
    outcome = {check.name: check for check in model_checks(model, pictures)}["slopes in float64"]()
    assert outcome.verdict == "passed"


BROKEN = {}
breaks = registering_in(BROKEN)
X = np.random.default_rng(0).normal(size=(3, 5)).astype("float32")


class Around(keras.Model):
    """A small network, and a function around it."""

    def __init__(self, inside=lambda x: x, outside=lambda z: z, units=3):
        super().__init__()
        self.inside, self.outside = inside, outside
        self.first, self.last = layers.Dense(6, "tanh"), layers.Dense(units)

    def call(self, x):
        return self.outside(self.last(self.first(self.inside(x))))


def around(**options):
    keras.utils.set_random_seed(0)
    model = Around(**options)
    model(X)
    return model


@breaks("a gradient", "ValueError: The model gives an output of shape")
def without_rows():
    return around(outside=lambda z: tf.reduce_mean(z, axis=0))


@breaks("rows alone", "rows that do not meet")
def normalized_by_the_batch():
    return around(inside=lambda x: x - tf.reduce_mean(x, axis=0))


@breaks("no chance", "an answer without chance")
def noisy():
    return around(inside=lambda x: x + tf.random.normal(tf.shape(x)))


@breaks("the top class", "the classes")
@breaks("the logits", "logits that rank as the output does")
def another_graph():
    """Asked by Keras it says one thing, traced it says the opposite."""
    return around(outside=lambda z: z if tf.executing_eagerly() else -z)


@breaks("slopes in float64", "of it apart")
def straight_through():
    return around(inside=lambda x: x + tf.stop_gradient(tf.sin(3 * x)))


@breaks("slopes in float64", "of it apart")
def clipped_gradient():
    @tf.custom_gradient
    def halved(x):
        return tf.identity(x), lambda upstream: upstream / 2

    return around(inside=halved)


@breaks("an open gradient", r"zeros for the samples \[0, 1, 2\]")
def dead():
    return around(inside=lambda x: tf.nn.relu(x - 1e3))


@breaks("new weights", "another map for other weights")
def fixed_weights():
    kernel = np.random.default_rng(0).normal(size=(3, 3)).astype("float32")
    model = around(outside=lambda z: z)
    model.outside = lambda z: tf.stop_gradient(0 * z) + model.given @ kernel
    model.inside = lambda x: setattr(model, "given", x[:, :3]) or x
    return model


@breaks("device batches", "the same map with batch_size=1")
def of_all_rows():
    return around(inside=lambda x: x * tf.cast(tf.shape(x)[0], tf.float32))


@breaks("left alone", "attribute calls of layer 0")
def counting():
    model = around()
    model.calls = 0
    model.inside = lambda x: setattr(model, "calls", model.calls + 1) or x
    return model


@keras.saving.register_keras_serializable("test_of_models")
class Forgetful(layers.Layer):
    def __init__(self, factor=1.0, **options):
        super().__init__(**options)
        self.factor = factor

    def call(self, x):
        return x * self.factor

    def get_config(self):
        return {"name": self.name}


@breaks("save and load", "the same map of the model from a file")
def forgotten_option():
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input((5,)), Forgetful(2.0), layers.Dense(3)])


@breaks("a path", "miss the change of the score .* the model jumps")
def jumping():
    return around(inside=lambda x: x + tf.cast(x > 0.01, tf.float32) * 5)


@breaks("rules of deeplift", "miss their sum")
def rounding():
    return around(inside=lambda x: x + tf.round(x))


@breaks("rules of lrp", "miss their sum")
def stopped():
    return around(inside=lambda x: x + tf.stop_gradient(x))


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_model_is_found(case):
    name, make, message = BROKEN[case]
    checks = {check.name: check for check in model_checks(make(), X)}
    with pytest.raises(CheckFailed, match=message) as failure:
        checks[name]()
    assert str(failure.value).startswith(f"{name}: Expected: ")


def test_every_check_is_seen_failing():
    # A layer for activation maps is found, or there is none: no model is at fault.
    assert {name for name, _, _ in BROKEN.values()} | {"an activation map"} == set(QUESTIONS)


def test_a_record_with_failures_raises_them():
    record = check_model(noisy(), X)
    assert "no chance" in {each.name for each in record.failed}
    with pytest.raises(CheckFailed, match=r"checks failed\n(.*\n)*- no chance: Expected: an answer without chance"):
        record.raise_failures()


def test_an_excused_check_of_a_model():
    model = clipped_gradient()
    failing = {each.name for each in check_model(model, X).failed}
    record = check_model(model, X, excuses=dict.fromkeys(failing, "a gradient of half the slope is wanted"))
    assert record.failed == []
    assert {each.name for each in record.outcomes if each.verdict == "excused"} == failing
