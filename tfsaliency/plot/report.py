"""Explanations as one HTML file that needs no other file and no network."""

import os
import textwrap
from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tfsaliency.base.files import appearing_whole
from tfsaliency.plot import image as paint
from tfsaliency.plot import words
from tfsaliency.plot.captions import diagnostics_of, target_texts
from tfsaliency.plot.controls import choice_of, slider, value_under_pointer
from tfsaliency.plot.figure import Row, check_same_inputs, draw_part, png, rows_of, shown_inputs
from tfsaliency.plot.kinds import WORDS, scale_of
from tfsaliency.plot.page import Element, element, facts, page, picture_url, png_url
from tfsaliency.plot.record import Record

# A picture with fewer pixels per side shows its single pixels.
SMALL = 128


class Section(NamedTuple):
    """Explanations of the same inputs, side by side.

    Attributes:
        explanations: one per method, or per method and target.
        images: pictures to show instead of the inputs, or None.
        names: one per sample.
    """

    explanations: Sequence[Record]
    images: Any
    names: Sequence[str]


def report(
    explanations: Record | Sequence[Record],
    path: str | os.PathLike[str],
    *,
    images: Any = None,
    names: Sequence[str] | None = None,
    labels: Sequence[str] | None = None,
    percentile: float = 99.0,
) -> None:
    """Writes one HTML file: each sample with its maps over it, an opacity slider, and the origin of the maps.

    Where there are several targets, their names are above the maps, and a click shows the maps of one. The value of a
    place or a word is shown under the pointer: of a place to a hundredth of the range of its map's colours.

    The file contains its pictures, its styles, its one script, and a policy that forbids everything else: it can be
    mailed, archived and opened without a network. It appears complete or not at all. An existing file is replaced.

    Args:
        explanations: one explanation, or several of the same inputs, side by side: several methods, targets or models.
        path: ends in ``.html``.
        images: pictures to show instead of the inputs, e.g. before preprocessing; in the structure of the inputs.
        names: one per sample, such as file names; by default their numbers.
        labels: class names.
        percentile: ``|v|`` above this percentile gets the strongest colour, in each map by itself.

    Raises:
        ValueError: the path does not end in ``.html``, there is no explanation, the inputs differ, or the numbers of
            names and samples differ.

    Example:
        >>> import keras, numpy as np, pathlib, tempfile, tfsaliency as tfs
        >>> model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(2)])
        >>> image = np.random.rand(1, 8, 8, 3)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     page = pathlib.Path(folder) / "cat.html"
        ...     tfs.plot.report([tfs.Gradient(model).explain(image), tfs.LRP(model).explain(image)], page)
        ...     page.read_text(encoding="utf-8").count("<img")
        2
    """
    if not isinstance(explanations, Sequence):
        explanations = [explanations]
    check_same_inputs("report", explanations)
    count = len(explanations[0])
    if names is None:
        names = [f"sample {sample}" for sample in range(count)]
    if len(names) != count:
        raise ValueError(f"report takes one name per sample: {count}. Received: {len(names)}")
    write_report([Section(explanations, images, names)], path, labels=labels, percentile=percentile)


def write_report(
    sections: Sequence[Section],
    path: str | os.PathLike[str],
    *,
    labels: Sequence[str] | None,
    percentile: float = 99.0,
) -> None:
    """Writes sections, each with its own inputs; see `report`."""
    path = check_report(path)
    one_target_each = [
        section._replace(explanations=[one for each in section.explanations for one in each.each()])
        for section in sections
    ]
    content = _page(one_target_each, labels, percentile)
    with appearing_whole(path) as unfinished:
        unfinished.write_bytes(content)


def check_report(path: str | os.PathLike[str]) -> Path:
    """Returns the path of a report, or raises if a report cannot have this path."""
    path = Path(path)
    if path.suffix != ".html" or path.is_dir():
        raise ValueError(f"A report is a file that ends in .html. Received: {path}{' (a folder)' * path.is_dir()}")
    return path


def _page(sections: Sequence[Section], labels: Sequence[str] | None, percentile: float) -> bytes:
    every = [explanation for section in sections for explanation in section.explanations]
    models = dict.fromkeys(str(each.provenance.get("model", "a model")) for each in every)
    title = f"What made {' and '.join(models)} say that"
    style, shown, number = _resource("report.css"), [], 0
    for section in sections:
        inputs = shown_inputs(section.explanations[0], section.images)
        for sample, name in enumerate(section.names):
            parts = _parts(section, inputs, sample, f"sample-{number}")
            style += "".join(map(_background, parts))
            targets = target_texts(section.explanations, sample, labels)
            figures = _figures(section, inputs, sample, parts, targets, percentile)
            choice = choice_of(targets, f"targets-{number}")
            shown.append(element("section", element("h2", name), *choice, element("div", *figures, class_="maps")))
            number += 1
    style += words.rules(shown)
    legend = (
        "Signed maps: orange speaks for the target, purple against, white is zero. Others: from black, zero, to "
        "yellow. Each map has its own range of colours. Point at a map for its values, to a hundredth of this range."
    )
    header = element("header", element("h1", title), element("p", legend))
    main = element("main", *shown, *_makings(sections))
    return page(title, [header, slider(), main, value_under_pointer()], style, _resource("report.js"))


class _Part(NamedTuple):
    """One part of a sample's input.

    Attributes:
        given: the part as the user gave it.
        picture: the part as RGB, None for a series or a table.
        name: the name of its picture in the style sheet.
    """

    given: np.ndarray
    picture: np.ndarray | None
    name: str


def _parts(section: Section, inputs: list[np.ndarray], sample: int, name: str) -> list[_Part]:
    parts = []
    for place, row in enumerate(rows_of(section.explanations[0], inputs, sample)):
        shown = row.kind.shown(row.given, row.values)
        picture = None if shown is None else paint.picture(shown[0])
        parts.append(_Part(row.given, picture, f"{name}-{place}"))
    return parts


def _background(part: _Part) -> str:
    """The style of the picture under the maps: the page contains it once for all of them."""
    if part.picture is None:
        return ""
    height, width = part.picture.shape[:2]
    picture = f'background-image: url("{picture_url(part.picture)}")'
    return f".{part.name} {{ {picture}; aspect-ratio: {width} / {height}; }}\n"


def _figures(
    section: Section,
    inputs: list[np.ndarray],
    sample: int,
    parts: list[_Part],
    targets: Sequence[str],
    percentile: float,
) -> Iterator[Element]:
    name = section.names[sample]
    seen = [
        element("div", role="img", aria_label=f"{name}, the input", class_=f"layers {part.name} {_grain(part.picture)}")
        for part in parts
        if part.picture is not None
    ]
    if seen and section.explanations[0].meaning != "painting":
        yield element("figure", *seen, element("figcaption", "input"))
    for explanation, target in zip(section.explanations, targets, strict=True):
        known = {
            "target": target,
            "score": f"{explanation.scores[sample]:.4g}",
            **diagnostics_of(explanation, sample),
        }
        shown = []
        rows = rows_of(explanation, inputs, sample)
        for place, (part, row) in enumerate(zip(parts, rows, strict=True)):
            drawn, colours = _drawn(row, part, f"{name}, {explanation.method}", percentile)
            shown.append(drawn)
            if colours:
                known[f"colours {place + 1}" if len(parts) > 1 else "colours"] = colours
        yield element("figure", *shown, element("figcaption", explanation.method), facts(known), data_target=target)


def _drawn(row: Row, part: _Part, alt: str, percentile: float) -> tuple[Element, str]:
    """One part of a sample's map, and the range of its colours, empty if an axis shows the range."""
    kind, values = row.kind, row.values
    scale = scale_of(values, row.meaning, percentile)
    colours = f"{-scale.limit if scale.signed else 0:.3g} to {scale.limit:.3g}"
    if kind is WORDS:
        return words.paragraph(part.given, values, scale), colours
    shown = kind.shown(part.given, values)
    if part.picture is None or shown is None:
        drawing = png_url(png(draw_part(kind, part.given, values, scale)))
        return element("img", src=drawing, alt=alt, class_="drawing"), ""
    if row.meaning == "painting":
        painted = paint.picture(shown[1])
        return _img(painted, alt, painted), ""
    heat = paint.heatmap(paint.flat_map(shown[1], scale.signed), limit=scale.limit, signed=scale.signed)
    values_of = {"data_colours": "signed" if scale.signed else "magnitude", "data_limit": f"{scale.limit:.6g}"}
    above = _img(heat, alt, part.picture, **values_of)
    return element("div", above, class_=f"layers {part.name} {_grain(part.picture)}"), colours


def _img(colours: np.ndarray, alt: str, shape_of: np.ndarray, **attributes: str) -> Element:
    """A picture in the proportions of another picture, so that a coarse map covers the picture below."""
    height, width = shape_of.shape[:2]
    grain = _grain(colours)
    return element("img", src=picture_url(colours), alt=alt, width=width, height=height, class_=grain, **attributes)


def _grain(picture: np.ndarray) -> str:
    return "small" if max(picture.shape[:2]) < SMALL else "fine"


def _makings(sections: Sequence[Section]) -> Iterator[Element]:
    """The origin of each method's maps of a model; values that differ, such as the seconds, are all listed."""
    yield element("h2", "How these maps were made")
    alike: dict[tuple[Any, ...], list[Record]] = {}
    for explanation in (each for section in sections for each in section.explanations):
        alike.setdefault((explanation.method, explanation.provenance.get("fingerprint")), []).append(explanation)
    for made in alike.values():
        texts: dict[str, list[str]] = {}
        for explanation in made:
            known = {"explained": explanation.explained, "values": explanation.meaning, **explanation.provenance}
            for name, value in known.items():
                # A target can hold one class per sample: hundreds of classes.
                text = f"{value:.3g}" if isinstance(value, float) else textwrap.shorten(str(value), 200)
                if text not in texts.setdefault(name, []):
                    texts[name].append(text)
        yield element("h3", made[0].method)
        yield facts({name: ", ".join(each) for name, each in texts.items()})


def _resource(name: str) -> str:
    return resources.files("tfsaliency.plot").joinpath(name).read_text(encoding="utf-8")
