"""Mean and spread of what a method finds on many copies of the inputs, without keeping it."""

from collections.abc import Callable
from typing import Any, NamedTuple, cast

import tensorflow as tf

from tfsaliency.engine.copies import Block, over_copies
from tfsaliency.engine.score import Score
from tfsaliency.tensors.errors import relative_error
from tfsaliency.tensors.regression import running_means
from tfsaliency.tensors.sums import along, of_copies, samples_of, total

# The name of the functions that a loop over copies calls: they belong to the graph that they are called in.
OF_A_BLOCK = "tfsaliency_of_a_block"


class Moments(NamedTuple):
    """Mean and spread over copies of the inputs, float32, in any structure.

    Attributes:
        mean: ``(N, ...)``.
        spread: ``(N, ...)``, the sum of squared deviations from the mean.
    """

    mean: Any
    spread: Any

    def of(self, name: str) -> "Moments":
        """The moments of an entry of dicts."""
        return Moments(self.mean[name], self.spread[name])

    def relative_error(self, copies: Any) -> tf.Tensor:
        """``(N,)``: the estimated ``||mean - E|| / ||E||`` of a mean of independent copies, a number or ``(N,)``.

        NaN for one copy.
        """
        copies = tf.cast(copies, tf.float32)
        # Of one copy 0 / 0.
        return relative_error(self.mean, total(self.spread) / (copies * (copies - 1)))

    def without_first(self, copies: Any) -> "Moments":
        """The moments over all copies but the first, where its terms are zero because they tell nothing."""
        copies = tf.cast(copies, tf.float32)
        mean = tf.nest.map_structure(lambda part: part * along(copies / (copies - 1), part), self.mean)
        spread = tf.nest.map_structure(
            lambda part, with_first, without: part - with_first * without, self.spread, self.mean, mean
        )
        return Moments(mean, spread)


class Found(NamedTuple):
    """What copies have shown.

    Attributes:
        centre: the mean of the values, ``(N, ...)`` in their structure.
        terms: the moments of the terms that are made of the values.
    """

    centre: Any
    terms: Moments


class Before(NamedTuple):
    """The copies before those of a block.

    Attributes:
        copies: how many they are, a scalar tensor.
        mean: the mean of their values, ``(N, ...)`` in their structure; zeros where there are none.
    """

    copies: tf.Tensor
    mean: Any


# Makes terms ``(count, N, ...)``, in any structure, from the values of a block of copies and the copies before.
TermsOf = Callable[[Any, Before], Any]


def the_values(values: Any, before: Before) -> Any:
    """The terms where the values themselves are averaged."""
    return values


def residuals(values: Any, before: Before) -> Any:
    """How far each value is from the mean of all before it: ``r_j = sqrt((j - 1) / j) (f_j - mean(f_1 ... f_{j-1}))``.

    They have mean zero, the variance of the values, and no correlation (recursive residuals: Brown, Durbin & Evans
    1975). The sum of their squares is exactly that of the deviations from the mean (Welford 1962). So a variance is a
    mean of terms that are nearly independent, and has the error of a mean. The first is zero.
    """

    def of_part(part: tf.Tensor, mean: tf.Tensor) -> tf.Tensor:
        known = along(tf.cast(before.copies + tf.range(tf.shape(part)[0]), tf.float32), part)
        return tf.sqrt(known / (known + 1)) * (part - running_means(part, before.copies, mean))

    return tf.nest.map_structure(of_part, values, before.mean)


def found_in_copies(
    copies: int,
    x: Any,
    score: Score,
    values_of: Callable[[Block], Any],
    terms_of: TermsOf = the_values,
    before: tuple[tf.Tensor, Found] | None = None,
) -> Found:
    """What all copies show, one device batch at a time, in one loop of the graph.

    Args:
        copies: the number of copies.
        x: the inputs, ``(N, ...)``.
        score: the explained score.
        values_of: returns the values of the copies of a block, stacked: ``(count * N, ...)`` in any structure.
        terms_of: makes the terms whose moments are wanted.
        before: the number of copies that were drawn before, and what they have shown.
    """
    done, start = before or (tf.constant(0), None)
    if start is None and not tf.executing_eagerly():
        # Traced separately: a loop of the graph needs the shape of what it finds before it starts.
        with score.silent():
            ask = _of_a_block(lambda *block: values_of(block), *[tf.TensorSpec([], tf.int32)] * 2)
        of_values = _map_shapes(lambda shape: [None, *shape[1:]], ask.structured_outputs)
        stacked = _map_shapes(lambda shape: [None, *shape], of_values)
        traced_terms = _of_a_block(terms_of, stacked, Before(tf.TensorSpec([], tf.int32), of_values))
        of_terms = _map_shapes(lambda shape: shape[1:], traced_terms.structured_outputs)
        start, terms_of = _nothing(of_values, of_terms, samples_of(x)), traced_terms
    else:
        # A loop in Python takes the shape of the first block, and a black box cannot be traced.
        def ask(*block: tf.Tensor) -> Any:
            return values_of(block)

    def step(so_far: Found | None, block: Block) -> Found | None:
        first, count = done + block[0], block[1]
        values = of_copies(ask(first, count), count)
        if so_far is None:
            return _found(values, first, _zeros(values), terms_of)
        return _merge(so_far, first, _found(values, first, so_far.centre, terms_of), count)

    return cast(Found, over_copies(copies, x, score, step, start))


def _of_a_block(of_block: Callable[..., Any], *specs: Any) -> Any:
    """A function of a block, traced on its own."""

    def traced(*given: Any) -> Any:
        return of_block(*given)

    traced.__name__ = OF_A_BLOCK
    return tf.function(traced, autograph=False).get_concrete_function(*specs)


def _map_shapes(shape_of: Callable[[list[int | None]], list[int | None]], parts: Any) -> Any:
    """Specs of the same types and other shapes."""
    return tf.nest.map_structure(lambda part: tf.TensorSpec(shape_of([*part.shape]), part.dtype), parts)


# Copies that are drawn before looking again.
LOOK = 16


def found_until(
    tolerance: float,
    budget: int,
    copies: int,
    x: Any,
    score: Score,
    values_of: Callable[[Any, Score, Block], Any],
    terms_of: TermsOf,
    error_of: Callable[[Moments, Any], tf.Tensor],
) -> tuple[Found, tf.Tensor]:
    """What as many copies of each sample show as bring its error within a tolerance.

    Args:
        tolerance: the largest error.
        budget: the most copies.
        copies: how many are drawn at first, of all samples.
        x: the inputs, ``(N, ...)``.
        score: the explained score.
        values_of: returns the values of the copies of a block of some of the samples, ``(count * n, ...)``.
        terms_of: makes the terms whose moments are wanted.
        error_of: tells the error, ``(n,)``, from the moments of the terms and the number of copies.

    Returns:
        What the copies show, and how many of each sample were drawn, ``(N,)``.
    """
    first = found_in_copies(copies, x, score, lambda block: values_of(x, score, block), terms_of)

    def is_open(found: Found, drawn: tf.Tensor) -> tf.Tensor:
        return (error_of(found.terms, drawn) > tolerance) & (drawn + LOOK <= budget)

    def look(done: tf.Tensor, found: Found, drawn: tf.Tensor) -> tuple[tf.Tensor, Found, tf.Tensor]:
        # All samples that are open have as many copies.
        places = tf.cast(tf.where(is_open(found, drawn)), tf.int32)
        some, score_of_some = _rows(x, places), score.among(places[:, 0])
        more = found_in_copies(
            LOOK,
            some,
            score_of_some,
            lambda block: values_of(some, score_of_some, block),
            terms_of,
            (done, _rows(found, places)),
        )
        found = tf.nest.map_structure(lambda part, rows: tf.tensor_scatter_nd_update(part, places, rows), found, more)
        return done + LOOK, found, tf.tensor_scatter_nd_add(drawn, places, tf.fill(tf.shape(places)[:1], LOOK))

    with score.silent():
        _, found, drawn = tf.while_loop(
            lambda done, found, drawn: tf.reduce_any(is_open(found, drawn)),
            look,
            (tf.constant(copies), first, tf.fill([samples_of(x)], copies)),
            parallel_iterations=1,
        )
    return found, drawn


def _rows(structure: Any, places: tf.Tensor) -> Any:
    return tf.nest.map_structure(lambda part: tf.gather_nd(part, places), structure)


def _nothing(values: Any, terms: Any, samples: tf.Tensor) -> Found:
    """What no copies show, of values and terms of these types ``(None, ...)``."""

    def zeros(spec: tf.TensorSpec) -> tf.Tensor:
        # An axis whose length is not known, that of a sequence, gets it from the first block.
        start = tf.zeros([samples, *(size or 1 for size in spec.shape[1:])], spec.dtype)
        return tf.compat.v1.placeholder_with_default(start, spec.shape)

    centre, mean, spread = (tf.nest.map_structure(zeros, specs) for specs in (values, terms, terms))
    return Found(centre, Moments(mean, spread))


def _found(values: Any, first: tf.Tensor, centre: Any, terms_of: TermsOf) -> Found:
    """What a block of copies alone shows, with the mean of all ``first`` copies before it."""
    terms = terms_of(values, Before(first, centre))
    mean = _mean(terms)
    spread = tf.nest.map_structure(
        lambda part, its: tf.reduce_sum(tf.math.squared_difference(part, its), axis=0), terms, mean
    )
    return Found(_mean(values), Moments(mean, spread))


def _zeros(stacked: Any) -> Any:
    """The mean of no copies."""
    return tf.nest.map_structure(lambda part: tf.zeros_like(part[0]), stacked)


def _mean(stacked: Any) -> Any:
    return tf.nest.map_structure(lambda part: tf.reduce_mean(part, axis=0), stacked)


def _merge(a: Found, in_a: tf.Tensor, b: Found, in_b: tf.Tensor) -> Found:
    """Two groups together (Chan, Golub & LeVeque 1983), without the cancellation of a sum of squares."""
    share = tf.cast(in_b, tf.float32) / tf.cast(in_a + in_b, tf.float32)

    def joined(mean_a: Any, mean_b: Any) -> Any:
        return tf.nest.map_structure(lambda of_a, of_b: of_a + (of_b - of_a) * share, mean_a, mean_b)

    def spread(spread_a: tf.Tensor, spread_b: tf.Tensor, mean_a: tf.Tensor, mean_b: tf.Tensor) -> tf.Tensor:
        between = tf.math.squared_difference(mean_a, mean_b) * tf.cast(in_a, tf.float32) * share
        return spread_a + spread_b + between

    terms = Moments(
        joined(a.terms.mean, b.terms.mean),
        tf.nest.map_structure(spread, a.terms.spread, b.terms.spread, a.terms.mean, b.terms.mean),
    )
    return Found(joined(a.centre, b.centre), terms)
