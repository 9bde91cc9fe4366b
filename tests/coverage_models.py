"""Runs the methods with rules on every model of keras.applications and writes docs/model-coverage.md.

    python -m tests.coverage_models [name ...]

Weights are random and normalization statistics those of one batch of noise, so that signals are of ordinary size at
any depth. Inputs have the smallest size that the model takes.
"""

import gc
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np

import tfsaliency as tfs

PAGE = Path(__file__).parent.parent / "docs" / "model-coverage.md"
METHODS: dict[str, Callable[[keras.Model], tfs.Explainer]] = {
    "GuidedBackprop": tfs.GuidedBackprop,
    "DeconvNet": tfs.DeconvNet,
    "LRP": tfs.LRP,
    "DeepTaylor": tfs.DeepTaylor,
    "DeepLIFT": tfs.DeepLIFT,
}
# Of the models that have a smallest input of their own; the others take 32 pixels.
SIZES = {"InceptionV3": 75, "InceptionResNetV2": 75, "Xception": 71}


def models() -> dict[str, Callable[..., keras.Model]]:
    """Every model that keras.applications builds."""
    found = {name: getattr(keras.applications, name) for name in dir(keras.applications)}
    return {name: build for name, build in found.items() if callable(build)}


def built(name: str) -> keras.Model:
    """The model with random weights and the normalization statistics of a batch of noise."""
    keras.utils.set_random_seed(0)
    size = SIZES.get(name, 32)
    model = models()[name](weights=None, input_shape=(size, size, 3), classes=10)
    normalizations = [each for each in model.layers if isinstance(each, keras.layers.BatchNormalization)]
    for layer in normalizations:
        layer.momentum = 0.0
    model(noise(model, 8), training=True)
    if name.startswith("VGG"):
        # Without normalization every ReLU halves the power of the signal.
        model.set_weights([np.sqrt(2) * weight for weight in model.get_weights()])
    return model


def noise(model: keras.Model, samples: int) -> np.ndarray:
    """Inputs in the range that most of the models are given."""
    shape = (samples, *model.input_shape[1:])
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def answer(method: Callable[[keras.Model], tfs.Explainer], model: keras.Model) -> str:
    """What a method says about a model, in a cell of the table."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            method(model).explain(noise(model, 1))
        except (ValueError, UserWarning) as error:
            return f"{type(error).__name__}: {str(error)[:60]}"
    return "yes"


def main(names: list[str]) -> None:
    """Prints a row per model and writes the page."""
    rows = []
    for name in names:
        model = built(name)
        cells = [answer(method, model) for method in METHODS.values()]
        parameters = f"{model.count_params() / 1e6:.1f} M"
        rows.append(f"| {name} | {parameters} | {' | '.join(cells)} |")
        print(rows[-1], flush=True)
        tfs.forget(model)
        keras.backend.clear_session()
        del model
        gc.collect()
    PAGE.write_text(HEAD + "\n".join(rows) + "\n")


HEAD = f"""# Model coverage

Methods with rules need one for every operation of a network. This table is made by `make coverage-models`: every model
of `keras.applications` ({len(models())} of them) with random weights, explained by each of these methods on one image
of the smallest size that the model takes. LRP is the preset `epsilon_plus_flat`, DeepLIFT has the baseline zero.
"yes" says that every operation on the way has a rule, and that the map is finite and not zero.

| model | parameters | {" | ".join(METHODS)} |
| --- | --- | {" | ".join("---" for _ in METHODS)} |
"""


if __name__ == "__main__":
    main(sys.argv[1:] or list(models()))
