import math
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfsaliency.baselines import baselines
from tfsaliency.engine.copies import Block, scores_of_copies
from tfsaliency.engine.question import Attribution
from tfsaliency.engine.score import Behind, Score
from tfsaliency.explainer import Explainer
from tfsaliency.methods.black_boxes.windows import lengths_of, usual_lengths
from tfsaliency.model.foreign import as_black_box
from tfsaliency.tensors.places import one_per_place, spatial_shape, spread


@dataclass(frozen=True, eq=False)
class Occlusion(Explainer):
    """Occlusion: the drop of the score when a window of the input is hidden, without a gradient.

    Formula:
        ``v`` of a place is the mean of ``S(x) - S(x with window w at the baseline)`` over the windows that cover it,
        ``(N, height, width, 1)``. A window at the end of an axis is cut off there.

    The map is as coarse as the windows and shows the effect of one window alone. If either of two parts of the input is
    enough for the score, the map shows neither. The baseline in a hidden window is also an input to the model: compare
    baselines.

    Args:
        model: a Keras model; or any function of arrays ``(N, ...)`` that returns ``(N, classes)``, see `BlackBox`.
        window: length along every axis of space or time, over all channels; a tuple for one length per axis; a list or
            dict of these for several inputs; None for an eighth of each axis, and for each column of a table
            ``(N, F)`` or each word of a bag: these have no neighbours.
        stride: the step of the window, at most its length, in the same forms; None for half the window.
        baseline: replaces the hidden window, as in `IntegratedGradients`. A function does not show which id stands for
            nothing: for integers it has to be said, ``baseline=0`` if it is 0.

    With several inputs, one input is occluded at a time and the others stay unchanged. Ids are hidden behind their
    vectors: where the model masks an id (``mask_zero=True``), the mask stays that of the text as it is. Occlusion of
    ``lambda ids: model.predict(ids.astype(int))`` puts the id itself in, and so lets the model mask it.

    Raises:
        ValueError: on ``explain``, if window, stride or baseline do not fit the inputs.

    Source:
        Zeiler & Fergus 2014, Visualizing and Understanding Convolutional Networks, section 4.2.

    Example:
        >>> import keras, numpy as np, tfsaliency as tfs
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, use_bias=False)])
        >>> model.set_weights([np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])])
        >>> tfs.Occlusion(model, window=1, stride=1).explain(np.ones((1, 3)), target=1).values
        array([[2., 4., 6.]], dtype=float32)
    """

    model: keras.Model
    window: Any = None
    stride: Any = None
    baseline: Any = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "model", as_black_box(self.model))
        super().__post_init__()

    def attribute(self, x: Any, score: Score) -> Attribution:
        score.check_channels_last()
        at_x = score.at(x)
        covers = self._covers(x)

        def against(behind: Behind) -> Any:
            values = []
            for number, part in enumerate(tf.nest.flatten(x)):
                # What is hidden together is told of the leader.
                is_leader = number in score.leaders
                lost = self._lost(number, covers[number], x, behind, at_x, score) if is_leader else one_per_place(part)
                values.append(lost)
            return values

        like = [one_per_place(part) for part in tf.nest.flatten(x)]
        values = baselines(self.baseline, x, score).behind().mean_of(against, like)
        return Attribution(tf.nest.pack_sequence_as(x, values))

    def _lost(
        self, leader: int, covers: list[np.ndarray], x: Any, behind: Behind, at_x: tf.Tensor, score: Score
    ) -> tf.Tensor:
        """The drop for each place of a tensor, with all that is hidden with it."""
        rank = tf.nest.flatten(x)[leader].shape.rank
        counts = [len(cover) for cover in covers]

        def ask(block: Block) -> tf.Tensor:
            first, count = block
            numbers = tf.unravel_index(tf.range(first, first + count), counts)
            hidden = tf.ones([count] + [1] * (rank - 1))
            for axis, cover in enumerate(covers, start=1):
                on_axis = tf.gather(tf.constant(cover, tf.float32), numbers[axis - 1])
                hidden *= tf.reshape(on_axis, [count, *_on_axis(axis, rank - 1)])
            return score.at(score.seen(x, behind, {leader: 1 - hidden}))

        lost = at_x - scores_of_copies(math.prod(counts), x, score, ask)
        values = tf.reshape(tf.transpose(lost), [-1, *counts])
        covered = np.ones([1] * (len(counts) + 1))
        for axis, cover in enumerate(covers, start=1):
            values = spread(values, cover, axis)
            covered = covered * cover.sum(axis=0).reshape([1, *_on_axis(axis, len(counts))])
        values /= tf.constant(covered, tf.float32)
        return values[..., None] if rank > 2 else values

    def _covers(self, x: Any) -> list[list[np.ndarray]]:
        """For each part and axis, the places that each window covers: ``(windows, places)``."""
        parts = tf.nest.flatten(x)
        windows = lengths_of("window", self.window, x, list(map(usual_lengths, parts)))
        halves = [[max(1, length // 2) for length in lengths] for lengths in windows]
        strides = lengths_of("stride", self.stride, x, halves)
        covers = []
        for part, lengths, steps in zip(parts, windows, strides, strict=True):
            axes = list(zip(lengths, steps, spatial_shape(part), strict=True))
            for length, step, extent in axes:
                if not 1 <= step <= length <= extent:
                    raise ValueError(
                        f"Windows fit into the input and leave nothing out: 1 <= stride <= window <= {extent} for this "
                        f"axis of {tuple(part.shape)}. Received: window {length}, stride {step}"
                    )
            covers.append([_windows(*each) for each in axes])
        return covers


def _windows(length: int, step: int, extent: int) -> np.ndarray:
    starts = step * np.arange(-(-(extent - length) // step) + 1)
    offsets = np.arange(extent) - starts[:, None]
    return (offsets >= 0) & (offsets < length)


def _on_axis(axis: int, axes: int) -> list[int]:
    """A shape of ``axes`` axes, with -1 at ``axis``, counted from 1, and 1 elsewhere."""
    return [-1 if each == axis else 1 for each in range(1, axes + 1)]
