"""Sequences of letters with heights."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.font_manager import FontProperties
from matplotlib.patches import PathPatch
from matplotlib.textpath import TextPath
from matplotlib.transforms import Affine2D

from tfsaliency.base.structure import flatten
from tfsaliency.plot.captions import title_text
from tfsaliency.plot.figure import Drawn
from tfsaliency.plot.kinds import INCHES
from tfsaliency.plot.record import Record

FONT = FontProperties(family="DejaVu Sans", weight="bold")
# The usual colours of DNA; other letters take their turn.
COLOURS = {"A": "#109648", "C": "#255c99", "G": "#f7b32b", "T": "#d62839", "U": "#d62839"}
OTHERS = ("#255c99", "#d62839", "#109648", "#f7b32b", "#7b4b94", "#555555")
# So wide is a letter, in inches, in a figure of this width at most.
WIDTH, WIDEST = 0.16, 16.0


def logo(
    explanation: Record, *, alphabet: str = "ACGT", start: int = 0, stop: int | None = None, most: int | None = None
) -> Drawn:
    """Draws sequences of letters: each letter as high as its value, against the target below the line.

    Values of all letters of a place are stacked. For the letters that are there alone, put the values on them first:
    ``explanation.map(tfsaliency.transforms.onto_letters)``.

    Args:
        explanation: one of sequences ``(N, L, C)``.
        alphabet: ``C`` letters, in the order of the channels.
        start: the first place that is drawn.
        stop: the place behind the last one; None for the end.
        most: draw at most this many samples.

    Raises:
        ValueError: the values are no sequences, or of another number of letters, or there are no such places.

    Example:
        >>> import keras, numpy as np, tfsaliency as tfs
        >>> model = keras.Sequential([keras.Input((12, 4)), keras.layers.Flatten(), keras.layers.Dense(2)])
        >>> letters = np.eye(4)[np.random.default_rng(0).integers(4, size=(1, 12))]
        >>> explanation = tfs.DeepLIFT(model).explain(letters).map(tfs.transforms.onto_letters)
        >>> len(tfs.plot.logo(explanation, start=2, stop=8).axes[0].patches)
        6
    """
    parts = flatten(explanation.values)
    if len(parts) != 1 or parts[0].ndim != 3 or parts[0].shape[2] != len(alphabet) or explanation.has_several:
        raise ValueError(
            f"A logo shows values (N, L, {len(alphabet)}) for one target, for the letters {alphabet!r}. Received: "
            f"{explanation!r}"
        )
    (values,) = parts
    stop = values.shape[1] if stop is None else stop
    if not 0 <= start < stop <= values.shape[1]:
        raise ValueError(f"The sequences have {values.shape[1]} places. Received: start={start}, stop={stop}")
    samples = range(len(values) if most is None else min(most, len(values)))
    width = min(max((stop - start) * WIDTH, 2 * INCHES), WIDEST)
    figure = Drawn(figsize=(width, len(samples) * INCHES * 0.7 + 0.3), layout="constrained")
    for sample, (axis,) in zip(samples, figure.subplots(len(samples), 1, squeeze=False), strict=True):
        _stacks(axis, values[sample, start:stop], alphabet, start)
        axis.set_title(title_text(explanation, sample, None), fontsize=8)
    figure.suptitle(explanation.method, fontsize=8, wrap=True)
    return figure


def _stacks(axis: Axes, values: np.ndarray, alphabet: str, start: int) -> None:
    """The letters of each place, from small to large away from the line."""
    tops, bottoms = np.zeros(len(values)), np.zeros(len(values))
    for place, of_place in enumerate(values):
        for letter in np.argsort(np.abs(of_place), kind="stable"):
            height = float(of_place[letter])
            ends = tops if height > 0 else bottoms
            if height:
                axis.add_patch(_letter(alphabet, int(letter), start + place, float(ends[place]), height))
            ends[place] += height
    axis.set_xlim(start - 0.5, start + len(values) - 0.5)
    span = (tops.max() - bottoms.min()) or 1.0
    axis.set_ylim(bottoms.min() - 0.03 * span, tops.max() + 0.03 * span)
    axis.axhline(0, color="black", linewidth=0.5)
    axis.tick_params(labelsize=8)


def _letter(alphabet: str, letter: int, place: int, bottom: float, height: float) -> PathPatch:
    """A letter that fills its box: one place wide, and as high as its value."""
    name = alphabet[letter]
    path = TextPath((0, 0), name, size=1, prop=FONT)
    box = path.get_extents()
    fitted = Affine2D().translate(-box.x0, -box.y0).scale(0.92 / box.width, height / box.height)
    moved = fitted.translate(place - 0.46, bottom)
    return PathPatch(path.transformed(moved), color=COLOURS.get(name, OTHERS[letter % len(OTHERS)]), linewidth=0)
