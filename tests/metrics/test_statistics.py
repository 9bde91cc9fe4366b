"""Ranks, correlations and tests against SciPy and closed forms."""

import numpy as np
import pytest

from tfsaliency.metrics import statistics

scipy_stats = pytest.importorskip("scipy.stats")
GENERATOR = np.random.default_rng(0)


def test_ranks_and_correlations_are_those_of_scipy():
    one, other = GENERATOR.integers(6, size=(4, 20)), GENERATOR.normal(size=(4, 20))
    np.testing.assert_array_equal(statistics.ranks(one), scipy_stats.rankdata(one, axis=-1))
    for row in range(4):
        expected = scipy_stats.spearmanr(one[row], other[row])[0]
        assert statistics.rank_correlation(one, other)[row] == pytest.approx(expected)
    assert np.isnan(statistics.correlation(np.ones((1, 5)), other[:1, :5])).all()


@pytest.mark.parametrize("size", [6, 12, 25])
def test_the_sign_test_is_that_of_scipy(size):
    differences = GENERATOR.normal(0.4, size=size)
    found = statistics.sign_flip(differences, 20_000, seed=0)
    expected = scipy_stats.permutation_test(
        (differences,),
        lambda x: abs(x.mean()),
        permutation_type="samples",
        alternative="greater",
        n_resamples=20_000,
        rng=1,
    ).pvalue
    assert found == pytest.approx(expected, abs=1e-9 if size <= 12 else 0.015)


def test_intervals_of_a_mean_are_those_of_the_normal_distribution():
    values = GENERATOR.normal(3, 2, size=(400, 2))
    values[::5, 1] = np.nan
    low, high = statistics.interval(statistics.bootstrap_means(values, statistics.resamples(400, 10_000, seed=0)))
    for column, samples in ((0, 400), (1, 320)):
        known = values[~np.isnan(values[:, column]), column]
        error = 1.96 * known.std() / np.sqrt(samples)
        np.testing.assert_allclose([low[column], high[column]], known.mean() + np.array([-error, error]), atol=0.02)


def test_intervals_cover_the_truth_as_often_as_they_say():
    """Of 300 experiments of 40 samples, 95 % give or take three deviations of that share."""
    covered = 0
    for experiment in range(300):
        values = np.random.default_rng(experiment).normal(1, size=(40, 1))
        low, high = statistics.interval(statistics.bootstrap_means(values, statistics.resamples(40, 1000, seed=0)))
        covered += int(low[0] <= 1 <= high[0])
    assert 0.90 < covered / 300 < 0.98


def test_holm_is_that_of_the_paper():
    found = statistics.holm(np.array([0.01, 0.04, 0.03, 0.005]))
    np.testing.assert_allclose(found, [0.03, 0.06, 0.06, 0.02])


def test_concordance_of_known_rankings():
    same = np.array([[1, 2, 3, 4]] * 3)
    assert statistics.kendall_w(same) == pytest.approx(1)
    assert statistics.kendall_w(np.array([[1, 2, 3, 4], [4, 3, 2, 1]])) == pytest.approx(0)
    scores = GENERATOR.normal(size=(5, 7))
    # Of ranks without ties W is the Friedman statistic over m (n - 1).
    friedman = scipy_stats.friedmanchisquare(*scores.T).statistic
    assert statistics.kendall_w(scores) == pytest.approx(friedman / (5 * 6))
