"""The table of a comparison as a figure and as a page."""

import os
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from tfsaliency.base.files import appearing_whole
from tfsaliency.plot.captions import as_written
from tfsaliency.plot.figure import Drawn, png
from tfsaliency.plot.page import Element, element, facts, page, png_url
from tfsaliency.plot.report import check_report

METHOD, CONTROL = "#1f4e79", "#9a9a9a"
# Panels side by side.
ACROSS = 3
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 78rem; padding: 0 1rem; color: #1c1c1c; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .7rem; text-align: left; white-space: nowrap; border-bottom: 1px solid #e3e3e3; }
tr.control td, tr.control th { color: #6d6d6d; font-weight: normal; }
tr.first td, tr.first th { border-top: 2px solid #1c1c1c; }
img { max-width: 100%; }
dt { font-weight: 600; } dd { margin: 0 0 .4rem; overflow-wrap: anywhere; }
"""


class Table(Protocol):
    """What is drawn: a `Comparison`."""

    @property
    def methods(self) -> Sequence[str]: ...
    @property
    def controls(self) -> Sequence[str]: ...
    @property
    def metrics(self) -> Sequence[str]: ...
    @property
    def ends(self) -> Sequence[str]: ...
    @property
    def columns(self) -> Sequence[Any]: ...
    @property
    def rows(self) -> Sequence[str]: ...
    @property
    def headings(self) -> Sequence[str]: ...
    @property
    def notes(self) -> Sequence[str]: ...
    @property
    def provenance(self) -> Mapping[str, Any]: ...
    @property
    def seconds(self) -> np.ndarray: ...

    def cell(self, row: int, column: Any) -> str:
        """A mean with its interval and marks."""

    def mark(self, row: int, column: Any) -> str:
        """The marks alone."""


def draw(table: Table) -> Drawn:
    """Means with their intervals: one panel for each metric, one line for each method and control."""
    count, rows = len(table.metrics), len(table.rows)
    across = min(ACROSS, count)
    down = -(-count // across)
    figure = Drawn(figsize=(2.2 + 3.2 * across, down * (1.1 + 0.26 * rows)), layout="constrained")
    places = np.arange(rows)[::-1]
    for number, column in enumerate(table.columns):
        axes = figure.add_subplot(down, across, number + 1)
        colours = [METHOD if row < len(table.methods) else CONTROL for row in range(rows)]
        for place, mean, low, high, colour in zip(places, column.means, column.low, column.high, colours, strict=True):
            axes.plot([low, high], [place, place], color=colour, linewidth=2, solid_capstyle="round")
            axes.plot([mean], [place], "o", color=colour, markersize=5)
        named = [as_written(f"{name} {table.mark(row, column)}".rstrip()) for row, name in enumerate(table.rows)]
        axes.set_yticks(places, named if number % across == 0 else [table.mark(row, column) for row in range(rows)])
        for label, colour in zip(axes.get_yticklabels(), colours, strict=True):
            label.set_color(colour)
        axes.set_ylim(-0.7, rows - 0.3)
        axes.set_title(f"{table.headings[number]}: {table.ends[number]}", fontsize=9)
        axes.axhline(len(table.controls) - 0.5, color=CONTROL, linewidth=0.6)
        axes.grid(axis="x", color="#ececec")
        axes.set_axisbelow(True)
        axes.tick_params(labelsize=8)
        for side in ("top", "right", "left"):
            axes.spines[side].set_visible(False)
    return figure


def write_page(table: Table, path: str | os.PathLike[str]) -> None:
    """Writes one HTML file with the table, the figure and what they mean; it appears whole or not at all."""
    path = check_report(path)
    title = f"Which map of {table.provenance.get('model', 'a model')} to believe"
    drawing = element("img", src=png_url(png(draw(table))), alt="means and intervals of each method and metric")
    notes = element("ul", *(element("li", note) for note in table.notes))
    origin = facts(
        {name: str(value) for name, value in table.provenance.items() if name not in ("asked", "scores", "measured")}
    )
    content = [element("h1", title), element("div", _html(table), class_="wide"), notes, drawing, origin]
    with appearing_whole(path) as unfinished:
        unfinished.write_bytes(page(title, content, STYLE, ""))


def _html(table: Table) -> Element:
    columns = (element("th", heading, scope="col") for heading in ["", *table.headings, "seconds"])
    lines = [element("tr", *columns)]
    for row, name in enumerate(table.rows):
        is_control = row >= len(table.methods)
        cells = [element("td", table.cell(row, column)) for column in table.columns]
        took = element("td", "" if is_control else f"{table.seconds[row]:.1f}")
        kind = ("control" + " first" * (row == len(table.methods))) if is_control else "method"
        lines.append(element("tr", element("th", name, scope="row"), *cells, took, class_=kind))
    return element("table", *lines)
