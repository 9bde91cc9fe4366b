"""Every public name is in the reference, with a docstring that says all that a user needs."""

import dataclasses
import functools
import inspect
import re
from pathlib import Path

import keras
import numpy as np
import pytest

import tfsaliency as tfs
from tests import tables
from tfsaliency import baselines, callbacks, datasets, metrics, plot, rules, target, testing, transforms, zoo
from tfsaliency.methods import METHODS

DOCS = Path(__file__).parent.parent.parent / "docs"
MODULES = {
    "baselines": baselines,
    "callbacks": callbacks,
    "datasets": datasets,
    "metrics": metrics,
    "plot": plot,
    "rules": rules,
    "target": target,
    "testing": testing,
    "transforms": transforms,
    "zoo": zoo,
}
# Records, which are described and not made by hand. Those of rules exist only while a graph is traced: their methods
# are used on the page "Extending".
RECORDS = {"Affine", "Step", "Attribution", "Explanation", "Visualization", "Check", "CheckFailed", "Outcome", "Record"}
RECORDS |= {"Measurement", "InapplicableError"}
TRACED = ("rules.Affine.", "rules.Step.")
# A transform's arguments are those of every transform: values and inputs.
SHARED_ARGUMENTS = {name: {"values", "inputs"} for name in transforms.__all__}


def public():
    """Name -> class or function, and ``Class.method`` for what a public class defines itself."""
    found = {name: getattr(tfs, name) for name in tfs.__all__}
    for prefix, module in MODULES.items():
        found |= {f"{prefix}.{name}": getattr(module, name) for name in module.__all__}
    found = {name: each for name, each in found.items() if inspect.isclass(each) or inspect.isfunction(each)}
    for name, each in list(found.items()):
        if inspect.isclass(each):
            own = {key: getattr(each, key) for key, value in vars(each).items() if key[0] != "_" and value.__doc__}
            functions = {key: value for key, value in own.items() if inspect.isroutine(value)}
            attributes = {key for key, value in functions.items() if isinstance(value, functools.cached_property)}
            found |= {f"{name}.{key}": value for key, value in functions.items() if key not in attributes}
    return found


PUBLIC = public()


def arguments_of(each):
    if dataclasses.is_dataclass(each):
        return {field.name for field in dataclasses.fields(each) if field.init}
    parameters = inspect.signature(each).parameters.values()
    named = {parameter.name for parameter in parameters if parameter.kind is not inspect.Parameter.VAR_KEYWORD}
    return named - {"self", "cls"}


def explained(argument, each):
    """Whether an argument has its paragraph: in the docstring, or in that of the base class that defines the option."""
    classes = each.__mro__ if inspect.isclass(each) else ()
    defining = [base for base in classes[1:] if argument in vars(base).get("__annotations__", {})]
    return any(re.search(rf"^ +{argument}: ", inspect.getdoc(where) or "", re.MULTILINE) for where in (each, *defining))


@pytest.mark.parametrize("name", PUBLIC)
def test_the_docstring_is_complete(name):
    doc = inspect.getdoc(PUBLIC[name])
    assert doc, "no docstring"
    first, *rest = doc.splitlines()
    assert first.endswith((".", "?")), "the first line is a sentence"
    assert not rest or not rest[0], "the first line stands alone"
    last = name.split(".")[-1]
    if last not in RECORDS and not name.startswith(TRACED):
        for argument in arguments_of(PUBLIC[name]) - SHARED_ARGUMENTS.get(last, set()):
            assert explained(argument, PUBLIC[name]), f"{argument} is not explained"
        assert "Example:" in doc and ">>>" in doc, "no example"
    if isinstance(PUBLIC[name], type) and PUBLIC[name] in METHODS.values():
        assert "Formula:" in doc and "Source:" in doc


def test_the_reference_has_every_public_name():
    listed = set(re.findall(r"^   ([\w.]+)$", (DOCS / "api.md").read_text(encoding="utf-8"), re.MULTILINE))
    assert set(tfs.__all__) - {"__version__"} <= listed
    assert set(MODULES) <= listed


@pytest.mark.parametrize("page", tables.PAGES, ids=lambda page: page.name)
def test_the_tables_of_methods_are_those_of_the_families(page):
    assert page.read_text("utf-8") == tables.with_table(page), "make tables"


def test_every_method_has_its_row():
    table = (DOCS / "which-method.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| \{py:obj\}`~tfsaliency\.([\w.]+)`", table, re.MULTILINE)
    assert {method.__name__ for method in METHODS.values()} | {"ClassVisualization"} <= set(rows)
    columns = {line.count("|") - line.count(r"\|") for line in table.splitlines() if line.startswith("|")}
    assert len(columns) == 1


def test_our_side_of_every_migration_runs(tmp_path, monkeypatch):
    """The code in the right column of the tables, with the names that the page and the left column use."""
    monkeypatch.chdir(tmp_path)
    keras.utils.set_random_seed(0)
    images = np.random.default_rng(0).uniform(size=(2, 40, 40, 3)).astype("float32")
    model = keras.Sequential(
        [
            keras.Input((40, 40, 3)),
            keras.layers.Conv2D(4, 3, activation="relu", name="conv5"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(300, activation="softmax"),
        ]
    )
    known = {"tfs": tfs, "model": model, "images": images, "x": images, "data": images, "background": images}
    known |= {"absolute": transforms.absolute, "method": tfs.Gradient(model), "target": 3}
    explanation = tfs.Gradient(model).explain(images)
    masks = np.indices((40, 40)) < 9
    known |= {"ExplainCallback": callbacks.ExplainCallback, "explanation": explanation, "masks": masks}
    page, of_letters = (DOCS / "coming-from.md").read_text(encoding="utf-8").split("## DeepLIFT for DNA")
    assert len(our_calls(page)) > 50 and len(our_calls(of_letters)) > 3
    letters = np.eye(4)[np.random.default_rng(0).integers(4, size=(2, 30))]
    network = [keras.Input((30, 4)), keras.layers.Conv1D(4, 3, activation="tanh"), keras.layers.Flatten()]
    reader = keras.Sequential([*network, keras.layers.Dense(3)])
    calls = [(span, known, images) for span in our_calls(page)]
    calls += [(span, known | {"model": reader}, letters) for span in our_calls(of_letters)]
    for span, names, inputs in calls:
        made = eval(span, names.copy())
        if isinstance(made, tfs.Explainer):
            assert made.explain(inputs).values.shape[0] == 2, span
        elif isinstance(made, metrics.Metric):
            assert len(made.measure(explanation).values) == 2, span
        elif isinstance(made, str):
            assert made in rules.PRESETS, span


def our_calls(page):
    """The code in the right column of the tables."""
    rows = re.findall(r"^\|.*\| (.*) \|$", page, re.MULTILINE)
    spans = [span for row in rows for span in re.findall(r"`([^`]+)`", row)]
    ours = [span.removeprefix("target=") for span in spans if span.startswith(("tfs.", "target=", "Explain", '"'))]
    return [span for span in ours if span and "…" not in span]
