"""Ranks, correlations, intervals and tests."""

import itertools

import numpy as np

# Under so many samples all signs are tried; above, as many random ones.
FEW = 12


def ranks(numbers: np.ndarray) -> np.ndarray:
    """The ranks of the last axis from 1; equal numbers share the mean of theirs."""
    flat = numbers.reshape(-1, numbers.shape[-1])
    ranked = np.empty(flat.shape)
    for row, given in zip(ranked, flat, strict=True):
        _, places, counts = np.unique(given, return_inverse=True, return_counts=True)
        last = np.cumsum(counts)
        row[:] = (last - (counts - 1) / 2)[places]
    return ranked.reshape(numbers.shape)


def correlation(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Pearson's correlation over the last axis; NaN where one of the two does not vary."""
    one, other = (each - each.mean(axis=-1, keepdims=True) for each in (first, second))
    return quotient((one * other).sum(axis=-1), np.sqrt((one**2).sum(axis=-1) * (other**2).sum(axis=-1)))


def rank_correlation(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Spearman's correlation over the last axis, without pairs of which one is NaN.

    NaN where one of the two does not vary.
    """
    known = ~np.isnan(first + second)
    if known.all():
        return correlation(ranks(first), ranks(second))
    found = np.full(len(known), np.nan)
    for row in np.flatnonzero(known.any(axis=1)):
        one, other = (ranks(each[row][known[row]]) for each in (first, second))
        found[row] = correlation(one, other)
    return found


def quotient(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """``one / other``, which is never negative; NaN where it is 0."""
    undefined = np.full(np.broadcast_shapes(np.shape(one), np.shape(other)), np.nan)
    return np.asarray(np.divide(one, other, out=undefined, where=other > 0))


def means(numbers: np.ndarray) -> np.ndarray:
    """The means over the last axis, without NaN; NaN where there is nothing else."""
    known = ~np.isnan(numbers)
    return quotient(np.where(known, numbers, 0).sum(axis=-1), known.sum(axis=-1))


def resamples(samples: int, draws: int, seed: int) -> np.ndarray:
    """``(draws, samples)``: how often each sample is drawn when as many are drawn with replacement."""
    drawn = np.random.default_rng(seed).integers(samples, size=(draws, samples))
    first = samples * np.arange(draws)[:, None]
    return np.bincount((drawn + first).reshape(-1), minlength=draws * samples).reshape(draws, samples)


def bootstrap_means(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """``(draws, ...)``: means over the samples of `resamples`, the same for every column of ``(N, ...)``.

    NaN is left out: a mean is over the drawn samples that have a value.
    """
    known = ~np.isnan(values)
    flat, there = np.where(known, values, 0).reshape(len(values), -1), known.reshape(len(values), -1)
    return quotient(counts @ flat, counts @ there.astype(float)).reshape(len(counts), *values.shape[1:])


def interval(draws: np.ndarray, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """The percentiles of bootstrap draws ``(draws, R)`` that hold a share ``level`` of them; NaN without any number."""
    ends = np.full((2, draws.shape[1]), np.nan)
    known = ~np.isnan(draws).all(axis=0)
    if known.any():
        ends[:, known] = np.nanpercentile(draws[:, known], [50 * (1 - level), 50 * (1 + level)], axis=0)
    low, high = ends
    return low, high


def sign_flip(differences: np.ndarray, draws: int, seed: int) -> float:
    """The probability of a mean as far from 0 as this if each difference had either sign alike.

    All signs are tried for few samples, else as many random ones as ``draws``. The signs as they are count as one.
    """
    differences = differences[~np.isnan(differences)]
    if not differences.size:
        return 1.0
    observed = abs(differences.sum())
    if len(differences) <= FEW:
        signs = np.array(list(itertools.product([1, -1], repeat=len(differences))))
        flipped = np.abs(signs @ differences)
        return float((flipped >= observed * (1 - 1e-12)).mean())
    signs = np.random.default_rng(seed).choice([1, -1], size=(draws, len(differences)))
    flipped = np.abs(signs @ differences)
    return float((1 + (flipped >= observed * (1 - 1e-12)).sum()) / (draws + 1))


def holm(probabilities: np.ndarray) -> np.ndarray:
    """Probabilities of several tests, corrected so that the chance of any false one is kept (Holm 1979)."""
    order = np.argsort(probabilities)
    factors = len(probabilities) - np.arange(len(probabilities))
    corrected = np.minimum(1, np.maximum.accumulate(probabilities[order] * factors))
    restored = np.empty_like(corrected)
    restored[order] = corrected
    return restored


def kendall_w(scores: np.ndarray) -> float:
    """Kendall's coefficient of concordance: 1 where all judges rank alike, 0 where their ranks cancel out.

    Args:
        scores: ``(judges, items)``; a higher number is a better item. Ties are corrected for.
    """
    judges, items = scores.shape
    ranked = ranks(scores)
    spread = ((ranked.sum(axis=0) - judges * (items + 1) / 2) ** 2).sum()
    ties = 0.0
    for row in scores:
        counts = np.unique(row, return_counts=True)[1]
        ties += (counts**3 - counts).sum()
    most = judges**2 * (items**3 - items) / 12 - judges * ties / 12
    return float(spread / most) if most > 0 else float("nan")
