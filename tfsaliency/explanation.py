import dataclasses
import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from tfsaliency.base.files import appearing_whole
from tfsaliency.base.meaning import Meaning, check_meaning
from tfsaliency.base.structure import flatten, map_parts, skeleton, unflatten
from tfsaliency.transforms import Transform, check_transform, meaning_after, name_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMAT = 2
# Files of the first format do not contain the meaning of their values.
READ = (1, FORMAT)


@dataclass(frozen=True, eq=False)
class Explanation:
    """The values of a method for a batch, with everything to draw, save and reproduce them.

    Arrays are read-only; `map` makes a new explanation.

    Attributes:
        values: float32, in the structure and shape of the inputs, or with one channel if a method gives values to
            places: signed, never rescaled.
        inputs: the inputs as the user passed them.
        target: ``(N,)`` explained classes, None for a function of the logits.
        scores: ``(N,)`` float32, the explained scores.
        method: the method with its options.
        meaning: the meaning of the values. ``"signed"``: positive numbers are evidence for the target, negative numbers
            are evidence against it, and channels are summed. ``"magnitude"``: strength, never negative; the largest
            channel counts. ``"places"``: evidence of each place for the target, never negative, one number per place.
            ``"painting"``: the values are pictures themselves. The meaning selects the colours of pictures and reports.
        diagnostics: name -> ``(N,)`` numbers about each sample's values.
        explained: whether the scores are logits under a softmax or sigmoid, or the model's output itself.
        provenance: versions, the model's name and fingerprint, the target and the time in seconds; ``"layer"`` for a
            map over the places of a layer.
    """

    values: Any
    inputs: Any
    target: np.ndarray | None
    scores: np.ndarray
    method: str
    diagnostics: Mapping[str, np.ndarray] = field(default_factory=dict)
    explained: str = ""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    meaning: Meaning = "signed"

    def __post_init__(self) -> None:
        check_meaning(self.meaning, self.values)
        for name in ("values", "inputs"):
            object.__setattr__(self, name, map_parts(_frozen, getattr(self, name)))
        object.__setattr__(self, "target", None if self.target is None else _frozen(self.target))
        object.__setattr__(self, "scores", _frozen(self.scores))
        diagnostics = {name: _frozen(array) for name, array in self.diagnostics.items()}
        object.__setattr__(self, "diagnostics", MappingProxyType(diagnostics))
        object.__setattr__(self, "provenance", MappingProxyType(dict(self.provenance)))

    def __len__(self) -> int:
        """The number of samples."""
        return len(self.scores)

    def map(self, transform: Transform) -> "Explanation":
        """A new explanation with transformed values.

        Args:
            transform: ``(values, inputs) -> values`` on one part of the inputs; see `tfsaliency.transforms`.

        Raises:
            TypeError: the transform is not a function, or it still needs its options.
            ValueError: values that are never negative became negative, and the transform declares no new meaning.

        Example:
            >>> import keras, numpy as np, tfsaliency as tfs
            >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
            >>> explanation = tfs.Gradient(model).explain(np.ones((1, 3)))
            >>> explanation.map(tfs.transforms.absolute).method
            'Gradient.map(absolute)'
        """
        check_transform(transform)
        values = map_parts(lambda part, given: np.asarray(transform(part, given)), self.values, self.inputs)
        return dataclasses.replace(
            self,
            values=values,
            method=f"{self.method}.map({name_of(transform)})",
            meaning=meaning_after(transform, self.meaning),
        )

    def plot(self, **options: Any) -> "Figure":
        """Draws input, map and overlay of each sample; see `tfsaliency.plot.plot` for the options.

        Example:
            >>> import keras, numpy as np, tfsaliency as tfs
            >>> model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(2)])
            >>> figure = tfs.Gradient(model).explain(np.ones((1, 8, 8, 3))).plot(labels=["cat", "dog"])
            >>> figure.axes[0].get_title().split(":")[0] in ("cat", "dog")
            True
        """
        from tfsaliency.plot import plot

        return plot(self, **options)

    def report(self, path: str | os.PathLike[str], **options: Any) -> None:
        """Writes one HTML file that shows everything, with a slider; see `tfsaliency.plot.report` for the options.

        Args:
            path: ends in ``.html``; an existing file is replaced.
            **options: options of `tfsaliency.plot.report`.

        Example:
            >>> import keras, numpy as np, tempfile, tfsaliency as tfs
            >>> model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(2)])
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     tfs.Gradient(model).explain(np.ones((1, 8, 8, 3))).report(f"{folder}/cat.html")
        """
        from tfsaliency.plot import report

        report(self, path, **options)

    def _repr_png_(self) -> bytes:
        """The picture for a notebook: the first samples."""
        from tfsaliency.plot import png

        return png(self.plot(most=4))

    def __repr__(self) -> str:
        shapes = map_parts(lambda part: part.shape, self.values)
        target = None if self.target is None else self.target.tolist() if len(self) <= 8 else f"({len(self)},)"
        return f"{type(self).__name__}({self.method}, values={shapes}, target={target})"

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes one ``.npz`` file that `load` reads back exactly, without pickle.

        The file appears complete or not at all. An existing file is replaced.

        Args:
            path: ends in ``.npz``.

        Raises:
            ValueError: the path does not end in ``.npz``.

        Example:
            >>> import keras, numpy as np, tempfile, tfsaliency as tfs
            >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     tfs.Gradient(model).explain(np.ones((1, 3))).save(f"{folder}/map.npz")
        """
        path = _npz(path)
        record = {
            "format": FORMAT,
            "kind": type(self).__name__,
            "values": skeleton(self.values),
            "inputs": skeleton(self.inputs),
            "method": self.method,
            "meaning": self.meaning,
            "explained": self.explained,
            "provenance": dict(self.provenance),
        }
        arrays: dict[str, Any] = {"record": np.array(json.dumps(record)), "scores": self.scores}
        if self.target is not None:
            arrays["target"] = self.target
        for name in ("values", "inputs"):
            arrays |= {f"{name}/{place}": part for place, part in enumerate(flatten(getattr(self, name)))}
        arrays |= {f"diagnostics/{name}": array for name, array in self.diagnostics.items()}
        with appearing_whole(path) as unfinished, open(unfinished, "wb") as file:
            np.savez_compressed(file, allow_pickle=False, **arrays)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Explanation":
        """Reads a file that `save` wrote.

        Args:
            path: ends in ``.npz``.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: the file does not hold an explanation.

        Example:
            >>> import keras, numpy as np, tempfile, tfsaliency as tfs
            >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
            >>> explanation = tfs.Gradient(model).explain(np.ones((1, 3)))
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     explanation.save(f"{folder}/map.npz")
            ...     again = tfs.Explanation.load(f"{folder}/map.npz")
            >>> bool((again.values == explanation.values).all())
            True
        """
        path = _npz(path)
        try:
            with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
                arrays = dict(archive)
            record = json.loads(str(arrays.pop("record")))
            if record["format"] not in READ:
                raise ValueError(f"it has format {record['format']}, and the formats {READ} are read")
            kind = _KINDS[record["kind"]]
            parts = {
                name: unflatten(record[name], [arrays[f"{name}/{i}"] for i in range(_count(arrays, name))])
                for name in ("values", "inputs")
            }
            return kind(
                **parts,
                target=arrays.get("target"),
                scores=arrays["scores"],
                method=record["method"],
                meaning=record["meaning"] if "meaning" in record else _meaning_of_format_1(kind, parts["values"]),
                diagnostics={
                    name.removeprefix("diagnostics/"): array
                    for name, array in arrays.items()
                    if name.startswith("diagnostics/")
                },
                explained=record["explained"],
                provenance=record["provenance"],
            )
        except (ValueError, KeyError, EOFError, zipfile.BadZipFile, IndexError, TypeError) as error:
            raise ValueError(f"{path} does not hold an explanation that this version reads: {error}") from error


@dataclass(frozen=True, eq=False, repr=False)
class Visualization(Explanation):
    """Pictures that an optimizer made for classes.

    ``values`` are inputs of the model, and ``inputs`` are their starting points.
    """

    meaning: Meaning = "painting"


_KINDS = {kind.__name__: kind for kind in (Explanation, Visualization)}


def _meaning_of_format_1(kind: type[Explanation], values: Any) -> Meaning:
    """The meaning of values in a file of the first format: signed if any number is negative."""
    if kind is Visualization:
        return "painting"
    return "signed" if any((part < 0).any() for part in flatten(values)) else "magnitude"


def _frozen(array: Any) -> np.ndarray:
    """A read-only array; a writable array is copied, so the caller's own array stays writable."""
    frozen: np.ndarray = np.asarray(array)
    if frozen.flags.writeable:
        frozen = frozen.copy()
        frozen.flags.writeable = False
    return frozen


def _count(arrays: dict[str, np.ndarray], name: str) -> int:
    return sum(key.startswith(f"{name}/") for key in arrays)


def _npz(path: str | os.PathLike[str]) -> Path:
    path = Path(path)
    if path.suffix != ".npz":
        raise ValueError(f"An explanation is kept in a file that ends in .npz. Received: {path}")
    return path
