"""The logits of a model: what it computes before the softmax or sigmoid at its end, found in its trace."""

from typing import Any, NamedTuple

import keras
import tensorflow as tf

from tfsaliency.graph.ancestry import before
from tfsaliency.graph.bounds import bounds_of_link
from tfsaliency.graph.links import SLACK, is_one_number, link_of
from tfsaliency.graph.operations import IDENTITIES, REORDERS
from tfsaliency.model.call import FREE_BATCH, call, has_fixed_batch
from tfsaliency.model.outputs import plain

# A probability whose logits are not found: an average of several, or one that a function hides.
PROBABILITY = "probability"
# A softmax over one unit.
ONE_UNIT = "one unit"

_ITSELF = {
    "": "the output itself: no softmax or sigmoid at its end",
    PROBABILITY: "the output itself: a probability",
    ONE_UNIT: "the output itself: a softmax over one unit",
}
_CAUTIONS = {
    PROBABILITY: (
        "The model's output is made of a softmax or sigmoid whose logits cannot be told from its trace: the output "
        "itself is explained, whose gradient vanishes where the model is sure. Explain a model that returns logits, "
        "or a function of the output such as target=lambda p: tf.math.log(p[:, 0])."
    ),
    ONE_UNIT: (
        "The model ends in a softmax over one unit, which is 1 for every input: there is nothing to explain. A sigmoid "
        "gives the probability of one class; explain a model that ends in one, or that returns the unit itself."
    ),
}


class Logits(NamedTuple):
    """What a model says before its softmax or sigmoid.

    Attributes:
        values: float32 tensors in the structure of the model's output.
        links: in the same structure, the operation that was found above each value (``"Softmax"``, ``"LogSoftmax"`` or
            ``"Sigmoid"``). Where the value is the output itself: `PROBABILITY`, `ONE_UNIT`, or ``""`` for any other.
        outputs: what the model says, in the same structure. It chooses the top class.
    """

    values: Any
    links: Any
    outputs: Any

    @property
    def floats(self) -> list[tf.Tensor]:
        """The values that are floats, one after the other."""
        return [value for value in tf.nest.flatten(self.values) if value.dtype.is_floating]

    def describe(self) -> str:
        """Says for each output whether its logits or the output itself is explained."""
        texts = [_ITSELF.get(link) or f"the logits under {link}" for link in tf.nest.flatten(self.links)]
        return texts[0] if len(set(texts)) == 1 else str(tf.nest.pack_sequence_as(self.links, texts))

    def cautions(self) -> list[str]:
        """What a user is warned of before trusting a map of the output itself, one sentence each."""
        return [text for link, text in _CAUTIONS.items() if link in tf.nest.flatten(self.links)]

    def doubted(self, definition: tf.compat.v1.GraphDef) -> "Logits":
        """The same with `PROBABILITY` and `ONE_UNIT` where an output without a link is one of these.

        Args:
            definition: of the graph of these tensors.
        """
        pairs = zip(tf.nest.flatten(self.links), tf.nest.flatten(self.outputs), strict=True)
        links = [link or _doubt(output, definition) for link, output in pairs]
        return self._replace(links=tf.nest.pack_sequence_as(self.links, links))


def logits(model: keras.Model, x: Any) -> Logits:
    """Calls the model in inference mode and looks under the softmax or sigmoid at its end.

    Args:
        model: the user's model. It is left as it is.
        x: float tensors of the graph under construction, in the structure that the model takes.

    Returns:
        The logits, in the structure of the model's output.

    Raises:
        ValueError: the model cannot be called on such inputs.
    """
    try:
        outputs = plain(call(model, x))
    except Exception as error:
        shapes = tf.nest.map_structure(lambda tensor: tuple(tensor.shape), x)
        advice = (
            f"It takes a fixed number of rows, and is asked for others: {FREE_BATCH}"
            if has_fixed_batch(model)
            else "If the batch axis is missing, pass numpy.expand_dims(x, 0)."
        )
        raise ValueError(
            f"The model cannot be called on inputs of shape {shapes}, batch first. {advice} It said: {error}"
        ) from error
    flat = [_as_float32(output) for output in tf.nest.flatten(outputs)]
    found = [link_of(output) for output in flat]
    values = [link.logits if link else output for link, output in zip(found, flat, strict=True)]
    links = [link.type if link else "" for link in found]
    return Logits(*(tf.nest.pack_sequence_as(outputs, each) for each in ([*map(_as_float32, values)], links, flat)))


def _doubt(output: tf.Tensor, definition: tf.compat.v1.GraphDef) -> str:
    """`PROBABILITY`, `ONE_UNIT` or ``""`` for an output that no link was found in."""
    if _is_of_one_unit(output):
        return ONE_UNIT
    bounds = bounds_of_link(definition, output) if output.dtype.is_floating else None
    # One number may be a quantity, such as a rating from 1 to 5, that a scaled sigmoid keeps within its range.
    is_quantity = is_one_number(output) and bounds is not None and (bounds.low < -SLACK or bounds.high > 1 + SLACK)
    return "" if bounds is None or is_quantity else PROBABILITY


def _is_of_one_unit(output: tf.Tensor) -> bool:
    output = before(output, (*IDENTITIES, *REORDERS))
    return bool(output.op.type == "Softmax" and output.shape[-1] == 1)


def _as_float32(value: tf.Tensor) -> tf.Tensor:
    return tf.cast(value, tf.float32) if value.dtype.is_floating else value
