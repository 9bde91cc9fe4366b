"""Pictures of explanations; imported only for drawing, because it needs OpenCV and matplotlib."""

from tfsaliency.plot.beeswarm import beeswarm
from tfsaliency.plot.figure import compare, plot, png, write_png
from tfsaliency.plot.image import heatmap, overlay, picture
from tfsaliency.plot.logo import logo
from tfsaliency.plot.report import report

__all__ = ["beeswarm", "compare", "heatmap", "logo", "overlay", "picture", "plot", "png", "report", "write_png"]
