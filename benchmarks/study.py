"""Which methods beat maps that know nothing? Real weights and 24 photographs, and digits, with two fills each.

    python -m benchmarks study

The tables are kept in ``study/`` after each metric: a run that is stopped goes on from there. The 20 photographs of
ImageNet are those that foolbox ships: ``pip install --no-deps foolbox``.
"""

import importlib.util
from pathlib import Path

import cv2
import keras
import numpy as np
from keras import layers
from sklearn.datasets import load_digits

import tfsaliency as tfs
from tfsaliency import metrics, zoo

FOLDER = Path("study")


def run() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name, (model, inputs, fills) in {"photographs": photographs(), "digits": digits()}.items():
        methods = _methods(model, inputs)
        table = metrics.compare(methods, inputs, metrics=_asked(model, fills), path=FOLDER / f"{name}.npz")
        table.report(FOLDER / f"{name}.html")
        print(f"\nstudy: {name}, the class that the model says, {len(inputs)} samples\n\n{table}", flush=True)
        for number, column in enumerate(table.columns):
            beaten = [method for row, method in enumerate(table.methods) if not column.fails[row]]
            if table.better[number] != "neither":
                print(f"  beat every control by {table.headings[number]}: {', '.join(beaten) or 'none'}")


def photographs() -> tuple[keras.Model, np.ndarray, list[object]]:
    """EfficientNet-Lite0, the 20 photographs of ImageNet in foolbox and the four of scikit-image."""
    found = importlib.util.find_spec("foolbox")
    if found is None or found.origin is None:
        raise ImportError("The study takes 20 photographs from foolbox: pip install --no-deps foolbox")
    files = sorted((Path(found.origin).parent / "data").glob("imagenet_*"))
    pictures = [cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB) for path in files]
    pictures += zoo.photographs().values()
    inputs = np.concatenate([zoo.preprocess(picture) for picture in pictures])
    return zoo.efficientnet_lite0(), inputs, [metrics.blur_for(inputs.shape[1]), tfs.baselines.mean()]


def digits() -> tuple[keras.Model, np.ndarray, list[object]]:
    """A small network trained on 1,400 digits, and 100 others."""
    keras.utils.set_random_seed(0)
    pictures, labels = load_digits(return_X_y=True)
    pictures = pictures.reshape(-1, 8, 8, 1).astype("float32") / 16
    convolutions = [layers.Conv2D(24, 3, activation="relu", padding="same") for _ in range(2)]
    head = [layers.Flatten(), layers.Dense(10, "softmax")]
    model = keras.Sequential([keras.Input((8, 8, 1)), *convolutions, *head])
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(pictures[:1400], labels[:1400], epochs=12, batch_size=32, verbose=0)
    return model, pictures[1400:1500], [0, tfs.baselines.mean()]


def _methods(model: keras.Model, inputs: np.ndarray) -> dict[str, tfs.Explainer]:
    side = max(1, inputs.shape[1] // 8)
    return {
        "Gradient": tfs.Gradient(model),
        "SmoothGrad of |Gradient|": tfs.SmoothGrad(tfs.Gradient(model).then(tfs.transforms.absolute), samples=25),
        "GradientTimesInput": tfs.GradientTimesInput(model),
        "IntegratedGradients": tfs.IntegratedGradients(model),
        "GuidedBackprop": tfs.GuidedBackprop(model),
        "DeepLIFT": tfs.DeepLIFT(model),
        "LRP": tfs.LRP(model),
        "HiResCAM": tfs.HiResCAM(model),
        "Occlusion": tfs.Occlusion(model, window=2 * side, stride=side),
    }


def _asked(model: keras.Model, fills: list[object]) -> list[metrics.Metric]:
    first = tfs.Gradient(model)
    of_fills = (metrics.Deletion, metrics.Insertion, metrics.MuFidelity, metrics.SingleDeletion)
    return [
        *(metric(model, fill) for fill in fills for metric in of_fills),
        metrics.GridPointingGame(first),
        metrics.ModelRandomization(first, stages=3),
        metrics.RandomLogit(first),
        metrics.Gini(),
    ]


if __name__ == "__main__":
    run()
