"""Imports TensorFlow without its messages, which are of no use on a command line."""

import os
import sys
import tempfile


def import_tensorflow() -> None:
    """Imports TensorFlow; its lines on the error stream are shown only if the import fails.

    The lines come from C++, before TensorFlow reads its log level, so the stream itself must be redirected.
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
