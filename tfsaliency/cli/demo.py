from pathlib import Path

import keras
import numpy as np
from matplotlib.figure import Figure

from tfsaliency import zoo
from tfsaliency.base.pictures import centre_crop
from tfsaliency.cli.outputs import check_free, diagnostics_text, print_table
from tfsaliency.explanation import Explanation
from tfsaliency.methods import FAMILIES, METHODS
from tfsaliency.methods.backward import LRP, DeepLIFT, GuidedBackprop
from tfsaliency.methods.class_models import ClassVisualization
from tfsaliency.plot import compare, plot, write_png
from tfsaliency.plot.captions import target_text
from tfsaliency.transforms import absolute
from tfsaliency.zoo.efficientnet_lite import IMAGE_SIZE

CAT, ESPRESSO = 285, 967
PAINTED = {"espresso": ESPRESSO, "tabby cat": 281, "goose": 99, "bell pepper": 945, "dumbbell": 543}
# One method of each family, in the order of the pictures.
ONE_PER_FAMILY = ["grad-cam", "lrp", "smoothgrad", "integrated-gradients", "occlusion"]


def demo(out: Path, force: bool, everything: bool) -> None:
    """Explains four photographs with EfficientNet-Lite0, by one method of each family or by every method.

    With every method, it also explains a picture of two classes and paints five classes of the network.
    """
    methods = list(METHODS) if everything else ONE_PER_FAMILY
    together = [*map(_picture_of, FAMILIES), "two-classes", "classes"] if everything else ["comparison"]
    files = [out / f"{name}.png" for name in (*methods, *together)]
    check_free(files, force)
    out.mkdir(parents=True, exist_ok=True)
    model, labels, photographs = zoo.efficientnet_lite0(), zoo.labels(), zoo.photographs()
    inputs = np.concatenate([zoo.preprocess(photo) for photo in photographs.values()])
    pictures = np.stack([centre_crop(photo, IMAGE_SIZE, IMAGE_SIZE) for photo in photographs.values()])

    _print_predictions(list(photographs), model.predict(inputs, verbose=0), labels)
    explanations: dict[str, Explanation] = {}
    rows = []
    for name in methods:
        explainer = METHODS[name](model)  # type: ignore[call-arg]
        explanation = explanations[name] = explainer.explain(inputs)
        path = out / f"{name}.png"
        write_png(plot(explanation, images=pictures, labels=labels), path)
        seconds = explanation.provenance["seconds"]
        print(f"{path}: {explanation.method}, {seconds:.1f} s", flush=True)
        for sample, photo in enumerate(photographs):
            target = target_text(explanation, sample, labels)
            rows.append([photo, target, name, f"{seconds / len(inputs):.2f}", diagnostics_text(explanation, sample)])
    print()
    print_table(["image", "target", "method", "seconds per image", "diagnostics"], sorted(rows))

    for title, names in _comparisons(everything).items():
        shown = [explanations[name].map(absolute) for name in names]
        write_png(compare(shown, images=pictures, titles=names, labels=labels), out / f"{title}.png")
    if everything:
        write_png(_two_classes(model, photographs, labels), out / "two-classes.png")
        painted = ClassVisualization(model).explain(list(PAINTED.values()), progress=True)
        write_png(plot(painted, labels=labels), out / "classes.png")
    print(f"\nThe pictures are in {out}/: {', '.join(path.name for path in files)}")


def _comparisons(everything: bool) -> dict[str, list[str]]:
    """The pictures with several methods: name -> methods."""
    if not everything:
        return {"comparison": ONE_PER_FAMILY}
    return {_picture_of(family): list(methods) for family, methods in FAMILIES.items()}


def _picture_of(family: str) -> str:
    return "all-" + family.replace(" ", "-")


def _two_classes(model: keras.Model, photographs: dict[str, np.ndarray], labels: list[str]) -> Figure:
    """One picture of a cat and an espresso, explained for each class: the maps must tell the classes apart."""
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
