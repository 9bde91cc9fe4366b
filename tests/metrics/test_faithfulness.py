"""Metrics of faithfulness against loops over their definitions, and on models whose truth is known."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfsaliency as tfs
from tests.metrics.harness import COUNTED, FAITHFUL, PICTURES, PLACES, known, picture_model, with_map
from tfsaliency.engine.ask import ask
from tfsaliency.metrics.cells import cells_of

RANDOM_MAPS = 20


def explained(model, inputs, target=None, method=tfs.GradientTimesInput):
    return method(model).explain(inputs, target)


@pytest.mark.parametrize("kind", ["sum", "and", "or"])
@pytest.mark.parametrize("name", FAITHFUL)
def test_the_truth_is_best_its_inverse_worst_and_random_maps_between(name, kind):
    """Of 20 random maps none beats the truth or falls below its inverse, and their mean is strictly between.

    Some metrics cannot see some evidence: of several columns each of which is enough, no single one costs anything.
    """
    model, x, truth = known(kind)
    metric = FAITHFUL[name](model)
    if kind == "or" and isinstance(metric, tfs.metrics.MuFidelity | tfs.metrics.Infidelity):
        # A fifth of the columns never holds all four that count.
        metric = dataclasses.replace(metric, share=0.5)
    base = explained(model, x, lambda z: z[:, 0])
    draws = np.random.default_rng(0).normal(size=(RANDOM_MAPS, *truth.shape)).astype("float32")

    def value(values):
        return metric.measure(with_map(base, values), lambda z: z[:, 0]).values[0]

    sign = 1 if metric.better == "higher" else -1
    best, worst = sign * value(truth), sign * value(-truth)
    random = np.array([sign * value(draw) for draw in draws])
    if (name, kind) == ("SingleDeletion", "or"):
        assert np.isnan([best, worst, *random]).all()
        return
    assert random.mean() < best - 1e-3
    if (name, kind) != ("Infidelity", "or"):
        # No straight line predicts what all four cost together.
        assert (random <= best + 1e-9).all()
    if name == "Infidelity":
        # The scale of a map is free, its sign too: the inverse is the truth.
        assert worst == pytest.approx(best)
        return
    assert (random >= worst - 1e-9).all()
    # Most random choices miss one of four columns, as the inverse does.
    assert random.mean() > worst + 1e-3 or (name, kind) in (("Comprehensiveness", "or"), ("Sufficiency", "and"))


def hand_made_curve(model, x, order, steps, fill, target, insert=False):
    """Deletion or insertion, one place after the other, in NumPy."""
    flat, filled = x.reshape(-1, x.shape[-1]), fill.reshape(-1, x.shape[-1])
    points = []
    for step in range(steps + 1):
        count = round(step / steps * len(flat))
        seen = (filled if insert else flat).copy()
        seen[order[:count]] = (flat if insert else filled)[order[:count]]
        points.append((count / len(flat), model(seen.reshape(1, *x.shape)).numpy()[0, target]))
    return np.trapezoid([p for _, p in points], [share for share, _ in points]), [p for _, p in points]


@pytest.mark.parametrize("fill", ["mean", "blurred", 0.3])
@pytest.mark.parametrize("insert", [False, True])
def test_curves_of_pictures_are_those_of_a_loop(insert, fill):
    model = picture_model()
    explanation = explained(model, PICTURES)
    option = {"mean": tfs.baselines.mean(), "blurred": tfs.baselines.blurred(2.0)}.get(fill, fill)
    filled = {
        "mean": lambda x: np.broadcast_to(x.mean(axis=(0, 1)), x.shape),
        "blurred": lambda x: tfs.tensors.blur.blur(tf.constant(x[None]), tf.constant([2.0]))[0].numpy(),
    }.get(fill, lambda x: np.full(x.shape, fill, "float32"))
    metric = (tfs.metrics.Insertion if insert else tfs.metrics.Deletion)(model, option, steps=7)
    found = metric.measure(explanation)
    for number, x in enumerate(PICTURES):
        order = np.argsort(-explanation.values[number].sum(axis=-1).reshape(-1), kind="stable")
        of_class = explanation.target[number]
        area, curve = hand_made_curve(model, x, order, 7, np.array(filled(x)), of_class, insert)
        np.testing.assert_allclose(found.details["curve"][number], curve, atol=1e-5)
        assert found.values[number] == pytest.approx(area, abs=1e-5)
    assert found.of == "the probability of the class"
    assert found.bounds == (0, 1)


def test_least_relevant_first_and_the_area_between():
    model = picture_model()
    explanation = explained(model, PICTURES)
    least = tfs.metrics.Deletion(model, 0, steps=5, first="least").measure(explanation).values
    reversed_map = with_map(explanation, -explanation.values)
    np.testing.assert_allclose(least, tfs.metrics.Deletion(model, 0, steps=5).measure(reversed_map).values, atol=1e-6)
    most = tfs.metrics.Deletion(model, 0, steps=5).measure(explanation).values
    np.testing.assert_allclose(tfs.metrics.ABPC(model, 0, steps=5).measure(explanation).values, least - most)


def test_equal_relevance_is_in_an_order_of_no_preference():
    """A constant map gets what random maps get: no corner comes first."""
    model, x, truth = known("sum")
    base = explained(model, x, lambda z: z[:, 0])
    constant = with_map(base, np.ones_like(truth))
    curve = tfs.metrics.Deletion(model, steps=PLACES).measure(constant, lambda z: z[:, 0]).details["curve"][0]
    lost = np.flatnonzero(np.diff(curve) < -1e-6)
    assert len(lost) == len(COUNTED)
    assert lost.tolist() != list(COUNTED)


def definition_of_subsets(model, explanation, number, cells, hidden, fill):
    """For each set of cells, the sum of the map and what the logit loses, one forward pass after the other."""
    x = explanation.inputs[number]
    relevance = explanation.values[number].sum(axis=-1).reshape(-1)
    logits = keras.Model(model.input, model.layers[-1].input)
    kernel, bias = model.layers[-1].get_weights()

    def score(inputs):
        return (logits(inputs[None]).numpy() @ kernel + bias)[0, explanation.target[number]]

    told, lost = [], []
    for set_of_cells in hidden:
        places = set_of_cells[cells]
        seen = np.where(places.reshape(*x.shape[:2], 1), np.float32(fill), x)
        told.append(relevance[places].sum())
        lost.append(score(x) - score(seen))
    return np.array(told), np.array(lost)


def spearman(one, other):
    """Of numbers without ties."""
    ranks = [np.argsort(np.argsort(each)) for each in (one, other)]
    return np.corrcoef(*ranks)[0, 1]


def test_mufidelity_infidelity_and_single_deletion_are_their_definitions():
    model = picture_model()
    explanation = explained(model, PICTURES)
    fill = 0.25
    mu = tfs.metrics.MuFidelity(model, fill, masks=30, across=4)
    infidelity = tfs.metrics.Infidelity(model, fill, masks=30, across=4)
    single = tfs.metrics.SingleDeletion(model, fill, across=3)
    found = {metric: metric.measure(explanation) for metric in (mu, infidelity, single)}
    for number in range(len(PICTURES)):
        for metric, across in ((mu, 4), (infidelity, 4), (single, 3)):
            rows, columns = (np.arange(size) * across // size for size in (12, 10))
            cells = (rows[:, None] * across + columns).reshape(-1)
            told, lost = definition_of_subsets(model, explanation, number, cells, metric.hidden(across**2), fill)
            if metric is infidelity:
                scale = (told * lost).sum() / (told**2).sum()
                expected = ((scale * told - lost) ** 2).sum() / (lost**2).sum()
            else:
                expected = spearman(told, lost)
            assert found[metric].values[number] == pytest.approx(expected, abs=2e-3)
    hidden = mu.hidden(16)
    assert (hidden.sum(axis=1) == 3).all()
    assert len(np.unique(hidden, axis=0)) > 25


def test_the_standard_error_of_mufidelity_is_its_spread_over_masks():
    model = picture_model()
    explanation = explained(model, PICTURES)
    runs = [tfs.metrics.MuFidelity(model, masks=60, across=6, seed=seed).measure(explanation) for seed in range(40)]
    spread = np.std([run.values for run in runs], axis=0)
    told = np.mean([run.details["standard_error"] for run in runs], axis=0)
    assert (told / spread > 0.7).all()
    assert (told / spread < 1.45).all()


def test_cells_are_of_equal_size_and_differ_between_parts():
    cells = cells_of([(4, 6), (5,), ()], across=2)
    assert cells[:24].reshape(4, 6)[:, [0, 3]].tolist() == [[0, 1], [0, 1], [2, 3], [2, 3]]
    assert cells[24:].tolist() == [4, 4, 5, 6, 7, 8]


def test_batch_mates_order_and_chunks_change_nothing():
    model = picture_model()
    explanation = explained(model, PICTURES)
    backwards = tfs.GradientTimesInput(model).explain(PICTURES[::-1], explanation.target[::-1])
    alone = tfs.GradientTimesInput(model).explain(PICTURES[1:2], explanation.target[1:2])
    for make in FAITHFUL.values():
        together = make(model).measure(explanation).values
        np.testing.assert_allclose(make(model).measure(backwards).values[::-1], together, atol=2e-5)
        np.testing.assert_allclose(make(model).measure(alone).values, together[1:2], atol=2e-5)


def test_several_maps_are_measured_as_each_alone_and_ask_the_model_once():
    model = picture_model()
    first = explained(model, PICTURES)
    maps = [first, explained(model, PICTURES, method=tfs.Gradient)]
    for make in FAITHFUL.values():
        metric = make(model)
        together = metric.measure_each(maps)
        for one, other in zip(together, [metric.measure(each) for each in maps], strict=True):
            np.testing.assert_allclose(one.values, other.values, atol=1e-6)
    asked = []

    def counting(x):
        asked.append(len(x))
        return model(x).numpy()

    boxed = tfs.Occlusion(counting, window=6).explain(PICTURES, first.target)
    asked.clear()
    tfs.metrics.MuFidelity(counting, masks=20).measure_each([boxed] * 5)
    assert sum(asked) < 2 * 20 * len(PICTURES)


def test_a_curve_asks_the_model_once_for_each_step_and_once_for_the_inputs():
    """So do masks: the scores, the choice and the probabilities of the inputs as they are come from one pass."""
    # A list that has grown would be a change of the model, which is traced again.
    rows = tf.Variable(0)

    def count(part):
        rows.assign_add(len(part))
        return part

    class Counting(layers.Layer):
        def call(self, x):
            return tf.ensure_shape(tf.numpy_function(count, [x], tf.float32), x.shape)

    x = keras.Input((PLACES,))
    keras.utils.set_random_seed(0)
    model = keras.Model(x, layers.Dense(3, "softmax")(Counting()(x)))
    inputs = np.random.default_rng(0).normal(size=(5, PLACES)).astype("float32")
    explanation = tfs.Occlusion(model, window=1, stride=1).explain(inputs)
    for metric in (
        tfs.metrics.Deletion(model, steps=20),
        tfs.metrics.Insertion(model, steps=20),
        tfs.metrics.MuFidelity(model, masks=20),
    ):
        metric.measure(explanation)
        rows.assign(0)
        metric.measure(explanation)
        assert rows.numpy() == 21 * len(inputs), metric


def test_masks_of_all_samples_are_sent_once(monkeypatch):
    model = picture_model()
    explanation = explained(model, PICTURES)
    sent = []

    def telling(*given, beside, **options):
        sent.append(beside["kept"].shape)
        return ask(*given, beside=beside, **options)

    monkeypatch.setattr("tfsaliency.metrics.subject.ask", telling)
    tfs.metrics.MuFidelity(model, masks=30).measure(explanation)
    tfs.metrics.Deletion(model, steps=4).measure(explanation)
    assert sent == [(1, 30, 120), (3, 4, 120)]


def test_chunks_of_samples_and_blocks_of_masks_change_nothing(monkeypatch):
    """Two samples at a time, and seven masks: the last block of thirty begins early."""
    explanation = explained(picture_model(), PICTURES)

    def measured():
        model = picture_model()
        metrics = tfs.metrics.MuFidelity(model, masks=30), tfs.metrics.Deletion(model, steps=16)
        return [metric.measure(explanation).values for metric in metrics]

    whole = measured()
    monkeypatch.setattr("tfsaliency.engine.compiled.rows_for", lambda row_bytes: 2)
    monkeypatch.setattr("tfsaliency.metrics.subject.MASK_BYTES", 7 * 120)
    np.testing.assert_allclose(measured(), whole, atol=1e-6)


def text_model():
    keras.utils.set_random_seed(3)
    ids = keras.Input((7,), dtype="int32")
    y = layers.LSTM(5)(layers.Embedding(11, 4, mask_zero=True)(ids))
    return keras.Model(ids, layers.Dense(3, "softmax")(y))


IDS = np.array([[3, 4, 5, 1, 0, 0, 0], [9, 2, 2, 7, 8, 10, 1]])


def test_hidden_tokens_have_the_vector_of_padding_and_padding_is_no_token():
    """Against the network behind the lookup, whose mask stays that of the text as it is."""
    model = text_model()
    table = model.layers[1].get_weights()[0]
    explanation = explained(model, IDS, [1, 2], tfs.DeepLIFT)
    drops = tfs.metrics.Comprehensiveness(model, shares=(0.3, 0.6)).measure(explanation).details["drop"]
    vectors = keras.Input((7, 4))
    mask = keras.Input((7,), dtype="bool")
    lstm = layers.LSTM(5)
    behind = keras.Model([vectors, mask], layers.Dense(3, "softmax")(lstm(vectors, mask=mask)))
    behind.set_weights(model.get_weights()[1:])
    for number, row in enumerate(IDS):
        length = (row != 0).sum()
        order = np.argsort(-explanation.values[number][:length])
        for place, share in enumerate((0.3, 0.6)):
            taken = order[: int(np.ceil(share * length))]
            seen = table[row].copy()
            seen[taken] = table[0]
            asked = [seen[None], (row != 0)[None]]
            of_class = (1, 2)[number]
            expected = model(row[None]).numpy()[0, of_class] - behind(asked).numpy()[0, of_class]
            assert drops[number, place] == pytest.approx(expected, abs=1e-6)


def test_zeros_of_a_table_of_integers_are_no_padding():
    """Gradient times input gives them exactly 0. The numbers of a table are those of the same table of floats."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((5,)), layers.Dense(8, "relu"), layers.Dense(3, "softmax")])
    integers = np.array([[3, 0, 2, 0, 0], [0, 1, 0, 4, 5], [1, 2, 3, 4, 0]])
    for metric in (tfs.metrics.Deletion, tfs.metrics.Insertion, tfs.metrics.Comprehensiveness):
        of_integers, of_floats = (
            metric(model, fill=5.0).measure(explained(model, x, [0, 1, 2], tfs.GradientTimesInput))
            for x in (integers, integers.astype("float32"))
        )
        np.testing.assert_array_equal(of_integers.values, of_floats.values)
    curve = tfs.metrics.Deletion(model, fill=5.0, steps=5).measure(explained(model, integers, 1)).details["curve"]
    np.testing.assert_allclose(curve[:, -1], model(np.full((3, 5), 5.0))[:, 1], rtol=1e-5)


def test_an_id_as_fill_is_that_id():
    model = text_model()
    explanation = explained(model, IDS[1:], 1, tfs.DeepLIFT)
    found = tfs.metrics.Deletion(model, fill=6, steps=7).measure(explanation).details["curve"][0]
    order, row = np.argsort(-explanation.values[0]), IDS[1].copy()
    for step in range(8):
        assert found[step] == pytest.approx(model(row[None]).numpy()[0, 1], abs=1e-6)
        if step < 7:
            row[order[step]] = 6


@pytest.mark.parametrize("output_mode", ["int", "multi_hot", "count"])
def test_hidden_words_of_a_text(output_mode):
    """A word of a bag is taken out of the count."""
    vectorizer = layers.TextVectorization(
        12, output_mode=output_mode, **({"output_sequence_length": 5} if output_mode == "int" else {})
    )
    vectorizer.adapt(["a good film", "a bad film", "no film"])
    keras.utils.set_random_seed(0)
    text = keras.Input((), dtype="string")
    y = vectorizer(text)
    y = layers.Flatten()(layers.Embedding(12, 4, name="table")(y)) if output_mode == "int" else y
    model = keras.Model(text, layers.Dense(2, "softmax")(layers.Dense(4, "tanh")(y)))
    texts = np.array(["a good film", "bad bad film indeed"])
    explanation = explained(model, texts, 1, tfs.DeepLIFT)
    metric = tfs.metrics.Comprehensiveness(model, fill=tfs.baselines.zeros(), shares=(0.01,))
    drop = metric.measure(explanation).values
    inside = keras.Model(y, model.output)
    for number in range(2):
        best = np.where(explanation.tokens[number] == "", -np.inf, explanation.values[number]).argmax()
        given = np.asarray(y_of := keras.Model(text, y)(tf.constant(texts[number : number + 1]))).copy()
        if output_mode == "int":
            given.reshape(5, 4)[best] = 0
        else:
            word = explanation.tokens[number][best]
            cell = vectorizer.get_vocabulary().index(word) if word in vectorizer.get_vocabulary() else 0
            occurrences = sum(
                (each if each in vectorizer.get_vocabulary() else "") == (word if cell else "")
                for each in explanation.tokens[number]
                if each
            )
            given[0, cell] *= 1 - 1 / occurrences
        expected = np.asarray(inside(y_of))[0, 1] - np.asarray(inside(given))[0, 1]
        assert drop[number] == pytest.approx(expected, abs=1e-6)


def test_tables_of_several_parts_and_series():
    keras.utils.set_random_seed(0)
    series, row = keras.Input((6, 2), name="series"), keras.Input((3,), name="row")
    y = layers.Concatenate()([layers.GRU(4)(series), row])
    model = keras.Model({"series": series, "row": row}, layers.Dense(2)(y))
    generator = np.random.default_rng(0)
    inputs = {
        "series": generator.normal(size=(2, 6, 2)).astype("float32"),
        "row": generator.normal(size=(2, 3)).astype("float32"),
    }
    explanation = explained(model, inputs, 1)
    curve = tfs.metrics.Deletion(model, steps=9).measure(explanation).details["curve"]
    # Parts in the order of their names.
    relevance = np.concatenate([explanation.values["row"], explanation.values["series"].sum(axis=-1)], axis=1)
    for number in range(2):
        order = np.argsort(-relevance[number])
        for step in range(10):
            seen = {name: part[number : number + 1].copy() for name, part in inputs.items()}
            for place in order[:step]:
                if place < 3:
                    seen["row"][0, place] = 0
                else:
                    seen["series"][0, place - 3] = 0
            assert curve[number, step] == pytest.approx(model(seen).numpy()[0, 1], abs=1e-5)


def test_a_sigmoid_has_the_probability_of_the_class_that_is_explained():
    model = keras.Sequential([keras.Input((3,)), layers.Dense(1, "sigmoid")])
    model.set_weights([np.array([[1.0], [2.0], [-1.0]]), np.array([-0.2])])
    x = np.array([[1, 1, 1], [0.1, -0.2, 0.9]], "float32")
    explanation = explained(model, x)
    assert explanation.target.tolist() == [1, 0]
    start = tfs.metrics.Deletion(model, steps=3).measure(explanation).details["curve"][:, 0]
    of_one = model(x).numpy()[:, 0]
    np.testing.assert_allclose(start, [of_one[0], 1 - of_one[1]], atol=1e-6)


def test_another_model_or_target_is_refused():
    model, other = picture_model(), keras.models.clone_model(picture_model())
    explanation = explained(model, PICTURES)
    with pytest.raises(ValueError, match="Pass the model that was explained"):
        tfs.metrics.Deletion(other).measure(explanation)
    of_logits = explained(model, PICTURES, lambda z: z[:, 0] - z[:, 2])
    with pytest.raises(ValueError, match="target= as it was passed"):
        tfs.metrics.MuFidelity(model).measure(of_logits)
    measured = tfs.metrics.MuFidelity(model).measure(of_logits, lambda z: z[:, 0] - z[:, 2])
    assert measured.of == "the score"
    both = tfs.Gradient(model).explain(PICTURES, tfs.target.each([0, 1]))
    with pytest.raises(ValueError, match="for one in explanation.each"):
        tfs.metrics.Entropy().measure(both)


def test_a_contrast_keeps_its_choice_when_places_are_hidden():
    model = picture_model()
    target = tfs.target.contrast()
    explanation = explained(model, PICTURES, target)
    curve = tfs.metrics.Deletion(model, 0.0, steps=4).measure(explanation, target).details["curve"]
    logits = np.log(model(np.zeros((1, 12, 10, 3), "float32")).numpy()[0])
    winner, foil = explanation.target, explanation.diagnostics["foil"]
    np.testing.assert_allclose(curve[:, -1], logits[winner] - logits[foil], atol=1e-4)


def test_files_can_be_measured(tmp_path):
    model = picture_model()
    explanation = explained(model, PICTURES)
    explanation.save(tmp_path / "map.npz")
    metric = tfs.metrics.ABPC(model, steps=4)
    again = metric.measure(tfs.Explanation.load(tmp_path / "map.npz"))
    np.testing.assert_array_equal(again.values, metric.measure(explanation).values)


def test_completeness_is_zero_for_a_linear_model_and_known_for_others():
    model = keras.Sequential([keras.Input((3,)), layers.Dense(2)])
    x = np.array([[1.0, 2.0, 3.0], [0.5, -1.0, 2.0]], "float32")
    explanation = tfs.GradientTimesInput(model).explain(x, 1)
    assert tfs.metrics.CompletenessGap(model).measure(explanation).values.max() < 1e-5
    doubled = with_map(explanation, 2 * explanation.values)
    np.testing.assert_allclose(tfs.metrics.CompletenessGap(model).measure(doubled).values, 1, atol=1e-5)
    with pytest.raises(tfs.metrics.InapplicableError, match="Only contributions add up"):
        tfs.metrics.CompletenessGap(model).measure(explanation.map(tfs.transforms.absolute))


def test_wrong_options_are_refused():
    model = picture_model()
    for make, message in (
        (lambda: tfs.metrics.Deletion(model, steps=0), "steps is a whole number"),
        (lambda: tfs.metrics.Deletion(model, first="best"), "first is one of 'most', 'least'"),
        (lambda: tfs.metrics.MuFidelity(model, share=1), "share is between 0 and 1"),
        (lambda: tfs.metrics.MuFidelity(model, share="a"), "share is between 0 and 1. Received: 'a'"),
        (lambda: tfs.metrics.Sufficiency(model, shares=()), "shares is a tuple of numbers between 0 and 1"),
        (lambda: tfs.metrics.ROAD(model, shares=("a",)), "shares is a tuple of numbers between 0 and 1"),
        (lambda: tfs.metrics.ROAD(model, shares=0.5), r"as \(0.1, 0.5\). Received: 0.5"),
        (lambda: tfs.metrics.Deletion(model).measure(np.ones((1, 3))), "measures an explanation.*Received: ndarray"),
        (lambda: tfs.metrics.Gini().measure(None), "measures an explanation.*Received: NoneType"),
    ):
        with pytest.raises(ValueError, match=message):
            make()
    table = keras.Sequential([keras.Input((3,)), layers.Dense(2)])
    explanation = tfs.Gradient(table).explain(np.ones((1, 3)))
    with pytest.raises(ValueError, match=r"baseline=table.mean\(axis=0\)"):
        tfs.metrics.Deletion(table, tfs.baselines.mean()).measure(explanation)
