"""The command line: ``tfsaliency explain``, ``tfsaliency methods``, ``tfsaliency demo``."""

from tfsaliency.cli.main import main

__all__ = ["main"]
