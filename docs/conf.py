"""How the site is built: see the target ``docs`` of the Makefile."""

import dataclasses
import hashlib
import inspect
import os
import re
from pathlib import Path

import tfsaliency
from tfsaliency.explainer import Method

project = "tfsaliency"
author = copyright = "the tfsaliency developers"
release = version = tfsaliency.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
]
exclude_patterns = ["_build", "_templates"]
templates_path = ["_templates"]
html_theme = "furo"
html_title = "tfsaliency"
html_favicon = "_static/favicon.svg"
html_static_path = ["_static"]
html_css_files = ["wide-tables.css"]
html_show_sphinx = False

# Links into other projects' pages need a network: sphinx-build -t online.
if tags.has("online"):  # type: ignore[name-defined]  # noqa: F821
    extensions.append("sphinx.ext.intersphinx")
    intersphinx_mapping = {
        "python": ("https://docs.python.org/3", None),
        "numpy": ("https://numpy.org/doc/stable", None),
        "matplotlib": ("https://matplotlib.org/stable", None),
    }

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3

# Notebooks run on the CPU; what TensorFlow says of itself is not part of a page.
os.environ |= {"CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "1"}
nb_execution_mode = "cache"
nb_execution_raise_on_error = True
nb_execution_timeout = 900
nb_merge_streams = True
# TensorFlow greets on the error stream, before it can be told not to. A warning of Python's is a failure.
nb_output_stderr = "remove"
os.environ["PYTHONWARNINGS"] = "error::UserWarning"
# A notebook whose text is unchanged still has to run again where the package is not the same.
PACKAGE = Path(tfsaliency.__file__).parent
SOURCES = b"".join(path.read_bytes() for path in sorted(PACKAGE.rglob("*")) if path.is_file() and path.suffix != ".pyc")
nb_execution_cache_path = str(Path(__file__).parent / "_build/notebooks" / hashlib.sha256(SOURCES).hexdigest()[:16])

default_role = "py:obj"
autodoc_inherit_docstrings = False
autodoc_typehints_format = "short"
autodoc_member_order = "bysource"
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_custom_sections = ["Formula", "Source"]
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True


def options_of(each):
    """The paragraph of each option in the docstring of a class: name -> lines."""
    doc = inspect.getdoc(each) if vars(each).get("__doc__") else ""
    section = re.search(r"^Args:\n((?:    .*\n|\n)+)", doc + "\n", re.MULTILINE)
    paragraphs = re.findall(r"^    ((\w+): .*(?:\n        .*)*)", section[1], re.MULTILINE) if section else []
    return {name: f"    {text}".splitlines() for text, name in paragraphs}


def add_options_of_bases(app, what, name, each, options, lines):
    """Shows the options that a method inherits: their paragraphs stand in the base class that defines them, once."""
    if what != "class" or not (isinstance(each, type) and issubclass(each, Method)):
        return
    fields = [field.name for field in dataclasses.fields(each)] if dataclasses.is_dataclass(each) else []
    described = [options_of(base) for base in each.__mro__ if base is not object]
    paragraphs = {field: next((known[field] for known in described if field in known), []) for field in fields}
    missing = [line for field in fields if field not in described[0] for line in paragraphs[field]]
    if "Args:" in lines:
        place = lines.index("", lines.index("Args:"))
        lines[place:place] = missing
    elif missing:
        place = next((i for i, line in enumerate(lines) if line in ("Raises:", "Source:", "Example:")), len(lines))
        lines[place:place] = ["Args:", *missing, ""]


def setup(app):
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", add_options_of_bases, priority=400)
