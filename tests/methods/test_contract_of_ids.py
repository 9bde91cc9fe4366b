"""What every method owes for inputs that are no numbers: token ids, texts, categories beside numbers, masks."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfsaliency as tfs
from tests.harness import CHEAPER, COMBINED, OVER_A_LAYER, RECTIFYING, close
from tfsaliency.methods import METHODS
from tfsaliency.testing import samples

WORDS = ["the", "bird", "sings", "not", "at", "all", "loud", "dog"]


@dataclass(frozen=True)
class Kind:
    build: Callable[[], keras.Model]
    inputs: Any
    # Places that only fill up: exactly nothing is said about them.
    padding: Any = None


def ids_of(length, dtype="int64"):
    return np.random.default_rng(0).integers(1, 9, (3, length)).astype(dtype)


def classifier(x):
    return layers.Dense(3, "softmax", bias_initializer="normal")(x)


def convolutional():
    """Ids declared as floats, the default of Keras."""
    ids = keras.Input((7,))
    x = layers.Conv1D(6, 3, padding="same", activation="relu")(layers.Embedding(9, 5)(ids))
    x = layers.Conv1D(6, 3, activation="relu")(x)
    return keras.Model(ids, classifier(layers.GlobalAveragePooling1D()(x)))


def recurrent():
    """Ids of which 0 is padding, which the network passes over."""
    ids = keras.Input((6,), dtype="int32")
    return keras.Model(ids, classifier(layers.LSTM(5)(layers.Embedding(9, 4, mask_zero=True)(ids))))


def of_texts():
    text = keras.Input((1,), dtype="string")
    ids = layers.TextVectorization(vocabulary=WORDS, output_sequence_length=6)(text)
    x = layers.Dense(6, "relu")(layers.Flatten()(layers.Embedding(len(WORDS) + 2, 4)(ids)))
    return keras.Model(text, classifier(x))


def of_a_table():
    """A category beside numbers."""
    kind, numbers = keras.Input((1,), name="kind", dtype="string"), keras.Input((3,), name="numbers")
    ids = layers.StringLookup(vocabulary=WORDS)(kind)
    vectors = layers.Flatten()(layers.Embedding(len(WORDS) + 1, 4)(ids))
    x = layers.Dense(8, "relu")(layers.Concatenate()([vectors, numbers]))
    return keras.Model({"kind": kind, "numbers": numbers}, classifier(x))


def attentive():
    """A small transformer whose mask is an input of its own."""
    ids, mask = keras.Input((6,), name="ids", dtype="int32"), keras.Input((6,), name="mask", dtype="bool")
    x = layers.Embedding(9, 8)(ids)
    x = layers.LayerNormalization()(x + layers.MultiHeadAttention(2, 4)(x, x, attention_mask=mask[:, None]))
    x = layers.Dense(8, "relu")(x)
    return keras.Model({"ids": ids, "mask": mask}, classifier(layers.Flatten()(x)))


PADDED = ids_of(6) * (np.arange(6) < np.array([[6], [4], [3]]))
TEXTS = np.array([["the bird sings"], ["not at all loud"], ["the dog sings not loud at all"]])
TABLE = {"kind": np.array([["bird"], ["dog"], ["loud"]]), "numbers": np.random.default_rng(1).normal(size=(3, 3))}
KINDS = {
    "ids": Kind(convolutional, ids_of(7)),
    "masked ids": Kind(recurrent, PADDED, PADDED == 0),
    "texts": Kind(of_texts, TEXTS),
    "a table": Kind(of_a_table, TABLE),
    "ids and a mask": Kind(attentive, {"ids": ids_of(6), "mask": PADDED > 0}),
}
# As for numbers, but with the baselines that methods take for ids by themselves.
EXPLAINERS = COMBINED | {
    method.__name__: functools.partial(
        method, **{name: each for name, each in CHEAPER.get(method.__name__, {}).items() if "baseline" not in name}
    )
    for method in METHODS.values()
}
EXPLAINERS["BlurIntegratedGradients"] = lambda model: tfs.BlurIntegratedGradients(
    model, sigma=1.0, steps=4, tolerance=10
)
# What methods cannot answer, and say so.
REFUSED = {
    **{("XRAI", kind): "XRAI is for pictures" for kind in KINDS},
    **{(name, "masked ids"): "plain gradient" for name in (*RECTIFYING, "GuidedGradCAM")},
    **{("CAM", kind): "pooling and one dense" for kind in ("masked ids", "texts", "ids and a mask")},
    **{(name, "a table"): "no layer with places" for name in OVER_A_LAYER},
    ("BlurIntegratedGradients", "a table"): "no space to blur",
}
# How far a map may move with the size of the batch: sums in another order round differently.
ROUNDING = {
    # In a noisy copy a sum that gamma divides by cancels, all but a hundredth.
    ("SmoothGrad of rules", "masked ids"): 1e-3,
}


@pytest.fixture(scope="module", params=KINDS)
def case(request):
    keras.utils.set_random_seed(0)
    model = KINDS[request.param].build()
    samples.with_weights(model, seed=3)
    return request.param, model, KINDS[request.param]


@pytest.mark.filterwarnings("ignore:The values of the samples .* are zero")
@pytest.mark.filterwarnings("ignore:The values of the samples .* leave out")
@pytest.mark.filterwarnings("ignore:The map has not converged")
@pytest.mark.parametrize("name", EXPLAINERS)
def test_explainer(name, case):
    """One number for each id, category and word; nothing for padding; the same alone, in a batch and in chunks."""
    kind_name, model, kind = case
    explainer = EXPLAINERS[name](model)
    if message := REFUSED.get((name, kind_name)):
        with pytest.raises(ValueError, match=message):
            explainer.explain(kind.inputs, 1)
        return
    together = explainer.explain(kind.inputs, 1)
    words = together.tokens
    for part, given in zip(tf.nest.flatten(together.values), tf.nest.flatten(kind.inputs), strict=True):
        assert part.shape == (words.shape if kind_name == "texts" else given.shape)
        assert part.dtype == np.float32
    strongest = max(np.abs(part).max() for part in tf.nest.flatten(together.values))
    assert strongest > 0 or name in OVER_A_LAYER
    if kind.padding is not None:
        assert (together.values[kind.padding] == 0).all()
    tolerance = ROUNDING.get((name, kind_name), 3e-5)
    close(explainer.explain(kind.inputs, 1, batch_size=1).values, together.values, tolerance)
    alone = explainer.explain(tf.nest.map_structure(lambda part: part[1:2], kind.inputs), 1)
    longest = alone.tokens.shape[1] if kind_name == "texts" else None
    close(alone.values, tf.nest.map_structure(lambda part: part[1:2][..., :longest], together.values), tolerance)
