"""Boxes of detectors, against the model's own output and tapes over it."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfsaliency as tfs

X = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype("float32")
CELLS, CLASSES = 4, 3


def parts():
    """Corners of a box for each of four cells, and the scores of three classes."""
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 3))
    cells = layers.Conv2D(8, 4, strides=4, activation="relu")(image)
    centres = layers.Reshape((CELLS, 2))(layers.Conv2D(2, 1)(cells))
    sizes = layers.Reshape((CELLS, 2))(layers.Conv2D(2, 1, activation="softplus")(cells))
    boxes = layers.Concatenate()([centres - sizes, centres + sizes])
    return image, boxes, layers.Reshape((CELLS, CLASSES))(layers.Conv2D(CLASSES, 1)(cells))


def together(image, boxes, scores):
    return keras.Model(image, layers.Concatenate()([boxes, scores])), {}


def named(image, boxes, scores):
    return keras.Model(image, {"scores": scores, "boxes": boxes}), {}


def listed(image, boxes, scores):
    return keras.Model(image, [scores, boxes]), {}


def by_hand(image, boxes, scores):
    """Scores first: nobody can guess that."""
    model = keras.Model(image, layers.Concatenate()([scores, boxes]))
    return model, {"decode": lambda z: (z[..., CLASSES:], z[..., :CLASSES])}


@pytest.fixture(scope="module", params=[together, named, listed, by_hand], ids=lambda each: each.__name__)
def detector(request):
    image, boxes, scores = parts()
    model, options = request.param(image, boxes, scores)
    return model, options, keras.Model(image, [boxes, scores])


def slope(read, score):
    x = tf.constant(X)
    with tf.GradientTape() as tape:
        tape.watch(x)
        scores = score(*read(x))
    return tape.gradient(scores, x).numpy(), scores.numpy()


def test_by_its_place(detector):
    model, options, read = detector
    explanation = tfs.Gradient(model).explain(X, tfs.target.box([2, 0], index=[3, 1], **options))
    values, scores = slope(read, lambda boxes, z: tf.stack([z[0, 3, 2], z[1, 1, 0]]))
    np.testing.assert_allclose(explanation.values, values, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(explanation.scores, scores, rtol=1e-5)
    # The last cell sees nothing else.
    assert (explanation.values[0, :4] == 0).all() and (explanation.values[0, 4:, 4:] != 0).any()


def test_by_its_class(detector):
    """The box that scores highest for the class."""
    model, options, read = detector
    scores = read(X)[1].numpy()
    explanation = tfs.Gradient(model).explain(X, tfs.target.box(1, **options))
    np.testing.assert_array_equal(explanation.diagnostics["box"], scores[:, :, 1].argmax(axis=1))
    np.testing.assert_allclose(explanation.scores, scores[:, :, 1].max(axis=1), rtol=1e-5)


def test_the_best_of_all(detector):
    model, options, read = detector
    scores = read(X)[1].numpy()
    explanation = tfs.Gradient(model).explain(X, tfs.target.box(**options))
    np.testing.assert_allclose(explanation.scores, scores.max(axis=(1, 2)), rtol=1e-5)
    np.testing.assert_array_equal(explanation.target, scores.max(axis=1).argmax(axis=1))


def overlap(one, other):
    low, high = np.maximum(one[:2], other[:2]), np.minimum(one[2:], other[2:])
    shared = np.prod(np.maximum(high - low, 0))
    return shared / (np.prod(one[2:] - one[:2]) + np.prod(other[2:] - other[:2]) - shared)


def test_by_its_overlap(detector):
    model, options, read = detector
    boxes = read(X)[0].numpy()
    near = boxes[[0, 1], [2, 0]] + np.array([0.1, 0.0, 0.05, -0.02], "float32")
    expected = [[overlap(each, wanted) for each in of_sample] for of_sample, wanted in zip(boxes, near, strict=True)]
    explanation = tfs.Gradient(model).explain(X, tfs.target.box(near=near, **options))
    np.testing.assert_array_equal(explanation.diagnostics["box"], np.argmax(expected, axis=1))
    np.testing.assert_allclose(explanation.diagnostics["overlap"], np.max(expected, axis=1), rtol=1e-4)


@pytest.mark.parametrize("side", range(4))
def test_a_side(detector, side):
    model, options, read = detector
    explanation = tfs.Gradient(model).explain(X, tfs.target.box(index=2, side=side, **options))
    values, scores = slope(read, lambda boxes, z: boxes[:, 2, side])
    np.testing.assert_allclose(explanation.values, values, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(explanation.scores, scores, rtol=1e-5)


def test_noise_does_not_change_the_box(detector):
    model, options, _ = detector
    noisy = tfs.SmoothGrad(model, samples=10, noise=2.0)
    free = noisy.explain(X, tfs.target.box(**options))
    fixed = noisy.explain(X, tfs.target.box(free.target, index=free.diagnostics["box"], **options))
    np.testing.assert_array_equal(free.values, fixed.values)


@pytest.mark.parametrize("method", [tfs.IntegratedGradients, tfs.LRP, tfs.DeepLIFT, tfs.GradCAM, tfs.Occlusion])
def test_every_family_answers(detector, method):
    """As they answer a function that names the same number of the output."""
    model, options, read = detector
    # By default the last convolution is explained, which may be that of the boxes.
    explainer = method(model, layer=model.layers[1]) if method is tfs.GradCAM else method(model)
    found = explainer.explain(X, tfs.target.box(**options))
    box, label = int(found.diagnostics["box"][0]), int(found.target[0])

    def number(z):
        boxes, scores = tfs.target.box(**options)._read(z)
        return scores[:, box, label]

    same = explainer.explain(X[:1], number)
    np.testing.assert_allclose(found.values[:1], same.values, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found.scores[0], read(X)[1].numpy()[0, box, label], rtol=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"label": 3}, "classes 0 to 2. Received: target 3"),
        ({"index": 4}, "boxes 0 to 3. Received: index 4"),
        ({"near": [90, 90, 91, 91]}, r"No box of the model overlaps.*samples \[0, 1\]"),
        ({"near": np.zeros((3, 4))}, "holds 3 boxes for 2 samples"),
    ],
)
def test_what_the_output_does_not_have(detector, options, message):
    model, layout, _ = detector
    with pytest.raises(ValueError, match=message):
        tfs.Gradient(model).explain(X, tfs.target.box(**options, **layout))


NAMES = [
    ("coords", "box_scores"),
    ("bboxes", "class_box"),
    ("regression", "box_classification"),
    ("location", "box_logits"),
    ("anchors_delta", "boxes_prob"),
    ("bbox", "conf"),
    ("first", "second"),
]


@pytest.mark.parametrize("classes", [3, 4])
@pytest.mark.parametrize("names", NAMES, ids="-".join)
def test_boxes_are_known_by_their_shape_and_then_by_their_name(names, classes):
    """A linear detector: the slope is a row of its weights."""
    generator = np.random.default_rng(0)
    of_boxes = generator.normal(size=(3, 2, 4)).astype("float32")
    of_scores = generator.normal(size=(3, 2, classes)).astype("float32")

    def detector(x):
        parts = [tf.einsum("ni,ijk->njk", x, weights) for weights in (of_boxes, of_scores)]
        return dict(zip(names, parts, strict=True))

    x = np.ones((1, 3), "float32")
    if names == ("first", "second") and classes == 4:
        with pytest.raises(ValueError, match="by the names of a dict such as 'boxes' and 'scores'.*pass decode="):
            tfs.Gradient(detector).explain(x, tfs.target.box(1, index=0))
        return
    explain = tfs.Gradient(detector).explain
    np.testing.assert_allclose(explain(x, tfs.target.box(1, index=0)).values[0], of_scores[:, 0, 1], rtol=1e-6)
    np.testing.assert_allclose(explain(x, tfs.target.box(1, index=1, side=3)).values[0], of_boxes[:, 1, 3], rtol=1e-6)


def test_an_output_without_boxes():
    model = keras.Sequential([keras.Input((8, 8, 3)), layers.Flatten(), layers.Dense(4)])
    with pytest.raises(ValueError, match=r"output has shape \(None, 4\): pass decode="):
        tfs.Gradient(model).explain(X, tfs.target.box(1))
    with pytest.raises(ValueError, match=r"Received from decode: shapes \(\(None, 3\), \(None, 1\)\)"):
        tfs.Gradient(model).explain(X, tfs.target.box(1, index=0, decode=lambda z: (z[:, :3], z[:, 3:])))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"index": 1, "near": [0, 0, 1, 1]}, "Received: both"),
        ({"side": 4}, "one of the four numbers of a box, 0 to 3. Received: 4"),
        ({"near": [0, 0, 1]}, r"a box of four numbers.*shape \(1, 3\)"),
    ],
)
def test_what_is_no_box(options, message):
    with pytest.raises(ValueError, match=message):
        tfs.target.box(**options)
