import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import keras
import tensorflow as tf

from tfsaliency.base.letters import check_letters
from tfsaliency.base.options import check_choice, check_count
from tfsaliency.baselines import baselines
from tfsaliency.engine.ledger import Promise
from tfsaliency.engine.question import Attribution
from tfsaliency.engine.score import LOOPS, Forward, Head, Score
from tfsaliency.explainer import Explainer
from tfsaliency.graph.activation import ACTIVATION
from tfsaliency.graph.affine import Affine
from tfsaliency.graph.gradients import in_structure
from tfsaliency.graph.network import Network
from tfsaliency.graph.operations import BENDS, CHOICES
from tfsaliency.graph.step import Flows, Step
from tfsaliency.graph.trace import Values
from tfsaliency.rules.rescale import RULES, linear, reveal_cancel
from tfsaliency.tensors.sums import samples_of, sum_of_flows, total

NAMES = ("rescale", "reveal_cancel")
Watch = Callable[[Network, Step, Step, Flows, Flows], None]


@dataclass(frozen=True, eq=False)
class DeepLIFT(Explainer):
    """DeepLIFT: the contribution of each input to the difference between the score and the baseline's score.

    Formula:
        ``v = (x - x0) m``, with multipliers ``m`` propagated back from the score. Linear operations use their gradient.
        Activations use ``dy / dx``, differences to the baseline, in place of the derivative (Rescale). Products,
        maxima, softmax, log-sum-exp and divisions also have complete rules, so the values sum to ``f(x) - f(x0)``.

    Args:
        model: any Keras model.
        baseline: None for zero, and for ids the vector of padding or the mean of the table; a number or id; an array of
            the shape of one input (axes may be 1); one for each of several inputs, in their structure; several
            baselines along a new first axis, whose values are averaged; or a function of the inputs that returns one
            baseline per sample.
        rule: ``"rescale"``, or ``"reveal_cancel"``, which separates positive and negative contributions at each
            activation after a convolution or dense layer.
        loops: the most turns that a loop may take, such as that of an LSTM along its series. Each turn is written out:
            100 turns of an LSTM take some ten seconds at the first call, and no longer than a gradient at the next.

    Raises:
        ValueError: on ``explain``, if the baseline does not fit, an operation has no rule, or the model has a loop that
            the data stops or that takes more turns.

    ``diagnostics["completeness_gap"]`` is the sum of the values minus ``f(x) - f(x0)``. A gap above rounding gives a
    warning that names the operation which loses most, such as a choice that depends on the inputs.

    Source:
        Shrikumar et al. 2017, Learning Important Features Through Propagating Activation Differences; several baselines
        as in Lundberg & Lee 2017, A Unified Approach to Interpreting Model Predictions.

    Example:
        >>> import keras, numpy as np, tfsaliency as tfs
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, "relu"), keras.layers.Dense(1)])
        >>> model.set_weights([np.array([[2.0], [1.0]]), np.array([-1.0]), np.array([[1.0]]), np.zeros(1)])
        >>> tfs.DeepLIFT(model).explain(np.array([[1.0, 1.0]])).values.round(3)  # relu rises by 2 for 3
        array([[1.333, 0.667]], dtype=float32)
    """

    model: keras.Model
    baseline: Any = None
    rule: str = "rescale"
    loops: int = field(default=LOOPS, repr=False)

    def attribute(self, x: Any, score: Score) -> Attribution:
        forward = score.unrolled(x, self.loops)
        forward.model.network.check_floats()
        head = score.head(forward)

        def against(x0: Any) -> tuple[Any, tf.Tensor]:
            reference = score.unrolled(x0, self.loops)
            multipliers = in_structure(x, self._walk(reference, forward, head), forward.score)
            pairs = multipliers, x, reference.inputs
            gap = total(tf.nest.map_structure(_contribution, *pairs)) - (forward.score - reference.score)
            return tf.nest.map_structure(self._said, *pairs), gap

        values, gap = baselines(self.baseline, x, score).mean_of(against, (x, forward.score))
        return Attribution(values, {"completeness_gap": gap})

    promise = Promise(
        "completeness_gap",
        "A choice that depends on the inputs (argmax, a comparison, a rounding) or a stop_gradient has no multiplier: "
        "explain the model without it, or by a gradient method.",
    )

    def losses(self, x: Any, score: Score) -> dict[str, tf.Tensor]:
        forward = score.unrolled(x, self.loops)
        head = score.head(forward)
        reference = score.unrolled(baselines(self.baseline, x, score).at(0), self.loops)
        lost: dict[str, tf.Tensor] = {}

        samples = samples_of(x)

        def carried(flows: Flows, at_input: list[tf.Tensor], at_reference: list[tf.Tensor]) -> tf.Tensor:
            pairs = zip(flows, at_input, at_reference, strict=True)
            return sum_of_flows([None if flow is None else flow * (a - b) for flow, a, b in pairs], samples)

        def watch(network: Network, step: Step, pair: Step, arriving: Flows, sent: Flows) -> None:
            come, gone = carried(arriving, step.outputs, pair.outputs), carried(sent, step.inputs, pair.inputs)
            name = network.blamed(step)
            lost[name] = lost.get(name, 0.0) + come - gone

        dataclasses.replace(self, rule="rescale")._walk(reference, forward, head, watch)
        return lost

    def hypothetical(self) -> "HypotheticalDeepLIFT":
        """For sequences of letters: what each letter of the alphabet would contribute at each place.

        Its values times the inputs are the contributions of the letters that are there. TF-MoDISco finds motifs in
        them.

        Example:
            >>> import keras, numpy as np, tfsaliency as tfs
            >>> model = keras.Sequential([keras.Input((30, 4)), keras.layers.Conv1D(5, 3, activation="tanh")])
            >>> model.add(keras.layers.Flatten())
            >>> letters = np.eye(4)[np.random.default_rng(0).integers(4, size=(2, 30))]
            >>> deeplift = tfs.DeepLIFT(model, tfs.baselines.shuffled(samples=3))
            >>> hypothetical, actual = deeplift.hypothetical().explain(letters), deeplift.explain(letters)
            >>> bool(np.allclose((hypothetical.values * letters).sum(-1), actual.values.sum(-1), atol=1e-6))
            True
        """
        return HypotheticalDeepLIFT(self.model, self.baseline, self.rule, self.loops)

    def _said(self, multiplier: tf.Tensor, part: tf.Tensor, reference: tf.Tensor) -> tf.Tensor:
        """The values of one part of the inputs, from its multipliers against one baseline."""
        return _contribution(multiplier, part, reference)

    def _walk(self, reference: Forward, forward: Forward, head: Head, watch: Watch = lambda *seen: None) -> Flows:
        """The multipliers of the inputs, from that of the score back through the target and the model."""
        start: Flows = [tf.ones_like(forward.score)]
        start = self._multipliers(head.network, head.values(forward), head.values(reference), start, watch)
        return self._multipliers(forward.model.network, forward.values, reference.values, start, watch)

    def _multipliers(
        self,
        network: Network,
        values: Values,
        reference: Values,
        start: Flows,
        watch: Watch,
    ) -> Flows:
        """Multipliers of the inputs of a network, from those of its outputs.

        Args:
            network: the network.
            values: at the inputs.
            reference: at the baseline.
            start: the multipliers of the outputs.
            watch: is shown the network, each step, the same step at the baseline, and its multipliers before and after.
        """
        reveals = self.rule == "reveal_cancel"
        steps = network.with_affine_maps if reveals else network.with_activations
        paired = _paired(network, steps) if reveals else {}
        absorbed = {activation.name for activation in paired.values()}

        def rule(step: Step, multipliers: Flows) -> Flows:
            if step.name in absorbed:
                # The multiplier passes unchanged and is used at the affine map under the activation.
                return step.to_sources(multipliers[0])
            pair = step.at(reference)
            if step.name in paired and isinstance(step, Affine) and isinstance(pair, Affine):
                activation = paired[step.name].at(values)
                return step.to_sources(reveal_cancel(step, pair, activation, multipliers[0]))
            chosen = linear if isinstance(step, Affine) else RULES.get(step.type)
            if chosen is None:
                raise ValueError(
                    f"DeepLIFT has no rule for the operation {step.name!r} of type {step.type}. Explain the model "
                    "without it, or by a gradient method."
                )
            sent = chosen(step, pair, multipliers)
            watch(network, step, pair, multipliers, sent)
            return sent

        return network.walk_back(steps, values, start, rule)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count("loops", self.loops, 0)
        check_choice("rule", self.rule, NAMES)


def _contribution(multiplier: tf.Tensor, part: tf.Tensor, reference: tf.Tensor) -> tf.Tensor:
    return multiplier * (part - reference)


@dataclass(frozen=True, eq=False)
class HypotheticalDeepLIFT(DeepLIFT):
    """What each letter of the alphabet would contribute at each place of a sequence; made by `DeepLIFT.hypothetical`.

    Formula:
        ``v[p, i] = sum over c of (e_i - x0[p])_c m[p, c]``, averaged over the baselines ``x0``, with ``e_i`` the letter
        ``i`` and the multipliers ``m`` of the letters that are there.

    Raises:
        ValueError: on ``explain``, if the inputs are no sequences of letters ``(N, L, C)``.

    Source:
        Shrikumar et al. 2018, Technical Note on Transcription Factor Motif Discovery from Importance Scores.

    Example:
        >>> import keras, numpy as np, tfsaliency as tfs
        >>> model = keras.Sequential([keras.Input((3, 4)), keras.layers.Flatten()])
        >>> model.add(keras.layers.Dense(1, use_bias=False))
        >>> model.set_weights([np.arange(12.0)[:, None]])
        >>> letters = np.eye(4)[[[0, 2, 1]]]
        >>> tfs.DeepLIFT(model, np.full((3, 4), 0.25)).hypothetical().explain(letters).values
        array([[[-1.5, -0.5,  0.5,  1.5],
                [-1.5, -0.5,  0.5,  1.5],
                [-1.5, -0.5,  0.5,  1.5]]], dtype=float32)
    """

    def check_options(self, inputs: Any) -> None:
        super().check_options(inputs)
        check_letters("DeepLIFT.hypothetical", inputs)

    def _said(self, multiplier: tf.Tensor, part: tf.Tensor, reference: tf.Tensor) -> tf.Tensor:
        return multiplier - tf.reduce_sum(multiplier * reference, axis=-1, keepdims=True)


def _paired(network: Network, steps: list[Step]) -> dict[str, Step]:
    """For each affine map with an activation as its only reader, that activation."""
    readers = network.readers(steps)
    paired = {}
    for step in steps:
        reader = readers.only_reader(step) if isinstance(step, Affine) and len(step.sources) == 1 else None
        if reader is None or sum(reader.depends) != 1:
            continue
        # A selection does not compute its condition again for other values.
        if reader.type in (ACTIVATION, *BENDS) and not set(CHOICES).intersection(reader.operations):
            paired[step.name] = reader
    return paired
