"""What ``explain`` returns, and its files."""

from tfsaliency.explanation.explanation import Explanation, Visualization
from tfsaliency.explanation.several import stacked

__all__ = ["Explanation", "Visualization", "stacked"]
