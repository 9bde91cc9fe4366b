"""Methods that go back through the network with rules other than the gradient."""

from tfsaliency.explainer import Explainer
from tfsaliency.methods.backward.deeplift import DeepLIFT
from tfsaliency.methods.backward.guided_backprop import DeconvNet, GuidedBackprop
from tfsaliency.methods.backward.lrp import LRP, DeepTaylor

# The names are those that the command line uses.
FAMILY: dict[str, type[Explainer]] = {
    "guided-backprop": GuidedBackprop,
    "deconvnet": DeconvNet,
    "lrp": LRP,
    "deep-taylor": DeepTaylor,
    "deeplift": DeepLIFT,
}
__all__ = ["GuidedBackprop", "DeconvNet", "LRP", "DeepTaylor", "DeepLIFT"]
