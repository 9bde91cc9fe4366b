"""Class activation maps."""

from tfsaliency.explainer import Explainer
from tfsaliency.methods.activations.channel_scores import AblationCAM, ScoreCAM
from tfsaliency.methods.activations.class_activation import (
    CAM,
    EigenCAM,
    GradCAM,
    GradCAMPlusPlus,
    HiResCAM,
    LayerCAM,
    XGradCAM,
)
from tfsaliency.methods.activations.guided_gradcam import GuidedGradCAM

# The names are those that the command line uses.
FAMILY: dict[str, type[Explainer]] = {
    "cam": CAM,
    "grad-cam": GradCAM,
    "grad-cam++": GradCAMPlusPlus,
    "hires-cam": HiResCAM,
    "layer-cam": LayerCAM,
    "xgrad-cam": XGradCAM,
    "eigen-cam": EigenCAM,
    "score-cam": ScoreCAM,
    "ablation-cam": AblationCAM,
    "guided-grad-cam": GuidedGradCAM,
}
__all__ = [
    "CAM",
    "GradCAM",
    "GradCAMPlusPlus",
    "HiResCAM",
    "LayerCAM",
    "XGradCAM",
    "EigenCAM",
    "ScoreCAM",
    "AblationCAM",
    "GuidedGradCAM",
]
