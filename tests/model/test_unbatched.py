"""Ids that a model looks up in one list, against a twin that looks up each row by itself and masks."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from keras import layers

import tfsaliency as tfs
from tests.harness import close

# Of different lengths; the second row has an id twice, as the rows together do.
IDS = np.array([[3, 4, 5, 9], [6, 7, 6, 0], [4, 0, 0, 0]], "int32")
OTHER = np.array([1, 2, 3, 5], "int32")
TEXTS = np.array([["a good film"], ["bad bad film indeed"], ["film noir"]])
SIZE, LENGTH = 12, 4


def by_row(table, ids, power, kept=None):
    """Sums of vectors over as many of them to a power, the ids with a row each."""
    mask = tf.cast(ids > 0 if kept is None else kept, tf.float32)[..., None]
    return tf.reduce_sum(tf.gather(table, ids) * mask, 1) / tf.reduce_sum(mask, 1) ** power


def cut_out(table, ids):
    listed, rows = tf.boolean_mask(ids, ids > 0), tf.where(ids > 0)[:, 0]
    return tf.math.segment_sum(tf.gather(table, listed), rows)


def ragged(table, ids):
    rows = tf.RaggedTensor.from_tensor(ids, padding=0)
    return tf.reduce_mean(tf.nn.embedding_lookup(table, rows), axis=1)


def sparse(table, ids):
    rows = tf.sparse.from_dense(tf.cast(ids, tf.int64))
    return tf.nn.embedding_lookup_sparse(table, rows, None, combiner="sum")


def safe_sparse(table, ids):
    rows = tf.sparse.from_dense(tf.cast(ids, tf.int64))
    return tf.nn.safe_embedding_lookup_sparse(table, rows, combiner="sqrtn")


def weighted(table, ids):
    rows = tf.sparse.from_dense(tf.cast(ids, tf.int64))
    weights = tf.sparse.map_values(lambda values: tf.ones(tf.shape(values)), rows)
    return tf.nn.embedding_lookup_sparse(table, rows, weights, combiner="mean", allow_fast_lookup=False)


def without_axes(table, ids):
    vectors = tf.reshape(tf.gather(table, tf.reshape(ids, [-1])), [-1, LENGTH, SIZE // 2])
    return tf.reduce_sum(vectors * tf.cast(ids > 0, tf.float32)[..., None], axis=1)


def in_windows(table, ids):
    """Two ids are a row of the batch of an inner network."""
    vectors = tf.gather(table, tf.reshape(ids, [-1, 2])) * tf.cast(tf.reshape(ids, [-1, 2]) > 0, tf.float32)[..., None]
    return tf.reduce_sum(tf.reshape(tf.reduce_sum(vectors, axis=1), [-1, LENGTH // 2, SIZE // 2]), axis=1)


def time_first(table, ids):
    mask = tf.cast(ids > 0, tf.float32)[..., None]
    return tf.reduce_sum(tf.gather(table, tf.transpose(ids)) * tf.transpose(mask, [1, 0, 2]), axis=0)


def filled_up(table, ids):
    """Rows of vectors, filled up behind the table."""
    rows = tf.RaggedTensor.from_tensor(ids, padding=0)
    return tf.reduce_sum(tf.nn.embedding_lookup(table, rows).to_tensor(), axis=1)


def one_hot_without_axes(table, ids):
    vectors = tf.reshape(tf.matmul(tf.one_hot(tf.reshape(ids, [-1]), SIZE), table), [-1, LENGTH, SIZE // 2])
    return tf.reduce_sum(vectors * tf.cast(ids > 0, tf.float32)[..., None], axis=1)


# Each with the power of the number of ids that its sums are divided by.
WAYS = [(cut_out, 0), (ragged, 1), (sparse, 0), (safe_sparse, 0.5), (weighted, 1)]
WAYS += [(filled_up, 0), (without_axes, 0), (in_windows, 0), (time_first, 0)]
METHODS = [
    lambda model, other=OTHER: tfs.Gradient(model),
    lambda model, other=OTHER: tfs.GradientTimesInput(model),
    lambda model, other=OTHER: tfs.SmoothGrad(model, samples=4, noise=0.2),
    lambda model, other=OTHER: tfs.IntegratedGradients(model, other, steps=20),
    lambda model, other=OTHER: tfs.LRP(model, "epsilon"),
    lambda model, other=OTHER: tfs.DeepLIFT(model, other),
    lambda model, other=OTHER: tfs.Occlusion(model, window=1, stride=1, baseline=other),
    lambda model, other=OTHER: tfs.RISE(model, samples=20, cells=2, baseline=other),
]


class Bag(keras.Model):
    """A network on top of what a function makes of a table and ids."""

    def __init__(self, pooled, to_ids=lambda x: x):
        super().__init__()
        self.pooled, self.to_ids = pooled, to_ids
        self.table = self.add_weight(shape=(SIZE, SIZE // 2), initializer="normal")
        self.inner, self.outer = layers.Dense(5, "tanh"), layers.Dense(2)

    def call(self, x):
        pooled = self.pooled(self.table.value, self.to_ids(x))
        return self.outer(self.inner(tf.ensure_shape(pooled, [None, SIZE // 2])))


def made(pooled, inputs, **options):
    keras.utils.set_random_seed(3)
    model = Bag(pooled, **options)
    model(inputs)
    return model


@pytest.mark.parametrize("make", METHODS, ids=lambda make: type(make(Bag(cut_out))).__name__)
@pytest.mark.parametrize(("pooled", "power"), WAYS, ids=lambda each: getattr(each, "__name__", ""))
def test_a_list_of_ids_is_explained_as_rows_are(pooled, power, make):
    explainer = make(made(pooled, IDS))
    twin = made(lambda table, ids: by_row(table, ids, power), IDS)
    expected = make(twin).explain(IDS, 1)
    explanation = explainer.explain(IDS, 1)
    # LRP divides by sums, which it moves away from zero by 1e-6: here by several, in the twin by one.
    close(explanation.values, expected.values, 1e-2 if isinstance(explainer, tfs.LRP) else 1e-4)
    assert (explanation.values[IDS == 0] == 0).all()
    # A row does not depend on those beside it, draws aside.
    if not isinstance(explainer, tfs.SmoothGrad | tfs.RISE):
        close(explainer.explain(IDS[1:2], 1).values, explanation.values[1:2], 1e-5)


@pytest.mark.parametrize("make", METHODS[1:2] + METHODS[3:5], ids=lambda make: type(make(Bag(cut_out))).__name__)
def test_encodings_in_a_list(make):
    values = make(made(one_hot_without_axes, IDS)).explain(IDS, 1).values
    expected = make(made(lambda table, ids: by_row(table, ids, 0), IDS)).explain(IDS, 1).values
    close(values, expected, 1e-4)


def both_in_one_batch(table, ids):
    """One encoder of two inputs, called once."""
    first, second = tf.split(by_row(table, tf.concat(ids, axis=0), 1), 2)
    return first * second - first


def both_cut_out(table, ids):
    """Ids of two inputs of different lengths, without padding."""
    rows = [tf.where(each > 0)[:, 0] for each in ids]
    vectors = tf.gather(table, tf.concat([tf.boolean_mask(each, each > 0) for each in ids], 0))
    first, second = map(tf.math.segment_mean, tf.split(vectors, [tf.size(each) for each in rows]), rows)
    return first * second - first


def both_apart(table, ids):
    first, second = (by_row(table, each, 1) for each in ids)
    return first * second - first


# The noise of SmoothGrad is drawn for each tensor.
@pytest.mark.parametrize("make", METHODS[:2] + METHODS[3:], ids=lambda make: type(make(Bag(cut_out))).__name__)
@pytest.mark.parametrize(("pooled", "length"), [(both_in_one_batch, LENGTH), (both_cut_out, LENGTH - 1)])
def test_ids_of_two_inputs_in_one_list(pooled, length, make):
    inputs = [IDS, IDS[::-1, :length]]
    expected, values = (
        make(made(each, inputs), [OTHER, OTHER[:length]]).explain(inputs, 1).values for each in (both_apart, pooled)
    )
    for of_part, twin, ids in zip(values, expected, inputs, strict=True):
        close(of_part, twin, 1e-2 if make is METHODS[4] else 1e-4)
        assert (of_part[ids == 0] == 0).all()


def in_rows(texts):
    return tf.strings.split(tf.reshape(texts, [-1]))


TO_WORDS = {
    "words": (in_rows, ["a", "good", "film"]),
    "letters": (lambda texts: tf.strings.unicode_split(tf.reshape(texts, [-1]), "UTF-8"), [*"a good film"]),
    "pairs": (lambda texts: tf.strings.ngrams(in_rows(texts), 2), ["a good", "good film"]),
}


@pytest.mark.parametrize("method", [tfs.Gradient, tfs.GradientTimesInput, tfs.IntegratedGradients, tfs.DeepLIFT])
@pytest.mark.parametrize("name, is_sparse", [*((name, False) for name in TO_WORDS), ("words", True)])
def test_words_in_a_list(name, is_sparse, method):
    """Of texts split into rows of different lengths, against the ids of their words, filled up."""
    to_words, first = TO_WORDS[name]

    def to_ids(texts):
        words = to_words(texts)
        return words.with_values(1 + tf.strings.to_hash_bucket_fast(words.values, SIZE - 1))

    def ragged_sum(table, ids):
        return tf.reduce_sum(ids.with_values(tf.gather(table, ids.values)), axis=1)

    def sparse_sum(table, ids):
        return tf.nn.safe_embedding_lookup_sparse(table, ids.to_sparse(), combiner="sum")

    pooled = sparse_sum if is_sparse else ragged_sum
    explanation = method(made(pooled, tf.constant(TEXTS), to_ids=to_ids)).explain(TEXTS, 1)
    ids = to_ids(tf.constant(TEXTS)).to_tensor().numpy()
    # Not compared with 0, which shows that it is padding and makes it the baseline.
    expected = method(made(lambda table, ids: by_row(table, ids, 0, ids // tf.maximum(ids, 1)), ids)).explain(ids, 1)
    assert [word for word in explanation.tokens[0] if word] == first
    close(explanation.values, expected.values, 1e-4)


def test_columns_of_features():
    """Of a linear model by hand: the vector of a category against that of a mean one."""
    tf_keras.utils.set_random_seed(0)
    words = tf.feature_column.categorical_column_with_vocabulary_list("c", ["a", "b"])
    columns = [tf.feature_column.numeric_column("n"), tf.feature_column.embedding_column(words, 4)]
    model = tf_keras.Sequential([tf_keras.layers.DenseFeatures(columns), tf_keras.layers.Dense(1)])
    inputs = {"n": np.array([[0.3], [0.5]], "float32"), "c": np.array([["a"], ["b"]])}
    model({name: tf.constant(part) for name, part in inputs.items()})
    table, weights, _ = model.get_weights()
    expected = (table - table.mean(axis=0)) @ weights[:4]
    for explainer in (tfs.IntegratedGradients(model), tfs.DeepLIFT(model), tfs.Occlusion(model, window=1, stride=1)):
        explanation = explainer.explain(inputs)
        np.testing.assert_allclose(explanation.values["c"].reshape(-1), expected[:, 0], rtol=1e-4)
        assert "held" not in explanation.provenance


def test_columns_that_are_crossed():
    """One id is made of two categories; the advice is followed."""
    tf_keras.utils.set_random_seed(0)
    pair = tf.feature_column.crossed_column(["first", "second"], 5)
    columns = [tf.feature_column.embedding_column(pair, 4)]
    model = tf_keras.Sequential([tf_keras.layers.DenseFeatures(columns), tf_keras.layers.Dense(1)])
    inputs = {"first": np.array([["a"], ["b"]]), "second": np.array([["c"], ["d"]])}
    features = model.layers[0]({name: tf.constant(part) for name, part in inputs.items()})
    model({name: tf.constant(part) for name, part in inputs.items()})
    with pytest.raises(ValueError, match=r"SparseCross, makes one id of several parts.*explain that model"):
        tfs.Gradient(model).explain(inputs)
    behind = tf_keras.Sequential(model.layers[1:])
    behind.build(features.shape)
    values = tfs.GradientTimesInput(behind).explain(features.numpy()).values
    np.testing.assert_allclose(values, features * model.get_weights()[1][:, 0], rtol=1e-5)


def test_two_places_of_a_sparse_table():
    """Where ids are is said by as many numbers as there are places: they are no ids."""
    ids = IDS[:, :2]
    for explainer in (tfs.GradientTimesInput, lambda model: tfs.IntegratedGradients(model, OTHER[:2], steps=20)):
        values, twin = (
            explainer(made(pooled, ids)).explain(ids, 1).values
            for pooled in (sparse, lambda table, ids: by_row(table, ids, 0))
        )
        close(values, twin, 1e-4)


def test_numbers_that_are_ids_too():
    """A number beside the vector of the bin that it is in, which is looked up in one list."""
    keras.utils.set_random_seed(3)
    table, x = tf.constant(np.random.default_rng(0).normal(size=(4, 2)), tf.float32), np.array([[0.2], [1.4], [2.6]])

    def model(numbers):
        bins = tf.raw_ops.Bucketize(input=numbers, boundaries=[0.5, 1.5, 2.5])
        vectors = tf.reshape(tf.gather(table, tf.reshape(bins, [-1])), [-1, 2])
        return tf.concat([3 * numbers + tf.reduce_sum(vectors, axis=1, keepdims=True)] * 2, axis=1)

    explanation = tfs.GradientTimesInput(tfs.as_model(model)).explain(x, 1)
    np.testing.assert_allclose(explanation.values[:, 0], explanation.scores, rtol=1e-5)
    vectors = table.numpy().sum(axis=1)[[0, 1, 3]]
    np.testing.assert_allclose(explanation.values[:, 0], 3 * x[:, 0] + vectors, rtol=1e-5)
