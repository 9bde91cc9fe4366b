"""A question about a black box, run as it is written: outside of any graph, one device batch at a time.

The function of the user may run TensorFlow itself. Inside a graph it could not, and ``predict`` would wait for threads
that the graph holds while it waits for ``predict``.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from tfsaliency.base.structure import part_names
from tfsaliency.engine.checks import check_numbers_of_function
from tfsaliency.engine.compiled import rows_for, specs_of
from tfsaliency.engine.inputs import Inputs
from tfsaliency.engine.question import Question
from tfsaliency.engine.score import Forward, PerSample, Score
from tfsaliency.model.black_box import BlackBox, of_words
from tfsaliency.model.logits import Logits
from tfsaliency.model.point import PartKind
from tfsaliency.model.rows import ROUNDING, differs
from tfsaliency.target.base import Target
from tfsaliency.tensors.sums import samples_of

UNSTEADY = (
    "The function answers differently for a row alone and among others, or each time it is asked: the map of a sample "
    "changes with the samples around it and with batch_size, or from call to call. Explain a function that treats each "
    "row alone and draws nothing at random."
)


class Asked:
    """``attribute`` of one question about a black box. It has what `Compiled` has, and keeps nothing between calls.

    Args:
        question: the question.
        box: the black box that it is about.
        target: what is explained.
        inputs: the whole batch.
        rows: how many rows the user lets through at once, None for as many as suit the inputs.

    Its attributes are those of `Compiled`.

    Raises:
        ValueError: the function does not answer with one row of numbers for each row.
    """

    is_coarse = False
    explained = "the output itself: what the function returned"

    def __init__(self, question: Question, box: BlackBox, target: Target, inputs: Inputs, rows: int | None):
        self._question, self._box, self.target = question, box, target
        self.meant = None
        texts = next((part for part in tf.nest.flatten(inputs.given) if part.dtype.kind == "U"), None)
        if texts is not None:
            raise ValueError(
                "A black box is asked about numbers, some of which are hidden. Received: texts. "
                f"{of_words('function({})', texts.ndim)}"
            )
        self._parts = list(zip(part_names(inputs.given), tf.nest.flatten(inputs.given), strict=True))
        self.kinds = [PartKind() for _ in self._parts]
        check_numbers_of_function(box, inputs)
        self.specs = inputs.as_numbers
        self.rows = rows_for(sum(4 * part[0].size for part in tf.nest.flatten(inputs.given)))
        # The function is asked about the first batch once, and about its first row alone: what a single row shows of
        # the answer's form, more of them can hide.
        alone = box.answer(inputs.rows(0, 1, self.specs))
        self._first = box.answer(inputs.rows(0, min(rows or self.rows, inputs.samples), self.specs))
        self._row = alone.shape[1:]
        self._check(self._first)
        self.logits = specs_of(_logits(self._first))
        self.cautions = [UNSTEADY] if differs(self._first[:1], alone, ROUNDING) else []
        self.notes: dict[str, str] = {}
        self.on_progress: Callable[[float], None] = lambda share: None

    def __call__(self, x: Any, given: PerSample, rows: int, first: int) -> tuple[Any, ...]:
        """What `Compiled` returns, for samples from number ``first`` of a batch on."""
        score = AskedScore(self, self.target, given, x, tf.constant(rows), tf.constant(first), self._advance)
        is_first = first == 0 and int(samples_of(x)) == len(self._first)
        at_inputs = score.known(self._first) if is_first else score.resolve()
        values, diagnostics = self._question.attribute(x, score)
        self.notes |= score.notes
        return values, at_inputs, score.told, diagnostics, {}

    def answer(self, x: Any) -> np.ndarray:
        """What the function says about some rows, in the form of its first answer."""
        answer = self._box.answer(x)
        self._check(answer)
        return answer

    def refuse(self) -> ValueError:
        """What is raised where a method wants to see more than answers."""
        return ValueError(
            f"{self._question} looks inside the model, or needs its gradient, and a black box only answers. Explain a "
            "Keras model, or ask the function with Occlusion or RISE, alone or in a wrapper: SmoothGrad(Occlusion(f))."
        )

    def check_hides_numbers(self) -> None:
        """Raises where zero may be the id of something: a function does not show which id stands for nothing."""
        integers = [name for name, part in self._parts if part.dtype.kind in "iu" and part.itemsize > 1]
        if integers:
            raise ValueError(
                f"{self._question} hides what it asks about, and cannot know what stands for nothing in integers. "
                f"Received: integers for {', '.join(integers)}. Of ids pass that of padding or of an unknown word, of "
                "quantities a usual one: baseline=0 for all inputs, or one for each in their structure."
            )

    def _check(self, answer: np.ndarray) -> None:
        if answer.shape[1:] != self._row:
            raise ValueError(
                f"The function returned numbers of shape {answer.shape}, and of shape {(1, *self._row)} for one row. "
                "Return rows of the same length each time: (N, classes)."
            )

    def _advance(self, share: tf.Tensor) -> None:
        self.on_progress(float(share))


class AskedScore(Score):
    """The score of a black box, in plain Python.

    Args:
        asked: asks the function, and refuses what it cannot answer.
        others: see `Score`.
    """

    is_half = False

    def __init__(self, asked: Asked, *others: Any):
        super().__init__(*others)
        self._asked = asked
        self._at_inputs: tf.Tensor | None = None

    def __call__(self, x: Any) -> tf.Tensor:
        """The score, ``(N,)``. A tape that asks for its gradient is refused."""
        scores = self.at(x) if self._resolved(x) else self.answer(x)[0]

        @tf.custom_gradient  # type: ignore[untyped-decorator]
        def without_gradient(*parts: tf.Tensor) -> Any:
            def refuse(*flows: tf.Tensor) -> Any:
                raise self._asked.refuse()

            return tf.identity(scores), refuse

        return without_gradient(*tf.nest.flatten(x))

    def neutral(self, x: Any) -> Any:
        self._asked.check_hides_numbers()
        return super().neutral(x)

    def gradient(self, x: Any) -> tuple[tf.Tensor, Any]:
        raise self._asked.refuse()

    def forward(self, x: Any) -> Forward:
        raise self._asked.refuse()

    def unrolled(self, x: Any, turns: int) -> Forward:
        raise self._asked.refuse()

    def known(self, answer: np.ndarray) -> tf.Tensor:
        """Takes what the function has said about the inputs as given; returns their scores, ``(N,)``."""
        self._at_inputs = self._of(_logits(answer), self._inputs)
        return self._at_inputs

    def resolve(self) -> tf.Tensor:
        return self._at_inputs if self._at_inputs is not None else self.known(self._asked.answer(self._inputs))

    def answer(self, x: Any) -> tuple[tf.Tensor, Logits]:
        logits = _logits(self._asked.answer(x))
        return self._of(logits, x), logits


def _logits(answer: np.ndarray) -> Logits:
    said = tf.constant(answer)
    return Logits(said, "", said)
