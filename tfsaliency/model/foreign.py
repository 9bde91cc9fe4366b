"""What is no Keras 3 model and can be called with tensors all the same, in the place of one."""

import dataclasses
import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfsaliency.model.black_box import BlackBox, answering_methods, needed_arguments
from tfsaliency.model.layers import is_layer

# What ``tf.function`` makes, and what is traced from it.
FUNCTION, TRACED = tf.types.experimental.PolymorphicFunction, tf.types.experimental.ConcreteFunction


@dataclass(frozen=True, eq=False)
class ForeignModel:
    """A function of tensors with what is known about it, made by `as_model`.

    Attributes:
        name: of the model, in provenance and messages.
        function: takes float tensors with the batch first, and returns tensors.
        source: what the user gave: it holds the variables.
        declared: ``tf.TensorSpec`` in the structure of the inputs; None where nothing declares them.
        takes_each: whether the function takes each of several inputs as an argument of its own, by name where they are
            a dict; if not, it takes them as one list or dict.
    """

    name: str
    function: Callable[..., Any]
    source: Any
    declared: Any = None
    takes_each: bool = False

    def __call__(self, x: Any, training: bool = False) -> Any:
        """What the function says about inputs, in inference mode."""
        x = x if self.declared is None else tf.nest.map_structure(_as_declared, self.declared, x)
        try:
            if not self.takes_each:
                return _alone(self.function(x))
            return _alone(self.function(**x) if isinstance(x, Mapping) else self.function(*tf.nest.flatten(x)))
        except Exception as error:
            raise TypeError(
                f"{error} If {self.name} computes outside of TensorFlow it has no gradient: ask it with Occlusion or "
                "RISE."
            ) from error

    @property
    def built(self) -> bool:
        """Whether it has its weights."""
        return bool(getattr(self.source, "built", True))

    @property
    def weights(self) -> list[Any]:
        """The variables that it holds, or that the function finds in its closure."""
        return list({id(each): each for each in _variables(self.source)}.values())


def as_model(model: Any, inputs: Any = None) -> Any:
    """What explainers explain: a model, or anything that can be called with tensors, in the place of one.

    Every explainer calls this on its first argument. Call it yourself to say which inputs a function takes, or to let
    several explainers share what is traced of it.

    Args:
        model: one of

            - a Keras 3 model: returned as it is, as is a `BlackBox`;
            - a ``tf_keras`` model, or a layer of either Keras;
            - what ``tf.saved_model.load`` returns: its serving signature is explained, or another one,
              ``(loaded, "name")``;
            - a ``tf.Module``, a ``tf.function``, or what ``get_concrete_function`` returns;
            - a function of tensors ``(N, ...)`` that returns ``(N, classes)``. Several inputs come as a list or dict,
              or each as an argument of its own if it has several.
        inputs: ``tf.TensorSpec`` in the structure of the inputs, with the batch first. By default those that the model
            declares; where it declares none, any inputs are passed on, as float32.

    Returns:
        The model, or an object that explainers take in its place.

    Raises:
        TypeError: it cannot be called, or nothing says which of its functions is meant.
        ValueError: the model declares its inputs itself.

    Example:
        >>> import tensorflow as tf, tfsaliency as tfs
        >>> model = tfs.as_model(lambda x: tf.nn.softmax(x @ tf.constant([[1.0, 0.0], [2.0, 1.0]])))
        >>> tfs.Gradient(model).explain(tf.ones((1, 2)), target=0).values
        array([[1., 2.]], dtype=float32)
    """
    if isinstance(model, keras.Model | BlackBox | ForeignModel):
        if inputs is not None:
            raise ValueError(f"{type(model).__name__} {model.name!r} declares its inputs itself: leave inputs out.")
        return model
    _check_is_no_predict(model)
    found = _foreign(model)
    return found if inputs is None else dataclasses.replace(found, declared=inputs)


def as_black_box(explained: Any) -> Any:
    """A model that is known as such, or else what answers for arrays as a black box; what is neither, as it is."""
    if isinstance(explained, keras.Model | BlackBox | ForeignModel) or _is_of_tensorflow(explained):
        return explained
    return BlackBox(explained) if callable(explained) or answering_methods(explained) else explained


def _check_is_no_predict(function: Any) -> None:
    owner: Any = getattr(function, "__self__", None)
    if is_layer(owner) and function.__name__ in ("predict", "predict_on_batch"):
        raise TypeError(
            f"{function.__name__} answers with NumPy arrays, which have no gradient. Explain the model "
            f"{owner.name!r} itself; Occlusion and RISE take both."
        )


def _is_of_tensorflow(explained: Any) -> bool:
    # A layer alone may be as new, or compute outside of TensorFlow, and be asked all the same.
    is_model = is_layer(explained) and hasattr(explained, "predict")
    is_loaded = isinstance(explained, tuple) or _is_loaded(explained)
    return is_loaded or is_model or isinstance(explained, tf.Module | TRACED | FUNCTION | keras.layers.TFSMLayer)


def _is_loaded(explained: Any) -> bool:
    """Whether something is what ``tf.saved_model.load`` returns."""
    return isinstance(getattr(explained, "signatures", None), Mapping)


def _foreign(model: Any) -> ForeignModel:
    if isinstance(model, tuple):
        return _signature_of(*_pair(model))
    if is_layer(model):
        return _of_layer(model)
    if _is_loaded(model):
        return _serving(model)
    if isinstance(model, type) or not callable(model):
        raise TypeError(_cannot_be_called(model))
    if isinstance(model, tf.Module):
        return dataclasses.replace(_foreign(model.__call__), name=type(model).__name__, source=model)
    if isinstance(model, TRACED):
        return _of_signature(_name(model), model, *model.structured_input_signature)
    signature = getattr(model, "input_signature", None)
    if signature is not None:
        return _of_signature(_name(model), model, signature, {})
    return ForeignModel(_name(model), model, model, takes_each=needed_arguments(model) > 1)


def _of_layer(layer: Any) -> ForeignModel:
    if isinstance(layer, keras.layers.TFSMLayer):
        # The function that it calls declares its inputs.
        return dataclasses.replace(_foreign(layer.call_endpoint_fn), name=layer.name, source=layer)
    return ForeignModel(layer.name, functools.partial(layer, training=False), layer, _declared(layer))


def _pair(model: tuple[Any, ...]) -> tuple[Any, str]:
    if len(model) == 2 and _is_loaded(model[0]) and isinstance(model[1], str):
        return model
    raise TypeError(
        "A pair is what tf.saved_model.load returned and the name of a signature. Received: "
        f"{tuple(type(each).__name__ for each in model)}"
    )


def _serving(loaded: Any) -> ForeignModel:
    names = list(loaded.signatures)
    if "serving_default" in names or len(names) == 1:
        return _signature_of(loaded, "serving_default" if "serving_default" in names else names[0])
    if not names and callable(loaded):
        # A restored function does not keep its variables alive.
        return dataclasses.replace(_foreign(loaded.__call__), function=lambda *x: loaded(*x))
    raise TypeError(
        f"The SavedModel has the signatures {names} and no serving_default among them. Say which: (loaded, "
        f"{(names or ['name'])[0]!r}), or pass one of its functions: {_functions(loaded)}"
    )


def _signature_of(loaded: Any, name: str) -> ForeignModel:
    if name not in loaded.signatures:
        raise TypeError(f"The SavedModel has no signature {name!r}. It has {list(loaded.signatures)}")
    signature = loaded.signatures[name]
    found = _of_signature(name, signature, *signature.structured_input_signature)
    # Nor does a signature.
    return dataclasses.replace(found, source=loaded)


def _of_signature(called: str, function: Any, positions: tuple[Any, ...], keywords: Mapping[str, Any]) -> ForeignModel:
    if keywords and not positions:
        (name, *others) = keywords
        if others:
            return ForeignModel(called, function, function, dict(keywords), takes_each=True)
        return ForeignModel(called, lambda x: function(**{name: x}), function, keywords[name])
    if len(positions) == 1 and not keywords:
        return ForeignModel(called, function, function, positions[0])
    if not keywords and all(isinstance(each, tf.TensorSpec) for each in positions):
        return ForeignModel(called, function, function, list(positions), takes_each=True)
    raise TypeError(
        f"The signature takes {positions} and {dict(keywords)}: more than inputs. Explain a function of the inputs "
        "alone: lambda x: function(x, ...)"
    )


def _declared(layer: Any) -> Any:
    """The inputs of a tf_keras model; None for a layer and for a model that declares none."""
    try:
        declared = layer.input
    except (AttributeError, ValueError, RuntimeError):
        return None
    if isinstance(declared, list) and len(declared) == 1:
        declared = declared[0]
    return tf.nest.map_structure(lambda each: tf.TensorSpec(each.shape, each.dtype, each.name), declared)


def _as_declared(spec: tf.TensorSpec, part: Any) -> tf.Tensor:
    return tf.cast(part, spec.dtype)


def _alone(answer: Any) -> Any:
    """The only output of a signature without its name."""
    return next(iter(answer.values())) if isinstance(answer, dict) and len(answer) == 1 else answer


def _name(function: Any) -> str:
    return getattr(function, "__qualname__", None) or getattr(function, "__name__", None) or type(function).__name__


def _variables(source: Any) -> list[Any]:
    """The variables of an object, or of what a function is bound to and reads from outside."""
    if isinstance(source, tf.Variable | keras.Variable):
        return [source]
    if is_layer(source):
        return list(source.weights)
    if _is_loaded(source):
        return [each for signature in source.signatures.values() for each in signature.variables]
    held = getattr(source, "variables", None)
    if isinstance(held, list | tuple):
        return list(held)
    traced = getattr(source, "concrete_functions", None)
    if traced:
        return list(traced[0].variables)
    function = getattr(source, "python_function", source)
    parts = [getattr(function, name, None) for name in ("__self__", "__wrapped__", "func")]
    if inspect.isfunction(function):
        read = inspect.getclosurevars(function)
        parts += [*read.nonlocals.values(), *read.globals.values()]
    # One step: the functions that a function calls are not read.
    return [each for part in parts if _holds(part) for each in _variables(part)]


def _holds(part: Any) -> bool:
    return is_layer(part) or isinstance(part, tf.Module | tf.Variable | keras.Variable) or _is_loaded(part)


def _functions(model: Any) -> list[str]:
    names = (name for name in dir(model) if not name.startswith("__"))
    return [name for name in names if isinstance(_attribute(model, name), FUNCTION)]


def _attribute(model: Any, name: str) -> Any:
    try:
        return getattr(model, name)
    except Exception:
        return None


def _cannot_be_called(model: Any) -> str:
    received = f"Received: {type(model).__name__}"
    if isinstance(model, type):
        return f"A model is explained. Received: the class {model.__name__}; pass an instance."
    if isinstance(model, str) or hasattr(model, "__fspath__"):
        load = "keras.saving.load_model or tf.saved_model.load"
        return f"A model is explained. {received}. A path goes through {load} first."
    if isinstance(model, np.ndarray | tf.Tensor):
        return f"A model is explained. {received}: the inputs go to explain."
    if functions := _functions(model):
        return f"A model is explained. {received}, which cannot be called. Pass one of its functions: {functions}"
    return (
        f"A model is explained, or anything that can be called with tensors. {received}, which cannot be called. What "
        "answers for arrays, as an estimator of scikit-learn does, is asked with Occlusion or RISE."
    )
