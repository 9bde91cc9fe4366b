"""Targets of an explanation: a class, a contrast, a token, a region, a box, or any function of the logits.

``explain(inputs, target)`` takes ``None``, a class index, one index per sample, a function of the logits, or a result
of the functions of this module.
"""

from tfsaliency.target.boxes import box
from tfsaliency.target.contrasts import contrast, margin
from tfsaliency.target.functions import binary
from tfsaliency.target.outputs import output
from tfsaliency.target.regions import region
from tfsaliency.target.several import each, tokens, top
from tfsaliency.target.tokens import sequence, token

__all__ = ["binary", "box", "contrast", "each", "margin", "output", "region", "sequence", "token", "tokens", "top"]
