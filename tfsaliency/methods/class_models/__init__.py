"""Pictures of classes, painted by an optimizer."""

from tfsaliency.methods.class_models.class_visualization import ClassVisualization
from tfsaliency.methods.class_models.parametrization import Fourier, Pixels
from tfsaliency.methods.class_models.views import Views

__all__ = ["ClassVisualization", "Fourier", "Pixels", "Views"]
