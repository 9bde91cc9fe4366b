import dataclasses
import functools
import time
from abc import ABC, abstractmethod
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfsaliency.base.meaning import Meaning
from tfsaliency.base.options import FitsInputs
from tfsaliency.engine.ask import ask
from tfsaliency.engine.ledger import Accountable, check_sum
from tfsaliency.engine.provenance import provenance
from tfsaliency.engine.question import Attribution
from tfsaliency.engine.score import Score
from tfsaliency.engine.scorer import Scorer
from tfsaliency.explanation import Explanation, stacked
from tfsaliency.model.black_box import BlackBox
from tfsaliency.model.foreign import as_model
from tfsaliency.model.keys import key_of
from tfsaliency.model.layers import is_layer
from tfsaliency.target.base import Several
from tfsaliency.transforms import Transform, check_transform, meaning_after, name_of, times_input, transformed


class Method(ABC):
    """A model, or another explainer, with options: what every method has in common.

    A subclass is a frozen dataclass whose first field is ``model`` or ``inner``. All other fields are its options.
    """

    model: keras.Model

    # What is returned holds them.
    wants_scores = True

    @abstractmethod
    def attribute(self, x: Any, score: Score) -> Attribution:
        """The method: pure TensorFlow code, traced once into the graph that ``explain`` runs.

        Args:
            x: float32 tensors in the structure of the model's inputs, ``(N, ...)``. In the place of ids or texts it is
                what the model looks up for them, such as vectors ``(N, T, D)``.
            score: the function that is explained, ``score(x)`` -> ``(N,)``.

        Example:
            >>> import keras, tensorflow as tf, tfsaliency as tfs
            >>> class MeanGradient(tfs.Gradient):
            ...     def attribute(self, x, score):
            ...         values, diagnostics = super().attribute(x, score)
            ...         return tfs.Attribution(values, {"mean": tf.reduce_mean(values, axis=-1)})
            >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
            >>> MeanGradient(model).explain(tf.ones((4, 3))).diagnostics["mean"].shape
            (4,)
        """

    @property
    def meaning(self) -> Meaning:
        """What the values mean; see `Explanation`. By default they are signed."""
        return "signed"

    @property
    def gives_slopes(self) -> bool:
        """Whether values are slopes, of which a looked-up vector shows the length, and not contributions to add up."""
        return False

    @property
    def keeps_vectors(self) -> bool:
        """Whether the values stay those of looked-up vectors; see `Explainer.of_vectors`."""
        return False

    def key(self) -> Hashable:
        """A value that is equal for methods on one model that compute the same: they share a compiled function.

        Example:
            >>> import keras, tfsaliency as tfs
            >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
            >>> tfs.SmoothGrad(model).key() == tfs.SmoothGrad(tfs.Gradient(model), samples=50).key()
            True
        """
        options = [value for _, value in self._options()]
        inner = tuple(value.key() for value in options if isinstance(value, Method))
        return inner, key_of((type(self), *(None if isinstance(value, Method) else value for value in options)))

    def check_options(self, inputs: Any) -> None:
        """Raises where an option does not fit the inputs, NumPy arrays."""
        for _, value in self._options():
            if isinstance(value, Method):
                value.check_options(inputs)
            elif isinstance(value, FitsInputs):
                value.check(inputs)

    @property
    def is_of_one_batch(self) -> bool:
        """Whether an option holds something for each sample of a batch, and so fits no other one."""
        options = (value for _, value in self._options())
        return any(value.is_of_one_batch for value in options if isinstance(value, Method | FitsInputs))

    def __post_init__(self) -> None:
        """Takes anything that can be called as a model. An option is checked by the class that defines it."""
        if any(field.name == "model" for field in dataclasses.fields(self)):  # type: ignore[arg-type]
            object.__setattr__(self, "model", as_model(self.model))

    def __str__(self) -> str:
        """The method and its options, without the model: ``Occlusion(window=8, stride=4, baseline=None)``."""
        hidden = {each.name for each in dataclasses.fields(self) if not each.repr}  # type: ignore[arg-type]
        shown = ((name, value) for name, value in self._options() if name not in hidden)
        options = [str(value) if isinstance(value, Method) else f"{name}={text_of(value)}" for name, value in shown]
        return f"{type(self).__name__}({', '.join(options)})" if options else type(self).__name__

    def _options(self) -> list[tuple[str, Any]]:
        fields = dataclasses.fields(self)  # type: ignore[arg-type]
        return [(field.name, getattr(self, field.name)) for field in fields if field.name != "model"]


class Explainer(Method):
    """A model, or another explainer, with options; ``explain`` asks it.

    A subclass is a frozen dataclass whose first field is ``model`` or, for one that asks another explainer about a
    family of inputs, ``inner``. It writes `attribute`, and `meaning` where its values are not signed.

    Example:
        >>> import keras, numpy as np, tfsaliency as tfs
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
        >>> explainer = tfs.SmoothGrad(tfs.Gradient(model), samples=10)
        >>> isinstance(explainer, tfs.Explainer), str(explainer)
        (True, 'SmoothGrad(Gradient, samples=10, noise=0.15, seed=0, tolerance=None, budget=1000)')
    """

    def explain(
        self,
        inputs: Any,
        target: Any = None,
        *,
        batch_size: int | None = None,
        progress: bool = False,
    ) -> Explanation:
        """Explains a batch.

        Args:
            inputs: what ``model(inputs)`` takes, batch first: an array, or a list or dict of arrays, of numbers, ids
                or texts. Ids, categories and texts are explained by what the model looks up for them.
            target: what is explained: None for the top class of each sample, a class index, one index per sample, a
                function of the logits (in the model's output structure, any number of rows) that returns ``(N,)``, or
                what `tfsaliency.target` makes. A one-unit sigmoid head has the classes 0 and 1. For a language model
                None is the last position's top token against the runner-up.
            batch_size: how many rows go through the model at once, copies made by a method included. By default it is
                chosen for speed within a memory budget. It does not change the values.
            progress: draws a progress bar.

        Returns:
            The values in the structure of the inputs, with what is needed to see, save and compare them.

        Raises:
            ValueError: inputs, target or output do not fit; the message says what was received and what to do.
            MemoryError: one row alone does not fit into memory.
            RuntimeError: it is called where TensorFlow only traces (within a ``tf.function`` or ``Dataset.map``), or in
                a fork of a process in which TensorFlow ran.

        Example:
            >>> import keras, numpy as np, tfsaliency as tfs
            >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4, "softmax")])
            >>> tfs.Gradient(model).explain(np.eye(3), target=[0, 3, 3])
            Explanation(Gradient, values=(3, 3), target=[0, 3, 3])
        """
        if isinstance(target, Several):
            each = [self.explain(inputs, one, batch_size=batch_size, progress=progress) for one in target.targets]
            return stacked(each, str(target))
        start = time.perf_counter()
        answer = ask(self, inputs, target, batch_size=batch_size, progress=progress)
        innermost = self._innermost()
        if isinstance(innermost, Accountable):
            # What a wrapper makes of values that miss their sum does not show that they do.
            direct = answer if innermost is self else ask(innermost, inputs, target, batch_size=batch_size)
            check_sum(innermost, direct)
        seconds = time.perf_counter() - start
        values, given, notes = answer.result.values, answer.batch.given, answer.notes
        if self.keeps_vectors:
            values, given = values["values"], values["vectors"]
            # Vectors are numbers.
            notes.pop("ids", None)
        # Of an id the length of its vector of slopes is told.
        is_length = [self.gives_slopes and kind.is_of_ids for kind in answer.function.kinds]
        meanings = ["magnitude" if of_length else self.meaning for of_length in is_length]
        return Explanation(
            values=values,
            inputs=given,
            target=answer.classes,
            scores=answer.result.scores,
            method=str(self),
            meaning=meanings,
            diagnostics=answer.diagnostics,
            explained=answer.function.explained,
            provenance=provenance(self.model, answer.target, seconds) | notes,
            tokens=answer.tokens,
        )

    def _innermost(self) -> "Explainer":
        return self.inner._innermost() if isinstance(self, Wrapper) else self

    def scores(self, inputs: Any, target: Any = None, *, batch_size: int | None = None) -> np.ndarray:
        """The numbers that `explain` explains, without explaining them: ``(N,)`` float32.

        Args:
            inputs: what ``model(inputs)`` takes, batch first.
            target: what is scored; see `explain`.
            batch_size: how many rows go through the model at once.

        Raises:
            ValueError: inputs, target or output do not fit.
            MemoryError: one row alone does not fit into memory.

        Example:
            >>> import keras, numpy as np, tfsaliency as tfs
            >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, use_bias=False)])
            >>> model.set_weights([np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])])
            >>> tfs.Gradient(model).scores(np.eye(3), target=1)
            array([2., 4., 6.], dtype=float32)
        """
        if isinstance(target, Several):
            return np.stack([self.scores(inputs, each, batch_size=batch_size) for each in target.targets], axis=1)
        return Scorer(self.model).scores(inputs, target, batch_size=batch_size)

    def then(self, transform: Transform) -> "Then":
        """This method followed by a transform, inside whatever wraps it.

        ``SmoothGrad(Gradient(model).then(absolute))`` averages absolute gradients;
        ``SmoothGrad(model).then(absolute)`` takes the absolute value of the average.

        Args:
            transform: ``(values, inputs) -> values``, TensorFlow code on one part of the inputs;
                `tfsaliency.transforms` has the usual ones.

        Raises:
            TypeError: it is no function, or one that still needs its options.

        Example:
            >>> import keras, tfsaliency as tfs
            >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
            >>> str(tfs.Gradient(model).then(tfs.transforms.absolute))
            'Gradient.then(absolute)'
        """
        return Then(self, transform)

    def of_vectors(self) -> "OfVectors":
        """This method without the last step for ids and texts: the values of the vectors that the model looks up.

        `explain` tells them of the ids: it sums the values of each vector, or takes the norm of a gradient. Here they
        stay as they are, ``(N, T, D)``, and the explanation's ``inputs`` are the vectors. For inputs that are numbers
        nothing changes.

        Raises:
            ValueError: it explains a black box, which shows no vectors.

        Example:
            >>> import keras, numpy as np, tfsaliency as tfs
            >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Embedding(9, 4), keras.layers.Flatten()])
            >>> model.add(keras.layers.Dense(2))
            >>> explanation = tfs.Gradient(model).of_vectors().explain(np.array([[1, 2, 3]]))
            >>> explanation.values.shape, explanation.inputs.shape
            ((1, 3, 4), (1, 3, 4))
        """
        return OfVectors(self)


@dataclass(frozen=True, eq=False)
class Wrapper(Explainer):
    """An explainer that asks another one, about the model of that one.

    Args:
        inner: the explainer that is asked.

    Example:
        >>> import keras, tfsaliency as tfs
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
        >>> smooth = tfs.SmoothGrad(tfs.GuidedBackprop(model))
        >>> isinstance(smooth, tfs.Wrapper), smooth.model is model
        (True, True)
    """

    inner: Explainer

    @property
    def model(self) -> keras.Model:
        """The model of the innermost explainer."""
        return self.inner.model

    @property
    def meaning(self) -> Meaning:
        return self.inner.meaning

    @property
    def gives_slopes(self) -> bool:
        return self.inner.gives_slopes

    @property
    def keeps_vectors(self) -> bool:
        return self.inner.keeps_vectors


@dataclass(frozen=True, eq=False)
class Then(Wrapper):
    """An explainer followed by a transform; made by `Explainer.then`."""

    transform: Transform

    def attribute(self, x: Any, score: Score) -> Attribution:
        values, diagnostics = self.inner.attribute(x, score)
        transform = functools.partial(transformed, self.transform)
        return Attribution(tf.nest.map_structure(transform, values, x), diagnostics)

    @property
    def meaning(self) -> Meaning:
        return meaning_after(self.transform, self.inner.meaning)

    @property
    def gives_slopes(self) -> bool:
        # A slope times its number is a contribution.
        return self.inner.gives_slopes and self.transform is not times_input

    def __post_init__(self) -> None:
        super().__post_init__()
        check_transform(self.transform)

    def __str__(self) -> str:
        return f"{self.inner}.then({name_of(self.transform)})"


@dataclass(frozen=True, eq=False)
class OfVectors(Wrapper):
    """An explainer whose values stay those of looked-up vectors; made by `Explainer.of_vectors`."""

    def attribute(self, x: Any, score: Score) -> Attribution:
        return self.inner.attribute(x, score)

    @property
    def gives_slopes(self) -> bool:
        # No norm is taken of them.
        return False

    @property
    def keeps_vectors(self) -> bool:
        return True

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.model, BlackBox):
            raise ValueError("A black box shows no vectors. Explain a Keras model, or leave out of_vectors().")

    def __str__(self) -> str:
        return f"{self.inner}.of_vectors()"


# Larger arrays appear in the text of a method by their shape.
MOST_NUMBERS = 8


def text_of(option: Any) -> str:
    """An option as it appears in the text of a method: short, however large the array or the layer."""
    if is_layer(option):
        return repr(option.name)
    if isinstance(option, dict):
        return "{" + ", ".join(f"{text_of(name)}: {text_of(each)}" for name, each in option.items()) + "}"
    if isinstance(option, list | tuple):
        inside = ", ".join(map(text_of, option))
        return f"[{inside}]" if isinstance(option, list) else f"({inside}{',' * (len(option) == 1)})"
    shape = getattr(option, "shape", None)
    if shape is not None and np.size(option) > MOST_NUMBERS:
        return f"array of shape {tuple(shape)}"
    return repr(option)
