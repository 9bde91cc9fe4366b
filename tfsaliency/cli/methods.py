"""Methods by name, with options as text."""

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any

import keras

from tfsaliency.explainer import Explainer
from tfsaliency.methods import METHODS


def make_explainer(text: str, model: keras.Model) -> Explainer:
    """Reads ``smoothgrad:samples=100,noise=0.2``.

    Raises:
        ValueError: a method or option that does not exist, or a value that is no number.
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
        kind, read = _KINDS[type(known[option])]
        try:
            given[option] = read(value)
        except (ValueError, KeyError):
            raise ValueError(f"The option {option!r} of {name!r} is {kind}. Received: {value!r}") from None
    return METHODS[name](model, **given)  # type: ignore[call-arg]


# By the type of an option's default, what its text is and how it is read.
_KINDS: dict[type, tuple[str, Callable[[str], Any]]] = {
    bool: ("true or false", {"true": True, "false": False}.__getitem__),
    float: ("a number", float),
    int: ("a whole number", int),
    str: ("a word", str),
    type(None): ("a number", float),
}


def print_methods() -> None:
    """Prints each method with its first line and its options."""
    for name, method in METHODS.items():
        options = ",".join(f"{option}={value}" for option, value in _options(method).items())
        print(f"{name + (':' + options if options else '')}")
        print(f"    {inspect.getdoc(method).splitlines()[0]}")  # type: ignore[union-attr]


def _options(method: type[Explainer]) -> dict[str, Any]:
    """Option -> default; what has no default is the model or the inner explainer."""
    fields = dataclasses.fields(method)  # type: ignore[arg-type]
    return {field.name: field.default for field in fields if field.default is not dataclasses.MISSING}
