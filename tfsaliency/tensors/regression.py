"""A linear regression that grows row by row."""

import tensorflow as tf

from tfsaliency.tensors.sums import along


def one_step_ahead(
    design: tf.Tensor, first: tf.Tensor, responses: tf.Tensor, mean: tf.Tensor, products: tf.Tensor, ridge: float
) -> tuple[tf.Tensor, tf.Tensor]:
    """Predicts each response of a block by the rows before its own.

    The regression for row ``j`` is on all rows ``i < j``: of ``y_i`` minus the mean of the responses before ``j`` on
    ``x_i``, with the penalty ``ridge |b|^2``. So the prediction does not depend on ``y_j``. All rows of a block come
    from one Cholesky decomposition: with ``A`` the matrix of the normal equations before the block, the
    errors are the diagonal of ``L`` times ``L^-1 (y - X b)``, where ``L L' = 1 + X A^-1 X'``.

    Args:
        design: ``(rows, features)``, all rows; features of mean zero.
        first: the number of the first row of the block.
        responses: of the block, ``(count, N)``.
        mean: of the responses before the block, ``(N,)``.
        products: the mean of response times row before the block, ``(N, features)``.
        ridge: the penalty.

    Returns:
        The errors of prediction, ``(count, N)``, where that of the very first row is zero; and the coefficients before
        each row, ``(count, N, features)``.
    """
    count, samples = tf.unstack(tf.shape(responses))
    before, rows = design[:first], design[first : first + count]
    root = tf.linalg.cholesky(tf.matmul(before, before, transpose_a=True) + ridge * tf.eye(tf.shape(design)[1]))
    known = tf.cast(first, tf.float32) * tf.transpose(products)
    # The mean changes with each row, so the part of a regression that it makes up is that of responses of one.
    ones = tf.reduce_sum(before, axis=0)[:, None]
    start = tf.linalg.cholesky_solve(root, tf.concat([known, ones], axis=1))
    solved = tf.transpose(tf.linalg.cholesky_solve(root, tf.transpose(rows)))
    among = tf.linalg.cholesky(tf.eye(count) + tf.matmul(solved, rows, transpose_b=True))
    surprises = tf.concat([responses, tf.ones([count, 1])], axis=1) - tf.matmul(rows, start)
    surprises = tf.linalg.triangular_solve(among, surprises)
    errors = tf.linalg.diag_part(among)[:, None] * surprises
    steps = surprises[..., None] * tf.linalg.triangular_solve(among, solved)[:, None]
    coefficients = tf.transpose(start) + tf.cumsum(steps, exclusive=True)

    means = running_means(responses, first, mean)
    is_known = tf.cast(tf.range(first, first + count) > 0, tf.float32)[:, None]
    errors = is_known * (errors[:, :samples] - means * errors[:, samples:])
    return errors, coefficients[:, :samples] - means[..., None] * coefficients[:, samples:]


def running_means(values: tf.Tensor, first: tf.Tensor, mean: tf.Tensor) -> tf.Tensor:
    """The mean of all values before each one of a block, ``(count, ...)``; the first of all has ``mean``.

    Args:
        values: of the block, ``(count, ...)``.
        first: how many there were before.
        mean: their mean.
    """
    before = tf.cast(first + tf.range(tf.shape(values)[0]), tf.float32)
    return mean + tf.math.divide_no_nan(tf.cumsum(values - mean, exclusive=True), along(before, values))
