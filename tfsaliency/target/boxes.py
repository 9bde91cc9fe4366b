"""A box of a detector."""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tensorflow as tf

from tfsaliency.model.keys import key_of
from tfsaliency.model.logits import Logits
from tfsaliency.target.base import (
    Rows,
    Target,
    check_classes,
    count_of,
    named_per_sample,
    rows_per_sample,
    shapes_of,
    whole_numbers_or_none,
)
from tfsaliency.target.places import of_each_class, of_each_row

# The four numbers of a box, by their place.
SIDES = 4
# Parts of the names that detectors give to their outputs.
SCORES = ("score", "class", "cls", "conf", "prob", "logit", "label")
BOXES = ("box", "coord", "loc", "reg", "corner", "rect")


@dataclass(frozen=True)
class Box(Target):
    """The score of a class, or a side, of one box, chosen on the inputs and kept."""

    label: int | tuple[int, ...] | None
    index: int | tuple[int, ...] | None
    near: np.ndarray | None = field(compare=False)
    side: int | None
    decode: Callable[[Any], tuple[tf.Tensor, tf.Tensor]] | None

    @property
    def waits(self) -> bool:  # type: ignore[override]
        return self.index is None or self.label is None

    @property
    def key(self) -> Hashable:
        named = self.label is None, self.index is None, self.near is None
        return Box, *named, self.side, key_of(self.decode)

    def given(self, samples: int) -> dict[str, np.ndarray]:
        rows = named_per_sample({"class": self.label, "box": self.index}, samples)
        near = {} if self.near is None else {"near": rows_per_sample("boxes", self.near, samples)}
        return rows | near

    def count(self) -> int:
        return max(count_of(self.label, self.index), 1 if self.near is None else len(self.near))

    def check(self, logits: Logits, given: dict[str, np.ndarray]) -> None:
        _, scores = tf.function(self._read, autograph=False).get_concrete_function(logits.values).structured_outputs
        check_classes(given.get("class"), scores.shape[-1])
        check_classes(given.get("box"), scores.shape[1], what=("boxes", "index"))

    def choose(self, logits: Logits, given: Rows) -> Rows:
        boxes, scores = self._read(logits.outputs)
        chosen = dict(given)
        near = chosen.pop("near", None)
        if near is not None:
            overlaps = _overlap(boxes, near[:, None])
            chosen |= {"box": _largest(overlaps), "overlap": tf.reduce_max(overlaps, axis=1)}
        elif "box" not in chosen:
            of_class = scores if self.label is None else of_each_class(scores, chosen["class"])[..., None]
            chosen["box"] = _largest(tf.reduce_max(of_class, axis=2))
        if "class" not in chosen:
            chosen["class"] = _largest(of_each_row(scores, chosen["box"]))
        return chosen

    def score(self, logits: Logits, chosen: Rows, inputs: Any) -> tf.Tensor:
        boxes, scores = self._read(logits.values)
        if self.side is not None:
            return of_each_row(boxes, chosen["box"])[:, self.side]
        return of_each_row(of_each_row(scores, chosen["box"]), chosen["class"])

    def check_told(self, told: dict[str, np.ndarray]) -> None:
        apart = np.flatnonzero(told.get("overlap", np.ones(1)) == 0)
        if apart.size:
            raise ValueError(
                f"No box of the model overlaps with the box near= in the samples {apart[:5].tolist()}. It has the form "
                "of the model's own boxes, with two opposite corners: (x0, y0, x1, y1)."
            )

    def _read(self, values: Any) -> tuple[Any, Any]:
        """The boxes ``(N, boxes, 4)`` and the scores ``(N, boxes, classes)`` in a model's output."""
        if self.decode is not None:
            boxes, scores = self.decode(values)
            if boxes.shape.rank != 3 or scores.shape.rank != 3 or boxes.shape[-1] != SIDES:
                raise ValueError(
                    "target.box reads boxes (N, boxes, 4) and scores (N, boxes, classes). Received from decode: shapes "
                    f"{shapes_of((boxes, scores))}"
                )
            return boxes, scores
        parts = tf.nest.flatten(values)
        if len(parts) == 1 and parts[0].shape.rank == 3 and (parts[0].shape[-1] or 0) > SIDES:
            return parts[0][..., :SIDES], parts[0][..., SIDES:]
        if len(parts) == 2 and all(part.shape.rank == 3 for part in parts):
            is_box = [part.shape[-1] == SIDES for part in parts]
            if sum(is_box) == 2:
                is_box = [not says_score for says_score in _say_scores(values)]
            if sum(is_box) == 1:
                return parts[is_box.index(True)], parts[is_box.index(False)]
        raise ValueError(
            "target.box finds boxes in an output (N, boxes, 4 + classes), or in two of shapes (N, boxes, 4) and (N, "
            "boxes, classes): they are told apart by their shapes, or with four classes by the names of a dict such as "
            f"'boxes' and 'scores'. The model's output has shape {shapes_of(values)}: pass decode=, a function of it "
            "that returns boxes and scores."
        )

    def __str__(self) -> str:
        named = {"label": self.label, "index": self.index, "side": self.side}
        shown = [f"{name}={each}" for name, each in named.items() if each is not None]
        return f"box({', '.join([*shown, *(['near'] if self.near is not None else [])])})"


def _say_scores(values: Any) -> list[bool]:
    """Which of two outputs has a name that speaks of scores, or, where neither or both do, does not speak of boxes."""
    names = [str(name).lower() for name in sorted(values)] if isinstance(values, Mapping) else ["", ""]
    say_scores = [any(word in name for word in SCORES) for name in names]
    return say_scores if sum(say_scores) == 1 else [not any(word in name for word in BOXES) for name in names]


def _largest(values: tf.Tensor) -> tf.Tensor:
    return tf.argmax(values, axis=1, output_type=tf.int32)


def _overlap(boxes: tf.Tensor, near: tf.Tensor) -> tf.Tensor:
    """The intersection over union of boxes given by opposite corners, ``(N, boxes)``."""

    def area(low: tf.Tensor, high: tf.Tensor) -> tf.Tensor:
        return tf.reduce_prod(tf.maximum(high - low, 0.0), axis=-1)

    (low, high), (low0, high0) = ((each[..., :2], each[..., 2:]) for each in (boxes, near))
    shared = area(tf.maximum(low, low0), tf.minimum(high, high0))
    return tf.math.divide_no_nan(shared, area(low, high) + area(low0, high0) - shared)


def box(
    label: Any = None,
    *,
    index: Any = None,
    near: Any = None,
    side: int | None = None,
    decode: Callable[[Any], tuple[tf.Tensor, tf.Tensor]] | None = None,
) -> Target:
    """A box of a detector: the score of its class, or one of its four sides.

    The box is chosen once, by what the model says about the inputs as given, and keeps its place in the output for
    every noisy or masked copy.

    Args:
        label: the class, or one per sample; None for the best class of the box.
        index: the place of the box in the output, or one per sample.
        near: a box in the form of the model's own, ``(x0, y0, x1, y1)``, or one per sample ``(N, 4)``: the one with the
            largest overlap is explained. With neither, it is the box with the highest score (of ``label``).
        side: None for the score of the class; 0 to 3 for that number of the box.
        decode: a function of the model's output that returns boxes ``(N, boxes, 4)`` and scores ``(N, boxes,
            classes)``. By default these are the first four numbers and the rest of an output ``(N, boxes, 4 +
            classes)``, or two outputs.

    The choice is in the explanation: ``target`` is the class, and ``diagnostics["box"]`` the place of the box; with
    ``near`` also ``["overlap"]``, its intersection over union.

    Raises:
        ValueError: ``index`` and ``near`` together, or no such side; or on ``explain``, if no boxes are found in the
            output, or none that overlaps.

    Example:
        >>> import keras, numpy as np, tfsaliency as tfs
        >>> keras.utils.set_random_seed(0)
        >>> image = keras.Input((8, 8, 3))
        >>> cells = keras.layers.Conv2D(4 + 2, 4, strides=4)(image)  # one box for each of four cells, two classes
        >>> model = keras.Model(image, keras.layers.Reshape((4, 6))(cells))
        >>> explanation = tfs.Gradient(model).explain(np.ones((1, 8, 8, 3)), tfs.target.box(1, index=3))
        >>> np.argwhere(explanation.values[0, ..., 0]).min(axis=0)  # the last box is that of the last cell
        array([4, 4])
    """
    if index is not None and near is not None:
        raise ValueError("A box is chosen by its place, index=, or by its overlap, near=. Received: both")
    if side not in (None, 0, 1, 2, 3):
        raise ValueError(f"side is one of the four numbers of a box, 0 to 3. Received: {side!r}")
    corners = None if near is None else np.atleast_2d(np.asarray(near, "float32"))
    if corners is not None and (corners.ndim != 2 or corners.shape[1] != SIDES):
        raise ValueError(f"near is a box of four numbers, or one per sample (N, 4). Received: shape {corners.shape}")
    return Box(whole_numbers_or_none("label", label), whole_numbers_or_none("index", index), corners, side, decode)
