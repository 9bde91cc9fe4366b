"""Methods by name, with options as text."""

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any

import keras

from tfsaliency.explainer import Explainer
from tfsaliency.methods import METHODS


def make_explainer(text: str, model: keras.Model) -> Explainer:
    """Makes an explainer from ``smoothgrad:samples=100,noise=0.2``.

    Raises:
        ValueError: the method or the option does not exist, or the value is not a number.
    """
    name, _, rest = text.partition(":")
    if name not in METHODS:
        raise ValueError(f"There is no method {name!r}. The methods: {', '.join(METHODS)}")
    known = _options(METHODS[name])
    given: dict[str, Any] = {}
    for item in filter(None, rest.split(",")):
        option, _, value = item.partition("=")
        if option not in known:
            offered = ", ".join(known) or "none"
            raise ValueError(f"The method {name!r} has no option {option!r}. Its options: {offered}")
        field = known[option]
        kind, read = _KINDS.get(field.type) or _KINDS[type(field.default)]
        try:
            given[option] = read(value)
        except (ValueError, KeyError):
            raise ValueError(f"The option {option!r} of {name!r} is {kind}. Received: {value!r}") from None
    return METHODS[name](model, **given)  # type: ignore[call-arg]


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


def print_methods() -> None:
    """Prints each method with its first line and its options."""
    for name, method in METHODS.items():
        options = ",".join(f"{option}={field.default}" for option, field in _options(method).items())
        print(f"{name + (':' + options if options else '')}")
        print(f"    {inspect.getdoc(method).splitlines()[0]}")  # type: ignore[union-attr]


def _options(method: type[Explainer]) -> dict[str, "dataclasses.Field[Any]"]:
    """The options of a method; fields without a default are the model or the inner explainer."""
    fields = dataclasses.fields(method)  # type: ignore[arg-type]
    return {field.name: field for field in fields if field.default is not dataclasses.MISSING}
