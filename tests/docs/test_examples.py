"""The examples run as processes, and do what they say."""

import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parent.parent.parent / "examples"


def run(name, *arguments):
    command = [sys.executable, "-W", "error::UserWarning", EXAMPLES / name, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_photograph(tmp_path):
    assert run("photograph.py", tmp_path).startswith("espresso: logit 10.")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["coffee.npz", "coffee.png"]


def test_your_own_model():
    out = run("your_own_model.py")
    assert "'kind': 'the logits under Softmax'" in out
    assert "what the facts add" in out


def test_class_visualization(tmp_path):
    out = run("class_visualization.py", tmp_path, 3)
    assert out.splitlines()[0].startswith("recognisable {'goose'")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["plain.png", "recognisable.png"]


def test_relevance(tmp_path):
    lines = run("relevance.py", tmp_path).splitlines()
    assert [line.split(" (")[0] for line in lines] == [
        f"{method}: for {label} speaks the {label}" for method in ("LRP", "DeepLIFT") for label in ("cat", "espresso")
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["DeepLIFT.png", "LRP.png"]


def test_every_example_is_run():
    names = {path.name for path in EXAMPLES.glob("*.py")}
    assert names == {"photograph.py", "your_own_model.py", "class_visualization.py", "relevance.py"}
