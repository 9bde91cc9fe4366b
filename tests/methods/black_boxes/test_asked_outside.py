"""Black boxes: what a function may be, what it may answer, and how often it is asked."""

import os
import subprocess
import sys
import weakref

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from keras import layers

import tfsaliency as tfs
from tests import reference
from tests.harness import close

X = np.random.default_rng(5).normal(size=(3, 6, 7, 2)).astype("float32")
WEIGHTS = 0.1 * np.random.default_rng(0).normal(size=(6 * 7 * 2, 4)).astype("float32")


def numbers(x):
    return np.tanh(np.reshape(x, (len(x), -1)) @ WEIGHTS)


@pytest.fixture(scope="module")
def model():
    model = keras.Sequential(
        [keras.Input((6, 7, 2)), layers.Flatten(), layers.Dense(4, activation="tanh", use_bias=False)]
    )
    model.set_weights([WEIGHTS])
    return model


def in_tf_keras():
    of = tf_keras.layers
    model = tf_keras.Sequential([of.InputLayer((6, 7, 2)), of.Flatten(), of.Dense(4, "tanh", use_bias=False)])
    model.set_weights([WEIGHTS])
    return model


class Module(tf.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    @tf.function(input_signature=[tf.TensorSpec([None, 6, 7, 2])])
    def __call__(self, x):
        return self.model(x)


class Table:
    """As a data frame: it becomes an array when it is asked."""

    def __init__(self, values):
        self.values = values

    def __array__(self, dtype=None, copy=None):
        return np.array(self.values, dtype)


def saved(model, folder):
    tf.saved_model.save(Module(model), str(folder))
    return tf.saved_model.load(str(folder))


FUNCTIONS = {
    "numpy": lambda model, folder: numbers,
    "call": lambda model, folder: lambda x: model(x),
    "bound call": lambda model, folder: model.__call__,
    "tf_keras": lambda model, folder: lambda x: in_tf_keras()(x),
    "predict of tf_keras": lambda model, folder: in_tf_keras().predict,
    "predict": lambda model, folder: model.predict,
    "predict on batch": lambda model, folder: model.predict_on_batch,
    "function": lambda model, folder: tf.function(lambda x: model(x, training=False)),
    "layer": lambda model, folder: keras.layers.Lambda(lambda x: model(x), dtype="float32"),
    "module": lambda model, folder: Module(model),
    "saved": saved,
    "signature": lambda model, folder: (
        lambda x: saved(model, folder).signatures["serving_default"](x=tf.constant(x))["output_0"]
    ),
    "list": lambda model, folder: lambda x: numbers(x).tolist(),
    "rows": lambda model, folder: lambda x: [numbers(row[None])[0] for row in x],
    "table": lambda model, folder: lambda x: Table(numbers(x)),
    "doubles": lambda model, folder: lambda x: numbers(x).astype("float64"),
    "writes": lambda model, folder: lambda x: numbers(np.multiply(x, 1, out=x)) + np.multiply(x, 0, out=x).sum(),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_whatever_answers_for_arrays_is_explained(name, model, tmp_path):
    function = FUNCTIONS[name](model, tmp_path)
    expected = reference.occlusion(X, lambda x: numbers(x)[:, 2], (3, 3), (2, 2), 0.1)
    explanation = tfs.Occlusion(function, 3, 2, 0.1).explain(X, 2, batch_size=8)
    np.testing.assert_allclose(explanation.values[..., 0], expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(explanation.scores, numbers(X)[:, 2], rtol=1e-5)


ASKING = {
    "RISE": lambda f: tfs.RISE(f, 50, cells=3),
    "SmoothGrad": lambda f: tfs.SmoothGrad(tfs.Occlusion(f, 3, 3), samples=5),
    "VarGrad": lambda f: tfs.VarGrad(tfs.RISE(f, 9), samples=3),
    "then": lambda f: tfs.Occlusion(f, 3).then(tfs.transforms.absolute),
    "baselines": lambda f: tfs.Occlusion(f, 3, baseline=tfs.baselines.uniform(0, 1, 3)),
    "IntegratedGradients": lambda f: tfs.IntegratedGradients(tfs.Occlusion(f, 3, 3), steps=3, tolerance=1e9),
    "ExpectedGradients": lambda f: tfs.ExpectedGradients(tfs.Occlusion(f, 3, 3), samples=4),
    "BlurIntegratedGradients": lambda f: tfs.BlurIntegratedGradients(tfs.Occlusion(f, 3, 3), steps=3, tolerance=1e9),
}


@pytest.mark.parametrize("name", ASKING)
def test_what_only_asks_gives_the_values_of_the_model(name, model):
    """In Python, block by block, as in the compiled graph of the model."""
    explainer = ASKING[name]
    own, asked = (explainer(each).explain(X, None, batch_size=8) for each in (model, numbers))
    np.testing.assert_array_equal(asked.target, own.target)
    close(asked.values, own.values, 1e-4)
    for diagnostic, value in own.diagnostics.items():
        np.testing.assert_allclose(asked.diagnostics[diagnostic], value, rtol=1e-2, atol=1e-4, err_msg=diagnostic)


def test_targets_of_a_black_box(model):
    """The function's own top class, one per sample, a function of its answers, and one unit."""
    values = {
        name: tfs.Occlusion(numbers, 3).explain(X, target)
        for name, target in {"top": None, "each": numbers(X).argmax(axis=1), "sum": lambda z: z[:, 0] + z[:, 1]}.items()
    }
    np.testing.assert_array_equal(values["top"].target, numbers(X).argmax(axis=1))
    np.testing.assert_array_equal(values["top"].values, values["each"].values)
    np.testing.assert_allclose(values["sum"].scores, numbers(X)[:, :2].sum(axis=1), rtol=1e-5)
    for one in (lambda x: numbers(x)[:, :1], lambda x: numbers(x)[:, 0]):
        explanation = tfs.Occlusion(one, 3).explain(X)
        np.testing.assert_array_equal(explanation.target, 0)
        close(explanation.values, tfs.Occlusion(numbers, 3).explain(X, 0).values, 1e-5)
    with pytest.raises(ValueError, match="The model has the classes 0 to 3. Received: target 4"):
        tfs.Occlusion(numbers).explain(X, 4)
    np.testing.assert_allclose(tfs.RISE(numbers).scores(X, 1), numbers(X)[:, 1], rtol=1e-5)


@pytest.mark.parametrize(
    ("batch_size", "batches"), [(None, [1, 3, 126]), (8, [1, 3, *[6] * 21]), (2, [1, 2, *[2] * 42, 1, *[2] * 21])]
)
def test_the_function_is_asked_no_more_than_it_must(batch_size, batches):
    """One row alone, the inputs, and 42 windows of each of three samples, as many as the device takes at once."""
    seen = []

    def function(x):
        assert isinstance(x, np.ndarray) and x.dtype == "float32"
        seen.append(len(x))
        return numbers(x)

    tfs.Occlusion(function, 1, 1).explain(X, 1, batch_size=batch_size)
    assert seen == batches


def test_a_callback_asks_in_training(tmp_path):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((6, 7, 2)), layers.Flatten(), layers.Dense(4)])
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    explainer = tfs.Occlusion(lambda x: model.predict(x, verbose=0), 3)
    callback = tfs.callbacks.ExplainCallback(explainer, X, target=1, directory=tmp_path)
    model.fit(X, np.array([0, 1, 2]), epochs=1, callbacks=[callback], verbose=0)
    kept = tfs.Explanation.load(tmp_path / "epoch-0001.npz")
    close(kept.values, tfs.Occlusion(model, 3).explain(X, 1).values, 1e-4)


def test_memory_does_not_grow_with_the_number_of_masks():
    alive = []

    def function(x):
        alive.append(weakref.ref(x))
        assert sum(each() is not None for each in alive) <= 3
        return numbers(x)

    tfs.RISE(function, 400).explain(X, 1, batch_size=6)
    assert len(alive) > 200


def test_what_the_function_raises_comes_out_as_it_is():
    class RefusedError(Exception):
        pass

    calls = []

    def function(x):
        calls.append(len(x))
        if len(calls) == 4:
            raise RefusedError("the service is down")
        return numbers(x)

    explainer = tfs.Occlusion(function, 3)
    with pytest.raises(RefusedError, match="^the service is down$"):
        explainer.explain(X, 1, batch_size=3)
    close(explainer.explain(X, 1).values, tfs.Occlusion(numbers, 3).explain(X, 1).values, 1e-6)
    with pytest.raises(tf.errors.InvalidArgumentError, match="my own"):
        tfs.RISE(lambda x: tf.debugging.Assert(False, ["my own"])).explain(X)


def test_a_function_whose_device_is_full_is_asked_about_fewer_rows():
    seen = []

    def function(x):
        if len(x) > 4:
            raise tf.errors.ResourceExhaustedError(None, None, "full")
        seen.append(len(x))
        return numbers(x)

    close(tfs.Occlusion(function, 3).explain(X, 1).values, tfs.Occlusion(numbers, 3).explain(X, 1).values, 1e-6)
    assert max(seen) <= 4


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda x: numbers(x)[0], r"numbers of shape \(4,\) for 1 row of inputs. Return one row for each row"),
        (lambda x: 3.0, r"numbers of shape \(\) for 1 row of inputs"),
        (lambda x: [numbers(x), numbers(x)], r"numbers of shape \(2, 1, 4\) for 1 row of inputs"),
        (lambda x: numbers(x)[:1], r"numbers of shape \(1, 4\) for 3 rows of inputs"),
        (lambda x: numbers(x)[:, : len(x)], r"of shape \(3, 3\), and of shape \(1, 1\) for one row"),
        (lambda x: [[1.0], [1.0, 2.0]], "with list that is not an array of numbers: .*inhomogeneous"),
        (lambda x: tf.ragged.constant([[1.0], [1.0, 2.0]]), "with RaggedTensor"),
        (lambda x: {"a": numbers(x), "b": 1}, r"with dict with the keys \['a', 'b'\].*lambda x: function\(x\)\['a'\]"),
        (lambda x: np.array(["cat"] * len(x)), "with ndarray of dtype <U3.*no names of classes"),
        (lambda x: None, "with NoneType of dtype object"),
        (lambda x: np.ones((len(x), 2), complex), "of dtype complex128"),
    ],
)
def test_wrong_answers(answer, message):
    with pytest.raises(ValueError, match=message):
        tfs.Occlusion(answer).explain(X, 0)


def test_wrong_functions(model, tmp_path):
    class Forest:
        def predict(self, x):
            return x

        predict_proba = predict

    with pytest.raises(TypeError, match="Forest, which cannot be called. Pass the method .* model.predict_proba"):
        tfs.RISE(Forest())
    np.testing.assert_array_equal(tfs.BlackBox(Forest().predict_proba).answer(tf.constant(X)), X)
    with pytest.raises(TypeError, match="Received: the class Forest; pass an instance"):
        tfs.Occlusion(Forest)
    with pytest.raises(TypeError, match="Received: int, which cannot be called"):
        tfs.BlackBox(3)
    loaded = saved(model, tmp_path)
    signature = loaded.signatures["serving_default"]
    with pytest.raises(TypeError, match=r"\['x'\].*lambda x: signature\(x=tf.constant\(x\)\)\['output_0'\]"):
        tfs.BlackBox(signature)
    # As a model it needs no such words.
    alike = (tfs.Occlusion(each, window=3).explain(X, 1).values for each in (signature, model))
    close(next(alike), next(alike), 1e-5)


def test_a_function_whose_rows_meet_or_that_draws_is_warned_of():
    with pytest.warns(UserWarning, match="The function answers differently for a row alone and among others"):
        explanation = tfs.Occlusion(lambda x: numbers(x) - numbers(x).mean(axis=0), 3).explain(X, 1)
    assert explanation.provenance["cautions"]
    draws = np.random.default_rng(0)
    with pytest.warns(UserWarning, match="draws nothing at random"):
        tfs.Occlusion(lambda x: numbers(x) + draws.normal(size=(len(x), 4)), 3).explain(X[:1], 1)


def test_integers_reach_the_function_as_floats():
    pictures = np.random.default_rng(0).integers(0, 255, (2, 6, 7, 2)).astype("uint8")
    kinds = []

    def function(x):
        kinds.append(x.dtype)
        return numbers(x / 255.0)

    values = tfs.Occlusion(function, 3).explain(pictures, 1).values
    close(values, tfs.Occlusion(function, 3).explain(pictures.astype("float32"), 1).values, 1e-6)
    assert set(kinds[2:]) == {np.dtype("float32")}

    def reads_the_type(x):
        return numbers(x / 255.0 if x.dtype == "uint8" else x)

    with pytest.raises(ValueError, match="The function answers differently to these integers"):
        tfs.Occlusion(reads_the_type, 3).explain(pictures, 1)


def test_what_looks_inside_is_refused():
    box = tfs.BlackBox(numbers)
    for explainer in (tfs.Gradient(box), tfs.SmoothGrad(box), tfs.GradCAM(box), tfs.LRP(box), tfs.AblationCAM(box)):
        with pytest.raises(
            ValueError, match=r"needs its gradient, and a black box only answers.*SmoothGrad\(Occlusion"
        ):
            explainer.explain(X, 1)

    class Taped(tfs.Gradient):
        def attribute(self, x, score):
            with tf.GradientTape() as tape:
                tape.watch(x)
                y = score(x)
            return tfs.Attribution(tape.gradient(y, x))

    with pytest.raises(ValueError, match="a black box only answers"):
        Taped(box).explain(X, 1)


PREDICT = """
import os
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
import keras, numpy as np, tfsaliency as tfs
keras.utils.set_random_seed(0)
model = keras.Sequential([keras.Input((16, 16, 3)), keras.layers.Conv2D(8, 3, activation="relu"),
                          keras.layers.GlobalMaxPooling2D(), keras.layers.Dense(4)])
x = np.random.default_rng(0).normal(size=(4, 16, 16, 3)).astype("float32")
def predict(x):
    return model.predict(x, verbose=0)
smooth = lambda f: tfs.SmoothGrad(tfs.RISE(f, 9), samples=4)
for make in (lambda f: tfs.Occlusion(f, 4), lambda f: tfs.RISE(f, 60), smooth):
    values, own = make(predict).explain(x).values, make(model).explain(x).values
    assert np.abs(values - own).max() < 1e-4 * np.abs(own).max() + 1e-6
print("done")
"""


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the cores of a process cannot be chosen here")
def test_predict_does_not_wait_for_threads_that_wait_for_it():
    """On two cores, in a process of its own: where it hangs, this fails."""
    found = subprocess.run([sys.executable, "-c", PREDICT], capture_output=True, text=True, timeout=180)
    assert found.returncode == 0, found.stderr
    assert found.stdout.endswith("done\n")


# --- what stands for nothing ---

IDS = np.array([[2, 1, 3], [1, 1, 2]])
WORTH = np.array([[10.0, -1.0], [1.0, 0.0], [3.0, 2.0], [0.0, 5.0]])


def worth(inputs):
    """The sum of what each id is worth. Id 0 is an ordinary one."""
    ids = inputs["ids"] if isinstance(inputs, dict) else inputs
    summed = WORTH[ids.astype(int)].sum(axis=1)
    return summed + inputs["size"] if isinstance(inputs, dict) else summed


@pytest.mark.parametrize("method", [tfs.Occlusion, tfs.RISE])
def test_zero_may_be_an_id(method):
    """A function does not show which id stands for nothing, so it is asked for."""
    with pytest.raises(ValueError, match=r"cannot know what stands for nothing in integers.*integers for the input"):
        method(worth).explain(IDS, 0)
    with pytest.raises(ValueError, match=r"integers for ids\. .*baseline=0"):
        method(worth).explain({"ids": IDS, "size": np.ones((2, 1))}, 0)


def test_the_id_that_was_named_stands_for_nothing():
    explainer = tfs.Occlusion(worth, window=1, stride=1, baseline=1)
    np.testing.assert_allclose(explainer.explain(IDS, 0).values, WORTH[IDS, 0] - WORTH[1, 0])
    both = tfs.Occlusion(worth, window=1, stride=1, baseline={"ids": 3, "size": 0.0})
    values = both.explain({"ids": IDS, "size": np.full((2, 1), 7.0)}, 1).values
    np.testing.assert_allclose(values["ids"], WORTH[IDS, 1] - WORTH[3, 1])
    np.testing.assert_allclose(values["size"], [[7.0], [7.0]])


def test_bytes_are_pictures():
    """Zero is black."""
    pictures = np.random.default_rng(0).integers(0, 255, (2, 6, 7, 2)).astype("uint8")
    explainer = tfs.Occlusion(lambda x: x.sum(axis=(1, 2)), window=1, stride=1)
    np.testing.assert_allclose(explainer.explain(pictures, 1).values[..., 0], pictures[..., 1])


COUNTED = ["bad", "good"]
WORDS = ["", "a", "bad", "good", "film"]
OF_WORDS = np.array([[1, 2, 4], [3, 2, 2]])


def counts(texts):
    """How often each of two words occurs."""
    rows = [text.split() if isinstance(text, str) else list(text) for text in texts]
    return np.array([[row.count(word) for word in COUNTED] for row in rows], "float32")


def counting(rank):
    """A model that does the same."""
    texts = keras.Input((3,) if rank == 2 else (), dtype="string")
    split = layers.StringLookup if rank == 2 else layers.TextVectorization
    ids = split(vocabulary=COUNTED)(texts)
    first = layers.StringLookup(vocabulary=COUNTED)(tf.constant(COUNTED)) if rank == 2 else tf.constant([2, 3])
    return keras.Model(texts, keras.ops.sum(keras.ops.cast(keras.ops.equal(ids[..., None], first), "float32"), 1))


@pytest.mark.parametrize("rank", [1, 2], ids=["texts", "single words"])
@pytest.mark.parametrize("is_model", [True, False], ids=["model", "function"])
def test_words_are_hidden_as_the_refusal_of_texts_advises(is_model, rank):
    texts = np.array([[WORDS[i] for i in row] for row in OF_WORDS])
    texts = texts if rank == 2 else np.array([" ".join(row) for row in texts])
    explained = counting(rank) if is_model else counts
    with pytest.raises(ValueError, match="has a gradient" if is_model else "Received: texts") as raised:
        (tfs.Gradient if is_model else tfs.Occlusion)(explained).explain(texts, 0)
    advised = str(raised.value).partition("words up: ")[2].rstrip(".")
    names = {"tfs": tfs, "tf": tf, "model": explained, "function": explained, "words": WORDS, "ids": OF_WORDS}
    explanation = eval(advised.replace("explain(ids)", "explain(ids, 0)"), names)
    # Hiding a word takes its count away, and no other one.
    np.testing.assert_array_equal(explanation.values, OF_WORDS == 2)


@pytest.mark.parametrize(
    "method",
    [
        lambda box: tfs.Occlusion(box, window=3, stride=3, baseline=tfs.baselines.uniform(0, 1, number=2)),
        lambda box: tfs.RISE(box, samples=4),
        lambda box: tfs.ShapleyValues(box, window=2, samples=1),
        lambda box: tfs.SmoothGrad(tfs.Occlusion(box, window=3, stride=3), samples=2),
    ],
    ids=["Occlusion", "RISE", "ShapleyValues", "SmoothGrad"],
)
def test_a_function_is_called_as_it_is_written(method):
    """TensorFlow's AutoGraph rewrites what a map over tensors calls, in files of its own, also where all is eager."""
    files = set()

    def box(x):
        files.add(sys._getframe().f_code.co_filename)
        return numbers(x)

    method(box).explain(X, 1)
    assert files == {__file__}
