import importlib
from types import ModuleType


def require(module: str) -> ModuleType:
    """Imports a module of the ``demo`` extra, or says how to install it."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"The zoo needs the module {module!r}, which is not installed. "
            "Install the demo extra: pip install 'tfsaliency[demo]'"
        ) from error
