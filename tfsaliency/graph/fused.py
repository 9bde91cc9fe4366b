"""A trace that computes less: scales and shifts become part of the weights of the affine map that they follow.

``(L(x; w) + b) * s + t = L(x; s w) + (s b + t)``: a batch normalization after a convolution costs nothing then. Weights
are fused in the graph from the variables as they are at each call.
"""

from typing import Any, NamedTuple

import tensorflow as tf

from tfsaliency.graph.affine import Extent, Weighted, extents_through, scale_and_shift
from tfsaliency.graph.ancestry import ancestors
from tfsaliency.graph.grouped import IN_GROUPS
from tfsaliency.graph.joined_affine import joined_affine
from tfsaliency.graph.network import Network
from tfsaliency.graph.step import Step
from tfsaliency.graph.trace import Pairs, Trace, Values, imported

# Weights are fused once for all rows of a batch. It pays where that is less than what the rows no longer compute: as a
# batch has up to 32 rows, and each saves two to three operations on the numbers of the result.
MOST_WEIGHTS = 32


class FusedWeights(NamedTuple):
    """What a fused trace reads besides its inputs, in a graph under construction.

    Attributes:
        parts: pairs of a traced tensor that weights are fused from, and its value.
        made: the fused weights and shifts, by the names that they are read by.
    """

    parts: Pairs
    made: dict[str, tf.Tensor]


class FusedTrace:
    """Runs a trace with affine maps fused. Only the wanted tensors can be read.

    Args:
        trace: a flat trace.
        fusions: of the trace, from `fusible`.
        wanted: the traced tensors whose values are computed.

    Attributes:
        dropped: the names of the operations that are left out.
    """

    def __init__(self, trace: Trace, fusions: "list[Fusion]", wanted: list[tf.Tensor]):
        self._trace, self._fusions, self._wanted = trace, fusions, wanted
        self._read = list({each.ref(): each for fusion in self._fusions for each in fusion.read}.values())
        self.dropped = {name for fusion in self._fusions for name in fusion.dropped}
        self._rest: tf.compat.v1.GraphDef | None = None

    def weights(self) -> FusedWeights:
        """Fuses the weights from the variables as they are, in the graph under construction."""
        values = self._trace.run([], self._read)
        made = {name: value for fusion in self._fusions for name, value in fusion.values(values).items()}
        return FusedWeights([(each, values[each]) for each in self._read], made)

    def run(self, given: Pairs, weights: FusedWeights) -> Values:
        """Computes the wanted tensors, in the graph under construction.

        Args:
            given: pairs of a traced tensor and its value: the same tensors each time.
            weights: from `weights`, in this graph or in one around it.
        """
        known = [*given, *self._trace.captured, *weights.parts]
        if self._rest is None:
            self._rest = self._rewired([traced for traced, _ in known])
        refs = {traced.ref() for traced, _ in known}
        return imported(self._rest, known, [each for each in self._wanted if each.ref() not in refs], weights.made)

    def _rewired(self, known: list[tf.Tensor]) -> tf.compat.v1.GraphDef:
        """The operations from known tensors to the wanted ones."""
        part = self._trace.part([op for op in self._trace.needed(self._wanted, known) if op.name not in self.dropped])
        nodes = {node.name: node for node in part.node}
        for fusion in self._fusions:
            fusion.rewire(nodes)
        return part


class Fusion:
    """One affine map that replaces the operations that it is made of.

    Attributes:
        affine: the map.
        saved: how many operations fewer are run.
        read: the traced tensors that its weights and its bias are fused from.
        dropped: the names of the operations that are left out.
    """

    def __init__(self, affine: Weighted):
        self.affine = affine
        scales = [step for step in affine.steps if scale_and_shift(step) is not None]
        around = (zip(step.sources, step.depends, strict=True) for step in scales)
        operands = [source for pairs in around for source, depends in pairs if not depends]
        self.saved = len(scales) - int(affine.shifts_after)
        self.read = [affine.head.sources[affine.kernel], *operands]
        self._last = affine.after[-1] if affine.after else None
        self._kept = [step for step in affine.steps if step not in scales or step is self._last]
        kept = {step.name for step in self._kept}
        self.dropped = [step.name for step in affine.steps if step.name not in kept]
        # The gradient of a bias is a single operation. That of an addition asks for the shapes first.
        self._is_biased = _has_channels(affine.results[0]) and extents_through(affine.after).shift <= Extent.PER_CHANNEL
        self._weights, self._shift = f"{affine.head.name}/fused_weights", f"{affine.head.name}/fused_shift"

    def values(self, known: Values) -> dict[str, tf.Tensor]:
        """The fused weights and shift, by the names that the fused network reads them by."""
        bound = self.affine.at(known)
        made = {self._weights: bound.weights}
        if self.affine.shifts_after:
            shift = bound.shift_after
            if self._is_biased and shift.shape.rank == 0:
                shift = tf.fill(self.affine.results[0].shape[-1:], shift)
            made[self._shift] = shift
        return made

    def rewire(self, nodes: dict[str, Any]) -> None:
        """Lets each operation that is kept read the one before it that is kept, and the fused weights."""
        before = self.affine.sources[0].name
        for step in self._kept:
            node = nodes.get(step.name + IN_GROUPS) or nodes[step.name]
            if step is self._last:
                node.CopyFrom(self._end(step, before))
            else:
                node.input[step.depends.index(True)] = before
            if step is self.affine.head:
                node.input[self.affine.kernel] = f"{self._weights}:0"
            before = f"{step.name}:0"

    def _end(self, last: Step, before: str) -> tf.compat.v1.NodeDef:
        """Adds the fused shift, if there is one."""
        node = tf.compat.v1.NodeDef(name=last.name, op="Identity", input=[before])
        if self.affine.shifts_after:
            node.op = "BiasAdd" if self._is_biased else "AddV2"
            node.input.append(f"{self._shift}:0")
        node.attr["T"].type = last.results[0].dtype.as_datatype_enum
        return node


def fusible(network: Network, wanted: list[tf.Tensor]) -> list[Fusion]:
    """The affine maps of a network that cost less as one.

    Args:
        network: from the inputs to the wanted tensors.
        wanted: traced tensors.
    """
    trace = network.trace
    operations = trace.needed(wanted, [])
    # A gradient finds what it reads by the name that it has in the trace.
    beside = [each for op in operations for each in trace.gradients.beside(op)]
    read_by: dict[Any, set[str]] = {}
    for op in operations:
        for source in op.inputs:
            read_by.setdefault(source.ref(), set()).add(op.name)
    fixed = {traced.ref() for traced, _ in trace.captured}
    steps = joined_affine(network.steps, [*wanted, *beside])
    fusions = [Fusion(_without_shift_before(step)) for step in steps if isinstance(step, Weighted)]
    named = {each.ref() for each in beside}
    return [
        each for each in fusions if _pays(each) and _is_closed(each.affine, read_by) and _is_fixed(each, fixed, named)
    ]


def _has_channels(result: tf.Tensor) -> bool:
    return result.shape.rank is not None and result.shape.rank > 1 and result.shape[-1] is not None


def _without_shift_before(affine: Weighted) -> Weighted:
    """A map without what is in front, where that shifts: at the border of a padded convolution a shift adds less."""
    return Weighted([], affine.head, affine.after) if affine.shifts_before else affine


def _pays(fusion: Fusion) -> bool:
    affine = fusion.affine
    result, weights = affine.results[0], affine.head.sources[affine.kernel]
    dtypes = {step.results[0].dtype for step in affine.steps}
    if dtypes not in ({tf.float32}, {tf.float64}) or fusion.saved == 0:
        return False
    numbers = result.shape[1:].num_elements() if result.shape.rank else None
    size = weights.shape.num_elements()
    return size is not None and (numbers is None or size <= MOST_WEIGHTS * numbers)


def _is_closed(affine: Weighted, read_by: dict[Any, set[str]]) -> bool:
    """Whether nothing outside of the map reads what it computes on the way, and no gradient is a user's own."""
    inside = zip(affine.steps, affine.steps[1:], strict=False)
    own = any("_gradient_op_type" in step.results[0].op.node_def.attr for step in affine.steps)
    return not own and all(read_by[step.results[0].ref()] == {after.name} for step, after in inside)


def _is_fixed(fusion: Fusion, variables: set[Any], named: set[Any]) -> bool:
    """Whether the weights are made of variables and constants alone, which no gradient reads by their names."""
    made_of = (op.outputs[0].ref() for op in ancestors(*fusion.read) if op.type == "Placeholder")
    return variables.issuperset(made_of) and named.isdisjoint(each.ref() for each in fusion.read)
