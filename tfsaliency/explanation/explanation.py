import dataclasses
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from tfsaliency.base.meaning import Meaning, check_meaning, joint_meaning, meanings_of
from tfsaliency.base.structure import flatten, map_parts, optional_parts, part_names, skeleton, unflatten
from tfsaliency.base.words import column_names, for_parts, merged, token_names
from tfsaliency.explanation.files import read, write
from tfsaliency.explanation.several import stacked
from tfsaliency.transforms import Transform, check_transform, meaning_after, name_of, times_input, transformed

if TYPE_CHECKING:
    from matplotlib.figure import Figure


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
            Where it differs, such as for ids beside numbers, one for each part in the structure of the values.
        diagnostics: name -> ``(N,)`` numbers about each sample's values.
        explained: whether the scores are logits under a softmax or sigmoid, or the model's output itself.
        provenance: versions, the model's name and fingerprint, the target and the time in seconds; ``"layer"`` for a
            map over the places of a layer; ``"held"``: the parts of the inputs that nothing is explained of, and why;
            ``"ids"``: the parts that are ids, and not numbers; ``"grey"``: the parts that are pictures without an axis
            of channels; ``"padded"``: the parts whose rows may be filled up; ``"by_word"``: the parts whose values
            `by_word` merged; ``"baseline"``: what a baseline that was not given stands for.
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
    meaning: Any = "signed"
    tokens: Any = None
    feature_names: Any = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "meaning", joint_meaning(self.meaning, self.values))
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

    def __reduce__(self) -> tuple[Any, ...]:
        """For copies, and for other processes: no mapping that cannot be written to can be pickled."""
        fields = (getattr(self, each.name) for each in dataclasses.fields(self))
        return type(self), tuple(dict(each) if isinstance(each, MappingProxyType) else each for each in fields)

    @property
    def meanings(self) -> list[Meaning]:
        """The meaning of each part of the values, dicts in the order of their sorted keys."""
        return meanings_of(self.meaning, self.values)

    def __len__(self) -> int:
        """The number of samples."""
        return len(self.scores)

    def map(self, transform: Transform) -> "Explanation":
        """A new explanation with transformed values.

        Args:
            transform: ``(values, inputs) -> values`` on one part of the inputs; see `tfsaliency.transforms`.

        Raises:
            TypeError: the transform is not a function of two arguments, or it still needs its options.
            ValueError: it returns other rows than it was given; values that are never negative became negative, and
                the transform declares no new meaning; ids are to be multiplied by.

        Example:
            >>> import keras, numpy as np, tfsaliency as tfs
            >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
            >>> explanation = tfs.Gradient(model).explain(np.ones((1, 3)))
            >>> explanation.map(tfs.transforms.absolute).method
            'Gradient.map(absolute)'
        """
        check_transform(transform)
        if transform is times_input and self.provenance.get("ids"):
            raise ValueError(
                "times_input multiplies by the inputs, and ids are names, not numbers. GradientTimesInput(model) "
                f"multiplies by the vectors that the model looks up for them. Received: {self!r}"
            )
        if self.has_several:
            return stacked([one.map(transform) for one in self.each()], self.provenance["target"])
        values = map_parts(
            lambda part, given: np.asarray(transformed(transform, part, given)), self.values, self.inputs
        )
        return dataclasses.replace(
            self,
            values=values,
            method=f"{self.method}.map({name_of(transform)})",
            meaning=map_parts(lambda meaning: meaning_after(transform, meaning), self.meaning),
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
        columns = self._of_parts(self.feature_names, feature_names, "feature_names", column_names)
        return dataclasses.replace(self, tokens=words, feature_names=columns)

    def by_word(self, texts: Any, offsets: Any) -> "Explanation":
        """The same explanation with one value for each word of a text, and no longer for each piece of a word.

        Contributions of the pieces are summed: their sum stays. Of magnitudes the norm is taken.

        Args:
            texts: one for each sample; words are what white space separates. For inputs of several parts a dict of
                these, or a list with None.
            offsets: in the same form, for each sample the spans ``(first letter, one behind the last)`` of its tokens,
                as tokenizers give them; or a function that returns the spans for a text, such as ``lambda text:
                tokenizer(text, return_offsets_mapping=True)["offset_mapping"]``. A token with an empty span, such as
                one for the end, stays by itself.

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
        names = optional_parts(self.tokens, self.values)
        per_part = (for_parts(given, self.inputs, name) for name, given in (("texts", texts), ("offsets", offsets)))
        values, words, by_word = [], [], []
        parts = zip(part_names(self.inputs), flatten(self.values), names, self.meanings, *per_part, strict=True)
        for place, part, name, meaning, text, spans in parts:
            if text is None:
                values.append(part)
                words.append(name)
                continue
            found = merged(part, name, text, spans, by_norm=meaning == "magnitude")
            values.append(found.values)
            words.append(found.words)
            by_word.append(place)
        form = skeleton(self.inputs)
        return dataclasses.replace(
            self,
            values=unflatten(form, values),
            tokens=unflatten(form, words),
            provenance={**self.provenance, "by_word": by_word},
        )

    def _of_parts(self, known: Any, given: Any, name: str, named: Callable[[Any, np.ndarray], np.ndarray]) -> Any:
        """What is known of each part, replaced by what the user gives for some; None where nothing is known."""
        if given is None:
            return known
        parts = flatten(self.inputs)
        before = optional_parts(known, self.inputs)
        after = for_parts(given, self.inputs, name)
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

    def __rich__(self) -> Any:
        """What ``rich.print`` shows: the words of texts on coloured ground, for whatever colours its console has."""
        # It comes with Keras, and is needed by those who have it in their hands.
        from rich.text import Text

        if self.tokens is None:
            return Text(repr(self))
        from tfsaliency.plot.terminal import words_of

        return Text.from_ansi(words_of(self, colours=True))

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
        write(self, path)

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
        found: Explanation = read(path, _KINDS)
        return found


@dataclass(frozen=True, eq=False, repr=False)
class Visualization(Explanation):
    """Pictures that an optimizer made for classes.

    ``values`` are inputs of the model, and ``inputs`` are their starting points.
    """

    meaning: Meaning = "painting"


_KINDS = {kind.__name__: kind for kind in (Explanation, Visualization)}


def _frozen(array: Any) -> np.ndarray:
    """A read-only array; a writable array is copied, so the caller's own array stays writable."""
    frozen: np.ndarray = np.asarray(array)
    if frozen.flags.writeable:
        frozen = frozen.copy()
        frozen.flags.writeable = False
    return frozen
