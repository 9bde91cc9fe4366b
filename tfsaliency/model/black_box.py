"""A function of arrays that is asked in plain Python, outside of any graph."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

# What an object that cannot be called itself may answer by, the most telling first.
_METHODS = ("predict_proba", "decision_function", "predict")


class BlackBox:
    """Any function of arrays in the place of a model, for the methods that only ask: it has no gradient.

    The function runs in plain Python, never inside a TensorFlow graph: it may run TensorFlow itself, call
    ``model.predict``, another process or a service. What it raises comes out as it is.

    Args:
        function: takes inputs ``(N, ...)``, a float32 array or a list or dict of arrays as they were passed to
            ``explain`` (a list also as arguments of their own), with any ``N``, and returns ``(N, classes)`` numbers,
            an array, a tensor or a table: scikit-learn's ``predict_proba``, ``model.predict``, a ``tf.function``, a
            network of another framework.

    Raises:
        TypeError: it is no function of arrays, but a class, an estimator or a signature that takes keywords.

    Example:
        >>> import numpy as np, tfsaliency as tfs
        >>> model = tfs.BlackBox(lambda x: x.mean(axis=(1, 2)))
        >>> tfs.Occlusion(model, window=4, stride=4).explain(np.ones((1, 8, 8, 3)), target=0).values.shape
        (1, 8, 8, 1)
    """

    # What the engine asks of every model: this one needs no first call, and shows no weights.
    built = True
    weights = ()

    def __init__(self, function: Callable[[Any], Any]):
        _check_function(function)
        self.function = function

    @property
    def name(self) -> str:
        """The name of the function, or of its type."""
        return getattr(self.function, "__qualname__", None) or type(self.function).__name__

    def answer(self, inputs: Any) -> np.ndarray:
        """What the function says about some rows: ``(N, ...)`` float32.

        Args:
            inputs: tensors ``(N, ...)``, in the structure that the function takes.

        Raises:
            ValueError: it is not one row of numbers for each row.

        Example:
            >>> import tensorflow as tf, tfsaliency as tfs
            >>> tfs.BlackBox(lambda x: x.sum(axis=1, keepdims=True)).answer(tf.ones((2, 3)))
            array([[3.],
                   [3.]], dtype=float32)
        """
        rows = tf.nest.flatten(inputs)[0].shape[0]
        # A copy: the function may write to what it gets.
        given = tf.nest.map_structure(lambda part: part.numpy(), inputs)
        numbers = _numbers(self.function(*given) if takes_each(self.function, given) else self.function(given))
        if numbers.shape[:1] != (rows,):
            raise ValueError(
                f"The function returned numbers of shape {numbers.shape} for {rows} "
                f"{'row' if rows == 1 else 'rows'} of inputs. Return one row for each row of inputs: (N, classes)."
            )
        return numbers.astype("float32")


def answering_methods(explained: Any) -> list[str]:
    """The methods by which an object answers for arrays, as an estimator of scikit-learn does."""
    return [name for name in _METHODS if callable(getattr(explained, name, None))]


def takes_each(function: Any, inputs: Any) -> bool:
    """Whether a function takes each part of a list as an argument of its own: ``call(self, image, text)``."""
    return isinstance(inputs, list | tuple) and needed_arguments(function) == len(inputs) > 1


def needed_arguments(function: Any) -> int:
    """How many inputs a function needs, each as an argument of its own."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return 1
    places = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(each.kind in places and each.default is inspect.Parameter.empty for each in parameters)


def of_words(call: str, rank: int) -> str:
    """How a function of texts is asked about words, which are passed as their places in a list of words, in Python.

    Args:
        call: of the function, with ``{}`` in the place of the texts.
        rank: of the texts; 1 where each is a row of words, and more where it is a single one.
    """
    words = "words[i] for i in row"
    texts = f"' '.join({words})" if rank == 1 else f"[{words}]"
    asked = call.format(f"[{texts} for row in ids.astype(int)]")
    return (
        "Pass ids, the places of the words in a list, words = ['', 'film', ...], and look the words "
        f"up: tfs.Occlusion(lambda ids: {asked}, baseline=0).explain(ids)."
    )


def _check_function(function: Any) -> None:
    name = type(function).__name__
    if isinstance(function, type):
        raise TypeError(f"A function of arrays is explained. Received: the class {function.__name__}; pass an instance")
    if not callable(function):
        methods = answering_methods(function)
        advice = f". Pass the method that answers for arrays, such as model.{methods[0]}" if methods else ""
        raise TypeError(f"A function of arrays is explained. Received: {name}, which cannot be called{advice}")
    positions, keywords = getattr(function, "structured_input_signature", None) or ((), {})
    if keywords and not positions:
        asked = ", ".join(f'{key}=tf.constant(x["{key}"])' for key in keywords)
        asked = f"{next(iter(keywords))}=tf.constant(x)" if len(keywords) == 1 else asked
        outputs = getattr(function, "structured_outputs", None)
        part = f"[{next(iter(outputs))!r}]" if isinstance(outputs, Mapping) and outputs else ""
        raise TypeError(
            f"A function of arrays is explained. Received: a signature that takes the keywords {list(keywords)}. Name "
            f"them, and the output: lambda x: signature({asked}){part}"
        )


def _numbers(answer: Any) -> np.ndarray:
    """The answer of the user's function as an array of numbers."""
    received = f"The function answered with {type(answer).__name__}"
    if isinstance(answer, Mapping):
        raise ValueError(
            f"{received} with the keys {list(answer)}. Return one array (N, classes): lambda x: "
            f"function(x)[{next(iter(answer), None)!r}]"
        )
    try:
        numbers = np.asarray(answer)
    except Exception as error:
        raise ValueError(f"{received} that is not an array of numbers: {error} Return (N, classes).") from error
    if numbers.dtype.kind not in "fiub" and numbers.dtype != tf.bfloat16.as_numpy_dtype:
        raise ValueError(
            f"{received} of dtype {numbers.dtype} and shape {numbers.shape}. Return numbers, one row of the same "
            "length for each row of inputs: scores or probabilities (N, classes), and no names of classes."
        )
    return numbers
