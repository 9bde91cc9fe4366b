"""One picture of a cat and an espresso: which half speaks for which class, by relevance and by differences.

    python examples/relevance.py [FOLDER]

Needs the demo extra.
"""

import sys
from pathlib import Path

import numpy as np

import tfsaliency as tfs
from tfsaliency import zoo

CAT, ESPRESSO = 285, 967


def main(folder: Path) -> None:
    model, photographs = zoo.efficientnet_lite0(), zoo.photographs()
    halves = [zoo.preprocess(photographs[name])[:, :, 56:168] for name in ("chelsea", "coffee")]
    inputs = np.concatenate([np.concatenate(halves, axis=2)] * 2)

    # z+ for the convolutions, as in a preset, and gamma for the last layers, where the classes part.
    rules = {**tfs.rules.PRESETS["epsilon_plus_flat"], tfs.rules.last(): tfs.rules.Gamma(0.1)}
    explainers = {"LRP": tfs.LRP(model, rules), "DeepLIFT": tfs.DeepLIFT(model)}
    for name, explainer in explainers.items():
        explanation = explainer.explain(inputs, [CAT, ESPRESSO])
        for label, values in zip(("cat", "espresso"), explanation.values, strict=True):
            left, right = values[:, :112].sum(), values[:, 112:].sum()
            print(f"{name}: for {label} speaks the {'cat' if left > right else 'espresso'} ({left:.3g}, {right:.3g})")
        explanation.plot(labels=zoo.labels()).savefig(folder / f"{name}.png")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "."))
