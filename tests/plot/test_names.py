"""Names of tokens and columns, in explanations, files, pictures, reports and terminals."""

import io
import re
import sys

import keras
import numpy as np
import pytest
from keras import layers
from matplotlib import cbook
from matplotlib.text import Text
from rich.console import Console

import tfsaliency as tfs
from tfsaliency.plot.kinds import ground, scale_of

IDS = np.array([[3, 4, 1, 2], [1, 2, 0, 0]])
VOCABULARY = ["pad", "the", "bird", "sings", "not"]


def named(ids):
    return [VOCABULARY[i] for i in ids]


@pytest.fixture(scope="module")
def of_ids():
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.Input((4,)), layers.Embedding(5, 4, mask_zero=True), layers.LSTM(8), layers.Dense(2)]
    )
    model.set_weights([5 * weights for weights in model.get_weights()])
    return tfs.IntegratedGradients(model).explain(IDS)


@pytest.fixture(scope="module")
def of_table():
    keras.utils.set_random_seed(0)
    inputs = {"island": keras.Input((1,), name="island", dtype="string"), "bill": keras.Input((2,), name="bill")}
    ids = layers.StringLookup(vocabulary=["Biscoe", "Dream"])(inputs["island"])
    vectors = layers.Flatten()(layers.Embedding(3, 2, embeddings_initializer="normal")(ids))
    model = keras.Model(inputs, layers.Dense(2)(layers.Concatenate()([vectors, inputs["bill"]])))
    rows = {"island": np.array([["Biscoe"], ["Dream"], ["Dream"]]), "bill": np.array([[1.23456, 2], [3, 4], [0, 9.0]])}
    return tfs.DeepLIFT(model).explain(rows, 1)


def texts(axis):
    return [text.get_text() for text in axis.texts if text.get_text()]


def test_tokens_are_drawn_and_kept(of_ids, tmp_path):
    explanation = of_ids.named(tokens=named)
    assert of_ids.tokens is None and explanation.tokens.tolist() == [named(row) for row in IDS]
    first, second = explanation.plot().axes
    assert texts(first) == ["sings", "not", "the", "bird"]
    # What the model masked is exactly zero, and grey.
    assert [text.get_color() == "grey" for text in second.texts] == [False, False, True, True]
    explanation.save(tmp_path / "map.npz")
    assert tfs.Explanation.load(tmp_path / "map.npz").tokens.tolist() == explanation.tokens.tolist()


def test_words_of_pieces(of_ids):
    explanation = of_ids.named(tokens=named).by_word(
        ["singsnot thebird", "the bird"], [[(0, 5), (5, 8), (9, 12), (12, 16)], [(0, 3), (4, 8)]]
    )
    assert explanation.tokens.tolist() == [["singsnot", "thebird"], ["the", "bird"]]
    np.testing.assert_allclose(
        explanation.values, [[v[0] + v[1], v[2] + v[3]] for v in of_ids.values[:1]] + [of_ids.values[1, :2]], rtol=1e-5
    )


def test_the_norm_of_pieces_that_are_magnitudes():
    model = keras.Sequential([keras.Input((4,)), layers.Embedding(5, 4), layers.Flatten(), layers.Dense(2)])
    explanation = tfs.Gradient(model).explain(IDS[:1])
    words = explanation.by_word(["abcd"], lambda text: [(place, place + 1) for place in range(len(text))])
    np.testing.assert_allclose(words.values, [[np.linalg.norm(explanation.values)]], rtol=1e-6)


def test_printed(of_ids, monkeypatch, capsys):
    explanation = of_ids.named(tokens=named)
    print(explanation)
    lines = capsys.readouterr().out.splitlines()
    numbers = [f"{word} {value:+.2g}" for word, value in zip(named(IDS[0]), explanation.values[0], strict=True)]
    assert lines[0] == f"class {explanation.target[0]}: {explanation.scores[0]:.2f} | {', '.join(numbers)}"
    assert len(lines) == 2
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.delenv("NO_COLOR", raising=False)
    print(explanation)
    assert capsys.readouterr().out.count("\x1b[48;2;") == 8
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in str(explanation)
    # Without words it is shown as before.
    assert str(of_ids) == repr(of_ids)
    # A text from elsewhere commands no terminal.
    commands = of_ids.named(tokens=[["\x1b[31m", "a\nb", "the", "bird"]] * len(IDS))
    assert str(commands).count("\n") == len(IDS) - 1 and "\x1b" not in str(commands)


def test_printed_by_rich(of_ids):
    """The same words on the same grounds as in a terminal, and in a page that rich writes."""
    explanation = of_ids.named(tokens=named)
    console = Console(record=True, force_terminal=True, color_system="truecolor", width=200, file=io.StringIO())
    console.print(explanation)
    page = console.export_html(inline_styles=True, clear=False)
    grounds = re.findall(r"<span style=[^>]*background-color: #([0-9a-f]{6})", page)
    first = ground(explanation.values[0], scale_of(explanation.values[0], explanation.meaning, 99))[0]
    expected = "".join(f"{round(255 * float(number)):02x}" for number in first)
    assert len(grounds) == 8 and grounds[0] == expected
    text = console.export_text()
    assert all(word in text for row in IDS for word in named(row))
    with console.capture() as shown:
        console.print(of_ids)
    assert shown.get().strip() == repr(of_ids)


def test_columns_are_drawn_with_their_values_and_kept(of_table, tmp_path):
    explanation = of_table.named(feature_names={"bill": ["length", "depth"]})
    axes = explanation.plot().axes
    assert len(axes) == 3
    assert [label.get_text() for label in axes[0].get_yticklabels()] == [
        "length = 1.235",
        "depth = 2",
        "island = Biscoe",
    ]
    np.testing.assert_allclose(
        [bar.get_width() for bar in axes[1].patches],
        [*explanation.values["bill"][1], explanation.values["island"][1, 0]],
    )
    explanation.save(tmp_path / "map.npz")
    again = tfs.Explanation.load(tmp_path / "map.npz")
    assert again.feature_names["bill"].tolist() == ["length", "depth"] and again.feature_names["island"] is None
    # Without names for its columns, a part is counted.
    assert [label.get_text() for label in of_table.plot().axes[1].get_yticklabels()] == [
        "bill[0] = 3",
        "bill[1] = 4",
        "island = Dream",
    ]


def test_reports_show_names(of_table, of_ids, tmp_path):
    both = [of_table, of_table.map(tfs.transforms.absolute)]
    tfs.plot.report(both, tmp_path / "table.html")
    # One drawing for each row and method.
    assert (tmp_path / "table.html").read_text(encoding="utf-8").count("<img") == 6
    of_ids.named(tokens=named).report(tmp_path / "words.html")
    assert (tmp_path / "words.html").read_text(encoding="utf-8").count('<p class="words"') == 2


def test_beeswarm(of_table):
    figure = tfs.plot.beeswarm(of_table.named(feature_names={"bill": ["length", "depth"]}))
    dots, bars = figure.axes
    mean = {
        "length": np.abs(of_table.values["bill"][:, 0]).mean(),
        "depth": np.abs(of_table.values["bill"][:, 1]).mean(),
        "island": np.abs(of_table.values["island"]).mean(),
    }
    order = sorted(mean, key=lambda name: -mean[name])
    assert [label.get_text() for label in dots.get_yticklabels()] == order
    np.testing.assert_allclose([bar.get_width() for bar in bars.patches], [mean[name] for name in order], rtol=1e-6)
    # Each dot lies at its value, within the row of its column; a text is grey, numbers go from dark to light.
    swarm = dict(zip(order, dots.collections, strict=True))
    np.testing.assert_allclose(swarm["depth"].get_offsets()[:, 0], of_table.values["bill"][:, 1], rtol=1e-6)
    for row, name in enumerate(order):
        assert (abs(swarm[name].get_offsets()[:, 1] - row) < 0.5).all()
    assert (swarm["island"].get_facecolors()[:, :3] == 0.5).all()
    lightness = swarm["depth"].get_facecolors()[:, :3].sum(axis=1)
    assert np.argsort(lightness).tolist() == [0, 1, 2]
    texts = layers.TextVectorization(vocabulary=["good", "bad"])
    of_texts = keras.Sequential([keras.Input((1,), dtype="string"), texts, layers.Embedding(4, 3)])
    of_texts.add(layers.GlobalAveragePooling1D())
    with pytest.raises(ValueError, match="A beeswarm shows a table"):
        tfs.plot.beeswarm(tfs.Gradient(of_texts).explain(np.array([["good bad good"]]), 0))
    with pytest.raises(ValueError, match="A beeswarm shows a table"):
        tfs.plot.beeswarm(
            tfs.Gradient(keras.Sequential([keras.Input((4, 4, 1)), layers.Flatten(), layers.Dense(2)])).explain(
                np.ones((1, 4, 4, 1))
            )
        )


def test_dollar_signs_begin_no_formula(of_table, of_ids):
    """Matplotlib sets what is between two of them as a formula, or fails to when it is drawn."""
    named = of_table.named(feature_names={"bill": ["price ($) of a $_bag", r"$\frac$"]})
    said = of_ids.named(tokens=[["$_$", "is", r"$\x$", "5$"], ["a", "$b$"]])
    labels = ["under $1_", r"$\x$"]
    pixels = np.ones((1, 4, 4, 3), "float32")
    picture = tfs.Explanation(pixels, pixels, np.zeros(1, int), np.ones(1), r"$\x$")
    figures = [
        said.plot(labels=labels),
        named.plot(labels=labels),
        tfs.plot.beeswarm(named),
        tfs.plot.compare([picture]),
        tfs.metrics.Comparison((r"$\x$",), (), ("m",), ("higher",), np.ones((1, 1, 3)), np.zeros(1)).plot(),
    ]
    for figure in figures:
        figure.savefig(io.BytesIO())
        written = [text.get_text() for text in figure.findobj(Text) if "$" in text.get_text()]
        assert written and not any(map(cbook.is_math_text, written))
    # What a user writes on it may be a formula.
    figure.axes[0].set_title("$x^2$")
    assert figure.axes[0].title.get_parse_math()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"tokens": {"words": []}},
            r"tokens is a dict with some of the inputs' names \['bill', 'island'\]. Received: \['words'\]",
        ),
        ({"feature_names": ["a", "b"]}, r"feature_names is a dict .* Received: \['list'\]"),
        (
            {"feature_names": {"bill": ["a"]}},
            r"one name for each column of a table. Received: 1 names for inputs of shape \(3, 2\)",
        ),
    ],
)
def test_names_that_do_not_fit(of_table, options, message):
    with pytest.raises(ValueError, match=message):
        of_table.named(**options)
