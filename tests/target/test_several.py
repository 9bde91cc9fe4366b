"""Several targets at once, against each of them alone."""

import keras
import numpy as np
import pytest
from keras import layers

import tfsaliency as tfs

X = np.random.default_rng(0).normal(size=(4, 6, 6, 2)).astype("float32")
IDS = np.array([[3, 8, 1, 4, 2], [1, 1, 2, 0, 5]])


@pytest.fixture(scope="module")
def network():
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [keras.Input((6, 6, 2)), layers.Conv2D(4, 3, activation="relu"), layers.Flatten(), layers.Dense(3)]
    )


@pytest.fixture(scope="module")
def language_model():
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((None,)), layers.Embedding(9, 4), layers.LSTM(8, return_sequences=True)])
    model.add(layers.Dense(9))
    model.set_weights([5 * weights for weights in model.get_weights()])
    return model


def same(one, other):
    for name in ("values", "scores", "target"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert one.diagnostics.keys() <= other.diagnostics.keys()


TARGETS = (0, None, [2, 1, 0, 0], tfs.target.contrast(), lambda z: z[:, 1] ** 2)


def test_each_is_what_it_is_alone(network):
    explainer = tfs.SmoothGrad(network, samples=5)
    together = explainer.explain(X, tfs.target.each(TARGETS))
    assert together.values.shape == (4, 5, 6, 6, 2) and together.scores.shape == (4, 5)
    for one, target in zip(together.each(), TARGETS, strict=True):
        alone = explainer.explain(X, target)
        np.testing.assert_array_equal(one.values, alone.values)
        np.testing.assert_array_equal(one.scores, alone.scores)
        assert one.provenance["target"] == alone.provenance["target"]
        for name, numbers in alone.diagnostics.items():
            np.testing.assert_array_equal(one.diagnostics[name], numbers)
    np.testing.assert_array_equal(explainer.scores(X, tfs.target.each(TARGETS)), together.scores)
    # A function has no class: then there are none for all.
    assert together.target is None
    # Only the contrast has a foil.
    assert np.isnan(together.diagnostics["foil"]).tolist() == [[True, True, True, False, True]] * 4


def test_the_top_classes_are_those_of_the_model_best_first(network):
    order = np.argsort(-network.predict(X, verbose=0), axis=-1)
    explainer = tfs.IntegratedGradients(network, steps=4)
    ours = explainer.explain(X, tfs.target.top(3))
    np.testing.assert_array_equal(ours.target, order)
    same(ours, explainer.explain(X, tfs.target.each(order.T)))
    assert [one.provenance["target"] for one in ours.each()] == [f"the class of rank {rank}" for rank in range(3)]
    with pytest.raises(ValueError, match=r"has 3 classes. .* rank 4 among them. Ask for the top 3 at most"):
        explainer.explain(X, tfs.target.top(4))
    with pytest.raises(ValueError, match="count is a whole number"):
        tfs.target.top(0)


def test_both_sides_of_a_sigmoid_in_their_order():
    model = keras.Sequential([keras.Input((1,)), layers.Dense(1, "sigmoid")])
    model.set_weights([np.array([[2.0]]), np.zeros(1)])
    ours = tfs.Gradient(model).explain(np.array([[-1.0], [1.0]]), tfs.target.top(2))
    np.testing.assert_array_equal(ours.target, [[0, 1], [1, 0]])
    np.testing.assert_allclose(ours.scores, [[2, -2], [2, -2]], rtol=1e-6)


def test_files_and_transforms(network, tmp_path):
    explanation = tfs.Gradient(network).explain(X, tfs.target.each([0, 2]))
    np.testing.assert_array_equal(explanation.target, [[0, 2]] * 4)
    explanation.save(tmp_path / "map.npz")
    again = tfs.Explanation.load(tmp_path / "map.npz")
    same(again, explanation)
    assert [one.provenance["target"] for one in again.each()] == [
        one.provenance["target"] for one in explanation.each()
    ]
    strongest = explanation.map(tfs.transforms.max_channels)
    for place, target in enumerate([0, 2]):
        alone = tfs.Gradient(network).explain(X, target).map(tfs.transforms.max_channels)
        np.testing.assert_array_equal(strongest.values[:, place], alone.values)


def test_several_inputs():
    keras.utils.set_random_seed(0)
    a, b = keras.Input((3,), name="a"), keras.Input((2,), name="b")
    model = keras.Model({"a": a, "b": b}, layers.Dense(2)(layers.Concatenate()([a, b])))
    x = {"a": np.ones((2, 3)), "b": np.ones((2, 2))}
    explanation = tfs.Gradient(model).explain(x, tfs.target.each([0, 1]))
    assert {name: part.shape for name, part in explanation.values.items()} == {"a": (2, 2, 3), "b": (2, 2, 2)}
    for place, one in enumerate(explanation.each()):
        np.testing.assert_array_equal(one.values["a"], tfs.Gradient(model).explain(x, place).values["a"])


# Relevance of the logarithm of a probability starts as logits times slopes, which do not sum to it.
@pytest.mark.filterwarnings("ignore:.* Most is lost at the target, which is no weighted sum of logits")
@pytest.mark.parametrize("method", [tfs.Gradient, tfs.IntegratedGradients, tfs.LRP, tfs.DeepLIFT, tfs.Occlusion])
def test_the_matrix_of_an_answer(language_model, method):
    """A row for each token that is said: strictly causal, and for what adds up the sum of the rows is the sequence."""
    answer = [[1, 4, 2], [2, 0, 5]]
    explainer = method(language_model)
    matrix = explainer.explain(IDS, tfs.target.tokens(answer, first=1))
    assert matrix.values.shape == (2, 3, 5)
    # Occlusion compares two scores, which some processors round by where a row stands in its batch.
    rounding = 2e-6 if method is tfs.Occlusion else 0
    for row in range(3):
        assert (np.abs(matrix.values[:, row, row + 2 :]) <= rounding).all()
        assert (np.abs(matrix.values[:, row, : row + 2]) > 1e-4).any(axis=1).all()
    np.testing.assert_array_equal(matrix.target, answer)
    whole = explainer.explain(IDS, tfs.target.sequence(answer, first=1))
    np.testing.assert_allclose(matrix.scores.sum(axis=1), whole.scores, rtol=1e-5)
    if method is tfs.DeepLIFT:
        np.testing.assert_allclose(matrix.values.sum(axis=1), whole.values, rtol=1e-4, atol=1e-5)


def test_pictures_of_several_targets(network, language_model):
    figure = tfs.Gradient(network).explain(X[:2], tfs.target.each([0, tfs.target.contrast(1, 2)])).plot(labels="abc")
    assert [axis.get_title().split(":")[0] for axis in figure.axes[::3]] == ["a", "b, not c"] * 2
    matrix = tfs.Gradient(language_model).explain(IDS, tfs.target.tokens([1, 4], first=1)).plot()
    axis = matrix.axes[0]
    assert [label.get_text().split(":")[0] for label in axis.get_yticklabels()] == ["class 1", "class 4"]
    assert [label.get_text() for label in axis.get_xticklabels()] == ["3", "8", "1", "4", "2"]


def test_a_report_shows_each(network, tmp_path):
    tfs.Gradient(network).explain(X[:1], tfs.target.each([0, 1])).report(tmp_path / "both.html")
    page = (tmp_path / "both.html").read_text(encoding="utf-8")
    assert page.count("<img") == 2


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: tfs.target.each([]), "at least one target. Received: none"),
        (lambda: tfs.target.each(["cat"]), "target is None, a class index"),
        (
            lambda: tfs.target.output("a", tfs.target.each([0, 1])),
            "each is passed to explain as it is, around all other",
        ),
        (lambda: tfs.target.each([tfs.target.each([0, 1])]), "each is passed to explain as it is, around all other"),
        (lambda: tfs.target.tokens([]), "takes token ids"),
        (lambda: tfs.target.tokens([[1], [2, 3]]), "as many ids for each sample"),
    ],
)
def test_what_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
