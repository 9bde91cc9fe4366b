from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from tfsaliency.baselines import baselines
from tfsaliency.explainer import Attribution, Explainer
from tfsaliency.methods.gradient import in_structure
from tfsaliency.methods.total import total
from tfsaliency.rules.activation import ACTIVATION, BENDS, joined_activations
from tfsaliency.rules.affine import Affine
from tfsaliency.rules.joined_affine import Readers, joined_affine
from tfsaliency.rules.network import steps_between, walk_back
from tfsaliency.rules.rescale import RULES, Flows, linear, reveal_cancel
from tfsaliency.rules.step import Step
from tfsaliency.score import Score, Trace

NAMES = ("rescale", "reveal_cancel")


@dataclass(frozen=True, eq=False)
class DeepLIFT(Explainer):
    """What each input contributes to the difference that the score makes to that of a baseline.

    Formula:
        ``v = (x - x0) m``, with multipliers ``m`` taken back from the score: the gradient of linear operations, and
        ``dy / dx``, differences to the baseline, in place of the derivative of an activation (Rescale). Products,
        maxima, softmax and divisions have rules that lose nothing either, so that the values sum to
        ``f(x) - f(x0)``.

    Args:
        model: any Keras model.
        baseline: what the input is compared with: a number; an array of the shape of one input (axes may be 1); one
            for each of several inputs, in their structure; several, with one axis more in front, over which the values
            are averaged; or a function of the inputs that returns one baseline per sample.
        rule: ``"rescale"``, or ``"reveal_cancel"``, which treats what raises and what lowers a unit apart, at each
            activation that follows a convolution or dense layer.

    Raises:
        ValueError: on ``explain``, where the baseline does not fit, an operation has no rule, or the model hides
            operations in a ``tf.function``, loop or condition of its own.

    ``diagnostics["completeness_gap"]`` is the sum of the values less ``f(x) - f(x0)``: rounding, or a path that was cut
    by a ``stop_gradient`` in the model.

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
    baseline: Any = 0.0
    rule: str = "rescale"

    def attribute(self, x: Any, score: Score) -> Attribution:
        traced = score.trace(x)
        steps = self._steps(traced, x)
        references = baselines(self.baseline, x, score)

        def against(x0: Any) -> Any:
            return self._against(x0, traced, steps, x, score)

        values, gap = references.mean_of(against, (x, traced.score))
        return Attribution(values, {"completeness_gap": gap})

    def _against(self, x0: Any, traced: Trace, steps: list[Step], x: Any, score: Score) -> tuple[Any, tf.Tensor]:
        """Values and completeness gap against one baseline per sample."""
        at_x0 = score.trace(x0)
        same = self._steps(at_x0, x0)
        if [step.type for step in steps] != [step.type for step in same]:
            raise ValueError(
                "The model was traced to other operations for the baseline than for the inputs: its call is not the "
                "same each time, and there is no difference to take. Explain a model without random choices in Python."
            )
        reference = {step.name: other for step, other in zip(steps, same, strict=True)}
        paired = _paired(steps, [traced.score]) if self.rule == "reveal_cancel" else {}
        absorbed = {activation.name for activation in paired.values()}

        def rule(step: Step, multipliers: Flows) -> Flows:
            if step.name in absorbed:
                # What arrives is used where the affine map under it is met.
                return step.to_sources(multipliers[0])
            pair = reference[step.name]
            if step.name in paired and isinstance(step, Affine) and isinstance(pair, Affine):
                return step.to_sources(reveal_cancel(step, pair, paired[step.name], multipliers[0]))
            chosen = linear if isinstance(step, Affine) else RULES.get(step.type)
            if chosen is None:
                raise ValueError(
                    f"DeepLIFT has no rule for the operation {step.name!r} of type {step.type}. Explain the model "
                    "without it, or by a gradient method."
                )
            return chosen(step, pair, multipliers)

        multipliers = in_structure(
            x, walk_back(steps, [(traced.score, tf.ones_like(traced.score))], rule, x), traced.score
        )
        values = tf.nest.map_structure(lambda m, part, part0: m * (part - part0), multipliers, x, x0)
        return values, total(values) - (traced.score - at_x0.score)

    def _steps(self, traced: Trace, x: Any) -> list[Step]:
        steps = joined_activations(steps_between([traced.score], x))
        return joined_affine(steps, [traced.score]) if self.rule == "reveal_cancel" else steps

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rule not in NAMES:
            raise ValueError(f"rule is one of {', '.join(map(repr, NAMES))}. Received: {self.rule!r}")


def _paired(steps: list[Step], outputs: list[tf.Tensor]) -> dict[str, Step]:
    """For each affine map whose result only an activation reads, that activation."""
    graph = Readers(steps, outputs)
    paired = {}
    for step in steps:
        reader = graph.only_reader(step) if isinstance(step, Affine) else None
        if reader is None or sum(reader.depends) != 1:
            continue
        # A selection was made by a condition that is not computed again for other values.
        if reader.type in (ACTIVATION, *BENDS) and "SelectV2" not in reader.operations:
            paired[step.name] = reader
    return paired
