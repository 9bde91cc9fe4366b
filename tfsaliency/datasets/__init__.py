"""More rows than fit into memory: explained part by part into files that outlive a crash.

Needs the ``data`` extra: ``pip install 'tfsaliency[data]'``.
"""

import importlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from tfsaliency.base.options import check_choice, check_count
from tfsaliency.datasets.job import Job
from tfsaliency.explainer import Explainer

if TYPE_CHECKING:
    from tfsaliency.datasets.explanations import Explanations
    from tfsaliency.datasets.ray import RayWorker, explain_with_ray

__all__ = ["Explanations", "Job", "RayWorker", "explain_with_ray"]

# These import PyArrow, which comes with an extra.
_WITH_ARROW = {"Explanations": "explanations", "RayWorker": "ray", "explain_with_ray": "ray"}


def __getattr__(name: str) -> Any:
    if name in _WITH_ARROW:
        return getattr(importlib.import_module(f"tfsaliency.datasets.{_WITH_ARROW[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def explain_dataset(
    explainer: Explainer | Mapping[str, Explainer],
    source: Any,
    out: str | os.PathLike[str],
    target: Any = None,
    *,
    inputs: Any = None,
    preprocess: Callable[[np.ndarray], Any] | None = None,
    part_rows: int | None = None,
    dtype: Literal["float32", "float16"] = "float32",
    keep_inputs: bool = True,
    shard: tuple[int, int] = (0, 1),
    strict: bool = False,
    batch_size: int | None = None,
    progress: bool = True,
) -> "Explanations | dict[str, Explanations]":
    """Explains rows that need not fit into memory, and writes them to a folder of Parquet files.

    The rows are read, explained and written in parts. A part file appears whole or not at all. The same call goes on
    where an earlier one was stopped, and ends with the same files, whatever stopped it.

    Args:
        explainer: who is asked; or a dict of several, each of which writes to the folder ``out/name``.
        source: a folder, a glob or a file of pictures; Parquet files; arrays or memory-maps, in the structure of the
            model's inputs; a ``tf.data.Dataset`` or ``PyDataset`` of batches, as ``fit`` takes them; or an iterable of
            dicts with an ``"id"`` each. Its order is the same each time: do not shuffle. Lists of Parquet that have
            several lengths are filled up with zeros, which the model has to mask.
        out: the folder, such as ``maps.parquet``.
        target: what is explained; see `Explainer.explain`. A text is the name of the column that holds it, ``"y"`` for
            the labels of a Keras dataset; a list or an array has one class for each row.
        inputs: for Parquet and dicts, which columns are the inputs: a name, or names in the structure of the model's
            inputs. By default ``"inputs"``, or what a model with named inputs calls them.
        preprocess: for pictures, from RGB in 0..255, ``(1, height, width, 3)`` float32, to what the model takes.
        part_rows: rows of a part. By default a part has about 64 MB and at most 4,096 rows.
        dtype: of the values in the files. A row that float16 cannot hold to a thousandth is told as bad.
        keep_inputs: whether the inputs are written too. Without them explanations have NaN there.
        shard: ``(i, n)`` explains the parts ``i``, ``i + n``, and so on: each of ``n`` processes or machines takes an
            ``i`` from 0 to ``n - 1``, and all write to the same folder.
        strict: stops at the first row that cannot be explained. By default such rows are told at the end, in
            `Explanations.bad_rows`, and the rest goes on.
        batch_size: see `Explainer.explain`.
        progress: draws a progress bar.

    Returns:
        What is in the folder, as `read_explanations` gives it; for several explainers a dict of these.

    Raises:
        ValueError: an option does not fit, the folder belongs to another call, or no row can be explained.
        RuntimeError: another process is writing the same rows.
        OSError: the disk is full, or the folder cannot be written to. What is written is whole.

    Example:
        >>> import keras, numpy as np, tempfile, tfsaliency as tfs
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
        >>> rows = np.random.default_rng(0).normal(size=(1000, 3))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     maps = tfs.explain_dataset(tfs.Gradient(model), rows, f"{folder}/maps", target=1, progress=False)
        ...     len(maps), maps[10:20].values.shape
        (1000, (10, 3))
    """
    from tfsaliency.datasets.folder import Folder
    from tfsaliency.datasets.run import check_shard, explain_parts
    from tfsaliency.datasets.sources import as_source
    from tfsaliency.datasets.task import Form, Task

    check_choice("dtype", dtype, ("float32", "float16"))
    if part_rows is not None:
        check_count("part_rows", part_rows)
    check_shard(shard)
    explainers = explainer if isinstance(explainer, Mapping) else {"": explainer}
    for each in explainers.values():
        if not isinstance(each, Explainer):
            raise ValueError(f"explain_dataset takes an explainer, as Gradient(model), or a dict. Received: {each!r}")
    form = Form(target, part_rows, dtype, keep_inputs, batch_size)
    tasks = {name: Task(each, Folder(Path(out) / name), form) for name, each in explainers.items()}
    rows = as_source(source, next(iter(explainers.values())).model, preprocess, inputs)
    explain_parts(list(tasks.values()), rows, form, shard, strict=strict, progress=progress)
    if explainer is not explainers:
        return read_explanations(out)
    return {name: read_explanations(task.folder.path) for name, task in tasks.items()}


def read_explanations(out: str | os.PathLike[str]) -> "Explanations":
    """Opens a folder that `explain_dataset` wrote, also while it is being written.

    Args:
        out: the folder.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: its manifest is damaged.

    Example:
        >>> import keras, numpy as np, tempfile, tfsaliency as tfs
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = tfs.explain_dataset(tfs.Gradient(model), np.ones((5, 3)), folder, target=1, progress=False)
        ...     [explanation.values.shape for explanation in tfs.read_explanations(folder)]
        [(5, 3)]
    """
    from tfsaliency.datasets.explanations import Explanations

    return Explanations(out)
