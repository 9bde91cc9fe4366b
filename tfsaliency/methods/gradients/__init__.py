"""The gradient family: the gradient of the score at the inputs, plain or averaged over noisy copies."""

from tfsaliency.explainer import Explainer
from tfsaliency.methods.gradients.denoised import DenoisedSmoothGrad
from tfsaliency.methods.gradients.gradient import Gradient, GradientTimesInput
from tfsaliency.methods.gradients.smoothgrad import SmoothGrad, SmoothGradSquared, VarGrad

# The names are those that the command line uses.
FAMILY: dict[str, type[Explainer]] = {
    "gradient": Gradient,
    "gradient-times-input": GradientTimesInput,
    "smoothgrad": SmoothGrad,
    "denoised-smoothgrad": DenoisedSmoothGrad,
    "smoothgrad-squared": SmoothGradSquared,
    "vargrad": VarGrad,
}
__all__ = ["DenoisedSmoothGrad", "Gradient", "GradientTimesInput", "SmoothGrad", "SmoothGradSquared", "VarGrad"]
