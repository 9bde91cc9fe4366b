"""Baselines: the reference inputs of the methods that explain a difference.

``baseline=`` takes a number, arrays, a function of the inputs, or a result of the functions of this module. Padding of
series that the model masks is padding in the baseline too: nothing is told of it.
"""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfsaliency.base.options import FitsInputs, check_amount, check_count
from tfsaliency.base.shuffles import shuffled_order
from tfsaliency.engine.inputs import as_texts
from tfsaliency.engine.score import Behind, Score
from tfsaliency.tensors.blur import blur
from tfsaliency.tensors.mapped import mapped
from tfsaliency.tensors.sums import inner_axes, samples_of, sizes_of

_VARIABLES = (tf.Variable, keras.Variable)

__all__ = ["blurred", "extremes", "mean", "per_sample", "pixels", "shuffled", "uniform", "zeros"]


class Baselines(NamedTuple):
    """The baselines of a batch of inputs.

    Attributes:
        number: how many baselines each sample has.
        at: takes an index, an int or scalar tensor, and returns that baseline in the structure and shape of the inputs,
            ``(N, ...)``.
        passed: takes an index too, and returns that baseline as users pass inputs, ids for ids; an empty tuple where it
            has no such form, or no method needs it.
    """

    number: int
    at: Callable[[Any], Any]
    passed: Callable[[Any], Any] = lambda i: ()

    def behind(self) -> "Baselines":
        """The same for what hides places: each as `Behind`."""
        return Baselines(self.number, lambda i: Behind(self.at(i), self.passed(i)))

    def all(self, like: Any) -> Any:
        """``(number, N, ...)``: all of them, for inputs ``like``."""
        if self.number == 1:
            return tf.nest.map_structure(lambda part: part[None], self.at(0))
        return self.drawn(tf.range(self.number), like)

    def drawn(self, indices: tf.Tensor, like: Any) -> Any:
        """``(indices, N, ...)``: those of some indices, for inputs ``like``."""
        specs = tf.nest.map_structure(lambda part: tf.TensorSpec(part.shape, part.dtype), like)
        return mapped(self.at, indices, specs)

    def mean_of(self, function: Callable[[Any], Any], like: Any) -> Any:
        """The mean of a function over the baselines, in tensors of the shapes of ``like``."""
        if self.number == 1:
            return function(self.at(0))

        def add(i: tf.Tensor, so_far: Any) -> Any:
            return i + 1, tf.nest.map_structure(tf.add, so_far, function(self.at(i)))

        # One baseline at a time: the memory is that of one.
        start = tf.constant(0), tf.nest.map_structure(tf.zeros_like, like)
        _, summed = tf.while_loop(lambda i, so_far: i < self.number, add, start, parallel_iterations=1)
        return tf.nest.map_structure(lambda part: part / self.number, summed)


class Made(FitsInputs):
    """Baselines that are computed from the inputs, sample by sample.

    Attributes:
        as_passed: whether they have the form in which users pass inputs, ids for ids. Otherwise they are numbers in the
            place of those that a method sees.
        reads_places: whether they depend on which of the axes are places, and which one channels.
    """

    as_passed = False
    reads_places = False

    @property
    @abstractmethod
    def number(self) -> int:
        """How many baselines each sample has."""

    @abstractmethod
    def at(self, part: tf.Tensor, place: int, i: Any, numbers: tf.Tensor, is_read: tf.Tensor | None) -> tf.Tensor:
        """Baselines of the shape of a part of the inputs.

        Args:
            part: ``(n, ...)``.
            place: index of the part.
            i: index of the baseline.
            numbers: ``(n,)``, the index in the batch of each row's sample.
            is_read: which numbers of the part are no padding that the model masks; None where it masks none.
        """

    def check(self, inputs: Any) -> None:
        """Raises if the baselines do not fit the inputs; by default they fit any inputs."""
        return


@dataclass(frozen=True)
class _Blurred(Made):
    sigma: float
    number = 1
    reads_places = True

    def at(self, part: tf.Tensor, place: int, i: Any, numbers: tf.Tensor, is_read: tf.Tensor | None) -> tf.Tensor:
        return blur(part, tf.fill([tf.shape(part)[0]], float(self.sigma)), is_read)

    def __repr__(self) -> str:
        return f"blurred({self.sigma:g})"


def blurred(sigma: float = 20.0) -> Made:
    """Each input after a Gaussian blur, without its detail.

    Args:
        sigma: standard deviation of the Gaussian, in pixels or time steps.

    Example:
        >>> import keras, numpy as np, tfsaliency as tfs
        >>> model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(2)])
        >>> tfs.DeepLIFT(model, tfs.baselines.blurred(2)).explain(np.ones((1, 8, 8, 3))).values.shape
        (1, 8, 8, 3)
    """
    check_amount("sigma", sigma)
    return _Blurred(sigma)


@dataclass(frozen=True)
class _Mean(Made):
    number = 1
    reads_places = True

    def check(self, inputs: Any) -> None:
        flat = [part.shape for part in tf.nest.flatten(inputs) if part.dtype.kind in "fb" and part.ndim < 3]
        if flat:
            raise ValueError(
                f"baselines.mean is the mean over places of pictures and series. Received: shape {flat[0]}. The mean "
                "of a table's columns is that of many rows: baseline=table.mean(axis=0)."
            )

    def at(self, part: tf.Tensor, place: int, i: Any, numbers: tf.Tensor, is_read: tf.Tensor | None) -> tf.Tensor:
        axes = list(range(1, part.shape.rank - 1))
        if is_read is None:
            return tf.reduce_mean(part, axes, keepdims=True) + tf.zeros_like(part)
        count = tf.reduce_sum(tf.cast(is_read, part.dtype), axes, keepdims=True)
        total = tf.reduce_sum(tf.where(is_read, part, 0.0), axes, keepdims=True)
        return tf.math.divide_no_nan(total, count) + tf.zeros_like(part)

    def __repr__(self) -> str:
        return "mean()"


def mean() -> Made:
    """The mean colour of each picture, or the mean of each channel of a series: as bright, and without any form.

    Raises:
        ValueError: on ``explain``, for a table, whose mean is that of many rows.

    Example:
        >>> import keras, numpy as np, tfsaliency as tfs
        >>> model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(2)])
        >>> picture = np.random.default_rng(0).uniform(size=(1, 8, 8, 3))
        >>> tfs.DeepLIFT(model, tfs.baselines.mean()).explain(picture).values.shape
        (1, 8, 8, 3)
    """
    return _Mean()


@dataclass(frozen=True)
class _Zeros(Made):
    number = 1

    def at(self, part: tf.Tensor, place: int, i: Any, numbers: tf.Tensor, is_read: tf.Tensor | None) -> tf.Tensor:
        return tf.zeros_like(part)

    def __repr__(self) -> str:
        return "zeros()"


def zeros() -> Made:
    """Zeros, also in the place of the vectors that a model looks up for ids: of no id at all.

    By default padding or the mean of a table stands for nothing: a vector of zeros is one that the network never saw.

    Example:
        >>> import keras, numpy as np, tfsaliency as tfs
        >>> model = keras.Sequential([keras.Input((5,)), keras.layers.Embedding(9, 4), keras.layers.Flatten()])
        >>> model.add(keras.layers.Dense(2))
        >>> tfs.DeepLIFT(model, tfs.baselines.zeros()).explain(np.array([[3, 8, 1, 0, 0]])).values.shape
        (1, 5)
    """
    return _Zeros()


@dataclass(frozen=True)
class _Uniform(Made):
    low: float
    high: float
    draws: int
    seed: int

    def at(self, part: tf.Tensor, place: int, i: Any, numbers: tf.Tensor, is_read: tf.Tensor | None) -> tf.Tensor:
        # Every sample gets the same draw: a map does not depend on the rest of the batch.
        draw = tf.random.stateless_uniform(part.shape[1:], tf.stack([self.seed, place * 1_000_003 + i]))
        return self.low + (self.high - self.low) * draw + tf.zeros_like(part)

    @property
    def number(self) -> int:
        return self.draws

    def __repr__(self) -> str:
        return f"uniform({self.low:g}, {self.high:g}, number={self.draws}, seed={self.seed})"


def uniform(low: float, high: float, number: int = 10, seed: int = 0) -> Made:
    """Uniform noise, in several draws that a method averages over: no single colour is the reference.

    Args:
        low: smallest number of the inputs.
        high: largest number of the inputs.
        number: how many draws.
        seed: the same seed gives the same draws.

    Raises:
        ValueError: low is not below high, or number is below 1.

    Example:
        >>> import keras, numpy as np, tfsaliency as tfs
        >>> model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(2)])
        >>> tfs.IntegratedGradients(model, tfs.baselines.uniform(0, 1)).explain(np.ones((1, 8, 8, 3))).values.shape
        (1, 8, 8, 3)
    """
    check_count("number", number)
    check_count("seed", seed, 0)
    if not low < high:
        raise ValueError(f"low is below high. Received: {low}, {high}")
    return _Uniform(low, high, number, seed)


@dataclass(frozen=True)
class _Extremes(Made):
    number = 2

    def at(self, part: tf.Tensor, place: int, i: Any, numbers: tf.Tensor, is_read: tf.Tensor | None) -> tf.Tensor:
        axes = inner_axes(part)
        above, below = (part, part) if is_read is None else (tf.where(is_read, part, end) for end in (np.inf, -np.inf))
        low, high = tf.reduce_min(above, axes, keepdims=True), tf.reduce_max(below, axes, keepdims=True)
        return tf.where(tf.equal(i, 0), low, high) + tf.zeros_like(part)

    def __repr__(self) -> str:
        return "extremes()"


def extremes() -> Made:
    """Two constant baselines for each input, its smallest and its largest number: black and white, for pictures.

    Example:
        >>> import keras, numpy as np, tfsaliency as tfs
        >>> model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(2)])
        >>> tfs.IntegratedGradients(model, tfs.baselines.extremes()).explain(np.random.rand(1, 8, 8, 3)).values.shape
        (1, 8, 8, 3)
    """
    return _Extremes()


@dataclass(frozen=True)
class _Pixels(Made):
    value: Any
    preprocess: Callable[[np.ndarray], Any]
    number = 1

    def at(self, part: tf.Tensor, place: int, i: Any, numbers: tf.Tensor, is_read: tf.Tensor | None) -> tf.Tensor:
        filled = np.broadcast_to(np.asarray(self.value, "float32"), part.shape[1:])
        return tf.cast(np.asarray(self.preprocess(filled[None].copy())), part.dtype) + tf.zeros_like(part)

    def __repr__(self) -> str:
        return f"pixels({self.value!r})"


def pixels(value: Any, preprocess: Callable[[np.ndarray], Any]) -> Made:
    """A baseline that is given as a picture before preprocessing.

    Zero after preprocessing is a mid grey or the mean of the training set. Black is another baseline and gives another
    map.

    Args:
        value: a number, an RGB colour or a picture, in the range that ``preprocess`` takes.
        preprocess: turns pictures ``(1, height, width, channels)`` into inputs of the model.

    Example:
        >>> import keras, numpy as np, tfsaliency as tfs
        >>> model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(2)])
        >>> black = tfs.baselines.pixels(0, lambda rgb: rgb / 127.5 - 1)
        >>> tfs.DeepLIFT(model, black).explain(np.ones((1, 8, 8, 3))).values.shape
        (1, 8, 8, 3)
    """
    return _Pixels(value, preprocess)


@dataclass(frozen=True)
class _Shuffled(Made):
    k: int
    samples: int
    seed: int
    as_passed = True
    reads_places = True

    @property
    def number(self) -> int:
        return self.samples

    def check(self, inputs: Any) -> None:
        for part in tf.nest.flatten(inputs):
            if part.ndim not in (2, 3) or part.dtype.kind == "U":
                raise ValueError(
                    "baselines.shuffled is for sequences of letters (N, L, C), or of ids (N, L). Received: shape "
                    f"{part.shape} of dtype {part.dtype}"
                )

    def at(self, part: tf.Tensor, place: int, i: Any, numbers: tf.Tensor, is_read: tf.Tensor | None) -> tf.Tensor:
        made = tf.numpy_function(self._rows, [part, place, i], part.dtype, stateful=False)
        return tf.ensure_shape(made, part.shape)

    def _rows(self, part: np.ndarray, place: int, i: int) -> np.ndarray:
        """The shuffle of number ``i`` of each row. A row's own does not depend on the rows around it."""
        return np.stack([self._row(row, np.random.default_rng([self.seed, int(place), int(i)])) for row in part])

    def _row(self, row: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        _, letters = np.unique(row, axis=0, return_inverse=True)
        shuffled: np.ndarray = row[shuffled_order(letters.reshape(-1), self.k, generator)]
        return shuffled

    def __repr__(self) -> str:
        return f"shuffled(k={self.k}, samples={self.samples}, seed={self.seed})"


def shuffled(k: int = 2, samples: int = 20, seed: int = 0) -> Made:
    """Shuffles of each sequence that keep how often each group of ``k`` neighbouring letters occurs in it.

    For DNA: the letters of a place are no evidence by themselves, their order is. Methods average over the shuffles.
    They are made outside of the graph, one for each sample and number.

    Args:
        k: 1 keeps the letters, 2 their pairs (dinucleotides).
        samples: how many shuffles of each sequence.
        seed: the same seed gives the same shuffles.

    Raises:
        ValueError: k or samples is below 1; or on ``explain``, the inputs are no sequences ``(N, L, C)`` or ``(N, L)``.

    Source:
        Altschul & Erikson 1985; as references of DeepLIFT Shrikumar et al. 2017, section 4.2.

    Example:
        >>> import keras, numpy as np, tfsaliency as tfs
        >>> model = keras.Sequential([keras.Input((30, 4)), keras.layers.Conv1D(5, 3, activation="tanh")])
        >>> model.add(keras.layers.Flatten())
        >>> letters = np.eye(4)[np.random.default_rng(0).integers(4, size=(2, 30))]
        >>> tfs.DeepLIFT(model, tfs.baselines.shuffled()).explain(letters).values.shape
        (2, 30, 4)
    """
    check_count("k", k)
    check_count("samples", samples)
    check_count("seed", seed, 0)
    return _Shuffled(k, samples, seed)


@dataclass(frozen=True)
class _PerSample(Made):
    values: Any
    number = 1
    as_passed = True
    is_of_one_batch = True

    def at(self, part: tf.Tensor, place: int, i: Any, numbers: tf.Tensor, is_read: tf.Tensor | None) -> tf.Tensor:
        rows = tf.gather(tf.constant(tf.nest.flatten(self.values)[place], part.dtype), numbers)
        return tf.reshape(rows, [-1, *sizes_of(part)])

    def check(self, inputs: Any) -> None:
        given, own = (tf.nest.map_structure(np.shape, each) for each in (inputs, self.values))
        narrowed = [tf.nest.map_structure(_narrowed, each) for each in (inputs, self.values)]
        if narrowed[0] != narrowed[1]:
            raise ValueError(f"per_sample holds one baseline for each of the inputs, {given}. Received: {own}")

    def __repr__(self) -> str:
        return "per_sample(...)"


def per_sample(values: Any) -> Made:
    """One baseline for each input, such as the same scene without the object or the reading of the day before.

    Args:
        values: in the structure and of the shape of the inputs, ``(N, ...)``.

    Example:
        >>> import keras, numpy as np, tfsaliency as tfs
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
        >>> x, before = np.ones((5, 3)), np.zeros((5, 3))
        >>> tfs.IntegratedGradients(model, tfs.baselines.per_sample(before)).explain(x).values.shape
        (5, 3)
    """
    return _PerSample(tf.nest.map_structure(np.asarray, values))


def _narrowed(part: Any) -> tuple[int, ...]:
    """The shape of a part, ``(N,)`` for ``(N, 1)``: Keras takes one for the other."""
    shape: tuple[int, ...] = np.shape(part)
    return shape[:1] if shape[1:] == (1,) else shape


def baselines(baseline: Any, x: Any, score: Score) -> Baselines:
    """Converts the ``baseline`` of the user to `Baselines`.

    Args:
        baseline: None for what stands for nothing: zero, or for what is looked up for ids the vector of the id that
            fills up short rows, else the mean of the table. Or, in the form of the inputs (ids for ids, texts for
            texts): a number or text for all; an array or variable, or several in the structure of the inputs, of the
            shape of one input (an axis may be 1), or with a new first axis for several baselines. Or a function of
            ``x`` that returns one baseline per sample; or a `Made`.
        x: tensors in the structure of the model's inputs, ``(N, ...)``, or copies of them.
        score: the explained score, which knows the numbers of these samples in the batch.

    Raises:
        ValueError: structure, shape or type do not fit, or a baseline is not finite.
    """
    found = _baselines(baseline, x, score)

    def kept(i: Any) -> Any:
        parts = zip(*map(tf.nest.flatten, (found.at(i), x)), score.is_read(x), strict=True)
        kept_parts = [other if is_read is None else tf.where(is_read, other, part) for other, part, is_read in parts]
        return tf.nest.pack_sequence_as(x, kept_parts)

    return found._replace(at=kept)


def _as_passed(number: int, passed: Callable[[Any], Any], score: Score) -> Baselines:
    """Baselines that have the form of the inputs as users pass them."""
    return Baselines(number, lambda i: score.looked_up(passed(i)), lambda i: passed(i) if score.has_followers else ())


def _made(baseline: Made, x: Any, score: Score) -> Baselines:
    if baseline.reads_places:
        score.check_channels_last()
    seen = score.passed(x) if baseline.as_passed else x
    # Padding of ids is told by the ids.
    is_read = [None] * len(tf.nest.flatten(seen)) if baseline.as_passed else score.is_read(x)
    parts = list(zip(tf.nest.flatten(seen), is_read, strict=True))
    numbers = tf.tile(score.numbers, [samples_of(x) // tf.size(score.numbers)])

    def at(i: Any) -> Any:
        found = [baseline.at(part, place, i, numbers, is_read) for place, (part, is_read) in enumerate(parts)]
        return tf.nest.pack_sequence_as(seen, found)

    return _as_passed(baseline.number, at, score) if baseline.as_passed else Baselines(baseline.number, at)


def _baselines(baseline: Any, x: Any, score: Score) -> Baselines:
    if isinstance(baseline, Made):
        return _made(baseline, x, score)
    if callable(baseline):
        return Baselines(1, lambda i: tf.nest.map_structure(_as_given, baseline(x), x))
    if baseline is None:
        score.note("baseline", score.nothing)
        return Baselines(1, lambda i: score.neutral(x))
    if any(isinstance(part, Made) or callable(part) for part in tf.nest.flatten(baseline)):
        raise ValueError(
            "A baseline from tfsaliency.baselines, or a function of the inputs, is one for all parts of the inputs: "
            f"pass it alone, and not inside of {type(baseline).__name__}. Received: {baseline!r}. A function returns "
            "the parts that are to stay as they are: lambda x: {**x, 'other': other}."
        )
    # The user gives a baseline in the form of the inputs: ids for ids.
    passed = score.passed(x)
    if not isinstance(baseline, (dict, list, tuple, *_VARIABLES)) and np.ndim(baseline) == 0:
        baseline = tf.nest.map_structure(lambda part: baseline, passed)
    try:
        given = tf.nest.map_structure(_as_array, _in_structure(baseline, passed))
        tf.nest.assert_same_structure(given, passed)
    except (ValueError, TypeError) as error:
        shapes = tf.nest.map_structure(lambda part: tuple(part.shape[1:]), passed)
        raise ValueError(
            f"The baseline has the structure of one input, {shapes}. Received: {baseline!r}. Several for one input are "
            "an array, numpy.array([...])."
        ) from error
    rows = tf.nest.map_structure(_rows, given, passed)
    counts = {part.shape[0] for part in tf.nest.flatten(rows)} - {1}
    if len(counts) > 1:
        raise ValueError(f"Each part of the inputs needs the same number of baselines. Received: {sorted(counts)}")
    return _as_passed(
        max(counts, default=1),
        lambda i: tf.nest.map_structure(lambda part, of: _spread(part, i, of), rows, passed),
        score,
    )


def _in_structure(baseline: Any, x: Any) -> Any:
    """Accepts a single array for inputs that are a list of one array."""
    parts = tf.nest.flatten(x)
    alone = len(parts) == 1 and not isinstance(baseline, dict | tuple)
    return tf.nest.pack_sequence_as(x, [_as_array(baseline)]) if alone and not tf.is_tensor(x) else baseline


def _as_array(part: Any) -> Any:
    """An array, or a tensor for a variable: the graph reads its value at each call."""
    if isinstance(part, _VARIABLES):
        return tf.convert_to_tensor(part)
    array = np.asarray(part)
    return as_texts(array) if array.dtype.kind in "SO" else array


def _rows(part: Any, of: tf.Tensor) -> tf.Tensor:
    """The baselines of one part of the inputs, ``(K, ...)``."""
    shape, given = tuple(of.shape[1:]), tuple(part.shape)
    if isinstance(part, np.ndarray):
        _check_type(part, of.dtype)
    rows = (1, *given) if len(given) <= len(shape) else given
    if shape == (1,) and len(given) == 1:
        # Keras takes (N,) for (N, 1).
        rows = (*given, 1)
    fits = not given or len(rows) == len(shape) + 1
    if not fits or rows[0] == 0 or any(a not in (1, b) for a, b in zip(rows[1:], shape, strict=False) if b):
        several = f"(K, {', '.join(map(str, shape))})" if shape else "(K,)"
        raise ValueError(
            f"A baseline for inputs of shape {shape} is a number, an array of that shape (axes may be 1), or several "
            f"of them, {several}. Received: shape {given}"
        )
    typed = tf.constant(part, tf.string) if of.dtype == tf.string else tf.cast(part, of.dtype)
    return tf.reshape(typed, [rows[0], *(rows[1:] or [1] * len(shape))])


def _check_type(part: np.ndarray, wanted: tf.DType) -> None:
    """Raises where a baseline is of another type than the inputs."""
    if wanted == tf.string:
        if part.dtype.kind != "U":
            raise ValueError(f"A baseline for a text is a text. Received: {part!r}")
    elif isinstance(part[()], tf.data.Dataset):
        raise ValueError(
            f"A baseline is made of finite numbers. Received: {type(part[()]).__name__}. Pass an array of rows: of a "
            "dataset in batches next(iter(dataset)), and [0] of that where labels follow."
        )
    elif part.dtype.kind not in "fiub" or not np.isfinite(part).all():
        raise ValueError(f"A baseline is made of finite numbers. Received: {part!r}")
    elif wanted.is_integer and not np.array_equal(part, np.trunc(part)):
        raise ValueError(
            f"A baseline for ids is made of ids, which are whole numbers. Received: {part!r}. For vectors of zeros in "
            "the place of those that are looked up: tfsaliency.baselines.zeros(). Several inputs can have one each, in "
            "their structure: {'ids': 0, 'numbers': 0.5}"
        )


def _spread(rows: tf.Tensor, i: Any, of: tf.Tensor) -> tf.Tensor:
    """Row ``i`` for every sample; a single row serves every ``i``."""
    return tf.broadcast_to(rows[i if rows.shape[0] > 1 else 0], tf.shape(of))


def _as_given(part: Any, of: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.convert_to_tensor(part), of.dtype) + tf.zeros_like(of)
