"""Quadrature rules: sums over [0, 1] that approximate an integral."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np


class Rule(NamedTuple):
    """The nodes of a rule and their cells of [0, 1]; the weight of a node is the width of its cell.

    Attributes:
        nodes: ``(n,)``, in ascending order.
        edges: ``(n + 1,)``, from 0 to 1.
    """

    nodes: np.ndarray
    edges: np.ndarray


def midpoint(steps: int) -> Rule:
    """Equal cells, with a node in the middle of each cell."""
    edges = np.linspace(0, 1, steps + 1)
    return Rule((edges[:-1] + edges[1:]) / 2, edges)


def trapezoid(steps: int) -> Rule:
    """Equally spaced nodes from 0 to 1; the first and the last node have half the weight."""
    nodes = np.linspace(0, 1, steps)
    return Rule(nodes, np.concatenate([[0], (nodes[:-1] + nodes[1:]) / 2, [1]]))


def gauss_legendre(steps: int) -> Rule:
    """Gauss-Legendre: exact for polynomials of degree ``2 n - 1``, and the best rule for smooth functions."""
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    # The weights of a Gauss rule define cells, and each node lies in its own cell (separation theorem of Chebyshev,
    # Markov and Stieltjes).
    return Rule((nodes + 1) / 2, np.concatenate([[0], np.cumsum(weights / 2)[:-1], [1]]))


RULES: dict[str, Callable[[int], Rule]] = {
    "midpoint": midpoint,
    "trapezoid": trapezoid,
    "gauss_legendre": gauss_legendre,
}
FEWEST = {"trapezoid": 2}
