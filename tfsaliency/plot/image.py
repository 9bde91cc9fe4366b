"""Arrays to RGB: maps, pictures and overlays, without a figure."""

import cv2
import numpy as np
from matplotlib import colormaps

# Both are ordered in lightness as well as in hue, so they work for colour blindness and grey printing. In the first,
# zero is white between purple and orange. In the second, zero is black below yellow.
DIVERGING = "PuOr_r"
SEQUENTIAL = "inferno"
# Of a place whose value is not a number.
NO_NUMBER = "grey"


def flat_map(values: np.ndarray, signed: bool) -> np.ndarray:
    """One number per place: the sum over channels of a signed map, the largest channel of magnitudes.

    Args:
        values: ``(..., channels)``.
        signed: whether positive and negative numbers cancel.
    """
    flat: np.ndarray = values.sum(axis=-1) if signed else values.max(axis=-1)
    return flat


def limit_of(flat: np.ndarray, percentile: float) -> float:
    """The ``|v|`` that gets the strongest colour, of the numbers that are finite; 1 for a map of zeros."""
    strengths = np.abs(flat[np.isfinite(flat)])
    if not strengths.size:
        return 1.0
    limit = float(np.percentile(strengths, percentile))
    # A sparse map can be zero at the percentile and still have larger values to show.
    return limit or float(strengths.max()) or 1.0


def heatmap(flat: np.ndarray, *, limit: float | None = None, signed: bool = True) -> np.ndarray:
    """Colours a map: diverging with zero fixed in the middle if signed, else sequential from zero; NaN is grey.

    Args:
        flat: ``(height, width)``.
        limit: the ``|v|`` that gets the strongest colour; by default the 99th percentile.
        signed: whether the numbers have both signs; False for magnitudes.

    Returns:
        RGB uint8, ``(height, width, 3)``.

    Example:
        >>> import numpy as np
        >>> from tfsaliency.plot import heatmap
        >>> heatmap(np.array([[0.0, 1.0], [-1.0, 0.0]])).shape
        (2, 2, 3)
    """
    limit = limit_of(flat, 99) if limit is None else limit
    if signed:
        colours, share = colormaps[DIVERGING], flat / limit / 2 + 0.5
    else:
        colours, share = colormaps[SEQUENTIAL], flat / limit
    return (colours.with_extremes(bad=NO_NUMBER)(np.clip(share, 0, 1))[..., :3] * 255).round().astype("uint8")


def picture(image: np.ndarray) -> np.ndarray:
    """An input as RGB: uint8 stays unchanged, other types are stretched from their smallest to their largest number.

    Args:
        image: ``(height, width, channels)`` with 1 or 3 channels; for any other number of channels the mean is shown in
            grey.

    Returns:
        RGB uint8, ``(height, width, 3)``.

    Example:
        >>> import numpy as np
        >>> from tfsaliency.plot import picture
        >>> picture(np.array([[[0.0], [0.5], [2.0]]]))[0, :, 0]
        array([  0,  64, 255], dtype=uint8)
    """
    if image.shape[-1] != 3:
        image = image.mean(axis=-1, keepdims=True).astype(image.dtype)
    if image.dtype != np.uint8:
        low, high = float(image.min()), float(image.max())
        image = ((image - low) / ((high - low) or 1.0) * 255).round().astype("uint8")
    return np.ascontiguousarray(np.broadcast_to(image, (*image.shape[:2], 3)))


def overlay(image: np.ndarray, flat: np.ndarray, *, percentile: float = 99.0) -> np.ndarray:
    """The picture in grey, coloured where the map is strong, for either sign.

    The strength is averaged over a hundredth of the picture: single pixels cannot be seen on a photograph.

    Args:
        image: RGB uint8, ``(height, width, 3)``.
        flat: ``(height, width)`` of any size; it is resized to the picture.
        percentile: strength above this percentile gets the strongest colour.

    Returns:
        RGB uint8, of the picture's size.

    Example:
        >>> import numpy as np
        >>> from tfsaliency.plot import overlay
        >>> overlay(np.zeros((64, 48, 3), "uint8"), np.random.rand(8, 6)).shape
        (64, 48, 3)
    """
    height, width = image.shape[:2]
    limit = limit_of(flat, 100)
    strength = np.nan_to_num(np.abs(flat), nan=0.0, posinf=limit).astype("float32")
    strength = cv2.resize(strength, (width, height), interpolation=cv2.INTER_LINEAR)
    strength = cv2.GaussianBlur(strength, (0, 0), max(height, width) / 100)
    share = np.clip(strength / limit_of(strength, percentile), 0, 1)
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    mixed: np.ndarray = grey * (1 - share[..., None]) + heatmap(share, limit=1.0, signed=False) * share[..., None]
    return mixed.round().astype("uint8")
