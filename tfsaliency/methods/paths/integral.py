"""Gradients summed along a path of inputs that ends in the given ones."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from tfsaliency.base.meaning import Meaning
from tfsaliency.base.options import check_amount, check_choice, check_count
from tfsaliency.engine.copies import Block, over_copies, scores_of_copies
from tfsaliency.engine.question import Attribution
from tfsaliency.engine.score import Score
from tfsaliency.explainer import Explainer, Wrapper
from tfsaliency.methods.gradients.gradient import Gradient, as_explainer
from tfsaliency.methods.paths.quadrature import FEWEST, RULES, Rule
from tfsaliency.tensors.sums import along, repeated, samples_of, sizes_of, total


class Path(NamedTuple):
    """Inputs as a function of a number from 0, the start, to 1, the inputs as given.

    Both functions take numbers for copies of all samples, stacked in blocks: ``(copies * N,)``.

    Attributes:
        at: gives the inputs at such numbers, ``(copies * N, ...)``.
        move: gives how far the inputs move from one to another.
    """

    at: Callable[[tf.Tensor], Any]
    move: Callable[[tf.Tensor, tf.Tensor], Any]


class Integral(NamedTuple):
    """What was summed along one path.

    Attributes:
        values: in the structure of the inputs, ``(N, ...)``.
        gap: ``(N,)``, the sum of gradient times move less ``change``.
        change: ``(N,)``, how much higher the score is at the end of the path than at its start.
        steps: ``(N,)`` float32, how often the gradient was asked for.
    """

    values: Any
    gap: tf.Tensor
    change: tf.Tensor
    steps: tf.Tensor


# What a step of a path contributes: from the gradient, the move, and the change of the score over it, ``(n,)``.
Contribution = Callable[[Any, Any, tf.Tensor], Any]


class PathIntegral(Wrapper):
    """A sum of gradients along one path, or the mean over several.

    Args:
        steps: how many gradients a fixed rule sums; None to refine until the sum is right.
        tolerance: the largest relative gap that counts as converged.
        quadrature: the fixed rule: ``"midpoint"``, which is the rule that is refined, ``"trapezoid"`` or
            ``"gauss_legendre"``.
        budget: the most gradients that refining may take for a sample and a path, at least 8.
    """

    steps: int | None
    tolerance: float
    quadrature: str
    budget: int

    @abstractmethod
    def mean_over_paths(self, x: Any, score: Score, over: Callable[[Path], Integral]) -> tuple[Integral, int]:
        """The mean of what ``over`` gives for each path, and how many paths there are."""

    @property
    def meaning(self) -> Meaning:
        return "signed"

    @property
    def gives_slopes(self) -> bool:
        return False

    def attribute(self, x: Any, score: Score) -> Attribution:
        return self.integrate(x, score, None)

    def integrate(self, x: Any, score: Score, contribution: Contribution | None) -> Attribution:
        """Sums contributions along the paths, by default gradient times move."""
        # Once: all paths end in the same inputs.
        at_end = score.at(x)

        def over(path: Path) -> Integral:
            if self.steps is None:
                return refined(path, x, score, at_end, contribution, self.tolerance, self.budget)
            return summed(path, x, score, at_end, contribution, RULES[self.quadrature](self.steps), self.inner)

        integral, paths = self.mean_over_paths(x, score, over)
        gap = total(integral.values) - integral.change
        diagnostics = {"completeness_gap": gap, "steps_used": integral.steps * paths}
        if type(self.inner) is Gradient:
            relative = _relative(integral.gap, integral.change)
            diagnostics |= {"relative_gap": relative, "converged": relative <= self.tolerance}
        return Attribution(integral.values, diagnostics)

    def __post_init__(self) -> None:
        object.__setattr__(self, "inner", as_explainer(self.inner))
        super().__post_init__()
        check_amount("tolerance", self.tolerance)
        check_choice("quadrature", self.quadrature, RULES)
        if self.steps is not None:
            check_count("steps", self.steps, FEWEST.get(self.quadrature, 1))
            return
        check_count("budget", self.budget, FIRST)
        if self.quadrature != "midpoint":
            raise ValueError(
                f"Refining halves the cells of the midpoint rule. Say how many steps the rule takes: steps=50, "
                f"quadrature={self.quadrature!r}"
            )
        if type(self.inner) is not Gradient:
            raise ValueError(
                f"The sum of {self.inner} along a path has no known value to be refined to, as the gradient's has. "
                "Say how many steps to take: steps=50"
            )


def summed(
    path: Path,
    x: Any,
    score: Score,
    at_end: tf.Tensor,
    contribution: Contribution | None,
    rule: Rule,
    asked: Explainer,
) -> Integral:
    """By a fixed rule, in device batches."""
    steps = len(rule.nodes)
    nodes, edges = tf.constant(rule.nodes, tf.float32), tf.constant(rule.edges, tf.float32)
    samples = samples_of(x)

    def at_copies(numbers: tf.Tensor, first: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
        return tf.repeat(numbers[first : first + count], samples)

    at_start = score.at(path.at(tf.zeros([samples])))
    changes = None
    if contribution is not None:
        # All but the last, which is known.
        with score.silent():
            before = scores_of_copies(steps, x, score, lambda block: score.at(path.at(at_copies(edges, *block))))
        scores = tf.concat([before, at_end[None]], axis=0)
        changes = scores[1:] - scores[:-1]

    def step(so_far: tuple[Any, tf.Tensor], block: Block) -> tuple[Any, tf.Tensor]:
        first, count = block
        values, plain = so_far
        slopes = asked.attribute(path.at(at_copies(nodes, first, count)), score).values
        move = path.move(at_copies(edges, first, count), at_copies(edges, first + 1, count))
        product = tf.nest.map_structure(tf.multiply, slopes, move)
        given = product
        if contribution is not None and changes is not None:
            given = contribution(slopes, move, tf.reshape(changes[first : first + count], [-1]))
        of_block = tf.nest.map_structure(
            lambda part: tf.reduce_sum(tf.reshape(part, [count, samples, *sizes_of(part)]), axis=0), given
        )
        of_plain = tf.reduce_sum(tf.reshape(total(product), [count, samples]), axis=0)
        return tf.nest.map_structure(tf.add, values, of_block), plain + of_plain

    start = tf.nest.map_structure(tf.zeros_like, x), tf.zeros([samples])
    values, plain = over_copies(steps, x, score, step, start)
    change = at_end - at_start
    return Integral(values, plain - change, change, tf.fill([samples], float(steps)))


# Cells to begin with: few enough to be cheap, and enough for a gap that is small by chance to be rare.
FIRST = 8
# Cells whose contributions are kept until the end, as they may still be halved. With 8 some paths of a ReLU network get
# stuck; from 12 on none took more steps to a gap of 1 % than with all cells kept. A path of a hundred steps may.
KEPT = 16


class _Cells(NamedTuple):
    """The cells of a path that may still be halved, ``KEPT`` for each sample, ``(KEPT, N)``; what is not is settled.

    A cell's gradient is known in its middle, and so is the score there: halving a cell asks for two gradients and for
    nothing else.

    Attributes:
        start, end: where the cell is.
        at_start, at_middle, at_end: the score there.
        gap: what the cell's gradient, times the move over the cell, has too much.
        given: what the cell contributes, in the structure of the inputs, ``(KEPT, N, ...)``.
    """

    start: tf.Tensor
    end: tf.Tensor
    at_start: tf.Tensor
    at_middle: tf.Tensor
    at_end: tf.Tensor
    gap: tf.Tensor
    given: Any

    def chosen(self, which: tf.Tensor) -> "_Cells":
        """One cell of each sample, ``(N, ...)``."""
        places = tf.stack([which, tf.range(tf.shape(which)[0])], axis=1)
        cells: _Cells = tf.nest.map_structure(lambda part: tf.gather_nd(part, places), self)
        return cells

    def replaced(self, which: tf.Tensor, cells: "_Cells", where: tf.Tensor) -> "_Cells":
        """Replaces cell ``which[n]`` of sample n by ``cells``, where ``where[n]`` is true."""
        rows = tf.where(where)[:, 0]
        places = tf.stack([tf.gather(which, rows), tf.cast(rows, tf.int32)], axis=1)
        changed: _Cells = tf.nest.map_structure(
            lambda part, other: tf.tensor_scatter_nd_update(part, places, tf.gather(other, rows)), self, cells
        )
        return changed


def refined(
    path: Path,
    x: Any,
    score: Score,
    at_end: tf.Tensor,
    contribution: Contribution | None,
    tolerance: float,
    budget: int,
) -> Integral:
    """By halving, for each sample, the cell with the largest gap, until the gaps together are within the tolerance.

    The true sum over a cell is known exactly: the score at its end less the score at its start. The cell with the
    smallest gap is settled whenever a new one needs its place, so memory does not grow with the steps.
    """
    samples = samples_of(x)
    cells = _unseen(path, x, score, at_end)
    change = at_end - cells.at_start[0]

    def two(start: tf.Tensor, end: tf.Tensor, at_start: tf.Tensor, at_end: tf.Tensor) -> tuple[_Cells, _Cells]:
        """Two new cells of each sample, from rows that hold all first cells before all second ones."""
        at_middle, slopes = score.gradient(path.at((start + end) / 2))
        move = path.move(start, end)
        product = tf.nest.map_structure(tf.multiply, slopes, move)
        given = product if contribution is None else contribution(slopes, move, at_end - at_start)
        both = _Cells(start, end, at_start, at_middle, at_end, total(product) - (at_end - at_start), given)
        left = tf.nest.map_structure(lambda part: part[:samples], both)
        right = tf.nest.map_structure(lambda part: part[samples:], both)
        return left, right

    def open_(cells: _Cells, settled_gap: tf.Tensor, steps: tf.Tensor) -> tf.Tensor:
        gap = settled_gap + tf.reduce_sum(cells.gap, axis=0)
        return (_relative(gap, change) > tolerance) & (steps + 2 <= budget)

    def halve(cells: _Cells, settled: tuple[Any, tf.Tensor], steps: tf.Tensor) -> tuple[_Cells, Any, tf.Tensor]:
        going = open_(cells, settled[1], steps)
        size = tf.abs(cells.gap)
        worst = tf.argmax(size, axis=0, output_type=tf.int32)
        others = tf.where(tf.one_hot(worst, KEPT, True, False, axis=0), float("inf"), size)
        least = tf.argmin(others, axis=0, output_type=tf.int32)
        parent, leaving = cells.chosen(worst), cells.chosen(least)
        middle = (parent.start + parent.end) / 2
        left, right = two(
            tf.concat([parent.start, middle], axis=0),
            tf.concat([middle, parent.end], axis=0),
            tf.concat([parent.at_start, parent.at_middle], axis=0),
            tf.concat([parent.at_middle, parent.at_end], axis=0),
        )
        settled = tf.nest.map_structure(
            lambda so_far, part: so_far + tf.where(along(going, part), part, 0.0),
            settled,
            (leaving.given, leaving.gap),
        )
        cells = cells.replaced(worst, left, going).replaced(least, right, going)
        return cells, settled, steps + 2 * tf.cast(going, tf.float32)

    with score.silent():
        cells, settled, steps = tf.while_loop(
            lambda cells, settled, steps: tf.reduce_any(open_(cells, settled[1], steps)),
            halve,
            (cells, (tf.nest.map_structure(tf.zeros_like, x), tf.zeros([samples])), tf.zeros([samples])),
            parallel_iterations=1,
        )
    values = tf.nest.map_structure(lambda part, rest: tf.reduce_sum(part, axis=0) + rest, cells.given, settled[0])
    return Integral(values, settled[1] + tf.reduce_sum(cells.gap, axis=0), change, steps)


def _unseen(path: Path, x: Any, score: Score, at_end: tf.Tensor) -> _Cells:
    """The path in cells whose halves are the first cells to be asked for. Their gap is unknown, so each is halved.

    One loop makes the first cells and the later ones: the model is in the graph once, not twice.
    """
    samples = samples_of(x)
    edges = tf.range(FIRST + 1, dtype=tf.float32) / FIRST

    def at_edges(block: Block) -> tf.Tensor:
        first, count = block
        return score.at(path.at(tf.repeat(edges[first : first + count], samples)))

    with score.silent():
        scores = tf.concat([scores_of_copies(FIRST, x, score, at_edges), at_end[None]], axis=0)
    places = tf.repeat(edges[:, None], samples, axis=1)
    # Places without a cell hold zeros: they have the smallest gap, and are the first to be taken.
    empty = [[0, KEPT - FIRST // 2], [0, 0]]
    start, end, at_start, at_middle, at_end, gap = (
        tf.pad(each, empty)
        for each in (
            places[:-1:2],
            places[2::2],
            scores[:-1:2],
            scores[1::2],
            scores[2::2],
            tf.fill([FIRST // 2, samples], float("inf")),
        )
    )
    given = tf.nest.map_structure(lambda part: tf.zeros([KEPT, samples, *sizes_of(part)]), x)
    return _Cells(start, end, at_start, at_middle, at_end, gap, given)


def _relative(gap: tf.Tensor, change: tf.Tensor) -> tf.Tensor:
    """The gap as a share of the change; infinite where nothing changes and there is a gap all the same."""
    share = tf.math.divide_no_nan(tf.abs(gap), tf.abs(change))
    return tf.where((change == 0) & (gap != 0), float("inf"), share)


def straight(x0: Any, x: Any) -> Path:
    """The straight line from a baseline ``(N, ...)`` to the inputs."""
    samples = samples_of(x)
    away = tf.nest.map_structure(tf.subtract, x, x0)

    def at(numbers: tf.Tensor) -> Any:
        count = tf.shape(numbers)[0] // samples
        return tf.nest.map_structure(
            lambda part0, part: part0 + along(numbers, part) * part, repeated(x0, count), repeated(away, count)
        )

    def move(start: tf.Tensor, end: tf.Tensor) -> Any:
        count = tf.shape(start)[0] // samples
        return tf.nest.map_structure(lambda part: along(end - start, part) * part, repeated(away, count))

    return Path(at, move)
