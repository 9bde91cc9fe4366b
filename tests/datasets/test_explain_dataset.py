"""Explanations of a dataset are those of the rows, whatever the source, the shards and what stopped a run."""

import dataclasses
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
import warnings

import duckdb
import filelock
import keras
import numpy as np
import pandas
import pyarrow
import pyarrow.parquet as parquet
import pytest
import tensorflow as tf
from keras import layers
from PIL import Image

import tfsaliency as tfs
from tests.datasets.harness import content, network, pictures
from tests.datasets.killing import killed_runs
from tests.harness import quick
from tfsaliency.datasets import sources
from tfsaliency.datasets.arrow import array_of

X = pictures(70)


@pytest.fixture(scope="module")
def model():
    return network()


@pytest.fixture(scope="module")
def explainer(model):
    return tfs.Gradient(model)


def explained(explainer, source, out, target=1, **options):
    return tfs.explain_dataset(explainer, source, out, target, **{"part_rows": 16, "progress": False} | options)


# --- what comes back ---


# Some rows reach no ReLU unit of a random network.
DEAD = pytest.mark.filterwarnings("ignore:The values of the samples .* are zero everywhere")


@DEAD
@pytest.mark.parametrize(
    "make",
    [
        lambda model: tfs.SmoothGrad(model, samples=4),
        lambda model: tfs.IntegratedGradients(model, steps=4, tolerance=10),
        lambda model: tfs.GradCAM(model),
    ],
    ids=["SmoothGrad", "IntegratedGradients", "GradCAM"],
)
def test_maps_are_those_of_explain(make, model, tmp_path):
    explainer = make(model)
    whole, read = explainer.explain(X, 1), explained(explainer, X, tmp_path)[:]
    np.testing.assert_allclose(read.values, whole.values, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(read.scores, whole.scores, rtol=1e-5)
    np.testing.assert_array_equal(read.inputs, X)
    np.testing.assert_array_equal(read.target, whole.target)
    assert (read.method, read.meaning, read.explained) == (whole.method, whole.meaning, whole.explained)
    assert set(read.diagnostics) == set(whole.diagnostics)
    assert {**read.provenance, "seconds": 0} == {**whole.provenance, "seconds": 0}


def test_rows_are_found_by_number_and_by_id(explainer, tmp_path):
    maps = explained(explainer, ({"id": f"row {i}", "inputs": x} for i, x in enumerate(X)), tmp_path)
    whole = explainer.explain(X, 1).values
    assert len(maps) == 70 and maps.ids[:2] == ["row 0", "row 1"] and maps.is_complete
    assert [len(each) for each in maps] == [16, 16, 16, 16, 6]
    for rows in (slice(10, 40), slice(None, None, 7), slice(5, None, -1), -1, 3):
        expected = whole[rows] if isinstance(rows, slice) else whole[rows][None]
        np.testing.assert_allclose(maps[rows].values, expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(maps.of("row 50", "row 2").values, whole[[50, 2]], rtol=1e-4, atol=1e-6)
    for missing in (70, -71, slice(70, 80)):
        with pytest.raises(IndexError, match="There are 70 rows"):
            maps[missing]
    with pytest.raises(KeyError, match="No explanation of 'row 70'"):
        maps.of("row 70")


def test_other_readers_see_the_numbers(explainer, tmp_path):
    maps = explained(explainer, X, tmp_path)
    table = parquet.read_table(tmp_path)
    tensors = table.column("values").combine_chunks()
    assert isinstance(tensors.type, pyarrow.FixedShapeTensorType)
    expected = maps[:].values
    np.testing.assert_array_equal(tensors.to_numpy_ndarray(), expected)
    rows = duckdb.sql(f"select id, \"values\", score, target from '{tmp_path}/*.parquet' order by id").fetchall()
    np.testing.assert_array_equal(np.array([row[1] for row in rows], "float32"), expected.reshape(70, -1))
    assert [row[0] for row in rows] == list(range(70)) and {row[3] for row in rows} == {1}
    np.testing.assert_array_equal(pandas.read_parquet(tmp_path)["score"], maps[:].scores)


def test_explanations_are_measured(explainer, model, tmp_path):
    maps = explained(explainer, X, tmp_path)
    metric = tfs.metrics.Deletion(model, fill=0.0, steps=4)
    measured = np.concatenate([metric.measure(each).values for each in maps])
    np.testing.assert_allclose(measured, metric.measure(explainer.explain(X, 1)).values, rtol=1e-3, atol=1e-5)


def test_without_inputs_they_are_nan(explainer, model, tmp_path):
    maps = explained(explainer, X, tmp_path, keep_inputs=False)
    assert "inputs" not in parquet.read_table(tmp_path).column_names
    assert maps[:3].inputs.shape == (3, 6, 6, 3) and np.isnan(maps[:3].inputs).all()
    with pytest.raises(ValueError, match="The inputs are not in this explanation"):
        tfs.metrics.Deletion(model, fill=0.0).measure(maps[:3])


def test_what_needs_the_inputs_says_how_to_pass_them(explainer, model, tmp_path):
    """What it says is followed."""
    one = explained(explainer, X[:4], tmp_path / "maps", keep_inputs=False)[:]
    for draw in (one.plot, lambda: one.report(tmp_path / "a.html"), lambda: tfs.plot.compare([one, one])):
        with pytest.raises(ValueError, match="The inputs are not in this explanation.*Pass images=x"):
            draw()
    one.plot(images=X[:4])
    tfs.plot.compare([one, one], images=X[:4])
    one.report(tmp_path / "a.html", images=X[:4])
    whole = explainer.explain(X[:4], 1)
    with pytest.raises(ValueError, match=r"Pass dataclasses.replace\(explanation, inputs=x\)"):
        tfs.metrics.Deletion(model).measure(one)
    measured = tfs.metrics.Deletion(model).measure(dataclasses.replace(one, inputs=X[:4]))
    np.testing.assert_allclose(measured.values, tfs.metrics.Deletion(model).measure(whole).values, rtol=1e-5)


def test_values_in_half_the_bytes(model, tmp_path):
    scaled = tfs.Gradient(model)
    rows = X.copy()
    maps = explained(scaled, rows, tmp_path / "half", dtype="float16")
    assert (
        parquet.read_schema(next((tmp_path / "half").glob("*.parquet"))).field("values").type.value_type == "halffloat"
    )
    np.testing.assert_allclose(maps[:].values, scaled.explain(rows, 1).values, rtol=2e-3, atol=1e-6)
    small = tfs.Gradient(model).then(tiny)
    with pytest.warns(UserWarning, match="70 rows could not be explained"):
        lost = explained(small, rows, tmp_path / "lost", dtype="float16")
    assert len(lost) == 0 and "Take dtype='float32'" in lost.bad_rows[0].reason


def tiny(values, inputs):
    return values * 1e-8


# --- sources ---


def same(maps, explainer, x=X, target=1):
    whole = explainer.explain(x, target)
    np.testing.assert_allclose(maps[:].values, whole.values, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(maps[:].target, whole.target)


def test_memory_maps(explainer, tmp_path):
    np.save(tmp_path / "x.npy", X)
    same(explained(explainer, np.load(tmp_path / "x.npy", mmap_mode="r"), tmp_path / "out"), explainer)


def test_keras_datasets_with_labels(explainer, tmp_path):
    labels = np.arange(70) % 3

    class Batches(keras.utils.PyDataset):
        def __len__(self):
            return 10

        def __getitem__(self, number):
            return X[7 * number : 7 * number + 7], labels[7 * number : 7 * number + 7]

    dataset = tf.data.Dataset.from_tensor_slices((X, labels)).batch(9)
    same(explained(explainer, dataset, tmp_path / "tf", "y"), explainer, target=labels)
    same(explained(explainer, Batches(), tmp_path / "keras", "y"), explainer, target=labels)
    same(explained(explainer, X, tmp_path / "list", labels.tolist()), explainer, target=labels)


def test_very_large_arrays_are_compared_by_some_rows(explainer, tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "TELLING_BYTES", X.nbytes // 10)
    explained(explainer, X, tmp_path)
    last, between = X.copy(), X.copy()
    last[-1] += 1
    between[1] += 1
    with pytest.raises(ValueError, match="source/parts"):
        explained(explainer, last, tmp_path)
    assert explained(explainer, between, tmp_path).is_complete


@pytest.mark.parametrize("make", ["dataset", "records", "generator"])
def test_a_stream_of_one_row(make, explainer, tmp_path):
    record = {"id": 0, "inputs": X[0]}
    dataset = tf.data.Dataset.from_tensor_slices(X[:1]).batch(4)
    source = {"dataset": dataset, "records": [record], "generator": (each for each in [record])}[make]
    same(explained(explainer, source, tmp_path), explainer, X[:1])


def test_what_is_chosen_for_each_row(explainer, tmp_path):
    """Two classes each, in parts of 16 rows: the gradient of a difference is that of gradients."""
    labels = np.arange(70) % 3
    other = (labels + 1) % 3
    contrast = tfs.target.contrast(labels.tolist(), other.tolist())
    values = explainer.explain(X, labels).values - explainer.explain(X, other).values
    stream = tf.data.Dataset.from_tensor_slices(X).batch(9)
    for number, source in enumerate((X, stream)):
        maps = explained(explainer, source, tmp_path / str(number), contrast)
        np.testing.assert_allclose(maps[:].values, values, rtol=1e-4, atol=1e-6)
    for source, message in ((X, "holds {} choices for 70 samples"), (stream, "{} choices")):
        for length in (20, 80):
            with pytest.raises(ValueError, match=message.format(length)):
                explained(explainer, source, tmp_path / f"{length} of {message}", np.resize(labels, length))
    with pytest.raises(ValueError, match="holds 1 choices for 70 samples"):
        explained(explainer, X, tmp_path / "one", [1])


def test_columns_of_pandas_are_told_how_to_become_arrays(tmp_path):
    table, model = pandas.DataFrame({"a": [1.0, 2.0], "b": [3.0, 4.0]}), table_model()
    for source, received in ((table, "DataFrame"), (dict(table), "a dict of Series")):
        with pytest.raises(ValueError, match=rf"df\[names\].to_numpy\(\) for one table. Received: {received}"):
            explained(tfs.Gradient(model), source, tmp_path)
    x = table[["a", "b"]].to_numpy()
    same(explained(tfs.Gradient(model), x, tmp_path), tfs.Gradient(model), x)


def test_several_targets_choose_for_each_row(explainer, tmp_path):
    labels = np.arange(70) % 3
    several = tfs.target.each([labels.tolist(), 1])
    maps = explained(explainer, X, tmp_path / "a", several)
    expected = explainer.explain(X, several)
    np.testing.assert_allclose(maps[:].values, expected.values, rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(maps[:].target, expected.target)
    with pytest.raises(ValueError, match="holds 16 choices for 70 samples"):
        explained(explainer, X, tmp_path / "b", tfs.target.each([labels[:16].tolist(), 1]))


def test_baselines_of_one_batch_are_refused_and_the_advice_works(model, tmp_path):
    shifted = X - 0.1
    explainer = tfs.IntegratedGradients(model, tfs.baselines.per_sample(shifted), steps=4, tolerance=10)
    for asked in (explainer, tfs.SmoothGrad(explainer, samples=2)):
        with pytest.raises(ValueError, match="holds a baseline for each sample of one batch"):
            explained(asked, X, tmp_path)
    assert not [*tmp_path.iterdir()]
    maps = explained(dataclasses.replace(explainer, baseline=lambda x: x - 0.1), X, tmp_path)
    np.testing.assert_allclose(maps[:].values, explainer.explain(X, 1).values, rtol=1e-4, atol=1e-6)


def table_model():
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input((2,)), layers.Dense(4, "tanh"), layers.Dense(2)])


def test_numbers_of_parquet_keep_their_type(tmp_path):
    """Large ids and times would be rounded in float32."""
    ids = np.random.default_rng(0).integers(10**8, 10**9, size=(6, 3))
    given = keras.Input((3,), dtype="int64")
    vectors = layers.Embedding(16, 3)(layers.Hashing(16)(given))
    model = keras.Model(given, layers.Dense(2)(layers.Flatten()(vectors)))
    pandas.DataFrame({"inputs": list(ids)}).to_parquet(tmp_path / "ids.parquet")
    maps = explained(tfs.Gradient(model), tmp_path / "ids.parquet", tmp_path / "maps")
    np.testing.assert_allclose(maps[:].scores, model(ids)[:, 1], rtol=1e-5)
    np.testing.assert_array_equal(maps[:].inputs, ids)
    for dtype in ("float32", "float64", "int16"):
        column = pyarrow.array([[1, 2], [3]], pyarrow.list_(pyarrow.from_numpy_dtype(dtype)))
        assert array_of(pyarrow.chunked_array([column])).dtype == dtype


@pytest.mark.filterwarnings("ignore:1 rows could not be explained")
def test_parts_of_other_types_are_read_together(tmp_path):
    """Whole numbers in one part alone, and a null that makes floats of a column."""
    model = table_model()
    rows = np.array([[1, 2], [3, 4], [0.5, 2], [1, 0.25]])
    records = [{"id": number, "inputs": row.tolist()} for number, row in enumerate(rows)]
    records[0]["inputs"], records[1]["inputs"] = [1, 2], [3, 4]
    maps = explained(tfs.Gradient(model), records, tmp_path / "records", part_rows=2)
    same(maps, tfs.Gradient(model), rows.astype("float32"))
    np.testing.assert_array_equal(maps[:].inputs, rows)

    numbers = pandas.DataFrame({"inputs": pandas.array([1, 2, 3, None, 5, 6], dtype="Int64")})
    numbers.to_parquet(tmp_path / "null.parquet")
    single = keras.Sequential([keras.Input((1,), dtype="int32"), layers.Embedding(9, 3), layers.Flatten()])
    maps = explained(tfs.Gradient(single), tmp_path / "null.parquet", tmp_path / "null", part_rows=2)
    assert [row.id for row in maps.bad_rows] == [3]
    np.testing.assert_array_equal(np.ravel(maps[:].inputs), [1, 2, 3, 5, 6])


@pytest.mark.filterwarnings("ignore:2 rows could not be explained")
def test_lists_of_parquet_that_miss_something_are_bad_rows(tmp_path):
    lists = pyarrow.array([[1, 2], None, [3, None], [4, 5]], pyarrow.list_(pyarrow.int64()))
    parquet.write_table(pyarrow.table({"inputs": lists}), tmp_path / "lists.parquet")
    maps = explained(tfs.Gradient(table_model()), tmp_path / "lists.parquet", tmp_path / "maps")
    assert [row.id for row in maps.bad_rows] == [1, 2]
    np.testing.assert_array_equal(maps[:].inputs, [[1, 2], [4, 5]])


def test_texts_of_any_length_are_read_together(tmp_path):
    model = keras.Sequential([keras.Input((1,), dtype="string"), layers.StringLookup(vocabulary=["a", "long word"])])
    model.add(layers.Embedding(3, 2))
    model.add(layers.Flatten())
    texts = [["a"], ["a"], ["long word"], ["another"]]
    records = [{"id": number, "inputs": np.array(text)} for number, text in enumerate(texts)]
    maps = explained(tfs.Gradient(model), records, tmp_path, part_rows=2)
    np.testing.assert_array_equal(maps[:].inputs, texts)


@DEAD
def test_parts_of_texts_without_words_are_read_together(tmp_path):
    model = keras.Sequential([keras.Input((1,), dtype="string")])
    model.add(layers.TextVectorization(vocabulary=["a", "b"], output_mode="count"))
    model.add(layers.Dense(2))
    maps = explained(tfs.DeepLIFT(model), np.array([["a b"], ["b"], [""], [""]]), tmp_path, part_rows=2, strict=True)
    assert maps[:].tokens.tolist() == [["a", "b"], ["b", ""], ["", ""], ["", ""]]
    np.testing.assert_array_equal(maps[2:].values, [[0.0], [0.0]])


def texts_model(length=None, mask=False):
    ids = keras.Input((length,), dtype="int32")
    vectors = layers.Embedding(20, 4, mask_zero=mask)(ids)
    return keras.Model(ids, layers.Dense(2)(layers.GlobalAveragePooling1D()(vectors)))


@pytest.mark.filterwarnings("ignore:2 rows could not be explained")
@pytest.mark.parametrize("kind", ["float64", "Int64"])
def test_rows_whose_label_is_missing_are_bad_rows(kind, explainer, tmp_path):
    labels = [0, 1, None, 2, 1, 0, None, 1]
    frame = pandas.DataFrame({"inputs": X[:8].reshape(8, -1).tolist(), "label": labels}).astype({"label": kind})
    model = keras.Sequential([keras.Input((X[0].size,)), layers.Reshape(X.shape[1:]), explainer.model])
    frame.to_parquet(tmp_path / "rows.parquet")
    maps = explained(tfs.Gradient(model), tmp_path / "rows.parquet", tmp_path / "maps", "label", part_rows=2)
    assert [row.id for row in maps.bad_rows] == [2, 6]
    assert maps.bad_rows[0].reason == "Its label 'label' is missing."
    assert maps[:].target.tolist() == [0, 1, 2, 1, 0, 1]


def test_zeros_that_fill_up_lists_are_masked_or_told(tmp_path):
    texts = [[3, 4, 5], [6], [7, 8, 9, 10], [11]]
    pandas.DataFrame({"inputs": texts}).to_parquet(tmp_path / "texts.parquet")
    masked, read, fixed = texts_model(mask=True), texts_model(), texts_model(4)
    maps = explained(tfs.Gradient(masked), tmp_path / "texts.parquet", tmp_path / "masked")
    np.testing.assert_allclose(maps[:].scores, [masked(np.array([text]))[0, 1] for text in texts], rtol=1e-5, atol=1e-7)
    with pytest.raises(ValueError, match=r"which the model reads: the score of the row 1 is .* as it is with part_r"):
        explained(tfs.Gradient(read), tmp_path / "texts.parquet", tmp_path / "read")
    with pytest.raises(ValueError, match=r"and the model takes rows of one length. Fill the lists up"):
        explained(tfs.Gradient(fixed), tmp_path / "texts.parquet", tmp_path / "fixed")

    maps = explained(tfs.Gradient(read), tmp_path / "texts.parquet", tmp_path / "alone", part_rows=1)
    scores = [explanation.scores[0] for explanation in maps]
    np.testing.assert_allclose(scores, [read(np.array([text]))[0, 1] for text in texts], rtol=1e-5, atol=1e-7)


@pytest.mark.filterwarnings("ignore:2 rows could not be explained")
def test_the_shortest_list_may_be_a_bad_row(tmp_path):
    frame = pandas.DataFrame({"inputs": [[], [6], [7, 8, 9], [4, 5]], "label": [0, 7, 1, 0]})
    frame.to_parquet(tmp_path / "texts.parquet")
    masked = texts_model(mask=True)
    maps = explained(tfs.Gradient(masked), tmp_path / "texts.parquet", tmp_path / "maps", "label")
    assert {row.id: row.reason[:20] for row in maps.bad_rows} == {0: "One of its lists is ", 1: "The model has the cl"}
    scores = [masked(np.array([frame["inputs"][row]]))[0, frame["label"][row]] for row in (2, 3)]
    np.testing.assert_allclose(maps[:].scores, scores, rtol=1e-5)


def test_lists_of_lists_of_several_lengths_are_told(tmp_path):
    pandas.DataFrame({"inputs": [[[0.1, 0.2], [0.3]], [[0.5], [0.6]]]}).to_parquet(tmp_path / "rows.parquet")
    with pytest.raises(ValueError, match="lists of several lengths, which are no array. Fill them up"):
        explained(tfs.Gradient(table_model()), tmp_path / "rows.parquet", tmp_path / "maps")


def test_rows_of_several_shapes_are_told(tmp_path):
    ids = keras.Input((None,), dtype="int32")
    model = keras.Model(ids, layers.Dense(2)(layers.GRU(3)(layers.Embedding(20, 4, mask_zero=True)(ids))))
    texts = [[3, 4, 5], [6], [7, 8, 9, 10], [11]]
    pandas.DataFrame({"inputs": texts}).to_parquet(tmp_path / "texts.parquet")
    maps = explained(tfs.Gradient(model), tmp_path / "texts.parquet", tmp_path / "maps", part_rows=2)
    with pytest.raises(ValueError, match=r"'values' of several shapes: \(3,\), \(4,\).*for explanation in maps"):
        maps[:]
    with pytest.raises(ValueError, match=r"parts with rows of \(3,\) and of \(4,\). Fill up the inputs"):
        maps.to_zarr(tmp_path / "maps.zarr")
    assert not (tmp_path / "maps.zarr").exists()
    scores = np.concatenate([explanation.scores for explanation in maps])
    np.testing.assert_allclose(scores, [model(np.array([text]))[0, 1] for text in texts], rtol=1e-5)


def test_texts_of_a_keras_dataset(tmp_path):
    """In any letters, as arrays of objects hold them."""
    texts = np.array([["ein schöner film"], ["ein schlechter film"]], dtype=object)

    class Texts(keras.utils.PyDataset):
        def __len__(self):
            return 1

        def __getitem__(self, number):
            return texts, np.array([0, 1])

    words = layers.TextVectorization(output_sequence_length=3)
    words.adapt(texts[:, 0])
    pooled = [layers.Embedding(9, 3), layers.Flatten(), layers.Dense(2)]
    model = keras.Sequential([keras.Input((1,), dtype="string"), words, *pooled])
    maps = explained(tfs.Gradient(model), Texts(), tmp_path, "y")
    assert maps[:].tokens[0].tolist() == ["ein", "schöner", "film"]
    np.testing.assert_allclose(maps[:].values, tfs.Gradient(model).explain(texts, [0, 1]).values, rtol=1e-5)


LABELS = np.arange(70) % 3
UNUSABLE = {
    "labels of two axes": (LABELS[:, None], lambda x, y: (x, tf.cast(tf.reshape(y, [-1]), tf.int32))),
    "one-hot labels": (np.eye(3)[LABELS], lambda x, y: (x, tf.argmax(y, axis=-1))),
    "labels between classes": (LABELS + 0.5, lambda x, y: (x, tf.cast(tf.reshape(y, [-1]), tf.int32))),
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_labels_that_are_no_classes_are_told_how_to_become_some(name, explainer, tmp_path):
    labels, advice = UNUSABLE[name]
    dataset = tf.data.Dataset.from_tensor_slices((X, labels)).batch(9)
    source = advice.__code__.co_names
    with pytest.raises(ValueError, match="The column 'y' has a class for each row") as raised:
        explained(explainer, dataset, tmp_path / "wrong", "y")
    assert all(f"{each}" in str(raised.value) for each in source)
    same(explained(explainer, dataset.map(advice), tmp_path / "right", "y"), explainer, target=LABELS)


def test_rows_that_are_no_arrays_of_one_shape_are_told_how_to_become_some(tmp_path):
    embedded = [layers.Embedding(9, 3, mask_zero=True), layers.GlobalAveragePooling1D(), layers.Dense(2)]
    explainer = tfs.Gradient(keras.Sequential([keras.Input((None,), dtype="int32"), *embedded]))
    ragged = tf.data.Dataset.from_tensors(tf.ragged.constant([[1, 2, 3], [4]]))
    with pytest.raises(ValueError, match=r"a RaggedTensor. Fill them up: dataset.map\(lambda x: x.to_tensor"):
        explained(explainer, ragged, tmp_path / "wrong")
    maps = explained(explainer, ragged.map(lambda x: x.to_tensor(shape=(None, 128))), tmp_path / "right")
    expected = explainer.explain(np.array([[1, 2, 3], [4, 0, 0]]), 1).values
    np.testing.assert_allclose(maps[:].values[:, :3], expected, rtol=1e-5)
    alone = tf.data.Dataset.from_tensor_slices(np.array([[1, 2, 3], [4, 5, 6]]))
    for dataset in (alone, alone.unbatch(), tf.data.Dataset.zip((alone, tf.data.Dataset.range(2)))):
        with pytest.raises(ValueError, match=r"Received: a row alone. Pass dataset.batch\(32\)"):
            explained(explainer, dataset, tmp_path / "alone")


def test_parquet_of_inputs(explainer, tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    for number in range(2):
        rows = slice(35 * number, 35 * number + 35)
        tensors = pyarrow.FixedShapeTensorArray.from_numpy_ndarray(X[rows])
        table = pyarrow.table(
            {"id": [f"r{i}" for i in range(70)][rows], "picture": tensors, "class": np.arange(70)[rows] % 3}
        )
        parquet.write_table(table, source / f"{number}.parquet", row_group_size=10)
    maps = explained(explainer, source, tmp_path / "out", "class", inputs="picture")
    same(maps, explainer, target=np.arange(70) % 3)
    assert maps.ids[34:36] == ["r34", "r35"]
    with pytest.raises(ValueError, match=r"no column 'inputs'. It has: id, picture, class"):
        explained(explainer, source, tmp_path / "other")


def test_pictures_of_a_folder(explainer, tmp_path):
    source = tmp_path / "photos" / "deep"
    source.mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 256, (5, 6, 6, 3), dtype="uint8")
    for number, each in enumerate(pixels):
        Image.fromarray(each).save(source / f"{number}.png")
    (source / "2.png").write_bytes(b"no picture")
    with pytest.warns(UserWarning, match=r"1 rows could not be explained, the first, 'deep/2.png', because: .*PNG"):
        maps = explained(explainer, tmp_path / "photos", tmp_path / "out", preprocess=lambda rgb: rgb / 255)
    assert maps.ids == [f"deep/{i}.png" for i in (0, 1, 3, 4)] and maps.is_complete
    same(maps, explainer, pixels[[0, 1, 3, 4]] / np.float32(255))
    with pytest.raises(ValueError, match="None of the first 5 rows .* The first, 'deep/0.png': division by zero"):
        explained(explainer, tmp_path / "photos", tmp_path / "wrong", preprocess=lambda rgb: 1 / 0)
    by_glob = tfs.explain_dataset(
        explainer, f"{source}/[01].png", tmp_path / "glob", 1, preprocess=lambda rgb: rgb / 255, progress=False
    )
    assert by_glob.ids == ["0.png", "1.png"]


def test_texts_and_several_parts(tmp_path):
    words = keras.layers.TextVectorization()
    words.adapt(["a good film", "a bad film that never ends"])
    text, age = keras.Input((), dtype="string", name="text"), keras.Input((2,), name="age")
    vectors = keras.layers.GlobalAveragePooling1D()(keras.layers.Embedding(20, 4, mask_zero=True)(words(text)))
    model = keras.Model({"text": text, "age": age}, keras.layers.Dense(1)(keras.layers.Concatenate()([vectors, age])))
    texts = np.array(["a good film", "a bad film that never ends", "good"] * 4)
    inputs = {"text": texts, "age": np.random.default_rng(0).normal(size=(12, 2)).astype("float32")}
    explainer = tfs.GradientTimesInput(model)
    maps = explained(explainer, inputs, tmp_path, None, part_rows=2)
    for row, length in enumerate((3, 6, 1)):
        alone = explainer.explain({name: part[[row]] for name, part in inputs.items()})
        read = maps[row]
        assert read.tokens["text"].tolist() == alone.tokens["text"].tolist() and read.inputs["text"] == texts[row]
        np.testing.assert_allclose(read.values["text"][:, :length], alone.values["text"][:, :length], atol=1e-6)
        np.testing.assert_allclose(read.values["age"], alone.values["age"], atol=1e-6)
    assert maps[:].tokens["text"].shape == (12, 6)


@DEAD
def test_several_explainers_read_the_source_once(model, tmp_path):
    read = []
    rows = ({"id": read.append(i) or i, "inputs": x} for i, x in enumerate(X))
    both = explained({"gradient": tfs.Gradient(model), "cam": tfs.GradCAM(model)}, rows, tmp_path)
    assert read == list(range(70))
    for name, explainer in {"gradient": tfs.Gradient(model), "cam": tfs.GradCAM(model)}.items():
        same(both[name], explainer)
        assert tfs.read_explanations(tmp_path / name).is_complete


def test_zarr(explainer, tmp_path):
    zarr = pytest.importorskip("zarr")
    maps = explained(explainer, X, tmp_path / "maps")
    maps.to_zarr(tmp_path / "maps.zarr")
    np.testing.assert_array_equal(zarr.open_array(tmp_path / "maps.zarr")[:], maps[:].values)
    with pytest.raises(FileExistsError):
        maps.to_zarr(tmp_path / "maps.zarr")


# --- bad rows ---


def test_bad_rows_are_told_and_the_rest_goes_on(explainer, tmp_path):
    rows = X.copy()
    rows[[3, 40]] = np.nan
    with pytest.warns(UserWarning, match="2 rows could not be explained, the first, 3, because: .* NaN"):
        maps = explained(explainer, rows, tmp_path / "some")
    assert [row.id for row in maps.bad_rows] == [3, 40] and len(maps) == 68 and maps.is_complete
    same(maps, explainer, np.delete(X, [3, 40], axis=0))
    with pytest.raises(KeyError, match="NaN or infinity"):
        maps.of(40)
    with pytest.raises(ValueError, match="The row 3 cannot be explained: .* make the same call again.* without strict"):
        explained(explainer, rows, tmp_path / "strict", strict=True)


def test_a_file_in_the_place_of_the_folder_is_told_so(explainer, tmp_path):
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "file" / "maps"):
        with pytest.raises(NotADirectoryError, match="file is a file. Give the path of a folder"):
            explained(explainer, X, place)


def test_rows_at_which_the_model_fails_are_found(tmp_path):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.Input((4,)), keras.layers.Embedding(9, 3), keras.layers.Flatten(), keras.layers.Dense(2)]
    )
    ids = np.random.default_rng(0).integers(0, 9, (40, 4))
    ids[[17, 18, 33], 2] = 99
    explainer = tfs.Gradient(model)
    with pytest.warns(UserWarning, match="3 rows could not be explained, the first, 17, because: An id of the inputs"):
        maps = explained(explainer, ids, tmp_path / "ids")
    assert [row.id for row in maps.bad_rows] == [17, 18, 33]
    same(maps, explainer, np.delete(ids, [17, 18, 33], axis=0))


def test_a_wrong_call_is_no_bad_row(explainer, tmp_path):
    with pytest.raises(ValueError, match="The model has the classes 0 to 2. Received: target 7"):
        explained(explainer, X, tmp_path / "target", 7)
    with pytest.raises(ValueError, match="The source has no column 'label' for the target. Its columns: none"):
        explained(explainer, X, tmp_path / "column", "label")
    with pytest.raises(ValueError, match="Each row of an iterable is a dict with 'id'. Received: the keys"):
        explained(explainer, [{"inputs": X[0]}], tmp_path / "id")
    for wrong in ({"shard": (2, 2)}, {"part_rows": 0}, {"dtype": "int8"}):
        with pytest.raises(ValueError, match="Received"):
            explained(explainer, X, tmp_path / "option", **wrong)


def test_a_row_of_another_form_is_told(explainer, tmp_path):
    rows = [{"id": i, "inputs": x} for i, x in enumerate(X[:20])]
    rows[4]["inputs"] = X[0, :5]
    with pytest.warns(UserWarning, match="another form"):
        maps = explained(explainer, rows, tmp_path)
    assert [row.id for row in maps.bad_rows] == [4] and len(maps) == 19


# --- going on ---


def test_shards_make_the_same_bytes(explainer, tmp_path):
    explained(explainer, X, tmp_path / "one")
    for index in (2, 0, 1):
        maps = explained(explainer, X, tmp_path / "three", shard=(index, 3))
        assert maps.is_complete == (index == 1)
    assert content(tmp_path / "one") == content(tmp_path / "three")


class BrokenError(RuntimeError):
    pass


def test_a_stopped_run_goes_on(explainer, tmp_path):
    def rows(stop, read):
        for i, x in enumerate(X):
            if i == stop:
                raise BrokenError
            read.append(i)
            yield {"id": i, "inputs": x}

    explained(explainer, rows(None, []), tmp_path / "whole")
    with pytest.raises(BrokenError):
        explained(explainer, rows(50, []), tmp_path / "stopped")
    maps = tfs.read_explanations(tmp_path / "stopped")
    assert 16 <= len(maps) <= 48 and not maps.is_complete
    explained(explainer, rows(None, []), tmp_path / "stopped")
    assert content(tmp_path / "whole") == content(tmp_path / "stopped")


def test_another_call_is_refused(explainer, model, tmp_path):
    explained(explainer, X, tmp_path)
    before = content(tmp_path)
    other = network()
    other.layers[0].bias.assign([1.0, 0.0, 0.0, 0.0])
    changed = X.copy()
    changed[37] += 1
    cases = {
        r'method was "Gradient" and is "SmoothGrad\(Gradient, samples=50': (tfs.SmoothGrad(model), X, 1),
        "explainer/model/fingerprint was": (tfs.Gradient(other), X, 1),
        "target was 1 and is 2": (explainer, X, 2),
        "source/parts/0/2 was": (explainer, changed, 1),
    }
    for message, (asked, source, target) in cases.items():
        with pytest.raises(ValueError, match=message):
            explained(asked, source, tmp_path, target)
    with pytest.raises(ValueError, match="keep_inputs was true and is false"):
        explained(explainer, X, tmp_path, keep_inputs=False)
    assert content(tmp_path) == before


READ = {"class": 0, "baseline": np.zeros((6, 6, 3), "float32")}


def of_a_global(z):
    return z[:, READ["class"]]


def of_a_helper(z):
    return of_a_global(z)


def baseline_of_a_global(x):
    return tf.zeros_like(x) + READ["baseline"]


def test_what_a_function_reads_from_its_module_is_told_apart(model, tmp_path, monkeypatch):
    """As a function in a notebook reads what was computed in another cell."""
    explained(tfs.Gradient(model), X, tmp_path / "target", of_a_global)
    explained(tfs.Gradient(model), X, tmp_path / "helper", of_a_helper)
    explained(tfs.DeepLIFT(model, baseline_of_a_global), X, tmp_path / "baseline")
    assert explained(tfs.Gradient(model), X, tmp_path / "target", of_a_global).is_complete
    monkeypatch.setitem(READ, "class", 2)
    with pytest.raises(ValueError, match="target/reads/READ/class was 0 and is 2"):
        explained(tfs.Gradient(model), X, tmp_path / "target", of_a_global)
    with pytest.raises(ValueError, match="target/calls/.*of_a_global/reads/READ/class was 0 and is 2"):
        explained(tfs.Gradient(model), X, tmp_path / "helper", of_a_helper)
    monkeypatch.setitem(READ, "baseline", np.ones((6, 6, 3), "float32"))
    with pytest.raises(ValueError, match="explainer/baseline/reads/READ/baseline/2 was"):
        explained(tfs.DeepLIFT(model, baseline_of_a_global), X, tmp_path / "baseline")


LOG = logging.getLogger("a user's")
DATES = np.array(["2020-01-01"], "datetime64[D]")
NAMES, STOPS, KEY = np.array([b"a", b"bc"]), {"the", "of"}, b"key"


def baseline_of_all_kinds(x):
    LOG.warning("asked about %s", len(DATES) + len(NAMES) + len(KEY))
    return x * 0 + len(STOPS)


def test_the_same_call_goes_on_whatever_a_function_reads(model, tmp_path, monkeypatch):
    """What an object holds, such as a logger, changes by itself. A set that has changed is told."""
    explained(tfs.DeepLIFT(model, baseline_of_all_kinds), X, tmp_path)
    assert explained(tfs.DeepLIFT(model, baseline_of_all_kinds), X, tmp_path).is_complete
    monkeypatch.setattr(sys.modules[__name__], "STOPS", {"the"})
    with pytest.raises(ValueError, match="explainer/baseline/reads/STOPS"):
        explained(tfs.DeepLIFT(model, baseline_of_all_kinds), X, tmp_path)


def test_other_labels_and_other_numbers_in_a_file_are_told_apart(explainer, tmp_path):
    for labels in (LABELS, LABELS + 1):
        table = pyarrow.table({"inputs": pyarrow.FixedShapeTensorArray.from_numpy_ndarray(X), "label": labels})
        parquet.write_table(table, tmp_path / "in.parquet", compression="none", use_dictionary=False)
        dataset = tf.data.Dataset.from_tensor_slices((X, labels % 3)).batch(9)
        sources = {tmp_path / "file": (tmp_path / "in.parquet", 1), tmp_path / "stream": (dataset, "y")}
        for out, (source, target) in sources.items():
            if labels is LABELS:
                explained(explainer, source, out, target)
            else:
                with pytest.raises(ValueError, match="source/footers|target/first"):
                    explained(explainer, source, out, target)


def test_options_that_are_arrays_or_functions_are_told_apart(model, tmp_path):
    baseline = np.zeros((6, 6, 3), "float32")
    explained(tfs.DeepLIFT(model, baseline), X, tmp_path / "array")
    with pytest.raises(ValueError, match="explainer/baseline.* was .* and is"):
        explained(tfs.DeepLIFT(model, baseline + 1), X, tmp_path / "array")

    def scaled(by):
        return lambda logits: by * logits[:, 0]

    def recursive(logits, depth=1):
        return recursive(logits, depth - 1) if depth else logits[:, 0]

    explained(tfs.Gradient(model), X[:16], tmp_path / "recursive", recursive)
    explained(tfs.Gradient(model), X, tmp_path / "function", scaled(1.0))
    explained(tfs.Gradient(model), X, tmp_path / "function", scaled(1.0))
    with pytest.raises(ValueError, match="target/closes_over/by was 1.0 and is 2.0"):
        explained(tfs.Gradient(model), X, tmp_path / "function", scaled(2.0))


# --- faults ---


def test_a_damaged_part_is_explained_again(explainer, tmp_path):
    maps = explained(explainer, X, tmp_path)
    before, part = content(tmp_path), tmp_path / "part-00000002.parquet"
    whole = part.read_bytes()
    part.write_bytes(whole[: len(whole) // 2])
    with pytest.warns(UserWarning, match="part-00000002.parquet is damaged: its rows are explained again"):
        explained(explainer, X, tmp_path)
    assert content(tmp_path) == before
    middle = len(whole) // 3
    part.write_bytes(whole[:middle] + bytes([whole[middle] ^ 255]) + whole[middle + 1 :])
    with pytest.raises(ValueError, match="part-00000002.parquet is damaged: .*Delete it and repeat the call"):
        maps[:]
    part.unlink()
    explained(explainer, X, tmp_path)
    assert content(tmp_path) == before


def test_a_damaged_manifest_is_told_and_written_again(explainer, model, tmp_path):
    explained(explainer, X, tmp_path)
    before, manifest = content(tmp_path), tmp_path / "_manifest.json"
    record = json.loads(manifest.read_text())
    for text in (manifest.read_text()[:50], json.dumps(record | {"run": record["run"] | {"part_rows": 8}}), "[]"):
        manifest.write_text(text)
        for ask in (lambda: tfs.read_explanations(tmp_path), lambda: explained(explainer, X, tmp_path)):
            with pytest.raises(ValueError, match="_manifest.json is damaged.*delete it and repeat the call"):
                ask()
    manifest.unlink()
    with pytest.raises(ValueError, match="belongs to another call, and the manifest"):
        explained(tfs.SmoothGrad(model), X, tmp_path)
    explained(explainer, X, tmp_path)
    assert content(tmp_path) == before


def test_two_runs_into_one_folder(explainer, tmp_path):
    explained(explainer, X, tmp_path, shard=(0, 2))
    with filelock.FileLock(tmp_path / ".lock-0-of-2"):
        for shard in ((0, 2), (0, 1), (1, 3)):
            with pytest.raises(RuntimeError, match="Another process is writing the same rows"):
                explained(explainer, X, tmp_path, shard=shard)
        explained(explainer, X, tmp_path, shard=(1, 2))
    assert tfs.read_explanations(tmp_path).is_complete


def test_a_full_disk_leaves_whole_parts(explainer, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", disk], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("a small disk cannot be mounted here")
    try:
        with pytest.raises(
            OSError, match="No space left on device. What is written is whole: make the same call again"
        ):
            explained(explainer, X, disk / "out")
        assert not list((disk / "out").rglob("*.unfinished"))
        read = tfs.read_explanations(disk / "out")
        assert 0 < len(read) < 70 and np.isfinite(read[:].values).all()
        subprocess.run(["mount", "-o", "remount,size=4m", disk], check=True)
        explained(explainer, X, disk / "out")
        explained(explainer, X, tmp_path / "whole")
        assert content(disk / "out") == content(tmp_path / "whole")
    finally:
        subprocess.run(["umount", disk], check=True)


def test_what_a_killed_run_had_begun_to_write_is_removed(explainer, tmp_path):
    explained(explainer, X, tmp_path, shard=(1, 2))
    for name in (".part-00000000.parquet.1f.unfinished", ".part-00000001.parquet.2f.unfinished"):
        (tmp_path / name).write_bytes(b"half")
    explained(explainer, X, tmp_path, shard=(0, 2))
    assert [path.name for path in tmp_path.glob("*.unfinished")] == [".part-00000001.parquet.2f.unfinished"]


def test_a_folder_that_cannot_be_written(explainer, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError):
        explained(explainer, X, tmp_path / "file")
    with pytest.raises(OSError):
        explained(explainer, X, "/proc/maps.parquet")


def test_nothing_to_read(tmp_path):
    with pytest.raises(FileNotFoundError, match="no _manifest.json"):
        tfs.read_explanations(tmp_path)


@pytest.mark.parametrize("workers", quick([1, 3], 3))
def test_killed_runs_end_with_the_same_bytes(workers, tmp_path):
    """A few kills; ``python -m tests.datasets.killing 50`` does more."""
    assert max(killed_runs(tmp_path, workers, 3)) <= 1


@pytest.fixture
def interruptible():
    """A shell that starts tests in the background makes them ignore interrupts."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_says_how_to_go_on(explainer, tmp_path):
    def rows():
        for i, x in enumerate(X):
            if i == 40:
                os.kill(os.getpid(), 2)
                time.sleep(0.2)
            yield {"id": i, "inputs": x}

    with pytest.raises(KeyboardInterrupt, match="interrupted. What is written is whole: make the same call again"):
        explained(explainer, rows(), tmp_path)
    assert not list(tmp_path.rglob("*.unfinished"))
    explained(explainer, ({"id": i, "inputs": x} for i, x in enumerate(X)), tmp_path)
    assert tfs.read_explanations(tmp_path).is_complete


class Records:
    """Rows, the second of which comes when it may."""

    def __init__(self, wait):
        self.wait = wait

    def __iter__(self):
        for number, picture in enumerate(pictures(2)):
            if number:
                self.wait()
            yield {"id": number, "inputs": picture}


def test_runs_that_overlap_leave_warnings_as_they_were(tmp_path):
    """The run that ended last left the hook of the other one, and each kind of warning was shown once for ever."""
    model, shown = network(), warnings.showwarning
    is_second_running = threading.Event()

    def run(name, wait):
        tfs.explain_dataset(tfs.Gradient(model), Records(wait), tmp_path / name, target=0)

    def end_after_the_first():
        is_second_running.set()
        first.join(60)

    first = threading.Thread(target=run, args=("first", lambda: is_second_running.wait(60)))
    second = threading.Thread(target=run, args=("second", end_after_the_first))
    for each in (first, second):
        each.start()
    for each in (first, second):
        each.join(120)
    assert all(tfs.read_explanations(tmp_path / name).is_complete for name in ("first", "second"))
    assert warnings.showwarning is shown


def test_a_model_in_place_of_an_explainer_is_refused(explainer, tmp_path):
    with pytest.raises(ValueError, match=r"explain_dataset takes an explainer, as Gradient\(model\)"):
        explained(explainer.model, X, tmp_path / "maps")
    assert not list(tmp_path.iterdir())
