"""Ray: it schedules, and part files with their manifest stay what a run goes on from."""

import os
from typing import Any

from tfsaliency.base.extra import require
from tfsaliency.base.structure import map_parts
from tfsaliency.datasets import explain_dataset, read_explanations
from tfsaliency.datasets.arrow import array_of, table_of
from tfsaliency.datasets.explanations import Explanations
from tfsaliency.datasets.job import Job
from tfsaliency.explainer import Explainer


class RayWorker:
    """A class for ``ray.data.Dataset.map_batches``: a batch of rows in, a table of their explanations out.

    ``dataset.map_batches(RayWorker, fn_constructor_args=(job,), batch_format="pyarrow", batch_size=64,
    compute=ray.data.ActorPoolStrategy(size=4), num_gpus=1)``. Values are a column of ``arrow.fixed_shape_tensor``. What
    is lost at a crash is up to Ray: its own checkpoints lose whole blocks. `explain_with_ray` loses one part.

    Args:
        job: how the worker makes its explainer.
        target: what is explained; a text is the name of a column.
        inputs: the column of the inputs, or columns in the structure of the model's inputs.
        id: the column of the ids.
        dtype: of the values.

    Example:
        >>> import keras, numpy as np, pyarrow, tempfile, tfsaliency as tfs
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]).save(f"{folder}/model.keras")
        ...     worker = tfs.datasets.RayWorker(tfs.datasets.Job.of_file(f"{folder}/model.keras"), target=1)
        >>> x = pyarrow.FixedShapeTensorArray.from_numpy_ndarray(np.ones((2, 3), "float32"))
        >>> worker(pyarrow.table({"id": ["a", "b"], "inputs": x})).column_names
        ['id', 'values', 'score', 'target']
    """

    def __init__(self, job: Job, target: Any = None, inputs: Any = "inputs", id: str = "id", dtype: str = "float32"):
        self._explainer = job.explainer()
        self._target, self._inputs, self._id, self._dtype = target, inputs, id, dtype

    def __call__(self, batch: Any) -> Any:
        """Explains a batch.

        Args:
            batch: a ``pyarrow.Table``.
        """
        target = array_of(batch.column(self._target)) if isinstance(self._target, str) else self._target
        inputs = map_parts(lambda name: array_of(batch.column(name)), self._inputs)
        explanation = self._explainer.explain(inputs, target)
        return table_of(batch.column(self._id).to_pylist(), explanation, self._dtype, keep_inputs=False, run="")


def explain_with_ray(
    job: Job,
    source: Any,
    out: str | os.PathLike[str],
    target: Any = None,
    *,
    shards: int = 16,
    num_cpus: float = 1,
    num_gpus: float = 0,
    **options: Any,
) -> Explanations:
    """The work of `explain_dataset` on a Ray cluster: the same folder, byte for byte, and it goes on in the same way.

    Each shard is a task. Ray gives the tasks of a machine that is lost to another one, which goes on with what is
    written. Call ``ray.init`` before, with the address of the cluster.

    Args:
        job: how each process makes its explainer, once for all its shards.
        source: see `explain_dataset`; files that every machine can read, or what Ray can send.
        out: a folder that every machine can write to.
        target: see `explain_dataset`.
        shards: how many tasks; a few for each process that works at once.
        num_cpus: of each task.
        num_gpus: of each task.
        **options: others of `explain_dataset`, such as ``preprocess`` or ``part_rows``.

    Raises:
        ModuleNotFoundError: Ray is not installed.
        ray.exceptions.RayTaskError: a task raised, and the others have ended; its message is in it.

    Example:
        >>> import tfsaliency as tfs
        >>> def on_a_cluster(folder):
        ...     job = tfs.datasets.Job.of_file(f"{folder}/model.keras", "smoothgrad", samples=50)
        ...     return tfs.datasets.explain_with_ray(job, f"{folder}/photos", f"{folder}/maps", shards=64, num_gpus=1)
    """
    ray = require("ray", "ray")
    # Actors of Ray Data would hold the processors that its own tasks wait for.
    task = ray.remote(num_cpus=num_cpus, num_gpus=num_gpus)(_explain_shard)
    given = ray.put((job, source, str(out), target, options))
    running = [task.remote(given, (shard, shards)) for shard in range(shards)]
    # An error is raised when no task works any more: the same call can go on at once.
    ray.wait(running, num_returns=len(running))
    ray.get(running)
    return read_explanations(out)


def _explain_shard(given: tuple[Job, Any, str, Any, dict[str, Any]], shard: tuple[int, int]) -> None:
    job, source, out, target, options = given
    explain_dataset(_explainer_of(job), source, out, target, shard=shard, progress=False, **options)


# A process makes the explainer of its job once.
_made: dict[str, Explainer] = {}


def _explainer_of(job: Job) -> Explainer:
    if repr(job) not in _made:
        _made.clear()
        _made[repr(job)] = job.explainer()
    return _made[repr(job)]
