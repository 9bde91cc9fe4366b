from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfsaliency.model.fingerprint import fingerprint
from tfsaliency.target.base import Target
from tfsaliency.version import __version__


def provenance(model: keras.Model, target: Target, seconds: float) -> dict[str, Any]:
    """What someone needs to know to make the same values again, as JSON would hold it."""
    return {
        "tfsaliency": __version__,
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "numpy": np.__version__,
        "model": model.name,
        "fingerprint": fingerprint(model),
        "target": str(target),
        "seconds": seconds,
    }
