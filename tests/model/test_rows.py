"""A row of a batch gets the map that it gets alone, or a warning names the layer or operation where rows meet."""

import re
import warnings
from functools import partial

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfsaliency as tfs
from tfsaliency.graph.rows import meetings
from tfsaliency.model.traced import traced_model

RNG = np.random.default_rng(0)
TABLE = RNG.normal(size=(5, 6)).astype("float32")
PICTURE = RNG.normal(size=(5, 4, 4, 3)).astype("float32")
SERIES = RNG.normal(size=(5, 4, 6)).astype("float32")


class Around(keras.Model):
    """An operation between layers with weights, with a name that a warning can give."""

    def __init__(self, operation, x, make=None):
        keras.utils.set_random_seed(0)
        super().__init__(name="around")
        self.before = layers.Dense(4, "tanh")
        self.layer = make() if make else None
        self.operation, self.head = operation, layers.Dense(3)
        self(x)

    def call(self, x):
        y = self.before(x)
        y = self.operation(y) if self.layer is None else self.operation(y, self.layer)
        return self.head(tf.reshape(y, [tf.shape(y)[0], int(np.prod(y.shape[1:]))]))


def training(y, layer):
    return layer(y, training=True)


MEET = {
    # name: operation, inputs, what makes a layer, what the warning names
    "batch statistics": (training, TABLE, layers.BatchNormalization, "batch_normalization"),
    "batch statistics of pictures": (training, PICTURE, layers.BatchNormalization, "batch_normalization"),
    "unit norm over the batch": (lambda y, layer: layer(y), TABLE, lambda: layers.UnitNormalization(0), "unit_norm"),
    "largest of the batch": (lambda y: y / tf.reduce_max(y), TABLE, None, "Max"),
    "mean of the batch": (lambda y: y - tf.reduce_mean(y, axis=0), TABLE, None, "Mean"),
    "softmax over the batch": (lambda y: tf.nn.softmax(y, axis=0), TABLE, None, "Transpose"),
    "norm over everything": (lambda y: tf.math.l2_normalize(y, axis=None), TABLE, None, "Sum"),
    "products of rows": (lambda y: (y @ tf.transpose(y)) @ y, TABLE, None, "MatMul"),
    "products of rows by einsum": (lambda y: tf.einsum("bi,ci->bc", y, y) @ y, TABLE, None, "Einsum"),
    "sums down the batch": (lambda y: tf.cumsum(y, axis=0), TABLE, None, "Cumsum"),
    "sorted down the batch": (lambda y: tf.sort(y, axis=0), TABLE, None, "Reshape"),
    "the batch upside down": (lambda y: y[::-1], TABLE, None, "StridedSlice"),
    "the first row": (lambda y: y - y[:1], TABLE, None, "StridedSlice"),
    "rolled": (lambda y: tf.roll(y, 1, axis=0), TABLE, None, "Roll"),
    "the number of rows": (lambda y: y * tf.cast(tf.shape(y)[0], tf.float32), TABLE, None, "Mul"),
    "the number of the row": (lambda y: y + tf.cast(tf.range(tf.shape(y)[0]), tf.float32)[:, None], TABLE, None, ""),
    "a loop down the batch": (
        lambda y, layer: y + layer(y[None])[0],
        TABLE,
        lambda: layers.SimpleRNN(4, return_sequences=True),
        "",
    ),
    "the mean of all numbers": (lambda y: y - tf.reduce_mean(tf.reshape(y, [-1])), TABLE, None, "Mean"),
    "a mean in a function": (tf.function(lambda y: y - tf.reduce_mean(y, axis=0)), TABLE, None, "Mean"),
    "a draw of each row from one seed": (
        lambda y: y + tf.random.stateless_normal(tf.shape(y), [1, 2]),
        TABLE,
        None,
        "Stateless",
    ),
}  # fmt: skip
APART = {
    "layer normalization": (lambda y, layer: layer(y), TABLE, layers.LayerNormalization),
    "group normalization": (lambda y, layer: layer(y), PICTURE, lambda: layers.GroupNormalization(2)),
    "batch normalization": (lambda y, layer: layer(y), PICTURE, layers.BatchNormalization),
    "dropout": (lambda y, layer: layer(y), TABLE, lambda: layers.Dropout(0.5)),
    "time distributed": (lambda y, layer: layer(y), SERIES, lambda: layers.TimeDistributed(layers.Dense(3))),
    "attention": (lambda y, layer: layer(y, y), SERIES, lambda: layers.MultiHeadAttention(2, 3)),
    "recurrent": (lambda y, layer: layer(y), SERIES, lambda: layers.LSTM(3)),
    "both ways": (lambda y, layer: layer(y), SERIES, lambda: layers.Bidirectional(layers.GRU(3))),
    "grouped convolution": (lambda y, layer: layer(y), PICTURE, lambda: layers.Conv2D(4, 3, groups=2)),
    "dilated convolution": (lambda y, layer: layer(y), PICTURE, lambda: layers.Conv2D(4, 2, dilation_rate=2)),
    "transposed convolution": (lambda y, layer: layer(y), PICTURE, lambda: layers.Conv2DTranspose(4, 3, 2)),
    "upsampling": (lambda y, layer: layer(y), PICTURE, lambda: layers.UpSampling2D(2, interpolation="bilinear")),
    "pooling and padding": (lambda y: tf.nn.max_pool2d(tf.pad(y, [[0, 0], [1, 1], [1, 1], [0, 0]]), 2, 2, "SAME"),
                            PICTURE, None),
    "places as rows and back": (
        lambda y: tf.reshape(tf.nn.softmax(tf.reshape(y, [-1, 4])), [-1, 4, 4, 4]),
        PICTURE,
        None,
    ),
    "the batch in the middle and back": (
        lambda y: tf.transpose(tf.cumsum(tf.transpose(y, [1, 0, 2]), axis=0), [1, 0, 2]),
        SERIES,
        None,
    ),
    "slices": (lambda y: tf.concat([y[:, 1:, :2], y[:, None, 0, ..., :2]], axis=1), SERIES, None),
    "einsum": (lambda y: tf.einsum("btc,bsc->bts", y, y), SERIES, None),
    "gathered": (lambda y: tf.gather(y, [2, 0], axis=1), SERIES, None),
    "sorted and rolled inside": (lambda y: tf.roll(tf.sort(y, axis=-1)[..., ::-1], 1, axis=1), SERIES, None),
    "a map over the batch": (lambda y: tf.map_fn(lambda row: row / tf.norm(row), y), TABLE, None),
    "a function": (tf.function(lambda y: y - tf.reduce_mean(y, axis=1, keepdims=True)), TABLE, None),
}  # fmt: skip


# Where the batch is not followed to the end, numbers decide, and no sum behind it is taken for one over the batch.
GUESSED = {
    "a map in one go": lambda y: tf.vectorized_map(lambda row: tf.linalg.matvec(tf.constant(TABLE[:4, :4]), row), y),
    "the batch last in a product": lambda y: tf.transpose(tf.tensordot(tf.constant(TABLE[:4, :4]), y, [[1], [1]])),
    "segments of each row": lambda y: tf.transpose(
        tf.math.unsorted_segment_sum(tf.transpose(y), tf.constant([0, 0, 1, 1]), 2)
    ),
}
APART |= {name: (function, TABLE, None) for name, function in GUESSED.items()}


def alone_and_together(model, x):
    """The gradients of each row alone and in a batch, and the warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        together = tfs.Gradient(model).explain(x, 0)
        alone = [tfs.Gradient(model).explain(x[i : i + 1], 0) for i in range(len(x))]
    said = [str(each.message) for each in caught if "rows of a batch" in str(each.message)]
    stacked = np.concatenate([each.scores for each in alone]), np.concatenate([each.values for each in alone])
    return (together.scores, together.values), stacked, said, together


@pytest.mark.parametrize("operation, x, make, named", MEET.values(), ids=MEET)
def test_rows_that_depend_on_each_other_are_named(operation, x, make, named):
    together, alone, said, explanation = alone_and_together(Around(operation, x, make), x)
    # The case is one: scores change with the neighbours.
    assert not np.allclose(together[0], alone[0], rtol=1e-3)
    assert said and named in said[0]
    assert explanation.provenance["cautions"] == said[:1]


@pytest.mark.parametrize("operation, x, make", APART.values(), ids=APART)
def test_rows_that_are_apart_are_not_warned_of(operation, x, make):
    together, alone, said, _ = alone_and_together(Around(operation, x, make), x)
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
    assert not said


@pytest.mark.parametrize("name", ["MobileNetV2", "NASNetMobile", "EfficientNetB0", "DenseNet121", "InceptionV3"])
def test_the_trace_alone_proves_it_for_common_networks(name):
    """A comparison would cost a run of the network; the trace costs milliseconds."""
    model = getattr(keras.applications, name)(weights=None, input_shape=(96, 96, 3), include_top=False)
    traced = traced_model(model, tf.TensorSpec([None, 96, 96, 3]))
    assert not meetings([traced.inputs], traced.logits.floats)


CHANCE = {
    "dropout": (training, lambda: layers.Dropout(0.5), "dropout"),
    "noise": (training, lambda: layers.GaussianNoise(0.5), "gaussian_noise"),
    "TensorFlow": (lambda y: y + tf.random.normal(tf.shape(y)), None, "RandomStandardNormal"),
    "gamma": (lambda y: y * tf.random.gamma([], 2.0), None, "RandomGamma"),
    "choice": (lambda y: y * tf.cast(tf.random.categorical(y, 1), tf.float32), None, "Multinomial"),
    "in a function": (tf.function(lambda y: y + tf.random.normal(tf.shape(y))), None, "RandomStandardNormal"),
    "generator": (lambda y: y + tf.random.get_global_generator().normal(tf.shape(y)), None, "RngReadAndSkip"),
    "keras": (lambda y: y + keras.random.normal(tf.shape(y)), None, "Stateless"),
}


@pytest.mark.parametrize("operation, make, named", CHANCE.values(), ids=CHANCE)
def test_chance_is_named(operation, make, named):
    tf.random.set_global_generator(tf.random.Generator.from_seed(0))
    explainer = tfs.Gradient(Around(operation, TABLE, make))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        explainer.explain(TABLE, 0)
    assert re.search(f"draws random numbers at .*{named}", str(caught[0].message))


def test_the_same_draw_at_each_call_is_no_chance():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tfs.Gradient(Around(lambda y: y * tf.random.stateless_normal([], [1, 2]), TABLE)).explain(TABLE, 0)


class Running(keras.Layer):
    """Divides by a mean that it keeps from batch to batch."""

    def build(self, shape):
        self.mean = self.add_weight(shape=(), initializer="ones", trainable=False)

    def call(self, y):
        self.mean.assign(0.5 * self.mean + 0.5 * tf.reduce_mean(tf.abs(y)))
        return y / self.mean


def test_what_a_variable_carries_from_row_to_row_is_named_and_put_back():
    model = Around(lambda y, layer: layer(y), TABLE, Running)
    before = [each.numpy() for each in model.variables]
    with pytest.warns(UserWarning, match="rows of a batch depend on each other"):
        tfs.Gradient(model).explain(TABLE, 0)
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)


def test_spectral_normalization_in_training_leaves_the_weights():
    model = Around(training, TABLE, lambda: layers.SpectralNormalization(layers.Dense(4)))
    before = [each.numpy() for each in model.variables]
    tfs.Gradient(model).explain(TABLE, 0)
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)


def test_integers_that_are_counted_leave_the_model_as_it_was():
    model = Around(lambda y, layer: layer(y), TABLE, Running)
    before = [each.numpy() for each in model.variables]
    with pytest.warns(UserWarning, match="rows of a batch depend"):
        tfs.Gradient(model).explain(np.arange(30).reshape(5, 6), 0)
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)


@pytest.mark.parametrize(
    "outputs",
    [
        lambda y: tf.concat([y, -y], axis=0),
        lambda y: tf.repeat(y, 2, axis=0),
        lambda y: tf.reduce_mean(y, axis=0, keepdims=True),
        lambda y: tf.reduce_mean(y, axis=0),
        lambda y: y[:1],
    ],
)
def test_a_model_without_one_row_for_each_row_is_refused(outputs):
    x = keras.Input((4,))
    model = keras.Model(x, layers.Lambda(outputs)(layers.Dense(3)(x)))
    with pytest.raises(ValueError, match="one row of output for each row of inputs"):
        tfs.Gradient(model).explain(np.ones((2, 4)), 0)


def test_a_fixed_number_of_rows_is_an_error_whose_advice_works():
    keras.utils.set_random_seed(0)
    series = RNG.normal(size=(4, 5, 3))
    model = keras.Sequential([keras.Input(batch_shape=(4, 5, 3)), layers.LSTM(3, stateful=True), layers.Dense(2)])
    tfs.Gradient(model).explain(series, 0)
    with pytest.raises(ValueError, match="free batch axis"):
        tfs.SmoothGrad(model, samples=3).explain(series, 0)
    free = keras.Sequential([keras.Input((5, 3)), layers.LSTM(3, stateful=False), layers.Dense(2)])
    free.set_weights(model.get_weights())
    np.testing.assert_allclose(
        tfs.Gradient(free).explain(series, 0).values, tfs.Gradient(model).explain(series, 0).values, rtol=1e-5
    )


@pytest.mark.parametrize("kind", [layers.LSTM, layers.GRU, layers.SimpleRNN])
@pytest.mark.parametrize("rows", [1, 3])
def test_a_state_for_each_row_is_an_error_whose_advice_works(rows, kind):
    keras.utils.set_random_seed(0)
    series = RNG.normal(size=(rows, 5, 3)).astype("float32")
    model = keras.Sequential([keras.Input(batch_shape=(rows, 5, 3)), kind(3, stateful=True), layers.Dense(2)])
    with pytest.raises(ValueError, match=r"fixed number of rows.*build it again with a free batch axis"):
        tfs.Gradient(model).explain(series, 0)
    free = keras.Sequential([keras.Input((5, 3)), kind(3, stateful=False), layers.Dense(2)])
    free.set_weights(model.get_weights())
    with tf.GradientTape() as tape:
        x = tf.constant(series)
        tape.watch(x)
        scores = free(x)[:, 0]
    np.testing.assert_allclose(tfs.Gradient(free).explain(series, 0).values, tape.gradient(scores, x), rtol=1e-4)


@pytest.mark.parametrize("frames", ["stft", "mel", "vectorized"])
def test_sound_cut_into_frames(frames):
    """The gradient of a spectrogram against a tape: a reshape to a scalar is no batch."""
    keras.utils.set_random_seed(0)
    sound = keras.Input((512,))
    made = {
        "stft": lambda: layers.Lambda(lambda x: tf.abs(tf.signal.stft(x, 64, 32)))(sound),
        "mel": lambda: layers.MelSpectrogram(fft_length=128, sequence_stride=64, num_mel_bins=8)(sound),
        "vectorized": lambda: layers.Lambda(
            lambda x: tf.vectorized_map(lambda row: tf.reshape(row, [8, 64]) ** 2, x), output_shape=(8, 64)
        )(sound),
    }[frames]()
    model = keras.Model(sound, layers.Dense(2)(layers.GlobalAveragePooling1D()(made)))
    x = np.random.default_rng(0).normal(size=(2, 512)).astype("float32")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        values = tfs.Gradient(model).explain(x, 1).values
    given = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(given)
        score = model(given)[:, 1]
    np.testing.assert_allclose(values, tape.gradient(score, given), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("items", [[[4], [5], [6]], [[4], [4], [5]]], ids=["different", "alike at first"])
def test_scores_within_the_batch_are_named(items):
    """Each user against all items of the batch, as a two-tower model is trained: also where two rows share an item."""
    keras.utils.set_random_seed(1)
    ids = [keras.Input((1,), dtype="int32") for _ in range(2)]
    users, products = (layers.Flatten()(layers.Embedding(30, 6)(part)) for part in ids)
    scores = layers.Lambda(lambda parts: tf.matmul(*parts, transpose_b=True), output_shape=(None,))
    model = keras.Model(ids, scores([users, products]))
    with pytest.warns(UserWarning, match="rows of a batch depend on each other"):
        tfs.Gradient(model).explain([np.array([[1], [2], [3]]), np.array(items)], 0)


@pytest.mark.parametrize(
    "make",
    [
        partial(tfs.IntegratedGradients, baseline=0.1),
        lambda model: tfs.IDGI(tfs.IntegratedGradients(model, 0.1)),
        partial(tfs.Occlusion, window=1),
        partial(tfs.ShapleyValues, samples=16),
        partial(tfs.SmoothGrad, samples=4),
    ],
    ids=["IntegratedGradients", "IDGI", "Occlusion", "ShapleyValues", "SmoothGrad"],
)
def test_the_rows_of_a_batch_of_one_meet_no_others(make):
    """What the warning advises. Integrated Gradients asked about two rows at once all the same."""
    pictures, texts = keras.Input((6,), name="pictures"), keras.Input((4,), name="texts")
    towers = [layers.UnitNormalization()(layers.Dense(5, "tanh")(part)) for part in (pictures, texts)]
    parts = {"pictures": pictures, "texts": texts}
    together = keras.Model(parts, 4 * keras.ops.matmul(towers[0], keras.ops.transpose(towers[1])))
    alone = keras.Model(parts, 4 * keras.ops.sum(towers[0] * towers[1], axis=-1, keepdims=True))
    x = {name: RNG.normal(size=(3, size)).astype("float32") for name, size in (("pictures", 6), ("texts", 4))}
    with pytest.warns(UserWarning, match="rows of a batch depend on each other.*batch_size=1"):
        found = make(together).explain(x, 0, batch_size=1).values
    expected = make(alone).explain(x, lambda z: z[:, 0]).values
    for name, part in found.items():
        np.testing.assert_allclose(part, expected[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("is_mel", [True, False], ids=["mel", "by hand"])
def test_a_maximum_of_all_numbers_is_told_where_the_rows_do_not_show_it(is_mel):
    """A spectrogram is cut off so far below the loudest number of the batch: altered copies of a sound meet there."""
    sound = np.random.default_rng(0).normal(size=(1, 256)).astype("float32")
    x = keras.Input((256,))
    if is_mel:
        seen = layers.MelSpectrogram(
            fft_length=64, sequence_stride=32, num_mel_bins=8, sampling_rate=1000, max_freq=500
        )(x)
    else:
        frames = layers.Lambda(lambda x: tf.math.log(tf.abs(tf.signal.frame(x, 64, 32)) + 1e-3), output_shape=(7, 64))(
            x
        )
        seen = keras.ops.maximum(frames, keras.ops.max(frames) - 10.0)
    model = keras.Model(x, layers.Dense(1, use_bias=False)(layers.Flatten()(seen)))
    halves = {"window": 128, "baseline": 0.0}
    with pytest.warns(UserWarning, match="The rows of a batch depend on each other at .* of type Max"):
        tfs.ShapleyValues(model, **halves).explain(sound)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        values = tfs.ShapleyValues(model, **halves).explain(sound, batch_size=1).values.reshape(2, 128).sum(axis=1)

    def score(first, second):
        return float(model(np.hstack([first * sound[:, :128], second * sound[:, 128:]]).astype("float32"))[0, 0])

    whole, none, alone = score(1, 1), score(0, 0), (score(1, 0), score(0, 1))
    expected = [(own - none + whole - other) / 2 for own, other in zip(alone, alone[::-1], strict=True)]
    np.testing.assert_allclose(values, expected, rtol=1e-3)


def test_chance_in_another_output_is_none():
    """The encoder of a variational autoencoder draws its third output alone."""
    x = keras.Input((8,))
    y = layers.Dense(6, "relu")(x)
    mean, spread = layers.Dense(2)(y), layers.Dense(2)(y)
    drawn = layers.Lambda(lambda parts: parts[0] + parts[1] * keras.random.normal((2,)))([mean, spread])
    encoder, alone = keras.Model(x, [mean, spread, drawn]), keras.Model(x, mean)
    rows = RNG.normal(size=(2, 8))
    explanation = tfs.Gradient(encoder).explain(rows, tfs.target.output(0, 1))
    assert "cautions" not in explanation.provenance
    np.testing.assert_array_equal(explanation.values, tfs.Gradient(alone).explain(rows, 1).values)
    with pytest.warns(UserWarning, match="draws random numbers"):
        tfs.Gradient(encoder).explain(rows, tfs.target.output(2, 1))
