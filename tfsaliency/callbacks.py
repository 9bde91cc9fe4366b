"""Maps of a network during training: a callback for ``model.fit``."""

import importlib.util
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
from matplotlib.figure import Figure

from tfsaliency.base.options import check_count
from tfsaliency.explainer import Explainer
from tfsaliency.explanation import Explanation
from tfsaliency.plot import png, write_png

__all__ = ["ExplainCallback"]


class ExplainCallback(keras.callbacks.Callback):  # type: ignore[misc]
    """Explains the same inputs after every ``every``-th epoch of ``model.fit``, as files or in TensorBoard.

    The callback explains the network with its weights after the epoch. Between two explanations it computes nothing,
    and it does not change the numbers of the training.

    If the model is built, the callback explains and draws once before the first step, so a mistake in the arguments is
    an error there. Otherwise it is an error after the first explained epoch. A later failure, such as scores that are
    no longer finite or a full disk, is a warning: a picture must not cost hours of training.

    Args:
        explainer: any explainer of the trained model, or of a part of it.
        inputs: the inputs to explain, ``(N, ...)``, as for `Explainer.explain`.
        target: the target to explain; by default the top class of each sample, which can change from epoch to epoch.
        every: explain after each ``every``-th epoch, counted from the first.
        directory: folder for the picture of each explained epoch, ``epoch-0001.png``, and for its explanation,
            ``epoch-0001.npz``, which `Explanation.load` reads. A missing folder is made; files of the same epochs are
            replaced.
        writer: a writer of ``tf.summary.create_file_writer``, which gets the picture. Its step is the epoch counted
            from 0, as in Keras' own TensorBoard callback. At least one of ``directory`` and ``writer`` is required.
        images: pictures to show instead of the inputs, e.g. before preprocessing.
        labels: class names, for the titles.

    Raises:
        TypeError: ``explainer`` is not an explainer, or ``writer`` is not a writer.
        ModuleNotFoundError: a writer is given, and TensorBoard is not installed.
        ValueError: no ``directory`` and no ``writer``, or ``every`` below 1; when training begins, an error of
            `Explainer.explain`, or a model that shares no weight with the trained model.

    Example:
        >>> import keras, numpy as np, tempfile, pathlib, tfsaliency as tfs
        >>> from tfsaliency.callbacks import ExplainCallback
        >>> model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(2)])
        >>> model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        >>> images, classes = np.ones((4, 8, 8, 1)), np.array([0, 1, 0, 1])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     callback = ExplainCallback(tfs.Gradient(model), images[:2], every=2, directory=folder)
        ...     history = model.fit(images, classes, epochs=4, callbacks=[callback], verbose=0)
        ...     sorted(path.name for path in pathlib.Path(folder).iterdir())
        ['epoch-0002.npz', 'epoch-0002.png', 'epoch-0004.npz', 'epoch-0004.png']
    """

    def __init__(
        self,
        explainer: Explainer,
        inputs: Any,
        *,
        target: Any = None,
        every: int = 1,
        directory: str | os.PathLike[str] | None = None,
        writer: tf.summary.SummaryWriter | None = None,
        images: Any = None,
        labels: Sequence[str] | None = None,
    ):
        super().__init__()
        if not isinstance(explainer, Explainer):
            raise TypeError(
                f"ExplainCallback takes an explainer, such as SmoothGrad(model). Received: {type(explainer).__name__}"
            )
        check_count("every", every)
        if directory is None and writer is None:
            raise ValueError("ExplainCallback needs somewhere to put its maps: a directory, a writer, or both.")
        if writer is not None and not isinstance(writer, tf.summary.SummaryWriter):
            raise TypeError(
                "ExplainCallback takes a writer of tf.summary.create_file_writer(folder). "
                f"Received: {type(writer).__name__}"
            )
        if writer is not None and importlib.util.find_spec("tensorboard") is None:
            raise ModuleNotFoundError(
                "TensorFlow writes pictures with TensorBoard. Install it: pip install tensorboard"
            )
        self.explainer, self.inputs, self.target = explainer, inputs, target
        self.every, self.writer = every, writer
        self.directory = None if directory is None else Path(directory)
        self.images, self.labels = images, labels
        self._has_drawn = False

    def on_train_begin(self, logs: Any = None) -> None:
        if self.directory is not None:
            self.directory.mkdir(parents=True, exist_ok=True)
        # A subclassed model may be built by its first batch only.
        if self.explainer.model.built:
            self._draw()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if (epoch + 1) % self.every:
            return
        try:
            self._keep(*self._draw(), epoch)
        except Exception as error:
            if not self._has_drawn:
                raise
            warnings.warn(f"Epoch {epoch + 1} is not explained, and training goes on: {error}", stacklevel=2)

    def _draw(self) -> tuple[Explanation, Figure]:
        explained, trained = ({id(weight) for weight in model.weights} for model in (self.explainer.model, self.model))
        if explained and explained.isdisjoint(trained):
            raise ValueError(
                f"The explainer asks the model {self.explainer.model.name!r}, which shares no weight with the model "
                f"that is trained, {self.model.name!r}: its maps would never change. Explain the model that is trained."
            )
        explanation = self.explainer.explain(self.inputs, self.target)
        figure = explanation.plot(images=self.images, labels=self.labels)
        self._has_drawn = True
        return explanation, figure

    def _keep(self, explanation: Explanation, figure: Figure, epoch: int) -> None:
        if self.directory is not None:
            path = self.directory / f"epoch-{epoch + 1:04d}.png"
            write_png(figure, path)
            explanation.save(path.with_suffix(".npz"))
        if self.writer is not None:
            with self.writer.as_default(step=epoch):
                tf.summary.image(str(self.explainer), tf.io.decode_png(png(figure), channels=3)[None])
