"""Which parts of this input made the network say that? Saliency and attribution maps for any Keras 3 model."""

import importlib
from typing import Any

from tfsaliency import baselines, rules, target, transforms
from tfsaliency.black_box import BlackBox
from tfsaliency.compiled import forget
from tfsaliency.explainer import Attribution, Explainer, Wrapper
from tfsaliency.explanation import Explanation, Visualization
from tfsaliency.methods.blur_integrated_gradients import BlurIntegratedGradients
from tfsaliency.methods.channel_scores import AblationCAM, ScoreCAM
from tfsaliency.methods.class_activation import (
    CAM,
    EigenCAM,
    GradCAM,
    GradCAMPlusPlus,
    HiResCAM,
    LayerCAM,
    XGradCAM,
)
from tfsaliency.methods.class_visualization import ClassVisualization
from tfsaliency.methods.deeplift import DeepLIFT
from tfsaliency.methods.expected_gradients import ExpectedGradients
from tfsaliency.methods.gradient import Gradient, GradientTimesInput
from tfsaliency.methods.guided_backprop import DeconvNet, GuidedBackprop
from tfsaliency.methods.guided_gradcam import GuidedGradCAM
from tfsaliency.methods.guided_integrated_gradients import GuidedIntegratedGradients
from tfsaliency.methods.idgi import IDGI
from tfsaliency.methods.integrated_gradients import IntegratedGradients
from tfsaliency.methods.lrp import LRP, DeepTaylor
from tfsaliency.methods.occlusion import Occlusion
from tfsaliency.methods.rise import RISE
from tfsaliency.methods.smoothgrad import SmoothGrad, SmoothGradSquared, VarGrad
from tfsaliency.methods.xrai import XRAI
from tfsaliency.version import __version__

__all__ = [
    "CAM",
    "IDGI",
    "LRP",
    "RISE",
    "XRAI",
    "AblationCAM",
    "Attribution",
    "BlackBox",
    "BlurIntegratedGradients",
    "ClassVisualization",
    "DeconvNet",
    "DeepLIFT",
    "DeepTaylor",
    "EigenCAM",
    "ExpectedGradients",
    "Explainer",
    "Explanation",
    "GradCAM",
    "GradCAMPlusPlus",
    "Gradient",
    "GradientTimesInput",
    "GuidedBackprop",
    "GuidedGradCAM",
    "GuidedIntegratedGradients",
    "HiResCAM",
    "IntegratedGradients",
    "LayerCAM",
    "Occlusion",
    "ScoreCAM",
    "SmoothGrad",
    "SmoothGradSquared",
    "VarGrad",
    "Visualization",
    "Wrapper",
    "XGradCAM",
    "__version__",
    "baselines",
    "forget",
    "plot",
    "rules",
    "target",
    "transforms",
    "zoo",
]


def __getattr__(name: str) -> Any:
    # Pictures and the zoo bring OpenCV, matplotlib and scikit-image: imported when they are used.
    if name in ("plot", "zoo"):
        return importlib.import_module(f"tfsaliency.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
