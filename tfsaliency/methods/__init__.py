"""The methods, under the names that the command line uses."""

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

METHODS: dict[str, type[Explainer]] = {
    "gradient": Gradient,
    "gradient-times-input": GradientTimesInput,
    "smoothgrad": SmoothGrad,
    "smoothgrad-squared": SmoothGradSquared,
    "vargrad": VarGrad,
    "guided-backprop": GuidedBackprop,
    "deconvnet": DeconvNet,
    "lrp": LRP,
    "deep-taylor": DeepTaylor,
    "deeplift": DeepLIFT,
    "integrated-gradients": IntegratedGradients,
    "expected-gradients": ExpectedGradients,
    "blur-integrated-gradients": BlurIntegratedGradients,
    "guided-integrated-gradients": GuidedIntegratedGradients,
    "idgi": IDGI,
    "xrai": XRAI,
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
    "occlusion": Occlusion,
    "rise": RISE,
}
