"""How the site is built: see the target ``docs`` of the Makefile."""

import hashlib
import os
from pathlib import Path

import tfsaliency

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
os.environ |= {"CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"}
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
