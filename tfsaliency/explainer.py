import dataclasses
import time
from abc import ABC, abstractmethod
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfsaliency.baselines import Made
from tfsaliency.checks import check_built, check_converged, check_count, check_range, check_scores, check_values
from tfsaliency.chunks import run_in_chunks
from tfsaliency.compiled import compiled
from tfsaliency.explanation import Explanation
from tfsaliency.inputs import check_inputs
from tfsaliency.provenance import provenance
from tfsaliency.score import Score
from tfsaliency.state import state_of
from tfsaliency.target import as_target
from tfsaliency.transforms import Transform, check_transform, name_of


class Attribution(NamedTuple):
    """What a method returns: tensors of the graph that is being traced.

    Attributes:
        values: in the structure of the inputs, batch first.
        diagnostics: name -> ``(N,)`` numbers about each sample's values.
    """

    values: Any
    diagnostics: dict[str, tf.Tensor] = {}


class Explainer(ABC):
    """A model, or another explainer, with options; ``explain`` asks it.

    A subclass is a frozen dataclass whose first field is ``model`` or, for one that asks another explainer about a
    family of inputs, ``inner``. It writes `attribute` and nothing else.

    Example:
        >>> import keras, numpy as np, tfsaliency as tfs
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
        >>> explainer = tfs.SmoothGrad(tfs.Gradient(model), samples=10)
        >>> isinstance(explainer, tfs.Explainer), str(explainer)
        (True, 'SmoothGrad(Gradient, samples=10, noise=0.15, seed=0)')
    """

    model: keras.Model

    @abstractmethod
    def attribute(self, x: Any, score: Score) -> Attribution:
        """The method: pure TensorFlow code, traced once into the graph that ``explain`` runs.

        Args:
            x: float32 tensors in the structure of the model's inputs, ``(N, ...)``.
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
            inputs: what ``model(inputs)`` takes, batch first: an array, or a list or dict of arrays. Integers are
                explained where the model casts them to float.
            target: what is explained: None for the top class of each sample, a class index, one index per sample, a
                function of the logits (in the model's output structure, any number of rows) that returns ``(N,)``, or
                what `tfsaliency.target` makes. A one-unit sigmoid head has the classes 0 and 1.
            batch_size: how many rows go through the model at once, copies made by a method included. By default it is
                chosen for speed within its memory budget. It does not change the values.
            progress: draws a progress bar.

        Returns:
            The values in the structure of the inputs, with what is needed to see, save and compare them.

        Raises:
            ValueError: inputs, target or output do not fit; the message says what was received and what to do.
            MemoryError: one row alone does not fit into memory.

        Example:
            >>> import keras, numpy as np, tfsaliency as tfs
            >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4, "softmax")])
            >>> tfs.Gradient(model).explain(np.eye(3), target=[0, 3, 3])
            Explanation(Gradient, values=(3, 3), target=[0, 3, 3])
        """
        start = time.perf_counter()
        if batch_size is not None:
            check_count("batch_size", batch_size)
        check_built(self.model)
        batch = check_inputs(self.model, inputs)
        chosen = as_target(target)
        self._check_baselines(batch.given)
        index = chosen.given(batch.samples)
        function = compiled(self, chosen, batch, progress)
        check_range(index, function.units)
        if index is None:
            index = np.zeros(batch.samples, "int32")
        result = run_in_chunks(function, batch, index, batch_size, str(self) if progress else None)
        check_scores(result.scores, batch.samples)
        check_values(result.values)
        check_converged(result.diagnostics)
        return Explanation(
            values=result.values,
            inputs=batch.given,
            target=result.classes if chosen.chooses else None,
            scores=result.scores,
            method=str(self),
            diagnostics=result.diagnostics,
            explained=function.explained,
            provenance=provenance(self.model, chosen, time.perf_counter() - start) | function.notes,
        )

    def then(self, transform: Transform) -> "Then":
        """This method followed by a transform, inside whatever wraps it.

        ``SmoothGrad(Gradient(model).then(absolute))`` averages absolute gradients;
        ``SmoothGrad(model).then(absolute)`` takes the absolute value of the average.

        Args:
            transform: ``(values, inputs) -> values``, TensorFlow code on one part of the inputs;
                `tfsaliency.transforms` has the usual ones.

        Raises:
            TypeError: it is no function, or one that still waits for its options.

        Example:
            >>> import keras, tfsaliency as tfs
            >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
            >>> str(tfs.Gradient(model).then(tfs.transforms.absolute))
            'Gradient.then(absolute)'
        """
        return Then(self, transform)

    def key(self) -> Hashable:
        """Equal for explainers of one model that compute the same: they share a compiled function.

        Example:
            >>> import keras, tfsaliency as tfs
            >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
            >>> tfs.SmoothGrad(model).key() == tfs.SmoothGrad(tfs.Gradient(model), samples=50).key()
            True
        """
        options = (value for _, value in self._options())
        return type(self), *(value.key() if isinstance(value, Explainer) else state_of(value) for value in options)

    def _check_baselines(self, inputs: Any) -> None:
        for _, value in self._options():
            if isinstance(value, Explainer):
                value._check_baselines(inputs)
            elif isinstance(value, Made):
                value.check(inputs)

    def __post_init__(self) -> None:
        """Checks the model; an option is checked by the class that has it."""
        if not isinstance(self.model, keras.Model):
            raise TypeError(
                f"{type(self).__name__} explains a keras.Model. Received: {type(self.model).__name__}. "
                "A path or a URL goes through keras.saving.load_model first."
            )

    def __str__(self) -> str:
        """The method and its options, without the model: ``SmoothGrad(Gradient, samples=50, noise=0.15, seed=0)``."""
        options = [
            str(value) if isinstance(value, Explainer) else f"{name}={_text(value)}" for name, value in self._options()
        ]
        return f"{type(self).__name__}({', '.join(options)})" if options else type(self).__name__

    def _options(self) -> list[tuple[str, Any]]:
        fields = dataclasses.fields(self)  # type: ignore[arg-type]
        return [(field.name, getattr(self, field.name)) for field in fields if field.name != "model"]


@dataclass(frozen=True, eq=False)
class Wrapper(Explainer):
    """An explainer that asks another one, and works on the model of that one.

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


@dataclass(frozen=True, eq=False)
class Then(Wrapper):
    """An explainer followed by a transform; made by `Explainer.then`."""

    transform: Transform

    def attribute(self, x: Any, score: Score) -> Attribution:
        values, diagnostics = self.inner.attribute(x, score)
        return Attribution(tf.nest.map_structure(self.transform, values, x), diagnostics)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_transform(self.transform)

    def __str__(self) -> str:
        return f"{self.inner}.then({name_of(self.transform)})"


# Arrays of more numbers than this are told by their shape.
MOST_NUMBERS = 8


def _text(option: Any) -> str:
    """An option as it appears in the text of a method: short, however large the array or the layer."""
    if isinstance(option, keras.Layer):
        return repr(option.name)
    if isinstance(option, dict):
        return "{" + ", ".join(f"{name!r}: {_text(each)}" for name, each in option.items()) + "}"
    if isinstance(option, list | tuple):
        inside = ", ".join(map(_text, option))
        return f"[{inside}]" if isinstance(option, list) else f"({inside}{',' * (len(option) == 1)})"
    shape = getattr(option, "shape", None)
    if shape is not None and np.size(option) > MOST_NUMBERS:
        return f"array of shape {tuple(shape)}"
    return repr(option)
