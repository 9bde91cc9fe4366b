"""The table of a comparison: every number of every sample, and what can be concluded from it."""

import os
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tfsaliency.base import archive
from tfsaliency.base.files import appearing_whole
from tfsaliency.metrics.metric import Better
from tfsaliency.metrics.statistics import bootstrap_means, holm, interval, kendall_w, means, resamples, sign_flip

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMAT = 1
# Letters in a line of the sentences under a table.
WIDTH = 100
# Below so many samples a test of all or many signs is better than the percentiles of a bootstrap.
FEW = 30
LEVEL = 0.05
# A control that is worse than chance on purpose, and so no bar to clear.
NO_BAR = "the inverse map"


class Column(NamedTuple):
    """What one metric says of all rows, means over samples; the best method is the first of the best mean.

    Attributes:
        means: ``(R,)``; NaN where the metric says nothing about a row.
        low: the lower end of the 95 % interval of each mean.
        high: the upper end.
        best: the row of the best method; None where there is none.
        behind: ``(R,)``, how much worse than the best method each row is, never negative for a method.
        behind_low: the lower end of the 95 % interval of that.
        behind_high: the upper end.
        probability: ``(R,)``, of a difference as large as this between equals, corrected by Holm over the methods; NaN
            for the best method and for controls.
        fails: for each row the controls that it does not beat: the 95 % interval of the difference is not above zero.
    """

    means: np.ndarray
    low: np.ndarray
    high: np.ndarray
    best: int | None
    behind: np.ndarray
    behind_low: np.ndarray
    behind_high: np.ndarray
    probability: np.ndarray
    fails: list[list[str]]

    def is_tied(self, row: int) -> bool:
        """Whether a method cannot be distinguished from the best one with these samples."""
        return bool(self.probability[row] >= LEVEL)


@dataclass(frozen=True, eq=False)
class Comparison:
    """Methods and controls, measured on the same samples. `compare` makes it; ``print`` shows the table.

    Attributes:
        methods: the names of the methods.
        controls: the names of the control maps, which know nothing of the model.
        metrics: the metrics with their options.
        better: for each metric ``"higher"``, ``"lower"`` or ``"neither"``.
        values: ``(methods + controls, metrics, N)`` float64; NaN where a metric says nothing.
        seconds: for each method, what its maps took.
        draws: how often samples are drawn with replacement for an interval.
        seed: of these draws.
        provenance: the model, the target and versions.

    Example:
        >>> import keras, numpy as np, tfsaliency as tfs
        >>> keras.utils.set_random_seed(0)
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(8, "relu"), keras.layers.Dense(3)])
        >>> methods = [tfs.Gradient(model), tfs.DeepLIFT(model)]
        >>> x = np.random.default_rng(0).normal(size=(20, 4))
        >>> table = tfs.metrics.compare(methods, x, metrics=[tfs.metrics.MuFidelity])
        >>> table.methods, table.values.shape
        (('Gradient', 'DeepLIFT'), (6, 1, 20))
    """

    methods: tuple[str, ...]
    controls: tuple[str, ...]
    metrics: tuple[str, ...]
    better: tuple[Better, ...]
    values: np.ndarray
    seconds: np.ndarray
    draws: int = 10_000
    seed: int = 0
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def rows(self) -> tuple[str, ...]:
        """The names of methods and controls."""
        return self.methods + self.controls

    @property
    def headings(self) -> list[str]:
        """The metrics by number, without their options."""
        return [f"({number}) {metric.partition('(')[0]}" for number, metric in enumerate(self.metrics, start=1)]

    @property
    def ends(self) -> list[str]:
        """Which end of each metric is better, in words."""
        return ["no quality" if better == "neither" else f"{better} is better" for better in self.better]

    @property
    def samples(self) -> int:
        """How many samples were measured."""
        return int(self.values.shape[2])

    @cached_property
    def columns(self) -> list[Column]:
        """What each metric says."""
        return [self._column(number) for number in range(len(self.metrics))]

    @cached_property
    def agreement(self) -> float:
        """Kendall's coefficient of concordance of the metrics that rank all methods: 1 if all rank them alike.

        NaN with fewer than two such metrics or methods.
        """
        methods = len(self.methods)
        means = np.array([self._sign(number) * column.means[:methods] for number, column in self._ranking()])
        ranking = [row for row in means if not np.isnan(row).any()]
        return kendall_w(np.array(ranking)) if len(ranking) > 1 and methods > 1 else float("nan")

    def __str__(self) -> str:
        lines = [["", *self.headings, "seconds"]]
        for row, name in enumerate(self.rows):
            took = f"{self.seconds[row]:.1f}" if row < len(self.methods) else ""
            lines.append([name, *(self.cell(row, column) for column in self.columns), took])
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        written = ["  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)) for line in lines]
        written.insert(1 + len(self.methods), "-" * len(written[0]))
        told = [line for note in self.notes for line in textwrap.wrap(note, WIDTH)]
        return "\n".join([*(each.rstrip() for each in written), "", *told])

    def cell(self, row: int, column: Column) -> str:
        """A mean with its interval and marks, as the table shows it.

        Args:
            row: its number, methods first.
            column: one of `columns`.

        Example:
            >>> import numpy as np, tfsaliency as tfs
            >>> table = tfs.metrics.Comparison(("a",), (), ("m",), ("higher",), np.ones((1, 1, 3)), np.zeros(1))
            >>> table.cell(0, table.columns[0])
            '1.00 [1.00, 1.00] *'
        """
        if np.isnan(column.means[row]):
            return "-"
        text = f"{column.means[row]:#.3g} [{column.low[row]:#.3g}, {column.high[row]:#.3g}]"
        return f"{text} {self.mark(row, column)}".rstrip()

    def mark(self, row: int, column: Column) -> str:
        """``*`` for the best method, ``=`` for one as good, ``!`` for one that does not beat every control.

        Args:
            row: its number, methods first.
            column: one of `columns`.

        Example:
            >>> import numpy as np, tfsaliency as tfs
            >>> table = tfs.metrics.Comparison(("a",), (), ("m",), ("higher",), np.ones((1, 1, 3)), np.zeros(1))
            >>> table.mark(0, table.columns[0])
            '*'
        """
        if row >= len(self.methods) or column.best is None:
            return ""
        good = "*" if row == column.best else "=" * column.is_tied(row)
        return good + "!" * bool(column.fails[row])

    @property
    def notes(self) -> list[str]:
        """What the table means, in sentences."""
        pairs = enumerate(zip(self.metrics, self.ends, strict=True), start=1)
        told = [f"({number}) {metric}: {end}" for number, (metric, end) in pairs]
        told.append(
            f"Means over {self.samples} samples, with 95 % intervals of a bootstrap over samples ({self.draws:,} "
            "draws). * is the best method, = cannot be distinguished from it (p >= 0.05, Holm), and ! does not beat "
            "every control below the line."
        )
        if not np.isnan(self.agreement):
            told.append(f"Agreement of the metrics about the methods (Kendall's W, 0 to 1): {self.agreement:.2f}")
        return told

    def to_pandas(self) -> Any:
        """A data frame with one line for each row, metric and sample: ``row, control, metric, sample, value``.

        Raises:
            ImportError: pandas is not installed.

        Example:
            >>> import numpy as np, tfsaliency as tfs
            >>> table = tfs.metrics.Comparison(("a",), (), ("m",), ("higher",), np.ones((1, 1, 3)), np.zeros(1))
            >>> try:
            ...     lines = len(table.to_pandas())
            ... except ImportError:
            ...     lines = 3
            >>> lines
            3
        """
        try:
            import pandas
        except ImportError as error:
            raise ImportError("to_pandas needs pandas: pip install pandas") from error
        rows, metrics, samples = (each.reshape(-1) for each in np.indices(self.values.shape))
        return pandas.DataFrame(
            {
                "row": np.array(self.rows)[rows],
                "control": rows >= len(self.methods),
                "metric": np.array(self.metrics)[metrics],
                "sample": samples,
                "value": self.values.reshape(-1),
            }
        )

    def plot(self) -> "Figure":
        """Draws the means with their intervals, one panel for each metric.

        Example:
            >>> import numpy as np, tfsaliency as tfs
            >>> table = tfs.metrics.Comparison(("a",), (), ("m",), ("higher",), np.ones((1, 1, 3)), np.zeros(1))
            >>> len(table.plot().axes)
            1
        """
        from tfsaliency.plot.comparison import draw

        return draw(self)

    def report(self, path: str | os.PathLike[str]) -> None:
        """Writes one HTML file with the table, the plot and what they mean.

        Args:
            path: ends in ``.html``; an existing file is replaced.

        Raises:
            ValueError: the path does not end in ``.html``.

        Example:
            >>> import numpy as np, tempfile, tfsaliency as tfs
            >>> table = tfs.metrics.Comparison(("a",), (), ("m",), ("higher",), np.ones((1, 1, 3)), np.zeros(1))
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     table.report(f"{folder}/table.html")
        """
        from tfsaliency.plot.comparison import write_page

        write_page(self, path)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes one ``.npz`` file that `load` reads back exactly. It appears whole or not at all.

        Args:
            path: ends in ``.npz``; an existing file is replaced.

        Raises:
            ValueError: the path does not end in ``.npz``.

        Example:
            >>> import numpy as np, tempfile, tfsaliency as tfs
            >>> table = tfs.metrics.Comparison(("a",), (), ("m",), ("higher",), np.ones((1, 1, 3)), np.zeros(1))
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     table.save(f"{folder}/table.npz")
            ...     again = tfs.metrics.Comparison.load(f"{folder}/table.npz")
            >>> again.methods
            ('a',)
        """
        record = {
            "format": FORMAT,
            "kind": "Comparison",
            "methods": self.methods,
            "controls": self.controls,
            "metrics": self.metrics,
            "better": self.better,
            "draws": self.draws,
            "seed": self.seed,
            "provenance": dict(self.provenance),
        }
        with appearing_whole(check_npz(path)) as unfinished, open(unfinished, "wb") as file:
            archive.write(file, record, {"values": self.values, "seconds": self.seconds})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Comparison":
        """Reads a file that `save` wrote.

        Args:
            path: ends in ``.npz``.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it holds no comparison, or has changed since it was written.

        Example:
            >>> import numpy as np, tempfile, tfsaliency as tfs
            >>> table = tfs.metrics.Comparison(("a",), (), ("m",), ("higher",), np.ones((1, 1, 3)), np.zeros(1))
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     table.save(f"{folder}/table.npz")
            ...     str(tfs.metrics.Comparison.load(f"{folder}/table.npz")) == str(table)
            True
        """
        with archive.opened(check_npz(path), "a comparison") as stored:
            record = stored.record
            if record.get("kind") != "Comparison":
                raise ValueError(f"it is of the kind {record.get('kind')!r}, and the kind 'Comparison' is read")
            if record.get("format") != FORMAT:
                raise ValueError(f"it has format {record.get('format')!r}, and the format {FORMAT} is read")
            stored.check_record()
            return cls(
                methods=tuple(record["methods"]),
                controls=tuple(record["controls"]),
                metrics=tuple(record["metrics"]),
                better=tuple(record["better"]),
                values=stored.array("values", checked=True),
                seconds=stored.array("seconds", checked=True),
                draws=record["draws"],
                seed=record["seed"],
                provenance=record["provenance"],
            )

    @cached_property
    def _resamples(self) -> np.ndarray:
        """The draws of all intervals."""
        return resamples(self.samples, self.draws, self.seed)

    def _sign(self, number: int) -> int:
        return -1 if self.better[number] == "lower" else 1

    def _ranking(self) -> list[tuple[int, Column]]:
        """The metrics of which one end is better."""
        return [(number, each) for number, each in enumerate(self.columns) if self.better[number] != "neither"]

    def _column(self, number: int) -> Column:
        values = self.values[:, number]
        # Samples with which nothing was measured are left out of the mean of a row.
        low, high = interval(bootstrap_means(values.T, self._resamples))
        of_rows = means(values)
        signed = self._sign(number) * of_rows[: len(self.methods)]
        if self.better[number] == "neither" or np.isnan(signed).all():
            nothing = np.full(len(values), np.nan)
            return Column(of_rows, low, high, None, nothing, nothing, nothing, nothing, [[] for _ in values])
        best = int(np.nanargmax(signed))
        differences = self._sign(number) * (values[best] - values)
        behind = bootstrap_means(differences.T, self._resamples)
        behind_low, behind_high = interval(behind)
        return Column(
            of_rows,
            low,
            high,
            best,
            means(differences),
            behind_low,
            behind_high,
            self._probabilities(differences, behind, best),
            [self._fails(number, row) for row in range(len(values))],
        )

    def _probabilities(self, differences: np.ndarray, draws: np.ndarray, best: int) -> np.ndarray:
        """``(R,)``: of each method's distance to the best, corrected over the methods."""
        found = np.full(len(differences), np.nan)
        others = [row for row in range(len(self.methods)) if row != best and not np.isnan(differences[row]).all()]
        if self.samples < FEW:
            raw = [sign_flip(differences[row], self.draws, self.seed) for row in others]
        else:
            raw = [min(1.0, 2 * float((1 + (draws[:, row] <= 0).sum()) / (self.draws + 1))) for row in others]
        if others:
            found[others] = holm(np.array(raw))
        return found

    def _fails(self, number: int, row: int) -> list[str]:
        """The controls that a method does not beat."""
        if row >= len(self.methods) or np.isnan(self.values[row, number]).all():
            return []
        names = [name for name in self.controls if name != NO_BAR]
        controls = self.values[[self.rows.index(name) for name in names], number]
        ahead = self._sign(number) * (self.values[row, number] - controls)
        low, _ = interval(bootstrap_means(ahead.T, self._resamples))
        return [name for name, end in zip(names, low, strict=True) if end <= 0]


def check_npz(path: str | os.PathLike[str]) -> Path:
    """The path of a file of a comparison, or ValueError."""
    path = Path(path)
    if path.suffix != ".npz":
        raise ValueError(f"The file of a comparison ends in .npz. Received: {path}")
    return path
