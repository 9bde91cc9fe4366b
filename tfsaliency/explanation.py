import dataclasses
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from tfsaliency.base import archive
from tfsaliency.base.files import appearing_whole
from tfsaliency.base.meaning import Meaning, check_meaning
from tfsaliency.base.structure import flatten, map_parts, skeleton, unflatten
from tfsaliency.base.structure import names as names_of
from tfsaliency.base.words import merged, token_names
from tfsaliency.transforms import Transform, check_transform, meaning_after, name_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMAT = 4
# Files of the first format do not contain the meaning of their values, those of the first two have no checksums, and
# those of the first three no words of texts.
READ = (1, 2, 3, 4)
CHECKED = 3
# Kinds of dtype: truth, integers, floats.
NUMBERS = "biuf"


@dataclass(frozen=True, eq=False)
class Explanation:
    """The values of a method for a batch, with everything to draw, save and reproduce them.

    Arrays are read-only; `map` makes a new explanation.

    Attributes:
        values: float32, in the structure and shape of the inputs, or with one channel if a method gives values to
            places: signed, never rescaled. One number for each id or category, and for a text one for each word.
        inputs: the inputs as the user passed them.
        target: ``(N,)`` explained classes, None for a function of the logits.
        scores: ``(N,)`` float32, the explained scores. For several targets (`tfsaliency.target.each`) these, ``target``
            and ``diagnostics`` are ``(N, K)``, NaN where a target has none, and values ``(N, K, ...)``.
        method: the method with its options.
        meaning: the meaning of the values. ``"signed"``: positive numbers are evidence for the target, negative numbers
            are evidence against it, and channels are summed. ``"magnitude"``: strength, never negative; the largest
            channel counts. ``"places"``: evidence of each place for the target, never negative, one number per place.
            ``"painting"``: the values are pictures themselves. The meaning selects the colours of pictures and reports.
        diagnostics: name -> ``(N,)`` numbers about each sample's values.
        explained: whether the scores are logits under a softmax or sigmoid, or the model's output itself.
        provenance: versions, the model's name and fingerprint, the target and the time in seconds; ``"layer"`` for a
            map over the places of a layer; ``"held"``: the parts of the inputs that nothing is explained of, and why.
        tokens: the words of a text that the model splits, or what `named` calls the tokens, ``(N, T)``, filled up with
            ``""``; in the structure of the inputs, with None for any other part. None where nothing has words.
        feature_names: what `named` calls the columns of a table, ``(F,)``; in the structure of the inputs, with None
            for any other part. None where no column has a name.
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
    tokens: Any = None
    feature_names: Any = None

    def __post_init__(self) -> None:
        check_meaning(self.meaning, self.values)
        for name in ("values", "inputs"):
            object.__setattr__(self, name, map_parts(_frozen, getattr(self, name)))
        for name in ("tokens", "feature_names"):
            words = getattr(self, name)
            if words is not None:
                frozen = map_parts(lambda part, given: None if part is None else _frozen(part), words, self.inputs)
                object.__setattr__(self, name, frozen)
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
        if self.has_several:
            return stacked([one.map(transform) for one in self.each()], self.provenance["target"])
        values = map_parts(lambda part, given: np.asarray(transform(part, given)), self.values, self.inputs)
        return dataclasses.replace(
            self,
            values=values,
            method=f"{self.method}.map({name_of(transform)})",
            meaning=meaning_after(transform, self.meaning),
        )

    @property
    def has_several(self) -> bool:
        """Whether it explains several targets."""
        return self.scores.ndim == 2

    def each(self) -> "list[Explanation]":
        """One explanation for each target of `tfsaliency.target.each`; of a single target this one.

        Example:
            >>> import keras, numpy as np, tfsaliency as tfs
            >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
            >>> both = tfs.Gradient(model).explain(np.ones((1, 3)), tfs.target.each([0, 1]))
            >>> [one.target.tolist() for one in both.each()]
            [[0], [1]]
        """
        if not self.has_several:
            return [self]
        names = self.provenance.get("targets", [""] * self.scores.shape[1])
        shared = {name: each for name, each in self.provenance.items() if name != "targets"}
        return [
            dataclasses.replace(
                self,
                values=map_parts(lambda part, place=place: part[:, place], self.values),
                scores=self.scores[:, place],
                target=None if self.target is None else self.target[:, place],
                diagnostics={diagnostic: array[:, place] for diagnostic, array in self.diagnostics.items()},
                provenance=shared | {"target": name},
            )
            for place, name in enumerate(names)
        ]

    def named(self, *, tokens: Any = None, feature_names: Any = None) -> "Explanation":
        """The same explanation with names for its tokens or columns, which pictures and reports show.

        Args:
            tokens: for each sample a list of names, at most one for each id; or a function that returns this list for
                the ids of a sample, such as ``lambda ids: [vocabulary[i] for i in ids]``. For inputs of several parts a
                dict of these, or a list with None.
            feature_names: for a table ``(N, F)`` a list of ``F`` names; for several parts a dict, or a list with None.

        Raises:
            ValueError: there is not one list for each sample, or not one name for each column.

        Example:
            >>> import keras, numpy as np, tfsaliency as tfs
            >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Embedding(9, 4), keras.layers.Flatten()])
            >>> model.add(keras.layers.Dense(2))
            >>> vocabulary = ["", "a", "bird", "sings"]
            >>> explanation = tfs.Gradient(model).explain(np.array([[1, 2, 3]]))
            >>> explanation.named(tokens=lambda ids: [vocabulary[i] for i in ids]).tokens
            array([['a', 'bird', 'sings']], dtype='<U5')
        """
        words = self._of_parts(self.tokens, tokens, "tokens", token_names)
        columns = self._of_parts(self.feature_names, feature_names, "feature_names", _column_names)
        return dataclasses.replace(self, tokens=words, feature_names=columns)

    def by_word(self, texts: Any, offsets: Any) -> "Explanation":
        """The same explanation with one value for each word of a text, and no longer for each piece of a word.

        Contributions of the pieces are summed: their sum stays. Of magnitudes the norm is taken.

        Args:
            texts: one for each sample; words are what white space separates. For inputs of several parts a dict of
                these, or a list with None.
            offsets: in the same form, for each sample the spans ``(first letter, one behind the last)`` of its tokens,
                as tokenizers give them. A token with an empty span, such as one for the end, stays by itself.

        Raises:
            ValueError: there is not one text for each sample, or more spans than tokens.

        Example:
            >>> import keras, numpy as np, tfsaliency as tfs
            >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Embedding(9, 4), keras.layers.Flatten()])
            >>> model.add(keras.layers.Dense(2))
            >>> explanation = tfs.DeepLIFT(model).explain(np.array([[1, 2, 3]]))  # birds sing-ing
            >>> words = explanation.by_word(["birds singing"], [[(0, 5), (6, 10), (10, 13)]])
            >>> words.tokens.tolist(), bool(np.isclose(words.values[0, 1], explanation.values[0, 1:].sum()))
            ([['birds', 'singing']], True)
        """
        if self.has_several:
            return stacked([one.by_word(texts, offsets) for one in self.each()], self.provenance["target"])
        names = [None] * len(flatten(self.values)) if self.tokens is None else flatten(self.tokens)
        per_part = (_for_parts(given, self.inputs, name) for name, given in (("texts", texts), ("offsets", offsets)))
        values, words = [], []
        for part, name, text, spans in zip(flatten(self.values), names, *per_part, strict=True):
            if text is None:
                values.append(part)
                words.append(name)
                continue
            found = merged(part, name, text, spans, by_norm=self.meaning == "magnitude")
            values.append(found.values)
            words.append(found.words)
        form = skeleton(self.inputs)
        return dataclasses.replace(self, values=unflatten(form, values), tokens=unflatten(form, words))

    def _of_parts(self, known: Any, given: Any, name: str, named: Callable[[Any, np.ndarray], np.ndarray]) -> Any:
        """What is known of each part, replaced by what the user gives for some; None where nothing is known."""
        if given is None:
            return known
        parts = flatten(self.inputs)
        before = [None] * len(parts) if known is None else flatten(known)
        after = _for_parts(given, self.inputs, name)
        pairs = zip(parts, before, after, strict=True)
        return unflatten(skeleton(self.inputs), [old if new is None else named(new, part) for part, old, new in pairs])

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
        held = f", held={list(self.provenance['held'])}" if "held" in self.provenance else ""
        return f"{type(self).__name__}({self.method}, values={shapes}, target={target}{held})"

    def __str__(self) -> str:
        """For texts the words of each sample, on coloured ground in a terminal and with their values elsewhere."""
        if self.tokens is None:
            return repr(self)
        from tfsaliency.plot.terminal import words_of

        return words_of(self, colours=sys.stdout.isatty() and "NO_COLOR" not in os.environ)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes one ``.npz`` file that `load` reads back exactly, without pickle.

        The file appears complete or not at all. An existing file is replaced.

        Args:
            path: ends in ``.npz``.

        Raises:
            ValueError: the path does not end in ``.npz``, or an array has not one row of numbers for each score.

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
        arrays = {"scores": self.scores}
        if self.target is not None:
            arrays["target"] = self.target
        for name in ("values", "inputs"):
            arrays |= {f"{name}/{place}": part for place, part in enumerate(flatten(getattr(self, name)))}
        words = [] if self.tokens is None else flatten(self.tokens)
        arrays |= {f"tokens/{place}": part for place, part in enumerate(words) if part is not None}
        columns = [] if self.feature_names is None else flatten(self.feature_names)
        arrays |= {f"columns/{place}": part for place, part in enumerate(columns) if part is not None}
        arrays |= {f"diagnostics/{name}": array for name, array in self.diagnostics.items()}
        _check_arrays(arrays)
        with appearing_whole(path) as unfinished, open(unfinished, "wb") as file:
            archive.write(file, record, arrays)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Explanation":
        """Reads a file that `save` wrote.

        Args:
            path: ends in ``.npz``.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: the file does not hold an explanation, or it has changed since it was written. The message says
                what is wrong with it.

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
            if path.exists() and not path.is_file():
                raise ValueError("it is a folder or a device")
            with open(path, "rb") as file:
                return _read(file)
        except (FileNotFoundError, PermissionError):
            raise
        # Bytes from anywhere make zipfile, zlib, json and NumPy raise almost everything.
        except Exception as error:
            raise ValueError(
                f"{path} does not hold an explanation that this version reads: {archive.reason(error)}"
            ) from error


@dataclass(frozen=True, eq=False, repr=False)
class Visualization(Explanation):
    """Pictures that an optimizer made for classes.

    ``values`` are inputs of the model, and ``inputs`` are their starting points.
    """

    meaning: Meaning = "painting"


def _for_parts(given: Any, inputs: Any, name: str) -> list[Any]:
    """What a user gives for each part of the inputs, None for some of them."""
    parts = names_of(inputs)
    if isinstance(inputs, dict):
        unknown = sorted(set(given) - set(parts)) if isinstance(given, dict) else [type(given).__name__]
        if unknown:
            raise ValueError(f"{name} is a dict with some of the inputs' names {parts}. Received: {unknown}")
        return [given.get(part) for part in parts]
    if isinstance(inputs, list | tuple):
        if len(given) != len(parts):
            raise ValueError(
                f"{name} holds one entry, or None, for each of {len(parts)} inputs. Received: {len(given)}"
            )
        return list(given)
    return [given]


def _column_names(names: Any, part: np.ndarray) -> np.ndarray:
    """The names of the columns of a part, ``(F,)``."""
    found = np.array([names] if isinstance(names, str) else list(names), str)
    if part.ndim != 2 or found.shape != part.shape[1:]:
        raise ValueError(
            f"feature_names holds one name for each column of a table. Received: {len(found)} names for inputs of "
            f"shape {part.shape}"
        )
    return found


def stacked(explanations: Sequence[Explanation], target: str) -> Explanation:
    """Explanations of the same inputs by one method for several targets, as one; see `Explanation.each`."""
    first = explanations[0]
    targets = [each.target for each in explanations if each.target is not None]
    without = np.full(len(first), np.nan)
    diagnostics = {
        name: np.stack([each.diagnostics.get(name, without) for each in explanations], axis=1)
        for name in dict.fromkeys(name for each in explanations for name in each.diagnostics)
    }
    names = [str(each.provenance["target"]) for each in explanations]
    seconds = sum(each.provenance.get("seconds", 0.0) for each in explanations)
    return dataclasses.replace(
        first,
        values=map_parts(lambda *parts: np.stack(parts, axis=1), *(each.values for each in explanations)),
        scores=np.stack([each.scores for each in explanations], axis=1),
        target=np.stack(targets, axis=1) if len(targets) == len(explanations) else None,
        diagnostics=diagnostics,
        provenance={**first.provenance, "target": target, "targets": names, "seconds": seconds},
    )


_KINDS = {kind.__name__: kind for kind in (Explanation, Visualization)}


def _read(file: BinaryIO) -> Explanation:
    """The explanation in an open file; any error if there is none."""
    stored = archive.Archive(file)
    record = stored.record
    if record.get("format") not in READ:
        raise ValueError(f"it has format {record.get('format')!r}, and the formats {READ} are read")
    checked = record["format"] >= CHECKED
    if checked:
        stored.check_record()
    kind = _KINDS.get(_entry(record, "kind", str))
    if kind is None:
        raise ValueError(f"it is of the kind {record['kind']!r}, and the kinds {tuple(_KINDS)} are read")
    # All that can be known from the headers is checked before an array is read.
    names = stored.headers
    structures = {
        name: unflatten(record.get(name), [f"{name}/{i}" for i in range(_count(names, name))])
        for name in ("values", "inputs")
    }
    diagnostics = [name for name in names if name.startswith("diagnostics/")]
    targets = [name for name in ("target",) if name in names]
    parts = range(_count(names, "inputs"))
    words, columns = (
        [name for name in (f"{kind}/{place}" for place in parts) if name in names] for kind in ("tokens", "columns")
    )
    used = [
        "scores",
        *targets,
        *words,
        *columns,
        *diagnostics,
        *flatten(structures["values"]),
        *flatten(structures["inputs"]),
    ]
    for name in used:
        if name not in names:
            raise ValueError(f"the array {name!r} is missing")
    _check_arrays({name: names[name] for name in used})
    arrays = {name: stored.array(name, checked=checked) for name in used}
    values, inputs = (map_parts(arrays.__getitem__, structures[name]) for name in ("values", "inputs"))
    return kind(
        values=values,
        inputs=inputs,
        target=arrays.get("target"),
        scores=arrays["scores"],
        method=_entry(record, "method", str),
        meaning=_meaning_of_format_1(kind, values) if record["format"] == 1 else _entry(record, "meaning", str),
        diagnostics={name.removeprefix("diagnostics/"): arrays[name] for name in diagnostics},
        explained=_entry(record, "explained", str),
        provenance=_entry(record, "provenance", dict),
        tokens=unflatten(record["inputs"], [arrays.get(f"tokens/{place}") for place in parts]) if words else None,
        feature_names=unflatten(record["inputs"], [arrays.get(f"columns/{place}") for place in parts])
        if columns
        else None,
    )


def _entry(record: dict[str, Any], name: str, kind: type) -> Any:
    """An entry of a record, of this type."""
    if not isinstance(record.get(name), kind):
        raise ValueError(f"the entry {name!r} of its record is of type {type(record.get(name)).__name__}")
    return record[name]


def _check_arrays(arrays: Mapping[str, Any]) -> None:
    """Raises ValueError unless there is one row of each array for each score, and numbers but for the inputs.

    Args:
        arrays: name in the file -> array, or anything else with ``shape`` and ``dtype``.
    """
    scores = arrays["scores"].shape
    if len(scores) not in (1, 2):
        raise ValueError(f"Scores have the shape (N,). Received: {scores}. For several targets: (N, K)")
    for name, array in arrays.items():
        if name.startswith("columns/"):
            continue
        # Inputs have no axis for targets.
        axes = 1 if name.startswith(("inputs/", "tokens/")) else len(scores)
        shape = array.shape[:axes] if name.startswith(("values/", "inputs/", "tokens/")) else array.shape
        if shape != scores[:axes]:
            number = scores[0] if len(scores) == 1 else scores
            raise ValueError(f"There are {number} scores, and the array {name!r} has the shape {array.shape}")
        if array.dtype.kind not in NUMBERS and not name.startswith(("inputs/", "tokens/")):
            raise ValueError(f"The array {name!r} holds numbers. Received: {array.dtype}")


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


def _count(names: Iterable[str], start: str) -> int:
    return sum(name.startswith(f"{start}/") for name in names)


def _npz(path: str | os.PathLike[str]) -> Path:
    path = Path(path)
    if path.suffix != ".npz":
        raise ValueError(f"An explanation is kept in a file that ends in .npz. Received: {path}")
    return path
