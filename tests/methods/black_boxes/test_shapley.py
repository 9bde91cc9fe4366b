"""Shapley values, against their definition: the mean over all orders, one by one, of what each player adds."""

import itertools
import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfsaliency as tfs

ROWS = np.random.default_rng(0).normal(size=(3, 5)).astype("float32")


def table(columns, seed=0):
    keras.utils.set_random_seed(seed)
    return keras.Sequential([keras.Input((columns,)), layers.Dense(16, "tanh"), layers.Dense(3)])


def by_definition(answer, x, x0, players):
    """The mean over all orders, one after the other.

    Args:
        answer: takes one input and returns a number.
        x: the input.
        x0: what stands for players that are hidden.
        players: for each player, which numbers of the input are its own, as a boolean array of its shape.
    """
    phi = np.zeros(len(players))
    known = {}
    for order in itertools.permutations(range(len(players))):
        for place, player in enumerate(order):
            values = []
            for some in (order[:place], order[: place + 1]):
                key = frozenset(some)
                if key not in known:
                    known[key] = answer(np.where(sum((players[i] for i in some), np.zeros(x.shape, bool)), x, x0))
                values.append(known[key])
            phi[player] += values[1] - values[0]
    return phi / math.factorial(len(players))


def of_class(model, number):
    return lambda x: float(model(x[None])[0, number])


def columns_of(count):
    return list(np.eye(count, dtype=bool))


@pytest.mark.parametrize("batch_size", [None, 1, 2])
def test_few_columns_are_exact(batch_size):
    model = table(5)
    explanation = tfs.ShapleyValues(model, baseline=0.3).explain(ROWS, 1, batch_size=batch_size)
    hidden = np.full(5, 0.3, "float32")
    expected = [by_definition(of_class(model, 1), row, hidden, columns_of(5)) for row in ROWS]
    np.testing.assert_allclose(explanation.values, expected, atol=1e-6)
    np.testing.assert_array_equal(explanation.diagnostics["relative_error"], 0)
    np.testing.assert_allclose(explanation.diagnostics["completeness_gap"], 0, atol=1e-6)


def test_samples_come_near_the_exact_values_as_they_say():
    model = table(14)
    rows = np.random.default_rng(1).normal(size=(8, 14)).astype("float32")
    exact = tfs.ShapleyValues(model, baseline=0, samples=1000).explain(rows, 1)
    np.testing.assert_array_equal(exact.diagnostics["relative_error"], 0)
    errors, told = [], []
    for seed in range(12):
        sampled = tfs.ShapleyValues(model, baseline=0, samples=16, seed=seed).explain(rows, 1)
        errors.append(np.linalg.norm(sampled.values - exact.values, axis=1) / np.linalg.norm(exact.values, axis=1))
        told.append(sampled.diagnostics["relative_error"])
        # Each order sums to the difference, however few there are.
        np.testing.assert_allclose(sampled.diagnostics["completeness_gap"], 0, atol=1e-5)
    ratio = np.sqrt(np.mean(np.square(told), axis=0) / np.mean(np.square(errors), axis=0))
    assert 0.8 < np.median(ratio) < 1.25
    assert 0 < np.median(errors) < 0.05


def test_orders_are_all_as_likely():
    """Of three windows each of the six orders comes as often as the others, up to chance."""
    explainer = tfs.ShapleyValues(table(3), seed=5)
    orders = np.array([explainer._order(3, tf.constant(number)) for number in range(3000)])
    _, counts = np.unique(orders, axis=0, return_counts=True)
    # Chi-squared of five degrees of freedom: beyond 20 in one case of a thousand.
    assert len(counts) == 6 and ((counts - 500) ** 2 / 500).sum() < 20


def test_an_order_and_its_reverse_are_exact_for_pairs():
    """For ``sum a_i x_i + sum b_ij x_i x_j`` each gets its own term and half of each pair's."""
    generator = np.random.default_rng(2)
    alone, pairs = generator.normal(size=12), np.triu(generator.normal(size=(12, 12)), 1)
    rows = generator.normal(size=(4, 12)).astype("float32")

    def answer(x):
        return (x @ alone + np.einsum("ni,ij,nj->n", x, pairs, x))[:, None]

    values = tfs.ShapleyValues(answer, baseline=0, samples=1).explain(rows).values
    np.testing.assert_allclose(values, rows * (alone + (rows @ (pairs + pairs.T)) / 2), atol=1e-5)


def test_axioms():
    """What never matters gets nothing, what matters alike gets the same, of two of which either is enough each half."""
    rows = np.abs(ROWS[:, :4]) + 0.1

    def answer(x):
        return np.stack([np.maximum(x[:, 0], x[:, 1]), x[:, 2] ** 3], axis=1)

    either = tfs.ShapleyValues(answer, baseline=0).explain(rows, 0).values
    np.testing.assert_array_equal(either[:, 2:], 0)
    smaller, larger = rows[:, :2].min(axis=1), rows[:, :2].max(axis=1)
    # The larger one adds all of itself where it comes first, and what it has more where it does not.
    np.testing.assert_allclose(np.sort(either[:, :2]), np.stack([smaller / 2, larger - smaller / 2], 1), rtol=1e-5)
    both = tfs.ShapleyValues(answer, baseline=0).explain(rows, lambda z: 2 * z[:, 0] - z[:, 1]).values
    alone = tfs.ShapleyValues(answer, baseline=0).explain(rows, 1).values
    np.testing.assert_allclose(both, 2 * either - alone, atol=1e-5)


@pytest.mark.parametrize("samples", [2, 40])
def test_several_baselines_are_the_mean_of_their_values(samples):
    """With rows of the training data: the interventional SHAP values."""
    model = table(6)
    rows = np.random.default_rng(3).normal(size=(3, 6)).astype("float32")
    training = np.random.default_rng(4).normal(size=(7, 6)).astype("float32")
    explanation = tfs.ShapleyValues(model, baseline=training, samples=samples).explain(rows, 1)
    expected = np.array(
        [np.mean([by_definition(of_class(model, 1), row, x0, columns_of(6)) for x0 in training], 0) for row in rows]
    )
    errors = np.linalg.norm(explanation.values - expected, axis=1) / np.linalg.norm(expected, axis=1)
    if samples == 40:
        assert (errors < 1e-5).all() and (explanation.diagnostics["relative_error"] == 0).all()
    else:
        # Two samples tell an error to a factor of a few.
        assert (errors > 1e-4).all() and (errors < 5 * explanation.diagnostics["relative_error"]).all()
        assert (explanation.diagnostics["relative_error"] < 0.2).all()
    difference = model(rows)[:, 1] - np.mean(model(training)[:, 1])
    np.testing.assert_allclose(explanation.values.sum(axis=1), difference, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("is_of_ids", [True, False], ids=["ids", "numbers"])
def test_a_window_across_the_end_of_a_row_is_that_of_its_words(is_of_ids):
    """Padding took three quarters of what the last word has, which were then left out."""
    worth = np.array([[0.0], [1.0], [2.0], [3.0], [40.0]], "float32")
    given, other = np.array([[1, 2, 3, 1, 4, 0, 0, 0]]), np.array([1, 1, 1, 1, 1, 0, 0, 0])
    if is_of_ids:
        x, mask = keras.Input((8,), dtype="int32"), layers.Embedding(5, 1, mask_zero=True, weights=[worth])
    else:
        given, other = worth[given], worth[other]
        x, mask = keras.Input((8, 1)), layers.Masking()
    model = keras.Model(x, layers.Dense(1, use_bias=False)(layers.GlobalAveragePooling1D()(mask(x))))
    model.layers[-1].set_weights([np.ones((1, 1))])
    explanation = tfs.ShapleyValues(model, window=4, baseline=other).explain(given)
    # A mean over five words: the first window has 1 + 2 in place of none, the second 39.
    np.testing.assert_allclose(explanation.values.ravel(), [0.15] * 4 + [7.8] + [0] * 3, atol=1e-5)
    np.testing.assert_allclose(explanation.diagnostics["completeness_gap"], 0, atol=1e-4)


def test_windows_of_a_picture():
    """Windows of 4 x 3 pixels in 8 x 7: those at the end are cut off; a place has its share of its window."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.Input((8, 7, 2)), layers.Conv2D(5, 3, activation="relu"), layers.Flatten(), layers.Dense(3)]
    )
    pictures = np.random.default_rng(0).normal(size=(2, 8, 7, 2)).astype("float32")
    explanation = tfs.ShapleyValues(model, window=(4, 3), baseline=0).explain(pictures, 2)
    assert explanation.values.shape == (2, 8, 7, 1)
    corners = list(itertools.product([slice(0, 4), slice(4, 8)], [slice(0, 3), slice(3, 6), slice(6, 7)]))
    players = [np.zeros((8, 7, 2), bool) for _ in corners]
    for player, corner in zip(players, corners, strict=True):
        player[corner] = True
    for picture, values in zip(pictures, explanation.values, strict=True):
        phi = by_definition(of_class(model, 2), picture, np.zeros_like(picture), players)
        for corner, expected in zip(corners, phi, strict=True):
            window = values[corner]
            np.testing.assert_allclose(window, expected / window.size, atol=1e-6)


def test_tokens_of_a_text():
    """Token ids are hidden behind the vector of the baseline's id, one token at a time."""
    keras.utils.set_random_seed(0)
    ids = np.array([[4, 2, 7, 3, 9], [1, 1, 5, 8, 2]])
    x = keras.Input((5,), dtype="int32")
    hidden = layers.LSTM(6)(layers.Embedding(10, 4)(x))
    model = keras.Model(x, layers.Dense(2)(hidden))
    explanation = tfs.ShapleyValues(model, window=1, baseline=6).explain(ids, 1)
    expected = [by_definition(of_class(model, 1), row, np.full(5, 6), columns_of(5)) for row in ids]
    np.testing.assert_allclose(explanation.values, expected, atol=1e-6)


@pytest.mark.parametrize("tables", [[(10, 4), (10, 4)], [(10, 4), (10, 7)], [(10, 4), (12, 3)]], ids=str)
def test_an_id_that_is_looked_up_in_several_tables_is_hidden_in_all_of_them(tables):
    keras.utils.set_random_seed(0)
    ids = np.array([[4, 2, 7], [1, 1, 5]])
    x = keras.Input((3,), dtype="int32")
    vectors = [layers.Flatten()(layers.Embedding(*table, embeddings_initializer="normal")(x)) for table in tables]
    model = keras.Model(x, layers.Dense(2)(layers.Dense(6, "tanh")(layers.Concatenate()(vectors))))
    model.set_weights([3 * weights for weights in model.get_weights()])
    explanation = tfs.ShapleyValues(model, window=1, baseline=6).explain(ids, 1)
    hidden = np.full(3, 6)
    expected = [by_definition(of_class(model, 1), row, hidden, columns_of(3)) for row in ids]
    np.testing.assert_allclose(explanation.values, expected, atol=1e-5)
    left_out = tfs.Occlusion(model, window=1, stride=1, baseline=6).explain(ids, 1).values
    for row, values in zip(ids, left_out, strict=True):
        drops = [of_class(model, 1)(row) - of_class(model, 1)(np.where(column, 6, row)) for column in columns_of(3)]
        np.testing.assert_allclose(values, drops, atol=1e-5)


def test_several_inputs_appear_in_one_order():
    keras.utils.set_random_seed(0)
    left, right = keras.Input((3,), name="left"), keras.Input((2,), name="right")
    hidden = layers.Dense(12, "tanh")(layers.Concatenate()([left, right]))
    model = keras.Model({"left": left, "right": right}, layers.Dense(2)(hidden))
    explanation = tfs.ShapleyValues(model, baseline=0).explain({"left": ROWS[:, :3], "right": ROWS[:, 3:]}, 0)

    def answer(row):
        return float(model({"left": row[None, :3], "right": row[None, 3:]})[0, 0])

    expected = np.array([by_definition(answer, row, np.zeros(5, "float32"), columns_of(5)) for row in ROWS])
    np.testing.assert_allclose(explanation.values["left"], expected[:, :3], atol=1e-6)
    np.testing.assert_allclose(explanation.values["right"], expected[:, 3:], atol=1e-6)


@pytest.mark.parametrize("samples", [4, 64], ids=["sampled", "exact"])
def test_a_function_is_a_model(samples):
    model = table(8)
    rows = np.random.default_rng(5).normal(size=(3, 8)).astype("float32")
    of_model = tfs.ShapleyValues(model, baseline=0, samples=samples).explain(rows, 1)
    of_function = tfs.ShapleyValues(lambda x: model(x).numpy(), baseline=0, samples=samples).explain(rows, 1)
    np.testing.assert_allclose(of_function.values, of_model.values, atol=1e-6)
    np.testing.assert_allclose(
        of_function.diagnostics["relative_error"], of_model.diagnostics["relative_error"], rtol=1e-2
    )


def test_a_tolerance_draws_the_orders_that_it_needs():
    model = table(14)
    rows = np.random.default_rng(1).normal(size=(6, 14)).astype("float32")
    explanation = tfs.ShapleyValues(model, baseline=0, samples=4, tolerance=0.015, budget=600).explain(rows, 1)
    used = explanation.diagnostics["samples_used"].astype(int)
    assert explanation.diagnostics["converged"].all() and len(set(used)) > 1
    for row, values, count in zip(rows, explanation.values, used, strict=True):
        alone = tfs.ShapleyValues(model, baseline=0, samples=int(count)).explain(row[None], 1)
        np.testing.assert_allclose(alone.values[0], values, atol=1e-6)
        assert alone.diagnostics["relative_error"][0] <= 0.015
    exact = tfs.ShapleyValues(table(5), baseline=0, tolerance=0.1).explain(ROWS, 1)
    assert exact.diagnostics["converged"].all() and not exact.diagnostics["samples_used"].any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window": 6}, "1 <= window <= 5"),
        ({"window": 0}, "1 <= window <= 5"),
        ({"window": (1, 1)}, "a tuple of one for each of the 1 axes"),
        ({"samples": 0}, "samples is a whole number, at least 1"),
        ({"baseline": np.zeros(4)}, "baseline"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(ValueError, match=message):
        tfs.ShapleyValues(table(5), **{"baseline": 0, **options}).explain(ROWS, 1)
