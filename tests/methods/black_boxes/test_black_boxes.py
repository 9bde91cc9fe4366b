"""Occlusion and RISE: methods that only ask."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfsaliency as tfs
from tests import reference
from tests.kinds import KINDS
from tfsaliency.methods.black_boxes.masks import Masks
from tfsaliency.tensors.draws import stream

PICTURES = np.random.default_rng(5).normal(size=(2, 10, 13, 2)).astype("float32")


def linear(shape, seed=0):
    """A model whose occlusion is known: what is hidden takes its part of a sum with it."""
    model = keras.Sequential([keras.Input(shape), layers.Flatten(), layers.Dense(3, use_bias=False)])
    weights = np.random.default_rng(seed).normal(size=(int(np.prod(shape)), 3)).astype("float32")
    model.set_weights([weights])
    return model, weights


@pytest.mark.parametrize(("window", "stride"), [(1, 1), (4, 1), (4, (2, 3)), ((3, 5), 1), ((3, 5), (2, 3))])
def test_occlusion_is_its_definition(window, stride):
    keras.utils.set_random_seed(0)
    convolution = layers.Conv2D(4, 3, activation="gelu")
    model = keras.Sequential([keras.Input((10, 13, 2)), convolution, layers.Flatten(), layers.Dense(3)])
    values = tfs.Occlusion(model, window, stride, 0.3).explain(PICTURES, 1).values
    pair = [option if isinstance(option, tuple) else (option, option) for option in (window, stride)]
    expected = reference.occlusion(PICTURES, lambda x: model(x).numpy()[:, 1], *pair, 0.3)
    np.testing.assert_allclose(values[..., 0], expected, rtol=1e-3, atol=2e-5)


def test_occlusion_of_a_linear_model():
    model, weights = linear((6,))
    x = np.random.default_rng(1).normal(size=(4, 6)).astype("float32")
    baseline = np.linspace(-1, 1, 6)
    values = tfs.Occlusion(model, 1, 1, baseline).explain(x, 2).values
    np.testing.assert_allclose(values, (x - baseline) * weights[:, 2], rtol=1e-4, atol=1e-5)


def test_columns_and_words_have_no_neighbours():
    """By default each column of a table, and each word of a bag, is hidden alone."""
    model, weights = linear((40,))
    table = np.random.default_rng(1).normal(size=(3, 40)).astype("float32")
    np.testing.assert_allclose(
        tfs.Occlusion(model).explain(table, 2).values, table * weights[:, 2], rtol=1e-4, atol=1e-5
    )
    keras.utils.set_random_seed(0)
    words = [f"word{number}" for number in range(30)]
    text = keras.Input((1,), dtype="string")
    bag = layers.TextVectorization(vocabulary=words, output_mode="count")(text)
    reader = keras.Model(text, layers.Dense(2)(layers.Dense(6, "tanh")(bag)))
    given = ["word3", "word11", "word4", "word29", "word12"]
    texts = tf.constant([[" ".join(given)], *([" ".join(w for w in given if w != left)] for left in given)])
    whole, *without = reader(texts).numpy()[:, 1]
    values = tfs.Occlusion(reader).explain(texts[:1], 1).values
    np.testing.assert_allclose(values[0], whole - np.array(without), rtol=1e-4, atol=1e-6)


def test_occlusion_of_each_input_in_its_turn():
    kind = KINDS["two_inputs_dict"]
    model, _ = kind.models()
    inputs = kind.inputs(2)
    explanation = tfs.Occlusion(model, {"image": 3, "table": 2}, {"image": (3, 2), "table": 1}).explain(inputs, 1)

    def score(**changed):
        logits = keras.Model(model.input, model.layers[-1].input)({**inputs, **changed})
        weights, bias = model.layers[-1].get_weights()
        return (np.asarray(logits) @ weights + bias)[:, 1]

    image = reference.occlusion(inputs["image"], lambda x: score(image=x), (3, 3), (3, 2), 0.0)
    np.testing.assert_allclose(explanation.values["image"][..., 0], image, rtol=1e-3, atol=1e-5)
    table = reference.occlusion(inputs["table"], lambda x: score(table=x), (2,), (1,), 0.0)
    np.testing.assert_allclose(explanation.values["table"], table, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window": 20}, r"1 <= stride <= window <= 10 for this axis of \(None, 10, 13, 2\). Received: window 20"),
        ({"window": 2, "stride": 3}, "Received: window 2, stride 3"),
        ({"window": 0}, "Received: window 0"),
        ({"window": 2.5}, "window is a whole number, or a tuple of one for each of the 2 axes. Received: 2.5"),
        ({"window": (1, 2, 3)}, "a tuple of one for each of the 2 axes"),
        ({"window": [2, 2]}, "window has one entry for each input"),
        ({"window": {"image": 2}}, "window has one entry for each input"),
    ],
)
def test_windows_that_do_not_fit(options, message):
    with pytest.raises(ValueError, match=message):
        tfs.Occlusion(linear((10, 13, 2))[0], **options).explain(PICTURES)


def test_rise_of_a_linear_model():
    """``E[S(x m) m_p] / E[m] - E[S]`` of a table: half of a number's own part."""
    model, weights = linear((5,))
    x = np.random.default_rng(1).normal(size=(3, 5)).astype("float32")
    parts = x * weights[:, 1]
    explanation = tfs.RISE(model, samples=4000).explain(x, 1)
    values = explanation.values
    bound = 4 * np.abs(parts).max() / np.sqrt(4000)
    np.testing.assert_allclose(values, 0.5 * parts, atol=bound)
    np.testing.assert_allclose(explanation.diagnostics["mean_score"], 0.5 * parts.sum(axis=1), atol=bound)
    other = tfs.RISE(model, samples=4000, seed=1).explain(x, 1).values
    assert np.abs(other - values).max() > 1e-4
    # An offset of the score adds nothing, not even noise.
    shifted = tfs.RISE(model, samples=50).explain(x, lambda z: z[:, 1] + 1000).values
    np.testing.assert_allclose(shifted, tfs.RISE(model, samples=50).explain(x, 1).values, atol=2e-3)


def test_rise_of_ids_and_numbers_that_are_worth_the_same():
    """A column of ids had masks between hidden and visible, and two thirds of its value."""
    given = {"number": keras.Input((), name="number"), "id": keras.Input((), dtype="int32", name="id")}
    worth = keras.layers.Embedding(2, 1)
    model = keras.Model(given, keras.ops.expand_dims(given["number"], -1) + worth(given["id"]))
    worth.embeddings.assign([[0.0], [1.0]])
    x, baseline = {"number": np.ones(1, "float32"), "id": np.ones(1, "int32")}, {"number": 0.0, "id": 0}
    for values in tfs.RISE(model, samples=4000, baseline=baseline).explain(x).values.values():
        np.testing.assert_allclose(values, 0.5, atol=0.01)
    row = keras.Input((2,), dtype="int32")
    table = keras.Model(row, keras.ops.sum(worth(row), axis=1))
    values = tfs.RISE(table, samples=4000, baseline=0).explain(np.ones((1, 2), "int32")).values
    np.testing.assert_allclose(values, 0.5, atol=0.01)


def masks_of(rise, x):
    masks = Masks.of(tf.constant(x), rise.cells, rise.probability, stream("rise", rise.seed, 0))
    return masks.whole(tf.constant(0), tf.constant(rise.samples)).numpy()


def plain_rise(model, rise, x, index):
    """The paper's estimate with the mean score taken off, of the same masks."""
    masks = masks_of(rise, x)
    scores = np.array([model(masks * each).numpy()[:, index] for each in x])
    return np.einsum("nk,khwc->nhwc", scores - scores.mean(axis=1, keepdims=True), masks) / rise.samples / 0.5


@pytest.mark.parametrize("samples", [8, 40])
def test_rise_has_no_bias(samples):
    """The mean over seeds is the map of all masks, also where there are few masks for a regression."""
    random = np.random.default_rng(0)
    inner, outer = random.normal(size=(4, 8)), random.normal(size=(8, 2))
    x = np.array([[1.0, -2.0, 0.5, 1.5]], "float32")
    masks = np.array(list(itertools.product([0, 1], repeat=4)), "float32")
    share = np.prod(np.where(masks == 1, 0.3, 0.7), axis=1)

    # A function, since a model would be traced for each seed.
    def model(x):
        return np.tanh(x @ inner) @ outer

    scores = model(masks * x)[:, 1]
    truth = (share * (scores - share @ scores)) @ masks / 0.3
    found = np.concatenate(
        [tfs.RISE(model, samples, probability=0.3, seed=seed).explain(x, 1).values for seed in range(200)]
    )
    error = found.std(axis=0, ddof=1) / np.sqrt(len(found))
    assert (np.abs(found.mean(axis=0) - truth) < 3.5 * error).all()


@pytest.fixture(scope="module")
def curved():
    keras.utils.set_random_seed(0)
    tail = [layers.Conv2D(4, 3, activation="gelu"), layers.Flatten(), layers.Dense(3)]
    return keras.Sequential([keras.Input((10, 13, 2)), *tail])


def test_rise_takes_the_linear_part_of_the_score_off(curved):
    """Behind it the error against maps of many other masks is smaller than that of the plain estimate."""
    truth = tfs.RISE(curved, samples=6000, cells=4, seed=99).explain(PICTURES, 1).values
    errors = []
    for seed in range(5):
        rise = tfs.RISE(curved, samples=300, cells=4, seed=seed)
        found = rise.explain(PICTURES, 1).values, plain_rise(curved, rise, PICTURES, 1)
        errors.append([np.linalg.norm(each - truth) for each in found])
    ours, plain = np.mean(errors, axis=0)
    assert ours < 0.65 * plain


def test_rise_estimates_its_error(curved):
    """Told over true, against maps of 6,000 other masks, over seeds."""
    truth = tfs.RISE(curved, samples=6000, cells=4, seed=99).explain(PICTURES, 1).values
    found = [tfs.RISE(curved, samples=100, cells=4, seed=seed).explain(PICTURES, 1) for seed in range(25)]
    missed = np.array([each.values - truth for each in found])
    true = np.sqrt((missed**2).sum(axis=(2, 3, 4)).mean(axis=0) / (truth**2).sum(axis=(1, 2, 3)) / (1 + 100 / 6000))
    told = np.mean([each.diagnostics["relative_error"] for each in found], axis=0)
    np.testing.assert_allclose(told, true, rtol=0.15)


@pytest.mark.parametrize("asked", ["model", "function"])
def test_rise_draws_the_masks_that_a_tolerance_needs(curved, asked):
    """As many for each picture as its own error asks for: the map is that of as many, and one look less misses."""
    model = curved if asked == "model" else lambda x: curved(x).numpy()
    x = PICTURES + np.array([0, 4], "float32")[:, None, None, None]
    explanation = tfs.RISE(model, samples=32, cells=4, tolerance=0.25).explain(x, 1, batch_size=30)
    used = explanation.diagnostics["samples_used"].astype(int)
    assert used[0] != used[1] and explanation.diagnostics["converged"].all()
    for sample, count in enumerate(used):
        alone, before = (
            tfs.RISE(model, samples=int(n), cells=4).explain(x[sample : sample + 1], 1) for n in (count, count - 16)
        )
        np.testing.assert_allclose(explanation.values[sample], alone.values[0], rtol=1e-3, atol=1e-5)
        for name in ("relative_error", "mean_score"):
            np.testing.assert_allclose(explanation.diagnostics[name][sample], alone.diagnostics[name][0], rtol=1e-3)
        assert alone.diagnostics["relative_error"][0] <= 0.25 < before.diagnostics["relative_error"][0]


def test_rise_of_two_classes_shares_its_masks(curved):
    rise = tfs.RISE(curved, samples=30, cells=4)
    first, second = (rise.explain(PICTURES, index).values for index in (2, 0))
    margin = rise.explain(PICTURES, tfs.target.margin(2, 0)).values
    np.testing.assert_allclose(margin, first - second, rtol=1e-3, atol=1e-5)
    other = tfs.RISE(curved, samples=30, cells=4, seed=1).explain(PICTURES, 0).values
    assert np.linalg.norm(margin - (first - other)) > 0.1 * np.linalg.norm(margin)


def test_rise_masks_are_smooth_balanced_and_shifted():
    rise = tfs.RISE(linear((16, 16, 1))[0], samples=800, cells=4)
    masks = masks_of(rise, np.zeros((1, 16, 16, 1), "float32"))[..., 0]
    assert masks.min() >= 0
    assert masks.max() <= 1
    np.testing.assert_allclose(masks.mean(axis=0), 0.5, atol=0.08)
    # Two places of one cell agree, two that are two cells apart do not.
    correlation = np.corrcoef(masks.reshape(800, -1).T).reshape(16, 16, 16, 16)
    assert correlation[8, 8, 8, 9] > 0.8
    assert abs(correlation[8, 2, 8, 12]) < 0.15


def test_rise_finds_the_square_that_counts():
    model = keras.Sequential([keras.Input((24, 24, 1)), layers.Flatten(), layers.Dense(2, use_bias=False)])
    weights = np.zeros((24, 24, 1, 2))
    weights[4:12, 12:20, :, 1] = 1
    model.set_weights([weights.reshape(-1, 2)])
    values = tfs.RISE(model, samples=1500, cells=6).explain(np.ones((1, 24, 24, 1)), 1).values[0, ..., 0]
    inside = np.zeros((24, 24), bool)
    inside[4:12, 12:20] = True
    assert values[inside].min() > values[~inside].mean()
    assert inside[np.unravel_index(values.argmax(), values.shape)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"samples": 0}, "samples is a whole number"),
        ({"cells": 0}, "cells is a whole number"),
        ({"samples": 100, "tolerance": 0.1, "budget": 99}, "budget is a whole number, at least 100"),
        ({"probability": 1}, "probability is between 0 and 1"),
        ({"baseline": np.zeros((3, 10, 13, 2))}, "RISE hides behind one baseline. Received: 3"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(ValueError, match=message):
        tfs.RISE(linear((10, 13, 2))[0], **options).explain(PICTURES)


@pytest.mark.parametrize("explainer", [lambda model: tfs.Occlusion(model, 3, 2), lambda model: tfs.RISE(model, 40)])
def test_any_function_is_a_model(explainer):
    model, weights = linear((10, 13, 2))
    seen = []

    def function(x):
        seen.append(len(x))
        return x.reshape(len(x), -1) @ weights

    values = explainer(function).explain(PICTURES, 1, batch_size=8)
    np.testing.assert_allclose(values.values, explainer(model).explain(PICTURES, 1).values, rtol=1e-3, atol=1e-4)
    assert max(seen) <= 8
    assert "the output itself" in values.explained


def test_functions_of_several_inputs_and_without_gradient():
    box = tfs.BlackBox(lambda x: np.stack([x["a"].sum(axis=1), x["b"].sum(axis=1)], axis=1))
    inputs = {"a": np.ones((2, 3)), "b": np.full((2, 4), 2.0)}
    values = tfs.Occlusion(box, 1, 1).explain(inputs, 1).values
    np.testing.assert_allclose(values["b"], 2)
    np.testing.assert_allclose(values["a"], 0)
    with pytest.raises(ValueError, match="a black box only answers"):
        tfs.Gradient(box).explain(inputs, 1)
    with pytest.raises(TypeError, match="A model is explained.*Received: int, which cannot be called"):
        tfs.RISE(3)


def test_masked_ids_of_a_model_and_of_a_function():
    """A model sees the vector of padding where the text has no padding; a function sees the id, and masks it."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((5,), dtype="int32"), layers.Embedding(9, 4, mask_zero=True)])
    model.add(layers.GlobalAveragePooling1D())
    model.add(layers.Dense(2))
    ids = np.array([[3, 4, 5, 6, 7]])
    hidden = np.where(np.eye(5, dtype=bool), 0, ids)
    left_out = (model(ids) - model(hidden)).numpy()[:, 1]
    asked = tfs.Occlusion(lambda x: model.predict(x.astype(int), verbose=0), window=1, stride=1, baseline=0)
    np.testing.assert_allclose(asked.explain(ids, 1).values[0], left_out, atol=1e-5)
    table, (kernel, _) = model.layers[0].get_weights()[0], model.layers[-1].get_weights()
    behind = (table[ids[0]] - table[0]) @ kernel[:, 1] / 5
    found = tfs.Occlusion(model, window=1, stride=1, baseline=0).explain(ids, 1)
    np.testing.assert_allclose(found.values[0], behind, atol=1e-5)
