"""An HTML page that contains all it shows, and loads or runs nothing else."""

import base64
import hashlib
from typing import Any
from xml.etree import ElementTree

import cv2
import numpy as np

Element = ElementTree.Element
# In pixels; a spectrogram may be longer.
LONGEST_OF_WEBP = 16383


def element(tag: str, *content: Any, **attributes: Any) -> Element:
    """An element with text or other elements inside; ``class_`` stands for the attribute ``class``.

    All text enters a page through this function, and is escaped when the page is written.
    """
    made = Element(tag, {name.rstrip("_").replace("_", "-"): str(value) for name, value in attributes.items()})
    for each in content:
        if isinstance(each, Element):
            made.append(each)
        else:
            made.text = str(each)
    return made


def facts(named: dict[str, str]) -> Element:
    """A list of names and their values."""
    pairs = ((element("dt", name), element("dd", text)) for name, text in named.items())
    return element("dl", *(each for pair in pairs for each in pair))


def picture_url(picture: np.ndarray) -> str:
    """The data URL of an RGB uint8 picture, each pixel as it is: a map takes a third of what it takes as PNG."""
    kind = "webp" if max(picture.shape) <= LONGEST_OF_WEBP else "png"
    lossless = [cv2.IMWRITE_WEBP_QUALITY, 101] if kind == "webp" else []
    _, encoded = cv2.imencode(f".{kind}", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), lossless)
    return _url(kind, encoded.tobytes())


def png_url(png: bytes) -> str:
    """The data URL of a PNG file, from its bytes."""
    return _url("png", png)


def _url(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def page(title: str, content: list[Element], style: str, script: str) -> bytes:
    """The bytes of a page; its policy lets a browser accept only this style and this script."""
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
