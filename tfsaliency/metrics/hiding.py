"""What a model says when places of its inputs are hidden."""

import dataclasses
import math
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from tfsaliency.base.options import FitsInputs
from tfsaliency.base.structure import flatten
from tfsaliency.baselines import baselines
from tfsaliency.engine.ask import ask
from tfsaliency.engine.copies import Block, scores_of_copies
from tfsaliency.engine.question import Attribution
from tfsaliency.engine.score import Score
from tfsaliency.engine.scorer import Choice, Scorer
from tfsaliency.explanation import Explanation
from tfsaliency.metrics.places import Places
from tfsaliency.model.foreign import as_black_box, as_model
from tfsaliency.model.keys import key_of
from tfsaliency.target.kept import Kept

# The masks of so many bytes are held at once.
MASK_BYTES = 2**28
# Scores of the same inputs differ by no more than this, relative and absolute.
SAME = 1e-2, 1e-3


@dataclass(frozen=True, eq=False)
class Hidden(Scorer):
    """Asks a model about copies of the inputs in which places are replaced by a fill.

    Args:
        model: any Keras model.
        fill: what replaces a place, as the ``baseline`` of `IntegratedGradients`.
        shapes: the axes of the places of each part of the inputs.
    """

    fill: Any
    shapes: tuple[tuple[int, ...], ...]

    def key(self) -> Hashable:
        return Hidden, key_of(self.fill), self.shapes

    def check_options(self, inputs: Any) -> None:
        if isinstance(self.fill, FitsInputs):
            self.fill.check(inputs)

    def attribute(self, x: Any, score: Score) -> Attribution:
        score.resolve()
        kept = tf.transpose(score.beside["kept"], [1, 0, 2])
        copies = kept.shape[0]
        assert copies is not None

        def against(x0: Any) -> list[tf.Tensor]:
            def ask_block(block: Block) -> tf.Tensor:
                first, count = block
                shares = score.over(x, self._of_parts(tf.cast(kept[first : first + count], tf.float32)))
                seen = tf.nest.map_structure(lambda part, part0, share: _seen(part, part0, share, count), x, x0, shares)
                return score.at(seen)

            return [tf.transpose(scores_of_copies(copies, x, score, ask_block))]

        like = [tf.zeros_like(tf.transpose(kept[..., 0]), tf.float32)]
        (scores,) = baselines(self.fill, x, score).mean_of(against, like)
        return Attribution((), {"scores": scores})

    def _of_parts(self, kept: tf.Tensor) -> list[tf.Tensor]:
        sizes = [math.prod(shape) for shape in self.shapes]
        pairs = zip(tf.split(kept, sizes, axis=-1), self.shapes, strict=True)
        return [tf.reshape(part, [*tf.unstack(tf.shape(part)[:2]), *shape]) for part, shape in pairs]


def _seen(part: tf.Tensor, part0: tf.Tensor, shares: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
    """``(count * N, ...)``: the inputs where places are kept, and the fill elsewhere.

    What stands for several words at once, such as a count, is in between when some of them are kept.
    """
    part, part0 = (tf.tile(each, [count] + [1] * (part.shape.rank - 1)) for each in (part, part0))
    return tf.where(shares == 1, part, part0 + shares * (part - part0))


class Subject:
    """What a metric asks about: a model, inputs, and what was explained of them.

    Args:
        model: the model that was explained.
        explanation: of its inputs.
        target: what was explained; None for the classes that the explanation names.

    Raises:
        ValueError: the model does not give the scores of the explanation.
    """

    def __init__(self, model: Any, explanation: Explanation, target: Any = None):
        self.model, self.inputs = as_model(as_black_box(model)), explanation.inputs
        wanted = explanation.target if target is None else target
        self.chosen = Choice(self.model).chosen(self.inputs, wanted)
        self.kept, self.scores = self.chosen.target, self.chosen.scores
        self._probabilities: np.ndarray | None = None
        rtol, atol = SAME
        if not np.allclose(self.scores, explanation.scores, rtol=rtol, atol=atol * max(1, np.abs(self.scores).max())):
            raise ValueError(
                f"The model gives the scores {self.scores[:3].tolist()} for these inputs, and the explanation is of "
                f"{explanation.scores[:3].tolist()}. Pass the model that was explained, and target= as it was passed "
                f"to explain. Explained was: {explanation.provenance.get('target', 'unknown')}"
            )

    @property
    def measured(self) -> str:
        """What `probabilities_without` measures."""
        return "the probability of the class" if self.kept.has_probabilities else "the score"

    def without(self, places: Places, kept: np.ndarray, fill: Any) -> np.ndarray:
        """``(N, M)``: the scores of inputs in which only some places are kept.

        Args:
            places: of the inputs.
            kept: ``(N, M, P)`` or ``(1, M, P)``, True for what is kept.
            fill: what replaces the others.
        """
        return self._ask(self.kept, places, kept, fill)

    def probabilities_without(self, places: Places, kept: np.ndarray, fill: Any) -> np.ndarray:
        """The same in probabilities of the class, where the model gives them."""
        return self._ask(self._probably, places, kept, fill)

    @property
    def probabilities(self) -> np.ndarray:
        """``(N,)``: of the inputs as they are, where the model gives them; else the scores."""
        if not self.kept.has_probabilities:
            return self.scores
        if self._probabilities is None:
            self._probabilities = self.probabilities_of(self.inputs)
        return self._probabilities

    def probabilities_of(self, inputs: Any) -> np.ndarray:
        """``(N,)``: of altered inputs, where the model gives probabilities; else the scores."""
        return Scorer(self.model).scores(inputs, self._probably)

    @property
    def _probably(self) -> Kept:
        return dataclasses.replace(self.kept, as_probability=self.kept.has_probabilities)

    def _ask(self, target: Kept, places: Places, kept: np.ndarray, fill: Any) -> np.ndarray:
        samples, copies = len(flatten(self.inputs)[0]), kept.shape[1]
        question = Hidden(self.model, fill, places.shapes)
        size = max(1, min(copies, MASK_BYTES // max(1, samples * kept.shape[2])))
        pieces = []
        for start in range(0, copies, size):
            # Blocks of one length share a trace.
            which = np.minimum(np.arange(start, start + size), copies - 1)
            block = np.broadcast_to(kept[:, which], (samples, size, kept.shape[2]))
            result = ask(question, self.inputs, target, beside={"kept": block}).result
            pieces.append(result.diagnostics["scores"])
            if target.as_probability:
                self._probabilities = result.scores
        return np.concatenate(pieces, axis=1)[:, :copies].astype("float64")
