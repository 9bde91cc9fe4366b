"""The filter of Wiener on the map of SmoothGrad: a NumPy twin, and whether its two numbers are true."""

import cv2
import keras
import numpy as np
import pytest
from keras import layers

import tfsaliency as tfs
from tests.harness import draws_of, quick
from tfsaliency.transforms import absolute

SIDE = 24


@pytest.fixture(scope="module")
def network():
    keras.utils.set_random_seed(5)
    return keras.Sequential(
        [
            keras.Input((SIDE, SIDE, 2)),
            layers.Conv2D(8, 5, activation="relu", padding="same"),
            layers.MaxPooling2D(),
            layers.Conv2D(8, 3, activation="relu"),
            layers.Flatten(),
            layers.Dense(3),
        ]
    )


@pytest.fixture(scope="module")
def pictures():
    noise = np.random.default_rng(1).normal(size=(6, SIDE, SIDE, 2))
    return np.stack([cv2.GaussianBlur(each, (7, 7), 2) * 3 for each in noise]).astype("float32")


@pytest.fixture(scope="module")
def truth(network, pictures):
    """The map of so many samples that its own error is a fiftieth of what is measured with it."""
    return tfs.SmoothGrad(network, samples=6000, seed=99).explain(pictures, 1).values


def distance(values, truth):
    """The norm of the difference, as a share of that of the truth, for each sample."""
    return np.linalg.norm((values - truth).reshape(len(truth), -1), axis=1) / norms(truth)


def norms(values):
    return np.linalg.norm(values.reshape(len(values), -1), axis=1)


def gradients_of_copies(network, pictures, samples):
    """The gradient at each noisy copy, ``(samples, N, ...)``, with the noise of the explainer."""
    extents = np.ptp(pictures.reshape(len(pictures), -1), axis=1)[:, None, None, None]
    draws = draws_of(tfs.SmoothGrad(network, samples=samples), (SIDE, SIDE, 2))
    return np.stack([tfs.Gradient(network).explain(pictures + 0.15 * extents * draw, 1).values for draw in draws])


@pytest.mark.parametrize("batch_size", [None, 1, 4])
def test_numpy_twin(network, pictures, batch_size):
    spectra = np.fft.fft2(gradients_of_copies(network, pictures, 7).astype("float64"), axes=(2, 3))
    frequencies = np.fft.fftfreq(SIDE, 1 / SIDE)
    ring = np.rint(np.hypot(frequencies[:, None], frequencies)).astype(int)
    mean = spectra.mean(axis=0)
    noise = spectra.var(axis=0, ddof=1) / 7
    gains = np.zeros(mean.shape)
    for number in range(ring.max() + 1):
        inside = ring == number
        shares = noise[:, inside].sum(axis=(1, 2)) / (np.abs(mean[:, inside]) ** 2).sum(axis=(1, 2))
        gains[:, inside] = np.maximum(0, 1 - shares)[:, None, None]
    expected = np.fft.ifft2(gains * mean, axes=(1, 2)).real
    explanation = tfs.DenoisedSmoothGrad(network, samples=7).explain(pictures, 1, batch_size=batch_size)
    assert np.linalg.norm(explanation.values - expected) < 1e-4 * np.linalg.norm(expected)
    kept = gains * np.abs(mean) ** 2
    for name, powers in {"relative_error": gains * noise, "relative_bias": (1 - gains) ** 2 * kept}.items():
        shares = np.sqrt(powers.sum(axis=(1, 2, 3)) / kept.sum(axis=(1, 2, 3)))
        np.testing.assert_allclose(explanation.diagnostics[name], shares, rtol=1e-3)


@pytest.mark.parametrize("samples", quick([8, 32], 8))
def test_it_is_nearer_to_many_samples_and_knows_how_near(network, pictures, truth, samples):
    near, told, plain, biases, means = [], [], [], [], []
    for seed in range(10):
        denoised = tfs.DenoisedSmoothGrad(network, samples=samples, seed=seed).explain(pictures, 1)
        near.append(distance(denoised.values, truth))
        told.append(denoised.diagnostics["relative_error"])
        biases.append(denoised.diagnostics["relative_bias"])
        plain.append(distance(tfs.SmoothGrad(network, samples=samples, seed=seed).explain(pictures, 1).values, truth))
        means.append(denoised.values)
    near, plain = np.array(near), np.array(plain)
    assert (near < plain).all()
    assert 0.9 < np.median(told / near) < 1.1
    # The mean over seeds keeps the bias, and a tenth of the variance.
    biased = distance(np.mean(means, axis=0), truth)
    of_chance = np.mean(near**2, axis=0) - biased**2
    bias = np.sqrt(np.maximum(0, biased**2 - of_chance / 9))
    assert 0.8 < np.median(np.mean(biases, axis=0) / bias) < 1.25


def test_a_map_without_noise_stays_as_it_is(pictures):
    """The slope of a linear model is the same everywhere."""
    model = keras.Sequential([keras.Input((SIDE, SIDE, 2)), layers.Flatten(), layers.Dense(3)])
    explanation = tfs.DenoisedSmoothGrad(model, samples=4).explain(pictures, 1)
    np.testing.assert_allclose(explanation.values, tfs.Gradient(model).explain(pictures, 1).values, atol=1e-6)
    np.testing.assert_allclose(explanation.diagnostics["relative_error"], 0, atol=1e-3)
    np.testing.assert_allclose(explanation.diagnostics["relative_bias"], 0, atol=1e-3)


def test_a_table_is_scaled_as_a_whole():
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((9,)), layers.Dense(40, "relu"), layers.Dense(2)])
    rows = np.random.default_rng(0).normal(size=(5, 9)).astype("float32")
    plain = tfs.SmoothGrad(model, samples=6).explain(rows, 1)
    denoised = tfs.DenoisedSmoothGrad(model, samples=6).explain(rows, 1)
    factors = denoised.values / plain.values
    np.testing.assert_allclose(factors, np.broadcast_to(factors[:, :1], factors.shape), rtol=1e-4)
    # Of one ring the gain is 1 - N / P = 1 / (1 + e^2), with the error e = N / (P - N) of the plain map.
    errors = plain.diagnostics["relative_error"]
    np.testing.assert_allclose(factors[:, 0], 1 / (1 + errors**2), rtol=1e-3)


def test_a_tolerance_is_met_with_fewer_copies_than_without_the_filter(network, pictures):
    options = {"samples": 8, "tolerance": 0.35, "budget": 500}
    denoised = tfs.DenoisedSmoothGrad(network, **options).explain(pictures, 1)
    plain = tfs.SmoothGrad(network, **options).explain(pictures, 1)
    assert denoised.diagnostics["converged"].all() and (denoised.diagnostics["relative_error"] <= 0.35).all()
    assert (denoised.diagnostics["samples_used"] < plain.diagnostics["samples_used"]).all()


def test_each_part_of_several_inputs_has_its_own_rings(pictures):
    keras.utils.set_random_seed(1)
    picture, table = keras.Input((SIDE, SIDE, 2), name="picture"), keras.Input((3,), name="table")
    hidden = layers.Flatten()(layers.Conv2D(4, 5, strides=3, activation="relu")(picture))
    joined = layers.Dense(20, "relu")(layers.Concatenate()([hidden, table]))
    model = keras.Model({"picture": picture, "table": table}, layers.Dense(2)(joined))
    x = {"picture": pictures, "table": pictures[:, 0, :3, 0]}
    plain, denoised = (
        method(model, samples=5).explain(x, 1).values for method in (tfs.SmoothGrad, tfs.DenoisedSmoothGrad)
    )
    factors = denoised["table"] / plain["table"]
    np.testing.assert_allclose(factors, np.broadcast_to(factors[:, :1], factors.shape), rtol=1e-3)
    as_the_table = plain["picture"] * factors[:, :1, None, None]
    assert (distance(denoised["picture"], as_the_table) > 0.02).all()


def test_a_map_without_a_sign_stays_without_one(pictures):
    """The network reads one corner, and the waves of a filtered map go below zero beside it."""
    keras.utils.set_random_seed(5)
    corner = [layers.Cropping2D(((0, 16), (0, 16))), layers.Conv2D(8, 3, activation="relu")]
    network = keras.Sequential([keras.Input((SIDE, SIDE, 2)), *corner, layers.Flatten(), layers.Dense(3)])
    sizes = tfs.Gradient(network).then(absolute)
    explanation = tfs.DenoisedSmoothGrad(sizes, samples=6).explain(pictures, 1)
    assert explanation.meaning == "magnitude" and explanation.values.min() == 0
    many = tfs.SmoothGrad(sizes, samples=1500, seed=99).explain(pictures, 1).values
    few = tfs.SmoothGrad(sizes, samples=6).explain(pictures, 1).values
    near = distance(explanation.values, many)
    assert (near < distance(few, many)).all()
    assert np.median(near / explanation.diagnostics["relative_error"]) < 1.2


def test_padding_gets_nothing():
    """Also where the filter spreads over it what is beside it."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((12, 3)), layers.Masking(), layers.LSTM(8), layers.Dense(2)])
    series = np.random.default_rng(0).normal(size=(2, 12, 3)).astype("float32")
    series[:, 8:] = 0
    for inner in (model, tfs.Occlusion(model, window=1, stride=1)):
        values = tfs.DenoisedSmoothGrad(inner, samples=6).explain(series, 1).values
        np.testing.assert_array_equal(values[:, 8:], 0)
        assert np.abs(values[:, :8]).min() > 0


def test_one_sample_shows_no_noise(network):
    with pytest.raises(ValueError, match="samples is a whole number, at least 2"):
        tfs.DenoisedSmoothGrad(network, samples=1)
