"""Models by name or from a file."""

import inspect
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from tfsaliency.zoo.efficientnet_lite import MEAN, STD

# RGB in 0..255, float32, (N, height, width, 3) -> the input of the model.
Preprocess = Callable[[np.ndarray], np.ndarray]

PREPROCESS: dict[str, Preprocess] = {
    "raw": lambda pixels: pixels,
    "unit": lambda pixels: pixels / 255,
    "signed": lambda pixels: pixels / 127.5 - 1,
    "imagenet": lambda pixels: (pixels / 255 - MEAN) / STD,
}


@dataclass(frozen=True)
class LoadedModel:
    """A model with its preprocessing and its class names.

    Attributes:
        model: the model.
        preprocess: turns RGB in 0..255 into its input.
        labels: its class names, None if they are unknown.
    """

    model: keras.Model
    preprocess: Preprocess
    labels: list[str] | None


def load_model(name: str, trust: bool) -> LoadedModel:
    """Loads ``zoo:efficientnet-lite0``, ``keras:NAME`` or a file.

    Args:
        name: the model to load.
        trust: whether to load files that can run code.

    Raises:
        ValueError: there is no such model, or the file needs ``trust``.
        FileNotFoundError: there is no such file.
    """
    kind, _, rest = name.partition(":")
    if kind == "zoo":
        return _from_zoo(rest)
    if kind == "keras" and rest:
        return _from_applications(rest)
    return LoadedModel(_from_file(Path(name), trust), PREPROCESS["raw"], None)


def read_labels(path: Path) -> list[str]:
    """Class names, one per line. Empty lines at the end are none."""
    try:
        return path.read_text(encoding="utf-8").rstrip().splitlines()
    except OSError as error:
        raise ValueError(f"The class names, one per line, cannot be read from {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not a text in UTF-8: {error}") from error


def _from_zoo(name: str) -> LoadedModel:
    from tfsaliency import zoo

    if name != "efficientnet-lite0":
        raise ValueError(f"The zoo has no model {name!r}. It has: efficientnet-lite0")
    return LoadedModel(zoo.efficientnet_lite0(), PREPROCESS["imagenet"], zoo.labels())


def _from_applications(name: str) -> LoadedModel:
    build = getattr(keras.applications, name, None)
    if not callable(build):
        names = sorted(each for each in dir(keras.applications) if each[0].isupper())
        raise ValueError(f"keras.applications has no model {name!r}. It has: {', '.join(names)}")
    try:
        model = build()
    except Exception as error:
        raise ValueError(f"keras.applications.{name} could not be built with its ImageNet weights: {error}") from error
    from tfsaliency import zoo

    (family, *_) = (
        module for module in vars(keras.applications).values() if inspect.ismodule(module) and hasattr(module, name)
    )
    return LoadedModel(model, family.preprocess_input, zoo.labels())


def _from_saved_model(path: Path) -> keras.Model:
    signature = tf.saved_model.load(path).signatures["serving_default"]
    (spec,) = signature.structured_input_signature[1].values()
    return keras.Sequential(
        [keras.Input(batch_shape=spec.shape), keras.layers.TFSMLayer(path, call_endpoint="serving_default")]
    )


def _from_keras_file(path: Path, trust: bool) -> keras.Model:
    # Keras takes a damaged file for one that is not there.
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{path} is damaged, or no file of model.save('name.keras'). Save the model again.")
    try:
        return keras.saving.load_model(path, safe_mode=not trust, compile=False)
    except Exception as error:
        how = "" if trust else " in safe mode"
        advice = "" if trust else " A file that holds Python code is loaded by --trust-model."
        raise ValueError(f"{path} cannot be loaded{how}: {error}{advice}") from error


def _from_file(path: Path, trust: bool) -> keras.Model:
    if not path.exists():
        raise FileNotFoundError(
            f"There is no model {str(path)!r}. Pass a .keras file, zoo:efficientnet-lite0 or keras:NAME"
        )
    if path.is_file() and path.suffix == ".keras":
        return _from_keras_file(path, trust)
    if not (path.is_dir() or path.suffix in (".h5", ".hdf5")):
        raise ValueError(f"A model is a .keras file. Received: {path}")
    if not trust:
        raise ValueError(
            f"{path} is {'a SavedModel folder' if path.is_dir() else 'an .h5 file'}: loading it can run any code that "
            "its author put in, with your rights. If you would run it as a program, pass --trust-model; "
            "else ask for a .keras file."
        )
    if path.is_dir():
        return _from_saved_model(path)
    return keras.saving.load_model(path, safe_mode=False, compile=False)
