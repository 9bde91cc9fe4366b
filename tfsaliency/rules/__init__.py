"""Rules of layer-wise relevance propagation, for the tables of `tfsaliency.LRP`."""

from tfsaliency.rules.affine import Affine
from tfsaliency.rules.presets import PRESETS
from tfsaliency.rules.relevance import AlphaBeta, Epsilon, Flat, Gamma, Pass, WSquare, ZBox, ZPlus, shared
from tfsaliency.rules.step import Step

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
    "shared",
]
