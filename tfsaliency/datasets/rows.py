"""A run of rows of a source: those that can be explained, as a batch, and why the others cannot."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from tfsaliency.base.structure import flatten, map_parts, names, skeleton

# A name or a number.
Id = str | int
NOT_FINITE = "Its inputs hold NaN or infinity."


class BadRow(NamedTuple):
    """A row that cannot be explained.

    Attributes:
        id: of the row.
        reason: why, in a sentence.
    """

    id: Id
    reason: str


class Row(NamedTuple):
    """One row of a source.

    Attributes:
        id: a name or number of its own.
        inputs: what the model takes, without a batch axis, in the structure of its inputs; an error where it could not
            be read.
        columns: what else the source says about it, by name.
    """

    id: Id
    inputs: Any
    columns: Mapping[str, Any]


class Rows(NamedTuple):
    """A run of rows.

    Attributes:
        ids: of the rows that can be explained.
        places: their numbers in the source.
        inputs: their inputs, batch first, in the structure of the model's inputs; None where there is no row.
        columns: what else is known of them, ``(rows,)`` each.
        bad: the rows that cannot be explained.
        lengths: how many items each row had in its source before zeros filled it up to the longest one, ``(rows,)`` for
            each input, None for an input that was no list.
    """

    ids: list[Id]
    places: np.ndarray
    inputs: Any
    columns: dict[str, np.ndarray]
    bad: list[BadRow]
    lengths: tuple[np.ndarray | None, ...] = ()

    @property
    def are_filled_up(self) -> bool:
        """Whether the rows had several lengths in their source."""
        return any(each is not None and len(set(each.tolist())) > 1 for each in self.lengths)

    @property
    def number(self) -> int:
        """Of all rows, bad ones too."""
        return len(self.ids) + len(self.bad)

    def only(self, places: Sequence[int]) -> "Rows":
        """Some of the rows that can be explained, by their positions among them."""
        chosen = list(places)
        return self._replace(
            ids=[self.ids[place] for place in chosen],
            places=self.places[chosen],
            inputs=map_parts(lambda part: part[chosen], self.inputs) if chosen else None,
            columns={name: column[chosen] for name, column in self.columns.items()},
            lengths=tuple(None if each is None else each[chosen] for each in self.lengths),
        )

    def without_filling(self) -> Any:
        """The inputs of one row as long as they were before they were filled up."""
        return map_parts(lambda part, n: part if n is None else part[:, : n[0]], self.inputs, self.lengths)

    def without(self, reasons: Mapping[int, str]) -> "Rows":
        """The same rows, some of which cannot be explained after all.

        Args:
            reasons: why, by the position of the row among those that could.
        """
        rest = self.only([place for place in range(len(self.ids)) if place not in reasons])
        return rest._replace(bad=[*self.bad, *(BadRow(self.ids[place], reason) for place, reason in reasons.items())])


def rows_of(batch: Sequence[Row], first: int) -> Rows:
    """Puts rows together. A row whose inputs are not like those of most others cannot be explained.

    Args:
        batch: the rows.
        first: the number of the first one in its source.
    """
    arrays = [row.inputs if isinstance(row.inputs, Exception) else map_parts(np.asarray, row.inputs) for row in batch]
    forms = [None if isinstance(each, Exception) else _form(each) for each in arrays]
    usual = next((form for form, _ in Counter(form for form in forms if form).most_common(1)), None)
    good = [place for place, form in enumerate(forms) if form is not None and form == usual]
    bad = [BadRow(row.id, _reason(arrays[place])) for place, row in enumerate(batch) if place not in set(good)]
    found = checked(
        [batch[place].id for place in good],
        np.array([first + place for place in good], dtype="int64"),
        map_parts(lambda *parts: np.stack(parts), *(arrays[place] for place in good)) if good else None,
        {name: np.array([batch[place].columns[name] for place in good]) for name in _shared_columns(batch)},
    )
    return found._replace(bad=[*bad, *found.bad])


def checked(
    ids: Sequence[Id],
    places: np.ndarray,
    inputs: Any,
    columns: dict[str, np.ndarray],
    lengths: tuple[np.ndarray | None, ...] = (),
) -> Rows:
    """Rows that are together already, without those that hold NaN or infinity."""
    rows = Rows(list(ids), places, inputs, columns, [], lengths)
    if not ids:
        return rows
    numbers = [part.reshape(len(ids), -1) for part in flatten(inputs) if part.dtype.kind == "f"]
    finite = np.all([np.isfinite(part).all(axis=1) for part in numbers], axis=0) if numbers else np.True_
    return rows if finite.all() else rows.without(dict.fromkeys(np.flatnonzero(~finite).tolist(), NOT_FINITE))


def _shared_columns(batch: Sequence[Row]) -> list[str]:
    return [name for name in batch[0].columns if all(name in row.columns for row in batch)] if batch else []


def _form(inputs: Any) -> str:
    """What rows of one batch have in common."""
    kinds = [part.dtype.kind in "UOS" for part in flatten(inputs)]
    return f"{skeleton(inputs)} {[part.shape for part in flatten(inputs)]} {kinds}"


def _reason(inputs: Any) -> str:
    if isinstance(inputs, Exception):
        return str(inputs) or type(inputs).__name__
    shapes = dict(zip(names(inputs), (part.shape for part in flatten(inputs)), strict=True))
    return f"Its inputs have another form than those of most rows around it: {shapes.get('', shapes)}."
