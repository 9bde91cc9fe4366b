"""Which map to believe: numbers about maps, for each sample, with what they mean."""

from tfsaliency.metrics.compare import compare
from tfsaliency.metrics.comparison import Comparison
from tfsaliency.metrics.completeness import CompletenessGap
from tfsaliency.metrics.complexity import Entropy, Gini
from tfsaliency.metrics.localisation import PointingGame, RankAccuracy, RelevanceMass
from tfsaliency.metrics.metric import InapplicableError, Measurement, Metric
from tfsaliency.metrics.removal import ABPC, Deletion, Insertion
from tfsaliency.metrics.robustness import BaselineSensitivity, MaxSensitivity
from tfsaliency.metrics.sanity import ModelRandomization, RandomLogit
from tfsaliency.metrics.subsets import Infidelity, MuFidelity, SingleDeletion
from tfsaliency.metrics.tokens import Comprehensiveness, Sufficiency

__all__ = [
    "ABPC",
    "BaselineSensitivity",
    "Comparison",
    "CompletenessGap",
    "Comprehensiveness",
    "Deletion",
    "Entropy",
    "Gini",
    "InapplicableError",
    "Infidelity",
    "Insertion",
    "MaxSensitivity",
    "Measurement",
    "Metric",
    "ModelRandomization",
    "MuFidelity",
    "PointingGame",
    "RandomLogit",
    "RankAccuracy",
    "RelevanceMass",
    "SingleDeletion",
    "Sufficiency",
    "compare",
]
