"""Regions of a segmentation map, against tapes over the model itself."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfsaliency as tfs
from tfsaliency.engine import compiled

X = np.random.default_rng(1).normal(size=(3, 6, 6, 2)).astype("float32")


@pytest.fixture(scope="module", params=["logits", "softmax"])
def model(request):
    keras.utils.set_random_seed(0)
    image = keras.Input((6, 6, 2))
    x = layers.Conv2D(8, 3, padding="same", activation="relu")(image)
    x = layers.Conv2D(3, 3, padding="same", bias_initializer="normal")(x)
    return keras.Model(image, x if request.param == "logits" else layers.Softmax()(x))


def logits_of(model, x):
    stop = model.layers[-2] if isinstance(model.layers[-1], layers.Softmax) else model.layers[-1]
    return keras.Model(model.input, stop.output)(x)


def slope(model, x, score):
    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        scores = score(logits_of(model, x))
    return tape.gradient(scores, x).numpy(), scores.numpy()


def mean_over(masks, classes):
    """The mean logit of a class of each sample over its mask."""

    def score(logits):
        chosen = tf.stack([logits[n, :, :, each] for n, each in enumerate(classes)])
        return tf.reduce_sum(chosen * masks, axis=(1, 2)) / masks.sum(axis=(1, 2))

    return score


def test_where_the_model_sees_the_class_itself(model):
    seen = logits_of(model, X).numpy().argmax(axis=-1)
    classes = [np.bincount(each.ravel(), minlength=3).argmax() for each in seen]
    masks = np.stack([seen[n] == each for n, each in enumerate(classes)]).astype("float32")
    explanation = tfs.Gradient(model).explain(X, tfs.target.region(None, classes))
    values, scores = slope(model, X, mean_over(masks, classes))
    np.testing.assert_allclose(explanation.values, values, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(explanation.scores, scores, rtol=1e-4)
    np.testing.assert_array_equal(explanation.diagnostics["region"], masks.sum(axis=(1, 2)))
    np.testing.assert_array_equal(explanation.target, classes)


def test_the_mask_is_that_of_the_inputs_as_given(model):
    """A noisy copy has another mask of its own, which would be another question."""
    seen = logits_of(model, X).numpy().argmax(axis=-1)
    classes = seen[:, 0, 0]
    masks = [(each == chosen).astype("float32") for each, chosen in zip(seen, classes, strict=True)]
    noisy = tfs.SmoothGrad(model, samples=10, noise=1.0)
    own = noisy.explain(X, tfs.target.region(None, classes)).values
    np.testing.assert_array_equal(own, noisy.explain(X, tfs.target.region(masks, classes)).values)


def test_a_mask_for_each_sample(model):
    masks = np.random.default_rng(2).integers(0, 2, size=(3, 6, 6)).astype("float32")
    explanation = tfs.Gradient(model).explain(X, tfs.target.region(list(masks), [0, 2, 1]), batch_size=2)
    values, scores = slope(model, X, mean_over(masks, [0, 2, 1]))
    np.testing.assert_allclose(explanation.values, values, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(explanation.scores, scores, rtol=1e-4)


def test_another_mask_needs_no_other_graph(monkeypatch):
    """A loop over masks would trace the model's gradient again at each turn."""
    made = []

    class Counted(compiled.Compiled):
        def __init__(self, *arguments):
            made.append(self)
            super().__init__(*arguments)

    monkeypatch.setattr(compiled, "Compiled", Counted)
    explainer = tfs.Gradient(keras.Sequential([keras.Input((6, 6, 2)), layers.Conv2D(3, 3, padding="same")]))
    maps = [explainer.explain(X, tfs.target.region(np.eye(6) + turn, turn)).values for turn in range(3)]
    assert (maps[0] != maps[1]).any()
    assert len(made) == 1


@pytest.mark.parametrize("method", [tfs.LRP, tfs.DeepLIFT, tfs.GradCAM, tfs.Occlusion, tfs.GuidedBackprop])
def test_every_family_answers(model, method):
    """The map of one place lies where its convolutions look."""
    masks = np.zeros((6, 6))
    masks[1, 1] = 1
    values = method(model).explain(X, tfs.target.region(masks, 1)).values
    assert (values[:, :4, :4] != 0).any()
    if method not in (tfs.GradCAM, tfs.Occlusion):
        assert (values[:, 4:] == 0).all() and (values[:, :, 4:] == 0).all()


@pytest.mark.parametrize("activation", ["sigmoid", None])
def test_one_channel(activation):
    """A probability above a half, or a logit above zero."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((6, 6, 2)), layers.Conv2D(1, 3, padding="same", activation=activation)])
    said = model(X).numpy()[..., 0]
    mask = said > (0.5 if activation else 0)
    explanation = tfs.Gradient(model).explain(X, tfs.target.region(None, 0))
    logits = np.log(said / (1 - said)) if activation else said
    np.testing.assert_allclose(explanation.scores, (logits * mask).sum(axis=(1, 2)) / mask.sum(axis=(1, 2)), rtol=1e-4)


def test_a_class_that_the_model_sees_nowhere(model):
    absent = keras.Sequential(
        [keras.Input((6, 6, 2)), layers.Conv2D(2, 1, bias_initializer=lambda *a, **k: [0.0, 50.0])]
    )
    with pytest.raises(ValueError, match=r"sees the class of target.region nowhere in the samples \[0, 1, 2\]"):
        tfs.Gradient(absent).explain(X, tfs.target.region(None, 0))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: tfs.target.region(np.ones((3, 6, 6)), 0), r"mask of shape \(3, 6, 6\).*a list: list\(masks\)"),
        (lambda: tfs.target.region(np.ones((2, 6)), 0), r"mask of shape \(2, 6\) for logits"),
        (lambda: tfs.target.region([np.ones((6, 6))] * 2, 0), "holds 2 masks for 3 samples"),
        (lambda: tfs.target.region([np.ones((6, 6)), np.ones((5, 6))], 0), "masks of target.region have one shape"),
        (lambda: tfs.target.region([np.ones((6, 6)), np.zeros((6, 6))], 0), "at least one positive"),
    ],
)
def test_masks_that_do_not_fit(model, make, message):
    with pytest.raises(ValueError, match=message):
        tfs.Gradient(model).explain(X, make())


def test_a_mask_of_one_unit_has_one_class():
    model = keras.Sequential([keras.Input((6, 6, 1)), keras.layers.Conv2D(1, 3, padding="same", activation="sigmoid")])
    mask = np.zeros((6, 6))
    mask[2:4, 2:4] = 1
    x = np.ones((1, 6, 6, 1), "float32")
    with pytest.raises(ValueError, match="the class 0 alone, which is that unit: the foreground"):
        tfs.Gradient(model).explain(x, tfs.target.region(mask, 1))
    score = tfs.Gradient(model).explain(x, tfs.target.region(mask, 0)).scores[0]
    probability = model(x).numpy()[0, 2:4, 2:4, 0]
    logits = np.log(probability / (1 - probability))
    assert min(abs(score - logits.sum()), abs(score - logits.mean())) < 1e-4
