"""The number that is explained, as a function of the inputs."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any, NamedTuple, cast

import tensorflow as tf

from tfsaliency.graph.gradients import gradient, slopes
from tfsaliency.graph.layouts import FRONT
from tfsaliency.graph.network import Network
from tfsaliency.graph.trace import Trace, Values
from tfsaliency.model.logits import Logits
from tfsaliency.model.point import Entered, Point
from tfsaliency.model.traced import Traced
from tfsaliency.target.base import Rows, Target
from tfsaliency.tensors.places import mixed, over_part
from tfsaliency.tensors.sums import repeated, samples_of

# The most turns of a loop that methods with rules unroll by default. An option changes no value: it is left out of the
# text of a method.
LOOPS = 256
# What a graph fails with where a baseline and the texts have other lengths, which are only known when it runs.
OTHER_LENGTH = "A baseline for a text has as many words as the longest text of the batch. Received:"


class PerSample(NamedTuple):
    """What belongs to each sample of a batch beside its inputs: name -> ``(N, ...)``, ``(1, ...)`` if alike for all.

    Attributes:
        target: what the user chose for it.
        question: what is asked about it, such as the places to hide.
    """

    target: dict[str, Any]
    question: dict[str, Any]


class Behind(NamedTuple):
    """What takes the place of what is hidden.

    Attributes:
        numbers: a baseline in the structure of the inputs that methods see, ``(N, ...)``.
        passed: the same baseline as users pass inputs, ids for ids; an empty tuple where it has no such form, or
            nothing may be made of several places of the inputs.
    """

    numbers: Any
    passed: Any


class Forward(NamedTuple):
    """The score with everything that it was computed from.

    Attributes:
        score: ``(N,)`` float32.
        logits: what the model said, before its softmax or sigmoid.
        inputs: what it was asked about, in the structure of the model's inputs.
        values: the value of each tensor in the trace of the model.
        model: that trace.
    """

    score: tf.Tensor
    logits: Logits
    inputs: Any
    values: Values
    model: Traced

    def slopes(self, tensors: list[tf.Tensor]) -> list[tf.Tensor | None]:
        """The gradient of the score at tensors inside the model, float32; None where it does not depend on one."""
        return slopes(self.score, tensors, is_half=self.model.trace.is_half)


class Score(ABC):
    """The number that is explained, as a function of the inputs: ``score(x)``, ``(N,)`` float32.

    A method calls it on the inputs, or on copies of them stacked in whole blocks: ``(copies * N, ...)`` with all ``N``
    samples of the first copy first. The target is resolved on the inputs as given and kept for every copy, so noise can
    never change the class that is explained.

    Attributes:
        rows: how many rows a method should put through the model at once, a scalar int32 tensor.
        numbers: ``(N,)`` int32, the positions of these samples in the whole batch.
        target: what is explained.
        chosen: what the target chose for each sample, such as its class; None until it is known.
        beside: what else is asked about each sample, ``(N, ...)`` each, or ``(1, ...)``.
        advance: takes the share of its work that a method has just done, a scalar tensor, and moves the progress bar.
        notes: what a method found out about the model while it was traced, for the explanation's provenance.
    """

    def __init__(
        self,
        target: Target,
        given: PerSample,
        inputs: Any,
        rows: tf.Tensor,
        first: tf.Tensor,
        advance: Callable[[tf.Tensor], None] = lambda share: None,
    ):
        self.target, self._given, self._inputs = target, given.target, inputs
        self.chosen: Rows | None = None if target.waits else given.target
        self.beside = given.question
        self.rows = rows
        self.numbers = first + tf.range(samples_of(inputs))
        self._among: tf.Tensor | None = None
        self.advance = advance
        self.notes: dict[str, str] = {}

    def among(self, rows: tf.Tensor) -> "Score":
        """The same score for copies of single rows: what it is asked about has in row ``i`` a copy of row ``rows[i]``.

        The target is resolved before. Both the rows and these copies may be copies in whole blocks.
        """
        own = tf.range(samples_of(self._inputs)) if self._among is None else self._among
        samples = tf.gather(own, rows % tf.size(own))
        other = copy.copy(self)
        other._among, other.numbers = samples, tf.gather(self.numbers, rows % tf.size(own))
        return other

    # Whether methods see the inputs themselves, and not what is looked up for them.
    is_of_inputs = True

    @property
    def are_numbers(self) -> list[bool]:
        """For each tensor of ``x`` whether it is a part of the inputs, and not looked up for ids or texts."""
        return [True] * len(tf.nest.flatten(self._inputs))

    def check_channels_last(self) -> None:
        """Raises where the model reads a part of the inputs with its channels in front of its places.

        What hides, blurs or groups places takes the last axis for the channels. A black box does not show its own.
        """
        return

    def passed(self, x: Any) -> Any:
        """The inputs as the user passed them, for the inputs or copies of them ``x``."""
        return x

    def looked_up(self, passed: Any) -> Any:
        """Other inputs, in the form that users pass them, as numbers in the structure of ``x``.

        The graph fails with `OTHER_LENGTH` where they are texts that are longer or shorter than the inputs.
        """
        return passed

    def reading(self, instead: dict[int, tf.Tensor]) -> "Score":
        """The same score of the same model with other variables.

        Args:
            instead: see `Trace.reading`.

        Raises:
            ValueError: the model is a black box.
        """
        raise ValueError("A black box shows no weights: nothing can take their place. Explain a Keras model.")

    @property
    def nothing(self) -> str:
        """What `neutral` is, in words."""
        return "zero"

    def neutral(self, x: Any) -> Any:
        """Numbers in the structure of ``x`` that stand for nothing: zeros, or the vectors of padding or a mean id."""
        return tf.nest.map_structure(tf.zeros_like, x)

    def is_read(self, x: Any) -> list[tf.Tensor | None]:
        """For each tensor of ``x`` which of its numbers are no padding that the model masks; None where it masks none.

        Padding is what the model compares with a number that it is equal to, and has no gradient. Noise or a baseline
        would make it a step that counts.

        Args:
            x: the inputs, or copies of them.
        """
        return [None] * len(tf.nest.flatten(x))

    def padding(self, x: Any) -> list[tf.Tensor | None]:
        """For each tensor of ``x`` which of its places are padding, ``(N, *places)``; None where none is masked."""
        masks = [None if each is None else tf.logical_not(each) for each in self.is_read(x)]
        return [each if each is None or each.shape.rank < 3 else tf.reduce_all(each, axis=-1) for each in masks]

    @property
    def leaders(self) -> list[int]:
        """The numbers of the tensors of ``x`` on whose places is hidden. All others are hidden with some of them."""
        return list(range(len(tf.nest.flatten(self._inputs))))

    def seen(self, x: Any, behind: Behind, visible: dict[int, tf.Tensor]) -> Any:
        """Copies of the inputs, ``(count * N, ...)``, with a baseline in the place of what is hidden.

        Args:
            x: the inputs, ``(N, ...)``.
            behind: the baseline.
            visible: ``(count, *places)`` from 0 to 1 on the places of some leaders, by their numbers; an axis of
                length 1 may follow. The others are visible.
        """
        count = tf.shape(next(iter(visible.values())))[0]
        parts = zip(self._masks(visible, x), tf.nest.flatten(x), tf.nest.flatten(behind.numbers), strict=True)
        copies = [repeated(part, count) if mask is None else mixed(mask, part, other) for mask, part, other in parts]
        return tf.nest.pack_sequence_as(x, copies)

    @property
    def has_followers(self) -> bool:
        """Whether the model may make an id of several places of the inputs: another one where one of them is hidden."""
        return False

    def made_anew(self, copies: Any, x: Any, behind: Behind, shares: list[tf.Tensor | None]) -> Any:
        """Copies of the inputs ``(count * N, ...)`` with the ids that the model makes of several places made anew.

        Args:
            copies: with what is hidden behind the baseline.
            x: the inputs, ``(N, ...)``.
            behind: the baseline.
            shares: for each part of the inputs as they were passed what is visible, ``(count, N, *places)``; a place is
                seen where it is at least a half. None for all of it.
        """
        return copies

    def _masks(self, visible: dict[int, tf.Tensor], x: Any) -> list[tf.Tensor | None]:
        """What is visible of each tensor of ``x``, ``(count, 1 or n, ...)``; None for all of it."""
        masks = [visible.get(number) for number in range(len(tf.nest.flatten(x)))]
        return [None if mask is None else mask[:, None] for mask in masks]

    def over(self, x: Any, shares: list[tf.Tensor]) -> Any:
        """Numbers for the places of an explanation's values, laid over copies of ``x``.

        Args:
            x: the inputs.
            shares: for each part of the inputs as they were passed, ``(copies, N, *places)``.

        Returns:
            In the structure of ``x``, with axes of length 1 where it has channels: ``(copies * N, *places, 1)``.
        """
        return tf.nest.pack_sequence_as(x, [over_part(*each) for each in zip(shares, tf.nest.flatten(x), strict=True)])

    @property
    def told(self) -> Rows:
        """What the target has chosen for each sample, in numbers that users see."""
        return self.target.told(self.chosen or {})

    @property
    @abstractmethod
    def is_half(self) -> bool:
        """Whether part of the model computes in float16."""

    @abstractmethod
    def __call__(self, x: Any) -> tf.Tensor:
        """The score, ``(N,)``, which a `tf.GradientTape` can differentiate."""

    @abstractmethod
    def forward(self, x: Any) -> Forward:
        """The score with all that it was computed from, for methods that look inside the model."""

    @abstractmethod
    def unrolled(self, x: Any, turns: int) -> Forward:
        """The same for methods with rules: each loop of no more turns than that unrolled, and without conditions.

        Raises:
            ValueError: the target sees the inputs, where rules that go back through the model do not come by.
        """

    @abstractmethod
    def resolve(self) -> tf.Tensor:
        """``(N,)``: the scores of the inputs as given. This resolves the target."""

    @abstractmethod
    def answer(self, x: Any) -> tuple[tf.Tensor, Logits]:
        """The score, ``(N,)``, and the logits that it was computed from, which a `tf.gradients` can differentiate."""

    def at(self, x: Any) -> tf.Tensor:
        """``(n,)``: the scores of the inputs as given, or of copies of them. Resolves the target where it waits."""
        if self._is_given(x):
            return self.resolve()
        if self.chosen is None:
            self.resolve()
        return self.answer(x)[0]

    def probability(self) -> tf.Tensor | None:
        """``(N,)``: of the class that is explained, for the inputs as given; None where the model gives none."""
        return None

    def gradient(self, x: Any) -> tuple[tf.Tensor, Any]:
        """The score, ``(N,)``, and its gradient in the structure of the inputs; zero for a part that has no influence.

        Raises:
            ValueError: an operation on the way has no gradient.
        """
        score, _ = self.answer(x)
        return score, gradient(score, x, is_half=self.is_half)

    def altered(self, forward: Forward, x: Any, traced: tf.Tensor, value: tf.Tensor) -> tf.Tensor:
        """``(copies * N,)``: scores of copies of the inputs after replacing one tensor inside the model by ``value``.

        Args:
            forward: the score without the replacement.
            x: the copies, ``(copies * N, ...)``.
            traced: a traced tensor on the way from the inputs to the score, ``(N, ...)``.
            value: what it is replaced by, ``(copies * N, ...)``.
        """
        model = forward.model
        inputs = model.pairs(x, self._held(x))
        wanted = model.logits.values
        values = model.trace.run_from([*inputs, (traced, value)], forward.values, tf.nest.flatten(wanted))
        return self._of(forward.logits._replace(values=values.structure(wanted)), x)

    def head(self, forward: Forward) -> "Head":
        """The target as a network of its own, from the logits to the score."""
        specs = tf.nest.map_structure(_spec, forward.logits.values)
        chosen = tf.nest.map_structure(_spec, self.chosen)

        def scored(logits: Any, chosen: Rows) -> tf.Tensor:
            return self.target.score(forward.logits._replace(values=logits), chosen, None)

        return Head(Trace(scored, specs, chosen), self._chosen_of)

    @contextmanager
    def silent(self) -> Iterator[None]:
        """While a loop is traced inside another: the outermost loop alone moves the progress bar."""
        advance, self.advance = self.advance, lambda share: None
        try:
            yield
        finally:
            self.advance = advance

    def note(self, name: str, text: str) -> None:
        """Records what a method found out about the model, such as the layer that it chose."""
        self.notes[name] = text

    def _resolved(self, x: Any) -> bool:
        """Whether ``x`` are the inputs as given; raises where the target is not resolved and they are not."""
        is_given = self._is_given(x)
        if self.chosen is None and not is_given:
            raise RuntimeError(
                "The target is not resolved yet: a method that scores anything but the inputs themselves calls "
                "score.resolve() first."
            )
        return is_given

    def _is_given(self, x: Any) -> bool:
        parts = zip(tf.nest.flatten(x), tf.nest.flatten(self._inputs), strict=True)
        return all(part is given for part, given in parts)

    def _of(self, logits: Logits, x: Any) -> tf.Tensor:
        if self.chosen is None:
            self.chosen = self.target.choose(logits, self._given)
        inputs = self._seen(x) if self.target.sees_inputs else None
        return self.target.score(logits, self._chosen_of(x), inputs)

    def _seen(self, x: Any) -> Any:
        """The inputs as they were passed, or copies of them, for a target that sees them."""
        return x

    def _held(self, x: Any) -> list[tf.Tensor]:
        """What the model reads besides ``x``, for the inputs or copies of them."""
        return []

    def _chosen_of(self, x: Any) -> Rows:
        """What the target chose, for each row of copies of the inputs."""
        copies: Rows = self._copies(self.chosen, x)
        return copies

    def _copies(self, given: Any, x: Any) -> Any:
        """Rows that belong to the inputs, repeated for copies of them ``x``."""
        if self._is_given(x):
            return given
        if self._among is None:
            return repeated(given, samples_of(x) // samples_of(self._inputs))
        samples = tf.tile(self._among, [samples_of(x) // tf.size(self._among)])
        return tf.nest.map_structure(lambda part: tf.gather(part, samples), given)


class TracedScore(Score):
    """The score of a model whose trace is known, inside the graph that a method is traced to.

    Args:
        point: what is explained, and the model behind it.
        entered: the inputs there.
        others: see `Score`.
    """

    def __init__(self, point: Point, entered: Entered, target: Target, given: PerSample, *others: Any):
        super().__init__(target, given, entered.x, *others)
        self._model, self._entered, self.is_of_inputs = point, entered, point.is_inputs
        self._graph = tf.compat.v1.get_default_graph()
        # One for the model, and one with its loops unrolled.
        self._at_inputs: dict[Traced, Forward] = {}
        self._was_run: set[Traced] = set()

    @property
    def is_half(self) -> bool:
        return self._model.trace.is_half

    def __call__(self, x: Any) -> tf.Tensor:
        """The score, ``(N,)``, which a `tf.GradientTape` can differentiate.

        A tape records operations as Python makes them and sees nothing of an imported graph, but it does see a call of
        a function. Methods of this package take `gradient`, which is traced in half the time.
        """
        if self._resolved(x):
            self.resolve()
        specs = [tf.TensorSpec([None, *part.shape[1:]], part.dtype) for part in tf.nest.flatten(x)]

        def scored(*parts: tf.Tensor) -> tf.Tensor:
            return self.answer(tf.nest.pack_sequence_as(x, parts))[0]

        function = tf.function(scored, autograph=False, input_signature=specs)
        return function.get_concrete_function()(*tf.nest.flatten(x))

    def forward(self, x: Any) -> Forward:
        return self._run(self._model, x)

    def unrolled(self, x: Any, turns: int) -> Forward:
        if self.target.sees_inputs:
            raise ValueError(
                f"Rules go back from the score through the model, and {self.target} has another way to the inputs. Let "
                "the model compute the score, such as keras.Model(x, keras.ops.sum((model(x) - x) ** 2, axis=-1)) for "
                "x = keras.Input(shape), or take Gradient, IntegratedGradients, Occlusion or their like."
            )
        return self._run(self._model.unrolled(turns), x)

    def reading(self, instead: dict[int, tf.Tensor]) -> "TracedScore":
        other = copy.copy(self)
        other._model, other._at_inputs = cast(Point, self._model.reading(instead)), {}
        for derived in ("_fused", "_is_read"):
            other.__dict__.pop(derived, None)
        return other

    @cached_property
    def _fused(self) -> Traced:
        """What computes scores and gradients alone."""
        return self._model.fused(self._graph)

    @property
    def row_bytes(self) -> int:
        """How many bytes one row writes in what a method has run, at most."""
        return max((model.row_bytes for model in self._was_run), default=self._model.row_bytes)

    @property
    def known(self) -> Forward | None:
        """The score of the inputs as given, where it was asked for; with loops unrolled where only that is known."""
        return next(iter(self._at_inputs.values()), None)

    @property
    def at_inputs(self) -> Forward:
        return self.known or self._run(self._fused, self._inputs)

    def resolve(self) -> tf.Tensor:
        return self.at_inputs.score

    def probability(self) -> tf.Tensor | None:
        logits = self.at_inputs.logits
        if not self.target.has_probability(logits):
            return None
        return self.target.probability(logits, self._chosen_of(self._inputs))

    def _run(self, model: Traced, x: Any) -> Forward:
        is_given = self._resolved(x)
        here = tf.compat.v1.get_default_graph() is self._graph
        known = self._at_inputs.get(model) if here else None
        if is_given and known is not None:
            return known
        self._was_run.add(model)
        held = self._held(x)
        values = model.run(x, held) if known is None else model.run_again(x, held, known.values)
        traced = model.logits
        logits = traced._replace(values=values.structure(traced.values), outputs=values.structure(traced.outputs))
        found = Forward(self._of(logits, x), logits, x, values, model)
        if is_given and here:
            self._at_inputs[model] = found
        return found

    def gradient(self, x: Any) -> tuple[tf.Tensor, Any]:
        self._model.network.check_slopes()
        return super().gradient(x)

    def answer(self, x: Any) -> tuple[tf.Tensor, Logits]:
        found = self._run(self._fused, x)
        return found.score, found.logits

    def passed(self, x: Any) -> Any:
        return self._copies(self._entered.given, x)

    def _seen(self, x: Any) -> Any:
        return self._model.seen(x, self.passed(x))

    def looked_up(self, passed: Any) -> Any:
        return tf.nest.map_structure(_of_length, self._model.enter(passed).x, self._entered.x)

    @property
    def nothing(self) -> str:
        return self._model.nothing

    def neutral(self, x: Any) -> Any:
        return self._model.neutral(x, self._entered)

    def is_read(self, x: Any) -> list[tf.Tensor | None]:
        return [None if each is None else self._copies(each, x) for each in self._is_read]

    def padding(self, x: Any) -> list[tf.Tensor | None]:
        pairs = zip(super().padding(x), self._model.padding_of_ids(self._entered), strict=True)
        return [of_numbers if of_ids is None else self._copies(of_ids, x) for of_numbers, of_ids in pairs]

    @cached_property
    def _is_read(self) -> list[tf.Tensor | None]:
        with self._graph.as_default():
            candidates = self._model.may_be_padding(self._inputs)
            if all(each is None for each in candidates):
                return candidates
            try:
                _, slopes = self.gradient(self._inputs)
            except ValueError:
                # An operation without a gradient is on the way: methods that only ask need none.
                return [None] * len(candidates)
            pairs = zip(candidates, tf.nest.flatten(slopes), strict=True)
            return [None if each is None else ~each | tf.not_equal(slope, 0) for each, slope in pairs]

    @property
    def are_numbers(self) -> list[bool]:
        return self._model.are_numbers

    def check_channels_last(self) -> None:
        for part, layout in zip(tf.nest.flatten(self._inputs), self._model.layouts, strict=True):
            if layout == FRONT:
                channels, *places = part.shape[1:]
                to_front = len(places) + 1, *range(1, len(places) + 1)
                moved = f"keras.Input({(*places, channels)}), keras.layers.Permute({to_front})"
                is_only = len(self._model.layouts) == 1
                raise ValueError(
                    f"The model has the channels of its input {tuple(part.shape)} in front of the places, and this "
                    "method or baseline takes the last axis for them. Explain a model that has them there, "
                    + (f"keras.Sequential([{moved}, model])" if is_only else f"with {moved} in front of this one")
                    + ", and pass it numpy.moveaxis(x, 1, -1)."
                )

    @property
    def leaders(self) -> list[int]:
        return self._model.hiding.leaders

    def _masks(self, visible: dict[int, tf.Tensor], x: Any) -> list[tf.Tensor | None]:
        entered = tf.nest.flatten(self._inputs)
        masks = self._model.hiding.masks(visible, entered, self._entered.values)
        # Those of the inputs, in the order of copies of them.
        return [
            mask if mask is None or mask.shape[1] == 1 else _exchanged(self._copies(_exchanged(mask), x))
            for mask in masks
        ]

    def over(self, x: Any, shares: list[tf.Tensor]) -> Any:
        return self._model.over(shares, self._entered)

    def seen(self, x: Any, behind: Behind, visible: dict[int, tf.Tensor]) -> Any:
        copies = super().seen(x, behind, visible)
        if not tf.nest.flatten(behind.passed):
            return copies
        shares = self._model.hiding.shares(visible, tf.nest.flatten(x), self._entered.values)
        return self.made_anew(copies, x, behind, shares)

    @property
    def has_followers(self) -> bool:
        return bool(self._model.hiding.followers)

    def made_anew(self, copies: Any, x: Any, behind: Behind, shares: list[tf.Tensor | None]) -> Any:
        other = tf.nest.flatten(behind.passed)
        crosses = self._model.hiding.crosses(self._entered.values) if other else []
        if not crosses:
            return copies
        given = self.passed(x)
        count = samples_of(copies) // samples_of(x)
        of_places = self._model.hiding.of_places(shares)
        shown = [_shown(*each, count) for each in zip(tf.nest.flatten(given), other, of_places, strict=True)]
        numbers, made = tf.nest.flatten(copies), tf.nest.flatten(self.looked_up(tf.nest.pack_sequence_as(given, shown)))
        for cross in crosses:
            numbers[cross] = made[cross]
        return tf.nest.pack_sequence_as(copies, numbers)

    def _held(self, x: Any) -> list[tf.Tensor]:
        held: list[tf.Tensor] = self._copies(self._model.held_of(self._entered.given), x)
        return held


class Head:
    """A target as a network, for rules that go back through it.

    Args:
        trace: of the target, as a function of logits and of what it chose.
        chosen_of: gives what it chose for each row of copies of the inputs.

    Attributes:
        network: the steps from the logits that are floats to the score.
    """

    def __init__(self, trace: Trace, chosen_of: Callable[[Any], Rows]):
        self._trace, self._chosen_of = trace, chosen_of
        logits = [each for each in tf.nest.flatten(trace.inputs[0]) if each.dtype.is_floating]
        self.network = Network(trace, logits, [trace.outputs])

    def values(self, forward: Forward) -> Values:
        """The values of the traced tensors, in the graph under construction."""
        given = forward.logits.values, self._chosen_of(forward.inputs)
        return self._trace.run(list(zip(tf.nest.flatten(self._trace.inputs), tf.nest.flatten(given), strict=True)))


def _shown(part: tf.Tensor, other: tf.Tensor, share: tf.Tensor | None, count: tf.Tensor) -> tf.Tensor:
    """Copies of a part of the inputs, with that of a baseline where less than half of a place is visible."""
    part, other = repeated((part, other), count)
    return part if share is None else tf.where(tf.reshape(share, tf.shape(part)) >= 0.5, part, other)


def _exchanged(mask: tf.Tensor) -> tf.Tensor:
    """With its first two axes exchanged."""
    return tf.transpose(mask, [1, 0, *range(2, mask.shape.rank)])


def _spec(part: tf.Tensor) -> tf.TensorSpec:
    """Of such tensors with any number of rows."""
    return tf.TensorSpec([None, *part.shape[1:]], part.dtype)


def _of_length(numbers: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
    """Numbers of words as they are; the graph fails with `OTHER_LENGTH` where other ones have another length."""
    if None not in numbers.shape[1:]:
        return numbers
    length, wanted = tf.shape(numbers)[1], tf.shape(like)[1]
    is_alike = tf.equal(length, wanted)
    with tf.control_dependencies([tf.debugging.Assert(is_alike, [OTHER_LENGTH, length, "words beside", wanted])]):
        return tf.identity(numbers)
