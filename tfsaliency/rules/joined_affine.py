"""Finds the affine maps of a traced network, and puts each in the place of the steps that it is made of."""

import tensorflow as tf

from tfsaliency.rules.affine import (
    HEADS,
    Affine,
    Scale,
    is_one,
    is_zero,
    per_channel,
    scale_and_shift,
    through,
    with_head,
    without_head,
)
from tfsaliency.rules.sign import never_negative
from tfsaliency.rules.step import Step

# What only moves or pads, and may stand between an affine operation and what belongs to it.
MOVES_AFTER = ("BatchToSpaceND", "Squeeze", "Reshape", "Identity")
MOVES_BEFORE = ("Pad", "SpaceToBatchND", "ExpandDims", "Identity")


def joined_affine(steps: list[Step], outputs: list[tf.Tensor]) -> list[Step]:
    """The steps, with each affine map as one step in the place of its last operation.

    Scales and shifts belong to the affine operation whose result they are applied to, else to the one that reads them,
    else they are a map of their own.
    """
    graph = Readers(steps, outputs)
    free = {step.name: step for step in steps}
    joined = [*_maps_with_weights(steps, graph, free), *_maps_without(steps, graph, free)]
    not_negative = never_negative(steps)
    for affine in joined:
        affine.never_negative = affine.sources[0].ref() in not_negative
    last = {affine.names[-1]: affine for affine in joined}
    inside = {name for affine in joined for name in affine.names}
    return [last.get(step.name, step) for step in steps if step.name in last or step.name not in inside]


def _maps_with_weights(steps: list[Step], graph: "Readers", free: dict[str, Step]) -> list[Affine]:
    """The maps of convolutions and matrix products; takes their steps from the free ones."""
    heads = [step for step in steps if step.type in HEADS and step.depends.count(True) == 1 and len(step.sources) > 1]
    after = {}
    for head in heads:
        after[head.name] = _after(head, graph, free)
        _take([head, *after[head.name]], free)
    joined = []
    for head in heads:
        before = _before(head, graph, free)
        _take(before, free)
        joined.append(with_head(before, head, after[head.name]))
    return joined


def _maps_without(steps: list[Step], graph: "Readers", free: dict[str, Step]) -> list[Affine]:
    """The maps that the scales and shifts which are still free make, one after the other; takes their steps."""
    joined = []
    for step in steps:
        if not _is_free_scale(step, free):
            continue
        run = [step]
        while (after := graph.only_reader(run[-1])) is not None and _is_free_scale(after, free):
            run.append(after)
        _take(run, free)
        joined.append(without_head(run))
    return joined


def _take(steps: list[Step], free: dict[str, Step]) -> None:
    for step in steps:
        free.pop(step.name)


class Readers:
    """Who reads what in a network."""

    def __init__(self, steps: list[Step], outputs: list[tf.Tensor]):
        self._outputs = {output.ref() for output in outputs}
        self._readers: dict = {}
        self._made_by = {result.ref(): step for step in steps for result in step.results}
        for step in steps:
            for source in step.sources:
                self._readers.setdefault(source.ref(), []).append(step)

    def only_reader(self, step: Step) -> Step | None:
        """The step that alone reads what this one makes; None where there are more, or where it is an output."""
        result = step.results[0].ref()
        readers = self._readers.get(result, [])
        return readers[0] if len(readers) == 1 and result not in self._outputs else None

    def maker(self, step: Step) -> Step | None:
        """The step that makes what this one reads, if nothing else reads it."""
        maker = self._made_by.get(step.sources[step.depends.index(True)].ref())
        return maker if maker is not None and self.only_reader(maker) is step else None


def _is_free_scale(step: Step, free: dict[str, Step]) -> bool:
    return step.name in free and scale_and_shift(step) is not None


def _after(head: Step, graph: Readers, free: dict[str, Step]) -> list[Step]:
    """The scales, shifts and moves that follow an affine operation and can be part of it."""
    steps: list[Step] = []
    keep = 0
    channels, shift, last = head.results[0].shape[-1], Scale(1.0, 0.0), head
    # Weights say which numbers of the result they make only where the signal comes first.
    scalable = head.depends[0] or "Conv" in head.type
    while (step := graph.only_reader(last)) is not None and step.name in free:
        scale = scale_and_shift(step)
        if scale is not None and step.results[0].shape[-1] == last.results[0].shape[-1]:
            if not is_one(scale.scale) and not (
                scalable
                and per_channel(scale.scale)
                and last.results[0].shape[-1] == channels
                and head.type != "Einsum"
            ):
                break
            steps.append(step)
            shift = through(steps)
            keep = len(steps)
        elif step.type in MOVES_AFTER:
            same = step.results[0].shape[-1] == last.results[0].shape[-1]
            if not is_zero(shift.shift) and not (same and per_channel(shift.shift)):
                break
            steps.append(step)
        else:
            break
        last = step
    return steps[:keep]


def _before(head: Step, graph: Readers, free: dict[str, Step]) -> list[Step]:
    """The scales, shifts and pads that an affine operation reads and that can be part of it."""
    steps: list[Step] = []
    keep = 0
    if head.type == "Einsum" or head.depends.index(True) != HEADS[head.type][1]:
        return []
    last = head
    while (step := graph.maker(last)) is not None and step.name in free:
        scale = scale_and_shift(step)
        if scale is not None:
            if not (per_channel(scale.scale) and per_channel(scale.shift)):
                break
            steps.insert(0, step)
            keep = len(steps)
        elif step.type in MOVES_BEFORE and "Conv" in head.type:
            steps.insert(0, step)
            keep = len(steps) if step.type == "Pad" else keep
        else:
            break
        last = step
    return steps[len(steps) - keep :]
