"""Explains what can be explained of some rows, where others make the whole batch fail."""

from collections.abc import Callable, Sequence

from tfsaliency.datasets.rows import Rows
from tfsaliency.explanation import Explanation

Explain = Callable[[Rows], Explanation]


def explained(explain: Explain, rows: Rows, telling: int) -> tuple[Rows, Explanation | None]:
    """The rows that can be explained, with their explanation, which is None if there is none.

    Args:
        explain: explains rows, and raises ValueError if it cannot explain one of them.
        rows: the rows.
        telling: how many first rows tell, where each of them fails alone, that not the rows are at fault.

    Raises:
        ValueError: that of the last of them.
    """
    if not rows.ids:
        return rows, None
    try:
        return rows, explain(rows)
    except ValueError:
        first = [_error(explain, rows, [place]) for place in range(min(telling, len(rows.ids)))]
        if first and first[-1] is not None and None not in first:
            raise first[-1] from None
        good = rows.without(_reasons(explain, rows, range(len(rows.ids))))
    return good, explain(good) if good.ids else None


def _reasons(explain: Explain, rows: Rows, places: Sequence[int]) -> dict[int, str]:
    """Why rows cannot be explained, by their places: both halves are tried until single rows are left."""
    error = _error(explain, rows, places)
    if error is None:
        return {}
    if len(places) == 1:
        return {places[0]: str(error)}
    half = len(places) // 2
    return _reasons(explain, rows, places[:half]) | _reasons(explain, rows, places[half:])


def _error(explain: Explain, rows: Rows, places: Sequence[int]) -> ValueError | None:
    try:
        explain(rows.only(places))
    except ValueError as error:
        return error
    return None
