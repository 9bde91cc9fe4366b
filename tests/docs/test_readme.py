"""The Python on the front page runs as it stands, one block after the other."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from tfsaliency.cli import main

README = Path(__file__).parent.parent.parent / "README.md"


def test_python_blocks_run(tmp_path):
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) >= 2
    subprocess.run([sys.executable, "-c", "\n".join(blocks)], check=True, cwd=tmp_path)
    assert (tmp_path / "coffee.png").read_bytes().startswith(b"\x89PNG")


SHELL = [
    line
    for page in (README, README.parent / "docs/quickstart.md")
    for line in re.findall(r"^tfsaliency .*$", page.read_text(encoding="utf-8"), re.MULTILINE)
]


@pytest.mark.parametrize("line", SHELL)
def test_shell_lines_run(line, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    for name in ("photo.jpg", "coffee.jpg", "photos/one.jpg"):
        Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 60, 3), "uint8")).save(name)
    layers = [keras.Input((16, 16, 3)), keras.layers.Flatten(), keras.layers.Dense(3, activation="softmax")]
    keras.Sequential(layers).save("my.keras")
    arguments = shlex.split(line)[1:]
    assert main(arguments) == 0, capsys.readouterr().err
    if "--report" in arguments:
        assert Path(arguments[arguments.index("--report") + 1]).stat().st_size > 1000


def test_there_are_shell_lines():
    assert len(SHELL) >= 4


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
