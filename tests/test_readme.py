"""The Python on the front page runs as it stands, one block after the other."""

import re
import subprocess
import sys
from pathlib import Path

README = Path(__file__).parent.parent / "README.md"


def test_python_blocks_run(tmp_path):
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) >= 2
    subprocess.run([sys.executable, "-c", "\n".join(blocks)], check=True, cwd=tmp_path)
    assert (tmp_path / "coffee.png").read_bytes().startswith(b"\x89PNG")


def test_links_and_pictures_exist():
    targets = re.findall(r"\]\(([^)]+)\)", README.read_text(encoding="utf-8"))
    for target in targets:
        assert (README.parent / target).exists(), target
