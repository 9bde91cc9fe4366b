from functools import partial
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from tfsaliency.engine.compiled import Compiled
from tfsaliency.engine.inputs import Inputs

# A method with its own loop reports fractions of samples, so the bar shows no number of samples.
BAR = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}"


class Result(NamedTuple):
    """NumPy arrays for a whole batch; `Compiled` returns the same for a chunk."""

    values: Any
    scores: np.ndarray
    classes: np.ndarray
    diagnostics: dict[str, np.ndarray]


def run_in_chunks(function: Compiled, batch: Inputs, index: np.ndarray, rows: int | None, bar: str | None) -> Result:
    """Runs a compiled function over a batch, ``rows`` samples at a time.

    If the device runs out of memory, the chunk size is halved for this call. If ``rows`` is None, it is halved for
    later calls too.

    Args:
        function: the function to run.
        batch: the inputs.
        index: ``(N,)`` classes, ignored by a function that chooses its own classes.
        rows: the size of a chunk, None for the preferred size of ``function``.
        bar: text of a progress bar, None for no bar.

    Raises:
        MemoryError: one row alone does not fit.
        ValueError: the model cannot compute these numbers, or so many rows.
    """
    size = rows or function.rows
    pieces: list[Result] = []
    done = 0
    with tqdm(total=batch.samples, desc=bar, disable=bar is None, bar_format=BAR) as progress:
        while done < batch.samples:
            stop = min(done + size, batch.samples)
            function.on_progress = partial(_advance, progress, stop - done, stop)
            try:
                piece = function(batch.rows(done, stop), index[done:stop], size, done)
            except tf.errors.ResourceExhaustedError as error:
                if size == 1:
                    raise MemoryError("One row of the inputs alone does not fit into the device's memory.") from error
                size //= 2
                if rows is None:
                    function.rows = size
                continue
            except tf.errors.OpError as error:
                raise ValueError(_failed(stop - done, error)) from error
            # Unlike Tensor.numpy(), asarray does not copy: the only copy is made when the pieces are joined.
            pieces.append(Result(*tf.nest.map_structure(np.asarray, piece)))
            progress.update(stop - progress.n)
            done = stop
    whole = pieces[0] if len(pieces) == 1 else tf.nest.map_structure(lambda *parts: np.concatenate(parts), *pieces)
    for array in tf.nest.flatten(whole):
        array.flags.writeable = False
    return whole


def _failed(rows: int, error: Exception) -> str:
    reason = next((line for line in str(error).splitlines() if not line.startswith(_FRAME)), "")
    return (
        f"The model failed on a batch of {rows} rows, or on copies of them: {reason.strip()} If it takes a fixed "
        "number of rows (Input(batch_shape=...), a stateful layer, a reshape by a number of rows), build it again with "
        "a free batch axis, keras.Input(shape), and stateful=False, and set_weights(model.get_weights())."
    )


# Lines of a TensorFlow error that say where it happened.
_FRAME = ("Graph execution error", "Detected at", "<stack traces", "  File", "\t", "    ")


def _advance(bar: "tqdm[Any]", samples: int, end: int, share: float) -> None:
    # A method with several loops reports the whole work once per loop.
    bar.update(min(share * samples, end - bar.n))
