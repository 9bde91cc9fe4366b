"""Does the network still see the class in its picture after a random shift, change of scale and blur?"""

import cv2
import numpy as np

import tfsaliency as tfs
from tfsaliency import zoo

CLASSES = {"espresso": 967, "tabby cat": 281, "goose": 99, "bell pepper": 945, "dumbbell": 543}
VERSIONS = 100


def disturbed(picture: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Shifted by up to 10 % each way, scaled by 0.8 to 1.25, blurred with a deviation of up to 2 pixels."""
    height, width = picture.shape[:2]
    scale = np.exp(generator.uniform(np.log(0.8), np.log(1.25)))
    move = cv2.getRotationMatrix2D((width / 2, height / 2), 0, scale)
    move[:, 2] += generator.uniform(-0.1, 0.1, 2) * (width, height)
    moved = cv2.warpAffine(picture, move, (width, height), borderMode=cv2.BORDER_REFLECT)
    return cv2.GaussianBlur(moved, (0, 0), generator.uniform(0.1, 2.0))


def run() -> None:
    model = zoo.efficientnet_lite0()
    print(f"\nclass visualization: top-1 in {VERSIONS} shifted, rescaled and blurred versions")
    settings = {"defaults": tfs.ClassVisualization(model), "simonyan": tfs.ClassVisualization.simonyan(model)}
    for name, visualizer in settings.items():
        result = visualizer.explain(list(CLASSES.values()))
        shares = []
        for (label, index), picture in zip(CLASSES.items(), result.values, strict=True):
            generator = np.random.default_rng(index)
            versions = np.stack([disturbed(picture, generator) for _ in range(VERSIONS)])
            shares.append(np.mean(model.predict(versions, verbose=0).argmax(axis=1) == index))
            print(f"  {name:9} {label:12} {shares[-1]:.0%}")
        print(f"  {name:9} {'mean':12} {np.mean(shares):.1%}   {result.provenance['seconds']:.0f} s for all five")


if __name__ == "__main__":
    run()
