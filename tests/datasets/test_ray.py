"""Ray schedules: what it leaves behind is what one process writes."""

import re
import subprocess
import sys

import numpy as np
import pyarrow
import pyarrow.parquet as parquet
import pytest

import tfsaliency as tfs
from tests.datasets import on_ray
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


# --- processes of Ray ---

ROWS = 2000


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    path = tmp_path_factory.mktemp("rows") / "rows.parquet"
    ids = [f"r{number}" for number in range(ROWS)]
    parquet.write_table(pyarrow.table({"id": ids, "inputs": as_tensors(pictures(ROWS))}), path)
    return str(path)


def printed_by(run, out, file, rows):
    """What a run prints; see `tests.datasets.on_ray`."""
    pytest.importorskip("ray")
    command = [sys.executable, "-m", "tests.datasets.on_ray", run, str(out), file, rows]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout


def explain_here(explainer, rows, out):
    tfs.explain_dataset(explainer, rows, out, 1, progress=False, **on_ray.FORM)


def test_a_lost_node_loses_nothing(file, rows, tmp_path):
    told = re.search(
        r"lost a node at (\d+) parts; rows 2000, ids 2000, complete True",
        printed_by("lose_a_node", tmp_path / "ray", file, rows),
    )
    assert told and 8 <= int(told[1]) < 40
    explain_here(Job.of_file(file, "smoothgrad", samples=20).explainer(), rows, tmp_path / "one")
    assert content(tmp_path / "ray") == content(tmp_path / "one")


def test_broken_workers_lose_nothing(file, rows, tmp_path, monkeypatch):
    told = printed_by("break_workers", tmp_path / "ray", file, rows)
    assert "raised: True" in told and "marks: []" in told and "complete: True" in told
    parts = re.search(r"parts: (\d+)", told)
    assert parts and int(parts[1]) < 40
    monkeypatch.setenv("BREAKING_MODEL", file)
    monkeypatch.setenv("BREAKING_MARKS", str(tmp_path))
    explain_here(on_ray.breaking(), rows, tmp_path / "one")
    assert content(tmp_path / "ray") == content(tmp_path / "one")


def test_a_worker_explains_a_ray_dataset(file, rows, tmp_path):
    printed_by("map_batches", tmp_path / "ray", file, rows)
    table = parquet.read_table(tmp_path / "ray").sort_by("id")
    expected = sorted(f"r{number}" for number in range(ROWS))
    assert table.column("id").to_pylist() == expected
    values = tfs.Gradient(network()).explain(pictures(ROWS), 1).values
    given = table.column("values").combine_chunks().to_numpy_ndarray()
    np.testing.assert_allclose(given, values[[int(name[1:]) for name in expected]], rtol=1e-5, atol=1e-7)
