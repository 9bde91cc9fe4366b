"""The record: immutable, exact on disk, drawn."""

import copy
import dataclasses
import json
import os
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import keras
import matplotlib
import numpy as np
import pytest
from keras import layers

import tfsaliency as tfs
from tests.kinds import KINDS
from tfsaliency import plot
from tfsaliency.base.structure import flatten, map_parts, skeleton, unflatten
from tfsaliency.plot import image as paint
from tfsaliency.transforms import absolute


@pytest.fixture(scope="module")
def explanation():
    model, _ = KINDS["functional"].models()
    return tfs.SmoothGrad(model, samples=3).explain(KINDS["functional"].inputs(2))


@pytest.fixture(scope="module", params=["functional", "two_inputs_list", "two_inputs_dict", "integer_images", "table"])
def any_explanation(request):
    kind = KINDS[request.param]
    return tfs.SmoothGrad(kind.models()[0], samples=3).explain(kind.inputs(2))


def test_arrays_cannot_be_written_to(any_explanation):
    for array in [
        *flatten(any_explanation.values),
        *flatten(any_explanation.inputs),
        any_explanation.target,
        any_explanation.scores,
        *any_explanation.diagnostics.values(),
    ]:
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0
    with pytest.raises(AttributeError):
        any_explanation.values = 0


def test_the_callers_array_stays_his():
    kind = KINDS["table"]
    x = kind.inputs(2)
    explanation = tfs.Gradient(kind.models()[0]).explain(x)
    before = explanation.inputs.copy()
    x[0] = 0
    np.testing.assert_array_equal(explanation.inputs, before)


def test_records_cannot_be_written_to(explanation):
    with pytest.raises(TypeError):
        explanation.diagnostics["other"] = 0
    with pytest.raises(TypeError):
        explanation.provenance["model"] = "other"


def test_save_and_load_are_exact(any_explanation, tmp_path):
    path = tmp_path / "map.npz"
    any_explanation.save(path)
    again = tfs.Explanation.load(path)
    assert type(again) is type(any_explanation)
    for name in ("values", "inputs"):
        first, second = getattr(any_explanation, name), getattr(again, name)
        assert skeleton(first) == skeleton(second)
        for part, other in zip(flatten(first), flatten(second), strict=True):
            assert part.dtype == other.dtype
            np.testing.assert_array_equal(part, other)
    np.testing.assert_array_equal(again.target, any_explanation.target)
    np.testing.assert_array_equal(again.scores, any_explanation.scores)
    assert again.diagnostics.keys() == any_explanation.diagnostics.keys()
    for name in ("method", "explained", "provenance"):
        assert getattr(again, name) == getattr(any_explanation, name)
    assert sorted(os.listdir(tmp_path)) == ["map.npz"]


@pytest.mark.parametrize("way", [lambda given: pickle.loads(pickle.dumps(given)), copy.deepcopy, copy.copy])
def test_a_copy_is_equal_and_cannot_be_written_to(any_explanation, way):
    """As another process gets it, of `concurrent.futures`, joblib or Ray."""
    again = way(any_explanation)
    assert repr(again) == repr(any_explanation)
    for each in dataclasses.fields(tfs.Explanation):
        got, expected = getattr(again, each.name), getattr(any_explanation, each.name)
        assert type(got) is type(expected)
        np.testing.assert_equal(*(dict(one) if isinstance(one, Mapping) else one for one in (got, expected)))
    for part in flatten(again.values):
        assert not part.flags.writeable
    with pytest.raises(TypeError):
        again.provenance["model"] = "another"


def test_a_function_target_has_no_classes(tmp_path):
    kind = KINDS["table"]
    explanation = tfs.Gradient(kind.models()[0]).explain(kind.inputs(2), lambda z: z[:, 0] + z[:, 1])
    explanation.save(tmp_path / "map.npz")
    assert explanation.target is None
    assert tfs.Explanation.load(tmp_path / "map.npz").target is None


def test_nothing_is_pickled(explanation, tmp_path):
    explanation.save(tmp_path / "map.npz")
    with zipfile.ZipFile(tmp_path / "map.npz") as archive:
        for name in archive.namelist():
            assert b"'O'" not in archive.read(name)[:128]


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\x03\x04"])
def test_a_file_that_is_none(content, tmp_path):
    path = tmp_path / "map.npz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="does not hold an explanation"):
        tfs.Explanation.load(path)


def test_a_file_of_something_else(tmp_path):
    path = tmp_path / "map.npz"
    np.savez(path, a=np.ones(3))
    with pytest.raises(ValueError, match="does not hold an explanation"):
        tfs.Explanation.load(path)
    np.savez(path, record=np.array([{"kind": "Explanation"}], dtype=object))
    with pytest.raises(ValueError, match="does not hold an explanation"):
        tfs.Explanation.load(path)


def test_a_file_of_another_format(explanation, tmp_path, monkeypatch):
    monkeypatch.setattr("tfsaliency.explanation.files.FORMAT", 5)
    explanation.save(tmp_path / "map.npz")
    monkeypatch.undo()
    with pytest.raises(ValueError, match=r"it has format 5, and the formats \(1, 2, 3, 4\) are read"):
        tfs.Explanation.load(tmp_path / "map.npz")


def test_path_without_its_ending(explanation, tmp_path):
    with pytest.raises(ValueError, match="ends in .npz. Received: .*map.zip"):
        explanation.save(tmp_path / "map.zip")
    with pytest.raises(FileNotFoundError):
        tfs.Explanation.load(tmp_path / "none.npz")


def test_a_failed_save_leaves_the_old_file(explanation, tmp_path, monkeypatch):
    path = tmp_path / "map.npz"
    explanation.save(path)
    before = path.read_bytes()

    def full(*_, **__):
        raise OSError("disk full")

    monkeypatch.setattr(np, "savez_compressed", full)
    with pytest.raises(OSError, match="disk full"):
        explanation.map(absolute).save(path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["map.npz"]


def test_two_writers_of_one_path_leave_one_whole_file(explanation, tmp_path):
    path = tmp_path / "map.npz"

    def writes_and_reads(_):
        explanation.save(path)
        return tfs.Explanation.load(path).values

    with ThreadPoolExecutor(4) as writers:
        read = list(writers.map(writes_and_reads, range(40)))
    assert all(np.array_equal(values, explanation.values) for values in read)
    assert os.listdir(tmp_path) == ["map.npz"]


def test_a_long_name(explanation, tmp_path):
    path = tmp_path / ("ä" * 120 + ".npz")
    explanation.save(path)
    assert os.listdir(tmp_path) == [path.name]


def test_ids_are_not_multiplied_by():
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4,), dtype="int32"), layers.Embedding(9, 3), layers.GRU(4), layers.Dense(2)])
    ids = np.array([[1, 2, 3, 4]])
    with pytest.raises(ValueError, match=r"ids are names, not numbers. GradientTimesInput\(model\)"):
        tfs.Gradient(model).explain(ids, 0).map(tfs.transforms.times_input)
    times_input = tfs.Gradient(model).then(tfs.transforms.times_input).explain(ids, 0)
    np.testing.assert_allclose(times_input.values, tfs.GradientTimesInput(model).explain(ids, 0).values, rtol=1e-5)


def test_provenance(explanation):
    record = explanation.provenance
    assert record["keras"] == keras.__version__
    assert record["model"].startswith("functional")
    assert 0 < record["seconds"] < 100
    assert json.loads(json.dumps(dict(record))) == record
    assert explanation.method == "SmoothGrad(Gradient, samples=3, noise=0.15, seed=0, tolerance=None, budget=1000)"


def test_fingerprint_tells_models_and_states_apart():
    model, twin = KINDS["functional"].models()
    x = KINDS["functional"].inputs(1)

    def fingerprint(model):
        return tfs.Gradient(model).explain(x, 0).provenance["fingerprint"]

    first = fingerprint(model)
    assert first == fingerprint(model)
    weights = model.get_weights()
    model.set_weights([weight * 1.001 for weight in weights])
    assert fingerprint(model) != first
    model.set_weights(weights)
    assert fingerprint(model) == first


def test_structures():
    structure = {"b": [1, (2, 3)], "a": 4}
    assert flatten(structure) == [4, 1, 2, 3]
    assert unflatten(json.loads(json.dumps(skeleton(structure))), flatten(structure)) == {"a": 4, "b": [1, (2, 3)]}
    assert map_parts(lambda a, b: a + b, structure, structure) == {"a": 8, "b": [2, (4, 6)]}
    with pytest.raises(ValueError, match="2 parts are too many"):
        unflatten(None, [1, 2])
    with pytest.raises(ValueError, match="1 parts are too few"):
        unflatten(["list", [None, None]], [1])
    with pytest.raises(ValueError, match=r"a kind \(dict, list, tuple\) and items. Received: \['set', \[None\]\]"):
        unflatten(["set", [None]], [1])


# Pictures -------------------------------------------------------------------------------------------------------------


def test_zero_is_the_middle_of_the_diverging_colours():
    picture = paint.heatmap(np.array([[-2.0, 0.0, 1.0, 2.0]]))
    middle = matplotlib.colormaps[paint.DIVERGING](0.5)[:3]
    np.testing.assert_allclose(picture[0, 1] / 255, middle, atol=0.01)
    strongest = matplotlib.colormaps[paint.DIVERGING](1.0)[:3]
    np.testing.assert_allclose(picture[0, 3] / 255, strongest, atol=0.01)
    # One-sided maps keep zero where it is.
    np.testing.assert_array_equal(paint.heatmap(np.array([[-5.0, 0.0]]))[0, 1], picture[0, 1])


def test_magnitudes_start_at_zero():
    picture = paint.heatmap(np.array([[0.0, 1.0, 3.0]]), signed=False)
    np.testing.assert_allclose(picture[0, 0] / 255, matplotlib.colormaps[paint.SEQUENTIAL](0.0)[:3], atol=0.01)


def test_outliers_are_clipped_at_the_percentile():
    flat = np.ones((100, 100))
    flat[0, 0] = 1000
    assert paint.limit_of(flat, 99) == 1
    assert paint.limit_of(flat, 100) == 1000


@pytest.mark.parametrize("value", [0.0, 3.0, -3.0])
def test_constant_maps_are_safe(value):
    flat = np.full((4, 4), value)
    assert (paint.heatmap(flat) == paint.heatmap(flat)[0, 0]).all()
    assert paint.overlay(np.full((8, 8, 3), 100, "uint8"), flat).shape == (8, 8, 3)
    assert (paint.picture(np.full((4, 4, 3), value)) == paint.picture(np.full((4, 4, 3), value))[0, 0]).all()


@pytest.mark.parametrize("signed", [True, False])
def test_what_is_no_number_is_grey_and_hides_nothing_else(signed):
    flat = np.linspace(0, 1, 16).reshape(4, 4)
    broken = flat.copy()
    broken[1, 1] = np.nan
    drawn, expected = (paint.heatmap(each, limit=1, signed=signed) for each in (broken, flat))
    assert drawn[1, 1].tolist() == [128] * 3
    drawn[1, 1] = expected[1, 1]
    np.testing.assert_array_equal(drawn, expected)
    broken[1, 1] = np.inf
    assert paint.limit_of(broken, 100) == 1
    image = np.full((4, 4, 3), 100, "uint8")
    flat[1, 1] = 1
    np.testing.assert_array_equal(paint.overlay(image, broken), paint.overlay(image, flat))


def test_a_sparse_map_is_not_blank():
    flat = np.zeros((50, 50))
    flat[3, 3] = 2
    assert (paint.heatmap(flat)[3, 3] != paint.heatmap(flat)[0, 0]).any()


def test_overlay_colours_only_where_the_map_is_strong():
    image = np.full((100, 100, 3), (200, 10, 10), "uint8")
    flat = np.zeros((100, 100))
    flat[:20, :20] = -5
    drawn = paint.overlay(image, flat).astype(int)
    assert np.ptp(drawn[80, 80]) <= 1
    assert np.ptp(drawn[5, 5]) > 50


def test_plot_draws_every_kind():
    axes = {"functional": 6, "time_series": 2, "table": 2, "volume": 6, "two_inputs_list": 8, "two_inputs_dict": 8}
    for name, expected in axes.items():
        kind = KINDS[name]
        figure = tfs.Gradient(kind.models()[0]).explain(kind.inputs(2), kind.target(0)).plot()
        assert len(figure.axes) == expected, name
        assert plot.png(figure).startswith(b"\x89PNG")


def test_a_grey_picture_without_channels_is_drawn_as_a_picture(tmp_path):
    """It was drawn as a series of 28 lines. A series of few columns stays lines."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((28, 28)), keras.layers.Flatten(), keras.layers.Dense(3)])
    pictures = np.random.default_rng(0).uniform(size=(2, 28, 28))
    explanation = tfs.GradientTimesInput(model).explain(pictures, 1)
    figure = explanation.plot()
    assert len(figure.axes) == 6
    shown, drawn = (figure.axes[place].images[0].get_array() for place in (0, 1))
    np.testing.assert_array_equal(shown, plot.image.picture(pictures[0][..., None]))
    limit = np.percentile(np.abs(explanation.values[0]), 99)
    np.testing.assert_array_equal(drawn, plot.heatmap(explanation.values[0], limit=limit))
    both = plot.compare([explanation, explanation])
    np.testing.assert_array_equal(both.axes[1].images[0].get_array(), drawn)
    np.testing.assert_array_equal(both.axes[0].images[0].get_array(), shown)
    plot.report([explanation], tmp_path / "grey.html")
    assert "drawing" not in (tmp_path / "grey.html").read_text().split("</style>")[1].split("<script>")[0]
    explanation.plot(images=np.zeros((2, 28, 28, 3)))
    recurrent = keras.Sequential([keras.Input((28, 28)), keras.layers.LSTM(4), keras.layers.Dense(3)])
    rows = tfs.Occlusion(recurrent).explain(pictures, 1)
    with pytest.raises(ValueError, match=r"\(28, 1\) are drawn over a series.*image of shape \(28, 28, 3\)"):
        rows.plot(images=np.zeros((2, 28, 28, 3)))
    for shape in ((28, 6), (100, 24)):
        series = keras.Sequential([keras.Input(shape), keras.layers.Flatten(), keras.layers.Dense(3)])
        assert tfs.Gradient(series).explain(np.random.rand(1, *shape), 1).plot().axes[0].lines


def test_shared_scale_uses_one_limit(explanation):
    loud = tfs.Explanation(
        values=explanation.values * np.array([1, 100])[:, None, None, None],
        inputs=explanation.inputs,
        target=explanation.target,
        scores=explanation.scores,
        method="",
    )

    def contrast(figure):
        return [np.asarray(axis.images[0].get_array()).std() for axis in figure.axes[1::3]]

    own, shared = contrast(loud.plot()), contrast(loud.plot(shared_scale=True))
    assert own[0] == pytest.approx(own[1], rel=0.5)
    assert shared[0] < 0.1 * shared[1]


def test_shared_scale_shares_the_colours():
    values = np.array([np.full((4, 4, 1), 1.0), np.full((4, 4, 1), -1.0)], "float32")
    explanation = tfs.Explanation(values, np.ones((2, 4, 4, 1)), None, np.ones(2), "m")
    zero = matplotlib.colormaps[paint.DIVERGING](1.0)[:3]
    first = np.asarray(explanation.plot(shared_scale=True).axes[1].images[0].get_array())
    np.testing.assert_allclose(first[0, 0] / 255, zero, atol=0.01)


def test_the_percentile_reaches_the_overlay(explanation):
    first, second = (explanation.plot(percentile=percentile).axes[2].images[0].get_array() for percentile in (99, 50))
    assert (np.asarray(first) != np.asarray(second)).any()


def test_plot_shows_labels_scores_and_given_images(explanation):
    images = np.zeros((2, 12, 12, 3), "uint8")
    figure = explanation.plot(images=images, labels=["a", "b", "c", "d"], most=1)
    assert figure.axes[0].get_title() == f"{'abcd'[explanation.target[0]]}: {explanation.scores[0]:.2f}"
    assert (figure.axes[0].images[0].get_array() == 0).all()
    assert len(figure.axes) == 3


def test_pictures_are_one_for_each_sample(explanation, tmp_path):
    images = np.zeros((1, 8, 8, 3), "uint8")
    for draw in (
        explanation.plot,
        lambda images: tfs.plot.compare([explanation], images=images),
        lambda images: explanation.report(tmp_path / "map.html", images=images),
    ):
        with pytest.raises(ValueError, match="one picture for each of 2 samples"):
            draw(images=images)


def test_grey_pictures_may_come_without_channels(tmp_path):
    model = keras.Sequential([keras.Input((4, 3, 1)), layers.Flatten(), layers.Dense(2)])
    explanation = tfs.Gradient(model).explain(np.zeros((1, 4, 3, 1)), 0)
    grey = np.arange(12, dtype="uint8").reshape(1, 4, 3)
    shown = explanation.plot(images=grey).axes[0].images[0].get_array()
    np.testing.assert_array_equal(shown, np.repeat(grey[0, ..., None], 3, axis=-1))
    explanation.report(tmp_path / "grey.html", images=grey)


def test_compare(explanation):
    figure = plot.compare([explanation, explanation.map(absolute)], titles=["signed", "absolute"])
    assert len(figure.axes) == 6
    assert [axis.get_title() for axis in figure.axes[1:3]] == ["signed", "absolute"]
    with pytest.raises(ValueError, match="at least one explanation"):
        plot.compare([])
    with pytest.raises(ValueError, match=r"one for each of 2 explanations. Received: \['signed'\]"):
        plot.compare([explanation, explanation], titles=["signed"])
    kind = KINDS["table"]
    table = tfs.Gradient(kind.models()[0]).explain(kind.inputs(2))
    with pytest.raises(ValueError, match="same inputs"):
        plot.compare([explanation, table])
    with pytest.raises(ValueError, match=r"maps of shape \(N, height, width, channels\)"):
        plot.compare([table])


def test_no_drawing_for_five_axes():
    explanation = tfs.Explanation(np.ones((1, 2, 2, 2, 2, 2)), np.ones((1, 2, 2, 2, 2, 2)), None, np.ones(1), "m")
    with pytest.raises(ValueError, match="draw explanation.values yourself"):
        explanation.plot()


def test_notebook_shows_a_picture(explanation):
    assert explanation._repr_png_().startswith(b"\x89PNG")
    assert repr(explanation).startswith("Explanation(SmoothGrad(Gradient, samples=3")


def test_import_is_light_and_headless():
    """OpenCV, matplotlib and the zoo are imported when they are used."""
    code = """
import sys, tensorflow, keras
before = set(sys.modules)
import tfsaliency
new = {name.split(".")[0] for name in set(sys.modules) - before}
assert not new & {"cv2", "matplotlib", "skimage", "PIL"}, new
assert "tfsaliency.zoo" not in sys.modules
import matplotlib.figure
tfsaliency.plot.compare
assert "matplotlib.pyplot" not in set(sys.modules) - before
"""
    environment = {name: value for name, value in os.environ.items() if name not in ("DISPLAY", "MPLBACKEND")}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)


def test_only_public_names_of_keras_and_tensorflow_are_used():
    """Private ones move without notice."""
    package = os.path.dirname(tfs.__file__)
    for folder, _, names in os.walk(package):
        for name in names:
            if name.endswith(".py"):
                with open(os.path.join(folder, name), encoding="utf-8") as file:
                    text = file.read()
                assert "keras.src" not in text
                assert "tensorflow.python" not in text
