"""An encoding of ids that a layer puts next to others, as integers: a method sees it alone."""

import numpy as np
import tensorflow as tf

from tfsaliency.graph.encodings import ELSEWHERE, places_of
from tfsaliency.graph.lookups import Lookup
from tfsaliency.graph.trace import Pairs, Values
from tfsaliency.model.looked_up import LookedUp


class Encoded(LookedUp):
    """The numbers of one encoding among those of several, ``(N, ..., V)``.

    Args:
        lookup: with the operation that makes the encoding. Its tensor is what all of them are put together to.
    """

    def __init__(self, lookup: Lookup):
        assert lookup.encoding is not None
        super().__init__(lookup)
        places, size = places_of(lookup.encoding, lookup.tensor), self.traced.shape[1:].num_elements()
        # Behind the numbers that are there come those of the encoding.
        self._read = np.where(places == ELSEWHERE, np.arange(size), size + places)

    @property
    def order(self) -> list[tf.Tensor]:
        return [self.traced]

    def pairs(self, numbers: tf.Tensor, values: Values) -> Pairs:
        rows = tf.shape(numbers)[0]
        there, own = (tf.reshape(tf.cast(each, tf.float32), [rows, -1]) for each in (values[self.traced], numbers))
        both = tf.gather(tf.concat([there, own], axis=1), self._read, axis=1)
        return self._everywhere(tf.reshape(both, [-1, *self.traced.shape[1:]]))
