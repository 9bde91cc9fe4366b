"""The public names: the methods that their families register, and the words that go with them."""

from tfsaliency.datasets import explain_dataset, read_explanations
from tfsaliency.engine.compiled import forget
from tfsaliency.engine.question import Attribution
from tfsaliency.explainer import Explainer, Wrapper
from tfsaliency.explanation import Explanation, Visualization
from tfsaliency.methods import activations, backward, black_boxes, gradients, paths
from tfsaliency.methods.activations import *
from tfsaliency.methods.backward import *
from tfsaliency.methods.black_boxes import *
from tfsaliency.methods.class_models import ClassVisualization
from tfsaliency.methods.gradients import *
from tfsaliency.methods.paths import *
from tfsaliency.methods.sequences import Mutagenesis
from tfsaliency.model.black_box import BlackBox
from tfsaliency.model.foreign import as_model

# Modules with public names of their own.
MODULES = ["baselines", "callbacks", "datasets", "metrics", "plot", "rules", "target", "testing", "transforms", "zoo"]

__all__ = [
    "Attribution",
    "BlackBox",
    "ClassVisualization",
    "Explainer",
    "Explanation",
    "Mutagenesis",
    "Visualization",
    "Wrapper",
    "as_model",
    "explain_dataset",
    "forget",
    "read_explanations",
]
__all__ += gradients.__all__
__all__ += backward.__all__
__all__ += paths.__all__
__all__ += activations.__all__
__all__ += black_boxes.__all__
