"""What values mean is said by the method and carried by transforms, never guessed from the numbers."""

import json

import keras
import numpy as np
import pytest
from keras import layers

import tfsaliency as tfs
from tests.harness import EXPLAINERS
from tfsaliency import transforms
from tfsaliency.methods import METHODS
from tfsaliency.plot import heatmap
from tfsaliency.plot import image as paint
from tfsaliency.plot.kinds import scale_of

MEANINGS = {
    **{name: "signed" for name in ("gradient", "gradient-times-input", "smoothgrad", "guided-backprop", "deconvnet")},
    **{name: "signed" for name in ("lrp", "deep-taylor", "deeplift", "occlusion", "rise", "guided-grad-cam", "xrai")},
    **{name: "signed" for name in ("integrated-gradients", "expected-gradients", "idgi", "cam", "hires-cam")},
    **{name: "signed" for name in ("blur-integrated-gradients", "guided-integrated-gradients", "eigen-cam")},
    **{name: "signed" for name in ("denoised-smoothgrad", "shapley-values")},
    **{name: "magnitude" for name in ("smoothgrad-squared", "vargrad")},
    **{name: "places" for name in ("grad-cam", "grad-cam++", "layer-cam", "xgrad-cam", "score-cam", "ablation-cam")},
}


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    convolution = layers.Conv2D(4, 3, activation="relu")
    return keras.Sequential(
        [keras.Input((8, 8, 3)), convolution, layers.GlobalAveragePooling2D(), layers.Dense(3, activation="softmax")]
    )


X = np.random.default_rng(0).uniform(size=(2, 8, 8, 3)).astype("float32")


@pytest.mark.filterwarnings("ignore:The values of the samples", "ignore:The sum along the path")
@pytest.mark.parametrize("name", METHODS)
def test_every_method_says_it(name, model):
    explanation = EXPLAINERS[METHODS[name].__name__](model).explain(X, 1)
    assert explanation.meaning == MEANINGS[name]
    if explanation.meaning != "signed":
        assert explanation.values.min() >= 0


def test_wrappers_mean_what_they_average(model):
    absolute = tfs.Gradient(model).then(transforms.absolute)
    assert tfs.SmoothGrad(absolute, samples=2).meaning == "magnitude"
    assert tfs.SmoothGrad(tfs.GradCAM(model), samples=2).meaning == "places"
    assert tfs.VarGrad(model, samples=2).meaning == "magnitude"
    # A sum of gradients times moves has a sign whatever stands for the gradient.
    assert tfs.IntegratedGradients(absolute, steps=2).meaning == "signed"


@pytest.mark.filterwarnings("ignore:The values of the samples")
@pytest.mark.parametrize(
    ("transform", "of_signed", "of_magnitude"),
    [
        (transforms.absolute, "magnitude", "magnitude"),
        (transforms.positive, "magnitude", "magnitude"),
        (transforms.square, "magnitude", "magnitude"),
        (transforms.max_channels, "magnitude", "magnitude"),
        (transforms.negative, "signed", "signed"),
        (transforms.sign, "signed", "signed"),
        (transforms.times_input, "signed", "signed"),
        (transforms.normalize, "signed", "magnitude"),
        (transforms.sum_channels, "signed", "magnitude"),
        (transforms.clip_percentile(90), "signed", "magnitude"),
        (lambda values, inputs: 2 * values, "signed", "magnitude"),
    ],
)
def test_transforms_carry_it_on(transform, of_signed, of_magnitude, model):
    signed, magnitude = tfs.Gradient(model), tfs.SmoothGradSquared(model, samples=2)
    for explainer, expected in ((signed, of_signed), (magnitude, of_magnitude)):
        assert explainer.then(transform).meaning == expected
        assert explainer.explain(X, 1).map(transform).meaning == expected
        assert explainer.then(transform).explain(X, 1).meaning == expected


def centred(values, inputs):
    return values - np.mean(values)


def test_negative_magnitudes_are_refused_with_advice_that_works(model):
    magnitude = tfs.SmoothGradSquared(model, samples=2).explain(X, 1)
    with pytest.raises(ValueError, match="'magnitude' are never negative. Received: -.*transform.meaning = 'signed'"):
        magnitude.map(centred)
    centred.meaning = "signed"
    assert magnitude.map(centred).meaning == "signed"
    with pytest.raises(ValueError, match="'signed', 'magnitude', 'places', 'painting'. Received: 'saliency'"):
        tfs.Explanation(X, X, None, np.ones(2), "m", meaning="saliency")


def test_one_tiny_negative_number_changes_neither_reduction_nor_colours():
    values = np.array([[[[0.5, 0.5, 0.5]]]], "float32")
    other = values.copy()
    other[0, 0, 0, 0] = -1e-9
    for meaning, reduced in (("magnitude", 0.5), ("signed", 1.0)):
        scale = scale_of(other[0], meaning, 100)
        assert scale.limit == pytest.approx(reduced)
        assert scale.signed == (meaning == "signed")
    drawn = [
        np.asarray(
            tfs.Explanation(each, X[:1, :1, :1], None, np.ones(1), "m", meaning="magnitude")
            .plot()
            .axes[1]
            .images[0]
            .get_array()
        )
        for each in (values, other)
    ]
    np.testing.assert_array_equal(*drawn)
    np.testing.assert_array_equal(drawn[0], heatmap(np.array([[0.5]]), limit=0.5, signed=False))


def test_a_signed_map_without_a_negative_number_keeps_its_colours():
    values = np.full((1, 4, 4, 3), 1.0, "float32")
    explanation = tfs.Explanation(values, values, None, np.ones(1), "m")
    drawn = np.asarray(explanation.plot().axes[1].images[0].get_array())
    np.testing.assert_array_equal(drawn, paint.heatmap(np.full((4, 4), 3.0), limit=3.0))


@pytest.mark.parametrize("meaning", ["signed", "magnitude", "places"])
def test_files_keep_it(meaning, tmp_path):
    tfs.Explanation(X, X, None, np.ones(2), "m", meaning=meaning).save(tmp_path / "map.npz")
    assert tfs.Explanation.load(tmp_path / "map.npz").meaning == meaning


@pytest.mark.parametrize(("values", "meaning"), [(X, "magnitude"), (X - 1, "signed")])
def test_files_of_the_first_format_mean_what_they_were_drawn_as(values, meaning, tmp_path):
    tfs.Explanation(values, X, None, np.ones(2), "m").save(tmp_path / "map.npz")
    with np.load(tmp_path / "map.npz") as archive:
        arrays = dict(archive)
    record = json.loads(str(arrays["record"])) | {"format": 1}
    del record["meaning"]
    np.savez(tmp_path / "old.npz", **arrays | {"record": np.array(json.dumps(record))})
    assert tfs.Explanation.load(tmp_path / "old.npz").meaning == meaning
