"""Random orders of a sequence that keep how often each group of letters occurs."""

import numpy as np


def shuffled_order(letters: np.ndarray, k: int, generator: np.random.Generator) -> np.ndarray:
    """An order of the places of a sequence with as many of each group of ``k`` neighbouring letters as before.

    Groups of ``k - 1`` letters are the vertices of a graph, and each group of ``k`` an edge. An order is a path over
    all edges. All paths are equally likely: the last edge from each vertex is one of a random tree (Wilson's
    algorithm), and the others come in any order before it.

    Args:
        letters: ``(L,)`` whole numbers.
        k: the size of the groups: 1 keeps letters, 2 pairs of neighbours.
        generator: draws.

    Source:
        Altschul & Erikson 1985, Significance of Nucleotide Sequence Alignments: A Method for Random Sequence
        Permutation That Preserves Dinucleotide and Codon Usage; Kandel et al. 1996.
    """
    length = len(letters)
    if k == 1:
        return generator.permutation(length)
    if length <= k:
        return np.arange(length)
    groups = np.lib.stride_tricks.sliding_window_view(letters, k - 1)
    _, vertices = np.unique(groups, axis=0, return_inverse=True)
    vertices = vertices.reshape(-1)
    edges = [np.flatnonzero(vertices[:-1] == vertex) for vertex in range(vertices.max() + 1)]
    queues = _queues(edges, vertices, generator)
    order = list(range(k - 1))
    vertex = vertices[0]
    for _ in range(length - k + 1):
        edge = queues[vertex].pop()
        order.append(edge + k - 1)
        vertex = vertices[edge + 1]
    return np.array(order)


def _queues(edges: list[np.ndarray], vertices: np.ndarray, generator: np.random.Generator) -> list[list[int]]:
    """For each vertex its edges, the one that is left first at the end."""
    last = _last_edges(edges, vertices, generator)
    queues = []
    for vertex, leaving in enumerate(edges):
        order = generator.permutation(leaving)
        first = [last[vertex]] if vertex in last else []
        queues.append([*first, *(edge for edge in order.tolist() if edge not in first)])
    return queues


def _last_edges(edges: list[np.ndarray], vertices: np.ndarray, generator: np.random.Generator) -> dict[int, int]:
    """A random tree of edges that lead from every vertex to the last one of the sequence."""
    reached = {int(vertices[-1])}
    last: dict[int, int] = {}
    for start in range(len(edges)):
        vertex = start
        while vertex not in reached:
            last[vertex] = int(generator.choice(edges[vertex]))
            vertex = int(vertices[last[vertex] + 1])
        vertex = start
        while vertex not in reached:
            reached.add(vertex)
            vertex = int(vertices[last[vertex] + 1])
    return last
