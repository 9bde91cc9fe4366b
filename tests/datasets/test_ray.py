"""Ray schedules: what it leaves behind is what one process writes."""

import re
import subprocess
import sys

import numpy as np
import pyarrow
import pyarrow.parquet as parquet
import pytest

import tfsaliency as tfs
from tests.datasets.harness import content, network, pictures
from tfsaliency.datasets import Job, RayWorker


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("job") / "model.keras"
    network().save(path)
    return str(path)


def as_tensors(x):
    return pyarrow.FixedShapeTensorArray.from_numpy_ndarray(x)


def test_a_worker_gives_tables(file):
    x = pictures(5)
    batch = pyarrow.table({"name": list("abcde"), "picture": as_tensors(x), "class": [0, 1, 2, 0, 1]})
    table = RayWorker(Job.of_file(file), "class", inputs="picture", id="name")(batch)
    expected = tfs.Gradient(network()).explain(x, [0, 1, 2, 0, 1])
    assert table.column("id").to_pylist() == list("abcde")
    values = table.column("values").combine_chunks().to_numpy_ndarray()
    np.testing.assert_allclose(values, expected.values, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(table.column("score").to_numpy(), expected.scores, rtol=1e-5)


def test_a_job_knows_its_file(file, tmp_path):
    job = Job.of_file(file, "smoothgrad", samples=3)
    assert str(job.explainer()).startswith("SmoothGrad(Gradient, samples=3")
    other = tmp_path / "model.keras"
    other.write_bytes(b"another model")
    with pytest.raises(ValueError, match="has changed since the job was made"):
        Job(str(other), sha256=job.sha256).explainer()
    made = Job(factory="tests.datasets.test_ray:an_explainer").explainer()
    assert isinstance(made, tfs.GradCAM)
    for wrong in ({}, {"model": file}, {"model": file, "sha256": "0", "factory": "a:b"}):
        with pytest.raises(ValueError, match="A job has the path of a model"):
            Job(**wrong)
    with pytest.raises(ValueError, match="There is no method 'magic'. The methods: gradient"):
        Job.of_file(file, "magic")


def an_explainer():
    return tfs.GradCAM(network())


def test_a_lost_node_loses_nothing(file, tmp_path):
    pytest.importorskip("ray")
    x = pictures(2000)
    parquet.write_table(
        pyarrow.table({"id": [f"r{i}" for i in range(2000)], "inputs": as_tensors(x)}), tmp_path / "rows.parquet"
    )
    command = [sys.executable, "-m", "tests.datasets.lost_node", tmp_path / "ray", file, tmp_path / "rows.parquet"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    told = re.search(r"lost a node at (\d+) parts; rows 2000, ids 2000, complete True", done.stdout)
    assert told, done.stdout[-2000:] + done.stderr[-4000:]
    assert 8 <= int(told[1]) < 40
    explainer = Job.of_file(file, "smoothgrad", samples=20).explainer()
    tfs.explain_dataset(
        explainer, tmp_path / "rows.parquet", tmp_path / "one", 1, part_rows=50, batch_size=50, progress=False
    )
    assert content(tmp_path / "ray") == content(tmp_path / "one")
