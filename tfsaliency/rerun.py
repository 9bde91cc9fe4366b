"""Part of a trace computed once more, from other values in the middle of it."""

import tensorflow as tf

from tfsaliency.forward import ancestors


def rerun(outputs: list[tf.Tensor], replaced: list[tuple[tf.Tensor, tf.Tensor]]) -> list[tf.Tensor]:
    """What the outputs of a trace would be, were some tensors of it others.

    Only what lies between these tensors and the outputs is computed again.

    Args:
        outputs: tensors of one graph.
        replaced: pairs of a tensor of that graph and its new value; the value may have other sizes, such as more rows.

    Returns:
        The outputs, in the graph that is being built; an output that depends on none of the tensors is itself.
    """
    values = {tensor.ref(): value for tensor, value in replaced}
    ops = [op for op in _needed(outputs, set(values)) if not all(output.ref() in values for output in op.outputs)]
    again: set[str] = set()
    made = set(values)
    for op in ops:
        if any(source.ref() in made for source in op.inputs):
            again.add(op.name)
            made |= {output.ref() for output in op.outputs}

    part = tf.compat.v1.GraphDef()
    whole = outputs[0].graph.as_graph_def()
    part.library.CopyFrom(whole.library)
    part.versions.CopyFrom(whole.versions)
    given = {}
    for op in ops:
        if op.name not in again:
            continue
        node = part.node.add()
        node.CopyFrom(op.node_def)
        # What waits for operations outside of this part has been waited for.
        del node.input[:]
        node.input.extend(source.name for source in op.inputs)
        for source in op.inputs:
            if source.ref() in values or source.op.name not in again:
                given[source.name] = tf.identity(values.get(source.ref(), source))
    computed = [output.name for output in outputs if output.op.name in again]
    found = iter(tf.graph_util.import_graph_def(part, given, computed, name="again") if computed else [])
    return [next(found) if output.op.name in again else values.get(output.ref(), output) for output in outputs]


def _needed(outputs: list[tf.Tensor], stops: set) -> list[tf.Operation]:
    """The operations that the outputs need, if those tensors are given, in the order of the trace."""
    needed = set()
    stack = [output for output in outputs if output.ref() not in stops]
    while stack:
        op = stack.pop().op
        if op.name not in needed:
            needed.add(op.name)
            stack += [source for source in op.inputs if source.ref() not in stops]
    return [op for op in ancestors(*outputs) if op.name in needed]
