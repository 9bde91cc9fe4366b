"""What the engine is asked: a method of a user's choice, seen from the engine."""

from collections.abc import Hashable
from typing import Any, NamedTuple, Protocol

import keras
import tensorflow as tf

from tfsaliency.engine.score import Score
from tfsaliency.model.black_box import BlackBox


class Attribution(NamedTuple):
    """What a method returns: tensors, of the graph that is being traced where there is one.

    Attributes:
        values: in the structure of the inputs, batch first.
        diagnostics: name -> ``(N,)`` numbers about each sample's values.
    """

    values: Any
    diagnostics: dict[str, tf.Tensor] = {}


# Diagnostics that say how much more the values sum to than they should.
SUM_GAPS = ("completeness_gap", "conservation_gap", "unexplained_gap")


class Question(Protocol):
    """A computation about a model."""

    @property
    def model(self) -> keras.Model | BlackBox:
        """The model that is asked about."""

    @property
    def gives_slopes(self) -> bool:
        """Whether the values of a looked-up vector are slopes, whose length counts, and not contributions to add up."""

    @property
    def keeps_vectors(self) -> bool:
        """Whether the values stay those of looked-up vectors, beside the vectors, and are not told of the ids."""

    @property
    def wants_scores(self) -> bool:
        """Whether the model is asked about the inputs as given, for their scores."""

    def attribute(self, x: Any, score: Score) -> Attribution:
        """The computation: traced once, or for a black box run as it is written."""

    def key(self) -> Hashable:
        """Equal for questions about one model that compute the same."""

    def check_options(self, inputs: Any) -> None:
        """Raises where an option does not fit the inputs, NumPy arrays."""
