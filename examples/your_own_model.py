"""A subclassed model with two inputs and two outputs, explained without being touched.

python examples/your_own_model.py
"""

import keras
import numpy as np
import tensorflow as tf

import tfsaliency as tfs


class Listing(keras.Model):
    """Judges a flat by a picture and a table: its kind, as a class, and its rent, as a number."""

    def __init__(self):
        super().__init__()
        self.look = keras.layers.Conv2D(8, 3, activation="relu")
        self.read = keras.layers.Dense(8, activation="relu")
        self.kind = keras.layers.Dense(3, activation="softmax")
        self.rent = keras.layers.Dense(1)

    def call(self, inputs):
        seen = tf.reduce_mean(self.look(inputs["picture"]), axis=(1, 2))
        known = tf.concat([seen, self.read(inputs["facts"])], axis=-1)
        return {"kind": self.kind(known), "rent": self.rent(known)}


def main() -> None:
    keras.utils.set_random_seed(0)
    generator = np.random.default_rng(0)
    flats = {"picture": generator.uniform(size=(4, 16, 16, 3)), "facts": generator.normal(size=(4, 5))}
    model = Listing()
    model(flats)

    kind = tfs.SmoothGrad(model).explain(flats, tfs.target.output("kind"))
    print("explained:", kind.explained)
    print("kinds:", kind.target.tolist())
    rent = tfs.GradientTimesInput(model).explain(flats, lambda outputs: outputs["rent"][:, 0])
    print("what the facts add to the first rent:", rent.values["facts"][0].round(3).tolist())
    print("share of the picture:", round(float(rent.values["picture"][0].sum() / rent.scores[0]), 3))


if __name__ == "__main__":
    main()
