"""The methods, by family."""

from tfsaliency.explainer import Explainer
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

# By what a method goes by; the names are those that the command line uses.
FAMILIES: dict[str, dict[str, type[Explainer]]] = {
    "gradients": {
        "gradient": Gradient,
        "gradient-times-input": GradientTimesInput,
        "smoothgrad": SmoothGrad,
        "smoothgrad-squared": SmoothGradSquared,
        "vargrad": VarGrad,
    },
    "rules": {
        "guided-backprop": GuidedBackprop,
        "deconvnet": DeconvNet,
        "lrp": LRP,
        "deep-taylor": DeepTaylor,
        "deeplift": DeepLIFT,
    },
    "paths": {
        "integrated-gradients": IntegratedGradients,
        "expected-gradients": ExpectedGradients,
        "blur-integrated-gradients": BlurIntegratedGradients,
        "guided-integrated-gradients": GuidedIntegratedGradients,
        "idgi": IDGI,
        "xrai": XRAI,
    },
    "activations": {
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
    },
    "black boxes": {
        "occlusion": Occlusion,
        "rise": RISE,
    },
}
METHODS = {name: method for family in FAMILIES.values() for name, method in family.items()}
