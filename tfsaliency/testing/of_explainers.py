"""The checks of an explainer: what every method owes, asked about small models."""

import dataclasses
import random
import re
import tempfile
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

import tfsaliency.target as targets
from tfsaliency.base.structure import flatten
from tfsaliency.engine.compiled import forget
from tfsaliency.engine.ledger import Accountable
from tfsaliency.explainer import Explainer
from tfsaliency.explanation import Explanation
from tfsaliency.methods.gradients import SmoothGrad
from tfsaliency.testing import samples
from tfsaliency.testing.compare import ROUNDING, distance, expect_refusal, expect_same, may_refuse, rows
from tfsaliency.testing.record import Check, DoesNotApply, Record, by_name, checks_of, expect, run_all
from tfsaliency.testing.state import changed, state_of_chance, state_of_model

Make = Callable[[Any], Explainer]
TARGET = 1
# A gap of a sum, as a share of the sizes of the values and of the score.
GAP = 1e-2
# A text longer than this is no name of a method.
LONGEST = 500


def check_explainer(
    make: Make, model: Any = None, inputs: Any = None, *, excuses: Mapping[str, str] | None = None
) -> Record:
    """Checks an explainer: everything that a user of it relies on, one named check for each.

    Rows are explained alone as among others, twice as once, under a wrapper and from a file; models, random numbers
    and the explainer are left as they were; new weights and targets are seen; wrong inputs are refused. Small models
    with pictures, tables, several inputs and a constant output are made for it. Their weights are changed and put back.

    Args:
        make: a class, or a function that takes a model and returns an explainer: ``functools.partial(MyMethod,
            samples=5)``.
        model: a model of yours to ask the questions about, with at least two classes and one output; by default a
            small convolutional network. For a method that answers other models only.
        inputs: some rows for it; needed with ``model``.
        excuses: name of a check -> why it may fail for this method. A check that is excused and does not fail, fails.

    Returns:
        The record of all checks; print it.

    Raises:
        CheckFailed: checks failed. It is an AssertionError, and lists all of them: what was expected, what was found
            and what to do.
        ValueError: an excuse for no check, or a model without inputs.

    Example:
        >>> import tfsaliency as tfs
        >>> from tfsaliency.testing import check_explainer
        >>> record = check_explainer(tfs.GradientTimesInput)
        >>> len(record.outcomes) > 20, record.failed
        (True, [])
    """
    record = run_all(_name(make), explainer_checks(make, model, inputs, excuses=excuses))
    record.raise_failures()
    return record


def explainer_checks(
    make: Make, model: Any = None, inputs: Any = None, *, excuses: Mapping[str, str] | None = None
) -> list[Check]:
    """The checks of `check_explainer` one by one, for ``pytest.mark.parametrize``.

    Args:
        make: a class, or a function that takes a model and returns an explainer.
        model: a model of yours to ask the questions about; by default a small one.
        inputs: some rows for it; needed with ``model``.
        excuses: name of a check -> why it may fail for this method.

    Raises:
        ValueError: an excuse for no check, or a model without inputs.

    Example:
        >>> import tfsaliency as tfs
        >>> from tfsaliency.testing import explainer_checks
        >>> checks = {check.name: check for check in explainer_checks(tfs.Gradient)}
        >>> checks["rows alone"]().verdict
        'passed'
    """
    if (model is None) != (inputs is None):
        raise ValueError("model and inputs are given together, or neither of them.")
    case = _Case(make, model, inputs)
    return checks_of(QUESTIONS, case, excuses or {})


def _name(make: Any) -> str:
    inner = getattr(make, "func", make)
    return str(getattr(inner, "__name__", inner))


class _Anew(NamedTuple):
    """The values of an explanation that was traced anew, and the names of what it changed, ``""`` for nothing."""

    values: Any
    changed_model: str
    changed_chance: str


class _Case:
    """An explainer of one model, with what all checks ask of it."""

    def __init__(self, make: Make, model: Any, inputs: Any):
        self.make, self._model, self._inputs = make, model, inputs

    @cached_property
    def model(self) -> Any:
        return samples.picture_model() if self._model is None else self._model

    @cached_property
    def inputs(self) -> Any:
        given = samples.inputs_for(self.model) if self._inputs is None else self._inputs
        return tf.nest.map_structure(np.asarray, given)

    @cached_property
    def number(self) -> int:
        return len(flatten(self.inputs)[0])

    @cached_property
    def explainer(self) -> Explainer:
        return self.make(self.model)

    def explain(self, inputs: Any = None, target: Any = TARGET, **options: Any) -> Explanation:
        return self.explainer.explain(self.inputs if inputs is None else inputs, target, **options)

    @cached_property
    def together(self) -> Explanation:
        return self.explain()

    @cached_property
    def anew(self) -> _Anew:
        """The explanation traced anew, where the random numbers of Python and NumPy stand elsewhere."""
        python, numpy_ = random.getstate(), np.random.get_state()
        try:
            random.seed(1234)
            np.random.seed(1234)
            model, chance = state_of_model(self.model), state_of_chance()
            values = self.traced_again().values
            return _Anew(values, changed(model, state_of_model(self.model)), changed(chance, state_of_chance()))
        finally:
            random.setstate(python)
            np.random.set_state(numpy_)

    def traced_again(self) -> Explanation:
        forget(self.model)
        return self.make(self.model).explain(self.inputs, TARGET)

    def need_an_answer(self) -> None:
        try:
            _ = self.together
        except Exception as error:
            raise DoesNotApply("nothing to check without an answer, see the check 'answers'") from error


def answers(case: _Case) -> None:
    """Float32 values, one for each number or each place of the inputs, and a score for each row."""
    try:
        explanation = case.together
    except Exception as error:
        expect(
            False,
            "values for the model of the check",
            f"{type(error).__name__}: {error}",
            "A method that answers other models only is checked with model= and inputs= of yours.",
        )
    for part, given in zip(flatten(explanation.values), flatten(case.inputs), strict=True):
        shapes = (given.shape, (*given.shape[:-1], 1))
        expect(part.shape in shapes, f"values of a shape of {shapes}", str(part.shape), "Return values like x.")
        expect(part.dtype == np.float32, "float32 values", str(part.dtype), "Cast them to float32.")
        expect(bool(np.isfinite(part).all()), "finite values", "NaN or infinity", "Divide with divide_no_nan.")
    expect(
        explanation.scores.shape == (case.number,),
        f"{case.number} scores",
        str(explanation.scores.shape),
        "Leave the scores to Explainer.explain.",
    )
    expect(
        isinstance(case.explainer, Explainer), "an Explainer", type(case.explainer).__name__, "Inherit from Explainer."
    )


def the_score(case: _Case) -> None:
    """The scores are those of the model, for one class, one class per row and the top class."""
    logits = case.explainer.scores(case.inputs, TARGET)
    found = case.together.scores
    expect_same(found, logits, "the scores of the model", "Leave the scores to Explainer.explain.")
    top = case.explain(target=None)
    answer = np.asarray(case.model(tf.nest.map_structure(tf.convert_to_tensor, case.inputs), training=False))
    expected = answer.argmax(axis=-1) if answer.shape[-1] > 1 else (answer[:, 0] > 0.5).astype("int64")
    expect(
        top.target is not None and bool((top.target == expected).all()),
        f"target=None to explain the classes {expected.tolist()}",
        str(None if top.target is None else top.target.tolist()),
        "Leave the target to Explainer.explain.",
    )


def rows_alone(case: _Case) -> None:
    """A row alone has the values that it has among others."""
    for place in range(case.number):
        alone = case.explain(rows(case.inputs, slice(place, place + 1)))
        expected = rows(case.together.values, slice(place, place + 1))
        expect_same(
            alone.values,
            expected,
            f"row {place} alone as it is among others",
            "Reduce over the axes of a row, never over axis 0.",
        )


def order_of_rows(case: _Case) -> None:
    """Rows in another order have the same values in that order."""
    order = np.roll(np.arange(case.number), 1)
    found = case.explain(rows(case.inputs, order)).values
    expect_same(
        found,
        rows(case.together.values, order),
        "the values to follow the rows",
        "Take the place in the batch out of the method; noise is the same for all rows.",
    )


def device_batches(case: _Case) -> None:
    """``batch_size`` does not change the values."""
    for size in (1, 2, 7):
        expect_same(
            case.explain(batch_size=size).values,
            case.together.values,
            f"the same values with batch_size={size}",
            "Let nothing depend on the number of rows, or on score.rows.",
        )


def one_class_per_row(case: _Case) -> None:
    """A class for each row explains each row's own class."""
    classes = [place % 2 for place in range(case.number)]
    each = [case.explain(rows(case.inputs, slice(i, i + 1)), index).values for i, index in enumerate(classes)]
    whole = tf.nest.map_structure(lambda *parts: np.concatenate(parts), *each)
    found = case.explain(target=classes).values
    expect_same(found, whole, f"target={classes} as each row alone", "Use the score that attribute is given.")


def same_again(case: _Case) -> None:
    """Two calls, and two explainers of the same options, give the same values."""
    remedy = "Draw by tf.random.stateless_uniform with the seed of an option, and keep nothing between calls."
    case_again = case.explain().values
    expect_same(case_again, case.together.values, "the same values at the second call", remedy)
    other = case.make(case.model).explain(case.inputs, TARGET).values
    expect_same(other, case.together.values, "the same values by an equal explainer", remedy)


def traced_anew(case: _Case) -> None:
    """The values are the same after everything was traced anew, wherever random numbers stand."""
    remedy = "Draw by tf.random.stateless_uniform: attribute runs once, and a number of NumPy's stays in the graph."
    expect_same(case.anew.values, case.together.values, "the same values after tfsaliency.forget(model)", remedy)


def key(case: _Case) -> str:
    """Equal explainers have equal keys, and every option is in the key."""
    explainer = case.explainer
    expect(
        explainer.key() == case.make(case.model).key(),
        "equal keys for equal explainers",
        "different keys",
        "Make of each option a value that can be compared: a frozen dataclass.",
    )
    fields = {field.name for field in dataclasses.fields(explainer)}  # type: ignore[arg-type]
    cached = {name for base in type(explainer).__mro__ for name in vars(base) if _is_cached(base, name)}
    hidden = sorted({*vars(explainer)} - fields - cached)
    expect(
        not hidden,
        "options that are fields of a frozen dataclass",
        f"the attributes {hidden}, which no key contains",
        "Decorate the class with @dataclass(frozen=True, eq=False).",
    )
    looked_at = []
    for name in sorted(fields):
        for other in _others(explainer, name):
            looked_at.append(name)
            expect(
                explainer.key() != other.key(),
                f"another key for another {name}",
                f"the same key for {getattr(explainer, name)!r} and {getattr(other, name)!r}",
                "Two explainers of one key share a compiled function: do not override key, or put every option in.",
            )
    return f"options compared: {', '.join(looked_at) or 'none'}"


def _is_cached(base: type, name: str) -> bool:
    return isinstance(vars(base)[name], cached_property)


def _others(explainer: Explainer, name: str) -> list[Explainer]:
    """The explainer with another value of a number or truth among its options, if there is one that it takes."""
    value = getattr(explainer, name)
    if isinstance(value, bool):
        candidates: list[Any] = [not value]
    elif isinstance(value, int):
        candidates = [value + 1, value - 1]
    elif isinstance(value, float):
        candidates = [value / 2 + 0.1, value * 2 + 0.1]
    else:
        return []
    for candidate in candidates:
        try:
            return [dataclasses.replace(explainer, **{name: candidate})]  # type: ignore[type-var]
        except (ValueError, TypeError):
            continue
    return []


def leaves_the_model(case: _Case) -> None:
    """Weights, optimizer, layers and their attributes are as they were."""
    found = case.anew.changed_model
    expect(not found, "the model as it was", f"changed: {found}", "Ask the model by score(x), and assign nothing.")


def leaves_random_numbers(case: _Case) -> None:
    """The random numbers of Python, NumPy and TensorFlow stand where they stood."""
    found = case.anew.changed_chance
    expect(not found, "random numbers of others as they were", f"changed: {found}", "Draw by tf.random.stateless_*.")


def leaves_the_explainer(case: _Case) -> None:
    """A call leaves nothing on the explainer, and gives nothing away that changes it."""
    explainer = case.make(case.model)
    before = dict(vars(explainer))
    explanation = explainer.explain(case.inputs, TARGET)
    new = {name for name, value in vars(explainer).items() if before.get(name, explainer) is not value}
    expect(not new, "an explainer without memory", f"changed: {sorted(new)}", "Compute in attribute, keep nothing.")
    writable = [part.shape for part in flatten(explanation.values) if part.flags.writeable]
    expect(not writable, "read-only values", f"writable ones of shapes {writable}", "Return what explain returns.")


def new_weights(case: _Case) -> None:
    """Weights assigned between two calls are in the next map."""
    before, weights = case.together.values, case.model.get_weights()
    try:
        samples.with_weights(case.model, seed=8)
        found, expected = case.explain().values, case.traced_again().values
    finally:
        case.model.set_weights(weights)
    expect_same(found, expected, "the map of the new weights", "Read variables in TensorFlow, never by .numpy().")
    expect(
        distance(expected, before) > ROUNDING,
        "another map for other weights",
        "the same one",
        "A map that does not depend on the weights says nothing about the network.",
    )


def new_target(case: _Case) -> None:
    """A function of the logits, and what it reads when that changes, is explained."""
    one = _Logit(TARGET)
    with may_refuse():
        first = case.explain(target=one).values
    expect_same(first, case.together.values, "a function that returns class 1 as class 1", "Use the score as given.")
    one.index = 0
    second, expected = case.explain(target=one).values, case.explain(target=0).values
    expect_same(second, expected, "the map of what the function now reads", "Keep no map or graph by yourself.")


@dataclass
class _Logit:
    """A target whose field is compared at each call; the closure of a function in an installed package is not."""

    index: int

    def __call__(self, logits: Any) -> tf.Tensor:
        return tf.nest.flatten(logits)[0][:, self.index]


def the_class_matters(case: _Case) -> None:
    """Another class has another map."""
    with may_refuse():
        other = case.explain(target=0).values
    expect(
        distance(other, case.together.values) > ROUNDING,
        "another map for another class",
        "the same map for the classes 0 and 1",
        "Use the score. A method that looks at no class says so in its docstring, and is excused here.",
    )


def margins(case: _Case) -> None:
    """A margin is answered, by another map than that of the class, or refused."""
    with may_refuse():
        margin = case.explain(target=targets.margin(TARGET, 0))
    gap = case.explainer.scores(case.inputs, TARGET) - case.explainer.scores(case.inputs, 0)
    expect_same(margin.scores, gap, "the difference of two logits as score", "Leave scores to explain.", 1e-3)


def meaning(case: _Case) -> str:
    """Values are never negative exactly where their meaning says so."""
    parts = flatten(case.together.values) + flatten(case.explain(target=0).values)
    negative = any(bool((part < 0).any()) for part in parts)
    said = case.explainer.meaning
    expect(said == case.together.meaning, f"the meaning {said!r}", repr(case.together.meaning), "Leave it to explain.")
    expect(
        said != "signed" or negative,
        "signed values of either sign",
        "no negative number in the maps of two classes",
        'Write a property meaning: "magnitude", or "places" for one number per place.',
    )
    return said


def the_sum(case: _Case) -> str:
    """Where a method reports what its sum misses, it misses little, and says the truth about a conserved score."""
    found = case.together.diagnostics
    name = case.explainer.promise.diagnostic if isinstance(case.explainer, Accountable) else "completeness_gap"
    if name not in found:
        raise DoesNotApply(f"the method promises no sum: there is no promise and no diagnostics[{name!r}]")
    parts = [part.reshape(case.number, -1).astype("float64") for part in flatten(case.together.values)]
    sums = np.sum([part.sum(axis=1) for part in parts], axis=0)
    sizes = np.sum([np.abs(part).sum(axis=1) for part in parts], axis=0) + np.abs(case.together.scores)
    gap = np.asarray(found[name])
    expect(gap.shape == (case.number,), "one gap per row", str(gap.shape), f"Return diagnostics[{name!r}] of (N,).")
    worst = float((np.abs(gap) / sizes).max())
    expect(worst <= GAP, f"a sum complete within {GAP:.0%} of its sizes", f"{worst:.1%} missing", "Allow more steps.")
    if "conservation_gap" in found:
        expect_same(
            sums - found["conservation_gap"],
            case.together.scores,
            "the sum less its gap to be the score",
            "Report the sum of the values less the score.",
            1e-3,
        )
    return f"{name} is {worst:.1g} of the sizes"


def wrong_inputs(case: _Case) -> None:
    """A wrong shape, NaN and an empty batch are refused, and the next right call is right."""
    part = flatten(case.inputs)[0]
    nan = tf.nest.map_structure(lambda each: np.where(each == each, np.nan, each), case.inputs)
    before = state_of_model(case.model)
    expect_refusal(lambda: case.explain(np.zeros((2, *part.shape[1:], 2, 2), "float32")), "inputs of a wrong shape")
    expect_refusal(lambda: case.explain(nan), "inputs of NaN")
    expect_refusal(lambda: case.explain(rows(case.inputs, slice(0, 0))), "an empty batch")
    found = changed(before, state_of_model(case.model))
    expect(not found, "the model as it was after an error", f"changed: {found}", "Change nothing before checks.")
    expect_same(case.explain().values, case.together.values, "the same map after errors", "Keep nothing.")


def wrong_targets(case: _Case) -> None:
    """A class out of range, classes for other rows and a function of a wrong shape are refused."""
    expect_refusal(lambda: case.explain(target=10_000), "a class out of range")
    expect_refusal(lambda: case.explain(target=-1), "a class below 0")
    expect_refusal(lambda: case.explain(target=[0] * (case.number + 1)), "more classes than rows")
    expect_refusal(lambda: case.explain(target=lambda logits: logits), "a target function of all logits")
    expect_same(case.explain().values, case.together.values, "the same map after errors", "Keep nothing.")


def model_without_weights(case: _Case) -> None:
    """A model that was never called is refused, and something that is no model too."""
    unbuilt = keras.Sequential([keras.layers.Dense(2, kernel_initializer="zeros")])
    expect_refusal(lambda: case.make(unbuilt).explain(np.ones((1, 3), "float32"), 0), "a model without weights")
    try:
        case.make("model.keras")
    except (TypeError, ValueError):
        return
    expect(False, "TypeError for a path as model", "an explainer", "Call super().__post_init__() in __post_init__.")


def save_and_load(case: _Case) -> None:
    """A file holds all of an explanation."""
    with tempfile.TemporaryDirectory() as folder:
        case.together.save(Path(folder) / "map.npz")
        again = Explanation.load(Path(folder) / "map.npz")
    pairs = zip(flatten(again.values), flatten(case.together.values), strict=True)
    same = all(np.array_equal(one, other) for one, other in pairs)
    expect(same, "the values as they were", "others", "Return values of numbers.")
    for name in ("method", "meaning", "explained"):
        found, expected = getattr(again, name), getattr(case.together, name)
        expect(found == expected, f"{name} {expected!r}", repr(found), "Return what explain returns.")
    missing = {*case.together.provenance} - {*again.provenance}
    expect(not missing, "all of the provenance", f"{missing} missing", "Note texts and numbers only.")


def the_record(case: _Case) -> str:
    """The text of the method names it and its options, and the provenance says what was explained."""
    text = str(case.explainer)
    expect(
        len(text) <= LONGEST and "\n" not in text and not re.search(r" at 0x[0-9a-f]+", text),
        f"one line of at most {LONGEST} letters without addresses",
        repr(text[:80]),
        "Give each option a short repr, which frozen dataclasses have.",
    )
    expect(text == case.together.method, f"the method {text!r}", repr(case.together.method), "Leave it to explain.")
    missing = {"model", "fingerprint", "target", "tfsaliency"} - {*case.together.provenance}
    expect(not missing, "a complete provenance", f"{missing} missing", "Return what explain returns.")
    for name, array in case.together.diagnostics.items():
        found = np.shape(array)
        expect(found == (case.number,), f"diagnostics[{name!r}] of one number per row", str(found), "Reduce the rest.")
    return text


def under_a_wrapper(case: _Case) -> None:
    """Noisy copies without noise say what the sample says, or the wrapper is refused."""
    with may_refuse():
        wrapped = SmoothGrad(case.explainer, samples=3, noise=0.0)
        copies = wrapped.explain(case.inputs, TARGET, batch_size=4 * case.number)
    remedy = "x may be stacked copies: take the number of rows from x, and let nothing depend on it."
    expect_same(copies.values, case.together.values, "SmoothGrad without noise as the method itself", remedy)


def followed_by_a_transform(case: _Case) -> None:
    """``.then`` is applied to the values."""
    with may_refuse():
        doubled = case.explainer.then(_doubled).explain(case.inputs, TARGET)
    expected = tf.nest.map_structure(lambda part: 2 * part, case.together.values)
    expect_same(doubled.values, expected, "twice the values after .then(twice)", "Return values from attribute.")


def _doubled(values: Any, inputs: Any) -> Any:
    return 2 * values


def types_of_numbers(case: _Case) -> None:
    """float64 and whole numbers are explained as the same numbers in float32."""
    remedy = "attribute gets float32: leave the conversion of inputs to Explainer.explain."
    double = tf.nest.map_structure(lambda part: part.astype("float64"), case.inputs)
    expect_same(case.explain(double).values, case.together.values, "float64 as float32", remedy)
    whole = tf.nest.map_structure(lambda part: (40 * np.abs(part)).clip(0, 255).astype("uint8"), case.inputs)
    floats = tf.nest.map_structure(lambda part: part.astype("float32"), whole)
    with may_refuse():
        expected = case.explain(floats).values
        found = case.explain(whole).values
    expect_same(found, expected, "uint8 as the same numbers in float32", remedy)


def lists_and_dicts(case: _Case) -> str:
    """Several inputs keep their structure, and a row alone is what it is among others."""
    for kind in (list, dict):
        model = samples.two_input_model(kind)
        explainer, inputs = case.make(model), samples.inputs_for(model)
        with may_refuse():
            found = explainer.explain(inputs, TARGET).values
        expect(
            type(found) is kind and len(found) == 2,
            f"values in a {kind.__name__}, as the inputs",
            type(found).__name__,
            "Map over the parts: tf.nest.map_structure.",
        )
        for part, given in zip(tf.nest.flatten(found), tf.nest.flatten(inputs), strict=True):
            shapes = (given.shape, (*given.shape[:-1], 1))
            expect(part.shape in shapes, f"a shape of {shapes}", str(part.shape), "Map over the parts.")
        alone = explainer.explain(rows(inputs, slice(1, 2)), TARGET).values
        expect_same(alone, rows(found, slice(1, 2)), "row 1 alone as among others", "Reduce over no axis 0.")
    return "a list and a dict"


def a_table(case: _Case) -> None:
    """Inputs without places are answered or refused."""
    model = samples.table_model()
    inputs = samples.inputs_for(model)
    with may_refuse():
        found = case.make(model).explain(inputs, TARGET).values
    expect(found.shape == inputs.shape, f"values of shape {inputs.shape}", str(found.shape), "Return values like x.")


def a_constant_model(case: _Case) -> str:
    """A score that does not depend on the inputs has a map of zeros with a warning, or is refused."""
    model = samples.constant_model()
    inputs = samples.inputs_for(model)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        with may_refuse():
            found = case.make(model).explain(inputs, TARGET).values
    largest = max(float(np.abs(part).max()) for part in flatten(found))
    score = float(np.abs(case.together.scores).max())
    expect(
        largest <= ROUNDING * max(score, 1.0) or bool(said),
        "zeros, a warning or an error where the score does not depend on the inputs",
        f"values up to {largest:.2g} without a word",
        "What moves no score explains none.",
    )
    return "with a warning" if said else "zeros"


QUESTIONS = by_name(
    answers,
    the_score,
    rows_alone,
    order_of_rows,
    device_batches,
    one_class_per_row,
    same_again,
    traced_anew,
    key,
    leaves_the_model,
    leaves_random_numbers,
    leaves_the_explainer,
    new_weights,
    new_target,
    the_class_matters,
    margins,
    meaning,
    the_sum,
    wrong_inputs,
    wrong_targets,
    model_without_weights,
    save_and_load,
    the_record,
    under_a_wrapper,
    followed_by_a_transform,
    types_of_numbers,
    lists_and_dicts,
    a_table,
    a_constant_model,
)
