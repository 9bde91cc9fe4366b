"""What the first explanation of a model costs beyond later ones, over the same of the bare compiled gradient.

The floor is what TensorFlow does once for a model and its gradient, by hand: trace both, optimize the graph, start it.
Ours is everything that happens once per model and method: the first call less a later one, so that the passes through
the model that a method makes at every call do not count. For the second column another model object is explained by
`Gradient` first (by `LRP` for the gradient family): what is left is what a second explainer of the model costs. For the
third column another model of the same structure was explained by the same method before.
"""

import gc
import time
import warnings
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

import tfsaliency as tfs
from benchmarks.floor import bare_gradient
from tfsaliency.methods import FAMILIES
from tfsaliency.methods.paths.refined import FEWEST_REFINED

MODELS: dict[str, Callable[[], keras.Model]] = {
    "MobileNetV2": lambda: keras.applications.MobileNetV2(weights=None),
    "ResNet50": lambda: keras.applications.ResNet50(weights=None),
    "NASNetMobile": lambda: keras.applications.NASNetMobile(weights=None),
}
# Fewer passes at every call: what is made once is the same.
FEWER = {
    "smoothgrad": {"samples": 2},
    "denoised-smoothgrad": {"samples": 2},
    "smoothgrad-squared": {"samples": 2},
    "vargrad": {"samples": 2},
    "expected-gradients": {"samples": 2},
    "integrated-gradients": {"budget": FEWEST_REFINED, "tolerance": 1e9},
    "blur-integrated-gradients": {"budget": FEWEST_REFINED, "tolerance": 1e9},
    "guided-integrated-gradients": {"steps": 2},
    "occlusion": {"window": 112, "stride": 112},
    "rise": {"samples": 2},
    "shapley-values": {"window": 112},
}
# They score the model for each channel of a layer, hundreds of times at every call: what is made once drowns in that.
LEFT_OUT = ("score-cam", "ablation-cam")
RUNS = 1


def run(runs: int = RUNS) -> None:
    warnings.simplefilter("ignore", UserWarning)
    print("\nfirst_call: seconds that only the first call takes, over those of the bare gradient just before")
    print(
        "  alone: the first explainer of a model; after: the second, of another family; again: the first of another "
        f"model of the same structure; median of {runs}"
    )
    for name, build in MODELS.items():
        _floor(build())
        print(f"  {name}: the bare gradient takes {_floor(build()):.2f} s once")
        for family, methods in FAMILIES.items():
            for method in methods:
                if method not in LEFT_OUT:
                    rounds = [_ratios(family, method, build) for _ in range(runs)]
                    alone, after, again = np.median(rounds, axis=0)
                    print(f"    {method:28} alone {alone:5.2f}   after {after:5.2f}   again {again:5.2f}", flush=True)


def _ratios(family: str, method: str, build: Callable[[], keras.Model]) -> tuple[float, float, float]:
    """Of the first call as the first explainer of a model, as the second, and of another model of that structure."""
    floor, model = _floor(build()), build()
    alone = _once(_explainer(family, method, model))
    again = _once(_explainer(family, method, build()))
    # What was compiled would serve the next model.
    tfs.forget(model)
    model = build()
    other = tfs.LRP(model) if family == "gradients" else tfs.Gradient(model)
    other.explain(_image(model), 7)
    after = _once(_explainer(family, method, model))
    tfs.forget(model)
    keras.backend.clear_session()
    gc.collect()
    return alone / floor, after / floor, again / floor


def _explainer(family: str, method: str, model: keras.Model) -> tfs.Explainer:
    return FAMILIES[family][method](model, **FEWER.get(method, {}))  # type: ignore[call-arg]


def _image(model: keras.Model) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(1, *model.input_shape[1:])).astype("float32")


def _floor(model: keras.Model) -> float:
    image, gradient = tf.constant(_image(model)), bare_gradient(model)
    return _first_less_later(lambda: gradient(image))


def _once(explainer: tfs.Explainer) -> float:
    image = _image(explainer.model)
    return _first_less_later(lambda: explainer.explain(image, 7))


def _first_less_later(task: Callable[[], object]) -> float:
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        task()
        seconds.append(time.perf_counter() - start)
    return seconds[0] - min(seconds[1:])


if __name__ == "__main__":
    run()
