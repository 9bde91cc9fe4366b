"""Random weights, without touching the model."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfsaliency as tfs
from tests.metrics.harness import PICTURES, picture_model
from tfsaliency.engine.compiled import traced
from tfsaliency.engine.inputs import check_inputs
from tfsaliency.metrics.sanity import WithWeights
from tfsaliency.model.weights import Weights


def recurrent():
    keras.utils.set_random_seed(1)
    return keras.Sequential([keras.Input((6, 3)), layers.Dense(4), layers.LSTM(5), layers.Dense(3)])


def normalized():
    """A normalization, which is fused into the weights before it."""
    keras.utils.set_random_seed(1)
    inner = [layers.Conv2D(4, 3, activation="relu"), layers.Conv2D(4, 3), layers.BatchNormalization(), layers.ReLU()]
    model = keras.Sequential([keras.Input(PICTURES.shape[1:]), *inner, layers.GlobalMaxPool2D(), layers.Dense(3)])
    statistics = model.layers[2]
    statistics.set_weights([np.full(4, number) for number in (2.0, 0.1, 0.2, 0.5)])
    return model


SERIES = np.random.default_rng(0).normal(size=(2, 6, 3)).astype("float32")
NETWORKS = {"pictures": (picture_model, PICTURES), "normalized": (normalized, PICTURES), "series": (recurrent, SERIES)}
METHODS = {"Gradient": tfs.Gradient, "LRP": lambda model: tfs.LRP(model, "epsilon"), "DeepLIFT": tfs.DeepLIFT}


def weights_of(model, x):
    return Weights(model, traced(model, check_inputs(model, x))[0])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", NETWORKS)
def test_a_map_with_other_weights_is_that_of_a_model_with_these_weights(name, method):
    make, x = NETWORKS[name]
    model, twin = make(), make()
    before = model.get_weights()
    weights = weights_of(model, x)
    assert [path.rpartition("/")[2] for path in weights.layers][0].startswith("dense")
    weights.randomize([0, 2], seed=3)
    found = WithWeights(METHODS[method](model), weights).explain(x, 1)
    for own, given in zip(twin.trainable_variables, model.trainable_variables, strict=True):
        own.assign(weights._copies[id(given.value.handle)])
    expected = METHODS[method](twin).explain(x, 1)
    np.testing.assert_allclose(found.values, expected.values, atol=1e-4 * np.abs(expected.values).max())
    assert np.abs(found.values - METHODS[method](model).explain(x, 1).values).max() > 1e-3
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_layers_are_in_order_from_the_output_and_draws_are_their_own():
    model = picture_model()
    weights = weights_of(model, PICTURES)
    names = [layer.name for layer in model.layers if layer.weights]
    assert weights.layers == names[::-1]
    first = model.trainable_variables[0]
    copied = weights._copies[id(first.value.handle)]
    weights.randomize([2], seed=0)
    alone = copied.numpy()
    weights.randomize([0, 1, 2], seed=0)
    np.testing.assert_array_equal(copied.numpy(), alone)
    assert alone.std() == pytest.approx(first.numpy().std(), rel=0.3)
    weights.randomize([], seed=0)
    np.testing.assert_array_equal(copied.numpy(), first.numpy())


def test_other_copies_of_the_weights_are_another_question():
    """Python gives the id of an object to another one once the first is gone."""
    model = keras.Sequential([keras.Input((6,)), layers.Dense(3)])
    inner = tfs.Gradient(model)
    trace = traced(model, check_inputs(model, np.ones((1, 6))))[0]
    keys = [WithWeights(inner, Weights(model, trace)).key() for _ in range(4)]
    assert all(one != other for place, one in enumerate(keys) for other in keys[:place])


def test_the_curve_of_a_cascade_is_that_of_models_randomized_by_hand():
    model, twin = picture_model(), picture_model()
    explainer = tfs.GradientTimesInput(model)
    explanation = explainer.explain(PICTURES)
    found = tfs.metrics.ModelRandomization(explainer, seed=5).measure(explanation)
    alone = tfs.metrics.ModelRandomization(explainer, "independent", seed=5).measure(explanation)
    weights = weights_of(model, PICTURES)
    original = explanation.values.sum(axis=-1).reshape(3, -1)
    for curve, sets in ((found, [[0], [0, 1], [0, 1, 2]]), (alone, [[0], [1], [2]])):
        for stage, layers_of_stage in enumerate(sets):
            weights.randomize(layers_of_stage, 5)
            for own, given in zip(twin.trainable_variables, model.trainable_variables, strict=True):
                own.assign(weights._copies[id(given.value.handle)])
            maps = tfs.GradientTimesInput(twin).explain(PICTURES, explanation.target).values.sum(axis=-1).reshape(3, -1)
            for sample in range(3):
                ranks = [np.argsort(np.argsort(each[sample])) for each in (original, maps)]
                assert curve.details["curve"][sample, stage] == pytest.approx(np.corrcoef(*ranks)[0, 1], abs=1e-2)
    np.testing.assert_allclose(found.values, found.details["curve"].mean(axis=1))


def test_a_map_that_ignores_the_weights_does_not_change():
    class Edges(tfs.Gradient):
        def attribute(self, x, score):
            score.resolve()
            return tfs.Attribution(x)

    model = picture_model()
    explainer = Edges(model)
    explanation = explainer.explain(PICTURES)
    for kind in ("cascading", "independent"):
        np.testing.assert_allclose(tfs.metrics.ModelRandomization(explainer, kind).measure(explanation).values, 1)
    efficient = tfs.metrics.ModelRandomization(explainer, "efficient").measure(explanation)
    np.testing.assert_allclose(efficient.values, 0)
    assert efficient.better == "higher"
    np.testing.assert_allclose(tfs.metrics.RandomLogit(explainer).measure(explanation).values, 1)


def test_smooth_randomization_is_that_of_smoothgrad():
    model = picture_model()
    explanation = tfs.Gradient(model).explain(PICTURES)
    smooth = tfs.metrics.ModelRandomization(tfs.Gradient(model), "smooth", stages=2).measure(explanation)
    by_hand = tfs.metrics.ModelRandomization(tfs.SmoothGrad(model, 50, 0.1), "cascading", stages=2).measure(explanation)
    np.testing.assert_allclose(smooth.values, by_hand.values, atol=1e-6)


def test_two_classes_of_a_softmax_of_two_have_opposite_maps():
    model = keras.Sequential([keras.Input((5,)), layers.Dense(1, "sigmoid")])
    x = np.random.default_rng(0).normal(size=(3, 5)).astype("float32")
    explainer = tfs.GradientTimesInput(model)
    values = tfs.metrics.RandomLogit(explainer).measure(explainer.explain(x)).values
    np.testing.assert_allclose(values, -1)


def test_what_has_no_weights_or_no_class_is_said():
    boxed = tfs.Occlusion(lambda x: x[:, :2], window=1, stride=1)
    explanation = boxed.explain(np.ones((2, 4)), 1)
    with pytest.raises(tfs.metrics.InapplicableError, match="A black box shows no weights"):
        tfs.metrics.ModelRandomization(boxed).measure(explanation)
    model = picture_model()
    of_function = tfs.Gradient(model).explain(PICTURES, lambda z: z[:, 0] + z[:, 1])
    with pytest.raises(tfs.metrics.InapplicableError, match="Only a class has another class"):
        tfs.metrics.RandomLogit(tfs.Gradient(model)).measure(of_function, lambda z: z[:, 0] + z[:, 1])


def test_a_model_for_an_explainer_and_an_explainer_for_a_model_are_told():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    explainer = tfs.Gradient(model)
    for metric in (tfs.metrics.ModelRandomization, tfs.metrics.RandomLogit, tfs.metrics.MaxSensitivity):
        with pytest.raises(TypeError, match=r"pass it, such as tfsaliency.Gradient\(model\). Received: Sequential"):
            metric(model)
    with pytest.raises(TypeError, match=r"that was explained, explainer.model. Received: Gradient"):
        tfs.metrics.Deletion(explainer).measure(explainer.explain(np.ones((2, 4))))


def test_weights_of_a_saved_model_are_random_as_those_of_the_model_are(tmp_path):
    model = keras.Sequential([keras.Input((6,)), layers.Dense(8, "tanh"), layers.Dense(3)])
    model.export(tmp_path, verbose=False)
    x, curves = np.random.default_rng(0).normal(size=(2, 6)).astype("float32"), []
    for each in (model, tf.saved_model.load(tmp_path)):
        explainer = tfs.Gradient(each)
        curves.append(tfs.metrics.ModelRandomization(explainer).measure(explainer.explain(x, 1)).details["curve"])
    np.testing.assert_allclose(*curves, rtol=1e-5)


def test_whole_numbers_of_a_quantized_layer_have_no_random_twin():
    """The biases alone became random, and the map seemed to have nothing to do with the weights."""
    model = keras.Sequential([keras.Input((6,)), layers.Dense(8, "relu"), layers.Dense(3)])
    for layer in model.layers:
        layer.quantize("int8")
    explanation = tfs.Gradient(model).explain(np.ones((2, 6)), 1)
    with pytest.raises(ValueError, match="whole numbers, as those of quantized layers are.*before it is quantized"):
        tfs.metrics.ModelRandomization(tfs.Gradient(model)).measure(explanation)
