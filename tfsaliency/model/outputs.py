"""What a model returns, as structures that TensorFlow knows."""

import dataclasses
from typing import Any


class Named(dict[Any, Any]):
    """Outputs by their names, as ``outputs["logits"]`` or ``outputs.logits``."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


def plain(outputs: Any) -> Any:
    """Outputs with dataclasses and named tuples as `Named`, and without what is None.

    A tuple or list with None becomes a dict from its places, so that the others keep their numbers.
    """
    if dataclasses.is_dataclass(outputs) and not isinstance(outputs, dict | type):
        return _named({field.name: getattr(outputs, field.name) for field in dataclasses.fields(outputs)})
    if isinstance(outputs, tuple) and hasattr(outputs, "_asdict"):
        return _named(outputs._asdict())
    if isinstance(outputs, dict):
        return _named(outputs)
    if isinstance(outputs, list | tuple):
        if any(each is None for each in outputs):
            return _named(dict(enumerate(outputs)))
        return type(outputs)(map(plain, outputs))
    return outputs


def _named(parts: dict[Any, Any]) -> Named:
    return Named({name: plain(part) for name, part in parts.items() if part is not None})
