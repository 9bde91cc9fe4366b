"""A traced network as a list of steps, and the one walk back through them that every method with rules makes."""

import functools
from collections.abc import Callable, Iterable
from typing import Any

import tensorflow as tf

from tfsaliency.forward import ancestors, functions_of
from tfsaliency.rules.grouped import grouped_convolution
from tfsaliency.rules.operations import NESTED, STOPS
from tfsaliency.rules.step import Step, step_of

# A rule gets a step and what arrives at its results, and says what leaves to each source: None for nothing.
Flows = list[tf.Tensor | None]
Rule = Callable[[Step, Flows], Flows]


def steps_between(outputs: list[tf.Tensor], inputs: Any) -> list[Step]:
    """The steps from the inputs to the outputs, in the order in which they were traced.

    Args:
        outputs: tensors of one graph.
        inputs: tensors of it, in any structure.

    Raises:
        ValueError: part of the way lies in a function or loop, where rules do not reach.
    """
    dependent = {part.ref() for part in tf.nest.flatten(inputs)}
    # Read once, and only where something is called: it copies the whole graph.
    functions = functools.cache(lambda: functions_of(outputs[0].graph))
    steps = []
    for op in ancestors(*outputs):
        depends = [source.ref() in dependent for source in op.inputs]
        # A loop reads its sequence from a list, which is a variant.
        results = [result for result in op.outputs if result.dtype.is_floating or result.dtype == tf.variant]
        if not any(depends) or not results or op.type in STOPS or any(each.ref() in dependent for each in results):
            continue
        steps.append(_hidden(op, depends, functions()) if op.type in NESTED else step_of(op, depends))
        dependent.update(result.ref() for result in results)
    return steps


def _hidden(op: tf.Operation, depends: list[bool], functions: dict[str, Any]) -> Step:
    """The step that an operation with a body is, where that body is one convolution."""
    step = grouped_convolution(op, depends, functions)
    if step is None:
        raise ValueError(
            f"Rules cannot reach inside {op.name!r}, an operation of type {op.type}: a tf.function, loop or condition "
            "within the model. Take @tf.function off the model's call, or unroll the loop (an LSTM or GRU layer with "
            "unroll=True). The gradient methods (Gradient, SmoothGrad, ...) go through it."
        )
    return step


def late(rule: Callable) -> Callable:
    """A rule whose operations wait for what arrives, its last argument.

    Without it TensorFlow runs what a rule does with the activations as soon as they are there, for every layer at once,
    and holds it all until the walk back comes by.
    """

    @functools.wraps(rule)
    def waiting(*arguments: Any) -> Any:
        flows = [flow for flow in tf.nest.flatten(arguments[-1]) if flow is not None]
        with tf.control_dependencies(flows):
            return rule(*arguments)

    return waiting


def walk_back(
    steps: Iterable[Step], start: list[tuple[tf.Tensor, tf.Tensor]], rule: Rule, inputs: Any
) -> list[tf.Tensor | None]:
    """Takes what arrives at the outputs back to the inputs, step by step.

    What several readers of a tensor send back to it is added up.

    Args:
        steps: in the order of the trace; one that stands for several comes at the place of its last.
        start: pairs of a tensor and what arrives at it.
        rule: says what a step sends back.
        inputs: tensors where the walk ends, in any structure.

    Returns:
        What arrives at each of the inputs, None for nothing.
    """
    flows: dict[Any, tf.Tensor] = {}

    def send(tensor: tf.Tensor, flow: tf.Tensor) -> None:
        key = tensor.ref()
        flows[key] = flows[key] + flow if key in flows else flow

    for tensor, flow in start:
        send(tensor, flow)
    for step in reversed(list(steps)):
        arriving = [flows.pop(result.ref(), None) for result in step.results]
        if all(flow is None for flow in arriving):
            continue
        for source, flow in zip(step.sources, rule(step, arriving), strict=True):
            if flow is not None:
                send(source, flow)
    return [flows.get(part.ref()) for part in tf.nest.flatten(inputs)]
