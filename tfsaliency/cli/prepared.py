"""A model and photographs, as the options of the command line name them."""

import argparse
import re
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from tfsaliency.base.pictures import centre_crop, read_photo
from tfsaliency.cli.models import PREPROCESS, Preprocess, load_model, read_labels
from tfsaliency.target import top
from tfsaliency.target.base import Several

LARGEST = 4096


@dataclass(frozen=True)
class Prepared:
    """What a command works on.

    Attributes:
        model: the model.
        labels: its class names, None if they are unknown.
        preprocess: turns RGB in 0..255 into its input.
        pictures: the photographs, cropped to its size, RGB uint8.
        targets: a class for each photograph, None for its top class, or several of its top classes.
    """

    model: keras.Model
    labels: list[str] | None
    preprocess: Preprocess
    pictures: list[np.ndarray]
    targets: list[int | Several | None]


def prepare(options: argparse.Namespace) -> Prepared:
    """Loads the model and reads the photographs.

    Raises:
        ValueError: an option does not fit the model or the photographs.
        FileNotFoundError: there is no such file.
    """
    targets = _targets(options.target, len(options.photos))
    model, labels, preprocess = loaded(options)
    height, width = _size(model, options.size)
    pictures = [centre_crop(read_photo(path), height, width) for path in options.photos]
    return Prepared(model, labels, preprocess, pictures, targets)


def loaded(options: argparse.Namespace) -> tuple[keras.Model, list[str] | None, Preprocess]:
    """The model, its labels and its preprocessing."""
    found = load_model(options.model, options.trust_model)
    labels = _labels_for(found.model, options.labels) if options.labels else found.labels
    return found.model, labels, found.preprocess if options.preprocess == "auto" else PREPROCESS[options.preprocess]


def _labels_for(model: keras.Model, path: Path) -> list[str]:
    labels = read_labels(path)
    shape = getattr(model, "output_shape", None)
    if isinstance(shape, tuple) and shape[-1] not in (None, 1, len(labels)):
        raise ValueError(f"{path} names {len(labels)} classes, one per line. The model answers {shape[-1]}")
    return labels


def one_target(text: str) -> int | Several | None:
    """The target of all photographs.

    Raises:
        ValueError: it names a class for each photograph.
    """
    if "," in text:
        raise ValueError(f"--target is one for all photos of a folder: top, top3 or a class number. Received: {text!r}")
    return _targets(text, 1)[0]


def _targets(text: str, count: int) -> list[int | Several | None]:
    if text == "top":
        return [None] * count
    if match := re.fullmatch(r"top([1-9]\d*)", text):
        return [top(int(match[1]))] * count
    try:
        targets = [int(item) for item in text.split(",")]
    except ValueError:
        raise ValueError(
            f"--target is top, top3, a class number, or one number per photo: 285,967. Received: {text!r}"
        ) from None
    if len(targets) == 1:
        return [*targets] * count
    if len(targets) != count:
        raise ValueError(f"--target names {len(targets)} classes for {count} photos.")
    return [*targets]


def _size(model: keras.Model, size: int | None) -> tuple[int, int]:
    if size is not None:
        if not 1 <= size <= LARGEST:
            raise ValueError(f"--size is at least 1 and at most {LARGEST}. Received: {size}")
        return size, size
    shape = getattr(model, "input_shape", None)
    if isinstance(shape, tuple):
        if len(shape) != 4 or shape[3] != 3:
            raise ValueError(f"The command line explains models of RGB images. The model takes {shape}: use Python.")
        _, height, width, _ = shape
        if height and width:
            return height, width
    raise ValueError(
        f"The model declares the input shape {shape}, not the size of an RGB image. Pass --size, e.g. --size 224"
    )
