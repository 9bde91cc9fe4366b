"""Who reads what in a network."""

from typing import Any

import tensorflow as tf

from tfsaliency.graph.step import Step


class Readers:
    """For each step, the steps that read what it makes and that make what it reads."""

    def __init__(self, steps: list[Step], outputs: list[tf.Tensor]):
        self._outputs = {output.ref() for output in outputs}
        self._readers: dict[Any, list[Step]] = {}
        self._made_by = {result.ref(): step for step in steps for result in step.results}
        for step in steps:
            for source in step.sources:
                self._readers.setdefault(source.ref(), []).append(step)

    def of(self, traced: tf.Tensor) -> list[Step]:
        """The steps that read a tensor."""
        return self._readers.get(traced.ref(), [])

    def only_reader(self, step: Step) -> Step | None:
        """The one step that reads what this one makes; None where several do, or where it is an output."""
        result = step.results[0]
        readers = self.of(result)
        return readers[0] if len(readers) == 1 and result.ref() not in self._outputs else None

    def maker(self, traced: tf.Tensor) -> Step | None:
        """The step that makes a tensor."""
        return self._made_by.get(traced.ref())

    def only_maker(self, step: Step) -> Step | None:
        """The step that makes what this one reads, if nothing else reads it."""
        maker = self.maker(step.source)
        return maker if maker is not None and self.only_reader(maker) is step else None
