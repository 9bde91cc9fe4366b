"""A function that was traced once, kept as data: its operations can be read, and run again on other values.

Importing the operations into another graph takes a fraction of the time of calling a Keras model again, and gives the
same graph. So every explainer of a model starts from the one trace of it.
"""

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from types import MappingProxyType
from typing import Any

import tensorflow as tf

from tfsaliency.graph.ancestry import ancestors, descendants
from tfsaliency.graph.bodies import captured
from tfsaliency.graph.custom_gradients import CustomGradients
from tfsaliency.graph.inlined import functions_inlined
from tfsaliency.graph.operations import NESTED
from tfsaliency.graph.replay import Replay

Pairs = Sequence[tuple[tf.Tensor, tf.Tensor]]

_NOTHING: Mapping[str, tf.Tensor] = MappingProxyType({})


class Values:
    """The value of each traced tensor in the graph under construction."""

    def __init__(self, pairs: Iterable[tuple[tf.Tensor, tf.Tensor]]):
        self._values = {traced.ref(): value for traced, value in pairs}

    def __getitem__(self, traced: tf.Tensor) -> tf.Tensor:
        found = self._values.get(traced.ref())
        if found is not None:
            return found
        constant = tf.get_static_value(traced)
        if constant is None:
            raise ValueError(
                f"The model was traced to other operations when it was called again: {traced.op.name!r} is missing. "
                "Its call is not the same each time. Explain a model without random choices in Python."
            )
        return tf.constant(constant, traced.dtype)

    def but_for(self, others: "Values") -> "Values":
        """The same values, with others for some of the traced tensors."""
        both = Values([])
        both._values = self._values | others._values
        return both

    def structure(self, traced: Any) -> Any:
        """The values of traced tensors, in the structure that these come in."""
        return tf.nest.map_structure(self.__getitem__, traced)


class Trace:
    """The graph of a traced function.

    Attributes:
        graph: the graph.
        inputs: the arguments as traced tensors, one structure per argument.
        outputs: what the function returned.
        operations: all operations but placeholders, in the order in which they were traced.
        gradients: their custom gradients.
    """

    def __init__(self, function: Callable[..., Any], *specs: Any):
        def record(*arguments: Any) -> None:
            self.inputs, self.outputs = arguments, function(*arguments)

        with functions_inlined() as self._inlined:
            traced = tf.function(record, autograph=False, input_signature=specs).get_concrete_function()
        self.graph: tf.Graph = traced.graph
        self._instead: dict[int, tf.Tensor] = {}
        self.operations = [op for op in self.graph.get_operations() if op.type != "Placeholder"]
        self.gradients = CustomGradients()

    @cached_property
    def written(self) -> list[tf.Variable]:
        """The variables that the function assigns to; all of them where a function within it assigns to any."""
        bodies = (function.node_def for function in self.functions.values())
        if any(node.op.startswith("Assign") for nodes in bodies for node in nodes):
            return list(self.graph.variables)
        targets = {op.inputs[0].ref() for op in self.operations if op.type.startswith("Assign")}
        handles = {id(outside) for outside, traced in self.graph.captures if traced.ref() in targets}
        return [each for each in self.graph.variables if id(each.handle) in handles]

    @cached_property
    def functions(self) -> dict[str, Any]:
        """The definitions of the functions that the operations can call, by name."""
        return {function.signature.name: function for function in self.definition.library.function}

    @cached_property
    def is_half(self) -> bool:
        """Whether part of the computation is in float16."""
        return tf.float16 in self._types

    @cached_property
    def is_coarse(self) -> bool:
        """Whether part of the computation is in 16 bits, float16 or bfloat16."""
        return self.is_half or tf.bfloat16 in self._types

    @cached_property
    def _types(self) -> set[tf.DType]:
        return {output.dtype for op in self.operations for output in op.outputs}

    @cached_property
    def is_flat(self) -> bool:
        """Whether there is no function, condition or loop among the operations."""
        return _is_flat(self.operations)

    def run(self, inputs: Pairs, wanted: list[tf.Tensor] | None = None) -> Values:
        """Runs operations again, in the graph under construction.

        Args:
            inputs: pairs of a traced tensor and its value. Variables are read as they are.
            wanted: traced tensors; by default all.

        Returns:
            The values of the inputs, of the wanted tensors and of those in between.
        """
        given = [*inputs, *self.captured]
        if wanted is None:
            if self.is_flat:
                return imported(self._everything, given, _results(self.operations))
            return self._replayed(self.operations, given)
        return self._run(self.needed(wanted, [traced for traced, _ in given]), given)

    def needed(self, wanted: list[tf.Tensor], known: list[tf.Tensor]) -> list[tf.Operation]:
        """The operations that wanted tensors and their gradients depend on, but placeholders.

        Args:
            wanted: traced tensors.
            known: traced tensors that are given: the operations behind them are left out.
        """
        read = wanted
        while True:
            found = ancestors(*read, known=known)
            beside = [each for op in found for each in self.gradients.beside(op)]
            if len(read) == len(wanted) + len(beside):
                return [op for op in found if op.type != "Placeholder"]
            read = [*wanted, *beside]

    def _run(self, operations: list[tf.Operation], given: Pairs) -> Values:
        # The gradients of functions, conditions and loops are Python objects and names that belong to the graph of the
        # trace: an imported copy has none, or is in the way of another copy.
        if _is_flat(operations):
            return imported(self.part(operations), given, _results(operations))
        return self._replayed(operations, given)

    @property
    def captured(self) -> Pairs:
        """Pairs of a traced placeholder and what it stands for outside of the graph, such as a variable."""
        return captured(self.graph, self._instead)

    def reading(self, instead: dict[int, tf.Tensor]) -> "Trace":
        """The same trace, which reads other variables when it is run.

        Args:
            instead: what is read, a handle of the same dtype and shape, by the ``id`` of the handle of the variable
                that the traced function reads.
        """
        other = copy.copy(self)
        other._instead = instead
        return other

    def run_from(self, replaced: Pairs, known: Values, wanted: list[tf.Tensor] | None = None) -> Values:
        """Runs only the operations between some tensors and the wanted ones, for other values of the former.

        Args:
            replaced: pairs of a traced tensor and its new value, which may have more rows.
            known: the values of the other tensors, in the graph under construction.
            wanted: traced tensors; by default all.

        Returns:
            The known values, with those of the replaced tensors and of what is run in their place.
        """
        tensors = [traced for traced, _ in replaced]
        operations = self.operations if wanted is None else self.needed(wanted, tensors)
        again = descendants(operations, tensors)
        # A copy of a gradient reads copies of these.
        beside = [each for op in again for each in self.gradients.beside(op)]
        names = {op.name for op in (*again, *ancestors(*beside, known=tensors))}
        again = [op for op in operations if op.name in names]
        own = {result.ref() for op in again for result in op.outputs} | {each.ref() for each in tensors}
        others = {source.ref(): source for op in again for source in op.inputs if source.ref() not in own}
        return known.but_for(self._run(again, [*replaced, *((each, known[each]) for each in others.values())]))

    def _replayed(self, operations: list[tf.Operation], given: Pairs) -> Values:
        # A loop would carry along what is brought into its graph, whether it is read or not.
        read = {source.ref() for op in operations for source in op.inputs}
        pairs = [(traced, _here(value) if traced.ref() in read else value) for traced, value in given]
        with tf.name_scope("model"):
            replay = Replay(self.gradients, pairs).run(operations)
        return Values([*((each, replay[each]) for op in operations for each in op.outputs), *pairs])

    @cached_property
    def definition(self) -> tf.compat.v1.GraphDef:
        """The graph as data, with the functions that its operations call."""
        return self.graph.as_graph_def()

    @cached_property
    def _everything(self) -> tf.compat.v1.GraphDef:
        return self.part(self.operations)

    def part(self, operations: list[tf.Operation]) -> tf.compat.v1.GraphDef:
        """The definition of some of the operations."""
        part = tf.compat.v1.GraphDef()
        part.versions.CopyFrom(self.definition.versions)
        part.library.CopyFrom(self.definition.library)
        names = {op.name for op in operations}
        for node in self.definition.node:
            if node.name in names:
                added = part.node.add()
                added.CopyFrom(node)
                added.attr.pop("_class", None)
                # What has to run before and lies outside of this part has run already.
                del added.input[:]
                added.input.extend(each for each in node.input if each[0] != "^" or each[1:] in names)
        self.gradients.redirect(operations, part)
        return part


def _is_flat(operations: list[tf.Operation]) -> bool:
    return not any(op.type in NESTED for op in operations)


def _results(operations: list[tf.Operation]) -> list[tf.Tensor]:
    return [output for op in operations for output in op.outputs]


def imported(
    part: tf.compat.v1.GraphDef, given: Pairs, wanted: list[tf.Tensor], made: Mapping[str, tf.Tensor] = _NOTHING
) -> Values:
    """The values of wanted tensors, in the graph under construction.

    Args:
        part: the operations that compute them.
        given: pairs of a traced tensor that the operations read from outside, and its value. Others may be among them.
        wanted: traced tensors.
        made: what else the operations read, by the name that they read it by.
    """
    read = {name.removesuffix(":0") for node in part.node for name in node.input}
    known = {traced.name: value for traced, value in given} | {**made}
    outside = {name: _here(value) for name, value in known.items() if name.removesuffix(":0") in read}
    values = tf.graph_util.import_graph_def(part, outside, [each.name for each in wanted], name="model")
    return Values([*zip(wanted, values, strict=True), *given])


def _here(value: tf.Tensor) -> tf.Tensor:
    """A tensor of the graph under construction, for one of that graph, of a graph around it or of none."""
    if not tf.is_symbolic_tensor(value):
        return tf.convert_to_tensor(value)
    return value if value.graph is tf.compat.v1.get_default_graph() else tf.identity(value)
