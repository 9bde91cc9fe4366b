"""Rings of spatial frequency, against NumPy's Fourier transform and against single waves."""

import numpy as np
import pytest
import tensorflow as tf

from tfsaliency.tensors.rings import ring_powers, scaled_by_ring

SHAPES = [(2, 8, 12, 3), (2, 7, 2), (2, 5), (3, 4, 5, 6, 2)]


@pytest.mark.parametrize("shape", SHAPES)
def test_rings_add_up_to_the_sum_of_squares(shape):
    maps = np.random.default_rng(0).normal(size=shape).astype("float32")
    powers = ring_powers(tf.constant(maps)).numpy()
    np.testing.assert_allclose(powers.sum(axis=1), (maps.reshape(len(maps), -1) ** 2).sum(axis=1), rtol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_each_ring_is_scaled_by_its_factor(shape):
    generator = np.random.default_rng(0)
    maps = generator.normal(size=shape).astype("float32")
    powers = ring_powers(tf.constant(maps)).numpy()
    factors = generator.uniform(size=powers.shape).astype("float32")
    scaled = scaled_by_ring(tf.constant(maps), tf.constant(factors))
    np.testing.assert_allclose(ring_powers(scaled), powers * factors**2, rtol=1e-3, atol=1e-4)
    # The rings do not mix: what is left out of one map is the rest of it.
    rest = scaled_by_ring(tf.constant(maps), tf.constant(1 - factors))
    np.testing.assert_allclose(scaled + rest, maps, atol=1e-5)


@pytest.mark.parametrize(("down", "across", "ring"), [(0, 0, 0), (1, 0, 1), (0, 3, 3), (2, 2, 3), (3, 4, 5), (6, 0, 6)])
def test_a_wave_is_in_the_ring_of_its_frequency(down, across, ring):
    """In 12 x 12 places a wave that fits ``a`` times down and ``b`` times across is in ring ``sqrt(a^2 + b^2)``."""
    y, x = np.mgrid[:12, :12]
    wave = np.cos(2 * np.pi * (down * y + across * x) / 12)[None, :, :, None]
    powers = ring_powers(tf.constant(wave, tf.float32)).numpy()[0]
    assert powers.argmax() == ring and powers[ring] > 0.9999 * powers.sum()


def test_the_ring_of_a_picture_that_is_not_square_is_that_of_its_shorter_axis():
    """A wave of 4 pixels fits 3 times into 12 rows, also where it lies along 24 columns and fits 6 times."""
    wave = np.cos(2 * np.pi * np.arange(24) / 4)
    along = ring_powers(tf.constant(np.tile(wave, (12, 1))[None, :, :, None], tf.float32)).numpy()[0]
    across = ring_powers(tf.constant(np.tile(wave[:12, None], (1, 24))[None, :, :, None], tf.float32)).numpy()[0]
    assert along.argmax() == across.argmax() == 3
