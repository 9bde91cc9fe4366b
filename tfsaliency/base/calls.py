"""Calls that go another way for a while: those that one thread makes of objects of some classes."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

# Held while the classes are changed, because the change is global.
_changing = threading.RLock()


@contextmanager
def calls_replaced(classes: Sequence[Any], replacement: Callable[..., Any]) -> Iterator[None]:
    """Sends the calls that this thread makes of objects of the classes to a replacement.

    Args:
        classes: classes that define ``__call__``.
        replacement: takes the original ``__call__``, the object, and the arguments.
    """
    thread = threading.get_ident()

    def replaced(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(called: Any, *args: Any, **kwargs: Any) -> Any:
            if threading.get_ident() != thread:
                return original(called, *args, **kwargs)
            return replacement(original, called, *args, **kwargs)

        return call

    with _changing:
        # Only now: before, they can be the replacements of another thread.
        originals = [each.__call__ for each in classes]
        for each, original in zip(classes, originals, strict=True):
            each.__call__ = replaced(original)
        try:
            yield
        finally:
            for each, original in zip(classes, originals, strict=True):
                each.__call__ = original
