"""The methods, by family. A method is registered once, in the ``__init__`` of its family."""

from tfsaliency.explainer import Explainer
from tfsaliency.methods import activations, backward, black_boxes, gradients, paths

FAMILIES: dict[str, dict[str, type[Explainer]]] = {
    "gradients": gradients.FAMILY,
    "backward": backward.FAMILY,
    "paths": paths.FAMILY,
    "activations": activations.FAMILY,
    "black boxes": black_boxes.FAMILY,
}
METHODS = {name: method for family in FAMILIES.values() for name, method in family.items()}
