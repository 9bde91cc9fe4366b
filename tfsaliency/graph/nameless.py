"""Traced graphs without the names of their operations and functions, to be compared."""

import hashlib
import re
from collections.abc import Iterable
from typing import Any

import tensorflow as tf

# TensorFlow numbers the functions of a process.
_LAST_NUMBER = re.compile(r"(\d+)$")


def digest(definition: tf.compat.v1.GraphDef) -> bytes:
    """Equal for graphs with the same operations in the same order, whatever their names and those of their functions.

    A custom gradient is equal to those of the same name.
    """
    bare = tf.compat.v1.GraphDef()
    bare.CopyFrom(definition)
    # In the order in which they were traced, which the numbers at their ends show.
    functions = sorted(bare.library.function, key=lambda each: _number(each.signature.name))
    named = {each.signature.name: f"function {place}" for place, each in enumerate(functions)}
    found = hashlib.sha256()
    _rename(bare.node, [], named)
    found.update(_bytes(bare.node))
    for function in functions:
        arguments, results = function.signature.input_arg, function.signature.output_arg
        names = _rename(function.node_def, [each.name for each in arguments], named)
        returned = [(each.type, _renamed(function.ret[each.name], names)) for each in results]
        found.update(repr(([each.type for each in arguments], returned)).encode())
        found.update(_bytes(function.node_def))
    return found.digest()


def _bytes(nodes: Any) -> bytes:
    return b"".join(node.SerializeToString(deterministic=True) for node in nodes)


def _rename(nodes: Any, arguments: list[str], functions: dict[str, str]) -> dict[str, str]:
    """Gives operations and arguments their places for names, and functions the names given; returns the former."""
    names = {name: str(place) for place, name in enumerate([*arguments, *(node.name for node in nodes)])}
    for node in nodes:
        node.name = names[node.name]
        sources = [_renamed(each, names) for each in node.input]
        del node.input[:]
        node.input.extend(sources)
        node.attr.pop("_class", None)
        for value in node.attr.values():
            _rename_functions([value.func] if value.HasField("func") else value.list.func, functions)
    return names


def _rename_functions(called: Iterable[Any], functions: dict[str, str]) -> None:
    for each in called:
        each.name = functions.get(each.name, each.name)


def _renamed(source: str, names: dict[str, str]) -> str:
    """``^name``, ``name``, ``name:1`` or ``name:output:1``, or an argument of a function."""
    mark, rest = source[: source.startswith("^")], source.removeprefix("^")
    name, *place = rest.split(":")
    return mark + ":".join([names.get(name, name), *place])


def _number(name: str) -> int:
    found = _LAST_NUMBER.search(name)
    return int(found[0]) if found else 0
