"""Metrics of a map alone, of its place, and of its steadiness, against closed forms."""

import dataclasses

import keras
import numpy as np
import pytest
from keras import layers

import tfsaliency as tfs
from tests.metrics.harness import PICTURES, known, picture_model, with_map


def with_values(values):
    model = keras.Sequential([keras.Input((len(values[0]),)), layers.Dense(2)])
    values = np.asarray(values, "float32")
    return with_map(tfs.Gradient(model).explain(np.ones(values.shape), 0), values)


def test_entropy_and_gini_of_known_maps():
    explanation = with_values([[1, 1, 1, 1], [0, -3, 0, 0], [1, -2, 3, 0]])
    shares = np.array([1, 2, 3]) / 6
    entropy = [np.log(4), 0, -(shares * np.log(shares)).sum()]
    np.testing.assert_allclose(tfs.metrics.Entropy().measure(explanation).values, entropy, atol=1e-12)
    # The mean distance of two sizes over twice their mean.
    sizes = np.abs(explanation.values)
    gini = [np.abs(row[:, None] - row).mean() / (2 * row.mean()) for row in sizes]
    np.testing.assert_allclose(tfs.metrics.Gini().measure(explanation).values, gini, atol=1e-12)


def test_pointing_mass_and_ranks():
    explanation = with_values([[1, 5, 2, -4], [3, 3, 1, 3], [-1, -2, -3, -4], [1, 2, 3, 4]])
    mask = np.array([[0, 1, 1, 0], [1, 0, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]], bool)
    point = tfs.metrics.PointingGame(mask).measure(explanation)
    np.testing.assert_allclose(point.values, [1, 1 / 3, 1, np.nan])
    np.testing.assert_allclose(point.chance, [0.5, 0.25, 0.25, 0])
    mass = tfs.metrics.RelevanceMass(mask).measure(explanation)
    np.testing.assert_allclose(mass.values, [7 / 8, 3 / 10, np.nan, np.nan])
    ranks = tfs.metrics.RankAccuracy(mask).measure(explanation)
    np.testing.assert_allclose(ranks.values[[0, 2]], [1, 1])
    assert ranks.values[1] in (0, 1)


def test_a_constant_map_points_at_chance():
    """Over all masks of one place, equal values get the share of the mask."""
    explanation = with_values(np.ones((8, 8)))
    values = tfs.metrics.PointingGame(np.eye(8, dtype=bool)).measure(explanation).values
    np.testing.assert_allclose(values, 1 / 8)
    ranks = tfs.metrics.RankAccuracy(np.eye(8, dtype=bool)).measure(explanation).values
    assert ranks.sum() == 1


def test_boxes_are_masks():
    explanation = tfs.Gradient(picture_model()).explain(PICTURES)
    boxes = np.array([[2, 1, 7, 4], [0, 0, 3, 10], [11, 9, 12, 10]])
    mask = np.zeros((3, 12, 10), bool)
    for row, (top, left, bottom, right) in zip(mask, boxes, strict=True):
        row[top:bottom, left:right] = True
    for metric in (tfs.metrics.PointingGame, tfs.metrics.RelevanceMass, tfs.metrics.RankAccuracy):
        np.testing.assert_array_equal(
            metric(boxes).measure(explanation).values, metric(mask).measure(explanation).values
        )
    with pytest.raises(ValueError, match=r"where is masks of True and False of shape \(3, 12, 10\), or for pictures"):
        tfs.metrics.PointingGame(mask[:, :5]).measure(explanation)


def test_max_sensitivity_of_a_quadratic_score():
    """The gradient of sum x^2 is 2x: it moves by 2u, and the farthest draw decides."""
    x = keras.Input((5,))
    model = keras.Model(x, keras.ops.sum(x**2, axis=-1, keepdims=True))
    inputs = np.random.default_rng(0).normal(size=(3, 5)).astype("float32")
    explainer = tfs.Gradient(model)
    metric = tfs.metrics.MaxSensitivity(explainer, samples=6, radius=0.1, seed=4)
    found = metric.measure(explainer.explain(inputs)).values
    generator = np.random.default_rng(4)
    draws = np.array([generator.uniform(-0.1, 0.1, 5) for _ in range(6)])
    extent = inputs.max(axis=1) - inputs.min(axis=1)
    farthest = np.linalg.norm(draws, axis=1).max() * extent
    np.testing.assert_allclose(found, farthest / np.linalg.norm(inputs, axis=1), rtol=1e-4)
    with pytest.raises(tfs.metrics.InapplicableError, match="cannot move a little"):
        metric.check(dataclasses.replace(explainer.explain(inputs), inputs=np.ones(inputs.shape, "int32")))


def test_max_sensitivity_moves_no_padding():
    """A series that is filled up with zeros has the sensitivity of the series alone."""
    generator = np.random.default_rng(0)
    series = 3 + generator.normal(size=(2, 5, 3)).astype("float32")
    padded = np.pad(series, [(0, 0), (0, 4), (0, 0)])

    def measured(given):
        keras.utils.set_random_seed(0)
        masked = [keras.Input(given.shape[1:]), layers.Masking(), layers.LSTM(6), layers.Dense(2)]
        explainer = tfs.GradientTimesInput(keras.Sequential(masked))
        metric = tfs.metrics.MaxSensitivity(explainer, samples=1, radius=0.1)
        return metric.measure(explainer.explain(given, 1)).values

    assert measured(series).min() > 0.01
    np.testing.assert_allclose(measured(padded), measured(series), rtol=1e-3)


def test_max_sensitivity_moves_no_ids_that_are_declared_as_floats():
    ids, numbers = keras.Input((4,), name="ids"), keras.Input((3,), name="numbers")
    vectors = layers.Flatten()(layers.Embedding(9, 2)(ids))
    model = keras.Model({"ids": ids, "numbers": numbers}, layers.Dense(2)(layers.Concatenate()([vectors, numbers**2])))
    inputs = {"ids": np.array([[1.0, 2, 3, 4]], "float32"), "numbers": np.array([[1.0, 2, 4]], "float32")}
    explainer = tfs.Gradient(model)
    found = tfs.metrics.MaxSensitivity(explainer, samples=1, seed=3).measure(explainer.explain(inputs, 1)).values
    generator = np.random.default_rng(3)
    generator.uniform(-0.02, 0.02, 4)
    moved = inputs | {"numbers": inputs["numbers"] + 3 * generator.uniform(-0.02, 0.02, 3)}
    before, after = (explainer.explain(each, 1).values["numbers"] for each in (inputs, moved))
    of_ids = explainer.explain(inputs, 1).values["ids"]
    whole = np.hypot(np.linalg.norm(before), np.linalg.norm(of_ids))
    np.testing.assert_allclose(found, np.linalg.norm(after - before) / whole, rtol=1e-3)
    alone = keras.Model(ids, layers.Dense(2)(vectors))
    explanation = tfs.Gradient(alone).explain(inputs["ids"], 1)
    with pytest.raises(tfs.metrics.InapplicableError, match="without floats"):
        tfs.metrics.MaxSensitivity(tfs.Gradient(alone)).measure(explanation)


def test_sensitivity_to_the_baseline_of_a_linear_model():
    """Contributions of a linear model are w (x - x0): their ranks over the places are known for each baseline."""
    model, x, _ = known("sum")
    x = np.random.default_rng(0).normal(size=(2, 12)).astype("float32")
    linear = keras.Sequential([keras.Input((12,)), layers.Dense(1)])
    kernel = linear.get_weights()[0][:, 0]
    explainer = tfs.DeepLIFT(linear)
    baselines = [0.0, 0.5, -1.0]
    found = tfs.metrics.BaselineSensitivity(explainer, baselines).measure(explainer.explain(x))
    for number, row in enumerate(x):
        maps = [np.argsort(np.argsort(kernel * (row - baseline))) for baseline in baselines]
        pairs = [np.corrcoef(maps[a], maps[b])[0, 1] for a, b in ((0, 1), (0, 2), (1, 2))]
        np.testing.assert_allclose(found.details["band"][number], [min(pairs), max(pairs)], atol=1e-6)
        assert found.values[number] == pytest.approx(min(pairs), abs=1e-6)
    with pytest.raises(tfs.metrics.InapplicableError, match="has no option baseline"):
        tfs.metrics.BaselineSensitivity(tfs.Gradient(linear)).measure(tfs.Gradient(linear).explain(x))
