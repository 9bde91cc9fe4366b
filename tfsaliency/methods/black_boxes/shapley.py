import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfsaliency.base.options import check_count
from tfsaliency.baselines import baselines
from tfsaliency.engine.copies import Block, scores_of_copies
from tfsaliency.engine.moments import the_values
from tfsaliency.engine.question import Attribution
from tfsaliency.engine.score import Behind, Score
from tfsaliency.methods.black_boxes.windows import lengths_of, usual_lengths
from tfsaliency.methods.sampled import Sampled
from tfsaliency.model.foreign import as_black_box
from tfsaliency.tensors.draws import drawn, stream
from tfsaliency.tensors.mapped import mapped
from tfsaliency.tensors.places import one_per_place, spatial_shape
from tfsaliency.tensors.sums import samples_of, total


@dataclass(frozen=True, eq=False)
class ShapleyValues(Sampled):
    """Shapley values: what a window adds to the score when it appears, averaged over the orders in which all appear.

    Formula:
        ``phi_i = mean over orders of S(those before i, and i) - S(those before i)``, where ``S(some)`` is the score of
        the input with all other windows at the baseline. ``v`` of a place is ``phi`` of its window over the number of
        places in it, ``(N, height, width, 1)``. The values sum to ``S(x) - S(x0)``.

    They are the only values that sum to this difference, give nothing to a window that never matters and the same to
    two that always matter alike, and are linear in the score (Shapley 1953). Of two parts of the input of which either
    is enough each gets half, where `Occlusion` shows neither. A set of windows that is hidden is a picture that the
    model was not trained on, and the map is as coarse as the windows.

    ``P`` windows have ``2^P`` sets. Where these are no more than the passes of all samples, ``2P`` for each, all sets
    are asked about and the values are exact: up to 9 windows by default. Else a sample is an order and its reverse,
    which are exact together where windows act alone or in pairs.

    ``diagnostics``, each ``(N,)``: ``completeness_gap``, the sum of the values minus ``S(x) - mean S(x0)``, which is
    rounding; ``relative_error``, an estimate of the distance of ``phi`` from exact values as a share of their norm, 0
    where they are exact. With a tolerance there are ``samples_used`` and ``converged`` too; a copy is then an order.

    Args:
        model: a Keras model; or any function of arrays ``(N, ...)`` that returns ``(N, classes)``, see `BlackBox`.
        window: length along every axis of space or time, over all channels; a tuple for one length per axis; a list or
            dict of these for several inputs; None for an eighth of each axis, and for each column of a table. For a
            text, ``window=1`` makes each token one. A window at the end of an axis is cut off there.
        baseline: replaces the hidden windows, as in `IntegratedGradients`; of several, such as rows of the training
            data for a table, the mean is taken, and each has orders of its own.
        samples: the number of orders for each baseline, each with its reverse.
        seed: the same seed gives the same orders, for every input.

    The windows of several inputs appear in one common order.

    Raises:
        ValueError: an option is out of range, or window or baseline do not fit the inputs (on ``explain``).

    Source:
        Shapley 1953, A Value for n-Person Games; Castro, Gomez & Tejada 2009, Polynomial calculation of the Shapley
        value based on sampling; Mitchell, Cooper, Frank & Holmes 2022, Sampling Permutations for Shapley Value
        Estimation (reversed orders).

    Example:
        >>> import numpy as np, tfsaliency as tfs
        >>> either = lambda x: np.maximum(x[:, :1], x[:, 1:2])
        >>> tfs.ShapleyValues(either, baseline=0).explain(np.array([[1.0, 1.0, 1.0]])).values
        array([[0.5, 0.5, 0. ]], dtype=float32)
    """

    model: keras.Model
    window: Any = None
    baseline: Any = None
    samples: int = 32
    seed: int = 0
    tolerance: float | None = None
    budget: int = 1000

    def __post_init__(self) -> None:
        object.__setattr__(self, "model", as_black_box(self.model))
        super().__post_init__()
        check_count("seed", self.seed, 0)

    def attribute(self, x: Any, score: Score) -> Attribution:
        score.check_channels_last()
        score.resolve()
        windows = _Windows.of(x, self.window, score.leaders)
        is_cheap = 2**windows.number <= 2 * windows.number * self.samples
        phi, expected, told = (self._exact if is_cheap else self._sampled)(windows, x, score)
        gap = total(phi) - (score.at(x) - expected)
        return Attribution(windows.laid_out(phi, x, score.padding(x)), {"completeness_gap": gap, **told})

    def _exact(self, windows: "_Windows", x: Any, score: Score) -> "_Shares":
        """From the scores of all sets of windows."""
        number = windows.number
        members = (np.arange(2**number)[:, None] >> np.arange(number)) % 2 == 1
        # For each window, the sets with it, and the same sets without it.
        joined = np.stack([np.flatnonzero(members[:, window]) for window in range(number)])
        before = joined - 2 ** np.arange(number)[:, None]
        # The share of the orders that begin with so many windows and have a certain one next.
        orders = np.array([1 / (number * math.comb(number - 1, size)) for size in range(number)], "float32")
        shares = tf.constant(orders[members.sum(axis=1)[before]])

        def against(behind: Behind) -> list[tf.Tensor]:
            def ask(block: Block) -> tf.Tensor:
                visible = tf.constant(members)[block[0] : block[0] + block[1]]
                return score.at(score.seen(x, behind, windows.at_places(visible)))

            scores = scores_of_copies(len(members), x, score, ask)
            added = tf.gather(scores, joined) - tf.gather(scores, before)
            return [tf.einsum("ws,wsn->nw", shares, added), scores[0]]

        none = tf.zeros([samples_of(x)])
        like = [tf.zeros([samples_of(x), number]), none]
        phi, expected = baselines(self.baseline, x, score).behind().mean_of(against, like)
        told = {"relative_error": none}
        if self.tolerance is not None:
            told |= {"samples_used": none, "converged": tf.fill(tf.shape(none), True)}
        return _Shares(phi, expected, told)

    def _sampled(self, windows: "_Windows", x: Any, score: Score) -> "_Shares":
        """From random orders, each with its reverse."""
        number = baselines(self.baseline, x, score).number

        def values_of(x: Any, score: Score, block: Block) -> dict[str, tf.Tensor]:
            references = baselines(self.baseline, x, score).behind()

            def of_baseline(i: tf.Tensor) -> dict[str, tf.Tensor]:
                places = drawn(lambda j: self._order(windows.number, j * number + i), *block, [windows.number])
                return _along(places, windows, x, references.at(i), score)

            like = {"map": tf.float32, "start": tf.float32}
            of_baselines: dict[str, tf.Tensor] = mapped(of_baseline, tf.range(number), like, parallel_iterations=1)
            return {name: tf.reduce_mean(each, axis=0) for name, each in of_baselines.items()}

        (_, terms), used = self.find(x, score, values_of, the_values)
        return _Shares(terms.mean["map"], terms.mean["start"], self.told(terms, used))

    def _order(self, windows: int, number: tf.Tensor) -> tf.Tensor:
        """The place of each window in a random order, ``(windows,)`` float32."""
        draws = tf.random.stateless_uniform([windows], tf.stack([stream("shapley", self.seed), number]))
        return tf.cast(tf.argsort(draws), tf.float32)


def _along(places: tf.Tensor, windows: "_Windows", x: Any, behind: Behind, score: Score) -> dict[str, tf.Tensor]:
    """What each window adds to the score in some orders and their reverse, on average.

    Args:
        places: of each window in each order, ``(count, windows)``.
        windows: of the inputs.
        x: the inputs, ``(N, ...)``.
        behind: the baseline.
        score: what is explained.

    Returns:
        It as ``"map"``, ``(count * N, windows)``, and the score at the baseline as ``"start"``, ``(count * N,)``.
    """
    number = windows.number

    def ask(step: tf.Tensor) -> tf.Tensor:
        """The score of the first ``step`` windows of an order, or of those that are not the first ``step - number``."""
        step = tf.cast(step, places.dtype)
        visible = tf.where(step <= number, places < step, places >= step - number)
        return tf.reshape(score.at(score.seen(x, behind, windows.at_places(visible))), [tf.shape(places)[0], -1])

    # One place in the graph where the model is asked.
    scores = mapped(ask, tf.range(2 * number), tf.float32, parallel_iterations=1)
    first, others = scores[: number + 1], scores[number + 1 :]
    last = tf.concat([first[number:], others, first[:1]], axis=0)
    # What the next window of an order adds to the first ones is what it adds to the last ones of the reverse.
    surpluses = first - last
    added = tf.transpose(surpluses[1:] - surpluses[:-1], [1, 0, 2]) / 2
    of_windows = tf.gather(added, tf.cast(places, tf.int32), axis=1, batch_dims=1)
    return {
        "map": tf.reshape(tf.transpose(of_windows, [0, 2, 1]), [-1, number]),
        "start": tf.reshape(first[0], [-1]),
    }


class _Shares(NamedTuple):
    """What each window has of the score.

    Attributes:
        phi: ``(N, windows)``.
        expected: the mean score at the baselines, ``(N,)``.
        told: diagnostics.
    """

    phi: tf.Tensor
    expected: tf.Tensor
    told: dict[str, tf.Tensor]


class _Windows(NamedTuple):
    """The windows of all inputs, which fill them without overlap.

    Attributes:
        at: the window at each place, ``(*places)``, by the number of a leader.
        number: how many windows there are.
    """

    at: dict[int, np.ndarray]
    number: int

    @classmethod
    def of(cls, x: Any, window: Any, leaders: list[int]) -> "_Windows":
        parts = tf.nest.flatten(x)
        lengths = lengths_of("window", window, x, list(map(usual_lengths, parts)))
        at: dict[int, np.ndarray] = {}
        number = 0
        for leader in leaders:
            axes = list(zip(lengths[leader], spatial_shape(parts[leader]), strict=True))
            for length, extent in axes:
                if not 1 <= length <= extent:
                    raise ValueError(
                        f"Windows fit into the input: 1 <= window <= {extent} for this axis of "
                        f"{tuple(parts[leader].shape)}. Received: {length}"
                    )
            across = [-(-extent // length) for length, extent in axes]
            numbers = [np.arange(extent) // length for length, extent in axes]
            at[leader] = number + np.ravel_multi_index(np.ix_(*numbers), across)
            number += math.prod(across)
        return cls(at, number)

    def at_places(self, visible: tf.Tensor) -> dict[int, tf.Tensor]:
        """For each leader whether each place is visible, ``(count, *places)``, from whether each window is."""
        return {leader: tf.gather(tf.cast(visible, tf.float32), at, axis=1) for leader, at in self.at.items()}

    def laid_out(self, phi: tf.Tensor, x: Any, padding: list[tf.Tensor | None]) -> Any:
        """What each window has, ``(N, windows)``, spread evenly over its places that are no padding.

        Args:
            phi: what each window has.
            x: the inputs.
            padding: of each tensor of them, see `Score.padding`.
        """
        maps = [one_per_place(part) for part in tf.nest.flatten(x)]
        for leader, at in self.at.items():
            like = tf.zeros_like(maps[leader]) if padding[leader] is None else padding[leader]
            is_pad = tf.reshape(tf.cast(like, tf.bool), [-1, at.size])
            is_read = tf.transpose(tf.cast(~is_pad, tf.float32))
            read = tf.transpose(tf.math.unsorted_segment_sum(is_read, at.ravel(), self.number))
            # A window of padding alone keeps what it has: that is what the padding is worth.
            of_pads = tf.where(read > 0, 0.0, phi) / np.bincount(at.ravel(), minlength=self.number).clip(1)
            of_places = [tf.gather(each, at.ravel(), axis=1) for each in (phi / tf.maximum(read, 1.0), of_pads)]
            maps[leader] = tf.reshape(tf.where(is_pad, of_places[1], of_places[0]), tf.shape(maps[leader]))
        return tf.nest.pack_sequence_as(x, maps)
