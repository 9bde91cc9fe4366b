import warnings
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import keras
import tensorflow as tf
from numpy.typing import ArrayLike

from tfsaliency.base.options import check_count
from tfsaliency.engine.ledger import Promise
from tfsaliency.engine.question import Attribution
from tfsaliency.engine.score import LOOPS, Forward, Score
from tfsaliency.explainer import Explainer
from tfsaliency.graph.affine import Affine, ShiftedSum
from tfsaliency.graph.gradients import in_structure
from tfsaliency.graph.network import late
from tfsaliency.graph.operations import CHOICES
from tfsaliency.graph.step import Flows, Step
from tfsaliency.rules.gates import Gates
from tfsaliency.rules.presets import Table, chosen_rules, table_of
from tfsaliency.rules.redistribute import Redistribution, in_proportion
from tfsaliency.rules.relevance import WSquare, ZBox, ZPlus
from tfsaliency.rules.selectors import first, kind
from tfsaliency.tensors.sums import samples_of, sum_of_flows, total

PROMISE = Promise(
    "unexplained_gap",
    "A choice between constants (where, argmax, a rounding) has no input that its relevance could go to, and gradient "
    "times input shares out more or less than arrives: explain the model without it, or give a rule for the operation.",
)


@dataclass(frozen=True, eq=False)
class LRP(Explainer):
    """Layer-wise relevance propagation: the score, shared out backwards, layer by layer, among the inputs.

    Formula:
        Relevance starts as the explained score and goes from layer to layer, ``R_i = sum_j q_ij / sum_i q_ij R_j``; the
        rule of the layer defines the contribution ``q_ij``, see `tfsaliency.rules`.

    A convolution or matrix product is joined with its bias and with the batch normalization and scaling before and
    after it into one map with effective weights. Sums and averages share in proportion, maxima give everything to the
    largest, activations pass relevance on unchanged, gates get nothing. Softmax, attention and layer normalization
    within the network follow AttnLRP.

    Presets (epsilon is 1e-6, gamma 0.25):

    - ``"epsilon"``; ``"gamma"``; ``"alpha1_beta0"``; ``"alpha2_beta1"``: that rule everywhere.
    - ``"epsilon_plus"``: z+ for convolutions, epsilon for dense layers; ``"epsilon_plus_flat"``: with the flat rule for
      the first layer. Where that is a dense layer of all inputs, as for most tables, the flat rule gives each of them
      the same value: use ``"epsilon"``.
    - ``"epsilon_alpha2_beta1"``, ``"epsilon_alpha2_beta1_flat"``: the same with alpha 2, beta 1 for convolutions.
    - ``"epsilon_gamma_box"``: gamma for convolutions, epsilon for dense layers, z-box for the first convolution; needs
      ``low`` and ``high``.
    - ``"attention"``: epsilon everywhere, as in AttnLRP for transformers.

    A custom table maps entries to rules. An entry is a layer (its name, its path or the layer itself), a position
    (``rules.first()``, ``rules.last("dense")``), the type of a TensorFlow operation (``rules.operation("Tanh")``) or a
    kind (``rules.kind("convolution")``); the most specific entry counts, in this order. For an operation without
    weights, a rule is a function ``(step, relevances) -> relevances``.

    Args:
        model: any Keras model.
        rules: the name of a preset, or a table.
        low: smallest value that an input can have, for ``"epsilon_gamma_box"``: a number, or an array that broadcasts
            to one input, such as one per channel.
        high: largest value.
        strict: whether an operation without a rule is an error. If not, it shares in proportion to gradient times
            input, warns, and appears as a count in the diagnostics.
        loops: the most turns that a loop may take; see `DeepLIFT`.

    Raises:
        ValueError: on ``explain``, if an operation has no rule (unless ``strict=False``), an entry of the table matches
            no layer, or the model has a loop that the data stops or that takes more turns.

    ``diagnostics["conservation_gap"]`` is the sum of the values minus the score: the biases absorb this difference.
    ``diagnostics["unexplained_gap"]`` is the part that no bias explains: relevance that arrives at a constant or at a
    choice which depends on the inputs, or that an operation without a rule loses or adds. It gives a warning that
    names the operation which loses most.

    Source:
        Bach et al. 2015, On Pixel-Wise Explanations for Non-Linear Classifier Decisions by Layer-Wise Relevance
        Propagation; Montavon et al. 2019, an overview; Achtibat et al. 2024, AttnLRP.

    Example:
        >>> import keras, numpy as np, tfsaliency as tfs
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, use_bias=False)])
        >>> model.set_weights([np.array([[3.0], [-1.0]])])
        >>> tfs.LRP(model, "epsilon").explain(np.array([[1.0, 1.0]])).values.round(3)
        array([[ 3., -1.]], dtype=float32)
        >>> tfs.LRP(model, "alpha1_beta0").explain(np.array([[1.0, 1.0]])).values.round(3)
        array([[2., 0.]], dtype=float32)
    """

    promise = PROMISE

    model: keras.Model
    rules: str | Table = "epsilon_plus_flat"
    low: ArrayLike | None = None
    high: ArrayLike | None = None
    strict: bool = True
    loops: int = field(default=LOOPS, repr=False)

    def attribute(self, x: Any, score: Score) -> Attribution:
        return propagated(table_of(self.rules, self.low, self.high), self.strict, score.unrolled(x, self.loops))

    def losses(self, x: Any, score: Score) -> dict[str, tf.Tensor]:
        return walked(table_of(self.rules, self.low, self.high), self.strict, score.unrolled(x, self.loops)).lost

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count("loops", self.loops, 0)
        table_of(self.rules, self.low, self.high)


@dataclass(frozen=True, eq=False)
class DeepTaylor(Explainer):
    """Deep Taylor decomposition: the z+ rule in every layer, and a rule for the range of the inputs in the first layer.

    Formula:
        z+ (`tfsaliency.rules.ZPlus`) in every layer; in the first, z-box between the bounds, or w^2 without bounds.

    Args:
        model: any Keras model.
        low: smallest value that an input can have: a number, or an array that broadcasts to one input.
        high: largest value. Without bounds (both None) inputs can be any numbers.
        loops: the most turns that a loop may take; see `DeepLIFT`.

    Raises:
        ValueError: one bound without the other; on ``explain`` as `LRP`.

    Source:
        Montavon et al. 2017, Explaining Nonlinear Classification Decisions with Deep Taylor Decomposition.

    Example:
        >>> import keras, numpy as np, tfsaliency as tfs
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, use_bias=False)])
        >>> model.set_weights([np.array([[3.0], [1.0]])])
        >>> tfs.DeepTaylor(model).explain(np.array([[1.0, 1.0]])).values.round(3)  # 4 * (9, 1) / 10
        array([[3.6, 0.4]], dtype=float32)
    """

    promise = PROMISE

    model: keras.Model
    low: ArrayLike | None = None
    high: ArrayLike | None = None
    loops: int = field(default=LOOPS, repr=False)

    def attribute(self, x: Any, score: Score) -> Attribution:
        return propagated(self._table(), True, score.unrolled(x, self.loops))

    def losses(self, x: Any, score: Score) -> dict[str, tf.Tensor]:
        return walked(self._table(), True, score.unrolled(x, self.loops)).lost

    def _table(self) -> Table:
        at_inputs = WSquare() if self.low is None else ZBox(self.low, self.high)
        return {kind("convolution"): ZPlus(), kind("dense"): ZPlus(), first(): at_inputs}

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count("loops", self.loops, 0)
        if (self.low is None) != (self.high is None):
            raise ValueError(f"low and high come together. Received: low={self.low!r}, high={self.high!r}")
        if self.low is not None:
            ZBox(self.low, self.high)


class Walk(NamedTuple):
    """What a walk back through a network came to.

    Attributes:
        values: the relevance of the inputs.
        without: the types of the operations without a rule, once for each operation.
        lost: what operations lose where no bias is the cause, ``(N,)`` each, by a text that names the operation.
    """

    values: Any
    without: list[str]
    lost: dict[str, tf.Tensor]


def propagated(table: Table, strict: bool, forward: Forward) -> Attribution:
    """The relevance of the inputs, by the rules of a table."""
    values, without, lost = walked(table, strict, forward)
    if without:
        warnings.warn(
            f"Operations without a rule shared their relevance in proportion to gradient times input: {without}",
            stacklevel=2,
        )
    gap = total(values) - forward.score
    counts = {f"without rule: {type}": tf.fill(tf.shape(gap), without.count(type)) for type in sorted(set(without))}
    unexplained = -tf.add_n(list(lost.values()))
    return Attribution(values, {"conservation_gap": gap, "unexplained_gap": unexplained, **counts})


def walked(table: Table, strict: bool, forward: Forward) -> Walk:
    """Takes the relevance of the logits back to the inputs, by the rules of a table."""
    without: list[str] = []
    lost: dict[str, tf.Tensor] = {}
    x, network = forward.inputs, forward.model.network
    network.check_floats()
    steps = network.with_affine_maps
    rules = chosen_rules(table, steps, forward.model)
    others = Redistribution(Gates(network, steps))
    samples = samples_of(x)

    def rule(step: Step, relevance: Flows) -> Flows:
        if isinstance(step, Affine):
            flow = late(rules.affine[step.name])(step, relevance[0])
            return in_proportion(step.sum, [flow]) if isinstance(step, ShiftedSum) else step.to_sources(flow)
        chosen = rules.operations.get(step.type) or others.rule(step)
        if chosen is None and strict:
            raise ValueError(
                f"There is no rule for the operation {step.name!r} of type {step.type}. Give one, "
                f"LRP(model, {{..., tfs.rules.operation({step.type!r}): rule}}) with rule(step, relevances) -> "
                "relevances, or let it share in proportion to gradient times input: strict=False."
            )
        if chosen is None:
            without.append(step.type)
        sent = (chosen or in_proportion)(step, relevance)
        is_hidden = any(source.ref() in network.hidden for source in step.sources)
        if chosen is None or step.type in CHOICES or is_hidden:
            name = network.blamed(step)
            lost[name] = lost.get(name, 0.0) + sum_of_flows(relevance, samples) - sum_of_flows(sent, samples)
        return sent

    logits = forward.logits.floats
    slopes = forward.slopes(logits)
    start = [
        None if slope is None else tf.math.multiply_no_nan(logit, slope)
        for logit, slope in zip(logits, slopes, strict=True)
    ]
    values = in_structure(x, network.walk_back(steps, forward.values, start, rule), forward.score)
    begun = total([relevance for relevance in start if relevance is not None])
    # Equal for a weighted sum of logits, which most targets are.
    lost["the target, which is no weighted sum of logits as a margin or a contrast is"] = forward.score - begun
    return Walk(values, without, lost)
