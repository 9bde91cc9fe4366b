"""The structure of the package: imports run one way, and a method is registered in one place."""

import ast
import re
from pathlib import Path

import pytest

import tfsaliency as tfs
from tests.harness import EXPLAINERS
from tfsaliency.methods import FAMILIES, METHODS

PACKAGE = Path(tfs.__file__).parent
ROOT = PACKAGE.parent

# A room may import from the rooms above it and from itself. A room is a folder or a module of the package.
FLOORS = [
    ["version"],
    ["base"],
    ["tensors"],
    ["graph"],
    ["model"],
    ["target", "rules"],
    ["engine"],
    ["plot", "transforms"],
    ["explanation", "baselines"],
    ["explainer"],
    ["methods"],
    ["callbacks", "datasets", "metrics", "testing", "zoo"],
    ["public"],
    ["__init__"],
    ["cli"],
    ["__main__"],
]
FLOOR_OF = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
# Pictures need neither TensorFlow nor the engine: they draw what is on a record.
ALLOWED_TO_PLOT = {"base", "plot"}
# These know no Keras and no TensorFlow.
WITHOUT_TENSORFLOW = ("base", "plot")
WITHOUT_KERAS = ("base", "tensors", "graph", "plot")


def imports():
    """Each import of the package's own modules: (importing file, its room, the room that is imported)."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        for module in modules_imported_by(path):
            names = module.split(".")
            if names[0] == "tfsaliency":
                found.append((path.relative_to(ROOT), parts[0], names[1] if len(names) > 1 else "__init__"))
    return found


def modules_imported_by(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module == "tfsaliency":
            yield from (f"tfsaliency.{each.name}" for each in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module


def test_every_room_has_its_floor():
    rooms = {path.relative_to(PACKAGE).with_suffix("").parts[0] for path in PACKAGE.rglob("*.py")}
    assert rooms == set(FLOOR_OF)


def test_imports_run_one_way():
    up = [each for each in imports() if FLOOR_OF[each[2]] > FLOOR_OF[each[1]]]
    beside = [each for each in imports() if each[1] != each[2] and FLOOR_OF[each[1]] == FLOOR_OF[each[2]]]
    assert up == []
    assert beside == []


def test_pictures_need_a_record_only():
    assert {imported for _, room, imported in imports() if room == "plot"} <= ALLOWED_TO_PLOT


@pytest.mark.parametrize(("library", "rooms"), [("tensorflow", WITHOUT_TENSORFLOW), ("keras", WITHOUT_KERAS)])
def test_rooms_that_do_without(library, rooms):
    for room in rooms:
        for path in (PACKAGE / room).rglob("*.py"):
            assert library not in {module.split(".")[0] for module in modules_imported_by(path)}, path


def test_operation_types_are_grouped_in_one_file():
    """A tuple of operation types elsewhere would be a second vocabulary; tables from a type to its rule are none."""
    vocabulary = (PACKAGE / "graph/operations.py").read_text(encoding="utf-8")
    types = set(re.findall(r'"([A-Z][A-Za-z0-9]+)"', vocabulary))
    for path in PACKAGE.rglob("*.py"):
        if path.name in ("operations.py", "redistribute.py", "rescale.py"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Tuple | ast.List | ast.Set):
                texts = {each.value for each in node.elts if isinstance(each, ast.Constant)}
                assert len(texts & types) < 4, f"{path}:{node.lineno} groups {sorted(texts & types)}"


def test_a_method_is_registered_in_its_family():
    """The command line, the public names, the contract and the pages follow from the table of a family."""
    assert {method.__name__ for method in METHODS.values()} <= set(tfs.__all__) & set(EXPLAINERS)
    for method in METHODS.values():
        family = method.__module__.split(".")[2]
        assert method in FAMILIES[family.replace("_", " ")].values()
