import io
import os
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure

from tfsaliency.base.files import appearing_whole
from tfsaliency.base.meaning import Meaning
from tfsaliency.base.options import check_count
from tfsaliency.base.structure import check_has_inputs, flatten, map_parts, names, optional_parts
from tfsaliency.plot import image as paint
from tfsaliency.plot.captions import as_written, title_text
from tfsaliency.plot.kinds import COLUMNS, INCHES, Kind, Picture, Scale, kind_of, scale_of, show
from tfsaliency.plot.record import Record

# The height of a row of a matrix, in inches.
CELL = 0.35
# A table of more columns is drawn without their names.
MOST_COLUMNS = 40


class Drawn(Figure):
    """A figure that a notebook shows even without pyplot."""

    def _repr_png_(self) -> bytes:
        return png(self)


def plot(
    explanation: Record,
    *,
    images: Any = None,
    labels: Sequence[str] | None = None,
    percentile: float = 99.0,
    shared_scale: bool = False,
    most: int | None = None,
) -> Figure:
    """Draws each sample of an explanation in a row: input, map and overlay.

    The explanation's ``meaning`` chooses the colours. Signed maps have two colours, with zero fixed at white, and their
    channels are summed. Magnitudes and maps of places have one colour from zero, and the largest channel counts. Series
    of shape ``(N, T, C)`` become lines with the map as colour behind them, tables ``(N, F)`` become bars. Each part of
    an input gets its own row. Several targets of tokens or of a table are a matrix, with a row for each target; of
    anything else they have rows of their own.

    Args:
        explanation: the explanation to draw.
        images: pictures to show instead of the inputs, e.g. before preprocessing; in the structure of the inputs.
        labels: class names, for the titles.
        percentile: ``|v|`` above this percentile gets the strongest colour.
        shared_scale: whether all maps share one colour scale; by default each row has its own. An overlay always uses
            its own strongest place as scale.
        most: draw at most this many samples, at least 1.

    Returns:
        A figure without a window: it works without a display, and ``savefig`` writes it.

    Raises:
        ValueError: the numbers of images and samples differ, most is below 1, or the values have too many axes to draw.

    Example:
        >>> import keras, numpy as np, tfsaliency as tfs
        >>> model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(2)])
        >>> figure = tfs.Gradient(model).explain(np.random.rand(2, 8, 8, 3)).plot()
        >>> len(figure.axes)
        6
    """
    if most is not None:
        check_count("most", most)
    samples = range(len(explanation) if most is None else min(most, len(explanation)))
    if explanation.meaning == "painting" and explanation.values.ndim == 4:
        return _gallery(explanation, labels, samples)
    shown = shown_inputs(explanation, images)
    if explanation.has_several and all(part.ndim == 3 for part in flatten(explanation.values)):
        return _matrices(explanation, shown, labels, percentile, samples)
    rows = [
        (one, sample, row) for sample in samples for one in explanation.each() for row in rows_of(one, shown, sample)
    ]
    scales = [scale_of(row.values, row.meaning, percentile) for *_, row in rows]
    if shared_scale:
        limit = max(scale.limit for scale in scales)
        scales = [scale._replace(limit=limit) for scale in scales]
    columns = max(row.kind.columns for *_, row in rows)
    width = columns * INCHES if columns == 3 else 3 * INCHES
    heights = [row.kind.height(row.given) for *_, row in rows]
    figure = Drawn(figsize=(width, sum(heights)), layout="constrained")
    grid = figure.subplots(len(rows), columns, squeeze=False, height_ratios=heights)
    for axes, (one, sample, row), scale in zip(grid, rows, scales, strict=True):
        row.kind.draw(axes, row.given, row.values, scale)
        axes[0].set_title(title_text(one, sample, labels), fontsize=8)
    layer = explanation.provenance.get("layer")
    figure.suptitle(explanation.method + (f" over {layer}" if layer else ""), fontsize=8, wrap=True)
    return figure


def compare(
    explanations: Sequence[Record],
    *,
    images: Any = None,
    titles: Sequence[str] | None = None,
    labels: Sequence[str] | None = None,
    percentile: float = 99.0,
) -> Figure:
    """Draws several explanations of the same images in one grid: images down, methods across.

    Args:
        explanations: explanations of the same inputs; their maps are pictures ``(N, height, width, channels)``.
        images: pictures to show instead of the inputs.
        titles: one per explanation; by default their methods.
        labels: class names, for the titles of the rows.
        percentile: ``|v|`` above this percentile gets the strongest colour, in each map by itself.

    Raises:
        ValueError: there is no explanation, the inputs differ, the maps are not pictures, or the numbers of images and
            samples, or of titles and explanations, differ.

    Example:
        >>> import keras, numpy as np, tfsaliency as tfs
        >>> model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(2)])
        >>> images = np.random.rand(2, 8, 8, 3)
        >>> figure = tfs.plot.compare([tfs.Gradient(model).explain(images), tfs.LRP(model).explain(images)])
        >>> len(figure.axes)
        6
    """
    check_same_inputs("compare", explanations)
    if titles is not None and len(titles) != len(explanations):
        raise ValueError(f"titles has one for each of {len(explanations)} explanations. Received: {titles!r}")
    first = explanations[0]
    for other in explanations:
        if isinstance(other.values, dict | list | tuple) or not isinstance(kind_of(other.values[0]), Picture):
            raise ValueError(
                f"compare draws maps of shape (N, height, width, channels). Received: {other!r}. Use plot() for each."
            )
    columns = 1 + len(explanations)
    # A wide figure is shown smaller. Matplotlib wraps a title at the edge of the figure, not at the edge of its
    # picture.
    size = min(12, max(8, 2 * columns))
    most_letters = int(INCHES * 72 / (0.55 * size))
    figure = Drawn(figsize=(columns * INCHES, len(first) * INCHES), layout="constrained")
    grid = figure.subplots(len(first), columns, squeeze=False)
    (shown,) = shown_inputs(first, images)
    for sample, axes in enumerate(grid):
        given, values = np.asarray(shown[sample]), first.values[sample]
        show(axes[0], paint.picture((kind_of(values).shown(given, values) or (given,))[0]))
        axes[0].set_title(title_text(first, sample, labels), fontsize=size)
        for axis, explanation in zip(axes[1:], explanations, strict=True):
            values = explanation.values[sample]
            scale = scale_of(values, explanation.meaning, percentile)
            flat = kind_of(values).flat(values, scale.signed)
            show(axis, paint.heatmap(flat, limit=scale.limit, signed=scale.signed))
    for place, explanation in enumerate(explanations):
        title = explanation.method if titles is None else titles[place]
        grid[0, place + 1].set_title(as_written(textwrap.fill(title, most_letters)), fontsize=size)
    return figure


def draw_part(kind: Kind, given: np.ndarray, values: np.ndarray, scale: Scale) -> Figure:
    """Draws one part of one sample that is not a picture: a series as lines, a table as bars."""
    figure = Drawn(figsize=(3 * INCHES, kind.height(given)), layout="constrained")
    kind.draw(figure.subplots(1, 1, squeeze=False)[0], given, values, scale)
    return figure


def check_same_inputs(name: str, explanations: Sequence[Record]) -> None:
    """Raises if there is no explanation, or the inputs of the explanations differ."""
    if not explanations:
        raise ValueError(f"{name} needs at least one explanation. Received: none")
    parts = flatten(explanations[0].inputs)
    for other in explanations:
        others = flatten(other.inputs)
        if len(parts) != len(others) or not all(map(_is_same, parts, others)):
            raise ValueError(f"{name} needs explanations of the same inputs. {other.method} explains other ones.")


def _is_same(part: np.ndarray, other: np.ndarray) -> bool:
    """Whether two parts of inputs are equal; those that were left out have NaN in their place."""
    return np.array_equal(part, other, equal_nan=part.dtype.kind == other.dtype.kind == "f")


class Row(NamedTuple):
    """What is drawn of a sample in one row: how, of which input, the values and what they mean."""

    kind: Kind
    given: np.ndarray
    values: np.ndarray
    meaning: Meaning


def rows_of(explanation: Record, shown: list[np.ndarray], sample: int) -> list[Row]:
    """What is drawn of a sample. The columns of a table share a row."""
    pairs = [(given[sample], part[sample]) for given, part in zip(shown, flatten(explanation.values), strict=True)]
    meanings, named = explanation.meanings, column_names(explanation)
    if named is None:
        rows = zip(pairs, meanings, strict=True)
        return [Row(kind_of(values, given), given, values, meaning) for (given, values), meaning in rows]
    cells = [cell for given, _ in pairs for cell in given]
    labels = [f"{name} = {_short(cell)}" for name, cell in zip(named, cells, strict=True)]
    if len(set(meanings)) > 1:
        of_cells = [meaning for (given, _), meaning in zip(pairs, meanings, strict=True) for _ in given]
        labels = [f"{label} ({meaning})" for label, meaning in zip(labels, of_cells, strict=True)]
    joint = "signed" if "signed" in meanings else meanings[0]
    return [Row(COLUMNS, np.array(labels), np.concatenate([values for _, values in pairs]), joint)]


def column_names(explanation: Record) -> list[str] | None:
    """The names of all columns, where the inputs are a table with names: of columns, or of parts."""
    parts = flatten(explanation.inputs)
    columns = optional_parts(explanation.feature_names, explanation.inputs)
    every = [*parts, *flatten(explanation.values)]
    is_table = all(part.ndim == 2 for part in every) and sum(part.shape[1] for part in parts) <= MOST_COLUMNS
    if not is_table or explanation.tokens is not None or (len(parts) == 1 and columns[0] is None):
        return None
    return [
        each
        for name, part, given in zip(names(explanation.inputs), parts, columns, strict=True)
        for each in (_numbered(name, part.shape[1]) if given is None else given.tolist())
    ]


def _numbered(name: str, columns: int) -> list[str]:
    return [name] if columns == 1 else [f"{name}[{place}]" for place in range(columns)]


def _short(cell: Any) -> str:
    return f"{cell:.4g}" if isinstance(cell, np.floating) else str(cell)


def shown_inputs(explanation: Record, images: Any) -> list[np.ndarray]:
    """The parts of the inputs, a text as its words, or the pictures to show instead of them; ``(N, ...)`` each."""
    parts = flatten(explanation.inputs)
    if images is None:
        check_has_inputs(parts, "images=x, the inputs of these samples")
        words = optional_parts(explanation.tokens, explanation.inputs)
        return [part if each is None else each for part, each in zip(parts, words, strict=True)]
    shown = [np.asarray(part) for part in flatten(images)]
    if len(shown) != len(parts) or any(len(part) != len(explanation) for part in shown):
        raise ValueError(
            f"images holds one picture for each of {len(explanation)} samples, in the structure of the inputs. "
            f"Received: {map_parts(np.shape, images)}"
        )
    # Grey pictures are often kept without channels, also for a model that asks for one.
    pairs = zip(shown, parts, strict=True)
    return [each[..., None] if each.ndim == 3 and part.ndim == 4 else each for each, part in pairs]


def png(figure: Figure) -> bytes:
    """The figure as the bytes of a PNG file.

    Args:
        figure: a figure of `plot` or `compare`, or any other figure.

    Example:
        >>> import keras, numpy as np, tfsaliency as tfs
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
        >>> tfs.plot.png(tfs.Gradient(model).explain(np.ones((1, 3))).plot())[1:4]
        b'PNG'
    """
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=100)
    return file.getvalue()


def write_png(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Writes a PNG file, complete or not at all; an existing file is replaced.

    Args:
        figure: a figure of `plot` or `compare`, or any other figure.
        path: the path of the file, in a folder that exists.

    Example:
        >>> import keras, numpy as np, tempfile, tfsaliency as tfs
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
        >>> figure = tfs.Gradient(model).explain(np.ones((1, 3))).plot()
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     tfs.plot.write_png(figure, f"{folder}/map.png")
    """
    with appearing_whole(Path(path)) as unfinished:
        unfinished.write_bytes(png(figure))


def _matrices(
    explanation: Record, shown: list[np.ndarray], labels: Sequence[str] | None, percentile: float, samples: range
) -> Figure:
    """A matrix for each sample and part: targets down, tokens or columns across."""
    parts = [
        (sample, given[sample], values[sample], meaning)
        for sample in samples
        for given, values, meaning in zip(shown, flatten(explanation.values), explanation.meanings, strict=True)
    ]
    heights = [len(values) * CELL + 2 * CELL for *_, values, _ in parts]
    width = 2 * CELL + max(values.shape[1] for *_, values, _ in parts) * CELL * 2
    figure = Drawn(figsize=(max(width, 2 * INCHES), sum(heights) + 2 * CELL), layout="constrained")
    rows = figure.subplots(len(parts), 1, squeeze=False, height_ratios=heights)
    for (axis,), (sample, given, values, meaning) in zip(rows, parts, strict=True):
        scale = scale_of(values.reshape(-1), meaning, percentile)
        axis.imshow(paint.heatmap(values, limit=scale.limit, signed=scale.signed), aspect="auto")
        titles = [title_text(one, sample, labels) for one in explanation.each()]
        axis.set_yticks(range(len(values)), titles, fontsize=8)
        named = [as_written(str(each)) for each in given] if len(given) == values.shape[1] else range(values.shape[1])
        axis.set_xticks(range(values.shape[1]), named, fontsize=8, rotation=45, ha="right", rotation_mode="anchor")
    figure.suptitle(explanation.method, fontsize=8, wrap=True)
    return figure


def _gallery(visualization: Record, labels: Sequence[str] | None, samples: range) -> Figure:
    figure = Drawn(figsize=(len(samples) * INCHES, INCHES * 1.15), layout="constrained")
    for sample, axis in zip(samples, figure.subplots(1, len(samples), squeeze=False)[0], strict=True):
        show(axis, paint.picture(visualization.values[sample]))
        axis.set_title(title_text(visualization, sample, labels), fontsize=8)
    return figure
