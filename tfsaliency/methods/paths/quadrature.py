"""Rules that sum a function over [0, 1] in place of integrating it."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np


class Rule(NamedTuple):
    """Nodes, and the cell of [0, 1] that each stands for: its weight is the width of the cell.

    Attributes:
        nodes: ``(n,)``, in ascending order.
        edges: ``(n + 1,)``, from 0 to 1.
    """

    nodes: np.ndarray
    edges: np.ndarray


def midpoint(steps: int) -> Rule:
    """Equal cells, each asked in its middle."""
    edges = np.linspace(0, 1, steps + 1)
    return Rule((edges[:-1] + edges[1:]) / 2, edges)


def trapezoid(steps: int) -> Rule:
    """Equally spaced nodes from 0 to 1, of which the outer two count half."""
    nodes = np.linspace(0, 1, steps)
    return Rule(nodes, np.concatenate([[0], (nodes[:-1] + nodes[1:]) / 2, [1]]))


def gauss_legendre(steps: int) -> Rule:
    """Exact for polynomials of degree ``2 n - 1``; for smooth functions the best rule there is."""
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    # The nodes of a Gauss rule lie in the cells that their weights make, so it is a rule of this kind too
    # (separation theorem of Chebyshev, Markov and Stieltjes).
    return Rule((nodes + 1) / 2, np.concatenate([[0], np.cumsum(weights / 2)[:-1], [1]]))


RULES: dict[str, Callable[[int], Rule]] = {
    "midpoint": midpoint,
    "trapezoid": trapezoid,
    "gauss_legendre": gauss_legendre,
}
FEWEST = {"trapezoid": 2}
