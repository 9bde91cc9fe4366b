"""The regression on the rows before, against one that is solved for each row."""

import numpy as np
import pytest
import tensorflow as tf

from tfsaliency.tensors.regression import one_step_ahead


@pytest.mark.parametrize("block", [1, 4, 9, 40])
@pytest.mark.parametrize("features", [1, 3, 12])
def test_each_row_is_predicted_by_the_rows_before_it(block, features):
    random = np.random.default_rng(features)
    design = random.normal(size=(40, features)).astype("float32")
    responses = (design @ random.normal(size=(features, 3)) + random.normal(size=(40, 3)) + 5).astype("float32")
    ridge = 0.7
    found = []
    for first in range(0, 40, block):
        past, products = responses[:first], np.einsum("in,if->nf", responses[:first], design[:first])
        mean, products = (past.mean(axis=0), products / first) if first else (np.zeros(3), products)
        rows = tf.constant(responses[first : first + block])
        mean, products = (tf.constant(each, tf.float32) for each in (mean, products))
        found.append(one_step_ahead(tf.constant(design), tf.constant(first), rows, mean, products, ridge))
    errors, coefficients = (np.concatenate(each) for each in zip(*found, strict=True))
    assert (errors[0] == 0).all()
    assert (coefficients[0] == 0).all()
    design, responses = design.astype(float), responses.astype(float)
    for row in range(1, 40):
        past, mean = design[:row], responses[:row].mean(axis=0)
        solved = np.linalg.solve(past.T @ past + ridge * np.eye(features), past.T @ (responses[:row] - mean))
        np.testing.assert_allclose(coefficients[row], solved.T, rtol=1e-3, atol=1e-4)
        expected = responses[row] - mean - design[row] @ solved
        np.testing.assert_allclose(errors[row], expected, rtol=1e-3, atol=1e-4)
