"""Against NumPy twins, closed forms, and the statistics that the maps promise."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfsaliency as tfs
from tests.harness import draws_of, quick
from tests.reference import moments_of_copies
from tfsaliency.transforms import absolute, square

NOISY = [tfs.SmoothGrad, tfs.SmoothGradSquared, tfs.VarGrad]


@pytest.fixture(scope="module")
def network():
    keras.utils.set_random_seed(5)
    return keras.Sequential(
        [
            keras.Input((8, 8, 2)),
            layers.Conv2D(6, 3, activation="relu"),
            layers.Conv2D(6, 3, activation="relu"),
            layers.Flatten(),
            layers.Dense(3, activation="softmax"),
        ]
    )


X = np.random.default_rng(1).normal(size=(3, 8, 8, 2)).astype("float32")


@pytest.mark.parametrize(
    ("method", "twin"),
    [
        (tfs.SmoothGrad, lambda mean, mean_of_squares, variance: mean),
        (tfs.SmoothGradSquared, lambda mean, mean_of_squares, variance: mean_of_squares),
        (tfs.VarGrad, lambda mean, mean_of_squares, variance: variance),
    ],
)
@pytest.mark.parametrize("batch_size", [None, 1, 3, 10])
def test_numpy_twin(network, method, twin, batch_size):
    explainer = method(network, samples=13, noise=0.3, seed=4)

    def gradient(x):
        return tfs.Gradient(network).explain(x, 1).values

    expected = twin(*moments_of_copies(gradient, X, draws_of(explainer, (8, 8, 2)), noise=0.3))
    values = explainer.explain(X, 1, batch_size=batch_size).values
    np.testing.assert_allclose(values, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("batch_size", [None, 1, 2])
@pytest.mark.parametrize("method", NOISY)
def test_a_tolerance_draws_the_copies_that_it_needs(network, method, batch_size):
    """As many for each sample as its own error asks for: the map is that of as many, and one look less misses."""
    x = X + np.array([0.0, 1.0, 3.0], "float32")[:, None, None, None]
    explanation = method(network, samples=8, tolerance=0.08, budget=5000).explain(x, 1, batch_size=batch_size)
    used = explanation.diagnostics["samples_used"].astype(int)
    assert len(set(used)) > 1 and explanation.diagnostics["converged"].all()
    for sample, count in enumerate(used):
        alone = method(network, samples=int(count)).explain(x[sample : sample + 1], 1)
        np.testing.assert_allclose(explanation.values[sample], alone.values[0], rtol=1e-3, atol=1e-6)
        np.testing.assert_allclose(
            explanation.diagnostics["relative_error"][sample], alone.diagnostics["relative_error"][0], rtol=1e-4
        )
        before = method(network, samples=int(count) - 16).explain(x[sample : sample + 1], 1)
        assert alone.diagnostics["relative_error"][0] <= 0.08 < before.diagnostics["relative_error"][0]


def test_a_budget_that_ends_before_the_tolerance_says_so(network):
    with pytest.warns(UserWarning, match=r"samples \[0, 1, 2\].* off by an estimated .* Allow a larger budget"):
        explanation = tfs.SmoothGrad(network, samples=4, tolerance=0.01, budget=40).explain(X, 1)
    np.testing.assert_array_equal(explanation.diagnostics["samples_used"], 36)
    assert not explanation.diagnostics["converged"].any()


def test_a_tolerance_for_a_function_that_only_answers(network):
    occlusion = tfs.Occlusion(lambda x: network(x).numpy(), window=4, stride=4, baseline=0)
    explanation = tfs.SmoothGrad(occlusion, samples=4, tolerance=0.25).explain(X, 1)
    used = explanation.diagnostics["samples_used"].astype(int)
    of_as_many = [
        tfs.SmoothGrad(occlusion, samples=int(n)).explain(X[i : i + 1], 1).values[0] for i, n in enumerate(used)
    ]
    np.testing.assert_allclose(explanation.values, of_as_many, rtol=1e-3, atol=1e-6)
    assert used.max() > 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tolerance": -1}, "tolerance is a finite number"),
        ({"tolerance": 0.5, "samples": 1}, "samples is a whole number, at least 2"),
        ({"tolerance": 0.5, "budget": 20}, "budget is a whole number, at least 50"),
    ],
)
def test_wrong_tolerances(network, options, message):
    with pytest.raises(ValueError, match=message):
        tfs.SmoothGrad(network, **options)
    with pytest.raises(ValueError, match="samples is a whole number, at least 3"):
        tfs.VarGrad(network, samples=2, tolerance=0.5)
    with pytest.raises(ValueError, match="an inner explainer that draws noise itself"):
        tfs.SmoothGrad(tfs.SmoothGrad(network), tolerance=0.5)


def test_twin_of_a_model_with_two_inputs():
    left, right = keras.Input((4,)), keras.Input((3,))
    hidden = layers.Dense(5, activation="tanh")(layers.Concatenate()([left, right]))
    model = keras.Model([left, right], layers.Dense(2)(hidden))
    explainer = tfs.SmoothGrad(model, samples=6)
    x = [X[:, 0, :2].reshape(3, 4), 3 * X[:, 1, :3, 0]]
    noisy = []
    for place, part in enumerate(x):
        extent = (part.max(axis=1) - part.min(axis=1))[:, None]
        noisy.append(part + 0.15 * extent * draws_of(explainer, part.shape[1:], place)[:, None])
    copies = [tfs.Gradient(model).explain([left, right], 0).values for left, right in zip(*noisy, strict=True)]
    values = explainer.explain(x, 0).values
    for place in range(2):
        np.testing.assert_allclose(values[place], np.mean([copy[place] for copy in copies], axis=0), rtol=1e-4)


def test_noise_is_standard_normal_and_independent(network):
    draws = draws_of(tfs.SmoothGrad(network, samples=400), (500,))
    assert abs(draws.mean()) < 0.01
    assert abs(draws.std() - 1) < 0.01
    assert abs((draws**4).mean() - 3) < 0.1
    correlation = np.corrcoef(draws)
    assert np.abs(correlation[~np.eye(400, dtype=bool)]).max() < 6 / np.sqrt(500)


def test_streams_differ(network):
    """Seeds, parts of an input and nested wrappers draw independent noise."""
    base = tfs.SmoothGrad(network, samples=2)
    streams = [
        draws_of(base, (500,)),
        draws_of(base, (500,), place=1),
        draws_of(tfs.SmoothGrad(network, samples=2, seed=1), (500,)),
        draws_of(tfs.SmoothGrad(base, samples=2), (500,)),
    ]
    correlation = np.corrcoef(np.concatenate(streams))
    assert np.abs(correlation[~np.eye(8, dtype=bool)]).max() < 6 / np.sqrt(500)


@pytest.mark.parametrize("inner", [tfs.Gradient, tfs.GradientTimesInput], ids=lambda inner: inner.__name__)
@pytest.mark.parametrize("contrast", [tfs.target.margin, tfs.target.contrast], ids=lambda contrast: contrast.__name__)
def test_two_classes_share_their_draws(network, inner, contrast):
    """What the noise does to both classes leaves their difference: the map of a margin is that of the two maps."""
    explainer = tfs.SmoothGrad(inner(network), samples=7, noise=0.3)
    first, second = (explainer.explain(X, index).values for index in (2, 0))
    margin = explainer.explain(X, contrast(2, 0), batch_size=5)
    np.testing.assert_allclose(margin.values, first - second, rtol=1e-4, atol=1e-5 * np.abs(first).max())
    # It fails with draws of their own.
    other = tfs.SmoothGrad(inner(network), samples=7, noise=0.3, seed=1).explain(X, 0).values
    assert np.linalg.norm(margin.values - (first - other)) > 0.05 * np.linalg.norm(margin.values)


@pytest.mark.parametrize("seed", [0, 3])
def test_methods_share_their_draws(network, seed):
    """A variance is the mean of squares less the square of the mean, if all three are of the same copies."""
    options = {"samples": 9, "noise": 0.3, "seed": seed}
    mean, squares, variance = (method(network, **options).explain(X, 1).values for method in NOISY)
    np.testing.assert_allclose(variance, squares - mean**2, rtol=1e-3, atol=1e-5 * squares.max())
    other = tfs.SmoothGrad(network, samples=9, noise=0.3, seed=seed + 1).explain(X, 1).values
    assert np.abs(variance - (squares - other**2)).max() > 0.05 * variance.max()


def test_methods_of_a_tolerance_share_their_draws(network):
    """Copies that are drawn one look after the other are those that are drawn at once."""
    many = {"samples": 4, "noise": 0.3, "tolerance": 1e-9, "budget": 36}
    with pytest.warns(UserWarning, match="has not converged"):
        mean, squares, variance = (method(network, **many).explain(X, 1).values for method in NOISY)
    np.testing.assert_allclose(variance, squares - mean**2, rtol=1e-3, atol=1e-5 * squares.max())


def test_linear_model_is_not_smoothed():
    model = keras.Sequential([keras.Input((5,)), layers.Dense(3)])
    weights = np.random.default_rng(0).normal(size=(5, 3)).astype("float32")
    model.set_weights([weights, np.ones(3)])
    x = np.random.default_rng(1).normal(size=(2, 5))
    np.testing.assert_array_equal(tfs.Gradient(model).explain(x, 2).values, [weights[:, 2]] * 2)
    smooth = tfs.SmoothGrad(model, samples=20).explain(x, 2)
    np.testing.assert_allclose(smooth.values, [weights[:, 2]] * 2, rtol=1e-6)
    np.testing.assert_allclose(smooth.diagnostics["relative_error"], 0, atol=1e-6)
    np.testing.assert_allclose(tfs.SmoothGradSquared(model).explain(x, 2).values, [weights[:, 2] ** 2] * 2, rtol=1e-5)
    np.testing.assert_allclose(tfs.VarGrad(model).explain(x, 2).values, 0, atol=1e-12)


class Quadratic(keras.Model):
    """``1/2 x' A x``, whose gradient is ``A x``."""

    def __init__(self, matrix):
        super().__init__()
        self.matrix = tf.constant(matrix, tf.float32)
        self.built = True

    def call(self, x):
        return 0.5 * tf.reduce_sum(x * (x @ self.matrix), axis=1, keepdims=True)


def test_quadratic_has_known_moments():
    """The gradient at ``x + e`` is ``A x + A e``: mean ``A x``, variance ``s^2 A A'``, relative error known."""
    generator = np.random.default_rng(2)
    matrix = generator.normal(size=(6, 6))
    matrix += matrix.T
    x = generator.normal(size=(1, 6))
    deviation = 0.2 * (x.max() - x.min())
    samples = 4000
    smooth = tfs.SmoothGrad(Quadratic(matrix), samples=samples, noise=0.2).explain(x)
    variance = tfs.VarGrad(Quadratic(matrix), samples=samples, noise=0.2).explain(x)
    spread = deviation * np.sqrt((matrix**2).sum(axis=1))
    assert np.abs(smooth.values[0] - matrix @ x[0]).max() < 5 * spread.max() / np.sqrt(samples)
    np.testing.assert_allclose(variance.values[0], spread**2, rtol=5 * np.sqrt(2 / samples))
    error = np.linalg.norm(spread) / np.sqrt(samples) / np.linalg.norm(matrix @ x[0])
    np.testing.assert_allclose(smooth.diagnostics["relative_error"], error, rtol=0.05)


@pytest.mark.parametrize("method", NOISY)
@pytest.mark.parametrize(("noise", "samples"), [(0.05, 20), (0.3, 50)])
def test_relative_error_predicts_the_true_error(network, method, noise, samples):
    """Within 20 % of the distance to a map of 2,000 samples, on average over seeds, for low and high noise."""
    reference = method(network, samples=2000, noise=noise, seed=99).explain(X, 1).values
    # What is expected of the variance of n samples is (n - 1) / n of the variance.
    expected = reference * ((1 - 1 / samples) if method is tfs.VarGrad else 1)
    predicted, true = [], []
    for seed in range(12):
        explanation = method(network, samples=samples, noise=noise, seed=seed).explain(X, 1)
        difference = (explanation.values - expected).reshape(3, -1)
        true.append(np.linalg.norm(difference, axis=1) / np.linalg.norm(expected.reshape(3, -1), axis=1))
        predicted.append(explanation.diagnostics["relative_error"])
    # The reference is a sample too, whose error adds to the true one.
    inflation = np.sqrt(1 + samples / 2000)
    ratio = np.sqrt(np.mean(np.square(predicted), axis=0) / np.mean(np.square(true), axis=0)) * inflation
    assert (np.abs(ratio - 1) < 0.2).all(), (noise, ratio)


@pytest.mark.parametrize("method", quick(NOISY, tfs.SmoothGrad))
def test_the_relative_error_of_blocks_predicts_theirs(method):
    """The blocks of many maps against those of a map of 3,000 samples; the outer ones are cut off."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((16, 20, 2)), layers.Conv2D(6, 3, activation="relu")])
    for layer in (layers.Conv2D(6, 3, activation="relu"), layers.Flatten(), layers.Dense(3)):
        model.add(layer)
    x, n = np.random.default_rng(1).normal(size=(2, 16, 20, 2)), 100

    def blocks(explanation):
        summed = explanation.values.sum(axis=-1)
        columns = [summed[:, :, start:stop] for start, stop in ((0, 6), (6, 14), (14, 20))]
        return np.stack([column.reshape(2, 2, -1).mean(axis=-1) for column in columns], axis=-1)

    truth = blocks(method(model, samples=3000, noise=0.3, seed=99).explain(x, 1))
    truth *= (1 - 1 / n) if method is tfs.VarGrad else 1
    found = [method(model, samples=n, noise=0.3, seed=seed).explain(x, 1) for seed in range(25)]
    missed = np.array([blocks(each) - truth for each in found])
    true = np.sqrt((missed**2).sum(axis=(1, 3)).mean(axis=0) / (truth**2).sum(axis=(0, 2)))
    told = np.sqrt(np.mean([each.diagnostics["relative_error_of_blocks"] ** 2 for each in found], axis=0))
    np.testing.assert_allclose(told, true, rtol=0.2)


def test_only_pictures_have_blocks(network):
    assert "relative_error_of_blocks" in tfs.SmoothGrad(network, samples=2).explain(X, 1).diagnostics
    table = keras.Sequential([keras.Input((100,)), layers.Dense(2)])
    assert "relative_error_of_blocks" not in tfs.SmoothGrad(table, samples=2).explain(np.eye(100)[:2]).diagnostics
    small = keras.Sequential([keras.Input((7, 30, 1)), layers.Flatten(), layers.Dense(2)])
    assert (
        "relative_error_of_blocks" not in tfs.SmoothGrad(small, samples=2).explain(np.ones((1, 7, 30, 1))).diagnostics
    )
    # The vectors of ids in a table of 10 x 8 of them have the axes of a picture.
    ids = keras.Sequential([keras.Input((10, 8)), layers.Embedding(5, 4), layers.Flatten(), layers.Dense(2)])
    explanation = tfs.SmoothGrad(ids, samples=2).explain(np.arange(80).reshape(1, 10, 8) % 5)
    assert "relative_error_of_blocks" not in explanation.diagnostics
    nested = tfs.SmoothGrad(tfs.SmoothGrad(network, samples=2), samples=5).explain(X, 1)
    assert np.isnan(nested.diagnostics["relative_error_of_blocks"]).all()


def test_relative_error_of_a_variance_is_known_for_normal_slopes():
    """The slopes of a quadratic under normal noise are normal: each variance is off by ``sqrt(2 / (n - 1))`` of it."""
    generator = np.random.default_rng(2)
    model, x = Quadratic(np.diag(generator.uniform(1, 2, size=400))), generator.normal(size=(1, 400))
    for samples in (3, 8, 50):
        told = tfs.VarGrad(model, samples=samples).explain(x).diagnostics["relative_error"]
        np.testing.assert_allclose(told, np.sqrt(2 / (samples - 1)), rtol=0.15)
    assert np.isnan(tfs.VarGrad(model, samples=2).explain(x).diagnostics["relative_error"]).all()


def test_relative_error_of_one_sample_and_of_pure_noise(network):
    assert np.isnan(tfs.SmoothGrad(network, samples=1).explain(X, 1).diagnostics["relative_error"]).all()

    class Pure(keras.Model):
        """Its gradient is x, explained at zero: nothing but noise."""

        def call(self, x):
            return 0.5 * tf.reduce_sum(tf.square(x), axis=1, keepdims=True)

    model = Pure()
    model.built = True
    x = np.zeros((1, 4000), "float32")
    x[0, 0] = 1e-3
    errors = [
        tfs.SmoothGrad(model, samples=4, noise=1.0, seed=seed).explain(x).diagnostics["relative_error"][0]
        for seed in range(4)
    ]
    assert min(errors) > 4
    assert np.inf in errors


def test_relative_error_is_not_claimed_over_a_noisy_inner_explainer(network):
    nested = tfs.SmoothGrad(tfs.SmoothGrad(network, samples=2), samples=5).explain(X, 1)
    assert np.isnan(nested.diagnostics["relative_error"]).all()


def test_options_change_the_map(network):
    base = tfs.SmoothGrad(network, samples=5).explain(X, 1).values
    for options in ({"samples": 6}, {"samples": 5, "noise": 0.2}, {"samples": 5, "seed": 1}):
        assert np.abs(tfs.SmoothGrad(network, **options).explain(X, 1).values - base).max() > 1e-4


def test_columns_of_their_own_have_no_noise_and_it_is_told():
    given = [keras.Input((1,), name=name) for name in "ab"]
    hidden = keras.layers.Dense(8, "tanh")(keras.layers.Concatenate()(given))
    model = keras.Model(given, keras.layers.Dense(2)(hidden))
    columns = [np.array([[0.3], [1.0]]), np.array([[-1.0], [2.0]])]
    smooth, plain = tfs.SmoothGrad(model).explain(columns, 1), tfs.Gradient(model).explain(columns, 1)
    for one, other in zip(smooth.values, plain.values, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)
    assert smooth.provenance["noise"] == "none on 2 inputs that are a single number"
    # As the documentation says: as one input they have noise.
    table = keras.Sequential([keras.Input((2,)), *model.layers[-2:]])
    together = tfs.SmoothGrad(table).explain(np.hstack(columns), 1)
    assert np.abs(together.values - np.hstack(plain.values)).max() > 0.01
    assert "noise" not in together.provenance


def test_constant_image_gets_no_noise(network):
    x = np.full((1, 8, 8, 2), 0.7)
    expected = tfs.Gradient(network).explain(x, 0).values
    np.testing.assert_allclose(tfs.SmoothGrad(network).explain(x, 0).values, expected, rtol=1e-5, atol=1e-8)


def test_transform_inside_and_outside_differ(network):
    inside = tfs.SmoothGrad(tfs.Gradient(network).then(absolute), samples=10).explain(X, 1)
    outside = tfs.SmoothGrad(network, samples=10).then(absolute).explain(X, 1)
    assert (inside.values >= outside.values - 1e-6).all()
    assert np.abs(inside.values - outside.values).max() > 1e-3
    squared = tfs.SmoothGrad(tfs.Gradient(network).then(square), samples=10).explain(X, 1)
    np.testing.assert_array_equal(squared.values, tfs.SmoothGradSquared(network, samples=10).explain(X, 1).values)


def test_nested_wrappers_multiply_their_samples(network):
    """The mean over means is the mean over all pairs of draws."""
    inner = tfs.SmoothGrad(network, samples=3, noise=0.1)
    outer = tfs.SmoothGrad(inner, samples=4, noise=0.2)
    extent = (X.max(axis=(1, 2, 3)) - X.min(axis=(1, 2, 3)))[:, None, None, None]
    maps = []
    for draw in draws_of(outer, (8, 8, 2)):
        noisy = (X + np.float32(0.2) * extent * draw).astype("float32")
        maps.append(inner.explain(noisy, 1).values)
    np.testing.assert_allclose(outer.explain(X, 1).values, np.mean(maps, axis=0), rtol=1e-3, atol=1e-5)


def test_diagnostics_of_transformed_and_mapped(network):
    explanation = tfs.SmoothGrad(network, samples=5).then(absolute).explain(X, 1)
    assert explanation.diagnostics["relative_error"].shape == (3,)
    assert explanation.map(square).diagnostics["relative_error"].shape == (3,)
