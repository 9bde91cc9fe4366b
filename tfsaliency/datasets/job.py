"""An explainer as a recipe, for processes on other machines."""

import hashlib
import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras

from tfsaliency.base.options import check_known
from tfsaliency.explainer import Explainer
from tfsaliency.methods import METHODS


@dataclass(frozen=True)
class Job:
    """How to make an explainer in another process: of a model file, or by a function.

    A model travels as a path and its SHA-256, and is loaded in Keras' safe mode. It is never pickled: Keras loads a
    pickled model with safe mode off, which runs what is in it.

    Args:
        model: the path of a ``.keras`` file that every worker can read; None with a factory.
        method: the name of a method, as ``tfsaliency methods`` lists it.
        options: of the method.
        sha256: of the model file; `of_file` fills it in.
        factory: in the place of a file ``"module:function"``, a function that returns an explainer, for models that no
            file holds.

    Raises:
        ValueError: there is neither a file with its SHA-256 nor a factory, or both, or no such method.

    Example:
        >>> import keras, tempfile, tfsaliency as tfs
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]).save(f"{folder}/model.keras")
        ...     job = tfs.datasets.Job.of_file(f"{folder}/model.keras", "smoothgrad", samples=10)
        ...     str(job.explainer())
        'SmoothGrad(Gradient, samples=10, noise=0.15, seed=0, tolerance=None, budget=1000)'
    """

    model: str | None = None
    method: str = "gradient"
    options: Mapping[str, Any] = field(default_factory=dict)
    sha256: str | None = None
    factory: str | None = None

    def __post_init__(self) -> None:
        if (self.model is None) == (self.factory is None) or (self.model is None) != (self.sha256 is None):
            raise ValueError(
                "A job has the path of a model and its SHA-256, as Job.of_file makes it, or a factory "
                f"'module:function'. Received: {self}"
            )
        check_known("method", self.method, METHODS)

    @classmethod
    def of_file(cls, model: str, method: str = "gradient", **options: Any) -> "Job":
        """The job of a method with options and a model file, whose SHA-256 is computed.

        Args:
            model: the path of the file.
            method: the name of the method.
            **options: of the method.

        Raises:
            FileNotFoundError: there is no such file.

        Example:
            >>> import tfsaliency as tfs
            >>> tfs.datasets.Job.of_file("no.keras")
            Traceback (most recent call last):
            FileNotFoundError: [Errno 2] No such file or directory: 'no.keras'
        """
        return cls(str(model), method, options, _sha256(model))

    def explainer(self) -> Explainer:
        """Makes the explainer.

        Raises:
            ValueError: the file is another one than the job was made with, or the factory makes no explainer.

        Example:
            >>> import tfsaliency as tfs
            >>> tfs.datasets.Job(factory="keras:Sequential").explainer()
            Traceback (most recent call last):
            ValueError: The factory 'keras:Sequential' makes no explainer. Received: Sequential
        """
        if self.factory is not None:
            module, _, function = self.factory.partition(":")
            made = getattr(importlib.import_module(module), function)()
            if not isinstance(made, Explainer):
                raise ValueError(f"The factory {self.factory!r} makes no explainer. Received: {type(made).__name__}")
            return made
        assert self.model is not None
        if (found := _sha256(self.model)) != self.sha256:
            raise ValueError(
                f"{self.model} has changed since the job was made, or is another file on this machine: its SHA-256 is "
                f"{found} and not {self.sha256}. Make the job again: Job.of_file({self.model!r})"
            )
        model = keras.saving.load_model(self.model, compile=False, safe_mode=True)
        explainer: Explainer = METHODS[self.method](model, **self.options)  # type: ignore[call-arg]
        return explainer


def _sha256(path: str) -> str:
    with open(Path(path), "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
