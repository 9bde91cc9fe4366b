"""What a class looks like to the network, next to what the plain setting of 2014 finds.

    python examples/class_visualization.py [FOLDER] [STEPS]

Needs the demo extra; the default 384 steps take about half a minute.
"""

import sys
from pathlib import Path

import tfsaliency as tfs
from tfsaliency import zoo


def main(folder: Path, steps: int) -> None:
    model, labels = zoo.efficientnet_lite0(), zoo.labels()
    for name, visualizer in {
        "recognisable": tfs.ClassVisualization(model, steps=steps),
        "plain": tfs.ClassVisualization.simonyan(model, steps=steps),
    }.items():
        visualization = visualizer.explain(target=[99, 945], progress=True)
        visualization.plot(labels=labels).savefig(folder / f"{name}.png")
        print(name, dict(zip(["goose", "bell pepper"], visualization.scores.round(1).tolist(), strict=True)))


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "."), int(sys.argv[2]) if len(sys.argv) > 2 else 384)
