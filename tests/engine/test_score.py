"""The score of inputs and of copies of them, and its gradient, against the model itself."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfsaliency as tfs
from tests.harness import tape_gradient
from tfsaliency.engine.score import PerSample, TracedScore
from tfsaliency.model.point import point_of
from tfsaliency.model.traced import traced_model
from tfsaliency.target.outputs import as_target

X = np.random.default_rng(0).normal(size=(3, 5)).astype("float32")
# Of other classes than the samples themselves.
COPIES = np.concatenate([-X, X[::-1], 2 * X]).astype("float32")


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input((5,)), layers.Dense(8, activation="tanh"), layers.Dense(4)])


def asked(model, x, question, target=None, first=0):
    """What a question about a score comes to, in a graph as a method has it."""
    specs = tf.nest.map_structure(lambda part: tf.TensorSpec([None, *part.shape[1:]], tf.float32), x)

    @tf.function(input_signature=[specs], autograph=False)
    def run(x):
        chosen = as_target(target)
        given = PerSample(tf.nest.map_structure(tf.constant, chosen.given(3)), {})
        point = point_of(traced_model(model, specs))
        score = TracedScore(point, point.enter(x), chosen, given, tf.constant(8), tf.constant(first))
        return question(score, x)

    return tf.nest.map_structure(np.asarray, run(tf.nest.map_structure(tf.constant, x)))


def test_copies_are_scored_for_the_class_of_their_sample(model):
    logits, of_copies = model(X).numpy(), model(COPIES).numpy()
    top = logits.argmax(axis=1)
    assert (of_copies.argmax(axis=1) != np.tile(top, 3)).any()

    def question(score, x):
        return (
            score.resolve(),
            score.chosen["class"],
            score(tf.constant(COPIES)),
            score.at(tf.constant(COPIES)),
            score(x),
        )

    at_inputs, index, called, at, again = asked(model, X, question)
    np.testing.assert_array_equal(index, top)
    np.testing.assert_allclose(at_inputs, logits.max(axis=1), rtol=1e-5)
    np.testing.assert_array_equal(again, at_inputs)
    expected = of_copies[np.arange(9), np.tile(top, 3)]
    np.testing.assert_allclose(called, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(at, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "ask", [lambda score, x: score(x), lambda score, x: score.gradient(x), lambda score, x: score.forward(x)]
)
def test_copies_before_the_target_is_resolved_are_an_error(model, ask):
    """The first copies would choose the class of all."""

    def early(score, x):
        ask(score, tf.constant(COPIES))

    def in_time(score, x):
        score.resolve()
        ask(score, tf.constant(COPIES))
        return score.chosen["class"]

    with pytest.raises(RuntimeError, match=r"calls score\.resolve\(\) first"):
        asked(model, X, early)
    np.testing.assert_array_equal(asked(model, X, in_time), model(X).numpy().argmax(axis=1))


@pytest.mark.parametrize("ask", [lambda score, x: score(x), lambda score, x: score.gradient(x)[0]])
def test_the_inputs_themselves_resolve_the_target(model, ask):
    scores, index = asked(model, X, lambda score, x: (ask(score, x), score.chosen["class"]))
    np.testing.assert_array_equal(index, model(X).numpy().argmax(axis=1))
    np.testing.assert_allclose(scores, model(X).numpy().max(axis=1), rtol=1e-5)


def test_classes_that_were_given_need_no_resolving(model):
    scores = asked(model, X, lambda score, x: score(tf.constant(COPIES)), target=[2, 0, 3])
    np.testing.assert_allclose(scores, model(COPIES).numpy()[np.arange(9), [2, 0, 3] * 3], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("at", ["inputs", "copies"])
def test_a_tape_and_the_gradient_of_the_score_agree_with_the_model(model, at):
    def question(score, x):
        score.resolve()
        x = x if at == "inputs" else tf.constant(COPIES)
        with tf.GradientTape() as tape:
            tape.watch(x)
            scores = score(x)
        return tape.gradient(scores, x), scores, score.gradient(x)

    by_tape, scores, (own_scores, own) = asked(model, X, question)
    where = X if at == "inputs" else COPIES
    rows = tf.range(len(where))
    index = tf.tile(tf.argmax(model(X), axis=1, output_type=tf.int32), [len(where) // 3])
    values, expected = tape_gradient(lambda x: tf.gather_nd(model(x), tf.stack([rows, index], axis=1)), where)
    for found in (by_tape, own):
        np.testing.assert_allclose(found, values, rtol=1e-4, atol=1e-6)
    for found in (scores, own_scores):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_a_part_without_influence_has_no_gradient():
    parts = [keras.Input((5,)), keras.Input((2,))]
    model = keras.Model(parts, layers.Dense(4)(parts[0]))
    inputs = [X, np.ones((3, 2), "float32")]
    of_first, of_second = asked(model, inputs, lambda score, x: score.gradient(x)[1], target=[1, 1, 1])
    np.testing.assert_allclose(of_first, [model.layers[-1].kernel.numpy()[:, 1]] * 3, rtol=1e-6)
    np.testing.assert_array_equal(of_second, np.zeros((3, 2)))


def test_the_inputs_go_through_the_model_once(model):
    def question(score, x):
        before = score.forward(x)
        score.gradient(x)
        assert score.forward(x) is before
        return [op.type for op in tf.compat.v1.get_default_graph().get_operations()].count("Tanh")

    assert asked(model, X, question) == 1


def test_samples_are_numbered_in_the_whole_batch(model):
    np.testing.assert_array_equal(asked(model, X, lambda score, x: score.numbers, first=7), [7, 8, 9])


def test_a_tensor_inside_the_model_is_replaced(model):
    hidden = np.random.default_rng(1).normal(size=(6, 8)).astype("float32")

    def question(score, x):
        forward = score.forward(x)
        (tanh,) = (op.outputs[0] for op in forward.model.trace.operations if op.type == "Tanh")
        return score.altered(forward, tf.tile(x, [2, 1]), tanh, tf.constant(hidden))

    scores = asked(model, X, question, target=[2, 0, 3])
    np.testing.assert_allclose(scores, model.layers[1](hidden).numpy()[np.arange(6), [2, 0, 3] * 2], rtol=1e-5)


def test_the_head_is_the_target_as_a_network(model):
    def question(score, x):
        forward = score.forward(x)
        head = score.head(forward)
        (scored,) = head.network.outputs
        return head.values(forward)[scored], forward.score

    of_head, expected = asked(model, X, question, tfs.target.margin(1, 2))
    np.testing.assert_allclose(of_head, model(X).numpy()[:, 1] - model(X).numpy()[:, 2], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(expected, of_head, rtol=1e-6)


def test_only_the_outermost_loop_moves_the_progress_bar(model):
    moved = []

    def question(score, x):
        score.advance = moved.append
        with score.silent():
            score.advance(1)
        score.advance(2)
        return tf.constant(0)

    asked(model, X, question)
    assert moved == [2]
