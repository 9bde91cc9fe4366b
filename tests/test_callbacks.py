"""Maps during training: of the weights of that epoch, and without a trace in what is learned."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfsaliency as tfs
from tests.harness import quick
from tfsaliency.callbacks import ExplainCallback

GENERATOR = np.random.default_rng(0)
IMAGES = GENERATOR.uniform(size=(24, 8, 8, 1)).astype("float32")
CLASSES = GENERATOR.integers(0, 3, 24)


class Subclassed(keras.Model):
    """Built by its first batch."""

    def __init__(self):
        super().__init__()
        self.hidden, self.head = layers.Dense(4, activation="relu"), layers.Dense(3, activation="softmax")

    def call(self, x, training=None):
        return self.head(self.hidden(layers.Flatten()(x)))


def network():
    """With dropout, normalization and a seed of its own: what a forward pass could disturb."""
    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(4, 3, activation="relu"),
            layers.BatchNormalization(),
            layers.Flatten(),
            layers.Dropout(0.5),
            layers.Dense(3, activation="softmax"),
        ]
    )
    return compile_(model)


def compile_(model):
    model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy")
    return model


def fit(model, *callbacks, epochs=5):
    return model.fit(IMAGES, CLASSES, epochs=epochs, batch_size=8, verbose=0, callbacks=list(callbacks))


class WeightsOfEpochs(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.weights = {}

    def on_epoch_end(self, epoch, logs=None):
        self.weights[epoch] = self.model.get_weights()


class Broken(tfs.Gradient):
    """Fails from the second call on."""

    calls = []

    def explain(self, *arguments, **options):
        self.calls.append(1)
        if len(self.calls) > 1:
            raise OSError("the disk is full")
        return super().explain(*arguments, **options)


@pytest.mark.parametrize("make", quick([tfs.Gradient, tfs.SmoothGrad, tfs.LRP, tfs.GradCAM], tfs.Gradient, tfs.GradCAM))
def test_training_is_the_same_with_it(make, tmp_path):
    plain, watched = network(), network()
    losses = fit(plain).history["loss"]
    watched_losses = fit(watched, ExplainCallback(make(watched), IMAGES[:2], directory=tmp_path)).history["loss"]
    assert losses == watched_losses
    for ours, theirs in zip(watched.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_each_map_is_of_the_weights_of_its_epoch(tmp_path):
    model, weights = network(), WeightsOfEpochs()
    fit(model, weights, ExplainCallback(tfs.Gradient(model), IMAGES[:2], target=1, every=2, directory=tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"epoch-000{epoch}.{kind}" for epoch in (2, 4) for kind in ("npz", "png")
    ]
    twin = network()
    maps = []
    for epoch in (2, 4):
        twin.set_weights(weights.weights[epoch - 1])
        kept = tfs.Explanation.load(tmp_path / f"epoch-000{epoch}.npz")
        np.testing.assert_allclose(kept.values, tfs.Gradient(twin).explain(IMAGES[:2], 1).values, rtol=1e-6, atol=1e-8)
        maps.append(kept.values)
    assert np.abs(maps[1] - maps[0]).max() > 1e-3


def test_a_model_that_its_first_batch_builds(tmp_path):
    # With these weights the picture leaves some ReLU units open.
    keras.utils.set_random_seed(1)
    model = compile_(Subclassed())
    fit(model, ExplainCallback(tfs.Gradient(model), IMAGES[:1], directory=tmp_path), epochs=1)
    assert (tmp_path / "epoch-0001.png").read_bytes().startswith(b"\x89PNG")


def test_other_epochs_compute_nothing(tmp_path, monkeypatch):
    model, calls = network(), []
    explain = tfs.Gradient.explain
    monkeypatch.setattr(tfs.Gradient, "explain", lambda *given: calls.append(1) or explain(*given))
    fit(model, ExplainCallback(tfs.Gradient(model), IMAGES[:1], every=4, directory=tmp_path), epochs=7)
    # One before the first step, which finds mistakes, and one after the fourth epoch.
    assert len(calls) == 2


def test_tensorboard(tmp_path):
    model = network()
    logs, files = tmp_path / "logs", tmp_path / "files"
    writer = tf.summary.create_file_writer(str(logs))
    fit(model, ExplainCallback(tfs.Gradient(model), IMAGES[:2], every=2, writer=writer, directory=files))
    writer.close()
    (file,) = logs.iterdir()
    pictures = {}
    for record in tf.data.TFRecordDataset([str(file)]):
        event = tf.compat.v1.Event.FromString(record.numpy())
        for value in event.summary.value:
            width, height, encoded = value.tensor.string_val[:3]
            picture = tf.io.decode_png(encoded).numpy()
            assert picture.shape[:2] == (int(height), int(width))
            pictures[event.step] = value.tag, picture
    assert sorted(pictures) == [1, 3]
    assert pictures[1][0] == "Gradient"
    for step, (_, picture) in pictures.items():
        kept = tf.io.decode_png((files / f"epoch-000{step + 1}.png").read_bytes(), channels=3)
        np.testing.assert_array_equal(picture, kept)


def test_mistakes_are_raised_before_the_first_step(tmp_path):
    model = network()
    before = model.get_weights()
    with pytest.raises(ValueError, match="the classes 0 to 2. Received: target 7"):
        fit(model, ExplainCallback(tfs.Gradient(model), IMAGES[:2], target=7, directory=tmp_path))
    with pytest.raises(ValueError, match="one picture for each"):
        fit(model, ExplainCallback(tfs.Gradient(model), IMAGES[:2], images=IMAGES[:1], directory=tmp_path))
    with pytest.raises(ValueError, match="shares no weight"):
        fit(model, ExplainCallback(tfs.Gradient(network()), IMAGES[:2], directory=tmp_path))
    for ours, theirs in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_mistakes_are_raised_after_the_first_epoch_of_an_unbuilt_model(tmp_path):
    model = compile_(Subclassed())
    with pytest.raises(ValueError, match="the classes 0 to 2. Received: target 7"):
        fit(model, ExplainCallback(tfs.Gradient(model), IMAGES[:2], target=7, directory=tmp_path))


def test_what_fails_later_is_a_warning_and_training_goes_on(tmp_path):
    model = network()
    Broken.calls.clear()
    with pytest.warns(UserWarning, match=r"Epoch \d is not explained, and training goes on: the disk is full"):
        history = fit(model, ExplainCallback(Broken(model), IMAGES[:2], directory=tmp_path))
    assert len(history.history["loss"]) == 5
    assert list(tmp_path.iterdir()) == []


def test_arguments(monkeypatch):
    model = network()
    with pytest.raises(TypeError, match="takes an explainer"):
        ExplainCallback(model, IMAGES, directory="maps")
    with pytest.raises(ValueError, match="a directory, a writer"):
        ExplainCallback(tfs.Gradient(model), IMAGES)
    with pytest.raises(TypeError, match="takes a writer of tf.summary"):
        ExplainCallback(tfs.Gradient(model), IMAGES, writer="logs")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match="pip install tensorboard"):
        ExplainCallback(tfs.Gradient(model), IMAGES, writer=tf.summary.create_noop_writer())
    with pytest.raises(ValueError, match="every"):
        ExplainCallback(tfs.Gradient(model), IMAGES, every=0, directory="maps")
