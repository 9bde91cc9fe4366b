"""Where words stand on a line."""

import keras
import matplotlib.pyplot as plt
import numpy as np
import pytest

import tfsaliency as tfs
from tfsaliency.plot.lines import LETTERS, from_left, is_right_to_left, wrapped

HEBREW = ["שלום", "עולם", "טוב"]


@pytest.mark.parametrize(
    "words, expected",
    [
        (["a", "b", "c"], "a b c"),
        (HEBREW, "טוב עולם שלום"),
        # Words of the other direction keep their order.
        (["שלום", "New", "York", "טוב"], "טוב New York שלום"),
        (["say", "שלום", "עולם", "now"], "say עולם שלום now"),
        # What has no direction goes with the words around it, or with the text.
        (["abc", "שלום", "12", "עולם"], "abc עולם 12 שלום"),
        (["שלום", "New", "-", "York"], "New - York שלום"),
        (["123", "שלום", "!"], "! שלום 123"),
        (["...", "now", "?"], "... now ?"),
        (["مرحبا", "بك"], "بك مرحبا"),
        ([], ""),
        (["1", "2"], "1 2"),
    ],
)
def test_words_from_left_to_right(words, expected):
    assert " ".join(words[place] for place in from_left(words, is_right_to_left(words))) == expected


def test_long_lines_are_wrapped():
    words = ["word"] * 30 + ["x" * LETTERS, "end"]
    lines = wrapped(words)
    assert [word for line in lines for word in line] == words
    assert all(len(" ".join(line)) <= LETTERS for line in lines)


def test_the_middle_of_a_word_that_is_longer_than_a_line_is_left_out():
    (short,), after = wrapped(["start" + "x" * 100 + "end", "after"])
    assert len(short) == LETTERS and short.startswith("startx") and short.endswith("xend") and "…" in short
    assert after == ["after"]


def test_a_text_that_is_read_from_the_right_is_drawn_from_the_right():
    words = np.array([[*(HEBREW * 8), "a", "b"]])
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((26,)), keras.layers.Dense(1)])
    explanation = tfs.Gradient(model).explain(np.ones((1, 26)))
    figure = explanation.named(tokens=words.tolist()).plot()
    figure.canvas.draw()
    texts = [text for axis in figure.axes for text in axis.texts if text.get_text() in words]
    lines = sorted({text.get_position()[1] for text in texts})
    told = []
    for line in lines:
        of_line = [text for text in texts if text.get_position()[1] == line]
        from_right = sorted(of_line, key=lambda text: -text.get_position()[0])
        assert from_right[0].get_position()[0] + len(from_right[0].get_text()) + 1 == LETTERS
        told += [text.get_text() for text in from_right]
    plt.close(figure)
    # The last two are Latin, and stand in their own order.
    assert told == [*(HEBREW * 8), "b", "a"]
