"""What each way to say a baseline comes to, in tensors."""

from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfsaliency as tfs
from tests import reference
from tfsaliency import baselines as public
from tfsaliency.baselines import baselines

X = np.random.default_rng(0).normal(size=(3, 4, 5, 2)).astype("float32")
PARTS = {"picture": X, "table": np.random.default_rng(1).normal(size=(3, 6)).astype("float32")}


def score_of(numbers):
    """What baselines ask of a score: which samples these are, and the inputs as they were passed."""
    return SimpleNamespace(
        numbers=tf.constant(numbers),
        passed=lambda x: x,
        looked_up=lambda passed: passed,
        is_read=lambda x: [None] * len(tf.nest.flatten(x)),
        check_channels_last=lambda: None,
    )


def read(baseline, x=X, numbers=(0, 1, 2)):
    """All baselines of all samples, ``(K, N, ...)``, in the structure of the inputs."""
    x = tf.nest.map_structure(tf.constant, x)
    found = baselines(baseline, x, score_of(numbers))
    each = [tf.nest.map_structure(np.asarray, found.at(i)) for i in range(found.number)]
    return tf.nest.map_structure(lambda *rows: np.stack(rows), *each)


ONE = np.random.default_rng(2).normal(size=(4, 5, 2))
SEVERAL = np.random.default_rng(3).normal(size=(7, 4, 5, 2))


@pytest.mark.parametrize(
    ("baseline", "expected"),
    [
        (0.5, np.full((1, *X.shape), 0.5)),
        (np.float32(2), np.full((1, *X.shape), 2.0)),
        (ONE, np.broadcast_to(ONE, (1, *X.shape))),
        # One number per channel, and per row.
        (ONE[:1, :1], np.broadcast_to(ONE[:1, :1], (1, *X.shape))),
        (ONE[:, :1, :1], np.broadcast_to(ONE[:, :1, :1], (1, *X.shape))),
        (SEVERAL, np.broadcast_to(SEVERAL[:, None], (7, *X.shape))),
        (lambda x: x / 2, X[None] / 2),
        (
            public.extremes(),
            np.stack([np.broadcast_to(f(X, (1, 2, 3))[:, None, None, None], X.shape) for f in (np.min, np.max)]),
        ),
        (public.blurred(1.5), reference.blur(X, 1.5)[None]),
        (public.pixels([0, 255], lambda pixels: pixels / 255 - 0.5), np.broadcast_to([-0.5, 0.5], (1, *X.shape))),
        (public.per_sample(X[::-1]), X[None, ::-1]),
    ],
)
def test_every_form(baseline, expected):
    found = read(baseline)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_uniform_noise_is_within_its_bounds_and_the_same_for_every_sample():
    draws = read(public.uniform(2, 3, number=50))
    assert draws.shape == (50, *X.shape)
    assert 2 <= draws.min() < 2.01 and 2.99 < draws.max() <= 3
    np.testing.assert_array_equal(draws[:, 0], draws[:, 1])
    assert np.abs(np.corrcoef(draws[:, 0].reshape(50, -1)) - np.eye(50)).max() < 6 / np.sqrt(40)
    np.testing.assert_array_equal(draws[:10], read(public.uniform(2, 3)))
    assert (draws[:10] != read(public.uniform(2, 3, seed=1))).all()


def test_each_part_of_the_inputs_has_its_own():
    several = {"picture": 0.5, "table": np.arange(12.0).reshape(2, 6)}
    found = read(several, PARTS)
    np.testing.assert_array_equal(found["picture"], np.full((2, *X.shape), 0.5))
    np.testing.assert_array_equal(found["table"], np.repeat(several["table"][:, None], 3, axis=1))
    everywhere = read(0.5, PARTS)
    assert {name: part.shape for name, part in everywhere.items()} == {"picture": (1, *X.shape), "table": (1, 3, 6)}
    noise = read(public.uniform(0, 1), {"first": PARTS["table"], "second": PARTS["table"]})
    assert (noise["first"] != noise["second"]).all()


def test_one_array_serves_inputs_that_are_one_array_in_a_list():
    (found,) = read(ONE, [X])
    np.testing.assert_allclose(found, np.broadcast_to(ONE, (1, *X.shape)), rtol=1e-6)


def test_copies_of_a_sample_have_its_baseline():
    """Copies are stacked in blocks, and the samples are some from the middle of a batch."""
    before = np.arange(9 * 40, dtype="float32").reshape(9, 4, 5, 2)
    found = read(public.per_sample(before), np.tile(X, (2, 1, 1, 1)), numbers=(4, 5, 6))
    np.testing.assert_array_equal(found[0], before[[4, 5, 6, 4, 5, 6]])


def test_the_mean_over_several_is_that_of_each():
    x = tf.constant(X)
    several = baselines(SEVERAL, x, score_of([0]))
    mean = several.mean_of(lambda x0: {"squares": tf.square(x0), "sum": tf.reduce_sum(x0)}, {"squares": x, "sum": 0.0})
    np.testing.assert_allclose(mean["squares"], np.broadcast_to((SEVERAL**2).mean(axis=0), X.shape), rtol=1e-5)
    np.testing.assert_allclose(mean["sum"], 3 * SEVERAL.sum() / 7, rtol=1e-4)


@pytest.mark.parametrize(
    ("baseline", "x", "message"),
    [
        (np.zeros((4, 5)), X, r"inputs of shape \(4, 5, 2\).*Received: shape \(4, 5\)"),
        (np.zeros((4, 2, 2)), X, r"Received: shape \(4, 2, 2\)"),
        (np.zeros((0, 4, 5, 2)), X, r"Received: shape \(0, 4, 5, 2\)"),
        (np.zeros((2, 2, 4, 5, 2)), X, r"Received: shape \(2, 2, 4, 5, 2\)"),
        (np.inf, X, "made of finite numbers. Received: .*inf"),
        (np.array(["a"]), X, "made of finite numbers"),
        (tf.data.Dataset.from_tensor_slices(SEVERAL).batch(2), X, r"Received: _BatchDataset. .*next\(iter\(dataset"),
        ({"picture": 0.0}, X, "structure of one input"),
        ({"picture": 0.0}, PARTS, r"structure of one input, .*'table': \(6,\).*Received: \{'picture': 0.0\}"),
        (
            {"picture": SEVERAL, "table": np.zeros((2, 6))},
            PARTS,
            r"the same number of baselines. Received: \[2, 7\]",
        ),
    ],
)
def test_what_does_not_fit_is_named(baseline, x, message):
    with pytest.raises(ValueError, match=message):
        read(baseline, x)


@pytest.mark.parametrize("explainer", [tfs.IntegratedGradients, tfs.ExpectedGradients, tfs.GuidedIntegratedGradients])
def test_a_list_of_baselines_for_inputs_of_several_widths(explainer):
    first, second = keras.Input((4,)), keras.Input((3,))
    both = keras.layers.Concatenate()([first, second])
    model = keras.Model([first, second], keras.layers.Dense(2, use_bias=False)(both))
    x, baseline = [np.ones((2, 4)), np.full((2, 3), 2.0)], [np.arange(4.0), np.arange(3.0)]
    values = explainer(model, baseline).explain(x, 1).values
    # The model is linear: each value is a weight times a difference.
    kernel = model.layers[-1].kernel.numpy()[:, 1]
    np.testing.assert_allclose(values[0], (x[0] - baseline[0]) * kernel[:4], rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(values[1], (x[1] - baseline[1]) * kernel[4:], rtol=1e-3, atol=1e-6)


def of_words():
    """The mean of a vector for each word, and a linear head."""
    words = keras.layers.TextVectorization(12)
    words.adapt(["a good film", "the bad film"])
    embedding = keras.layers.Embedding(12, 4)
    means = keras.layers.GlobalAveragePooling1D()
    model = keras.Sequential(
        [keras.Input((), dtype="string"), words, embedding, means, keras.layers.Dense(2, use_bias=False)]
    )
    return model, lambda text: (embedding(words([text]))[0] @ model.layers[-1].kernel[:, 1:])[:, 0].numpy()


@pytest.mark.parametrize("explainer", [tfs.IntegratedGradients, tfs.DeepLIFT, tfs.ExpectedGradients])
@pytest.mark.parametrize(
    ("baseline", "words"),
    [("bad film", 2), ("bad", 1), ("", 0), ("a b c d e", 5), (np.array(["the", "good film"]), 1)],
)
def test_a_text_of_another_length_says_how_many_words_it_needs(explainer, baseline, words):
    with pytest.raises(ValueError, match=rf"as many words as the longest .* Received: {words} words beside 3\. Fill"):
        explainer(of_words()[0], baseline).explain(np.array(["a good film"]), 1)


@pytest.mark.parametrize("explainer", [tfs.IntegratedGradients, tfs.DeepLIFT, tfs.ExpectedGradients])
def test_a_text_that_is_filled_up_as_advised_is_a_baseline(explainer):
    model, scores = of_words()
    filled = " ".join(["bad"] + ["the"] * 2)
    values = explainer(model, filled).explain(np.array(["a good film"]), 1).values
    # The model is linear in the vectors: each word gives a third of its number in place of another one's.
    np.testing.assert_allclose(values[0], (scores("a good film") - scores(filled)) / 3, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("made", [lambda texts: texts, tfs.baselines.per_sample], ids=["array", "per_sample"])
def test_texts_as_pandas_makes_them_are_baselines(made):
    model, _ = of_words()
    x, texts = np.array(["a good film", "the bad film"]), np.array(["bad bad the", "the the a"])
    found = [tfs.IntegratedGradients(model, made(each)).explain(x, 1) for each in (texts, texts.astype(object))]
    np.testing.assert_array_equal(found[0].values, found[1].values)
    assert np.abs(found[0].values).max() > 1e-3
    with pytest.raises(ValueError, match="A baseline for a text is a text"):
        tfs.IntegratedGradients(model, np.array(["bad bad the", 3], object)).explain(x, 1)


def of_a_number(shape):
    """``2 x^2`` of one number per sample, which the model takes as ``(N,)`` or as ``(N, 1)``."""
    x = keras.Input(shape)
    model = keras.Model(x, keras.layers.Dense(1, use_bias=False)(keras.ops.reshape(x, (-1, 1)) ** 2))
    model.set_weights([np.array([[2.0]])])
    return model


@pytest.mark.parametrize("shape", [(), (1,)])
@pytest.mark.parametrize("explainer", [tfs.IntegratedGradients, tfs.DeepLIFT, tfs.Occlusion])
def test_baselines_of_one_number_per_sample(explainer, shape):
    """Keras takes ``(N,)`` for ``(N, 1)``, and so ``(K,)`` are several baselines."""
    x, several = np.array([1.0, 2.0, 3.0]), np.array([0.0, 1.0, -2.0, 4.0])

    def values(baseline):
        explanation = explainer(of_a_number(shape), baseline=baseline).explain(x, lambda z: z[:, 0])
        return explanation.values.reshape(-1)

    np.testing.assert_allclose(values(several), 2 * (x**2 - np.mean(several**2)), rtol=1e-4)
    np.testing.assert_allclose(values(np.array([0.5])), 2 * (x**2 - 0.25), rtol=1e-4)
    np.testing.assert_allclose(values(tfs.baselines.per_sample(x / 2)), 2 * (x**2 - x**2 / 4), rtol=1e-4)


@pytest.mark.parametrize(
    ("baseline", "message"),
    [
        (np.zeros((4, 1)), r"several of them, \(K,\)\. Received: shape \(4, 1\)"),
        ([0.0, 1.0], r"structure of one input.*Received: \[0.0, 1.0\]\. Several for one input are an array"),
        (tfs.baselines.per_sample(np.zeros(2)), r"each of the inputs, \(3,\). Received: \(2,\)"),
    ],
)
def test_baselines_that_do_not_fit_one_number_per_sample(baseline, message):
    with pytest.raises(ValueError, match=message):
        tfs.DeepLIFT(of_a_number(()), baseline).explain(np.array([1.0, 2.0, 3.0]), lambda z: z[:, 0])


def test_a_baseline_that_is_made_is_one_for_all_parts():
    """A function takes its place, which leaves a part as it is."""
    x = {"seq": np.eye(4, dtype="float32")[np.arange(12) % 4][None], "cov": np.array([[2.0]])}
    inputs = {"seq": keras.Input((12, 4), name="seq"), "cov": keras.Input((1,), name="cov")}
    both = keras.layers.Concatenate()([keras.layers.Flatten()(inputs["seq"]), inputs["cov"]])
    model = keras.Model(inputs, keras.layers.Dense(2)(both))
    with pytest.raises(ValueError, match=r"pass it alone, and not inside of dict. Received: \{'seq': shuffled"):
        tfs.DeepLIFT(model, {"seq": tfs.baselines.shuffled(samples=2), "cov": 0.0}).explain(x, 1)
    zeros = tfs.DeepLIFT(model, lambda x: {**x, "seq": tf.zeros_like(x["seq"])}).explain(x, 1).values
    weights = model.layers[-1].get_weights()[0][:, 1]
    np.testing.assert_allclose(zeros["seq"].ravel(), x["seq"].ravel() * weights[:48], rtol=1e-5)
    np.testing.assert_array_equal(zeros["cov"], 0)
