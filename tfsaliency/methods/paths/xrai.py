import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from tfsaliency.baselines import extremes
from tfsaliency.engine.question import Attribution
from tfsaliency.engine.score import Score
from tfsaliency.explainer import Explainer, Wrapper
from tfsaliency.methods.paths.integrated_gradients import IntegratedGradients

# The scales of the paper, from fine to coarse, for pictures of this size with numbers from -1 to 1.
SCALES = (50, 100, 150, 250, 500, 1200)
SIGMA, SMALLEST_SEGMENT, SIZE = 0.8, 150, 224
# Segments grow by this many pixels, to include the edges at their border.
DILATION = 5
# A segment with fewer new pixels than this is skipped.
FEWEST_NEW = 50


@dataclass(frozen=True, eq=False)
class XRAI(Wrapper):
    """XRAI: regions of a picture in place of pixels, ranked by their mean value.

    Formula:
        The picture is segmented six times, from fine to coarse. The region with the largest mean value joins the map
        first. Then the region with the largest mean value over its new pixels joins, and so on. ``v`` of a pixel is the
        mean value of its region at that moment, ``(N, height, width, 1)``.

    The regions depend on the segmentation, and every region gets a value: look at the best regions, as a share of the
    area of the picture, and not at the zero of the map. scikit-image segments on the host, in about one second per
    picture.

    Args:
        inner: a Keras model, which gets `IntegratedGradients` from the darkest and the lightest number of each picture;
            or any explainer of pictures. The largest of its values over the channels counts.

    Raises:
        ValueError: on ``explain``, if the inputs are not pictures ``(N, height, width, channels)``.
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
        score.check_channels_last()
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
    maps = [ranked(segments(picture.tobytes(), picture.shape), value) for picture, value in pairs]
    return np.stack(maps)[..., None].astype("float32")


# Segments take a second, and are the same for each class of a picture.
@functools.lru_cache(maxsize=16)
def segments(content: bytes, shape: tuple[int, int, int]) -> np.ndarray:
    """The segments of a picture at all scales, ``(segments, height, width)`` booleans; they overlap.

    Args:
        content: the numbers of the picture, float32.
        shape: ``(height, width, channels)``.
    """
    import cv2

    try:
        from skimage.segmentation import felzenszwalb
    except ImportError as error:
        raise ImportError("XRAI segments pictures with scikit-image: pip install scikit-image") from error

    picture = np.frombuffer(content, np.float32).reshape(shape)
    height, width, channels = shape
    span = np.ptp(picture) or 1.0
    scaled = cv2.resize(2 * (picture - picture.min()) / span - 1, (SIZE, SIZE)).reshape(SIZE, SIZE, channels)
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * DILATION + 1, 2 * DILATION + 1))
    masks = []
    for scale in SCALES:
        labels = felzenszwalb(scaled, scale, SIGMA, SMALLEST_SEGMENT, channel_axis=-1)
        labels = cv2.resize(labels.astype("float32"), (width, height), interpolation=cv2.INTER_NEAREST)
        masks += [cv2.dilate((labels == label).astype("uint8"), disk) for label in np.unique(labels)]
    found = np.array(masks, bool)
    found.flags.writeable = False
    return found


def ranked(masks: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The map of overlapping regions; each region gets the mean value of its new pixels, the largest mean first.

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
        # Pixels on the map no longer count for other segments.
        sums -= weights[:, new] @ flat[new]
        areas -= weights[:, new].sum(axis=1, dtype="float64")
    if left.any():
        result[left] = flat[left].mean()
    return result.reshape(values.shape)
