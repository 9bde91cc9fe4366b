"""Safe names of files, a check that no file is replaced by accident, and tables."""

import os
import re
from collections.abc import Iterable
from pathlib import Path

from tfsaliency.base.files import check_may_be_folder
from tfsaliency.explanation import Explanation
from tfsaliency.plot.captions import diagnostics_of


def safe_names(texts: Iterable[str]) -> list[str]:
    """Unique file names of letters, digits, dots, dashes and underscores."""
    names: list[str] = []
    for text in texts:
        name = stem = re.sub(r"[^A-Za-z0-9._-]+", "_", text).strip("._-")[:80] or "unnamed"
        number = 2
        while name in names:
            name, number = f"{stem}-{number}", number + 1
        names.append(name)
    return names


def names_of_methods(methods: Iterable[str]) -> list[str]:
    """Unique file names of methods with their options."""
    return safe_names(method.replace("=", "") for method in methods)


def check_free(paths: Iterable[Path], force: bool) -> None:
    """Raises if a file exists and ``force`` is not set, or its folder cannot be made, before any work is done."""
    paths = list(paths)
    for folder in dict.fromkeys(path.parent for path in paths):
        first = check_may_be_folder(folder)
        if not os.access(first, os.W_OK):
            raise PermissionError(f"{first} cannot be written to. Give another folder.")
    taken = [path for path in paths if path.exists() or path.is_symlink()]
    if taken and not force:
        raise FileExistsError(
            f"{taken[0]} exists{f', and {len(taken) - 1} more' if taken[1:] else ''}. Pass --force to replace."
        )


def diagnostics_text(explanation: Explanation, sample: int) -> str:
    """Each diagnostic, such as ``relative_error=1.26``, and the layer of the map."""
    return ", ".join(f"{name}={value}" for name, value in diagnostics_of(explanation, sample).items())


def print_table(header: list[str], rows: list[list[str]]) -> None:
    """Prints columns as wide as their widest cell."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    for row in (header, ["-" * width for width in widths], *rows):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
