"""Which operations a tensor depends on."""

from collections.abc import Iterable, Sequence

import tensorflow as tf

from tfsaliency.graph.operations import SHAPE_READERS


def ancestors(*tensors: tf.Tensor, known: Iterable[tf.Tensor] = ()) -> list[tf.Operation]:
    """The operations that the tensors depend on, each once, in the order in which they were traced.

    Args:
        tensors: tensors of one graph.
        known: tensors that are given: the operations behind them are left out.
    """
    given = {tensor.ref() for tensor in known}
    seen: dict[str, tf.Operation] = {}
    stack = [tensor for tensor in tensors if tensor.ref() not in given]
    while stack:
        op = stack.pop().op
        if op.name not in seen:
            seen[op.name] = op
            stack += [tensor for tensor in op.inputs if tensor.ref() not in given]
    # In graphs of one function, an operation is made after all that it reads.
    order = {op.name: place for place, op in enumerate(tensors[0].graph.get_operations())} if tensors else {}
    return sorted(seen.values(), key=lambda op: order[op.name])


def before(tensor: tf.Tensor, types: Sequence[str]) -> tf.Tensor:
    """What operations of these types hand on to a tensor, each from its first source."""
    while tensor.op.type in types:
        tensor = tensor.op.inputs[0]
    return tensor


def descendants(operations: Iterable[tf.Operation], tensors: Iterable[tf.Tensor]) -> list[tf.Operation]:
    """Those of the operations, given in the order of the trace, that depend on one of the tensors."""
    dependent = {tensor.ref() for tensor in tensors}
    found = []
    for op in operations:
        if any(source.ref() in dependent for source in op.inputs):
            found.append(op)
            dependent |= {result.ref() for result in op.outputs}
    return found


def alike(first: tf.Tensor, second: tf.Tensor) -> bool:
    """Whether two traced tensors are one, or computed alike from the same tensors and variables."""
    stack, seen = [(first, second)], set()
    while stack:
        a, b = stack.pop()
        if a is b or (a.ref(), b.ref()) in seen:
            continue
        seen.add((a.ref(), b.ref()))
        if not _do_the_same(a.op, b.op) or a.value_index != b.value_index:
            return False
        stack += zip(a.op.inputs, b.op.inputs, strict=True)
    return True


def _do_the_same(a: tf.Operation, b: tf.Operation) -> bool:
    is_fixed = a.type in ("Const", "ReadVariableOp", "ResourceGather") or (
        len(a.inputs) > 0 and not a.op_def.is_stateful
    )
    if not is_fixed or a.type != b.type or len(a.inputs) != len(b.inputs):
        return a is b
    return {**a.node_def.attr} == {**b.node_def.attr}


def first_without_gradient(y: tf.Tensor, x: tf.Tensor) -> tf.Operation | None:
    """The first operation from ``x`` to ``y`` that returns floats and has no gradient.

    None if ``y`` does not depend on ``x``.
    """
    dependent = {x.op.name}
    first_of_integers = None
    for op in ancestors(y):
        sources = [tensor for tensor in op.inputs if tensor.op.name in dependent]
        if not sources or op.type in SHAPE_READERS:
            continue
        if not any(output.dtype.is_floating for output in op.outputs):
            # Not blamed yet: users know the operation that reads these integers rather than this one.
            first_of_integers = first_of_integers or op
        elif not any(_passes_gradient(op, source) for source in sources):
            return op
        dependent.add(op.name)
    return first_of_integers


def _passes_gradient(op: tf.Operation, source: tf.Tensor) -> bool:
    floats = [output for output in op.outputs if output.dtype.is_floating]
    try:
        return tf.gradients(floats, source)[0] is not None
    except LookupError:
        return False
