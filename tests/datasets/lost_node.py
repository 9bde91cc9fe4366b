"""Explains 2,000 rows on a local cluster, one of whose two nodes is killed on the way: ``... OUT MODEL ROWS``."""

import sys
import threading
import time
from pathlib import Path

import tfsaliency as tfs


def run(out, model, rows):
    # Not in the environment of make test, which imports every module.
    import ray
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "object_store_memory": 200_000_000})
    lost = cluster.add_node(num_cpus=2, object_store_memory=200_000_000)
    ray.init(address=cluster.address, logging_level="ERROR")
    written = []

    def lose_a_node():
        while len(list(Path(out).glob("*.parquet"))) < 8:
            time.sleep(0.01)
        written.append(len(list(Path(out).glob("*.parquet"))))
        cluster.remove_node(lost, allow_graceful=False)

    threading.Thread(target=lose_a_node, daemon=True).start()
    job = tfs.datasets.Job.of_file(model, "smoothgrad", samples=20)
    maps = tfs.datasets.explain_with_ray(
        job, rows, out, 1, shards=8, num_cpus=2, inputs="inputs", part_rows=50, batch_size=50
    )
    print(f"lost a node at {written[0]} parts; rows {len(maps)}, ids {len(set(maps.ids))}, complete {maps.is_complete}")
    ray.shutdown()
    cluster.shutdown()


if __name__ == "__main__":
    run(*sys.argv[1:])
