"""A few values that are kept by their keys, the latest used ones, whichever thread uses them."""

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import TypeVar

Value = TypeVar("Value")

_keeping = threading.Lock()


def keep(kept: OrderedDict[Hashable, Value], key: Hashable, value: Value, most: int) -> None:
    """Puts a value to the end of those that are kept, also where another thread has dropped it since it was found."""
    with _keeping:
        kept[key] = value
        kept.move_to_end(key)
        while len(kept) > most:
            kept.popitem(last=False)
