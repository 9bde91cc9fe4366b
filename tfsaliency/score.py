from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import tensorflow as tf

from tfsaliency.forward import Logits
from tfsaliency.rerun import rerun
from tfsaliency.target import Target


class Trace(NamedTuple):
    """What one call of the model was traced to.

    Attributes:
        score: ``(N,)`` float32.
        outputs: what the model said, before its softmax or sigmoid.
        inputs: what it was asked about, in the structure of the model's inputs.
    """

    score: tf.Tensor
    outputs: Logits
    inputs: Any

    @property
    def logits(self) -> list[tf.Tensor]:
        """The outputs that are floats, one after the other."""
        return [value for value in tf.nest.flatten(self.outputs.values) if value.dtype.is_floating]

    def slopes(self) -> list[tuple[tf.Tensor, tf.Tensor]]:
        """The logits that the score depends on, each with the gradient of the score."""
        slopes = tf.gradients(self.score, self.logits, stop_gradients=self.logits)
        pairs = zip(self.logits, slopes, strict=True)
        return [(logit, tf.convert_to_tensor(slope)) for logit, slope in pairs if slope is not None]


class Score:
    """The number that is explained, as a function of the inputs: ``score(x)``, ``(N,)`` float32.

    A method calls it on the inputs, or on copies of them stacked in whole blocks: ``(copies * N, ...)`` with all ``N``
    samples of the first copy first. The target is resolved on the inputs as given and kept for every copy, so noise can
    never flip the class that is explained.

    Attributes:
        rows: how many rows a method should put through the model at once, a scalar int32 tensor.
        numbers: ``(N,)`` int32, which samples of the whole batch these are.
        index: ``(N,)`` int32, the resolved classes; None until they are known.
        at_inputs: ``(N,)`` float32, the scores of the inputs as given; None until they are known.
        advance: takes the share of its work that a method has just done, a scalar tensor; moves a progress bar.
        notes: what a method found out about the model while it was traced, for the explanation's provenance.
    """

    def __init__(
        self,
        logits: Callable[[Any], Logits],
        target: Target,
        index: tf.Tensor | None,
        inputs: Any,
        rows: tf.Tensor,
        first: tf.Tensor,
        advance: Callable[[tf.Tensor], None] = lambda share: None,
    ):
        self._logits, self._target, self._inputs = logits, target, tf.nest.flatten(inputs)
        self._structure = inputs
        self.index = index
        self.rows = rows
        self.numbers = first + tf.range(tf.shape(self._inputs[0])[0])
        self.advance = advance
        self.at_inputs: tf.Tensor | None = None
        self.notes: dict[str, str] = {}

    def __call__(self, x: Any) -> tf.Tensor:
        return self.trace(x).score

    def trace(self, x: Any) -> "Trace":
        """The score with the logits it is made of, for methods that go back through the operations in between."""
        parts = tf.nest.flatten(x)
        is_given = self._is_given(x)
        logits = self._logits(x)
        if self.index is None:
            if not is_given:
                raise RuntimeError(
                    "The target is not resolved yet: a method that scores anything but the inputs themselves "
                    "calls score.resolve() first."
                )
            self.index = self._target.top(logits)
        score = self._of(logits, parts[0])
        if is_given:
            self.at_inputs = score
        return Trace(score, logits, x)

    def altered(self, traced: Trace, x: Any, tensor: tf.Tensor, value: tf.Tensor) -> tf.Tensor:
        """``(copies * N,)``: the scores of copies of the inputs, were a tensor within the model another.

        Args:
            traced: a trace of the score.
            x: the copies, ``(copies * N, ...)``.
            tensor: a tensor of that trace, on the way from the inputs to the score, ``(N, ...)``.
            value: what it is instead, ``(copies * N, ...)``.
        """
        given = zip(tf.nest.flatten(traced.inputs), tf.nest.flatten(x), strict=True)
        flat = tf.nest.flatten(traced.outputs.values)
        values = tf.nest.pack_sequence_as(traced.outputs.values, rerun(flat, [*given, (tensor, value)]))
        return self._of(traced.outputs._replace(values=values), tf.nest.flatten(x)[0])

    def _is_given(self, x: Any) -> bool:
        return all(part is given for part, given in zip(tf.nest.flatten(x), self._inputs, strict=True))

    def _of(self, logits: Logits, part: tf.Tensor) -> tf.Tensor:
        """The scores of the copies of which ``part`` is one part of the inputs."""
        copies = tf.shape(part)[0] // tf.shape(self._inputs[0])[0]
        return self._target.score(logits, tf.tile(self.index, [copies]))

    @contextmanager
    def silent(self) -> Iterator[None]:
        """While what a loop asks is traced: the outermost loop alone moves the progress bar."""
        advance, self.advance = self.advance, lambda share: None
        try:
            yield
        finally:
            self.advance = advance

    def note(self, name: str, text: str) -> None:
        """Writes down what a method found out about the model, such as which layer it took."""
        self.notes[name] = text

    def at(self, x: Any) -> tf.Tensor:
        """``(n,)``: the scores of the inputs as given, or of copies of them; the target is resolved on the former."""
        known = self.resolve()
        return known if self._is_given(x) else self(x)

    def resolve(self) -> tf.Tensor:
        """Scores the inputs as given, once, which settles the target; ``(N,)`` float32."""
        if self.at_inputs is None:
            self(self._structure)
        assert self.at_inputs is not None
        return self.at_inputs
