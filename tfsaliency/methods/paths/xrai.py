from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from tfsaliency.baselines import extremes
from tfsaliency.engine.question import Attribution
from tfsaliency.engine.score import Score
from tfsaliency.explainer import Explainer, Wrapper
from tfsaliency.methods.paths.integrated_gradients import IntegratedGradients

# The paper's segmentations, of pictures of this size and between -1 and 1: from fine to coarse.
SCALES = (50, 100, 150, 250, 500, 1200)
SIGMA, SMALLEST_SEGMENT, SIZE = 0.8, 150, 224
# Segments reach this many pixels beyond their border, where edges are.
DILATION = 5
# A segment that adds fewer new pixels than this is not worth a step.
FEWEST_NEW = 50


@dataclass(frozen=True, eq=False)
class XRAI(Wrapper):
    """XRAI: regions of a picture in place of pixels, in the order of how much each says for its size.

    Formula:
        The picture is segmented six times, from fine to coarse. The region of the largest mean value joins the map,
        with that mean; then the one of the largest mean over the pixels that it adds; and so on. ``v`` of a pixel is
        the mean with which its region joined, ``(N, height, width, 1)``.

    A region is only as good as the segmentation, and every region gets some value: look at the best ones, as a share of
    the picture's area, rather than at the map's zero. Segmented on the host with scikit-image, about a second a
    picture.

    Args:
        inner: a Keras model, for `IntegratedGradients` from each picture's darkest and lightest number, or any
            explainer of pictures; of its values the largest over the channels counts.

    Raises:
        ValueError: on ``explain``, where the inputs are not pictures ``(N, height, width, channels)``.
        ImportError: on ``explain``, without scikit-image.

    Source:
        Kapishnikov, Bolukbasi, Viegas & Terry 2019, XRAI: Better Attributions Through Regions.

    Example:
        >>> import keras, numpy as np, tfsaliency as tfs
        >>> model = keras.Sequential([keras.Input((32, 32, 3)), keras.layers.Conv2D(4, 3, activation="relu"),
        ...                           keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2)])
        >>> x = np.random.default_rng(0).uniform(size=(1, 32, 32, 3))
        >>> tfs.XRAI(tfs.GradientTimesInput(model)).explain(x).values.shape
        (1, 32, 32, 1)
    """

    inner: Explainer

    def __post_init__(self) -> None:
        if not isinstance(self.inner, Explainer):
            object.__setattr__(self, "inner", IntegratedGradients(self.inner, extremes()))
        super().__post_init__()

    def attribute(self, x: Any, score: Score) -> Attribution:
        if any(part.shape.rank != 4 for part in tf.nest.flatten(x)):
            shapes = [tuple(part.shape) for part in tf.nest.flatten(x)]
            raise ValueError(f"XRAI is for pictures (N, height, width, channels). Received: inputs {shapes}")
        values, diagnostics = self.inner.attribute(x, score)
        return Attribution(tf.nest.map_structure(_on_host, x, values), diagnostics)


def _on_host(pictures: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
    maps = tf.numpy_function(_maps, [pictures, values], tf.float32, stateful=False)
    return tf.ensure_shape(maps, [None, *pictures.shape[1:3], 1])


def _maps(pictures: np.ndarray, values: np.ndarray) -> np.ndarray:
    """``(N, height, width, 1)``: each picture's map of regions."""
    pairs = zip(pictures, values.max(axis=-1), strict=True)
    return np.stack([ranked(segments(picture), value) for picture, value in pairs])[..., None].astype("float32")


def segments(picture: np.ndarray) -> np.ndarray:
    """The segments of a picture at all scales, ``(segments, height, width)`` booleans; they overlap."""
    import cv2

    try:
        from skimage.segmentation import felzenszwalb
    except ImportError as error:
        raise ImportError("XRAI segments pictures with scikit-image: pip install scikit-image") from error

    height, width, channels = picture.shape
    span = np.ptp(picture) or 1.0
    scaled = cv2.resize(2 * (picture - picture.min()) / span - 1, (SIZE, SIZE)).reshape(SIZE, SIZE, channels)
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * DILATION + 1, 2 * DILATION + 1))
    masks = []
    for scale in SCALES:
        labels = felzenszwalb(scaled, scale, SIGMA, SMALLEST_SEGMENT, channel_axis=-1)
        labels = cv2.resize(labels.astype("float32"), (width, height), interpolation=cv2.INTER_NEAREST)
        masks += [cv2.dilate((labels == label).astype("uint8"), disk) for label in np.unique(labels)]
    return np.array(masks, bool)


def ranked(masks: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The map of overlapping regions, each with the mean value of the pixels that it adds, the largest mean first.

    Args:
        masks: ``(segments, height, width)`` booleans.
        values: ``(height, width)``.
    """
    flat = values.reshape(-1).astype("float64")
    weights = masks.reshape(len(masks), -1).astype("float32")
    result = np.zeros_like(flat)
    left = np.ones(len(flat), bool)
    sums, areas = weights @ flat, weights.sum(axis=1, dtype="float64")
    while (enough := areas >= min(FEWEST_NEW, len(flat))).any():
        best = int(np.argmax(np.where(enough, sums / np.maximum(areas, 1), -np.inf)))
        new = left & masks[best].reshape(-1)
        result[new] = flat[new].mean()
        left &= ~new
        # What is taken counts for no other segment.
        sums -= weights[:, new] @ flat[new]
        areas -= weights[:, new].sum(axis=1, dtype="float64")
    if left.any():
        result[left] = flat[left].mean()
    return result.reshape(values.shape)
