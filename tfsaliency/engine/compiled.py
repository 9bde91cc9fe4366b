"""One compiled function per model, question, kind of target and shape of inputs, kept as long as the model lives."""

import re
import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfsaliency.engine.checks import check_digits, check_types
from tfsaliency.engine.inputs import Inputs
from tfsaliency.engine.question import SUM_GAPS, Question
from tfsaliency.engine.score import OTHER_LENGTH, PerSample, TracedScore
from tfsaliency.engine.shared import Shared, forget_shared, may_be_shared, share, shared
from tfsaliency.model.call import FREE_BATCH
from tfsaliency.model.fingerprint import anatomy
from tfsaliency.model.kept import keep
from tfsaliency.model.logits import Logits
from tfsaliency.model.point import Point, point_of
from tfsaliency.model.rows import cautions
from tfsaliency.model.traced import TracedModel, forget_trace, traced_model
from tfsaliency.target.base import Rows, Target
from tfsaliency.target.places import OUTSIDE
from tfsaliency.tensors.sums import samples_of, sum_of_flows

# Functions kept per model: a loop that passes a new lambda as target at each call must not fill the memory.
KEPT = 32

# How many samples are looked at for one that differs from the first.
LOOKED_AT = 8
# A batch hides the cost of starting operations once it writes this much, or has this many rows. Of larger ones little
# more comes (benchmarks/chunks.py shows the curve).
ENOUGH_BYTES = 2**30
ENOUGH_ROWS = 32
# A batch may never write more than this. Much of it is freed again on the way: about a third is held at once.
BUDGET_BYTES = 8 * 2**30
MOST_ROWS = 4096


class Compiled:
    """``attribute`` of one question about one model, traced once for every batch size.

    It keeps graphs and nothing of what they were traced from: the cache must not keep a model alive that its user has
    dropped.

    Attributes:
        meant: what the user's target stands for with this model; None where it stands for itself.
        logits: what the model says, specs in the place of tensors.
        explained: says whether logits or the output itself are explained.
        notes: what the method found out about the model, name -> text.
        anatomy: of the model as it was traced.
        cautions: what the user is warned of before trusting a map.
        rows: how many rows go through the model at once.
        specs: the types that the inputs enter the model with.
        kinds: what each part of the inputs is.
        is_coarse: whether part of the model computes in 16 bits.
        on_progress: gets each share of its work that the method has done, where progress was asked for.
    """

    def __init__(
        self,
        question: Question,
        target: Target,
        inputs: Inputs,
        of_samples: PerSample,
        progress: bool,
        kind: Hashable,
    ):
        model, self.specs = traced(question.model, inputs)
        point = point_of(model)
        check_digits(question.model, model, inputs, self.specs)
        check_types(question.model, model, inputs, self.specs)
        meant = target.meant(model, inputs.rows(0, 1, self.specs))
        self.meant = None if meant is target else meant
        self.logits = specs_of(model.logits)
        meant.check(self.logits, of_samples.target)
        self._remedy = meant.remedy
        found = cautions(model, meant.read(model.logits), lambda: inputs.rows(0, LOOKED_AT, self.specs))
        self._model, self.is_coarse = model, model.trace.is_coarse
        self.anatomy = model.anatomy
        self.cautions = [*meant.cautions(model.logits), *point.cautions, *found]
        self.explained = model.logits.describe()
        self.kinds = point.kinds
        self.on_progress: Callable[[float], None] = lambda share: None
        kind = kind, meant.key
        # A progress bar belongs to one call.
        is_shared = not progress and may_be_shared(question, kind)
        function = shared(kind, model.structure) if is_shared else None
        if function is None:
            function = self._traced(question, meant, of_samples, progress, point)
            if is_shared:
                share(kind, model.structure, function)
        self._graph = function.reading(model.trace.captured)
        self.notes, self.rows = function.notes, rows_for(function.row_bytes)

    def _traced(self, question: Question, meant: Target, of_samples: PerSample, progress: bool, point: Point) -> Shared:
        """``attribute``, compiled for this model."""
        asked: list[TracedScore] = []

        def advance(share: tf.Tensor) -> None:
            if progress:
                tf.numpy_function(self._advance, [share], [])

        def run(
            passed: Any, given: PerSample, rows: tf.Tensor, first: tf.Tensor
        ) -> tuple[Any, tf.Tensor, Rows, dict[str, Any], dict[int, tf.Tensor]]:
            entered = point.enter(passed)
            score = TracedScore(point, entered, meant, given, rows, first, advance)
            of_x, diagnostics = question.attribute(entered.x, score)
            values = of_x
            words: dict[int, tf.Tensor] = {}
            if question.keeps_vectors:
                values = {"values": of_x, "vectors": entered.x}
            elif tf.nest.flatten(of_x) and not point.is_as_passed:
                values, words = point.folded(of_x, entered, by_norm=question.gives_slopes)
                diagnostics = _with_left_out(diagnostics, _sums(of_x) - _sums(values))
            scores = score.resolve() if question.wants_scores else tf.fill([samples_of(entered.x)], np.nan)
            asked.append(score)
            return values, scores, score.told, diagnostics, words

        given = tf.nest.map_structure(lambda part: tf.TensorSpec([None, *part.shape[1:]], part.dtype), of_samples)
        signature = [self.specs, given, *[tf.TensorSpec([], tf.int32)] * 2]
        function = tf.function(run, input_signature=signature, autograph=False).get_concrete_function()
        _, _, _, diagnostics, _ = function.structured_outputs
        if (known := asked[0].known) is not None:
            self.cautions += meant.cautions_of(known.score, known.logits)
        return Shared(function, point.trace, asked[0].notes, asked[0].row_bytes, [*diagnostics])

    def check(self, model: keras.Model, inputs: Inputs) -> None:
        """Raises where another batch holds numbers that this function loses."""
        check_digits(model, self._model, inputs, self.specs)

    def _advance(self, share: np.ndarray) -> None:
        self.on_progress(float(share))

    def __call__(self, x: Any, given: PerSample, rows: int, first: int) -> tuple[Any, ...]:
        """What `Result` holds, as tensors, of samples from number ``first`` of a batch on.

        Raises:
            ValueError: the model cannot compute these numbers, or so many rows.
        """
        with self._model.state_put_back():
            scalars = tf.constant(rows, tf.int32), tf.constant(first, tf.int32)
            try:
                results: tuple[Any, ...] = self._graph(x, given, *scalars)
            except tf.errors.ResourceExhaustedError:
                raise
            except tf.errors.OpError as error:
                raise ValueError(_failed(int(samples_of(x)), error, self._remedy)) from error
        samples = int(samples_of(x))
        for part in tf.nest.flatten(results[0]):
            if len(part) != samples:
                raise ValueError(
                    f"The model makes {len(part)} rows of {samples}. If it takes a fixed number, {FREE_BATCH} If a "
                    "transform (values, inputs) -> values left rows out, return a row for each sample."
                )
        return results


def traced(model: keras.Model, inputs: Inputs) -> tuple[TracedModel, Any]:
    """The trace of a model for some inputs, and the types that they enter it with.

    Integers enter as floats, which can be changed a little, where the model computes with them as numbers. Ids enter as
    they are: a float cannot hold all of them, and some operations take no float for one.
    """
    if all(part.dtype.kind in "fU" for part in tf.nest.flatten(inputs.given)):
        return traced_model(model, inputs.as_numbers), inputs.as_numbers
    try:
        found = traced_model(model, inputs.as_numbers)
        point = point_of(found)
        if point.is_inputs and point.is_reached:
            return found, inputs.as_numbers
    except ValueError:
        # Whatever is wrong with floats, the trace for what was passed tells.
        pass
    return traced_model(model, inputs.as_passed), inputs.as_passed


def _sums(values: Any) -> tf.Tensor:
    return sum_of_flows(tf.nest.flatten(values), samples_of(values))


def _with_left_out(diagnostics: dict[str, tf.Tensor], left_out: tf.Tensor) -> dict[str, tf.Tensor]:
    """Counts what belongs to nothing of the inputs, as a word of the baseline alone, as missing from a sum."""
    gaps = {name: diagnostics[name] - left_out for name in SUM_GAPS if name in diagnostics}
    return diagnostics | gaps | ({"left_out": left_out} if gaps else {})


def specs_of(logits: Logits) -> Logits:
    """Logits with specs in the place of tensors."""
    values, outputs = tf.nest.map_structure(tf.TensorSpec.from_tensor, (logits.values, logits.outputs))
    return logits._replace(values=values, outputs=outputs)


def _failed(rows: int, error: Exception, remedy: str) -> str:
    """What to tell a user where TensorFlow failed.

    Args:
        rows: of the batch.
        error: what TensorFlow raised.
        remedy: of the target.
    """
    reason = next((line for line in str(error).splitlines() if line.strip() and not line.startswith(_FRAME)), "")
    for said, advice in _SAID.items():
        if said in reason:
            return "".join(each for each in reason[reason.index(said) :] if each not in "[]") + advice
    if _NO_ID in reason and not _IN_MODEL.search(str(error)):
        return f"The method, or the target, reads an entry that a tensor of its own does not have: {reason.strip()}"
    if _NO_ID in reason:
        return (
            f"An id of the inputs or of a baseline is none of the table that the model looks it up in: {reason.strip()}"
        )
    if remedy and not _IN_MODEL.search(str(error)):
        return f"The target failed on a batch of {rows} rows, or on copies of them: {reason.strip(' .')}. {remedy}"
    return (
        f"The model failed on a batch of {rows} rows, or on copies of them: {reason.strip(' .')}. If it takes a fixed "
        f"number of rows (Input(batch_shape=...), a stateful layer, a reshape by a number of rows), {FREE_BATCH}"
    )


# What graphs of this package fail with, and what to do about it.
_SAID = {
    OUTSIDE: "",
    OTHER_LENGTH: (
        ". Fill a shorter one up, ' '.join(words + ['the'] * missing), leave words of a longer one out, or take "
        "baseline=None, which is padding."
    ),
}
# What TensorFlow says of an id that a table does not have.
_NO_ID = "is not in [0, "
# What TensorFlow says of an operation of the model, which is imported under that name, or of one that may be.
_IN_MODEL = re.compile(r"\{\{(function_node |node (\S+/)?model(_\d+)?/)")
# Lines of a TensorFlow error that say where it happened.
_FRAME = ("Graph execution error", "Detected at", "<stack traces", "  File", "\t", "    ")


def rows_for(row_bytes: int) -> int:
    """How many rows go through a model at once, of which one writes that many bytes; a power of two."""
    row_bytes = max(1, row_bytes)
    rows = min(max(ENOUGH_ROWS, ENOUGH_BYTES // row_bytes), BUDGET_BYTES // row_bytes, MOST_ROWS)
    return 1 << max(0, rows.bit_length() - 1)


_kept: weakref.WeakKeyDictionary[keras.Model, OrderedDict[Hashable, Compiled]] = weakref.WeakKeyDictionary()


def compiled(question: Question, target: Target, inputs: Inputs, given: PerSample, progress: bool) -> Compiled:
    """The compiled function for these, traced now if it is the first time."""
    functions = _kept.setdefault(question.model, OrderedDict())
    chosen = tuple(tuple((name, rows.shape[1:], rows.dtype) for name, rows in each.items()) for each in given)
    kind = question.key(), target.key, chosen, inputs.key, progress
    key = (*kind, anatomy(question.model))
    found = functions.get(key)
    if found is None:
        found = Compiled(question, target, inputs, given, progress, kind)
        key = (*kind, found.anatomy)
    else:
        found.check(question.model, inputs)
    keep(functions, key, found, KEPT)
    return found


def forget(model: keras.Model) -> None:
    """Drops what was traced and compiled for a model.

    New weights and every change of what the model reads from Python are seen without it. Call it after a change of what
    is not compared, such as a file that ``call`` reads, or to free the memory.

    Args:
        model: a model that was explained; of any other there is nothing to drop.

    Example:
        >>> import keras, tfsaliency as tfs
        >>> tfs.forget(keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]))
    """
    _kept.pop(model, None)
    forget_trace(model)
    forget_shared()
