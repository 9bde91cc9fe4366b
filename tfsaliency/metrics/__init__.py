"""Which map to believe: numbers about maps, for each sample, with what they mean."""

from tfsaliency.metrics.compare import blur_for, compare
from tfsaliency.metrics.comparison import Comparison
from tfsaliency.metrics.completeness import CompletenessGap
from tfsaliency.metrics.complexity import Entropy, Gini
from tfsaliency.metrics.grid_pointing import GridPointingGame
from tfsaliency.metrics.irof import IROF
from tfsaliency.metrics.localisation import PointingGame, RankAccuracy, RelevanceMass
from tfsaliency.metrics.metric import InapplicableError, Measurement, Metric
from tfsaliency.metrics.removal import ABPC, Deletion, Insertion
from tfsaliency.metrics.road import ROAD
from tfsaliency.metrics.robustness import BaselineSensitivity, MaxSensitivity
from tfsaliency.metrics.sanity import ModelRandomization, RandomLogit
from tfsaliency.metrics.subsets import Infidelity, MuFidelity, SingleDeletion
from tfsaliency.metrics.tokens import Comprehensiveness, Sufficiency

__all__ = [
    "ABPC",
    "IROF",
    "ROAD",
    "BaselineSensitivity",
    "Comparison",
    "CompletenessGap",
    "Comprehensiveness",
    "Deletion",
    "Entropy",
    "Gini",
    "GridPointingGame",
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
    "blur_for",
    "compare",
]

# By the names of the command line. Metrics of masks are not among them: it has none.
METRICS: dict[str, type[Metric]] = {
    "deletion": Deletion,
    "insertion": Insertion,
    "abpc": ABPC,
    "mufidelity": MuFidelity,
    "infidelity": Infidelity,
    "single-deletion": SingleDeletion,
    "road": ROAD,
    "irof": IROF,
    "completeness-gap": CompletenessGap,
    "grid-pointing-game": GridPointingGame,
    "max-sensitivity": MaxSensitivity,
    "model-randomization": ModelRandomization,
    "random-logit": RandomLogit,
    "entropy": Entropy,
    "gini": Gini,
}
