"""What can be wrong with a model, a target and a result, said in words."""

import warnings
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfsaliency.engine.inputs import LARGEST_WHOLE, Inputs, check_whole
from tfsaliency.engine.question import SUM_GAPS
from tfsaliency.model.black_box import BlackBox
from tfsaliency.model.call import call
from tfsaliency.model.traced import TracedModel

# A share of the sizes of the values above this is more than rounding.
LEFT_OUT = 1e-3


def check_built(model: keras.Model | BlackBox) -> None:
    """Raises where the model cannot be explained yet."""
    if keras.backend.backend() != "tensorflow":
        raise RuntimeError(
            f"tfsaliency works on the TensorFlow backend. Received: the {keras.backend.backend()} backend. "
            "Set the environment variable KERAS_BACKEND=tensorflow before keras is imported."
        )
    if isinstance(model, keras.Model) and type(model).call in (keras.Model.call, keras.Layer.call):
        raise ValueError(
            f"The class {type(model).__name__} of the model has no method call: write call(self, inputs), which "
            "returns what the model says. A train_step alone answers nothing."
        )
    if not model.built:
        raise ValueError(f"The model {model.name!r} is not built yet. Call it once on a batch, or load its weights.")


def check_types(model: keras.Model, traced: TracedModel, inputs: Inputs, specs: Any) -> None:
    """Raises where the model answers differently to integers that were passed and to the same numbers as floats.

    Integers that are numbers are explained as floats. A model that scales by the type of its input, as
    ``tf.image.convert_image_dtype`` does, is another function of floats.
    """
    if _are_numbers(specs):
        _check_integers(inputs, *_answers(model, traced), "The model")


def check_digits(model: keras.Model, traced: TracedModel, inputs: Inputs, specs: Any) -> None:
    """Raises where the model answers differently to the numbers of a batch and to what float32 holds of them."""
    check_whole(inputs, specs)
    if _are_numbers(specs):
        _check_float64(inputs, *_answers(model, traced), "The model")


def _are_numbers(specs: Any) -> bool:
    return all(spec.dtype in (tf.float32, tf.string) for spec in tf.nest.flatten(specs))


def _answers(model: keras.Model, traced: TracedModel) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    """What a model says to floats, and to numbers as they were passed."""

    def answer(ask: Callable[[Any], Any], given: Any) -> list[np.ndarray]:
        with traced.state_put_back():
            return [np.asarray(part) for part in tf.nest.flatten(ask(given))]

    return (
        lambda given: answer(lambda x: call(model, x), given),
        lambda given: answer(lambda x: model(x, training=False), given),
    )


def check_numbers_of_function(box: BlackBox, inputs: Inputs) -> None:
    """Raises where a function answers differently to the numbers that were passed and to the same ones in float32."""

    def answer(given: Any) -> list[np.ndarray]:
        return [box.answer(given)]

    check_whole(inputs, inputs.as_numbers)
    _check_integers(inputs, answer, answer, "The function")
    _check_float64(inputs, answer, answer, "The function")


def _check_integers(
    inputs: Inputs, of_floats: Callable[[Any], Any], of_integers: Callable[[Any], Any], name: str
) -> None:
    if all(part.dtype.kind in "fU" for part in tf.nest.flatten(inputs.given)):
        return
    try:
        reads_type = _reads_type(inputs, of_floats, of_integers)
    except tf.errors.InvalidArgumentError as error:
        raise ValueError(
            f"{name} takes these integers, and not the same numbers as floats, so they are ids or places. Explain "
            "tfsaliency.as_model(function), which keeps them integers, or for code that is not TensorFlow's "
            "lambda x: function(x.astype('int32'))."
        ) from error
    if reads_type:
        raise ValueError(
            f"{name} answers differently to these integers and to the same numbers as floats, so it reads their "
            "type (tf.image.convert_image_dtype does). Pass floats as it is to see them."
        )


def _check_float64(inputs: Inputs, of_floats: Callable[[Any], Any], of_passed: Callable[[Any], Any], name: str) -> None:
    parts = [part for part in tf.nest.flatten(inputs.given) if part.dtype == np.float64]
    largest = max((max(-part.min(), part.max()) for part in parts), default=0)
    if largest > LARGEST_WHOLE and _reads_type(inputs, of_floats, of_passed):
        raise ValueError(
            f"{name} answers differently to these numbers in float64 and in float32, in which inputs are explained: it "
            f"holds whole numbers exactly up to {LARGEST_WHOLE:,}. Received: numbers up to {largest:,.0f}. Subtract "
            "what they have in common, and explain a function that adds it again: "
            "tfsaliency.as_model(lambda x: model(tf.cast(x, 'float64') + shift)) for x - shift, or for code that is "
            "not TensorFlow's lambda x: function(x.astype('float64') + shift)."
        )


def _reads_type(inputs: Inputs, of_floats: Callable[[Any], Any], of_passed: Callable[[Any], Any]) -> bool:
    """Whether the answer to some rows is another one in float32, and not by chance: the same each time it is asked."""
    rows = tf.nest.map_structure(lambda part: tf.convert_to_tensor(_telling_rows(part)), inputs.given)
    try:
        passed = of_passed(rows)
    except Exception:
        # It takes no numbers of their types at all, only their floats.
        return False
    floats = of_floats(tf.nest.map_structure(_as_float32, rows))
    return not _agree(passed, floats) and _agree(passed, of_passed(rows))


def _as_float32(part: tf.Tensor) -> tf.Tensor:
    return part if part.dtype == tf.string else tf.cast(part, tf.float32)


def _telling_rows(part: np.ndarray) -> np.ndarray:
    """The first row, the row of the widest range, and a drawn one: a black picture is the same in every type."""
    if part.dtype.kind == "U":
        return part[[0, len(part) // 2, -1]]
    flat = part.reshape(len(part), -1)
    widest = np.argmax(flat.max(axis=1).astype("float64") - flat.min(axis=1))
    numbers = np.arange(256, dtype=part.dtype) if part.dtype == np.uint8 else flat[:100].reshape(-1)
    drawn = np.random.default_rng(0).choice(numbers, size=(1, *part.shape[1:]))
    return np.concatenate([part[:1], part[widest : widest + 1], drawn.astype(part.dtype)])


def _agree(first: list[np.ndarray], second: list[np.ndarray]) -> bool:
    return all(np.allclose(one, other, rtol=1e-2, atol=1e-3) for one, other in zip(first, second, strict=True))


def check_scores(scores: np.ndarray, samples: int) -> None:
    """Raises where a function of the logits did not score each sample."""
    if len(scores) != samples:
        raise ValueError(
            f"The target function returned {len(scores)} scores for {samples} samples. Return one score per sample."
        )


def check_finite(scores: np.ndarray) -> None:
    """Raises where a score is no number."""
    lost = np.flatnonzero(~np.isfinite(scores))
    if lost.size:
        raise ValueError(
            f"The scores of the samples {lost[:5].tolist()} are not finite: {scores[lost[:5]].tolist()}. The model or "
            "the target divides by zero, takes the logarithm of zero, or overflows. Check the model's output on these "
            "samples."
        )


# How many times more than the error of a map its sum misses, where the model jumps between two gradients.
OF_A_JUMP = 10


def check_converged(diagnostics: dict[str, np.ndarray], values: Any) -> None:
    """Warns where a method reports in ``diagnostics["converged"]`` that it has not converged."""
    open_ = np.flatnonzero(~np.asarray(diagnostics.get("converged", []), bool))
    if not open_.size:
        return
    which = f"for the samples {open_[:5].tolist()}"
    if "relative_error" not in diagnostics:
        warnings.warn(f"The method reports that its values have not converged {which}.", stacklevel=4)
        return
    errors, is_sum = diagnostics["relative_error"][open_], "completeness_gap" in diagnostics
    gaps = np.abs(diagnostics["completeness_gap"][open_]) if is_sum else np.zeros(len(open_))
    sizes = sum(np.abs(part[open_]).reshape(len(open_), -1).sum(axis=1) for part in tf.nest.flatten(values))
    worst = errors.max()
    off = f"{worst:.1%}" if worst < 1 else "100% or more"
    if (gaps > OF_A_JUMP * errors * sizes).all():
        message = (
            f"The values miss the change of the score {which} by up to {gaps.max():.3g} (completeness_gap), which "
            f"the estimate of their error does not show ({off}, relative_error): the model jumps on the way from the "
            "baseline, as at a mask, a choice, a rounding, or where it divides by almost nothing; or it changes within "
            "a short part of the way, which a smaller tolerance finds, many even steps (steps=100), or a smaller sigma "
            "where the way is a blur. Another baseline may be without: baseline=0.1 where the model masks zeros or "
            "normalizes them, and for ids baseline=None or an id."
        )
    else:
        message = f"The map has not converged {which}: it is off by an estimated {off} (relative_error)"
        message += (
            ", or misses the change of the score by more (completeness_gap). Take more steps, a larger tolerance, or "
            "where steps_used reaches the budget a larger one; where the model normalizes zeros, another baseline: "
            "baseline=0.1, and for ids baseline=None or an id."
            if is_sum and "samples_used" not in diagnostics
            else ". Allow a larger budget or a larger tolerance."
        )
    warnings.warn(message, stacklevel=4)


def check_gaps(diagnostics: dict[str, np.ndarray], scores: np.ndarray) -> None:
    """Raises where values are to sum to a score, or to its change, that is not finite."""
    for gap in (diagnostics[name] for name in SUM_GAPS if name in diagnostics):
        lost = np.flatnonzero(~np.isfinite(gap))
        if lost.size:
            at_baseline = np.isfinite(scores[lost]).all()
            why = "At the baseline the model divides by zero or almost" if at_baseline else "The model divides by zero"
            raise ValueError(
                f"The values of the samples {lost[:5].tolist()} have no finite sum. {why}, takes the logarithm of it, "
                "or overflows. Take another baseline, such as baseline=0.1, or for several inputs one for each, such "
                "as baseline={'ids': 0, 'mask': 1.0}; or keep the model from it, as tf.math.divide_no_nan does."
            )


def check_left_out(diagnostics: dict[str, np.ndarray], values: Any) -> None:
    """Warns where a share of the score belongs to nothing that was passed."""
    if "left_out" not in diagnostics:
        return
    left_out = np.abs(diagnostics["left_out"])
    sizes = sum(np.abs(part).reshape(len(part), -1).sum(axis=1) for part in tf.nest.flatten(values))
    missed = np.flatnonzero(left_out > LEFT_OUT * (sizes + left_out))
    if missed.size:
        worst = int(missed[np.argmax(left_out[missed])])
        warnings.warn(
            f"The values of the samples {missed[:5].tolist()} leave out up to {left_out[worst]:.3g} "
            "(diagnostics['left_out']): it belongs to padding, or to words or categories that the sample does not have "
            "and the baseline does. The default baseline has none. Of the rules of LRP, 'flat' and 'w_square' give to "
            "all words of a vocabulary, and 'epsilon' to those of the text.",
            stacklevel=4,
        )


def check_values(values: Any) -> None:
    """Raises where values are not finite, warns where they are zero everywhere."""
    # A part may have no places, such as the masks that a sample comes without.
    parts = [part.reshape(len(part), -1) for part in tf.nest.flatten(values) if part.size]
    if not parts:
        return
    # The extremes show everything in two passes without a copy: NaN and infinity are extremes too.
    low = np.min([part.min(axis=1) for part in parts], axis=0)
    high = np.max([part.max(axis=1) for part in parts], axis=0)
    finite = np.isfinite(low) & np.isfinite(high)
    if not finite.all():
        raise ValueError(
            f"The values of the samples {np.flatnonzero(~finite)[:5].tolist()} are not finite: a gradient overflowed, "
            "or the model computes one at a point where there is none (sqrt or log at 0, x / x). Check the model's "
            "output on these samples, and at the baseline where the method has one (another one, such as baseline=0.1, "
            "may do); a mixed_float16 model may need the float32 policy."
        )
    zero = (low == 0) & (high == 0)
    if zero.any():
        warnings.warn(
            f"The values of the samples {np.flatnonzero(zero)[:5].tolist()} are zero everywhere. Either the target "
            "does not depend on the input, or every path to it is closed there: dead ReLU units, or a saturated "
            "activation below the explained output; or nothing at the layer of an activation map speaks for the "
            "target; or the noise was none, as for an input without range.",
            stacklevel=4,
        )
