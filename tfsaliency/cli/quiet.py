"""TensorFlow without its greeting: what it prints while it is imported is of no use on a command line."""

import os
import sys
import tempfile


def import_tensorflow() -> None:
    """Imports TensorFlow; its lines on the error stream are shown only if the import fails.

    They come from C++, before TensorFlow reads how much it may print, so the stream itself has to be turned away.
    """
    if "tensorflow" in sys.modules:
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    shown = os.dup(2)
    with tempfile.TemporaryFile() as hidden:
        os.dup2(hidden.fileno(), 2)
        try:
            import tensorflow  # noqa: F401
        except BaseException:
            hidden.seek(0)
            os.write(shown, hidden.read())
            raise
        finally:
            os.dup2(shown, 2)
            os.close(shown)
