"""Activations that a trace shows as several operations, such as GELU, SiLU and PReLU, put together again."""

from typing import Any, Self

import tensorflow as tf

from tfsaliency.graph.operations import BENDS, ELEMENTWISE
from tfsaliency.graph.step import CustomGradient, Step
from tfsaliency.graph.trace import Values
from tfsaliency.tensors.precision import precise

ACTIVATION = "Activation"


class Activation(Step):
    """A function of one tensor, number by number, made of several operations.

    Args:
        source: the traced tensor that it is a function of.
        parts: the steps it is made of, in the order of the trace.
    """

    def __init__(self, source: tf.Tensor, parts: list[Step]):
        super().__init__(ACTIVATION, parts[-1].name, [source], [parts[-1].results[0]], [True])
        self.operations, self.names = [part.type for part in parts], [part.name for part in parts]
        self._parts = parts

    def at(self, values: Values) -> Self:
        bound = super().at(values)
        bound._parts = [part.at(values) for part in self._parts]
        return bound

    def run(self, *inputs: tf.Tensor) -> list[tf.Tensor]:
        computed = {self.sources[0].ref(): inputs[0]}
        for part in self._parts:
            of_part = [
                computed[source.ref()] if source.ref() in computed else precise(part.value(source))
                for source in part.sources
            ]
            computed |= zip((result.ref() for result in part.results), part.run(*of_part), strict=True)
        return [computed[self.results[0].ref()]]


def joined_activations(steps: list[Step]) -> list[Step]:
    """The steps, with an `Activation` in place of the last operation of each function of one tensor.

    Where several operands of an operation go back to one tensor ``u`` through nothing but elementwise operations, its
    result is a function of ``u``, number by number: ``u * sigmoid(u)`` is SiLU. The new step reads ``u``. The steps in
    between stay where they are for other readers; without any, a walk passes them by.
    """
    made_by = {result.ref(): step for step in steps for result in step.results}
    # For each tensor that is an elementwise function of one other tensor, that other tensor.
    parent: dict[Any, tf.Tensor] = {}
    joined: dict[str, Step] = {}
    for step in steps:
        if isinstance(step, CustomGradient):
            joined |= _custom_gradient(step, parent, joined)
        elif step.type in ELEMENTWISE and not _spreads(step):
            operands = [source for source, depends in zip(step.sources, step.depends, strict=True) if depends]
            origin = operands[0] if len(operands) == 1 else _common(operands, parent)
            if origin is None:
                continue
            parent[step.results[0].ref()] = origin
            if len(operands) > 1:
                between = _between(step, origin, made_by)
                if any(each.type in BENDS for each in between):
                    joined[step.name] = Activation(origin, between)
    return [joined.get(step.name, step) for step in steps]


def _spreads(step: Step) -> bool:
    """Whether an operand that depends on the inputs is spread over more places, as ``(N, 1)`` is beside ``(N, 6)``."""
    shapes = [source.shape for source, depends in zip(step.sources, step.depends, strict=True) if depends]
    return any(repr(shape) != repr(step.results[0].shape) for shape in shapes)


def _custom_gradient(step: CustomGradient, parent: dict[Any, tf.Tensor], joined: dict[str, Step]) -> dict[str, Step]:
    """A custom gradient around a joined activation, without its gradient; nothing for any other.

    ``tf.nn.silu`` has one to save memory.
    """
    arguments = {source.ref() for source in step.sources}
    activation = False
    for source, depends, result in zip(step.sources, step.depends, step.results, strict=True):
        if depends:
            parent[result.ref()] = source
            line = _line(source, parent)
            of_argument = any(tensor.ref() in arguments for tensor in line[1:])
            activation |= of_argument and any(tensor.op.name in joined for tensor in line)
    return {step.name: step.without_gradient()} if activation else {}


def _line(tensor: tf.Tensor, parent: dict[Any, tf.Tensor]) -> list[tf.Tensor]:
    """The tensor, the tensor that it is an elementwise function of, and so on."""
    line = [tensor]
    while line[-1].ref() in parent:
        line.append(parent[line[-1].ref()])
    return line


def _common(operands: list[tf.Tensor], parent: dict[Any, tf.Tensor]) -> tf.Tensor | None:
    """The nearest tensor of which all operands are elementwise functions."""
    lines = [_line(operand, parent) for operand in operands]
    others = [{tensor.ref() for tensor in line} for line in lines[1:]]
    return next((tensor for tensor in lines[0] if all(tensor.ref() in other for other in others)), None)


def _between(last: Step, origin: tf.Tensor, made_by: dict[Any, Step]) -> list[Step]:
    """The steps from a tensor to a step, in the order of the trace."""
    found: dict[str, Step] = {}
    stack = [last]
    while stack:
        step = stack.pop()
        if step.name not in found:
            found[step.name] = step
            stack += [
                made_by[source.ref()]
                for source in step.sources
                if source.ref() in made_by and source.ref() != origin.ref()
            ]
    return [step for step in dict.fromkeys(made_by.values()) if step.name in found]
