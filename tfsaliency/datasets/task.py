"""What one explainer makes of the rows of a source, as tables."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from tfsaliency.base.structure import flatten
from tfsaliency.datasets.arrow import rows_that_lose, table_of
from tfsaliency.datasets.failing import explained
from tfsaliency.datasets.folder import Folder
from tfsaliency.datasets.rows import BadRow, Row, Rows
from tfsaliency.engine.compiled import ENOUGH_ROWS
from tfsaliency.explainer import Explainer
from tfsaliency.explanation import Explanation
from tfsaliency.model.identity import identity
from tfsaliency.target.base import Several, Target, check_samples
from tfsaliency.target.outputs import as_target

# A part has about so many bytes, and no more rows than that.
PART_BYTES, PART_ROWS = 64 * 2**20, 4096
# What fails for so many first rows alone fails for all.
TELLING = 3
LOSSY = "float16 does not hold its values to a thousandth: they are too small or too large. Take dtype='float32'."


class Made(NamedTuple):
    """What became of some rows.

    Attributes:
        table: the rows that could be explained, None where there is none.
        bad: those that could not.
    """

    table: Any
    bad: list[BadRow]


@dataclass(frozen=True)
class Form:
    """How explanations are asked for and written; see `explain_dataset`."""

    target: Any
    part_rows: int | None
    dtype: str
    keep_inputs: bool
    batch_size: int | None

    def rows_of_part(self, row: Row) -> int:
        """How many rows like this one make a part."""
        if self.part_rows is not None:
            return self.part_rows
        numbers = sum(np.asarray(part).nbytes for part in flatten(row.inputs))
        rows = min(PART_ROWS, max(1, PART_BYTES // max(1, numbers * (1 + self.keep_inputs))))
        # Parts are whole device batches where they can be.
        return rows // ENOUGH_ROWS * ENOUGH_ROWS or rows


class Task:
    """One explainer and the folder that it writes to."""

    def __init__(self, explainer: Explainer, folder: Folder, form: Form):
        self.explainer, self.folder, self._form = explainer, folder, form
        self._has_made = self._has_filled_up = False

    def begin(self, source: dict[str, Any], part_rows: int, first: Row) -> None:
        """Makes the folder, or goes on with it.

        Args:
            source: what tells the source from others.
            part_rows: rows of a part.
            first: the first row of the source.

        Raises:
            ValueError: the folder belongs to another call.
        """
        if self.explainer.is_of_one_batch:
            raise ValueError(
                f"A dataset is explained part by part, and {self.explainer} holds a baseline for each sample of one "
                "batch. Make the baseline a function of the inputs, which returns one for each of them, or explain "
                "x[a:b] with per_sample(before[a:b])."
            )
        self.check_target(source["rows"])
        target = identity(self._form.target)
        if isinstance(target, str) and target in first.columns:
            target = {"column": target, "first": identity(first.columns[target])}
        self.folder.begin(
            {
                "method": str(self.explainer),
                "explainer": identity(self.explainer),
                "target": target,
                "source": source,
                "part_rows": part_rows,
                "dtype": self._form.dtype,
                "keep_inputs": self._form.keep_inputs,
            }
        )

    def check_target(self, rows: int | None) -> None:
        """Raises where the target chooses something for each of another number of rows; None where it is not known."""
        for number in (target.count() for target in self._targets):
            is_of_rows = number > 1 or isinstance(self._form.target, list | tuple | np.ndarray)
            if is_of_rows and rows is not None:
                check_samples("choices", number, rows)

    @cached_property
    def _targets(self) -> tuple[Target, ...]:
        """The targets as objects; none for a column."""
        target = self._form.target
        if isinstance(target, Several):
            return target.targets
        return () if isinstance(target, str) else (as_target(target),)

    @cached_property
    def _given(self) -> list[dict[str, np.ndarray]]:
        """What each target chooses for each row, read once for all parts."""
        return [target.given(target.count()) for target in self._targets]

    def make(self, rows: Rows) -> Made:
        """The table of some rows.

        Raises:
            ValueError: the first rows that are asked about fail, each of them: then the call is wrong, and not the
                rows. Or the model reads the zeros that fill up shorter rows.
        """
        if isinstance(self._form.target, str):
            rows = _with_labels(rows, self._form.target)
        if not self._has_filled_up and rows.are_filled_up:
            self._check_filled_up(rows)
            self._has_filled_up = True
        good, explanation = explained(self._explain, rows, 0 if self._has_made else TELLING)
        if explanation is None:
            return Made(None, good.bad)
        self._has_made = True
        form = self._form
        table = table_of(good.ids, explanation, form.dtype, form.keep_inputs, self.folder.run)
        lossy = [] if form.dtype == "float32" else rows_that_lose(explanation.values, form.dtype)
        if lossy:
            table = table.take(np.setdiff1d(np.arange(len(table)), lossy))
            good = good.without(dict.fromkeys(lossy, LOSSY))
        return Made(table if len(table) else None, good.bad)

    def _explain(self, rows: Rows) -> Explanation:
        return self.explainer.explain(rows.inputs, self._target_of(rows), batch_size=self._form.batch_size)

    def _check_filled_up(self, rows: Rows) -> None:
        """Raises where the zeros that fill up the shortest row change its score, or where it has none without them."""
        for place in np.argsort(sum(each for each in rows.lengths if each is not None)):
            row = rows.only([place])
            try:
                filled_up = self._score(row, row.inputs)
            except ValueError:
                # It is a bad row, which is told as such.
                continue
            try:
                alone = self._score(row, row.without_filling())
            except ValueError:
                found = "and the model takes rows of one length"
            else:
                if np.isclose(filled_up, alone, rtol=1e-3, atol=1e-5):
                    return
                found = (
                    f"which the model reads: the score of the row {row.ids[0]!r} is {filled_up:.6g}, alone {alone:.6g}"
                )
            raise ValueError(
                "The lists of the source have several lengths. Zeros fill them up to the longest one of a part, "
                f"{found}. Fill the lists up as the model was trained, or let it mask what fills them up, such as "
                "Embedding(..., mask_zero=True). A model that takes rows of any length explains each as it is with "
                "part_rows=1."
            )

    def _score(self, row: Rows, inputs: Any) -> float:
        return float(self.explainer.scores(inputs, self._target_of(row)).flat[0])

    def _target_of(self, rows: Rows) -> Any:
        target = self._form.target
        if isinstance(target, str):
            return _labels(rows, target)
        of_rows = tuple(_of_rows(*each, rows.places) for each in zip(self._targets, self._given, strict=True))
        return Several(of_rows) if isinstance(target, Several) else of_rows[0]


def _of_rows(target: Target, given: dict[str, np.ndarray], places: np.ndarray) -> Target:
    """A target for the rows at some places of a source."""
    if (number := target.count()) == 1:
        return target
    if places.max() >= number:
        raise ValueError(f"The target holds {number} choices, and the source has more rows than that.")
    return target.of_rows(places, given)


def _with_labels(rows: Rows, column: str) -> Rows:
    """The rows whose label is not missing."""
    labels = rows.columns.get(column)
    if labels is None or labels.ndim != 1 or labels.dtype.kind != "f":
        return rows
    missing = np.flatnonzero(np.isnan(labels)).tolist()
    return rows.without(dict.fromkeys(missing, f"Its label {column!r} is missing.")) if missing else rows


def _labels(rows: Rows, column: str) -> np.ndarray:
    """The classes that a column holds, one for each row."""
    if column not in rows.columns:
        known = ", ".join(map(repr, rows.columns)) or "none"
        raise ValueError(f"The source has no column {column!r} for the target. Its columns: {known}")
    labels = rows.columns[column]
    # Whole numbers of which one is missing are kept as floats.
    is_whole = labels.dtype.kind in "iu" or (labels.dtype.kind == "f" and not (labels % 1).any())
    if labels.ndim == 1 and is_whole:
        return labels.astype("int64")
    is_one_hot = labels.ndim == 2 and labels.shape[1] > 1
    how = "tf.argmax(y, axis=-1)" if is_one_hot else "tf.cast(tf.reshape(y, [-1]), tf.int32)"
    raise ValueError(
        f"The column {column!r} has a class for each row, a whole number. Received: {labels.dtype} of shape "
        f"{labels.shape}. Map it before: dataset.map(lambda x, y: (x, {how})) for a Keras dataset, "
        f"frame[{column!r}].map({{name: class, ...}}) for a column of names."
    )
