from functools import partial
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from tfsaliency.engine.asked import Asked
from tfsaliency.engine.compiled import Compiled
from tfsaliency.engine.inputs import Inputs
from tfsaliency.engine.score import PerSample

# A method with its own loop reports fractions of samples, so the bar shows no number of samples.
BAR = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}"


class Result(NamedTuple):
    """NumPy arrays for a whole batch; `Compiled` and `Asked` return the same for a chunk.

    Attributes:
        values: in the structure of the inputs.
        scores: ``(N,)``; NaN where the question does not want them.
        told: what the target chose for each sample, ``(N,)`` each.
        diagnostics: what the method says about each sample, ``(N,)`` each.
        words: for each part that is a text its words, by the place of the part.
    """

    values: Any
    scores: np.ndarray
    told: dict[str, np.ndarray]
    diagnostics: dict[str, np.ndarray]
    words: dict[int, np.ndarray]


def run_in_chunks(
    function: Compiled | Asked, batch: Inputs, given: PerSample, rows: int | None, bar: str | None
) -> Result:
    """Runs a question over a batch, ``rows`` samples at a time.

    If the device runs out of memory, the chunk size is halved for this call. If ``rows`` is None, it is halved for
    later calls too.

    Args:
        function: the question, compiled or asked.
        batch: the inputs.
        given: what belongs to each sample.
        rows: the size of a chunk, None for the preferred size of ``function``.
        bar: text of a progress bar, None for no bar.

    Raises:
        MemoryError: one row alone does not fit.
        ValueError: the model cannot compute these numbers, or so many rows.
        Exception: what the function behind a black box raised, as it is.
    """
    size = rows or function.rows
    pieces: list[Result] = []
    done = 0
    with tqdm(total=batch.samples, desc=bar, disable=bar is None, bar_format=BAR) as progress:
        while done < batch.samples:
            stop = min(done + size, batch.samples)
            function.on_progress = partial(_advance, progress, stop - done, stop)
            of_samples = _rows(given, done, stop)
            try:
                piece = function(batch.rows(done, stop, function.specs), of_samples, size, done)
            except tf.errors.ResourceExhaustedError as error:
                if size == 1:
                    raise MemoryError("One row of the inputs alone does not fit into the device's memory.") from error
                size //= 2
                if rows is None:
                    function.rows = size
                continue
            # Unlike Tensor.numpy(), asarray does not copy: the only copy is made when the pieces are joined.
            pieces.append(Result(*tf.nest.map_structure(np.asarray, piece)))
            progress.update(stop - progress.n)
            done = stop
    whole = pieces[0] if len(pieces) == 1 else tf.nest.map_structure(_together, *pieces)
    for array in tf.nest.flatten(whole):
        array.flags.writeable = False
    return whole


def _rows(given: PerSample, start: int, stop: int) -> PerSample:
    rows: PerSample = tf.nest.map_structure(
        lambda part: tf.constant(part if len(part) == 1 else part[start:stop]), given
    )
    return rows


def _together(*parts: np.ndarray) -> np.ndarray:
    """The parts of a batch as one array. The texts of one part may have more words than those of another."""
    longest = [max(sizes) for sizes in zip(*(part.shape[1:] for part in parts), strict=True)]

    def filled(part: np.ndarray) -> np.ndarray:
        missing = [(0, 0), *((0, length - size) for length, size in zip(longest, part.shape[1:], strict=True))]
        return np.pad(part, missing, constant_values=b"" if part.dtype.kind == "O" else 0) if np.any(missing) else part

    return np.concatenate([filled(part) for part in parts])


def _advance(bar: "tqdm[Any]", samples: int, end: int, share: float) -> None:
    # A method with several loops reports the whole work once per loop.
    bar.update(min(share * samples, end - bar.n))
