"""Which grid the places of a layer are, from the operations that made them, and how it is folded and resized."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfsaliency as tfs
from tfsaliency.graph.ancestry import ancestors
from tfsaliency.graph.axes import followed_axes
from tfsaliency.graph.trace import Trace
from tfsaliency.methods.activations.grid import Grid, grid_of


def placed(function, shape):
    """The grid of what a function makes of an input of some shape."""
    trace = Trace(function, tf.TensorSpec((None, *shape)))
    (given,), made = trace.inputs, trace.outputs
    axes = followed_axes(given, ancestors(made))
    return grid_of(made.shape, axes.get(made.ref()), given.shape)


def pooled(*sizes):
    return lambda x: tf.nn.avg_pool(x, sizes, sizes, "SAME")


def tokens(x, *others, axis=1):
    """Other tokens of the same number of channels in front of those of a picture."""
    rows = tf.reshape(x, [-1, x.shape[1] * x.shape[2], x.shape[3]])
    around = [tf.tile(tf.ones([1, each, x.shape[3]]), [tf.shape(x)[0], 1, 1]) for each in others]
    return tf.concat([*around[:1], rows, *around[1:]], axis=axis)


def windows(x, side):
    """Swin's windows: ``(N * windows, side * side, channels)``."""
    _, h, w, k = x.shape
    y = tf.transpose(tf.reshape(x, [-1, h // side, side, w // side, side, k]), [0, 1, 3, 2, 4, 5])
    return tf.reshape(y, [-1, side * side, k])


def out_of_windows(x, side, h, w):
    k = x.shape[-1]
    y = tf.reshape(x, [-1, h // side, w // side, side, side, k])
    return tf.reshape(tf.transpose(y, [0, 1, 3, 2, 4, 5]), [-1, h * w, k])


def patches(x, side):
    """Patches by reshaping, row by row: ``(N, tokens, side * side * channels)``."""
    _, h, w, k = x.shape
    y = tf.transpose(tf.reshape(x, [-1, h // side, side, w // side, side, k]), [0, 1, 3, 2, 4, 5])
    return tf.reshape(y, [-1, (h // side) * (w // side), side * side * k])


def tokens_by_number(x):
    """Tokens by a reshape to the number of rows and what is left: TensorFlow knows neither of both."""
    return tf.reshape(x, [tf.shape(x)[0], -1, tf.shape(x)[-1]])


def with_class_token(x):
    """A class token in front, made as many times as there are rows, as layers of models are written."""
    return tf.concat([tf.zeros_like(x[:, :1]) + tf.ones([1, 1, x.shape[2]]), x], axis=1)


def heads(x):
    """``(N, heads, tokens, 1)`` with a class token."""
    return tf.transpose(tf.reshape(tokens(x, 1), [-1, 289, 2, 1]), [0, 2, 1, 3])


# A function of pictures (N, 12, 24, 2), and the grid of what it makes with the tokens in front.
GRIDS = {
    "places": (pooled(4, 4), (3, 6), 0),
    "tokens": (lambda x: tokens(pooled(4, 4)(x)), (3, 6), 0),
    # 18 tokens have the proportions of this picture as 3 x 6 alone, 16 and 2 more as well as 2 x 8 would not.
    "a grid of other proportions": (lambda x: tokens(pooled(2, 12)(x)), (6, 2), 0),
    "class token": (lambda x: tokens(pooled(4, 4)(x), 1), (3, 6), 1),
    "class and register tokens around": (lambda x: tokens(pooled(4, 4)(x), 5, 3), (3, 6), 5),
    "more registers than places": (lambda x: tokens(pooled(6, 12)(x), 20), (2, 2), 20),
    "token cut off again": (lambda x: tokens(pooled(4, 4)(x), 5, 3)[:, 4:-3], (3, 6), 1),
    "patches by reshaping": (lambda x: patches(x, 4), (3, 6), 0),
    "patches by extraction": (
        lambda x: tokens(tf.image.extract_patches(x, [1, 4, 4, 1], [1, 4, 4, 1], [1] * 4, "VALID")),
        (3, 6),
        0,
    ),
    "patches in rows of a computed number": (
        lambda x: tokens_by_number(tf.image.extract_patches(x, [1, 4, 4, 1], [1, 4, 4, 1], [1] * 4, "VALID")),
        (3, 6),
        0,
    ),
    "sizes that are read from shapes": (
        lambda x: tf.tensordot(tokens_by_number(pooled(4, 4)(x)), tf.eye(2), 1),
        (3, 6),
        0,
    ),
    "class token before rows of a computed number": (
        lambda x: with_class_token(tokens_by_number(pooled(4, 4)(x))),
        (3, 6),
        1,
    ),
    "windows and back": (lambda x: out_of_windows(windows(x, 4), 4, 12, 24), (12, 24), 0),
    "heads and back": (lambda x: tf.reshape(tf.transpose(heads(x), [0, 2, 1, 3]), [-1, 289, 2]), (12, 24), 1),
    "one row": (lambda x: tokens(pooled(12, 4)(x), 1), (1, 6), 1),
}


@pytest.mark.parametrize("name", GRIDS)
def test_tokens_come_from_places_of_the_picture(name):
    function, shape, extra = GRIDS[name]
    grid = placed(function, (12, 24, 2))
    assert (grid.shape, grid.extra, grid.extent) == (shape, extra, (12, 24))


@pytest.mark.parametrize("name", GRIDS)
def test_folded_tokens_are_where_the_picture_has_them(name):
    """Each place of the grid holds numbers of its own part of the picture: here, their row and column."""
    function, (rows, columns), _ = GRIDS[name]
    y, x = np.meshgrid(np.arange(12.0), np.arange(24.0), indexing="ij")
    picture = np.stack([y, x], axis=-1)[None].astype("float32")
    made = function(tf.constant(picture))
    folded = placed(function, (12, 24, 2)).fold(made).numpy()
    folded = folded.reshape(rows, columns, -1, 2)
    place = np.floor(folded / [12 / rows, 24 / columns])
    np.testing.assert_array_equal(place[..., 0], np.arange(rows)[:, None, None] + np.zeros(place.shape[:3]))
    np.testing.assert_array_equal(place[..., 1], np.arange(columns)[None, :, None] + np.zeros(place.shape[:3]))


def queries(x, number=18):
    """Object queries that look at the picture: they are no places of it."""
    seen = tokens(pooled(4, 4)(x))
    weights = tf.nn.softmax(tf.matmul(tf.ones([1, number, 2]) + 0 * seen[:, :1], seen, transpose_b=True))
    return tf.matmul(weights, seen)


NO_GRIDS = {
    "twice beside each other": lambda x: tf.tile(x, [1, 1, 2, 1]),
    "one place, repeated": lambda x: tf.tile(pooled(12, 24)(x), [1, 12, 24, 1]),
    "anchors of each place": lambda x: tf.reshape(tf.tile(pooled(4, 4)(x), [1, 1, 1, 4]), [-1, 72, 2]),
    "anchors of several levels": lambda x: tf.concat([tokens(x), tokens(pooled(4, 4)(x))], axis=1),
    "object queries": queries,
    "channels": lambda x: tf.reshape(tf.matmul(tf.reshape(x, [-1, 576]), tf.ones([576, 36])), [-1, 18, 2]),
    "channels in front": lambda x: tf.transpose(tokens(x), [0, 2, 1]),
    "columns before rows": lambda x: tokens(tf.transpose(x, [0, 2, 1, 3])),
    "tokens in the other order": lambda x: tokens(x)[:, ::-1],
    "all but the class token in the other order": lambda x: tf.reverse(tokens(x, 1), [1]),
    "groups of tokens": lambda x: tf.split(tokens(x), 2, axis=1)[0],
    "half of the tokens": lambda x: tokens(x)[:, :144],
    "windows": lambda x: windows(x, 4),
    "windows as pictures": lambda x: tf.reshape(windows(x, 4), [-1, 4, 4, 2]),
    "heads in the batch": lambda x: tf.reshape(heads(x), [-1, 289, 1]),
    "chosen tokens": lambda x: tf.gather(tokens(x), list(range(18)), axis=1),
    "a table of weights": lambda x: tf.ones([1, 18, 2]) + 0 * tf.reduce_sum(x, axis=[1, 2])[:, None],
    "decoded places": lambda x: tf.reshape(tf.matmul(tf.reshape(x, [-1, 576]), tf.ones([576, 36])), [-1, 3, 6, 2]),
    "tokens and heads": lambda x: tf.reshape(tf.matmul(tokens(x), tf.ones([2, 6])), [-1, 288, 3, 2]),
    "a code in Python": lambda x: tf.ensure_shape(tf.numpy_function(np.flip, [x], tf.float32), [None, 12, 24, 2]),
    "turned by half, by a condition": lambda x: tf.ensure_shape(tf.image.rot90(x, 2), [None, 12, 24, 2]),
    "tokens and heads of which nothing is known": lambda x: tf.reshape(
        tf.matmul(tf.map_fn(tf.identity, tokens(x)), tf.ones([2, 6])), [-1, 288, 3, 2]
    ),
    "windows of a computed number": lambda x: tf.reshape(windows(x, 4), [18 * tf.shape(x)[0], -1, 2]),
    "one place": lambda x: tf.reduce_mean(x, axis=[1, 2], keepdims=True),
    "no places": lambda x: tf.reduce_mean(x, axis=[1, 2]),
}


@pytest.mark.parametrize("name", NO_GRIDS)
def test_what_is_no_grid_of_the_picture(name):
    assert placed(NO_GRIDS[name], (12, 24, 2)) is None


def test_places_of_other_inputs():
    """Series, tables, grey pictures, volumes; and a loop, which nothing is known of, where the axes are as many."""
    assert placed(lambda x: x[:, ::2], (24, 3))[:4] == ((12,), 0, (24,), -1)
    around = [[0, 0], [2, 1], [0, 0]]
    assert placed(lambda x: tf.concat([tf.zeros_like(x[:, :2]), x], axis=1), (24, 3)) == Grid((24,), 2, (24,), -1)
    assert placed(lambda x: tf.concat([tf.ones([1, 2, 3]), x], axis=1), (24, 3)) == Grid((24,), 2, (24,), -1)
    assert placed(lambda x: tf.pad(x, around), (24, 3))[:4] == ((27,), 0, (24,), -1)
    assert placed(lambda x: x[..., None] * tf.ones([4]), (24,)) == Grid((24,), 0, (24,), None)
    assert placed(lambda x: pooled(2, 2)(x[..., None]), (12, 12)) == Grid((6, 6), 0, (12, 12), None)
    assert placed(lambda x: x[:, ::2], (6, 4, 5, 1))[:4] == ((3, 4, 5), 0, (6, 4, 5), -1)
    assert placed(lambda x: tf.reshape(x, [-1, 120, 2]), (6, 4, 5, 2)) == Grid((6, 4, 5), 0, (6, 4, 5), -1)
    assert placed(lambda x: tf.ensure_shape(tf.map_fn(tf.nn.relu, x), [None, 5, 7, 2]), (5, 7, 2)).shape == (5, 7)
    assert placed(lambda x: tf.reshape(x, [-1, 12, 4]), (None, 24, 2)) is None
    assert placed(lambda x: tf.split(x, 2)[0], (24, 2)) == Grid((24,), 0, (24,), -1)
    assert placed(lambda x: tf.concat([x, x[:, 3:3]], axis=1), (24, 2)) is None
    # Channels in front, put behind; and a grey picture as tokens.
    assert placed(lambda x: pooled(2, 2)(tf.transpose(x, [0, 2, 3, 1])), (3, 12, 8)) == Grid((6, 4), 0, (12, 8), 1)
    behind = placed(lambda x: tokens(pooled(2, 2)(tf.transpose(x, [0, 2, 3, 1])), 1), (3, 12, 8))
    assert behind == Grid((6, 4), 1, (12, 8), 1)
    assert placed(lambda x: tf.transpose(x, [0, 2, 1])[:, ::2], (3, 24))[:4] == ((12,), 0, (24,), 1)
    assert placed(lambda x: tokens(x[..., None]), (12, 8)) == Grid((12, 8), 0, (12, 8), None)


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize("around", [0, 2, 4])
def test_places_that_a_convolution_with_gaps_reads_in_turn(padding, around):
    """TensorFlow puts the rows of each rest of a division by the rate into a batch of its own, and back."""
    kernel = tf.ones([3, 3, 2, 1])

    def padded(x):
        return tf.pad(x, [[0, 0], [around, around], [around, around], [0, 0]])

    def in_turn(x):
        return tf.nn.depthwise_conv2d(padded(x), kernel, [1, 1, 1, 1], padding, dilations=[2, 2])

    assert "SpaceToBatchND" in {op.type for op in Trace(in_turn, tf.TensorSpec((None, 12, 24, 2))).operations}
    directly = placed(lambda x: tf.nn.conv2d(padded(x), kernel, 1, padding, dilations=2), (12, 24, 2))
    assert placed(in_turn, (12, 24, 2)) == directly


def test_each_place_several_times():
    """More places of the same axes, as a resize to the nearest makes them."""
    assert placed(lambda x: layers.UpSampling2D(2)(pooled(4, 4)(x)), (12, 24, 2)) == Grid((6, 12), 0, (12, 24), -1)
    assert placed(lambda x: layers.UpSampling1D(3)(x), (8, 2)) == Grid((24,), 0, (8,), -1)
    twice = placed(lambda x: tf.repeat(tokens(pooled(4, 4)(x)), 2, axis=1), (12, 24, 2))
    assert twice == Grid((3, 12), 0, (12, 24), -1)


def packed(function, axis=1):
    """What a function makes of each of five steps, together again."""
    return lambda x: tf.stack([function(x[:, step], step) for step in range(5)], axis=axis)


def test_steps_that_are_put_together_again_are_places():
    def halved(x, step):
        return tf.nn.relu(pooled(2, 2)(x)) + step

    assert placed(packed(halved), (5, 8, 6, 2)) == Grid((5, 4, 3), 0, (5, 8, 6), -1)
    assert placed(packed(lambda x, step: x @ tf.ones([2, 4])), (5, 2)) == Grid((5,), 0, (5,), -1)
    assert placed(lambda x: tf.stack(tf.unstack(x, axis=1), axis=1), (5, 8, 2)) == Grid((5, 8), 0, (5, 8), -1)
    backwards = placed(lambda x: packed(halved)(x[:, ::-1]), (5, 8, 6, 2))
    assert backwards == Grid((5, 4, 3), 0, (5, 8, 6), -1, spans=((1.0, 0.0), (0.0, 1.0), (0.0, 1.0)))
    # Put together backwards, the same step each time, one step less, and sums of steps are other axes.
    assert placed(lambda x: tf.stack([x[:, 4 - step] for step in range(5)], axis=1), (5, 8, 2)) is None
    assert placed(lambda x: packed(lambda _, step: x[:, 0])(x), (5, 8, 2)) is None
    assert placed(lambda x: tf.stack([x[:, step] for step in range(4)], axis=1), (5, 8, 2)) is None
    assert placed(lambda x: packed(lambda own, step: own + x[:, 0])(x), (5, 8, 2)) is None


def same(x):
    return tf.nn.avg_pool(x, 3, 1, "SAME")


def valid(x, window=3, stride=1):
    return tf.nn.avg_pool(x, window, stride, "VALID")


def enlarged(x):
    """By four, with a window of eight: two more places at each border."""
    shape = [tf.shape(x)[0], 4 * x.shape[1] + 4, 4 * x.shape[2] + 4, 2]
    return tf.nn.conv2d_transpose(x, tf.ones([8, 8, 2, 2]), shape, 4, "VALID")


def padded(x, before, after):
    return tf.pad(x, [[0, 0], [before, after], [before, after], [0, 0]])


# What a model does to a picture (N, 12, 24, 2) before a layer, and which rows and columns are left, in order.
SEEN = {
    "cropped": (lambda x: x[:, 3:9, :10], (slice(3, 9), slice(0, 10))),
    "cropped behind a pool": (lambda x: pooled(2, 2)(x)[:, 1:4, 3:], (slice(2, 8), slice(6, 24))),
    "cropped in the middle": (lambda x: layers.CenterCrop(6, 12)(x), (slice(3, 9), slice(6, 18))),
    "resized with a crop": (
        lambda x: layers.Resizing(6, 6, crop_to_aspect_ratio=True)(x),
        (slice(0, 12), slice(6, 18)),
    ),
    "one of two halves": (lambda x: tf.split(x, 2, axis=2)[1], (slice(None), slice(12, 24))),
    "one of three parts": (lambda x: tf.split(pooled(2, 2)(x), [1, 3, 2], axis=1)[1], (slice(2, 8), slice(None))),
    "turned around": (lambda x: x[:, :, ::-1], (slice(None), slice(None, None, -1))),
    "turned upside down": (lambda x: tf.reverse(x, [1]), (slice(None, None, -1), slice(None))),
    "turned by indices": (
        lambda x: tf.gather(x, list(range(23, -1, -1)), axis=2),
        (slice(None), slice(None, None, -1)),
    ),
    "every second, as the places in the middle": (lambda x: x[:, 1::3, 1::3], (slice(None), slice(None))),
    "chosen by Keras": (lambda x: keras.ops.take(x, list(range(8, 24)), axis=2), (slice(None), slice(8, 24))),
    "uneven columns": (lambda x: keras.ops.take(x, [4, 5, 9, 12, 19], axis=2), (slice(None), slice(4, 20))),
    "turned, then cropped": (lambda x: keras.ops.flip(x, 2)[:, :, :8], (slice(None), slice(None, 15, -1))),
    "turned twice": (lambda x: pooled(2, 2)(x[:, ::-1])[:, ::-1], (slice(None), slice(None))),
    "rolled and back": (lambda x: tf.roll(same(tf.roll(x, [2, 5], [1, 2])), [-2, -5], [1, 2]), (slice(None),) * 2),
    # As everyone resizes the maps of layers: what a border of convolutions cuts off is not seen, nor is its padding.
    "a border cut off": (lambda x: valid(valid(x)), (slice(None), slice(None))),
    "a border padded": (lambda x: valid(padded(x, 1, 1)), (slice(None), slice(None))),
    "a wide border": (lambda x: valid(padded(x, 3, 3), 7, 2), (slice(None), slice(None))),
    "a border at one end": (lambda x: valid(padded(x, 0, 1), 3, 2), (slice(None), slice(None))),
    "borders of two layers": (lambda x: valid(padded(valid(padded(x, 3, 3), 7, 2), 1, 1), 3, 2), (slice(None),) * 2),
    "a border in front, as of causal convolutions": (
        lambda x: valid(tf.pad(x, [[0, 0], [2, 0], [6, 0], [0, 0]]), (3, 7)),
        (slice(None), slice(None)),
    ),
    "a border that is joined, as of causal convolutions": (
        lambda x: valid(tf.concat([tf.zeros_like(x[:, :2]), x], axis=1), (3, 1)),
        (slice(None), slice(None)),
    ),
    "a border from the other end": (
        lambda x: valid(tf.concat([x[:, -1:], x, x[:, :1]], axis=1), (3, 1)),
        (slice(None), slice(None)),
    ),
    "enlarged, then cropped": (
        lambda x: enlarged(pooled(4, 4)(x))[:, 2:-2, 2:-2],
        (slice(None), slice(None)),
    ),
    "steps and those before": (lambda x: x[:, 1:] - x[:, :-1], (slice(None), slice(None))),
    "shifted windows": (
        lambda x: tf.concat([x[:, :, each : each + 18] for each in range(2, 7)], axis=-1),
        (slice(None), slice(2, 24)),
    ),
    "branches of other crops": (lambda x: same(x)[:, 1:-1, 1:-1] + valid(x), (slice(None), slice(None))),
}


@pytest.mark.parametrize(("function", "seen"), SEEN.values(), ids=SEEN)
def test_a_map_lies_where_its_layer_looks(function, seen):
    """It is that of the part that is seen, put there; zero elsewhere."""
    rows, columns = (np.arange(size)[part] for size, part in zip((12, 24), seen, strict=True))
    grid = placed(function, (12, 24, 2))
    maps = np.random.default_rng(0).uniform(1, 2, size=(2, *grid.shape)).astype("float32")
    expected = np.zeros((2, 12, 24), "float32")
    resized = tf.image.resize(maps[..., None], [len(rows), len(columns)], "bilinear")[..., 0]
    expected[:, rows[:, None], columns] = resized
    np.testing.assert_allclose(grid.over_input(tf.constant(maps)), expected, rtol=1e-5)


def test_what_lies_around_the_picture_is_cut_off():
    grid = placed(lambda x: same(padded(x, 6, 2)), (12, 24, 2))
    assert grid.shape == (20, 32)
    maps = np.random.default_rng(0).normal(size=(2, 20, 32)).astype("float32")
    np.testing.assert_allclose(grid.over_input(tf.constant(maps)), maps[:, 6:-2, 6:-2], rtol=1e-5)
    # A wide picture in the middle of a square, which is resized.

    def in_square(x):
        nothing = tf.zeros_like(x[:, :6])
        return pooled(2, 2)(tf.concat([nothing, x, nothing], axis=1))

    grid = placed(in_square, (12, 24, 2))
    maps = np.random.default_rng(0).normal(size=(2, 12, 12)).astype("float32")
    expected = tf.image.resize(maps[..., None], [24, 24])[:, 6:18, :, 0]
    np.testing.assert_allclose(grid.over_input(tf.constant(maps)), expected, atol=1e-5)


MOVED = {
    "rolled": lambda x: tf.roll(x, 5, axis=2),
    "rolled, then pooled": lambda x: pooled(2, 2)(tf.roll(x, 5, axis=2)),
    "with its mirror image": lambda x: tf.concat([x, x[:, :, ::-1]], axis=-1),
    "columns in another order": lambda x: tf.gather(x, [5, 1, 2, *range(3, 24)], axis=2),
    "sorted": lambda x: tf.sort(x, axis=2),
    "columns that numbers say": lambda x: tf.gather(x, tf.argsort(x[:, 0, :, 0]), axis=2, batch_dims=1),
    "frequencies": lambda x: tf.abs(tf.signal.fft2d(tf.cast(x[..., 0], "complex64")))[..., None],
    "frequencies of rows": lambda x: tf.transpose(tf.signal.rfft(tf.transpose(x, [0, 3, 1, 2])), [0, 2, 3, 1]),
    "two halves as channels": lambda x: tf.concat([x[:, :, :12], x[:, :, 12:]], axis=-1),
}


@pytest.mark.parametrize("function", MOVED.values(), ids=MOVED)
def test_what_lies_over_no_part_of_the_picture(function):
    assert placed(function, (12, 24, 2)) is None


def detector_of_anchors(name):
    keras.utils.set_random_seed(0)
    x = keras.Input((16, 16, 3))
    y = layers.Conv2D(4, 3, strides=4, padding="same", activation="relu", name="top")(x)
    y = layers.Reshape((32, 4), name=name)(layers.Conv2D(8, 1)(y))
    return keras.Model(x, layers.Dense(2)(layers.GlobalAveragePooling1D()(layers.Dense(4, "gelu")(y))))


def test_anchors_are_refused_by_name_and_passed_over():
    """32 anchors of a grid of 4 x 4 were folded to 5 x 5, with seven tokens left out."""
    model = detector_of_anchors("anchors")
    picture = np.random.default_rng(0).normal(size=(1, 16, 16, 3))
    explanation = tfs.HiResCAM(model, upsample=False).explain(picture, 1)
    assert explanation.values.shape == (1, 4, 4, 1)
    with pytest.raises(ValueError, match=r"The layer 'anchors' returns \(None, 32, 4\), whose places do not lie over"):
        tfs.HiResCAM(model, "anchors").explain(picture, 1)


@pytest.mark.parametrize(("shape", "extent"), [((7, 7), (224, 224)), ((3, 5), (10, 33)), ((9, 4), (5, 4))])
def test_resizing_is_that_of_tensorflow(shape, extent):
    maps = np.random.default_rng(0).normal(size=(2, *shape)).astype("float32")
    expected = tf.image.resize(maps[..., None], extent, "bilinear")[..., 0]
    np.testing.assert_allclose(Grid(shape, 0, extent, -1).over_input(tf.constant(maps)), expected, atol=1e-5)


def test_resizing_in_one_and_three_dimensions_keeps_a_plane():
    grid = Grid((4, 4, 4), 0, (8, 8, 8), -1)
    x, y, z = np.meshgrid(*[np.arange(4.0)] * 3, indexing="ij")
    resized = grid.over_input(tf.constant((x + 2 * y - z)[None].astype("float32")))[0]
    inner = (np.arange(8) + 0.5) / 2 - 0.5
    a, b, c = np.meshgrid(*[inner] * 3, indexing="ij")
    np.testing.assert_allclose(resized[1:-1, 1:-1, 1:-1], (a + 2 * b - c)[1:-1, 1:-1, 1:-1], atol=1e-5)
