"""Every explainer against every kind of model: one harness, one row per method."""

import copy

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfsaliency as tfs
from tests.harness import EXPLAINERS, NO_WRAPPERS, OF_PLACES, OVER_A_LAYER, RECTIFYING, close, quick
from tests.kinds import KINDS, as_tensors
from tfsaliency.testing import check_explainer

TABLES = ("table", "multi_label", "log_softmax", "list_of_one", "no_link")
LOOPS = ("recurrent", "integer_series")
SERIES = ("time_series", *LOOPS)
WITHOUT_POOLING = ("functional", "reused", "two_inputs_list", "two_inputs_dict", "two_outputs", "mixed_precision")
# What methods cannot answer, and say so: networks in which there is nothing to rectify, or without places.
REFUSED = {
    **{(name, kind): "plain gradient" for name in RECTIFYING for kind in ("list_of_one", *LOOPS)},
    **{("BlurIntegratedGradients", kind): "no space to blur" for kind in TABLES},
    **{("XRAI", kind): "XRAI is for pictures" for kind in (*TABLES, *SERIES, "volume", *WITHOUT_POOLING[2:4])},
    # No layer of a table has places, and an LSTM that returns its last state has none either.
    **{(name, kind): "no layer with places" for name in OVER_A_LAYER for kind in (*TABLES, "integer_series")},
    **{("GuidedGradCAM", kind): "plain gradient" for kind in ("list_of_one", *LOOPS)},
    **{("CAM", kind): "pooling and one dense" for kind in (*WITHOUT_POOLING, *SERIES[:2], "integer_images")},
}
# How far a map may move with the size of the batch, where it may move further than 3e-5: sums in another order round
# differently. Five to ten times what was measured.
ROUNDING = {
    # Small differences of large means.
    **{("RISE", kind): 1e-4 for kind in KINDS},
    # Two units in the last place of float16. A CPU without arithmetic in float16 moves them by 1e-6.
    **{(name, "mixed_precision"): 2e-3 for name in EXPLAINERS},
    # Divides by the sum of a channel that cancels, all but a thousandth.
    ("XGradCAM", "recurrent"): 1e-3,
    # Gamma divides by sums that cancel behind a LayerNormalization. In float64 the same maps agree to 1e-7.
    ("SmoothGrad of rules", "transformer"): 1e-4,
}


@pytest.fixture(scope="module", params=quick(KINDS, *(name for name in KINDS if name != "two_inputs_list")))
def case(request):
    kind = KINDS[request.param]
    return kind, *kind.models()


def test_gradient_equals_a_plain_tape_over_the_logits(case):
    kind, model, twin = case
    inputs = kind.inputs(3)
    for index in (0, 3):
        explanation = tfs.Gradient(model).explain(inputs, kind.target(index))
        values, scores = kind.gradient(twin, inputs, index)
        close(explanation.values, values, kind.tolerance)
        np.testing.assert_allclose(explanation.scores, scores, rtol=10 * kind.tolerance, atol=kind.tolerance)
        np.testing.assert_array_equal(explanation.target, [index] * 3)
    link = {
        "softmax": "Softmax",
        "log_softmax": "LogSoftmax",
        "sigmoid": "Sigmoid",
        None: "itself",
    }[kind.link]
    assert link in explanation.explained


def test_top_class_is_the_default(case):
    kind, model, twin = case
    inputs = kind.inputs(3)
    explanation = tfs.Gradient(model).explain(inputs, kind.target(None))
    logits = twin(tf.nest.map_structure(lambda part: tf.constant(part, tf.float32), inputs))
    logits = (logits if kind.output is None else logits[kind.output]).numpy()
    np.testing.assert_array_equal(explanation.target, logits.argmax(axis=-1))


def test_gradient_times_input(case):
    kind, model, twin = case
    inputs = kind.inputs(2)
    values, _ = kind.gradient(twin, inputs, 1)
    expected = tf.nest.map_structure(lambda part, given: part * given, values, inputs)
    close(
        tfs.GradientTimesInput(model).explain(inputs, kind.target(1)).values,
        expected,
        kind.tolerance,
    )


def test_smoothgrad_family_without_noise(case):
    kind, model, twin = case
    inputs = kind.inputs(2)
    values, _ = kind.gradient(twin, inputs, 1)
    explain = {
        name: EXPLAINERS[name](model, noise=0).explain(inputs, kind.target(1)).values
        for name in ("SmoothGrad", "DenoisedSmoothGrad", "SmoothGradSquared")
    }
    close(explain["SmoothGrad"], values, kind.tolerance)
    close(explain["DenoisedSmoothGrad"], values, kind.tolerance)
    close(explain["SmoothGradSquared"], tf.nest.map_structure(np.square, values), 2 * kind.tolerance)


# Rules that count only what speaks for a class can leave nothing of one sample in networks as small as these.
@pytest.mark.filterwarnings("ignore:The values of the samples .* are zero")
# Steps enough to tell the kinds of model apart, not to converge.
@pytest.mark.filterwarnings("ignore:The map has not converged")
@pytest.mark.parametrize("name", EXPLAINERS)
def test_explainer(name, case):
    kind, model, _ = case
    explainer = EXPLAINERS[name](model)
    inputs, target = kind.inputs(3), kind.target(1)
    before = state(model, inputs)
    kind_name = next(key for key, each in KINDS.items() if each is kind)
    if message := REFUSED.get((name, kind_name)):
        with pytest.raises(ValueError, match=message):
            explainer.explain(inputs, target)
        assert before == state(model, inputs)
        return
    together = explainer.explain(inputs, target)
    assert before == state(model, inputs)

    tf.nest.assert_same_structure(together.values, inputs)
    for part, given in zip(tf.nest.flatten(together.values), tf.nest.flatten(inputs), strict=True):
        of_places = name in OF_PLACES and given.ndim > 2
        assert part.shape == ((*given.shape[:-1], 1) if of_places else given.shape)
        assert part.dtype == np.float32
        # A layer sees one of two inputs, and what it says may lie below the ReLU of a map; nothing blurs a table.
        unmoved = name == "BlurIntegratedGradients" and given.ndim == 2
        assert np.abs(part).max() > 0 or name in OVER_A_LAYER or unmoved

    tolerance = ROUNDING.get((name, kind_name), 3e-5)
    close(explainer.explain(inputs, target, batch_size=1).values, together.values, tolerance)
    alone = explainer.explain(tf.nest.map_structure(lambda part: part[1:2], inputs), target)
    close(alone.values, tf.nest.map_structure(lambda part: part[1:2], together.values), tolerance)


# What a method owes and does not give, with the reason.
FEW_STEPS = {"the sum": "the test takes few steps"}
EXCUSES = {
    "IntegratedGradients of rules": {"the sum": "rules of ReLU are no gradient, so no path is complete"},
    "ExpectedGradients": FEW_STEPS,
    "BlurIntegratedGradients": FEW_STEPS,
    "GuidedIntegratedGradients": FEW_STEPS,
    "EigenCAM": {
        "the class matters": "it shows what a layer responds to, for every class",
        "meaning": "a direction has no sign; of activations behind a ReLU it is not negative",
        "a constant model": "a layer responds, whatever follows it",
    },
    "ScoreCAM": {"a constant model": "the softmax gives equal weights to channels of equal scores"},
    "XRAI": {"meaning": "the largest value over the channels counts, which is seldom negative"},
}


@pytest.mark.parametrize("name", quick(EXPLAINERS, *NO_WRAPPERS))
def test_every_explainer_passes_the_public_checks(name):
    check_explainer(EXPLAINERS[name], excuses=EXCUSES.get(name))


def state(model: keras.Model, inputs):
    """What an explainer must leave as it was."""
    outputs = tf.nest.flatten(model(as_tensors(inputs), training=False))
    layers = list(model._flatten_layers())
    return (
        [weight.tobytes() for weight in model.get_weights()],
        [output.numpy().tobytes() for output in outputs],
        [(layer.name, layer.trainable, layer.call, sorted(vars(layer))) for layer in layers],
        copy.deepcopy(model.get_config()) if type(model).__module__.startswith("keras") else None,
    )


def test_a_failed_call_leaves_the_model_as_it_was(case):
    kind, model, _ = case
    inputs = kind.inputs(2)
    before = state(model, inputs)
    with pytest.raises(ValueError, match="on purpose"):
        tfs.SmoothGrad(tfs.Gradient(model).then(fails)).explain(inputs, kind.target(0))
    assert before == state(model, inputs)


def fails(values, inputs):
    raise ValueError("fails on purpose")
