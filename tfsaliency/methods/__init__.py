"""The methods, under the names that the command line uses."""

from tfsaliency.explainer import Explainer
from tfsaliency.methods.gradient import Gradient, GradientTimesInput
from tfsaliency.methods.smoothgrad import SmoothGrad, SmoothGradSquared, VarGrad

METHODS: dict[str, type[Explainer]] = {
    "gradient": Gradient,
    "gradient-times-input": GradientTimesInput,
    "smoothgrad": SmoothGrad,
    "smoothgrad-squared": SmoothGradSquared,
    "vargrad": VarGrad,
}
