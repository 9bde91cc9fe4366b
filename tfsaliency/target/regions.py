"""A class over a part of a segmentation map."""

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tensorflow as tf

from tfsaliency.model.logits import PROBABILITY, Logits
from tfsaliency.target.base import (
    Rows,
    Target,
    check_classes_of_places,
    count_of,
    one_output,
    only_output,
    per_sample,
    rows_per_sample,
    shapes_of,
    whole_numbers,
)
from tfsaliency.target.places import of_each_class
from tfsaliency.tensors.sums import total


@dataclass(frozen=True)
class Region(Target):
    """The mean logit of a class over the places of a mask, which may be the places where the model sees the class."""

    masks: tuple[np.ndarray, ...] = field(compare=False)
    index: int | tuple[int, ...]

    @property
    def waits(self) -> bool:  # type: ignore[override]
        return not self.masks

    @property
    def key(self) -> Hashable:
        return Region, self.waits

    def given(self, samples: int) -> dict[str, np.ndarray]:
        index = per_sample("index", self.index, samples)
        if self.waits:
            return {"class": index}
        return {"class": index, "mask": rows_per_sample("masks", np.stack(self.masks), samples)}

    def count(self) -> int:
        return max(1, len(self.masks), count_of(self.index))

    def check(self, logits: Logits, given: dict[str, np.ndarray]) -> None:
        values = one_output(logits)
        if values.shape.rank < 3:
            raise ValueError(
                "target.region explains an output with places, (N, height, width, classes). The model's output has "
                f"shape {shapes_of(values)}"
            )
        check_classes_of_places(given["class"], values.shape[-1])
        mask = given["mask"].shape[1:] if "mask" in given else tuple(values.shape[1:-1])
        places = tuple(values.shape[1:-1])
        fits = len(mask) == len(places) and all(a in (None, b) for a, b in zip(places, mask, strict=True))
        if not fits:
            hint = ". Masks of their own for the samples are a list: list(masks)" if len(mask) > len(places) else ""
            raise ValueError(
                f"target.region has a mask of shape {mask} for logits of shape {shapes_of(values)}. The mask covers "
                f"what lies between the first and the last axis{hint}."
            )

    def choose(self, logits: Logits, given: Rows) -> Rows:
        outputs, index = one_output(logits._replace(values=logits.outputs)), given["class"]
        if outputs.shape[-1] == 1:
            is_probability = only_output(logits.links) in ("Sigmoid", PROBABILITY)
            seen = outputs[..., 0] > (0.5 if is_probability else 0.0)
        else:
            top = tf.argmax(outputs, axis=-1, output_type=tf.int32)
            seen = tf.equal(top, tf.reshape(index, [-1] + [1] * (top.shape.rank - 1)))
        return {**given, "mask": tf.cast(seen, tf.float32)}

    def score(self, logits: Logits, chosen: Rows, inputs: Any) -> tf.Tensor:
        values, mask = one_output(logits), chosen["mask"]
        of_class = of_each_class(values, chosen["class"])
        return tf.math.divide_no_nan(total(of_class * mask), total(mask))

    def told(self, chosen: Rows) -> Rows:
        return {"class": chosen["class"], "region": total(chosen["mask"])}

    def check_told(self, told: dict[str, np.ndarray]) -> None:
        empty = np.flatnonzero(told["region"] == 0)
        if empty.size:
            raise ValueError(
                f"The model sees the class of target.region nowhere in the samples {empty[:5].tolist()}. Explain these "
                "for a mask of yours, or another class."
            )

    def __str__(self) -> str:
        return f"region({'own mask' if self.waits else 'mask'}, {self.index})"


def region(mask: Any, index: Any) -> Target:
    """The mean logit of one class over a region of a segmentation map.

    Args:
        mask: ``(height, width)``, or the spatial shape of the model's output: bool, or non-negative weights. A list of
            one mask per sample. None for the places where the model itself sees the class: its most likely class there,
            or for a single channel a probability above a half.
        index: the class, along the output's last axis, or one per sample.

    ``diagnostics["region"]`` is the sum of each mask.

    Raises:
        ValueError: a mask is empty or has a negative weight; or on ``explain``, the model sees the class nowhere.

    Example:
        >>> import keras, numpy as np, tfsaliency as tfs
        >>> model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Conv2D(3, 3, padding="same")])
        >>> mask = np.zeros((8, 8)); mask[2, 3] = 1
        >>> values = tfs.Gradient(model).explain(np.ones((1, 8, 8, 1)), tfs.target.region(mask, 0)).values
        >>> np.argwhere(values[0, ..., 0]).min(axis=0), np.argwhere(values[0, ..., 0]).max(axis=0)
        (array([1, 2]), array([3, 4]))
    """
    is_several = isinstance(mask, list | tuple) and all(hasattr(each, "shape") for each in mask)
    given = [] if mask is None else mask if is_several else [mask]
    masks = tuple(np.array(each, "float32") for each in given)
    for each in masks:
        if not each.sum() > 0 or each.min() < 0:
            raise ValueError(
                "target.region takes a mask with at least one positive and no negative weight. "
                f"Received: {each.size} weights that sum to {each.sum():g}"
            )
    if len({each.shape for each in masks}) > 1:
        raise ValueError(f"The masks of target.region have one shape. Received: {[each.shape for each in masks]}")
    return Region(masks, whole_numbers("index", index))
