"""What is looked up for ids, categories and strings is explained, and folded back onto what was passed."""

import itertools
import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfsaliency as tfs

IDS = np.array([[3, 4, 5, 1, 0, 0, 0], [9, 2, 2, 7, 8, 10, 1]])
TEXTS = np.array([["a good film"], ["bad bad film indeed"]])
RECURRENT = {"lstm": layers.LSTM, "gru": layers.GRU}


def head(y, units=3):
    return layers.Dense(units)(layers.Dense(6, "tanh")(y))


def classifier(dtype="int32", mask=True, recurrent=layers.LSTM):
    keras.utils.set_random_seed(1)
    ids = keras.Input((7,), dtype=dtype)
    return keras.Model(ids, head(recurrent(5)(layers.Embedding(11, 4, mask_zero=mask, name="words")(ids))))


def vectorizer(**options):
    made = layers.TextVectorization(12, **options)
    made.adapt(["a good film", "a bad film", "no film"])
    return made


def text_beside_numbers():
    text, age = keras.Input((1,), dtype="string", name="text"), keras.Input((2,), name="age")
    words = layers.Embedding(12, 4)(vectorizer(output_sequence_length=5)(text))
    return keras.Model({"text": text, "age": age}, head(layers.Concatenate()([layers.Flatten()(words), age])))


def slopes(model, embedding, ids, target):
    """By hand: the gradient at the vectors, and the vectors, of a model whose embedding is a layer of its own."""
    held = []

    class Watched(layers.Embedding):
        def call(self, inputs):
            vectors = super().call(inputs)
            held.append(vectors)
            tape.watch(vectors)
            return vectors

    embedding.__class__ = Watched
    try:
        with tf.GradientTape() as tape:
            score = model(tf.constant(ids), training=False)[:, target]
        return tape.gradient(score, held[-1]).numpy(), held[-1].numpy()
    finally:
        embedding.__class__ = layers.Embedding


@pytest.mark.parametrize("recurrent", RECURRENT.values(), ids=RECURRENT)
@pytest.mark.parametrize("dtype", ["int32", "float32"])
def test_gradients_are_those_at_the_embedding(dtype, recurrent):
    model = classifier(dtype, recurrent=recurrent)
    ids = IDS.astype(dtype)
    gradient, vectors = slopes(model, model.get_layer("words"), ids, 1)
    shown = IDS != 0
    explanation = tfs.Gradient(model).explain(ids, 1)
    np.testing.assert_allclose(explanation.values, np.linalg.norm(gradient, axis=-1) * shown, rtol=1e-5, atol=1e-7)
    assert explanation.meaning == "magnitude"
    times = tfs.GradientTimesInput(model).explain(ids, 1)
    np.testing.assert_allclose(times.values, (gradient * vectors).sum(-1) * shown, rtol=1e-4, atol=1e-7)
    assert times.meaning == "signed"
    then = tfs.Gradient(model).then(tfs.transforms.times_input).explain(ids, 1)
    np.testing.assert_array_equal(then.values, times.values)


COMPLETE = {
    "integrated gradients": lambda model, **options: tfs.IntegratedGradients(model, tolerance=1e-3, **options),
    "deeplift": tfs.DeepLIFT,
}
BASELINES = {"by default": {}, "an id": {"baseline": 6}, "ids": {"baseline": np.arange(7)}}


@pytest.mark.parametrize("options", BASELINES.values(), ids=BASELINES)
@pytest.mark.parametrize("method", COMPLETE.values(), ids=COMPLETE)
def test_complete_against_the_model_at_other_ids(method, options):
    model = classifier(mask=False)
    explanation = method(model, **options).explain(IDS, 2)
    if options:
        other = model(np.broadcast_to(options["baseline"], IDS.shape))[:, 2]
    else:
        # No id is masked: the mean of the table stands for nothing.
        table = model.get_layer("words").get_weights()[0]
        x = keras.Input((7, 4))
        y = x
        for layer in model.layers[2:]:
            y = layer(y)
        other = keras.Model(x, y)(np.broadcast_to(table.mean(0), (2, 7, 4)))[:, 2]
    change = explanation.scores - np.asarray(other)
    np.testing.assert_allclose(explanation.values.sum(axis=1), change, rtol=2e-3, atol=1e-5)


def test_padding_gets_exactly_nothing():
    model = classifier()
    for explainer in (tfs.Gradient, tfs.SmoothGrad, tfs.IntegratedGradients, tfs.DeepLIFT, tfs.LRP):
        values = explainer(model).explain(IDS, 0).values
        assert (values[IDS == 0] == 0).all()
        assert np.abs(values[IDS != 0]).min() > 0


def test_occlusion_replaces_ids():
    """Leave-one-out against the vector of padding is the model with the id of padding."""
    model = classifier(mask=False)
    values = tfs.Occlusion(model, window=1, stride=1, baseline=0).explain(IDS, 1).values
    for place in range(7):
        other = IDS.copy()
        other[:, place] = 0
        np.testing.assert_allclose(values[:, place], (model(IDS) - model(other))[:, 1], atol=1e-6)


def test_a_baseline_for_ids_is_made_of_ids():
    model = classifier()
    with pytest.raises(ValueError, match="whole numbers. Received: array.0.5.*baselines.zeros"):
        tfs.IntegratedGradients(model, baseline=0.5).explain(IDS, 0)
    explanation = tfs.IntegratedGradients(model, tfs.baselines.zeros(), tolerance=1e-3).explain(IDS, 0)
    gradient, _ = slopes(model, model.get_layer("words"), IDS, 0)
    assert gradient.shape == (2, 7, 4)
    assert not np.allclose(explanation.values, tfs.IntegratedGradients(model).explain(IDS, 0).values)


def test_a_baseline_of_ids_for_each_sample():
    model = classifier(mask=False)
    before = IDS[:, ::-1]
    explanation = tfs.DeepLIFT(model, tfs.baselines.per_sample(before)).explain(IDS, 1)
    change = explanation.scores - model(before)[:, 1]
    np.testing.assert_allclose(explanation.values.sum(axis=1), change, rtol=1e-3, atol=1e-6)


def test_an_id_that_the_table_does_not_have():
    for explain in (
        lambda: tfs.Gradient(classifier()).explain(IDS + 5, 0),
        lambda: tfs.DeepLIFT(classifier(), baseline=11).explain(IDS, 0),
    ):
        with pytest.raises(
            ValueError, match=r"An id of the inputs or of a baseline is none of the table.*not in \[0, 11"
        ):
            explain()


# --- strings ---

BAGS = ("multi-hot", "counts", "tf-idf")
TEXT_MODELS = {
    # Vocabulary by frequency: "", [UNK], film, a, no, good, bad.
    "a sequence": lambda text: layers.Embedding(12, 4)(vectorizer(output_sequence_length=6)(text)),
    "without a length": lambda text: layers.Embedding(12, 4, mask_zero=True)(vectorizer()(text)),
    "masked": lambda text: layers.Embedding(12, 4, mask_zero=True)(vectorizer(output_sequence_length=6)(text)),
    "multi-hot": lambda text: vectorizer(output_mode="multi_hot")(text),
    "counts": lambda text: vectorizer(output_mode="count")(text),
    "tf-idf": lambda text: vectorizer(output_mode="tf_idf")(text),
}


@pytest.mark.parametrize("name", TEXT_MODELS)
def test_words_of_a_text(name):
    keras.utils.set_random_seed(2)
    text = keras.Input((1,), dtype="string")
    y = TEXT_MODELS[name](text)
    model = keras.Model(text, head(y if name in BAGS else layers.GlobalAveragePooling1D()(y)))
    explanation = tfs.IntegratedGradients(model, tolerance=1e-3).explain(TEXTS, 0)
    tokens = explanation.tokens
    assert [[word for word in row if word] for row in tokens] == [row[0].split() for row in TEXTS.tolist()]
    assert explanation.values.shape == tokens.shape
    assert (explanation.values[tokens == ""] == 0).all()
    np.testing.assert_allclose(
        explanation.values.sum(1) - explanation.diagnostics["completeness_gap"],
        tfs.DeepLIFT(model).explain(TEXTS, 0).values.sum(1),
        rtol=1e-3,
        atol=1e-5,
    )


@pytest.mark.parametrize(
    "options, expected",
    [
        ({"ngrams": 2, "output_mode": "count"}, ["bad", "bad", "film", "indeed", "bad bad", "bad film", "film indeed"]),
        ({"split": "character", "output_sequence_length": 30}, list("bad bad film indeed")),
    ],
    ids=["groups of words", "letters"],
)
def test_other_parts_of_a_text(options, expected):
    text = keras.Input((1,), dtype="string")
    y = vectorizer(**options)(text)
    model = keras.Model(text, head(y if "ngrams" in options else layers.Flatten()(layers.Embedding(12, 3)(y))))
    explanation = tfs.DeepLIFT(model).explain(TEXTS, 0)
    assert [part for part in explanation.tokens[1] if part] == expected
    assert explanation.values.shape == explanation.tokens.shape


def test_ids_under_a_mask_belong_to_the_ids():
    ids, mask = keras.Input((4,), dtype="int32", name="ids"), keras.Input((4,), dtype="bool", name="mask")
    shown = ids * keras.ops.cast(mask, "int32")
    model = keras.Model({"ids": ids, "mask": mask}, head(layers.Flatten()(layers.Embedding(9, 3)(shown))))
    given = {"ids": np.array([[1, 2, 3, 4]]), "mask": np.array([[True, True, False, False]])}
    explanation = tfs.DeepLIFT(model, tfs.baselines.zeros()).explain(given, 0)
    assert (explanation.values["mask"] == 0).all() and list(explanation.provenance["held"]) == ["mask"]
    assert (explanation.values["ids"] != 0).all()


@pytest.mark.parametrize(
    "transform",
    [
        lambda y: tf.signal.dct(y),
        lambda y: tf.math.real(tf.signal.fft(tf.cast(y, tf.complex64))),
        lambda y: tf.math.imag(tf.complex(y[..., :2], y[..., 2:]) * tf.exp(tf.constant(0.3j, tf.complex64))),
    ],
    ids=["cosines", "fourier", "rotation"],
)
def test_ids_before_complex_numbers(transform):
    """Each transform is linear: its matrix is that of a dense layer."""
    keras.utils.set_random_seed(1)
    ids, table = keras.Input((7,), dtype="int32"), layers.Embedding(11, 4)
    head = keras.Sequential([layers.Flatten(), layers.Dense(6, "tanh"), layers.Dense(3)])
    model = keras.Model(ids, head(layers.Lambda(transform)(table(ids))))
    matrix = transform(tf.eye(4)).numpy()
    dense = layers.Dense(matrix.shape[1], use_bias=False)
    twin = keras.Model(ids, head(dense(table(ids))))
    dense.set_weights([matrix])
    for explainer in (tfs.Gradient, tfs.IntegratedGradients):
        values, expected = (explainer(each).explain(IDS, 1).values for each in (model, twin))
        np.testing.assert_allclose(values, expected, rtol=1e-4, atol=1e-6)


def test_a_bag_is_linear_in_its_words():
    """Of a linear model, each occurrence of a word gets its share of the word's weight."""
    text = keras.Input((1,), dtype="string")
    encoder = vectorizer(output_mode="count")
    model = keras.Model(text, layers.Dense(2, use_bias=False)(encoder(text)))
    values = tfs.IntegratedGradients(model).explain(TEXTS, 1).values
    weights = dict(zip(encoder.get_vocabulary(), model.layers[-1].get_weights()[0][:, 1], strict=True))
    for row, text in zip(values, TEXTS[:, 0], strict=True):
        expected = [weights.get(word, weights["[UNK]"]) for word in text.split()]
        np.testing.assert_allclose(row[: len(expected)], expected, rtol=1e-5)


@pytest.mark.parametrize(
    "encode",
    [
        layers.CategoryEncoding(5, output_mode="multi_hot"),
        layers.CategoryEncoding(5, output_mode="count"),
        layers.IntegerLookup(vocabulary=[0, 1, 2, 3], output_mode="multi_hot"),
        layers.CategoryEncoding(5, output_mode="one_hot"),
    ],
    ids=["multi_hot", "count", "lookup", "one_hot"],
)
def test_a_bag_of_one_category_is_a_category(encode):
    """Of a linear model by hand: the change from another category belongs to the category."""
    ids = keras.Input((1,), dtype="int32")
    model = keras.Model(ids, layers.Dense(2)(encode(ids)))
    given, other = np.array([[1], [2]]), np.array([3])
    change = (model(given) - model(np.array([[3], [3]])))[:, 1:]
    for explainer in (
        tfs.IntegratedGradients(model, other),
        tfs.DeepLIFT(model, other),
        tfs.Occlusion(model, window=1, stride=1, baseline=other),
    ):
        np.testing.assert_allclose(explainer.explain(given, 1).values, change, rtol=1e-4)


@pytest.mark.parametrize("mode", ["multi_hot", "count", "tf_idf"])
def test_words_that_only_the_baseline_has_are_told_as_left_out(mode):
    """Of a linear model by hand: the words of the text have their weights, those of the baseline have no place."""
    text = keras.Input((1,), dtype="string")
    encoder = vectorizer(output_mode=mode)
    model = keras.Model(text, layers.Dense(2, use_bias=False)(encoder(text)))
    given, other = np.array([["good film"]]), np.array([["bad"]])
    bags = [np.asarray(encoder(tf.constant(each)))[0] for each in (given, other)]
    of_words = (bags[0] - bags[1]) * model.layers[-1].get_weights()[0][:, 1]
    has = bags[0] > 0
    for explainer in (tfs.IntegratedGradients(model, other[0]), tfs.DeepLIFT(model, other[0])):
        with pytest.warns(UserWarning, match="leave out up to .* belongs to padding, or to words or categories"):
            explanation = explainer.explain(given, 1)
        found = explanation.diagnostics
        np.testing.assert_allclose(explanation.values.sum(), of_words[has].sum(), rtol=1e-4)
        np.testing.assert_allclose(found["left_out"], of_words[~has].sum(), rtol=1e-4)
        np.testing.assert_allclose(found["completeness_gap"], -of_words[~has].sum(), rtol=1e-4)


def test_padding_that_the_model_reads_is_left_out_of_relevance_and_told():
    text = keras.Input((1,), dtype="string")
    words = layers.Embedding(12, 4)(vectorizer(output_sequence_length=6)(text))
    model = keras.Model(text, layers.Dense(2, use_bias=False)(layers.Flatten()(words)))
    with pytest.warns(UserWarning, match="leave out"):
        explanation = tfs.LRP(model, "epsilon").explain(np.array([["good film"]]), 1)
    padding = (model.layers[2].get_weights()[0][0] * model.layers[-1].get_weights()[0][8:, 1].reshape(4, 4)).sum()
    np.testing.assert_allclose(explanation.diagnostics["left_out"], padding, rtol=1e-3)
    missing = explanation.values.sum() - explanation.scores
    np.testing.assert_allclose(explanation.diagnostics["conservation_gap"], missing, rtol=1e-3)


def test_batches_of_texts_of_different_lengths():
    text = keras.Input((1,), dtype="string")
    y = layers.GlobalAveragePooling1D()(layers.Embedding(12, 4, mask_zero=True)(vectorizer()(text)))
    model = keras.Model(text, head(y))
    one_by_one = tfs.Gradient(model).explain(TEXTS, 0, batch_size=1)
    together = tfs.Gradient(model).explain(TEXTS, 0)
    assert one_by_one.tokens.tolist() == together.tokens.tolist()
    np.testing.assert_allclose(one_by_one.values, together.values, rtol=1e-5)


@pytest.mark.filterwarnings("ignore:The values of the samples", "ignore:The rows of a batch depend on each other")
@pytest.mark.parametrize("method", [tfs.IntegratedGradients, tfs.IDGI, tfs.DeepLIFT])
def test_a_text_without_a_word_is_a_batch_of_its_own(method):
    """Nothing to refine: its cells have no numbers, which an operation of TensorFlow refuses."""
    text = keras.Input((1,), dtype="string")
    model = keras.Model(text, head(keras.ops.sum(layers.Embedding(12, 4)(vectorizer()(text)), axis=1)))
    beside = np.array([TEXTS[0], [""]])
    one_by_one, alone = method(model).explain(beside, 0, batch_size=1), method(model).explain(TEXTS[:1], 0)
    np.testing.assert_allclose(one_by_one.values[:1], alone.values, rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(one_by_one.values[1], 0)


def test_texts_that_are_filled_up_among_others_and_not_masked_are_warned_of():
    text = keras.Input((1,), dtype="string")
    model = keras.Model(text, head(layers.GlobalMaxPooling1D()(layers.Embedding(12, 4)(vectorizer()(text)))))
    with pytest.warns(UserWarning, match="The rows of a batch depend on each other"):
        tfs.Gradient(model).explain(TEXTS, 0)


def test_words_are_saved_and_drawn(tmp_path):
    text = keras.Input((1,), dtype="string")
    y = layers.GlobalAveragePooling1D()(layers.Embedding(12, 4, mask_zero=True)(vectorizer()(text)))
    explanation = tfs.DeepLIFT(keras.Model(text, head(y))).explain(TEXTS, 0)
    explanation.save(tmp_path / "map.npz")
    again = tfs.Explanation.load(tmp_path / "map.npz")
    assert again.tokens.tolist() == explanation.tokens.tolist()
    assert again.inputs.tolist() == TEXTS.tolist()
    axes = again.plot().axes
    assert [each.get_text() for each in axes[1].texts] == TEXTS[1, 0].split()
    values = explanation.values[1]
    colours = [each.get_bbox_patch().get_facecolor() for each in axes[1].texts]
    # The two sides of the scale are not equally dark.
    for side in (values > 0, values < 0):
        words = np.flatnonzero(side)
        darkness = [-sum(colours[word]) for word in words]
        assert list(words[np.argsort(darkness)]) == list(words[np.argsort(np.abs(values[words]))])
    again.report(tmp_path / "map.html")


# --- tables ---


def table():
    keras.utils.set_random_seed(3)
    kind = keras.Input((1,), dtype="string", name="kind")
    place = keras.Input((1,), dtype="int64", name="place")
    sizes = keras.Input((2,), name="sizes")
    hour = keras.Input((1,), name="hour")
    parts = [
        layers.StringLookup(vocabulary=["x", "y", "z"], output_mode="one_hot")(kind),
        layers.Flatten()(layers.Embedding(9, 3)(place)),
        sizes,
        layers.Discretization([6.0, 12.0, 18.0], output_mode="one_hot")(hour),
    ]
    return keras.Model([kind, place, sizes, hour], head(layers.Concatenate()(parts)))


ROWS = [
    np.array([["x"], ["what"]]),
    np.array([[3], [8]]),
    np.array([[0.5, -1.0], [2.0, 0.1]], "float32"),
    np.array([[7.0], [23.0]], "float32"),
]


def test_a_table_of_texts_ids_and_numbers():
    model = table()
    explanation = tfs.DeepLIFT(model).explain(ROWS, 0)
    assert [part.shape for part in explanation.values] == [part.shape for part in ROWS]
    baseline = [np.array(["z"]), np.array([2]), np.array([1.0, 1.0]), np.array([13.0])]
    at = [np.broadcast_to(part, given.shape) for part, given in zip(baseline, ROWS, strict=True)]
    explanation = tfs.IntegratedGradients(model, baseline, tolerance=1e-3).explain(ROWS, 1)
    change = explanation.scores - model([tf.constant(part) for part in at])[:, 1]
    np.testing.assert_allclose(sum(part.sum(1) for part in explanation.values), change, rtol=2e-3, atol=1e-5)
    # What is the same at the baseline gets nothing.
    same = [at[0], ROWS[1], at[2], ROWS[3]]
    values = tfs.DeepLIFT(model, baseline).explain(same, 1).values
    assert [bool((part == 0).all()) for part in values] == [True, False, True, False]


def test_columns_of_one_array():
    """Each column of ids has a table of its own, and gets its own values; the columns of numbers theirs."""
    x = keras.Input((4,))
    vectors = [layers.Embedding(5, 2, name=f"table{i}")(x[:, column]) for i, column in enumerate((2, 0))]
    model = keras.Model(x, layers.Dense(1, use_bias=False)(layers.Concatenate()([*vectors, x[:, 1:2], x[:, 3:]])))
    rows = np.array([[1, 0.5, 4, 2.0], [3, -1.0, 0, 0.1]], "float32")
    explanation = tfs.IntegratedGradients(model, tfs.baselines.zeros()).explain(rows, lambda z: z[:, 0])
    weights = model.layers[-1].get_weights()[0][:, 0]
    tables = [model.get_layer(f"table{i}").get_weights()[0] for i in range(2)]
    expected = np.stack(
        [
            tables[1][rows[:, 0].astype(int)] @ weights[2:4],
            rows[:, 1] * weights[4],
            tables[0][rows[:, 2].astype(int)] @ weights[:2],
            rows[:, 3] * weights[5],
        ],
        axis=1,
    )
    np.testing.assert_allclose(explanation.values, expected, rtol=1e-5, atol=1e-6)


def test_one_table_for_two_inputs():
    user, item = (keras.Input((), dtype="int32", name=name) for name in ("user", "item"))
    embedding = layers.Embedding(6, 3)
    model = keras.Model({"user": user, "item": item}, layers.Dot(1)([embedding(user), embedding(item)]))
    given = {"user": np.array([1, 2]), "item": np.array([5, 0])}
    explanation = tfs.GradientTimesInput(model).explain(given, lambda z: z[:, 0])
    for part in explanation.values.values():
        assert part.shape == (2,)
        np.testing.assert_allclose(part, explanation.scores, rtol=1e-5)


@pytest.mark.parametrize(
    "make",
    [
        lambda model, other: tfs.Gradient(model),
        lambda model, other: tfs.IntegratedGradients(model, other, steps=20),
        lambda model, other: tfs.Occlusion(model, window=[2, 1], stride=[1, 1], baseline=other),
        lambda model, other: tfs.RISE(model, samples=40, cells=3, baseline=other),
    ],
    ids=["Gradient", "IntegratedGradients", "Occlusion", "RISE"],
)
def test_two_tables_for_one_input(make):
    """As a recommender has; against a twin with one table, of whose vectors each branch reads a half."""
    keras.utils.set_random_seed(3)
    wide, left, right = layers.Embedding(9, 8), layers.Embedding(9, 4), layers.Embedding(9, 4)
    dense, top = layers.Dense(4, "relu"), layers.Dense(2)
    user, item = keras.Input((4,), dtype="int32"), keras.Input((1,), dtype="int32")

    def halves(part):
        vectors = wide(part)
        return vectors[..., :4], vectors[..., 4:]

    def network(read):
        (user0, user1), (item0, item1) = read(user), read(item)
        gate = dense(layers.Flatten()(layers.Concatenate(axis=1)([user1, item1])))
        return keras.Model([user, item], top(gate * keras.ops.mean(user0, axis=1) * item0[:, 0]))

    model, twin = network(lambda part: (left(part), right(part))), network(halves)
    wide.set_weights([np.random.default_rng(0).normal(size=(9, 8))])
    for table, half in ((left, wide.embeddings[:, :4]), (right, wide.embeddings[:, 4:])):
        table.set_weights([half])
    given = [IDS[:, :4] % 9, np.array([[2], [8]])]
    other = [np.array([8, 7, 6, 5]), np.array([3])]
    values, expected = (make(each, other).explain(given, 1).values for each in (model, twin))
    for part, of_twin in zip(values, expected, strict=True):
        np.testing.assert_allclose(part, of_twin, rtol=1e-3, atol=1e-6)
    if isinstance(make(model, other), tfs.Occlusion):
        changed = [given[0], np.full((2, 1), 3)]
        np.testing.assert_allclose(values[1][:, 0], (model(given) - model(changed))[:, 1], rtol=1e-3, atol=1e-6)


# --- what is held ---


class Masked(keras.Model):
    """A mean of vectors where a mask says so."""

    def __init__(self):
        super().__init__()
        self.words, self.kinds, self.top = layers.Embedding(20, 4), layers.Embedding(2, 4), layers.Dense(2)

    def call(self, inputs):
        y = self.words(inputs["ids"]) + self.kinds(inputs["segments"])
        mask = tf.cast(inputs["mask"], y.dtype)[..., None]
        return self.top(tf.reduce_sum(y * mask, axis=1) / tf.reduce_sum(mask, axis=1))


@pytest.mark.parametrize("dtype", ["int32", "bool"])
def test_masks_and_segments_are_held(dtype):
    keras.utils.set_random_seed(4)
    model = Masked()
    mask = np.array([[1, 1, 1, 0], [1, 1, 0, 0]])
    given = {"ids": np.array([[5, 6, 7, 0], [8, 9, 0, 0]]), "segments": np.array([[0, 0, 1, 1]] * 2), "mask": mask}
    given["mask"] = mask.astype(dtype)
    model({name: tf.constant(part) for name, part in given.items()})
    explanation = tfs.IntegratedGradients(model, tfs.baselines.zeros()).explain(given, 1)
    vectors = model.words.get_weights()[0][given["ids"]]
    expected = (vectors @ model.top.get_weights()[0][:, 1]) * mask / mask.sum(1, keepdims=True)
    np.testing.assert_allclose(explanation.values["ids"], expected, rtol=1e-5, atol=1e-6)
    assert (explanation.values["mask"] == 0).all() and (explanation.values["segments"] == 0).all()
    assert set(explanation.provenance["held"]) == {"mask", "segments"}
    assert "held=['mask', 'segments']" in repr(explanation)


def test_a_mask_of_floats_that_is_compared_is_held():
    """One part without a gradient does not refuse the others."""
    series, mask = keras.Input((5, 2), name="series"), keras.Input((5,), name="mask")
    y = layers.GRU(3)(series, mask=mask > 0.5)
    model = keras.Model({"series": series, "mask": mask}, layers.Dense(2)(y))
    given = {"series": np.random.default_rng(0).normal(size=(2, 5, 2)), "mask": np.array([[1.0, 1, 1, 0, 0]] * 2)}
    explanation = tfs.IntegratedGradients(model, tolerance=1e-3).explain(given, 0)
    change = explanation.scores - model(given | {"series": np.zeros((2, 5, 2))})[:, 0]
    np.testing.assert_allclose(explanation.values["series"].sum((1, 2)), change, rtol=2e-3, atol=1e-5)
    assert (explanation.values["series"][:, 3:] == 0).all()
    assert "Greater" in explanation.provenance["held"]["mask"]


def test_columns_without_an_axis_and_columns_that_the_model_has_no_use_for():
    """A table comes as columns ``(N,)``, and more of them than a model reads."""
    age, kind = keras.Input((1,), name="age"), keras.Input((1,), dtype="string", name="kind")
    vectors = layers.Flatten()(layers.Embedding(4, 2)(layers.StringLookup(vocabulary=["x", "y"])(kind)))
    model = keras.Model({"age": age, "kind": kind}, layers.Dense(2)(layers.Concatenate()([age, vectors])))
    columns = {"age": np.array([3.0, 4.0]), "kind": np.array(["x", "q"]), "name": np.array(["Ann", "Bob"])}
    with pytest.warns(UserWarning, match=r"has no input \['name'\]"):
        explanation = tfs.DeepLIFT(model).explain(columns, 0)
    whole = tfs.DeepLIFT(model).explain({name: columns[name][:, None] for name in ("age", "kind")}, 0)
    for name in ("age", "kind"):
        np.testing.assert_array_equal(explanation.values[name], whole.values[name])


def test_ids_that_are_only_compared_are_refused_by_name():
    ids = keras.Input((3,), dtype="int32")
    is_seven = keras.ops.cast(keras.ops.equal(ids, 7), "float32")
    model = keras.Model(ids, layers.Dense(2)(is_seven))
    with pytest.raises(ValueError, match="Nothing of the inputs becomes a real number.*of type Equal.*Occlusion"):
        tfs.Gradient(model).explain(np.array([[1, 7, 2]]), 0)
    # The advice works.
    explainer = tfs.Occlusion(tfs.BlackBox(model.predict), window=1, stride=1, baseline=0)
    values = explainer.explain(np.array([[1, 7, 2]]), 0).values
    np.testing.assert_allclose(values, [[0, model.layers[-1].get_weights()[0][1, 0], 0]], atol=1e-6)


def test_a_function_of_ids_that_cannot_be_followed_is_told_how_to_be_asked():
    """It has no ``predict``."""
    table = tf.constant(np.random.default_rng(0).normal(size=(9, 2)).astype("float32"))

    @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.int32)])
    def function(ids):
        return tf.reduce_sum(tf.gather_nd(table, ids[..., None]), axis=1)

    ids, rows = np.array([[1, 7, 2]]), table.numpy()
    with pytest.raises(
        ValueError, match=r"tfs.Occlusion\(lambda x: function\(x.astype\('int64'\)\), baseline=0\), with"
    ):
        tfs.Gradient(function).explain(ids, 1)
    explanation = tfs.Occlusion(lambda x: function(x.astype("int64")), window=1, baseline=0).explain(ids, 1)
    np.testing.assert_allclose(explanation.values, (rows[ids] - rows[0])[..., 1], rtol=1e-5, atol=1e-6)


def test_large_ids_keep_their_last_digit():
    ids = keras.Input((2,), dtype="int64")
    hashed = layers.Hashing(50)(ids)
    model = keras.Model(ids, head(layers.Flatten()(layers.Embedding(50, 3)(hashed))))
    given = np.array([[2**40 + 1, 2**40 + 2]])
    explanation = tfs.DeepLIFT(model, baseline=7).explain(given, 0)
    change = (model(given) - model(np.full((1, 2), 7)))[0, 0]
    np.testing.assert_allclose(explanation.values.sum(), change, rtol=1e-4, atol=1e-6)


def test_a_codebook_inside_a_network_is_no_lookup():
    """A choice by numbers has no gradient, as before: it is not explained as if it were an id."""
    x = keras.Input((3,))
    codes = keras.ops.argmax(layers.Dense(4)(x), axis=-1)
    model = keras.Model(x, layers.Dense(2)(layers.Embedding(4, 3)(codes)))
    with pytest.raises(ValueError, match="No gradient reaches the input"):
        tfs.Gradient(model).explain(np.ones((1, 3), "float32"), 0)


@pytest.mark.parametrize(
    "choose", [tf.argmax, lambda x, axis: tf.math.top_k(x, 1).indices[:, 0]], ids=["argmax", "top"]
)
def test_a_choice_among_numbers_is_no_id(choose):
    """What is chosen among the inputs themselves is held, and the rest of them is explained as it was."""
    x = keras.Input((3,))
    chosen = layers.Lambda(lambda x: tf.one_hot(choose(x, 1), 3))(x)
    model = keras.Model(x, layers.Dense(2)(layers.Concatenate()([x, chosen])))
    rows = np.array([[1.0, 3.0, 2.0]], "float32")
    values = tfs.Gradient(model).explain(rows, 0).values
    np.testing.assert_allclose(values, model.layers[-1].get_weights()[0][None, :3, 0], rtol=1e-6)


def test_new_weights_are_seen():
    model = classifier()
    explainer = tfs.IntegratedGradients(model)
    before = explainer.explain(IDS, 0).values
    model.get_layer("words").set_weights([2 * model.get_layer("words").get_weights()[0]])
    assert not np.allclose(before, explainer.explain(IDS, 0).values)


def test_texts_for_a_black_box_are_refused_with_what_works():
    def classify(texts):
        return np.array([[text.count("good"), text.count("bad")] for text in texts], "float32")

    with pytest.raises(ValueError, match="Received: texts. Pass ids, the places of the words"):
        tfs.Occlusion(tfs.BlackBox(classify)).explain(np.array(["a good film"]), 0)
    words = ["", "a", "good", "bad", "film"]
    asked = tfs.BlackBox(lambda ids: classify([" ".join(words[i] for i in row) for row in ids.astype(int)]))
    values = tfs.Occlusion(asked, window=1, stride=1).explain(np.array([[1.0, 2, 4]]), 0).values
    np.testing.assert_array_equal(values, [[0, 1, 0]])


def test_a_method_of_ones_own():
    """Code with a tape over ``score`` sees vectors like any other numbers."""

    class Doubled(tfs.Gradient):
        def attribute(self, x, score):
            with tf.GradientTape() as tape:
                tape.watch(x)
                scores = score(x)
            return tfs.Attribution(tf.nest.map_structure(lambda part: 2 * part, tape.gradient(scores, x)))

    model = classifier()
    np.testing.assert_allclose(
        Doubled(model).explain(IDS, 1).values, 2 * tfs.Gradient(model).explain(IDS, 1).values, rtol=1e-5
    )


# --- parts whose numbers of rows differ, and ids that a loop reads ---


def passed_along(nodes, edges):
    """A small graph network: what arrives along the edges, rectified and summed over the nodes."""
    hidden = nodes @ tf.constant(np.random.default_rng(0).normal(size=(4, 3)), tf.float32)
    edges = tf.cast(edges, tf.int32)
    arriving = tf.math.unsorted_segment_sum(tf.gather(hidden, edges[:, 0]), edges[:, 1], tf.shape(nodes)[0])
    return tf.reduce_sum(tf.nn.relu(arriving), axis=0, keepdims=True)


def one_graph_per_sample(nodes, edges):
    return tf.map_fn(lambda graph: passed_along(*graph)[0], (nodes, edges), fn_output_signature=tf.float32)


NODES = np.random.default_rng(1).normal(size=(2, 5, 4)).astype("float32")
EDGES = np.array([[[0, 1], [1, 2], [2, 3], [3, 4], [4, 0], [0, 2]], [[0, 1], [0, 2], [0, 3], [0, 4], [1, 4], [3, 3]]])


def test_nodes_and_edges_are_one_sample():
    """The refusal names the numbers of rows, and its advice works."""
    with pytest.raises(
        ValueError, match=r"Received: \[5, 6\]. .* nodes\[None\] and edges\[None\] to lambda nodes, edges"
    ):
        tfs.Gradient(passed_along).explain([NODES[0], EDGES[0]], 1)
    explanation = tfs.Gradient(one_graph_per_sample).explain([NODES, EDGES], 1)
    for sample in range(2):
        nodes = tf.constant(NODES[sample])
        with tf.GradientTape() as tape:
            tape.watch(nodes)
            score = passed_along(nodes, EDGES[sample])[0, 1]
        np.testing.assert_allclose(explanation.values[0][sample], tape.gradient(score, nodes), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("method", [tfs.Gradient, tfs.SmoothGrad, tfs.IntegratedGradients])
def test_indices_that_a_loop_reads_are_held(method):
    """They were taken for numbers, and noise changed where the edges lead."""
    explainer = (
        method(one_graph_per_sample, steps=100) if method is tfs.IntegratedGradients else method(one_graph_per_sample)
    )
    explanation = explainer.explain([NODES, EDGES], 1)
    assert set(explanation.provenance["held"]) == {"1"}
    assert (explanation.values[1] == 0).all()
    if method is tfs.IntegratedGradients:
        # Without biases the network is linear along the way from zero.
        np.testing.assert_allclose(explanation.values[0].sum(axis=(1, 2)), explanation.scores, rtol=1e-4)


def test_a_dict_for_a_list_of_inputs():
    """Keras finds the parts by name, and passes over others."""
    first, second = keras.Input((3,), name="first"), keras.Input((2,), name="second")
    model = keras.Model([first, second], layers.Dense(2)(layers.Concatenate()([first, second])))
    parts = [np.ones((2, 3)), np.full((2, 2), 2.0)]
    columns = {"second": parts[1], "other": np.ones((2, 7)), "first": parts[0]}
    expected = tfs.DeepLIFT(model).explain(parts, 1).values
    with pytest.warns(UserWarning, match=r"has no input \['other'\]"):
        values = tfs.DeepLIFT(model).explain(columns, 1).values
    np.testing.assert_array_equal(values["first"], expected[0])
    np.testing.assert_array_equal(values["second"], expected[1])


def test_ids_beside_numbers_that_a_model_divides_by_are_told_of_a_baseline_that_works():
    """At the default baseline the mask is zero, and the model divides by how many words it counts."""
    ids, mask = keras.Input((4,), dtype="int32", name="ids"), keras.Input((4,), name="mask")
    vectors = layers.Embedding(9, 3)(ids)
    mean = keras.ops.sum(vectors * mask[..., None], axis=1) / keras.ops.sum(mask, axis=1, keepdims=True)
    model = keras.Model({"ids": ids, "mask": mask}, layers.Dense(2)(mean))
    inputs = {"ids": np.array([[3, 5, 1, 0]]), "mask": np.array([[1.0, 1, 1, 0]], "float32")}
    with pytest.raises(ValueError, match=r"for several inputs one for each, such as baseline={'ids': 0, 'mask': 1.0}"):
        tfs.DeepLIFT(model).explain(inputs, 1)
    with pytest.raises(ValueError, match=r"Several inputs can have one each, in their structure: {'ids': 0"):
        tfs.DeepLIFT(model, 0.1).explain(inputs, 1)
    explanation = tfs.DeepLIFT(model, {"ids": 0, "mask": 1.0}).explain(inputs, 1)
    change = explanation.scores - model({"ids": 0 * inputs["ids"], "mask": np.ones((1, 4), "float32")})[:, 1]
    np.testing.assert_allclose(sum(part.sum() for part in explanation.values.values()), change[0], rtol=1e-3, atol=1e-6)


def test_a_one_hot_encoding_along_another_axis_says_what_can_be_followed():
    ids = keras.Input((7,), dtype="int32")
    keras.utils.set_random_seed(0)
    convolution, top = layers.Conv1D(5, 3, activation="relu"), layers.Dense(2)

    def explained(encode):
        letters = layers.Lambda(encode, output_shape=(4, 7))(ids)
        model = keras.Model(ids, top(layers.Flatten()(convolution(letters))))
        return tfs.GradientTimesInput(model).explain(np.arange(14).reshape(2, 7) % 4, 1)

    with pytest.raises(
        ValueError, match=r"along another axis than the last: tf.one_hot\(ids, depth\) with tf.transpose"
    ):
        explained(lambda ids: tf.one_hot(ids, 4, axis=1))
    explanation = explained(lambda ids: tf.transpose(tf.one_hot(ids, 4), [0, 2, 1]))
    letters = tf.Variable(np.eye(4, dtype="float32")[np.arange(14).reshape(2, 7) % 4])
    with tf.GradientTape() as tape:
        score = top(layers.Flatten()(convolution(tf.transpose(letters, [0, 2, 1]))))[:, 1]
    expected = tf.reduce_sum(tape.gradient(score, letters) * letters, axis=-1)
    np.testing.assert_allclose(explanation.values, expected, rtol=1e-4, atol=1e-6)


COLUMNS = {
    "texts": [np.array([["red"], ["blue"], ["red"]]), np.array([["small"], ["small"], ["large"]])],
    "integers": [np.array([[3], [1], [3]]), np.array([[7], [7], [2]])],
}


@pytest.mark.parametrize("columns", COLUMNS.values(), ids=COLUMNS)
@pytest.mark.parametrize("is_one_hot", [True, False], ids=["one-hot", "vectors"])
def test_an_id_that_is_made_of_two_columns_is_shared(columns, is_one_hot):
    """What each crossing is worth, in place of that of the baseline: half to each column."""
    parts = [keras.Input((1,), dtype=column.dtype.name if column.dtype.kind == "i" else "string") for column in columns]
    crossing = layers.HashedCrossing(50, output_mode="one_hot" if is_one_hot else "int")
    worth = layers.Dense(2, use_bias=False) if is_one_hot else layers.Embedding(50, 2)
    model = keras.Model(parts, layers.Reshape((2,))(worth(crossing(parts))))

    def scores(rows):
        return model([tf.constant(column[rows]) for column in columns]).numpy()[:, 1]

    own, other = scores([0, 1]), scores([2, 2])
    assert np.abs(own - other).min() > 1e-3
    x, baseline = [column[:2] for column in columns], [column[2] for column in columns]
    for method in (tfs.DeepLIFT, tfs.IntegratedGradients, tfs.Occlusion):
        for values in method(model, baseline=baseline).explain(x, 1).values:
            np.testing.assert_allclose(values[:, 0], (own - other) / 2, rtol=1e-4, atol=1e-6)
    # A slope is that of either column, as of both.
    slope = 1.0 if not is_one_hot else np.linalg.norm(worth.kernel[:, 1])
    for values in tfs.Gradient(model).explain(x, 1).values:
        np.testing.assert_allclose(values, slope, rtol=1e-5)


@pytest.mark.parametrize("columns", COLUMNS.values(), ids=COLUMNS)
@pytest.mark.parametrize("is_one_hot", [True, False], ids=["one-hot", "vectors"])
def test_a_column_of_a_crossing_is_hidden_as_the_model_sees_it(columns, is_one_hot):
    """The crossing of the other column with that of the baseline, not the crossing of the baseline."""
    parts = [keras.Input((1,), dtype=column.dtype.name if column.dtype.kind == "i" else "string") for column in columns]
    crossing = layers.HashedCrossing(50, output_mode="one_hot" if is_one_hot else "int")(parts)
    worth = layers.Dense(2, use_bias=False) if is_one_hot else layers.Embedding(50, 2)
    own = [layers.Embedding(20, 2)(layers.Hashing(20)(part)) for part in parts]
    model = keras.Model(parts, layers.Add()([layers.Reshape((2,))(each) for each in (worth(crossing), *own)]))
    x, baseline = [column[:2] for column in columns], [column[2] for column in columns]

    def score(*is_seen):
        shown = [
            part if seen else np.full_like(part, other) for part, other, seen in zip(x, baseline, is_seen, strict=True)
        ]
        return model([tf.constant(part) for part in shown]).numpy()[:, 1]

    whole, none, alone = score(True, True), score(False, False), (score(True, False), score(False, True))
    assert np.abs(alone[0] - none).max() > 1e-3
    for values, without in zip(tfs.Occlusion(model, baseline=baseline).explain(x, 1).values, alone[::-1], strict=True):
        np.testing.assert_allclose(values[:, 0], whole - without, rtol=1e-4, atol=1e-6)
    shapley = tfs.ShapleyValues(model, baseline=baseline).explain(x, 1)
    for values, own, other in zip(shapley.values, alone, alone[::-1], strict=True):
        np.testing.assert_allclose(values[:, 0], (own - none + whole - other) / 2, rtol=1e-4, atol=1e-6)
    # The scores of a regression are measured as they are.
    curve = tfs.metrics.Deletion(model, baseline, steps=2).measure(shapley).details["curve"]
    first = np.where(shapley.values[0][:, 0] > shapley.values[1][:, 0], alone[1], alone[0])
    np.testing.assert_allclose(curve, np.stack([whole, first, none], axis=1), rtol=1e-4, atol=1e-6)


def test_columns_of_ids_that_are_crossed_are_hidden_as_the_model_sees_them():
    """One part holds all columns, and three of them are hidden in random orders."""
    keras.utils.set_random_seed(0)
    ids, table, top = keras.Input((3,), dtype="int32"), layers.Embedding(40, 3), layers.Dense(2)
    crossed = table(layers.Lambda(lambda ids: ids[:, 0] * 6 + ids[:, 1], output_shape=())(ids))
    model = keras.Model(ids, top(crossed + keras.ops.sum(layers.Embedding(6, 3)(ids), axis=1)))
    x, baseline = np.array([[1, 2, 5], [3, 4, 0]]), np.array([5, 0, 1])
    whole = model(x).numpy()[:, 1]
    values = tfs.Occlusion(model, baseline=baseline).explain(x, 1).values
    for column in range(3):
        hidden = x.copy()
        hidden[:, column] = baseline[column]
        np.testing.assert_allclose(values[:, column], whole - model(hidden).numpy()[:, 1], rtol=1e-4, atol=1e-6)

    def seen(kept):
        return model(np.where(kept, x, baseline)).numpy()[:, 1]

    for samples in (1, 200):
        # Three windows have eight sets: as dear as one order and its reverse.
        found = tfs.ShapleyValues(model, baseline=baseline, samples=samples).explain(x, 1).values
        added = {
            column: np.mean(
                [seen(np.isin(range(3), [*before, column])) - seen(np.isin(range(3), before)) for before in sets],
                axis=0,
            )
            for column, sets in {0: ((), (), (1,), (1,)), 1: ((), (), (0,), (0,)), 2: ((),)}.items()
        }
        for column, expected in added.items():
            np.testing.assert_allclose(found[:, column], expected, rtol=1e-4, atol=1e-5)


TAKEN = {
    "indexed": lambda ids: (ids[:, 0], ids[:, 1]),
    "sliced": lambda ids: (ids[:, :1], ids[:, 1:2]),
    "split": lambda ids: keras.ops.split(ids, 2, axis=1),
    "unstacked": lambda ids: keras.ops.unstack(ids, axis=1),
    "taken": lambda ids: (keras.ops.take(ids, [0], axis=1), keras.ops.take(ids, [1], axis=1)),
    "cast first": lambda ids: (keras.ops.cast(ids, "int64")[:, 0], keras.ops.cast(ids, "int64")[:, 1]),
}
READ = {
    "vectors": lambda ids: layers.Embedding(6, 1)(ids),
    "one-hot": lambda ids: layers.Dense(1, use_bias=False)(layers.CategoryEncoding(6, "one_hot")(ids)),
    "looked up": lambda ids: layers.Dense(1)(
        layers.IntegerLookup(vocabulary=list(range(6)), output_mode="one_hot")(ids)
    ),
}


@pytest.mark.parametrize("taken", TAKEN.values(), ids=TAKEN)
def test_a_cross_of_columns_that_are_taken_out_of_one_array(taken):
    """The model reads each column by itself, and nothing has the places of the whole array."""
    keras.utils.set_random_seed(0)
    ids = keras.Input((2,), dtype="int32")
    crosses = (READ["vectors"](each) for each in taken(ids))
    crossed = layers.Embedding(36, 1, embeddings_initializer="normal")(
        layers.Lambda(lambda each: each[0] * 6 + each[1])(taken(ids))
    )
    summed = sum((layers.Reshape((1,))(each) for each in crosses), layers.Reshape((1,))(crossed))
    check_hidden_columns(keras.Model(ids, layers.Concatenate()([summed, 0 * summed])), lambda x: x)


@pytest.mark.parametrize("read", READ.values(), ids=READ)
def test_a_cross_of_columns_that_are_read_in_other_ways(read):
    keras.utils.set_random_seed(0)
    parts = [keras.Input((1,), dtype="int32") for _ in range(2)]
    crossed = layers.Embedding(36, 1, embeddings_initializer="normal")(parts[0] * 6 + parts[1])
    summed = sum((layers.Reshape((1,))(read(part)) for part in parts), layers.Reshape((1,))(crossed))
    model = keras.Model(parts, layers.Concatenate()([summed, 0 * summed]))
    check_hidden_columns(model, lambda x: [x[:, :1], x[:, 1:]])


def check_hidden_columns(model, given):
    """Of two columns of ids, ``given`` to a model as it takes them, against the model asked with each set of them."""
    x, baseline = np.array([[1, 2], [3, 4]]), np.array([5, 0])

    def seen(*kept):
        return model(given(np.where(kept, x, baseline))).numpy()[:, 0]

    whole, none, first, second = seen(True, True), seen(False, False), seen(True, False), seen(False, True)
    # The worths of the columns do not add up.
    assert np.abs(whole - first - second + none).min() > 1e-3

    def columns(explanation):
        values = explanation.values
        return values if isinstance(values, np.ndarray) else np.concatenate(values, axis=1)

    fill = given(baseline[None])
    fill = [each[0] for each in fill] if isinstance(fill, list) else fill[0]
    found = columns(tfs.Occlusion(model, window=1, stride=1, baseline=fill).explain(given(x), 0))
    np.testing.assert_allclose(found, np.column_stack([whole - second, whole - first]), rtol=1e-4, atol=1e-6)
    shapley = tfs.ShapleyValues(model, window=1, baseline=fill).explain(given(x), 0)
    shares = [first - none + whole - second, second - none + whole - first]
    np.testing.assert_allclose(columns(shapley), np.column_stack(shares) / 2, rtol=1e-4, atol=1e-6)
    curve = tfs.metrics.Deletion(model, fill, steps=2).measure(shapley).details["curve"]
    is_first = columns(shapley)[:, 0] > columns(shapley)[:, 1]
    np.testing.assert_allclose(curve[:, 1], np.where(is_first, second, first), rtol=1e-4, atol=1e-6)


# What each id is made of, and for each sample of `COLUMNS_OF_IDS` the places that it comes from.
COLUMNS_OF_IDS = np.array([[1, 2, 5], [3, 4, 0], [5, 0, 1]])
MADE_OF_COLUMNS = {
    "two columns": (lambda ids: ids[:, 0] * 6 + ids[:, 1], [{0, 1}] * 3),
    "three columns": (lambda ids: (ids[:, 0] * 3 + ids[:, 1]) * 2 + ids[:, 2], [{0, 1, 2}] * 3),
    "one column twice": (lambda ids: ids[:, 0] * 2 + ids[:, 0] * 3, [{0}] * 3),
    "one column or another": (lambda ids: tf.where(ids[:, 2] > 0, ids[:, 0], ids[:, 1]), [{0}, {1}, {0}]),
    "one column or a constant": (lambda ids: tf.where(ids[:, 2] > 0, ids[:, 0], 7), [{0}, {2}, {0}]),
    "a column and a mask": (lambda ids: ids[:, 0] * tf.cast(ids[:, 1] > 0, "int32"), [{0}] * 3),
    "a column and two masks": (
        lambda ids: tf.cast(ids[:, 1] > 0, "int32") * tf.cast(ids[:, 2] > 0, "int32") * ids[:, 0],
        [{0}] * 3,
    ),
    "a column and the rest of a mask": (lambda ids: ids[:, 0] * (1 - tf.cast(ids[:, 1] > 2, "int32")), [{0}] * 3),
    "a column and a flag": (lambda ids: ids[:, 0] * 2 + tf.cast(ids[:, 1] > 2, "int32"), [{0, 1}] * 3),
    "the smaller of two": (lambda ids: tf.minimum(ids[:, 0], ids[:, 1]), [{0, 1}] * 3),
}


@pytest.mark.parametrize(("made", "places"), MADE_OF_COLUMNS.values(), ids=MADE_OF_COLUMNS)
def test_an_id_comes_from_all_columns_that_it_is_made_of(made, places):
    """Sums are shared in equal parts; a slope is that of each column."""
    keras.utils.set_random_seed(0)
    ids, table, top = keras.Input((3,), dtype="int32"), layers.Embedding(40, 3), layers.Dense(2)
    model = keras.Model(ids, top(table(layers.Lambda(made, output_shape=())(ids))))
    told = np.asarray(table(made(tf.constant(COLUMNS_OF_IDS, tf.int32)))) @ top.kernel[:, 1].numpy()
    slope = np.linalg.norm(top.kernel[:, 1])
    shared, slopes = (np.zeros((3, 3)), np.zeros((3, 3)))
    for row, of_row in enumerate(places):
        shared[row, list(of_row)], slopes[row, list(of_row)] = told[row] / len(of_row), slope
    np.testing.assert_allclose(
        tfs.GradientTimesInput(model).explain(COLUMNS_OF_IDS, 1).values, shared, rtol=1e-5, atol=1e-7
    )
    np.testing.assert_allclose(tfs.Gradient(model).explain(COLUMNS_OF_IDS, 1).values, slopes, rtol=1e-5)


def test_a_column_that_is_crossed_with_all_others():
    """Arithmetic repeats the first column: the shares of all its ids are its own."""
    keras.utils.set_random_seed(0)
    ids, table, top = keras.Input((3,), dtype="int32"), layers.Embedding(40, 3), layers.Dense(2)
    model = keras.Model(ids, top(keras.ops.sum(table(ids[:, :1] * 6 + ids[:, 1:]), axis=1)))
    told = np.asarray(table(COLUMNS_OF_IDS[:, :1] * 6 + COLUMNS_OF_IDS[:, 1:])) @ top.kernel[:, 1].numpy() / 2
    values = tfs.GradientTimesInput(model).explain(COLUMNS_OF_IDS, 1).values
    np.testing.assert_allclose(values, np.column_stack([told.sum(axis=1), told]), rtol=1e-5, atol=1e-7)


def test_a_flag_that_is_added_to_an_id_has_its_share():
    """The flag was told to have no gradient, and got nothing."""
    keras.utils.set_random_seed(0)
    ids, flag = keras.Input((1,), dtype="int32", name="ids"), keras.Input((1,), dtype="bool", name="flag")
    table, top = layers.Embedding(20, 3), layers.Dense(2)
    made = ids * 2 + keras.ops.cast(flag, "int32")
    model = keras.Model({"ids": ids, "flag": flag}, top(layers.Flatten()(table(made))))
    inputs = {"ids": np.array([[3], [4]]), "flag": np.array([[True], [False]])}
    explanation = tfs.GradientTimesInput(model).explain(inputs, 1)
    told = np.asarray(table(np.array([7, 8]))) @ top.kernel[:, 1].numpy() / 2
    np.testing.assert_allclose(explanation.values["ids"][:, 0], told, rtol=1e-5)
    np.testing.assert_allclose(explanation.values["flag"][:, 0], told, rtol=1e-5)
    assert "held" not in explanation.provenance


def test_an_id_of_a_pair_of_words_is_refused():
    """It was told of the first word, and the last word of a text got nothing."""
    text = keras.Input((1,), dtype="string")
    ids = vectorizer(output_sequence_length=4)(text)
    model = keras.Model(text, head(layers.Flatten()(layers.Embedding(200, 4)(ids[:, :-1] * 12 + ids[:, 1:]))))
    with pytest.raises(ValueError, match="cannot be followed back to places of the inputs"):
        tfs.Gradient(model).explain(TEXTS, 1)


def test_what_a_baseline_stands_for_is_told():
    mixed = text_beside_numbers()
    of_numbers = keras.Sequential([keras.Input((3,)), layers.Dense(2)])
    for model, inputs, expected in (
        (of_numbers, np.eye(3), "zero"),
        (classifier(), IDS, "the id that fills up short rows, 0"),
        (classifier(mask=False), IDS, "the mean of all ids"),
        (mixed, {"text": TEXTS, "age": np.ones((2, 2))}, "age: zero; text: the id that fills up short rows, 0"),
    ):
        for method in (tfs.IntegratedGradients, tfs.DeepLIFT):
            assert method(model).explain(inputs, 0).provenance["baseline"] == expected
    assert "baseline" not in tfs.IntegratedGradients(of_numbers, 0.0).explain(np.eye(3), 0).provenance


def test_ids_beside_numbers_have_a_meaning_of_their_own(tmp_path):
    """The length of an id's slopes is no evidence for the target; the slope of a number is evidence of either sign."""
    keras.utils.set_random_seed(0)
    ids, x = keras.Input((3,), dtype="int32", name="ids"), keras.Input((4,), name="x")
    vectors = layers.Flatten()(layers.Embedding(9, 3)(ids))
    model = keras.Model({"ids": ids, "x": x}, layers.Dense(2)(layers.Concatenate()([vectors, x])))
    inputs = {"ids": np.array([[1, 2, 3]]), "x": np.ones((1, 4))}
    explanation = tfs.Gradient(model).explain(inputs, 1)
    assert explanation.meaning == {"ids": "magnitude", "x": "signed"}
    assert explanation.meanings == ["magnitude", "signed"]
    assert (explanation.values["ids"] > 0).all() and (explanation.values["x"] < 0).any()
    explanation.save(tmp_path / "map.npz")
    assert tfs.Explanation.load(tmp_path / "map.npz").meaning == explanation.meaning
    assert explanation.map(tfs.transforms.absolute).meaning == "magnitude"
    assert tfs.GradientTimesInput(model).explain(inputs, 1).meaning == "signed"
    assert tfs.Gradient(model).explain(inputs, tfs.target.each([0, 1])).meaning == explanation.meaning
    with pytest.raises(tfs.metrics.InapplicableError, match="{'ids': 'magnitude', 'x': 'signed'}"):
        tfs.metrics.CompletenessGap(model).measure(explanation)
    labels = [text.get_text() for text in explanation.plot().axes[0].get_yticklabels()]
    assert "ids[0] = 1 (magnitude)" in labels and "x[3] = 1 (signed)" in labels
    report = tmp_path / "report.html"
    tfs.plot.report([explanation], report)
    assert "{'ids': 'magnitude', 'x': 'signed'}" in report.read_text()


@pytest.mark.parametrize("output_mode", ["int", "one_hot"])
def test_a_number_that_is_put_into_a_bucket_too_has_the_slope_of_the_number(output_mode):
    """The slope of the bucket was added to it, which no change of the number makes: a bucket changes in steps."""
    x = keras.Input((2,))
    buckets = [layers.Discretization([-1.0, 0.0, 1.0], output_mode=output_mode)(x[:, each, None]) for each in (0, 1)]
    numbers = keras.ops.concatenate([keras.ops.cast(each, "float32") for each in buckets], axis=1)
    model = keras.Model(x, layers.Dense(1)(keras.ops.concatenate([x, numbers], axis=1)))
    kernel = np.random.default_rng(0).normal(size=(model.layers[-1].kernel.shape[0], 1))
    model.layers[-1].set_weights([kernel, np.zeros(1)])
    inputs = np.array([[0.3, 0.4], [-0.5, 1.7]])
    for method in (tfs.Gradient(model), tfs.SmoothGrad(model, noise=0.01)):
        np.testing.assert_allclose(method.explain(inputs).values, np.tile(kernel[:2, 0], (2, 1)), rtol=1e-5)


def shapley(change, places):
    """By all sets of places; ``change`` returns the scores ``(N,)`` where some of them are at the baseline."""
    values = []
    for place in range(places):
        others = [each for each in range(places) if each != place]
        terms = [
            (change({*some, place}) - change(some)) / (places * math.comb(places - 1, len(some)))
            for size in range(places)
            for some in map(set, itertools.combinations(others, size))
        ]
        values.append(-np.sum(terms, axis=0))
    return np.stack(values, axis=1)


class VectorsAndNumbers(layers.Layer):
    """Looks ids up in a table of vectors, and in one of a single number for each id, as factorization machines do."""

    def __init__(self, is_list):
        super().__init__()
        self.is_list = is_list

    def build(self, shape):
        self.vectors = self.add_weight(shape=(9, 3), initializer="random_normal")
        self.numbers = self.add_weight(shape=(9,), initializer="random_normal")

    def call(self, ids):
        read = tf.reshape(ids, [-1]) if self.is_list else ids
        vectors, numbers = tf.gather(self.vectors, read), tf.gather(self.numbers, read)
        return tf.reshape(vectors, [-1, *ids.shape[1:], 3]), tf.reshape(numbers, [-1, *ids.shape[1:]])


@pytest.mark.parametrize(("places", "is_list"), [((4,), False), ((4,), True), ((), False)])
def test_ids_are_hidden_in_tables_of_vectors_and_of_numbers_at_once(places, is_list):
    keras.utils.set_random_seed(2)
    ids = keras.Input(places, dtype="int32")
    vectors, numbers = map(layers.Flatten(), VectorsAndNumbers(is_list)(ids))
    model = keras.Model(ids, head(layers.Concatenate()([layers.Dense(5, "tanh")(vectors), numbers])))
    model.set_weights([20 * each for each in model.get_weights()])
    x = np.random.default_rng(0).integers(0, 9, (5, *places))

    def change(hidden):
        rows = x.reshape(5, -1)
        is_hidden = np.isin(np.arange(rows.shape[1]), [*hidden])
        return model(np.where(is_hidden, 3, rows).reshape(x.shape)).numpy()[:, 1]

    number = math.prod(places)
    left_out = np.stack([change(set()) - change({each}) for each in range(number)], axis=1)
    for method, expected in ((tfs.Occlusion, left_out), (tfs.ShapleyValues, shapley(change, number))):
        found = method(model, window=1, baseline=np.full(places, 3)).explain(x, 1).values
        np.testing.assert_allclose(found.reshape(5, -1), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("is_listed_twice", [False, True])
@pytest.mark.parametrize("second", [(20, 2), (20,), None], ids=["other vectors", "numbers", "the same vectors"])
def test_ids_that_are_listed_once_for_two_tables(second, is_listed_twice):
    draw = np.random.default_rng(0).normal
    first = tf.constant(draw(size=(20, 3)), tf.float32)
    other = first if second is None else tf.constant(draw(size=second), tf.float32)
    weights = tf.constant(draw(size=(4 * (3 + (other.shape[1] if other.shape.rank > 1 else 1)), 2)), tf.float32)

    def model_of(look_up):
        @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.int32)])
        def model(ids):
            read = [
                tf.reshape(each, [-1, weights.shape[0] // 4 - 3 if place else 3])
                for place, each in enumerate(look_up(ids))
            ]
            return tf.tanh(tf.concat([tf.reshape(each, [-1, 4 * each.shape[1]]) for each in read], 1) @ weights / 4)

        return model

    def listed(ids):
        flat = tf.reshape(ids, [-1])
        lists = [tf.unique(flat) for _ in range(1 + is_listed_twice)]
        return [
            tf.gather(tf.gather(each, its.y), its.idx)
            for each, its in zip((first, other), (lists[0], lists[-1]), strict=True)
        ]

    listing, plain = model_of(listed), model_of(lambda ids: [tf.gather(first, ids), tf.gather(other, ids)])
    x = np.array([[3, 3, 7, 19], [0, 5, 3, 8]], "int32")
    for method in (
        tfs.Gradient,
        lambda model: tfs.DeepLIFT(model, 1),
        lambda model: tfs.Occlusion(model, 1, baseline=1),
    ):
        found, expected = (method(model).explain(x, 1).values for model in (listing, plain))
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


# What else a model makes of a row of ids beside looking it up, each with the number of its ids.
READ_AGAIN = {
    "in reverse": (lambda ids: ids[:, ::-1], 9),
    "the first alone": (lambda ids: ids[:, 0], 9),
    "some of them": (lambda ids: ids[:, 1:3], 9),
    "shifted": (lambda ids: ids + 1, 10),
    "in buckets": (lambda ids: (ids * 7 + 3) % 5, 5),
    "hashed": (lambda ids: layers.Hashing(4)(ids), 4),
    "as other ids": (lambda ids: layers.IntegerLookup(vocabulary=[2, 5, 7])(ids), 4),
}


@pytest.mark.parametrize("is_first", [True, False])
@pytest.mark.parametrize("name", READ_AGAIN)
def test_ids_are_hidden_with_all_that_is_made_of_them(name, is_first):
    """Each way to read them was hidden alone, and the drops added up."""
    keras.utils.set_random_seed(2)
    again, size = READ_AGAIN[name]
    ids = keras.Input((4,), dtype="int32")
    read = [layers.Embedding(9, 3)(ids), layers.Embedding(size, 2)(again(ids))]
    y = layers.Concatenate()([layers.Flatten()(each) for each in (read if is_first else read[::-1])])
    model = keras.Model(ids, head(y))
    model.set_weights([20 * each for each in model.get_weights()])
    x = np.random.default_rng(0).integers(0, 9, (3, 4))

    def change(hidden):
        return model(np.where(np.isin(np.arange(4), [*hidden]), 3, x)).numpy()[:, 1]

    left_out = np.stack([change(set()) - change({each}) for each in range(4)], axis=1)
    baseline = np.full(4, 3)
    for method, expected in (
        (tfs.Occlusion(model, baseline=baseline), left_out),
        (tfs.SmoothGrad(tfs.Occlusion(model, baseline=baseline), samples=2, noise=0.0), left_out),
        (tfs.ShapleyValues(model, baseline=baseline), shapley(change, 4)),
    ):
        np.testing.assert_allclose(method.explain(x, 1).values, expected, rtol=1e-4, atol=1e-4)


def test_columns_of_one_table_are_hidden_with_their_buckets():
    keras.utils.set_random_seed(2)
    table = keras.Input((3,))
    buckets = [layers.Discretization([-1.0, 0.0, 1.0])(table[:, each]) for each in (2, 0)]
    vectors = [layers.Embedding(4, 3)(each) for each in buckets]
    model = keras.Model(table, head(layers.Concatenate()([*vectors, table])))
    model.set_weights([5 * each for each in model.get_weights()])
    x = np.array([[0.3, 1.2, -0.4], [-1.7, 0.2, 1.4]])

    def change(hidden):
        return model(np.where(np.isin(np.arange(3), [*hidden]), 0.6, x)).numpy()[:, 1]

    left_out = np.stack([change(set()) - change({each}) for each in range(3)], axis=1)
    for method, expected in ((tfs.Occlusion, left_out), (tfs.ShapleyValues, shapley(change, 3))):
        found = method(model, baseline=0.6).explain(x, 1).values
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("output_mode", ["int", "one_hot"])
def test_a_column_is_hidden_with_its_bucket(output_mode):
    keras.utils.set_random_seed(2)
    columns = {name: keras.Input((1,), name=name) for name in ("age", "income")}
    ids = [layers.Discretization([-1.0, 0.0, 1.0], output_mode=output_mode)(x) for x in columns.values()]
    read = layers.Embedding(4, 3) if output_mode == "int" else Cast()
    model = keras.Model(
        columns, head(layers.Concatenate()([*columns.values(), *(layers.Flatten()(read(x)) for x in ids)]))
    )
    model.set_weights([3 * each for each in model.get_weights()])
    x = {"age": np.array([[0.3], [-1.7]]), "income": np.array([[1.4], [0.1]])}

    def change(hidden):
        seen = {name: np.full_like(x[name], 0.6) if place in hidden else x[name] for place, name in enumerate(x)}
        return model(seen).numpy()[:, 1]

    left_out = np.stack([change(set()) - change({each}) for each in (0, 1)], axis=1)
    for method, expected in ((tfs.Occlusion, left_out), (tfs.ShapleyValues, shapley(change, 2))):
        found = method(model, baseline=0.6).explain(x, 1).values
        np.testing.assert_allclose(np.hstack([*found.values()]), expected, rtol=1e-4, atol=1e-5)
    # The mean where a column is visible, against that of all masks, half of which hide it.
    found = tfs.RISE(model, baseline=0.6, samples=1000).explain(x, 1).values
    np.testing.assert_allclose(2 * np.hstack([*found.values()]), shapley(change, 2), rtol=0.05, atol=0.05)


FIRST_IS_AN_ID = {
    "a slice": lambda x: (keras.ops.cast(x[:, :1], "int32"), x[:, 1:]),
    "one number": lambda x: (keras.ops.cast(x[:, 0], "int32")[:, None], x[:, 1:]),
    "unstacked": lambda x: (
        keras.ops.cast(keras.ops.unstack(x, 4, axis=1)[0][:, None], "int32"),
        keras.ops.stack(keras.ops.unstack(x, 4, axis=1)[1:], axis=1),
    ),
    "as a row": lambda x: (
        keras.ops.cast(keras.ops.reshape(x, (-1, 2, 2))[:, 0, :1], "int32"),
        keras.ops.reshape(x, (-1, 2, 2))[:, :, ::-1],
    ),
    "a slice of a size that is counted": lambda x: (
        keras.ops.cast(x[:, :1], "int32"),
        layers.Lambda(lambda x: tf.slice(x, [0, 1], [tf.shape(x)[0], 3]))(x),
    ),
    "scaled numbers": lambda x: (
        keras.ops.cast(x[:, :1], "int32"),
        layers.Normalization(mean=[1.0, 0.1, 0.2, 0.3], variance=[4.0, 1.0, 2.0, 3.0])(x)[:, 1:],
    ),
    "clipped": lambda x: (
        keras.ops.cast(keras.ops.clip(x, -1, 5)[:, :1], "int32"),
        keras.ops.tanh(keras.ops.clip(x, -1, 5)[:, 1:]),
    ),
    "joined with others": lambda x: (
        keras.ops.cast(x[:, :1], "int32"),
        keras.ops.concatenate([keras.ops.exp(x), x[:, 1:]], axis=1)[:, 1:4],
    ),
}


@pytest.mark.parametrize("name", FIRST_IS_AN_ID)
def test_a_column_of_ids_in_a_table_of_numbers_has_the_slope_of_its_vectors(name):
    """It got exactly zero from ``Gradient``: a number that is read as a bucket too has no other slope than its own."""
    keras.utils.set_random_seed(4)
    table, embedding = keras.Input((4,)), layers.Embedding(6, 3)
    ids, numbers = FIRST_IS_AN_ID[name](table)
    behind = head(layers.Concatenate()([layers.Flatten()(embedding(ids)), layers.Flatten()(numbers)]))
    model = keras.Model(table, behind)
    x = np.array([[2, 0.3, -1.0, 0.5], [5, -0.2, 0.4, 1.5]])
    apart = keras.Model([embedding.output, table], behind)
    vectors, rows = tf.constant(embedding(x[:, :1])), tf.constant(x, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch([vectors, rows])
        score = apart([vectors, rows])[:, 1]
    of_vectors, expected = (each.numpy() for each in tape.gradient(score, [vectors, rows]))
    # Where the model reads the first column as a number too, as the last form does, the slope is that of the number.
    if name != "as a row":
        expected[:, 0] = np.linalg.norm(of_vectors[:, 0], axis=1)
    np.testing.assert_allclose(tfs.Gradient(model).explain(x, 1).values, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    "moved",
    [
        lambda x: tf.reshape(tf.reshape(x, [-1, 3])[:, 1:], [-1, 5, 2]),
        lambda x: tf.reshape(tf.reshape(x[:, :, 1:], [-1, 2]), [-1, 5, 2]),
        lambda x: tf.slice(x, [0, 0, 1], [2, 5, 2]),
    ],
    ids=["rows of all steps", "rows of some numbers", "a fixed number of rows"],
)
def test_ids_of_a_series_beside_its_numbers(moved):
    """What moves the axis of the batch, or takes a fixed number of rows, is none of the order of a sample."""
    keras.utils.set_random_seed(4)
    series, embedding = keras.Input((5, 3)), layers.Embedding(6, 2)
    ids, numbers = layers.Lambda(lambda x: tf.cast(x[:, :, 0], tf.int32))(series), layers.Lambda(moved)(series)
    model = keras.Model(series, head(layers.Flatten()(layers.Concatenate()([embedding(ids), numbers]))))
    x = np.random.default_rng(0).normal(size=(2, 5, 3)).astype("float32")
    x[:, :, 0] = [[1, 2, 3, 4, 5], [0, 5, 2, 2, 1]]
    with tf.GradientTape() as tape:
        rows = tf.constant(x)
        tape.watch(rows)
        score = model(rows)[:, 1]
    values = tfs.Gradient(model).explain(x, 1).values
    np.testing.assert_allclose(values[:, :, 1:], tape.gradient(score, rows)[:, :, 1:], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("method", [tfs.Gradient, tfs.IntegratedGradients, tfs.DeepLIFT, tfs.LRP, tfs.SmoothGrad])
@pytest.mark.parametrize("empty", [np.zeros((2, 0, 4), "float32"), np.zeros((2, 0), "int32")], ids=["numbers", "ids"])
def test_a_part_of_length_zero_is_held(method, empty):
    """Masks that a prompt comes without, or a text of no words: the other parts are explained as without it."""
    numbers, other = keras.Input((4,)), keras.Input((None, *empty.shape[2:]), dtype=empty.dtype.name)
    vectors = other if empty.ndim == 3 else layers.Embedding(5, 4)(other)
    top = keras.Sequential([layers.Dense(6, "tanh"), layers.Dense(3)])
    model = keras.Model([numbers, other], top(layers.Add()([numbers, keras.ops.sum(vectors, axis=1)])))
    x = np.random.default_rng(0).normal(size=(2, 4)).astype("float32")
    found, alone = method(model).explain([x, empty], 1), method(keras.Model(numbers, top(numbers))).explain(x, 1)
    np.testing.assert_allclose(found.values[0], alone.values, rtol=1e-4, atol=1e-6)
    assert found.values[1].shape == empty.shape
    assert "holds no numbers" in str(found.provenance["held"])


# --- the vectors themselves ---


@pytest.mark.parametrize("recurrent", RECURRENT.values(), ids=RECURRENT)
def test_the_vectors_keep_their_values(recurrent, tmp_path):
    model = classifier(recurrent=recurrent)
    gradient, vectors = slopes(model, model.get_layer("words"), IDS, 1)
    explanation = tfs.Gradient(model).of_vectors().explain(IDS, 1)
    np.testing.assert_allclose(explanation.values, gradient, rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(explanation.inputs, vectors)
    assert (explanation.method, explanation.meaning) == ("Gradient.of_vectors()", "signed")
    explanation.save(tmp_path / "vectors.npz")
    np.testing.assert_array_equal(tfs.Explanation.load(tmp_path / "vectors.npz").values, explanation.values)
    explanation.plot()
    # They are numbers: a transform multiplies by them, and a metric has one place for each id.
    times_input = explanation.map(tfs.transforms.times_input)
    np.testing.assert_allclose(times_input.values, gradient * vectors, rtol=1e-5, atol=1e-7)
    summed = times_input.map(tfs.transforms.sum_channels)
    gini = tfs.metrics.Gini()
    np.testing.assert_allclose(gini.measure(times_input).values, gini.measure(summed).values, rtol=1e-4)


def test_a_metric_that_asks_the_model_takes_no_vectors_for_ids():
    model = classifier(mask=False)
    kept, told = (each.explain(IDS, 1) for each in (tfs.Gradient(model).of_vectors(), tfs.Gradient(model)))
    for metric in (tfs.metrics.Deletion(model), tfs.metrics.Infidelity(model)):
        with pytest.raises(ValueError, match=r"without of_vectors\(\)"):
            metric.measure(kept)
        assert np.isfinite(metric.measure(told).values).all()


@pytest.mark.parametrize("method", [tfs.IntegratedGradients, tfs.DeepLIFT, tfs.GradientTimesInput])
def test_vectors_sum_to_what_is_told_of_their_ids(method):
    model = classifier(mask=False)
    told = method(model).explain(IDS, tfs.target.each([0, 2]))
    kept = method(model).of_vectors().explain(IDS, tfs.target.each([0, 2]))
    assert kept.values.shape == (*told.values.shape, 4)
    np.testing.assert_allclose(kept.values.sum(axis=-1), told.values, rtol=1e-4, atol=1e-6)


def test_vectors_within_other_methods():
    model = classifier()
    smooth = tfs.SmoothGrad(tfs.Gradient(model), samples=4)
    for kept in (smooth.of_vectors(), tfs.SmoothGrad(tfs.Gradient(model).of_vectors(), samples=4)):
        explanation = kept.then(tfs.transforms.square).explain(IDS, 1)
        lengths = np.sqrt(explanation.values.sum(axis=-1)) * (IDS != 0)
        np.testing.assert_allclose(lengths, smooth.explain(IDS, 1).values, rtol=1e-5, atol=1e-7)


def test_vectors_of_several_parts():
    model = text_beside_numbers()
    inputs = {"text": TEXTS, "age": np.array([[0.2, 1.0], [0.5, -1.0]], "float32")}
    told = tfs.IntegratedGradients(model).explain(inputs, 0)
    kept = tfs.IntegratedGradients(model).of_vectors().explain(inputs, 0)
    np.testing.assert_array_equal(kept.inputs["age"], inputs["age"])
    np.testing.assert_allclose(kept.values["age"], told.values["age"], rtol=1e-5)
    np.testing.assert_allclose(kept.values["text"].sum(axis=(1, 2)), told.values["text"].sum(axis=1), rtol=1e-4)


def test_numbers_have_no_other_vectors_and_black_boxes_none():
    model = keras.Sequential([keras.Input((3,)), layers.Dense(4, "tanh"), layers.Dense(2)])
    x = np.eye(3, dtype="float32")
    kept = tfs.Gradient(model).of_vectors().explain(x, 1)
    np.testing.assert_array_equal(kept.values, tfs.Gradient(model).explain(x, 1).values)
    np.testing.assert_array_equal(kept.inputs, x)
    with pytest.raises(ValueError, match="A black box shows no vectors"):
        tfs.Occlusion(lambda x: x).of_vectors()


ORDERS = {
    "sorted": lambda ids: tf.sort(ids, axis=-1),
    "the largest": lambda ids: tf.math.top_k(ids, 3)[0],
    "turned round as far as they go": lambda ids: tf.reverse_sequence(ids, tf.fill([tf.shape(ids)[0]], 3), seq_axis=1),
}


@pytest.mark.parametrize("name", ORDERS)
def test_ids_in_another_order_keep_their_own_values(name):
    """Contributions by hand, at the places that each id came from."""
    ids = np.array([[5, 1, 7, 3, 2, 9, 4]])
    order = np.asarray(ORDERS[name](tf.constant(ids)))[0]
    keras.utils.set_random_seed(1)
    words, head = layers.Embedding(11, 4), layers.Dense(2, use_bias=False)
    x = keras.Input((7,), dtype="int32")
    y = layers.Lambda(ORDERS[name], output_shape=(len(order),))(x)
    model = keras.Model(x, head(layers.Flatten()(words(y))))
    values = tfs.GradientTimesInput(model).explain(ids, 1).values
    weights = head.get_weights()[0][:, 1].reshape(len(order), 4)
    expected = np.zeros((1, 7))
    for place, id in enumerate(order):
        expected[0, ids[0].tolist().index(id)] = words.get_weights()[0][id] @ weights[place]
    np.testing.assert_allclose(values, expected, rtol=1e-4, atol=1e-7)


def test_numbers_of_the_model_are_no_table():
    """Edges choose among the vectors of nodes: these are made by the model, and depend on the nodes."""
    keras.utils.set_random_seed(1)
    nodes, edges = keras.Input((3,), dtype="int32"), keras.Input((2,), dtype="int32")
    words, inner, head = layers.Embedding(11, 4), layers.Dense(5, "tanh"), layers.Dense(2)
    chosen = layers.Lambda(lambda parts: tf.gather(tf.reshape(parts[0], [-1, 5]), parts[1]), output_shape=(2, 5))
    model = keras.Model([nodes, edges], head(layers.Flatten()(chosen([inner(words(nodes)), edges]))))
    given = [np.array([[3, 8, 5]]), np.array([[2, 0]])]
    with pytest.warns(UserWarning, match="rows of a batch depend on each other"):
        explanation = tfs.Gradient(model).explain(given, 1)
    with tf.GradientTape() as tape:
        vectors = words(given[0])
        tape.watch(vectors)
        score = head(tf.reshape(tf.gather(inner(vectors)[0], given[1][0]), [1, -1]))[:, 1]
    slopes = tape.gradient(score, vectors).numpy()
    np.testing.assert_allclose(explanation.values[0], np.linalg.norm(slopes, axis=-1), rtol=1e-4)
    assert (explanation.values[1] == 0).all()
    (reason,) = explanation.provenance["held"].values()
    assert "chooses by it among numbers that the model makes" in reason


def number_and_kind(x):
    """One column is a number, the other one a kind."""
    return [keras.ops.cast(x[:, :1], "float32") * 0.3, layers.Flatten()(embedded(7)(x[:, 1:]))]


def normalized_and_kinds(x):
    numbers = layers.Normalization(mean=3.0, variance=2.0)(keras.ops.cast(x, "float32"))
    return [numbers, layers.Flatten()(embedded(7)(x))]


def sum_and_kinds(x):
    return [
        keras.ops.sum(keras.ops.cast(x, "float32"), axis=1, keepdims=True) * 0.3,
        layers.Flatten()(embedded(7)(x)),
    ]


def embedded(size):
    return lambda ids: layers.Embedding(size, 2)(keras.ops.cast(ids, "int32"))


def shares_and_kinds(x):
    numbers = keras.ops.cast(x, "float32") / 10
    return [numbers - keras.ops.cast(x[:, ::-1], "float32"), layers.Flatten()(embedded(7)(x))]


@pytest.mark.parametrize("parts", [number_and_kind, normalized_and_kinds, sum_and_kinds, shares_and_kinds])
def test_integers_that_are_numbers_and_ids_are_both(parts):
    """They were taken for a mask of the ids, and got nothing: the model is linear, so hiding one column is exact."""
    x, x0 = np.array([[3, 5], [1, 2], [6, 4]], "int32"), np.zeros((3, 2), "int32")
    keras.utils.set_random_seed(3)
    given = keras.Input((2,), dtype="int32")
    model = keras.Model(given, layers.Dense(3)(layers.Concatenate()(parts(given))))

    def score(inputs):
        return model(inputs).numpy()[:, 1]

    alone = np.stack([score(x) - score(np.where(np.arange(2) == column, x0, x)) for column in (0, 1)], axis=1)
    for explainer in (tfs.DeepLIFT(model, 0), tfs.Occlusion(model, window=1, stride=1, baseline=0)):
        np.testing.assert_allclose(explainer.explain(x, 1).values, alone, rtol=1e-4, atol=1e-5)


CODES, SCALES = np.arange(36, dtype="int8").reshape(9, 4) % 7 - 3, np.linspace(0.2, 1.0, 9, dtype="float32")
VECTORS = np.random.default_rng(2).normal(size=(9, 4)).astype("float32")
# Numbers of an id that multiply others of it, or are read twice.
READ_FROM_TABLES = {
    "whole numbers": lambda ids: as_float(tf.gather(CODES, ids)),
    "one number each": lambda ids: tf.gather(SCALES, ids)[..., None] * tf.ones([4]),
    "codes read twice": lambda ids: as_float(tf.gather(CODES, ids)) * (1 + tf.gather(SCALES, ids)[..., None]),
    "scales read twice": lambda ids: (
        as_float(tf.gather(CODES, ids)) * tf.gather(SCALES, ids)[..., None] + tf.gather(SCALES, ids)[..., None]
    ),
    "codes times vectors": lambda ids: as_float(tf.gather(CODES[:, :1], ids)) * tf.gather(VECTORS, ids),
    "ids times vectors": lambda ids: as_float(ids)[..., None] * tf.gather(VECTORS, ids),
    "scales of others": lambda ids: as_float(tf.gather(CODES, ids)) * tf.gather(SCALES, (ids + 1) % 9)[..., None],
}


def as_float(numbers):
    return tf.cast(numbers, tf.float32)


@pytest.mark.parametrize("name", READ_FROM_TABLES)
def test_whatever_tables_say_of_an_id_is_explained(name):
    """Nothing of it is a mask: values add up to the change of the score from one id to another."""
    weights = tf.constant(np.random.default_rng(3).normal(size=(4, 2)).astype("float32"))

    @tf.function(input_signature=[tf.TensorSpec([None, 5], tf.int32)])
    def model(ids):
        return tf.reduce_mean(READ_FROM_TABLES[name](ids), axis=1) @ weights

    x, places = np.array([[1, 2, 3, 4, 8], [7, 7, 5, 1, 2]], "int32"), np.eye(5, dtype=bool)
    left_out = np.stack([model(x)[:, 1] - model(np.where(place, 6, x))[:, 1] for place in places], axis=1)
    for method in (tfs.DeepLIFT(model, 6), tfs.IntegratedGradients(model, 6)):
        explanation = method.explain(x, 1)
        np.testing.assert_allclose(explanation.values, left_out, rtol=1e-3, atol=1e-5)
        assert explanation.provenance.get("held") is None


@pytest.mark.parametrize("make", [tf.Variable, tf.constant])
def test_vectors_are_added_to_those_of_another_input(make):
    """The handle of a variable does not show that its table is the larger one; a smaller one is none of segments."""
    table = make(np.random.default_rng(4).normal(size=(32, 4)).astype("float32"))
    weights = tf.constant(np.random.default_rng(3).normal(size=(4, 2)).astype("float32"))

    @tf.function(input_signature=[tf.TensorSpec([None, 5], tf.int32)] * 2)
    def model(users, items):
        return tf.reduce_mean(tf.gather(table, users) + tf.gather(VECTORS, items), axis=1) @ weights

    users, items = np.array([[1, 2, 30, 4, 18]], "int32"), np.array([[7, 7, 5, 1, 2]], "int32")
    values = tfs.DeepLIFT(model, [0, 6]).explain([users, items], 1).values
    for value, rows, at in zip(values, (table.numpy(), VECTORS), ((users, 0), (items, 6)), strict=True):
        expected = (rows[at[0]] - rows[at[1]]) @ weights.numpy()[:, 1] / 5
        np.testing.assert_allclose(value, expected, rtol=1e-4, atol=1e-6)


def test_counts_beside_categories_are_numbers():
    counts, kinds = keras.Input((2,), dtype="int32", name="counts"), keras.Input((2,), dtype="int32", name="kinds")
    keras.utils.set_random_seed(3)
    y = layers.Concatenate()([keras.ops.cast(counts, "float32"), layers.Flatten()(layers.Embedding(7, 2)(kinds))])
    model = keras.Model({"counts": counts, "kinds": kinds}, layers.Dense(3)(y))
    inputs = {"counts": np.array([[3, 5], [1, 2]]), "kinds": np.array([[1, 2], [3, 4]])}
    explanation = tfs.DeepLIFT(model, 0).explain(inputs, 1)
    np.testing.assert_allclose(
        explanation.values["counts"], inputs["counts"] * model.layers[-1].get_weights()[0][:2, 1], rtol=1e-4
    )
    assert "held" not in explanation.provenance


@pytest.mark.parametrize(
    "read",
    [
        lambda y, mask: keras.ops.sum(y * mask[..., None], axis=1) / keras.ops.sum(mask, axis=1, keepdims=True),
        lambda y, mask: keras.ops.max(y + (1 - mask[..., None]) * -1e9, axis=1),
        lambda y, mask: keras.ops.sum(keras.ops.softmax(y + (mask[..., None] - 1) * 1e9, axis=1) * y, axis=1),
        lambda y, positions: keras.ops.mean(y + keras.ops.sin(positions[..., None] * np.float32([1, 0.1, 0.01])), 1),
        lambda y, positions: keras.ops.mean(
            y + keras.ops.sin(keras.ops.matmul(positions[..., None], np.float32([[1, 0.1, 0.01]]))), 1
        ),
        lambda y, mask: keras.ops.sum(y, axis=1) / keras.ops.matmul(mask, np.ones((4, 1), "float32")),
    ],
)
def test_integers_of_masks_and_positions_are_held(read):
    ids, mask = keras.Input((4,), dtype="int32", name="ids"), keras.Input((4,), dtype="int32", name="mask")
    y = read(layers.Embedding(9, 3)(ids), keras.ops.cast(mask, "float32"))
    model = keras.Model({"ids": ids, "mask": mask}, layers.Dense(2)(y))
    explanation = tfs.Gradient(model).explain({"ids": np.array([[3, 5, 1, 0]]), "mask": np.array([[1, 1, 1, 0]])}, 1)
    assert set(explanation.provenance["held"]) == {"mask"}


def test_a_comparison_that_a_layer_reads_is_told_and_the_advice_works():
    """Nothing was said of it, and the completeness gap was 0."""
    keras.utils.set_random_seed(3)
    ids = keras.Input((2,), dtype="int32")
    flags, vectors = keras.ops.cast(ids > 2, "float32"), layers.Flatten()(layers.Embedding(7, 2)(ids))
    model = keras.Model(ids, layers.Dense(3)(layers.Concatenate()([flags, vectors])))
    x = np.array([[3, 5], [1, 2], [6, 4]])
    with pytest.warns(UserWarning, match=r"of type Greater, makes of it by comparing.*Occlusion\(model.predict, base"):
        tfs.DeepLIFT(model, 0).explain(x, 1)
    explainer = tfs.Occlusion(lambda x: model.predict(x, verbose=0), window=1, stride=1, baseline=0)
    hidden = [model(np.where(np.arange(2) == column, 0, x)).numpy()[:, 1] for column in (0, 1)]
    alone = model(x).numpy()[:, 1, None] - np.stack(hidden, axis=1)
    np.testing.assert_allclose(explainer.explain(x, 1).values, alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("pool", [True, False])
def test_padding_that_is_compared_by_hand_is_told_of_nothing(pool):
    """A mask meets vectors, and is no feature; every warning is an error here."""
    ids = keras.Input((4,), dtype="int32")
    y, mask = layers.Embedding(9, 3)(ids), keras.ops.cast(keras.ops.not_equal(ids, 0), "float32")[..., None]
    summed = keras.ops.sum(y * mask, axis=1)
    y = summed / keras.ops.sum(mask, axis=1) if pool else summed
    tfs.Gradient(keras.Model(ids, layers.Dense(2)(y))).explain(np.array([[3, 5, 1, 0]]), 1)


class Cast(layers.Layer):
    def call(self, x):
        return tf.cast(x, "float32")


class OneHot(layers.Layer):
    def call(self, ids):
        return tf.one_hot(ids, 4, dtype="int64")


def letters(mode):
    return layers.StringLookup(vocabulary=["a", "b", "c"], output_mode=mode)


# Two columns of letters, the second with three to a row; what an encoding goes through before it is put to the others.
TOGETHER = {
    "one-hot beside multi-hot": lambda p, q, made: [made(letters("one_hot")(p)), made(letters("multi_hot")(q))],
    "counts": lambda p, q, made: [made(letters("count")(p)), made(letters("count")(q))],
    "counts, flat": lambda p, q, made: [layers.Reshape((4,))(layers.Flatten()(made(letters("count")(q))))],
    "one-hot for each place, flat": lambda p, q, made: [layers.Flatten()(made(OneHot()(letters("int")(q))))],
    "twice": lambda p, q, made: [(y := made(letters("one_hot")(p))), y],
    "in parts": lambda p, q, made: [made(letters("one_hot")(p))[:, 1:], made(letters("count")(q))[:, ::-1]],
    "one inside the other": lambda p, q, made: [
        layers.Concatenate()([made(letters("one_hot")(p)), made(letters("count")(q))]),
        made(letters("multi_hot")(q)),
    ],
}
OF_TOGETHER = {
    "Gradient": tfs.Gradient,
    "IntegratedGradients": tfs.IntegratedGradients,
    "SmoothGrad": lambda model: tfs.SmoothGrad(model, samples=4),
    "DeepLIFT": tfs.DeepLIFT,
    "LRP": tfs.LRP,
    "Occlusion": tfs.Occlusion,
    "of another letter": lambda model: tfs.Occlusion(model, baseline="b"),
    "RISE": lambda model: tfs.RISE(model, samples=20),
    "ShapleyValues": tfs.ShapleyValues,
}


@pytest.mark.filterwarnings("ignore:The map has not converged", "ignore:The values of the samples")
@pytest.mark.parametrize("name", TOGETHER)
def test_encodings_that_are_put_together_as_integers_are_explained_as_floats_are(name):
    """Keras gives one-hot and multi-hot codes of integers, which a layer casts behind a concatenation."""

    def built(made):
        keras.utils.set_random_seed(0)
        p, q = keras.Input((1,), dtype="string", name="p"), keras.Input((3,), dtype="string", name="q")
        parts = TOGETHER[name](p, q, made)
        return keras.Model({"p": p, "q": q}, head(layers.Concatenate()(parts) if len(parts) > 1 else parts[0]))

    x = {
        "p": np.array([["a"], ["b"], ["zz"]]),
        "q": np.array([["b", "c", "a"], ["c", "c", "b"], ["a", "zz", "a"]]),
    }
    of_integers, of_floats = built(lambda y: y), built(lambda y: Cast()(y))
    # How the numbers of an encoding are followed is the same for all methods.
    methods = OF_TOGETHER if name == "one-hot beside multi-hot" else ("Gradient", "DeepLIFT", "Occlusion")
    for method in methods:
        found, expected = (OF_TOGETHER[method](model).explain(x, 1) for model in (of_integers, of_floats))
        np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-5)
        for part in x:
            np.testing.assert_allclose(found.values[part], expected.values[part], atol=1e-5, err_msg=method)


def wide_and_deep(cast):
    """Keras casts integers anew for each layer that reads them."""
    column = keras.Input((1,), dtype="string")
    y = cast(letters("one_hot")(column))
    wide, deep = layers.Dense(3)(y), head(layers.Dense(5, activation="relu")(y))
    return keras.Model(column, layers.Add()([wide, deep])), np.array([["a"], ["b"], ["zz"]])


def of_two_types(cast):
    column, encode = keras.Input((1,), dtype="string"), letters("one_hot")
    y = encode(column)
    of_double = layers.Dense(3, dtype="float64")(cast(y))
    deep = head(layers.Dense(5, activation="relu")(cast(y) if isinstance(cast, Cast) else y))
    return keras.Model(column, layers.Add(dtype="float32")([of_double, deep])), np.array([["a"], ["b"], ["zz"]])


def wide_and_deep_of_two(cast):
    p, q = keras.Input((1,), dtype="string", name="p"), keras.Input((3,), dtype="string", name="q")
    y = layers.Concatenate()([cast(letters("one_hot")(p)), cast(letters("count")(q))])
    y = layers.Concatenate()([layers.Dense(3)(y), layers.Dense(5, activation="relu")(y)])
    return keras.Model([p, q], head(y)), [np.array([["a"], ["zz"]]), np.array([["b", "c", "a"], ["c", "c", "b"]])]


def table_read_twice(cast):
    row, embedding = keras.Input((4,), dtype="string"), layers.Embedding(4, 3)
    ids = letters("int")(row)
    first = embedding(ids)
    second = first if isinstance(cast, Cast) else embedding(ids)
    y = layers.Concatenate()([layers.LSTM(4)(first), layers.GRU(4)(second)])
    return keras.Model(row, head(y)), np.array([["b", "c", "a", "a"], ["c", "zz", "b", "c"]])


@pytest.mark.filterwarnings("ignore:The map has not converged", "ignore:The values of the samples")
@pytest.mark.parametrize("method", OF_TOGETHER)
@pytest.mark.parametrize("make", [wide_and_deep, of_two_types, wide_and_deep_of_two, table_read_twice])
def test_numbers_that_are_made_anew_for_each_layer_have_one_slope(make, method):
    found, expected = [], []
    for told, cast in ((found, lambda y: y), (expected, Cast())):
        keras.utils.set_random_seed(0)
        model, x = make(cast)
        explanation = OF_TOGETHER[method](model).explain(x, 1)
        told += [explanation.scores, *tf.nest.flatten(explanation.values)]
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_encodings_that_are_added_as_integers_say_to_cast_them():
    def built(made):
        p, q = keras.Input((1,), dtype="string", name="p"), keras.Input((1,), dtype="string", name="q")
        return keras.Model({"p": p, "q": q}, head(made(letters("one_hot")(p)) + made(letters("one_hot")(q))))

    x = {"p": np.array([["a"], ["b"]]), "q": np.array([["b"], ["b"]])}
    with pytest.raises(ValueError, match=r'Cast each encoding where it is made, y = keras.ops.cast\(y, "float32"\)'):
        tfs.Gradient(built(lambda y: y)).explain(x, 1)
    explanation = tfs.IntegratedGradients(built(lambda y: keras.ops.cast(y, "float32"))).explain(x, 1)
    assert np.abs(explanation.diagnostics["completeness_gap"]).max() < 1e-2
    assert all((np.abs(part) > 1e-3).all() for part in explanation.values.values())
