"""Closed forms for the objective, and every option shown to matter."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfsaliency as tfs
from tfsaliency.methods.class_models.parametrization import COLOURS, Fourier, Pixels
from tfsaliency.methods.class_models.views import Views

WEIGHTS = np.random.default_rng(0).normal(size=(5, 3)).astype("float32")


@pytest.fixture(scope="module")
def linear():
    model = keras.Sequential([keras.Input((5,)), layers.Dense(3, activation="softmax")])
    model.set_weights([WEIGHTS, np.zeros(3)])
    return model


@pytest.fixture(scope="module")
def network():
    keras.utils.set_random_seed(2)
    return keras.Sequential(
        [
            keras.Input((17, 16, 3)),
            layers.Conv2D(6, 3, activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(3, activation="softmax"),
        ]
    )


def test_linear_model_has_a_known_optimum(linear):
    """``w x - penalty |x|^2`` is largest at ``w / (2 penalty)``."""
    visualizer = tfs.ClassVisualization.simonyan(linear, penalty=0.5, steps=1500, learning_rate=0.02)
    result = visualizer.explain([0, 2])
    np.testing.assert_allclose(result.values, [WEIGHTS[:, 0], WEIGHTS[:, 2]], atol=1e-3)
    np.testing.assert_allclose(result.scores, (result.values * [WEIGHTS[:, 0], WEIGHTS[:, 2]]).sum(axis=1), rtol=1e-5)
    assert (result.inputs == 0).all()
    np.testing.assert_array_equal(result.diagnostics["score_at_start"], [0, 0])
    np.testing.assert_array_equal(result.target, [0, 2])


def test_function_target(linear):
    visualizer = tfs.ClassVisualization.simonyan(linear, penalty=0.5, steps=1500, learning_rate=0.02)
    result = visualizer.explain(tfs.target.margin(1, 2))
    np.testing.assert_allclose(result.values, [WEIGHTS[:, 1] - WEIGHTS[:, 2]], atol=1e-3)
    assert result.target == [1]


def test_the_score_rises(network):
    result = tfs.ClassVisualization(network, steps=60).explain([0, 1, 2])
    assert (result.scores > result.diagnostics["score_at_start"] + 0.05).all()
    assert result.values.shape == (3, 17, 16, 3)
    assert result.values.min() >= -2 and result.values.max() <= 2


def test_a_picture_does_not_depend_on_its_batch(network):
    visualizer = tfs.ClassVisualization(network, steps=15)
    together, alone = visualizer.explain([2, 0]), visualizer.explain(0)
    np.testing.assert_allclose(together.values[1], alone.values[0], atol=1e-4)


def test_more_targets_than_rows(network, monkeypatch):
    visualizer = tfs.ClassVisualization(network, steps=5)
    expected = visualizer.explain([0, 1, 2])
    tfs.forget(network)
    monkeypatch.setattr("tfsaliency.engine.compiled.rows_for", lambda row_bytes: 2)
    np.testing.assert_allclose(visualizer.explain([0, 1, 2]).values, expected.values, atol=1e-5)


@pytest.mark.parametrize(
    "change",
    [
        {"low": -1.0},
        {"high": 1.0},
        {"steps": 6},
        {"learning_rate": 0.1},
        {"parametrization": Pixels()},
        {"parametrization": Fourier(decay=0.5)},
        {"parametrization": Fourier(contrast=0.5)},
        {"views": None},
        *(
            {"views": dataclasses.replace(Views(), **change)}
            for change in (
                {"shift": 0.3},
                {"scale": (0.9, 1.0)},
                {"rotation": 60.0},
                {"contrast": 0.0},
                {"noise": (0.0, 0.0)},
                {"noise": (0.35, 0.35)},
                {"blur": 2.0},
            )
        ),
        {"rivals": 0.0},
        {"penalty": 0.1},
        {"total_variation": 0.1},
        {"seed": 1},
    ],
    ids=str,
)
def test_every_option_changes_the_picture(network, change):
    base = tfs.ClassVisualization(network, steps=5)
    changed = dataclasses.replace(base, **change)
    assert np.abs(base.explain(1).values - changed.explain(1).values).max() > 1e-6


def test_the_same_seed_gives_the_same_picture(network):
    visualizer = tfs.ClassVisualization(network, steps=5, seed=3)
    np.testing.assert_array_equal(visualizer.explain(1).values, visualizer.explain(1).values)


def test_shape_of_a_model_that_declares_none():
    class Bare(keras.Model):
        def call(self, x):
            return tf.reduce_sum(x, axis=(1, 2))

    model = Bare()
    model.built = True
    result = tfs.ClassVisualization(model, steps=3, shape=(8, 8, 3)).explain(0)
    assert result.values.shape == (1, 8, 8, 3)
    with pytest.raises(ValueError, match=r"needs the shape of the model's one input, e.g. shape=\(224, 224, 3\)"):
        tfs.ClassVisualization(model).explain(0)


def test_the_model_is_left_as_it_was(network):
    before = [weight.copy() for weight in network.get_weights()]
    names = sorted(vars(network))
    tfs.ClassVisualization(network, steps=3).explain(1)
    assert names == sorted(vars(network))
    for weight, after in zip(before, network.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, after)


@pytest.mark.parametrize(
    ("options", "target", "error", "message"),
    [
        ({}, None, ValueError, "needs a target.*Received: None"),
        ({}, 3, ValueError, "classes 0 to 2. Received: target 3"),
        ({"low": 1, "high": 1}, 0, ValueError, "low is below high. Received: low=1, high=1"),
        ({"steps": 0}, 0, ValueError, "steps is a whole number, at least 1. Received: 0"),
        ({"penalty": -1.0}, 0, ValueError, "penalty is a finite number, at least 0. Received: -1.0"),
    ],
)
def test_errors(network, options, target, error, message):
    with pytest.raises(error, match=message):
        tfs.ClassVisualization(network, **options).explain(target)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"parametrization": Pixels(), "views": None},
        {"parametrization": Pixels(), "total_variation": 0.0},
    ],
)
def test_pictures_of_a_model_of_tables(linear, options):
    with pytest.raises(ValueError, match=r"Received: shape \(5,\).*simonyan takes inputs of any shape"):
        tfs.ClassVisualization(linear, **options).explain(0)


def test_several_series_are_painted_as_one_by_one():
    """TensorFlow takes a batch of series for one picture, and its total variation would be one for all of them."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((6, 3)), layers.GRU(4), layers.Dense(2)])
    with pytest.raises(ValueError, match="views=None and total_variation=0"):
        tfs.ClassVisualization(model, parametrization=Pixels(), views=None).explain([0, 1])
    plain = tfs.ClassVisualization(model, steps=20, parametrization=Pixels(), views=None, total_variation=0.0)
    alone = [plain.explain(target).values for target in (0, 1)]
    np.testing.assert_allclose(plain.explain([0, 1]).values, np.concatenate(alone), atol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scale": (0, 1)}, r"scale is a pair .* Received: \(0, 1\)"),
        ({"shift": -1}, "shift is at least 0. Received: -1"),
        ({"noise": (-1, 0)}, r"noise is a pair.*Received: \(-1, 0\)"),
    ],
)
def test_errors_of_views(options, message):
    with pytest.raises(ValueError, match=message):
        Views(**options)


def test_a_model_of_ids_is_refused():
    model = keras.Sequential([keras.Input((5,)), layers.Embedding(9, 3), layers.Flatten(), layers.Dense(2)])
    with pytest.raises(ValueError, match="paints an input of numbers. Received: a model that looks up vectors"):
        tfs.ClassVisualization.simonyan(model, steps=2).explain(0)


def test_one_picture_per_class_however_the_classes_are_given(network):
    visualizer = tfs.ClassVisualization(network, steps=2)
    for target, count in ((1, 1), (np.array(1), 1), (tf.constant([0, 1]), 2), ((0, 1, 2), 3)):
        assert len(visualizer.explain(target)) == count


def test_not_a_model():
    with pytest.raises(TypeError, match="A model is explained. Received: str"):
        tfs.ClassVisualization("model")


# Parametrizations and views -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(6, 8, 3), (7, 5, 3), (6, 6, 1)])
def test_fourier_twin(shape):
    """NumPy's inverse transform of the same spectrum."""
    height, width, channels = shape
    parametrization = Fourier(decay=0.7, contrast=0.3)
    numbers = np.random.default_rng(0).normal(size=(2, 2, channels, height, width // 2 + 1)).astype("float32")
    frequency = np.sqrt(np.fft.fftfreq(height)[:, None] ** 2 + np.fft.rfftfreq(width)[None] ** 2)
    amplitude = np.sqrt(height * width) * np.maximum(frequency, 1 / max(height, width)) ** -0.7
    waves = np.fft.irfft2((numbers[:, 0] + 1j * numbers[:, 1]) * amplitude, (height, width))
    waves = 0.3 * waves.transpose(0, 2, 3, 1)
    if channels == 3:
        waves = waves @ COLOURS.T
    expected = -1 + 4 / (1 + np.exp(-waves))
    np.testing.assert_allclose(parametrization.picture(tf.constant(numbers), shape, -1, 3), expected, atol=1e-5)


def test_fourier_starts_grey():
    start = Fourier().start((32, 32, 3), 0)
    picture = Fourier().picture(start[None], (32, 32, 3), -2.0, 2.0)
    assert np.abs(picture).max() < 0.25


STILL = Views(shift=0, scale=(1, 1), rotation=0, contrast=0, noise=(0, 0))
PICTURES = np.random.default_rng(0).uniform(-1, 1, size=(2, 9, 9, 3)).astype("float32")


def view(views, seed=1):
    return views(tf.constant(PICTURES), tf.constant(0.0), tf.constant([0, seed])).numpy()


def test_no_view_is_the_picture():
    np.testing.assert_allclose(view(STILL), PICTURES, atol=1e-5)


@pytest.mark.parametrize("seed", range(6))
def test_a_quarter_turn(seed):
    """Where the angle that is drawn is a quarter turn either way, the view is the picture turned so."""
    # Of the draws, which are between -1 and 1, the second is the share of the largest angle.
    share = float(tf.random.stateless_uniform((8,), [0, seed], -1, 1)[1])
    turned = view(dataclasses.replace(STILL, rotation=90.0 / abs(share)), seed)
    expected = np.rot90(PICTURES, 1 if share > 0 else -1, axes=(1, 2))
    np.testing.assert_allclose(turned, expected, atol=1e-5)


def test_magnification():
    """At twice the size, the middle of the view is the middle of the picture, and its edge is half way out."""
    seen = view(dataclasses.replace(STILL, scale=(2, 2)))
    np.testing.assert_allclose(seen[:, 4, 4], PICTURES[:, 4, 4], atol=1e-5)
    np.testing.assert_allclose(seen[:, 0, 0], PICTURES[:, 2, 2], atol=1e-5)
    small = view(dataclasses.replace(STILL, scale=(0.5, 0.5)))
    np.testing.assert_allclose(small[:, 3, 3], PICTURES[:, 2, 2], atol=1e-5)
    assert (small[:, 0] == 0).all()


def test_contrast_and_brightness():
    seen = view(dataclasses.replace(STILL, contrast=0.4))
    slope, offset = np.polyfit(PICTURES.ravel(), seen.ravel(), 1)
    np.testing.assert_allclose(seen, slope * PICTURES + offset, atol=1e-4)
    assert 0.6 <= slope <= 1.4 and abs(offset) <= 0.2


def test_blur_keeps_the_mean_of_a_constant_and_smooths():
    soft = view(dataclasses.replace(STILL, blur=3.0))
    assert soft.std() < PICTURES.std()
    constant = dataclasses.replace(STILL, blur=3.0)(tf.fill([1, 9, 9, 3], 0.3), tf.constant(0.0), tf.constant([0, 1]))
    np.testing.assert_allclose(constant, 0.3, atol=1e-5)


def test_noise_fades():
    def spread(progress):
        noisy = dataclasses.replace(STILL, noise=(1.0, 0.0))(tf.zeros([1, 64, 64, 3]), progress, tf.constant([0, 1]))
        return np.std(noisy)

    assert spread(tf.constant(0.0)) > 0.01
    np.testing.assert_allclose(spread(tf.constant(0.5)), 0.5 * spread(tf.constant(0.0)), rtol=1e-4)
    assert spread(tf.constant(1.0)) == 0
