"""Shuffles that keep groups of letters, against counts and against all orders there are."""

from collections import Counter
from itertools import permutations

import numpy as np
import pytest

from tfsaliency.base.shuffles import shuffled_order


def groups(letters, k):
    return Counter(tuple(letters[i : i + k]) for i in range(len(letters) - k + 1))


@pytest.mark.parametrize("k", [1, 2, 3, 4])
@pytest.mark.parametrize("length", [1, 2, 3, 10, 500])
@pytest.mark.parametrize("seed", range(5))
def test_groups_are_kept_and_nothing_is_lost(k, length, seed):
    letters = np.random.default_rng(seed).integers(4, size=length)
    order = shuffled_order(letters, k, np.random.default_rng(seed))
    assert sorted(order) == list(range(length))
    assert groups(letters[order].tolist(), k) == groups(letters.tolist(), k)
    if length == 500:
        assert (letters[order] != letters).mean() > (0.5 if k < 4 else 0.2)


@pytest.mark.parametrize("text", ["ACGTACGA", "AACAGACA", "ABAB", "AAAA", "ABCD"])
def test_all_orders_are_equally_likely(text):
    """As many of each sequence as of any other with the same pairs, by counting all of them; chi-squared below 5 s."""
    letters = np.array([ord(each) for each in text])
    pairs = groups(text, 2)
    possible = {order for order in permutations(text) if groups(order, 2) == pairs and order[0] == text[0]}
    generator = np.random.default_rng(0)
    draws = 400 * len(possible)
    found = Counter(tuple(text[i] for i in shuffled_order(letters, 2, generator)) for _ in range(draws))
    assert set(found) == possible
    squares = sum((count - 400) ** 2 / 400 for count in found.values())
    freedom = len(possible) - 1
    assert squares <= freedom + 5 * np.sqrt(2 * freedom)


def test_the_end_letters_stay():
    """A path over all pairs begins and ends where the sequence does."""
    letters = np.random.default_rng(1).integers(4, size=60)
    for seed in range(10):
        shuffled = letters[shuffled_order(letters, 2, np.random.default_rng(seed))]
        assert shuffled[0] == letters[0] and shuffled[-1] == letters[-1]
