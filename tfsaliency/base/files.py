import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# A temporary file's name begins with so many letters of the one it gets: a name has at most 255 bytes.
LETTERS = 40
UNFINISHED = re.compile(r"\.(.+)\.[0-9a-f]+\.unfinished")


@contextmanager
def appearing_whole(path: Path) -> Iterator[Path]:
    """Gives a temporary path to write to. It is renamed to ``path`` at the end, or removed after an error.

    Raises:
        FileNotFoundError: the folder does not exist.
    """
    if not path.parent.is_dir():
        raise FileNotFoundError(f"There is no folder {str(path.parent)!r} to write {path.name} to. Make it first.")
    # Another process or thread may be writing to the same path.
    unfinished = path.with_name(f".{path.name[:LETTERS]}.{uuid.uuid4().hex}.unfinished")
    try:
        yield unfinished
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def check_may_be_folder(path: Path) -> Path:
    """Raises NotADirectoryError where a folder, or one above it, is a file; returns the first that exists."""
    first = next(each for each in (path, *path.parents) if each.exists())
    if not first.is_dir():
        raise NotADirectoryError(f"{first} is a file. Give the path of a folder.")
    return first


def left_unfinished(folder: Path) -> list[tuple[str, Path]]:
    """What killed processes had begun to write in a folder, or below: the name that it was to get, and its path."""
    found = ((UNFINISHED.fullmatch(path.name), path) for path in folder.rglob(".*.unfinished"))
    return [(match[1], path) for match, path in found if match]
