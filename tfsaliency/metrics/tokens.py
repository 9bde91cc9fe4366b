"""How the score of a text changes without the best tokens, and with them alone."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from tfsaliency.base.options import check_shares
from tfsaliency.metrics.metric import Better, Measurement
from tfsaliency.metrics.places import Places
from tfsaliency.metrics.subject import OfModel, Subject

# Of the tokens, as in ERASER.
SHARES = (0.01, 0.05, 0.1, 0.2, 0.5)


@dataclass(frozen=True, eq=False)
class Rationale(OfModel):
    """Takes the tokens with the largest values for a rationale, at several lengths.

    Padding is no token. At least one token is taken.

    Args:
        fill: what replaces a token: None for what stands for nothing; an id, or a text, as the ``baseline`` of
            `IntegratedGradients`.
        shares: of the tokens that are taken for the rationale.
    """

    fill: Any = None
    shares: tuple[float, ...] = SHARES

    def __post_init__(self) -> None:
        check_shares(self.shares)

    @abstractmethod
    def kept(self, chosen: np.ndarray, present: np.ndarray) -> np.ndarray:
        """``(N, M, P)``: which places are kept, for those that are chosen and those that there are."""

    def told(self, subject: Subject, places: Places) -> Measurement:
        total = places.present.sum(axis=1, keepdims=True)
        counts = np.ceil(np.asarray(self.shares) * total - 1e-9)
        kept = self.kept(places.ranks[:, None] < counts[..., None], places.present[:, None])
        left = subject.probabilities_without(places, kept, self.fill)
        drops = subject.probabilities[:, None] - left
        return self._told(drops.mean(axis=1), bounds=subject.bounds(-1), of=subject.measured, details={"drop": drops})


@dataclass(frozen=True, eq=False)
class Comprehensiveness(Rationale):
    """Comprehensiveness: what the probability loses without the most relevant tokens.

    Formula:
        The mean over ``k`` = 1, 5, 10, 20 and 50 % of ``p(x) - p(x without the k % most relevant tokens)``.

    Higher is better. A text with holes may be like nothing that the model has read. For pictures and tables it is a
    short `Deletion`.

    Source:
        DeYoung et al. 2020, ERASER: A Benchmark to Evaluate Rationalized NLP Models.

    Example:
        >>> import keras, numpy as np, tfsaliency as tfs
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, use_bias=False)])
        >>> model.set_weights([np.array([[4.0], [3.0], [2.0], [1.0]])])
        >>> explanation = tfs.GradientTimesInput(model).explain(np.ones((1, 4)))
        >>> tfs.metrics.Comprehensiveness(model, shares=(0.25, 0.5)).measure(explanation).values  # 4 and 7 are lost
        array([5.5])
    """

    def kept(self, chosen: np.ndarray, present: np.ndarray) -> np.ndarray:
        return ~chosen


@dataclass(frozen=True, eq=False)
class Sufficiency(Rationale):
    """Sufficiency: what the probability loses when only the most relevant tokens are left.

    Formula:
        The mean over ``k`` = 1, 5, 10, 20 and 50 % of ``p(x) - p(the k % most relevant tokens alone)``.

    Lower is better: the tokens are enough. One token of a text says little by itself, however good the map is.

    Source:
        DeYoung et al. 2020, ERASER: A Benchmark to Evaluate Rationalized NLP Models.

    Example:
        >>> import keras, numpy as np, tfsaliency as tfs
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, use_bias=False)])
        >>> model.set_weights([np.array([[4.0], [3.0], [2.0], [1.0]])])
        >>> explanation = tfs.GradientTimesInput(model).explain(np.ones((1, 4)))
        >>> tfs.metrics.Sufficiency(model, shares=(0.25, 0.5)).measure(explanation).values  # 6 and 3 are lost
        array([4.5])
    """

    better: ClassVar[Better] = "lower"

    def kept(self, chosen: np.ndarray, present: np.ndarray) -> np.ndarray:
        return np.asarray(chosen | ~present)
