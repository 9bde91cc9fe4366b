"""One step of a traced network, as a rule sees it."""

import inspect
from collections import Counter
from collections.abc import Callable
from functools import cached_property
from typing import Any, Self

import numpy as np
import tensorflow as tf

from tfsaliency.graph.ancestry import ancestors, descendants
from tfsaliency.graph.grouped import grouped_convolution, is_grouped
from tfsaliency.graph.operations import ADDITIONS, COMPUTE_NOTHING
from tfsaliency.graph.trace import Values
from tfsaliency.tensors.precision import precise

# What Python calls an argument of an operation that has another name there.
RENAMED = {"t": "x", "e": "y"}
# One tensor for each result or source of a step; None where nothing flows.
Flows = list[tf.Tensor | None]


class Step:
    """A traced operation, or several that act as one, between the inputs and the outputs of a network.

    A step is data until `at` gives it values; a rule gets a step with values.

    Attributes:
        type: the type of the TensorFlow operation, or the name of what several of them are together.
        name: the name of the operation in the trace. It begins with the names of the layers around it.
        sources: the traced tensors that the step reads.
        results: the traced tensors that it makes.
        depends: for each source, whether it depends on the inputs of the network.
        operations: the types of the operations that the step is made of.
        names: their names.
    """

    def __init__(self, type: str, name: str, sources: list[tf.Tensor], results: list[tf.Tensor], depends: list[bool]):
        self.type, self.name = type, name
        self.sources, self.results, self.depends = sources, results, depends
        self.operations, self.names = [type], [name]
        self._values: Values | None = None
        self._computed: dict[Any, Any] = {}

    def at(self, values: Values) -> Self:
        """The same step with values."""
        bound = object.__new__(type(self))
        bound.__dict__.update(self.__dict__, _values=values, _computed={})
        return bound

    def value(self, traced: tf.Tensor) -> tf.Tensor:
        """The value of a traced tensor, as the network computed it."""
        assert self._values is not None, "a step has values inside a rule only"
        return self._values[traced]

    def precise(self, traced: tf.Tensor) -> tf.Tensor:
        """The value of a traced tensor, float16 as float32; the same tensor each time."""
        value: tf.Tensor = self._once(traced.ref(), lambda: precise(self.value(traced)))
        return value

    def _once(self, name: Any, compute: Callable[[], Any]) -> Any:
        """What a function returns, computed once for these values."""
        if name not in self._computed:
            self._computed[name] = compute()
        return self._computed[name]

    @property
    def inputs(self) -> list[tf.Tensor]:
        """The values of the sources, float16 as float32."""
        return [self.precise(source) for source in self.sources]

    @property
    def outputs(self) -> list[tf.Tensor]:
        """The values of the results, float16 as float32."""
        return [self.precise(result) for result in self.results]

    @property
    def input(self) -> tf.Tensor:
        """The value of the only source that depends on the inputs, float16 as float32."""
        return self.precise(self.source)

    @property
    def output(self) -> tf.Tensor:
        """The value of the first result, float16 as float32."""
        return self.precise(self.results[0])

    @property
    def source(self) -> tf.Tensor:
        """The first source that depends on the inputs, as a traced tensor."""
        return self.sources[self.depends.index(True)]

    def attribute(self, name: str) -> Any:
        """An attribute of the traced operation."""
        raise ValueError(f"{self.name!r} stands for several operations, which have no common attribute {name!r}.")

    def run(self, *inputs: tf.Tensor) -> list[tf.Tensor]:
        """Computes the results from other inputs."""
        raise NotImplementedError

    def with_input(self, value: tf.Tensor) -> tf.Tensor:
        """Runs the step again with ``value`` in place of its dependent source; returns the first result."""
        place = self.depends.index(True)
        inputs = self.inputs
        return self.run(*inputs[:place], value, *inputs[place + 1 :])[0]

    def gradient(self, upstream: Flows) -> Flows:
        """The gradient of the step: from the gradients at its results to those at its dependent sources."""
        return self.gradient_at(self.inputs, upstream)

    def gradient_at(self, inputs: list[tf.Tensor], upstream: Flows) -> Flows:
        """The gradient of the step at other inputs."""
        # A tape adds up the gradients of a tensor that is read twice. Here each place gets its own gradient.
        inputs = [tf.identity(x) if depends else x for x, depends in zip(inputs, self.depends, strict=True)]
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
        found = iter(None if slope is None else _shaped(slope, x) for slope, x in zip(slopes, watched, strict=True))
        return [next(found) if depends else None for depends in self.depends]

    @property
    def spreads(self) -> bool:
        """Whether broadcasting may make copies of the numbers of a source. Only axis 0, the batch, has no length."""
        shape = self.results[0].shape
        known = shape.rank is not None and shape.rank > 0 and None not in shape[1:]
        return not known or any(repr(source.shape) != repr(shape) for source in self.sources)

    def to_sources(self, flow: tf.Tensor | None) -> Flows:
        """``flow`` for the only source that depends on the inputs, None for the others."""
        return [flow if depends else None for depends in self.depends]


class Operation(Step):
    """A step that is a single operation."""

    def __init__(self, op: tf.Operation, depends: list[bool]):
        super().__init__(op.type, op.name, list(op.inputs), list(op.outputs), depends)
        self._op = op

    def attribute(self, name: str) -> Any:
        return self._op.get_attr(name)

    def run(self, *inputs: tf.Tensor) -> list[tf.Tensor]:
        return replay(self._op, *inputs)

    def gradient_at(self, inputs: list[tf.Tensor], upstream: Flows) -> Flows:
        # An unrolled loop has hundreds of these, and a tape takes ten times as long.
        if self.type in SLOPES and not self.spreads:
            flow = tf.cast(upstream[0], inputs[0].dtype)
            slopes = SLOPES[self.type](*inputs, flow)
            return [slope if depends else None for slope, depends in zip(slopes, self.depends, strict=True)]
        return super().gradient_at(inputs, upstream)


SLOPES: dict[str, Callable[..., tuple[tf.Tensor, tf.Tensor]]] = {
    **dict.fromkeys(ADDITIONS, lambda a, b, flow: (flow, flow)),
    "Mul": lambda a, b, flow: (b * flow, a * flow),
}


class CustomGradient(Operation):
    """What ``tf.custom_gradient`` leaves in a trace: identities of its results and arguments, and a gradient."""

    def gradient(self, upstream: Flows) -> Flows:
        outputs, sources = ([self.value(each) for each in tensors] for tensors in (self.results, self.sources))
        reached = [(y, flow) for y, flow in zip(outputs, upstream, strict=True) if flow is not None]
        slopes = tf.gradients(
            [y for y, _ in reached],
            sources,
            grad_ys=[tf.cast(flow, y.dtype) for y, flow in reached],
            stop_gradients=sources,
        )
        return [None if slope is None else precise(slope) for slope in slopes]

    @cached_property
    def body(self) -> list[tf.Operation]:
        """The operations from the arguments to the results."""
        arguments = self._arguments
        results = [source for source in self.sources if source.ref() not in {each.ref() for each in arguments}]
        return descendants(ancestors(*results, known=arguments), arguments) if results else []

    @cached_property
    def _arguments(self) -> list[tf.Tensor]:
        """Those of the sources that do not follow from another one."""
        followed = descendants(ancestors(*self.sources), self.sources)
        return [source for source in self.sources if source.op not in followed]

    @cached_property
    def repeats_body(self) -> bool:
        """Whether the gradient is the one that the body has, computed after running the body again.

        So it is behind ``tf.recompute_grad``. The operations tell: those of the body, and those of its gradient.
        """
        ends = [result for result, source in zip(self.results, self.sources, strict=True) if source.op in self.body]
        results = [source for source in self.sources if source.op in self.body]
        graph = self._op.graph
        with graph.as_default():
            added = []
            for ys, xs, stops in ((ends, self.sources, self.sources), (results, self._arguments, self._arguments)):
                before = graph.version
                tf.gradients(ys, xs, stop_gradients=stops)
                added.append(Counter(op.type for op in graph.get_operations()[before:]))
        again, plain = (Counter({type: n for type, n in each.items() if type not in COMPUTE_NOTHING}) for each in added)
        body = Counter(op.type for op in self.body if op.type not in COMPUTE_NOTHING)
        return again == plain + body

    def without_gradient(self) -> Operation:
        """The identities alone: the upstream gradient of each result goes to its own source."""
        return Operation(self._op, self.depends)


class GroupedConvolution(Operation):
    """A convolution in groups of channels."""

    def run(self, *inputs: tf.Tensor) -> list[tf.Tensor]:
        x, w = inputs
        return [grouped_convolution(self._op, x, tf.cast(w, x.dtype))]


def step_of(op: tf.Operation, depends: list[bool]) -> Step:
    """The step that a single operation is."""
    if is_grouped(op):
        return GroupedConvolution(op, depends)
    return (CustomGradient if op.type == "IdentityN" else Operation)(op, depends)


def replay(op: tf.Operation, *inputs: tf.Tensor) -> list[tf.Tensor]:
    """Runs an operation once more with the same attributes, on other inputs of possibly another float type."""
    function = getattr(tf.raw_ops, op.type)
    known = inspect.signature(function).parameters
    arguments: dict[str, Any] = {}
    inferred = set()
    rest = list(inputs)
    for argument in op.op_def.input_arg:
        # What operations call reduction_indices, dim and the like is an axis in Python.
        name = argument.name if argument.name in known else RENAMED.get(argument.name, "axis")
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
    results: list[tf.Tensor] = tf.nest.flatten(function(**arguments, **attributes))
    return results


def replayed_now(op: tf.Operation, known: list[Any]) -> list[np.ndarray]:
    """What an operation makes of numbers that are known now, out of the graph that is under construction."""
    with tf.init_scope():
        constants = [tf.constant(each, source.dtype) for each, source in zip(known, op.inputs, strict=True)]
        return [each.numpy() for each in replay(op, *constants)]


def _shaped(slope: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
    """A gradient, which has the shape of what it belongs to: in a loop TensorFlow loses that of a maximum."""
    slope = precise(tf.convert_to_tensor(slope))
    slope.set_shape(like.shape)
    return slope
