"""An HTML page that holds all it shows, and may load or run nothing else."""

import base64
import hashlib
from typing import Any
from xml.etree import ElementTree

import cv2
import numpy as np

Element = ElementTree.Element


def element(tag: str, *content: Any, **attributes: Any) -> Element:
    """An element with text or elements in it; ``class_`` stands for the attribute of that name.

    Text comes into a page only this way, and is escaped when the page is written.
    """
    made = Element(tag, {name.rstrip("_").replace("_", "-"): str(value) for name, value in attributes.items()})
    for each in content:
        if isinstance(each, Element):
            made.append(each)
        else:
            made.text = str(each)
    return made


def facts(named: dict[str, str]) -> Element:
    """A list of names and what they are."""
    pairs = ((element("dt", name), element("dd", text)) for name, text in named.items())
    return element("dl", *(each for pair in pairs for each in pair))


def picture_url(picture: np.ndarray) -> str:
    """RGB uint8 as an address that is the picture itself."""
    _, encoded = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    return png_url(encoded.tobytes())


def png_url(png: bytes) -> str:
    """The bytes of a PNG file as an address."""
    return "data:image/png;base64," + base64.b64encode(png).decode()


def page(title: str, content: list[Element], style: str, script: str) -> bytes:
    """The page as the bytes of its file: the style and the script are the only ones that a browser accepts in it."""
    policy = f"default-src 'none'; img-src data:; style-src {_hash(style)}; script-src {_hash(script)}"
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", title),
        element("style", style),
    )
    html = element("html", head, element("body", *content, element("script", script)), lang="en")
    written: bytes = ElementTree.tostring(html, encoding="utf-8", method="html")
    return b"<!DOCTYPE html>\n" + written


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
