"""Methods and metrics by name, with options as text."""

import argparse
import dataclasses
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import keras

from tfsaliency import baselines
from tfsaliency.base.options import check_known
from tfsaliency.explainer import Explainer
from tfsaliency.methods import METHODS
from tfsaliency.metrics import METRICS, Metric
from tfsaliency.metrics.compare import blur_for
from tfsaliency.metrics.metric import subject_of

# Words for what stands in the place of a hidden pixel.
FILLS: dict[str, Callable[[keras.Model], Any]] = {
    "blur": lambda model: blur_for(model.input_shape[1] or 224),
    "mean": lambda model: baselines.mean(),
}


def methods_of(options: argparse.Namespace) -> list[str]:
    """The methods that a command is asked for.

    Raises:
        ValueError: one is named twice.
    """
    methods: list[str] = options.method or ["gradient"]
    if len(set(methods)) < len(methods):
        raise ValueError(f"A method is named twice: {', '.join(methods)}")
    return methods


def make_explainer(text: str, model: keras.Model) -> Explainer:
    """Makes an explainer from ``smoothgrad:samples=100,noise=0.2``.

    Raises:
        ValueError: the method or the option does not exist, or the value is not a number.
    """
    method, options = _read("method", METHODS, text)
    return method(model, **options)  # type: ignore[no-any-return]


def make_metric(text: str, explainer: Explainer) -> Metric:
    """Makes a metric from ``deletion:fill=mean,steps=10``; ``fill=blur`` is a blur of a twentieth of the height.

    Raises:
        ValueError: the metric or the option does not exist, or the value is not a number.
    """
    metric, options = _read("metric", METRICS, text)
    fill = options.get("fill")
    if isinstance(fill, str):
        if fill not in FILLS:
            raise ValueError(f"The option 'fill' is a number, blur or mean. Received: {fill!r}")
        options["fill"] = FILLS[fill](explainer.model)
    return metric(**subject_of(metric, explainer), **options)  # type: ignore[no-any-return]


def _read(what: str, kinds: Mapping[str, type[Any]], text: str) -> tuple[type[Any], dict[str, Any]]:
    """One of the kinds, and the options that a text names."""
    name, _, rest = text.partition(":")
    check_known(what, name, kinds)
    known = _options(kinds[name])
    given: dict[str, Any] = {}
    for item in filter(None, rest.split(",")):
        option, _, value = item.partition("=")
        if option not in known:
            offered = ", ".join(known) or "none"
            raise ValueError(f"The {what} {name!r} has no option {option!r}. Its options: {offered}")
        if option in given:
            raise ValueError(f"The option {option!r} of {name!r} is given twice. Received: {text!r}")
        field = known[option]
        kind, read = _KINDS.get(field.type) or _KINDS[type(field.default)]
        try:
            given[option] = read(value)
        except (ValueError, KeyError):
            raise ValueError(f"The option {option!r} of {name!r} is {kind}. Received: {value!r}") from None
    return kinds[name], given


def _number_or_word(text: str) -> float | str:
    for read in (int, float):
        try:
            return read(text)
        except ValueError:
            pass
    return text


# For the type of an option, or of its default: the description of its text and the function that reads it.
_KINDS: dict[Any, tuple[str, Callable[[str], Any]]] = {
    bool: ("true or false", {"true": True, "false": False}.__getitem__),
    float: ("a number", float),
    float | None: ("a number", float),
    int: ("a whole number", int),
    int | None: ("a whole number", int),
    str: ("a word", str),
    type(None): ("a number", float),
    Any: ("a number or a word", _number_or_word),
}


def list_of_methods() -> str:
    """Each method with its options, and under it its first line. ``tfsaliency methods`` prints it from a file."""
    lines = []
    for name, method in METHODS.items():
        options = ",".join(f"{option}={field.default}" for option, field in _options(method).items())
        lines.append(f"{name}:{options}" if options else name)
        lines.append(f"    {inspect.getdoc(method).splitlines()[0]}")  # type: ignore[union-attr]
    return "\n".join(lines) + "\n"


def _options(method: type[Any]) -> dict[str, "dataclasses.Field[Any]"]:
    """The options of a method or metric; fields without a default are the model or the explainer."""
    fields = dataclasses.fields(method)
    return {field.name: field for field in fields if field.default is not dataclasses.MISSING}
