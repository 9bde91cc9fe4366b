"""A map of a real photograph by a real ImageNet model, drawn and saved.

    python examples/photograph.py [FOLDER]

Needs the demo extra.
"""

import sys
from pathlib import Path

import tfsaliency as tfs
from tfsaliency import zoo
from tfsaliency.transforms import clip_percentile, max_channels


def main(folder: Path) -> None:
    model, labels = zoo.efficientnet_lite0(), zoo.labels()
    photo = zoo.photographs()["coffee"]

    explainer = tfs.SmoothGrad(model, samples=50).then(max_channels).then(clip_percentile(99))
    explanation = explainer.explain(zoo.preprocess(photo))

    print(f"{labels[explanation.target[0]]}: logit {explanation.scores[0]:.2f}")
    print(f"relative error of the map: {explanation.diagnostics['relative_error'][0]:.2f}")
    explanation.plot(labels=labels).savefig(folder / "coffee.png")
    explanation.save(folder / "coffee.npz")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "."))
