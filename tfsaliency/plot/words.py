"""Words of a text on coloured ground, as HTML."""

from collections.abc import Iterable

import numpy as np

from tfsaliency.plot.kinds import Scale, ground, ink
from tfsaliency.plot.page import Element, element


def paragraph(words: np.ndarray, values: np.ndarray, scale: Scale) -> Element:
    """The words that are not empty, each on the colour of its value, which a browser shows under the pointer."""
    shown = element("p", class_="words", dir="auto")
    for word, value, colour in zip(words, values, ground(values, scale), strict=True):
        if word:
            code = "".join(f"{share:02x}" for share in (colour * 255).round().astype(int))
            span = element("span", word, title=f"{value:.3g}", class_=f"on-{code}-{ink(value, colour)}")
            # Words that are copied keep the spaces between them.
            span.tail = " "
            shown.append(span)
    return shown


def rules(content: Iterable[Element]) -> str:
    """The style of all words in some elements: the policy of a page forbids a style that is written at an element."""
    looks = {span.get("class", "") for each in content for span in each.iterfind(".//p[@class='words']/span")}
    parts = [look.split("-") for look in sorted(looks)]
    return "".join(f".on-{code}-{ink} {{ background: #{code}; color: {ink}; }}\n" for _, code, ink in parts)
