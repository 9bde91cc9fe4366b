"""Methods that sum gradients along a path of inputs."""

from tfsaliency.explainer import Explainer
from tfsaliency.methods.paths.blur_integrated_gradients import BlurIntegratedGradients
from tfsaliency.methods.paths.expected_gradients import ExpectedGradients
from tfsaliency.methods.paths.guided_integrated_gradients import GuidedIntegratedGradients
from tfsaliency.methods.paths.idgi import IDGI
from tfsaliency.methods.paths.integrated_gradients import IntegratedGradients
from tfsaliency.methods.paths.xrai import XRAI

# The names are those that the command line uses.
FAMILY: dict[str, type[Explainer]] = {
    "integrated-gradients": IntegratedGradients,
    "expected-gradients": ExpectedGradients,
    "blur-integrated-gradients": BlurIntegratedGradients,
    "guided-integrated-gradients": GuidedIntegratedGradients,
    "idgi": IDGI,
    "xrai": XRAI,
}
__all__ = [
    "IntegratedGradients",
    "ExpectedGradients",
    "BlurIntegratedGradients",
    "GuidedIntegratedGradients",
    "IDGI",
    "XRAI",
]
