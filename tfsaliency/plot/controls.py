"""The parts of a report that answer to the user; ``report.js`` moves them."""

from collections.abc import Iterator, Sequence

import numpy as np

from tfsaliency.plot.image import heatmap
from tfsaliency.plot.page import Element, element


def slider() -> Element:
    """The opacity of all maps."""
    moved = element("input", type="range", id="opacity", min="0", max="100", value="70", autocomplete="off")
    ends = element("span", "input"), moved, element("span", "map"), element("output", "70 %", id="share")
    return element("div", element("label", *ends), class_="bar")


def choice_of(targets: Sequence[str], name: str) -> Iterator[Element]:
    """The targets of a sample to choose from, if there are several. Without the script all maps are shown.

    Args:
        targets: the target of each map.
        name: of the choice, another one for each sample.
    """
    several = list(dict.fromkeys(targets))
    if len(several) == 1:
        return
    choices = []
    for target in several:
        checked = {"checked": ""} if target == several[0] else {}
        button = element("input", type="radio", name=name, value=target, autocomplete="off", **checked)
        choices.append(element("label", button, element("span", target)))
    yield element("fieldset", element("legend", "target"), *choices)


def value_under_pointer() -> Element:
    """The value of a place. The script reads it from the colour of this place, with the colours of all levels."""
    levels = np.linspace(0, 1, 256)[None]
    colours = {"signed": heatmap(2 * levels - 1, limit=1.0), "magnitude": heatmap(levels, limit=1.0, signed=False)}
    codes = {f"data_{name}": each.tobytes().hex() for name, each in colours.items()}
    return element("output", id="value", hidden="", **codes)
