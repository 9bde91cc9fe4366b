"""Which parts of this input made the network say that? Saliency and attribution maps for any Keras 3 model."""

import importlib
from typing import TYPE_CHECKING, Any

from tfsaliency.version import __version__ as __version__

if TYPE_CHECKING:
    from tfsaliency.public import *


def __getattr__(name: str) -> Any:
    # TensorFlow takes seconds to import: the command line's --help does not wait for it.
    public = importlib.import_module("tfsaliency.public")
    if name == "__all__":
        return [*public.__all__, *public.MODULES, "__version__"]
    if name in public.MODULES:
        # Pictures and the zoo bring OpenCV, matplotlib and scikit-image: they are imported when they are used.
        return importlib.import_module(f"tfsaliency.{name}")
    if name in public.__all__:
        return getattr(public, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__getattr__("__all__")})
