"""Writes the lists of methods, from the families: README.md, docs/api.md and what ``tfsaliency methods`` prints.

    python -m tests.tables      (make tables)

A method is registered once, in the ``__init__`` of its family; this puts it into the lists, and
`tests/docs/test_docs.py` fails until it is run.
"""

import re
from pathlib import Path

from tfsaliency.cli.methods import list_of_methods
from tfsaliency.methods import FAMILIES

ROOT = Path(__file__).parent.parent
# What a family asks, and what to know of some of its methods in two words.
ASKS = {
    "gradients": "what moves the score",
    "backward": "what went into it, layer by layer",
    "paths": "what made it differ from a baseline",
    "activations": "where it came from",
    "black boxes": "what it loses, without a gradient",
}
REMARKS = {"LRP": "ten presets, or a rule per layer", "ShapleyValues": "all of any function"}
CLASS_MODELS = (
    "| class models | what the class looks like | `ClassVisualization`, and in the setting of 2014 "
    "`ClassVisualization.simonyan` |"
)


def readme_table() -> str:
    """The table of methods on the front page."""
    rows = ["| family | asks | methods |", "| --- | --- | --- |"]
    for family, methods in FAMILIES.items():
        names = [method.__name__ for method in methods.values()]
        texts = [f"`{name}`" + (f" ({REMARKS[name]})" if name in REMARKS else "") for name in names]
        rows.append(f"| {family} | {ASKS[family]} | {', '.join(texts)} |")
    return "\n".join([*rows, CLASS_MODELS])


def reference_lists() -> str:
    """The lists of methods of the reference page."""
    lists = []
    for family, methods in FAMILIES.items():
        names = "\n".join(f"   {method.__name__}" for method in methods.values())
        lists.append(f".. rubric:: {family.capitalize()}\n\n.. autosummary::\n   :toctree: generated\n\n{names}")
    return "\n\n".join(lists)


# In each file, the patterns that the generated text lies between.
PAGES = {
    ROOT / "README.md": (readme_table, "## Methods\n\n", "\n\nFormulas, sources"),
    ROOT / "docs/api.md": (
        reference_lists,
        r"\.\. currentmodule:: tfsaliency\n\n",
        r"\n\n\.\. rubric:: Sequences of letters",
    ),
    ROOT / "tfsaliency/cli/methods.txt": (list_of_methods, r"\A", r"\Z"),
}


def with_table(path: Path) -> str:
    """The text of a page with its table made anew."""
    make, before, after = PAGES[path]
    pattern = f"({before}).*?({after})"
    return re.sub(pattern, lambda found: found[1] + make() + found[2], path.read_text("utf-8"), flags=re.DOTALL)


if __name__ == "__main__":
    for page in PAGES:
        page.write_text(with_table(page), "utf-8")
