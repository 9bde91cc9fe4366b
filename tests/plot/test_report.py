"""The page of an explanation, read as a browser reads it; `test_browser` opens it in one."""

import base64
import dataclasses
import hashlib
import re
import warnings
from html.parser import HTMLParser

import cv2
import keras
import numpy as np
import pytest
from keras import layers

import tfsaliency as tfs
from tfsaliency.plot.figure import draw_part
from tfsaliency.plot.kinds import kind_of, scale_of
from tfsaliency.plot.page import picture_url

HOSTILE = '<script>alert("1")</script> & \'</style>"'


class Page(HTMLParser):
    """Elements with their attributes, and the text in each."""

    def __init__(self, html):
        super().__init__()
        self.elements, self.texts = [], []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        self.texts.append("")

    def handle_data(self, data):
        if self.texts:
            self.texts[-1] += data

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]

    def text_of(self, tag):
        return [text for (name, _), text in zip(self.elements, self.texts, strict=True) if name == tag]

    def facts(self):
        return list(zip(self.text_of("dt"), self.text_of("dd"), strict=True))


def read(path):
    return Page(path.read_text(encoding="utf-8"))


def pixels(url):
    encoded = base64.b64decode(re.sub(r"^data:image/(png|webp);base64,", "", url))
    return cv2.imdecode(np.frombuffer(encoded, "uint8"), cv2.IMREAD_COLOR)[..., ::-1]


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [keras.Input((8, 8, 3)), layers.Conv2D(4, 3, activation="relu"), layers.Flatten(), layers.Dense(3)]
    )


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).uniform(size=(2, 8, 8, 3)).astype("float32")


def test_it_shows_the_maps_and_what_is_known_of_them(model, images, tmp_path):
    explanations = [tfs.Gradient(model).explain(images, 1), tfs.SmoothGradSquared(model, samples=4).explain(images, 1)]
    tfs.plot.report(explanations, tmp_path / "two.html", labels=["cat", "dog", "fish"], names=["a.png", "b.png"])
    page = read(tmp_path / "two.html")

    shown = [pixels(image["src"]) for image in page.all("img")]
    expected = []
    for sample in range(2):
        expected.append(tfs.plot.heatmap(explanations[0].values[sample].sum(axis=-1)))
        expected.append(tfs.plot.heatmap(explanations[1].values[sample].max(axis=-1), signed=False))
    for ours, theirs in zip(shown, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    style = page.text_of("style")[0]
    under = [pixels(url) for url in re.findall(r'url\("([^"]+)"\)', style)]
    np.testing.assert_array_equal(under, [tfs.plot.picture(image) for image in images])
    assert [each["class"] for each in page.all("div") if "role" in each] == [
        "layers sample-0-0 small",
        "layers sample-1-0 small",
    ]

    assert page.text_of("h2")[:2] == ["a.png", "b.png"]
    facts = page.facts()
    assert facts.count(("target", "1 dog")) == 4
    for explanation in explanations:
        assert page.text_of("figcaption").count(explanation.method) == 2
        for score in explanation.scores:
            assert ("score", f"{score:.4g}") in facts
        assert ("fingerprint", explanation.provenance["fingerprint"]) in facts
    assert ("relative_error", f"{explanations[1].diagnostics['relative_error'][0]:.3g}") in facts


def test_nothing_of_it_comes_from_elsewhere(model, images, tmp_path):
    tfs.Gradient(model).explain(images).report(tmp_path / "map.html")
    page = read(tmp_path / "map.html")
    for _, attributes in page.elements:
        assert not {"href", "onclick", "style"} & set(attributes)
        assert attributes.get("src", "data:").startswith("data:")
    policy = next(each["content"] for each in page.all("meta") if each.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; img-src data:;")
    for kind in ("style", "script"):
        digest = base64.b64encode(hashlib.sha256(page.text_of(kind)[0].encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy


def test_names_and_labels_are_text_whatever_they_say(model, images, tmp_path):
    explanation = tfs.Gradient(model).explain(images[:1], 0)
    explanation.report(tmp_path / "map.html", names=[HOSTILE], labels=[HOSTILE])
    page = read(tmp_path / "map.html")
    assert page.text_of("h2")[0] == HOSTILE
    assert ("target", f"0 {HOSTILE}") in page.facts()
    assert page.all("img")[0]["alt"] == f"{HOSTILE}, Gradient"
    assert [each["aria-label"] for each in page.all("div") if "role" in each] == [f"{HOSTILE}, the input"]
    assert len(page.all("script")) == len(page.all("style")) == 1


def test_series_tables_and_several_parts_are_drawn(tmp_path):
    parts = {"series": keras.Input((9, 2), name="series"), "facts": keras.Input((4,), name="facts")}
    joined = layers.Concatenate()([layers.Flatten()(parts["series"]), parts["facts"]])
    model = keras.Model(parts, layers.Dense(1)(joined))
    inputs = {"series": np.ones((1, 9, 2)), "facts": np.ones((1, 4))}
    explanation = tfs.Gradient(model).explain(inputs, lambda logits: logits[:, 0])
    explanation.report(tmp_path / "map.html")
    page = read(tmp_path / "map.html")
    expected = [explanation.values["facts"][0], explanation.values["series"][0]]
    given = [inputs["facts"][0], inputs["series"][0]]
    for image, seen, values in zip(page.all("img"), given, expected, strict=True):
        drawn = cv2.imdecode(
            np.frombuffer(
                tfs.plot.png(draw_part(kind_of(values), seen, values, scale_of(values, "signed", 99))), "uint8"
            ),
            cv2.IMREAD_COLOR,
        )
        np.testing.assert_array_equal(pixels(image["src"]), drawn[..., ::-1])
    assert ("target", "<lambda>(logits)") in page.facts()


def test_painted_classes_have_nothing_under_them(model, tmp_path):
    painted = tfs.ClassVisualization(model, steps=2).explain([0, 2])
    painted.report(tmp_path / "classes.html")
    page = read(tmp_path / "classes.html")
    for ours, values in zip(page.all("img"), painted.values, strict=True):
        np.testing.assert_array_equal(pixels(ours["src"]), tfs.plot.picture(values))
    volumes = keras.Sequential([keras.Input((4, 5, 6, 1)), layers.Flatten(), layers.Dense(2)])
    painted = tfs.ClassVisualization.simonyan(volumes, steps=2).explain(1)
    painted.report(tmp_path / "volume.html")
    (shown,) = read(tmp_path / "volume.html").all("img")
    np.testing.assert_array_equal(pixels(shown["src"]), tfs.plot.picture(painted.values[0, 2]))


def test_volumes_show_their_middle(tmp_path):
    model = keras.Sequential([keras.Input((5, 6, 7, 1)), layers.Flatten(), layers.Dense(2)])
    explanation = tfs.Gradient(model).explain(np.random.default_rng(0).uniform(size=(1, 5, 6, 7, 1)), 0)
    explanation.report(tmp_path / "volume.html")
    shown = pixels(read(tmp_path / "volume.html").all("img")[0]["src"])
    flat = explanation.values[0].sum(axis=-1)
    # One range of colours for all slices.
    np.testing.assert_array_equal(shown, tfs.plot.heatmap(flat[2], limit=np.percentile(np.abs(flat), 99)))


def test_a_coarse_map_has_the_proportions_of_its_picture(model, images, tmp_path):
    photos = np.random.default_rng(0).integers(0, 255, (2, 200, 300, 3), "uint8")
    coarse = tfs.GradCAM(model, upsample=False).explain(images)
    coarse.report(tmp_path / "map.html", images=photos)
    page = read(tmp_path / "map.html")
    mapped = page.all("img")[0]
    assert "aspect-ratio: 300 / 200; }" in page.text_of("style")[0]
    assert (mapped["width"], mapped["height"], mapped["class"]) == ("300", "200", "small")
    given = next(each for each in page.all("div") if "role" in each)
    assert given["class"] == "layers sample-0-0 fine"


@pytest.mark.parametrize("length", [16383, 16384])
def test_a_long_picture(length):
    long = np.random.default_rng(0).integers(0, 256, (2, length, 3), "uint8")
    np.testing.assert_array_equal(pixels(picture_url(long)), long)


def test_channels_that_cancel_are_drawn_as_in_a_figure(model, images, tmp_path):
    explanation = dataclasses.replace(tfs.Gradient(model).explain(images), values=images - 0.05)
    assert explanation.values.min() < 0 < explanation.values.sum(axis=-1).min()
    explanation.report(tmp_path / "map.html")
    shown = pixels(read(tmp_path / "map.html").all("img")[0]["src"])
    drawn = explanation.plot().axes[1].images[0].get_array()
    np.testing.assert_array_equal(shown, drawn)


def test_several_targets_have_their_names_to_choose_from_and_their_maps(model, images, tmp_path):
    targets = tfs.target.each([[2, 0], 1, tfs.target.contrast([2, 0], 1)])
    explanations = [tfs.Gradient(model).explain(images, targets), tfs.DeepLIFT(model).explain(images, targets)]
    tfs.plot.report(explanations, tmp_path / "map.html", labels=["cat", "dog", "fish"])
    page = read(tmp_path / "map.html")
    names = [["2 fish", "1 dog", "2 fish, not 1 dog"], ["0 cat", "1 dog", "0 cat, not 1 dog"]]
    choices = [each for each in page.all("input") if each["type"] == "radio"]
    assert [(each["name"], each["value"]) for each in choices] == [
        (f"targets-{sample}", name) for sample in range(2) for name in names[sample]
    ]
    assert [each["value"] for each in choices if "checked" in each] == ["2 fish", "0 cat"]
    mapped = [each for each in page.all("figure") if "data-target" in each]
    assert [each["data-target"] for each in mapped] == [name for sample in range(2) for name in names[sample] * 2]
    ours = [pixels(image["src"]) for image in page.all("img")]
    theirs = [
        tfs.plot.heatmap(each.values[sample, place].sum(axis=-1))
        for sample in range(2)
        for each in explanations
        for place in range(3)
    ]
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(one, other)
    # Each method once, with all that differs between its maps.
    assert page.text_of("h3") == [each.method for each in explanations]


def test_a_word_that_is_said_twice_is_two_targets(tmp_path):
    model = keras.Sequential([keras.Input((None,)), layers.Embedding(9, 4), layers.LSTM(8, return_sequences=True)])
    model.add(layers.Dense(9))
    both = [
        kind(model).explain(np.array([[3, 8, 1, 1]]), tfs.target.tokens([1, 1], 1))
        for kind in (tfs.Gradient, tfs.IntegratedGradients)
    ]
    tfs.plot.report(both, tmp_path / "map.html")
    named = [each["value"] for each in read(tmp_path / "map.html").all("input") if each["type"] == "radio"]
    assert named == ["1: sequence((1,), first=1)", "1: sequence((1,), first=2)"]
    # Two methods at two places, each by itself.
    two = [
        kind(model).explain(np.array([[3, 8, 1, 1]]), tfs.target.token(position, 4))
        for kind, position in ((tfs.Gradient, 1), (tfs.IntegratedGradients, 2))
    ]
    tfs.plot.report(two, tmp_path / "map.html")
    named = [each["value"] for each in read(tmp_path / "map.html").all("input") if each["type"] == "radio"]
    assert named == ["4: token(position=1, index=4)", "4: token(position=2, index=4)"]
    # Two models that are asked for one class are asked the same.
    other = keras.models.clone_model(model)
    explanations = [tfs.Gradient(each).explain(np.array([[3, 8]]), tfs.target.token(1, 4)) for each in (model, other)]
    tfs.plot.report(explanations, tmp_path / "map.html")
    assert [each["type"] for each in read(tmp_path / "map.html").all("input")] == ["range"]


def test_words_are_text_on_the_colours_of_their_values(tmp_path):
    model = keras.Sequential([keras.Input((4,)), layers.Embedding(9, 4), layers.Flatten(), layers.Dense(2)])
    explanation = (
        tfs.DeepLIFT(model).explain(np.array([[3, 8, 1, 0]])).named(tokens=[["a", HOSTILE, "\u05e9\u05dc\u05d5\u05dd"]])
    )
    explanation.report(tmp_path / "map.html")
    page = read(tmp_path / "map.html")
    assert [text.strip() for text in page.text_of("span")[2:]] == ["a", HOSTILE, "\u05e9\u05dc\u05d5\u05dd"]
    assert [each["dir"] for each in page.all("p") if "dir" in each] == ["auto"]
    words = [each for each in page.all("span") if "title" in each]
    assert [each["title"] for each in words] == [f"{value:.3g}" for value in explanation.values[0, :3]]
    heat = tfs.plot.heatmap(explanation.values, limit=scale_of(explanation.values[0], "signed", 99).limit)[0]
    for word, colour in zip(words, heat, strict=False):
        code = "".join(f"{byte:02x}" for byte in colour)
        assert word["class"].startswith(f"on-{code}-")
        assert f".{word['class']} {{ background: #{code}; color:" in page.text_of("style")[0]


def test_four_photographs_six_methods_and_four_targets_are_below_five_megabytes(tmp_path):
    model = tfs.zoo.efficientnet_lite0()
    photos = np.concatenate([tfs.zoo.preprocess(photo) for photo in tfs.zoo.photographs().values()])
    first, second, third = np.argsort(-model.predict(photos, verbose=0))[:, :3].T
    targets = tfs.target.each([first, second, third, tfs.target.contrast(first, second)])
    kinds = (tfs.Gradient, tfs.GradientTimesInput, tfs.GuidedBackprop, tfs.DeepLIFT, tfs.LRP, tfs.GradCAM)
    with warnings.catch_warnings():
        # LRP has no rule for a contrast, and says so.
        warnings.filterwarnings("ignore", "The values of the samples .* miss their sum")
        explanations = [kind(model).explain(photos, targets) for kind in kinds]
    tfs.plot.report(explanations, tmp_path / "map.html", labels=tfs.zoo.labels())
    assert read(tmp_path / "map.html").elements.count(("fieldset", {})) == 4
    assert (tmp_path / "map.html").stat().st_size < 5e6


def test_models_are_told_apart(model, images, tmp_path):
    other = keras.Sequential([keras.Input((8, 8, 3)), *model.layers], name="other")
    explanations = [tfs.Gradient(each).explain(images) for each in (model, other)]
    tfs.plot.report(explanations, tmp_path / "map.html")
    assert read(tmp_path / "map.html").text_of("title") == [f"What made {model.name} and other say that"]


def test_mistakes_leave_no_file(model, images, tmp_path):
    explanation = tfs.Gradient(model).explain(images)
    with pytest.raises(ValueError, match=r"ends in \.html"):
        explanation.report(tmp_path / "map.png")
    with pytest.raises(ValueError, match="one name per sample: 2. Received: 1"):
        explanation.report(tmp_path / "map.html", names=["cat"])
    with pytest.raises(ValueError, match="at least one"):
        tfs.plot.report([], tmp_path / "map.html")
    with pytest.raises(ValueError, match="same inputs"):
        tfs.plot.report([explanation, tfs.Gradient(model).explain(images + 1)], tmp_path / "map.html")
    with pytest.raises(FileNotFoundError, match="There is no folder"):
        explanation.report(tmp_path / "none/map.html")
    assert list(tmp_path.iterdir()) == []
