"""What a model compares its inputs with is padding only where it masks by it."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

import tfsaliency as tfs

GENERATOR = np.random.default_rng(0)
TABLE = GENERATOR.normal(size=(4, 3)).astype("float32")


def floats(flags):
    return ops.cast(flags, "float32")


FLAGS = {
    "above zero": lambda ids: floats(ids > 0),
    "zero": lambda ids: floats(ops.equal(ids, 0)),
    "another": lambda ids: floats(ops.not_equal(ids, 2)),
    "with a weight": lambda ids: layers.Dense(1, kernel_initializer="ones")(floats(ops.not_equal(ids, 2))),
    "one of two numbers": lambda ids: ops.where(ops.not_equal(ids, 2), 0.3, 0.1),
    "true": lambda ids: floats(ops.cast(ids, "bool")),
}


@pytest.mark.filterwarnings("ignore:What the model looks up for the input is explained")
@pytest.mark.parametrize("name", FLAGS)
def test_an_id_that_is_compared_as_a_feature_is_no_padding(name):
    """A category in a table and in a comparison beside it: each id has the sum of its own vector."""
    ids = keras.Input((1,), dtype="int32")
    vectors = layers.Embedding(4, 3, weights=[TABLE])(ids)
    model = keras.Model(ids, ops.sum(vectors, axis=2) + 0.5 * FLAGS[name](ids))
    inputs = np.arange(4)[:, None]
    values = tfs.GradientTimesInput(model).explain(inputs).values
    np.testing.assert_allclose(values[:, 0], TABLE.sum(axis=1), rtol=1e-5)
    values = tfs.IntegratedGradients(model).explain(inputs).values
    np.testing.assert_allclose(values[:, 0], (TABLE - TABLE.mean(axis=0)).sum(axis=1), rtol=1e-4)


def averaged(vectors, mask):
    return ops.sum(vectors * mask[..., None], axis=1) / ops.sum(mask, axis=1, keepdims=True)


UNROLLED = layers.SimpleRNN(3, unroll=True)
UNROLLED.build((None, 5, 3))
MASKS = {
    "times": lambda ids, vectors: averaged(vectors, floats(ids > 0)),
    "chosen": lambda ids, vectors: ops.sum(ops.where(ops.not_equal(ids, 0)[..., None], vectors, 0.0), axis=1),
    "einsum": lambda ids, vectors: ops.einsum("nt,ntd->nd", floats(ops.not_equal(ids, 0)), vectors),
    "weights of attention": lambda ids, vectors: ops.einsum(
        "nt,ntd->nd", ops.softmax(vectors[..., 0] + (1 - floats(ids > 0)) * -1e9), vectors
    ),
    "chosen weights": lambda ids, vectors: ops.einsum(
        "nt,ntd->nd", ops.softmax(vectors[..., 0] + ops.where(ids > 0, 0.0, -1e9)), vectors
    ),
    "by length": lambda ids, vectors: averaged(
        vectors, floats(ops.arange(5)[None] < ops.sum(ops.cast(ops.not_equal(ids, 0), "int32"), axis=1, keepdims=True))
    ),
    "a little below": lambda ids, vectors: ops.einsum(
        "nt,ntd->nd", ops.softmax(vectors[..., 0] - (1 - floats(ops.not_equal(ids, 0))) * 1e3), vectors
    ),
    "logarithm": lambda ids, vectors: ops.einsum(
        "nt,ntd->nd", ops.softmax(vectors[..., 0] + ops.log(floats(ids > 0) + 1e-30)), vectors
    ),
    "largest": lambda ids, vectors: ops.logsumexp(ops.where(ops.equal(ids, 0)[..., None], -100.0, vectors), axis=1),
    "one of several ids": lambda ids, vectors: (
        averaged(vectors, floats(ops.logical_and(ops.not_equal(ids, 7), ops.not_equal(ids, 0))))
        + averaged(vectors, floats(ids > 0))
    ),
    "an earlier state": lambda ids, vectors: UNROLLED(vectors, mask=ops.not_equal(ids, 0)),
    "as long as none was masked": lambda ids, vectors: averaged(vectors, ops.cumprod(floats(ids > 0), axis=1)),
    "at least one": lambda ids, vectors: averaged(vectors, floats(ids >= 1)),
    "not below one": lambda ids, vectors: averaged(vectors, 1 - floats(ids < 1)),
    "at most one": lambda ids, vectors: averaged(vectors, floats(ops.minimum(ids, 1))),
    "sign": lambda ids, vectors: averaged(vectors, floats(ops.sign(ids))),
    "true": lambda ids, vectors: averaged(vectors, floats(ops.cast(ids, "bool"))),
    "with an axis of one": lambda ids, vectors: averaged(
        vectors, floats(ops.any(ops.not_equal(ids[..., None], 0), axis=-1))
    ),
    "read backwards": lambda ids, vectors: averaged(
        ops.flip(vectors, axis=1), floats(ops.not_equal(ops.flip(ids, axis=1), 0))
    ),
    "logarithm of little": lambda ids, vectors: ops.einsum(
        "nt,ntd->nd", ops.softmax(vectors[..., 0] + ops.log(floats(ids > 0) + 1e-8)), vectors
    ),
    "dropped": lambda ids, vectors: tf.math.segment_sum(
        tf.boolean_mask(vectors, ids > 0), tf.cast(tf.where(ids > 0)[:, 0], tf.int32)
    ),
}


@pytest.mark.parametrize("name", MASKS)
def test_an_id_that_is_masked_is_padding(name):
    """The default baseline puts the vector of padding everywhere, and padding gets nothing."""
    keras.utils.set_random_seed(0)
    ids = keras.Input((5,), dtype="int32")
    vectors = layers.Embedding(4, 3, weights=[TABLE])(ids)
    pooled = layers.Lambda(lambda pair: MASKS[name](*pair), output_shape=(3,))([ids, vectors])
    model = keras.Model(ids, layers.Dense(2)(pooled))
    explanation = tfs.IntegratedGradients(model, steps=16).explain(np.array([[1, 2, 3, 0, 0], [2, 1, 0, 0, 0]]), 1)
    assert explanation.provenance["baseline"] == "the id that fills up short rows, 0"
    np.testing.assert_array_equal(explanation.values[0, 3:], 0)
    assert (explanation.values[0, :3] != 0).all()


READ = {
    "the end": lambda ids, vectors: ops.sum(
        vectors * ops.one_hot(ops.argmax(ops.cast(ops.equal(ids, 3), "int32"), axis=1), 5)[..., None], axis=1
    ),
    "an expert": lambda ids, vectors: ops.sum(
        vectors * floats(ops.equal(ids, 3))[..., None] + ops.tanh(vectors) * (1 - floats(ops.equal(ids, 3)))[..., None],
        axis=1,
    ),
    "an expert for zero": lambda ids, vectors: ops.sum(
        vectors * floats(ops.equal(ids, 0))[..., None] + ops.tanh(vectors) * (1 - floats(ops.equal(ids, 0)))[..., None],
        axis=1,
    ),
    "a surcharge": lambda ids, vectors: ops.sum(vectors + 25 * floats(ops.not_equal(ids, 3))[..., None], axis=1),
}


@pytest.mark.parametrize("name", READ)
def test_an_id_that_is_read_and_not_masked_is_no_padding(name):
    """Its vector counts, and is not the baseline."""
    ids, given = keras.Input((5,), dtype="int32"), np.array([[1, 2, 3, 0, 1]])
    model = keras.Model(ids, READ[name](ids, layers.Embedding(4, 3, weights=[TABLE])(ids)))
    explanation = tfs.IntegratedGradients(model, steps=64).explain(given, 1)
    assert explanation.provenance["baseline"] == "the mean of all ids"
    assert explanation.values[0, 2] != 0
    np.testing.assert_allclose(explanation.diagnostics["completeness_gap"], 0, atol=1e-3)


def test_an_id_that_others_are_counted_as_in_a_second_table_is_no_padding():
    """The second table tells 0 from all other ids, and has a vector for both."""
    ids, given = keras.Input((5,), dtype="int32"), np.array([[1, 2, 3, 0, 0]])
    vectors = layers.Embedding(4, 3, weights=[TABLE])(ids)
    beside = layers.Embedding(2, 3, weights=[TABLE[2:]])(ops.minimum(ids, 1))
    model = keras.Model(ids, ops.sum(ops.concatenate([vectors, beside], axis=-1), axis=1))
    for target, table, index in ((1, TABLE[:, 1], given), (4, TABLE[2:, 1], np.minimum(given, 1))):
        explanation = tfs.IntegratedGradients(model, steps=4).explain(given, target)
        np.testing.assert_allclose(explanation.values, table[index] - table.mean(), rtol=1e-4, atol=1e-6)


WEIGHTS = {
    "chosen": lambda ids, vectors: vectors * ops.where(ops.not_equal(ids, 2), 1.0, 0.2)[..., None],
    "a sum": lambda ids, vectors: vectors * (0.2 + 0.8 * floats(ops.not_equal(ids, 0)))[..., None],
    "replaced by a mean": lambda ids, vectors: ops.where(
        ops.equal(ids, 0)[..., None], ops.mean(vectors, axis=1, keepdims=True), vectors
    ),
    "so many": lambda ids, vectors: vectors / ops.sum(floats(ops.not_equal(ids, 0)), axis=1)[:, None, None],
    "behind another": lambda ids, vectors: (
        vectors * floats(ops.cumsum(ops.cast(ops.equal(ids, 2), "int32"), axis=1) > 0)[..., None]
    ),
    "in a text with another": lambda ids, vectors: (
        vectors * ops.max(floats(ops.not_equal(ids, 0)), axis=1, keepdims=True)[..., None]
    ),
    "so many before": lambda ids, vectors: vectors * ops.cumsum(floats(ops.equal(ids, 2)), axis=1)[..., None],
}


@pytest.mark.parametrize("name", WEIGHTS)
def test_an_id_with_a_weight_of_its_own_is_no_padding(name):
    """Against the gradient at the vectors, times them."""
    ids, given = keras.Input((5,), dtype="int32"), np.array([[1, 2, 3, 0, 0], [2, 1, 0, 2, 3]])
    weighted = layers.Lambda(lambda pair: WEIGHTS[name](*pair), output_shape=(5, 3))
    head = layers.Lambda(lambda y: ops.sum(ops.square(y), axis=(1, 2))[:, None], output_shape=(1,))
    model = keras.Model(ids, head(weighted([ids, layers.Embedding(4, 3, weights=[TABLE])(ids)])))
    vectors = tf.Variable(TABLE[given])
    with tf.GradientTape() as tape:
        score = head(weighted([tf.constant(given), vectors]))
    expected = tf.reduce_sum(tape.gradient(score, vectors) * vectors, axis=-1)
    values = tfs.GradientTimesInput(model).explain(given).values
    np.testing.assert_allclose(values, expected, rtol=1e-4, atol=1e-6)
    assert tfs.DeepLIFT(model).explain(given).provenance["baseline"] == "the mean of all ids"


def test_an_id_that_another_is_put_for_is_no_padding():
    """Its place has what is looked up for the other one."""
    ids, given = keras.Input((5,), dtype="int32"), np.array([[1, 2, 3, 0, 0], [2, 1, 0, 2, 3]])
    table = layers.Embedding(4, 3, weights=[TABLE])
    model = keras.Model(ids, ops.sum(table(ops.where(ops.equal(ids, 0), 3, ids)), axis=(1, 2))[:, None])
    values = tfs.GradientTimesInput(model).explain(given).values
    np.testing.assert_allclose(values, TABLE[np.where(given == 0, 3, given)].sum(axis=-1), rtol=1e-5)


PADDED = np.pad(1 + GENERATOR.uniform(size=(2, 4, 2)), [(0, 0), (0, 2), (0, 0)]).astype("float32")
STEPS = {
    "product": lambda x: 1 - ops.prod(floats(ops.equal(x, 0.0)), axis=-1),
    "count": lambda x: ops.minimum(ops.sum(floats(ops.not_equal(x, 0.0)), axis=-1), 1.0),
    "mean": lambda x: floats(ops.mean(floats(ops.not_equal(x, 0.0)), axis=-1) > 0.4),
}


@pytest.mark.parametrize("name", STEPS)
def test_steps_that_are_masked_are_padding(name):
    """A square of what is more than half, of the steps that are not all zeros."""
    x = keras.Input((6, 2))
    model = keras.Model(x, ops.sum(ops.square(x - 0.5) * STEPS[name](x)[..., None], axis=(1, 2))[:, None])
    values = tfs.IntegratedGradients(model, 0.7, steps=32).explain(PADDED).values
    expected = np.where(PADDED == 0, 0, (PADDED - 0.5) ** 2 - 0.2**2)
    np.testing.assert_allclose(values, expected, rtol=1e-4, atol=1e-6)


SERIES = np.where(GENERATOR.uniform(size=(2, 6, 2)) < 0.5, 0, GENERATOR.normal(size=(2, 6, 2))).astype("float32")


def energy(x):
    """The energy of steps, and how many steps are loud."""
    of_steps = ops.sum(ops.square(x), axis=-1)
    return ops.sum(of_steps, axis=1, keepdims=True) + 0 * ops.sum(floats(of_steps > 0.3), axis=1, keepdims=True)


def of_bright(x):
    """The same for a series of numbers from 0 to 255 as from 0 to 1."""
    return ops.sum(ops.square(ops.where(ops.max(x, axis=(1, 2), keepdims=True) > 90, x / 255, x)), axis=(1, 2))[:, None]


def guarded(x):
    """A logarithm that is kept from zero."""
    return ops.sum(ops.log(ops.where(ops.equal(x, 0.0), 1e-3, ops.abs(x))), axis=(1, 2))[:, None]


def filled(x):
    """Zeros stand for what was not measured: the mean is put there, and that it was."""
    missing = ops.equal(x, 0.0)
    return ops.sum(ops.where(missing, 0.7, x) + 0.2 * floats(missing), axis=(1, 2))[:, None]


@pytest.mark.parametrize("function", [energy, of_bright, guarded, filled])
def test_a_number_that_is_compared_and_not_masked_is_no_padding(function):
    """Zeros that the model has no slope at are hidden as all others are."""
    x = keras.Input((6, 2))
    model = keras.Model(x, function(x))
    values = tfs.Occlusion(model, window=1, stride=1, baseline=0.5).explain(SERIES).values
    for step in range(6):
        changed = SERIES.copy()
        changed[:, step] = 0.5
        lost = (model(SERIES) - model(changed))[:, 0]
        np.testing.assert_allclose(values[:, step, 0], lost, rtol=1e-4, atol=1e-5)
