"""What a model says when places of its inputs are hidden."""

import math
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from tfsaliency.base.options import FitsInputs
from tfsaliency.baselines import baselines
from tfsaliency.engine.copies import Block, scores_of_copies
from tfsaliency.engine.question import Attribution
from tfsaliency.engine.score import Behind, Score
from tfsaliency.engine.scorer import Scorer
from tfsaliency.model.keys import key_of
from tfsaliency.tensors.sums import samples_of


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

    wants_scores = False

    def key(self) -> Hashable:
        return Hidden, key_of(self.fill), self.shapes

    def check_options(self, inputs: Any) -> None:
        if isinstance(self.fill, FitsInputs):
            self.fill.check(inputs)

    def attribute(self, x: Any, score: Score) -> Attribution:
        score.check_channels_last()
        kept = tf.transpose(score.beside["kept"], [1, 0, 2])
        copies = kept.shape[0]
        assert copies is not None

        def against(behind: Behind) -> list[tf.Tensor]:
            def ask_block(block: Block) -> tf.Tensor:
                first, count = block
                block_kept = tf.broadcast_to(kept[first : first + count], [count, samples_of(x), kept.shape[2]])
                of_parts = self._of_parts(tf.cast(block_kept, tf.float32))
                shares = score.over(x, of_parts)
                seen = tf.nest.map_structure(
                    lambda part, part0, share: _seen(part, part0, share, count), x, behind.numbers, shares
                )
                return score.at(score.made_anew(seen, x, behind, of_parts))

            return [tf.transpose(scores_of_copies(copies, x, score, ask_block))]

        like = [tf.zeros([samples_of(x), copies])]
        (scores,) = baselines(self.fill, x, score).behind().mean_of(against, like)
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
    # Exact where a share is 0 or 1.
    return shares * part + (1 - shares) * part0
