"""Each check of explainers fails for an explainer that is broken in that one way."""

import dataclasses
import random
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfsaliency as tfs
from tests.testing.broken import registering_in
from tfsaliency.testing import CheckFailed, check_explainer, explainer_checks
from tfsaliency.testing.of_explainers import QUESTIONS

BROKEN = {}
breaks = registering_in(BROKEN)


class Values(tfs.Gradient):
    """A gradient whose values are changed."""

    def attribute(self, x, score):
        _, values = score.gradient(x)
        return tfs.Attribution(tf.nest.map_structure(lambda part, given: self.change(part, given), values, x))


class Answer(tfs.Gradient):
    """A gradient whose explanation is changed, behind the checks."""

    def explain(self, inputs, target=None, **options):
        return self.change(super().explain(inputs, target, **options))


class Asked(tfs.Gradient):
    """A gradient that changes the question, before the checks."""

    def explain(self, inputs, target=None, **options):
        return super().explain(*self.change(inputs, target), **options)


@breaks("answers", "float32 values. Found: float64")
class InFloat64(Values):
    def change(self, part, given):
        return tf.cast(part, tf.float64)


@breaks("answers", "values of a shape of")
class OneNumber(Values):
    def change(self, part, given):
        return tf.reduce_sum(part, axis=[1, 2, 3])


@breaks("answers", "ValueError: The values of the samples")
class NotFinite(Values):
    def change(self, part, given):
        return part / 0.0


@breaks("the score", "the scores of the model")
class OtherScores(Answer):
    def change(self, found):
        return dataclasses.replace(found, scores=found.scores * 2)


@breaks("the score", "target=None to explain the classes")
class AnotherTop(Asked):
    def change(self, inputs, target):
        return inputs, 3 if target is None else target


@breaks("rows alone", "row 0 alone as it is among others")
class OfTheBatch(Values):
    def change(self, part, given):
        return part / tf.reduce_max(tf.abs(part))


@breaks("order of rows", "the values to follow the rows")
class ByPlace(Values):
    def change(self, part, given):
        return part * tf.cast(tf.range(1, tf.shape(part)[0] + 1), tf.float32)[:, None, None, None]


@breaks("device batches", "the same values with batch_size=1")
class ByNumberOfRows(Values):
    def change(self, part, given):
        return part / tf.cast(tf.shape(part)[0], tf.float32)


@breaks("one class per row", "as each row alone")
class FirstClass(Asked):
    def change(self, inputs, target):
        return inputs, target[0] if isinstance(target, list) else target


@breaks("same again", "the same values at the second call")
class Drawing(Values):
    def change(self, part, given):
        return part + 0.1 * tf.random.normal(tf.shape(part))


@breaks("traced anew", "after tfsaliency.forget")
@breaks("leaves random numbers", "NumPy's random numbers")
class DrawnByNumPy(Values):
    def change(self, part, given):
        return part * np.random.uniform(0.5, 1.5)


@breaks("traced anew", "after tfsaliency.forget")
@breaks("leaves random numbers", "Python's random numbers")
class DrawnByPython(Values):
    def change(self, part, given):
        return part * random.uniform(0.5, 1.5)


@breaks("leaves random numbers", "TensorFlow's seed")
class Seeding(tfs.Gradient):
    def attribute(self, x, score):
        with tf.init_scope():
            tf.random.set_seed(random.SystemRandom().randrange(10**6))
        return super().attribute(x, score)


@breaks("key", "another key for another power")
@dataclass(frozen=True, eq=False)
class KeyWithoutOption(tfs.Gradient):
    power: int = 2

    def key(self):
        return KeyWithoutOption


@breaks("key", "equal keys for equal explainers")
class KeyOfItself(tfs.Gradient):
    def key(self):
        return id(self)


@breaks("key", r"the attributes \['power'\]")
class HiddenOption(tfs.Gradient):
    def __init__(self, model, power=2):
        super().__init__(model)
        object.__setattr__(self, "power", power)


@breaks("leaves the model", "changed: weight 0")
class MovingAWeight(tfs.Gradient):
    def explain(self, inputs, target=None, **options):
        found = super().explain(inputs, target, **options)
        self.model.weights[0].assign_add(1e-6 * tf.ones_like(self.model.weights[0]))
        return found


@breaks("leaves the model", "trainable of layer")
class Freezing(tfs.Gradient):
    def attribute(self, x, score):
        self.model.layers[1].trainable = not self.model.layers[1].trainable
        return super().attribute(x, score)


@breaks("leaves the model", "attribute seen of layer")
class Marking(tfs.Gradient):
    def attribute(self, x, score):
        self.model.layers[1].seen = getattr(self.model.layers[1], "seen", 0) + 1
        return super().attribute(x, score)


@breaks("leaves the explainer", r"changed: \['last'\]")
class Remembering(tfs.Gradient):
    def explain(self, inputs, target=None, **options):
        found = super().explain(inputs, target, **options)
        object.__setattr__(self, "last", found)
        return found


@breaks("leaves the explainer", "writable ones")
class Writable(tfs.Gradient):
    def explain(self, inputs, target=None, **options):
        found = super().explain(inputs, target, **options)
        object.__setattr__(found, "values", found.values.copy())
        return found


@breaks("new weights", "the map of the new weights")
class FrozenWeights(tfs.Gradient):
    def attribute(self, x, score):
        _, values = score.gradient(x)
        with tf.init_scope():
            mean = np.abs(self.model.weights[0].numpy()).mean()
        return tfs.Attribution(values * mean)


@breaks("new weights", "another map for other weights")
class OfTheInput(Values):
    def change(self, part, given):
        return given


@breaks("new target", "the map of what the function now reads")
class KeepingTargets(tfs.Gradient):
    kept: ClassVar[dict] = {}

    def explain(self, inputs, target=None, **options):
        if callable(target) and id(target) in self.kept:
            return self.kept[id(target)]
        found = super().explain(inputs, target, **options)
        return self.kept.setdefault(id(target), found) if callable(target) else found


@breaks("the class matters", "the same map for the classes 0 and 1")
class OfNoClass(Asked):
    def change(self, inputs, target):
        return inputs, 1 if isinstance(target, int) else target


@breaks("margins", "the difference of two logits")
class OfOneClass(Asked):
    def change(self, inputs, target):
        return inputs, 1 if isinstance(target, tfs.target.margin(0, 1).__class__) else target


@breaks("meaning", "no negative number")
class UnsaidMagnitude(Values):
    def change(self, part, given):
        return tf.abs(part)


@breaks("the sum", "complete within 1%")
class LosingHalf(tfs.IntegratedGradients):
    def attribute(self, x, score):
        values, diagnostics = super().attribute(x, score)
        sums = tf.reduce_sum(values, axis=[1, 2, 3])
        return tfs.Attribution(values / 2, diagnostics | {"completeness_gap": -sums / 2})


@breaks("the sum", "the sum less its gap to be the score")
class HidingItsGap(tfs.LRP):
    def attribute(self, x, score):
        values, diagnostics = super().attribute(x, score)
        return tfs.Attribution(2 * values, diagnostics)


@breaks("wrong inputs", "ValueError for inputs of NaN. Found: an answer")
class TakingNaN(Asked):
    def change(self, inputs, target):
        return np.nan_to_num(inputs), target


@breaks("wrong inputs", "ValueError for an empty batch. Found: ZeroDivisionError")
class Dividing(Asked):
    def change(self, inputs, target):
        return inputs, (1 // len(inputs)) * 0 + target


@breaks("wrong targets", "ValueError for a class out of range. Found: an answer")
class Clipping(Asked):
    def change(self, inputs, target):
        return inputs, min(target, 3) if isinstance(target, int) else target


@breaks("model without weights", "ValueError for a model without weights. Found: an answer")
class Building(tfs.Gradient):
    def explain(self, inputs, target=None, **options):
        self.model(inputs)
        return super().explain(inputs, target, **options)


@breaks("model without weights", "TypeError for a path as model")
class AnyModel(tfs.Gradient):
    def __post_init__(self):
        pass


@breaks("save and load", "TypeError")
class NotingObjects(Answer):
    def change(self, found):
        return dataclasses.replace(found, provenance={**found.provenance, "when": {1, 2}})


@breaks("the record", "without addresses")
class Address(tfs.Gradient):
    def __str__(self):
        return object.__repr__(self)


@breaks("the record", "a complete provenance")
class NoProvenance(Answer):
    def change(self, found):
        return dataclasses.replace(found, provenance={})


@breaks("the record", r"diagnostics\['slope'\] of one number per row")
class WideDiagnostics(tfs.Gradient):
    def attribute(self, x, score):
        _, values = score.gradient(x)
        return tfs.Attribution(values, {"slope": values})


@breaks("under a wrapper", "SmoothGrad without noise as the method itself")
class AveragingRows(Values):
    def change(self, part, given):
        return part * tf.cast(tf.shape(part)[0], tf.float32)


@breaks("under a wrapper", "a failed operation")
class OfTheBatchAsGiven(tfs.Gradient):
    def attribute(self, x, score):
        _, values = score.gradient(x)
        return tfs.Attribution(values * tf.reshape(tf.cast(score.numbers * 0 + 1, tf.float32), [-1, 1, 1, 1]))


@breaks("followed by a transform", "twice the values")
class ThenIgnored(tfs.Gradient):
    def then(self, transform):
        return self


@breaks("types of numbers", "float64 as float32")
class ScalingDoubles(Asked):
    def change(self, inputs, target):
        return inputs / 2 if inputs.dtype == np.float64 else inputs, target


@breaks("types of numbers", "uint8 as the same numbers")
class ScalingIntegers(Asked):
    def change(self, inputs, target):
        return inputs / 255 if inputs.dtype == np.uint8 else inputs, target


@breaks("lists and dicts", "values in a list")
class FirstPart(tfs.Gradient):
    def attribute(self, x, score):
        _, values = score.gradient(x)
        return tfs.Attribution(tf.nest.flatten(values)[0])


@breaks("lists and dicts", "AttributeError")
class OnePart(tfs.Gradient):
    def attribute(self, x, score):
        return tfs.Attribution(score.gradient(x)[1] * tf.ones([x.shape[-1]]))


@breaks("a table", "IndexError")
class OfFourAxes(Values):
    def change(self, part, given):
        return part * given.shape[3]


@breaks("a constant model", "without a word")
class InputAsMap(Values):
    def change(self, part, given):
        return part + given


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_explainer_is_found(case):
    name, broken, message = BROKEN[case]
    checks = {check.name: check for check in explainer_checks(broken)}
    seed = tf.compat.v1.get_seed(1)[0]
    try:
        with pytest.raises(CheckFailed, match=message) as failure:
            checks[name]()
    finally:
        tf.random.set_seed(seed)
    assert str(failure.value).startswith(f"{name}: Expected: ")


def test_every_check_is_seen_failing():
    assert {name for name, _, _ in BROKEN.values()} == set(QUESTIONS)


def test_all_failures_are_listed_at_once():
    with pytest.raises(AssertionError) as failure:
        check_explainer(OfTheBatch)
    lines = str(failure.value).splitlines()
    assert lines[0].startswith("OfTheBatch: ") and f"of {len(QUESTIONS)} checks failed" in lines[0]
    assert {"- rows alone", "- device batches"} <= {line.partition(":")[0] for line in lines[1:]}


def test_without_an_answer_one_check_fails_and_the_others_do_not_apply():
    with pytest.raises(AssertionError, match=f"1 of {len(QUESTIONS)} checks failed\n- answers: .*not finite"):
        check_explainer(NotFinite)


def test_an_excuse():
    excused = partial(explainer_checks, UnsaidMagnitude, excuses={"meaning": "it is a test"})
    outcome = {check.name: check for check in excused()}["meaning"]()
    assert (outcome.verdict, outcome.message) == ("excused", "it is a test")
    checks = explainer_checks(tfs.Gradient, excuses={"meaning": "none is needed"})
    with pytest.raises(CheckFailed, match="Take the excuse away"):
        {check.name: check for check in checks}["meaning"]()
    with pytest.raises(ValueError, match="Received: 'meanings': 'why'. The checks are: answers, "):
        explainer_checks(tfs.Gradient, excuses={"meanings": "why"})


def test_a_model_of_the_users_own():
    """A method that refuses pictures is checked on a series."""

    @dataclass(frozen=True, eq=False)
    class Series(tfs.Gradient):
        def check_options(self, inputs):
            if np.ndim(inputs) != 3:
                raise ValueError("Series takes (N, steps, channels). Received: something else.")

    with pytest.raises(AssertionError, match=r"- answers: .*Series takes.*is checked with model= and inputs="):
        check_explainer(Series)
    keras.utils.set_random_seed(0)
    layers = [keras.Input((7, 2)), keras.layers.Conv1D(4, 3, activation="tanh"), keras.layers.GlobalAveragePooling1D()]
    model = keras.Sequential([*layers, keras.layers.Dense(3, "softmax")])
    weights = model.get_weights()
    record = check_explainer(Series, model, np.random.default_rng(0).normal(size=(3, 7, 2)))
    refused = {each.name for each in record.outcomes if each.verdict == "refused"}
    assert refused == {"lists and dicts", "a table", "a constant model"}
    for before, after in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)
    with pytest.raises(ValueError, match="given together"):
        explainer_checks(Series, model)


def test_the_record_is_read_line_by_line():
    record = check_explainer(tfs.Gradient)
    lines = str(record).splitlines()
    assert lines[0] == f"Gradient: {len(QUESTIONS) - 1} passed, 1 does not apply"
    assert "passed         rows alone" in lines
    assert any(line.startswith("does not apply the sum: the method promises no sum") for line in lines)
