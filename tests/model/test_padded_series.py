"""Series filled up with a number that the model masks are explained as the series without that number."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

import tfsaliency as tfs
from tests.harness import close, draws_of

LENGTH, STEPS, CHANNELS, FILLER = 9, 5, 3, -4.0
generator = np.random.default_rng(0)
SERIES = generator.normal(size=(2, STEPS, CHANNELS)).astype("float32")
# One step of the second series has the number in a single channel, and is no padding.
SERIES[1, 2, 0] = FILLER
PADDED = np.concatenate([SERIES, np.full((2, LENGTH - STEPS, CHANNELS), FILLER, "float32")], axis=1)
OTHERS = generator.normal(size=(4, LENGTH, CHANNELS)).astype("float32")


class ByHand(layers.Layer):
    """A mean over the steps that are not padding."""

    def call(self, x):
        kept = ops.cast(ops.any(ops.not_equal(x, FILLER), axis=-1, keepdims=True), x.dtype)
        return ops.sum(ops.tanh(x) * kept, axis=1) / ops.sum(kept, axis=1)


class BySize(layers.Layer):
    """The same, where padding is zeros, told by the size of a step."""

    def __init__(self, is_there):
        super().__init__()
        self.is_there = is_there

    def call(self, x):
        kept = ops.cast(self.is_there(x), x.dtype)[..., None]
        return ops.sum(ops.tanh(x) * kept, axis=1) / ops.sum(kept, axis=1)


SIZES = {
    "sum of sizes": lambda x: tf.reduce_sum(tf.abs(x), -1) > 0,
    "sign of the largest": lambda x: tf.sign(tf.reduce_max(tf.abs(x), axis=2)),
    "norm": lambda x: tf.norm(x, axis=-1) > 1e-6,
    "sum": lambda x: tf.not_equal(tf.reduce_sum(x, axis=-1), 0.0),
    "any": lambda x: keras.ops.any(x, axis=-1),
    "mean square": lambda x: 1e-8 < tf.reduce_mean(x**2, axis=-1),
    "as a truth": lambda x: tf.cast(tf.reduce_sum(x, axis=-1), tf.bool),
}
KINDS = {
    "LSTM": lambda: [layers.Masking(FILLER), layers.LSTM(6)],
    "by hand": lambda: [ByHand(), layers.Dense(6, "tanh")],
}


def model_of(kind, length):
    keras.utils.set_random_seed(2)
    return keras.Sequential([keras.Input((length, CHANNELS)), *KINDS[kind](), layers.Dense(2)])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "make",
    [
        lambda model, others: tfs.IntegratedGradients(model, others[0], steps=20),
        lambda model, others: tfs.IntegratedGradients(model, lambda x: x * 0 + 0.3, steps=20),
        lambda model, others: tfs.ExpectedGradients(model, others, samples=20),
        lambda model, others: tfs.DeepLIFT(model, others),
        lambda model, others: tfs.Occlusion(model, window=1, stride=1, baseline=others[0]),
    ],
)
def test_a_baseline_fills_no_padding(kind, make):
    model = model_of(kind, LENGTH)
    cut = model_of(kind, STEPS)
    np.testing.assert_allclose(model(PADDED), cut(SERIES), rtol=1e-5)
    values = make(model, OTHERS).explain(PADDED, 1).values
    close(values[:, :STEPS], make(cut, OTHERS[:, :STEPS]).explain(SERIES, 1).values, 1e-4)
    # Scores that Occlusion compares are rounded.
    assert np.abs(values[:, STEPS:]).max() <= 1e-7


@pytest.mark.parametrize("baseline", [tfs.baselines.mean(), tfs.baselines.blurred(2), tfs.baselines.extremes()])
@pytest.mark.parametrize("kind", KINDS)
def test_padding_is_no_part_of_a_baseline_that_is_made_of_the_series(kind, baseline):
    model, cut = model_of(kind, LENGTH), model_of(kind, STEPS)
    # No step has the filler in a single channel here: it would be read, by the layer that masks steps.
    given = np.where(np.arange(LENGTH)[:, None] < STEPS, np.where(PADDED == FILLER, 0.5, PADDED), FILLER)
    values = tfs.IntegratedGradients(model, baseline, steps=20).explain(given, 1).values
    expected = tfs.IntegratedGradients(cut, baseline, steps=20).explain(given[:, :STEPS], 1).values
    close(values[:, :STEPS], expected, 1e-4)


def test_a_number_that_says_something_is_no_padding():
    """A network that counts missing steps reads them: a baseline and noise change them as all others."""
    keras.utils.set_random_seed(2)
    x = keras.Input((LENGTH, CHANNELS))
    missing = layers.Lambda(lambda x: ops.cast(ops.all(ops.equal(x, FILLER), axis=-1, keepdims=True), x.dtype))(x)
    model = keras.Model(x, layers.Dense(2)(layers.GRU(6)(layers.Concatenate()([x, missing]))))
    explanation = tfs.Occlusion(model, window=1, stride=1, baseline=OTHERS[0]).explain(PADDED, 1)
    for step in range(LENGTH):
        changed = PADDED.copy()
        changed[:, step] = OTHERS[0, step]
        lost = (model(PADDED) - model(changed))[:, 1]
        np.testing.assert_allclose(explanation.values[:, step, 0], lost, rtol=1e-3, atol=1e-6)


SPARSE = np.where(generator.uniform(size=(2, 6, 3)) < 0.5, 0, generator.normal(size=(2, 6, 3))).astype("float32")
SPARSE[:, 4:] = 0
TOLD = {
    "masking": lambda x: layers.Masking()(ops.square(x)),
    "all": lambda x: ops.square(x) * (1 - ops.cast(ops.all(ops.equal(x, 0.0), axis=2, keepdims=True), x.dtype)),
    "norm": lambda x: ops.where(ops.norm(x, axis=-1, keepdims=True) > 1e-6, ops.square(x), 0.0),
    "channels in front": lambda x: ops.transpose(layers.Masking()(ops.transpose(x, (0, 2, 1))) ** 2, (0, 2, 1)),
}


@pytest.mark.parametrize("name", TOLD)
def test_a_step_is_padding_with_all_its_channels_or_not_at_all(name):
    """Zeros among the channels of a step, where a square has no slope, are moved as all others are."""
    given = np.swapaxes(SPARSE, 1, 2) if name == "channels in front" else SPARSE
    x = keras.Input(given.shape[1:])
    squares = layers.Lambda(TOLD[name], output_shape=given.shape[1:])(x)
    model = keras.Model(x, ops.sum(squares, axis=(1, 2))[:, None])
    values = tfs.IntegratedGradients(model, 0.5, steps=32).explain(given).values
    axis = 1 if name == "channels in front" else 2
    expected = np.where((given == 0).all(axis=axis, keepdims=True), 0, given**2 - 0.25)
    np.testing.assert_allclose(values, expected, rtol=1e-4, atol=1e-6)


MOVED = {
    "a series of single numbers": (lambda x: ops.expand_dims(x, -1), lambda x: x[..., 0]),
    "channels in front": (layers.Permute((2, 1)), lambda x: np.swapaxes(x, 1, 2)),
}


@pytest.mark.parametrize("name", MOVED)
def test_series_that_are_moved_before_they_are_masked(name):
    """Against the model behind the move, whose inputs are the masked ones."""
    move, moved = MOVED[name]
    keras.utils.set_random_seed(2)
    channels = 1 if PADDED[..., :1].ndim > moved(PADDED[..., :1]).ndim else CHANNELS
    padded, others = PADDED[..., :channels], OTHERS[..., :channels]
    inner = keras.Sequential([keras.Input(padded.shape[1:]), *KINDS["LSTM"](), layers.Dense(2)])
    x = keras.Input(moved(padded).shape[1:])
    model = keras.Model(x, inner(move(x)))
    for make in (
        lambda model, other: tfs.IntegratedGradients(model, other, steps=20),
        lambda model, other: tfs.DeepLIFT(model, other),
    ):
        expected = make(inner, others[0]).explain(padded, 1).values
        close(make(model, moved(others)[0]).explain(moved(padded), 1).values, moved(expected), 1e-4)
    noisy = tfs.VarGrad(model, samples=4).explain(moved(padded), 1).values
    is_padding = np.zeros(padded.shape, bool)
    is_padding[:, STEPS:] = True
    assert (noisy[moved(is_padding)] == 0).all()
    assert (noisy > 0).any()


def test_a_blur_stays_within_a_series():
    model = model_of("LSTM", LENGTH)
    explanation = tfs.BlurIntegratedGradients(model, sigma=20, steps=200).explain(PADDED[:1], 1)
    assert (explanation.values[:, STEPS:] == 0).all()
    # Of so wide a blur the mean of the series is left.
    blurred = PADDED[:1].copy()
    blurred[:, :STEPS] = SERIES[:1].mean(axis=1, keepdims=True)
    change = model(PADDED[:1])[0, 1] - model(blurred)[0, 1]
    np.testing.assert_allclose(explanation.values.sum(), change, rtol=0.05)


@pytest.mark.parametrize("kind", KINDS)
def test_noise_reaches_no_padding(kind):
    model = model_of(kind, LENGTH)
    smooth = tfs.SmoothGrad(model, samples=6, noise=0.1)
    draws = draws_of(smooth, PADDED.shape[1:])
    draws[:, STEPS:] = 0
    # What fills up is no part of the range.
    extent = np.ptp(SERIES, axis=(1, 2), keepdims=True)
    by_hand = [tfs.Gradient(model).explain(PADDED + 0.1 * extent * draw, 1).values for draw in draws]
    close(smooth.explain(PADDED, 1).values, np.mean(by_hand, axis=0), 1e-4)
    inside = tfs.IntegratedGradients(smooth, OTHERS[0], steps=4).explain(PADDED, 1).values
    assert (inside[:, STEPS:] == 0).all()
    variances = tfs.VarGrad(model, samples=6).explain(PADDED, 1).values
    assert (variances[:, STEPS:] == 0).all()
    assert (variances[:, :STEPS] > 0).any()


def test_a_baseline_that_is_all_padding_is_told_as_a_jump():
    """Of a trained model that masks zeros: at zeros it reads nothing, and just beside them all steps."""
    keras.utils.set_random_seed(2)
    masked = [keras.Input((STEPS, CHANNELS)), layers.Masking(), layers.LSTM(6, bias_initializer="ones")]
    model = keras.Sequential([*masked, layers.Dense(2)])
    with pytest.warns(UserWarning, match=r"the model jumps on the way from the baseline, as at a mask.*baseline=0.1"):
        tfs.IntegratedGradients(model).explain(SERIES, 1)
    explanation = tfs.IntegratedGradients(model, 0.1, tolerance=0.01).explain(SERIES, 1)
    change = (model(SERIES) - model(0 * SERIES[:1] + 0.1))[:, 1]
    np.testing.assert_allclose(explanation.values.sum(axis=(1, 2)), change, rtol=0.05, atol=1e-3)


def test_a_model_without_a_gradient_can_be_asked():
    """It counts the steps of which a rounded mean is above zero; nothing shows which are padding."""
    x = keras.Input((LENGTH, CHANNELS))
    kept = layers.Lambda(lambda x: ops.cast(ops.any(ops.not_equal(x, FILLER), axis=-1), x.dtype))(x)
    votes = layers.Lambda(lambda x: tf.math.ceil(tf.tanh(tf.reduce_mean(x, axis=-1))))(x)
    model = keras.Model(
        x, layers.Lambda(lambda parts: ops.sum(parts[0] * parts[1], axis=1, keepdims=True))([kept, votes])
    )
    values = tfs.Occlusion(model, window=1, stride=1).explain(PADDED, 0).values
    expected = (PADDED != FILLER).any(axis=-1) * (np.ceil(np.tanh(PADDED.mean(axis=-1))))
    np.testing.assert_allclose(values[..., 0], expected)


@pytest.mark.parametrize("name", SIZES)
def test_steps_that_are_told_by_their_size(name):
    """Against the same model of the series without zeros."""
    padded = np.where(PADDED == FILLER, 0, PADDED)
    series, others = padded[:, :STEPS], OTHERS + 0.1

    def model_of(length):
        keras.utils.set_random_seed(2)
        return keras.Sequential([keras.Input((length, CHANNELS)), BySize(SIZES[name]), layers.Dense(2)])

    model, cut = model_of(LENGTH), model_of(STEPS)
    np.testing.assert_allclose(model(padded), cut(series), rtol=1e-5)
    for make in (
        lambda model, other: tfs.IntegratedGradients(model, other, steps=20),
        lambda model, other: tfs.Occlusion(model, window=1, stride=1, baseline=other),
    ):
        values = make(model, others[0]).explain(padded, 1).values
        close(values[:, :STEPS], make(cut, others[0][:STEPS]).explain(series, 1).values, 1e-4)
        assert np.abs(values[:, STEPS:]).max() <= 1e-7
    noisy = tfs.VarGrad(model, samples=4).explain(padded, 1).values
    assert (noisy[:, STEPS:] == 0).all()
    assert (noisy[:, :STEPS] > 0).any()
