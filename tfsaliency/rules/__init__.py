"""Rules of layer-wise relevance propagation, for the tables of `tfsaliency.LRP`."""

from tfsaliency.graph.affine import Affine
from tfsaliency.graph.step import Step
from tfsaliency.rules.presets import PRESETS
from tfsaliency.rules.relevance import AlphaBeta, Epsilon, Flat, Gamma, Pass, WSquare, ZBox, ZPlus, shared
from tfsaliency.rules.selectors import first, kind, last, operation

__all__ = [
    "PRESETS",
    "Affine",
    "AlphaBeta",
    "Epsilon",
    "Flat",
    "Gamma",
    "Pass",
    "Step",
    "WSquare",
    "ZBox",
    "ZPlus",
    "first",
    "kind",
    "last",
    "operation",
    "shared",
]
