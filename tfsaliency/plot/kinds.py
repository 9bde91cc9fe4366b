"""The drawing of each kind of data: a picture, a volume, a series, a table.

A kind draws one part of one sample into a row of axes, and selects the part that a report shows. A new kind needs a
class here and an entry in KINDS.
"""

from abc import ABC, abstractmethod
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes

from tfsaliency.base.meaning import NEVER_NEGATIVE, Meaning
from tfsaliency.base.shapes import is_like_a_picture
from tfsaliency.plot import image as paint
from tfsaliency.plot.captions import as_written
from tfsaliency.plot.lines import LETTERS, from_left, is_right_to_left, wrapped

# The height of a row of pictures and of a line of words, in inches.
INCHES, LINE = 2.4, 0.3
# The second one has more scripts.
FONTS = ["monospace", "DejaVu Sans"]
# How light red, green and blue are, in shares of white (ITU-R BT.601).
LIGHTNESS = np.array([0.299, 0.587, 0.114])


class Scale(NamedTuple):
    """The colour scale of a map.

    Attributes:
        limit: the ``|v|`` that gets the strongest colour.
        signed: whether zero is the middle of the colours.
        percentile: an overlay is clipped at this percentile.
    """

    limit: float
    signed: bool
    percentile: float


class Kind(ABC):
    """A kind of data.

    Attributes:
        axes: the number of axes of one sample's values.
        columns: how many pictures a row of a figure has.
    """

    axes: int
    columns = 1

    @abstractmethod
    def draw(self, row: np.ndarray, given: np.ndarray, values: np.ndarray, scale: Scale) -> None:
        """Draws the values over the input into a row of matplotlib axes."""

    def height(self, given: np.ndarray) -> float:
        """The height of the row, in inches."""
        return INCHES

    def flat(self, values: np.ndarray, signed: bool) -> np.ndarray:
        """One number per place."""
        return paint.flat_map(values, signed)

    def shown(self, given: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
        """The picture under a map in a report, and the values of that map; None if `draw` makes the picture."""
        return None


class Table(Kind):
    """Columns ``(F,)``, as bars."""

    axes = 1

    def draw(self, row: np.ndarray, given: np.ndarray, values: np.ndarray, scale: Scale) -> None:
        axis, features = _only(row), np.arange(len(values))
        colours = paint.heatmap(values[None], limit=scale.limit)[0] / 255
        axis.bar(features, values, color=colours, edgecolor="black", linewidth=0.5)
        axis.axhline(0, color="black", linewidth=0.5)
        axis.tick_params(labelsize=8)

    def flat(self, values: np.ndarray, signed: bool) -> np.ndarray:
        return values


class Columns(Table):
    """Columns with names ``(F,)``, such as ``island = Biscoe``, as bars one below the other."""

    def draw(self, row: np.ndarray, given: np.ndarray, values: np.ndarray, scale: Scale) -> None:
        axis, features = _only(row), np.arange(len(values))
        axis.barh(features, values, color=ground(values, scale), edgecolor="black", linewidth=0.5)
        axis.axvline(0, color="black", linewidth=0.5)
        axis.set_yticks(features, [as_written(str(name)) for name in given])
        axis.invert_yaxis()
        axis.tick_params(labelsize=8)

    def height(self, given: np.ndarray) -> float:
        return 2 * LINE + LINE * len(given)


class Words(Table):
    """The words ``(T,)`` of a text, or categories, on coloured ground."""

    def draw(self, row: np.ndarray, given: np.ndarray, values: np.ndarray, scale: Scale) -> None:
        axis = _only(row)
        axis.set_axis_off()
        colours = ground(values, scale)
        shown = [place for place, word in enumerate(given) if word]
        words = [str(given[place]) for place in shown]
        lines, right_to_left = wrapped(words), is_right_to_left(words)
        axis.set_xlim(0, LETTERS)
        axis.set_ylim(len(lines), 0)
        for number, line in enumerate(lines):
            of_line, shown = shown[: len(line)], shown[len(line) :]
            letter = LETTERS - sum(len(word) + 1 for word in line) if right_to_left else 0
            for place in from_left(line, right_to_left):
                value, colour = values[of_line[place]], colours[of_line[place]]
                box = {"facecolor": colour, "edgecolor": "none", "pad": 1.5}
                written = as_written(line[place])
                text = axis.text(letter, number + 0.5, written, family=FONTS, fontsize=12, va="center", bbox=box)
                text.set_color(ink(value, colour))
                letter += len(line[place]) + 1

    def height(self, given: np.ndarray) -> float:
        return 2 * LINE + LINE * len(wrapped([str(word) for word in given if word]))


def ink(value: float, colour: np.ndarray) -> str:
    """The colour of a word on its ground. One that was not read, such as padding, is grey."""
    if value == 0:
        return "grey"
    return "white" if is_dark(colour) else "black"


def ground(values: np.ndarray, scale: Scale) -> np.ndarray:
    """The colour of each value, red, green and blue from 0 to 1, ``(F, 3)``."""
    colours: np.ndarray = paint.heatmap(values[None], limit=scale.limit, signed=scale.signed)[0]
    return colours / 255


def is_dark(colour: np.ndarray) -> bool:
    """Whether white is easier to read on a colour than black."""
    return bool(colour @ LIGHTNESS < 0.5)


class Series(Kind):
    """Steps ``(T, C)``, as lines with the map as colour behind them."""

    axes = 2

    def draw(self, row: np.ndarray, given: np.ndarray, values: np.ndarray, scale: Scale) -> None:
        if given.ndim != 2:
            raise ValueError(
                f"Values of shape {values.shape} are drawn over a series (steps, columns). Received: an image of shape "
                f"{given.shape}. Leave images out, or explain a model of pictures with channels."
            )
        axis, steps = _only(row), np.arange(len(given))
        strip = paint.heatmap(self.flat(values, scale.signed)[None], limit=scale.limit, signed=scale.signed)
        axis.plot(steps, given, linewidth=1, color="black")
        bottom, top = axis.get_ylim()
        axis.imshow(strip, extent=(-0.5, len(given) - 0.5, bottom, top), aspect="auto", alpha=0.8)
        axis.tick_params(labelsize=8)


class Picture(Kind):
    """``(height, width, C)``: the input, the map, and both together."""

    axes = 3
    columns = 3

    def draw(self, row: np.ndarray, given: np.ndarray, values: np.ndarray, scale: Scale) -> None:
        flat, shown = self.flat(values, scale.signed), paint.picture(np.asarray(given))
        show(row[0], shown)
        show(row[1], paint.heatmap(flat, limit=scale.limit, signed=scale.signed))
        show(row[2], paint.overlay(shown, flat, percentile=scale.percentile))

    def shown(self, given: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return given, values


class GreyPicture(Picture):
    """``(height, width)``, or a series of so many columns that lines would hide each other: as a picture."""

    axes = 2

    def draw(self, row: np.ndarray, given: np.ndarray, values: np.ndarray, scale: Scale) -> None:
        PICTURE.draw(row, *self.shown(given, values), scale)

    def flat(self, values: np.ndarray, signed: bool) -> np.ndarray:
        return values

    def shown(self, given: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        # A user may give a picture with channels to show.
        return given[..., None] if given.ndim == 2 else given, values[..., None]

    @staticmethod
    def fits(values: np.ndarray) -> bool:
        return is_like_a_picture(values.shape)


class Volume(Picture):
    """``(depth, height, width, C)``: the slice in the middle, as a picture."""

    axes = 4

    def draw(self, row: np.ndarray, given: np.ndarray, values: np.ndarray, scale: Scale) -> None:
        super().draw(row, *self.shown(given, values), scale)
        row[1].set_xlabel(f"slice {len(given) // 2} of {len(given)}", fontsize=8)

    def shown(self, given: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        middle = len(given) // 2
        # A map over the places of a layer has fewer slices than the input.
        return given[middle], values[middle * len(values) // len(given)]


PICTURE = Picture()
KINDS: dict[int, Kind] = {kind.axes: kind for kind in (Table(), Series(), PICTURE, Volume())}
COLUMNS, WORDS, GREY = Columns(), Words(), GreyPicture()


def kind_of(values: np.ndarray, given: np.ndarray | None = None) -> Kind:
    """The kind of one sample's values, by their number of axes, and by what they are about if that is texts."""
    if given is not None and given.dtype.kind == "U" and values.ndim == 1:
        return WORDS
    if GREY.fits(values):
        return GREY
    try:
        return KINDS[values.ndim]
    except KeyError:
        raise ValueError(
            f"No drawing for one sample of shape {values.shape}: draw explanation.values yourself."
        ) from None


def scale_of(values: np.ndarray, meaning: Meaning, percentile: float) -> Scale:
    """The colour scale of one sample's values, shared by all slices of a volume."""
    signed = meaning not in NEVER_NEGATIVE
    return Scale(paint.limit_of(kind_of(values).flat(values, signed), percentile), signed, percentile)


def show(axis: Axes, image: np.ndarray) -> None:
    """Draws a picture without ticks."""
    axis.imshow(image)
    axis.set_xticks([])
    axis.set_yticks([])


def _only(row: np.ndarray) -> Axes:
    """The first axes of a row that needs one only; the others are removed."""
    only: Axes = row[0]
    for unused in row[1:]:
        unused.remove()
    return only
