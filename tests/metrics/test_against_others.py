"""Against Quantus 0.6.0 and Xplique 2.0.2, where they are right, and our answer where Quantus is wrong.

``python -m benchmarks.peers.metrics`` prints their values.
"""

import dataclasses

import keras
import numpy as np
import pytest
from keras import layers

import tfsaliency as tfs
from tests.metrics import others
from tests.metrics.harness import with_map

QUANTUS = {
    "Sparseness": [0.2444257, 0.2579632, 0.2603201, 0.2880825],
    "Complexity": [2.3787599, 2.3524573, 2.3459237, 2.3275335],
    "RelevanceMassAccuracy": [0.3617919, 0.1133762, 0.422652, np.nan],
    "RelevanceRankAccuracy": [0.6666667, 0.0, 0.2, np.nan],
    "TopKIntersection": [0.6666667, 0.0, 0.2],
    "FaithfulnessCorrelation": [0.0308211, 0.5991001, 0.0650169, -0.3939258],
    "FaithfulnessEstimate": [0.1398601, 0.2587413, 0.020979, -0.1258741],
}
XPLIQUE = {
    "Sparseness": [0.2668529, 0.2705188, 0.2768346, 0.2731127],
    "Complexity": [4.0227327, 4.015378, 4.0126781, 4.0104165],
    "MuFidelity": [0.4683091, -0.3043673, 0.2228443, 0.5198208],
    "Deletion": [0.1430824, 0.4235595, 0.395846, 0.3531221],
    "Insertion": [0.3235589, 0.4792833, 0.324913, 0.4837468],
}
# They add 1e-7 and 1e-8 to maps and sums, and compute in float32.
ROUNDING = 3e-6


@dataclasses.dataclass(frozen=True, eq=False)
class SameMasks(tfs.metrics.MuFidelity):
    """With the sets that the other libraries got."""

    def hidden(self, number):
        return others.HIDDEN[number]


def network(inputs):
    model = keras.Sequential([keras.Input(inputs.shape[1:]), layers.Flatten(), layers.Dense(5, "tanh")])
    model.add(layers.Dense(3, "softmax"))
    model.set_weights(others.weights(inputs[0].size))
    return model


def explained(model, inputs, values):
    return with_map(tfs.Gradient(model).explain(inputs, others.CLASSES), values)


def linear(values, rows=slice(None)):
    """The linear model, and an explanation with other values."""
    model = keras.Sequential([keras.Input((others.COLUMNS,)), layers.Dense(3, use_bias=False)])
    model.set_weights([others.LINEAR])
    return model, with_map(tfs.Gradient(model).explain(others.TABLE[rows], others.CLASSES[rows]), values[rows])


def check(metric, explanation, expected):
    np.testing.assert_allclose(metric.measure(explanation).values[: len(expected)], expected, atol=ROUNDING)


def test_maps_of_a_table_are_measured_as_by_quantus():
    _, explanation = linear(others.POSITIVE)
    check(tfs.metrics.Gini(), explanation, QUANTUS["Sparseness"])
    check(tfs.metrics.Entropy(), explanation, QUANTUS["Complexity"])
    check(tfs.metrics.RelevanceMass(others.MASKS), explanation, QUANTUS["RelevanceMassAccuracy"])
    check(tfs.metrics.RankAccuracy(others.MASKS), explanation, QUANTUS["RelevanceRankAccuracy"])
    # Of as many columns as the mask has.
    check(tfs.metrics.RankAccuracy(others.MASKS), explanation, QUANTUS["TopKIntersection"])


def test_faithfulness_is_measured_as_by_quantus_on_the_same_sets():
    model = network(others.TABLE)
    explanation = explained(model, others.TABLE, others.MAPS)
    check(SameMasks(model, others.FILL, masks=others.SETS), explanation, QUANTUS["FaithfulnessCorrelation"])
    check(tfs.metrics.SingleDeletion(model, others.FILL), explanation, QUANTUS["FaithfulnessEstimate"])


def test_maps_of_pictures_are_measured_as_by_xplique():
    model = network(others.PICTURES)
    explanation = explained(model, others.PICTURES, others.PICTURE_MAPS)
    check(tfs.metrics.Gini(), explanation, XPLIQUE["Sparseness"])
    check(tfs.metrics.Entropy(), explanation, XPLIQUE["Complexity"])
    same_masks = SameMasks(model, others.FILL, masks=others.SETS, across=others.ACROSS)
    check(same_masks, explanation, XPLIQUE["MuFidelity"])
    for metric in (tfs.metrics.Deletion, tfs.metrics.Insertion):
        check(metric(model, others.FILL, steps=others.STEPS), explanation, XPLIQUE[metric.__name__])


def test_the_cases_tell_metrics_apart():
    """Another map, mask, fill or number of steps is off by far more than what counts as rounding."""
    model = network(others.PICTURES)
    explanation = explained(model, others.PICTURES, others.PICTURE_MAPS)
    for metric in (
        tfs.metrics.Deletion(model, 0.0, steps=others.STEPS),
        tfs.metrics.Deletion(model, others.FILL, steps=others.STEPS // 2),
        tfs.metrics.Deletion(model, others.FILL, steps=others.STEPS, first="least"),
    ):
        with pytest.raises(AssertionError):
            check(metric, explanation, XPLIQUE["Deletion"])


def test_an_exact_map_is_complete_to_rounding():
    """Quantus compares floats for equality, and calls three of these four exact maps incomplete."""
    model, explanation = linear(others.EXACT)
    assert tfs.metrics.CompletenessGap(model).measure(explanation).values.max() < 1e-5


def test_the_inverse_of_an_exact_map_is_the_worst():
    """Quantus' monotonicity is true of the exact map and of its inverse: it never puts the input back."""
    model, exact = linear(others.EXACT)
    maps = [exact, with_map(exact, others.MAPS), with_map(exact, -others.EXACT)]
    for metric in (tfs.metrics.MuFidelity(model), tfs.metrics.ABPC(model), tfs.metrics.SingleDeletion(model)):
        best, other, worst = (each.values for each in metric.measure_each(maps))
        assert (best > other + 0.1).all(), metric
        assert (other > worst + 0.1).all(), metric
        np.testing.assert_allclose(worst, -best, atol=1e-5)


def test_an_empty_mask_is_no_hit():
    """Quantus' pointing game counts it as one."""
    _, explanation = linear(others.POSITIVE)
    found = tfs.metrics.PointingGame(others.MASKS).measure(explanation).values
    np.testing.assert_array_equal(found, [1, 0, 0, np.nan])


def test_a_map_of_large_numbers_in_the_batch_changes_no_other():
    """Quantus divides all maps of a batch by their largest number before it compares them with a threshold."""
    loud = others.EXACT * np.array([[1], [1000], [1], [1]], "float32")
    model, together = linear(loud)
    model, alone = linear(loud, slice(1))
    for metric in (
        tfs.metrics.Gini(),
        tfs.metrics.Entropy(),
        tfs.metrics.MuFidelity(model),
        tfs.metrics.Infidelity(model),
        tfs.metrics.Deletion(model),
        tfs.metrics.CompletenessGap(model),
    ):
        np.testing.assert_allclose(
            metric.measure(together).values[:1], metric.measure(alone).values, atol=ROUNDING, err_msg=str(metric)
        )
    masses = [
        tfs.metrics.RelevanceMass(others.MASKS[:n]).measure(of).values[0] for n, of in ((4, together), (1, alone))
    ]
    assert masses[0] == masses[1]
