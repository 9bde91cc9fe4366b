"""Finds the affine maps of a traced network, and puts each in the place of the steps that it is made of."""

import tensorflow as tf

from tfsaliency.graph.affine import (
    CONVOLUTION,
    KINDS,
    Affine,
    Extent,
    Normalization,
    ShiftedSum,
    Weighted,
    extents_through,
    is_flipped,
    rounds,
    scale_and_shift,
    signal_place,
)
from tfsaliency.graph.normalizations import is_of_normalization, is_shift_of_normalization
from tfsaliency.graph.operations import MOVES_AFTER_AFFINE, MOVES_BEFORE_AFFINE
from tfsaliency.graph.readers import Readers
from tfsaliency.graph.sign import never_negative
from tfsaliency.graph.step import Step


def joined_affine(steps: list[Step], outputs: list[tf.Tensor]) -> list[Step]:
    """The steps, with each affine map as one step in the place of its last operation.

    Scales and shifts belong to the affine operation whose result they are applied to, else to the operation that reads
    them, else they are a map of their own. So are those of a normalization of each sample, since in one of its two
    usual forms its scale is a factor of the deviation, where no operation could take it.
    """
    graph = Readers(steps, outputs)
    free = {step.name: step for step in steps}
    joined: list[Affine] = [*_maps_with_weights(steps, graph, free), *_maps_without(steps, graph, free)]
    not_negative = never_negative(steps)
    for affine in joined:
        affine.never_negative = len(affine.sources) == 1 and affine.sources[0].ref() in not_negative
    last = {affine.names[-1]: affine for affine in joined}
    inside = {name for affine in joined for name in affine.names}
    return [last.get(step.name, step) for step in steps if step.name in last or step.name not in inside]


def _maps_with_weights(steps: list[Step], graph: Readers, free: dict[str, Step]) -> list[Affine]:
    """The maps of convolutions and matrix products. Takes their steps from the free ones."""
    heads = [step for step in steps if _has_real_weights(step)]
    after = {}
    for head in heads:
        after[head.name] = _after(head, graph, free)
        _take([head, *after[head.name]], free)
    joined: list[Affine] = []
    for head in heads:
        before = _before(head, graph, free)
        _take(before, free)
        joined.append(Weighted(before, head, after[head.name]))
    return joined


def _has_real_weights(step: Step) -> bool:
    is_of_weights = step.type in KINDS and step.depends.count(True) == 1 and len(step.sources) > 1
    return is_of_weights and not step.results[0].dtype.is_complex


def _maps_without(steps: list[Step], graph: Readers, free: dict[str, Step]) -> list[Affine]:
    """The maps made of scales and shifts that are still free, one after the other. Takes their steps."""
    joined: list[Affine] = []
    for step in steps:
        reader = graph.only_reader(step)
        if step.name in free and reader is not None and is_shift_of_normalization(step, reader, graph):
            _take([step, reader], free)
            joined.append(ShiftedSum(step, reader))
        if not _is_free_scale(step, free):
            continue
        run = [step]
        while (after := graph.only_reader(run[-1])) is not None and _is_free_scale(after, free):
            run.append(after)
        # That of a mean which is subtracted is no scale that a rule should look at the sign of.
        if any(each.type != "Neg" for each in run):
            _take(run, free)
            joined.append(Normalization(run))
    return joined


def _take(steps: list[Step], free: dict[str, Step]) -> None:
    for step in steps:
        free.pop(step.name)


def _is_free_scale(step: Step, free: dict[str, Step]) -> bool:
    return step.name in free and scale_and_shift(step) is not None


def _channels(step: Step) -> int | None:
    shape = step.results[0].shape
    return shape[-1] if shape.rank else None


def _after(head: Step, graph: Readers, free: dict[str, Step]) -> list[Step]:
    """The scales, shifts and moves that follow an affine operation and can be part of its map."""
    steps: list[Step] = []
    keep = 0
    channels, last = _channels(head), head
    while (step := graph.only_reader(last)) is not None and step.name in free:
        same = _channels(step) == _channels(last)
        scale = scale_and_shift(step)
        if scale is not None and same:
            if scale.scale != Extent.NONE and not (
                _is_scalable(head) and scale.scale <= Extent.PER_CHANNEL and _channels(last) == channels
            ):
                break
            steps.append(step)
            keep = len(steps)
        elif rounds(step):
            steps.append(step)
            # An activation reads the result of the map and not of a step between them.
            keep = len(steps) if keep == len(steps) - 1 else keep
        elif step.type in MOVES_AFTER_AFFINE:
            shift = extents_through(steps).shift
            if shift != Extent.NONE and not (same and shift <= Extent.PER_CHANNEL):
                break
            steps.append(step)
        else:
            break
        last = step
    return steps[:keep]


def _is_scalable(head: Step) -> bool:
    """Whether the weights show which numbers of the result they make: where the signal comes first, but for einsum."""
    in_order = head.depends[0] and not is_flipped(head)
    return (in_order or KINDS[head.type] == CONVOLUTION) and head.type != "Einsum"


def _before(head: Step, graph: Readers, free: dict[str, Step]) -> list[Step]:
    """The scales, shifts and pads that an affine operation reads and that can be part of its map."""
    steps: list[Step] = []
    keep = 0
    if head.type == "Einsum" or head.depends.index(True) != signal_place(head.type) or is_flipped(head):
        return []
    last = head
    while (step := graph.only_maker(last)) is not None and step.name in free:
        scale = scale_and_shift(step)
        if scale is not None:
            if max(scale) > Extent.PER_CHANNEL or is_of_normalization(step, graph):
                break
            steps.insert(0, step)
            keep = len(steps)
        elif rounds(step) or (step.type in MOVES_BEFORE_AFFINE and KINDS[head.type] == CONVOLUTION):
            steps.insert(0, step)
            # It pads, too: zeros that a rule may not give anything to.
            keep = len(steps) if step.type in ("Pad", "SpaceToBatchND") else keep
        else:
            break
        last = step
    return steps[len(steps) - keep :]
