"""The Python on the front page runs as it stands, one block after the other."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

README = Path(__file__).parent.parent / "README.md"


def test_python_blocks_run(tmp_path):
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) >= 2
    subprocess.run([sys.executable, "-c", "\n".join(blocks)], check=True, cwd=tmp_path)
    assert (tmp_path / "coffee.png").read_bytes().startswith(b"\x89PNG")


def test_the_picture_is_the_one_that_the_docs_make():
    made = README.parent / "docs/_build/demo.jpg"
    if not made.exists():
        pytest.skip("no site was built: make docs")
    ours, theirs = (np.asarray(Image.open(path), int) for path in (README.parent / "docs/demo.jpg", made))
    same = ours.shape == theirs.shape and np.abs(ours - theirs).mean() < 2
    assert same, "cp docs/_build/demo.jpg docs/demo.jpg"


def test_links_and_pictures_exist():
    targets = re.findall(r"\]\(([^)]+)\)", README.read_text(encoding="utf-8"))
    for target in targets:
        assert (README.parent / target).exists(), target
