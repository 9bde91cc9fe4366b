"""Against Captum and Zennit, on the same weights: ``tests/references/make.py`` made the values."""

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfsaliency as tfs
from tfsaliency.rules import kind, operation

FOLDER = Path(__file__).parent.parent / "references"
LOW, HIGH = -2.5, 2.5


def captum_table(rule):
    """Captum's epsilon of 1e-9, which matters where an average is small."""

    def average(step, relevances):
        z = step.output
        ratio = tf.math.divide_no_nan(relevances[0], z + 1e-9 * tf.where(z >= 0, 1.0, -1.0))
        return [step.input * step.gradient([ratio])[0]]

    return {kind("convolution"): rule, kind("dense"): rule, operation("AvgPool"): average}


def captum_gamma(affine, relevance):
    """As Captum has it: for signals that are not negative, and with a bias that gamma does not raise."""
    weights = affine.weights
    return tfs.rules.shared(
        affine, [(affine.x, weights + 0.25 * tf.nn.relu(weights))], affine.bias, relevance, epsilon=1e-9
    )


def captum_alpha1_beta0(affine, relevance):
    """As Captum has it: for signals that are not negative, and with the whole bias."""
    return tfs.rules.shared(affine, [(affine.x, tf.nn.relu(affine.weights))], affine.bias, relevance, epsilon=1e-9)


def last_activation(model):
    """The last ReLU of a residual network, which has one layer for all of them, or the last convolution."""
    relu = [layer for layer in model.layers if isinstance(layer, layers.ReLU)]
    return (relu[0], -1) if relu else "3"


METHODS = {
    "zennit.epsilon": lambda model: tfs.LRP(model, "epsilon"),
    "zennit.gamma": lambda model: tfs.LRP(model, "gamma"),
    "zennit.alpha1_beta0": lambda model: tfs.LRP(model, "alpha1_beta0"),
    "zennit.alpha2_beta1": lambda model: tfs.LRP(model, "alpha2_beta1"),
    "zennit.epsilon_plus": lambda model: tfs.LRP(model, "epsilon_plus"),
    "zennit.epsilon_plus_flat": lambda model: tfs.LRP(model, "epsilon_plus_flat"),
    "zennit.epsilon_alpha2_beta1": lambda model: tfs.LRP(model, "epsilon_alpha2_beta1"),
    "zennit.epsilon_alpha2_beta1_flat": lambda model: tfs.LRP(model, "epsilon_alpha2_beta1_flat"),
    "zennit.epsilon_gamma_box": lambda model: tfs.LRP(model, "epsilon_gamma_box", LOW, HIGH),
    "zennit.deep_taylor_box": lambda model: tfs.DeepTaylor(model, LOW, HIGH),
    "zennit.guided_backprop": tfs.GuidedBackprop,
    "zennit.deconvnet": tfs.DeconvNet,
    "captum.guided_backprop": tfs.GuidedBackprop,
    "captum.deconvnet": tfs.DeconvNet,
    "captum.integrated_gradients_gausslegendre": lambda model: tfs.IntegratedGradients(
        model, 0.4, steps=50, tolerance=1, quadrature="gauss_legendre"
    ),
    "captum.integrated_gradients_riemann_middle": lambda model: tfs.IntegratedGradients(model, 0.4, 50, tolerance=1),
    "captum.layer_grad_cam": lambda model: tfs.GradCAM(model, last_activation(model), upsample=False),
    "captum.occlusion": lambda model: (
        tfs.Occlusion(model, (2,), (1,), 0.4) if model.input.ndim == 2 else tfs.Occlusion(model, (5, 4), (3, 2), 0.4)
    ),
    "captum.deeplift_0.0": tfs.DeepLIFT,
    "captum.deeplift_0.4": lambda model: tfs.DeepLIFT(model, 0.4),
    "captum.epsilon": lambda model: tfs.LRP(model, captum_table(tfs.rules.Epsilon(1e-9))),
    "captum.gamma_of_positive": lambda model: tfs.LRP(model, captum_table(captum_gamma)),
    "captum.alpha1_beta0_of_positive": lambda model: tfs.LRP(model, captum_table(captum_alpha1_beta0)),
}


BOUNDS = {"captum.layer_grad_cam": 1e-5, "captum.occlusion": 1e-5}


def residual(x):
    def block(y, filters, names, **options):
        y = layers.Conv2D(filters, 3, name=names[0], **options)(y)
        return layers.BatchNormalization(epsilon=1e-5, name=names[1])(y)

    relu = layers.ReLU()
    y = relu(block(x, 8, ("stem.0", "stem.1"), padding="same", use_bias=False))
    left = relu(block(y, 8, ("left.0", "left.1"), padding="same"))
    left = block(left, 8, ("left.3", "left.4"), padding="same")
    y = layers.AveragePooling2D(2)(relu(left + y))
    short = block(y, 12, ("short.0", "short.1"), strides=2, use_bias=False)
    y = relu(block(y, 12, ("down.0", "down.1"), strides=2) + short)
    return layers.Dense(5, "softmax", name="head")(layers.GlobalAveragePooling2D()(y))


def plain(x, pooling=layers.MaxPooling2D):
    y = pooling(2)(layers.Conv2D(8, 3, padding="same", activation="relu", name="0")(x))
    y = pooling(2)(layers.Conv2D(10, 3, activation="relu", name="3")(y))
    y = layers.Dense(16, "relu", name="8")(layers.Flatten()(y))
    return layers.Dense(5, "softmax", name="10")(y)


def mlp(x):
    y = layers.Dense(12, "relu", name="2")(layers.Dense(16, "relu", name="0")(x))
    return layers.Dense(5, "softmax", name="4")(y)


NETWORKS = {
    "residual": residual,
    "plain": plain,
    "plain_average": lambda x: plain(x, layers.AveragePooling2D),
    "mlp": mlp,
}


@pytest.fixture(scope="module", params=NETWORKS)
def reference(request):
    with np.load(FOLDER / f"{request.param}.npz") as file:
        arrays = dict(file)
    x = keras.Input(arrays["x"].shape[1:])
    model = keras.Model(x, NETWORKS[request.param](x))
    for layer in model.layers:
        names = ("weight", "bias", "running_mean", "running_var")
        weights = [arrays[key] for name in names if (key := f"weight.{layer.name}.{name}") in arrays]
        if weights:
            layer.set_weights(weights)
    return request.param, model, arrays


def test_networks_are_the_same(reference):
    _, model, arrays = reference
    explanation = tfs.Gradient(model).explain(arrays["x"])
    np.testing.assert_allclose(explanation.scores, arrays["logits"].max(axis=1), rtol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_values_equal_those_of_captum_and_zennit(reference, method):
    _, model, arrays = reference
    if method not in arrays:
        pytest.skip("Captum does not do this method on this network, or not completely")
    x = np.abs(arrays["x"]) if method.endswith("positive") else arrays["x"]
    values = METHODS[method](model).explain(x).values
    error = np.linalg.norm(values - arrays[method]) / np.linalg.norm(arrays[method])
    assert error < BOUNDS.get(method, 1e-4)


def test_every_reference_is_used():
    used = set()
    for name in NETWORKS:
        with np.load(FOLDER / f"{name}.npz") as file:
            used |= {key for key in file if key.startswith(("zennit", "captum"))}
    assert used == set(METHODS)
