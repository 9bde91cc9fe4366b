"""A traced network as a list of steps, and the one walk back through them that every method with rules makes."""

import functools
from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Any, TypeVar, cast

import tensorflow as tf

from tfsaliency.graph.activation import joined_activations
from tfsaliency.graph.ancestry import ancestors, before, descendants
from tfsaliency.graph.joined_affine import joined_affine
from tfsaliency.graph.log_sum_exp import joined_log_sums
from tfsaliency.graph.operations import (
    CONDITIONS,
    IDENTITIES,
    LIST_READERS,
    LOOPS,
    MOVES,
    PRODUCTS,
    PYTHON_CODE,
    SHAPE_READERS,
    STOPS,
)
from tfsaliency.graph.readers import Readers
from tfsaliency.graph.rectifier import with_rectifiers
from tfsaliency.graph.sampled import Parts, functions_of_numbers
from tfsaliency.graph.softmax import joined_softmaxes
from tfsaliency.graph.step import Flows, Step, step_of
from tfsaliency.graph.trace import Trace, Values

# A rule takes a step with values and the upstream flows of its results: relevance, gradients or multipliers. It returns
# the flow to each of its sources.
Rule = Callable[[Step, Flows], Flows]
AnyRule = TypeVar("AnyRule", bound=Callable[..., Any])


# What to do about products in integers.
NOT_QUANTIZED = "Explain the model before it is quantized, or by Occlusion, RISE or ShapleyValues."


class Network:
    """The steps from the inputs of a trace to some of its tensors. Read once, and used by every rule.

    Args:
        trace: the traced function.
        inputs: traced tensors, where a walk back ends.
        outputs: traced tensors, where it starts.
    """

    def __init__(self, trace: Trace, inputs: list[tf.Tensor], outputs: list[tf.Tensor]):
        self.trace, self.inputs, self.outputs = trace, inputs, outputs

    @cached_property
    def steps(self) -> list[Step]:
        """The steps, one for each operation."""
        return _steps(self.inputs, self.outputs)

    @cached_property
    def with_activations(self) -> list[Step]:
        """The steps, where several operations that are one activation (SiLU, GELU, softmax) are one step."""
        return joined_activations(joined_softmaxes(joined_log_sums(self.steps)))

    @cached_property
    def with_rectifiers(self) -> list[Step]:
        """The steps, where each rectifying activation is one step."""
        return with_rectifiers(self.steps, self.functions, self.readers(self.steps))

    @cached_property
    def with_affine_maps(self) -> list[Step]:
        """The same, where each convolution or matrix product is one step with the scales and shifts around it."""
        return joined_affine(self.with_activations, self.outputs)

    @cached_property
    def functions(self) -> Parts:
        """The functions of single numbers that end in a tensor."""
        return functions_of_numbers(self.trace, self.inputs)

    def readers(self, steps: list[Step]) -> Readers:
        """Which step reads what another one makes."""
        return Readers(steps, self.outputs)

    def walk_back(self, steps: Iterable[Step], values: Values, upstream: Flows, rule: Rule) -> Flows:
        """Takes flows from the outputs back to the inputs, step by step.

        The flows that several readers send back to one tensor are added up.

        Args:
            steps: in the order of the trace. One that stands for several has the place of its last.
            values: of the traced tensors.
            upstream: the flow at each output, None for nothing.
            rule: what a step does.

        Returns:
            The flow at each of the inputs, None for nothing.

        Raises:
            ValueError: the walk meets a loop or condition that rules do not reach into.
        """
        flows: dict[Any, tf.Tensor] = {}

        def send(traced: tf.Tensor, flow: tf.Tensor | None) -> None:
            if flow is not None:
                # A rule computes in float64 where the network does, and in float32 everywhere else.
                if flow.dtype.is_floating:
                    flow = tf.cast(flow, tf.float64 if traced.dtype == tf.float64 else tf.float32)
                flows[traced.ref()] = flows[traced.ref()] + flow if traced.ref() in flows else flow

        for output, flow in zip(self.outputs, upstream, strict=True):
            send(output, flow)
        for step in reversed(list(steps)):
            arriving = [flows.pop(result.ref(), None) for result in step.results]
            if all(flow is None for flow in arriving):
                continue
            self._check_reached(step)
            for source, flow in zip(step.sources, rule(step.at(values), arriving), strict=True):
                send(source, flow)
        return [flows.get(each.ref()) for each in self.inputs]

    def _check_reached(self, step: Step) -> None:
        """Raises where a step is a loop or condition, or reads the lists that a loop wrote to."""
        nested = step
        while nested.type in LIST_READERS and (maker := self._readers.maker(nested.source)) is not None:
            nested = maker
        if any(each.dtype.is_complex for each in (*step.sources, *step.results)):
            raise ValueError(
                f"Rules cannot follow complex numbers through {step.name!r}, an operation of type {step.type}. "
                "Gradient methods (Gradient, SmoothGrad, IntegratedGradients) go through it."
            )
        if step.type in PYTHON_CODE:
            raise ValueError(
                f"Rules cannot follow Python code through {step.name!r}, an operation of type {step.type}. Write it in "
                "TensorFlow, or ask the model alone with Occlusion or RISE; a gradient method goes through "
                "tf.py_function."
            )
        if nested.type in LOOPS:
            raise ValueError(
                f"Rules cannot reach inside {nested.name!r}, an operation of type {nested.type}: a loop that goes on "
                "until the data says stop, or that takes more turns than the option loops allows. Raise loops, or "
                "explain a shorter series; texts get a length by TextVectorization(output_sequence_length=100). In the "
                "place of tf.map_fn over the rows of a batch, whose number is not known, write tf.vectorized_map. "
                "Gradient methods (Gradient, SmoothGrad, IntegratedGradients) go through it."
            )
        if nested.type in CONDITIONS:
            raise ValueError(
                f"Rules cannot reach inside {nested.name!r}, an operation of type {nested.type}: a condition whose "
                "branches assign variables or give results of different shapes. Gradient methods (Gradient, "
                "SmoothGrad, IntegratedGradients) go through it."
            )

    @cached_property
    def hidden(self) -> set[Any]:
        """The traced floats, as ``ref()``, that follow from the inputs by a way of no rule: a choice, a rounding."""
        # A token that is repeated for each sample depends on their number alone.
        read = [op for op in ancestors(*self.outputs) if op.type not in SHAPE_READERS]
        after = descendants(read, self.inputs)
        followed = {result.ref() for step in self.steps for result in step.results}
        made = {result.ref() for op in after for result in op.outputs if result.dtype.is_floating}
        return made - followed

    def check_floats(self) -> None:
        """Raises where a product is computed in integers: rules would follow its scales alone, to another map.

        Raises:
            ValueError: there is one.
        """
        if self._of_integers:
            raise ValueError(
                f"Rules cannot follow {_named(self._of_integers[0])}, as quantized layers have. {NOT_QUANTIZED}"
            )

    def check_slopes(self) -> None:
        """Raises where a gradient passes a product in integers by: it would follow its scales alone.

        Layers of Keras define a gradient for theirs, that of the product in floats.

        Raises:
            ValueError: there is one without.
        """
        products = {op.outputs[0].ref() for op in self._of_integers}
        stack, seen = list(self.outputs) if products else [], set[Any]()
        while stack:
            tensor = stack.pop()
            made = before(tensor, IDENTITIES)
            if made.ref() in products:
                raise ValueError(
                    f"{_named(made.op)}, has no gradient: what reaches the inputs is the slope of its scales alone. "
                    f"{NOT_QUANTIZED}"
                )
            sources = [each for each in self.trace.gradients.sources(tensor.op) if each.dtype.is_floating]
            stack += [each for each in sources if each.ref() not in seen]
            seen |= {each.ref() for each in sources}

    @cached_property
    def _of_integers(self) -> list[tf.Operation]:
        """The products on the way that are computed in integers."""
        after = descendants(ancestors(*self.outputs), self.inputs)
        return [op for op in after if op.type in PRODUCTS and not _is_followed(op.outputs[0].dtype)]

    def blamed(self, step: Step) -> str:
        """Names an operation for what a step loses: what it reads by a way that no rule goes, or the step itself."""
        hidden = [source.op for source in step.sources if source.ref() in self.hidden]
        if not hidden:
            return f"{step.name!r}, an operation of type {step.type}"
        op = hidden[0]
        while op.type in (*MOVES, *IDENTITIES) and op.inputs[0].ref() in self.hidden:
            op = op.inputs[0].op
        return f"{op.name!r}, an operation of type {op.type}"

    @cached_property
    def _readers(self) -> Readers:
        return self.readers(self.with_activations)


def late(rule: AnyRule) -> AnyRule:
    """Delays the operations of a rule until the upstream flows, its last argument, exist.

    Without this TensorFlow runs them as soon as the activations exist, for every layer at once, and holds the results
    until the walk reaches the layer: peak memory would grow with the depth.
    """

    @functools.wraps(rule)
    def waiting(*arguments: Any) -> Any:
        flows = [flow for flow in tf.nest.flatten(arguments[-1]) if flow is not None]
        with tf.control_dependencies(flows):
            return rule(*arguments)

    return cast(AnyRule, waiting)


def _named(product: tf.Operation) -> str:
    return f"{product.name!r}, a {product.type} in {product.outputs[0].dtype.name} numbers"


def _is_followed(dtype: tf.DType) -> bool:
    return bool(dtype.is_floating or dtype.is_complex or dtype == tf.variant)


def _steps(inputs: list[tf.Tensor], outputs: list[tf.Tensor]) -> list[Step]:
    """The steps from the inputs to the outputs, in the order in which they were traced."""
    dependent = {each.ref() for each in inputs}
    steps = []
    for op in ancestors(*outputs):
        depends = [source.ref() in dependent for source in op.inputs]
        # A loop reads its sequence from a list, which is a variant.
        results = [result for result in op.outputs if _is_followed(result.dtype)]
        if not any(depends) or not results or op.type in STOPS or any(each.ref() in dependent for each in results):
            continue
        steps.append(step_of(op, depends))
        dependent.update(result.ref() for result in results)
    return steps
