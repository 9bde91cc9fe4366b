"""Several targets of the same inputs."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from tfsaliency.base.options import check_count
from tfsaliency.target.base import Several
from tfsaliency.target.classes import Ranked
from tfsaliency.target.outputs import as_target
from tfsaliency.target.tokens import sequence


def each(targets: Iterable[Any]) -> Several:
    """Several targets of the same inputs, such as the top classes, or a tag at each position.

    The explanation has an axis for them behind that of the samples: values ``(N, K, ...)`` and scores ``(N, K)``.
    `Explanation.each` takes it apart again. Targets of one kind share a compiled function.

    Args:
        targets: ``K`` targets of ``explain``.

    Raises:
        ValueError: there is none.

    Example:
        >>> import keras, numpy as np, tfsaliency as tfs
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, use_bias=False)])
        >>> model.set_weights([np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])])
        >>> tfs.Gradient(model).explain(np.ones((1, 3)), tfs.target.each([0, 1])).values
        array([[[1., 3., 5.],
                [2., 4., 6.]]], dtype=float32)
    """
    chosen = tuple(map(as_target, targets))
    if not chosen:
        raise ValueError("target.each takes at least one target. Received: none")
    return Several(chosen)


def top(count: int) -> Several:
    """The top classes of each sample, the best one first.

    They are chosen once for each sample, by what the model says of it: ``target`` of the explanation, ``(N, count)``.

    Args:
        count: how many, at least 1.

    Raises:
        ValueError: on ``explain``, if the output has fewer classes.

    Example:
        >>> import keras, numpy as np, tfsaliency as tfs
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3, use_bias=False)])
        >>> model.set_weights([np.array([[1.0, 2.0, 0.0], [3.0, 4.0, 0.0], [5.0, 6.0, 0.0]])])
        >>> explanation = tfs.Gradient(model).explain(np.ones((1, 3)), tfs.target.top(2))
        >>> explanation.target, explanation.scores
        (array([[1, 0]], dtype=int32), array([[12.,  9.]], dtype=float32))
    """
    check_count("count", count)
    return each([Ranked(rank=rank) for rank in range(count)])


def tokens(ids: Any, first: Any = 0) -> Several:
    """The log-probability of each of several tokens: which input made the model say which word.

    Values are ``(N, T_out, T_in)``: the row of a token shows what speaks for it. For methods that add up, the rows add
    up to the map of `sequence`.

    Args:
        ids: token ids ``(T_out,)``, or for each sample as many, ``(N, T_out)``.
        first: the position of the output that says the first of them, or one per sample; see `sequence`.

    Raises:
        ValueError: no ids, or another number of them for each sample.

    Example:
        >>> import keras, numpy as np, tfsaliency as tfs
        >>> model = keras.Sequential([keras.Input((None,)), keras.layers.Embedding(9, 4)])
        >>> model.add(keras.layers.LSTM(8, return_sequences=True))
        >>> model.add(keras.layers.Dense(9))
        >>> prompt, answer = [3, 8], [1, 4]
        >>> values = tfs.Gradient(model).explain(np.array([prompt + answer]), tfs.target.tokens(answer, first=1)).values
        >>> values.shape, (values != 0).astype(int)  # no token is read before it is said
        ((1, 2, 4), array([[[1, 1, 0, 0],
                [1, 1, 1, 0]]]))
    """
    try:
        rows = np.asarray(ids)
    except ValueError:
        raise ValueError(f"target.tokens takes as many ids for each sample. Received: {ids!r}") from None
    if rows.ndim not in (1, 2) or not rows.size or rows.dtype.kind not in "iu":
        raise ValueError(f"target.tokens takes token ids, (T_out,) or (N, T_out). Received: {ids!r}")
    columns = range(rows.shape[-1])
    return each([sequence(rows[..., [place]], np.asarray(first) + place) for place in columns])
