"""Methods that only call the model and need no gradient."""

from tfsaliency.explainer import Explainer
from tfsaliency.methods.black_boxes.occlusion import Occlusion
from tfsaliency.methods.black_boxes.rise import RISE
from tfsaliency.methods.black_boxes.shapley import ShapleyValues

# The names are those that the command line uses.
FAMILY: dict[str, type[Explainer]] = {
    "occlusion": Occlusion,
    "rise": RISE,
    "shapley-values": ShapleyValues,
}
__all__ = ["Occlusion", "RISE", "ShapleyValues"]
