"""Each mistake gets a message that names what was received and what to do."""

import keras
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import tensorflow as tf
from keras import layers

import tfsaliency as tfs


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input((6, 6, 1)), layers.Flatten(), layers.Dense(3, activation="softmax")])


X = np.random.default_rng(0).normal(size=(4, 6, 6, 1)).astype("float32")


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (X[0], r"takes shape \(None, 6, 6, 1\).*Received: shape \(6, 6, 1\).*pass numpy.expand_dims\(x, 0\)"),
        (X[..., 0], r"Received: shape \(4, 6, 6\)"),
        (X[:, :5], r"Received: shape \(4, 5, 6, 1\)"),
        (
            [X, X],
            r"The model takes \(None, 6, 6, 1\). Received: \[\(4, 6, 6, 1\), \(4, 6, 6, 1\)\]",
        ),
        (X[:0], r"batch is empty.*Received: \(0, 6, 6, 1\)"),
        (
            np.where(X == X[2, 0, 0, 0], np.nan, X),
            r"NaN or infinity in the samples \[2\].*nan_to_num",
        ),
        (np.where(X == X[3, 0, 0, 0], np.inf, X), r"NaN or infinity in the samples \[3\]"),
        (
            np.where(X == X[3, 0, 0, 0], 1e300, X.astype("float64")),
            r"beyond those of float32, 3.4e38, in the samples \[3\]. Scale",
        ),
        ("photo.jpg", r"batch first. Received: the text photo.jpg. A text alone is a batch of one"),
        (np.array(["a"]), r"The model takes numbers for input .*Received: dtype <U1"),
        (
            np.array([b"\x89PNG"], object),
            r"Texts are in UTF-8. Received: bytes that begin with b'\\x89PNG'.*explain that model",
        ),
        (
            np.array(["a", None, "b"], object),
            r"numbers, or texts. Received: ndarray of dtype object, with None of type NoneType among its objects",
        ),
        ({"a": object()}, r"Inputs are numbers, or texts. Received: object of dtype object"),
    ],
)
def test_inputs(model, inputs, message):
    with pytest.raises(ValueError, match=message):
        tfs.Gradient(model).explain(inputs)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (3, r"classes 0 to 2. Received: target 3"),
        (-1, r"classes 0 to 2. Received: target -1"),
        ([0, 1, 2, 9], r"Received: target 9"),
        ([0, 1], r"holds 2 numbers of 'class' for 4 samples"),
        (1.0, r"target is None, a class index.*Received: float of dtype float64"),
        ("cat", r"Received: str of dtype"),
        (np.eye(4), r"For one-hot labels pass labels.argmax\(axis=-1\)"),
        (np.zeros((4, 1), int), r"shape \(4, 1\). Of a column of labels pass labels\[:, 0\]"),
        (
            lambda z: z,
            r"function returned shape \(None, 3\) for logits of shape \(None, 3\).*shape \(N,\)",
        ),
        (lambda z: tf.reduce_sum(z), r"function returned shape \(\)"),
        (lambda z: z[:2, 0], r"returned 2 scores for 4 samples"),
        (lambda z: tf.argmax(z, axis=1), r"returned int64 scores, which cannot be differentiated"),
        (lambda z: tf.round(z[:, 0]), r"the operation .*Round.* has none"),
        (tfs.target.output(0), r"has one output. Received: target.output\(0, ...\)"),
        (tfs.target.margin(0, 99), r"classes 0 to 2. Received: target 99"),
        (tfs.target.margin(0, -1), r"classes 0 to 2. Received: target -1"),
        (2**40, r"target is smaller than 2\*\*31. Received: 1099511627776"),
        ([[0], [1, 2]], r"a list of class numbers, one per sample. Received: \[\[0\], \[1, 2\]\]"),
        (lambda z: None, r"target function returned NoneType for logits.*made with TensorFlow operations"),
        (tfs.target.binary(1), r"output of one unit.*\(None, 3\)"),
        (
            tfs.target.region(np.ones((2, 2)), 0),
            r"output with places.*shape \(None, 3\)",
        ),
    ],
)
def test_target(model, target, message):
    with pytest.raises(ValueError, match=message):
        tfs.Gradient(model).explain(X, target)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda m: tfs.SmoothGrad(m, samples=0), ValueError, "samples is a whole number, at least 1. Received: 0"),
        (lambda m: tfs.SmoothGrad(m, noise=-0.1), ValueError, "noise is a finite number, at least 0. Received: -0.1"),
        (lambda m: tfs.SmoothGrad(m, noise=float("nan")), ValueError, "Received: nan"),
        (lambda m: tfs.VarGrad(m, samples=1), ValueError, "samples is a whole number, at least 2. Received: 1"),
        (lambda m: tfs.SmoothGrad(m, samples=5.0), ValueError, "samples is a whole number.*Received: 5.0"),
        (lambda m: tfs.SmoothGrad(m, samples=True), ValueError, "samples is a whole number.*Received: True"),
        (lambda m: tfs.SmoothGrad(m, noise="0.1"), ValueError, "noise is a finite number.*Received: '0.1'"),
        (lambda m: tfs.SmoothGrad(m, noise=float("inf")), ValueError, "noise is a finite number.*Received: inf"),
        (lambda m: tfs.SmoothGrad(m, seed=None), ValueError, "seed is a whole number.*Received: None"),
        (
            lambda m: tfs.Gradient("model.keras"),
            TypeError,
            "A model is explained. Received: str. A path goes through keras.saving.load_model",
        ),
        (lambda m: tfs.SmoothGrad(None), TypeError, "Received: NoneType"),
        (
            lambda m: tfs.Gradient(m).then(tfs.transforms.clip_percentile),
            TypeError,
            r"clip_percentile\(99\)",
        ),
        (lambda m: tfs.Gradient(m).then(3), TypeError, "A transform is a function.*Received: 3"),
        (lambda m: tfs.Gradient(m).then(lambda v: v), TypeError, r"two arguments.*<lambda>, which takes \(v\)"),
        (
            lambda m: tfs.transforms.clip_percentile(0),
            ValueError,
            "percentile is above 0.*Received: 0",
        ),
        (lambda m: tfs.target.binary(2), ValueError, "sides 0 and 1. Received: 2"),
        (lambda m: tfs.target.region(np.zeros((2, 2)), 0), ValueError, "at least one positive"),
        (
            lambda m: tfs.Gradient(m).explain(X, batch_size=0),
            ValueError,
            "batch_size is a whole number, at least 1. Received: 0",
        ),
    ],
)
def test_options(model, make, error, message):
    with pytest.raises(error, match=message):
        make(model)


@pytest.mark.parametrize(("winner", "loser"), [(1, 1), ([0, 2], 2), ([0, 1], [1, 1])])
def test_a_class_is_not_compared_with_itself(winner, loser):
    with pytest.raises(ValueError, match=r"A class is compared with another one. Received: winner"):
        tfs.target.contrast(winner, loser)


def test_lists_of_numbers_are_told_apart_from_several_inputs():
    model = keras.Sequential([keras.Input((2,)), layers.Dense(2)])
    for each in (model, Untyped(model)):
        with pytest.raises(ValueError, match=r"numpy.asarray\(inputs\)"):
            tfs.Gradient(each).explain([[1.0, 2.0]])


class Untyped(keras.Model):
    """Declares no shapes, as subclassed models do."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner
        self.built = True

    def call(self, x):
        return self.inner(x)


def test_parts_with_different_numbers_of_samples():
    left, right = keras.Input((2,)), keras.Input((3,))
    model = keras.Model([left, right], layers.Dense(2)(layers.Concatenate()([left, right])))
    with pytest.raises(ValueError, match=r"same number of samples. Received: \[4, 5\]"):
        tfs.Gradient(model).explain([np.ones((4, 2)), np.ones((5, 3))])


def test_shape_that_only_the_model_can_judge(model):
    with pytest.raises(
        ValueError, match=r"cannot be called on inputs of shape \(None, 6, 1\).*pass numpy.expand_dims\(x, 0\)"
    ):
        tfs.Gradient(Untyped(model)).explain(X[0])


def test_model_without_weights():
    with pytest.raises(ValueError, match="is not built yet. Call it once"):
        tfs.Gradient(keras.Sequential([layers.Dense(2)])).explain(np.ones((1, 3)))


def test_several_outputs_need_a_choice():
    x = keras.Input((3,))
    model = keras.Model(x, {"kind": layers.Dense(2)(x), "age": layers.Dense(1)(x)})
    with pytest.raises(ValueError, match=r"no output 'size'. Its outputs: \['age', 'kind'\]"):
        tfs.Gradient(model).explain(np.ones((1, 3)), tfs.target.output("size", 0))
    with pytest.raises(ValueError, match=r"several outputs, \['age', 'kind'\].*target.output\(name, class\)"):
        tfs.Gradient(model).explain(np.ones((1, 3)))


def test_segmentation_needs_a_region():
    model = keras.Sequential([keras.Input((6, 6, 1)), layers.Conv2D(2, 3, padding="same")])
    with pytest.raises(ValueError, match=r"output has shape \(None, 6, 6, 2\).*target.region"):
        tfs.Gradient(model).explain(X, 0)


def test_one_unit_without_a_sigmoid_names_the_helper():
    model = keras.Sequential([keras.Input((3,)), layers.Dense(1)])
    with pytest.raises(ValueError, match=r"Received: target 1. One unit.*target.binary\(0\)"):
        tfs.Gradient(model).explain(np.ones((1, 3)), 1)


def test_a_model_that_scales_by_the_type_of_its_input():
    class Scaling(keras.Model):
        def call(self, x):
            return tf.reduce_sum(tf.image.convert_image_dtype(x, tf.float32), axis=(1, 2))

    model = Scaling()
    model.built = True
    x = np.random.default_rng(0).integers(1, 255, (2, 4, 4, 3)).astype("uint8")
    with pytest.raises(ValueError, match="answers differently to these integers.*convert_image_dtype.*Pass floats"):
        tfs.Gradient(model).explain(x, 0)
    np.testing.assert_allclose(tfs.Gradient(model).explain(x / 255, 0).values[..., 0], 1)


@pytest.mark.parametrize("first", [0, 1])
def test_a_model_that_reads_the_type_is_found_behind_a_flat_first_picture(first):
    class Reads(keras.Model):
        def __init__(self):
            super().__init__()
            self.inside, self.head = keras.layers.Dense(8, "relu"), keras.layers.Dense(2)

        def call(self, x):
            return self.head(self.inside(keras.layers.Flatten()(tf.image.convert_image_dtype(x, tf.float32))))

    keras.utils.set_random_seed(0)
    model = Reads()
    pictures = np.random.default_rng(0).integers(0, 256, (3, 4, 4, 1)).astype("uint8")
    pictures[0] = first
    model(pictures)
    for batch in (pictures, pictures[:1]):
        with pytest.raises(ValueError, match="answers differently to these integers"):
            tfs.Gradient(model).explain(batch, 0)


def occluded(f):
    return tfs.Occlusion(f, window=1, stride=1, baseline=0)


@pytest.mark.parametrize("method", [occluded, lambda f: tfs.RISE(f, samples=20, baseline=0)])
def test_a_function_of_ids_alone_says_how_it_is_explained(method):
    """And what it says works."""
    table = tf.constant(np.random.default_rng(0).normal(size=(30, 6)).astype("float32"))

    def function(ids):
        return tf.reduce_max(tf.nn.embedding_lookup(table, ids), axis=1)

    ids = np.array([[3, 4, 5, 6]])
    with pytest.raises(ValueError, match="The function takes these integers, and not the same numbers as floats"):
        method(function).explain(ids, 1)
    as_model = method(tfs.as_model(function)).explain(ids, 1).values
    as_floats = method(lambda x: function(x.astype("int32"))).explain(ids, 1).values
    assert np.abs(as_floats).max() > 0.1
    if method is occluded:
        hidden = [function(np.where(np.arange(4) == place, 0, ids))[0, 1] for place in range(4)]
        np.testing.assert_allclose(as_model[0], function(ids)[0, 1] - np.array(hidden), atol=1e-6)
    assert as_model.shape == as_floats.shape == (1, 4)


def test_integers_that_float32_would_round_are_refused():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    tfs.Gradient(model).explain(np.full((1, 2), 2**24), 0)
    with pytest.raises(ValueError, match="exactly up to 16,777,216. Received: integers from 20,000,001"):
        tfs.Gradient(model).explain(np.full((1, 2), 20_000_001), 0)


def test_integer_output():
    x = keras.Input((3,))
    model = keras.Model(x, keras.ops.argmax(layers.Dense(2)(x), axis=-1))
    with pytest.raises(ValueError, match="output cannot be differentiated. Received: int32 numbers.*argmax"):
        tfs.Gradient(model).explain(np.ones((1, 3)))


def test_gradient_that_is_not_finite():
    x = keras.Input((3,))
    model = keras.Model(x, keras.ops.sqrt(keras.ops.sum(x * x, axis=-1, keepdims=True)))
    with pytest.raises(ValueError, match=r"samples \[1\] are not finite.*sqrt or log at 0"):
        tfs.Gradient(model).explain(np.array([[1.0, 1, 1], [0, 0, 0]]))


def test_zero_gradient_warns():
    model = keras.Sequential([keras.Input((3,)), layers.Dense(2, activation="relu"), layers.Dense(2)])
    model.layers[0].set_weights([np.eye(3, 2), np.zeros(2)])
    with pytest.warns(UserWarning, match=r"samples \[0\] are zero everywhere.*dead ReLU"):
        tfs.Gradient(model).explain(np.array([[-1.0, -1, -1], [1, 1, 1]]))


def test_out_of_memory_halves_the_chunk():
    """A model that fails as an allocator does, for every batch of more than four rows."""
    rows = []

    class Greedy(keras.Model):
        def call(self, x):
            def allocate(size):
                rows.append(int(size))
                if size > 4:
                    raise MemoryError("too much")
                return size

            size = tf.numpy_function(allocate, [tf.shape(x)[0]], tf.int32)
            with tf.control_dependencies([size]):
                return tf.reduce_sum(x * x, axis=-1, keepdims=True)

    model = Greedy()
    model.built = True
    x = np.arange(1.0, 31).reshape(10, 3)
    explanation = tfs.Gradient(model).explain(x)
    np.testing.assert_allclose(explanation.values, 2 * x)
    # From 4,096 rows down to 16 all ten go at once.
    assert rows == [10] * 9 + [8, 4, 4, 2]
    rows.clear()
    tfs.Gradient(model).explain(x)
    assert rows == [4, 4, 2]
    smooth = tfs.SmoothGrad(model, samples=10).explain(x[:2])
    assert max(rows[-3:]) <= 4
    np.testing.assert_allclose(smooth.values, 2 * x[:2], rtol=0.2)


def test_one_row_too_many():
    class Greedy(keras.Model):
        def call(self, x):
            def allocate(size):
                raise MemoryError("too much")

            with tf.control_dependencies([tf.numpy_function(allocate, [tf.shape(x)[0]], tf.int32)]):
                return tf.reduce_sum(x, axis=-1, keepdims=True)

    model = Greedy()
    model.built = True
    with pytest.raises(MemoryError, match="One row of the inputs alone"):
        tfs.Gradient(model).explain(np.ones((3, 2)))


def test_the_reason_of_a_failure_is_not_lost_behind_blank_lines():
    """TensorFlow has no gradient of a dilated convolution in float64 on a CPU, and says so after its frames."""
    kernel = tf.ones([3, 3, 1, 2], tf.float64)
    x = keras.Input((6, 6, 1), dtype="float64")
    y = layers.Lambda(lambda y: tf.nn.conv2d(y, kernel, 1, "SAME", dilations=2), dtype="float64")(x)
    model = keras.Model(x, layers.Flatten(dtype="float64")(y))
    with pytest.raises(ValueError, match="failed on a batch of 2 rows.*dilation rates larger than 1"):
        tfs.Gradient(model).explain(np.ones((2, 6, 6, 1)), 0)


SHARES = keras.Sequential([keras.Input((2,)), layers.Lambda(lambda x: x / tf.reduce_sum(x, axis=1, keepdims=True))])


@pytest.mark.parametrize("explainer", [tfs.DeepLIFT, tfs.IntegratedGradients, tfs.ExpectedGradients])
def test_a_baseline_without_a_finite_score_is_named_and_the_advised_one_has_a_map(explainer):
    """A division by zero, at the baseline of one sample alone: the values were finite, and the gap was NaN."""
    x, at_zero = np.array([[1.0, 3.0], [2.0, 1.0]], "float32"), np.array([[1.0, 1.0], [0.0, 0.0]])
    with pytest.raises(ValueError, match=r"samples \[1\] have no finite sum. At the baseline.*baseline=0.1"):
        explainer(SHARES, tfs.baselines.per_sample(at_zero)).explain(x, 0)
    values = explainer(SHARES, 0.1).explain(x, 0).values
    np.testing.assert_allclose(values.sum(axis=1), x[:, 0] / x.sum(axis=1) - 1 / 2, rtol=0.1)


def test_an_entry_that_a_target_does_not_have_is_no_id_of_the_inputs():
    def beyond(logits):
        return tf.gather(logits, tf.shape(logits)[1] + tf.zeros([tf.shape(logits)[0]], tf.int32), axis=1, batch_dims=1)

    with pytest.raises(ValueError, match=r"The method, or the target, reads an entry .*= 2 is not in \[0, 2"):
        tfs.Gradient(keras.Sequential([keras.Input((3,)), layers.Dense(2)])).explain(np.ones((4, 3)), beyond)


@pytest.mark.parametrize("write", [tf.py_function, tf.numpy_function])
def test_rules_and_python_code(write):
    class Python(layers.Layer):
        def call(self, x):
            return tf.ensure_shape(write(np.tanh if write is tf.numpy_function else tf.tanh, [x], tf.float32), x.shape)

        def compute_output_shape(self, shape):
            return shape

    keras.utils.set_random_seed(0)
    x = keras.Input((4,))
    model = keras.Model(x, layers.Dense(2)(layers.Dense(3, "relu")(Python()(x))))
    rows = np.ones((2, 4))
    for method in (tfs.LRP, lambda model: tfs.LRP(model, strict=False), tfs.DeepTaylor):
        with pytest.raises(ValueError, match="Rules cannot follow Python code through .*Write it in TensorFlow"):
            method(model).explain(rows, 1)
    explained = tfs.Occlusion(model, window=1, stride=1).explain(rows, 1).values
    hidden = [np.where(np.arange(4) == place, 0.0, rows) for place in range(4)]
    lost = np.stack([model.predict(rows, verbose=0)[:, 1] - model.predict(each, verbose=0)[:, 1] for each in hidden], 1)
    np.testing.assert_allclose(explained, lost, atol=1e-6)
    if write is tf.numpy_function:
        with pytest.raises(ValueError, match="of type PyFunc.*Occlusion and RISE need no gradient"):
            tfs.Gradient(model).explain(rows, 1)


@pytest.mark.parametrize("form", ["dict", "list"])
def test_an_input_that_the_model_does_not_have_is_warned_of(form):
    a, b = keras.Input((2,), name="a"), keras.Input((3,), name="b")
    answer = layers.Dense(2)(layers.Concatenate()([a, b]))
    model = keras.Model({"a": a, "b": b} if form == "dict" else [a, b], answer)
    x = {"a": np.ones((3, 2)), "b": np.ones((3, 3))}
    expected = tfs.Gradient(model).explain(x, 1).values
    with pytest.warns(UserWarning, match=r"The model has no input \['c'\].*Its inputs: \['a', 'b'\]"):
        values = tfs.Gradient(model).explain({**x, "c": np.ones(3)}, 1).values
    assert sorted(values) == ["a", "b"]
    for name in expected:
        np.testing.assert_array_equal(values[name], expected[name])


def test_a_masked_array_is_refused():
    model = keras.Sequential([keras.Input((2,)), layers.Dense(2)])
    masked = np.ma.masked_array(np.ones((3, 2)), mask=[[1, 0], [0, 0], [0, 0]])
    with pytest.raises(ValueError, match=r"Received: a masked array. Fill it, x.filled\(0\)"):
        tfs.Gradient(model).explain(masked, 1)
    tfs.Gradient(model).explain(masked.filled(0), 1)


def test_a_misspelt_name_is_refused():
    """The parts were taken in the order of their names: the inputs of the model were swapped."""
    age, pay = keras.Input((1,), name="age"), keras.Input((1,), name="pay")
    model = keras.Model({"age": age, "pay": pay}, age + 100 * pay)
    columns = {"years": np.array([[40.0]]), "pay": np.array([[2.0]])}
    with pytest.raises(ValueError, match=r"inputs \['age', 'pay'\]. Received: \['pay', 'years'\], without \['age'\]"):
        tfs.Gradient(model).explain(columns)
    explanation = tfs.GradientTimesInput(model).explain({"age": columns["years"], "pay": columns["pay"]})
    assert explanation.values == {"age": 40, "pay": 200}


def test_a_misspelt_name_inside_another_is_refused():
    age, pay, size = (keras.Input((1,), name=name) for name in ("age", "pay", "size"))
    model = keras.Model({"person": {"age": age, "pay": pay}, "size": size}, age + 100 * pay + size)
    numbers = {"years": np.array([[40.0]]), "pay": np.array([[2.0]])}
    with pytest.raises(ValueError, match=r"takes the inputs \['person/age'.*Received: \['person/pay', 'person/years'"):
        tfs.Gradient(model).explain({"person": numbers, "size": np.ones((1, 1))})


def test_a_table_with_columns_of_several_types():
    """pandas makes an array of objects of it, which Keras takes too."""
    model = keras.Sequential([keras.Input((3,)), layers.Dense(2)])
    table = pd.get_dummies(pd.DataFrame({"x": [1.0, 2.0, 3.0], "c": ["u", "v", "u"]}))
    expected = tfs.GradientTimesInput(model).explain(table.to_numpy("float32"), 1).values
    np.testing.assert_array_equal(tfs.GradientTimesInput(model).explain(table, 1).values, expected)
    with pytest.raises(ValueError, match="DataFrame of dtype object"):
        tfs.Gradient(model).explain(pd.DataFrame({"x": [1.0, None], "y": ["a", 2], "z": [1, 2]}), 1)


@pytest.mark.parametrize(
    ("made", "batch", "message"),
    [
        (scipy.sparse.csr_matrix, lambda rows: rows.toarray(), r"csr_matrix. Make it dense: x.toarray\(\)"),
        (
            lambda x: tf.data.Dataset.from_tensor_slices((x, x[:, 0])).batch(4),
            lambda rows: next(iter(rows))[0],
            r"Dataset. Explain a batch, next\(iter\(dataset\)\)\[0\] where labels follow",
        ),
        (
            lambda x: iter([(x, x[:, 0])]),
            lambda rows: next(rows)[0],
            r"list_iterator. Explain a batch, next\(iterator\)",
        ),
    ],
    ids=["sparse", "dataset", "iterator"],
)
def test_what_is_no_array_is_told_how_to_become_one(made, batch, message):
    model, x = keras.Sequential([keras.Input((3,)), layers.Dense(2)]), np.eye(3, dtype="float32")
    with pytest.raises(ValueError, match=message):
        tfs.Gradient(model).explain(made(x), 1)
    expected = tfs.Gradient(model).explain(x, 1).values
    np.testing.assert_array_equal(tfs.Gradient(model).explain(batch(made(x)), 1).values, expected)


class InFloat64:
    """The squared distance from a moment, which float32 does not hold."""

    moment = 1.7e9

    def keras(self):
        x = keras.Input((2,), dtype="float64")
        square = layers.Lambda(lambda each: ((each - self.moment) / 50) ** 2, dtype="float64")(x)
        return keras.Model(
            x, layers.Lambda(lambda each: tf.reduce_sum(each, 1, keepdims=True), dtype="float64")(square)
        )

    def numpy(self):
        return lambda x: (((np.asarray(x, "float64") - self.moment) / 50) ** 2).sum(axis=1, keepdims=True)


@pytest.mark.parametrize("kind", ["keras", "numpy"])
def test_numbers_that_float32_does_not_hold_are_refused(kind):
    """They were rounded, and another input was explained; the advice is followed."""
    model, x = getattr(InFloat64(), kind)(), np.array([[1.7e9 + 30, 1.7e9 + 77]])
    shift = 1.7e9
    if kind == "keras":
        shifted = tfs.as_model(lambda x: model(tf.cast(x, "float64") + shift))
    else:
        shifted = lambda x: model(x.astype("float64") + shift)  # noqa: E731 - as the message has it
    with pytest.raises(ValueError, match=r"in float64 and in float32.* up to 16,777,216.*numbers up to 1,700,000,077"):
        tfs.Occlusion(model, window=1, stride=1).explain(x)
    values = tfs.Occlusion(shifted, window=1, stride=1).explain(x - shift).values
    np.testing.assert_allclose(values, [[0.6**2, 1.54**2]], rtol=1e-5)
    with pytest.raises(ValueError, match="integers from 1,700,000,030"):
        tfs.Occlusion(model, window=1, stride=1).explain(x.astype("int64"))


def test_every_batch_is_looked_at_for_numbers_that_float32_does_not_hold():
    """Only the first batch of a model was: what is compiled for small numbers answered for large ones."""
    explainer = tfs.Gradient(InFloat64().keras())
    explainer.explain(np.array([[1.0, 2.0]]))
    with pytest.raises(ValueError, match="in float64 and in float32"):
        explainer.explain(np.array([[1.7e9 + 30, 1.7e9 + 77]]))


def test_large_numbers_that_the_model_rounds_itself_are_explained():
    model = keras.Sequential([keras.Input((2,)), layers.Dense(1)])
    tfs.Gradient(model).explain(np.array([[1.7e9 + 30, 1.7e9 + 77]]))


def test_more_rows_than_were_asked_about_are_refused():
    """A model that reshapes to two rows has two for one as well."""
    x = keras.Input(batch_shape=(2, 6))
    model = keras.Model(x, layers.Dense(3)(keras.ops.reshape(x, (2, 6))))
    assert tfs.Gradient(model).explain(np.ones((2, 6)), 1).values.shape == (2, 6)
    with pytest.raises(ValueError, match="The model makes 2 rows of 1.*build it again with a free batch axis"):
        tfs.Gradient(model).explain(np.ones((1, 6)), 1)


def test_large_numbers_beside_a_text_are_explained():
    text, x = keras.Input((1,), dtype="string", name="text"), keras.Input((1,), name="x")
    ids = layers.TextVectorization(vocabulary=["a", "b"], output_sequence_length=2)(text)
    vectors = layers.Flatten()(layers.Embedding(4, 2)(ids))
    model = keras.Model({"text": text, "x": x}, layers.Dense(2)(layers.Concatenate()([vectors, x * 1e-9])))
    texts = np.array([["a b"], ["b"]])
    explain = tfs.GradientTimesInput(model).explain
    values, expected = (
        explain({"text": texts, "x": np.array([[3.3e7], [1.0]], dtype)}, 1).values for dtype in ("float64", "float32")
    )
    for name in expected:
        np.testing.assert_array_equal(values[name], expected[name])


def test_chance_is_no_rounding_of_large_numbers():
    """A function that answers differently each time was told to read numbers in float64."""
    draw = np.random.default_rng(0)

    def function(x):
        return np.asarray(x, "float64")[:, :1] * 1e-9 + draw.normal(size=(len(x), 1))

    with pytest.warns(UserWarning, match="answers differently .* each time it is asked"):
        tfs.Occlusion(function, window=1, stride=1).explain(np.array([[1e9 + 1, 3.0]]))


def test_the_first_whole_number_that_float32_does_not_hold():
    model = keras.Sequential([keras.Input((2,)), layers.Dense(1)])
    tfs.Gradient(model).explain(np.array([[2**24, 1]]))
    with pytest.raises(ValueError, match="from 1 to 16,777,217"):
        tfs.Gradient(model).explain(np.array([[2**24 + 1, 1]]))
