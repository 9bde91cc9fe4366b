"""Sums along paths that are refined where the map is wrong, until it is right."""

from typing import Any, NamedTuple

import tensorflow as tf

from tfsaliency.engine.score import Score
from tfsaliency.methods.paths.path import Paths
from tfsaliency.methods.paths.summed import OF_A_THIRD, Integral, SlopesOf
from tfsaliency.tensors.errors import relative_error
from tfsaliency.tensors.sums import samples_of, sizes_of, squares

# Cells that a sample cuts before it looks again: two gradients each, half a device batch.
CUTS = 8
# Cells to begin with, shared by the paths of a sample; each path has an even number of them. All are cut once unseen.
FIRST = 6
FEWEST_REFINED = 3 * FIRST
# Cells that may still be cut, for a tolerance of 1: a finer map takes more cells. Fewer leave too much error settled.
KEPT, FEWEST_KEPT, MOST_KEPT = 2.4, 24, 64
# How much of its error a cell loses by a cut.
LOST = 8 / 9
# The error of a slot that holds no cell.
EMPTY = -1.0


class _State(NamedTuple):
    """The cells of each sample's paths that may still be cut, one in each slot, and what is known of the rest.

    Attributes:
        values: the sums so far, ``(N, ...)``.
        settled2: ``(N,)``, the squared error of cells that are not cut any more.
        steps: ``(N,)``, how often the gradient was asked for.
        begun: how many pairs of first cells have been asked for, a scalar.
        path: ``(slots, N)``, which path of its sample a cell is on.
        start, width: ``(slots, N)``, where.
        error2: ``(slots, N)``, the squared error that it makes in the values; infinite until it is cut once.
        slopes: ``(slots, N, ...)``, in its middle.
    """

    values: Any
    settled2: tf.Tensor
    steps: tf.Tensor
    begun: tf.Tensor
    path: tf.Tensor
    start: tf.Tensor
    width: tf.Tensor
    error2: tf.Tensor
    slopes: Any

    @property
    def squared_error(self) -> tf.Tensor:
        return self.settled2 + tf.reduce_sum(tf.maximum(self.error2, 0.0), axis=0)


class _Pairs(NamedTuple):
    """Pairs of new cells, ``(pairs,)`` each: the outer thirds of a cell, or two first cells of a path.

    Attributes:
        sample: whose.
        parent: the slot of the cell that is cut.
        left, right: the slots of the new ones.
        path: of their sample.
        left_start, right_start, width: where on it.
    """

    sample: tf.Tensor
    parent: tf.Tensor
    left: tf.Tensor
    right: tf.Tensor
    path: tf.Tensor
    left_start: tf.Tensor
    right_start: tf.Tensor
    width: tf.Tensor


class _Round(NamedTuple):
    """New cells of all samples that go on, for which the slopes are asked, block by block.

    Attributes:
        pairs: the cells.
        begins: whether they are first cells, a scalar.
        done: how many of them have been asked for, a scalar.
        error2: the squared error of each pair so far, ``(pairs,)``.
        left: what the last cell changed, ``(1, ...)``, for a block that begins with the second of a pair.
    """

    pairs: _Pairs
    begins: tf.Tensor
    done: tf.Tensor
    error2: tf.Tensor
    left: Any

    @property
    def size(self) -> tf.Tensor:
        return 2 * tf.size(self.pairs.sample)


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
        begin = work.start()
        state_shapes = tf.nest.map_structure(lambda part: part.shape, begin[0])
        state, _ = tf.while_loop(
            lambda state, round: round.size > 0,
            work.turn,
            begin,
            shape_invariants=(state_shapes, tf.nest.map_structure(_of_any_length, begin[1])),
            parallel_iterations=1,
        )
    return Integral(state.values, state.squared_error, state.steps)


class _Refinement:
    def __init__(self, paths: Paths, x: Any, score: Score, slopes: SlopesOf, tolerance: float, budget: int):
        self._paths, self._x, self._score, self._slopes = paths, x, score, slopes
        self._tolerance, self._budget = tolerance, float(paths.number * budget)
        self._samples = samples_of(x)
        pairs_of_path = max(1, -(-FIRST // (2 * paths.number)))
        self._first, self._pairs = 2 * pairs_of_path, pairs_of_path * paths.number
        self._kept = int(min(max(KEPT / max(tolerance, KEPT / MOST_KEPT), FEWEST_KEPT), MOST_KEPT))
        self._slots = self._kept + 2 * CUTS

    def start(self) -> tuple[_State, _Round]:
        none, slots = tf.zeros([self._samples]), tf.zeros([self._slots, self._samples])
        state = _State(
            values=tf.nest.map_structure(tf.zeros_like, self._x),
            settled2=none,
            steps=none,
            begun=tf.constant(0),
            path=tf.cast(slots, tf.int32),
            start=slots,
            width=slots,
            error2=slots + EMPTY,
            slopes=tf.nest.map_structure(
                lambda part: tf.zeros([*slots.shape[:1], self._samples, *sizes_of(part)]), self._x
            ),
        )
        return self._next(state)

    def turn(self, state: _State, round: _Round) -> tuple[_State, _Round]:
        """Asks for one block of slopes. One loop for blocks and rounds is less to build than two."""
        state, round = self._asked(state, round)
        # A condition would copy what is written over in place, if that went through it.
        large = {"values": state.values, "slopes": state.slopes}
        small = dict.fromkeys(large, ())

        def next_round() -> tuple[_State, _Round]:
            after, begun = self._next(self._settled(_placed(state, round)))
            return after._replace(**small), begun

        after, round = tf.cond(round.done < round.size, lambda: (state._replace(**small), round), next_round)
        return after._replace(**large), round

    def _next(self, state: _State) -> tuple[_State, _Round]:
        """The next cells to ask for: none where all maps are right."""
        begins = (state.begun < self._pairs) & ~tf.reduce_any(tf.math.is_inf(state.error2))
        wanted = tf.where(begins, tf.minimum(CUTS, self._pairs - state.begun), self._to_cut(state))
        left = tf.nest.map_structure(lambda part: tf.zeros([0, *sizes_of(part)]), self._x)
        round = _Round(self._chosen(state, wanted, begins), begins, tf.constant(0), tf.zeros([0]), left)
        steps = state.steps + 2 * tf.cast(wanted, tf.float32)
        return state._replace(steps=steps, begun=tf.where(begins, state.begun + CUTS, state.begun)), round

    def _is_open(self, state: _State) -> tf.Tensor:
        is_wrong = relative_error(state.values, state.squared_error) > self._tolerance
        # Where settled cells alone are wrong, there is nothing to cut.
        return is_wrong & (state.steps + 2 <= self._budget) & tf.reduce_any(state.error2 > 0, axis=0)

    def _ranked(self, state: _State) -> tuple[tf.Tensor, tf.Tensor]:
        """``(N, slots)``: the errors of the cells, the largest first, and their slots."""
        errors, slots = tf.math.top_k(tf.transpose(state.error2), self._slots)
        return errors, slots

    def _to_cut(self, state: _State) -> tf.Tensor:
        """``(N,)``: how many of the worst cells to cut: all that are unseen, else no more than may be enough."""
        worst = self._ranked(state)[0][:, :CUTS]
        aim = self._tolerance**2 * (squares(state.values) - state.squared_error)
        left = state.squared_error[:, None] - LOST * tf.cumsum(worst, axis=1)
        needed = 1 + tf.reduce_sum(tf.cast(left > aim[:, None], tf.int32), axis=1)
        unseen = tf.reduce_sum(tf.cast(tf.math.is_inf(worst), tf.int32), axis=1)
        affordable = tf.cast((self._budget - state.steps) // 2, tf.int32)
        can = tf.reduce_sum(tf.cast(worst > 0, tf.int32), axis=1)
        number = tf.minimum(tf.where(unseen > 0, unseen, needed), tf.minimum(affordable, can))
        return tf.where(self._is_open(state), number, 0)

    def _chosen(self, state: _State, wanted: tf.Tensor, begins: tf.Tensor) -> _Pairs:
        """The pairs of new cells, as many for each sample as are wanted."""
        slots = self._ranked(state)[1]
        places = tf.where(tf.sequence_mask(tf.broadcast_to(wanted, [self._samples]), CUTS))
        sample, rank = (tf.cast(places[:, axis], tf.int32) for axis in (0, 1))
        parent, right, left = (
            tf.gather_nd(part, places) for part in (slots, slots[:, -CUTS:], slots[:, -2 * CUTS : -CUTS])
        )
        cut = tf.stack([parent, sample], axis=1)
        third = tf.gather_nd(state.width, cut) / 3
        cut_start = tf.gather_nd(state.start, cut)
        cell = 2 * (state.begun + rank)
        first_start = tf.cast(cell % self._first, tf.float32) / self._first
        width = tf.where(begins, 1 / self._first, third)
        left_start = tf.where(begins, first_start, cut_start)
        return _Pairs(
            sample,
            parent,
            left,
            right,
            path=tf.where(begins, cell // self._first, tf.gather_nd(state.path, cut)),
            left_start=left_start,
            right_start=left_start + tf.where(begins, width, 2 * width),
            width=width,
        )

    def _asked(self, state: _State, round: _Round) -> tuple[_State, _Round]:
        """With the slopes of the next block of cells, as many as fit."""
        # Both cells of a pair are in one block, or each is a block of its own.
        size = tf.maximum(self._score.rows // 2, 1)
        these = _Pairs(*(part[round.done // 2 : round.done // 2 + size] for part in round.pairs))
        rows = slice(round.done % 2, round.done % 2 + self._score.rows)
        sample = tf.tile(these.sample, [2])[rows]
        path = tf.tile(these.path, [2])[rows] * self._samples + sample
        start = tf.concat([these.left_start, these.right_start], axis=0)[rows]
        end = start + tf.tile(these.width, [2])[rows]
        slopes = self._slopes(self._paths.at(path, (start + end) / 2), self._score.among(sample))
        cut = tf.stack([tf.tile(these.parent, [2])[rows], sample], axis=1)
        has_parent = tf.where(round.begins, 0.0, 1.0)
        before = tf.nest.map_structure(lambda part: has_parent * tf.gather_nd(part, cut), state.slopes)
        move = self._paths.move(path, start, end)
        changes = tf.nest.map_structure(lambda new, old, way: (new - old) * way, slopes, before, move)
        into = tf.stack([tf.concat([these.left, these.right], axis=0)[rows], sample], axis=1)
        # What was read before can be written over, without a copy.
        with tf.control_dependencies(tf.nest.flatten(before)):
            kept = tf.nest.map_structure(
                lambda part, new: tf.tensor_scatter_nd_update(part, into, new), state.slopes, slopes
            )
        both = tf.nest.map_structure(
            lambda of, new: tf.concat([of[: round.done % 2], new], axis=0), round.left, changes
        )
        bend = tf.nest.map_structure(_sum_of_halves, both)
        whole = these.sample[: samples_of(bend)]
        values = tf.nest.map_structure(
            lambda part, more: part + tf.math.unsorted_segment_sum(more, whole, self._samples), state.values, bend
        )
        asked = round._replace(
            done=round.done + tf.size(sample),
            error2=tf.concat([round.error2, OF_A_THIRD * squares(bend)], axis=0),
            left=tf.nest.map_structure(lambda of: of[:1], changes),
        )
        return state._replace(values=values, slopes=kept), asked

    def _settled(self, state: _State) -> _State:
        """Empties slots for the next new cells: those of the cells that are least wrong."""
        errors, slots = self._ranked(state)
        is_settled = tf.range(self._slots) >= self._kept
        ranks = tf.transpose(tf.argsort(slots, axis=1))
        return state._replace(
            settled2=state.settled2 + tf.reduce_sum(tf.where(is_settled, tf.maximum(errors, 0.0), 0.0), axis=1),
            error2=tf.where(ranks >= self._kept, EMPTY, state.error2),
        )


def _placed(state: _State, round: _Round) -> _State:
    """Puts new cells into their slots; the cell that was cut is now its middle third."""
    pairs, begins = round.pairs, round.begins
    error2 = tf.where(begins, float("inf"), round.error2)
    # First cells have no cell between them: the left one is put there twice.
    middle = tf.where(begins, pairs.left, pairs.parent)
    middle_start = tf.where(begins, pairs.left_start, pairs.left_start + pairs.width)
    slots = tf.concat([pairs.left, pairs.right, middle], axis=0)
    places = tf.stack([slots, tf.tile(pairs.sample, [3])], axis=1)
    starts = tf.concat([pairs.left_start, pairs.right_start, middle_start], axis=0)
    return state._replace(
        path=tf.tensor_scatter_nd_update(state.path, places, tf.tile(pairs.path, [3])),
        start=tf.tensor_scatter_nd_update(state.start, places, starts),
        width=tf.tensor_scatter_nd_update(state.width, places, tf.tile(pairs.width, [3])),
        error2=tf.tensor_scatter_nd_update(state.error2, places, tf.tile(error2, [3])),
    )


def _sum_of_halves(part: tf.Tensor) -> tf.Tensor:
    """None of a single row, which waits for its other half."""
    left, right = tf.split(part[: samples_of(part) // 2 * 2], 2)
    return left + right


def _of_any_length(part: tf.Tensor) -> tf.TensorShape:
    """The shape of a tensor whose first axis may change from turn to turn."""
    return tf.TensorShape([None, *part.shape[1:]]) if part.shape.rank else part.shape
