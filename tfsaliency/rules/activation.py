"""Activations that a trace shows as several operations, such as GELU, SiLU and PReLU, put together again."""

from typing import Any

import tensorflow as tf

from tfsaliency.rules.operations import CURVES
from tfsaliency.rules.step import CustomGradient, Step, precise

# What makes a function of several operations more than a scale and shift.
BENDS = (*CURVES, "Abs", "Maximum", "Minimum", "SelectV2")
# Operations that treat every number on its own; of several that depend on the inputs, they can join.
ELEMENTWISE = (
    *BENDS,
    "Add",
    "AddN",
    "AddV2",
    "BiasAdd",
    "Cast",
    "Identity",
    "Inv",
    "Mul",
    "Neg",
    "Pow",
    "RealDiv",
    "Reciprocal",
    "Rsqrt",
    "Square",
    "SquaredDifference",
    "Sub",
)
ACTIVATION = "Activation"


def joined_activations(steps: list[Step]) -> list[Step]:
    """The steps, with one step of type ``"Activation"`` in place of each that closes a function of one tensor.

    Where several operands of an operation go back to one tensor ``u`` through nothing but elementwise operations, what
    is made of them is a function of ``u``, number by number: ``u * sigmoid(u)`` is SiLU. The step for it reads ``u``;
    the steps between stay where they are and are passed by, unless something else reads them too.
    """
    made_by = {result.ref(): step for step in steps for result in step.results}
    # For each tensor made elementwise from one other tensor, that other tensor.
    parent: dict[Any, tf.Tensor] = {}
    joined: dict[str, Step] = {}
    for step in steps:
        if isinstance(step, CustomGradient):
            joined |= _custom_gradient(step, parent, joined)
        if step.type not in ELEMENTWISE:
            continue
        operands = [source for source, depends in zip(step.sources, step.depends, strict=True) if depends]
        origin = operands[0] if len(operands) == 1 else _common(operands, parent)
        if origin is None:
            continue
        parent[step.results[0].ref()] = origin
        if len(operands) > 1:
            between = _between(step, origin, made_by)
            if any(each.type in BENDS for each in between):
                joined[step.name] = _activation(origin, between)
    return [joined.get(step.name, step) for step in steps]


def _custom_gradient(step: CustomGradient, parent: dict[Any, tf.Tensor], joined: dict[str, Step]) -> dict[str, Step]:
    """The identities that a custom gradient is, without the gradient if its value is a joined activation.

    ``tf.nn.silu`` is written with one, to save memory.
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
    """The tensor, the one that it is an elementwise function of, and so on."""
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


def _activation(origin: tf.Tensor, between: list[Step]) -> Step:
    last = between[-1]

    def function(u: tf.Tensor) -> list[tf.Tensor]:
        values = {origin.ref(): u}
        for step in between:
            inputs = [values.get(source.ref(), precise(source)) for source in step.sources]
            values |= zip((result.ref() for result in step.results), step.run(*inputs), strict=True)
        return [values[last.results[0].ref()]]

    step = Step(ACTIVATION, last.name, [origin], [last.results[0]], [True], function)
    step.operations = [each.type for each in between]
    return step
