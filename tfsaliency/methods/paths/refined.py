"""Sums along paths that are refined where the map is wrong, until it is right."""

from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tfsaliency.engine.score import Score
from tfsaliency.methods.paths.path import Paths
from tfsaliency.methods.paths.summed import OF_A_THIRD, Integral, SlopesOf
from tfsaliency.tensors.sums import each_repeated, samples_of, sizes_of, squares

# Cells that a sample cuts before it looks again: two gradients each, half a device batch.
CUTS = 8
RANKS = np.arange(CUTS)
# Cells to begin with, shared by the paths of a sample; each path has an even number of them. All are cut once unseen.
FIRST = 6
FEWEST_REFINED = 3 * FIRST
# Cells that may still be cut, for a tolerance of 1: a finer map takes more cells. Fewer leave too much error settled.
KEPT, FEWEST_KEPT, MOST_KEPT = 2.4, 24, 64
# How much of its error a cell loses by a cut.
LOST = 8 / 9
# A cut that changes this share of what the cut around it has changed finds a slope that grows without end, as that of a
# logarithm near zero. Where the slope jumps it is a third. What changes more has nothing to do with the cut around it.
SLOW, UNRELATED, SLOWEST = 1 / 2, 2, 9 / 10
# A map with most of its error in one first cell gets the next cut, which tells such slopes, unless its squared error
# may be this much larger.
MAY_GROW = 16
# The error of a slot that holds no cell.
EMPTY = -1.0


class _State(NamedTuple):
    """The cells of each sample's paths that may still be cut, one in each slot, and what is known of the rest.

    Attributes:
        values: the sums so far, ``(N, ...)``.
        settled2: ``(N,)``, the squared error of cells that are not cut any more.
        steps: ``(N,)``, how often the gradient was asked for.
        begun: how many pairs of first cells have been asked for, a scalar.
        cells: ``(N, slots, 5)``: the path of its sample that a cell is on, its start and width there, the squared error
            that it makes in the values, infinite until it is cut once, and that error if the slope is a random walk.
        slopes: ``(N, slots, ...)``, in the middle of each cell.
    """

    values: Any
    settled2: tf.Tensor
    steps: tf.Tensor
    begun: tf.Tensor
    cells: tf.Tensor
    slopes: Any

    @property
    def errors2(self) -> tf.Tensor:
        """``(N, slots)``: of each cell."""
        return self.cells[..., 3]

    @property
    def squared_error(self) -> tf.Tensor:
        """``(N,)``: of all."""
        return self.with_settled(self.errors2)

    def with_settled(self, errors2: tf.Tensor) -> tf.Tensor:
        return self.settled2 + tf.reduce_sum(tf.nn.relu(errors2), axis=1)


class _Round(NamedTuple):
    """New cells of all samples that go on, for which the slopes are asked, block by block.

    The two of a pair follow each other: the outer thirds of a cell, or two first cells of a path.

    Attributes:
        slots: ``(cells, 3)`` int32: whose a cell is, the slot of the cell that is cut, and its own.
        spans: ``(cells, 3)``: its path, its start and width there.
        begins: whether they are first cells, a scalar.
        done: how many of them have been asked for, a scalar.
        error2: the squared error of each pair so far, ``(pairs,)``.
        left: what the last cell changed, ``(1, ...)``, for a block that begins with the second of a pair.
    """

    slots: tf.Tensor
    spans: tf.Tensor
    begins: tf.Tensor
    done: tf.Tensor
    error2: tf.Tensor
    left: Any

    @property
    def size(self) -> tf.Tensor:
        return tf.shape(self.slots)[0]


def refined(paths: Paths, x: Any, score: Score, slopes: SlopesOf, tolerance: float, budget: int) -> Integral:
    """By cutting, for each sample, the cells of its paths with the largest errors into thirds, until the map is right.

    A cell's slopes are those in its middle. They stay the slopes of its middle third, so cutting asks for two
    gradients. What the two change is what the cell had wrong; the thirds have a known share of it left. No score is
    asked for, so it works for the slopes of any explainer.

    Cells that are least wrong are settled where others need their place: memory does not grow with the gradients. Rows
    of all samples that go on fill device batches together, and each sample goes its own way whatever the others do.
    """
    work = _Refinement(paths, x, score, slopes, tolerance, budget)
    with score.silent():
        if all(part.shape[1:].is_fully_defined() for part in tf.nest.flatten(x)):
            return work.done()
        # Empty texts have no words, and of no words there is nothing to cut.
        none = tf.zeros([samples_of(x)])
        nothing = Integral(tf.nest.map_structure(tf.zeros_like, x), none, none)
        sizes = [tf.size(part) for part in tf.nest.flatten(x)]
        integral: Integral = tf.cond(tf.reduce_min(sizes) > 0, work.done, lambda: nothing)
        return integral


class _Refinement:
    def __init__(self, paths: Paths, x: Any, score: Score, slopes: SlopesOf, tolerance: float, budget: int):
        self._paths, self._x, self._score, self._slopes = paths, x, score, slopes
        self._tolerance, self._budget = tolerance, float(paths.number * budget)
        self._samples = samples_of(x)
        pairs_of_path = max(1, -(-FIRST // (2 * paths.number)))
        self._first, self._pairs = 2 * pairs_of_path, pairs_of_path * paths.number
        self._kept = int(min(max(KEPT / max(tolerance, KEPT / MOST_KEPT), FEWEST_KEPT), MOST_KEPT))
        self._slots = self._kept + 2 * CUTS

    def done(self) -> Integral:
        """The sums when all maps are right, or the budget is spent."""
        begin = self._start()
        state_shapes = tf.nest.map_structure(lambda part: part.shape, begin[0])
        state, _ = tf.while_loop(
            lambda state, round: round.size > 0,
            self._turn,
            begin,
            shape_invariants=(state_shapes, tf.nest.map_structure(_of_any_length, begin[1])),
            parallel_iterations=1,
        )
        return Integral(state.values, state.squared_error, state.steps)

    def _start(self) -> tuple[_State, _Round]:
        none, slots = tf.zeros([self._samples]), [self._samples, self._slots]
        slopes = tf.nest.map_structure(lambda part: tf.zeros([*slots, *sizes_of(part)]), self._x)
        values = tf.nest.map_structure(tf.zeros_like, self._x)
        return self._next(_State(values, none, none, tf.constant(0), tf.fill([*slots, 5], EMPTY), slopes))

    def _turn(self, state: _State, round: _Round) -> tuple[_State, _Round]:
        """Asks for one block of slopes. One loop for blocks and rounds is less to build than two."""
        state, round = self._asked(state, round)
        # A condition would copy what is written over in place, if that went through it.
        large = {"values": state.values, "slopes": state.slopes}
        small = dict.fromkeys(large, ())

        def next_round() -> tuple[_State, _Round]:
            after, begun = self._next(self._placed(state, round))
            return after._replace(**small), begun

        after, round = tf.cond(round.done < round.size, lambda: (state._replace(**small), round), next_round)
        return after._replace(**large), round

    def _next(self, state: _State) -> tuple[_State, _Round]:
        """The next cells to ask for: none where all maps are right."""
        errors2, slots = tf.math.top_k(state.errors2, self._slots)
        begins = (state.begun < self._pairs) & ~tf.reduce_any(tf.math.is_inf(errors2))
        is_cut = tf.where(begins, self._pairs - state.begun > RANKS, self._to_cut(state, errors2, slots))
        left = tf.nest.map_structure(lambda part: tf.zeros([0, *sizes_of(part)]), self._x)
        round = _Round(*self._chosen(state, is_cut, slots, begins), begins, tf.constant(0), tf.zeros([0]), left)
        steps = state.steps + 2 * _count(is_cut)
        return state._replace(steps=steps, begun=tf.where(begins, state.begun + CUTS, state.begun)), round

    def _to_cut(self, state: _State, errors2: tf.Tensor, slots: tf.Tensor) -> tf.Tensor:
        """``(N, CUTS)``: which of the worst cells to cut: all that are unseen, else no more than may be enough.

        Args:
            state: the cells.
            errors2: ``(N, slots)``, their squared errors, the largest first.
            slots: ``(N, slots)``, of the cells in this order.
        """
        worst, error2 = errors2[:, :CUTS], state.with_settled(errors2)
        aim = self._tolerance**2 * (squares(state.values) - error2)
        # Before each cut; NaN behind an unseen cell, so that none is cut but the unseen ones.
        left = error2[:, None] - LOST * tf.cumsum(worst, axis=1, exclusive=True)
        may_be_slow = (error2 <= aim) & (MAY_GROW * error2 > aim)
        widths = tf.gather(state.cells[..., 2], slots[:, :CUTS], batch_dims=1)
        # The three thirds of a first cell, which have the same error.
        has_most = (widths > 0.9 / (3 * self._first)) & (3 * worst > error2[:, None] / 2)
        is_wrong = (left > aim[:, None]) | (may_be_slow[:, None] & has_most)
        is_cut = tf.math.is_inf(worst) | ((worst > 0) & is_wrong)
        return is_cut & ((self._budget - state.steps)[:, None] >= 2 * (RANKS + 1))

    def _chosen(
        self, state: _State, is_cut: tf.Tensor, slots: tf.Tensor, begins: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """The pairs of new cells: their slots and spans, see `_Round`. They take the slots of the least wrong cells.

        Args:
            state: the cells.
            is_cut: ``(N, CUTS)``, which of the worst are cut; or how many pairs of first cells begin.
            slots: ``(N, slots)`` of the cells, the worst first.
            begins: whether first cells begin.
        """
        sample, rank = tf.unstack(tf.cast(tf.where(is_cut), tf.int32), axis=1)
        ranks = rank[:, None] + [0, self._slots - 2 * CUTS, self._slots - CUTS]
        parent, left, right = tf.unstack(tf.gather(tf.gather(slots, sample), ranks, batch_dims=1), axis=1)
        path, start, width = tf.unstack(tf.gather_nd(state.cells, tf.stack([sample, parent], axis=1))[:, :3], axis=1)
        first = 2 * (state.begun + rank)
        path = tf.where(begins, tf.cast(first // self._first, tf.float32), path)
        start = tf.where(begins, tf.cast(first % self._first, tf.float32) / self._first, start)
        width = tf.where(begins, 1 / self._first, width / 3)
        second = start + tf.where(begins, 1.0, 2.0) * width
        parent = tf.where(begins, left, parent)
        return (
            tf.reshape(tf.stack([sample, parent, left, sample, parent, right], axis=1), [-1, 3]),
            tf.reshape(tf.stack([path, start, width, path, second, width], axis=1), [-1, 3]),
        )

    def _asked(self, state: _State, round: _Round) -> tuple[_State, _Round]:
        """With the slopes of the next block of cells, as many as fit."""
        # Both cells of a pair are in one block, or each is a block of its own.
        rows = slice(round.done, round.done + tf.maximum(self._score.rows // 2 * 2, 1))
        sample, parent, own = tf.unstack(round.slots[rows], axis=1)
        path, start, width = tf.unstack(round.spans[rows], axis=1)
        path = tf.cast(path, tf.int32) * self._samples + sample
        slopes = self._slopes(self._paths.at(path, start + width / 2), self._score.among(sample))
        cut, into = (tf.stack([sample, slot], axis=1) for slot in (parent, own))
        has_parent = tf.where(round.begins, 0.0, 1.0)
        before = tf.nest.map_structure(lambda part: has_parent * tf.gather_nd(part, cut), state.slopes)
        move = self._paths.move(path, start, start + width)
        changes = tf.nest.map_structure(lambda new, old, way: (new - old) * way, slopes, before, move)
        # What was read before can be written over, without a copy.
        with tf.control_dependencies(tf.nest.flatten(before)):
            kept = tf.nest.map_structure(
                lambda part, new: tf.tensor_scatter_nd_update(part, into, new), state.slopes, slopes
            )
        waiting = round.done % 2
        both = tf.nest.map_structure(lambda of, new: tf.concat([of[:waiting], new], axis=0), round.left, changes)
        bend = tf.nest.map_structure(_sum_of_halves, both)
        values = tf.nest.map_structure(
            lambda part, more: part + tf.math.unsorted_segment_sum(more, sample, self._samples), state.values, changes
        )
        asked = round._replace(
            done=round.done + tf.size(sample),
            error2=tf.concat([round.error2, OF_A_THIRD * squares(bend)], axis=0),
            left=tf.nest.map_structure(lambda of: of[:1], changes),
        )
        return state._replace(values=values, slopes=kept), asked

    def _placed(self, state: _State, round: _Round) -> _State:
        """Puts new cells into their slots, whose cells are settled; the cell that was cut is now its middle third."""
        of_walk2 = tf.where(round.begins, float("inf"), round.error2)
        around2 = tf.gather_nd(state.cells, round.slots[::2, :2])[:, 4]
        errors2 = tf.stack([of_walk2 * _of_slow_fall(of_walk2, tf.nn.relu(around2)), of_walk2], axis=1)
        own = round.slots[:, ::2]
        settled = tf.math.unsorted_segment_sum(tf.nn.relu(tf.gather_nd(state.errors2, own)), own[:, 0], self._samples)
        middle = tf.reduce_mean(tf.reshape(round.spans, [-1, 2, 3]), axis=1)
        # First cells have no cell between them: it is put where the left one goes, and then that one.
        middle = tf.concat([middle, errors2], axis=1)
        cells = tf.tensor_scatter_nd_update(state.cells, round.slots[::2, :2], middle)
        outer = tf.concat([round.spans, each_repeated(errors2, 2)], axis=1)
        cells = tf.tensor_scatter_nd_update(cells, own, outer)
        return state._replace(settled2=state.settled2 + settled, cells=cells)


def _of_slow_fall(error2: tf.Tensor, around2: tf.Tensor) -> tf.Tensor:
    """By how much the squared error of thirds is larger than along a random walk.

    If each cut changes a share ``r`` of what the cut around it has changed, all further cuts change ``r / (1 - r)`` of
    what the last one has. Along a random walk the squared error of three thirds is ``3 OF_A_THIRD`` of its square.

    Args:
        error2: of each third along a random walk, by the last cut.
        around2: the same by the cut around it; zero or infinite where there was none.
    """
    ratio = tf.sqrt(tf.math.divide_no_nan(error2, around2))
    is_slow = (ratio > SLOW) & (ratio < UNRELATED)
    ratio = tf.minimum(ratio, SLOWEST)
    return tf.where(is_slow, tf.square(ratio / (1 - ratio)) / (3 * OF_A_THIRD), 1.0)


def _count(mask: tf.Tensor) -> tf.Tensor:
    """``(N,)``: how many are true."""
    return tf.reduce_sum(tf.cast(mask, tf.float32), axis=1)


def _sum_of_halves(cells: tf.Tensor) -> tf.Tensor:
    """Of each pair; none of a single row, which waits for its other half."""
    pairs = tf.reshape(cells[: samples_of(cells) // 2 * 2], [-1, 2, *sizes_of(cells)])
    left, right = tf.unstack(pairs, axis=1)
    return left + right


def _of_any_length(part: tf.Tensor) -> tf.TensorShape:
    """The shape of a tensor whose first axis may change from turn to turn."""
    return tf.TensorShape([None, *part.shape[1:]]) if part.shape.rank else part.shape
