from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf


class BlackBox(keras.Model):  # type: ignore[misc]
    """Any function of arrays as a model, for the methods that only ask: it has no gradient.

    Args:
        function: takes inputs ``(N, ...)``, an array or a list or dict of arrays, and returns ``(N, classes)``:
            scikit-learn's ``predict_proba``, a network of another framework, a service.

    Example:
        >>> import numpy as np, tfsaliency as tfs
        >>> model = tfs.BlackBox(lambda x: x.mean(axis=(1, 2)))
        >>> tfs.Occlusion(model, window=4, stride=4).explain(np.ones((1, 8, 8, 3)), target=0).values.shape
        (1, 8, 8, 1)
    """

    def __init__(self, function: Callable[[Any], Any]):
        super().__init__()
        self._asked_outside = function
        self.built = True

    def call(self, inputs: Any) -> tf.Tensor:
        # Its shape is not known before the function is asked.
        one = tf.nest.map_structure(lambda part: np.zeros([1, *part.shape[1:]], "float32"), inputs)
        shape = self._ask(one).shape

        def ask(*parts: np.ndarray) -> np.ndarray:
            return self._ask(tf.nest.pack_sequence_as(inputs, list(parts)))

        answer = tf.numpy_function(ask, tf.nest.flatten(inputs), tf.float32, stateful=False)
        return tf.ensure_shape(answer, [None, *shape[1:]])

    def _ask(self, inputs: Any) -> np.ndarray:
        return np.asarray(self._asked_outside(inputs), "float32")


def as_model(explained: Any) -> Any:
    """The model itself, or a function as a model."""
    is_function = callable(explained) and not isinstance(explained, keras.Model)
    return BlackBox(explained) if is_function else explained
