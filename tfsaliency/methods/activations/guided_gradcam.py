from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from tfsaliency.engine.question import Attribution
from tfsaliency.engine.score import Score
from tfsaliency.explainer import Explainer
from tfsaliency.methods.activations.class_activation import GradCAM
from tfsaliency.methods.activations.layer_choice import check_layer
from tfsaliency.methods.backward.guided_backprop import GuidedBackprop


@dataclass(frozen=True, eq=False)
class GuidedGradCAM(Explainer):
    """Guided Grad-CAM: the detail of Guided Backprop at the places that Grad-CAM finds for the class.

    Formula:
        ``v = GuidedBackprop * GradCAM``, with Grad-CAM's map resized to the input.

    The detail comes from Guided Backprop and hardly depends on the class. Only the places depend on it.

    Args:
        model: any Keras model.
        layer: None for the last activation with spatial extent before pooling, named in ``provenance["layer"]``; a
            layer, its name or path, a pair with the index of a call, or a list of these, whose maps are averaged.

    Raises:
        ValueError: on ``explain``, if there is no such layer, its places do not lie over an input, or there is no
            rectifying activation.

    Source:
        Selvaraju et al. 2017, Grad-CAM, section 3.2.

    Example:
        >>> import keras, numpy as np, tfsaliency as tfs
        >>> keras.utils.set_random_seed(1)
        >>> model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3, activation="relu"),
        ...                           keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2)])
        >>> tfs.GuidedGradCAM(model).explain(np.random.default_rng(0).normal(size=(1, 8, 8, 3))).values.shape
        (1, 8, 8, 3)
    """

    model: keras.Model
    layer: Any = None

    @property
    def gives_slopes(self) -> bool:
        return True

    def attribute(self, x: Any, score: Score) -> Attribution:
        detail, _ = GuidedBackprop(self.model).attribute(x, score)
        where, _ = GradCAM(self.model, self.layer).attribute(x, score)
        return Attribution(tf.nest.map_structure(tf.multiply, detail, where))

    def __post_init__(self) -> None:
        super().__post_init__()
        check_layer(self.layer)
