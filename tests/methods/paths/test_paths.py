"""Methods that sum gradients along a path: closed forms, axioms, twins, and the errors of other libraries' rules."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfsaliency as tfs
from tests import reference
from tests.kinds import KINDS
from tfsaliency import baselines, zoo
from tfsaliency.methods.paths import integrated_gradients, quadrature
from tfsaliency.methods.paths.path import straight
from tfsaliency.methods.paths.quadrature import RULES
from tfsaliency.tensors.blur import blur

X = np.random.default_rng(0).normal(size=(3, 6)).astype("float32")


def linear():
    model = keras.Sequential([keras.Input((6,)), layers.Dense(4)])
    model.set_weights([np.random.default_rng(1).normal(size=(6, 4)), np.arange(4.0)])
    return model


def network(activation, scale=1.0):
    keras.utils.set_random_seed(2)
    model = keras.Sequential(
        [keras.Input((6,)), layers.Dense(16, activation), layers.Dense(8, activation), layers.Dense(4)]
    )
    model.set_weights([scale * weight + (0.1 if weight.ndim == 1 else 0) for weight in model.get_weights()])
    return model


class Cube(keras.Model):
    """``x^3``: a path integral that no rule with few nodes gets right by chance, with a known answer."""

    def call(self, x):
        return tf.stack([tf.reduce_sum(x**3, axis=1), tf.reduce_sum(x, axis=1)], axis=1)


# Integrated Gradients


@pytest.mark.parametrize("baseline", [0.0, 0.7, np.linspace(-1, 1, 6)])
@pytest.mark.parametrize("quadrature", RULES)
@pytest.mark.parametrize("steps", [3, 5, 50])
def test_every_rule_is_exact_on_a_linear_model(quadrature, steps, baseline):
    """What weights that do not sum to one, a forgotten factor, or a forgotten baseline would show in."""
    model = linear()
    weights = model.get_weights()[0]
    explanation = tfs.IntegratedGradients(model, baseline, steps, quadrature=quadrature).explain(X, 1)
    np.testing.assert_allclose(explanation.values, (X - baseline) * weights[:, 1], rtol=2e-6, atol=2e-6)
    assert explanation.diagnostics["converged"].all()
    np.testing.assert_allclose(explanation.diagnostics["completeness_gap"], 0, atol=1e-5)


def test_refining_is_exact_on_a_linear_model_at_once():
    explanation = tfs.IntegratedGradients(linear(), 0.3).explain(X, 1)
    np.testing.assert_allclose(explanation.values, (X - 0.3) * linear().get_weights()[0][:, 1], rtol=2e-6, atol=2e-6)
    np.testing.assert_array_equal(explanation.diagnostics["steps_used"], 18)
    np.testing.assert_allclose(explanation.diagnostics["relative_error"], 0, atol=1e-6)


def of_weights(nodes, weights):
    """A rule whose weights may sum to something else than one."""
    return quadrature.Rule(nodes, np.concatenate([[0], np.cumsum(weights)]))


def on_a_line_with(difference):
    """The straight line, with another factor in place of the difference from the baseline."""
    return lambda x0, x: straight(x0, x)._replace(move=straight((x - difference(x))[None], x).move)


MISTAKES = {
    "none": lambda patch: None,
    # As if halving the ends cost nothing.
    "a trapezoid with weights 1/n": lambda patch: patch.setitem(
        RULES, "trapezoid", lambda n: of_weights(np.linspace(0, 1, n), np.array([0.5, *[1] * (n - 2), 0.5]) / n)
    ),
    "a trapezoid with both ends at full weight": lambda patch: patch.setitem(
        RULES, "trapezoid", lambda n: of_weights(np.linspace(0, 1, n), np.full(n, 1 / n))
    ),
    "no factor": lambda patch: patch.setattr(integrated_gradients, "straight", on_a_line_with(tf.ones_like)),
    "the input as factor": lambda patch: patch.setattr(integrated_gradients, "straight", on_a_line_with(tf.identity)),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_of_other_libraries_would_be_caught(mistake, monkeypatch):
    """Each takes a linear or a cubic function further from its closed form than the bounds of these tests allow."""
    MISTAKES[mistake](monkeypatch)
    model = Cube()
    model(X)
    explainer = tfs.IntegratedGradients(model, 0.5, 50, tolerance=1e6, quadrature="trapezoid")
    cubic, line = explainer.explain(X, 0).values - (X**3 - 0.125), explainer.explain(X, 1).values - (X - 0.5)
    error = max(np.linalg.norm(cubic) / np.linalg.norm(X**3 - 0.125), np.linalg.norm(line) / np.linalg.norm(X - 0.5))
    # Fifty right steps are this far from the integral of a square.
    assert error < 5e-4 if mistake == "none" else error > 5e-3


@pytest.mark.parametrize(("quadrature", "order"), [("midpoint", 2), ("trapezoid", 2)])
def test_order_of_the_rules(quadrature, order):
    model = Cube()
    model(X)

    def error(steps):
        values = tfs.IntegratedGradients(model, 0.5, steps, tolerance=10, quadrature=quadrature).explain(X, 0).values
        return np.linalg.norm(values - (X**3 - 0.125))

    # The trapezoid of n nodes has n - 1 intervals.
    coarse, fine = (4, 8) if quadrature == "midpoint" else (5, 9)
    assert error(coarse) / error(fine) == pytest.approx(2**order, rel=0.02)


def test_gauss_legendre_is_exact_for_polynomials():
    model = Cube()
    model(X)
    values = tfs.IntegratedGradients(model, 0.5, 3, tolerance=1, quadrature="gauss_legendre").explain(X, 0).values
    np.testing.assert_allclose(values, X**3 - 0.125, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("quadrature", RULES)
def test_rule_is_the_textbook_sum(quadrature):
    model = network("gelu")
    explanation = tfs.IntegratedGradients(model, 0.2, 7, tolerance=1, quadrature=quadrature).explain(X, 2)
    expected = reference.integrated_gradients(X, np.full_like(X, 0.2), gradient_of(model, 2), quadrature, 7)
    np.testing.assert_allclose(explanation.values, expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(explanation.diagnostics["steps_used"], 7)


def gradient_of(model, index):
    def gradient(x):
        x = tf.constant(x, tf.float32)
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = model(x)[:, index]
        return tape.gradient(y, x).numpy().astype("float64")

    return gradient


@pytest.mark.parametrize(("activation", "scale"), [("gelu", 1), ("relu", 1), ("relu", 3), ("tanh", 3), ("sigmoid", 8)])
def test_refining_is_the_textbook_algorithm(activation, scale):
    """Per sample, cell by cell, in float64, with every cell kept."""
    model = network(activation, scale)
    explanation = tfs.IntegratedGradients(model, -0.4, tolerance=0.02).explain(X, 2)
    for sample in range(len(X)):
        values, steps, error = reference.refined_integrated_gradients(
            X[sample], np.full(6, -0.4), gradient_of(model, 2), 0.02, 200
        )
        assert explanation.diagnostics["steps_used"][sample] == steps
        np.testing.assert_allclose(explanation.values[sample], values, rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(explanation.diagnostics["relative_error"][sample], error, rtol=1e-2, atol=1e-5)
    assert explanation.diagnostics["converged"].all()


@pytest.mark.parametrize("tolerance", [0.1, 0.02])
@pytest.mark.parametrize("least", [1e-5, 1e-3, 0.1])
def test_a_slope_that_grows_near_the_baseline_is_followed(least, tolerance):
    """The integral of a sum of logarithms is known: each number's share is what its own logarithm changes.

    It was 40 % off behind a told error of 7 %: a cut at the pole finds as much again as the cut before.
    """
    weights = np.random.default_rng(4).normal(size=24).astype("float32")
    x = keras.Input((24,))
    logarithms = layers.Lambda(lambda z: keras.ops.sum(keras.ops.log(z + least) * weights, axis=1, keepdims=True))(x)
    model = keras.Model(x, layers.Concatenate()([logarithms, logarithms]))
    inputs = np.random.default_rng(5).uniform(0.1, 2, size=(4, 24)).astype("float32")
    explanation = tfs.IntegratedGradients(model, tolerance=tolerance).explain(inputs, 1)
    expected = weights * (np.log(inputs + least) - np.log(least))
    error = np.linalg.norm(explanation.values - expected, axis=1) / np.linalg.norm(expected, axis=1)
    assert (error <= tolerance).all()
    assert (error <= 1.1 * explanation.diagnostics["relative_error"]).all()
    assert explanation.diagnostics["converged"].all()


@pytest.mark.filterwarnings("ignore:The map has not converged")
@pytest.mark.parametrize("quadrature", RULES)
def test_diagnostics_of_a_rule_are_what_they_say(quadrature):
    model = network("relu", 3)
    explainer = tfs.IntegratedGradients(model, 0.1, 10, tolerance=0.05, quadrature=quadrature)
    diagnostics = explainer.then(tfs.transforms.absolute).explain(X, 1).diagnostics
    values = explainer.explain(X, 1).values
    gap = values.sum(axis=1) - (model(X) - model(np.full_like(X, 0.1))).numpy()[:, 1]
    np.testing.assert_allclose(diagnostics["completeness_gap"], gap, atol=1e-5)
    nodes, edges = RULES[quadrature](10)
    for sample in range(len(X)):
        slopes = gradient_of(model, 1)(0.1 + nodes[:, None] * (X[sample] - 0.1))
        products = np.diff(edges)[:, None] * slopes * (X[sample] - 0.1)
        expected = reference.error_of_a_rule(products, np.diff(edges))
        np.testing.assert_allclose(diagnostics["relative_error"][sample], expected, rtol=1e-3)
    is_right = (diagnostics["relative_error"] <= 0.05) & (np.abs(gap) <= 0.05 * np.abs(values).sum(axis=1))
    np.testing.assert_array_equal(diagnostics["converged"], is_right)


@pytest.mark.parametrize("steps", [1, 2])
def test_too_few_steps_to_tell_their_error_say_so(steps):
    with pytest.warns(UserWarning, match="an estimated 100% or more"):
        explanation = tfs.IntegratedGradients(linear(), 0.1, steps).explain(X, 1)
    assert np.isinf(explanation.diagnostics["relative_error"]).all()


def normalizing(epsilon):
    """All of its change from zero is at the beginning of the path: within a thousandth for an epsilon of 1e-5."""
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((6, 8))])
    for _ in range(2):
        model.add(layers.Dense(8))
        model.add(layers.LayerNormalization(epsilon=epsilon))
    model.add(layers.GlobalAveragePooling1D())
    model.add(layers.Dense(3))
    return model, np.random.default_rng(0).uniform(size=(3, 6, 8)).astype("float32")


def test_a_change_behind_a_normalization_of_zeros_is_found():
    model, x = normalizing(1e-5)
    explanation = tfs.IntegratedGradients(model).explain(x, 1)
    assert explanation.diagnostics["converged"].all()
    # Steps that grow with the sixth power of their number have many where the change is.
    edges = np.linspace(0, 1, 1001) ** 6
    gradient = gradient_of(model, 1)
    changes = (model(x) - model(np.zeros_like(x))).numpy()[:, 1]
    for values, each, change in zip(explanation.values, x, changes, strict=True):
        slopes = gradient(((edges[1:] + edges[:-1]) / 2)[:, None, None] * each)
        expected = each * np.tensordot(np.diff(edges), slopes, axes=1)
        np.testing.assert_allclose(expected.sum(), change, rtol=1e-3)
        assert np.linalg.norm(values - expected) <= 0.1 * np.linalg.norm(expected)


def test_a_change_that_is_not_found_is_told_and_another_baseline_has_none():
    model, x = normalizing(1e-9)
    x = x[:1]
    change = (model(x) - model(np.zeros_like(x))).numpy()[:, 1]
    for steps, reason in ((None, "has not converged"), (18, "misses the change of the score .* normalizes zeros")):
        with pytest.warns(UserWarning, match=f"{reason}.*another baseline"):
            explanation = tfs.IntegratedGradients(model, steps=steps).explain(x, 1)
        assert (abs(explanation.values.sum(axis=(1, 2)) - change) > 0.5 * abs(change)).all()
    explanation = tfs.IntegratedGradients(model, 0.1).explain(x, 1)
    change = (model(x) - model(np.full_like(x, 0.1))).numpy()[:, 1]
    np.testing.assert_allclose(explanation.values.sum(axis=(1, 2)), change, rtol=0.02)


def test_a_jump_that_no_gradient_has_is_told():
    """Of a step function every gradient is zero: the map looks settled, and its sum is not the change."""
    x = keras.Input((6,))
    summed = layers.Lambda(lambda z: keras.ops.sum(z, axis=1, keepdims=True))(x)
    stepped = layers.Lambda(lambda z: keras.ops.where(z > 0.3, z + 5.0, z))(summed)
    model = keras.Model(x, layers.Concatenate()([stepped, summed]))
    with pytest.warns(UserWarning, match=r"samples \[1\] by up to 5 \(completeness_gap\).* the model jumps"):
        explanation = tfs.IntegratedGradients(model).explain(np.array([[0.01] * 6, [0.2] * 6]), 0)
    np.testing.assert_allclose(explanation.diagnostics["relative_error"], 0, atol=1e-5)
    np.testing.assert_allclose(explanation.diagnostics["completeness_gap"], [0, -5], atol=1e-4)


def test_what_does_not_converge_says_so():
    steep = network("sigmoid", 60)
    with pytest.warns(UserWarning, match=r"has not converged for the samples .* Take more steps, a larger tolerance"):
        explanation = tfs.IntegratedGradients(steep, tolerance=1e-7, budget=25).explain(X, 0)
    assert not explanation.diagnostics["converged"].all()
    assert explanation.diagnostics["steps_used"].max() == 24


def test_a_tolerance_too_fine_for_the_cells_that_are_kept_ends_and_says_so():
    """Of a random walk of slopes each settled cell keeps its error: the loop stops, and tells what was reached."""
    keras.utils.set_random_seed(0)
    hidden = layers.Dense(400, "relu", kernel_initializer="normal", bias_initializer="normal")
    rough = keras.Sequential([keras.Input((6,)), hidden, layers.Dense(2)])
    with pytest.warns(UserWarning, match="has not converged"):
        explanation = tfs.IntegratedGradients(rough, -1.0, tolerance=1e-4, budget=5000).explain(X, 0)
    exact = tfs.IntegratedGradients(rough, -1.0, steps=20000).explain(X, 0)
    error = np.linalg.norm(explanation.values - exact.values, axis=1) / np.linalg.norm(exact.values, axis=1)
    told = explanation.diagnostics["relative_error"]
    assert (explanation.diagnostics["steps_used"] < 2000).all()
    assert (told > 1e-4).all()
    assert (told < error).all() and (error < 6 * told).all()
    assert (error < 2e-3).all()


def test_a_real_network_and_photograph():
    model, x = zoo.efficientnet_lite0(), zoo.preprocess(zoo.photographs()["coffee"])
    explanation = tfs.IntegratedGradients(model).explain(x)
    exact = tfs.IntegratedGradients(model, steps=300).explain(x)
    error = np.linalg.norm(explanation.values - exact.values) / np.linalg.norm(exact.values)
    assert explanation.diagnostics["converged"].all()
    assert explanation.diagnostics["steps_used"][0] <= 40
    # 300 steps are 1.5 % from the integral.
    np.testing.assert_allclose(explanation.diagnostics["relative_error"], error, rtol=0.2)
    assert 0.07 < error < 0.12
    # Where the cup is.
    size = np.abs(explanation.values[0]).sum(axis=-1)
    assert size[20:140, 40:180].mean() > 1.2 * size.mean()


@pytest.mark.parametrize("number", [2, 3, 30])
@pytest.mark.parametrize("steps", [None, 60])
def test_several_baselines_are_averaged(number, steps):
    model = network("tanh", 2)
    several = np.random.default_rng(1).normal(size=(number, 6)).astype("float32")
    together = tfs.IntegratedGradients(model, several, steps, tolerance=0.02).explain(X, 1)
    exact = [tfs.IntegratedGradients(model, x0, 60, quadrature="gauss_legendre").explain(X, 1) for x0 in several]
    expected = np.mean([each.values for each in exact], axis=0)
    error = np.linalg.norm(together.values - expected, axis=1) / np.linalg.norm(expected, axis=1)
    assert (error < 0.025).all()
    change = together.scores - model(several).numpy()[:, 1].mean()
    gap = together.values.sum(axis=1) - change
    np.testing.assert_allclose(together.diagnostics["completeness_gap"], gap, atol=1e-5)


@pytest.mark.filterwarnings("ignore:The map has not converged")
def test_several_baselines_share_their_gradients():
    """Errors of several paths are independent: the mean needs fewer gradients than all paths by themselves."""
    model = network("relu", 3)
    several = np.random.default_rng(1).normal(size=(10, 6)).astype("float32")
    together = tfs.IntegratedGradients(model, several, tolerance=0.05).explain(X, 1)
    alone = [tfs.IntegratedGradients(model, x0, tolerance=0.05).explain(X, 1) for x0 in several]
    assert (together.diagnostics["steps_used"] < 0.6 * sum(each.diagnostics["steps_used"] for each in alone)).all()


def test_a_sample_goes_its_own_way_whatever_the_others_do():
    model = network("relu", 3)
    x = np.concatenate([X, 3 * X, X[::-1] - 0.5])
    together = tfs.IntegratedGradients(model, tolerance=0.01).explain(x, 1)
    for batch_size in (1, 5):
        alone = tfs.IntegratedGradients(model, tolerance=0.01).explain(x, 1, batch_size=batch_size)
        np.testing.assert_allclose(alone.values, together.values, rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(alone.diagnostics["steps_used"], together.diagnostics["steps_used"])
    assert len(set(together.diagnostics["steps_used"])) > 3


def test_an_explainer_in_place_of_the_gradient():
    model = network("relu")
    guided = tfs.IntegratedGradients(tfs.GuidedBackprop(model), steps=20).explain(X, 1)
    asked = np.mean([tfs.GuidedBackprop(model).explain(X * t, 1).values for t in (np.arange(20) + 0.5) / 20], axis=0)
    np.testing.assert_allclose(guided.values, X * asked, rtol=1e-4, atol=1e-6)
    guided = tfs.GuidedBackprop(network("gelu", 2))
    refined = tfs.IntegratedGradients(guided, tolerance=0.02).explain(X, 1)
    exact = tfs.IntegratedGradients(guided, steps=2000).explain(X, 1).values
    error = np.linalg.norm(refined.values - exact, axis=1) / np.linalg.norm(exact, axis=1)
    assert refined.diagnostics["converged"].all()
    assert (error < 0.02).all()


def test_a_function_that_only_answers():
    """Occlusion of a function along the path, refined, against many steps of a fixed rule."""
    model = network("tanh", 2)
    occlusion = tfs.Occlusion(lambda x: model(x).numpy(), window=1, stride=1, baseline=0)
    refined = tfs.IntegratedGradients(occlusion, 0.1, tolerance=0.02).explain(X, 1)
    exact = tfs.IntegratedGradients(occlusion, 0.1, steps=200).explain(X, 1).values
    error = np.linalg.norm(refined.values - exact, axis=1) / np.linalg.norm(exact, axis=1)
    assert (error < 0.03).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"quadrature": "simpson"}, "quadrature is one of 'midpoint', 'trapezoid', 'gauss_legendre'"),
        ({"quadrature": "gauss_legendre"}, "Refining cuts the cells of the midpoint rule"),
        ({"steps": 0}, "steps is a whole number, at least 1"),
        ({"steps": 1, "quadrature": "trapezoid"}, "steps is a whole number, at least 2"),
        ({"tolerance": -1}, "tolerance is a finite number"),
        ({"budget": 4}, "budget is a whole number, at least 18"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(ValueError, match=message):
        tfs.IntegratedGradients(network("relu"), **options)


# Baselines


def test_pixels_go_through_the_preprocessing():
    model = keras.Sequential([keras.Input((4, 4, 3)), layers.Flatten(), layers.Dense(2)])
    x = np.random.default_rng(0).normal(size=(2, 4, 4, 3)).astype("float32")

    def preprocess(rgb):
        return (rgb / 255 - [0.4, 0.5, 0.6]) / 0.25

    red = tfs.IntegratedGradients(model, baselines.pixels([255, 0, 0], preprocess), steps=3).explain(x, 1).values
    by_hand = np.broadcast_to(preprocess(np.array([255.0, 0, 0])), (4, 4, 3))
    np.testing.assert_allclose(red, tfs.IntegratedGradients(model, by_hand, steps=3).explain(x, 1).values, atol=1e-6)


def test_blurred_uniform_and_extremes():
    weights = np.random.default_rng(1).normal(size=(48, 2))
    model = keras.Sequential([keras.Input((4, 4, 3)), layers.Flatten(), layers.Dense(2, use_bias=False)])
    model.set_weights([weights])
    x = np.random.default_rng(0).normal(size=(2, 4, 4, 3)).astype("float32")

    def baseline_of(option):
        """A linear model's values tell the baseline that was taken."""
        values = tfs.IntegratedGradients(model, option, steps=3).explain(x, 0).values
        return x - values / weights[:, 0].reshape(4, 4, 3)

    np.testing.assert_allclose(baseline_of(baselines.blurred(1.5)), reference.blur(x, 1.5), atol=1e-4)
    low, high = x.min(axis=(1, 2, 3)), x.max(axis=(1, 2, 3))
    middle = np.broadcast_to(((low + high) / 2)[:, None, None, None], x.shape)
    np.testing.assert_allclose(baseline_of(baselines.extremes()), middle, atol=1e-4)
    noise = baseline_of(baselines.uniform(2, 3, number=1))
    assert 2 <= noise.min() < 2.1 < 2.9 < noise.max() <= 3
    np.testing.assert_allclose(noise[0], noise[1], atol=1e-4)
    many = baseline_of(baselines.uniform(2, 3, number=200))
    assert abs(many - 2.5).max() < 0.1
    assert np.abs(baseline_of(baselines.uniform(2, 3, number=1, seed=1)) - noise).max() > 0.1


def test_one_baseline_per_sample_whatever_the_chunks():
    model = network("tanh")
    before = X[::-1] * 0.5
    per_sample = tfs.IntegratedGradients(model, baselines.per_sample(before))
    expected = [tfs.IntegratedGradients(model, b).explain(x[None], 1).values[0] for x, b in zip(X, before, strict=True)]
    for batch_size in (None, 1, 2):
        values = per_sample.explain(X, 1, batch_size=batch_size).values
        np.testing.assert_allclose(values, expected, rtol=1e-4, atol=1e-6)
    # Copies of a sample have its baseline.
    smooth = tfs.SmoothGrad(per_sample, samples=4, noise=0).explain(X, 1, batch_size=8).values
    np.testing.assert_allclose(smooth, expected, rtol=1e-4, atol=1e-6)
    with pytest.raises(ValueError, match=r"one baseline for each of the inputs, \(3, 6\). Received: \(2, 6\)"):
        tfs.SmoothGrad(tfs.DeepLIFT(model, baselines.per_sample(X[:2]))).explain(X)


@pytest.mark.parametrize(
    "make",
    [
        lambda: baselines.blurred(-1),
        lambda: baselines.uniform(1, 0),
        lambda: baselines.uniform(0, 1, number=0),
    ],
)
def test_wrong_baselines(make):
    with pytest.raises(ValueError, match="Received"):
        make()


def test_blur_is_scipy_free_gaussian_and_exact_at_its_ends():
    x = np.random.default_rng(0).normal(size=(3, 9, 7, 2)).astype("float32")
    sigmas = np.array([0.0, 0.8, 3.0], "float32")
    blurred = blur(tf.constant(x), tf.constant(sigmas)).numpy()
    np.testing.assert_array_equal(blurred[0], x[0])
    for i in (1, 2):
        np.testing.assert_allclose(blurred[i : i + 1], reference.blur(x[i : i + 1], sigmas[i]), atol=1e-5)
    constant = np.ones((1, 9, 7, 2), "float32")
    np.testing.assert_allclose(blur(tf.constant(constant), tf.constant([4.0])), constant, atol=1e-6)


# Its kin


def picture_network(activation="gelu"):
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((12, 12, 2)),
            layers.Conv2D(6, 3, activation=activation),
            layers.Conv2D(6, 3, strides=2, activation=activation),
            layers.Flatten(),
            layers.Dense(3),
        ]
    )


PICTURES = np.random.default_rng(5).normal(size=(2, 12, 12, 2)).astype("float32")


def test_blur_integrated_gradients_is_the_textbook_sum_and_complete():
    model = picture_network()
    explanation = tfs.BlurIntegratedGradients(model, 4, 6, tolerance=10).explain(PICTURES, 1)
    expected = reference.blur_integrated_gradients(PICTURES, 4, gradient_of(model, 1), 6)
    np.testing.assert_allclose(explanation.values, expected, rtol=1e-3, atol=1e-5)
    refined = tfs.BlurIntegratedGradients(model, 4, tolerance=5e-3).explain(PICTURES, 1)
    exact = reference.blur_integrated_gradients(PICTURES, 4, gradient_of(model, 1), 200)
    assert np.linalg.norm(refined.values - exact) / np.linalg.norm(exact) < 7e-3
    change = (model(PICTURES) - model(reference.blur(PICTURES, 4))).numpy()[:, 1]
    gap = refined.values.sum(axis=(1, 2, 3)) - change
    np.testing.assert_allclose(refined.diagnostics["completeness_gap"], gap, atol=1e-5)
    with pytest.raises(ValueError, match="A table has no space to blur"):
        tfs.BlurIntegratedGradients(network("relu")).explain(X)


def test_the_default_blur_of_a_small_picture_changes_it_all_along_the_way():
    """A blur of 50 pixels left it alone but for the last steps, where a ReLU opened: told 0.0, off by 5 %."""
    edges = np.zeros((3, 3, 1, 1), "float32")
    edges[0], edges[2] = 1, -1
    model = keras.Sequential([keras.Input((8, 8, 1)), layers.Conv2D(1, 3, activation="relu")])
    model.add(layers.GlobalAveragePooling2D())
    model.layers[0].set_weights([edges, np.array([-1.0])])
    picture = np.full((1, 8, 8, 1), 0.5, "float32")
    picture[0, :3] = 1.5
    explanation = tfs.BlurIntegratedGradients(model, tolerance=0.02).explain(picture)
    assert explanation.diagnostics["converged"].all()
    expected = reference.blur_integrated_gradients(picture, 8 / 4, gradient_of(model, 0), 2000)
    assert np.linalg.norm(explanation.values - expected) <= 0.02 * np.linalg.norm(expected)


def test_expected_gradients_of_a_linear_model_and_of_one_baseline():
    training = np.random.default_rng(7).normal(size=(9, 6)).astype("float32")
    model = linear()
    explanation = tfs.ExpectedGradients(model, training, samples=18).explain(X, 1)
    np.testing.assert_allclose(
        explanation.values, (X - training.mean(axis=0)) * model.get_weights()[0][:, 1], rtol=1e-4, atol=1e-5
    )
    np.testing.assert_allclose(explanation.diagnostics["completeness_gap"], 0, atol=1e-5)
    curved = network("gelu")
    exact = tfs.IntegratedGradients(curved, 0.3, steps=40, quadrature="gauss_legendre").explain(X, 1).values
    sampled = tfs.ExpectedGradients(curved, 0.3, samples=400).explain(X, 1)
    # Evenly spread: far below the 1/20 of 400 independent ones.
    assert np.linalg.norm(sampled.values - exact) / np.linalg.norm(exact) < 2e-3


def test_expected_gradients_spread_the_places_of_each_baseline():
    training = np.random.default_rng(7).normal(size=(4, 6)).astype("float32")
    model = network("relu", 2)
    exact = tfs.IntegratedGradients(model, training, 400, tolerance=1).explain(X, 1).values

    def error(samples):
        explainers = [tfs.ExpectedGradients(model, training, samples=samples, seed=seed) for seed in range(16)]
        missed = np.array([each.explain(X, 1).values - exact for each in explainers])
        typical = np.mean([np.linalg.norm(each) for each in missed])
        # What is biased does not go away in the mean over seeds.
        assert np.linalg.norm(missed.mean(axis=0)) < 0.5 * typical
        return typical / np.linalg.norm(exact)

    # Four times the independent draws halve their error.
    assert error(256) < 0.4 * error(64)
    assert error(256) < 0.03


def test_expected_gradients_estimate_their_error_from_above():
    training = np.random.default_rng(7).normal(size=(40, 6)).astype("float32")
    model = network("relu", 2)
    exact = tfs.IntegratedGradients(model, training, 200, tolerance=1).explain(X, 1).values
    few = [tfs.ExpectedGradients(model, training, samples=40, seed=seed).explain(X, 1) for seed in range(5)]
    errors = np.mean([np.linalg.norm(each.values - exact, axis=1) for each in few], axis=0) / np.linalg.norm(
        exact, axis=1
    )
    estimates = np.mean([each.diagnostics["relative_error"] for each in few], axis=0)
    assert (errors < estimates).all()
    assert (errors > 0).all()


def test_expected_gradients_draw_what_a_tolerance_needs():
    """As many for each row as its own error asks for: the map is that of as many, and one look less misses."""
    training = np.random.default_rng(7).normal(size=(20, 6)).astype("float32")
    model = network("relu", 2)
    explanation = tfs.ExpectedGradients(model, training, samples=24, tolerance=0.15).explain(X, 1, batch_size=30)
    told = explanation.diagnostics
    used = told["samples_used"].astype(int)
    assert len(set(used)) > 1 and told["converged"].all()
    for row, count in enumerate(used):
        alone, before = (
            tfs.ExpectedGradients(model, training, samples=int(n)).explain(X[row : row + 1], 1)
            for n in (count, count - 16)
        )
        np.testing.assert_allclose(explanation.values[row], alone.values[0], rtol=1e-3, atol=1e-5)
        for name in ("relative_error", "completeness_gap"):
            np.testing.assert_allclose(told[name][row], alone.diagnostics[name][0], rtol=1e-3, atol=1e-5)
        assert alone.diagnostics["relative_error"][0] <= 0.15 < before.diagnostics["relative_error"][0]
    stopped = tfs.ExpectedGradients(model, training, samples=24, tolerance=1e-3, budget=60)
    with pytest.warns(UserWarning, match="has not converged"):
        assert (stopped.explain(X, 1).diagnostics["samples_used"] == 56).all()


def test_guided_integrated_gradients_is_the_published_algorithm():
    model = network("tanh", 2)
    for fraction, max_dist in ((0.25, 0.1), (0.5, 0.02), (1.0, 0.0), (0.2, 1.0)):
        explanation = tfs.GuidedIntegratedGradients(model, 0.1, 12, fraction, max_dist).explain(X, 1)
        expected = [
            reference.guided_integrated_gradients(x, np.full(6, 0.1), gradient_of(model, 1), 12, fraction, max_dist)
            for x in X
        ]
        np.testing.assert_allclose(explanation.values, expected, rtol=2e-3, atol=2e-5)


def test_guided_integrated_gradients_converge_and_meet_the_straight_line():
    model = network("gelu")
    gaps = [
        np.abs(tfs.GuidedIntegratedGradients(model, steps=steps).explain(X, 1).diagnostics["completeness_gap"]).max()
        for steps in (50, 400)
    ]
    assert gaps[1] < gaps[0] / 6
    straight = tfs.GuidedIntegratedGradients(model, steps=400, max_dist=0).explain(X, 1).values
    exact = tfs.IntegratedGradients(model, steps=50).explain(X, 1).values
    np.testing.assert_allclose(straight, exact, atol=2e-3)


@pytest.mark.parametrize("steps", [3, 8])
def test_idgi_is_its_formula_and_complete(steps):
    model = network("gelu")
    inner = tfs.IntegratedGradients(model, 0.2, steps, tolerance=10)
    explanation = tfs.IDGI(inner).explain(X, 1)
    expected = reference.idgi(X, np.full_like(X, 0.2), gradient_of(model, 1), lambda x: model(x).numpy()[:, 1], steps)
    np.testing.assert_allclose(explanation.values, expected, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(explanation.diagnostics["completeness_gap"], 0, atol=1e-5)


def test_idgi_over_blur_and_over_nothing_else():
    model = picture_network()
    explanation = tfs.IDGI(tfs.BlurIntegratedGradients(model, 2)).explain(PICTURES, 1)
    change = (model(PICTURES) - model(reference.blur(PICTURES, 2))).numpy()[:, 1]
    np.testing.assert_allclose(explanation.values.sum(axis=(1, 2, 3)), change, rtol=1e-4)
    with pytest.raises(TypeError, match="IDGI takes a model"):
        tfs.IDGI(tfs.Gradient(linear()))


def test_structures_and_batches_of_refined_paths():
    kind = KINDS["two_inputs_dict"]
    model, _ = kind.models()
    inputs = kind.inputs(5)
    explainer = tfs.IntegratedGradients(model, {"table": 0.1, "image": np.zeros((8, 8, 2))})
    together = explainer.explain(inputs, 2)
    one = explainer.explain({name: part[3:4] for name, part in inputs.items()}, 2)
    for name in inputs:
        np.testing.assert_allclose(one.values[name][0], together.values[name][3], rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(one.diagnostics["steps_used"][0], together.diagnostics["steps_used"][3])


# XRAI


def test_regions_join_by_their_mean():
    masks = np.zeros((3, 20, 20), bool)
    masks[0, :10], masks[1, 5:15], masks[2] = True, True, True
    values = np.zeros((20, 20))
    values[:5], values[5:10], values[10:15] = 1.0, 4.0, 2.0
    from tfsaliency.methods.paths.xrai import ranked

    expected = np.zeros((20, 20))
    # The second region has the largest mean, 3; then the first one adds its upper half, mean 1; then the rest, mean 0.
    expected[5:15], expected[:5] = 3.0, 1.0
    np.testing.assert_allclose(ranked(masks, values), expected)


def test_xrai_finds_the_square_that_counts():
    model = keras.Sequential([keras.Input((64, 64, 3)), layers.Flatten(), layers.Dense(2, use_bias=False)])
    weights = np.zeros((64, 64, 3, 2))
    weights[16:32, 32:48, :, 1] = 1
    model.set_weights([weights.reshape(-1, 2)])
    picture = np.full((1, 64, 64, 3), 0.2, "float32")
    picture[0, 16:32, 32:48] = [1.0, 0.1, 0.1]
    explanation = tfs.XRAI(tfs.GradientTimesInput(model)).explain(picture, 1)
    assert explanation.values.shape == (1, 64, 64, 1)
    top = explanation.values[0, ..., 0] == explanation.values.max()
    assert top[16:32, 32:48].all()
    # The region and its dilated border, not the rest of the picture.
    assert top.sum() < 24 * 24
    with pytest.raises(ValueError, match="XRAI is for pictures"):
        tfs.XRAI(linear()).explain(X)
