"""Copies of the weights of a model, which can be made random while the model stays as it is."""

import keras
import numpy as np
import tensorflow as tf

from tfsaliency.model.traced import TracedModel


class Weights:
    """Copies of the trained weights that a traced model reads, layer by layer from its output to its inputs.

    Tables of embeddings are not among them where they are what is explained.

    Args:
        model: the model.
        traced: its trace.

    Attributes:
        layers: the paths of the layers.
        codes: the names of weights that are read as whole numbers, as those of a quantized layer are.
        instead: what a trace reads in the place of the model's own variables; see `Trace.reading`.
    """

    def __init__(self, model: keras.Model, traced: TracedModel):
        of_keras = getattr(model, "trainable_variables", ())
        paths = {id(each.value.handle): each.path for each in of_keras if hasattr(each, "path")}
        places = {
            id(outside): min(traced.positions[op.name] for op in traced_handle.consumers())
            for outside, traced_handle in traced.trace.graph.captures
            if traced_handle.consumers()
        }
        read = [each for each in traced.trace.graph.variables if id(each.handle) in places]
        self.codes = [each.name for each in read if each.dtype in (tf.int8, tf.uint8)]
        trained = [each for each in read if each.trainable and each.dtype.is_floating]
        owners: dict[str, list[tf.Variable]] = {}
        for each in sorted(trained, key=lambda each: places[id(each.handle)], reverse=True):
            path = paths.get(id(each.handle), each.name)
            owners.setdefault(path.rpartition("/")[0] or path, []).append(each)
        self.layers = list(owners)
        self._of_layers = list(owners.values())
        self._copies = {id(each.handle): tf.Variable(each, trainable=False) for each in trained}
        self.instead = {handle: copied.handle for handle, copied in self._copies.items()}

    def randomize(self, layers: list[int], seed: int) -> None:
        """Makes the copies of some layers random, and gives all others the values that the model has now.

        A weight is drawn from the normal distribution of the mean and the deviation of its array, so that activations
        keep their size.

        Args:
            layers: numbers of layers.
            seed: the same seed gives the same weights, whichever other layers are random.
        """
        for number, variables in enumerate(self._of_layers):
            for place, each in enumerate(variables):
                value = each.numpy()
                if number in layers:
                    generator = np.random.default_rng([seed, number, place])
                    value = generator.normal(value.mean(), value.std(), value.shape).astype(value.dtype)
                self._copies[id(each.handle)].assign(value)
