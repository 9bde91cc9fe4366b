"""Explanations as one HTML file that needs nothing else and asks nobody."""

import base64
import hashlib
import os
from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

import cv2
import numpy as np

from tfsaliency.explanation import Explanation, Visualization
from tfsaliency.files import appearing_whole
from tfsaliency.plot import image as paint
from tfsaliency.plot.captions import diagnostics_of, target_text
from tfsaliency.plot.figure import check_same_inputs, draw_part, is_picture, middle_slice, png
from tfsaliency.structure import flatten

# Below this many pixels a side the single pixels are meant to be seen.
SMALL = 128


class Section(NamedTuple):
    """Explanations of the same inputs, side by side.

    Attributes:
        explanations: one per method.
        images: pictures to show instead of the inputs, or None.
        names: one per sample.
    """

    explanations: Sequence[Explanation]
    images: Any
    names: Sequence[str]


def report(
    explanations: Explanation | Sequence[Explanation],
    path: str | os.PathLike,
    *,
    images: Any = None,
    names: Sequence[str] | None = None,
    labels: Sequence[str] | None = None,
    percentile: float = 99.0,
) -> None:
    """Writes one HTML file: each sample with its maps over it, an opacity slider, and how they were made.

    The file holds its pictures, styles and its one script, and a policy that forbids everything else: it can be mailed,
    archived and opened without a network. It appears complete or not at all; an existing one is replaced.

    Args:
        explanations: one, or several of the same inputs, which are put side by side.
        path: ends in ``.html``.
        images: pictures to show instead of the inputs, e.g. before preprocessing; in the structure of the inputs.
        names: one per sample, such as file names; by default their numbers.
        labels: class names.
        percentile: ``|v|`` above this percentile gets the strongest colour, in each map by itself.

    Raises:
        ValueError: the path does not end in ``.html``, no explanation, explanations of different inputs, or not as many
            names as samples.

    Example:
        >>> import keras, numpy as np, pathlib, tempfile, tfsaliency as tfs
        >>> model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(2)])
        >>> image = np.random.rand(1, 8, 8, 3)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     page = pathlib.Path(folder) / "cat.html"
        ...     tfs.plot.report([tfs.Gradient(model).explain(image), tfs.LRP(model).explain(image)], page)
        ...     page.read_text(encoding="utf-8").count("<img")
        3
    """
    if isinstance(explanations, Explanation):
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
    path: str | os.PathLike,
    *,
    labels: Sequence[str] | None,
    percentile: float = 99.0,
) -> None:
    """Writes sections, each of inputs of its own; see `report`."""
    path = check_report(path)
    page = _page(sections, labels, percentile)
    with appearing_whole(path) as unfinished:
        unfinished.write_bytes(page)


def check_report(path: str | os.PathLike) -> Path:
    """The path of a report; raises where it is none."""
    path = Path(path)
    if path.suffix != ".html":
        raise ValueError(f"A report is a file that ends in .html. Received: {path}")
    return path


# Text becomes part of the page only as text of an element or of an attribute, which are escaped when it is written.
def _element(tag: str, *content: Any, **attributes: Any) -> ElementTree.Element:
    """An element with text or elements in it; ``class_`` stands for the attribute of that name."""
    names = {name.rstrip("_").replace("_", "-"): str(value) for name, value in attributes.items()}
    element = ElementTree.Element(tag, names)
    for each in content:
        if isinstance(each, ElementTree.Element):
            element.append(each)
        else:
            element.text = str(each)
    return element


def _page(sections: Sequence[Section], labels: Sequence[str] | None, percentile: float) -> bytes:
    first = sections[0].explanations[0]
    model = first.provenance.get("model", "a model")
    style, script = _resource("report.css"), _resource("report.js")
    shown, number = [], 0
    for section in sections:
        for sample, name in enumerate(section.names):
            shown.append(_element("h2", name))
            shown.append(_element("div", *_figures(section, sample, labels, percentile, number), class_="maps"))
            style += _backgrounds(section, sample, number)
            number += 1
    policy = f"default-src 'none'; img-src data:; style-src {_hash(style)}; script-src {_hash(script)}"
    head = _element(
        "head",
        _element("meta", charset="utf-8"),
        _element("meta", http_equiv="Content-Security-Policy", content=policy),
        _element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        _element("title", f"What made {model} say that"),
        _element("style", style),
    )
    body = _element(
        "body",
        _element(
            "header",
            _element("h1", f"What made {model} say that"),
            _element(
                "p",
                "Signed maps: orange speaks for the target, purple against, white is zero. Others: from black, zero, "
                "to yellow. Each map has its own range of colours.",
            ),
        ),
        _slider(),
        _element("main", *shown, *_makings(sections)),
        _element("script", script),
    )
    html = _element("html", head, body, lang="en")
    return b"<!DOCTYPE html>\n" + ElementTree.tostring(html, encoding="utf-8", method="html")


def _slider() -> ElementTree.Element:
    slider = _element("input", type="range", id="opacity", min="0", max="100", value="70")
    label = _element(
        "label", _element("span", "input"), slider, _element("span", "map"), _element("output", "70 %", id="share")
    )
    return _element("div", label, class_="bar")


class _Part(NamedTuple):
    """One part of a sample's input: as a picture where it is one, and as it was given."""

    picture: np.ndarray | None
    given: np.ndarray


def _parts(section: Section, sample: int) -> list[_Part]:
    first = section.explanations[0]
    parts = []
    for given, values in zip(
        flatten(first.inputs if section.images is None else section.images), flatten(first.values), strict=True
    ):
        part = np.asarray(given[sample])
        picture = None
        if is_picture(values[sample]):
            picture = paint.picture(middle_slice(part, values[sample])[0] if part.ndim == 4 else part)
        parts.append(_Part(picture, part))
    return parts


def _backgrounds(section: Section, sample: int, number: int) -> str:
    """The pictures under the maps: each is in the file once, however many maps lie over it."""
    return "".join(
        f'.sample-{number}-{place} {{ background-image: url("{_data(_encoded(part.picture))}"); }}\n'
        for place, part in enumerate(_parts(section, sample))
        if part.picture is not None
    )


def _figures(
    section: Section, sample: int, labels: Sequence[str] | None, percentile: float, number: int
) -> Iterator[ElementTree.Element]:
    parts, name = _parts(section, sample), section.names[sample]
    seen = [
        _layers(part.picture, f"{name}, the input", f"sample-{number}-{place}", "input")
        for place, part in enumerate(parts)
        if part.picture is not None
    ]
    painted = all(isinstance(explanation, Visualization) for explanation in section.explanations)
    if seen and not painted:
        yield _element("figure", *seen, _element("figcaption", "input"))
    for explanation in section.explanations:
        facts = {
            "target": target_text(explanation, sample, labels),
            "score": f"{explanation.scores[sample]:.4g}",
            **diagnostics_of(explanation, sample),
        }
        shown = []
        for place, (part, values) in enumerate(zip(parts, flatten(explanation.values), strict=True)):
            alt = f"{name}, {explanation.method}"
            own = values[sample]
            if isinstance(explanation, Visualization):
                shown.append(_img(paint.picture(own), alt))
            elif part.picture is None:
                shown.append(
                    _element("img", src=_data(png(draw_part(part.given, own, percentile))), alt=alt, class_="drawing")
                )
            else:
                flat = paint.flat_map(middle_slice(part.given, own)[1] if own.ndim == 4 else own)
                limit, signed = paint.limit_of(flat, percentile), paint.is_signed(flat)
                colours = paint.heatmap(flat, limit=limit, signed=signed)
                shown.append(_layers(colours, alt, f"sample-{number}-{place}", ""))
                facts[f"colours{place or ''}"] = f"{-limit if signed else 0:.3g} to {limit:.3g}"
        yield _element("figure", *shown, _element("figcaption", explanation.method), _list(facts))


def _layers(colours: np.ndarray, alt: str, background: str, kind: str) -> ElementTree.Element:
    small = " small" if max(colours.shape[:2]) < SMALL else ""
    return _element("div", _img(colours, alt, kind), class_=f"layers {background}{small}")


def _img(colours: np.ndarray, alt: str, kind: str = "") -> ElementTree.Element:
    height, width = colours.shape[:2]
    attributes = {"class_": kind} if kind else {}
    return _element("img", src=_data(_encoded(colours)), alt=alt, width=width, height=height, **attributes)


def _makings(sections: Sequence[Section]) -> Iterator[ElementTree.Element]:
    """How each method's maps were made; what differs between sections, as the seconds do, is listed for each."""
    yield _element("h2", "How these maps were made")
    for place, first in enumerate(sections[0].explanations):
        made = [section.explanations[place] for section in sections]
        facts: dict[str, list[str]] = {}
        for explanation in made:
            named = {"explained": explanation.explained, **explanation.provenance}
            for name, value in named.items():
                text = f"{value:.3g}" if isinstance(value, float) else str(value)
                if text not in facts.setdefault(name, []):
                    facts[name].append(text)
        yield _element("h3", first.method)
        yield _list({name: ", ".join(texts) for name, texts in facts.items()})


def _list(facts: dict[str, str]) -> ElementTree.Element:
    return _element(
        "dl", *(_element(tag, text) for fact in facts.items() for tag, text in zip(("dt", "dd"), fact, strict=True))
    )


def _encoded(picture: np.ndarray) -> bytes:
    _, encoded = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    return encoded.tobytes()


def _data(encoded: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(encoded).decode()


def _resource(name: str) -> str:
    return resources.files("tfsaliency.plot").joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """How a content security policy names an inline style or script."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
