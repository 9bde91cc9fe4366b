from pathlib import Path

import keras
import numpy as np
from matplotlib.figure import Figure
from tqdm import tqdm

from tfsaliency import zoo
from tfsaliency.cli.outputs import check_free, diagnostics_text, print_table
from tfsaliency.crop import centre_crop
from tfsaliency.explainer import Explainer
from tfsaliency.methods import FAMILIES, METHODS
from tfsaliency.methods.class_visualization import ClassVisualization
from tfsaliency.methods.deeplift import DeepLIFT
from tfsaliency.methods.guided_backprop import GuidedBackprop
from tfsaliency.methods.lrp import LRP
from tfsaliency.plot import compare, plot, write_png
from tfsaliency.plot.captions import target_text
from tfsaliency.transforms import absolute
from tfsaliency.zoo.efficientnet_lite import IMAGE_SIZE

CAT, ESPRESSO = 285, 967
PAINTED = {"espresso": ESPRESSO, "tabby cat": 281, "goose": 99, "bell pepper": 945, "dumbbell": 543}


def demo(out: Path, force: bool) -> None:
    """Explains four photographs with EfficientNet-Lite0 by every method, and paints five of its classes."""
    files = [out / f"{name}.png" for name in (*map(_picture_of, FAMILIES), "two-classes", "classes", *METHODS)]
    check_free(files, force)
    out.mkdir(parents=True, exist_ok=True)
    model, labels, photographs = zoo.efficientnet_lite0(), zoo.labels(), zoo.photographs()
    inputs = np.concatenate([zoo.preprocess(photo) for photo in photographs.values()])
    pictures = np.stack([centre_crop(photo, IMAGE_SIZE, IMAGE_SIZE) for photo in photographs.values()])
    probabilities = model.predict(inputs, verbose=0)

    _print_predictions(list(photographs), probabilities, labels)
    explanations, rows = {}, []
    for name, method in tqdm(METHODS.items(), desc="explaining", unit="method"):
        explainer: Explainer = method(model)  # type: ignore[call-arg]
        explanation = explainer.explain(inputs)
        explanations[name] = explanation
        write_png(plot(explanation, images=pictures, labels=labels), out / f"{name}.png")
        for sample, photo in enumerate(photographs):
            target = target_text(explanation, sample, labels)
            seconds = f"{explanation.provenance['seconds'] / len(inputs):.2f}"
            rows.append(
                [
                    photo,
                    target,
                    name,
                    seconds,
                    diagnostics_text(explanation, sample),
                ]
            )
    for family, methods in FAMILIES.items():
        shown = [explanations[name].map(absolute) for name in methods]
        figure = compare(shown, images=pictures, titles=list(methods), labels=labels)
        write_png(figure, out / f"{_picture_of(family)}.png")
    print_table(["image", "target", "method", "seconds per image", "diagnostics"], sorted(rows))

    write_png(_two_classes(model, photographs, labels), out / "two-classes.png")
    painted = ClassVisualization(model).explain(list(PAINTED.values()), progress=True)
    write_png(plot(painted, labels=labels), out / "classes.png")
    print(f"\nThe pictures are in {out}/: {', '.join(path.name for path in files)}")


def _picture_of(family: str) -> str:
    return "all-" + family.replace(" ", "-")


def _two_classes(model: keras.Model, photographs: dict[str, np.ndarray], labels: list[str]) -> Figure:
    """One picture that holds a cat and an espresso, explained for either: a map of a class must tell them apart."""
    halves = [centre_crop(photographs[name], IMAGE_SIZE, IMAGE_SIZE // 2) for name in ("chelsea", "coffee")]
    both = np.concatenate(halves, axis=1)
    inputs = np.concatenate([zoo.preprocess(both)] * 2)
    explainers = [LRP(model), DeepLIFT(model), GuidedBackprop(model)]
    explanations = [explainer.explain(inputs, [CAT, ESPRESSO]) for explainer in explainers]
    titles = [type(explainer).__name__ for explainer in explainers]
    return compare(explanations, images=np.stack([both, both]), titles=titles, labels=labels)


def _print_predictions(names: list[str], probabilities: np.ndarray, labels: list[str]) -> None:
    rows = []
    for name, row in zip(names, probabilities, strict=True):
        top = row.argsort()[::-1][:3]
        rows.append([name, ", ".join(f"{labels[index]} {row[index]:.2f}" for index in top)])
    print_table(["image", "top classes"], rows)
    print()
