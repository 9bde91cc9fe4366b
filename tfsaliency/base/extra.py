import importlib
from types import ModuleType


def require(module: str, extra: str) -> ModuleType:
    """Imports a module that comes with an extra, or says how to install it.

    Args:
        module: its name.
        extra: the extra of this package that brings it.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"This needs the module {module!r}, which is not installed. Install the extra {extra!r}: "
            f"pip install 'tfsaliency[{extra}]'"
        ) from error
