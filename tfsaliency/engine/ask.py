"""The one way from a user's arguments to arrays: check, trace once, run in device batches, check the result."""

import warnings
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tfsaliency.base.options import check_count
from tfsaliency.base.structure import part_names
from tfsaliency.engine.asked import Asked
from tfsaliency.engine.checks import (
    check_built,
    check_converged,
    check_finite,
    check_gaps,
    check_left_out,
    check_scores,
    check_values,
)
from tfsaliency.engine.chunks import Result, run_in_chunks
from tfsaliency.engine.compiled import Compiled, compiled
from tfsaliency.engine.inputs import Inputs, as_texts, check_inputs
from tfsaliency.engine.question import Question
from tfsaliency.engine.score import PerSample
from tfsaliency.engine.surroundings import check_surroundings
from tfsaliency.model.black_box import BlackBox
from tfsaliency.target.base import Target
from tfsaliency.target.outputs import as_target


class Answer(NamedTuple):
    """What a question about a batch came to.

    Attributes:
        result: NumPy arrays for the whole batch.
        batch: the checked inputs.
        target: what was explained.
        function: what was run.
    """

    result: Result
    batch: Inputs
    target: Target
    function: Compiled | Asked

    @property
    def notes(self) -> dict[str, Any]:
        """What was found out about the model, for the provenance."""
        parts = list(zip(part_names(self.batch.given), self.function.kinds, strict=True))
        found = {
            "cautions": self.function.cautions,
            "held": {name: kind.why_held for name, kind in parts if kind.why_held},
            "ids": [name for name, kind in parts if kind.is_of_ids],
            "grey": [name for name, kind in parts if kind.is_grey],
            "padded": [name for name, kind in parts if kind.may_be_padded],
        }
        return self.function.notes | {name: each for name, each in found.items() if each}

    @property
    def tokens(self) -> Any:
        """The words of texts, in the structure of the inputs, None for other parts; None where no part is a text."""
        if not self.result.words:
            return None
        places = range(len(tf.nest.flatten(self.batch.given)))
        return tf.nest.pack_sequence_as(self.batch.given, [as_texts(self.result.words.get(place)) for place in places])

    @property
    def classes(self) -> np.ndarray | None:
        """``(N,)``: the classes that were explained, None where the target chooses none."""
        return self.result.told.get("class")

    @property
    def diagnostics(self) -> dict[str, np.ndarray]:
        """What the target and the method say about each sample."""
        return {name: each for name, each in self.result.told.items() if name != "class"} | self.result.diagnostics


def ask(
    question: Question,
    inputs: Any,
    target: Any,
    *,
    beside: dict[str, np.ndarray] | None = None,
    batch_size: int | None = None,
    progress: bool = False,
) -> Answer:
    """Asks a question about a batch; see `Explainer.explain` for the other arguments and errors.

    Args:
        question: the question.
        inputs: the batch.
        target: what is explained.
        beside: what the question needs to know of each sample, ``(N, ...)``, or ``(1, ...)`` where it is the same for
            all; it is in ``score.beside``.
        batch_size: how many rows go through the model at once.
        progress: draws a progress bar.
    """
    check_surroundings()
    if batch_size is not None:
        check_count("batch_size", batch_size)
    check_built(question.model)
    batch = check_inputs(question.model, inputs)
    chosen = as_target(target)
    question.check_options(batch.given)
    given = PerSample(chosen.given(batch.samples), beside or {})
    function = _function(question, chosen, batch, given, batch_size, progress)
    explained = function.meant or chosen
    explained.check(function.logits, given.target)
    explained.check_inputs(batch.given)
    for caution in function.cautions:
        warnings.warn(caution, stacklevel=3)
    result = run_in_chunks(function, batch, given, batch_size, str(question) if progress else None)
    check_scores(result.scores, batch.samples)
    if question.wants_scores:
        check_finite(result.scores)
    explained.check_told(result.told)
    check_values(result.values)
    check_gaps(result.diagnostics, result.scores)
    check_converged(result.diagnostics, result.values)
    check_left_out(result.diagnostics, result.values)
    return Answer(result, batch, explained, function)


def _function(
    question: Question, target: Target, batch: Inputs, given: PerSample, rows: int | None, progress: bool
) -> Compiled | Asked:
    if isinstance(question.model, BlackBox):
        return Asked(question, question.model, target, batch, rows)
    return compiled(question, target, batch, given, progress)
