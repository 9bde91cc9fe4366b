"""How a model is called: in inference mode, with its own structure of inputs, and with its own code."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfsaliency as tfs

PEOPLE = {"age": np.array([[33.0], [51.0]]), "job": np.array([["a"], ["b"]])}


def test_a_feature_space_with_its_preprocessing_inside_the_model():
    """Built as Keras documents it: the inputs are a dict of Keras' own kind."""
    space = keras.utils.FeatureSpace({"age": "float_normalized", "job": "string_categorical"}, output_mode="concat")
    table = {"age": [30.0, 40.0, 50.0], "job": ["a", "b", "a"]}
    space.adapt(tf.data.Dataset.from_tensor_slices(table).batch(3))
    model = keras.Model(space.get_inputs(), layers.Dense(2)(space.get_encoded_features()))
    explanation = tfs.DeepLIFT(model, tfs.baselines.zeros()).explain(PEOPLE, 1)
    kernel, bias = model.layers[-1].get_weights()
    # The first encoded column is the age, the others are one for each job.
    encoded = space(dict(PEOPLE)).numpy()
    np.testing.assert_allclose(explanation.scores, (encoded @ kernel + bias)[:, 1], rtol=1e-5)
    np.testing.assert_allclose(explanation.values["job"][:, 0], encoded[:, 1:] @ kernel[1:, 1], rtol=1e-5)
    # The age counts from the encoding of 0 on.
    deviation = space.preprocessors["age"].variance.numpy().reshape(()) ** 0.5
    np.testing.assert_allclose(
        explanation.values["age"][:, 0], PEOPLE["age"][:, 0] / deviation * kernel[0, 1], rtol=1e-4
    )


class Normalizing(layers.Layer):
    """A layer that trains unless it is told not to, as many of its kind."""

    def __init__(self):
        super().__init__()
        self.normalization = layers.BatchNormalization()

    def call(self, x, training=True):
        return self.normalization(x, training=training)


@pytest.mark.parametrize("dtype", ["int32", "uint8"])
def test_models_of_integers_run_in_inference_mode(dtype):
    x = keras.Input((5,), dtype=dtype)
    numbers = layers.Embedding(9, 3)(x) if dtype == "int32" else layers.Rescaling(1 / 255)(x)
    model = keras.Model(x, layers.Dense(2)(layers.Flatten()(Normalizing()(numbers))))
    given = np.array([[1, 2, 3, 4, 5], [2, 2, 2, 2, 1]], dtype)
    found = tfs.Gradient(model).scores(given, 1)
    np.testing.assert_allclose(found, model(given, training=False).numpy()[:, 1], rtol=1e-5)


def test_the_own_call_of_a_functional_model_of_ids():
    class Tripled(keras.Model):
        def __init__(self):
            ids = keras.Input((5,), dtype="int32")
            super().__init__(ids, layers.Dense(2)(layers.Flatten()(layers.Embedding(9, 3)(ids))))

        def call(self, x, training=False, mask=None):
            return 3.0 * super().call(x, training=training)

    model, ids = Tripled(), np.array([[1, 2, 3, 4, 5]])
    np.testing.assert_allclose(tfs.Gradient(model).scores(ids, 1), model(ids).numpy()[:, 1], rtol=1e-5)


class Both(keras.Model):
    """A model that takes two inputs as two arguments."""

    def __init__(self):
        super().__init__()
        self.of_first, self.of_second = layers.Dense(2, use_bias=False), layers.Dense(2, use_bias=False)

    def call(self, first, second, training=False):
        return self.of_first(first) + self.of_second(second)


def test_inputs_that_are_arguments_of_their_own():
    model = Both()
    inputs = [np.ones((2, 3), "float32"), np.ones((2, 4), "float32")]
    model(*inputs)
    kernels = [each.get_weights()[0][:, 1] for each in (model.of_first, model.of_second)]
    for part, kernel in zip(tfs.Gradient(model).explain(inputs, 1).values, kernels, strict=True):
        np.testing.assert_allclose(part, np.tile(kernel, (2, 1)), rtol=1e-5)
    hidden = tfs.Occlusion(lambda first, second: model(first, second).numpy(), window=1, stride=1).explain(inputs, 1)
    for part, kernel in zip(hidden.values, kernels, strict=True):
        np.testing.assert_allclose(part, np.tile(kernel, (2, 1)), atol=1e-5)


def test_what_is_no_array_is_refused_with_what_to_do():
    dense = np.array([[1.0, 2.0, 0.0], [3.0, 0.0, 0.0]], "float32")
    model = keras.Sequential([keras.Input((3,)), layers.Dense(2)])
    expected = tfs.Gradient(model).explain(dense, 1).values
    ragged, sparse = tf.ragged.constant([[1.0, 2.0], [3.0]]), tf.sparse.from_dense(dense)
    with pytest.raises(ValueError, match=r"Explain rows of one length, such as ragged\[:1\].to_tensor\(\)"):
        tfs.Gradient(model).explain(ragged, 1)
    mean = keras.Sequential([keras.Input((None, 1), ragged=True), layers.Lambda(lambda x: tf.reduce_mean(x, 1))])
    rows = tf.ragged.constant([[[1.0], [2.0]], [[3.0]]], ragged_rank=1)
    scores = [tfs.Gradient(mean).explain(rows[i : i + 1].to_tensor()).scores[0] for i in range(2)]
    np.testing.assert_allclose(scores, mean(rows)[:, 0], rtol=1e-6)
    np.testing.assert_array_equal(tfs.Gradient(model).explain(ragged.to_tensor(shape=[2, 3]), 1).values, expected)
    with pytest.raises(ValueError, match=r"Make it dense: tf.sparse.to_dense"):
        tfs.Gradient(model).explain(sparse, 1)
    np.testing.assert_array_equal(tfs.Gradient(model).explain(tf.sparse.to_dense(sparse), 1).values, expected)


def test_a_part_that_is_none_is_put_in_by_a_function():
    class Add(layers.Layer):
        def __init__(self):
            super().__init__()
            self.of_first, self.of_second = layers.Dense(2), layers.Dense(2)

        def call(self, x, y=None):
            return self.of_first(x) if y is None else self.of_first(x) + self.of_second(y)

    first, second = keras.Input((3,), name="first"), keras.Input((4,), name="second", optional=True)
    model = keras.Model({"first": first, "second": second}, Add()(first, second))
    x = np.ones((1, 3), "float32")
    with pytest.raises(ValueError, match=r"puts None in where the model takes it: lambda x"):
        tfs.Gradient(model).explain({"first": x, "second": None}, 1)
    found = tfs.Gradient(lambda x: model({"first": x, "second": None})).explain(x, 1)
    np.testing.assert_allclose(found.scores, model({"first": x, "second": None}).numpy()[:, 1], rtol=1e-6)


def test_numbers_without_an_axis():
    price, x = keras.Input((), name="price"), keras.Input((3,), name="x")
    model = keras.Model([price, x], layers.Dense(1, use_bias=False)(layers.Concatenate()([price[:, None], x])))
    inputs = [np.array([1.0, 2.0]), np.ones((2, 3))]
    kernel = model.layers[-1].get_weights()[0][:, 0]
    found = tfs.RISE(model, samples=4000).explain(inputs).values
    # A number is seen half of the time: half of what it adds is above the mean score.
    np.testing.assert_allclose(found[0], kernel[0] * inputs[0] / 2, atol=0.03)
    np.testing.assert_allclose(found[1], np.tile(kernel[1:] / 2, (2, 1)), atol=0.03)


def test_both_sides_of_a_function_that_returns_one_number_for_each_row():
    def sure(x):
        return 1 / (1 + np.exp(-x.sum(axis=1)))

    x = np.ones((2, 3))
    with pytest.raises(ValueError, match=r"tfsaliency.target.binary\(0\) or binary\(1\)"):
        tfs.Occlusion(sure, window=1, stride=1).explain(x, 1)
    one, other = (tfs.Occlusion(sure, window=1, stride=1).explain(x, tfs.target.binary(side)) for side in (1, 0))
    np.testing.assert_allclose(one.scores, sure(x), rtol=1e-6)
    np.testing.assert_allclose(other.values, -one.values, rtol=1e-5)


def test_predict_is_refused_for_the_model():
    model = keras.Sequential([keras.Input((3,)), layers.Dense(2)])
    with pytest.raises(TypeError, match="predict answers with NumPy arrays.* Explain the model 'sequential.*' itself"):
        tfs.Gradient(model.predict)
