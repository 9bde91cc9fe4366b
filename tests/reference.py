"""Textbook twins in NumPy: slow, short, and written from the papers."""

import itertools
from collections.abc import Callable

import cv2
import numpy as np


def moments_of_copies(
    function: Callable[[np.ndarray], np.ndarray], x: np.ndarray, draws: np.ndarray, noise: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean, mean of squares and variance of ``function`` over noisy copies, one copy at a time, in float64."""
    axes = tuple(range(1, x.ndim))
    deviation = noise * (x.max(axis=axes, keepdims=True) - x.min(axis=axes, keepdims=True))
    values = np.array([function((x + deviation * draw).astype("float32")) for draw in draws], "float64")
    return values.mean(axis=0), (values**2).mean(axis=0), values.var(axis=0)


def clip_percentile(values: np.ndarray, percentile: float) -> np.ndarray:
    """Each sample clipped to its own percentile of absolute values."""
    clipped = []
    for sample in values:
        limit = np.percentile(np.abs(sample), percentile)
        clipped.append(np.clip(sample, -limit, limit))
    return np.array(clipped)


def normalize(values: np.ndarray) -> np.ndarray:
    """Each sample divided by its largest absolute value."""
    return np.array([sample / (np.abs(sample).max() or 1.0) for sample in values])


def affine_matrix(
    function: Callable[[np.ndarray], np.ndarray], shape: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Weights ``(inputs, results)`` and bias ``(results,)`` of an affine function of one sample, found by asking it."""
    size = int(np.prod(shape))
    batch = np.concatenate([np.zeros((1, size)), np.eye(size)]).reshape(-1, *shape).astype("float32")
    answers = function(batch).reshape(size + 1, -1).astype("float64")
    return answers[1:] - answers[0], answers[0]


def lrp(rule: str, x: np.ndarray, w: np.ndarray, b: np.ndarray, relevance: np.ndarray, **options: float) -> np.ndarray:
    """Relevance of the inputs of ``z = x w + b``, one result at a time.

    Args:
        rule: the name of the rule.
        x: ``(inputs,)``.
        w: ``(inputs, results)``.
        b: ``(results,)``.
        relevance: ``(results,)``.
        options: what the rule takes.
    """
    result = np.zeros_like(x, "float64")
    for j in range(len(b)):
        for share, part in RULES[rule](x, w[:, j], b[j], **options):
            result += part * share * relevance[j]
    return result


def _shares(q: np.ndarray, b: float = 0.0, epsilon: float = 1e-6) -> np.ndarray:
    z = q.sum() + b
    z += epsilon if z >= 0 else -epsilon
    return q / z if z else np.zeros_like(q)


def _epsilon(x, w, b, epsilon):
    return [(_shares(x * w, b, epsilon), 1.0)]


def _alpha_beta(x, w, b, alpha, beta):
    q = x * w
    return [(_shares(np.maximum(q, 0), max(b, 0)), alpha), (_shares(np.minimum(q, 0), min(b, 0)), -beta)]


def _gamma(x, w, b, gamma):
    q, z = x * w, x @ w + b
    favoured = np.maximum if z > 0 else np.minimum
    return [(_shares(q + gamma * favoured(q, 0), b + gamma * favoured(b, 0)), float(z != 0))]


def _w_square(x, w, b):
    return [(_shares(w**2), 1.0)]


def _flat(x, w, b):
    return [(_shares((w != 0).astype("float64")), 1.0)]


def _z_box(x, w, b, low, high):
    return [(_shares(x * w - low * np.maximum(w, 0) - high * np.minimum(w, 0)), 1.0)]


RULES = {
    "epsilon": _epsilon,
    "gamma": _gamma,
    "alpha_beta": _alpha_beta,
    "w_square": _w_square,
    "flat": _flat,
    "z_box": _z_box,
}


def guided_dense(x: np.ndarray, weights: list[tuple[np.ndarray, np.ndarray]], k: int, deconvnet: bool) -> np.ndarray:
    """Guided Backprop or DeconvNet of logit ``k`` of dense layers with ReLU between them, for one sample."""
    sums = []
    for w, b in weights:
        sums.append(x @ w + b)
        x = np.maximum(sums[-1], 0)
    g = weights[-1][0][:, k]
    for (w, _), z in zip(weights[-2::-1], sums[-2::-1], strict=True):
        g = w @ (np.maximum(g, 0) * (1.0 if deconvnet else z > 0))
    return g


def rescale_dense(x: np.ndarray, x0: np.ndarray, weights: list[tuple[np.ndarray, np.ndarray]], k: int) -> np.ndarray:
    """DeepLIFT Rescale of logit ``k`` of dense layers with ReLU between them, for one sample."""
    ratios, y, y0 = [], x, x0
    for w, b in weights[:-1]:
        z, z0 = y @ w + b, y0 @ w + b
        y, y0 = np.maximum(z, 0), np.maximum(z0, 0)
        ratios.append((y - y0) / (z - z0))
    m = weights[-1][0][:, k]
    for (w, _), ratio in zip(weights[-2::-1], ratios[::-1], strict=True):
        m = w @ (m * ratio)
    return m * (x - x0)


def reveal_cancel_unit(x: np.ndarray, x0: np.ndarray, w: np.ndarray, b: float, f: Callable) -> np.ndarray:
    """DeepLIFT RevealCancel of ``f(x w + b)``, for one sample and one unit."""
    parts = w * (x - x0)
    z0 = x0 @ w + b
    plus, minus = parts[parts > 0].sum(), parts[parts < 0].sum()
    of_plus = (f(z0 + plus) - f(z0) + f(z0 + minus + plus) - f(z0 + minus)) / 2
    of_minus = (f(z0 + minus) - f(z0) + f(z0 + plus + minus) - f(z0 + plus)) / 2
    values = np.zeros_like(parts)
    values[parts > 0] = parts[parts > 0] * of_plus / plus if plus else 0
    values[parts < 0] = parts[parts < 0] * of_minus / minus if minus else 0
    return values


def grad_cam(a: np.ndarray, g: np.ndarray) -> np.ndarray:
    """Of activations and gradients ``(height, width, channels)``, as all of these."""
    return np.maximum(sum(g[..., k].mean() * a[..., k] for k in range(a.shape[-1])), 0)


def grad_cam_plus_plus(a: np.ndarray, g: np.ndarray) -> np.ndarray:
    result = np.zeros(a.shape[:-1])
    for k in range(a.shape[-1]):
        below = 2 * g[..., k] ** 2 + g[..., k] ** 3 * a[..., k].sum()
        alpha = np.divide(g[..., k] ** 2, below, out=np.zeros_like(below), where=g[..., k] != 0)
        result += (alpha * np.maximum(g[..., k], 0)).sum() * a[..., k]
    return np.maximum(result, 0)


def hires_cam(a: np.ndarray, g: np.ndarray) -> np.ndarray:
    return (a * g).sum(axis=-1)


def layer_cam(a: np.ndarray, g: np.ndarray) -> np.ndarray:
    return np.maximum((a * np.maximum(g, 0)).sum(axis=-1), 0)


def xgrad_cam(a: np.ndarray, g: np.ndarray) -> np.ndarray:
    result = np.zeros(a.shape[:-1])
    for k in range(a.shape[-1]):
        if a[..., k].sum():
            result += (a[..., k] * g[..., k]).sum() / a[..., k].sum() * a[..., k]
    return np.maximum(result, 0)


def eigen_cam(a: np.ndarray) -> np.ndarray:
    matrix = a.reshape(-1, a.shape[-1]).astype("float64")
    first = matrix @ np.linalg.svd(matrix)[2][0]
    return (first * (1 if first.sum() >= 0 else -1)).reshape(a.shape[:-1])


def score_cam(x: np.ndarray, a: np.ndarray, score: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Of inputs ``(N, height, width, channels)``, activations and a function of inputs."""
    seen = []
    for k in range(a.shape[-1]):
        mask = np.array([cv2.resize(each[..., k], x.shape[2:0:-1], interpolation=cv2.INTER_LINEAR) for each in a])
        low, high = (reduce(mask, axis=(1, 2), keepdims=True) for reduce in (np.min, np.max))
        mask = np.divide(mask - low, high - low, out=np.zeros_like(mask), where=high > low)
        seen.append(score(x * mask[..., None]))
    weights = np.exp(seen - np.max(seen, axis=0))
    weights /= weights.sum(axis=0)
    return np.maximum(np.einsum("kn,nhwk->nhw", weights, a), 0)


def ablation_cam(a: np.ndarray, score: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Of activations and a function of activations."""
    whole = score(a)
    result = np.zeros(a.shape[:-1])
    for k in range(a.shape[-1]):
        without = a.copy()
        without[..., k] = 0
        weight = (whole - score(without)) / np.abs(whole)
        result += weight[:, None, None] * a[..., k]
    return np.maximum(result, 0)


def integrated_gradients(x: np.ndarray, x0: np.ndarray, gradient: Callable, quadrature: str, steps: int) -> np.ndarray:
    legendre, weights_of_legendre = np.polynomial.legendre.leggauss(steps)
    nodes, weights = {
        "midpoint": ((np.arange(steps) + 0.5) / steps, np.full(steps, 1 / steps)),
        "trapezoid": (np.linspace(0, 1, steps), np.array([0.5, *[1] * (steps - 2), 0.5]) / (steps - 1)),
        "gauss_legendre": ((legendre + 1) / 2, weights_of_legendre / 2),
    }[quadrature]
    return (x - x0) * sum(w * gradient(x0 + t * (x - x0)) for t, w in zip(nodes, weights, strict=True))


def refined_integrated_gradients(
    x: np.ndarray, x0: np.ndarray, gradient: Callable, tolerance: float, budget: int
) -> tuple[np.ndarray, int, float]:
    """Of one sample, with all cells kept: values, how many gradients they took, and the relative error they tell."""
    way = x - x0

    def at(t: float) -> np.ndarray:
        return gradient((x0 + t * way).astype("float32")[None])[0] * way

    def thirds(cell: tuple) -> list[tuple]:
        """Of a cell: its start, width, slope, squared error, and what the cut has changed."""
        start, width, middle, changed_around = cell[0], cell[1] / 3, cell[2], cell[4]
        left, right = (at(start + share * width) for share in (0.5, 2.5))
        changed = np.linalg.norm(width * (left - 2 * middle + right))
        error2, ratio = changed**2 / 24, changed / changed_around if changed_around else np.inf
        if 0.5 < ratio < 2:
            # What is still to come is a geometric series.
            ratio = min(ratio, 0.9)
            error2 = (changed * ratio / (1 - ratio)) ** 2 / 3
        return [(start + i * width, width, slope, error2, changed) for i, slope in enumerate((left, middle, right))]

    cells = [third for i in range(6) for third in thirds((i / 6, 1 / 6, at((i + 0.5) / 6), 0, np.inf))]
    steps = 18
    while True:
        values, error2 = sum(width * slope for _, width, slope, *_ in cells), sum(each[3] for each in cells)
        true2 = (values**2).sum() - error2
        relative = np.sqrt(error2 / true2) if true2 > 0 else np.inf
        cells.sort(key=lambda each: -each[3])
        # A first cell, of which all thirds are here, with more than half of all error.
        doubtful = [each for each in cells if each[1] > 1 / 20 and 3 * each[3] > error2 / 2]
        is_doubtful = bool(doubtful) and 4 * np.sqrt(error2) > tolerance * np.sqrt(max(true2, 0))
        if steps + 2 > budget or (relative <= tolerance and not is_doubtful):
            return values, steps, relative
        most = min(8, (budget - steps) // 2)
        if relative <= tolerance:
            most = min(most, len(doubtful))
            cells = [third for cell in cells[:most] for third in thirds(cell)] + cells[most:]
            steps += 2 * most
            continue
        left = [error2 - 8 / 9 * sum(each[3] for each in cells[:number]) for number in range(1, most + 1)]
        number = next((i + 1 for i, each in enumerate(left) if each <= tolerance**2 * true2), most)
        cells = [third for cell in cells[:number] for third in thirds(cell)] + cells[number:]
        steps += 2 * number


def error_of_a_rule(products: np.ndarray, widths: np.ndarray) -> float:
    """The relative error that the steps of a fixed rule tell: ``products`` of slope and move, ``(steps, numbers)``."""
    steps = len(products)
    share = (widths[:-2] + widths[2:]) / widths[1:-1]
    bends = products[:-2] - share[:, None] * products[1:-1] + products[2:]
    error2 = (bends**2).sum() / 24 * steps / (steps - 2)
    return float(np.sqrt(error2 / ((products.sum(axis=0) ** 2).sum() - error2)))


def blur(x: np.ndarray, sigma: float) -> np.ndarray:
    """Of pictures ``(N, height, width, channels)``, with weights that are scaled to one at the border."""
    for axis in (1, 2):
        places = np.arange(x.shape[axis])
        weights = np.exp(-0.5 * ((places[:, None] - places) / sigma) ** 2)
        x = np.moveaxis(np.tensordot(weights / weights.sum(axis=1, keepdims=True), x, axes=[[1], [axis]]), 0, axis)
    return x.astype("float32")


def blur_integrated_gradients(x: np.ndarray, sigma: float, gradient: Callable, steps: int) -> np.ndarray:
    """By the midpoint rule in the width of the blur."""
    seen = [blur(x, width) if width else x for width in np.linspace(sigma, 0, 2 * steps + 1)]
    return sum((seen[i + 1] - seen[i - 1]) * gradient(seen[i]) for i in range(1, 2 * steps, 2))


def idgi(x: np.ndarray, x0: np.ndarray, gradient: Callable, score: Callable, steps: int) -> np.ndarray:
    """Of rows of numbers, with the gradient in the middle of each step."""
    result = np.zeros_like(x)
    for i in range(steps):
        start, middle, end = (x0 + t * (x - x0) for t in (i / steps, (i + 0.5) / steps, (i + 1) / steps))
        g = gradient(middle)
        result += g**2 / (g**2).sum(axis=1, keepdims=True) * (score(end) - score(start))[:, None]
    return result


def guided_integrated_gradients(
    x: np.ndarray, x0: np.ndarray, gradient: Callable, steps: int, fraction: float, max_dist: float
) -> np.ndarray:
    """Of one row of numbers, as the paper's pseudo-code goes: group after group of the flattest numbers."""
    now, values, total = x0.astype("float64"), np.zeros(len(x)), np.abs(x - x0).sum()
    for step in range(1, steps + 1):
        g = gradient(now[None].astype("float32"))[0]
        done = step / steps
        behind, ahead = (x0 + min(max(share, 0), 1) * (x - x0) for share in (done - max_dist, done + max_dist))
        before = now.copy()
        lagging = np.abs(now - x0) < np.abs(behind - x0)
        now[lagging] = behind[lagging]
        target = total * (1 - done)
        waiting = [i for i in np.argsort(np.abs(g), kind="stable") if abs(ahead[i] - now[i]) > 0]
        size = max(1, int(fraction * len(x)))
        while waiting and np.abs(x - now).sum() > target + 1e-12:
            group, waiting = waiting[:size], waiting[size:]
            room = np.abs(ahead[group] - now[group]).sum()
            share = min(1.0, (np.abs(x - now).sum() - target) / room)
            now[group] += share * (ahead[group] - now[group])
        values += g * (now - before)
    return values


def occlusion(x: np.ndarray, score: Callable, window: tuple, stride: tuple, baseline: float) -> np.ndarray:
    """One window at a time; pictures with channels last, or rows of numbers."""
    places = x.shape[1:-1] if x.ndim > 2 else x.shape[1:]
    lost, count = np.zeros((len(x), *places)), np.zeros(places)
    starts = []
    for size, length, step in zip(places, window, stride, strict=True):
        starts.append([0])
        while starts[-1][-1] + length < size:
            starts[-1].append(starts[-1][-1] + step)
    for corner in itertools.product(*starts):
        where = tuple(slice(at, at + length) for at, length in zip(corner, window, strict=True))
        hidden = x.copy()
        hidden[(slice(None), *where)] = baseline
        lost[(slice(None), *where)] += (score(x) - score(hidden)).reshape(-1, *[1] * len(places))
        count[where] += 1
    return lost / count
