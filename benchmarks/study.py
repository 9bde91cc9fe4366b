"""Which methods beat maps that know nothing? Every method, two fills, on photographs, digits, sentences and a table.

    python -m benchmarks.study [NAME ...]

The tables are kept in ``study/`` after each metric: a run that is stopped goes on from there. Each is also written as a
page, and in the form of the documentation. The 20 photographs of ImageNet are those that foolbox ships: ``pip install
--no-deps foolbox``. The sentences are read by the network of SentiToolKit, which comes with the extra for tests.
"""

import importlib.util
import itertools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import cv2
import keras
import numpy as np
from keras import layers
from sklearn.datasets import load_breast_cancer, load_digits

import tfsaliency as tfs
from tests.model.test_real_texts import sentiment_network
from tfsaliency import metrics, zoo
from tfsaliency.methods import METHODS

FOLDER = Path("study")
# Where the default takes hundreds of forward passes for a map.
FEWER = {
    "smoothgrad": {"samples": 25},
    "smoothgrad-squared": {"samples": 25},
    "vargrad": {"samples": 25},
    "expected-gradients": {"samples": 50},
    "guided-integrated-gradients": {"steps": 50},
    "rise": {"samples": 250},
}
THINGS = "the film", "this phone", "my dinner", "the new book", "our hotel room", "the service"
OPINIONS = (
    "was really wonderful",
    "was not good at all",
    "is the worst i have ever seen",
    "was bad but the people were nice",
    "made me happy today",
    "was boring and much too long",
)


class Study(NamedTuple):
    """What is explained and measured."""

    about: str
    model: keras.Model
    inputs: np.ndarray
    metrics: list[metrics.Metric]
    # Of a method, by its name, where the defaults are for pictures.
    options: dict[str, dict[str, object]] = FEWER


def run(*names: str) -> None:
    FOLDER.mkdir(exist_ok=True)
    for name in names or STUDIES:
        study = STUDIES[name]()
        methods = _methods(study)
        path = FOLDER / f"{name}.npz"
        table = metrics.compare(methods, study.inputs, metrics=study.metrics, path=path, progress=True)
        table.report(FOLDER / f"{name}.html")
        (FOLDER / f"{name}.md").write_text(_markdown(table), encoding="utf-8")
        print(f"\nstudy: {study.about}; {len(study.inputs)} samples, the class that the model says\n\n{table}")
        for number, column in enumerate(table.columns):
            told = ~np.isnan(column.means)
            beating = [method for row, method in enumerate(table.methods) if told[row] and not column.fails[row]]
            if table.better[number] != "neither" and told[len(table.methods) :].any():
                print(f"  beat every control by {table.headings[number]}: {', '.join(beating) or 'none'}", flush=True)


def photographs() -> Study:
    model, inputs = zoo.efficientnet_lite0(), _photographs()
    mean = tfs.baselines.mean()
    asked = _by_removal(model, metrics.blur_for(inputs.shape[1]), mean)
    asked += [metrics.IROF(model, mean), metrics.GridPointingGame(tfs.Gradient(model))]
    return Study("EfficientNet-Lite0 and photographs", model, inputs, asked)


def sanity() -> Study:
    model = zoo.efficientnet_lite0()
    return Study("EfficientNet-Lite0 and some of the photographs", model, _photographs()[::3], _of_the_method(model))


def digits() -> Study:
    keras.utils.set_random_seed(0)
    pictures, labels = load_digits(return_X_y=True)
    pictures = pictures.reshape(-1, 8, 8, 1).astype("float32") / 16
    convolutions = [layers.Conv2D(24, 3, activation="relu", padding="same") for _ in range(2)]
    model = keras.Sequential([keras.Input((8, 8, 1)), *convolutions, layers.Flatten(), layers.Dense(10, "softmax")])
    _train(model, pictures[:1400], labels[:1400])
    asked = [*_by_removal(model, 0, tfs.baselines.mean()), *_of_the_method(model)]
    options = FEWER | {"occlusion": {"window": 2, "stride": 1}}
    return Study("a small network and digits", model, pictures[1400:1500], asked, options)


def sentences() -> Study:
    model, ids_of = sentiment_network()
    texts = [f"{thing} {opinion}" for thing, opinion in itertools.product(THINGS, OPINIONS)]
    # Hidden by padding, and by a word that says little.
    asked = _by_removal(model, 0, int(ids_of("it")[0, -1]))
    asked += [metrics.Comprehensiveness(model, 0), metrics.Sufficiency(model, 0), *_of_the_method(model)]
    options = FEWER | {"occlusion": {"window": 1, "stride": 1, "baseline": 0}, "rise": {"baseline": 0}}
    return Study("the LSTM of SentiToolKit and sentences", model, ids_of(*texts), asked, options)


def table() -> Study:
    keras.utils.set_random_seed(0)
    rows, labels = load_breast_cancer(return_X_y=True)
    rows = ((rows - rows[:400].mean(axis=0)) / rows[:400].std(axis=0)).astype("float32")
    hidden = [layers.Dense(32, "relu") for _ in range(2)]
    model = keras.Sequential([keras.Input((30,)), *hidden, layers.Dense(2, "softmax")])
    _train(model, rows[:400], labels[:400])
    # Hidden by the mean of the rows, and by the least value of each column.
    asked = [*_by_removal(model, 0, rows[:400].min(axis=0)), *_of_the_method(model)]
    # The flat rule of the default gives all columns the same value.
    options = FEWER | {"occlusion": {"window": 1, "stride": 1, "baseline": 0}, "lrp": {"rules": "epsilon"}}
    return Study("a dense network and a table of tumours", model, rows[469:], asked, options)


STUDIES: dict[str, Callable[[], Study]] = {
    "digits": digits,
    "table": table,
    "sentences": sentences,
    "photographs": photographs,
    "sanity": sanity,
}


def _train(model: keras.Model, inputs: np.ndarray, labels: np.ndarray) -> None:
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(inputs, labels, epochs=12, batch_size=32, verbose=0)


def _markdown(table: metrics.Comparison) -> str:
    """The means with their marks, without intervals."""
    lines = [["", *table.headings], ["---"] * (1 + len(table.headings))]
    for row, name in enumerate(table.rows):
        control = row >= len(table.methods)
        cells = [
            "-" if np.isnan(mean := column.means[row]) else f"{mean:.2f} {table.mark(row, column)}".strip()
            for column in table.columns
        ]
        lines.append([f"*{name}*" if control else name, *(cell.replace("*", r"\*") for cell in cells)])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _photographs() -> np.ndarray:
    """The 20 of ImageNet in foolbox, and the four of scikit-image."""
    found = importlib.util.find_spec("foolbox")
    if found is None or found.origin is None:
        raise ImportError("The study takes 20 photographs from foolbox: pip install --no-deps foolbox")
    files = sorted((Path(found.origin).parent / "data").glob("imagenet_*"))
    pictures = [cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB) for path in files]
    return np.concatenate([zoo.preprocess(picture) for picture in [*pictures, *zoo.photographs().values()]])


def _by_removal(model: keras.Model, *fills: object) -> list[metrics.Metric]:
    """What is lost without the places of a map, by each fill, and how the map is spread over them."""
    of_fills = (metrics.Deletion, metrics.Insertion, metrics.MuFidelity, metrics.SingleDeletion)
    asked = [metric(model, fill) for fill in fills for metric in of_fills]
    return [*asked, metrics.Infidelity(model, fills[-1]), metrics.Gini(), metrics.Entropy()]


def _of_the_method(model: keras.Model) -> list[metrics.Metric]:
    """Whether the map changes with the question and the weights, and adds up."""
    first = tfs.Gradient(model)
    return [
        metrics.RandomLogit(first),
        metrics.ModelRandomization(first, kind="efficient"),
        metrics.CompletenessGap(model),
    ]


def _methods(study: Study) -> dict[str, tfs.Explainer]:
    """Every method that these inputs have; why the others are left out is printed."""
    found = {}
    for name, method in METHODS.items():
        explainer = method(study.model, **study.options.get(name, {}))
        try:
            explainer.explain(study.inputs[:2])
        except (ValueError, TypeError) as error:
            print(f"  without {method.__name__}: {str(error).splitlines()[0]}")
        else:
            found[method.__name__] = explainer
    return found


if __name__ == "__main__":
    run(*sys.argv[1:])
