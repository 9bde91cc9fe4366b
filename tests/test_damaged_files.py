"""A file that is not what was saved is refused by one message, and costs no memory before that."""

import io
import json
import os
import struct
import tracemalloc
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
from numpy.lib import format as npy

import tfsaliency as tfs
from tfsaliency.base import archive
from tfsaliency.base.structure import flatten, skeleton

SAVED = Path(__file__).parent / "saved"
MIB = 2**20


def one_part():
    rng = np.random.default_rng(0)
    return tfs.Explanation(
        rng.normal(size=(2, 3, 3, 1)).astype("float32"),
        rng.integers(0, 256, (2, 3, 3, 1)).astype("uint8"),
        np.array([1, 0]),
        np.array([0.5, 2], "float32"),
        "Gradient",
        diagnostics={"converged": np.array([True, False])},
        explained="logits",
        provenance={"model": "ölçüm", "seconds": 0.25},
    )


def two_parts():
    values = {"a": np.ones((2, 3), "float32"), "b": (np.asfortranarray(np.arange(8.0).reshape(2, 4)),)}
    return tfs.Explanation(values, values, None, np.ones(2, "float32"), "GradCAM", meaning="places")


def pictures():
    start = np.linspace(0, 1, 12, dtype="float32").reshape(1, 2, 2, 3)
    return tfs.Visualization(start + 1, start, np.array([3]), np.array([7], "float32"), "ClassVisualization")


EXPLANATIONS = {made.__name__: made for made in (one_part, two_parts, pictures)}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "map.npz"


@pytest.fixture
def members(path):
    """The arrays of a saved explanation, by their names in the file."""
    one_part().save(path)
    with np.load(path) as stored:
        return dict(stored)


def put(path, members, compressed=False):
    (np.savez_compressed if compressed else np.savez)(path, **members)


def with_record(members, **entries):
    """The members with other entries of the record, checksum included: the file of a careful forger."""
    record = json.loads(str(members["record"])) | entries
    record.pop("sha256")
    return members | {"record": np.array(json.dumps({**record, "sha256": archive._checksum(record)}))}


def of_format_2(members, **entries):
    record = json.loads(str(members["record"]))
    del record["sha256"], record["arrays"]
    return members | {"record": np.array(json.dumps(record | {"format": 2} | entries))}


def refusal(path):
    """The reason for which a file is refused."""
    with pytest.raises(ValueError) as caught:
        tfs.Explanation.load(path)
    start = f"{path} does not hold an explanation that this version reads: "
    assert type(caught.value) is ValueError
    assert str(caught.value).startswith(start)
    assert isinstance(caught.value.__cause__, Exception)
    return str(caught.value).removeprefix(start)


def is_refused(path, explanation):
    """Whether a file is refused; it holds the explanation otherwise."""
    try:
        again = tfs.Explanation.load(path)
    except ValueError:
        return bool(refusal(path))
    assert_equal(again, explanation)
    return False


def assert_equal(first, second):
    assert type(first) is type(second)
    for name in ("values", "inputs"):
        assert skeleton(getattr(first, name)) == skeleton(getattr(second, name))
    for one, other in zip(arrays_of(first), arrays_of(second), strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other, strict=True)
    for name in ("method", "meaning", "explained", "provenance"):
        assert getattr(first, name) == getattr(second, name)
    assert first.diagnostics.keys() == second.diagnostics.keys()
    assert (first.target is None) == (second.target is None)


def arrays_of(explanation):
    targets = [] if explanation.target is None else [explanation.target]
    parts = [*flatten(explanation.values), *flatten(explanation.inputs)]
    return [*parts, explanation.scores, *targets, *explanation.diagnostics.values()]


# Damage at random ----------------------------------------------------------------------------------------------------


def damaged(content, rng):
    """A file that is cut, flipped, overwritten, zeroed, moved or grown somewhere."""
    file, start = bytearray(content), int(rng.integers(len(content)))
    some = slice(start, start + int(rng.integers(1, 40)))
    match rng.integers(7):
        case 0:
            del file[start:]
        case 1:
            file[start] ^= 1 << int(rng.integers(8))
        case 2:
            file[some] = rng.bytes(len(file[some]))
        case 3:
            file[some] = bytes(len(file[some]))
        case 4:
            del file[some]
        case 5:
            file[start:start] = rng.bytes(int(rng.integers(1, 40)))
        case 6:
            source = int(rng.integers(len(content)))
            copied = content[source : source + len(file[some])]
            file[start : start + len(copied)] = copied
    return bytes(file)


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("name", EXPLANATIONS)
def test_a_file_that_is_damaged_anywhere_is_refused_or_loads_equal(name, compressed, path):
    explanation = EXPLANATIONS[name]()
    explanation.save(path)
    with np.load(path) as stored:
        put(path, dict(stored), compressed)
    content = path.read_bytes()
    assert_equal(tfs.Explanation.load(path), explanation)
    rng = np.random.default_rng(len(content))
    refused = 0
    for _ in range(400):
        path.write_bytes(damaged(content, rng))
        refused += is_refused(path, explanation)
    assert refused > 200


@pytest.mark.parametrize("name", EXPLANATIONS)
def test_bytes_of_an_array_that_change_under_a_right_zip_checksum_are_found(name, path):
    """What a program that rewrites the zip file does: neither sizes nor CRC-32 tell."""
    explanation = EXPLANATIONS[name]()
    explanation.save(path)
    with zipfile.ZipFile(path) as stored:
        contents = {member: stored.read(member) for member in stored.namelist()}
    rng = np.random.default_rng(1)
    for member, content in contents.items():
        refused = 0
        for _ in range(40):
            changed = bytearray(content)
            changed[int(rng.integers(len(content)))] ^= 1 << int(rng.integers(8))
            zipped(path, contents | {member: bytes(changed)})
            refused += is_refused(path, explanation)
        # The header '|f4' means what '<f4' means.
        assert refused >= 38


def test_swapped_arrays_are_found(path, members):
    for first in members:
        for second in set(members) - {first}:
            put(path, members | {first: members[second], second: members[first]})
            assert refusal(path)


# Single damages ------------------------------------------------------------------------------------------------------


def zipped(path, contents, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of two members with one name
        with zipfile.ZipFile(path, "w", **options) as file:
            for name, content in contents.items() if isinstance(contents, dict) else contents:
                file.writestr(name, content)


def npy_bytes(array):
    stream = io.BytesIO()
    npy.write_array(stream, np.asarray(array))
    return stream.getvalue()


def header_bytes(shape, descr="<f4"):
    stream = io.BytesIO()
    npy.write_array_header_1_0(stream, {"descr": descr, "fortran_order": False, "shape": shape})
    return stream.getvalue()


def claim_size(path, member, size, stored=None):
    """Writes another size of a member into the directory of the zip file."""
    content = bytearray(path.read_bytes())
    entry = content.index(b"PK\x01\x02")
    while content[entry + 46 :][: len(member)] != member.encode():
        entry = content.index(b"PK\x01\x02", entry + 4)
    struct.pack_into("<I", content, entry + 24, size)
    if stored is not None:
        struct.pack_into("<I", content, entry + 20, stored)
    path.write_bytes(content)


def test_the_array_that_has_changed_is_named(path, members):
    for name in set(members) - {"record"}:
        changed = members[name].copy()
        changed.reshape(-1).view("uint8")[0] ^= 1
        put(path, members | {name: changed})
        assert refusal(path) == f"the array {name!r} has changed since it was written"
    put(path, members | {"scores": members["scores"].astype("float64")})
    assert refusal(path).startswith("the array 'scores' has changed: it is ['<f8', [2]], and its record says ['<f4'")
    put(path, members | {"values/0": members["values/0"].reshape(2, 9)})
    assert refusal(path).startswith("the array 'values/0' has changed: it is ['<f4', [2, 9]]")
    del members["target"]
    put(path, members)
    assert refusal(path) == "the array 'target' is missing"


def test_a_record_that_has_changed_is_refused(path, members):
    for entry in ({"method": "LRP"}, {"provenance": {}}, {"sha256": None}, {"more": 1}):
        record = json.loads(str(members["record"])) | entry
        put(path, members | {"record": np.array(json.dumps(record))})
        assert refusal(path) == "its record has changed since it was written"


def test_a_folder_is_refused(path):
    path.mkdir()
    assert refusal(path) == "it is a folder or a device"


def test_a_pipe_is_refused_and_not_waited_for(path):
    os.mkfifo(path)
    assert refusal(path) == "it is a folder or a device"


def test_a_missing_file_is_a_missing_file(path):
    with pytest.raises(FileNotFoundError):
        tfs.Explanation.load(path)


def test_an_encrypted_file_is_refused(path):
    one_part().save(path)
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    assert refusal(path) == "the array 'record' is encrypted"


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_another_compression_is_refused(method, path, members):
    zipped(path, {f"{name}.npy": npy_bytes(array) for name, array in members.items()}, compression=method)
    assert "is not read" in refusal(path)


def test_two_arrays_of_one_name_are_refused(path, members):
    contents = [(f"{name}.npy", npy_bytes(array)) for name, array in members.items()]
    zipped(path, [*contents, contents[1]])
    assert refusal(path) == "two of its arrays have the same name"


def bomb(path, members, name):
    """40 MB of zeros in 40 kB."""
    zeros = np.zeros((2, 5_000_000), "float32") if name != "record" else np.zeros((), "U10000000")
    put(path, members | {name: zeros}, compressed=True)


def of_terabytes(path, members, name):
    contents = {f"{each}.npy": npy_bytes(array) for each, array in of_format_2(members).items()}
    zipped(path, contents | {f"{name}.npy": header_bytes((2, 2**40)) + bytes(99)})


def larger_than_its_file(path, members, name):
    contents = {f"{each}.npy": npy_bytes(array) for each, array in of_format_2(members).items()}
    zipped(path, contents | {f"{name}.npy": header_bytes((2, 2**29 - 17)) + bytes(99)})
    claim_size(path, f"{name}.npy", 2**32 - 8, stored=2**32 - 8)


def of_a_record_that_agrees(path, members, name):
    """A forged record, header and directory agree on 4 GiB: 400 bytes hold no such array."""
    wanted = {"dtype": "<f4", "shape": [2, 2**29 - 17], "sha256": ""}
    arrays = json.loads(str(members["record"]))["arrays"] | {name: wanted}
    contents = {f"{each}.npy": npy_bytes(array) for each, array in with_record(members, arrays=arrays).items()}
    zipped(
        path, contents | {f"{name}.npy": header_bytes((2, 2**29 - 17)) + bytes(99)}, compression=zipfile.ZIP_DEFLATED
    )
    claim_size(path, f"{name}.npy", 2**32 - 8)


@pytest.mark.parametrize("name", ["record", "scores", "values/0", "diagnostics/converged"])
@pytest.mark.parametrize("make", [bomb, of_terabytes, larger_than_its_file, of_a_record_that_agrees])
def test_no_memory_is_taken_for_what_a_file_claims(make, name, path, members):
    make(path, members, name)
    tracemalloc.start()
    try:
        assert refusal(path)
        assert tracemalloc.get_traced_memory()[1] < 2 * MIB
    finally:
        tracemalloc.stop()


def test_arrays_that_lie_over_each_other_are_refused(path):
    """A small zip file of many members that are all the same bytes."""
    contents = {f"values/{place}.npy": npy_bytes(np.zeros((1, 99))) for place in range(3)}
    zipped(path, contents)
    content = path.read_bytes()
    first, directory = content.index(b"values/1") - 30, content.index(b"PK\x01\x02")
    moved = bytearray(content[:first] + content[directory:])
    struct.pack_into("<I", moved, len(moved) - 6, first)
    path.write_bytes(moved)
    assert refusal(path) == "its arrays claim more bytes than the file has"


def test_a_comment_that_hides_an_array_is_refused(path, members):
    """Without checksums nobody would miss it."""
    put(path, of_format_2(members))
    content = bytearray(path.read_bytes())
    last = content.rindex(b"PK\x01\x02")
    content[content.rindex(b"PK\x01\x02", 0, last) + 33] = 1
    path.write_bytes(content)
    assert refusal(path) == "its directory has comments"


def test_no_memory_is_an_answer_too(path, monkeypatch):
    one_part().save(path)

    def full(*_):
        raise MemoryError

    monkeypatch.setattr(zipfile.ZipExtFile, "read", full)
    assert refusal(path) == "the array 'record' is damaged: MemoryError"


def test_objects_are_neither_read_nor_written(path, members):
    put(path, members | {"inputs/0": np.array([{}, {}], dtype=object)})
    assert "its dtype is object, and only numbers and text are read" in refusal(path)
    fields = np.zeros(2, [("a", "f4")])
    for array in (np.array([{}, {}], dtype=object), fields):
        with pytest.raises(ValueError, match="Only arrays of numbers or text can be written. Received: .*'inputs/0'"):
            tfs.Explanation(np.ones((2, 1)), array, None, np.ones(2), "m").save(path)


@pytest.mark.parametrize(
    "header",
    [
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (2L,)}",  # of Python 2: NumPy warns
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (-2,)}",
        b"{'descr': '<f4', 'fortran_order': False, 'shape': 2}",
        b"{'descr': '\\q', 'fortran_order': 1if 1else 0, 'shape': (2,)}",
        b"{'descr': ('<f4', (2,)), 'fortran_order': False, 'shape': (1,)}",
        b"(" * 3000,
        b"-" * 3000 + b"1",
        b"[1](2)",
        b"'",
        b"\xff\x00",
    ],
)
def test_headers_of_any_text_are_refused(header, path, members):
    contents = {f"{name}.npy": npy_bytes(array) for name, array in members.items()}
    for version in (b"\x01\x00", b"\x02\x00", b"\x03\x00"):
        length = struct.pack("<H" if version == b"\x01\x00" else "<I", len(header))
        zipped(path, contents | {"scores.npy": npy.MAGIC_PREFIX + version + length + header + bytes(8)})
        assert refusal(path).startswith("the array 'scores' ")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("no json", "Expecting value"),
        ("", "Expecting value"),
        ("[]", "type list, and not a dict"),
        ("null", "type NoneType, and not a dict"),
        ("[" * 100_000, "recursion"),
        ('{"a":' * 100_000, "recursion"),
        ("9" * 5000, "digits"),
        ("{}", "it has format None"),
        ('{"format": [2]}', r"it has format [2]"),
        ('{"format": "2"}', "it has format '2'"),
        ('{"format": 99}', "it has format 99, and the formats (1, 2, 3, 4) are read"),
        ('{"format": 3}', "its record has changed"),
        ('{"format": 2}', "the entry 'kind' of its record is of type NoneType"),
    ],
)
def test_records_of_any_text_are_refused(text, reason, path, members):
    put(path, members | {"record": np.array(text)})
    assert reason in refusal(path)


def test_a_record_that_is_no_text_is_refused(path, members):
    for record in (np.ones(3), np.array(["{}", "{}"]), np.array(b"{}"), np.full(1, 0x7FFFFFFF, "uint32").view("U1")):
        put(path, members | {"record": record})
        assert refusal(path)


@pytest.mark.parametrize("forged", [with_record, of_format_2])
@pytest.mark.parametrize(
    ("entries", "reason"),
    [
        ({"kind": "Path"}, "it is of the kind 'Path'"),
        ({"kind": ["Explanation"]}, "the entry 'kind' of its record is of type list"),
        ({"method": 3}, "the entry 'method' of its record is of type int"),
        ({"method": None}, "the entry 'method' of its record is of type NoneType"),
        ({"explained": {}}, "the entry 'explained' of its record is of type dict"),
        ({"provenance": []}, "the entry 'provenance' of its record is of type list"),
        ({"meaning": "love"}, "meaning is one of"),
        ({"meaning": 3}, "the entry 'meaning' of its record is of type int"),
        ({"meaning": [3]}, "meaning is one of"),
        ({"meaning": ["signed", "magnitude"]}, "2 parts are too many"),
        ({"meaning": {"a": []}}, "0 parts are too few"),
        ({"meaning": "magnitude"}, "'magnitude' are never negative"),
        ({"values": ["list", [None, None]]}, "1 parts are too few"),
        ({"values": ["list", []]}, "1 parts are too many"),
        ({"values": ["dict", [None]]}, "A structure is None, or a kind"),
        ({"inputs": ["set", [None]]}, "A structure is None, or a kind"),
        ({"inputs": "values"}, "A structure is None, or a kind"),
        ({"inputs": ["list", [["list", 3]]]}, "A structure is None, or a kind"),
    ],
)
def test_records_of_wrong_entries_are_refused(forged, entries, reason, path, members):
    put(path, forged(members, **entries))
    assert reason in refusal(path)


@pytest.mark.parametrize(
    ("name", "array", "reason"),
    [
        ("scores", np.ones(3), "There are 3 scores, and the array"),
        ("scores", np.float32(1), "Scores have the shape (N,). Received: ()"),
        ("scores", np.array(["a", "b"]), "The array 'scores' holds numbers. Received: <U1"),
        ("target", np.ones(3, int), "There are 2 scores, and the array 'target' has the shape (3,)"),
        ("target", np.ones((2, 1), int), "There are 2 scores, and the array 'target' has the shape (2, 1)"),
        ("diagnostics/converged", np.ones(1), "There are 2 scores, and the array 'diagnostics/converged'"),
        ("values/0", np.ones((3, 3, 3, 1)), "There are 2 scores, and the array 'values/0'"),
        ("values/0", np.full((2, 3), "a"), "The array 'values/0' holds numbers. Received: <U1"),
        ("inputs/0", np.ones((1, 3)), "There are 2 scores, and the array 'inputs/0'"),
    ],
)
def test_arrays_that_do_not_fit_each_other_are_refused(name, array, reason, path, members):
    put(path, of_format_2(members) | {name: np.asarray(array)})
    assert reason in refusal(path)
    arrays = json.loads(str(members["record"]))["arrays"] | {name: archive._described(np.asarray(array))}
    put(path, with_record(members, arrays=arrays) | {name: np.asarray(array)})
    assert reason in refusal(path)


def test_an_explanation_that_could_not_be_read_is_not_written(path):
    with pytest.raises(ValueError, match="There are 3 scores, and the array 'values/0' has the shape"):
        tfs.Explanation(np.ones((2, 1)), np.ones((3, 1)), None, np.ones(3), "m").save(path)
    with pytest.raises(ValueError, match="A record has at most 4193280 characters. Received: "):
        tfs.Explanation(np.ones((1, 1)), np.ones((1, 1)), None, np.ones(1), "m" * 2**22).save(path)
    assert os.listdir(path.parent) == []


def test_parts_of_other_names_are_refused(path, members):
    members = of_format_2(members)
    members["values/a"] = members.pop("values/0")
    put(path, members)
    assert refusal(path) == "the array 'values/0' is missing"
    del members["scores"]
    put(path, members)
    assert refusal(path) == "the array 'scores' is missing"


# Formats -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("number", "meaning"), [(1, "signed"), (2, "signed")])
def test_files_of_older_versions_are_read(number, meaning):
    """Written by the last versions that wrote these formats."""
    values = [np.arange(6, dtype="float32").reshape(2, 3) - 2, np.ones((2, 1), "float32")]
    inputs = [np.arange(6, dtype="uint8").reshape(2, 3), np.zeros((2, 1), "float32")]
    expected = tfs.Explanation(
        values,
        inputs,
        np.array([1, 0]),
        np.array([0.5, 2], "float32"),
        "Gradient",
        diagnostics={"converged": np.array([True, False])},
        explained="logits",
        provenance={"model": "twins", "seconds": 0.25},
        meaning=meaning,
    )
    assert_equal(tfs.Explanation.load(SAVED / f"format_{number}.npz"), expected)


def test_a_file_of_format_2_may_hold_what_an_older_numpy_put_there(path, members):
    """An older NumPy writes an argument that it does not know as an array."""
    put(path, of_format_2(members) | {"allow_pickle": np.array(False)})
    assert_equal(tfs.Explanation.load(path), one_part())


def test_arrays_that_are_read_are_not_copied_and_cannot_be_written_to(path):
    one_part().save(path)
    values = tfs.Explanation.load(path).values
    assert isinstance(values.base, bytes)
    assert not values.flags.writeable


def test_numpy_alone_reads_the_values(path, members):
    np.testing.assert_array_equal(members["values/0"], one_part().values)
    assert json.loads(str(members["record"]))["method"] == "Gradient"


def test_names_and_records_come_back_as_they_are(path):
    explanation = tfs.Explanation(
        np.ones(0),
        {"1": np.ones((0, 3)), "ü/..": np.array([], "U3")},
        None,
        np.ones(0),
        "",
        diagnostics={"é/": np.ones(0)},
        provenance={"many": [1e-320, float("inf"), True, None, "\ud800"], "big": 10**100},
    )
    explanation.save(path)
    assert_equal(tfs.Explanation.load(path), explanation)
