import numpy as np

from tfsaliency.base.extra import require


def photographs() -> dict[str, np.ndarray]:
    """Four photographs whose subject the zoo's model knows.

    Returns:
        Name -> RGB image, uint8, ``(height, width, 3)``, as scikit-image ships them:
        ``chelsea`` (a cat), ``coffee`` (an espresso), ``motorcycle`` and ``rocket``.

    Example:
        >>> from tfsaliency import zoo
        >>> sorted(zoo.photographs())
        ['chelsea', 'coffee', 'motorcycle', 'rocket']
    """
    data = require("skimage.data", "demo")
    motorcycle, _, _ = data.stereo_motorcycle()
    return {
        "chelsea": data.chelsea(),
        "coffee": data.coffee(),
        "motorcycle": motorcycle,
        "rocket": data.rocket(),
    }
