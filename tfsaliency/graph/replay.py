"""Traced operations, run again one by one in the graph under construction, with the functions that they call.

A call of a function becomes the operations of its body. A loop and a condition are built again around theirs: their
gradients belong to the graph that they were built in, and an imported copy has none.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Self

import tensorflow as tf

from tfsaliency.graph.ancestry import before
from tfsaliency.graph.bodies import bodies_of, body_of, operations_of
from tfsaliency.graph.custom_gradients import CustomGradients
from tfsaliency.graph.grouped import apart, is_grouped
from tfsaliency.graph.operations import CALLS, LOOPS, NESTED

Pairs = Iterable[tuple[tf.Tensor, tf.Tensor]]


class Replay:
    """The values of traced tensors, computed again.

    Args:
        gradients: the custom gradients of the operations.
        given: pairs of a traced tensor and its value.
    """

    def __init__(self, gradients: CustomGradients, given: Pairs):
        self._gradients = gradients
        self._values = {traced.ref(): value for traced, value in given}

    def __getitem__(self, traced: tf.Tensor) -> Any:
        return self._values[traced.ref()]

    def run(self, operations: Iterable[tf.Operation]) -> Self:
        """Computes the results of operations, in the order in which they were traced. Placeholders are given."""
        for op in operations:
            if op.type == "Placeholder":
                continue
            results = self.results(op, [self[source] for source in op.inputs])
            self._values.update(zip((each.ref() for each in op.outputs), results, strict=True))
        return self

    def results(self, op: tf.Operation, inputs: list[Any]) -> Sequence[Any]:
        """The results of one operation."""
        if op.type not in NESTED:
            return self.copy(op, inputs)
        make = self.call if op.type in CALLS else self.loop if op.type in LOOPS else self.condition
        # A gradient of the trace may have let an operation return more than it did when it was traced.
        return make(op, inputs)[: len(op.outputs)]

    def copy(self, op: tf.Operation, inputs: list[tf.Tensor]) -> list[tf.Tensor]:
        """The same operation on other inputs."""
        attributes = {name: value for name, value in op.node_def.attr.items() if not name.startswith("_")}
        attributes |= self._gradients.attributes(op)
        graph = tf.compat.v1.get_default_graph()
        outputs: list[tf.Tensor] = graph.create_op(
            op.type, inputs, name=op.name, attrs=attributes, op_def=op.op_def
        ).outputs
        for output, traced in zip(outputs, op.outputs, strict=True):
            # Keras says more of a shape than TensorFlow finds out again.
            output.set_shape(traced.shape)
        return [apart(outputs[0])] if is_grouped(op) else outputs

    def call(self, op: tf.Operation, inputs: list[Any]) -> list[Any]:
        """The results of a function."""
        return self.body(body_of(op, "f"), inputs)

    def loop(self, op: tf.Operation, inputs: list[Any]) -> list[Any]:
        """The results of a loop, built again."""
        condition, body = body_of(op, "cond"), body_of(op, "body")
        changing = changing_places(body)
        shapes = [tf.TensorShape(each) for each in op.get_attr("output_shapes")]

        def state(values: Sequence[Any]) -> list[Any]:
            given = dict(zip(changing, values, strict=True))
            return [given.get(place, value) for place, value in enumerate(inputs)]

        def turn(*values: Any) -> list[Any]:
            after = self.body(body, state(values))
            return [after[place] for place in changing]

        results = tf.while_loop(
            lambda *values: self.body(condition, state(values))[0],
            turn,
            [inputs[place] for place in changing],
            shape_invariants=[shapes[place] for place in changing],
            parallel_iterations=op.get_attr("parallel_iterations"),
        )
        return state(results)

    def condition(self, op: tf.Operation, inputs: list[Any]) -> list[Any]:
        """The results of a condition, built again."""
        choice, *arguments = inputs
        branches = [lambda body=body: self.body(body, arguments) for body in branches_of(op)]
        if len(branches) == 2 and choice.dtype == tf.bool:
            otherwise, then = branches
            return list(tf.cond(choice, then, otherwise))
        return list(tf.switch_case(choice, branches))

    def body(self, graph: Any, inputs: Sequence[Any]) -> list[Any]:
        """The results of a body, for values of its arguments."""
        with tf.name_scope("body"):
            if self._gradients.are_in(graph):
                # A custom gradient finds what it reads by the name.
                inputs = [self.named(value, each.op.name) for each, value in zip(graph.inputs, inputs, strict=True)]
            inside = self.inside(zip(graph.inputs, inputs, strict=True)).run(self.operations_of(graph))
        return [inside[output] for output in graph.outputs]

    def named(self, value: Any, name: str) -> Any:
        """The same value under a name."""
        return tf.identity(value, name=name)

    def inside(self, given: Pairs) -> "Replay":
        """What runs the operations of a body, for the values of its arguments."""
        return Replay(self._gradients, given)

    def operations_of(self, graph: Any) -> list[tf.Operation]:
        """The operations of a body that are run."""
        return operations_of(graph)


def branches_of(op: tf.Operation) -> list[Any]:
    """The bodies of a condition, in the order of its choices 0, 1, ...; false is 0."""
    if "If" in op.type:
        return [body_of(op, "else_branch"), body_of(op, "then_branch")]
    return bodies_of(op, "branches")


def changing_places(body: Any) -> list[int]:
    """The numbers of the results of a turn that are not the argument at the same place."""
    pairs = enumerate(zip(body.inputs, body.outputs, strict=True))
    return [place for place, (argument, result) in pairs if before(result, ("Identity",)) is not argument]
