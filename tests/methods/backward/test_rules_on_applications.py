"""Methods with rules on models of keras.applications, and on real weights and photographs.

The families with the largest graphs are in docs/model-coverage.md alone: tracing them takes a minute each.
"""

import warnings

import keras
import numpy as np
import pytest

import tfsaliency as tfs
from tests.coverage_models import METHODS, built, noise
from tests.harness import built_in_float64, close, quick
from tfsaliency import zoo
from tfsaliency.base.pictures import centre_crop
from tfsaliency.rules.relevance import stabilized

FAMILIES = [
    "ConvNeXtTiny",
    "DenseNet121",
    "EfficientNetB0",
    "InceptionV3",
    "MobileNet",
    "MobileNetV2",
    "MobileNetV3Small",
    "ResNet50",
    "ResNet50V2",
    "VGG16",
    "Xception",
]
FEWER = ("ConvNeXtTiny", "MobileNet", "MobileNetV2", "MobileNetV3Small", "ResNet50", "VGG16")
# Deep Taylor meets the operations that LRP meets, the guided methods have gradients: docs/model-coverage.md has all.
ALL_METHODS = ("MobileNetV3Small",)
WITH_TABLES = ("LRP", "DeepLIFT")
# Some of the networks whose only activation is a ReLU.
OF_RELU = ("DenseNet121", "ResNet50", "VGG16")
AVERAGE = np.array([[[0.4, -0.1, 0.3]]])


@pytest.mark.parametrize("name", quick(FAMILIES, *FEWER))
def test_family(name, monkeypatch):
    model = built(name)
    x = noise(model, 1)
    for label in METHODS if name in ALL_METHODS else WITH_TABLES:
        # An operation without a rule would raise, and so would a map that is zero or not finite.
        explanation = METHODS[label](model).explain(x)
        if label == "DeepLIFT":
            check_complete(explanation, model, x, 0.0)
        if label == "LRP":
            check_first_layer_is_flat(explanation)
    if name in OF_RELU:
        # In float32 the score of a random ResNet50 at a baseline is rounded by 2e-3, fused or not.
        twin = in_float64(name, model)
        check_baselines(twin, x, (AVERAGE, random_baseline(x)))
        monkeypatch.setattr(stabilized, "__defaults__", (1e-12,))
        check_lrp_is_gradient_times_input(twin, x)
    tfs.forget(model)
    keras.backend.clear_session()


def check_first_layer_is_flat(explanation):
    """Whatever stands in front of the first layer with weights, it gives the same to all colours of a place."""
    values = explanation.values
    spread = values.max(axis=-1) - values.min(axis=-1)
    assert spread.max() <= 1e-6 * np.abs(values).max()
    gap = values.sum(dtype="float64") - explanation.scores[0]
    np.testing.assert_allclose(explanation.diagnostics["conservation_gap"], gap, atol=1e-5)


def in_float64(name, model):
    """The same model, whose units near zero are on the same side for every method."""
    with built_in_float64():
        twin = built(name)
    twin.set_weights(model.get_weights())
    return twin


def check_lrp_is_gradient_times_input(model, x):
    """Without a stabilizer, which has no option where sums and averages are shared out and changes a map by 1e-3."""
    zero = tfs.rules.Epsilon(1e-12)
    everywhere = {tfs.rules.kind(name): zero for name in ("convolution", "dense", "normalization")}
    relevance = tfs.LRP(model, everywhere).explain(x)
    close(relevance.values, tfs.GradientTimesInput(model).explain(x, relevance.target).values, 1e-5)


def test_deeplift_is_complete_on_real_weights():
    model, x = zoo.efficientnet_lite0(), zoo.preprocess(zoo.photographs()["chelsea"])
    check_baselines(model, x, (0.0, AVERAGE, random_baseline(x)))


def random_baseline(x):
    return np.random.default_rng(1).normal(size=x.shape[1:])


def check_baselines(model, x, baselines):
    for baseline in baselines:
        explanation = tfs.DeepLIFT(model, baseline).explain(x)
        difference = check_complete(explanation, model, x, baseline)
        assert np.abs(difference).max() > 0.01


def check_complete(explanation, model, x, baseline):
    """Values sum to the difference of the scores, with the score of the baseline from a call of its own."""
    at_baseline = np.broadcast_to(baseline, x.shape).astype("float32")
    with warnings.catch_warnings():
        # Of a black picture every gradient may vanish; the score is all that is asked for.
        warnings.simplefilter("ignore")
        reference = tfs.Gradient(model).explain(at_baseline, explanation.target)
    difference = explanation.scores - reference.scores
    gap = explanation.values.sum(axis=(1, 2, 3), dtype="float64") - difference
    assert (np.abs(gap) <= 1e-4 * np.abs(difference) + 1e-3).all()
    return difference


def test_relevance_tells_two_classes_of_one_picture_apart():
    """Left a cat, right an espresso: each class finds its half."""
    model, photographs = zoo.efficientnet_lite0(), zoo.photographs()
    both = np.concatenate([centre_crop(photographs[name], 224, 112) for name in ("chelsea", "coffee")], axis=1)
    inputs = np.concatenate([zoo.preprocess(both)] * 2)
    for method in (tfs.LRP(model), tfs.DeepLIFT(model), tfs.LRP(model, "epsilon_alpha2_beta1_flat")):
        maps = method.explain(inputs, [285, 967]).values.sum(axis=-1)
        left, right = maps[:, :, :112].sum(axis=(1, 2)), maps[:, :, 112:].sum(axis=(1, 2))
        assert left[0] > 0 and left[0] > right[0]
        assert right[1] > 0 and right[1] > left[1]
    guided = tfs.GuidedBackprop(model).explain(inputs, [285, 967]).values
    # What the paper's critics found: its map hardly depends on the class.
    assert np.corrcoef(guided[0].ravel(), guided[1].ravel())[0, 1] > 0.5
