"""One step of a traced network, as a rule sees it."""

import inspect
from collections.abc import Callable
from functools import cached_property
from typing import Any

import tensorflow as tf


class Step:
    """A traced operation, or several that act as one, between the inputs and the outputs of a network.

    Attributes:
        type: the type of the TensorFlow operation, or the name of what several of them are together.
        name: the name of the operation in the trace, which begins with the names of its layers.
        sources: the tensors it reads.
        results: the tensors it makes.
        depends: for each source, whether it depends on the inputs of the network.
        operations: the types of the operations that it is made of.
    """

    def __init__(
        self,
        type: str,
        name: str,
        sources: list[tf.Tensor],
        results: list[tf.Tensor],
        depends: list[bool],
        function: Callable[..., list[tf.Tensor]],
        op: tf.Operation | None = None,
    ):
        self.type, self.name = type, name
        self.sources, self.results, self.depends = sources, results, depends
        self.operations = [type]
        self._function, self._op = function, op

    def attribute(self, name: str) -> Any:
        """An attribute of the traced operation."""
        assert self._op is not None, "only single operations have attributes"
        return self._op.get_attr(name)

    @cached_property
    def inputs(self) -> list[tf.Tensor]:
        """The sources, of float16 as float32: what flows back is smaller than float16 goes."""
        return [precise(source) for source in self.sources]

    @cached_property
    def output(self) -> tf.Tensor:
        """The first result, of float16 as float32."""
        return precise(self.results[0])

    @property
    def input(self) -> tf.Tensor:
        """The only source that depends on the inputs, of float16 as float32."""
        return self.inputs[self.depends.index(True)]

    def run(self, *inputs: tf.Tensor) -> list[tf.Tensor]:
        """Computes the step again, on other values."""
        return self._function(*inputs)

    def with_input(self, value: tf.Tensor) -> tf.Tensor:
        """The first result, were the source that depends on the inputs this value."""
        place = self.depends.index(True)
        return self.run(*self.inputs[:place], value, *self.inputs[place + 1 :])[0]

    def gradient(self, upstream: list[tf.Tensor | None]) -> list[tf.Tensor | None]:
        """The step's own gradient: what arrives at the results, taken to the sources that depend on the inputs."""
        # An identity each, because a tape adds up what arrives at one tensor that is read in two places.
        inputs = [tf.identity(x) if depends else x for x, depends in zip(self.inputs, self.depends, strict=True)]
        watched = [x for x, depends in zip(inputs, self.depends, strict=True) if depends]
        with tf.GradientTape() as tape:
            tape.watch(watched)
            results = self.run(*inputs)
        reached = [(y, flow) for y, flow in zip(results, upstream, strict=True) if flow is not None]
        try:
            slopes = tape.gradient(
                [y for y, _ in reached],
                watched,
                output_gradients=[tf.cast(flow, y.dtype) for y, flow in reached],
            )
        except LookupError as error:
            raise ValueError(f"The operation {self.name!r} of type {self.type} has no gradient.") from error
        found = iter(None if slope is None else precise(tf.convert_to_tensor(slope)) for slope in slopes)
        return [next(found) if depends else None for depends in self.depends]

    def to_sources(self, flow: tf.Tensor) -> list[tf.Tensor | None]:
        """The flow for the only source that depends on the inputs, nothing for the others."""
        return [flow if depends else None for depends in self.depends]


class CustomGradient(Step):
    """What ``tf.custom_gradient`` leaves in a trace: identities of its results and arguments, and a gradient."""

    def gradient(self, upstream: list[tf.Tensor | None]) -> list[tf.Tensor | None]:
        reached = [(y, flow) for y, flow in zip(self.results, upstream, strict=True) if flow is not None]
        slopes = tf.gradients(
            [y for y, _ in reached],
            self.sources,
            grad_ys=[tf.cast(flow, y.dtype) for y, flow in reached],
            stop_gradients=self.sources,
        )
        return [None if slope is None else precise(slope) for slope in slopes]

    def without_gradient(self) -> Step:
        """The identities alone: what arrives at each goes to its own source."""
        return Step(self.type, self.name, self.sources, self.results, self.depends, self._function)


def step_of(op: tf.Operation, depends: list[bool]) -> Step:
    """The step that a single operation is."""
    kind = CustomGradient if op.type == "IdentityN" else Step
    return kind(op.type, op.name, list(op.inputs), list(op.outputs), depends, lambda *inputs: replay(op, *inputs), op)


def precise(tensor: tf.Tensor) -> tf.Tensor:
    """Float32 in place of the short types, anything else as it is."""
    return tf.cast(tensor, tf.float32) if tensor.dtype in (tf.float16, tf.bfloat16) else tensor


def replay(op: tf.Operation, *inputs: tf.Tensor) -> list[tf.Tensor]:
    """Runs an operation once more with the same attributes, on other inputs of possibly another float type."""
    function = getattr(tf.raw_ops, op.type)
    known = inspect.signature(function).parameters
    arguments: dict[str, Any] = {}
    inferred = set()
    rest = list(inputs)
    for argument in op.op_def.input_arg:
        # What the operations call reduction_indices, dim and the like is an axis in Python.
        name = argument.name if argument.name in known else "axis"
        several = argument.number_attr or argument.type_list_attr
        if several:
            attribute = op.get_attr(several)
            count = attribute if isinstance(attribute, int) else len(attribute)
            arguments[name], rest = rest[:count], rest[count:]
        else:
            arguments[name] = rest.pop(0)
        inferred |= {several, argument.type_attr}
    attributes = {
        each.name if each.name in known else "axis": op.get_attr(each.name)
        for each in op.op_def.attr
        if each.name not in inferred
    }
    return tf.nest.flatten(function(**arguments, **attributes))
