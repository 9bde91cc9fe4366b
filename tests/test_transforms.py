"""Each transform against NumPy, on arrays and inside a graph."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tfsaliency as tfs
from tests import reference
from tfsaliency import transforms

# TensorFlow flushes denormal numbers to zero.
floats = st.floats(-100, 100, width=32, allow_subnormal=False)
batches = hnp.arrays("float32", hnp.array_shapes(min_dims=2, max_dims=4, max_side=5), elements=floats)

TWINS = {
    transforms.absolute: lambda v, x: np.abs(v),
    transforms.positive: lambda v, x: np.maximum(v, 0),
    transforms.negative: lambda v, x: np.minimum(v, 0),
    transforms.sign: lambda v, x: np.sign(v),
    transforms.square: lambda v, x: v**2,
    transforms.times_input: lambda v, x: v * x,
    transforms.onto_letters: lambda v, x: v.sum(axis=-1, keepdims=True) * x,
    transforms.sum_channels: lambda v, x: v.sum(axis=-1, keepdims=True),
    transforms.max_channels: lambda v, x: np.abs(v).max(axis=-1, keepdims=True),
    transforms.normalize: lambda v, x: reference.normalize(v),
    transforms.clip_percentile(99): lambda v, x: reference.clip_percentile(v, 99),
    transforms.clip_percentile(37.5): lambda v, x: reference.clip_percentile(v, 37.5),
    transforms.clip_percentile(100): lambda v, x: v,
}


@pytest.mark.parametrize("transform", TWINS, ids=transforms.name_of)
@given(values=batches)
def test_twin(transform, values):
    inputs = np.flip(values)
    expected = TWINS[transform](values.astype("float64"), inputs)
    np.testing.assert_allclose(transform(values, inputs), expected, rtol=1e-5, atol=1e-4)


def test_every_transform_has_a_twin():
    named = {transforms.name_of(transform).split("(")[0] for transform in TWINS}
    assert named == set(transforms.__all__)


@pytest.mark.parametrize("transform", TWINS, ids=transforms.name_of)
def test_inside_the_graph_equals_on_the_result(transform):
    model = keras.Sequential([keras.Input((5, 4, 3)), keras.layers.Flatten(), keras.layers.Dense(2, "tanh")])
    x = np.random.default_rng(0).normal(size=(3, 5, 4, 3)).astype("float32")
    inside = tfs.Gradient(model).then(transform).explain(x, 0)
    after = tfs.Gradient(model).explain(x, 0).map(transform)
    np.testing.assert_allclose(inside.values, after.values, rtol=1e-5)
    assert after.method == f"Gradient.map({transforms.name_of(transform)})"
    assert inside.method == f"Gradient.then({transforms.name_of(transform)})"


@pytest.mark.parametrize("transform", TWINS, ids=transforms.name_of)
def test_tensors_give_what_arrays_give(transform):
    """Code in NumPy would give an array for a tensor, and could not be traced."""
    values, inputs = np.random.default_rng(0).normal(size=(2, 3, 5, 4, 2)).astype("float32")
    of_tensors = transform(tf.constant(values), tf.constant(inputs))
    assert tf.is_tensor(of_tensors)
    np.testing.assert_array_equal(of_tensors, transform(values, inputs))


def test_own_transform_in_numpy_on_a_result():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    explanation = tfs.Gradient(model).explain(np.ones((2, 3)), 0)
    np.testing.assert_array_equal(explanation.map(lambda v, x: np.flip(v)).values, np.flip(explanation.values))


def test_equal_transforms_are_equal():
    """Else a new explainer with the same options would be traced again."""
    assert transforms.clip_percentile(95) == transforms.clip_percentile(95.0)
    assert transforms.clip_percentile(95) != transforms.clip_percentile(96)


OTHER_ROWS = {
    "None": lambda values, inputs: None,
    "a number": lambda values, inputs: tf.reduce_mean(values),
    "fewer rows": lambda values, inputs: values[:1],
}


@pytest.mark.parametrize("name", OTHER_ROWS)
def test_other_rows_than_those_of_the_values_are_refused(name):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    explanation = tfs.Gradient(model).explain(np.ones((2, 3)), 0)
    with pytest.raises(ValueError, match=r"returns a row for each sample. <lambda> was given values of shape \(2, 3\)"):
        explanation.map(OTHER_ROWS[name])
    with pytest.raises(ValueError, match="a row for each sample"):
        tfs.Gradient(model).then(OTHER_ROWS[name]).explain(np.ones((2, 3)), 0)
