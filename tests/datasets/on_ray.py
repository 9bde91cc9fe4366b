"""Runs on Ray, each a process of its own: ``python -m tests.datasets.on_ray FUNCTION OUT MODEL ROWS``.

Ray is imported where it is needed: it comes with an extra, and importing it starts threads.
"""

import os
import sys
import threading
import time
from pathlib import Path

import keras

import tfsaliency as tfs

STORE = 200_000_000
FORM = {"inputs": "inputs", "part_rows": 50, "batch_size": 50}


def lose_a_node(out, model, rows):
    """Explains on a cluster of two nodes, one of which is killed on the way."""
    import ray
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "object_store_memory": STORE})
    lost = cluster.add_node(num_cpus=2, object_store_memory=STORE)
    ray.init(address=cluster.address, logging_level="ERROR")
    written = []

    def lose():
        while len(list(Path(out).glob("*.parquet"))) < 8:
            time.sleep(0.01)
        written.append(len(list(Path(out).glob("*.parquet"))))
        cluster.remove_node(lost, allow_graceful=False)

    threading.Thread(target=lose, daemon=True).start()
    job = tfs.datasets.Job.of_file(model, "smoothgrad", samples=20)
    maps = tfs.datasets.explain_with_ray(job, rows, out, 1, shards=8, num_cpus=2, **FORM)
    print(f"lost a node at {written[0]} parts; rows {len(maps)}, ids {len(set(maps.ids))}, complete {maps.is_complete}")
    ray.shutdown()
    cluster.shutdown()


def break_workers(out, model, rows):
    """Explains with two processes, one of which dies; then a task raises, and the same call goes on."""
    import ray

    marks = Path(out).parent
    os.environ |= {"BREAKING_MODEL": model, "BREAKING_MARKS": str(marks)}
    ray.init("local", num_cpus=2, object_store_memory=STORE, include_dashboard=False, logging_level="ERROR")
    job = tfs.datasets.Job(factory="tests.datasets.on_ray:breaking")

    def explain():
        return tfs.datasets.explain_with_ray(job, rows, out, 1, shards=8, **FORM)

    (marks / "dies").touch()
    (marks / "raises").touch()
    try:
        explain()
    except ray.exceptions.RayTaskError as error:
        print("raised:", "this worker is broken" in str(error))
    print("parts:", len(list(Path(out).glob("*.parquet"))), "marks:", [path.name for path in marks.glob("*s")])
    print("complete:", explain().is_complete)
    ray.shutdown()


class Breaking(tfs.SmoothGrad):
    """Breaks at the marks that it finds, after which it works."""

    def explain(self, *arguments, **options):
        marks = Path(os.environ["BREAKING_MARKS"])
        if self._takes(marks / "dies"):
            os._exit(1)
        if not (marks / "dies").exists() and self._takes(marks / "raises"):
            raise RuntimeError("this worker is broken")
        return super().explain(*arguments, **options)

    def _takes(self, mark):
        try:
            mark.unlink()
        except FileNotFoundError:
            return False
        return True


def breaking():
    return Breaking(keras.models.load_model(os.environ["BREAKING_MODEL"]), samples=20)


def map_batches(out, model, rows):
    """Explains the rows of a Ray dataset."""
    import ray
    import ray.data

    # One processor more than the worker takes, for what reads.
    ray.init("local", num_cpus=2, object_store_memory=STORE, include_dashboard=False, logging_level="ERROR")
    job = tfs.datasets.Job.of_file(model)
    ray.data.read_parquet(rows).map_batches(
        tfs.datasets.RayWorker,
        fn_constructor_args=(job, 1),
        batch_format="pyarrow",
        batch_size=64,
        compute=ray.data.ActorPoolStrategy(size=1),
        num_cpus=1,
    ).write_parquet(out)
    ray.shutdown()


if __name__ == "__main__":
    {run.__name__: run for run in (lose_a_node, break_workers, map_batches)}[sys.argv[1]](*sys.argv[2:])
