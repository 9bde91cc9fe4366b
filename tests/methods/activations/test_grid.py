import numpy as np
import pytest
import tensorflow as tf

from tfsaliency.methods.activations.grid import grid_of


@pytest.mark.parametrize(
    ("activations", "part", "shape", "extra"),
    [
        ((None, 7, 7, 1280), (None, 224, 224, 3), (7, 7), 0),
        ((None, 5, 9, 8), (None, 40, 72, 3), (5, 9), 0),
        ((None, 12, 8), (None, 24, 3), (12,), 0),
        ((None, 3, 4, 5, 2), (None, 6, 8, 10, 1), (3, 4, 5), 0),
        ((None, 12, 8), (None, 24), (12,), 0),
        ((None, 6, 6, 8), (None, 12, 12), (6, 6), 0),
        # Tokens: alone, with a class token, with a class token and four registers, of a picture that is no square.
        ((None, 196, 64), (None, 224, 224, 3), (14, 14), 0),
        ((None, 197, 64), (None, 224, 224, 3), (14, 14), 1),
        ((None, 201, 64), (None, 224, 224, 3), (14, 14), 5),
        ((None, 33, 64), (None, 64, 128, 3), (4, 8), 1),
        # The patches of a side of 225 with padding.
        ((None, 226, 64), (None, 225, 225, 3), (15, 15), 1),
    ],
)
def test_places_over_an_input(activations, part, shape, extra):
    grid = grid_of(tf.TensorShape(activations), tf.TensorShape(part))
    assert (grid.shape, grid.extra) == (shape, extra)


@pytest.mark.parametrize(
    ("activations", "part"),
    [
        ((None, 10), (None, 5)),
        ((None, 1, 1, 1280), (None, 224, 224, 3)),
        ((None, 190, 64), (None, 224, 224, 3)),
        ((None, None, 64), (None, 224, 224, 3)),
        ((None, 2, 64), (None, 224, 224, 3)),
    ],
)
def test_no_places_over_an_input(activations, part):
    assert grid_of(tf.TensorShape(activations), tf.TensorShape(part)) is None


def test_tokens_are_folded_in_reading_order():
    tokens = np.arange(2 * 10 * 3, dtype="float32").reshape(2, 10, 3)
    grid = grid_of(tf.TensorShape((None, 10, 3)), tf.TensorShape((None, 12, 12, 1)))
    np.testing.assert_array_equal(grid.fold(tf.constant(tokens)), tokens[:, 1:].reshape(2, 3, 3, 3))


@pytest.mark.parametrize(("shape", "extent"), [((7, 7), (224, 224)), ((3, 5), (10, 33)), ((9, 4), (5, 4))])
def test_resizing_is_that_of_tensorflow(shape, extent):
    maps = np.random.default_rng(0).normal(size=(2, *shape)).astype("float32")
    grid = grid_of(tf.TensorShape((None, *shape, 1)), tf.TensorShape((None, *extent, 3)))
    expected = tf.image.resize(maps[..., None], extent, "bilinear")[..., 0]
    np.testing.assert_allclose(grid.over_input(tf.constant(maps)), expected, atol=1e-5)


def test_resizing_in_one_and_three_dimensions_keeps_a_plane():
    grid = grid_of(tf.TensorShape((None, 4, 4, 4, 1)), tf.TensorShape((None, 8, 8, 8, 1)))
    x, y, z = np.meshgrid(*[np.arange(4.0)] * 3, indexing="ij")
    resized = grid.over_input(tf.constant((x + 2 * y - z)[None].astype("float32")))[0]
    inner = (np.arange(8) + 0.5) / 2 - 0.5
    a, b, c = np.meshgrid(*[inner] * 3, indexing="ij")
    np.testing.assert_allclose(resized[1:-1, 1:-1, 1:-1], (a + 2 * b - c)[1:-1, 1:-1, 1:-1], atol=1e-5)
