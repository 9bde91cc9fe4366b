"""Names of tokens and words made of pieces."""

import numpy as np
import pytest

from tfsaliency.base.words import merged, token_names

IDS = np.array([[4, 2, 0], [1, 0, 0]])


def test_lists_and_functions():
    expected = [["four", "two", ""], ["one", "", ""]]
    assert token_names([["four", "two"], ["one"]], IDS).tolist() == expected
    vocabulary = {4: "four", 2: "two", 1: "one", 0: ""}
    assert token_names(lambda ids: [vocabulary[i] for i in ids], IDS).tolist() == expected


@pytest.mark.parametrize("tokens", [[["a"]], [["a"] * 4, ["b"]], [["a"], ["b"], ["c"]]])
def test_lists_that_do_not_fit(tokens):
    with pytest.raises(ValueError, match="one list of at most 3 names for each of 2 samples. Received: lists of"):
        token_names(tokens, IDS)


# Spans as tokenizers give them: by letters, with or without the space in front, and empty for what is no piece.
CASES = {
    "words of one piece": ("a bird", [(0, 1), (2, 6)], ["a", "bird"], [[0], [1]]),
    "pieces": ("unbelievable birds", [(0, 2), (2, 8), (8, 12), (13, 18)], ["unbelievable", "birds"], [[0, 1, 2], [3]]),
    "a space in front": ("a bird", [(0, 1), (1, 4), (4, 6)], ["a", "bird"], [[0], [1, 2]]),
    "special tokens": (
        "a bird",
        [(0, 0), (0, 1), (2, 6), (0, 0)],
        ["[CLS]", "a", "bird", "[SEP]"],
        [[0], [1], [2], [3]],
    ),
    "the same word twice": ("no no", [(0, 2), (3, 5)], ["no", "no"], [[0], [1]]),
    "punctuation": ("no, no", [(0, 2), (2, 3), (4, 6)], ["no,", "no"], [[0, 1], [2]]),
    "two spaces and a new line": ("a  bird\nsings", [(0, 1), (3, 7), (8, 13)], ["a", "bird", "sings"], [[0], [1], [2]]),
    "from right to left": ("שלום עולם", [(0, 2), (2, 4), (5, 9)], ["שלום", "עולם"], [[0, 1], [2]]),
}


@pytest.mark.parametrize("by_norm", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_words(case, by_norm):
    text, spans, words, pieces = CASES[case]
    values = np.array([[2.0, -3.0, 5.0, 7.0, 0.0][: len(spans) + 1]])
    values[0, len(spans)] = 0
    names = np.array([["[CLS]", "a", "bird", "[SEP]", ""][: len(spans) + 1]])
    found = merged(values, names, [text], [spans], by_norm)
    assert found.words.tolist() == [words]
    expected = [np.linalg.norm(values[0, each]) if by_norm else values[0, each].sum() for each in pieces]
    np.testing.assert_allclose(found.values, [expected], rtol=1e-6)


def test_samples_of_different_lengths():
    found = merged(np.ones((2, 3)), None, ["a b c", "abc"], [[(0, 1), (2, 3), (4, 5)], [(0, 1), (1, 2), (2, 3)]], False)
    assert found.words.tolist() == [["a", "b", "c"], ["abc", "", ""]]
    np.testing.assert_array_equal(found.values, [[1, 1, 1], [3, 0, 0]])


def test_nothing_is_lost():
    """What padding was given stays in the sum, as a token that is no piece."""
    found = merged(np.array([[1.0, 2.0, 4.0]]), None, ["a b"], [[(0, 1), (2, 3)]], False)
    assert found.words.tolist() == [["a", "b", "·"]]
    np.testing.assert_array_equal(found.values, [[1, 2, 4]])


@pytest.mark.parametrize(
    ("texts", "offsets", "message"),
    [
        (["a"], [[(0, 1)]], "for each of 2 samples. Received: 1 texts and spans for 1"),
        (["a", "b"], [[(0, 1)], [(0, 1)] * 4], "Sample 1 has 3 tokens. Received: 4 spans"),
    ],
)
def test_spans_that_do_not_fit(texts, offsets, message):
    with pytest.raises(ValueError, match=message):
        merged(np.ones((2, 3)), None, texts, offsets, False)
