"""The checks of a model: whether its maps are what a user takes them for."""

import tempfile
import warnings
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfsaliency.base.structure import flatten
from tfsaliency.engine.compiled import forget, traced
from tfsaliency.engine.inputs import check_inputs
from tfsaliency.explainer import Explainer
from tfsaliency.explanation import Explanation
from tfsaliency.methods.activations import GradCAM
from tfsaliency.methods.backward import LRP, DeepLIFT
from tfsaliency.methods.gradients import Gradient, SmoothGrad
from tfsaliency.methods.paths import IntegratedGradients
from tfsaliency.target.outputs import as_target
from tfsaliency.testing.compare import ROUNDING, distance, expect_same, may_refuse, rows
from tfsaliency.testing.in_float64 import score_in_float64
from tfsaliency.testing.record import Check, DoesNotApply, Record, by_name, checks_of, expect, run_all
from tfsaliency.testing.state import changed, state_of_chance, state_of_model

# Part of the model computes in 16 bits: two units in the last place.
COARSE = 2e-2
# How far the slope of the score may be from the gradient, as a share of the gradient.
SLOPE = 1e-3
# Both as a share of the largest input: half the way between two points, and how far off the inputs they lie.
STEP, OFF = 1e-6, 1e-3
# More classes than these are not compared one by one.
MOST_CLASSES = 12
# What a check asks of a picture with many pixels is asked of these rows alone.
MOST_ROWS = 4


def check_model(model: Any, inputs: Any, target: Any = None, *, excuses: Mapping[str, str] | None = None) -> Record:
    """Checks a model: whether a map of it is what one takes it for, one named check for each thing that can go wrong.

    Whether the rows of a batch depend on each other, whether chance is at work, whether the logits that were found
    rank as the output does, whether the gradient is the slope of the score in float64, whether the gradient is closed
    somewhere, which families of methods answer the model, which refuse it and why. The weights are changed for one
    check, and put back.

    Args:
        model: the model, built.
        inputs: some rows of data as the model is to see them; the first four are used.
        target: what is explained, as in `Explainer.explain`; needed where the model has several outputs.
        excuses: name of a check -> why it may fail for this model. A check that is excused and does not fail, fails.

    Returns:
        The record of all checks; print it. ``record.failed`` are those that failed, and ``record.raise_failures()``
        makes an error of them.

    Raises:
        ValueError: an excuse for no check.

    Example:
        >>> import keras, numpy as np
        >>> from tfsaliency.testing import check_model
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, "softmax")])
        >>> record = check_model(model, np.eye(3))
        >>> record.failed
        []
        >>> [outcome.name for outcome in record.outcomes if outcome.verdict == "refused"]
        ['an activation map']
    """
    subject = f"model {getattr(model, 'name', model)!r}"
    return run_all(subject, model_checks(model, inputs, target, excuses=excuses))


def model_checks(
    model: Any, inputs: Any, target: Any = None, *, excuses: Mapping[str, str] | None = None
) -> list[Check]:
    """The checks of `check_model` one by one, for ``pytest.mark.parametrize``.

    Args:
        model: the model, built.
        inputs: some rows of data as the model is to see them.
        target: what is explained, as in `Explainer.explain`.
        excuses: name of a check -> why it may fail for this model.

    Raises:
        ValueError: an excuse for no check.

    Example:
        >>> import keras, numpy as np
        >>> from tfsaliency.testing import model_checks
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, "softmax")])
        >>> checks = {check.name: check for check in model_checks(model, np.eye(3))}
        >>> checks["rows alone"]().verdict
        'passed'
    """
    case = _Case(model, inputs, target)
    return checks_of(QUESTIONS, case, excuses or {})


class _Case:
    """A model with some rows, and the map that all checks compare with."""

    def __init__(self, model: Any, inputs: Any, target: Any):
        self.model, self.target = model, _row(target, slice(MOST_ROWS))
        self.inputs = tf.nest.map_structure(lambda part: np.asarray(part)[:MOST_ROWS], inputs)

    @cached_property
    def number(self) -> int:
        return len(flatten(self.inputs)[0])

    @cached_property
    def map(self) -> Explanation:
        return Gradient(self.model).explain(self.inputs, self.target)

    @property
    def cautions(self) -> list[str]:
        return list(self.map.provenance.get("cautions", ()))

    @cached_property
    def traced(self) -> Any:
        return traced(self.model, check_inputs(self.model, self.inputs))[0]

    @property
    def tolerance(self) -> float:
        return COARSE if self.traced.trace.is_coarse else ROUNDING

    @property
    def classes(self) -> Any:
        """The target of the map, with the class that was chosen, so that no change of weights can choose another."""
        return self.target if self.map.target is None or self.target is not None else self.map.target

    def output(self, inputs: Any) -> Any:
        answer = self.model(tf.nest.map_structure(tf.convert_to_tensor, inputs), training=False)
        return tf.nest.map_structure(np.asarray, answer)

    def need_an_answer(self) -> None:
        try:
            _ = self.map
        except Exception as error:
            raise DoesNotApply("nothing to check without a gradient, see the check 'a gradient'") from error

    def need_one_output(self) -> np.ndarray:
        answer = self.output(self.inputs)
        if not isinstance(answer, np.ndarray) or answer.ndim != 2:
            raise DoesNotApply("the model has several outputs, or one that is no row of classes")
        return answer


def a_gradient(case: _Case) -> str:
    """The model can be traced, and a gradient of its score comes back."""
    try:
        found = case.map
    except Exception as error:
        expect(False, "a gradient", f"{type(error).__name__}: {error}", "The message says what to do.")
    return found.explained


def rows_alone(case: _Case) -> None:
    """The answer and the map of a row do not depend on the rows around it."""
    met = [each for each in case.cautions if each.startswith("The rows of a batch")]
    expect(not met, "rows that do not meet", met[0] if met else "", "The map of a sample is not its own.")
    for place in range(case.number):
        one = slice(place, place + 1)
        alone = Gradient(case.model).explain(rows(case.inputs, one), _row(case.classes, one))
        expected = rows(case.map.values, one)
        remedy = "Explain a model that treats each row alone, with training=False."
        expect_same(alone.values, expected, f"row {place} alone as among others", remedy, case.tolerance)


def _row(target: Any, which: slice) -> Any:
    is_list = isinstance(target, list | tuple | np.ndarray) and np.ndim(target) == 1
    return target[which] if is_list else target


def no_chance(case: _Case) -> None:
    """Two calls give one answer and one map."""
    drawn = [each for each in case.cautions if "random" in each or "from call to call" in each]
    expect(not drawn, "an answer without chance", drawn[0] if drawn else "", "A map shows one draw of many.")
    first, second = (flatten(case.output(case.inputs)) for _ in range(2))
    remedy = "Take random numbers and counters out of the call, or do them where training=True."
    expect_same(first, second, "the same answer at the second call", remedy, case.tolerance)
    forget(case.model)
    again = Gradient(case.model).explain(case.inputs, case.classes).values
    expect_same(again, case.map.values, "the same map from another trace", remedy, case.tolerance)


def the_top_class(case: _Case) -> str:
    """``target=None`` explains the class that the model answers."""
    answer = case.need_one_output()
    chosen = np.asarray(Gradient(case.model).explain(case.inputs).target)
    # Behind a saturated softmax several classes can have the same output, so the numbers are compared and not the
    # places. One unit stands for two classes.
    both = np.concatenate([1 - answer, answer], axis=1) if answer.shape[1] == 1 else answer
    found = np.take_along_axis(both, chosen[:, None], axis=1)[:, 0]
    expect(
        bool((found >= both.max(axis=1) - case.tolerance).all()),
        f"the classes {both.argmax(axis=1).tolist()}",
        str(chosen.tolist()),
        "The logits that were found are not those of the output: explain a target of your own.",
    )
    return f"classes {chosen.tolist()}"


def the_logits(case: _Case) -> str:
    """The scores of the classes of a row rank as its output does."""
    answer = case.need_one_output()
    classes = answer.shape[1]
    if classes == 1:
        raise DoesNotApply("the model has one unit")
    shown = (
        np.unique(np.linspace(0, classes - 1, MOST_CLASSES).astype(int)) if classes > MOST_CLASSES else range(classes)
    )
    score = np.stack([Gradient(case.model).scores(case.inputs, int(each)) for each in shown], axis=1)
    order = np.take_along_axis(answer[:, list(shown)].astype("float64"), score.argsort(axis=1), 1)
    falls = -np.diff(order, axis=1).min(initial=0)
    expect(
        falls <= case.tolerance * np.abs(answer).max(),
        "logits that rank as the output does",
        f"a class with a higher logit and an output lower by {falls:.2g}",
        "The end of the model does more than a softmax or sigmoid: return logits, or explain a target of your own.",
    )
    return case.map.explained


def slopes_in_float64(case: _Case) -> str:
    """The gradient is the slope of the score, from differences in float64 along three directions."""
    generator = np.random.default_rng(0)
    scale = max(float(np.abs(part).max(initial=0)) for part in flatten(case.inputs)) or 1.0
    # At the inputs themselves a ReLU can stand at its edge, as behind a black picture, where there is no slope.
    point = tf.nest.map_structure(
        lambda part: (part + OFF * scale * generator.normal(size=part.shape)).astype("float32"), case.inputs
    )
    there = Gradient(case.model).explain(point, case.classes)
    target = as_target(case.target)
    chosen = target.given(case.number) | ({} if there.target is None else {"class": there.target})
    try:
        score = score_in_float64(case.traced, target, chosen)
        at_point = score(point)
    except Exception as error:
        raise DoesNotApply(f"the graph cannot be computed in float64: {_short(error)}") from error
    limit = COARSE if case.traced.trace.is_coarse else SLOPE
    expect_same(at_point, there.scores, "the score of the graph", "Explain a model of one graph.", limit)
    slope = [part.astype("float64").reshape(case.number, -1) for part in flatten(there.values)]
    size = np.sqrt(np.sum([np.square(part).sum(axis=1) for part in slope], axis=0))
    worst = 0.0
    for _ in range(3):
        ways = [generator.choice([-1.0, 1.0], size=part.shape) for part in slope]
        expected = np.sum([(part * way).sum(axis=1) for part, way in zip(slope, ways, strict=True)], axis=0)
        ends = [score(_moved(point, ways, sign * STEP * scale)) for sign in (1, -1)]
        found = (ends[0] - ends[1]) / (2 * STEP * scale)
        worst = max(worst, float((np.abs(found - expected) / np.maximum(size, 1e-12)).max()))
    expect(
        worst <= limit,
        f"slopes within {limit:g} of the gradient",
        f"{worst:.2g} of it apart",
        "An operation has a gradient that is not its slope (tf.custom_gradient, a rounding, stop_gradient), or the "
        "score jumps here.",
    )
    return f"within {worst:.1g}"


def _moved(inputs: Any, ways: list[np.ndarray], step: float) -> list[np.ndarray]:
    parts = zip(flatten(inputs), ways, strict=True)
    return [part.astype("float64") + step * way.reshape(part.shape) for part, way in parts]


def an_open_gradient(case: _Case) -> None:
    """No row has a gradient of zero everywhere."""
    largest = np.max([np.abs(part).reshape(case.number, -1).max(axis=1) for part in flatten(case.map.values)], axis=0)
    closed = np.flatnonzero(largest == 0)
    expect(
        not closed.size,
        "a gradient that is not zero everywhere",
        f"zeros for the samples {closed.tolist()}",
        "Dead units or a saturated activation below the logits close every path: look at the activations.",
    )


def device_batches(case: _Case) -> None:
    """``batch_size`` does not change a map, also of a method that makes copies."""
    whole = SmoothGrad(case.model, samples=3).explain(case.inputs, case.classes).values
    pieces = SmoothGrad(case.model, samples=3).explain(case.inputs, case.classes, batch_size=1).values
    expect_same(
        pieces, whole, "the same map with batch_size=1", "Make a model with a free batch axis.", 10 * case.tolerance
    )


def new_weights(case: _Case) -> None:
    """A change of the weights is in the next map."""
    weights = case.model.get_weights()
    if not weights:
        raise DoesNotApply("the model has no weights")
    try:
        case.model.set_weights([_scaled(each) for each in weights])
        found = Gradient(case.model).explain(case.inputs, case.classes).values
        forget(case.model)
        expected = Gradient(case.model).explain(case.inputs, case.classes).values
    finally:
        case.model.set_weights(weights)
    remedy = "Read variables in TensorFlow in the call, never by .numpy() or into a constant."
    expect_same(found, expected, "the map of the new weights", remedy, case.tolerance)
    expect(
        distance(found, case.map.values) > case.tolerance,
        "another map for other weights",
        "the same one, though all weights of a decimal point were changed by a third",
        remedy,
    )


def _scaled(weight: np.ndarray) -> np.ndarray:
    return weight * np.asarray(1.3, weight.dtype) if weight.dtype.kind == "f" else weight


def left_alone(case: _Case) -> None:
    """Weights, layers, optimizer and random numbers are as they were."""
    before = state_of_model(case.model) | state_of_chance()
    forget(case.model)
    SmoothGrad(case.model, samples=2).explain(case.inputs, case.classes)
    found = changed(before, state_of_model(case.model) | state_of_chance())
    expect(not found, "a model that a call leaves alone", f"changed: {found}", "Change nothing where training=False.")


def a_path(case: _Case) -> str:
    """Integrated Gradients are complete."""
    return _answered(case, IntegratedGradients(case.model), "relative_error", "The score jumps, or its slope is wrong.")


def rules_of_deeplift(case: _Case) -> str:
    """DeepLIFT is complete, or says why it cannot answer."""
    return _answered(case, DeepLIFT(case.model), "completeness_gap", "Prefer IntegratedGradients.")


def rules_of_lrp(case: _Case) -> str:
    """LRP loses nothing but what biases absorb, or says why it cannot answer."""
    return _answered(case, LRP(case.model), "unexplained_gap", "Prefer a gradient method.")


def _answered(case: _Case, explainer: Explainer, gap: str, remedy: str) -> str:
    """What is missing in a sum; the method's own warning that it misses one is a failure."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        with may_refuse():
            found = explainer.explain(case.inputs, case.classes)
    missed = [str(each.message) for each in said if _is_of_a_sum(str(each.message))]
    expect(not missed, "a sum that is complete", missed[0] if missed else "", remedy)
    return f"{gap} up to {np.abs(found.diagnostics[gap]).max():.1g}"


def _is_of_a_sum(message: str) -> bool:
    return any(said in message for said in ("miss their sum", "has not converged", "miss the change of the score"))


def an_activation_map(case: _Case) -> str:
    """A layer for activation maps is found, or the message says why there is none."""
    with may_refuse():
        found = GradCAM(case.model).explain(case.inputs, case.classes)
    return f"layer {found.provenance['layer']!r}"


def save_and_load(case: _Case) -> None:
    """The model from a file has the same map."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        try:
            case.model.save(path)
            again = keras.saving.load_model(path)
        except Exception as error:
            raise DoesNotApply(f"Keras cannot save and load it: {_short(error)}") from error
    found = Gradient(again).explain(case.inputs, case.classes).values
    expect_same(
        found,
        case.map.values,
        "the same map of the model from a file",
        "Write get_config of your layers.",
        case.tolerance,
    )


def _short(error: Exception) -> str:
    """The beginning of a message that can be long."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


QUESTIONS = by_name(
    a_gradient,
    rows_alone,
    no_chance,
    the_top_class,
    the_logits,
    slopes_in_float64,
    an_open_gradient,
    device_batches,
    new_weights,
    left_alone,
    a_path,
    rules_of_deeplift,
    rules_of_lrp,
    an_activation_map,
    save_and_load,
)
